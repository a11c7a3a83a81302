"""A queue whose files are damaged or gone: what can be read is carried over, what is lost is reported."""

from __future__ import annotations

import os
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from lpr.domain.errors import OutboxError
from lpr.domain.events import ErrorRaised
from lpr.outbox.base import Ticket
from lpr.outbox.schema import PAGE_SIZE
from lpr.testing.clock import FakeClock
from tests.outbox.helpers import SqliteStore, detection, picture
from tests.outbox.inside import in_writer, recorded, reopened


async def closed_with(disk: SqliteStore, count: int) -> list[Ticket]:
    outbox = await disk.open()
    tickets = await recorded(outbox, count, plate_bytes=3000, original_bytes=60_000)
    await outbox.close()
    return tickets


async def test_an_empty_file_is_set_aside_and_sequences_go_on_above_what_was_given(disk: SqliteStore) -> None:
    await closed_with(disk, 5)
    (disk.data_dir / "outbox.db").write_bytes(b"")
    outbox, troubles = await reopened(disk)
    assert [error.code.value for error in troubles] == ["QUEUE_CORRUPT"]
    assert troubles[0].details["recovered"] == 0
    assert troubles[0].details["unreadable"] is None
    (report,) = await outbox.waiting(limit=9)
    assert report.sequence == troubles[0].details["nextSequence"]
    assert report.sequence is not None
    assert report.sequence > 5
    assert (disk.data_dir / str(troubles[0].details["setAside"])).exists()
    await outbox.close()


async def test_a_file_that_is_gone_is_reported_as_lost(disk: SqliteStore) -> None:
    await closed_with(disk, 5)
    (disk.data_dir / "outbox.db").unlink()
    outbox, troubles = await reopened(disk)
    assert [error.code.value for error in troubles] == ["QUEUE_CORRUPT"]
    assert (await recorded(outbox, 1))[0].sequence == troubles[0].details["nextSequence"] + 1
    await outbox.close()


async def test_garbage_in_place_of_the_file_is_set_aside(disk: SqliteStore) -> None:
    await closed_with(disk, 3)
    (disk.data_dir / "outbox.db").write_bytes(b"this is no database at all " * 4000)
    outbox, troubles = await reopened(disk)
    assert [error.code.value for error in troubles] == ["QUEUE_CORRUPT"]
    assert len(await recorded(outbox, 2)) == 2
    await outbox.close()


