"""Each vehicle once, right, in order: situation by situation."""

from __future__ import annotations

import math
import random
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lpr.domain.choices import EmitRule
from lpr.domain.clock import Instant
from lpr.domain.frame import Frame
from lpr.domain.geometry import Box
from lpr.domain.passage import Action, ActionRule, PassageOutcome
from lpr.domain.plate import PlateRead, VehicleType
from lpr.tracking.repeat import RepeatGuard
from lpr.tracking.standing import StandingMemory
from lpr.tracking.tracker import NoteKind
from tests.tracking.helpers import (
    BLACK,
    HEIGHT,
    WIDTH,
    Placed,
    approach,
    at,
    frame,
    long,
    play,
    read,
    square,
    texts,
    times,
    tracker,
)

READ, UNREADABLE = PassageOutcome.READ, PassageOutcome.UNREADABLE


def standing(box: Box, start_s: float = 0.0, end_s: float = math.inf) -> Placed:
    return lambda seconds: box if start_s <= seconds <= end_s else None


def to_the_barrier(start_s: float, stand_s: float, leave: bool = True) -> Placed:
    """A car that comes for 2 s, stands, and drives off for 1.5 s under the camera."""

    def box(seconds: float) -> Box | None:
        share = (seconds - start_s) / 2
        if share < 0:
            return None
        if share <= 1:
            return long(640, 150 + 200 * share, 80 * math.exp(0.6 * share))
        beyond = (seconds - start_s - 2 - stand_s) / 1.5
        if beyond <= 0:
            return long(640, 350, 146)
        return long(640 + 60 * beyond, 350 + 300 * beyond**2, 146 * math.exp(0.5 * beyond)) if beyond < 1 else None

    return lambda seconds: box(seconds) if leave or seconds <= start_s + 2 + stand_s else None


# One vehicle


def test_a_vehicle_that_comes_nearer_is_handed_on_once_and_early() -> None:
    passages = play(tracker(), [("59X112345", approach(0.0))], until_s=6)

    assert texts(passages) == ["59X112345"]
    (passage,) = passages
    assert passage.outcome is READ
    assert passage.passage_id == "p1"
    assert passage.camera_id == "CAM"
    assert passage.plate.display == "59-X1 123.45"
    assert passage.vehicle_type is VehicleType.MOTORCYCLE
    assert passage.plate.confidence > 0.9
    assert passage.first_seen == at(0)
    # Settled long before it has gone, and on no more frames than it takes.
    assert passage.decided_at.seconds_since(at(0)) < 0.5
    assert 2 <= passage.frames_read <= 4
    assert passage.best_frame.captured_at == passage.last_seen


def test_the_last_word_carries_the_largest_sharpest_picture() -> None:
    def blurred_in_the_end(seconds: float, text: str, box: Box) -> PlateRead:
        return read(text, box, sharpness=12.0 if seconds < 1.6 else 2.0)

    passages = play(tracker(emit=EmitRule.FINAL), [("59X112345", approach(0.0))], until_s=6, spoil=blurred_in_the_end)

    assert texts(passages) == ["59X112345"]
    assert passages[0].best_frame.captured_at == at(1.5)
    assert passages[0].best_read.box.width == pytest.approx(40 * math.exp(1.386 * 0.75), abs=1)
    assert passages[0].last_seen == at(2.0)
    assert passages[0].decided_at.seconds_since(at(2.5)) >= 0
    assert passages[0].frames_read == 17


def test_now_is_when_it_was_decided() -> None:
    subject, decided = tracker(), []
    for seconds in times(0, 1, 8):
        decided += subject.update(frame(seconds), [read("59X112345", square(600, 300))], at(seconds + 0.08))

    assert decided[0].decided_at.seconds_since(decided[0].last_seen) == pytest.approx(0.08)


def test_ten_minutes_at_the_barrier_are_one_passage() -> None:
    passages = play(tracker(), [("51A12345", to_the_barrier(0.0, 600.0))], until_s=610, fps=4)

    assert texts(passages) == ["51A12345"]


