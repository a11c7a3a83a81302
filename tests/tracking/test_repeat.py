"""The same plate again, and what only looks like it."""

from __future__ import annotations

import json
from datetime import timedelta

from lpr.domain.clock import Instant
from lpr.domain.passage import Action
from lpr.tracking.repeat import MAX_PLATES, RepeatGuard, Verdict
from tests.tracking.helpers import at

ENTRY, EXIT = Action.ENTRY, Action.EXIT


def guard_with(text: str, action: Action = ENTRY, seconds: float = 0.0) -> RepeatGuard:
    guard = RepeatGuard(60)
    guard.reported(text, action, at(seconds))
    return guard


def test_the_same_plate_within_the_time_is_a_repeat_and_after_it_new() -> None:
    guard = guard_with("59X112345")

    assert guard.verdict("59X112345", ENTRY, at(59)) is Verdict.REPEAT
    assert guard.verdict("59X112345", ENTRY, at(61)) is Verdict.NEW


def test_a_plate_one_character_away_is_new() -> None:
    assert guard_with("59X112345").verdict("59X112354", ENTRY, at(1)) is Verdict.NEW


def test_the_other_way_is_new() -> None:
    guard = guard_with("59X112345", ENTRY)

    assert guard.verdict("59X112345", EXIT, at(20)) is Verdict.NEW
    guard.reported("59X112345", EXIT, at(20))
    assert guard.verdict("59X112345", EXIT, at(30)) is Verdict.REPEAT
    assert guard.verdict("59X112345", ENTRY, at(40)) is Verdict.NEW


def test_while_the_direction_is_unknown_the_verdict_is_open() -> None:
    assert guard_with("59X112345").verdict("59X112345", None, at(5)) is Verdict.UNCERTAIN
    assert RepeatGuard().verdict("59X112345", None, at(5)) is Verdict.NEW


def test_a_plate_that_stands_is_remembered_from_its_last_sight() -> None:
    guard = guard_with("59X112345")
    for seconds in range(0, 600, 10):
        guard.refresh("59X112345", at(seconds))

    assert guard.verdict("59X112345", ENTRY, at(640)) is Verdict.REPEAT
    assert guard.verdict("59X112345", ENTRY, at(660)) is Verdict.NEW


def test_a_late_refresh_does_not_turn_time_back() -> None:
    guard = guard_with("59X112345", seconds=100)
    guard.refresh("59X112345", at(10))
    guard.refresh("never seen", at(10))

    assert guard.verdict("59X112345", ENTRY, at(155)) is Verdict.REPEAT


def test_what_is_too_old_is_forgotten_and_the_number_is_bounded() -> None:
    guard = RepeatGuard(60)
    for number in range(MAX_PLATES + 500):
        guard.reported(f"59X1{number:05d}", ENTRY, at(number / 1000))
    assert guard.count == MAX_PLATES

    guard.reported("51A12345", ENTRY, at(200))
    assert guard.count == 1


def test_it_survives_a_restart_whatever_the_monotonic_clock_says() -> None:
    guard = guard_with("59X112345", EXIT, seconds=10)
    state = json.loads(json.dumps(guard.state()))
    # After the restart the monotonic clock begins anew; the wall clock went on.
    now = Instant(at(40).wall, 3.0)
    restored = RepeatGuard(60)
    restored.restore(state, now)

    assert restored.verdict("59X112345", EXIT, now) is Verdict.REPEAT
    assert restored.verdict("59X112345", EXIT, now.plus(31)) is Verdict.NEW


def test_what_makes_no_sense_is_not_taken_up() -> None:
    good = guard_with("59X112345").state()[0]
    restored = RepeatGuard(60)
    restored.restore(
        [
            {},
            {**good, "action": "sideways"},
            {**good, "lastSeen": "yesterday"},
            {**good, "lastSeen": "2026-11-23T01:02:03"},
            {**good, "lastSeen": (at(0).wall + timedelta(days=3)).isoformat()},
            {**good, "lastSeen": (at(0).wall - timedelta(days=3)).isoformat()},
        ],
        at(5),
    )

    assert restored.count == 0


def test_nobody_turns_round_within_a_moment() -> None:
    guard = guard_with("59X112345", ENTRY)

    assert guard.verdict("59X112345", EXIT, at(1)) is Verdict.REPEAT
    assert guard.verdict("59X112345", EXIT, at(5)) is Verdict.NEW


def test_who_was_seen_to_turn_round_is_believed_at_once() -> None:
    guard = guard_with("59X112345", ENTRY)

    assert guard.verdict("59X112345", EXIT, at(0), turned=True) is Verdict.NEW
    assert guard.verdict("59X112345", ENTRY, at(0), turned=True) is Verdict.REPEAT
