"""What only the outbox on disk must do: commit together, be alone, stay small."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from lpr.domain.commands import EventRange
from lpr.domain.errors import OutboxError, OutboxLockedError
from lpr.domain.events import ErrorRaised
from lpr.outbox.base import Ticket
from lpr.outbox.limits import LEAST_FREE_DISK
from lpr.outbox.queue import Queue
from lpr.outbox.sqlite import SqliteOutbox
from lpr.testing.clock import FakeClock
from lpr.wire import parse_overflow_details
from tests.outbox.helpers import ROOMY, SqliteStore, detection, failure, picture, status
from tests.outbox.inside import file_bytes, in_writer, recorded, until

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


async def test_a_fault_of_the_writer_itself_is_told_to_who_waits_and_it_goes_on(
    disk: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = await disk.open()
    with monkeypatch.context() as patch:
        patch.delattr(outbox._writer, "_reserve")  # whatever looks after the file stumbles over it
        patch.setattr(outbox._writer, "_next_expiry_s", 0.0)
        patch.setattr(outbox._writer, "_note_success", None)
        async with asyncio.timeout(10):
            with pytest.raises(TypeError):
                await outbox.record(detection("29A1"), link_up=True)
            await until(lambda: outbox._writer._next_expiry_s > 0.0)
    async with asyncio.timeout(10):
        await outbox.record(detection("29A2"), link_up=True)
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
