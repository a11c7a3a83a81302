"""Events that lie beside the database: found again when a power cut has taken their rows, read while others write, and
those of earlier versions that lie inside it.

(`test_power_cut.py` cuts the power at any moment; here each case has one of its own.)
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lpr.outbox import pictures, schema
from lpr.outbox.limits import OutboxLimits
from lpr.outbox.pictures import BLOCK, PictureFile
from lpr.outbox.queue import Queue
from lpr.outbox.rows import RowMaker
from lpr.outbox.sqlite import SqliteOutbox
from lpr.outbox.sqlite_shelf import SqliteShelf
from lpr.outbox.tools import QueueFile
from lpr.testing.clock import FakeClock
from lpr.wire import from_json
from tests.outbox.helpers import ROOMY, SqliteStore, detection, failure, picture, status

SIZES = {"plate_bytes": 3_000, "original_bytes": 30_000}


class Power:
    """What of a queue's files was on the disk when it was last synced as a whole, and what is there now."""

    def __init__(self, disk: SqliteStore, folder: Path) -> None:
        self._now, self._kept, self.after = disk.data_dir, folder / "kept", folder / "after"

    def keep(self) -> None:
        """Of all files what they hold at this moment."""
        shutil.rmtree(self._kept, ignore_errors=True)
        shutil.copytree(self._now, self._kept)

    def cut(self) -> SqliteStore:
        """Rows that were written since are lost; what was synced beside them is not."""
        shutil.copytree(self._kept, self.after)
        shutil.copy(self._now / "outbox.db-pictures", self.after / "outbox.db-pictures")
        return SqliteStore(FakeClock(), self.after)


@pytest.fixture
def power(disk: SqliteStore, tmp_path: Path) -> Power:
    return Power(disk, tmp_path)


async def plates(outbox: SqliteOutbox) -> list[tuple[int | None, str]]:
    """Sequence and plate of the detections that wait, all of them whole."""
    found = []
    for ticket in await outbox.waiting(limit=999):
        entry = await outbox.load(ticket.event_id)
        assert entry is not None
        plate = str(entry.body["data"].get("licensePlate"))
        if ticket.event_type == "license_plate_detected":
            assert entry.plate_image == picture(f"plate {plate}", SIZES["plate_bytes"])
            assert entry.original_image == picture(f"scene {plate}", SIZES["original_bytes"])
            found.append((ticket.sequence, plate))
    return found


async def bodies(outbox: SqliteOutbox, event_ids: list[str]) -> list[Mapping[str, Any]]:
    entries = [await outbox.load(event_id) for event_id in event_ids]
    return [entry.body for entry in entries if entry is not None]


async def record(outbox: SqliteOutbox, *names: str) -> list[str]:
    return [(await outbox.record(detection(name, **SIZES), link_up=False)).event_id for name in names]


async def test_events_whose_rows_were_lost_are_put_back_as_they_were(disk: SqliteStore, power: Power) -> None:
    disk.clock_is_right = lambda wall: False
    outbox = await disk.open()
    await record(outbox, "29A1")
    await outbox.put_status(status())
    power.keep()
    names = await record(outbox, "29A2", "29A3")
    before = await outbox.waiting(limit=9)
    as_recorded = await bodies(outbox, names)
    after = power.cut()
    await outbox.close()

    outbox = await after.open()
    assert await outbox.waiting(limit=9) == before
    assert await plates(outbox) == [(1, "29A1"), (2, "29A2"), (3, "29A3")]
    assert await bodies(outbox, names) == as_recorded
    assert outbox._shelf.has_unsure("machine-boot-1"), "their times may still be corrected"
    (new,) = await record(outbox, "29A4")
    await outbox.settle(names)
    assert await plates(outbox) == [(1, "29A1"), (4, "29A4")]
    await outbox.close()
    again = await after.open(boot_id="boot-2")
    assert await plates(again) == [(1, "29A1"), (4, "29A4")]
    assert (await again.waiting(limit=9))[-1].event_id == new
    await again.close()


async def test_what_was_delivered_does_not_come_back(disk: SqliteStore, power: Power) -> None:
    outbox = await disk.open()
    names = await record(outbox, "29A1", "29A2", "29A3")
    await outbox.settle(names[:2])
    power.keep()
    after = power.cut()
    await outbox.close()
    outbox = await after.open()
    assert await plates(outbox) == [(3, "29A3")]
    await outbox.close()


