"""Which plate in the larger stream's picture is the one that passed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from lpr.agent.larger import LargerStream, clearness, same_plate
from lpr.capture.base import CameraSettings
from lpr.domain.clock import Instant, SystemClock
from lpr.domain.frame import Frame
from lpr.domain.geometry import Box, Point, Quad
from lpr.domain.passage import Passage, PassageOutcome
from lpr.domain.plate import PlateRead
from lpr.vision.plate_reader import PlateReader
from tests.agent.helpers import make_passage
from tests.agent.test_pipeline import HeldDetector
from tests.capture.helpers import ScriptedSource
from tests.vision.test_plate_reader import ToldRecognizer

LARGER = Frame("CAM_001", 0, np.zeros((1080, 1920, 3), np.uint8), SystemClock().now())
SMALL_BOX = Box(300, 200, 104, 22)


def passage(text: str = "29A12345", outcome: PassageOutcome = PassageOutcome.READ) -> Passage:
    """A vehicle whose plate stood at `SMALL_BOX` of 640 x 360."""
    return make_passage(text=text, outcome=outcome, box=SMALL_BOX)


def read(text: str, box: Box) -> PlateRead:
    return replace(make_passage(text=text).best_read, box=box, corners=Quad.of_box(box))


HERE, FAR = Box(900, 600, 312, 66), Box(100, 900, 320, 70)


def test_the_same_text_is_found_wherever_it_has_moved_to() -> None:
    wanted = read("29A12345", FAR)
    assert same_plate([read("51K91827", HERE), wanted], LARGER, passage()) is wanted


def test_of_two_with_the_same_text_the_nearer_one_is_meant() -> None:
    wanted = read("29A12345", HERE)
    assert same_plate([read("29A12345", FAR), wanted], LARGER, passage()) is wanted


def test_a_text_that_differs_a_little_counts_where_it_stands_and_another_vehicle_does_not() -> None:
    nearly = read("29A12346", HERE)
    assert same_plate([nearly], LARGER, passage()) is nearly
    assert same_plate([read("29A12346", FAR)], LARGER, passage()) is None
    assert same_plate([read("51K91827", HERE)], LARGER, passage()) is None
    assert same_plate([], LARGER, passage()) is None


def test_what_could_not_be_read_has_only_its_place() -> None:
    unread = passage(outcome=PassageOutcome.UNREADABLE)
    there = read("51K91827", HERE)
    assert same_plate([read("59P12345", FAR), there], LARGER, unread) is there
    assert same_plate([read("59P12345", FAR)], LARGER, unread) is None


@pytest.mark.parametrize(("width", "sharpness", "better"), [(312, 12.0, True), (312, 1.0, False), (90, 12.0, False)])
def test_the_larger_and_sharper_crop_is_the_better_one(width: float, sharpness: float, better: bool) -> None:
    small = passage().best_read
    other = replace(small, box=replace(SMALL_BOX, width=width), sharpness=sharpness)
    assert (clearness(other) > clearness(small)) is better


PLAIN, COVERED = 200, 0
"""How bright pictures of the larger stream are in which the plate is seen, and is not."""


class LightReader(PlateReader):
    """Reads the one plate where the picture is bright."""

    async def read(self, frame: Frame, region: tuple[Point, ...] = ()) -> tuple[PlateRead, ...]:
        return (read("29A12345", HERE),) if frame.image[0, 0, 0] == PLAIN else ()


@pytest.fixture
def larger() -> Iterator[LargerStream]:
    """One that is not connected: its pictures are offered by the test, and none is waited for."""
    with ThreadPoolExecutor(1) as workers:
        yield LargerStream(
            CameraSettings(camera_id="CAM_001", source="rtsp://192.168.1.100/stream"),
            LightReader(HeldDetector(), ToldRecognizer(), workers),
            clock=SystemClock(),
            on_change=lambda _change: None,
            decoder_says=None,
            source_factory=lambda _settings, _history: ScriptedSource([]),
        )


def larger_at(at: Instant, light: int) -> Frame:
    return replace(LARGER, image=np.full((1080, 1920, 3), light, np.uint8), captured_at=at)


@pytest.mark.parametrize(
    ("light_before", "light_then", "taken"),
    [(PLAIN, PLAIN, "then"), (PLAIN, COVERED, "before"), (PLAIN, None, "before"), (COVERED, COVERED, "small")],
)
async def test_where_something_has_come_before_the_plate_or_no_picture_comes_the_one_before_is_taken(
    larger: LargerStream, light_before: int, light_then: int | None, taken: str
) -> None:
    seen = passage()
    at = seen.best_frame.captured_at
    before, then = larger_at(at.plus(-0.06), light_before), larger_at(at.plus(0.06), light_then or COVERED)
    larger.stills.offer(before, threading.Event())
    still = larger.stills.want(at)
    if light_then is not None:
        larger.stills.offer(then, threading.Event())
    shown = await larger.with_larger_pictures(replace(seen, best_frame=replace(seen.best_frame, still=still)), ())
    expected = {"then": then, "before": before, "small": seen.best_frame}[taken]
    assert shown.best_frame.image is expected.image
    assert shown.best_frame.captured_at == expected.captured_at
    assert shown.best_read.box == (SMALL_BOX if taken == "small" else HERE)
