"""Opening the queue's file, whatever state it is in. What is damaged is set aside; what can be read is carried over.

The order of steps leaves nothing half done: what can be read is copied into a second file, which is complete and closed
before the damaged one is renamed out of its way. A rescue that is cut short is begun again, or finished, at the next
start.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from lpr.domain.clock import Instant
from lpr.domain.errors import LprError, OutboxError
from lpr.domain.events import ErrorRaised
from lpr.durable import sync_directory
from lpr.outbox.base import Ticket
from lpr.outbox.files import BESIDE_DATABASE, DATABASE, SideContents, is_damage, translate
from lpr.outbox.limits import OutboxLimits
from lpr.outbox.pictures import PictureFile
from lpr.outbox.queue import Queue
from lpr.outbox.reading import SqliteRows
from lpr.outbox.records import lost_events
from lpr.outbox.rows import Burial, Row, RowMaker, State, Summary
from lpr.outbox.schema import connect, migrate, transaction
from lpr.outbox.sqlite_shelf import SqliteShelf
from lpr.outbox.troubles import corrupt_error
from lpr.wire import from_json

CHECK_TIME_S = 3.0
"""The whole file is checked for so long at the start: about 5 GB from a fast disk. What is damaged beyond that is found
when it is read, by SQLite or by the checksum of each picture."""

SET_ASIDE_KEPT = 5
"""Damaged files that are kept for a person to look at."""

_RESCUE = "outbox.db.rescue"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Salvaged:
    """What could be read of an event in a damaged file."""

    row: Row
    burial: Burial | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A sound database, and what was recorded in it about the rescue it came from."""

    connection: sqlite3.Connection
    troubles: tuple[tuple[ErrorRaised, Ticket], ...] = ()


def open_database(
    data_dir: Path, maker: RowMaker, limits: OutboxLimits, side: SideContents, *, damaged: bool = False
) -> Opened:
    """A sound database of the newest schema, after a rescue where it needs one. Raises `OutboxError`.

    `damaged` says that it is known to need one.
    """
    path = data_dir / DATABASE
    try:
        _finish_rescue(path)
        if not damaged and not _is_lost(path, side):
            connection = _open_sound(path)
            if connection is not None:
                return Opened(connection=connection)
        troubles = _rescue(path, maker, limits, side)
        connection = connect(path)
        migrate(connection, path)
    except (sqlite3.Error, OSError) as error:
        raise translate(error, "open the queue", path) from error
    return Opened(connection=connection, troubles=tuple(troubles))


def _is_lost(path: Path, side: SideContents) -> bool:
    """Whether a file that once held events is gone or empty. SQLite itself would begin a new one without a word."""
    try:
        empty = path.stat().st_size == 0
    except FileNotFoundError:
        empty = True
    return empty and (side.reserved > 0 or _beside(path, "-wal").exists())


def _open_sound(path: Path) -> sqlite3.Connection | None:
    """A connection to a file that passed its checks, None where it is damaged."""
    connection: sqlite3.Connection | None = None
    try:
        connection = connect(path)
        migrate(connection, path)
        fault = _check(connection)
    except sqlite3.Error as error:
        if connection is not None:
            connection.close()
        if not is_damage(error):
            raise
        fault = str(error)
    except LprError:
        if connection is not None:
            connection.close()
        raise
    if fault is None:
        return connection
    log.error("queue_damaged", file=path.name, fault=fault)
    if connection is not None:
        connection.close()
    return None


def _check(connection: sqlite3.Connection) -> str | None:
    """What is wrong with the file, None where nothing was found within `CHECK_TIME_S`."""
    with _deadline(connection, CHECK_TIME_S):
        try:
            findings = [str(row[0]) for row in connection.execute("PRAGMA quick_check(3)")]
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_INTERRUPT:
                raise
            log.info("queue_check_cut_short", seconds=CHECK_TIME_S)
            findings = ["ok"]
    if findings != ["ok"]:
        return "; ".join(findings)
    # The columns' types, too, which the check above does not read.
    SqliteRows(connection).counters()
    return None


