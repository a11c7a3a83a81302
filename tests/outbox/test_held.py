"""A disk that takes nothing: events are held in memory, delivered from there, and written when there is room."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from pathlib import Path

import pytest

from lpr.domain.errors import OutboxError, OutboxFullError
from lpr.domain.events import ErrorRaised
from lpr.outbox import held, opening
from lpr.outbox.base import Ticket
from lpr.outbox.limits import OutboxLimits
from lpr.testing.clock import FakeClock
from lpr.wire import parse_overflow_details
from tests.outbox.helpers import SqliteStore, detection, picture, status
from tests.outbox.inside import empty_disk, fill_disk, recorded, reopened, until


async def test_on_a_full_disk_events_are_held_deliverable_and_written_when_there_is_room(disk: SqliteStore) -> None:
    outbox = await disk.open()
    told: list[Ticket] = []
    troubles: list[ErrorRaised] = []
    (kept,) = await recorded(outbox, 1, original_bytes=30_000)
    outbox.on_recorded(told.append)
    outbox.on_trouble(troubles.append)
    await fill_disk(outbox)
    with pytest.raises(OutboxFullError, match="held in memory"):
        await outbox.record(detection("29B1", original_bytes=200_000), link_up=True)
    with pytest.raises(OutboxFullError, match="held in memory") as caught:
        await outbox.record(detection("29B2", original_bytes=200_000), link_up=True)

    waiting = await outbox.waiting(limit=9)
    assert caught.value.event_id == waiting[-1].event_id
    assert waiting[0] == kept
    assert [ticket.sequence for ticket in waiting] == [1, 2, 3, 4]
    assert waiting[1].event_type == "error"
    assert told == [waiting[2], waiting[3]]
    entry = await outbox.load(waiting[2].event_id)
    assert entry is not None
    assert entry.original_image == picture("scene 29B1", 200_000)
    status = await outbox.status()
    assert (status.pending, status.unwritten) == (4, 3)
    await outbox.count_attempt(waiting[2].event_id)

    empty_disk(outbox)
    await until(lambda: not outbox._held)
    after = await outbox.waiting(limit=9)
    assert [(t.event_id, t.sequence) for t in after] == [(t.event_id, t.sequence) for t in waiting]
    assert [ticket.attempts for ticket in after] == [0, 0, 1, 0]
    assert (await outbox.status()).unwritten == 0
    new = await outbox.record(detection("29B3"), link_up=True)
    assert new.sequence == 5
    await outbox.close()
    outbox = await disk.open(boot_id="after")
    assert [ticket.sequence for ticket in await outbox.waiting(limit=9)] == [1, 2, 3, 4, 5]
    await outbox.close()


async def test_on_a_full_disk_in_a_folder_that_belongs_to_somebody_else_by_now_events_are_held(
    disk: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> bool:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    outbox = await disk.open()
    monkeypatch.setattr(outbox._writer._reserve, "give_up", refuse)
    await fill_disk(outbox)
    async with asyncio.timeout(10):
        with pytest.raises(OutboxFullError, match="held in memory"):
            await outbox.record(detection("29B1", original_bytes=200_000), link_up=True)
    assert [ticket.event_type for ticket in await outbox.waiting(limit=9)] == ["error", "license_plate_detected"]
    await outbox.close()


@pytest.mark.parametrize("folder_is_made_again", [False, True])
async def test_events_recorded_into_deleted_files_are_not_called_recorded_and_what_waits_is_delivered(
    disk: SqliteStore, folder_is_made_again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "LOOK_WHETHER_IN_PLACE_S", 0.0)
    outbox = await disk.open()
    (kept,) = await recorded(outbox, 1, original_bytes=30_000)
    shutil.rmtree(disk.data_dir)
    if folder_is_made_again:
        disk.data_dir.mkdir()
    with pytest.raises(OutboxError, match="deleted or replaced while the agent runs; the event is held") as caught:
        await outbox.record(detection("29B1", original_bytes=200_000), link_up=True)
    assert "restart it" in (caught.value.hint or "")

    waiting = await outbox.waiting(limit=9)
    assert [ticket.sequence for ticket in waiting] == [1, 2]
    for ticket, size in zip(waiting, (30_000, 200_000), strict=True):
        entry = await outbox.load(ticket.event_id)
        assert entry is not None
        assert entry.original_image is not None
        assert len(entry.original_image.data) == size
    assert (await outbox.status()).unwritten == 1
    await outbox.settle([kept.event_id])
    assert [ticket.sequence for ticket in await outbox.waiting(limit=9)] == [2]
    outbox._writer.next_try_s = 0.0
    await asyncio.sleep(0)
    assert outbox._writer.failure is not None
    await outbox.close()


async def test_on_a_full_disk_deliveries_and_burials_take_effect_at_once(disk: SqliteStore) -> None:
    outbox = await disk.open()
    first, second, third = await recorded(outbox, 3, original_bytes=30_000)
    await fill_disk(outbox)
    with pytest.raises(OutboxFullError):
        await outbox.record(detection("29B1", original_bytes=200_000), link_up=True)
    held_event = (await outbox.waiting(limit=9))[-1]
    await outbox.settle([first.event_id, held_event.event_id])
    await outbox.bury(second.event_id, code="X", reason="y")
    waiting = [t.event_id for t in await outbox.waiting(limit=9) if t.event_type != "error"]
    assert waiting == [third.event_id]
    assert await outbox.load(first.event_id) is None
    assert await outbox.load(held_event.event_id) is None

    empty_disk(outbox)
    await until(lambda: not outbox._held)
    await outbox.close()
    outbox = await disk.open(boot_id="after")
    assert [t.event_id for t in await outbox.waiting(limit=9) if t.event_type != "error"] == [third.event_id]
    assert [letter.ticket.event_id for letter in await outbox.dead_letters(limit=9)] == [second.event_id]
    await outbox.close()


async def test_a_status_is_held_in_place_of_the_one_on_disk(disk: SqliteStore) -> None:
    outbox = await disk.open()
    old = await outbox.put_status(status(1))
    await fill_disk(outbox)
    with pytest.raises(OutboxFullError):
        await outbox.record(detection("29B1", original_bytes=200_000), link_up=True)
    await outbox.put_status(status(2))
    newest = await outbox.put_status(status(3))
    statuses = [t for t in await outbox.waiting(limit=9) if t.sequence is None]
    assert statuses == [newest]
    empty_disk(outbox)
    await until(lambda: not outbox._held)
    assert [t for t in await outbox.waiting(limit=9) if t.sequence is None] == [newest]
    assert await outbox.load(old.event_id) is None
    await outbox.close()


async def test_memory_is_bounded_and_what_it_pushes_out_is_reported(
    disk: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held, "HELD_BYTES", 1_000_000)
    monkeypatch.setattr(held, "HELD_EVENTS", 20)
    outbox = await disk.open()
    troubles: list[ErrorRaised] = []
    outbox.on_trouble(troubles.append)
    await recorded(outbox, 1, original_bytes=30_000)
    await fill_disk(outbox)
    for n in range(30):
        with pytest.raises(OutboxFullError):
            await outbox.record(detection(f"29B{n}", original_bytes=200_000), link_up=True)
    assert outbox._held._bytes <= 1_000_000
    assert len(outbox._held.rows) <= 20
    newest = (await outbox.waiting(limit=99))[-1]
    entry = await outbox.load(newest.event_id)
    assert entry is not None
    assert entry.original_image is not None

    empty_disk(outbox)
    await until(lambda: any(error.code == "QUEUE_OVERFLOW" for error in troubles))
    reports = [parse_overflow_details(error.details) for error in troubles if error.code == "QUEUE_OVERFLOW"]
    assert [report.cause for report in reports] == ["disk_full"]
    lost = {n for report in reports for a, b in report.lost for n in range(a, b + 1)}
    kept = {ticket.sequence for ticket in await outbox.waiting(limit=99)}
    assert not lost & kept
    assert lost | kept == set(range(1, 34))
    await outbox.close()


async def test_what_was_held_when_the_agent_died_is_named_at_the_next_start(disk: SqliteStore, tmp_path: Path) -> None:
    outbox = await disk.open()
    await recorded(outbox, 1, original_bytes=30_000)
    await fill_disk(outbox)
    for name in ("29B1", "29B2"):
        with pytest.raises(OutboxFullError):
            await outbox.record(detection(name, original_bytes=200_000), link_up=True)
    dead = tmp_path / "as-the-killed-agent-left-it"
    dead.mkdir()
    for name in ("outbox.db", "outbox.db-wal", "outbox.db-pictures", "outbox.seq"):
        shutil.copy(disk.data_dir / name, dead / name)
    empty_disk(outbox)
    await outbox.close()

    outbox, troubles = await reopened(SqliteStore(FakeClock(), dead))
    (report,) = [parse_overflow_details(error.details) for error in troubles]
    assert (report.cause, report.unknown, report.lost) == ("disk_full", 3, ((2, 4),))
    assert [ticket.sequence for ticket in await outbox.waiting(limit=9)] == [1, 5]
    await outbox.close()


async def test_closing_writes_what_was_held_if_there_is_room_by_then(disk: SqliteStore) -> None:
    outbox = await disk.open()
    await recorded(outbox, 1, original_bytes=30_000)
    await fill_disk(outbox)
    with pytest.raises(OutboxFullError):
        await outbox.record(detection("29B1", original_bytes=200_000), link_up=True)
    empty_disk(outbox)
    await outbox.close()
    outbox = await disk.open(boot_id="after")
    assert [ticket.sequence for ticket in await outbox.waiting(limit=9)] == [1, 2, 3]
    await outbox.close()


async def test_a_disk_below_its_floor_makes_the_queue_stop_growing_and_says_so(
    disk: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lpr.outbox.queue.RESERVE_BYTES", 40_000)
    outbox = await disk.open(limits=OutboxLimits(min_free_disk=1 << 60))
    troubles: list[ErrorRaised] = []
    outbox.on_trouble(troubles.append)
    await recorded(outbox, 30, original_bytes=5_000)
    codes = [error.code.value for error in troubles]
    assert codes[0] == "DISK_LOW"
    assert codes.count("DISK_LOW") == 1
    assert "QUEUE_OVERFLOW" in codes
    assert parse_overflow_details(troubles[-1].details).cause == "min_free_disk"
    assert (await outbox.status()).bytes <= 60_000
    await outbox.close()
