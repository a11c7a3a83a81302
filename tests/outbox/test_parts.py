"""The small parts under the queue: names, ranges, the side record, the lock, schema versions."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
import uuid
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpr.domain.commands import EventRange
from lpr.domain.errors import OutboxError
from lpr.outbox import schema
from lpr.outbox.bench import measure_recording
from lpr.outbox.files import (
    SEQUENCES_AHEAD,
    SIDE_RECORD,
    DirectoryLock,
    SideContents,
    SideRecord,
    is_damage,
    is_full,
    lock_holder,
    make_data_dir,
    translate,
)
from lpr.outbox.fresh import Fresh
from lpr.outbox.ids import EventIds
from lpr.outbox.limits import (
    BRIDGED_SEQUENCES,
    MAX_RANGES,
    Losses,
    OutboxLimits,
    describe,
    merge_ranges,
    subtract_ranges,
)
from lpr.outbox.rows import RowMaker, summary_of
from lpr.testing.clock import FakeClock
from tests.outbox.helpers import SqliteStore, detection

MOMENT = datetime(2026, 11, 23, 1, 2, 3, 456000, tzinfo=UTC)


# --------------------------------------------------------------------------------------------------------------------
# Names


@given(st.lists(st.integers(-5000, 5000), min_size=2, max_size=50))
def test_ids_rise_and_are_uuid7_whatever_the_clock_does(steps_ms: list[int]) -> None:
    ids, moment, made = EventIds(), MOMENT, []
    for step_ms in steps_ms:
        moment += timedelta(milliseconds=step_ms)
        made.append(ids.next(moment))
    assert made == sorted(set(made))
    for name in made:
        assert (uuid.UUID(name).version, uuid.UUID(name).variant) == (7, uuid.RFC_4122)


def test_an_id_tells_the_time_it_was_made() -> None:
    name = uuid.UUID(EventIds().next(MOMENT))
    assert name.int >> 80 == int(MOMENT.timestamp() * 1000)


def test_a_clock_before_1970_makes_rising_ids_all_the_same() -> None:
    ids = EventIds()
    early = datetime(1969, 1, 1, tzinfo=UTC)
    assert ids.next(early) < ids.next(early)


def test_a_counter_that_runs_over_borrows_from_the_next_millisecond() -> None:
    ids = EventIds()
    first = ids.next(MOMENT)
    ids._counter = (1 << 42) - 1
    assert first < ids.next(MOMENT) < ids.next(MOMENT)


# --------------------------------------------------------------------------------------------------------------------
# Losses


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 8)).map(lambda p: (p[0], p[0] + p[1]))))
def test_merged_ranges_name_the_same_sequences_in_as_few_runs_as_can_be(ranges: list[tuple[int, int]]) -> None:
    merged = merge_ranges(ranges)
    named = {n for first, last in ranges for n in range(first, last + 1)}
    assert {n for first, last in merged for n in range(first, last + 1)} == named
    for (_, last), (first, _) in pairwise(merged):
        assert first > last + 1


@given(st.sets(st.integers(0, 40)), st.sets(st.integers(0, 40)))
def test_ranges_are_subtracted_as_the_sets_they_stand_for(some: set[int], gone: set[int]) -> None:
    left = subtract_ranges(merge_ranges((n, n) for n in some), merge_ranges((n, n) for n in gone))
    assert left == merge_ranges((n, n) for n in some - gone)


def test_a_picture_is_not_told_of_where_its_event_is_lost_too() -> None:
    (report,) = Losses(without_original=[(1, 9)], lost=[(1, 3), (9, 9)]).reports("max_bytes")
    assert report.without_original == ((4, 8),)


def test_events_without_a_picture_are_named_over_small_gaps() -> None:
    (report,) = Losses(without_original=[(1, 9), (11, 20), (21 + BRIDGED_SEQUENCES, 99)]).reports("max_bytes")
    assert report.without_original == ((1, 99),)
    (report,) = Losses(without_original=[(1, 9), (11 + BRIDGED_SEQUENCES, 99)]).reports("max_bytes")
    assert report.without_original == ((1, 9), (11 + BRIDGED_SEQUENCES, 99))


def test_more_runs_than_a_report_holds_make_more_reports() -> None:
    losses = Losses()
    for n in range(MAX_RANGES + 5):
        losses.lose("error", 2 * n)
    losses.lose("processing_status", None)
    reports = losses.reports("max_bytes")
    assert [len(report.lost) for report in reports] == [MAX_RANGES, 5]
    assert [report.statuses for report in reports] == [1, 0]
    assert [report.errors for report in reports] == [MAX_RANGES + 5, 0]
    assert reports[1].lost[-1] == (2 * MAX_RANGES + 8, 2 * MAX_RANGES + 8)


def test_a_loss_is_told_in_words() -> None:
    losses = Losses(detections=3, lost=[(1, 3)])
    losses.lose_original(4)
    (report,) = losses.reports("max_age")
    assert describe(report) == (
        "The queue dropped 3 detection(s), 1 original image(s): they waited longer than outbox.max_age"
    )


def test_no_loss_is_no_loss() -> None:
    assert not Losses()
    unknown = Losses()
    unknown.lose_unknown(3, 5)
    assert unknown
    assert unknown.reports("disk_full")[0].unknown == 3


# --------------------------------------------------------------------------------------------------------------------
# Side record


def test_the_side_record_is_remembered_and_overwritten_in_place(tmp_path: Path) -> None:
    with closing(SideRecord(tmp_path)) as side:
        assert side.contents == SideContents(0, 0)
        side.reserve(1)
        assert side.contents.reserved == 1 + SEQUENCES_AHEAD
        inode = (tmp_path / SIDE_RECORD).stat()
        side.reserve(5)
        side.hold(3000)
    with closing(SideRecord(tmp_path)) as side:
        assert side.contents == SideContents(reserved=3000, held=3000)
        side.hold(0)
        assert side.contents == SideContents(reserved=3000, held=0)
    after = (tmp_path / SIDE_RECORD).stat()
    assert (after.st_ino, after.st_size) == (inode.st_ino, inode.st_size)


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 128, b"nonsense", b'{"reserved": 9, "held": 0} 00000000', b"\xff" * 9]
)
def test_a_damaged_side_record_counts_as_none(content: bytes, tmp_path: Path) -> None:
    (tmp_path / SIDE_RECORD).write_bytes(content)
    with closing(SideRecord(tmp_path)) as side:
        assert side.contents == SideContents(0, 0)


# --------------------------------------------------------------------------------------------------------------------
# Lock


HOLDER = """
import sys, pathlib
from lpr.outbox.files import DirectoryLock
lock = DirectoryLock(pathlib.Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_the_lock_of_a_process_that_was_killed_is_free_again(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert holder.stdout is not None
    assert holder.stdin is not None
    assert holder.stdout.readline() == b"held\n"
    assert lock_holder(tmp_path) == holder.pid
    holder.kill()
    holder.wait()
    holder.stdout.close()
    holder.stdin.close()
    assert lock_holder(tmp_path) is None
    lock = DirectoryLock(tmp_path)
    assert lock_holder(tmp_path) == os.getpid()
    lock.release()
    lock.release()
    assert lock_holder(tmp_path) is None


def test_a_directory_without_a_lock_has_no_holder(tmp_path: Path) -> None:
    assert lock_holder(tmp_path) is None


# --------------------------------------------------------------------------------------------------------------------
# Schema, errors


async def test_an_older_file_is_brought_up_to_date_with_its_events(
    disk: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = await disk.open()
    ticket = await outbox.record(detection("29A1"), link_up=True)
    await outbox.close()

    newer = "ALTER TABLE events ADD COLUMN note TEXT;\nUPDATE events SET note = 'new';\n"
    version = schema.SCHEMA_VERSION + 1
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, newer))
    monkeypatch.setattr(schema, "SCHEMA_VERSION", version)
    outbox = await disk.open()
    assert [found.event_id for found in await outbox.waiting(limit=9)] == [ticket.event_id]
    assert (await outbox.record(detection("29A2"), link_up=True)).sequence == 2
    await outbox.close()
    with closing(sqlite3.connect(disk.data_dir / "outbox.db")) as connection:
        assert connection.execute("SELECT note FROM events").fetchall() == [("new",), (None,)]
        assert connection.execute("PRAGMA user_version").fetchone() == (version,)


async def test_a_file_of_the_first_version_keeps_what_it_delivers_from_now_on(
    disk: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as first:
        first.setattr(schema, "MIGRATIONS", (schema.V1,))
        first.setattr(schema, "SCHEMA_VERSION", 1)
        path = disk.data_dir / "outbox.db"
        disk.data_dir.mkdir()
        with closing(schema.connect(path)) as connection:
            schema.migrate(connection, path)
            row = RowMaker(agent_id="gate", boot_id="boot-0", clock=FakeClock()).make(
                detection("29A1"), sequence=1, link_up=True
            )
            connection.execute(
                "INSERT INTO events (position, event_id, type, sequence, size_bytes, original_bytes, recorded_offline,"
                " recorded_at_ms, recorded_monotonic_s, boot_id, body) VALUES (1, ?, ?, 1, ?, 0, 0, 0, 0, 'boot-0', ?)",
                (row.event_id, row.event_type, row.size_bytes, row.body),
            )
    outbox = await disk.open(limits=OutboxLimits(min_free_disk=0, keep_delivered_s=60.0))
    await outbox.settle([row.event_id])
    assert await outbox.replay(EventRange()) == 1
    assert [ticket.event_id for ticket in await outbox.waiting(limit=9)] == [row.event_id]
    await outbox.close()


def test_a_migration_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "outbox.db"
    with closing(schema.connect(path)) as connection:
        schema.migrate(connection, path)
        version = schema.SCHEMA_VERSION
        monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, "CREATE TABLE new (a);\nNONSENSE;\n"))
        monkeypatch.setattr(schema, "SCHEMA_VERSION", version + 1)
        with pytest.raises(sqlite3.OperationalError):
            schema.migrate(connection, path)
        assert connection.execute("PRAGMA user_version").fetchone() == (version,)
        assert connection.execute("SELECT name FROM sqlite_schema WHERE name = 'new'").fetchall() == []


