"""What measures the networks: rendered frames are what they say, and figures follow from what was read."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from random import Random

import cv2
import numpy as np
import pytest

from lpr.plates.alphabet import BLANK, CLASSES, INDEX, SLOTS
from lpr.vision.engine import RT_INFO, load_openvino
from lpr.vision.models import models_folder
from lpr.vision.recognizer import TEMPERATURE
from scripts import calibrate, evaluate, sweeps
from scripts.agreement import Said, spread
from scripts.calibrate import Answer, Judged
from scripts.reading import box_of, opened, read_frames
from scripts.render.gate import FRAME_HEIGHT, FRAME_WIDTH, Conditions, gate_frame, gate_frames, seen_corners

ROOT = Path(__file__).parents[2]


# --- frames -----------------------------------------------------------------------------------------------------------


def test_the_same_seed_renders_the_same_frames() -> None:
    first, second = (list(gate_frames(4, 2, [])) for _ in range(2))
    assert [frame.text for frame in first] == [frame.text for frame in second]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(first, second, strict=True))


def test_a_plate_is_as_wide_and_as_askew_as_stated() -> None:
    straight = seen_corners(4.0, Conditions(width_px=100, tilt_deg=0))
    assert np.ptp(straight[:, 0]) == pytest.approx(100, rel=0.01)
    assert np.ptp(straight[:, 1]) == pytest.approx(25, rel=0.01)
    turned = seen_corners(4.0, Conditions(width_px=100, tilt_deg=0, turn_deg=60))
    assert 40 < np.ptp(turned[:, 0]) < 60
    top = np.diff(seen_corners(4.0, Conditions(tilt_deg=0, roll_deg=20))[:2], axis=0)[0]
    assert np.degrees(np.arctan2(top[1], top[0])) == pytest.approx(20, abs=0.5)


def test_a_plate_of_a_frame_lies_within_it() -> None:
    for frame in gate_frames(5, 12, []):
        assert frame.image.shape == (FRAME_HEIGHT, FRAME_WIDTH, 3)
        box = box_of(frame)
        assert box.clipped(FRAME_WIDTH, FRAME_HEIGHT) == box
        assert frame.text


def test_a_frame_is_as_dark_and_as_blurred_as_stated() -> None:
    plain, dark, blurred = (
        gate_frame(Random("7"), Conditions(hard=0.0, **change), []).image
        for change in ({}, {"brightness": 0.3}, {"blur_px": 3.0})
    )
    assert dark.mean() < 0.45 * plain.mean()
    assert np.abs(np.diff(blurred.astype(int), axis=1)).mean() < 0.7 * np.abs(np.diff(plain.astype(int), axis=1)).mean()


async def test_the_shipped_networks_find_and_read_easy_frames() -> None:
    frames = [gate_frame(Random(f"easy {number}"), Conditions(width_px=160), []) for number in range(12)]
    async with opened(precision="f32") as reader:
        reads = await read_frames(reader, frames)
    assert sum(read is not None for read in reads) >= 11
    assert (
        sum(read is not None and read.plate.text == frame.text for read, frame in zip(reads, frames, strict=True)) > 7
    )


# --- agreement --------------------------------------------------------------------------------------------------------


def said(right: int, wrong: int, missing: int = 0) -> Said:
    texts = ["A"] * right + ["B"] * wrong + [None] * missing
    return Said(texts, ["A"] * len(texts))


def test_forms_differ_by_the_widest_gap_in_any_set() -> None:
    forms = {
        "f32": {"crops": said(990, 10), "frames": said(95, 3, 2)},
        "bf16": {"crops": said(991, 9), "frames": said(95, 3, 2)},
        "int8": {"crops": said(986, 14), "frames": said(95, 4, 1)},
    }
    assert spread(forms) == pytest.approx(0.01)
    assert spread({name: {"crops": form["crops"]} for name, form in forms.items()}) == pytest.approx(0.005)


def test_texts_that_change_are_counted_also_where_as_many_are_right() -> None:
    one, other = Said(["A", "B", None], ["A", "A", "A"]), Said(["B", "A", None], ["A", "A", "A"])
    assert one.right == other.right
    assert one.flips(other) == 2
    assert one.found == pytest.approx(2 / 3)


def write_labels(folder: Path, frames: int) -> Path:
    """A labelled folder of rendered frames."""
    (folder / "images").mkdir(parents=True)
    lines = ["image,x,y,width,height,text,kind,rows,source,note"]
    for number in range(frames):
        frame = gate_frame(Random(f"easy {number}"), Conditions(width_px=160), [])
        cv2.imwrite(str(folder / "images" / f"gp_{number}.png"), frame.image)
        box = box_of(frame)
        text = frame.text.replace("Đ", "D")
        lines.append(f"gp_{number}.png,{box.x},{box.y},{box.width},{box.height},{text},car,{frame.rows},drawn,")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def run(module: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_command_tells_whether_f32_and_bf16_agree(tmp_path: Path) -> None:
    folder = write_labels(tmp_path / "photographs", 3)
    done = run("scripts.agreement", "--crops", 20, "--frames", 4, "--data", folder, "--tolerance", 1)
    assert done.returncode == 0, done.stderr
    assert "models in bf16" in done.stdout
    assert "photographs" in done.stdout
    # Nothing differs by less than nothing.
    assert run("scripts.agreement", "--crops", 4, "--frames", 1, "--tolerance", -1).returncode == 1


# --- calibration ------------------------------------------------------------------------------------------------------


def answers(sure: float, right: float, count: int = 400) -> list[Answer]:
    """Texts whose confidence is `sure`, of which the share `right` is right."""
    text = "29A12345"
    each = sure ** (1 / SLOTS)
    table = np.full((SLOTS, CLASSES), (1 - each) / (CLASSES - 1), np.float32)
    for slot in range(SLOTS):
        table[slot, INDEX[text[slot]] if slot < len(text) else BLANK] = each
    good = round(count * right)
    return [Answer(table, 1, None, text if number < good else "30A12345") for number in range(count)]


@pytest.mark.parametrize(("sure", "right", "too_sure"), [(0.9, 0.6, True), (0.6, 0.9, False)])
def test_the_temperature_found_makes_a_text_as_often_right_as_it_says(
    sure: float, right: float, too_sure: bool
) -> None:
    found = calibrate.find_temperature(answers(sure, right))
    assert (found > 1) is too_sure
    assert calibrate.judge(answers(sure, right), found).confidence.mean() == pytest.approx(right, abs=0.01)


def test_reads_where_nothing_can_be_read_count_as_wrong_and_silence_does_not() -> None:
    blank = np.zeros((SLOTS, CLASSES), np.float32)
    blank[:, BLANK] = 1.0
    nothing = [Answer(blank, 1, None, ""), Answer(answers(0.9, 1.0, 1)[0].probabilities, 1, None, "")]
    judged = calibrate.judge([*nothing, *answers(0.95, 1.0, 2)], 1.0)
    assert judged.right.tolist() == [False, True, True]
    assert judged.readable.tolist() == [False, True, True]
    kept, wrong = judged.sure(0.85)
    assert (kept, wrong) == (1.0, pytest.approx(1 / 3))


def test_bins_say_how_often_what_was_said_came_true() -> None:
    judged = Judged(np.array([0.05, 0.92, 0.94, 1.0]), np.array([False, True, False, True]), np.ones(4, np.bool_))
    assert calibrate.reliability(judged) == [(0.05, 0.0, 1), (pytest.approx(0.93), 0.5, 2), (1.0, 1.0, 1)]
    assert "<svg" in calibrate.reliability_picture({"a": judged})


def test_the_command_stores_a_temperature_and_leaves_the_weights_alone(tmp_path: Path) -> None:
    models = tmp_path / "models"
    shutil.copytree(models_folder(), models)
    weights = (models / "recognizer.bin").read_bytes()
    picture = tmp_path / "reliability.svg"
    looked = run("scripts.calibrate", "--models", models, "--crops", 60, "--picture", picture, "--only-look")
    assert looked.returncode == 0, looked.stderr
    assert picture.read_text(encoding="utf-8").startswith("<svg")
    stored = run("scripts.calibrate", "--models", models, "--crops", 30, "--temperature", 1.25)
    assert stored.returncode == 0, stored.stderr
    model = load_openvino().Core().read_model(models / "recognizer.xml")
    assert float(model.rt_info[RT_INFO][TEMPERATURE].value) == 1.25
    assert (models / "recognizer.bin").read_bytes() == weights
    assert {path.name for path in models.iterdir()} == {path.name for path in models_folder().iterdir()}


# --- evaluation -------------------------------------------------------------------------------------------------------


async def test_a_sweep_falls_off_where_it_becomes_too_hard() -> None:
    width = sweeps.SWEEPS[0]
    async with opened() as reader:
        easy, hard = [await sweeps.measure(reader, width, value, 6, []) for value in (160.0, 12.0)]
    assert easy.found >= 0.8
    assert hard.right == 0.0
    points = {sweep.name: [easy, hard] for sweep in sweeps.SWEEPS}
    assert sweeps.picture(points).count("<polyline") == 3 * len(sweeps.SWEEPS)


async def test_plates_seen_from_far_to_the_side_and_above_are_read() -> None:
    """The networks that ship, the whole way: 11 of these are read where crops are left as the detector's corners cut
    them, 19 where they are cut again.
    """
    steep = Conditions(turn_deg=50.0, tilt_deg=25.0)
    frames = [gate_frame(Random(f"turned {number}"), steep, []) for number in range(20)]
    async with opened() as reader:
        reads = await read_frames(reader, frames)
    right = [read is not None and read.plate.text == frame.text for read, frame in zip(reads, frames, strict=True)]
    assert sum(right) >= 16


def test_photographs_are_judged_with_reliability_and_other_programs_reads_by_the_same_tables(tmp_path: Path) -> None:
    folder, picture, reads = write_labels(tmp_path / "photographs", 3), tmp_path / "r.svg", tmp_path / "reads.jsonl"
    done = run("scripts.evaluate", folder, "--threads", 1, "--reliability", picture, "--reads", reads)
    assert done.returncode == 0, done.stderr
    assert "read" in done.stdout
    assert "fast-alpr" in done.stdout
    assert "<svg" in (tmp_path / "r-photographs.svg").read_text(encoding="utf-8")
    again = run("scripts.evaluate", folder, "--judge", reads)
    assert again.returncode == 0, again.stderr

    def table(text: str) -> list[str]:
        return [line for line in text.splitlines() if line.startswith(("gp ", "all "))]

    assert table(again.stdout) == table(done.stdout)
    assert json.loads(reads.read_text(encoding="utf-8").splitlines()[0])["image"] == "gp_0.png"


def test_a_label_without_a_read_is_not_found(tmp_path: Path) -> None:
    folder = write_labels(tmp_path / "photographs", 2)
    (tmp_path / "none.jsonl").write_text("", encoding="utf-8")
    outcome = evaluate.judge_reads(folder, tmp_path / "none.jsonl", 0.9)
    assert (outcome.tallies["all"].plates, outcome.tallies["all"].found) == (2, 0)
