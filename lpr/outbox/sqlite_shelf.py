"""The queue's shelf in SQLite: every statement that changes rows, on one connection, and what makes that durable.

Raises `sqlite3.Error`; `sqlite` and `tools` translate.
"""

from __future__ import annotations

import errno
import heapq
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import cache
from itertools import chain
from typing import Any

from lpr.domain.clock import Instant
from lpr.outbox.files import UnsyncedError
from lpr.outbox.folding import LogFile
from lpr.outbox.pictures import Extent, Extents, PictureFile, blocks, extents_to_text, split
from lpr.outbox.reading import (
    IS_DEAD,
    MOST_NAMES,
    ORIGINAL_IMAGE,
    PLACE,
    PLATE_IMAGE,
    SqliteRows,
    extents_of,
    whole_number,
)
from lpr.outbox.records import EPOCH_BYTES, Described, describe, lost_events, pack
from lpr.outbox.rows import Burial, Correction, Row, State, Summary, milliseconds, moment_of, waiting_again
from lpr.outbox.shelf import Counters, Droppable
from lpr.wire import ERROR, PLATE_DETECTED, PROCESSING_STATUS

_MOVED = (
    "position, event_id, type, code, sequence, size_bytes, original_bytes, attempts, original_omitted, body,"
    " recorded_offline, recorded_at_ms, recorded_monotonic_s, boot_id"
)
"""What goes with an event from `events` to `delivered` and back."""

_NO_DETECTION = f"type != '{PLATE_DETECTED}'"

_DROPPABLE = {
    Droppable.STATUS: f"{_NO_DETECTION} AND type = '{PROCESSING_STATUS}'",
    Droppable.ORIGINAL_IMAGE: "original_bytes > 0",
    Droppable.ERROR: f"{_NO_DETECTION} AND type = '{ERROR}'",
    Droppable.DETECTION: f"type = '{PLATE_DETECTED}'",
}

_GATHERED = 16
"""Most rows in one statement, and events whose pictures are written in one go."""
_MOVED_AT_ONCE = 64
"""Events whose pictures are moved in one transaction."""
_NO_PICTURE = (None,) * 4


