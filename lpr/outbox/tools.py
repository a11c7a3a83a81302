"""The queue's file seen by another process: what `lpr-agent queue` does, also while the agent runs.

Everything is read in one consistent view, and written in short transactions that the agent notices within a second. No
lock is taken that an agent would have to wait for longer than such a transaction.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from lpr.domain.clock import Clock, SystemClock, isoformat_ms
from lpr.domain.errors import OutboxError, reason_of
from lpr.outbox.files import BESIDE_DATABASE, DATABASE, PICTURES, is_damage, lock_holder, translate
from lpr.outbox.limits import OutboxLimits
from lpr.outbox.pictures import PictureFile
from lpr.outbox.queue import Queue
from lpr.outbox.rows import Burial, RowMaker, State, Summary
from lpr.outbox.schema import SCHEMA_VERSION, check_version, connect, transaction
from lpr.outbox.shelf import Contents
from lpr.outbox.sqlite_shelf import SqliteShelf
from lpr.wire import from_json

EXPORT_FILE = "events.jsonl"
EXPORTED_PICTURES = "pictures"
LOOKS = 4
"""At an event whose pictures are not as its row says: it may just have been delivered, and their room used again."""

STATE_NAMES = {State.WAITING: "waiting", State.DEAD: "dead letter", State.DELIVERED: "delivered"}


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueReport:
    """The queue in numbers. `by_type` counts what waits; `holder` is the agent's process id, None where none runs."""

    data_dir: Path
    pending: int
    dead_letters: int
    bytes: int
    oldest_age_s: float
    by_type: dict[str, int]
    file_bytes: int
    last_sequence: int
    agent_id: str | None
    holder: int | None
    set_aside: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One event for people: its row, its body, and why it is a dead letter where it is one."""

    summary: Summary
    body: dict[str, Any]
    burial: Burial | None
    age_s: float

    @property
    def what(self) -> str:
        """The plate, the error's code, or the agent's state."""
        data = self.body.get("data", {})
        return str(data.get("licensePlate") or data.get("errorCode") or data.get("status") or "")

    @property
    def gate_id(self) -> str:
        """The gate that it is about, empty where it is about none."""
        return str(self.body.get("data", {}).get("gateId") or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What an export wrote."""

    events: int
    pictures: int
    bytes: int


