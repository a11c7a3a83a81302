"""What is read along with an event that is sent is the event as it is, or is not believed."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import pytest

from lpr.outbox.sqlite import READ_AHEAD, SqliteOutbox
from tests.outbox.helpers import SqliteStore, detection, status


async def backlog(disk: SqliteStore, count: int) -> tuple[SqliteOutbox, list[str]]:
    """An outbox with events that were recorded offline, none of them in memory."""
    outbox = await disk.open()
    tickets = [await outbox.record(detection(f"29A{n}"), link_up=False) for n in range(count)]
    return outbox, [ticket.event_id for ticket in tickets]


def reads(outbox: SqliteOutbox, monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], object]]:
    """Grows by one with each look at the disk."""
    seen: list[Callable[[], object]] = []
    read = outbox._read

    async def counted(look: Callable[[], object]) -> object:
        seen.append(look)
        return await read(look)

    monkeypatch.setattr(outbox, "_read", counted)
    return seen


async def test_a_backlog_is_read_several_events_at_a_time(disk: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox, names = await backlog(disk, 2 * (READ_AHEAD + 1))
    seen = reads(outbox, monkeypatch)
    for n, name in enumerate(names):
        entry = await outbox.load(name)
        assert entry is not None
        assert (entry.ticket.event_id, entry.body["eventId"]) == (name, name)
        assert entry.plate_image == detection(f"29A{n}").plate_image
        assert entry.original_image == detection(f"29A{n}").original_image
    assert len(seen) == 2
    await outbox.close()


async def test_what_left_the_queue_after_it_was_read_ahead_is_gone(disk: SqliteStore) -> None:
    outbox, names = await backlog(disk, 3)
    assert await outbox.load(names[0]) is not None
    await outbox.settle([names[1]])
    await outbox.bury(names[2], code="BAD", reason="no")
    assert await outbox.load(names[1]) is None
    assert await outbox.load(names[2]) is None
    await outbox.close()


async def test_what_was_read_ahead_is_not_believed_once_anything_was_lost(disk: SqliteStore) -> None:
    outbox, names = await backlog(disk, 2)
    assert await outbox.load(names[0]) is not None
    outbox._queue.thinned += 1
    other = sqlite3.connect(disk.data_dir / "outbox.db")
    other.execute("UPDATE events SET original_omitted = 'queue_full' WHERE event_id = ?", (names[1],))
    other.commit()
    other.close()
    entry = await outbox.load(names[1])
    assert entry is not None
    assert entry.original_omitted == "queue_full"
    await outbox.close()


async def test_a_status_is_not_read_ahead(disk: SqliteStore) -> None:
    outbox, names = await backlog(disk, 1)
    old = await outbox.put_status(status(1))
    assert await outbox.load(names[0]) is not None
    await outbox.put_status(status(2))
    assert await outbox.load(old.event_id) is None
    await outbox.close()


async def test_damage_behind_an_event_does_not_keep_it_from_being_sent(
    disk: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox, names = await backlog(disk, 2)

    def damaged(_row: object) -> object:
        raise sqlite3.DatabaseError("database disk image is malformed")

    contents = outbox._reading.contents
    found = contents(names[0])
    monkeypatch.setattr(outbox._reading, "contents", lambda _: found)
    monkeypatch.setattr(outbox._reading, "_contents", damaged)
    entry = await outbox.load(names[0])
    assert entry is not None
    assert entry.body["eventId"] == names[0]
    await outbox.close()