async def test_an_event_behind_one_that_is_not_whole_was_never_promised(disk: SqliteStore, power: Power) -> None:
    outbox = await disk.open()
    await record(outbox, "29A1")
    power.keep()
    await record(outbox, "29A2", "29A3", "29A4")
    after = power.cut()
    (place,) = outbox._shelf.connection.execute("SELECT extents FROM pictures WHERE position = 3").fetchone()
    await outbox.close()
    with (power.after / "outbox.db-pictures").open("r+b") as file:
        file.seek(int(place.split()[0]) * BLOCK + 2 * BLOCK)
        file.write(b"torn")
    outbox = await after.open()
    assert await plates(outbox) == [(1, "29A1"), (2, "29A2")]
    await record(outbox, "29A5")
    assert await plates(outbox) == [(1, "29A1"), (2, "29A2"), (3, "29A5")]
    power_again = Power(after, power.after.parent / "again")
    power_again.keep()
    await record(outbox, "29A6")
    last = power_again.cut()
    await outbox.close()
    outbox = await last.open(boot_id="boot-3")
    assert await plates(outbox) == [(1, "29A1"), (2, "29A2"), (3, "29A5"), (4, "29A6")], (
        "the old 4th is of another epoch"
    )
    await outbox.close()


async def test_a_transaction_that_failed_begins_an_epoch(disk: SqliteStore, power: Power) -> None:
    outbox = await disk.open()
    await record(outbox, "29A1")
    power.keep()

    def fails(queue: Queue) -> list[object]:
        queue.record(detection("29B2", **SIZES), link_up=True)
        outbox._shelf.put_down()
        outbox._files.pictures.sync()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await outbox._write(fails)  # type: ignore[arg-type]
    await outbox.record(failure(), link_up=True)
    power.keep()
    await record(outbox, "29A3")
    after = power.cut()
    await outbox.close()
    outbox = await after.open()
    assert await plates(outbox) == [(1, "29A1"), (3, "29A3")]
    await outbox.close()


