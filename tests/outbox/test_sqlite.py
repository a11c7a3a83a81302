"""What only the outbox on disk must do: survive, be alone, stay small, live through a disk that takes nothing."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lpr.domain.commands import EventRange
from lpr.domain.errors import OutboxError, OutboxFullError, OutboxLockedError
from lpr.domain.events import ErrorRaised
from lpr.outbox import held
from lpr.outbox.base import Ticket
from lpr.outbox.limits import LEAST_FREE_DISK, OutboxLimits
from lpr.outbox.queue import Queue
from lpr.outbox.schema import PAGE_SIZE
from lpr.outbox.sqlite import SqliteOutbox
from lpr.testing.clock import FakeClock
from lpr.wire import parse_overflow_details
from tests.outbox.helpers import ROOMY, SqliteStore, detection, failure, picture, status


async def recorded(outbox: SqliteOutbox, count: int, **options: int) -> list[Ticket]:
    return [await outbox.record(detection(f"29A{n}", **options), link_up=True) for n in range(count)]


async def in_writer(outbox: SqliteOutbox, do: Callable[[sqlite3.Connection], object]) -> None:
    """Run something on the writing connection, in the thread that owns it."""

    def run(_: Queue) -> list[Ticket]:
        do(outbox._shelf.connection)
        return []

    await outbox._write(run)


def pages(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA page_count").fetchone()[0])


async def fill_disk(outbox: SqliteOutbox) -> None:
    """Let the files grow no further."""

    def fill(connection: sqlite3.Connection) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages(connection)}")
        vars(outbox._files.pictures)["_grow"] = no_room

    await in_writer(outbox, fill)


def no_room(_: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def empty_disk(outbox: SqliteOutbox) -> None:
    """Room again. (The writer may be in the middle of a try, which is why this is no job of its own.)"""
    outbox._shelf.connection.execute("PRAGMA max_page_count = 1000000")
    del vars(outbox._files.pictures)["_grow"]


def file_bytes(disk: SqliteStore) -> int:
    """What database and pictures take."""
    return sum((disk.data_dir / name).stat().st_size for name in ("outbox.db", "outbox.db-pictures"))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - the writer's thread has no event to wait for
            await asyncio.sleep(0.01)


# --------------------------------------------------------------------------------------------------------------------
# Durable, and in one place


async def test_the_file_is_set_up_for_durable_commits_and_for_shrinking(disk: SqliteStore) -> None:
    outbox = await disk.open()
    found: dict[str, object] = {}

    def read(connection: sqlite3.Connection) -> None:
        for name in ("journal_mode", "synchronous", "page_size", "auto_vacuum", "secure_delete"):
            found[name] = connection.execute(f"PRAGMA {name}").fetchone()[0]

    await in_writer(outbox, read)
    assert found == {
        "journal_mode": "wal",
        "synchronous": 1,
        "page_size": 4096,
        "auto_vacuum": 2,
        "secure_delete": 0,
    }
    await outbox.close()


async def test_what_waits_together_is_committed_together(disk: SqliteStore) -> None:
    outbox = await disk.open()
    commits = 0
    holding, release = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def hold(_: sqlite3.Connection) -> None:
        loop.call_soon_threadsafe(holding.set)
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result()

    def count(statement: str) -> None:
        nonlocal commits
        commits += statement == "COMMIT"

    blocked = asyncio.create_task(in_writer(outbox, hold))
    await holding.wait()
    outbox._shelf.connection.set_trace_callback(count)
    records = asyncio.gather(*(outbox.record(detection(f"29A{n}"), link_up=True) for n in range(20)))
    await asyncio.sleep(0)
    release.set()
    await blocked
    tickets = await records
    outbox._shelf.connection.set_trace_callback(None)

    assert commits == 2
    assert [ticket.sequence for ticket in tickets] == list(range(1, 21))
    await outbox.close()


async def test_a_fault_in_one_call_does_not_harm_those_in_the_same_commit(disk: SqliteStore) -> None:
    outbox = await disk.open()

    def fault(_: Queue) -> list[Ticket]:
        raise ZeroDivisionError

    results = await asyncio.gather(
        outbox.record(detection("29A1"), link_up=True),
        outbox._write(fault),
        outbox.record(detection("29A2", plate_bytes=10), link_up=True),
        return_exceptions=True,
    )
    assert isinstance(results[1], ZeroDivisionError)
    assert [ticket.sequence for ticket in await outbox.waiting(limit=9)] == [1, 2]
    await outbox.close()


async def test_a_record_that_is_cancelled_leaves_the_queue_whole(disk: SqliteStore) -> None:
    outbox = await disk.open()
    task = asyncio.create_task(outbox.record(detection("29A1"), link_up=True))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    second = await outbox.record(detection("29A2"), link_up=True)
    waiting = await outbox.waiting(limit=9)
    assert [ticket.sequence for ticket in waiting] == [1, 2]
    assert waiting[-1] == second
    await outbox.close()


async def test_a_closed_queue_says_so(disk: SqliteStore) -> None:
    outbox = await disk.open()
    await outbox.close()
    with pytest.raises(OutboxError, match="closed"):
        await outbox.record(detection(), link_up=True)
    with pytest.raises(OutboxError, match="closed"):
        await outbox.waiting(limit=1)


async def test_closing_commits_what_was_begun(disk: SqliteStore) -> None:
    outbox = await disk.open()
    tasks = [asyncio.create_task(outbox.record(detection(f"29A{n}"), link_up=True)) for n in range(30)]
    await asyncio.sleep(0)
    await outbox.close()
    assert len(await asyncio.gather(*tasks)) == 30
    outbox = await disk.open()
    assert (await outbox.status()).pending == 30
    await outbox.close()


async def test_nothing_is_left_behind_by_opening_and_closing(disk: SqliteStore) -> None:
    await (await disk.open()).close()
    handles = len(os.listdir("/proc/self/fd"))
    threads = len(os.listdir("/proc/self/task"))
    for _ in range(5):
        await (await disk.open()).close()
    assert len(os.listdir("/proc/self/fd")) <= handles
    assert len(os.listdir("/proc/self/task")) <= threads + 8  # asyncio's own pool of threads
    left = ["outbox.db", "outbox.db-pictures", "outbox.lock", "outbox.reserve", "outbox.seq"]
    assert sorted(path.name for path in disk.data_dir.iterdir()) == left


# --------------------------------------------------------------------------------------------------------------------
# Who may open it


async def test_a_second_agent_is_refused_and_told_who_holds_the_directory(disk: SqliteStore) -> None:
    outbox = await disk.open()
    with pytest.raises(OutboxLockedError, match=rf"another agent \(process {os.getpid()}\)") as raised:
        await disk.open()
    assert raised.value.hint is not None
    assert "agent.data_dir" in raised.value.hint
    await outbox.close()
    await (await disk.open()).close()


async def test_a_failed_start_leaves_the_directory_free(disk: SqliteStore) -> None:
    disk.data_dir.mkdir()
    with sqlite3.connect(disk.data_dir / "outbox.db") as connection:
        connection.execute("CREATE TABLE something_else (a)")
    connection.close()
    for _ in range(2):
        with pytest.raises(OutboxError, match="not a queue of lpr-agent"):
            await disk.open()


async def test_a_queue_of_a_newer_version_is_refused_with_words_and_left_alone(disk: SqliteStore) -> None:
    outbox = await disk.open()
    await recorded(outbox, 1)
    await outbox.close()
    with sqlite3.connect(disk.data_dir / "outbox.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(OutboxError, match=r"newer lpr-agent.*version 99"):
        await disk.open()
    assert [path.name for path in disk.data_dir.glob("*damaged*")] == []


async def test_a_directory_that_cannot_be_made_is_an_error_with_a_remedy(clock: FakeClock, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    with pytest.raises(OutboxError, match="cannot write in the data directory") as raised:
        await SqliteStore(clock, tmp_path / "file" / "data").open()
    assert raised.value.hint is not None


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
async def test_a_directory_without_permission_names_the_user(disk: SqliteStore) -> None:
    disk.data_dir.mkdir(mode=0o500)
    with pytest.raises(OutboxError) as raised:
        await disk.open()
    assert raised.value.hint is not None
    assert str(os.getuid()) in raised.value.hint


# --------------------------------------------------------------------------------------------------------------------
# Killed, copied

CHILD = """
import asyncio, sys
from pathlib import Path
from lpr.outbox.limits import OutboxLimits
from lpr.outbox.sqlite import SqliteOutbox
from tests.outbox.helpers import detection