class SqliteShelf(SqliteRows):
    """Rows in the tables of `schema`, and their pictures in a file beside."""

    def __init__(self, connection: sqlite3.Connection, pictures: PictureFile | None = None) -> None:
        """Without `pictures` those that are put down go into the database; what lies in the file is not read."""
        super().__init__(connection, pictures)
        self._log: LogFile | None = None
        """None where SQLite syncs it with every commit."""
        self._log_has_holes = False
        """Whether a sync of it has failed, so that what lies in it may be on no disk."""
        self._epoch = b""
        self._in_doubt = True
        """Whether positions and room may have been used that nothing speaks for."""
        self._given_up: list[Extent] = []
        """Room that is free once the transaction is committed."""
        self._recoverable = 0
        """Events of the transaction that are found again even where their rows are lost."""
        self._gather = 1
        self._gathered: list[tuple[int, Row]] = []
        """Rows of a transaction that are put down together, before anything else is asked."""
        self._nothing_below = dict.fromkeys(Droppable, 0)
        """Positions below which no waiting row of a kind is left, so that a full queue is not read from its start."""

    # ----------------------------------------------------------------------------------------------------------------
    # Notes

    def save_counters(self, counters: Counters) -> None:
        """Note the last sequence and position."""
        self.take_note("last_sequence", str(counters.last_sequence))
        self.take_note("last_position", str(counters.last_position))

    def take_note(self, key: str, value: str) -> None:
        """Note `value` under `key`."""
        self._execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (key, value))

    # ----------------------------------------------------------------------------------------------------------------
    # Writing

    @contextmanager
    def transaction(self, *, inserts: int = _GATHERED) -> Iterator[None]:
        """All or nothing, and durable when it is left. So many rows as will be inserted inside, about, are put down
        together: after each statement this thread must win the interpreter's lock back from the event loop. Raises
        `sqlite3.Error` or `OSError`; with `UnsyncedError` it has taken effect.
        """
        self._gather, self._recoverable = min(inserts, _GATHERED), 0
        changes = self.connection.total_changes
        try:
            if self._log_has_holes:
                self._begin_log_anew()
            # Not within `schema.transaction`: every vehicle waits for this.
            self.connection.execute("BEGIN IMMEDIATE")
            if self._in_doubt:
                self._begin_epoch()
            yield
            self.put_down()
            if self.pictures is not None:
                self.pictures.sync()
            self.connection.execute("COMMIT")
            # A row and its place each; whatever else was changed must last by itself.
            if self._log is not None and self.connection.total_changes - changes != 2 * self._recoverable:
                self._sync_log(self._log)
        except BaseException:
            # Whether or not a failed commit has taken effect, the next transaction will see.
            self._in_doubt = True
            # A full disk may have rolled it back already.
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            raise
        else:
            if self.pictures is not None:
                self.pictures.release(self._given_up)
        finally:
            self._gather = 1
            self._gathered.clear()
            self._given_up.clear()

    def _sync_log(self, log: LogFile) -> None:
        try:
            log.sync()
        except OSError as error:
            self._log_has_holes = True
            raise UnsyncedError(error) from error

    def _begin_log_anew(self) -> None:
        """What a sync could not write the system forgets to write, and the next sync says nothing of it. A power cut
        would end the log at that hole, whatever was committed behind it. So all of it goes into the database, from the
        system's memory, and the next commit writes over its beginning.
        """
        busy, _, _ = self.connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
        if busy:
            raise OSError(errno.EBUSY, "another program reads the queue, and its log cannot be begun anew")
        self._log_has_holes = False

    def find_room(self) -> None:
        """Work out anew where pictures lie; rows may have come or gone that were not ours."""
        if self.pictures is not None:
            rows = self._execute("SELECT extents FROM pictures")
            self.pictures.find_room(extent for (text,) in rows for extent in extents_of(text))

    def _begin_epoch(self) -> None:
        self.find_room()
        self._epoch = os.urandom(EPOCH_BYTES)
        self.take_note("epoch", self._epoch.hex())
        self._in_doubt = False

    def end_epoch(self) -> None:
        """Nothing that is committed can be lost any longer; the next start need not look for it."""
        self.take_note("epoch", "")

    def recover(self, log: LogFile) -> int:
        """Put back the events whose rows a power cut has taken; says how many. `log` is synced by us from now on.

        Raises `sqlite3.Error` or `OSError`.
        """
        self._log = None
        epoch, recovered = bytes.fromhex(self.note("epoch") or ""), 0
        with self.transaction():
            if epoch and self.pictures is not None:
                recovered = self._put_back(self.pictures, epoch)
        self._log = log
        self.connection.execute("PRAGMA synchronous = NORMAL")
        return recovered

    def _put_back(self, pictures: PictureFile, epoch: bytes) -> int:
        lost = lost_events(pictures, epoch, after=self.counters().last_position)
        for event in lost:
            self._insert_events([(event.position, event.row)])
            described = describe(event.row.plate_image), describe(event.row.original_image)
            self._insert_places([(event.position, event.extents, event.head_bytes, *described)])
        self.find_room()
        return len(lost)

    def insert(self, position: int, row: Row) -> None:
        """Put a row down, waiting."""
        self._gathered.append((position, row))
        if len(self._gathered) >= self._gather:
            self.put_down()

    def put_down(self) -> None:
        """Write what was inserted, instead of when something else is asked or the transaction ends."""
        if not self._gathered:
            return
        rows, self._gathered = self._gathered, []
        with_pictures = [each for each in rows if each[1].plate_image is not None or each[1].original_image is not None]
        if self.pictures is not None:
            # Before the rows: the disk is at work while these are made.
            self._put_beside(self.pictures, with_pictures)
        else:
            self._insert_images(with_pictures)
        self._insert_events(rows)

    def _insert_events(self, rows: Sequence[tuple[int, Row]]) -> None:
        self._insert_all(
            "events (position, event_id, type, code, sequence, size_bytes, original_bytes, attempts, recorded_offline,"
            " recorded_at_ms, recorded_monotonic_s, boot_id, original_omitted, unsure_boot, body)",
            [_event_values(position, row) for position, row in rows],
        )

    def _put_beside(self, pictures: PictureFile, rows: Sequence[tuple[int, Row]]) -> None:
        heads: list[tuple[bytes, Described | None, Described | None]] = []
        whole: list[list[bytes]] = []
        for position, row in rows:
            plate, original = describe(row.plate_image), describe(row.original_image)
            head = pack(row, position, self._epoch, plate, original)
            heads.append((head, plate, original))
            whole.append([head, *(image.data for image in (row.plate_image, row.original_image) if image is not None)])
        places = pictures.put(whole)
        self._insert_places(
            [
                (position, place, len(head), plate, original)
                for (position, _), place, (head, plate, original) in zip(rows, places, heads, strict=True)
            ]
        )
        self._recoverable += sum(len(place) == 1 for place in places)

    def _insert_places(self, rows: Sequence[tuple[int, Extents, int, Described | None, Described | None]]) -> None:
        self._insert_all(
            f"pictures (position, {PLACE})",
            [
                (position, extents_to_text(place), head_bytes, *(plate or _NO_PICTURE), *(original or _NO_PICTURE))
                for position, place, head_bytes, plate, original in rows
            ],
        )

    def _insert_images(self, rows: Sequence[tuple[int, Row]]) -> None:
        self._insert_all(
            "images (image_id, width, height, checksum, data)",
            [
                (2 * position + kind, image.width, image.height, image.checksum, image.data)
                for position, row in rows
                for kind, image in ((PLATE_IMAGE, row.plate_image), (ORIGINAL_IMAGE, row.original_image))
                if image is not None
            ],
        )

    def _insert_all(self, into: str, rows: Sequence[tuple[object, ...]]) -> None:
        if rows:
            self.connection.execute(_insertion(into, len(rows), len(rows[0])), tuple(chain.from_iterable(rows)))

    def delete(self, summaries: Sequence[Summary]) -> None:
        """Remove rows with their pictures and burials."""
        self._take_out(summaries)
        self._delete_pictures(summaries)

    def _take_out(self, summaries: Sequence[Summary]) -> None:
        self._delete_numbered("events", "position", [row.position for row in summaries])
        self._run_each(
            "DELETE FROM dead_letters WHERE position = ?",
            ((row.position,) for row in summaries if row.state is State.DEAD),
        )

    def _delete_pictures(self, summaries: Sequence[Summary]) -> None:
        self._delete_numbered("images", "image_id", [2 * row.position + kind for row in summaries for kind in (0, 1)])
        places = self._delete_numbered("pictures", "position", [row.position for row in summaries], "extents")
        for (place,) in places:
            self._given_up += extents_of(place)

    def _delete_numbered(self, table: str, key: str, numbers: Sequence[int], told: str = "1") -> list[Any]:
        """Delete rows; `told` are the columns of each that are returned."""
        deleted: list[Any] = []
        for start in range(0, len(numbers), MOST_NAMES):
            some = numbers[start : start + MOST_NAMES]
            deleted += self._execute(
                f"DELETE FROM {table} WHERE {key} IN ({', '.join('?' * len(some))}) RETURNING {told}",  # noqa: S608
                some,
            )
        return deleted

    def keep(self, summaries: Sequence[Summary], delivered_at: datetime) -> None:
        """Lay rows apart; their pictures stay where they are."""
        self._run_each(
            f"INSERT INTO delivered ({_MOVED}, timestamp, delivered_at_ms)"  # noqa: S608 - our own texts
            f" SELECT {_MOVED}, json_extract(body, '$.timestamp'), ? FROM events WHERE position = ?",
            ((milliseconds(delivered_at), row.position) for row in summaries),
        )
        self._take_out(summaries)

    def release(self, summaries: Sequence[Summary], now: Instant, boot_id: str) -> list[Summary]:
        """Make rows that were laid apart wait again, in their old place, as if recorded offline and now."""
        recorded_at_ms = milliseconds(now.wall)
        fresh = (True, recorded_at_ms, now.monotonic_s, boot_id)
        kept = _MOVED.removesuffix(", recorded_offline, recorded_at_ms, recorded_monotonic_s, boot_id")
        self._run_each(
            f"INSERT INTO events ({_MOVED}) SELECT {kept}, ?, ?, ?, ? FROM delivered"  # noqa: S608 - our own texts
            " WHERE position = ?",
            ((*fresh, row.position) for row in summaries),
        )
        self._run_each("DELETE FROM delivered WHERE position = ?", ((row.position,) for row in summaries))
        self.forget_what_is_gone()
        return [waiting_again(row, replace(now, wall=moment_of(recorded_at_ms)), boot_id) for row in summaries]

    def forget(self, summaries: Sequence[Summary]) -> None:
        """Remove rows that were laid apart, with their pictures."""
        self._run_each("DELETE FROM delivered WHERE position = ?", ((row.position,) for row in summaries))
        self._delete_pictures(summaries)

    def drop_originals(self, summaries: Sequence[Summary], why: str) -> None:
        """Remove original images; the rows stay, smaller."""
        self._delete_numbered("images", "image_id", [2 * row.position + ORIGINAL_IMAGE for row in summaries])
        for row in summaries:
            self._give_up_original(row.position)
        self._run_each(
            "UPDATE events SET size_bytes = size_bytes - original_bytes, original_bytes = 0, original_omitted = ?"
            " WHERE position = ?",
            ((why, row.position) for row in summaries),
        )

    def _give_up_original(self, position: int) -> None:
        found = self._execute(
            "SELECT extents, head_size + coalesce(plate_size, 0) FROM pictures WHERE position = ?", (position,)
        ).fetchone()
        if found is not None:
            kept, given_up = split(extents_of(found[0]), blocks(whole_number(found[1])))
            self._execute(
                "UPDATE pictures SET extents = ?, original_size = NULL WHERE position = ?",
                (extents_to_text(kept), position),
            )
            self._given_up += given_up

    def move_pictures_down(self) -> int:
        """Move some of the pictures at the end of their file into holes before them; says of how many events."""
        if self.pictures is None:
            return 0
        moved = 0
        with self.transaction():
            rows = [
                (position, extents_of(text))
                for position, text in self._execute("SELECT position, extents FROM pictures")
            ]
            for position, extents in heapq.nlargest(_MOVED_AT_ONCE, rows, key=lambda row: max(row[1], default=(0, 0))):
                to = self.pictures.move_down(extents) if extents else None
                if to is None:
                    break
                self._execute("UPDATE pictures SET extents = ? WHERE position = ?", (extents_to_text(to), position))
                self._given_up += extents
                moved += 1
        return moved

    def bury(self, summary: Summary, burial: Burial) -> None:
        """Make a waiting row a dead letter."""
        self._execute("UPDATE events SET state = 1 WHERE position = ?", (summary.position,))
        self._execute(
            "INSERT OR REPLACE INTO dead_letters (position, code, reason, buried_at_ms) VALUES (?, ?, ?, ?)",
            (summary.position, burial.code, burial.reason, milliseconds(burial.buried_at)),
        )

    def revive(self, summaries: Sequence[Summary]) -> None:
        """Make dead letters wait again, with no attempts, as if recorded offline; numbered, so that another process can
        tell which.
        """
        if not summaries:
            return
        number = self.revision() + 1
        self.take_note("revision", str(number))
        self._run_each(
            "UPDATE events SET state = 0, attempts = 0, recorded_offline = 1, revived = ?, unsure_boot = NULL"
            " WHERE position = ?",
            ((number, row.position) for row in summaries),
        )
        self._run_each("DELETE FROM dead_letters WHERE position = ?", ((row.position,) for row in summaries))
        self.forget_what_is_gone()

    def correct(self, summary: Summary, correction: Correction) -> int:
        """Give a row its new times; says by how many bytes it grew."""
        grown = len(correction.body.encode()) - len((self.body(summary) or "").encode())
        self._execute(
            "UPDATE events SET body = ?, size_bytes = size_bytes + ?, recorded_at_ms = ?, unsure_boot = ?"
            " WHERE position = ?",
            (
                correction.body,
                grown,
                milliseconds(correction.recorded_at),
                correction.unsure_boot,
                summary.position,
            ),
        )
        return grown

    def take_times_as_they_are(self) -> None:
        """Correct no row's times any more."""
        self._execute("UPDATE events SET unsure_boot = NULL WHERE unsure_boot IS NOT NULL")

    def add_attempts(self, attempts: Iterable[tuple[str, int]]) -> None:
        """Set the attempts of events, by name."""
        self._run_each("UPDATE events SET attempts = ? WHERE event_id = ?", ((count, name) for name, count in attempts))

    def forget_what_is_gone(self) -> None:
        """Rows may have come to wait at any old position: look from the start again."""
        self._nothing_below = dict.fromkeys(Droppable, 0)

    def _execute(self, statement: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        self.put_down()
        return super()._execute(statement, values)

    def _run_each(self, statement: str, rows: Iterable[tuple[object, ...]]) -> None:
        self.put_down()
        self.connection.executemany(statement, rows)

    def droppable(self, kind: Droppable, limit: int) -> list[Summary]:
        """The next rows of a kind that may go: dead letters first, then in order of recording."""
        condition = _DROPPABLE[kind]
        dead = self._summaries(f"WHERE {IS_DEAD} AND {condition} ORDER BY position LIMIT ?", limit)
        waiting = self._summaries(
            f"WHERE state = 0 AND position >= ? AND {condition} ORDER BY position LIMIT ?",
            self._nothing_below[kind],
            limit - len(dead),
        )
        if waiting:
            self._nothing_below[kind] = waiting[0].position
        return dead + waiting


@cache
def _insertion(into: str, rows: int, columns: int) -> str:
    one = f"({', '.join('?' * columns)})"
    return f"INSERT INTO {into} VALUES {', '.join([one] * rows)}"  # noqa: S608 - our own texts


def _event_values(position: int, row: Row) -> tuple[object, ...]:
    return (
        position,
        row.event_id,
        row.event_type,
        row.code,
        row.sequence,
        row.size_bytes,
        row.original_bytes,
        row.attempts,
        row.recorded_offline,
        milliseconds(row.recorded_at),
        row.recorded_monotonic_s,
        row.boot_id,
        row.original_omitted,
        row.unsure_boot,
        row.body,
    )
