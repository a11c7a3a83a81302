"""What is looked at: all that may have changed, and of what stands still one frame a second."""

from __future__ import annotations

import numpy as np

from lpr.agent.attention import STARE_S, Attention
from lpr.domain.clock import Instant
from lpr.domain.frame import Frame, Image
from lpr.domain.geometry import Box
from lpr.tracking.tracker import TrackView
from tests.tracking.helpers import at

FPS = 8
STREET: Image = np.full((360, 640, 3), 90, np.uint8)


def frame(seconds: float, image: Image = STREET) -> Frame:
    return Frame("CAM", round(seconds * FPS), image, at(seconds))


def vehicle(last_seen: Instant, *, reported: bool = False, standing: bool = False) -> TrackView:
    return TrackView(
        track_id=1,
        box=Box(300, 200, 80, 60),
        text="59-X1 123.45",
        confidence=0.5,
        frames=3,
        first_seen=at(0),
        last_seen=last_seen,
        reported=reported,
        standing=standing,
    )


def looks(seconds: float, *, start_s: float = 0.0, **known: bool) -> list[float]:
    """When a street was looked at in which a vehicle has stood since the beginning and is found at every look."""
    attention, looked = Attention(), list[float]()
    for index in range(round(seconds * FPS)):
        now_s = start_s + index / FPS
        tracks = [vehicle(at(looked[-1]), **known)] if looked else []
        if attention.wants(frame(now_s), (), tracks):
            looked.append(now_s)
    return looked


def test_a_vehicle_that_is_decided_and_stands_costs_a_frame_a_second() -> None:
    assert looks(20, reported=True) == [float(second) for second in range(20)]
    assert looks(20, standing=True) == [float(second) for second in range(20)]


def test_an_undecided_vehicle_is_stared_at_for_a_while_and_then_looked_at_like_the_scene() -> None:
    looked = looks(600)

    assert sum(each < STARE_S for each in looked) == STARE_S * FPS
    assert 1 / 1.2 <= sum(each >= STARE_S for each in looked) / (600 - STARE_S) <= 1.0


def test_an_undecided_vehicle_that_rolls_on_is_stared_at_again() -> None:
    attention = Attention()
    for second in range(20):
        attention.wants(frame(second), (), [vehicle(at(second - 1))])
    rolled = STREET.copy()
    rolled[200:260, 300:380] = 200

    assert attention.wants(frame(20.2, rolled), (), [vehicle(at(19))])
    assert attention.wants(frame(20.3, rolled), (), [vehicle(at(20.2))])


def test_a_plate_that_the_last_look_missed_is_looked_for_in_the_next_frame() -> None:
    attention = Attention()
    assert attention.wants(frame(0), (), [])
    assert attention.wants(frame(1), (), [vehicle(at(0), reported=True)])

    # It was not found at second 1.
    assert attention.wants(frame(1.125), (), [vehicle(at(0), reported=True)])
    assert not attention.wants(frame(1.25), (), [vehicle(at(1.125), reported=True)])
