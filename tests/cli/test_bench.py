"""`lpr-agent bench`: cameras at once and long runs, as people and programs ask for them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import pytest

from lpr.cli import bench_load
from lpr.cli.bench_load import BARS, curve
from tests.cli.conftest import Answer

Run = Callable[..., Answer]
FEW = ("--fps", "4", "--detail", "fast")


@pytest.fixture
def _no_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_load, "WARM_UP_S", 0.0)


def back_ends() -> list[psutil.Process]:
    """Those of the command that still run; the run of the tests may have a server of its own."""
    children = [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
    return [child for child in children if "lpr.cli" in child.cmdline()]


@pytest.mark.usefixtures("_no_warm_up")
def test_what_a_camera_costs_is_told_as_json(run: Run, tmp_path: Path) -> None:
    answer = run("bench", "--cameras", "1", "--seconds", "2", *FEW, "--data-dir", tmp_path, "--json")

    assert answer.code == 0
    report = json.loads(answer.out)
    (camera,) = report["cameras"]
    assert camera["decodedFps"] > camera["takenFps"] > 0
    assert camera["frameAgeMs"]["p95"] >= camera["frameAgeMs"]["p50"] > 0
    assert report["cpuPerCamera"] > 0
    assert report["memoryBytes"] > 50 << 20
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"
    assert back_ends() == []


@pytest.mark.usefixtures("_no_warm_up")
def test_what_a_camera_costs_is_told_to_a_person(run: Run) -> None:
    answer = run("bench", "--cameras", "1", "--seconds", "1", *FEW)

    assert answer.code == 0
    for word in ("bench-1", "decoded", "of a core a camera", "memory", "acknowledged"):
        assert word in answer.out


def test_a_long_run_is_a_json_line_a_look_and_a_verdict(run: Run) -> None:
    answer = run("bench", "--soak", "2 s", "--cameras", "1", *FEW, "--json")

    *looks, verdict = [json.loads(line) for line in answer.out.splitlines()]
    assert len(looks) == bench_load.LOOKS_AT_LEAST
    assert all(look["memoryBytes"] > 0 and look["handles"] > 0 and look["threads"] > 0 for look in looks)
    times = [look["atSeconds"] for look in looks]
    assert times == sorted(times)
    assert verdict["verdict"]["growthMbIn10Min"] is None, "two seconds say nothing about ten minutes"
    assert answer.code == (1 if verdict["verdict"]["failures"] else 0)
    assert back_ends() == []


@pytest.mark.parametrize(
    ("number", "ctrl_c"),
    [
        (signal.SIGINT, signal.SIG_DFL),
        (signal.SIGTERM, signal.SIG_DFL),
        pytest.param(signal.SIGTERM, signal.SIG_IGN, id="started with &"),
    ],
)
def test_a_run_that_is_told_to_end_judges_what_it_saw_and_leaves_nothing_behind(
    tmp_path: Path, number: int, ctrl_c: signal.Handlers
) -> None:
    command = [sys.executable, "-m", "lpr.cli", "bench", "--soak", "20 s", "--cameras", "1", *FEW, "--json"]
    program = subprocess.Popen(
        [*command, "--data-dir", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # Whoever runs the tests may have been started with &, too.
        preexec_fn=partial(signal.signal, signal.SIGINT, ctrl_c),
    )
    try:
        assert program.stdout is not None
        first = program.stdout.readline()
        children = psutil.Process(program.pid).children()
        program.send_signal(number)
        rest, said = program.communicate(timeout=60)
    finally:
        program.kill()

    assert program.returncode == 130, said
    assert json.loads(first)["memoryBytes"] > 0
    assert "verdict" in json.loads(rest.splitlines()[-1])
    assert said == b"", "no traceback"
    assert len(children) == 1, "the back-end is a process of its own"
    assert not any(child.is_running() for child in children)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["nonsense", "1 parsec", "1 s"])
def test_a_time_that_is_none_or_too_short_is_refused(run: Run, text: str) -> None:
    answer = run("bench", "--soak", text)
    assert answer.code == 2
    assert "--soak" in answer.err


@pytest.mark.parametrize(
    ("command", "options"),
    [("bench", ()), ("bench", ("--cameras", "1")), ("bench", ("--soak", "30m")), ("demo", ())],
)
def test_a_clip_that_cannot_be_read_is_refused_before_anything_starts(
    run: Run, tmp_path: Path, command: str, options: tuple[str, ...]
) -> None:
    (tmp_path / "bad.mp4").write_text("junk")
    answer = run(command, "--clip", tmp_path / "bad.mp4", *options)
    assert answer.code == 2
    assert "--clip: " in answer.err
    assert "cannot be opened as a video" in answer.err
    assert answer.out == ""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--delivery", "--soak", "30m"), "--soak means nothing beside it"),
        (("--delivery", "--cameras", "2"), "--cameras means nothing beside it"),
        (("--source", "rtsp://10.0.0.5/live", "--cameras", "2"), "--cameras means nothing beside it"),
    ],
)
def test_what_would_be_passed_over_in_silence_is_refused(run: Run, options: tuple[str, ...], words: str) -> None:
    answer = run("bench", *options)
    assert answer.code == 2
    assert words in answer.err


def test_a_run_whose_events_would_not_fit_is_refused(run: Run, tmp_path: Path) -> None:
    answer = run("bench", "--soak", "300 d", "--cameras", "32", "--data-dir", tmp_path)
    assert answer.code == 2
    assert "the events of 32 cameras need 124416.0 GB" in answer.err
    assert "--data-dir, or take fewer cameras" in answer.err
    assert list(tmp_path.iterdir()) == []


def test_a_curve_goes_from_the_lowest_to_the_highest() -> None:
    assert curve([1.0, 2.0, 8.0]) == f"{BARS[0]}{BARS[1]}{BARS[7]}"
    assert curve([5.0, 5.0]) == BARS[0] * 2


def test_a_long_curve_is_drawn_by_its_means() -> None:
    drawn = curve([float(number) for number in range(1440)])
    assert len(drawn) == 60
    assert drawn == "".join(sorted(drawn))
    assert set(drawn) == set(BARS)
