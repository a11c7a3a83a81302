"""Rows in SQLite: every statement that the queue runs, on one connection.

Raises `sqlite3.Error`; `sqlite` and `tools` translate.
"""

from __future__ import annotations

import heapq
import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any

from lpr.domain.clock import Instant, isoformat_ms
from lpr.domain.commands import EventRange
from lpr.domain.events import Jpeg
from lpr.outbox.files import is_damage
from lpr.outbox.folding import LogFile
from lpr.outbox.limits import DAMAGED
from lpr.outbox.pictures import Extent, Extents, PictureFile, blocks, extents_from_text, extents_to_text, split
from lpr.outbox.queue import Contents, Counters, Droppable
from lpr.outbox.records import (
    EPOCH_BYTES,
    Described,
    checksum,
    describe,
    lost_events,
    pack,
)
from lpr.outbox.rows import Burial, Correction, Row, State, Summary, waiting_again
from lpr.outbox.schema import transaction
from lpr.wire import ERROR, PLATE_DETECTED, PROCESSING_STATUS

_PLATE, _ORIGINAL = 0, 1

_SUMMARY = (
    "position, event_id, type, code, sequence, state, size_bytes, original_bytes, attempts, recorded_offline,"
    " recorded_at_ms, recorded_monotonic_s, boot_id"
)

_EVENT_SUMMARY = ", ".join(f"events.{column}" for column in _SUMMARY.split(", "))

_KEPT_SUMMARY = _SUMMARY.replace("state", f"{State.DELIVERED.value}")

_MOVED = (
    "position, event_id, type, code, sequence, size_bytes, original_bytes, attempts, original_omitted, body,"
    " recorded_offline, recorded_at_ms, recorded_monotonic_s, boot_id"
)
"""What goes with an event from `events` to `delivered` and back."""

# SQLite takes a partial index only where its own condition stands in the query, word for word.
_IS_DEAD = "state != 0 AND state = 1"

_NO_DETECTION = f"type != '{PLATE_DETECTED}'"

_DROPPABLE = {
    Droppable.STATUS: f"{_NO_DETECTION} AND type = '{PROCESSING_STATUS}'",
    Droppable.ORIGINAL_IMAGE: "original_bytes > 0",
    Droppable.ERROR: f"{_NO_DETECTION} AND type = '{ERROR}'",
    Droppable.DETECTION: f"type = '{PLATE_DETECTED}'",
}

_PLACE = (
    "extents, head_size, plate_size, plate_width, plate_height, plate_checksum,"
    " original_size, original_width, original_height, original_checksum"
)

_WHOLE = (
    f"SELECT {_EVENT_SUMMARY}, body, original_omitted, plate.data, plate.width, plate.height, plate.checksum,"  # noqa: S608
    f" original.data, original.width, original.height, original.checksum, {_PLACE} FROM events"
    " LEFT JOIN pictures USING (position)"
    " LEFT JOIN images AS plate ON plate.image_id = 2 * position"
    " LEFT JOIN images AS original ON original.image_id = 2 * position + 1"
)
"""Events with all that weighs, in one statement."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_MS, _LAST_MS = -(1 << 62), 1 << 62
_GATHERED = 16
"""Most rows in one statement, and events whose pictures are written in one go."""
_MOVED_AT_ONCE = 64
"""Events whose pictures are moved in one transaction."""
_NO_PICTURE = (None,) * 4
_VARIABLES = 500
"""Names in one statement, far below SQLite's bound."""


