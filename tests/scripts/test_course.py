"""The minute's version of the whole training: it learns, survives a kill, and leaves networks with their record."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", exc_type=ImportError)
pytest.importorskip("nncf", exc_type=ImportError)

from lpr.vision.models import models_folder  # noqa: E402  # after the skip
from scripts.training.__main__ import arguments_of, plan_of  # noqa: E402
from scripts.training.adapt import AdaptSettings  # noqa: E402
from scripts.training.compute import Compute  # noqa: E402
from scripts.training.course import OtherPlanError, Plan, begin  # noqa: E402
from scripts.training.files import publish, read_log  # noqa: E402

ROOT = Path(__file__).parents[2]


def command(run: Path) -> list[str]:
    return [sys.executable, "-m", "scripts.training", "--quick", "--device", "cpu", "--run", str(run)]


def test_a_minute_teaches_to_read_and_a_kill_costs_only_what_was_not_saved(tmp_path: Path) -> None:
    run = tmp_path / "run"
    log = run / "recognizer-1" / "log.jsonl"
    shipped = {path.name: path.read_bytes() for path in models_folder().iterdir() if path.is_file()}
    child = subprocess.Popen(command(run), cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        while not ((run / "recognizer-1" / "checkpoint.pt").exists() and read_log(log)):
            assert child.poll() is None
            time.sleep(0.1)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()

    done = subprocess.run(command(run), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    record = json.loads((run / "models" / "training.json").read_text(encoding="utf-8"))
    reader = record["figures"]["recognizer"]
    # Fresh plates; the same answer to all of them would get `chance`.
    assert reader["float"]["signs"] > 1.6 * reader["chance"]
    steps = [line["step"] for line in read_log(log)]
    assert steps == sorted(set(steps))
    assert record["recognizer"]["settings"]["seed"] == 1
    assert record["recognizer"]["commits"]
    assert record["recognizer"]["data"][0]["licence"]
    there = {path.name for path in (run / "models").iterdir()}
    assert {"detector.xml", "recognizer.xml", "golden.png", "recognizer.curves.svg"} <= there
    assert {path.name: path.read_bytes() for path in models_folder().iterdir() if path.is_file()} == shipped

    again = subprocess.run(command(run), cwd=ROOT, capture_output=True, text=True, check=False)
    assert again.returncode == 0
    assert json.loads((run / "models" / "training.json").read_text(encoding="utf-8")) == record


def test_a_run_is_not_gone_on_with_under_another_plan(tmp_path: Path) -> None:
    begin(Plan(minutes=10), tmp_path)
    begin(Plan(minutes=10), tmp_path)
    with pytest.raises(OtherPlanError, match="seeds"):
        begin(Plan(minutes=10, seeds=(1, 2)), tmp_path)


def test_time_is_shared_between_networks_and_seeds() -> None:
    plan = Plan(minutes=100, seeds=(1, 2))
    assert plan.minutes_of("detector") == pytest.approx(20)
    assert plan.minutes_of("recognizer") == pytest.approx(30)
    assert Plan(minutes=100, detector="keep").minutes_of("recognizer") == 100


def test_an_adaptation_has_its_steps_unless_told_otherwise() -> None:
    # A slotted dataclass's attribute is no number: the command once ended there.
    assert arguments_of(["--adapt", "site"]).steps == AdaptSettings().steps == 400
    assert arguments_of(["--adapt", "site", "--steps", "7"]).steps == 7


def test_the_command_line_makes_a_plan(tmp_path: Path) -> None:
    plan = plan_of(arguments_of(["--seeds", "3,4", "--detector", "keep"]), Compute())
    assert (plan.seeds, plan.detector, plan.base) == ((3, 4), "keep", str(models_folder().resolve()))
    with pytest.raises(ValueError, match="--seeds"):
        plan_of(arguments_of(["--seeds", "one"]), Compute())
    with pytest.raises(ValueError, match="train/"):
        plan_of(arguments_of(["--data", str(tmp_path)]), Compute())


def test_files_are_published_whole_and_their_record_last(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    for name in ("training.json", "recognizer.xml", "recognizer.bin"):
        (source / name).write_text(name, encoding="utf-8")
    publish(source, target)
    assert {path.name: path.read_text(encoding="utf-8") for path in target.iterdir()} == {
        name: name for name in ("training.json", "recognizer.xml", "recognizer.bin")
    }
