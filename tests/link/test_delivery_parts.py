"""Parts of the delivery that keep something for it: what waits for its time, the window, what the disk has shown."""

from __future__ import annotations

from datetime import UTC, datetime

from lpr.link.deferred import Deferred
from lpr.link.listing import Listing
from lpr.link.pace import Pace
from lpr.link.window import FIRST, FIRST_SHUT_S, MAX_SHUT_S, Window
from lpr.outbox.base import Ticket


def ticket(event_id: str) -> Ticket:
    return Ticket(
        event_id=event_id,
        event_type="error",
        sequence=1,
        size_bytes=100,
        attempts=0,
        recorded_offline=False,
        recorded_at=datetime(2026, 11, 23, tzinfo=UTC),
        recorded_monotonic_s=1.0,
    )


def ids(tickets: list[Ticket]) -> list[str]:
    return [each.event_id for each in tickets]


def test_events_wake_in_the_order_of_their_times_and_once() -> None:
    deferred = Deferred(10)
    for event_id, due_at in (("c", 3.0), ("a", 1.0), ("b", 2.0)):
        assert not deferred.put(ticket(event_id), due_at)
    assert deferred.next_at == 1.0
    assert ids(deferred.woken(2.0)) == ["a", "b"]
    assert ids(deferred.woken(2.0)) == []
    assert list(deferred) == ["c"]


def test_an_event_that_was_put_off_anew_wakes_at_its_new_time_and_one_that_was_taken_never() -> None:
    deferred = Deferred(10)
    deferred.put(ticket("a"), 1.0)
    deferred.put(ticket("a"), 5.0)
    deferred.put(ticket("b"), 1.0)
    deferred.take("b")
    assert ids(deferred.woken(4.0)) == []
    assert "b" not in deferred
    assert ids(deferred.woken(5.0)) == ["a"]


def test_where_there_is_no_room_the_one_that_would_wait_longest_is_let_go() -> None:
    deferred = Deferred(2)
    deferred.put(ticket("late"), 9.0)
    deferred.put(ticket("soon"), 1.0)
    assert deferred.is_full
    assert deferred.put(ticket("next"), 2.0)
    assert ids(deferred.woken(10.0)) == ["soon", "next"]


def test_a_window_opens_one_by_one_and_halves() -> None:
    window = Window(8)
    window.came_up()
    assert window.size == FIRST
    for _ in range(9):
        window.taken()
    assert window.size == 8
    for expected in (4, 2, 1, 1):
        window.put_off(0.0)
        assert window.size == expected
    assert window.shut_until == 0.0


def test_a_window_is_shut_after_so_many_in_a_row_ever_longer_and_opens_with_the_first_that_is_taken() -> None:
    window = Window(3)
    window.came_up()
    for _ in range(3):
        window.put_off(10.0)
    assert window.shut_until == 10.0 + FIRST_SHUT_S
    for _ in range(40):
        window.put_off(20.0)
    assert window.shut_until == 20.0 + MAX_SHUT_S
    window.sent(30.0)
    assert window.shut_until == 30.0 + MAX_SHUT_S
    window.taken()
    assert window.shut_until == 0.0
    window.sent(40.0)
    assert window.shut_until == 0.0


def test_what_comes_while_the_disk_is_listed_is_asked_for_again() -> None:
    disk = Listing()
    assert disk.may_begin(0.0)
    disk.begin()
    assert not disk.may_begin(0.0)
    disk.look_again()
    disk.ended(full=False)
    assert disk.may_begin(0.0)
    disk.begin()
    assert not disk.has_shown_all
    disk.ended(full=False)
    assert disk.has_shown_all
    assert not disk.may_begin(0.0)


def test_a_full_page_is_not_the_last_and_a_listing_that_failed_waits() -> None:
    disk = Listing()
    disk.begin()
    disk.ended(full=True)
    assert disk.next_at is None
    disk.begin()
    disk.failed(again_at=5.0)
    assert disk.next_at == 5.0
    assert not disk.may_begin(4.9)
    assert disk.may_begin(5.0)


def test_after_seven_live_events_in_a_row_it_is_the_backlogs_turn_for_one() -> None:
    pace = Pace(8)
    pace.came_up(0.0, None)
    for _ in range(7):
        assert not pace.goes_before_live
        pace.sent_live(0.0)
    assert pace.goes_before_live
    assert pace.is_due(0.0), "it no longer gives way"
    pace.sent(0.0)
    assert not pace.goes_before_live


def test_the_backlog_grows_to_half_of_the_window_while_answers_are_quick_and_shrinks_where_they_queue() -> None:
    pace = Pace(8)
    pace.came_up(0.0, None)
    assert pace.has_room(0, 8)
    assert not pace.has_room(1, 8)
    for _ in range(100):
        pace.answered(0.010)
    assert pace.has_room(3, 8)
    assert not pace.has_room(4, 8)
    for _ in range(6):
        pace.answered(0.030)
    assert pace.has_room(0, 8)
    assert not pace.has_room(1, 8)
