"""What the log tells of an outage: its beginning, ever more rarely that it goes on, what is new, and its end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import pytest
from structlog.testing import capture_logs

from lpr.capture.base import FrameSource
from lpr.capture.outage import SILENT_AT_MOST_S, Outage
from lpr.capture.reader import CameraReader
from lpr.domain.clock import Instant, SystemClock
from lpr.domain.errors import CaptureError
from lpr.domain.events import CameraState
from tests.capture.helpers import QUICK, SCENE, Diary, LeapingClock, ScriptedSource, camera

START: Instant = SystemClock().now()


def told(reasons: list[str], every_s: float = 1.0) -> list[int]:
    """Which of the tries that fail for these reasons are told, counted from 1."""
    outage = Outage(START)
    return [
        number for number, reason in enumerate(reasons, start=1) if outage.failed(reason, START.plus(number * every_s))
    ]


def test_an_outage_is_told_at_each_doubling_of_its_tries() -> None:
    assert told(["refused"] * 100) == [1, 2, 4, 8, 16, 32, 64]


def test_another_cause_is_told_at_once_and_its_return_is_no_other() -> None:
    assert told(["refused"] * 4 + ["no route"] + ["refused", "no route"] * 5) == [1, 2, 4, 5, 8]


def test_a_number_that_differs_is_no_other_cause() -> None:
    assert told([f"no picture for {4 + tenth / 10} s" for tenth in range(9)]) == [1, 2, 4, 8]


def test_who_looks_into_the_log_months_later_finds_a_line_of_the_day() -> None:
    tries = 30 * 24 * 120
    numbers = told(["refused"] * tries, every_s=30.0)
    gaps_s = [30.0 * (later - earlier) for earlier, later in pairwise(numbers)]
    assert max(gaps_s) == pytest.approx(SILENT_AT_MOST_S, abs=31)
    assert len(numbers) < 140


async def test_the_log_of_an_outage_has_few_lines_and_its_end_tells_how_long_it_was() -> None:
    sources = script()
    clock, diary = LeapingClock(), Diary()
    reader = CameraReader(
        replace(camera(fps=1000), limits=replace(QUICK, backoff_most_s=30.0)),
        clock=clock,
        on_change=diary.note,
        source_factory=lambda _settings, _history: next(sources),
    )
    with capture_logs() as logs:
        async with reader:
            await diary.until(CameraState.RUNNING, count=2)
            again = next(each for each in reversed(logs) if each.get("state") == "running")
    retries = [each for each in logs if each["event"] == "camera_retry"]
    assert [each["tries"] for each in retries] == [1, 2, 4, 8, 16, 32]
    assert again["tries"] == 40
    assert again["outage_s"] == pytest.approx(clock.leapt_s, abs=10)
    assert "s3cr3t" not in str(logs)


def script() -> Iterator[FrameSource]:
    """Pictures, and 39 tries in vain before they come again."""
    yield ScriptedSource([SCENE] * 5)
    for _ in range(39):
        yield ScriptedSource([], opens=CaptureError("rtsp://an:s3cr3t@camera/live is away"))
    yield ScriptedSource([SCENE] * 5000)