@contextmanager
def _deadline(connection: sqlite3.Connection, seconds: float) -> Iterator[None]:
    """Interrupt what runs on the connection after `seconds`."""
    timer = threading.Timer(seconds, connection.interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


# --------------------------------------------------------------------------------------------------------------------
# The rescue


def _rescue(path: Path, maker: RowMaker, limits: OutboxLimits, side: SideContents) -> list[tuple[ErrorRaised, Ticket]]:
    """Put a sound file in the damaged one's place, with all that can be read of it and a report of the rest."""
    target = path.with_name(_RESCUE)
    _remove_database(target)
    aside = _free_name(path, maker.now()) if path.exists() or _beside(path, "-wal").exists() else None
    with closing(connect(target)) as connection:
        migrate(connection, target)
        with transaction(connection):
            troubles = _carry_over(path, connection, maker, limits, side, "" if aside is None else aside.name)
    if aside is not None:
        _move_database(path, aside)
    os.replace(target, path)
    sync_directory(path.parent)
    _forget_oldest_set_aside(path)
    return troubles


def _finish_rescue(path: Path) -> None:
    """A rescue that was cut short between its renames is complete but for the last one; an earlier one begins anew."""
    target = path.with_name(_RESCUE)
    if not target.exists():
        return
    if path.exists():
        _remove_database(target)
        return
    # The damaged log may still lie where the sound file's log will be.
    for suffix in ("-wal", "-shm"):
        _beside(path, suffix).unlink(missing_ok=True)
    os.replace(target, path)
    sync_directory(path.parent)


def _carry_over(
    damaged: Path, into: sqlite3.Connection, maker: RowMaker, limits: OutboxLimits, side: SideContents, aside: str
) -> list[tuple[ErrorRaised, Ticket]]:
    """Fill a new database from a damaged one, report included. Limits are looked at with the next event."""
    queue = Queue(SqliteShelf(into), maker, limits)
    salvage = _Salvage()
    for salvaged in salvage.read(damaged):
        queue.adopt(salvaged.row, salvaged.burial)
    queue.counters.last_sequence = max(queue.counters.last_sequence, salvage.last_sequence, side.reserved, side.held)
    error = corrupt_error(
        maker.now(),
        recovered=salvage.recovered,
        unreadable=salvage.unreadable,
        set_aside=aside,
        next_sequence=queue.counters.last_sequence + 1,
    )
    queue.owe(error)
    queue.pay()
    queue.shelf.save_counters(queue.counters)
    log.error("queue_rescued", recovered=salvage.recovered, unreadable=salvage.unreadable, set_aside=aside)
    return queue.take_troubles()


class _Salvage:
    """Reads what can be read. `unreadable` is None where the file gives no list of what was in it."""

    def __init__(self) -> None:
        self.recovered = 0
        self.unreadable: int | None = None
        self.last_sequence = 0

    def read(self, path: Path) -> Iterator[Salvaged]:
        """Every event that is whole but perhaps for its pictures, in order of recording."""
        try:
            connection = connect(path, read_only=True, damaged=True)
        except sqlite3.Error:
            return
        with closing(connection), closing(PictureFile(_beside(path, "-pictures"), read_only=True)) as pictures:
            shelf = SqliteRows(connection, pictures)
            self.last_sequence = _noted(shelf, "last_sequence")
            positions = _positions(connection)
            if positions is None:
                return
            self.unreadable = 0
            for position in positions:
                salvaged = _read_row(shelf, position)
                if salvaged is None:
                    self.unreadable += 1
                else:
                    self.recovered += 1
                    yield salvaged
            for row in _without_rows(shelf, pictures, max(positions, default=0)):
                self.recovered += 1
                yield Salvaged(row=row, burial=None)


def _noted(shelf: SqliteRows, name: str) -> int:
    try:
        return int(shelf.note(name) or 0)
    except (sqlite3.Error, ValueError):
        return 0


def _without_rows(shelf: SqliteRows, pictures: PictureFile, last_position: int) -> Iterator[Row]:
    """Events whose rows a power cut has taken before the file was found damaged."""
    try:
        epoch = bytes.fromhex(shelf.note("epoch") or "")
        if epoch:
            pictures.find_room([])
            lost = lost_events(pictures, epoch, after=max(last_position, _noted(shelf, "last_position")))
            yield from (event.row for event in lost)
    except (sqlite3.Error, OSError, ValueError) as error:
        log.warning("queue_events_without_rows_not_looked_for", error=str(error))


def _positions(connection: sqlite3.Connection) -> list[int] | None:
    """Positions of all rows that anything in the file still speaks of: table forwards, backwards, and by name."""
    found: set[int] = set()
    ways = ("ORDER BY position", "ORDER BY position DESC", "INDEXED BY sqlite_autoindex_events_1 ORDER BY event_id")
    answered = False
    for way in ways:
        try:
            for (position,) in connection.execute(f"SELECT position FROM events {way}"):  # noqa: S608 - our own texts
                if isinstance(position, int):
                    found.add(position)
            answered = True
        except sqlite3.Error:
            answered = answered or bool(found)
    return sorted(found) if answered else None


def _read_row(shelf: SqliteRows, position: int) -> Salvaged | None:
    try:
        summary = shelf.at(position)
        if summary is None:
            return None
        burial = shelf.burial(summary) if summary.state is State.DEAD else None
        row = _row(shelf, summary)
    except (sqlite3.Error, LprError, ValueError, TypeError, OverflowError):
        return None  # counted as unreadable
    return Salvaged(row=row, burial=burial)


def _row(shelf: SqliteRows, summary: Summary) -> Row:
    body = shelf.body(summary)
    if body is None or from_json(body).get("eventId") != summary.event_id:
        raise OutboxError(f"the event at {summary.position} is not what its index says")
    plate_image, original_image, omitted = shelf.readable_pictures(summary)
    return Row(
        event_id=summary.event_id,
        event_type=summary.event_type,
        code=summary.code,
        sequence=summary.sequence,
        body=body,
        plate_image=plate_image,
        original_image=original_image,
        original_omitted=omitted,
        recorded_at=summary.recorded_at,
        recorded_monotonic_s=summary.recorded_monotonic_s,
        boot_id=summary.boot_id,
        recorded_offline=summary.recorded_offline,
        attempts=summary.attempts,
    )


# --------------------------------------------------------------------------------------------------------------------
# Files


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _free_name(path: Path, now: Instant) -> Path:
    stamp = now.wall.strftime("%Y%m%dT%H%M%SZ")
    names = (f"{path.name}.damaged-{stamp}{'' if n == 0 else f'-{n}'}" for n in range(1000))
    return next(name for name in map(path.with_name, names) if not name.exists() and not _beside(name, "-wal").exists())


def _forget_oldest_set_aside(path: Path) -> None:
    """Keep the newest few damaged files; what could be read of the others was carried over long ago."""
    mains = [file for file in path.parent.glob(f"{path.name}.damaged-*") if not file.name.endswith(BESIDE_DATABASE)]
    for old in sorted(mains, key=lambda file: file.stat().st_mtime)[:-SET_ASIDE_KEPT]:
        _remove_database(old)


def _move_database(path: Path, to: Path) -> None:
    """Rename a database with its log and pictures. The shared index is made anew by whoever opens it.

    The pictures last: until the database has gone, whoever starts again will look for them.
    """
    if _beside(path, "-wal").exists():
        os.replace(_beside(path, "-wal"), _beside(to, "-wal"))
    _beside(path, "-shm").unlink(missing_ok=True)
    if path.exists():
        os.replace(path, to)
    if _beside(path, "-pictures").exists():
        os.replace(_beside(path, "-pictures"), _beside(to, "-pictures"))


def _remove_database(path: Path) -> None:
    for suffix in ("", *BESIDE_DATABASE):
        _beside(path, suffix).unlink(missing_ok=True)
