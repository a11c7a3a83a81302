"""Which way, told from the plate alone."""

from __future__ import annotations

import random

import pytest

from lpr.domain.geometry import Box
from lpr.domain.passage import Action, ActionRule
from lpr.tracking.direction import POSES_KEPT, Pose, Way
from lpr.tracking.settings import Line, TrackingSettings
from tests.tracking.helpers import HEIGHT, WIDTH, approach, long, square

AUTO = TrackingSettings(camera_id="CAM", action=ActionRule.AUTO)
NEARER = [box for index in range(17) if (box := approach(0.0)(index / 8)) is not None]


def way(boxes: list[Box]) -> Way:
    result = Way()
    for box in boxes:
        result.add(Pose.of(box))
    return result


def told(boxes: list[Box], settings: TrackingSettings = AUTO) -> Action | None:
    return way(boxes).action(settings, WIDTH, HEIGHT)


def test_what_comes_nearer_enters_and_backwards_it_leaves() -> None:
    assert told(NEARER) is Action.ENTRY
    assert told(NEARER[::-1]) is Action.EXIT


def test_a_camera_that_looks_out_of_the_yard_sees_it_the_other_way_round() -> None:
    outward = TrackingSettings(camera_id="CAM", action=ActionRule.AUTO, approach_is=Action.EXIT)

    assert told(NEARER, outward) is Action.EXIT
    assert told(NEARER[::-1], outward) is Action.ENTRY


def test_a_few_frames_are_enough() -> None:
    assert told(NEARER[4:8]) is Action.ENTRY


@pytest.mark.parametrize("action", [ActionRule.ENTRY, ActionRule.EXIT])
def test_a_configured_action_is_not_asked_of_the_motion(action: ActionRule) -> None:
    settings = TrackingSettings(camera_id="CAM", action=action)

    assert told(NEARER[:1], settings) == told(NEARER[::-1], settings) == Action(action.value)


def test_one_frame_tells_nothing() -> None:
    assert told(NEARER[:1]) is None
    assert told([]) is None


def test_a_shaking_camera_before_a_standing_car_tells_nothing() -> None:
    chance = random.Random(7)
    shaken = [long(640 + chance.gauss(0, 4), 300 + chance.gauss(0, 4), 150 + chance.gauss(0, 4)) for _ in range(200)]

    assert told(shaken) is None


def test_passing_from_side_to_side_tells_nothing_without_a_line() -> None:
    assert told([square(200 + 60 * index, 400) for index in range(12)]) is None


def test_ten_minutes_at_the_barrier_do_not_hide_the_approach() -> None:
    assert told(NEARER + [NEARER[-1]] * 4800) is Action.ENTRY


def test_the_way_takes_no_more_memory_after_ten_minutes() -> None:
    assert len(way(NEARER * 300)._poses) <= POSES_KEPT


def test_across_a_line_from_its_left_hand_to_its_right_is_in() -> None:
    # Drawn from bottom to top: who looks up has the left half of the picture at his left hand.
    settings = TrackingSettings(camera_id="CAM", action=ActionRule.AUTO, line=Line((0.5, 1.0), (0.5, 0.0)))
    rightwards = [square(400 + 40 * index, 400) for index in range(12)]

    assert told(rightwards, settings) is Action.ENTRY
    assert told(rightwards[::-1], settings) is Action.EXIT


def test_down_across_a_line_from_left_to_right_is_in() -> None:
    settings = TrackingSettings(camera_id="CAM", action=ActionRule.AUTO, line=Line((0.0, 0.5), (1.0, 0.5)))

    assert told(NEARER, settings) is Action.ENTRY


def test_along_the_line_tells_nothing() -> None:
    settings = TrackingSettings(camera_id="CAM", action=ActionRule.AUTO, line=Line((0.0, 0.5), (1.0, 0.5)))

    assert told([square(200 + 60 * index, 400) for index in range(12)], settings) is None


def test_who_goes_back_most_of_the_way_has_turned_where_he_was_nearest() -> None:
    there_and_back = way([*NEARER, *NEARER[::-1]])
    ways = there_and_back.turn()

    assert ways is not None
    before, since = ways
    assert before.action(AUTO, WIDTH, HEIGHT) is Action.ENTRY
    assert since.action(AUTO, WIDTH, HEIGHT) is Action.EXIT


def test_who_leaves_and_comes_back_has_turned_where_he_was_farthest() -> None:
    ways = way([*NEARER[::-1], *NEARER]).turn()

    assert ways is not None
    assert [each.action(AUTO, WIDTH, HEIGHT) for each in ways] == [Action.EXIT, Action.ENTRY]


@pytest.mark.parametrize("back", [0, 1, 4])
def test_who_stops_or_rolls_back_a_little_has_not_turned(back: int) -> None:
    assert way([*NEARER, *NEARER[::-1][: back + 1], *[NEARER[-1 - back]] * 20]).turn() is None
    assert way(NEARER[:1]).turn() is None


def test_a_plate_that_is_covered_and_shrinks_in_its_place_has_not_turned() -> None:
    covered = [Box(box.x, box.y, box.width * 0.4, box.height) for box in [NEARER[-1]] * 10]

    assert way([*NEARER, *covered]).turn() is None


def test_pictures_of_another_size_make_no_turn() -> None:
    # So long a way that every eighth pose is kept, and the newest few are apart.
    going_on = way([*NEARER[12:], *[NEARER[-1]] * 207])
    going_on.stretch(0.25, 0.25)
    for _ in range(4):
        going_on.add(Pose.of(NEARER[-1]).stretched(0.25, 0.25))

    assert going_on.turn() is None
