"""What can be asked of the queue's rows in SQLite, and where their pictures are read from.

Raises `sqlite3.Error`; `sqlite` and `tools` translate.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from lpr.domain.clock import isoformat_ms
from lpr.domain.commands import EventRange
from lpr.domain.events import Jpeg
from lpr.outbox.files import is_damage
from lpr.outbox.limits import DAMAGED
from lpr.outbox.pictures import Extents, PictureFile, extents_from_text
from lpr.outbox.rows import Burial, State, Summary, milliseconds, moment_of
from lpr.outbox.shelf import Contents, Counters
from lpr.wire import PROCESSING_STATUS

PLATE_IMAGE, ORIGINAL_IMAGE = 0, 1

_SUMMARY = (
    "position, event_id, type, code, sequence, state, size_bytes, original_bytes, attempts, recorded_offline,"
    " recorded_at_ms, recorded_monotonic_s, boot_id"
)

_EVENT_SUMMARY = ", ".join(f"events.{column}" for column in _SUMMARY.split(", "))

_KEPT_SUMMARY = _SUMMARY.replace("state", f"{State.DELIVERED.value}")

# SQLite takes a partial index only where its own condition stands in the query, word for word.
IS_DEAD = "state != 0 AND state = 1"

PLACE = (
    "extents, head_size, plate_size, plate_width, plate_height, plate_checksum,"
    " original_size, original_width, original_height, original_checksum"
)

_WHOLE = (
    f"SELECT {_EVENT_SUMMARY}, body, original_omitted, plate.data, plate.width, plate.height, plate.checksum,"  # noqa: S608
    f" original.data, original.width, original.height, original.checksum, {PLACE} FROM events"
    " LEFT JOIN pictures USING (position)"
    " LEFT JOIN images AS plate ON plate.image_id = 2 * position"
    " LEFT JOIN images AS original ON original.image_id = 2 * position + 1"
)
"""Events with all that weighs, in one statement."""

_FIRST_MS, _LAST_MS = -(1 << 62), 1 << 62
MOST_NAMES = 500
"""Names in one statement, far below SQLite's bound."""


