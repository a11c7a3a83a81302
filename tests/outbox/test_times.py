"""A box without a battery starts in 1970: times of events that nobody has seen follow the wall clock when it is set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lpr.domain.clock import isoformat_ms
from lpr.domain.errors import OutboxFullError
from lpr.outbox.base import Outbox, Ticket
from lpr.testing.clock import FakeClock
from tests.outbox.helpers import SqliteStore, Store, detection, failure
from tests.outbox.inside import empty_disk, fill_disk, until

LONG_AGO = datetime(1970, 1, 1, 0, 5, tzinfo=UTC)
TODAY = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)


class NeverSet:
    """A clock that counts from 1970 until it is set by a time server."""

    def __init__(self, clock: FakeClock, *stores: Store) -> None:
        self.clock = clock
        self._right = False
        clock.set_wall(LONG_AGO)
        for store in stores:
            store.clock_is_right = lambda wall: self._right

    def set_right(self, wall: datetime) -> None:
        self.clock.set_wall(wall)
        self._right = True


@pytest.fixture
def time_server(store: Store, clock: FakeClock) -> NeverSet:
    return NeverSet(clock, store)


async def record(outbox: Outbox, clock: FakeClock, name: str) -> Ticket:
    return await outbox.record(detection(name, at=clock.now()), link_up=False)


async def body(outbox: Outbox, ticket: Ticket) -> Mapping[str, Any]:
    entry = await outbox.load(ticket.event_id)
    assert entry is not None
    return entry.body


async def test_all_times_of_an_event_are_corrected_to_when_it_happened(
    store: Store, clock: FakeClock, time_server: NeverSet
) -> None:
    outbox = await store.open()
    event = detection("29A1", at=clock.now())
    event = replace(event, first_seen_at=event.first_seen_at - timedelta(seconds=4))
    ticket = await outbox.record(event, link_up=False)
    await clock.advance(90)
    time_server.set_right(TODAY)
    assert await outbox.correct_times() == 1
    entry = await outbox.load(ticket.event_id)
    assert entry is not None
    happened = TODAY - timedelta(seconds=90)
    assert entry.body["timestamp"] == entry.body["data"]["lastSeenAt"] == isoformat_ms(happened)
    assert entry.body["data"]["firstSeenAt"] == isoformat_ms(happened - timedelta(seconds=4))
    assert "clockSynchronised" not in entry.body
    assert entry.ticket.recorded_at == happened
    assert entry.ticket.size_bytes == ticket.size_bytes - len(',"clockSynchronised":false')
    assert (await outbox.status()).bytes == entry.ticket.size_bytes
    assert {name: entry.body[name] for name in ("eventId", "sequence")} == {
        "eventId": ticket.event_id,
        "sequence": 1,
    }
    assert await outbox.correct_times() == 0
    await outbox.close()


async def test_an_errors_own_times_are_corrected_too(store: Store, clock: FakeClock, time_server: NeverSet) -> None:
    outbox = await store.open()
    last = isoformat_ms(clock.now().wall - timedelta(seconds=10))
    error = replace(failure(at=clock.now()), details={"cameraId": "CAM_001", "lastResponse": last})
    ticket = await outbox.record(error, link_up=False)
    time_server.set_right(TODAY)
    await outbox.correct_times()
    data = (await body(outbox, ticket))["data"]
    assert data["timestamp"] == isoformat_ms(TODAY)
    assert data["details"]["lastResponse"] == isoformat_ms(TODAY - timedelta(seconds=10))
    await outbox.close()


async def test_what_may_have_been_seen_is_never_altered(store: Store, clock: FakeClock, time_server: NeverSet) -> None:
    outbox = await store.open()
    sent, waits = await record(outbox, clock, "29A1"), await record(outbox, clock, "29A2")
    before = await body(outbox, sent)
    time_server.set_right(TODAY)
    assert await outbox.correct_times() == 1
    assert await body(outbox, sent) == before
    assert before["clockSynchronised"] is False
    assert (await body(outbox, waits))["timestamp"] == isoformat_ms(TODAY)
    await outbox.close()


async def test_a_clock_that_was_right_is_not_followed(store: Store, clock: FakeClock) -> None:
    outbox = await store.open()
    ticket = await record(outbox, clock, "29A1")
    happened = clock.now().wall
    clock.jump_wall(86_400)
    assert await outbox.correct_times() == 0
    assert (await body(outbox, ticket))["timestamp"] == isoformat_ms(happened)
    await outbox.close()


async def test_a_clock_that_somebody_set_by_hand_is_followed_and_still_not_called_right(
    store: Store, clock: FakeClock, time_server: NeverSet
) -> None:
    outbox = await store.open()
    ticket = await record(outbox, clock, "29A1")
    assert await outbox.correct_times() == 0
    clock.set_wall(TODAY)
    assert await outbox.correct_times() == 1
    clock.jump_wall(-3600)
    assert await outbox.correct_times() == 1
    clock.jump_wall(0.4)  # steered
    assert await outbox.correct_times() == 0
    found = await body(outbox, ticket)
    assert found["timestamp"] == isoformat_ms(TODAY - timedelta(hours=1))
    assert found["clockSynchronised"] is False
    await outbox.close()


async def test_a_clock_set_back_to_1970_is_not_followed(store: Store, clock: FakeClock, time_server: NeverSet) -> None:
    outbox = await store.open()
    clock.set_wall(TODAY)
    ticket = await record(outbox, clock, "29A1")
    clock.set_wall(LONG_AGO)
    assert await outbox.correct_times() == 0
    assert (await body(outbox, ticket))["timestamp"] == isoformat_ms(TODAY)
    await outbox.close()


async def test_times_are_corrected_over_a_restart_of_the_agent_but_not_of_the_machine(
    store: Store, clock: FakeClock, time_server: NeverSet
) -> None:
    outbox = await store.open(boot_id="boot-1")
    ticket = await record(outbox, clock, "29A1")
    await outbox.close()
    store.machine_boot = "machine-boot-2"
    outbox = await store.open(boot_id="boot-2")
    other = await record(outbox, clock, "29A2")
    await outbox.close()
    await clock.advance(60)
    time_server.set_right(TODAY)
    outbox = await store.open(boot_id="boot-3")
    assert await outbox.correct_times() == 1
    assert (await body(outbox, ticket))["timestamp"] == isoformat_ms(LONG_AGO)
    assert (await body(outbox, other))["timestamp"] == isoformat_ms(TODAY - timedelta(seconds=60))
    await outbox.close()


async def test_an_event_captured_before_the_clock_was_set_and_recorded_after_is_told_by_the_new_time(
    store: Store, clock: FakeClock, time_server: NeverSet
) -> None:
    outbox = await store.open()
    event = detection("29A1", at=clock.now())
    await clock.advance(3)
    time_server.set_right(TODAY)
    ticket = await outbox.record(event, link_up=True)
    found = await body(outbox, ticket)
    assert found["timestamp"] == isoformat_ms(TODAY - timedelta(seconds=3))
    assert "clockSynchronised" not in found
    await outbox.close()


async def test_many_events_keep_their_order_and_their_distances(
    store: Store, clock: FakeClock, time_server: NeverSet
) -> None:
    outbox = await store.open()
    tickets = []
    for n in range(450):  # more than one transaction's worth
        tickets.append(await record(outbox, clock, f"29A{n}"))
        await clock.advance(1)
    time_server.set_right(TODAY)
    assert await outbox.correct_times() == 450
    for n in (0, 1, 199, 200, 201, 449):
        found = await body(outbox, tickets[n])
        assert found["timestamp"] == isoformat_ms(TODAY - timedelta(seconds=450 - n))
    assert [t.sequence for t in await outbox.waiting(limit=500)] == list(range(1, 451))
    await outbox.close()


# --------------------------------------------------------------------------------------------------------------------
# On disk alone


async def test_after_a_crash_while_sending_nothing_is_corrected_that_may_have_been_seen(
    disk: SqliteStore, clock: FakeClock
) -> None:
    """The attempt of an event that was just sent may not have been written: after a crash none is believed unsent."""
    time_server = NeverSet(clock, disk)
    outbox = await disk.open(boot_id="boot-1")
    seen, unseen = await record(outbox, clock, "29A1"), await record(outbox, clock, "29A2")
    before = await body(outbox, seen)
    crashed = SqliteStore(clock, disk.data_dir.with_name("crashed"))
    crashed.clock_is_right, crashed.machine_boot = disk.clock_is_right, disk.machine_boot
    crashed.data_dir.mkdir()
    for name in ("outbox.db", "outbox.db-wal", "outbox.db-pictures", "outbox.seq"):
        (crashed.data_dir / name).write_bytes((disk.data_dir / name).read_bytes())
    await outbox.close()

    time_server.set_right(TODAY)
    outbox = await crashed.open(boot_id="boot-2")
    assert await outbox.correct_times() == 0
    assert await body(outbox, seen) == before
    assert (await body(outbox, unseen))["clockSynchronised"] is False
    await outbox.close()

    # An orderly end has written every attempt, and corrects the rest.
    outbox = await disk.open(boot_id="boot-2")
    assert await outbox.correct_times() == 2  # `seen` was loaded, and never handed to a socket
    await outbox.close()


async def test_a_dead_letter_was_seen_and_keeps_its_times(
    store: Store, clock: FakeClock, time_server: NeverSet
) -> None:
    outbox = await store.open()
    ticket = await record(outbox, clock, "29A1")
    before = await body(outbox, ticket)
    await outbox.count_attempt(ticket.event_id)
    await outbox.bury(ticket.event_id, code="BAD", reason="no")
    await outbox.retry_dead([ticket.event_id])
    await outbox.close()
    time_server.set_right(TODAY)
    outbox = await store.open()
    assert await outbox.correct_times() == 0
    assert await body(outbox, ticket) == before
    await outbox.close()


async def test_what_a_full_disk_left_in_memory_is_corrected_too(disk: SqliteStore, clock: FakeClock) -> None:
    time_server = NeverSet(clock, disk)
    outbox = await disk.open()
    await fill_disk(outbox)
    with pytest.raises(OutboxFullError, match="held in memory"):
        await outbox.record(detection("29A1", at=clock.now(), original_bytes=200_000), link_up=False)
    time_server.set_right(TODAY)
    await outbox.correct_times()
    [ticket] = [t for t in await outbox.waiting(limit=9) if t.event_type == "license_plate_detected"]
    assert (await body(outbox, ticket))["timestamp"] == isoformat_ms(TODAY)
    empty_disk(outbox)
    await until(lambda: outbox._writer.failure is None)
    assert (await body(outbox, ticket))["timestamp"] == isoformat_ms(TODAY)
    await outbox.close()
