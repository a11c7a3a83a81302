"""Where the small back-end keeps what it was sent: one SQLite table, one thread that owns the connection.

`keep` returns after the commit, so that an acknowledgement given after it is true. Whatever waits when the thread is
free goes into one commit: eight events in flight cost one write to the disk instead of eight.
"""

from __future__ import annotations

import asyncio
import json
import queue
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from lpr.backend.messages import DETECTED, ERROR, Message, UnreadableMessageError
from lpr.domain.clock import isoformat_ms
from lpr.domain.errors import BackendError

_T = TypeVar("_T")

APPLICATION_ID: Final = 0x4C505242
"""Marks the file as ours ("LPRB"), so that no foreign database is ever written to."""
SCHEMA_VERSION: Final = 1
MAX_BATCH: Final = 64
"""Jobs in one commit: enough for any window of events in flight, and a bound on what one failure takes along."""

_SCHEMA = f"""
CREATE TABLE events (
    number INTEGER PRIMARY KEY,
    agent_id TEXT NOT NULL,
    event_id TEXT NOT NULL,
    type TEXT NOT NULL,
    shape TEXT NOT NULL,
    boot_id TEXT,
    sequence INTEGER,
    timestamp TEXT NOT NULL,
    received_at TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    replayed INTEGER NOT NULL,
    sent_at TEXT,
    age_ms REAL,
    repeats INTEGER NOT NULL DEFAULT 0,
    data TEXT NOT NULL,
    remarks TEXT NOT NULL,
    plate_image BLOB,
    original_image BLOB,
    UNIQUE (agent_id, event_id)
) STRICT;
CREATE INDEX events_by_type ON events (type, number);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
"""
_COLUMNS = (
    "number, agent_id, event_id, type, shape, boot_id, sequence, timestamp, received_at, attempt, replayed, "
    "sent_at, age_ms, repeats, data, remarks, length(plate_image), length(original_image)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """One event as it lies in the store; pictures are fetched on their own by `number`.

    `number` counts the stored events from 1. `repeats` says how often it came again. `plate_image_bytes` and
    `original_image_bytes` are 0 where there is no such picture.
    """

    number: int
    agent_id: str
    event_id: str
    event_type: str
    shape: str
    boot_id: str | None
    sequence: int | None
    timestamp: str
    received_at: str
    attempt: int
    replayed: bool
    sent_at: str | None
    age_ms: float | None
    repeats: int
    data: Mapping[str, Any]
    remarks: tuple[str, ...]
    plate_image_bytes: int
    original_image_bytes: int

    def to_json(self) -> dict[str, Any]:
        """JSON values under the contract's names; pictures as their number of bytes."""
        return {
            "number": self.number,
            "agentId": self.agent_id,
            "eventId": self.event_id,
            "type": self.event_type,
            "shape": self.shape,
            "bootId": self.boot_id,
            "sequence": self.sequence,
            "timestamp": self.timestamp,
            "receivedAt": self.received_at,
            "delivery": {
                "attempt": self.attempt,
                "replayed": self.replayed,
                "sentAt": self.sent_at,
                "ageMs": self.age_ms,
            },
            "repeats": self.repeats,
            "processedImageBytes": self.plate_image_bytes,
            "originalImageBytes": self.original_image_bytes,
            "remarks": list(self.remarks),
            "data": self.data,
        }


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of an event: its row, and whether it had been there before."""

    event: StoredEvent
    duplicate: bool


@dataclass(slots=True)
class _Job:
    work: Callable[[sqlite3.Connection], Any]
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[Any]


class EventStore:
    """The table. Open it with `open`, close it with `close`; methods raise `BackendError` where the disk fails."""

    def __init__(self, path: Path | None = None) -> None:
        """`path` None keeps everything in memory."""
        self._path = path
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    @property
    def where(self) -> str:
        """The file's name, for people."""
        return "memory" if self._path is None else str(self._path)

    async def open(self) -> None:
        """Open or create the file. Raises `BackendError` where it cannot be written or is something else."""
        opened = asyncio.get_running_loop().create_future()
        self._thread = threading.Thread(
            target=self._run, args=(asyncio.get_running_loop(), opened), name="backend-store", daemon=True
        )
        self._thread.start()
        try:
            await opened
        except sqlite3.Error as error:
            raise BackendError(
                f"the back-end's database {self.where} cannot be opened: {error}",
                hint="give another file with --database, or leave it out to keep events in memory",
            ) from error

    async def close(self) -> None:
        """Finish what was asked for and close the file. May be called twice."""
        if self._thread is None:
            return
        self._jobs.put(None)
        thread, self._thread = self._thread, None
        await asyncio.get_running_loop().run_in_executor(None, thread.join)

    async def keep(self, message: Message) -> Kept:
        """Store an event for good, or count it as a repeat of one that is there; returns after the commit.

        Raises `UnreadableMessageError` where it holds what no database can: half a surrogate pair, a huge number, lists
        in lists in lists.
        """
        received_at = isoformat_ms(datetime.now(UTC))
        try:
            return await self._do(lambda connection: _keep(connection, message, received_at))
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise UnreadableMessageError(f"cannot be stored: {error}", event_id=message.event_id) from error

    async def events(
        self,
        *,
        event_type: str | None = None,
        agent_id: str | None = None,
        after: int = 0,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> list[StoredEvent]:
        """Stored events in the order of their arrival, those with a `number` above `after`, at most `limit`."""
        wheres = ["number > ?"]
        parameters: list[Any] = [after]
        if event_type is not None:
            wheres.append("type = ?")
            parameters.append(event_type)
        if agent_id is not None:
            wheres.append("agent_id = ?")
            parameters.append(agent_id)
        parameters.append(-1 if limit is None else limit)
        query = (
            f"SELECT {_COLUMNS} FROM events WHERE {' AND '.join(wheres)} "  # noqa: S608 - names of our own only
            f"ORDER BY number {'DESC' if newest_first else 'ASC'} LIMIT ?"
        )
        return await self._do(lambda connection: [_event(row) for row in connection.execute(query, parameters)])

    async def counts(self) -> dict[str, int]:
        """Stored events by type."""
        query = "SELECT type, count(*) FROM events GROUP BY type"
        return await self._do(lambda connection: dict(connection.execute(query).fetchall()))

    async def pictures(self, number: int) -> tuple[bytes | None, bytes | None]:
        """Plate crop and original frame of an event as JPEG; None where there is none."""
        query = "SELECT plate_image, original_image FROM events WHERE number = ?"
        row = await self._do(lambda connection: connection.execute(query, (number,)).fetchone())
        return (None, None) if row is None else (row[0], row[1])

    async def missing_sequences(self, agent_id: str) -> list[int]:
        """Sequences of detections and errors between the lowest and the highest one of an agent that never came."""
        query = "SELECT sequence FROM events WHERE agent_id = ? AND type IN (?, ?) AND sequence IS NOT NULL"
        rows = await self._do(lambda connection: connection.execute(query, (agent_id, DETECTED, ERROR)).fetchall())
        came = {row[0] for row in rows}
        return [number for number in range(min(came), max(came)) if number not in came] if came else []

    async def _do(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        if self._thread is None:
            raise BackendError("the back-end's store is closed")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[_T] = loop.create_future()
        self._jobs.put(_Job(work, loop, done))
        try:
            return await done
        except sqlite3.Error as error:
            raise BackendError(
                f"the back-end's database {self.where} failed: {error}",
                hint="look at the disk's free space and the file's permissions",
            ) from error

    # In the thread

    def _run(self, loop: asyncio.AbstractEventLoop, opened: asyncio.Future[None]) -> None:
        try:
            connection = _connect(self._path)
        except sqlite3.Error as error:
            _post(loop, opened, error=error)
            return
        _post(loop, opened, value=None)
        try:
            while (jobs := self._take()) is not None:
                _carry_out(connection, jobs)
        finally:
            connection.close()

    def _take(self) -> list[_Job] | None:
        """The jobs that wait, at least one; None where the store closes (what came before it has been done)."""
        first = self._jobs.get()
        if first is None:
            return None
        jobs = [first]
        while len(jobs) < MAX_BATCH:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is None:
                self._jobs.put(None)
                break
            jobs.append(job)
        return jobs


def _carry_out(connection: sqlite3.Connection, jobs: Sequence[_Job]) -> None:
    """Do the jobs in one transaction; answers go out only after its commit. Where one fails, each is done alone."""
    try:
        connection.execute("BEGIN")
        values = [job.work(connection) for job in jobs]
        connection.execute("COMMIT")
    except Exception as error:  # noqa: BLE001 - handed to who asked; without the thread all would wait for ever
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        if len(jobs) == 1:
            _post(jobs[0].loop, jobs[0].done, error=error)
            return
        for job in jobs:
            _carry_out(connection, [job])
        return
    for job, value in zip(jobs, values, strict=True):
        _post(job.loop, job.done, value=value)


def _post(
    loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], *, value: Any = None, error: Exception | None = None
) -> None:
    def settle() -> None:
        if future.done():  # The one who asked was cancelled.
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(value)

    if not loop.is_closed():
        loop.call_soon_threadsafe(settle)


def _connect(path: Path | None) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:" if path is None else path, isolation_level=None)
    try:
        application_id = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if tables and application_id != APPLICATION_ID:
            raise sqlite3.DatabaseError("the file is a database of another program")
        if tables and version != SCHEMA_VERSION:
            raise sqlite3.DatabaseError(f"the file has schema {version}, this program knows {SCHEMA_VERSION}")
        connection.execute("PRAGMA page_size = 16384")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        if not tables:
            connection.executescript(f"BEGIN; {_SCHEMA} COMMIT;")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _keep(connection: sqlite3.Connection, message: Message, received_at: str) -> Kept:
    row = (
        message.agent_id,
        message.event_id,
        message.event_type,
        message.shape,
        message.boot_id,
        message.sequence,
        message.timestamp,
        received_at,
        message.attempt,
        message.replayed,
        message.sent_at,
        message.age_ms,
        json.dumps(message.data, ensure_ascii=False, default=_outline),
        json.dumps(message.remarks, ensure_ascii=False),
        message.plate_image,
        message.original_image,
    )
    inserted = connection.execute(
        "INSERT INTO events (agent_id, event_id, type, shape, boot_id, sequence, timestamp, received_at, attempt, "
        "replayed, sent_at, age_ms, data, remarks, plate_image, original_image) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (agent_id, event_id) DO NOTHING",
        row,
    )
    duplicate = inserted.rowcount == 0
    stored = _find(connection, message.agent_id, message.event_id)
    if duplicate:
        remarks = _with_differences(stored, message)
        connection.execute(
            "UPDATE events SET repeats = repeats + 1, remarks = ? WHERE number = ?",
            (json.dumps(remarks, ensure_ascii=False), stored.number),
        )
        stored = _find(connection, message.agent_id, message.event_id)
    return Kept(stored, duplicate)


def _with_differences(first: StoredEvent, again: Message) -> list[str]:
    """The remarks, and what a repeat says otherwise: nothing but `delivery` may ever change."""
    differing = [
        name
        for name, before, now in (
            ("type", first.event_type, again.event_type),
            ("timestamp", first.timestamp, again.timestamp),
            ("sequence", first.sequence, again.sequence),
            ("data.licensePlate", first.data.get("licensePlate"), again.data.get("licensePlate")),
            ("data.errorCode", first.data.get("errorCode"), again.data.get("errorCode")),
        )
        if before != now
    ]
    return list(dict.fromkeys([*first.remarks, *(f"{name} was another one in a repeat" for name in differing)]))


def _outline(value: object) -> str:
    """An attachment where the contract has none."""
    return f"{len(value)} bytes" if isinstance(value, (bytes, bytearray)) else str(value)


def _find(connection: sqlite3.Connection, agent_id: str, event_id: str) -> StoredEvent:
    query = f"SELECT {_COLUMNS} FROM events WHERE agent_id = ? AND event_id = ?"  # noqa: S608 - our own names
    return _event(connection.execute(query, (agent_id, event_id)).fetchone())


def _event(row: Sequence[Any]) -> StoredEvent:
    return StoredEvent(
        number=row[0],
        agent_id=row[1],
        event_id=row[2],
        event_type=row[3],
        shape=row[4],
        boot_id=row[5],
        sequence=row[6],
        timestamp=row[7],
        received_at=row[8],
        attempt=row[9],
        replayed=bool(row[10]),
        sent_at=row[11],
        age_ms=row[12],
        repeats=row[13],
        data=json.loads(row[14]),
        remarks=tuple(json.loads(row[15])),
        plate_image_bytes=row[16] or 0,
        original_image_bytes=row[17] or 0,
    )
