"""Trainings go on after a kill, run on any device, and leave nobody behind; skipped where torch is not installed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import psutil
import pytest

torch = pytest.importorskip("torch", exc_type=ImportError)

from torch.fx.experimental import _config as torch_config  # noqa: E402  # after the skip

from scripts import train_detector, train_recognizer  # noqa: E402
from scripts.detector_net import Detector  # noqa: E402
from scripts.recognizer_net import NetSettings, RecognizerNet  # noqa: E402
from scripts.render.material import Material, plate_pool  # noqa: E402
from scripts.render.samples import Batch, Pool, Sources, render_batch  # noqa: E402
from scripts.render.scene import render_scene  # noqa: E402
from scripts.train_recognizer import Settings, losses, tensors, total_loss  # noqa: E402
from scripts.training.compute import Compute, choose  # noqa: E402
from scripts.training.files import append_line, forget_after, load_checkpoint, read_log, save_checkpoint  # noqa: E402
from scripts.training.provenance import commit, data_facts  # noqa: E402

ROOT = Path(__file__).parents[2]
SMALL = NetSettings(stem=(8, 12), width=16, heads=2, feed_forward=16, layers=1)
SHORT = Settings(batch=8, steps=12, pool=128, reuse=50, validation=24, report=2, validate=4, checkpoint_s=0.0)
CPU = Compute()

CHILD = """
import sys
from pathlib import Path
from scripts.recognizer_net import NetSettings
from scripts.render.samples import Sources
from scripts.train_recognizer import Settings, train
from scripts.training.compute import Compute

if __name__ == "__main__":
    train(
        Path(sys.argv[1]),
        Settings(batch=8, steps=100_000, pool=128, reuse=1e6, validation=24, report=2, validate=4, checkpoint_s=0.0),
        NetSettings(stem=(8, 12), width=16, heads=2, feed_forward=16, layers=1),
        compute=Compute(workers=2),
        sources=Sources(),
        resume=True,
    )
