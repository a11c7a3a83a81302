"""A back-end that lives and leaves some types of event unanswered, case by case, in simulated time."""

from __future__ import annotations

import pytest

from lpr.wire import ERROR, PLATE_DETECTED, PROCESSING_STATUS, Retry, Stored
from tests.link.model import World
from tests.link.test_delivery import answer, connected, in_flight, warm_up

BEYOND_S = 12.1
"""An answer that has not come in this time is not waited for."""


def live(world: World, seconds: float, ack: object = None) -> None:
    """Let time pass; the other end gives a sign of life every second, and answers detections with `ack`."""
    for _ in range(round(seconds * 10)):
        world.advance(0.1)
        world.progress(0, 0, 0.05)
        while world.fetches:
            world.page()
        while world.to_leave:
            world.clear()
        for emission in sorted(world.open) if ack is not None else ():
            if world.open[emission].ticket.event_type == PLATE_DETECTED:
                world.answer(emission, ack)  # type: ignore[arg-type]


def mute(*kinds: str) -> World:
    """A connection on which these types are known to go unanswered."""
    world = connected()
    warm_up(world)
    for kind in kinds:
        world.record(kind)
    live(world, BEYOND_S)
    assert not world.up, "a new connection has been tried"
    world.connect()
    live(world, BEYOND_S)
    assert world.up
    return world


@pytest.mark.parametrize("kind", [PROCESSING_STATUS, ERROR])
def test_a_connection_is_given_up_once_and_not_again_for_a_type_that_nobody_answers(kind: str) -> None:
    world = mute(kind)
    for _ in range(20):
        world.record(kind)
        live(world, 30.0)
    assert world.up
    assert len(world.sends) >= 10 + 20


def test_a_detection_does_not_wait_for_what_stays_unanswered() -> None:
    world = mute(PROCESSING_STATUS, ERROR)
    for _ in range(20):
        world.record(ERROR)
        world.record(PROCESSING_STATUS)
        live(world, 1.0)
        name = world.record()
        assert name in in_flight(world)
        assert not next(send for send in world.open.values() if send.ticket.event_id == name).replayed
        answer(world, name, Stored())
    beside = [name for name in in_flight(world) if name[0] != PLATE_DETECTED[0]]
    assert len(beside) == 1


def test_a_backlog_of_detections_does_not_wait_for_errors_that_stay_unanswered() -> None:
    world = mute(ERROR)
    world.lose()
    for _ in range(30):
        world.record(ERROR)
        world.record()
    world.connect()
    live(world, 5.0, Stored())
    assert not [name for name in world.disk if name[0] == PLATE_DETECTED[0]]


def test_an_answer_after_all_ends_it() -> None:
    world = mute(ERROR)
    world.record(ERROR)
    live(world, 2.0)
    answer(world, in_flight(world)[0], Retry(60_000))
    assert len(in_flight(world)) == 1, "the second error has its turn in the window"
    live(world, BEYOND_S)
    assert not world.up, "that it is silent again is tried once more on a new connection"


def test_answers_that_always_come_late_settle_all_the_same() -> None:
    world = connected()
    warm_up(world)
    late = world.record()
    live(world, BEYOND_S)
    assert not world.up
    world.connect()
    live(world, BEYOND_S)
    assert world.up
    emission = max(number for number, send in world.sends.items() if send.ticket.event_id == late)
    live(world, 0.5)
    world.answer(emission, Stored())
    live(world, 20.0)
    assert not world.disk
    assert world.up


def test_an_answer_that_was_waited_for_longer_than_usual_is_none_in_time() -> None:
    world = mute(PLATE_DETECTED)
    live(world, 600.0)  # the event that made it so is asked about once a minute now
    world.record(size=500)
    live(world, 7.0)
    name = world.record(size=500)
    live(world, 8.5)  # meanwhile the first one was given up, from where silence is counted anew
    answer(world, name, Stored())
    world.record(size=500)
    live(world, BEYOND_S)
    assert world.up, "no new connection is tried"


def test_a_line_that_gives_no_sign_of_life_is_given_up_whatever_was_sent() -> None:
    world = mute(PROCESSING_STATUS)
    world.record(PROCESSING_STATUS)
    world.advance(12.1)
    assert not world.up


def test_a_detection_that_is_not_answered_ends_the_connection_though_other_types_never_are() -> None:
    world = mute(PROCESSING_STATUS)
    world.record()
    live(world, 12.1)
    assert not world.up


def test_an_error_that_nobody_answers_is_a_dead_letter_after_ten_sends_while_detections_pass() -> None:
    world = mute(ERROR)
    [error] = [name for name in world.disk if name[0] == ERROR[0]]
    for _ in range(60):
        world.record()
        live(world, 10.0, Stored())
    assert world.dead == {error: "UNANSWERED"}
    assert 10 <= sum(send.ticket.event_id == error for send in world.sends.values()) <= 12
    # Its author has added the line that was missing.
    world.record(ERROR)
    world.heal()
    assert not world.dead
    assert error in world.stored


def test_without_a_detection_that_passes_nothing_is_given_up() -> None:
    world = mute(ERROR, PROCESSING_STATUS)
    live(world, 3600.0)
    assert not world.dead
    assert world.up


def test_detections_that_nobody_answers_are_kept() -> None:
    world = mute(PLATE_DETECTED)
    live(world, 3600.0)
    assert not world.dead
    assert world.up
    attempts = sum(send.ticket.event_type == PLATE_DETECTED for send in world.sends.values()) - 10
    assert 50 < attempts < 70, "once in the longest wait, and no more"


def test_a_wish_for_no_backlog_holds_for_what_is_mute_too() -> None:
    world = mute(ERROR)
    world.lose()
    world.connect(rate=0.0)
    live(world, 20.0)
    assert in_flight(world) == []
    fresh = world.record(ERROR)
    assert in_flight(world) == [fresh]
    world.lose(wanted=True)