def test_ten_minutes_at_the_barrier_with_somebody_walking_through_the_picture_are_one_passage() -> None:
    def hidden_at_times(seconds: float, text: str, box: Box) -> PlateRead | None:
        return None if seconds % 60 > 52 else read(text, box)

    passages = play(tracker(), [("51A12345", to_the_barrier(0.0, 600.0))], until_s=610, fps=4, spoil=hidden_at_times)

    assert texts(passages) == ["51A12345"]


@pytest.mark.parametrize("fps", [2.0, 4.0, 8.0, 25.0])
def test_the_frame_rate_does_not_matter(fps: float) -> None:
    passages = play(tracker(), [("59X112345", approach(0.0))], until_s=8, fps=fps)

    assert texts(passages) == ["59X112345"]


def test_lost_frames_do_not_matter() -> None:
    chance = random.Random(3)

    def lossy(_seconds: float, text: str, box: Box) -> PlateRead | None:
        return read(text, box) if chance.random() > 0.4 else None

    plates = [(f"59X1{number:05d}", approach(number * 4.0)) for number in range(20)]

    assert texts(play(tracker(), plates, until_s=90, spoil=lossy)) == [text for text, _ in plates]


def test_a_shaking_camera_does_not_make_two_of_one() -> None:
    chance = random.Random(5)

    def shaken(_seconds: float, text: str, box: Box) -> PlateRead:
        return read(text, box.moved(chance.gauss(0, 12), chance.gauss(0, 12)))

    assert texts(play(tracker(), [("51A12345", to_the_barrier(0.0, 60.0))], until_s=70, spoil=shaken)) == ["51A12345"]


def test_one_misread_frame_neither_counts_nor_splits() -> None:
    def misread_once(seconds: float, text: str, box: Box) -> PlateRead:
        return read("59X117345" if seconds == 0.5 else text, box)

    assert texts(play(tracker(), [("59X112345", approach(0.0))], until_s=6, spoil=misread_once)) == ["59X112345"]


def test_the_first_read_does_not_win_by_being_first() -> None:
    def wrong_at_first(seconds: float, text: str, box: Box) -> PlateRead:
        return read("59X117345" if seconds == 0 else text, box)

    assert texts(play(tracker(), [("59X112345", approach(0.0))], until_s=6, spoil=wrong_at_first)) == ["59X112345"]


def test_a_character_under_a_bolt_keeps_the_vote_open_until_the_end() -> None:
    def bolted(_seconds: float, text: str, box: Box) -> PlateRead:
        return read(text, box, rivals={5: ("7", 0.48)})

    passages = play(tracker(), [("59X112345", approach(0.0))], until_s=6, spoil=bolted)

    assert [each.outcome for each in passages] == [UNREADABLE]
    assert passages[0].plate.text == "59X112345"
    assert passages[0].plate.confidence < 0.8


def test_one_frame_only_is_enough_where_it_is_sure() -> None:
    passages = play(tracker(), [("51A12345", standing(long(600, 300), 1.0, 1.0))], until_s=8, fps=2)

    assert texts(passages) == ["51A12345"]
    assert passages[0].frames_read == 1


def test_one_frame_only_is_not_enough_where_it_is_not_sure() -> None:
    subject = tracker()
    passages = play(
        subject,
        [("51A12345", standing(long(600, 300), 1.0, 1.0))],
        until_s=8,
        fps=2,
        spoil=lambda _s, text, box: read(text, box, sure=0.9),
    )

    assert passages == []
    assert [each.kind for each in subject.take_notes()] == [NoteKind.FLICKER]


