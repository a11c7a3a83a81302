"""Which plate in the larger stream's picture is the one that passed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lpr.agent.larger import clearness, same_plate
from lpr.domain.clock import SystemClock
from lpr.domain.frame import Frame
from lpr.domain.geometry import Box, Quad
from lpr.domain.passage import Passage, PassageOutcome
from lpr.domain.plate import PlateRead
from tests.agent.helpers import make_passage

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
