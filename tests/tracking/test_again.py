"""The same vehicle seen again: by the next run of the agent, and by the gate's other camera."""

from __future__ import annotations

import json
import math

import pytest

from lpr.domain.choices import EmitRule
from lpr.domain.geometry import Box
from lpr.domain.passage import Action, ActionRule, Passage, PassageOutcome
from lpr.domain.plate import PlateRead
from lpr.tracking.repeat import RepeatGuard
from lpr.tracking.standing import StandingMemory
from tests.tracking.helpers import Placed, approach, at, long, play, read, square, texts, tracker


def restarted(guard: RepeatGuard, standing: StandingMemory, now_s: float) -> tuple[RepeatGuard, StandingMemory]:
    """What the next run of the agent knows at `now_s`, by way of its file."""
    kept = json.loads(json.dumps([guard.state(), standing.state()]))
    guard, standing = RepeatGuard(guard.repeat_after_s), StandingMemory(standing.after_s, standing.forget_s)
    guard.restore(kept[0], at(now_s))
    standing.restore(kept[1], at(now_s))
    return guard, standing


def waits_until(start_s: float) -> Placed:
    """At the barrier until then, and in through it."""

    def box(now_s: float) -> Box | None:
        driven_s = max(0.0, now_s - start_s)
        return long(640, 400 + 60 * driven_s, 150 + 40 * driven_s) if driven_s < 4 else None

    return box


@pytest.mark.parametrize("down_s", [5.0, 180.0])
@pytest.mark.parametrize("action", list(ActionRule))
def test_a_car_at_the_barrier_is_one_passage_though_the_agent_starts_again(action: ActionRule, down_s: float) -> None:
    guard, standing = RepeatGuard(60.0), StandingMemory(900.0, 86_400.0)
    car = [("29A12345", waits_until(270.0))]
    before = play(tracker(guard, standing=standing, action=action), car, until_s=60, fps=4, finish=False)

    guard, standing = restarted(guard, standing, 60 + down_s)
    after = play(
        tracker(guard, standing=standing, action=action),
        car,
        start_s=60 + down_s,
        until_s=276,
        fps=4,
    )

    assert texts(before) == ["29A12345"]
    assert texts(after) == []


def test_another_car_in_that_place_after_the_restart_is_a_passage() -> None:
    guard, standing = RepeatGuard(60.0), StandingMemory(900.0, 86_400.0)
    play(tracker(guard, standing=standing), [("29A12345", lambda _s: long(640, 400))], until_s=50, fps=4, finish=False)

    guard, standing = restarted(guard, standing, 80)
    after = play(tracker(guard, standing=standing), [("29A12346", lambda _s: long(640, 400))], start_s=80, until_s=85)

    assert texts(after) == ["29A12346"]
    assert after[0].action is Action.ENTRY


# The gate's other camera


def half_blind(_seconds: float, text: str, box: Box) -> PlateRead:
    """Of `59X112345` the last two characters are behind a bar; nothing at all is read of other plates."""
    if text != "59X112345":
        return read("51K66078", box, sure=0.2, readable=0.2)
    return read("59X112388", box, rivals={7: ("4", 0.5), 8: ("5", 0.5)}, readable=0.6)


def seen_by_both(*plates: str, back_action: ActionRule = ActionRule.ENTRY) -> tuple[list[Passage], list[Passage]]:
    """What comes of vehicles, one behind the other, that pass a good camera and then a half blind one of one gate."""
    guard = RepeatGuard(60.0)
    front = tracker(guard, camera_id="FRONT", action=ActionRule.ENTRY)
    back = tracker(guard, camera_id="BACK", action=back_action)
    first = play(front, [(text, approach(4.0 * index)) for index, text in enumerate(plates)], until_s=12)
    ways = [(text, approach(4.0 * index + 1.5)) for index, text in enumerate(plates)]
    return first, play(back, ways, until_s=14, spoil=half_blind)


def test_what_one_camera_of_the_gate_has_read_is_not_unreadable_to_the_other() -> None:
    front, back = seen_by_both("59X112345")

    assert texts(front) == ["59X112345"]
    assert back == []


def test_a_vehicle_that_resembles_none_that_was_read_is_told_though_the_other_camera_read_one() -> None:
    front, back = seen_by_both("59X112345", "29B199887")

    assert texts(front) == ["59X112345", "29B199887"]
    assert [each.outcome for each in back] == [PassageOutcome.UNREADABLE]


def test_the_other_lane_of_the_gate_is_another_vehicle() -> None:
    _, back = seen_by_both("59X112345", back_action=ActionRule.EXIT)

    assert [each.outcome for each in back] == [PassageOutcome.UNREADABLE]


def test_a_vehicle_that_was_read_explains_one_unread_one_only() -> None:
    guard = RepeatGuard(60.0)
    guard.reported("59X112345", Action.ENTRY, at(10), "FRONT")

    assert not guard.explains("59X112388", Action.ENTRY, at(9), at(11), "FRONT")
    assert not guard.explains("59X112388", Action.ENTRY, at(40), at(42), "BACK")
    assert guard.explains("59X112388", None, at(9), at(11), "BACK")
    assert not guard.explains("59X112388", None, at(12), at(13), "BACK")


# The same vehicle, further on


@pytest.mark.parametrize("emit", list(EmitRule))
def test_a_vehicle_that_jumps_in_the_picture_goes_the_way_that_both_pieces_show(emit: EmitRule) -> None:
    """Somebody pushes the camera: the first piece is too short to tell the way, and ends while the second is seen."""

    def leaving(now_s: float) -> Box | None:
        if not 0 <= now_s <= 4:
            return None
        return square(900 if now_s < 0.4 else 300, 500 - 70 * now_s, 150 * math.exp(-0.35 * now_s))

    passages = play(tracker(action=ActionRule.AUTO, emit=emit), [("59X112345", leaving)], until_s=5)

    assert [(each.plate.text, each.action) for each in passages] == [("59X112345", Action.EXIT)]


# What was never near


@pytest.mark.parametrize(("width", "outcomes"), [(50.0, []), (90.0, [PassageOutcome.UNREADABLE])])
def test_a_car_in_the_street_behind_is_no_unreadable_vehicle(width: float, outcomes: list[PassageOutcome]) -> None:
    def across(now_s: float) -> Box | None:
        return long(200 + 150 * now_s, 120, width) if 0 <= now_s <= 4 else None

    def blurred(_seconds: float, text: str, box: Box) -> PlateRead:
        return read(text, box, sure=0.2, readable=0.2)

    passages = play(tracker(), [("51A12345", across)], until_s=12, spoil=blurred)

    assert [each.outcome for each in passages] == outcomes


@pytest.mark.parametrize(("repeat_after_s", "count"), [(0.0, 3), (5.0, 3), (60.0, 1)])
def test_the_same_way_once_more_counts_where_repeats_do(repeat_after_s: float, count: int) -> None:
    rounds = [("51A12345", approach(start_s)) for start_s in (0.0, 9.5, 19.0)]
    passages = play(tracker(RepeatGuard(repeat_after_s), emit=EmitRule.FINAL), rounds, until_s=25)

    assert texts(passages) == ["51A12345"] * count