def test_photographs_one_after_the_other_are_one_vehicle_each() -> None:
    # A folder of pictures: another vehicle in every frame, much in the same place.
    plates = ["51A12345", "29C27223", "30F55510", "60A99911", "51G00017"]
    subject, passages = tracker(), []
    for index, text in enumerate(plates):
        passages += subject.update(frame(index * 0.5), [read(text, long(600 + 10 * index, 300, 150 + 5 * index))])
    passages += subject.finish(at(20))

    assert sorted(texts(passages)) == sorted(plates)


@pytest.mark.parametrize(("text", "place"), [("51A1234", long(600, 300)), ("59S37167", square(600, 300))])
def test_four_digits_that_were_seen_for_a_moment_are_never_sure_one_may_have_been_lost(text: str, place: Box) -> None:
    shortly = play(tracker(), [(text, standing(place, 1.0, 1.3))], until_s=8)
    for_longer = play(tracker(), [(text, standing(place, 1.0, 4.0))], until_s=12)

    assert texts(shortly) == texts(for_longer) == [text]
    assert 0.85 < shortly[0].plate.confidence < 0.9 < for_longer[0].plate.confidence


# Several


def test_two_that_cross_each_other_keep_their_names() -> None:
    def rightwards(seconds: float) -> Box | None:
        return square(200 + 300 * seconds, 300) if seconds <= 3 else None

    def leftwards(seconds: float) -> Box | None:
        return square(1100 - 300 * seconds, 330) if seconds <= 3 else None

    passages = play(tracker(), [("59X112345", rightwards), ("59X112354", leftwards)], until_s=8)

    assert sorted(texts(passages)) == ["59X112345", "59X112354"]


@pytest.mark.parametrize("fps", [2.0, 8.0])
def test_a_pack_of_ten_lookalikes_is_ten(fps: float) -> None:
    plates = [
        (f"59X1123{index:02d}", approach(index % 3 * 0.3, x=150 + 110 * index, seconds=2.5)) for index in range(10)
    ]

    passages = play(tracker(), plates, until_s=10, fps=fps)

    assert sorted(texts(passages)) == [text for text, _ in plates]


def test_a_lookalike_right_behind_is_a_vehicle_of_its_own() -> None:
    plates = [("59X112345", approach(0.0)), ("59X112354", approach(0.6)), ("59X112355", approach(1.2))]

    assert texts(play(tracker(), plates, until_s=10)) == [text for text, _ in plates]


@pytest.mark.parametrize("fps", [2.0, 8.0])
@pytest.mark.parametrize("pause_s", [0.0, 0.4, 1.5])
def test_the_next_car_in_the_very_same_place_is_not_swallowed(fps: float, pause_s: float) -> None:
    place = long(640, 350)
    plates = [
        ("51A12345", standing(place, 0.0, 10.0)),
        ("51A12354", standing(place, 10.1 + pause_s, 20.0)),
        ("51A12355", standing(place, 20.1 + pause_s, 30.0)),
    ]
    subject = tracker()
    passages = play(subject, plates, until_s=40, fps=fps)

    assert texts(passages) == [text for text, _ in plates]
    assert passages[1].first_seen.seconds_since(at(10)) > 0
    assert passages[1].best_frame.captured_at.seconds_since(at(10)) > 0


def test_lookalikes_are_not_swallowed_as_pieces_of_each_other_even_where_one_was_seen_once() -> None:
    once = standing(square(600, 300), 1.0, 1.0)
    follows = standing(square(620, 320), 2.0, 4.0)

    passages = play(tracker(), [("60M500042", once), ("60M500082", follows)], until_s=10)

    assert sorted(texts(passages)) == ["60M500042", "60M500082"]


def test_a_queue_at_the_barrier_comes_out_in_order() -> None:
    plates = [(f"51A1234{index}", to_the_barrier(index * 6.0, 3.0)) for index in range(5)]

    assert texts(play(tracker(), plates, until_s=45)) == [text for text, _ in plates]