class QueueFile:
    """The queue of a data directory. A context manager; used by one thread."""

    def __init__(self, data_dir: Path, connection: sqlite3.Connection, clock: Clock) -> None:
        """Use `open`."""
        self.data_dir = data_dir
        self.path = data_dir / DATABASE
        self._connection = connection
        self._pictures = PictureFile(data_dir / PICTURES, read_only=True)
        self._shelf = SqliteShelf(connection, self._pictures)
        self._clock = clock

    @classmethod
    def open(cls, data_dir: Path, *, writable: bool = False, clock: Clock | None = None) -> Self:
        """Open it, without making or changing anything. Raises `OutboxError` where there is none that can be used."""
        path = data_dir / DATABASE
        try:
            there = path.is_file()
        except OSError as error:
            raise translate(error, "look at the queue", path) from error
        if not there:
            raise OutboxError(f"there is no queue in {data_dir}", hint="the agent makes it when it first runs")
        if path.stat().st_size == 0:
            raise OutboxError(f"the queue {path} is empty, it was damaged", hint="the agent sets it aside at its start")
        with _translated("open the queue", path):
            connection = connect(path, read_only=not writable)
            try:
                version = check_version(connection, path)
            except BaseException:
                connection.close()
                raise
        if version < SCHEMA_VERSION:
            connection.close()
            raise OutboxError(
                f"{path} was written by an older lpr-agent (queue version {version}, this one knows {SCHEMA_VERSION})",
                hint="start this version's agent once: it brings the file up to date",
            )
        return cls(data_dir, connection, clock or SystemClock())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._pictures.close()

    # ----------------------------------------------------------------------------------------------------------------
    # Looking

    def report(self) -> QueueReport:
        """The queue in numbers."""
        with self._view("read"):
            counters = self._shelf.counters()
            ages_s = [self._age_s(row) for row in self._shelf.waiting(1)]
            types = self._connection.execute("SELECT type, count(*) FROM events WHERE state = 0 GROUP BY type")
            by_type = {str(name): int(count) for name, count in types}
            agent_id = self._shelf.note("agent_id")
        return QueueReport(
            data_dir=self.data_dir,
            pending=counters.waiting,
            dead_letters=counters.dead,
            bytes=counters.used_bytes,
            oldest_age_s=max(ages_s, default=0.0),
            by_type=by_type,
            file_bytes=sum(file.stat().st_size for file in _files(self.path) if file.exists()),
            last_sequence=counters.last_sequence,
            agent_id=agent_id,
            holder=lock_holder(self.data_dir),
            set_aside=tuple(sorted(p.name for p in self.data_dir.glob(f"{DATABASE}.damaged-*") if _is_main(p))),
        )

    def items(self, *, state: State | None = None, limit: int | None = None) -> list[Item]:
        """Events in order of recording, of one state or all, at most `limit`."""
        with self._view("read"):
            return [self._item(summary) for summary in self._in_order(state, limit)]

    def find(self, name: str) -> Item:
        """The event whose id begins with `name`, or whose sequence it is. Raises `OutboxError` unless one is."""
        with self._view("read"):
            found = self._shelf.named(name)
            if not found:
                raise OutboxError(
                    f"no event {name!r} is in the queue", hint="`lpr-agent queue list` shows those that are"
                )
            if len(found) > 1:
                raise OutboxError(f"{name!r} begins {len(found)} events or more; give more of the id")
            return self._item(found[0])

    def contents(self, item: Item) -> Contents | None:
        """An event's pictures; None where it is no longer there."""
        found = self._whole(item.summary.event_id)
        return None if found is None else found[1]

    # ----------------------------------------------------------------------------------------------------------------
    # Changing

    def retry(self, items: Sequence[Item]) -> int:
        """Let dead letters wait again; says how many there were."""
        with self._change("change") as queue:
            return len(queue.retry_dead([item.summary.event_id for item in items]))

    def drop(self, items: Sequence[Item]) -> int:
        """Delete events for good; those that waited are reported to the back-end. Says how many there were."""
        names = [item.summary.event_id for item in items]
        with self._change("change") as queue:
            return queue.drop_dead(names) + queue.drop_waiting(names)

    # ----------------------------------------------------------------------------------------------------------------
    # Exporting

    def export(
        self, directory: Path, *, state: State | None = None, progress: Callable[[int, int], None] | None = None
    ) -> Exported:
        """Write all events to `directory`: a line of JSON each in `events.jsonl`, and their pictures as JPEG files.

        The list appears last and whole. `progress` is called with events written and in all. Raises `OutboxError`, also
        where there is an export in the directory already.
        """
        target = directory / EXPORT_FILE
        try:
            if target.exists():
                raise OutboxError(f"{target} is there already", hint="export to a new folder")
            (directory / EXPORTED_PICTURES).mkdir(parents=True, exist_ok=True)
            exported = self._export_to(directory, state, progress)
            (directory / f"{EXPORT_FILE}.part").replace(target)
        except OSError as error:
            hint = "name a new folder, where you may write and the disk has room"
            raise OutboxError(f"cannot export to {directory}: {reason_of(error)}", hint=hint) from error
        return exported

    def _export_to(self, directory: Path, state: State | None, progress: Callable[[int, int], None] | None) -> Exported:
        """One event after the other, each in a view of its own, so that a large export holds up no checkpoint."""
        with self._view("read"):
            event_ids = [summary.event_id for summary in self._in_order(state, None)]
        events = pictures = size = 0
        with open(directory / f"{EXPORT_FILE}.part", "w", encoding="utf-8") as lines:
            for done, event_id in enumerate(event_ids, 1):
                found = self._whole(event_id)
                item = None if found is None else self._seen(found[0])
                if found is None or item is None:
                    continue  # delivered in the meantime
                files = _write_pictures(directory, item, found[1])
                line = json.dumps(_export_line(item, found[1], files), ensure_ascii=False, allow_nan=False)
                lines.write(line + "\n")
                events, pictures = events + 1, pictures + len(files)
                size += item.summary.size_bytes
                if progress is not None:
                    progress(done, len(event_ids))
        return Exported(events=events, pictures=pictures, bytes=size)

    # ----------------------------------------------------------------------------------------------------------------

    def _whole(self, event_id: str) -> tuple[Summary, Contents] | None:
        """An event with its pictures, None where it is no longer there."""
        for _ in range(LOOKS):
            with self._view("read"):
                found = self._shelf.contents(event_id)
            if found is None or not found[1].unsound:
                break
        return found

    def _seen(self, summary: Summary) -> Item | None:
        """An event for people as its row is now; None where it is no longer there."""
        with self._view("read"):
            row = self._shelf.at(summary.position)
            return None if row is None else self._item(row)

    def _in_order(self, state: State | None, limit: int | None) -> Iterator[Summary]:
        after, left = 0, limit
        while (left is None or left > 0) and (rows := self._shelf.in_order(after=after, limit=500)):
            after = rows[-1].position
            for row in rows:
                if state is not None and row.state is not state:
                    continue
                if left is not None:
                    left -= 1
                    if left < 0:
                        return
                yield row

    def _item(self, summary: Summary) -> Item:
        burial = self._shelf.burial(summary) if summary.state is State.DEAD else None
        body = from_json(self._shelf.body(summary) or "{}")
        return Item(summary=summary, body=body, burial=burial, age_s=self._age_s(summary))

    def _age_s(self, summary: Summary) -> float:
        # The monotonic clock is the machine's own, not the agent's, but another boot may have begun since.
        return summary.age_s(self._clock.now(), boot_id="")

    @contextmanager
    def _view(self, doing: str) -> Iterator[None]:
        with _translated(f"{doing} the queue", self.path):
            self._connection.execute("BEGIN")
            try:
                yield
            finally:
                self._connection.execute("COMMIT")

    @contextmanager
    def _change(self, doing: str) -> Iterator[Queue]:
        with _translated(f"{doing} the queue", self.path), transaction(self._connection):
            maker = RowMaker(
                agent_id=self._shelf.note("agent_id") or "",
                boot_id=self._shelf.note("boot_id") or "",
                clock=self._clock,
            )
            queue = Queue(self._shelf, maker, OutboxLimits())
            yield queue
            queue.save()