"""


def wait_until(true: object, process: subprocess.Popen[bytes] | None = None, within_s: float = 60.0) -> None:
    """Look again and again; the training is another process."""
    assert callable(true)
    end = time.monotonic() + within_s
    while not true():
        assert process is None or process.poll() is None, "the training has ended"
        assert time.monotonic() < end
        time.sleep(0.02)


def steps_in(folder: Path) -> list[int]:
    return [line["step"] for line in read_log(folder / "log.jsonl")]


def test_a_training_that_is_killed_goes_on_where_its_checkpoint_stands(tmp_path: Path) -> None:
    script, run = tmp_path / "child.py", tmp_path / "run"
    script.write_text(CHILD, encoding="utf-8")
    child = subprocess.Popen(
        [sys.executable, str(script), str(run)], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    wait_until(lambda: (run / "checkpoint.pt").exists() and len(steps_in(run)) >= 4, child)
    workers = psutil.Process(child.pid).children(recursive=True)
    child.send_signal(signal.SIGKILL)
    child.wait()
    # They render into a full queue that nobody empties any more.
    wait_until(lambda: not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in workers))

    before = load_checkpoint(run / "checkpoint.pt")
    assert before is not None
    settings = Settings(**before["settings"] | {"steps": before["step"] + 6})
    best = train_recognizer.train(run, settings, SMALL, compute=CPU, sources=Sources(), resume=True)

    after = load_checkpoint(run / "checkpoint.pt")
    assert after is not None
    assert after["step"] == before["step"] + 6
    assert after["spent_s"] > before["spent_s"]
    assert steps_in(run) == list(range(2, after["step"] + 1, 2))
    assert after["commits"] == [commit()]
    assert best["step"] <= after["step"]
    assert set(best["validation"]) == {"exact", "signs", "rows", "colour", "corners"}


def test_a_run_is_not_begun_anew_over_another(tmp_path: Path) -> None:
    train_recognizer.train(tmp_path, SHORT, SMALL, compute=CPU, sources=Sources())
    with pytest.raises(FileExistsError, match="--resume"):
        train_recognizer.train(tmp_path, SHORT, SMALL, compute=CPU, sources=Sources())


def test_a_run_begins_with_the_weights_that_it_is_given_and_makes_what_they_lack(tmp_path: Path) -> None:
    learner = train_recognizer.Learner(SHORT, SMALL, CPU)
    older = {name: value + 1 for name, value in learner.weights()["averaged"].items() if not name.startswith("corner.")}
    save_checkpoint({"averaged": older}, tmp_path / "older.pt")

    begun = train_recognizer.Learner(replace(SHORT, start=str(tmp_path / "older.pt")), SMALL, CPU)
    train_recognizer.Run(tmp_path / "run", begun, Sources(), train_recognizer.Lines()).resume()

    for weights in (begun.net.state_dict(), begun.averaged.state_dict()):
        assert all(torch.equal(weights[name], value) for name, value in older.items())
        assert "corner.0.weight" in weights


def test_a_run_whose_first_weights_are_missing_says_so(tmp_path: Path) -> None:
    settings = replace(SHORT, start=str(tmp_path / "none.pt"))
    with pytest.raises(FileNotFoundError, match=r"none\.pt"):
        train_recognizer.train(tmp_path, settings, SMALL, compute=CPU, sources=Sources(), resume=True)


def test_the_best_of_a_run_is_kept_and_not_the_last(tmp_path: Path) -> None:
    learner = train_recognizer.Learner(SHORT, SMALL, CPU)
    run = train_recognizer.Run(tmp_path, learner, Sources(), train_recognizer.Lines())
    for step, exact in ((10, 0.3), (20, 0.5), (30, 0.4)):
        learner.step = step
        run.judge({"exact": exact, "signs": 0.9})
    best = load_checkpoint(tmp_path / "best.pt")
    assert best is not None
    assert best["step"] == 20


def test_a_detector_learns_from_drawings_alone_and_goes_on(tmp_path: Path) -> None:
    settings = train_detector.Settings(
        batch=2, steps=3, sizes=((96, 96),), last_sizes=((96, 96),), plates=4, validation_scenes=2
    )
    first = train_detector.train(None, tmp_path, settings, compute=CPU)
    longer = train_detector.Settings(
        batch=2, steps=5, sizes=((96, 96),), last_sizes=((96, 96),), plates=4, validation_scenes=2
    )
    train_detector.train(None, tmp_path, longer, compute=CPU)
    assert set(first["validation"]) == {"found", "false_per_picture", "corner_error"}
    assert steps_in(tmp_path) == [3, 5]
    last = load_checkpoint(tmp_path / "last.pt")
    assert last is not None
    assert last["commits"] == [commit()]


def test_every_worker_of_the_detector_renders_its_own_scenes() -> None:
    settings = train_detector.Settings(batch=1)
    material = Material((), (), (), plate_pool(4, 1))
    source = train_detector.batches(material, settings, ((96, 96),), seed=5, workers=2)
    first, second = next(source), next(source)
    assert not torch.equal(first.images, second.images)


def test_what_the_recognizer_learns_from_lies_on_its_device() -> None:
    """On `meta`, which computes shapes alone: any tensor that was left on the CPU is refused, as a GPU would."""
    samples = render_batch(Random(3), [], 4)
    batch = {name: tensor.to("meta") for name, tensor in tensors(samples).items()}
    parts, right = losses(RecognizerNet(SMALL).to("meta")(batch["images"]), batch)
    total_loss(parts, 0.5).backward()
    assert {part.device.type for part in (*parts.values(), right)} == {"meta"}


def test_what_the_detector_learns_from_lies_on_its_device() -> None:
    material, rng = Material((), (), (), plate_pool(4, 1)), np.random.default_rng(2)
    scenes = [render_scene(rng, material, (128, 128)) for _ in range(3)]
    batch = train_detector.collate(scenes).to("meta")
    raw = Detector().to("meta")(batch.images.permute(0, 3, 1, 2).float())
    with torch_config.patch(meta_nonzero_assume_all_nonzero=True):
        total, parts = train_detector.loss_of(raw, batch)
    total.backward()
    assert {part.device.type for part in parts.values()} == {"meta"}


def test_the_cpu_is_chosen_where_torch_finds_no_gpu() -> None:
    chosen = choose("auto")
    assert chosen.device == ("cuda" if torch.cuda.is_available() else "cpu")
    assert chosen.workers >= 1
    assert chosen.threads >= 1


@pytest.mark.parametrize("device", ["cuda", "cuda:7", "nonsense"])
def test_a_device_that_is_not_there_is_refused_by_name(device: str) -> None:
    if torch.cuda.is_available():
        device = "nonsense"
    with pytest.raises(ValueError, match=device):
        choose(device)


def test_a_pool_whose_worker_ends_says_so(tmp_path: Path) -> None:
    nowhere = Sources(backgrounds=tmp_path / "missing")
    with Pool(nowhere, size=64, reuse=1, seed="1") as pool, pytest.raises(RuntimeError, match="rendering process"):
        pool.draw(8)


def test_a_pool_gives_each_sample_as_often_as_it_was_told(tmp_path: Path) -> None:
    with Pool(Sources(), size=256, reuse=2, seed="1") as pool:
        drawn = 0
        while drawn < 1000:
            batch = pool.draw(50)
            drawn += len(batch.images)
            assert drawn <= 2 * pool.received
    assert batch.images.shape[0] == 50


def test_samples_come_back_from_their_file_as_they_were(tmp_path: Path) -> None:
    batch = render_batch(Random(5), [], 3)
    batch.save(tmp_path / "samples.npz")
    again = Batch.load(tmp_path / "samples.npz")
    assert np.array_equal(again.images, batch.images)
    assert np.array_equal(again.characters, batch.characters)
    assert [path.name for path in tmp_path.iterdir()] == ["samples.npz"]


def test_a_checkpoint_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    assert load_checkpoint(path) is None
    save_checkpoint({"step": 1}, path)

    class Unwritable:
        def __reduce__(self) -> str:
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        save_checkpoint({"step": 2, "net": Unwritable()}, path)
    assert load_checkpoint(path) == {"step": 1}


def test_a_log_forgets_what_a_kill_took_back_and_a_line_that_it_tore(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    for step in (100, 200, 300):
        append_line({"step": step}, path)
    with path.open("a", encoding="utf-8") as log:
        log.write('{"step": 4')
    forget_after(200, path)
    append_line({"step": 250}, path)
    assert [line["step"] for line in read_log(path)] == [100, 200, 250]


def test_the_facts_of_a_data_folder_name_its_licences_and_no_path(tmp_path: Path) -> None:
    folder = tmp_path / "train" / "vietnam"
    folder.mkdir(parents=True)
    (folder / "labels.csv").write_text(
        "image,x,y,width,height,text,source\n"
        "a.jpg,1,2,30,10,29A12345,mrzaizai2k/VIETNAMESE_LICENSE_PLATE\n"
        "a.jpg,5,2,30,10,,somebody/else\n"
        "b.jpg,,,,,,RobertLucian/license-plate-dataset (MIT) crop of x.jpg\n",
        encoding="utf-8",
    )
    facts = data_facts(folder)
    assert (facts["name"], facts["pictures"], facts["boxes"], facts["texts"]) == ("train/vietnam", 2, 2, 1)
    licences = {source["source"]: source["licence"] for source in facts["sources"]}
    assert licences == {
        "mrzaizai2k/VIETNAMESE_LICENSE_PLATE": "MIT",
        "somebody/else": "not stated",
        "RobertLucian/license-plate-dataset (MIT)": "MIT",
    }
    assert str(tmp_path) not in str(facts)