def test_a_plate_found_twice_in_one_frame_is_one() -> None:
    subject, passages = tracker(), []
    for seconds in times(0, 2, 8):
        box = long(600, 300)
        doubled = [read("51A12345", box), read("51A12345", box.moved(6, 2), detection=0.6)]
        row_alone = read("12345", Box(box.x + 70, box.y, 80, box.height), detection=0.5)
        passages += subject.update(frame(seconds), [*doubled, row_alone])
        assert len(subject.tracks) == 1

    assert texts(passages) == ["51A12345"]


# Cut plates


def test_a_plate_that_comes_in_cut_is_not_settled_before_it_is_whole() -> None:
    # From the right: the last digits are still outside, and what is inside reads as an older plate.
    def enters(seconds: float) -> Box | None:
        return square(1310 - 110 * seconds, 400) if seconds <= 6 else None

    def cut(_seconds: float, text: str, box: Box) -> PlateRead | None:
        inside = (WIDTH - box.x) / box.width
        if inside < 0.3:
            return None
        return read(text if inside >= 1 else text[: 3 + int(5 * inside)], box.clipped(WIDTH, HEIGHT))

    passages = play(tracker(), [("59X112345", enters)], until_s=10, spoil=cut)

    assert texts(passages) == ["59X112345"]
    assert passages[0].best_read.box.right < WIDTH


def test_a_plate_that_comes_out_from_behind_something_is_not_settled_before_it_is_whole() -> None:
    def uncovered(seconds: float, text: str, box: Box) -> PlateRead:
        share = min(1.0, 0.55 + 0.9 * seconds)
        part = Box(box.x, box.y, box.width * share, box.height)
        # Both rows lose their ends: 59-X | 123.4 reads as a car's plate of the old kind.
        return read(text if share >= 1 else "59X1234", part)

    passages = play(tracker(), [("59X112345", standing(square(600, 300), 0, 5))], until_s=9, spoil=uncovered)

    assert texts(passages) == ["59X112345"]


def test_plates_outside_the_region_of_interest_are_not_looked_at() -> None:
    roi = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))
    plates = [("51A12345", standing(long(300, 300))), ("51A99999", standing(long(900, 300)))]
    subject = tracker(roi=roi)

    assert texts(play(subject, plates, until_s=4)) == ["51A12345"]


def test_a_plate_at_the_edge_of_the_region_may_be_cut_there() -> None:
    roi = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))
    half_in = standing(Box(WIDTH / 2 - 100, 300, 100, 32))

    passages = play(tracker(roi=roi), [("51A123", half_in)], until_s=4)

    assert [each for each in passages if each.outcome is READ] == []


# What cannot be read, and what is no vehicle


def unreadable(_seconds: float, text: str, box: Box) -> PlateRead:
    return read(text, box, sure=0.2, readable=0.2)


def test_a_vehicle_nobody_can_read_is_reported_once_with_its_picture() -> None:
    passages = play(tracker(), [("59X112345", approach(0.0))], until_s=12, spoil=unreadable)

    assert [each.outcome for each in passages] == [UNREADABLE]
    assert passages[0].best_read.box.width > 100


def test_a_piece_of_the_way_that_was_not_read_is_no_second_vehicle() -> None:
    # A post hides the plate for three seconds; before it nothing could be read, behind it everything.
    def post(seconds: float, text: str, box: Box) -> PlateRead | None:
        if 1.0 < seconds < 3.6:
            return None
        return read(text, box, sure=0.25, readable=0.3) if seconds <= 1.0 else read(text, box)

    subject = tracker()
    passages = play(subject, [("51A12345", approach(0.0, seconds=5.0))], until_s=15, spoil=post)

    assert texts(passages) == ["51A12345"]
    assert NoteKind.FRAGMENT in {each.kind for each in subject.take_notes()}


def muddy_or_clean(_seconds: float, text: str, box: Box) -> PlateRead:
    return read(text, box, sure=0.25, readable=0.2) if text == "51A11111" else read(text, box)