@contextmanager
def _translated(doing: str, path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        if is_damage(error):
            raise OutboxError(
                f"cannot {doing} {path}: it is damaged ({error})",
                hint="the agent sets it aside at its next start, and carries over what can be read",
            ) from error
        raise translate(error, doing, path) from error


def _files(path: Path) -> list[Path]:
    return [path, *(path.with_name(path.name + suffix) for suffix in ("-wal", "-pictures"))]


def _is_main(path: Path) -> bool:
    return not path.name.endswith(BESIDE_DATABASE)


def _write_pictures(directory: Path, item: Item, contents: Contents) -> dict[str, str]:
    """Write what pictures there are; their names relative to the export, by kind."""
    files: dict[str, str] = {}
    for kind, image in (("plate", contents.plate_image), ("scene", contents.original_image)):
        if image is not None:
            name = f"{EXPORTED_PICTURES}/{_file_stem(item)}_{kind}.jpg"
            (directory / name).write_bytes(image.data)
            files[kind] = name
    return files


def _file_stem(item: Item) -> str:
    """`00001234_29A-12345`: sorts by sequence, and is a file name on every system."""
    number = f"{item.summary.sequence or 0:08d}"
    plate = re.sub(r"[^A-Za-z0-9-]+", "", item.what.replace("Đ", "D"))
    # Two runs of an agent whose data directory was lost may have given one sequence twice.
    return f"{number}_{plate}_{item.summary.event_id[-6:]}"


def _export_line(item: Item, contents: Contents, files: dict[str, str]) -> dict[str, Any]:
    return {
        "state": STATE_NAMES[item.summary.state],
        "recordedAt": isoformat_ms(item.summary.recorded_at),
        "attempts": item.summary.attempts,
        "rejection": rejection_dict(item.burial),
        "originalImageOmitted": contents.original_omitted,
        "pictures": files,
        "message": item.body,
    }


def rejection_dict(burial: Burial | None) -> dict[str, Any] | None:
    """Why an event is a dead letter, as JSON."""
    if burial is None:
        return None
    return {"code": burial.code, "message": burial.reason, "at": isoformat_ms(burial.buried_at)}