async def test_what_can_be_read_of_a_truncated_file_is_carried_over_in_order(disk: SqliteStore) -> None:
    before = await closed_with(disk, 60)
    path = disk.data_dir / "outbox.db"
    os.truncate(path, int(path.stat().st_size * 0.6) // PAGE_SIZE * PAGE_SIZE)
    outbox, troubles = await reopened(disk)
    waiting = [ticket for ticket in await outbox.waiting(limit=1000) if ticket.event_type == "license_plate_detected"]
    details = troubles[0].details
    assert details["recovered"] == len(waiting) > 0
    assert details["recovered"] + details["unreadable"] <= 60
    known = {ticket.event_id: ticket for ticket in before}
    for ticket in waiting:
        assert replace(ticket, recorded_monotonic_s=None, size_bytes=0) == replace(
            known[ticket.event_id], recorded_monotonic_s=None, size_bytes=0
        )
    assert [ticket.sequence for ticket in waiting] == sorted(t.sequence for t in waiting if t.sequence is not None)
    for ticket in waiting:
        entry = await outbox.load(ticket.event_id)
        assert entry is not None
        plate = entry.body["data"]["licensePlate"]
        assert entry.original_image == picture(f"scene {plate}", 60_000) or entry.original_omitted == "damaged"
    assert details["nextSequence"] > 60
    await outbox.close()


async def test_a_file_with_one_bad_page_loses_at_most_what_lay_on_it(disk: SqliteStore) -> None:
    await closed_with(disk, 60)
    path = disk.data_dir / "outbox.db"
    with sqlite3.connect(path) as connection:
        # A leaf of the table of events, by name in the file's own map.
        root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'events'").fetchone()[0]
    connection.close()
    data = bytearray(path.read_bytes())
    root_page = data[(root - 1) * PAGE_SIZE : root * PAGE_SIZE]
    assert root_page[0] == 5, "the table must have grown beyond one page for this test"
    first_cell = int.from_bytes(root_page[12:14], "big")
    leaf = int.from_bytes(root_page[first_cell : first_cell + 4], "big")
    data[(leaf - 1) * PAGE_SIZE : leaf * PAGE_SIZE] = os.urandom(PAGE_SIZE)
    path.write_bytes(bytes(data))

    outbox, troubles = await reopened(disk)
    details = troubles[0].details
    assert details["recovered"] + details["unreadable"] == 60
    assert 30 <= details["recovered"] < 60
    await outbox.close()


async def test_dead_letters_of_a_damaged_file_stay_dead_letters(disk: SqliteStore) -> None:
    outbox = await disk.open()
    tickets = await recorded(outbox, 3)
    await outbox.bury(tickets[1].event_id, code="NO_GATE", reason="none")
    await outbox.close()
    path = disk.data_dir / "outbox.db"
    data = bytearray(path.read_bytes())
    data[28:32] = (9999).to_bytes(4, "big")  # the header now speaks of pages that are not there
    path.write_bytes(bytes(data))
    outbox, _ = await reopened(disk)
    assert [letter.code for letter in await outbox.dead_letters(limit=9)] == ["NO_GATE"]
    await outbox.close()


async def test_a_rescue_cut_short_before_its_last_rename_is_finished_at_the_next_start(disk: SqliteStore) -> None:
    await closed_with(disk, 5)
    # As if killed after the damaged file was moved away and before the sound one took its place.
    (disk.data_dir / "outbox.db").rename(disk.data_dir / "outbox.db.rescue")
    outbox, troubles = await reopened(disk)
    assert troubles == []
    assert len(await outbox.waiting(limit=9)) == 5
    await outbox.close()


async def test_a_rescue_cut_short_earlier_is_begun_anew(disk: SqliteStore) -> None:
    await closed_with(disk, 5)
    (disk.data_dir / "outbox.db.rescue").write_bytes(b"half of it")
    outbox, troubles = await reopened(disk)
    assert troubles == []
    assert len(await outbox.waiting(limit=9)) == 5
    assert not (disk.data_dir / "outbox.db.rescue").exists()
    await outbox.close()


async def test_an_old_copy_put_back_does_not_give_sequences_twice(disk: SqliteStore, tmp_path: Path) -> None:
    await closed_with(disk, 2)
    shutil.copy(disk.data_dir / "outbox.db", tmp_path / "backup")
    outbox = await disk.open()
    outbox._queue.counters.last_sequence = 5000
    (ticket,) = await recorded(outbox, 1)
    await outbox.close()
    shutil.copy(tmp_path / "backup", disk.data_dir / "outbox.db")
    outbox, troubles = await reopened(disk)
    assert [error.code.value for error in troubles] == ["QUEUE_CORRUPT"]
    assert ticket.sequence is not None
    assert all(ticket.sequence < new.sequence for new in await recorded(outbox, 2) if new.sequence is not None)
    await outbox.close()


async def test_damage_that_shows_while_running_is_rescued_and_recording_goes_on(disk: SqliteStore) -> None:
    outbox = await disk.open()
    troubles: list[ErrorRaised] = []
    outbox.on_trouble(troubles.append)
    before = await recorded(outbox, 5)
    await in_writer(outbox, lambda _: None)
    outbox._shelf.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    path = disk.data_dir / "outbox.db"
    fd = os.open(path, os.O_WRONLY)
    os.pwrite(fd, os.urandom(path.stat().st_size - PAGE_SIZE), PAGE_SIZE)
    os.close(fd)

    findings = [sqlite3.DatabaseError("database disk image is malformed")]

    def read(_: sqlite3.Connection) -> None:
        if findings:
            raise findings.pop()

    await in_writer(outbox, read)
    after = await outbox.record(detection("29B1"), link_up=True)
    assert [error.code.value for error in troubles] == ["QUEUE_CORRUPT"]
    assert after.sequence is not None
    assert before[-1].sequence is not None
    assert after.sequence > before[-1].sequence
    assert after in await outbox.waiting(limit=100)
    await outbox.close()


async def test_only_the_newest_damaged_files_are_kept(disk: SqliteStore, clock: FakeClock) -> None:
    for n in range(7):
        await closed_with(disk, 1)
        (disk.data_dir / "outbox.db").write_bytes(b"damaged " * 4000)
        os.utime(disk.data_dir / "outbox.db", (n, n))
        await clock.advance(60)
    outbox = await disk.open()
    assert len(list(disk.data_dir.glob("outbox.db.damaged-*Z"))) == 5
    assert len(list(disk.data_dir.glob("outbox.db.damaged-*Z-pictures"))) == 5
    await outbox.close()


async def test_a_file_that_cannot_be_mended_is_not_rescued_again_and_again(disk: SqliteStore) -> None:
    outbox = await disk.open()
    await recorded(outbox, 1)

    def read(_: sqlite3.Connection) -> None:
        raise sqlite3.DatabaseError("database disk image is malformed")

    for _ in range(3):
        with pytest.raises(OutboxError):
            await in_writer(outbox, read)
        outbox._writer.next_try_s = 0.0
    assert len(list(disk.data_dir.glob("outbox.db.damaged-*Z"))) == 1
    await outbox.close()