@pytest.mark.parametrize("gap_s", [0.5, 1.5, 3.0])
@pytest.mark.parametrize("order", [("51A11111", "51A12345"), ("51A12345", "51A11111")])
def test_a_readable_vehicle_does_not_swallow_the_muddy_one_beside_it_nor_is_swallowed(
    gap_s: float, order: tuple[str, str]
) -> None:
    plates = [(order[0], approach(0.0)), (order[1], approach(2.0 + gap_s))]

    passages = play(tracker(), plates, until_s=15, spoil=muddy_or_clean)

    assert sorted(each.outcome for each in passages) == [READ, UNREADABLE]
    assert "51A12345" in texts(passages)


def test_false_alarms_are_no_vehicles() -> None:
    chance, subject, passages = random.Random(11), tracker(), []
    for seconds in times(0, 120, 8):
        box = square(chance.uniform(80, 1200), chance.uniform(80, 640), chance.uniform(30, 120))
        false = read("".join(chance.choices("0125BCDEI", k=4)), box, sure=0.4, readable=0.2, detection=0.4)
        passages += subject.update(frame(seconds), [false] if chance.random() < 0.2 else [])
    passages += subject.finish(at(130))

    assert passages == []
    assert {each.kind for each in subject.take_notes()} <= {NoteKind.FLICKER, NoteKind.FRAGMENT}


def test_writing_on_a_wall_is_no_plate() -> None:
    assert play(tracker(), [("C00D", standing(square(600, 300)))], until_s=60) == []
    assert play(tracker(), [("P0LICE", standing(long(600, 300)))], until_s=60) == []


def test_a_foreign_plate_is_reported_and_marked() -> None:
    passages = play(tracker(), [("AB1234CD", approach(0.0, seconds=4.0, shape=long))], until_s=10)

    assert texts(passages) == ["AB1234CD"]
    assert not passages[0].plate.valid


def test_a_plate_too_small_to_be_trusted_waits_until_it_is_larger() -> None:
    passages = play(tracker(min_width_px=100), [("59X112345", approach(0.0))], until_s=6)

    assert texts(passages) == ["59X112345"]
    assert passages[0].best_read.box.width >= 100


# The same again


def test_the_same_plate_again_within_a_minute_is_the_same_passage() -> None:
    subject = tracker()
    passages = play(subject, [("51A12345", approach(0.0)), ("51A12345", approach(30.0))], until_s=40)

    assert texts(passages) == ["51A12345"]
    assert [each.text for each in subject.take_notes() if each.kind is NoteKind.REPEAT] == ["51A12345"]


def test_the_same_plate_again_after_a_minute_is_a_new_passage() -> None:
    passages = play(tracker(), [("51A12345", approach(0.0)), ("51A12345", approach(70.0))], until_s=80)

    assert texts(passages) == ["51A12345", "51A12345"]


def test_two_cameras_at_one_gate_make_one_passage() -> None:
    guard = RepeatGuard(60)
    front, back = tracker(guard), tracker(guard)
    passages = play(front, [("51A12345", approach(0.0))], until_s=3)
    passages += play(back, [("51A12345", approach(1.0))], until_s=5)

    assert texts(passages) == ["51A12345"]


def away(start_s: float) -> Placed:
    forwards = approach(0.0)
    return lambda seconds: forwards(start_s + 2.0 - seconds)


def test_the_other_way_within_a_minute_is_a_new_passage() -> None:
    subject = tracker(action=ActionRule.AUTO)
    passages = play(
        subject, [("51A12345", approach(0.0)), ("51A12345", away(20.0)), ("51A12345", approach(40.0))], until_s=50
    )

    assert [each.action for each in passages] == [Action.ENTRY, Action.EXIT, Action.ENTRY]
    assert texts(passages) == ["51A12345"] * 3


def test_a_plate_that_comes_back_without_saying_which_way_is_the_same_passage() -> None:
    subject = tracker(action=ActionRule.AUTO)
    plates = [("51A12345", approach(0.0)), ("51A12345", standing(square(640, 400), 20, 25))]

    assert len(play(subject, plates, until_s=35)) == 1


