"""Text that belongs to the scene."""

from __future__ import annotations

import json

from lpr.domain.clock import Instant
from lpr.tracking.standing import MAX_TEXTS, StandingMemory
from tests.tracking.helpers import at, long

PLACE, ELSEWHERE = long(300, 300), long(800, 300)
DAY_S = 86_400.0


def memory_of(text: str = "51A12345", until_s: float = 1000.0) -> StandingMemory:
    memory = StandingMemory(900, DAY_S)
    memory.observe(text, text, PLACE, at(0), at(until_s))
    return memory


def test_what_has_stood_long_enough_is_learnt() -> None:
    memory = memory_of(until_s=899)
    assert memory.texts() == ()
    assert [each.text for each in memory.texts(learnt_only=False)] == ["51A12345"]

    memory.observe("51A12345", "51A-123.45", PLACE, at(0), at(901))
    assert [(each.text, each.display) for each in memory.texts()] == [("51A12345", "51A-123.45")]


def test_interruptions_do_not_begin_the_time_anew() -> None:
    memory = memory_of(until_s=400)
    memory.observe("51A12345", "51A-123.45", PLACE, since=at(650), now=at(1000))

    assert len(memory.texts()) == 1


def test_it_explains_the_same_text_in_the_same_place_only() -> None:
    memory = memory_of()

    assert memory.explains("51A12345", long(308, 296, 155), at(2000))
    assert not memory.explains("51A12345", ELSEWHERE, at(2000))
    assert not memory.explains("51A12346", PLACE, at(2000))
    assert not memory.explains("51A12345", long(300, 300, 300), at(2000))


def test_what_is_learnt_is_forgotten_after_a_day_and_a_candidate_sooner() -> None:
    assert memory_of().explains("51A12345", PLACE, at(1000 + DAY_S - 1))
    assert not memory_of().explains("51A12345", PLACE, at(1000 + DAY_S + 1))
    assert memory_of(until_s=60).explains("51A12345", PLACE, at(350))
    assert not memory_of(until_s=60).explains("51A12345", PLACE, at(370))


def test_in_another_place_its_time_begins_anew() -> None:
    memory = memory_of()
    memory.observe("51A12345", "51A-123.45", ELSEWHERE, at(1100), at(1200))

    assert memory.texts() == ()


def test_a_person_can_clear_one_or_all() -> None:
    memory = memory_of()
    memory.observe("PARKING", "PARKING", ELSEWHERE, at(0), at(1000))
    memory.clear("PARKING")
    assert [each.text for each in memory.texts()] == ["51A12345"]

    memory.clear()
    assert memory.texts(learnt_only=False) == ()


def test_what_is_cleared_and_stands_on_takes_its_time_again() -> None:
    memory = memory_of()
    memory.clear("51A12345")
    memory.observe("51A12345", "51A-123.45", PLACE, since=at(0), now=at(1001))
    assert memory.texts() == ()

    memory.observe("51A12345", "51A-123.45", PLACE, since=at(0), now=at(1800))
    assert memory.texts() == ()
    memory.observe("51A12345", "51A-123.45", PLACE, since=at(0), now=at(1902))
    assert [each.text for each in memory.texts()] == ["51A12345"]


def test_the_number_is_bounded_and_candidates_go_first() -> None:
    memory = memory_of("51A12345")
    for number in range(3 * MAX_TEXTS):
        memory.observe(f"59X1{number:05d}", "", ELSEWHERE, at(2000 + number), at(2010 + number))

    assert len(memory.texts(learnt_only=False)) == MAX_TEXTS
    assert [each.text for each in memory.texts()] == ["51A12345"]


def test_it_survives_a_restart() -> None:
    state = json.loads(json.dumps(memory_of().state()))
    restored, now = StandingMemory(900, DAY_S), Instant(at(5000).wall, 12.0)
    restored.restore([*state, {"text": "no place"}, {**state[0], "text": "torn", "place": [1, 2]}], now)

    assert [each.text for each in restored.texts()] == ["51A12345"]
    assert restored.explains("51A12345", PLACE, now)
    assert restored.texts()[0].since.seconds_since(now) == -5000