class SqliteRows:
    """Rows in the tables of `schema`, looked at. One instance a connection; both are used by one thread at a time."""

    def __init__(self, connection: sqlite3.Connection, pictures: PictureFile | None = None) -> None:
        """Without `pictures` what lies beside the database is not read."""
        self.connection = connection
        self.pictures = pictures

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

    def unsure(self, machine_boot: str, *, after: int, limit: int) -> list[tuple[Summary, str]]:
        """Waiting rows that were never sent, whose times a boot of the machine may still correct, with their bodies."""
        rows = self._execute(
            f"SELECT {_SUMMARY}, body FROM events WHERE unsure_boot = ? AND state = 0 AND attempts = 0"  # noqa: S608
            " AND position > ? ORDER BY position LIMIT ?",
            (machine_boot, after, limit),
        )
        return [(_summary(row[:-1]), str(row[-1])) for row in rows]

    def has_unsure(self, machine_boot: str) -> bool:
        """Whether there are rows whose times may still be corrected."""
        found = self._execute("SELECT 1 FROM events WHERE unsure_boot = ? LIMIT 1", (machine_boot,))
        return found.fetchone() is not None

    def _execute(self, statement: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        return self.connection.execute(statement, values)

    def find(self, event_ids: Collection[str]) -> list[Summary]:
        """The rows of these names that are there."""
        names = list(dict.fromkeys(event_ids))
        found: list[Summary] = []
        for start in range(0, len(names), MOST_NAMES):
            some = names[start : start + MOST_NAMES]
            found += self._summaries(f"WHERE event_id IN ({', '.join('?' * len(some))})", *some)
        return found

    def kept(self, limit: int, *, since: datetime | None = None, before: datetime | None = None) -> list[Summary]:
        """Rows laid apart, in the order of their delivery."""
        return self._kept_summaries(
            "WHERE delivered_at_ms BETWEEN ? AND ? ORDER BY delivered_at_ms, position LIMIT ?",
            _FIRST_MS if since is None else milliseconds(since),
            _LAST_MS if before is None else milliseconds(before),
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

    def in_order(self, *, after: int, limit: int) -> list[Summary]:
        """Waiting rows and dead letters with positions above `after`, ascending."""
        return self._summaries("WHERE position > ? ORDER BY position LIMIT ?", after, limit)

    def waiting(self, limit: int) -> list[Summary]:
        """The oldest waiting rows."""
        return self._summaries("WHERE state = 0 ORDER BY position LIMIT ?", limit)

    def dead(self, limit: int) -> list[tuple[Summary, Burial]]:
        """The oldest dead letters."""
        summaries = self._summaries(f"WHERE {IS_DEAD} ORDER BY position LIMIT ?", limit)
        return [(summary, burial) for summary in summaries if (burial := self.burial(summary)) is not None]

    def burial(self, summary: Summary) -> Burial | None:
        """Why an event is a dead letter; None where it is none."""
        found = self._execute(
            "SELECT code, reason, buried_at_ms FROM dead_letters WHERE position = ?", (summary.position,)
        ).fetchone()
        return None if found is None else Burial(code=found[0], reason=found[1], buried_at=moment_of(found[2]))

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
        """Pictures by a row of `PLACE`."""
        extents, head_bytes, plate, original = extents_of(place[0]), whole_number(place[1]), place[2:6], place[6:]
        return (
            self._image_at(extents, head_bytes, plate),
            self._image_at(extents, head_bytes + (plate[0] or 0), original),
        )

    def _image_at(self, extents: Extents, start: int, described: tuple[Any, ...]) -> Jpeg | None:
        if described[0] is None or self.pictures is None:
            return None
        size_bytes, *rest = map(whole_number, described)
        return _sound((self.pictures.read(extents, start, size_bytes), *rest))

    def _pictures_of(self, position: int) -> tuple[Jpeg | None, Jpeg | None]:
        """From the file or the database, each as far as it can be read."""
        try:
            place = self._execute(f"SELECT {PLACE} FROM pictures WHERE position = ?", (position,)).fetchone()  # noqa: S608
            if place is not None:
                return self._from_file(place)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
        return self._image(position, PLATE_IMAGE), self._image(position, ORIGINAL_IMAGE)

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


def extents_of(text: object) -> Extents:
    """Of a row; what says nothing of the kind is damage."""
    try:
        return extents_from_text(str(text))
    except ValueError as error:
        raise sqlite3.DatabaseError("places of pictures were expected in the queue's file") from error


def _sound(image: tuple[Any, ...]) -> Jpeg | None:
    """Data, width, height and checksum as a picture; None where there is none, or it is not what was recorded."""
    data, width, height, noted = image
    if data is None:
        return None
    picture = Jpeg(data, width, height)
    return picture if picture.checksum == noted else None


def _summary(row: tuple[Any, ...]) -> Summary:
    position, event_id, kind, code, sequence, state, size, original, attempts, offline, at_ms, monotonic_s, boot = row
    return Summary(
        position=whole_number(position),
        event_id=str(event_id),
        event_type=str(kind),
        code=None if code is None else str(code),
        sequence=None if sequence is None else whole_number(sequence),
        state=State(whole_number(state)),
        size_bytes=whole_number(size),
        original_bytes=whole_number(original),
        attempts=whole_number(attempts),
        recorded_offline=bool(offline),
        recorded_at=moment_of(whole_number(at_ms)),
        recorded_monotonic_s=float(monotonic_s),
        boot_id=str(boot),
    )


def whole_number(value: object) -> int:
    """SQLite is free in its types; a column of ours that holds no number is damage."""
    if not isinstance(value, int):
        raise sqlite3.DatabaseError(f"a number was expected in the queue's file, found {type(value).__name__}")
    return value