async def main():
    outbox = await SqliteOutbox.open(
        Path(sys.argv[1]), agent_id="gate", boot_id=sys.argv[2], limits=OutboxLimits(min_free_disk=0)
    )
    async def record(first):
        for n in range(first, 100000, 4):
            ticket = await outbox.record(detection(f"29A{n}", plate_bytes=3000, original_bytes=40000), link_up=True)
            print(ticket.sequence, ticket.event_id, flush=True)
    await asyncio.gather(*(record(first) for first in range(4)))

asyncio.run(main())
"""


def start_child(data_dir: Path, boot_id: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(data_dir), boot_id],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def read_reports(child: subprocess.Popen[str], count: int) -> dict[int, str]:
    """Events whose record has returned in the child."""
    assert child.stdout is not None
    reports: dict[int, str] = {}
    while len(reports) < count:
        words = child.stdout.readline().split()
        assert words, "the child has ended"
        if len(words) == 2:  # not a line of the log
            reports[int(words[0])] = words[1]
    return reports


def read_rest(child: subprocess.Popen[str]) -> dict[int, str]:
    assert child.stdout is not None
    lines = [line.split() for line in child.stdout.read().splitlines()]
    child.stdout.close()
    return {int(line[0]): line[1] for line in lines if len(line) == 2 and len(line[1]) == 36}


async def test_what_was_reported_as_recorded_survives_kill_9(disk: SqliteStore) -> None:
    promised: dict[int, str] = {}
    for round_number in range(3):
        child = start_child(disk.data_dir, f"boot-{round_number}")
        promised |= read_reports(child, 12 + 7 * round_number)
        child.send_signal(signal.SIGKILL)
        promised |= read_rest(child)
        child.wait()

    outbox = await disk.open(boot_id="after")
    waiting = {ticket.sequence: ticket.event_id for ticket in await outbox.waiting(limit=100_000)}
    assert promised.items() <= waiting.items()
    assert sorted(sequence for sequence in waiting if sequence) == list(range(1, len(waiting) + 1))
    for event_id in promised.values():
        entry = await outbox.load(event_id)
        assert entry is not None
        plate = entry.body["data"]["licensePlate"]
        assert entry.plate_image == picture(f"plate {plate}", 3000)
        assert entry.original_image == picture(f"scene {plate}", 40000)
    assert list(disk.data_dir.glob("*damaged*")) == []
    await outbox.close()


async def test_the_files_copied_at_any_moment_hold_all_that_was_reported(
    disk: SqliteStore, clock: FakeClock, tmp_path: Path
) -> None:
    child = start_child(disk.data_dir, "boot-1")
    promised: dict[int, str] = {}
    for copy_number in range(4):
        promised |= read_reports(child, 9)
        # Stopped, so that the two files are of one moment, as after a power cut.
        child.send_signal(signal.SIGSTOP)
        copy = tmp_path / f"copy-{copy_number}"
        copy.mkdir()
        for name in ("outbox.db", "outbox.db-wal", "outbox.db-pictures", "outbox.seq"):
            shutil.copy(disk.data_dir / name, copy / name)
        child.send_signal(signal.SIGCONT)
        outbox = await SqliteStore(clock, copy).open(boot_id="after")
        waiting = {ticket.sequence: ticket.event_id for ticket in await outbox.waiting(limit=100_000)}
        assert promised.items() <= waiting.items()
        await outbox.close()
        assert list(copy.glob("*damaged*")) == []
    child.kill()
    read_rest(child)
    child.wait()


# --------------------------------------------------------------------------------------------------------------------
# Damaged files


async def reopened(disk: SqliteStore) -> tuple[SqliteOutbox, list[ErrorRaised]]:
    outbox = await disk.open(boot_id="after")
    troubles: list[ErrorRaised] = []
    outbox.on_trouble(troubles.append)
    await asyncio.sleep(0)
    return outbox, troubles


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


# --------------------------------------------------------------------------------------------------------------------
# A disk that takes nothing


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
    with pytest.raises(OutboxFullError, match="held in memory"):
        await outbox.record(detection("29B2", original_bytes=200_000), link_up=True)

    waiting = await outbox.waiting(limit=9)
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


@pytest.mark.parametrize("folder_is_made_again", [False, True])
async def test_events_recorded_into_deleted_files_are_not_called_recorded_and_what_waits_is_delivered(
    disk: SqliteStore, folder_is_made_again: bool
) -> None:
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


# --------------------------------------------------------------------------------------------------------------------
# Size, and others


async def test_the_file_shrinks_back_after_a_drain(disk: SqliteStore) -> None:
    outbox = await disk.open()
    await outbox.close()
    empty = file_bytes(disk)
    outbox = await disk.open()
    tickets = await recorded(outbox, 60, original_bytes=90_000)
    await outbox.settle([ticket.event_id for ticket in tickets])
    await outbox.close()
    assert file_bytes(disk) <= empty
    assert not (disk.data_dir / "outbox.db-wal").exists()


async def test_the_file_of_a_running_agent_shrinks_back_too(disk: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lpr.outbox.writer.TICK_S", 0.05)
    outbox = await disk.open()
    tickets = await recorded(outbox, 60, original_bytes=90_000)
    assert file_bytes(disk) > 5_000_000
    await outbox.settle([ticket.event_id for ticket in tickets])
    await until(lambda: file_bytes(disk) < 100_000)
    await outbox.close()


async def test_a_retry_by_another_process_is_noticed(disk: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lpr.outbox.writer.TICK_S", 0.05)
    outbox = await disk.open()
    told: list[Ticket] = []
    first, second = await recorded(outbox, 2)
    outbox.on_recorded(told.append)
    await outbox.count_attempt(first.event_id)
    await outbox.bury(first.event_id, code="X", reason="y")

    from lpr.outbox.tools import QueueFile

    with QueueFile.open(disk.data_dir, writable=True) as queue:
        assert queue.retry([queue.find(first.event_id)]) == 1
    await until(lambda: bool(told))
    # It may have been stored there, and goes out as a replay.
    again = replace(first, recorded_offline=True)
    assert told == [again]
    assert await outbox.waiting(limit=9) == [again, second]
    numbers = await outbox.status()
    assert (numbers.pending, numbers.dead_letters) == (2, 0)
    await outbox.close()


async def test_a_picture_that_rotted_on_disk_is_left_out_and_says_so(disk: SqliteStore) -> None:
    outbox = await disk.open()
    ticket = await outbox.record(detection("29A0"), link_up=False)
    with (disk.data_dir / "outbox.db-pictures").open("r+b") as file:
        file.seek(1500)
        file.write(b"rot")
    entry = await outbox.load(ticket.event_id)
    assert entry is not None
    assert entry.plate_image is not None
    assert entry.original_image is None
    assert entry.original_omitted == "damaged"
    await outbox.close()


async def test_age_is_looked_at_while_running(
    disk: SqliteStore, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lpr.outbox.writer.TICK_S", 0.05)
    monkeypatch.setattr("lpr.outbox.writer.EXPIRE_EVERY_S", 0.1)
    outbox = await disk.open(limits=replace(ROOMY, max_age_s=60.0))
    troubles: list[ErrorRaised] = []
    outbox.on_trouble(troubles.append)
    await outbox.record(failure(), link_up=True)
    await clock.advance(61)
    await until(lambda: bool(troubles))
    assert parse_overflow_details(troubles[0].details).cause == "max_age"
    assert [ticket.sequence for ticket in await outbox.waiting(limit=9)] == [2]
    await outbox.close()


async def test_kept_events_are_forgotten_in_their_time_while_running_and_give_back_their_room(
    disk: SqliteStore, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lpr.outbox.writer.TICK_S", 0.05)
    monkeypatch.setattr("lpr.outbox.writer.EXPIRE_EVERY_S", 0.1)
    outbox = await disk.open(limits=replace(ROOMY, keep_delivered_s=60.0))
    tickets = [await outbox.record(detection(f"29A{n}", original_bytes=50_000), link_up=True) for n in range(20)]
    await outbox.settle([ticket.event_id for ticket in tickets])
    assert file_bytes(disk) > 1_000_000
    assert outbox._queue.counters.kept == 20
    await clock.advance(61)
    await until(lambda: outbox._queue.counters.kept == 0 and file_bytes(disk) < 100_000)
    assert outbox._queue.counters.all_bytes == 0
    await outbox.close()


async def test_a_disk_that_runs_short_takes_the_room_of_what_is_kept(
    disk: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = await disk.open(limits=replace(ROOMY, keep_delivered_s=3600.0))
    tickets = [await outbox.record(detection(f"29A{n}", original_bytes=20_000), link_up=True) for n in range(10)]
    await outbox.settle([ticket.event_id for ticket in tickets])
    waiting = await outbox.record(detection("29B1"), link_up=True)
    short_of = 50_000
    monkeypatch.setattr(outbox._queue, "_disk_room", lambda: (LEAST_FREE_DISK - short_of, 0))
    await in_writer(outbox, lambda _: outbox._queue.expire())
    assert outbox._queue.counters.kept == 10 - 3, "three of them hold the room that is wanted"
    assert await outbox.replay(EventRange(to_sequence=4)) == 1
    assert [ticket.sequence for ticket in await outbox.waiting(limit=9)] == [4, waiting.sequence]
    await outbox.close()


async def test_a_data_directory_that_cannot_be_made_names_the_key_to_change() -> None:
    with pytest.raises(OutboxError) as raised:
        await SqliteOutbox.open(Path("/dev/null/lpr"), agent_id="agent", boot_id="boot")

    assert "/dev/null/lpr" in str(raised.value)
    assert raised.value.hint is not None
    assert "agent.data_dir" in raised.value.hint


async def test_what_has_just_been_recorded_is_sent_without_asking_the_disk(
    disk: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = await disk.open()
    (ticket,) = await recorded(outbox, 1)
    later = await outbox.record(detection("29A1"), link_up=False)
    asked: list[str] = []

    def note(event_id: str) -> tuple[None, tuple[()]]:
        asked.append(event_id)
        return None, ()

    monkeypatch.setattr(outbox, "_load", note)
    entry = await outbox.load(ticket.event_id)
    assert asked == []
    assert entry is not None
    assert entry.original_image == picture("scene 29A0", 2000)
    monkeypatch.undo()
    for expected in (1, 2):
        await outbox.count_attempt(ticket.event_id)
        entry = await outbox.load(ticket.event_id)
        assert entry is not None
        assert entry.ticket.attempts == expected
    monkeypatch.setattr(outbox, "_load", note)
    await outbox.load(later.event_id)
    assert asked == [later.event_id], "what waits for the link waits on disk alone"
    await outbox.close()


async def test_what_a_person_dropped_is_not_sent_because_it_was_recorded_just_now(disk: SqliteStore) -> None:
    from lpr.outbox.tools import QueueFile

    outbox = await disk.open()
    (ticket,) = await recorded(outbox, 1)
    with QueueFile.open(disk.data_dir, writable=True) as queue:
        assert queue.drop([queue.find(ticket.event_id)]) == 1
    await outbox.put_status(status())
    assert await outbox.load(ticket.event_id) is None
    await outbox.close()