async def test_a_recorded_event_costs_the_disk_one_sync(disk: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox = await disk.open()
    synced: list[str] = []
    really = os.fdatasync

    def counted(fd: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{fd}")).name)
        really(fd)

    await record(outbox, "29A0")
    monkeypatch.setattr(os, "fdatasync", counted)
    (first, _) = await record(outbox, "29A1", "29A2")
    assert synced == ["outbox.db-pictures"] * 2
    await outbox.settle([first])
    assert synced[2:] == ["outbox.db-wal"]
    await outbox.close()


async def test_the_disk_is_at_work_while_the_rows_are_made_and_has_all_before_they_count(
    disk: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    deeds: list[str] = []
    really_begin, really_sync = pictures.begin_to_write, os.fdatasync

    def begin(fd: int, offset: int, size_bytes: int) -> None:
        deeds.append(f"{size_bytes} bytes on their way")
        really_begin(fd, offset, size_bytes)

    def sync(fd: int) -> None:
        really_sync(fd)
        deeds.append("synced")

    outbox = await disk.open()
    await record(outbox, "29A0")
    monkeypatch.setattr(pictures, "begin_to_write", begin)
    monkeypatch.setattr(os, "fdatasync", sync)
    outbox._shelf.connection.set_trace_callback(lambda statement: deeds.append(" ".join(statement.split()[:3])))
    await record(outbox, "29A1")
    outbox._shelf.connection.set_trace_callback(None)
    begun = deeds.index("36864 bytes on their way")
    assert deeds[begun + 1 :] == ["INSERT INTO pictures", "INSERT INTO events", "synced", "COMMIT"]
    await outbox.close()


async def test_a_queue_closed_in_order_is_not_searched(disk: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox = await disk.open()
    await record(outbox, "29A1")
    await outbox.close()
    monkeypatch.setattr(SqliteShelf, "_put_back", None)
    outbox = await disk.open()
    assert await plates(outbox) == [(1, "29A1")]
    await outbox.close()


# --------------------------------------------------------------------------------------------------------------------
# Other processes


async def test_what_another_process_dropped_gives_its_room_back(disk: SqliteStore) -> None:
    outbox = await disk.open()
    await record(outbox, "29A1", "29A2")
    with QueueFile.open(disk.data_dir, writable=True, clock=FakeClock()) as file:
        file.drop([file.find("1")])
    await record(outbox, "29A3")
    await record(outbox, "29A4")
    assert outbox._files.pictures._size <= 4 * 36_864
    assert [plate for _, plate in await plates(outbox)] == ["29A2", "29A3", "29A4"]
    await outbox.close()


async def test_an_export_leaves_out_what_was_delivered_while_it_looked(disk: SqliteStore, tmp_path: Path) -> None:
    outbox = await disk.open()
    names = await record(outbox, "29A1", "29A2", "29A3")
    with QueueFile.open(disk.data_dir, clock=FakeClock()) as file:
        item, others = file.find("1"), [file.find("2"), file.find("3")]
        file._connection.execute("BEGIN")
        file._connection.execute("SELECT count(*) FROM events").fetchall()
        await outbox.settle(names[:1])
        await record(outbox, "29A4")
        seen = file._shelf.contents(names[0])
        assert seen is not None
        assert seen[1].unsound, "its room holds another event by now"
        file._connection.execute("COMMIT")
        assert file.contents(item) is None
        for n, other in enumerate(others, 2):
            contents = file.contents(other)
            assert contents is not None
            assert contents.original_image == picture(f"scene 29A{n}", SIZES["original_bytes"])
            assert not contents.unsound
        assert file.export(tmp_path / "out").events == 3
    await outbox.close()


async def test_the_end_of_the_file_is_given_back_though_its_last_event_stays(
    disk: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = await disk.open()
    names = await record(outbox, *(f"29A{n}" for n in range(30)))
    await outbox.bury(names[-1], code="BAD", reason="no")
    await outbox.settle(names[:-1])
    await outbox.close()
    assert (disk.data_dir / "outbox.db-pictures").stat().st_size < 2 * 36_864
    outbox = await disk.open(boot_id="boot-2")
    assert await outbox.retry_dead(names[-1:]) == 1
    assert await plates(outbox) == [(30, "29A29")]
    await outbox.close()


# --------------------------------------------------------------------------------------------------------------------
# Directories of earlier versions


def made_by_version_3(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As that version left it: pages of 16 KB, and pictures in the database."""
    data_dir.mkdir(parents=True)
    path = data_dir / "outbox.db"
    monkeypatch.setattr(schema, "PAGE_SIZE", 16384)
    monkeypatch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:3])
    monkeypatch.setattr(schema, "SCHEMA_VERSION", 3)
    with closing(schema.connect(path)) as connection:
        schema.migrate(connection, path)
        maker = RowMaker(agent_id="gate", boot_id="boot-0", clock=FakeClock())
        with schema.transaction(connection):
            queue = Queue(SqliteShelf(connection), maker, OutboxLimits())
            for n in range(6):
                queue.record(detection(f"29A{n}", **SIZES), link_up=True)
            queue.save()
    monkeypatch.undo()


async def test_a_directory_of_an_earlier_version_goes_on_with_everything_in_it(
    disk: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_by_version_3(disk.data_dir, monkeypatch)
    outbox = await disk.open(limits=OutboxLimits(min_free_disk=0, keep_delivered_s=3600.0))
    await record(outbox, "29A6")
    assert await plates(outbox) == [(n + 1, f"29A{n}") for n in range(7)]
    names = [ticket.event_id for ticket in await outbox.waiting(limit=9)]
    await outbox.settle(names[:2])
    await outbox.bury(names[2], code="BAD", reason="no")
    await outbox.close()
    outbox = await disk.open(boot_id="boot-2")
    assert await outbox.retry_dead([names[2]]) == 1
    assert await plates(outbox) == [(n + 1, f"29A{n}") for n in range(2, 7)]
    await outbox.settle(names)
    await outbox.close()
    with closing(sqlite3.connect(disk.data_dir / "outbox.db")) as connection:
        assert connection.execute("SELECT count(*) FROM images").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM pictures").fetchone() == (0,)


DIES_AT_A_STATEMENT = """
import os, signal, sys
from pathlib import Path
from lpr.outbox import schema
path, dies_at, seen = Path(sys.argv[1]), int(sys.argv[2]), 0
connection = schema.connect(path)

def count(statement):
    global seen
    seen += 1
    if seen == dies_at:
        os.kill(os.getpid(), signal.SIGKILL)

connection.set_trace_callback(count)
schema.migrate(connection, path)
print(seen)
"""


async def test_a_kill_at_any_statement_of_a_migration_leaves_a_queue_with_everything_in_it(
    disk: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_by_version_3(disk.data_dir, monkeypatch)
    path, kept = disk.data_dir / "outbox.db", disk.data_dir.with_name("kept")
    shutil.copytree(disk.data_dir, kept)

    def migrate(dies_at: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", DIES_AT_A_STATEMENT, str(path), str(dies_at)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)

    statements = int(migrate(0).stdout)
    assert statements > 6
    for dies_at in range(1, statements + 1):
        shutil.rmtree(disk.data_dir)
        shutil.copytree(kept, disk.data_dir)
        assert migrate(dies_at).returncode == -signal.SIGKILL
        outbox = await disk.open(boot_id=f"boot-{dies_at}")
        assert await plates(outbox) == [(n + 1, f"29A{n}") for n in range(6)]
        await outbox.close()


async def test_a_full_queue_of_an_earlier_version_lets_its_oldest_original_images_go(
    disk: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_by_version_3(disk.data_dir, monkeypatch)
    outbox = await disk.open(limits=OutboxLimits(min_free_disk=0, max_bytes=220_000))
    await record(outbox, "29A6", "29A7")
    tickets = [t for t in await outbox.waiting(limit=99) if t.event_type == "license_plate_detected"]
    assert len(tickets) == 8
    entries = [await outbox.load(ticket.event_id) for ticket in tickets]
    assert [entry is not None and entry.original_image is not None for entry in entries] == [False] * 2 + [True] * 6
    await outbox.close()


async def test_a_damaged_file_is_rescued_with_the_pictures_beside_it(disk: SqliteStore) -> None:
    outbox = await disk.open()
    await record(outbox, *(f"29A{n}" for n in range(20)))
    await outbox.close()
    path = disk.data_dir / "outbox.db"
    data = bytearray(path.read_bytes())
    data[28:32] = (9999).to_bytes(4, "big")  # the header speaks of pages that are not there
    path.write_bytes(bytes(data))
    outbox = await disk.open(boot_id="boot-2", limits=ROOMY)
    assert [plate for _, plate in await plates(outbox)] == [f"29A{n}" for n in range(20)]
    await record(outbox, "29A20")
    assert [plate for _, plate in await plates(outbox)] == [f"29A{n}" for n in range(21)]
    await outbox.close()
    (aside,) = disk.data_dir.glob("outbox.db.damaged-*Z-pictures")
    assert aside.stat().st_size > 20 * 33_000


def test_a_body_is_found_whole(tmp_path: Path) -> None:
    file = PictureFile(tmp_path / "pictures")
    maker = RowMaker(agent_id="gate", boot_id="boot-0", clock=FakeClock())
    row = maker.make(detection("Đ"), sequence=1, link_up=True)
    with closing(schema.connect(tmp_path / "outbox.db")) as connection:
        schema.migrate(connection, tmp_path / "outbox.db")
        shelf = SqliteShelf(connection, file)
        with shelf.transaction():
            shelf.insert(1, row)
        found = shelf.contents(row.event_id)
    assert found is not None
    assert from_json(found[1].body) == from_json(row.body)
    assert found[1].plate_image == row.plate_image
    file.close()


async def test_a_rescue_carries_over_events_whose_rows_were_lost_too(disk: SqliteStore, power: Power) -> None:
    outbox = await disk.open()
    await record(outbox, *(f"29A{n}" for n in range(4)))
    await outbox.put_status(status())
    outbox._shelf.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    power.keep()
    await record(outbox, "29A4", "29A5")
    after = power.cut()
    await outbox.close()
    path = power.after / "outbox.db"
    data = bytearray(path.read_bytes())
    data[28:32] = (9999).to_bytes(4, "big")
    path.write_bytes(bytes(data))
    outbox = await after.open(boot_id="boot-2")
    assert await plates(outbox) == [(n + 1, f"29A{n}") for n in range(6)]
    assert len(list(power.after.glob("outbox.db.damaged-*Z"))) == 1
    await outbox.close()
