"""A disk that says once that it could not keep something, and then that all is well."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import sqlite3
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from lpr.domain.errors import OutboxError
from lpr.outbox import writer
from lpr.outbox.files import real_cause, translate
from lpr.outbox.folding import LogFile
from lpr.testing.clock import FakeClock
from tests.outbox.helpers import SqliteStore, failure
from tests.outbox.inside import until

PAGE = 4096


@dataclass
class ForgetfulDisk:
    """Its next sync of the log fails, once. What was to be kept by it stays in the system's memory, is taken for
    written from then on, and is on no disk: as Linux does it.
    """

    log: Path
    kept: bytes = b""
    fails: bool = False
    lost: dict[int, bytes] = field(default_factory=dict)

    def sync(self) -> None:
        now = self.log.read_bytes()
        if not self.fails:
            self.kept = now
            return
        self.fails = False
        self.lost = {
            at: now[at : at + PAGE]
            for at in range(0, len(now), PAGE)
            if now[at : at + PAGE] != self.kept[at : at + PAGE]
        }
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def cut_power(self, data_dir: Path, into: Path) -> None:
        """What is on it, for those who come after."""
        shutil.copytree(data_dir, into, ignore=shutil.ignore_patterns("*-shm"))
        with (into / self.log.name).open("r+b") as file:
            for at, page in self.lost.items():
                file.seek(at)
                if file.read(PAGE) == page:  # nothing has been written over it
                    file.seek(at)
                    file.write(bytes(len(page)))


async def test_what_is_recorded_behind_a_sync_that_failed_survives_a_power_cut(
    disk: SqliteStore, clock: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = LogFile.sync
    outbox = await disk.open()
    forgetful = ForgetfulDisk(disk.data_dir / "outbox.db-wal")
    monkeypatch.setattr(LogFile, "sync", lambda _: forgetful.sync())
    recorded = [await outbox.record(failure(f"before {n}"), link_up=True) for n in range(3)]
    forgetful.fails = True
    with pytest.raises(OutboxError, match="Input/output error") as caught:
        await outbox.record(failure("not kept"), link_up=True)
    assert caught.value.event_id in [ticket.event_id for ticket in await outbox.waiting(limit=9)]
    await until(lambda: outbox._writer.failure is None)
    recorded += [await outbox.record(failure(f"after {n}"), link_up=True) for n in range(3)]

    forgetful.cut_power(disk.data_dir, tmp_path / "after")
    monkeypatch.setattr(LogFile, "sync", really)
    await outbox.close()
    after = await SqliteStore(clock, tmp_path / "after").open(boot_id="boot-2")
    waiting = await after.waiting(limit=99)
    await after.close()

    assert {ticket.event_id for ticket in recorded} <= {ticket.event_id for ticket in waiting}
    assert [ticket.sequence for ticket in waiting] == list(range(1, 8))


async def test_a_disk_that_takes_nothing_is_told_once_until_it_does(
    disk: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = await disk.open()
    fails = True

    def sync(fd: int) -> None:
        if fails:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fdatasync", sync)
    with capture_logs() as logs:
        for n in range(5):
            with pytest.raises(OutboxError) as caught:
                await outbox.record(failure(f"not kept {n}"), link_up=True)
            await outbox.settle([f"delivered {n}"])
            assert caught.value.hint == "look for disk errors with `dmesg`; the disk may be failing"
            # Also where nothing waits any more, or a disk that takes nothing would be told to nobody.
            await outbox.settle([ticket.event_id for ticket in await outbox.waiting(limit=9)])
            assert "Input/output error" in (await outbox.status()).fault
        fails = False
        await until(lambda: outbox._writer.failure is None)
        assert (await outbox.status()).fault == ""
    await outbox.close()

    told = [line["event"] for line in logs]
    assert told == ["queue_not_writable", "queue_side_record_not_written", "queue_writable_again"]


async def test_a_disk_that_stalls_is_told_while_it_does_and_afterwards(
    disk: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = await disk.open()
    ends = threading.Event()
    monkeypatch.setattr(writer, "STALLS_AFTER_S", 0.05)
    monkeypatch.setattr(LogFile, "sync", lambda _: ends.wait(20.0))
    with capture_logs() as logs:
        recording = asyncio.create_task(outbox.record(failure("late"), link_up=True))
        async with asyncio.timeout(20):
            while not (fault := (await outbox.status()).fault):  # noqa: ASYNC110 - the writer's thread tells nobody
                await asyncio.sleep(0.01)
        assert not recording.done()
        ends.set()
        await recording
        await outbox.settle([])
    assert fault.startswith(f"the disk of {disk.data_dir} has not answered for")
    assert (await outbox.status()).fault == ""
    assert [line["event"] for line in logs] == ["queue_stalled"]
    await outbox.close()


@pytest.mark.parametrize(
    ("number", "words"), [(errno.EDQUOT, "no room on the disk"), (errno.EROFS, "Read-only file system")]
)
def test_what_sqlite_does_not_say_of_a_disk_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    unwritten = sqlite3.OperationalError("disk I/O error")
    unwritten.sqlite_errorcode = sqlite3.SQLITE_IOERR_WRITE
    assert real_cause(unwritten, tmp_path) is unwritten

    def refuse(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    assert words in translate(real_cause(unwritten, tmp_path), "write to the queue", tmp_path).message
    damaged = sqlite3.DatabaseError("malformed")
    assert real_cause(damaged, tmp_path) is damaged
    assert list(tmp_path.iterdir()) == []