class SqliteShelf:
    """Rows in the tables of `schema`, and their pictures in a file beside. One instance a connection; both are used by
    one thread at a time.
    """

    def __init__(self, connection: sqlite3.Connection, pictures: PictureFile | None = None) -> None:
        """Without `pictures` those that are put down go into the database; what lies in the file is not read."""
        self.connection = connection
        self.pictures = pictures
        self._log: LogFile | None = None
        """None where SQLite syncs it with every commit."""
        self._epoch = b""
        self._in_doubt = True
        """Whether positions and room may have been used that nothing speaks for."""
        self._given_up: list[Extent] = []
        """Room that is free once the transaction is committed."""
        self._recoverable = 0
        """Events of the transaction that are found again even where their rows are lost."""
        self._gathers = False
        self._gathered: list[tuple[int, Row]] = []
        """Rows of a transaction that are put down together, before anything else is asked."""
        self._nothing_below = dict.fromkeys(Droppable, 0)
        """Positions below which no waiting row of a kind is left, so that a full queue is not read from its start."""

    # ----------------------------------------------------------------------------------------------------------------
    # Counters and notes

    def counters(self) -> Counters:
        """Everything counted anew; reads all rows but no pictures."""
        used, waiting, dead, position, sequence = self._execute(
            "SELECT coalesce(sum(size_bytes), 0), coalesce(sum(state = 0), 0), coalesce(sum(state = 1), 0),"
            " coalesce(max(position), 0), coalesce(max(sequence), 0) FROM events"
        ).fetchone()
        kept, kept_bytes = self._execute("SELECT count(*), coalesce(sum(size_bytes), 0) FROM delivered").fetchone()
        return Counters(
            last_sequence=max(sequence, int(self.note("last_sequence") or 0)),
            last_position=max(position, int(self.note("last_position") or 0)),
            used_bytes=used,
            waiting=waiting,
            dead=dead,
            kept=kept,
            kept_bytes=kept_bytes,
        )

    def save_counters(self, counters: Counters) -> None:
        """Note the last sequence and position."""
        self.take_note("last_sequence", str(counters.last_sequence))
        self.take_note("last_position", str(counters.last_position))

    def free_pages(self) -> int:
        """Pages in the file that hold nothing."""
        return int(self._execute("PRAGMA freelist_count").fetchone()[0])

    def free_bytes(self) -> int:
        """What new rows and pictures can take before the files grow."""
        in_pages = self.free_pages() * int(self._execute("PRAGMA page_size").fetchone()[0])
        return in_pages + (0 if self.pictures is None else self.pictures.free_bytes)

    def note(self, key: str) -> str | None:
        """What was noted under `key`."""
        found = self._execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if found is None else str(found[0])

    def take_note(self, key: str, value: str) -> None:
        """Note `value` under `key`."""
        self._execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (key, value))

    # ----------------------------------------------------------------------------------------------------------------
    # Writing

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, and durable when it is left. Rows inserted inside go to SQLite together: after each statement
        this thread must win the interpreter's lock back from the event loop. Raises `sqlite3.Error` or `OSError`.
        """
        self._gathers, self._recoverable = True, 0
        changes = self.connection.total_changes
        try:
            with transaction(self.connection):
                if self._in_doubt:
                    self._begin_epoch()
                yield
                self._put_down()
                if self.pictures is not None:
                    self.pictures.sync()
            # A row and its place each; whatever else was changed must last by itself.
            if self._log is not None and self.connection.total_changes - changes != 2 * self._recoverable:
                self._log.sync()
        except BaseException:
            # Whether or not a failed commit has taken effect, the next transaction will see.
            self._in_doubt = True
            raise
        else:
            if self.pictures is not None:
                self.pictures.release(self._given_up)
        finally:
            self._gathers = False
            self._gathered.clear()
            self._given_up.clear()

    def find_room(self) -> None:
        """Work out anew where pictures lie; rows may have come or gone that were not ours."""
        if self.pictures is not None:
            rows = self._execute("SELECT extents FROM pictures")
            self.pictures.find_room(extent for (text,) in rows for extent in _extents(text))

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
        if not self._gathers or len(self._gathered) >= _GATHERED:
            self._put_down()

    def _put_down(self) -> None:
        if not self._gathered:
            return
        rows, self._gathered = self._gathered, []
        self._insert_events(rows)
        with_pictures = [each for each in rows if each[1].plate_image is not None or each[1].original_image is not None]
        if self.pictures is not None:
            self._put_beside(self.pictures, with_pictures)
        else:
            self._insert_images(with_pictures)

    def _insert_events(self, rows: Sequence[tuple[int, Row]]) -> None:
        self._insert_all(
            "events (position, event_id, type, code, sequence, size_bytes, original_bytes, attempts, recorded_offline,"
            " recorded_at_ms, recorded_monotonic_s, boot_id, original_omitted, unsure_boot, body)",
            [_event_values(position, row) for position, row in rows],
        )

    def _put_beside(self, pictures: PictureFile, rows: Sequence[tuple[int, Row]]) -> None:
        described = [(describe(row.plate_image), describe(row.original_image)) for _, row in rows]
        heads = [pack(row, position, self._epoch, *both) for (position, row), both in zip(rows, described, strict=True)]
        places = pictures.put(
            [
                [head, *(image.data for image in (row.plate_image, row.original_image) if image is not None)]
                for head, (_, row) in zip(heads, rows, strict=True)
            ]
        )
        self._insert_places(
            [
                (position, place, len(head), *both)
                for (position, _), place, head, both in zip(rows, places, heads, described, strict=True)
            ]
        )
        self._recoverable += sum(len(place) == 1 for place in places)

    def _insert_places(self, rows: Sequence[tuple[int, Extents, int, Described | None, Described | None]]) -> None:
        self._insert_all(
            f"pictures (position, {_PLACE})",
            [
                (position, extents_to_text(place), head_bytes, *(plate or _NO_PICTURE), *(original or _NO_PICTURE))
                for position, place, head_bytes, plate, original in rows
            ],
        )

    def _insert_images(self, rows: Sequence[tuple[int, Row]]) -> None:
        self._insert_all(
            "images (image_id, width, height, checksum, data)",
            [
                (2 * position + kind, image.width, image.height, checksum(image.data), image.data)
                for position, row in rows
                for kind, image in ((_PLATE, row.plate_image), (_ORIGINAL, row.original_image))
                if image is not None
            ],
        )

    def _insert_all(self, into: str, rows: Sequence[tuple[object, ...]]) -> None:
        if rows:
            one = f"({', '.join('?' * len(rows[0]))})"
            self.connection.execute(
                f"INSERT INTO {into} VALUES {', '.join([one] * len(rows))}",  # noqa: S608 - our own texts
                tuple(chain.from_iterable(rows)),
            )

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
            self._given_up += _extents(place)

    def _delete_numbered(self, table: str, key: str, numbers: Sequence[int], told: str = "1") -> list[Any]:
        """Delete rows; `told` are the columns of each that are returned."""
        deleted: list[Any] = []
        for start in range(0, len(numbers), _VARIABLES):
            some = numbers[start : start + _VARIABLES]
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
            ((_milliseconds(delivered_at), row.position) for row in summaries),
        )
        self._take_out(summaries)

    def release(self, summaries: Sequence[Summary], now: Instant, boot_id: str) -> list[Summary]:
        """Make rows that were laid apart wait again, in their old place, as if recorded offline and now."""
        recorded_at_ms = _milliseconds(now.wall)
        fresh = (True, recorded_at_ms, now.monotonic_s, boot_id)
        kept = _MOVED.removesuffix(", recorded_offline, recorded_at_ms, recorded_monotonic_s, boot_id")
        self._run_each(
            f"INSERT INTO events ({_MOVED}) SELECT {kept}, ?, ?, ?, ? FROM delivered"  # noqa: S608 - our own texts
            " WHERE position = ?",
            ((*fresh, row.position) for row in summaries),
        )
        self._run_each("DELETE FROM delivered WHERE position = ?", ((row.position,) for row in summaries))
        self.forget_what_is_gone()
        return [waiting_again(row, replace(now, wall=_moment(recorded_at_ms)), boot_id) for row in summaries]

    def forget(self, summaries: Sequence[Summary]) -> None:
        """Remove rows that were laid apart, with their pictures."""
        self._run_each("DELETE FROM delivered WHERE position = ?", ((row.position,) for row in summaries))
        self._delete_pictures(summaries)

    def drop_originals(self, summaries: Sequence[Summary], why: str) -> None:
        """Remove original images; the rows stay, smaller."""
        self._delete_numbered("images", "image_id", [2 * row.position + _ORIGINAL for row in summaries])
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
            kept, given_up = split(_extents(found[0]), blocks(_int(found[1])))
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
                (position, _extents(text)) for position, text in self._execute("SELECT position, extents FROM pictures")
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
            (summary.position, burial.code, burial.reason, _milliseconds(burial.buried_at)),
        )

    def revive(self, summaries: Sequence[Summary]) -> None:
        """Make dead letters wait again, with no attempts; numbered, so that another process can tell which."""
        if not summaries:
            return
        number = self.revision() + 1
        self.take_note("revision", str(number))
        self._run_each(
            "UPDATE events SET state = 0, attempts = 0, revived = ?, unsure_boot = NULL WHERE position = ?",
            ((number, row.position) for row in summaries),
        )
        self._run_each("DELETE FROM dead_letters WHERE position = ?", ((row.position,) for row in summaries))
        self.forget_what_is_gone()

    def unsure(self, machine_boot: str, *, after: int, limit: int) -> list[tuple[Summary, str]]:
        """Waiting rows that were never sent, whose times a boot of the machine may still correct, with their bodies."""
        rows = self._execute(
            f"SELECT {_SUMMARY}, body FROM events WHERE unsure_boot = ? AND state = 0 AND attempts = 0"  # noqa: S608
            " AND position > ? ORDER BY position LIMIT ?",
            (machine_boot, after, limit),
        )
        return [(_summary(row[:-1]), str(row[-1])) for row in rows]

    def correct(self, summary: Summary, correction: Correction) -> int:
        """Give a row its new times; says by how many bytes it grew."""
        grown = len(correction.body.encode()) - len((self.body(summary) or "").encode())
        self._execute(
            "UPDATE events SET body = ?, size_bytes = size_bytes + ?, recorded_at_ms = ?, unsure_boot = ?"
            " WHERE position = ?",
            (
                correction.body,
                grown,
                _milliseconds(correction.recorded_at),
                correction.unsure_boot,
                summary.position,
            ),
        )
        return grown

    def has_unsure(self, machine_boot: str) -> bool:
        """Whether there are rows whose times may still be corrected."""
        found = self._execute("SELECT 1 FROM events WHERE unsure_boot = ? LIMIT 1", (machine_boot,))
        return found.fetchone() is not None

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
        self._put_down()
        return self.connection.execute(statement, values)

    def _run_each(self, statement: str, rows: Iterable[tuple[object, ...]]) -> None:
        self._put_down()
        self.connection.executemany(statement, rows)

    # ----------------------------------------------------------------------------------------------------------------
    # Reading

    def find(self, event_ids: Collection[str]) -> list[Summary]:
        """The rows of these names that are there."""
        names = list(dict.fromkeys(event_ids))
        found: list[Summary] = []
        for start in range(0, len(names), _VARIABLES):
            some = names[start : start + _VARIABLES]
            found += self._summaries(f"WHERE event_id IN ({', '.join('?' * len(some))})", *some)
        return found

    def kept(self, limit: int, *, since: datetime | None = None, before: datetime | None = None) -> list[Summary]:
        """Rows laid apart, in the order of their delivery."""
        return self._kept_summaries(
            "WHERE delivered_at_ms BETWEEN ? AND ? ORDER BY delivered_at_ms, position LIMIT ?",
            _FIRST_MS if since is None else _milliseconds(since),
            _LAST_MS if before is None else _milliseconds(before),
            limit,
        )

    def kept_in(self, events: EventRange, *, after: int, limit: int) -> list[Summary]:
        """Rows laid apart that are in this range, ascending. Their timestamps sort as text."""
        bounds: list[tuple[str, object]] = [("position > ?", after)]
        for condition, bound in (("sequence >= ?", events.from_sequence), ("sequence <= ?", events.to_sequence)):
            if bound is not None:
                bounds.append((condition, bound))
        for condition, moment in (("timestamp >= ?", events.from_time), ("timestamp <= ?", events.to_time)):
            if moment is not None:
                bounds.append((condition, isoformat_ms(moment)))
        conditions = " AND ".join(condition for condition, _ in bounds)
        return self._kept_summaries(
            f"WHERE {conditions} ORDER BY position LIMIT ?", *(bound for _, bound in bounds), limit
        )

    def named(self, name: str) -> list[Summary]:
        """Rows whose id begins with `name`, or whose sequence it is; two where there are more."""
        if name.isascii() and name.isdigit() and len(name) < 10:
            by_sequence = self._summaries("WHERE sequence = ? LIMIT 2", int(name))
            if by_sequence:
                return by_sequence
        lower = name.lower()
        # Ids are hexadecimal digits and dashes: 'g' comes after all that begin with `lower`.
        return self._summaries("WHERE event_id >= ? AND event_id < ? LIMIT 2", lower, lower + "g")

    def at(self, position: int) -> Summary | None:
        """The row at a position."""
        return next(iter(self._summaries("WHERE position = ?", position)), None)

    def droppable(self, kind: Droppable, limit: int) -> list[Summary]:
        """The next rows of a kind that may go: dead letters first, then in order of recording."""
        condition = _DROPPABLE[kind]
        dead = self._summaries(f"WHERE {_IS_DEAD} AND {condition} ORDER BY position LIMIT ?", limit)
        waiting = self._summaries(
            f"WHERE state = 0 AND position >= ? AND {condition} ORDER BY position LIMIT ?",
            self._nothing_below[kind],
            limit - len(dead),
        )
        if waiting:
            self._nothing_below[kind] = waiting[0].position
        return dead + waiting

    def in_order(self, *, after: int, limit: int) -> list[Summary]:
        """Waiting rows and dead letters with positions above `after`, ascending."""
        return self._summaries("WHERE position > ? ORDER BY position LIMIT ?", after, limit)

    def waiting(self, limit: int) -> list[Summary]:
        """The oldest waiting rows."""
        return self._summaries("WHERE state = 0 ORDER BY position LIMIT ?", limit)

    def dead(self, limit: int) -> list[tuple[Summary, Burial]]:
        """The oldest dead letters."""
        summaries = self._summaries(f"WHERE {_IS_DEAD} ORDER BY position LIMIT ?", limit)
        return [(summary, burial) for summary in summaries if (burial := self.burial(summary)) is not None]

    def burial(self, summary: Summary) -> Burial | None:
        """Why an event is a dead letter; None where it is none."""
        found = self._execute(
            "SELECT code, reason, buried_at_ms FROM dead_letters WHERE position = ?", (summary.position,)
        ).fetchone()
        return None if found is None else Burial(code=found[0], reason=found[1], buried_at=_moment(found[2]))

    def revision(self) -> int:
        """The number of the newest retry."""
        return int(self.note("revision") or 0)

    def revived_after(self, revision: int) -> list[Summary]:
        """What retries after that number have put back, and still waits."""
        return self._summaries("WHERE revived > ? AND revived != 0 AND state = 0 ORDER BY position", revision)

    def body(self, summary: Summary) -> str | None:
        """A row's body."""
        found = self._execute("SELECT body FROM events WHERE position = ?", (summary.position,)).fetchone()
        return None if found is None else str(found[0])

    def contents(self, event_id: str) -> tuple[Summary, Contents] | None:
        """A row with what weighs; a picture whose checksum is wrong counts as not there, and makes it `unsound`."""
        try:
            found = self._execute(f"{_WHOLE} WHERE events.event_id = ?", (event_id,)).fetchone()
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            return self._readable_contents(event_id)
        return None if found is None else self._contents(found)

    def contents_after(self, position: int, limit: int) -> list[tuple[Summary, Contents]]:
        """The next waiting rows with what weighs, but no status, which is replaced now and then; none where the file
        is damaged there.
        """
        rest = f"WHERE position > ? AND state = 0 AND type != '{PROCESSING_STATUS}' ORDER BY position LIMIT ?"
        try:
            return [self._contents(row) for row in self._execute(f"{_WHOLE} {rest}", (position, limit))]
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            return []

    def _readable_contents(self, event_id: str) -> tuple[Summary, Contents] | None:
        """Piece by piece, from a damaged file."""
        found = self._summaries("WHERE event_id = ?", event_id)
        body = self.body(found[0]) if found else None
        if body is None:
            return None
        plate, original, omitted = self.readable_pictures(found[0])
        return found[0], Contents(body=body, plate_image=plate, original_image=original, original_omitted=omitted)

    def readable_pictures(self, summary: Summary) -> tuple[Jpeg | None, Jpeg | None, str | None]:
        """Plate and original image, and why the latter is missing. One that cannot be read counts as not there."""
        plate, original = self._pictures_of(summary.position)
        if original is None and summary.original_bytes > 0:
            return plate, None, DAMAGED
        (omitted,) = self._execute(
            "SELECT original_omitted FROM events WHERE position = ?", (summary.position,)
        ).fetchone()
        return plate, original, omitted

    def _contents(self, row: tuple[Any, ...]) -> tuple[Summary, Contents]:
        """A row of `_WHOLE`."""
        summary, (body, omitted), plate, original, place = (
            _summary(row[:13]),
            row[13:15],
            row[15:19],
            row[19:23],
            row[23:],
        )
        expected = [plate[0] is not None or place[2] is not None, summary.original_bytes > 0]
        images = self._from_file(place) if place[0] is not None else (_sound(plate), _sound(original))
        if images[1] is None and summary.original_bytes > 0:
            omitted = DAMAGED
        return summary, Contents(
            body=str(body),
            plate_image=images[0],
            original_image=images[1],
            original_omitted=omitted,
            unsound=any(there and image is None for there, image in zip(expected, images, strict=True)),
        )

    def _from_file(self, place: tuple[Any, ...]) -> tuple[Jpeg | None, Jpeg | None]:
        """Pictures by a row of `_PLACE`."""
        extents, head_bytes, plate, original = _extents(place[0]), _int(place[1]), place[2:6], place[6:]
        return (
            self._image_at(extents, head_bytes, plate),
            self._image_at(extents, head_bytes + (plate[0] or 0), original),
        )

    def _image_at(self, extents: Extents, start: int, described: tuple[Any, ...]) -> Jpeg | None:
        if described[0] is None or self.pictures is None:
            return None
        size_bytes, *rest = map(_int, described)
        return _sound((self.pictures.read(extents, start, size_bytes), *rest))

    def _pictures_of(self, position: int) -> tuple[Jpeg | None, Jpeg | None]:
        """From the file or the database, each as far as it can be read."""
        try:
            place = self._execute(f"SELECT {_PLACE} FROM pictures WHERE position = ?", (position,)).fetchone()  # noqa: S608
            if place is not None:
                return self._from_file(place)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
        return self._image(position, _PLATE), self._image(position, _ORIGINAL)

    def _image(self, position: int, kind: int) -> Jpeg | None:
        try:
            found = self._execute(
                "SELECT data, width, height, checksum FROM images WHERE image_id = ?", (2 * position + kind,)
            ).fetchone()
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            return None
        return None if found is None else _sound(found)

    def _summaries(self, rest: str, *values: object) -> list[Summary]:
        rows = self._execute(f"SELECT {_SUMMARY} FROM events {rest}", values)  # noqa: S608 - our own texts
        return [_summary(row) for row in rows]

    def _kept_summaries(self, rest: str, *values: object) -> list[Summary]:
        query = f"SELECT {_KEPT_SUMMARY} FROM delivered {rest}"  # noqa: S608 - our own texts
        return [_summary(row) for row in self._execute(query, values)]


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
        _milliseconds(row.recorded_at),
        row.recorded_monotonic_s,
        row.boot_id,
        row.original_omitted,
        row.unsure_boot,
        row.body,
    )