def test_full_busy_and_damaged_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    with closing(schema.connect(path)) as connection:
        schema.migrate(connection, path)
        connection.execute("PRAGMA max_page_count = 1")
        with pytest.raises(sqlite3.OperationalError) as full:
            connection.execute("INSERT INTO images VALUES (1, 1, 1, 1, zeroblob(1000000))")
        assert is_full(full.value)
        assert not is_damage(full.value)
        connection.execute("BEGIN IMMEDIATE")
        with (
            closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as other,
            pytest.raises(sqlite3.OperationalError) as busy,
        ):
            other.execute("BEGIN IMMEDIATE")
        assert not is_full(busy.value)
        assert not is_damage(busy.value)
    (tmp_path / "garbage").write_bytes(b"garbage " * 1000)
    with closing(sqlite3.connect(tmp_path / "garbage")) as connection, pytest.raises(sqlite3.DatabaseError) as damaged:
        connection.execute("SELECT * FROM sqlite_schema")
    assert is_damage(damaged.value)


def test_a_fault_on_a_path_that_cannot_be_looked_at_is_told_and_not_another_fault() -> None:
    error = translate(PermissionError(errno.EACCES, "Permission denied"), "look at", Path("/", "x" * 300))
    assert "sudo chown -R USER /" in (error.hint or "")