def test_a_car_that_was_lost_from_sight_and_stands_on_is_the_same_passage() -> None:
    def hidden_for_a_while(seconds: float, text: str, box: Box) -> PlateRead | None:
        return None if 5 < seconds < 9 else read(text, box)

    subject = tracker(action=ActionRule.AUTO)
    passages = play(subject, [("51A12345", to_the_barrier(0.0, 200.0))], until_s=210, fps=4, spoil=hidden_for_a_while)

    assert texts(passages) == ["51A12345"]


def test_a_car_that_stands_from_the_beginning_gets_the_default_action_in_time() -> None:
    subject = tracker(action=ActionRule.AUTO, default_action=Action.EXIT, direction_wait_s=1.0)
    passages = play(subject, [("51A12345", standing(long(600, 300)))], until_s=3, finish=False)

    assert [each.action for each in passages] == [Action.EXIT]
    assert 1.0 <= passages[0].decided_at.seconds_since(at(0)) <= 1.6


@pytest.mark.parametrize("fps", [2.0, 8.0])
def test_played_backwards_every_entry_is_an_exit(fps: float) -> None:
    plates = [(f"51A1234{index}", approach(index * 5.0)) for index in range(4)]
    forwards = play(tracker(action=ActionRule.AUTO), plates, until_s=25, fps=fps)
    mirrored = [(text, lambda seconds, place=place: place(25 - seconds)) for text, place in plates]
    backwards = play(tracker(action=ActionRule.AUTO), mirrored, until_s=25, fps=fps)

    assert [each.action for each in forwards] == [Action.ENTRY] * 4
    assert [each.action for each in backwards] == [Action.EXIT] * 4
    assert texts(forwards) == texts(backwards)[::-1]


# What stands for hours


def parked_for(hours: float, memory: StandingMemory) -> list[str]:
    """A parked car whose plate is seen for ten seconds of every two minutes."""
    subject, found = tracker(standing=memory), []
    for seconds in times(0, hours * 3600, 1 / 2):
        reads = [read("51A12345", long(300, 300))] if seconds % 120 < 10 else []
        found += texts(subject.update(frame(seconds), reads))
    return found


def test_a_parked_car_is_reported_once_and_then_learnt() -> None:
    memory = StandingMemory(900, 86_400)

    # It is seen too shortly to be learnt at once; within an hour it must have stopped.
    subject = tracker(standing=memory)
    passages = play(subject, [("51A12345", standing(long(300, 300)))], until_s=1000, fps=2)

    assert texts(passages) == ["51A12345"]
    assert [each.text for each in memory.texts()] == ["51A12345"]
    assert parked_for(2, memory) == []


def test_a_learnt_car_that_drives_off_is_a_passage() -> None:
    memory = StandingMemory(900, 86_400)
    play(tracker(standing=memory), [("51A12345", standing(long(640, 350, 146)))], until_s=1000, fps=2)

    # The next day: it stands there at first, and then it leaves.
    leaves = to_the_barrier(-2.0, 20.0)
    passages = play(tracker(standing=memory), [("51A12345", leaves)], until_s=30)

    assert texts(passages) == ["51A12345"]
    assert memory.texts() == ()


def test_a_car_in_front_of_a_learnt_one_is_a_passage() -> None:
    memory = StandingMemory(900, 86_400)
    play(tracker(standing=memory), [("51A12345", standing(long(300, 300)))], until_s=1000, fps=2)
    plates = [("51A12345", standing(long(300, 300))), ("51A12346", standing(long(305, 335)))]

    assert texts(play(tracker(standing=memory), plates, until_s=10)) == ["51A12346"]