def _extents(text: object) -> Extents:
    """Of a row; what says nothing of the kind is damage."""
    try:
        return extents_from_text(str(text))
    except ValueError as error:
        raise sqlite3.DatabaseError("places of pictures were expected in the queue's file") from error


def _sound(image: tuple[Any, ...]) -> Jpeg | None:
    """Data, width, height and checksum as a picture; None where there is none, or it is not what was recorded."""
    data, width, height, noted = image
    if data is None or checksum(data) != noted:
        return None
    return Jpeg(data, width, height)


def _summary(row: tuple[Any, ...]) -> Summary:
    position, event_id, kind, code, sequence, state, size, original, attempts, offline, at_ms, monotonic_s, boot = row
    return Summary(
        position=_int(position),
        event_id=str(event_id),
        event_type=str(kind),
        code=None if code is None else str(code),
        sequence=None if sequence is None else _int(sequence),
        state=State(_int(state)),
        size_bytes=_int(size),
        original_bytes=_int(original),
        attempts=_int(attempts),
        recorded_offline=bool(offline),
        recorded_at=_moment(_int(at_ms)),
        recorded_monotonic_s=float(monotonic_s),
        boot_id=str(boot),
    )


def _int(value: object) -> int:
    """SQLite is free in its types; a column of ours that holds no number is damage."""
    if not isinstance(value, int):
        raise sqlite3.DatabaseError(f"a number was expected in the queue's file, found {type(value).__name__}")
    return value


def _milliseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def _moment(milliseconds: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=milliseconds)
