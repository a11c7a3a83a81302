"""Where a plate is expected, and what is believed to be it."""

from __future__ import annotations

import pytest

from lpr.domain.geometry import Box
from lpr.tracking.motion import Motion
from tests.tracking.helpers import HEIGHT, WIDTH, long, square

AREA = float(WIDTH * HEIGHT)
PICTURE = Box(0, 0, WIDTH, HEIGHT)


def driven(speed_px_s: float, fps: float = 8.0, frames: int = 8) -> Motion:
    """A motorbike's plate that has moved to the right; its last frame was at second 0, its centre then at x = 600."""
    first_s = -(frames - 1) / fps
    motion = Motion(square(600 + speed_px_s * first_s, 300), first_s)
    for index in range(1, frames):
        seconds = first_s + index / fps
        motion.update(square(600 + speed_px_s * seconds, 300), seconds)
    return motion


def test_a_steady_drive_is_foretold() -> None:
    expected = driven(speed_px_s=400).predict(0.5)

    assert expected.x == pytest.approx(800, abs=8)
    assert expected.y == pytest.approx(300, abs=4)


def test_growth_is_foretold() -> None:
    motion = Motion(square(600, 300, 60), 0.0)
    for index in range(1, 8):
        motion.update(square(600, 300, 60 * 1.08**index), index / 8)

    assert motion.predict(1.0).size < 60 * 1.08**7.2 < motion.predict(1.0).box.width


def test_the_expected_box_has_the_shape_that_was_seen() -> None:
    expected = Motion(long(600, 300, 150), 0.0).predict(0.1).box

    assert expected.width == pytest.approx(150, rel=0.01)
    assert expected.height == pytest.approx(150 / 4.73, rel=0.01)


def test_a_box_where_the_plate_is_expected_is_far_likelier_the_plate_than_a_new_one() -> None:
    evidence = driven(speed_px_s=400).predict(0.125).evidence(square(650, 300), AREA)

    assert evidence is not None
    assert evidence > 8


def test_a_box_across_the_street_is_out_of_reach() -> None:
    assert driven(speed_px_s=0).predict(0.125).evidence(square(1000, 300), AREA) is None


def test_after_a_longer_gap_more_is_within_reach() -> None:
    motion, aside = driven(speed_px_s=0), square(760, 300)

    assert motion.predict(0.125).evidence(aside, AREA) is None
    assert motion.predict(1.0).evidence(aside, AREA) is not None


def test_a_long_plate_is_doubted_where_a_square_one_is_expected() -> None:
    expected = driven(speed_px_s=0).predict(0.125)
    same, other = expected.evidence(square(600, 300), AREA), expected.evidence(long(600, 300, 128), AREA)

    assert same is not None
    assert other is None or other < same - 3


def test_at_the_edge_the_part_in_sight_is_expected() -> None:
    # The plate leaves through the right edge: half of it is still in the picture.
    motion = driven(speed_px_s=640)
    for index in range(1, 9):
        motion.update(square(600 + 80 * index, 300), index / 8)
    expected = motion.predict(1.0 + 0.5 / 8).within(PICTURE)
    seen = Box(1280 - 40, 300 - 29.4, 40, 58.8)

    assert expected.box.right <= WIDTH + 1
    assert expected.evidence(seen, AREA) is not None


def test_a_plate_inside_the_picture_is_expected_whole() -> None:
    expected = driven(speed_px_s=0).predict(0.1)

    assert expected.within(PICTURE) is expected