def test_with_the_last_word_only_a_parked_car_is_kept_quiet_until_it_leaves() -> None:
    memory, leaves = StandingMemory(900, 86_400), to_the_barrier(-2.0, 50.0)
    subject = tracker(standing=memory, emit=EmitRule.FINAL)

    def hidden_at_times(seconds: float, text: str, box: Box) -> PlateRead | None:
        return None if 32 < seconds < 36 or 38 < seconds < 42 else read(text, box)

    passages = play(subject, [("51A12345", leaves)], until_s=60, spoil=hidden_at_times)

    assert texts(passages) == ["51A12345"]
    assert passages[0].last_seen.seconds_since(at(50)) > 0


def test_clearing_a_learnt_text_lets_it_be_reported_again() -> None:
    memory = StandingMemory(900, 86_400)
    play(tracker(standing=memory), [("51A12345", standing(long(300, 300)))], until_s=1000, fps=2)
    memory.clear("51A12345")

    passages = play(tracker(standing=memory), [("51A12345", standing(long(300, 300)))], until_s=5)

    assert texts(passages) == ["51A12345"]


# Time, bounds and the rest


def test_a_jump_of_the_wall_clock_changes_nothing_but_what_is_told() -> None:
    subject, passages, place = tracker(), [], approach(0.0)
    for seconds in times(0, 4, 8):
        box, moment = place(seconds), at(seconds)
        jumped = Instant(moment.wall + timedelta(days=20_000 if seconds > 0.1 else 0), moment.monotonic_s)
        picture = Frame("CAM", round(seconds * 8), BLACK, jumped)
        passages += subject.update(picture, [read("51A12345", box)] if box else [])

    assert texts(passages) == ["51A12345"]
    assert passages[0].last_seen.seconds_since(passages[0].first_seen) < 1


@pytest.mark.parametrize("text", ["51A12345", "51A12354"])
def test_after_minutes_without_a_picture_nothing_goes_on(text: str) -> None:
    place, subject = standing(long(600, 300)), tracker()
    passages = play(subject, [("51A12345", place)], until_s=2, finish=False)
    passages += play(subject, [(text, place)], start_s=302, until_s=304)

    assert texts(passages) == ["51A12345", text]
    assert passages[1].first_seen == at(302)


def test_an_unreadable_car_seen_in_pieces_is_reported_once() -> None:
    def in_pieces(seconds: float, text: str, box: Box) -> PlateRead | None:
        return None if 1.6 < seconds < 3.9 else unreadable(seconds, text, box)

    passages = play(tracker(), [("51A12345", approach(0.0, seconds=6.0))], until_s=20, spoil=in_pieces)

    assert [each.outcome for each in passages] == [UNREADABLE]


def test_a_frame_older_than_the_newest_is_noted_and_left_out() -> None:
    subject = tracker()
    subject.update(frame(5.0), [])

    assert subject.update(frame(4.0), [read("51A12345", long(600, 300))]) == ()
    assert [each.kind for each in subject.take_notes()] == [NoteKind.LATE_FRAME]
    assert subject.tracks == ()


