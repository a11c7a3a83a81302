"""What every outbox must do, on disk and in memory alike: the rules at the head of `lpr/outbox/base.py`."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lpr.domain.clock import isoformat_ms
from lpr.domain.commands import EventRange
from lpr.domain.errors import OutboxFullError
from lpr.domain.events import ErrorRaised
from lpr.outbox.base import Outbox, Ticket
from lpr.outbox.limits import OutboxLimits
from lpr.outbox.queue import CHUNK
from lpr.testing.clock import FakeClock
from lpr.wire import parse_overflow_details
from tests.outbox.helpers import ROOMY, Store, detection, failure, picture, status


async def record(outbox: Outbox, name: str, **options: int) -> Ticket:
    return await outbox.record(detection(name, **options), link_up=True)


async def names(outbox: Outbox) -> list[str]:
    """Plates and error messages that wait, in order."""
    found = []
    for ticket in await outbox.waiting(limit=1000):
        entry = await outbox.load(ticket.event_id)
        assert entry is not None
        data = entry.body["data"]
        found.append(data.get("licensePlate") or data.get("errorCode") or data["status"])
    return found


async def test_what_is_recorded_comes_back_whole(store: Store, clock: FakeClock) -> None:
    outbox = await store.open()
    ticket = await outbox.record(detection("29A1"), link_up=False)
    entry = await outbox.load(ticket.event_id)

    assert entry is not None
    assert entry.ticket == ticket
    assert entry.plate_image == picture("plate 29A1", 200)
    assert entry.original_image == picture("scene 29A1", 2000)
    assert entry.original_omitted is None
    assert entry.body["eventId"] == ticket.event_id
    assert entry.body["agentId"] == "gate"
    assert entry.body["bootId"] == "boot-1"
    assert entry.body["sequence"] == ticket.sequence == 1
    assert entry.body["data"]["gateName"] == "Cổng chính"
    assert entry.body["data"]["originalImage"] == ""
    assert uuid.UUID(ticket.event_id).version == 7
    assert ticket.event_type == "license_plate_detected"
    assert ticket.recorded_offline
    assert ticket.attempts == 0
    assert ticket.recorded_at == clock.now().wall
    assert ticket.recorded_monotonic_s == clock.now().monotonic_s
    assert 2200 < ticket.size_bytes < 4200
    await outbox.close()


async def test_events_wait_in_the_order_of_recording_with_rising_sequences_and_ids(store: Store) -> None:
    outbox = await store.open()
    tickets = [await record(outbox, f"29A{n}") for n in range(20)]
    waiting = list(await outbox.waiting(limit=100))
    assert waiting == tickets
    assert [ticket.sequence for ticket in waiting] == list(range(1, 21))
    assert sorted(ticket.event_id for ticket in waiting) == [ticket.event_id for ticket in waiting]
    await outbox.close()


async def test_waiting_keeps_to_its_limit_and_passes_over_what_is_excluded(store: Store) -> None:
    outbox = await store.open()
    tickets = [await record(outbox, f"29A{n}") for n in range(6)]
    excluded = {tickets[0].event_id, tickets[2].event_id, "no such event"}
    assert await outbox.waiting(limit=2, exclude=excluded) == [tickets[1], tickets[3]]
    assert await outbox.waiting(limit=0) == []
    await outbox.close()


async def test_settling_deletes_and_names_that_are_not_there_are_passed_over(store: Store) -> None:
    outbox = await store.open()
    first, second = await record(outbox, "29A1"), await record(outbox, "29A2")
    await outbox.settle([first.event_id, "no such event"])
    await outbox.settle([first.event_id])
    assert await outbox.load(first.event_id) is None
    assert await outbox.waiting(limit=9) == [second]
    assert (await outbox.status()).bytes == second.size_bytes
    await outbox.close()


async def test_sequences_go_on_without_a_gap_over_restarts_even_when_all_was_delivered(store: Store) -> None:
    outbox = await store.open(boot_id="boot-1")
    for n in range(3):
        await outbox.settle([(await record(outbox, f"29A{n}")).event_id])
    await outbox.close()
    outbox = await store.open(boot_id="boot-2")
    assert (await record(outbox, "29A9")).sequence == 4
    await outbox.close()


async def test_the_sequence_of_a_dead_letter_that_was_dropped_is_not_given_again(store: Store) -> None:
    outbox = await store.open(boot_id="boot-1")
    poison = (await record(outbox, "29A1")).event_id
    await outbox.bury(poison, code="POISON", reason="it")
    assert await outbox.drop_dead([poison]) == 1
    await outbox.close()
    outbox = await store.open(boot_id="boot-2")
    assert (await record(outbox, "29A2")).sequence == 2
    await outbox.close()


async def test_what_an_earlier_run_recorded_keeps_its_body_and_has_no_monotonic_time(
    store: Store, clock: FakeClock
) -> None:
    outbox = await store.open(boot_id="boot-1")
    before = await record(outbox, "29A1")
    await outbox.count_attempt(before.event_id)
    await outbox.close()
    await clock.advance(10)
    outbox = await store.open(boot_id="boot-2")
    (after,) = await outbox.waiting(limit=9)
    entry = await outbox.load(after.event_id)
    assert after == replace(before, recorded_monotonic_s=None, attempts=1)
    assert entry is not None
    assert entry.body["bootId"] == "boot-1"
    assert (await outbox.status()).oldest_age_s == pytest.approx(10, abs=0.01)
    await outbox.close()


async def test_only_the_newest_status_waits_and_it_has_no_sequence_of_its_own(store: Store) -> None:
    outbox = await store.open()
    await record(outbox, "29A1")
    first = await outbox.put_status(status(1))
    await record(outbox, "29A2")
    second = await outbox.put_status(status(2))
    waiting = list(await outbox.waiting(limit=9))
    entry = await outbox.load(second.event_id)
    assert [ticket.sequence for ticket in waiting] == [1, 2, None]
    assert waiting[-1] == second
    assert await outbox.load(first.event_id) is None
    assert entry is not None
    assert entry.body["sequence"] == 2
    assert entry.body["data"]["processedCount"] == 2
    await outbox.close()


async def test_attempts_are_counted_over_restarts(store: Store) -> None:
    outbox = await store.open(boot_id="boot-1")
    ticket = await record(outbox, "29A1")
    for expected in (1, 2):
        await outbox.count_attempt(ticket.event_id)
        assert [found.attempts for found in await outbox.waiting(limit=1)] == [expected]
    await outbox.count_attempt("no such event")
    await outbox.close()
    outbox = await store.open(boot_id="boot-2")
    await outbox.count_attempt(ticket.event_id)
    entry = await outbox.load(ticket.event_id)
    assert entry is not None
    assert entry.ticket.attempts == 3
    await outbox.close()


async def test_a_dead_letter_no_longer_waits_and_keeps_its_reason(store: Store, clock: FakeClock) -> None:
    outbox = await store.open()
    poison, good = await record(outbox, "29A1"), await record(outbox, "29A2")
    await outbox.count_attempt(poison.event_id)
    await outbox.bury(poison.event_id, code="NO_GATE", reason="không có cổng GATE_009")
    await outbox.bury("no such event", code="X", reason="y")

    assert await outbox.waiting(limit=9) == [good]
    assert await outbox.load(poison.event_id) is None
    (letter,) = await outbox.dead_letters(limit=9)
    assert letter.ticket == replace(poison, attempts=1)
    assert (letter.code, letter.reason) == ("NO_GATE", "không có cổng GATE_009")
    assert letter.buried_at == clock.now().wall
    numbers = await outbox.status()
    assert (numbers.pending, numbers.dead_letters) == (1, 1)
    await outbox.close()


async def test_who_listens_knows_of_an_event_before_it_waits(store: Store) -> None:
    outbox = await store.open()
    told: list[str] = []
    outbox.on_recording(lambda: told.append("begun"))
    outbox.on_recorded(lambda ticket: told.append(ticket.event_id))
    offline = await outbox.record(detection("29A1"), link_up=False)
    live = await outbox.record(detection("29A2"), link_up=True)
    assert told == [offline.event_id, "begun", live.event_id]
    await outbox.close()


async def test_a_dead_letter_that_is_retried_waits_again_in_its_old_place(store: Store) -> None:
    outbox = await store.open()
    told: list[Ticket] = []
    poison, good = await record(outbox, "29A1"), await record(outbox, "29A2")
    await outbox.count_attempt(poison.event_id)
    await outbox.bury(poison.event_id, code="NO_GATE", reason="none")
    outbox.on_recorded(told.append)
    assert await outbox.retry_dead([poison.event_id, good.event_id, "no such event"]) == 1
    again = replace(poison, recorded_offline=True)  # no back-end opens a barrier for it
    assert await outbox.waiting(limit=9) == [again, good]
    assert told == [again]
    assert await outbox.dead_letters(limit=9) == []
    assert await outbox.load(poison.event_id) is not None
    assert (await outbox.status()).dead_letters == 0
    await outbox.close()


async def test_a_person_may_drop_dead_letters_and_nothing_else(store: Store) -> None:
    outbox = await store.open()
    poison, good = await record(outbox, "29A1"), await record(outbox, "29A2")
    await outbox.bury(poison.event_id, code="NO_GATE", reason="none")
    assert await outbox.drop_dead([poison.event_id, good.event_id]) == 1
    assert await outbox.dead_letters(limit=9) == []
    assert await outbox.waiting(limit=9) == [good]
    assert (await outbox.status()).bytes == good.size_bytes
    await outbox.close()


async def test_dead_letters_survive_a_restart(store: Store) -> None:
    outbox = await store.open()
    ticket = await record(outbox, "29A1")
    await outbox.bury(ticket.event_id, code="NO_GATE", reason="none")
    await outbox.close()
    outbox = await store.open()
    assert [letter.code for letter in await outbox.dead_letters(limit=9)] == ["NO_GATE"]
    assert (await outbox.status()).dead_letters == 1
    await outbox.close()


async def test_listeners_hear_of_every_event_once_it_can_be_loaded(store: Store) -> None:
    outbox = await store.open()
    told: list[Ticket] = []
    outbox.on_recorded(told.append)
    tickets = await asyncio.gather(*(record(outbox, f"29A{n}") for n in range(10)))
    tickets.append(await outbox.put_status(status()))
    assert told == tickets
    for ticket in told:
        assert await outbox.load(ticket.event_id) is not None
    await outbox.close()


async def test_the_status_is_the_queue_in_numbers(store: Store, clock: FakeClock) -> None:
    outbox = await store.open()
    empty = await outbox.status()
    assert (empty.pending, empty.bytes, empty.oldest_age_s, empty.dead_letters) == (0, 0, 0.0, 0)
    first = await record(outbox, "29A1")
    await clock.advance(5)
    clock.jump_wall(3600)
    second = await outbox.record(failure(), link_up=True)
    full = await outbox.status()
    assert full.pending == 2
    assert full.bytes == first.size_bytes + second.size_bytes
    assert full.oldest_age_s == 5.0
    await outbox.close()


# --------------------------------------------------------------------------------------------------------------------
# Limits


def small(max_bytes: int) -> OutboxLimits:
    return replace(ROOMY, max_bytes=max_bytes)


async def overflows(outbox: Outbox) -> list[ErrorRaised]:
    found: list[ErrorRaised] = []
    outbox.on_trouble(found.append)
    await asyncio.sleep(0)
    return found


async def test_at_the_limit_status_goes_first_then_original_images_of_the_oldest(store: Store) -> None:
    outbox = await store.open(limits=small(20_000))
    troubles = await overflows(outbox)
    await outbox.put_status(status())
    tickets = [await record(outbox, f"29A{n}") for n in range(7)]

    codes = [error.code.value for error in troubles]
    assert codes == ["QUEUE_NEAR_FULL", "QUEUE_OVERFLOW"]
    dropped = parse_overflow_details(troubles[1].details)
    assert dropped.statuses == 1
    assert dropped.original_images > 0
    assert dropped.without_original == ((1, dropped.original_images),)
    assert dropped.lost == ()
    oldest, newest = await outbox.load(tickets[0].event_id), await outbox.load(tickets[-1].event_id)
    assert oldest is not None
    assert oldest.original_image is None
    assert oldest.original_omitted == "queue_full"
    assert oldest.plate_image is not None
    assert newest is not None
    assert newest.original_image is not None
    await outbox.close()


async def test_errors_go_before_detections_and_the_newest_stay(store: Store) -> None:
    outbox = await store.open(limits=small(5_400))
    troubles = await overflows(outbox)
    for n in range(4):
        await record(outbox, f"29A{n}", original_bytes=0)
        await outbox.record(failure(), link_up=True)
    first = parse_overflow_details(next(error.details for error in troubles if error.code == "QUEUE_OVERFLOW"))
    assert first.detections == 0
    assert first.errors > 0
    assert first.lost[0][0] == 2
    for n in range(4, 20):
        await record(outbox, f"29A{n}", original_bytes=0)
    lost = [parse_overflow_details(error.details) for error in troubles if error.code == "QUEUE_OVERFLOW"]
    assert any(overflow.detections for overflow in lost)
    assert (await names(outbox))[-1] in ("29A19", "QUEUE_OVERFLOW")
    assert (await outbox.status()).bytes <= 5_400 + 1500
    await outbox.close()


async def test_every_sequence_is_either_in_the_queue_or_named_by_a_report_in_it(store: Store) -> None:
    outbox = await store.open(limits=small(15_000))
    for n in range(60):
        if n % 3:
            await record(outbox, f"29A{n}", original_bytes=500)
        else:
            await outbox.record(failure(), link_up=True)
    kept: set[int] = set()
    named: set[int] = set()
    for ticket in await outbox.waiting(limit=1000):
        assert ticket.sequence is not None
        kept.add(ticket.sequence)
        entry = await outbox.load(ticket.event_id)
        assert entry is not None
        if entry.body["data"].get("errorCode") == "QUEUE_OVERFLOW":
            overflow = parse_overflow_details(entry.body["data"]["details"])
            for first, last in overflow.lost:
                named.update(range(first, last + 1))
    assert not kept & named
    assert kept | named == set(range(1, max(kept) + 1))
    await outbox.close()


async def test_an_event_larger_than_the_queue_comes_without_its_original_image(store: Store) -> None:
    outbox = await store.open(limits=small(10_000))
    ticket = await record(outbox, "29A1", original_bytes=50_000)
    entry = await outbox.load(ticket.event_id)
    assert entry is not None
    assert entry.original_image is None
    assert entry.original_omitted == "queue_full"
    await outbox.close()


async def test_an_event_that_can_never_fit_is_refused_and_takes_no_sequence(store: Store) -> None:
    outbox = await store.open(limits=small(10_000))
    kept = await record(outbox, "29A0")
    with pytest.raises(OutboxFullError, match="larger than the whole queue"):
        await record(outbox, "29A1", plate_bytes=50_000)
    assert await outbox.waiting(limit=9) == [kept]
    assert (await record(outbox, "29A2")).sequence == 2
    await outbox.close()


async def test_near_full_is_told_once_until_the_queue_has_drained(store: Store) -> None:
    outbox = await store.open(limits=small(40_000))
    troubles = await overflows(outbox)
    tickets = [await record(outbox, f"29A{n}") for n in range(12)]
    assert [error.code.value for error in troubles] == ["QUEUE_NEAR_FULL"]
    assert troubles[0].details["maxBytes"] == 40_000
    await outbox.settle([ticket.event_id for ticket in tickets])
    for n in range(12):
        await record(outbox, f"29B{n}")
    assert [error.code.value for error in troubles] == ["QUEUE_NEAR_FULL"] * 2
    assert (await names(outbox)).count("QUEUE_NEAR_FULL") == 2
    await outbox.close()


async def test_a_replay_that_finds_nothing_tells_of_a_queue_that_is_near_full_all_the_same(store: Store) -> None:
    outbox = await store.open(limits=small(40_000))
    for n in range(12):
        await record(outbox, f"29A{n}")
    await outbox.close()
    outbox = await store.open(boot_id="boot-2", limits=small(40_000))
    troubles = await overflows(outbox)
    assert await outbox.replay(EventRange(from_sequence=1)) == 0
    assert [error.code.value for error in troubles] == ["QUEUE_NEAR_FULL"]
    await outbox.close()


async def test_dead_letters_make_room_before_what_waits(store: Store) -> None:
    outbox = await store.open(limits=small(12_000))
    troubles = await overflows(outbox)
    waiting = await record(outbox, "29A0", original_bytes=0)
    dead = await record(outbox, "29A1", original_bytes=0)
    await outbox.bury(dead.event_id, code="X", reason="y")
    for n in range(2, 30):
        await record(outbox, f"29A{n}", original_bytes=0)
        if any(error.code == "QUEUE_OVERFLOW" for error in troubles):
            break
    dropped = parse_overflow_details(troubles[-1].details)
    assert dead.sequence is not None
    assert dropped.detections == 1
    assert dropped.lost[0] == (dead.sequence, dead.sequence)
    assert await outbox.load(waiting.event_id) is not None
    await outbox.close()


async def test_what_waited_longer_than_max_age_is_dropped_and_reported(store: Store, clock: FakeClock) -> None:
    limits = replace(ROOMY, max_age_s=3600.0)
    outbox = await store.open(boot_id="boot-1", limits=limits)
    await record(outbox, "29A0")
    await clock.advance(3000)
    young = await record(outbox, "29A1")
    await outbox.close()
    await clock.advance(1000)
    outbox = await store.open(boot_id="boot-2", limits=limits)
    await record(outbox, "29A2")
    assert sorted(await names(outbox)) == ["29A1", "29A2", "QUEUE_OVERFLOW"]
    assert [ticket.sequence for ticket in await outbox.waiting(limit=1)] == [young.sequence]
    await outbox.close()


async def test_a_clock_that_was_never_set_makes_nothing_old(store: Store, clock: FakeClock) -> None:
    limits = replace(ROOMY, max_age_s=3600.0)
    clock.set_wall(datetime(1970, 1, 1, 0, 5, tzinfo=UTC))
    outbox = await store.open(boot_id="boot-1", limits=limits)
    await record(outbox, "29A0")
    await outbox.close()
    clock.set_wall(datetime(2026, 11, 23, tzinfo=UTC))
    outbox = await store.open(boot_id="boot-2", limits=limits)
    await record(outbox, "29A1")
    assert await names(outbox) == ["29A0", "29A1"]
    assert (await outbox.status()).oldest_age_s == 0.0
    await outbox.close()


async def test_a_clock_that_may_be_wrong_makes_nothing_of_an_earlier_run_old(store: Store, clock: FakeClock) -> None:
    """A battery that fails may well say 2099."""
    limits = replace(ROOMY, max_age_s=3600.0)
    outbox = await store.open(boot_id="boot-1", limits=limits)
    await record(outbox, "29A0")
    await outbox.close()
    clock.set_wall(datetime(2099, 1, 1, tzinfo=UTC))
    store.clock_is_right = lambda wall: False
    outbox = await store.open(boot_id="boot-2", limits=limits)
    assert await names(outbox) == ["29A0"]
    await outbox.close()
    store.clock_is_right = lambda wall: True
    outbox = await store.open(boot_id="boot-3", limits=limits)
    assert await names(outbox) == ["QUEUE_OVERFLOW"]
    await outbox.close()


# --------------------------------------------------------------------------------------------------------------------
# Delivered, and sent again

KEEPING = replace(ROOMY, keep_delivered_s=3600.0)


async def deliver(outbox: Outbox, name: str, **options: int) -> Ticket:
    """Record, hand to a socket, and have it acknowledged."""
    ticket = await record(outbox, name, **options)
    await outbox.count_attempt(ticket.event_id)
    await outbox.settle([ticket.event_id])
    return ticket


async def test_nothing_delivered_is_kept_unless_wanted(store: Store) -> None:
    outbox = await store.open()
    await deliver(outbox, "29A1")
    assert await outbox.replay(EventRange()) == 0
    assert await outbox.waiting(limit=9) == []
    await outbox.close()


async def test_a_kept_event_is_out_of_sight_until_it_is_asked_for_and_then_waits_as_replayed(
    store: Store, clock: FakeClock
) -> None:
    outbox = await store.open(limits=KEEPING)
    told: list[Ticket] = []
    first = await deliver(outbox, "29A1")
    second = await record(outbox, "29A2")
    assert await outbox.waiting(limit=9) == [second]
    assert await outbox.load(first.event_id) is None
    numbers = await outbox.status()
    assert (numbers.pending, numbers.bytes) == (1, second.size_bytes)

    await clock.advance(60)
    outbox.on_recorded(told.append)
    assert await outbox.replay(EventRange()) == 1
    again, last = await outbox.waiting(limit=9)
    entry = await outbox.load(first.event_id)
    now = clock.now()
    assert last == second
    assert again == replace(
        first, attempts=1, recorded_offline=True, recorded_at=now.wall, recorded_monotonic_s=now.monotonic_s
    )
    assert told == [again]
    assert entry is not None
    assert (entry.body["eventId"], entry.body["sequence"]) == (first.event_id, 1)
    assert entry.plate_image == picture("plate 29A1", 200)
    assert entry.original_image == picture("scene 29A1", 2000)
    assert (await outbox.status()).bytes == first.size_bytes + second.size_bytes
    await outbox.close()


async def test_what_was_sent_again_is_kept_again(store: Store) -> None:
    outbox = await store.open(limits=KEEPING)
    ticket = await deliver(outbox, "29A1")
    for attempts in (1, 2, 3):
        assert await outbox.replay(EventRange()) == 1
        assert [found.attempts for found in await outbox.waiting(limit=9)] == [attempts]
        await outbox.count_attempt(ticket.event_id)
        await outbox.settle([ticket.event_id])
        assert (await outbox.status()).pending == 0
    await outbox.close()


async def test_a_range_of_sequences_or_of_times_takes_both_its_ends(store: Store, clock: FakeClock) -> None:
    outbox = await store.open(limits=KEEPING)
    start = clock.now().wall
    for n in range(6):
        ticket = await outbox.record(detection(f"29A{n}", at=clock.now().plus(60.0 * n)), link_up=True)
        await outbox.settle([ticket.event_id])

    async def replayed(**bounds: Any) -> list[str]:
        count = await outbox.replay(EventRange(**bounds))
        found = await names(outbox)
        assert count == len(found)
        await outbox.settle([ticket.event_id for ticket in await outbox.waiting(limit=9)])
        return found

    assert await replayed(from_sequence=2, to_sequence=4) == ["29A1", "29A2", "29A3"]
    assert await replayed(from_sequence=6) == ["29A5"]
    assert await replayed(from_time=start + timedelta(minutes=4)) == ["29A4", "29A5"]
    assert await replayed(from_time=start, to_time=start + timedelta(minutes=1)) == ["29A0", "29A1"]
    assert await replayed(to_time=start + timedelta(seconds=119), from_sequence=2) == ["29A1"]
    assert await replayed(from_sequence=7) == []
    assert await replayed(to_time=start - timedelta(milliseconds=1)) == []
    await outbox.close()


async def test_more_events_than_fit_in_one_transaction_are_all_sent_again_in_order(store: Store) -> None:
    outbox = await store.open(limits=KEEPING)
    tickets = await asyncio.gather(*(record(outbox, "29A1", original_bytes=0) for _ in range(2 * CHUNK + 1)))
    await outbox.settle([ticket.event_id for ticket in tickets])
    assert await outbox.replay(EventRange(from_sequence=1)) == len(tickets)
    waiting = await outbox.waiting(limit=1000)
    assert [ticket.sequence for ticket in waiting] == [ticket.sequence for ticket in tickets]
    await outbox.close()


async def test_only_detections_are_kept(store: Store) -> None:
    outbox = await store.open(limits=KEEPING)
    error, numbers = await outbox.record(failure(), link_up=True), await outbox.put_status(status())
    await outbox.settle([error.event_id, numbers.event_id])
    assert await outbox.replay(EventRange()) == 0
    await outbox.close()


async def test_a_dead_letter_that_was_delivered_after_all_is_kept_too(store: Store) -> None:
    outbox = await store.open(limits=KEEPING)
    ticket = await record(outbox, "29A1")
    await outbox.bury(ticket.event_id, code="LATE", reason="the answer came late")
    await outbox.settle([ticket.event_id])
    assert await outbox.dead_letters(limit=9) == []
    assert await outbox.replay(EventRange()) == 1
    assert (await outbox.status()).dead_letters == 0
    await outbox.close()


async def test_kept_events_outlive_a_restart_and_their_time_runs_from_their_delivery(
    store: Store, clock: FakeClock
) -> None:
    outbox = await store.open(boot_id="boot-1", limits=KEEPING)
    early = await record(outbox, "29A1")
    await clock.advance(3000)
    await outbox.settle([early.event_id])
    await outbox.close()
    await clock.advance(3000)
    outbox = await store.open(boot_id="boot-2", limits=KEEPING)
    await deliver(outbox, "29A2")
    assert await outbox.replay(EventRange(to_sequence=1)) == 1, "delivered 50 minutes ago"
    await outbox.settle([early.event_id])
    await outbox.close()
    await clock.advance(3601)
    outbox = await store.open(boot_id="boot-3", limits=KEEPING)
    assert await outbox.replay(EventRange()) == 0
    assert (await record(outbox, "29A3")).sequence == 3
    await outbox.close()


async def test_what_is_kept_is_forgotten_when_keeping_is_turned_off(store: Store) -> None:
    outbox = await store.open(limits=KEEPING)
    await deliver(outbox, "29A1")
    await outbox.close()
    outbox = await store.open()
    assert await outbox.replay(EventRange()) == 0
    assert (await record(outbox, "29A2")).sequence == 2
    await outbox.close()


async def test_a_clock_that_is_set_forgets_nothing_that_is_kept(store: Store, clock: FakeClock) -> None:
    clock.set_wall(datetime(1970, 1, 1, 0, 5, tzinfo=UTC))
    outbox = await store.open(boot_id="boot-1", limits=KEEPING)
    await deliver(outbox, "29A1")
    await outbox.close()
    clock.set_wall(datetime(2026, 11, 23, tzinfo=UTC))
    outbox = await store.open(boot_id="boot-2", limits=KEEPING)
    assert await outbox.replay(EventRange()) == 1
    await outbox.close()


async def test_what_is_sent_again_is_not_old_whenever_it_was_recorded(store: Store, clock: FakeClock) -> None:
    limits = replace(KEEPING, max_age_s=1800.0)
    outbox = await store.open(boot_id="boot-1", limits=limits)
    ticket = await deliver(outbox, "29A1")
    await clock.advance(3000)
    assert await outbox.replay(EventRange()) == 1
    await outbox.close()
    outbox = await store.open(boot_id="boot-2", limits=limits)
    await record(outbox, "29A2")
    assert await names(outbox) == ["29A1", "29A2"]
    assert (await outbox.waiting(limit=1))[0].event_id == ticket.event_id
    await outbox.close()


async def test_kept_events_make_room_first_oldest_delivery_first_and_without_a_report(
    store: Store, clock: FakeClock
) -> None:
    outbox = await store.open(limits=replace(KEEPING, max_bytes=20_000))
    troubles = await overflows(outbox)
    tickets = [await record(outbox, f"29A{n}") for n in range(3)]
    for ticket in (tickets[2], tickets[0], tickets[1]):
        await clock.advance(1)
        await outbox.settle([ticket.event_id])
    waiting = [await record(outbox, f"29B{n}") for n in range(4)]
    assert troubles == [], "what is kept fills nothing"
    assert sum(ticket.size_bytes for ticket in waiting) < 16_000
    assert await outbox.replay(EventRange()) == 2
    assert [name for name in await names(outbox) if name.startswith("29A")] == ["29A0", "29A1"]
    assert (await outbox.status()).bytes <= 20_000
    await outbox.close()


async def test_what_waits_loses_its_pictures_only_when_nothing_kept_is_left(store: Store) -> None:
    outbox = await store.open(limits=replace(KEEPING, max_bytes=20_000))
    troubles = await overflows(outbox)
    for n in range(3):
        await deliver(outbox, f"29A{n}")
    for n in range(8):
        await record(outbox, f"29B{n}")
    assert {error.code.value for error in troubles} == {"QUEUE_NEAR_FULL", "QUEUE_OVERFLOW"}
    dropped = [parse_overflow_details(error.details) for error in troubles if error.code == "QUEUE_OVERFLOW"]
    assert all(overflow.detections == 0 and overflow.original_images for overflow in dropped)
    assert await outbox.replay(EventRange()) == 0
    await outbox.close()


async def test_closing_twice_is_harmless(store: Store) -> None:
    outbox = await store.open()
    await outbox.close()
    await outbox.close()


async def test_the_time_of_the_event_is_its_own_and_not_that_of_recording(store: Store, clock: FakeClock) -> None:
    outbox = await store.open()
    happened = clock.now()
    await clock.advance(30)
    ticket = await outbox.record(detection("29A1", at=happened), link_up=True)
    entry = await outbox.load(ticket.event_id)
    assert entry is not None
    assert entry.body["timestamp"] == isoformat_ms(happened.wall)
    assert ticket.recorded_at == clock.now().wall
    await outbox.close()