def test_a_file_in_place_of_the_data_directory_is_called_so(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    with pytest.raises(OutboxError) as raised:
        make_data_dir(tmp_path / "data")
    assert raised.value.hint == f"{tmp_path}/data is a file: set agent.data_dir to a folder"


async def test_the_benchmark_measures_all_of_its_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lpr.outbox.bench.ROUND", 4)
    speed = await measure_recording(tmp_path, rounds=1)
    assert (
        min(
            speed.bare_per_s,
            speed.bare_over_per_s,
            speed.recorded_per_s,
            speed.recorded_together_per_s,
            speed.settled_per_s,
        )
        > 0
    )
    assert speed.ratio == speed.recorded_per_s / speed.bare_per_s
    assert speed.ratio_over == speed.recorded_per_s / speed.bare_over_per_s


def test_the_newest_events_are_kept_in_memory_within_a_bound_and_believed_until_anything_was_lost() -> None:
    maker = RowMaker(agent_id="gate", boot_id="boot-0", clock=FakeClock())
    rows = [maker.make(detection(f"29A{n}"), sequence=n, link_up=True) for n in range(1, 4)]
    fresh = Fresh(max_bytes=rows[1].size_bytes + rows[2].size_bytes)
    for position, row in enumerate(rows, 1):
        fresh.add(row, summary_of(position, row).ticket("boot-0"), thinned=7)
    first, second, third = (row.event_id for row in rows)
    assert fresh.entry(first, 7) is None
    entry = fresh.entry(third, 7)
    assert entry is not None
    assert (entry.body["eventId"], entry.original_image) == (third, rows[2].original_image)
    assert fresh.entry(third, 8) is None
    fresh.forget([second, "no such event"])
    assert fresh.entry(second, 7) is None
    fresh.add(rows[0].entry(rows[0].ticket("boot-0")), rows[0].ticket("boot-0"), thinned=8)
    assert fresh.entry(third, 7) is not None, "what was forgotten takes no room"