def test_the_number_of_tracks_is_bounded() -> None:
    subject = tracker(max_tracks=8)
    for seconds in times(0, 3, 8):
        reads = [read("51A12345", long(120 + 170 * (n % 6), 60 + 90 * (n // 6))) for n in range(30)]
        subject.update(frame(seconds), reads)

    assert len(subject.tracks) <= 8
    assert NoteKind.TRACK_LIMIT in {each.kind for each in subject.take_notes()}


def test_finishing_hands_on_what_is_in_sight_in_order_and_only_once() -> None:
    subject = tracker(emit=EmitRule.FINAL)
    plates = [("51A12345", standing(long(300, 300), 0.0)), ("51A12346", standing(long(800, 300), 1.0))]
    assert play(subject, plates, until_s=3, finish=False) == []

    assert texts(subject.finish(at(3))) == ["51A12345", "51A12346"]
    assert subject.finish(at(4)) == ()
    assert subject.tracks == ()


def test_the_page_sees_what_is_in_sight() -> None:
    subject = tracker()
    play(subject, [("59X112345", approach(0.0))], until_s=1, finish=False)
    (view,) = subject.tracks

    assert view.text == "59-X1 123.45"
    assert view.reported
    assert not view.standing
    assert view.frames == 9
    assert view.box.width > 60


def test_other_rules_hold_from_the_next_frame() -> None:
    subject = tracker(min_width_px=1000)
    place = approach(0.0, seconds=4)
    assert play(subject, [("59X112345", place)], until_s=1, finish=False) == []

    subject.configure(tracker().settings)
    assert texts(play(subject, [("59X112345", place)], start_s=1.1, until_s=2, finish=False)) == ["59X112345"]


def test_a_picture_is_let_go_once_it_was_handed_on() -> None:
    subject = tracker()
    play(subject, [("51A12345", standing(long(600, 300)))], until_s=2, finish=False)

    # A frame of a 1080p camera is six megabytes; a car may stand for hours.
    assert subject._tracks[0].incumbent.best is None


BOXES = st.builds(Box, st.floats(-50, 1300), st.floats(-50, 740), st.floats(1, 400), st.floats(1, 300))
READS = st.lists(
    st.builds(
        lambda text, box, sure, readable: read(text, box, sure=sure, readable=readable),
        st.sampled_from(["51A12345", "51A12346", "59X112345", "59X11234", "", "C00D", "29C27223"]),
        BOXES,
        st.floats(0.03, 1.0),
        st.floats(0, 1),
    ),
    max_size=6,
)


@given(st.lists(st.tuples(st.floats(0, 3), READS), max_size=25), st.sampled_from(list(EmitRule)))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_whatever_comes_in_no_plate_is_handed_on_twice(
    frames: list[tuple[float, list[PlateRead]]], emit: EmitRule
) -> None:
    subject, passages, seconds = tracker(emit=emit, max_tracks=6), [], 0.0
    for step, reads in frames:
        seconds += step
        passages += subject.update(frame(seconds), reads)
        assert len(subject.tracks) <= 6
    passages += subject.finish(at(seconds + 1))

    assert len({each.passage_id for each in passages}) == len(passages)
    read_at: dict[str, float] = {}
    for passage in passages:
        assert 0 <= passage.plate.confidence <= 1
        assert passage.frames_read >= 1
        assert passage.first_seen.monotonic_s <= passage.last_seen.monotonic_s <= passage.decided_at.monotonic_s
        if passage.outcome is READ:
            before = read_at.get(passage.plate.text, -math.inf)
            assert passage.last_seen.monotonic_s - before > 60
            read_at[passage.plate.text] = passage.last_seen.monotonic_s


def test_probabilities_of_another_number_of_slots_are_read_all_the_same() -> None:
    subject, passages = tracker(), []
    for seconds in times(0, 1, 8):
        whole = read("51A12345", long(600, 300))
        nine = np.ascontiguousarray(whole.probabilities[:9])
        passages += subject.update(
            frame(seconds),
            [
                PlateRead(
                    box=whole.box,
                    corners=whole.corners,
                    detection_confidence=0.9,
                    probabilities=nine,
                    rows_probability=whole.rows_probability,
                    colour=whole.colour,
                    readable=0.9,
                    sharpness=10.0,
                    crop=whole.crop,
                    plate=whole.plate,
                )
            ],
        )

    assert texts(passages) == ["51A12345"]


def test_a_lamp_that_flashed_once_does_not_become_the_vehicle_that_comes_later() -> None:
    subject = tracker()
    lamp = read("", Box(600, 300, 30, 24), sure=0.5, readable=0.01, detection=0.36)
    passages = list(subject.update(frame(0.0), [lamp]))
    for seconds in times(0.125, 1.5, 8):
        passages += subject.update(frame(seconds), [])
    passages += play(subject, [("59X112345", standing(square(610, 310)))], start_s=1.5, until_s=3)

    assert texts(passages) == ["59X112345"]
    assert passages[0].first_seen == at(1.5)
