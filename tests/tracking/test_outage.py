"""A camera that shows nothing for a while, with a vehicle in sight that could not be read: one event, not two."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from lpr.domain.geometry import Box
from lpr.domain.passage import Passage, PassageOutcome
from lpr.domain.plate import PlateRead
from lpr.tracking.tracker import PassageTracker
from lpr.tracking.watch import LONGEST_OUTAGE_S
from tests.tracking.helpers import Placed, approach, at, frame, play, read, square, times, tracker

READ, UNREADABLE = PassageOutcome.READ, PassageOutcome.UNREADABLE
BIKE = "59X112345"
LOST_S = 1.5
"""When the camera is lost: the vehicle is three quarters of its way to the barrier."""

Spoil = Callable[[float, str, Box], PlateRead | None]

EVERY_OUTAGE = pytest.mark.parametrize("outage_s", [4.5, 8.0, 25.0, 55.0])


def unreadable(_seconds: float, text: str, box: Box) -> PlateRead:
    return read(text, box, sure=0.2, readable=0.2)


def unread_until(until_s: float) -> Spoil:
    return lambda seconds, text, box: unreadable(seconds, text, box) if seconds < until_s else read(text, box)


def read_until(until_s: float) -> Spoil:
    return lambda seconds, text, box: read(text, box) if seconds <= until_s else unreadable(seconds, text, box)


def to_the_barrier(leaves_s: float) -> Placed:
    """Comes in two seconds, waits, and has driven on past the camera a second after `leaves_s`."""
    comes, end = approach(0.0), Box(640 - 80, 441, 160, 118)

    def box(seconds: float) -> Box | None:
        if seconds <= 2.0:
            return comes(seconds)
        gone = max(0.0, seconds - leaves_s)
        return end.moved(-400 * gone, 80 * gone) if gone <= 1 else None

    return box


def play_with_an_outage(
    subject: PassageTracker, plates: list[tuple[str, Placed]], outage_s: float, spoil: Spoil, *, after_s: float = 15.0
) -> list[tuple[float, Passage]]:
    """What is handed on, and when (seconds): by frames, and by the clock while none come. Nothing is finished."""
    told: list[tuple[float, Passage]] = []
    back_s = LOST_S + outage_s
    for start_s, until_s in ((0.0, LOST_S), (back_s, back_s + after_s)):
        for seconds in times(start_s, until_s, 8):
            passages = play(subject, plates, start_s=seconds, until_s=seconds, spoil=spoil, finish=False)
            told += [(seconds, each) for each in passages]
        for seconds in times(until_s, back_s, 2):
            told += [(seconds, each) for each in subject.close_stale(at(seconds))]
    return told


def outcomes(told: list[tuple[float, Passage]]) -> list[PassageOutcome]:
    return [each.outcome for _, each in told]


@EVERY_OUTAGE
def test_who_waits_at_the_barrier_meanwhile_and_is_read_then_is_told_once(outage_s: float) -> None:
    way = to_the_barrier(leaves_s=LOST_S + outage_s + 3)
    told = play_with_an_outage(tracker(), [(BIKE, way)], outage_s, unread_until(LOST_S + outage_s))

    assert [(each.outcome, each.plate.text) for _, each in told] == [(READ, BIKE)]


@EVERY_OUTAGE
def test_who_is_read_some_seconds_after_the_cameras_return_is_told_once(outage_s: float) -> None:
    way = to_the_barrier(leaves_s=LOST_S + outage_s + 6)
    told = play_with_an_outage(tracker(), [(BIKE, way)], outage_s, unread_until(LOST_S + outage_s + 5))

    assert outcomes(told) == [READ]


@EVERY_OUTAGE
def test_who_was_read_before_and_cannot_be_read_any_more_is_told_once(outage_s: float) -> None:
    way = to_the_barrier(leaves_s=LOST_S + outage_s + 1)
    told = play_with_an_outage(tracker(), [(BIKE, way)], outage_s, read_until(LOST_S))

    assert outcomes(told) == [READ]


@EVERY_OUTAGE
def test_who_cannot_be_read_before_nor_after_is_told_once(outage_s: float) -> None:
    way = to_the_barrier(leaves_s=LOST_S + outage_s + 1)
    told = play_with_an_outage(tracker(), [(BIKE, way)], outage_s, unreadable)

    assert outcomes(told) == [UNREADABLE]
    assert told[0][1].first_seen == at(0.0), "the times of capture stay what they were"


@EVERY_OUTAGE
def test_who_has_gone_meanwhile_is_told_when_the_camera_has_been_back_for_some_seconds(outage_s: float) -> None:
    told = play_with_an_outage(tracker(), [(BIKE, approach(0.0))], outage_s, unreadable)

    assert outcomes(told) == [UNREADABLE]
    assert 1.5 <= told[0][0] - (LOST_S + outage_s) <= 3.0


@EVERY_OUTAGE
def test_who_comes_after_the_cameras_return_is_another_vehicle(outage_s: float) -> None:
    next_one = approach(LOST_S + outage_s + 1)
    told = play_with_an_outage(
        tracker(), [(BIKE, approach(0.0)), ("51A12345", next_one)], outage_s, unread_until(LOST_S + outage_s)
    )

    assert sorted(outcomes(told)) == [READ, UNREADABLE]


def test_a_camera_that_does_not_come_back_holds_nobody_for_ever() -> None:
    outage_s = 2 * LONGEST_OUTAGE_S
    told = play_with_an_outage(tracker(), [(BIKE, approach(0.0))], outage_s, unreadable)

    assert outcomes(told) == [UNREADABLE]
    assert told[0][0] == pytest.approx(LOST_S + LONGEST_OUTAGE_S + 1, abs=1.0)


def test_after_minutes_nobody_is_taken_for_who_was_there_before() -> None:
    outage_s = LONGEST_OUTAGE_S + 5
    way = to_the_barrier(leaves_s=LOST_S + outage_s + 1)
    told = play_with_an_outage(tracker(), [(BIKE, way)], outage_s, unreadable)

    assert outcomes(told) == [UNREADABLE, UNREADABLE]


def test_a_still_scene_that_is_not_analysed_is_no_outage() -> None:
    subject = tracker()
    play(subject, [(BIKE, approach(0.0))], until_s=2, spoil=unreadable, finish=False)
    told = [(seconds, each) for seconds in times(2.125, 12, 8) for each in subject.pass_over(frame(seconds))]

    assert outcomes(told) == [UNREADABLE]
    assert told[0][0] <= 6.0


def test_a_vehicle_beside_the_unread_one_does_not_explain_it() -> None:
    outage_s = 20.0
    beside = square(1150, 600, 160)
    plates: list[tuple[str, Placed]] = [
        (BIKE, approach(0.0, x=120)),
        ("51A12345", lambda seconds: beside if LOST_S + outage_s <= seconds <= LOST_S + outage_s + 2 else None),
    ]
    told = play_with_an_outage(tracker(), plates, outage_s, unread_until(LOST_S + outage_s))

    assert sorted(outcomes(told)) == [READ, UNREADABLE]


@EVERY_OUTAGE
@pytest.mark.parametrize("spoil_next", [False, True])
def test_who_has_taken_the_place_meanwhile_is_another_vehicle(outage_s: float, spoil_next: bool) -> None:
    """The next in the row stands where the unread one stood, and could be it but for the text."""
    back_s = LOST_S + outage_s
    place = to_the_barrier(leaves_s=back_s + 3)
    plates: list[tuple[str, Placed]] = [
        (BIKE, lambda seconds: place(seconds) if seconds <= LOST_S else None),
        ("51A46783", lambda seconds: place(seconds) if seconds >= back_s else None),
    ]

    def muddy(seconds: float, text: str, box: Box) -> PlateRead:
        # Hardly surer of one character than of all the others: it contradicts nothing.
        return read(text, box, sure=0.04, readable=0.2) if spoil_next or seconds < back_s else read(text, box)

    told = play_with_an_outage(tracker(), plates, outage_s, muddy)

    assert sorted(outcomes(told)) == sorted([UNREADABLE, UNREADABLE if spoil_next else READ])


@pytest.mark.parametrize("outage_s", [1.5, 2.5, 3.5])
def test_a_hiccup_of_the_camera_is_no_outage(outage_s: float) -> None:
    """No longer than a post may hide a plate: what does not contradict is one vehicle, whatever was guessed before."""
    chance = random.Random(2)

    def guessed(seconds: float, text: str, box: Box) -> PlateRead:
        if seconds > LOST_S:
            return read(text, box)
        digits = "".join(chance.choices("0123456789", k=8))
        return read(f"{digits[:2]}{chance.choice('ABCDEFGHK')}{digits[2:]}", box, sure=0.06, readable=0.2)

    told = play_with_an_outage(tracker(), [(BIKE, approach(0.0, seconds=6.0))], outage_s, guessed)

    assert [(each.outcome, each.plate.text) for _, each in told] == [(READ, BIKE)]
