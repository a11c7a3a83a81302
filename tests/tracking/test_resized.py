"""A camera whose pictures get another size while vehicles are in sight: each is still one, and goes the same way."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from lpr.domain.frame import Frame
from lpr.domain.geometry import Box
from lpr.domain.passage import Action, ActionRule, Passage, PassageOutcome
from lpr.domain.plate import PlateRead
from lpr.tracking.standing import StandingMemory
from lpr.tracking.tracker import PassageTracker
from tests.tracking.helpers import HEIGHT, WIDTH, Placed, approach, at, long, read, times, tracker

CAR = "51A12345"
SIZES = [(1920, 1080), (640, 360), (1280, 960), (640, 720)]
"""Larger, smaller, and two of another shape."""

Spoil = Callable[[float, Box], PlateRead]


def play(
    subject: PassageTracker,
    place: Placed,
    size: tuple[int, int],
    *,
    resized_s: float,
    until_s: float,
    spoil: Spoil | None = None,
    fps: float = 8.0,
) -> list[Passage]:
    """Show one plate; from `resized_s` on, after the half second that a new connection takes, in the new size."""
    passages: list[Passage] = []
    for seconds in times(0.0, until_s, fps):
        if resized_s < seconds < resized_s + 0.5:
            continue
        width, height = size if seconds > resized_s else (WIDTH, HEIGHT)
        picture = Frame("CAM", round(seconds * 1000), np.broadcast_to(np.uint8(0), (height, width, 3)), at(seconds))
        box = place(seconds)
        reads = []
        if box is not None:
            seen = box.stretched(width / WIDTH, height / HEIGHT)
            reads = [spoil(seconds, seen) if spoil else read(CAR, seen)]
        passages += subject.update(picture, reads)
    return passages + list(subject.finish(at(until_s + 10)))


@pytest.mark.parametrize("size", SIZES)
def test_a_vehicle_keeps_its_track_and_the_way_it_goes(size: tuple[int, int]) -> None:
    for backwards, action in ((False, Action.ENTRY), (True, Action.EXIT)):
        there = approach(0.0, seconds=4.0, shape=long)
        place: Placed = (lambda seconds, there=there: there(4.0 - seconds)) if backwards else there
        # Nothing but the way tells: it is read only after the change.
        passages = play(
            tracker(action=ActionRule.AUTO),
            place,
            size,
            resized_s=2.0,
            until_s=6.0,
            spoil=lambda seconds, box: read(CAR, box, sure=0.99 if seconds > 2.0 else 0.25),
        )
        assert [(each.plate.text, each.action) for each in passages] == [(CAR, action)]
        assert passages[0].first_seen.monotonic_s == at(0.0).monotonic_s


@pytest.mark.parametrize("size", SIZES)
def test_a_vehicle_that_nobody_can_read_is_one(size: tuple[int, int]) -> None:
    passages = play(
        tracker(),
        approach(0.0, seconds=4.0),
        size,
        resized_s=2.0,
        until_s=6.0,
        spoil=lambda _seconds, box: read(CAR, box, sure=0.2, readable=0.2),
    )
    assert [each.outcome for each in passages] == [PassageOutcome.UNREADABLE]


@pytest.mark.parametrize("size", SIZES)
def test_what_belongs_to_the_scene_is_known_again(size: tuple[int, int]) -> None:
    memory = StandingMemory(900, 86_400)
    place = long(900, 300)
    passages = play(tracker(standing=memory), lambda _seconds: place, size, resized_s=1000.0, until_s=1100.0, fps=2.0)
    assert [each.plate.text for each in passages] == [CAR]
    [text] = memory.texts()
    assert text.place.centre == pytest.approx((900 / WIDTH * size[0], 300 / HEIGHT * size[1]))
    assert text.since.monotonic_s == at(0.0).monotonic_s
