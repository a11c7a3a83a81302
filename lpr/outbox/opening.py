"""The queue's files, opened together and in order, and opened anew where they turn out to be damaged while in use."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from lpr.domain.errors import OutboxError, OutboxFullError
from lpr.durable import free_bytes, sync_directory
from lpr.outbox.files import (
    DATABASE,
    PICTURES,
    SEQUENCES_AHEAD,
    DirectoryLock,
    DiskReserve,
    FilesGoneError,
    SideRecord,
    make_data_dir,
    translate,
)
from lpr.outbox.folding import LogFile, LogFolder
from lpr.outbox.jobs import MAX_BATCH
from lpr.outbox.limits import CAUSE_DISK_FULL, Losses, OutboxLimits
from lpr.outbox.pictures import PictureFile
from lpr.outbox.queue import Queue
from lpr.outbox.reading import SqliteRows
from lpr.outbox.rescue import open_database
from lpr.outbox.rows import RowMaker
from lpr.outbox.schema import connect
from lpr.outbox.sqlite_shelf import SqliteShelf
from lpr.outbox.troubles import corrupt_error

ROOM_WHILE_MAKING_ROOM = 4 << 20
"""Not counted as room inside the files: what goes to make room is written over only once that is committed, and what it
makes room for is written before."""
PLENTY_BYTES = 1 << 30
LOOK_AT_PLENTY_S = 0.25
"""With so much more than the floor free, the disk is looked at only so often: nothing fills it in that time."""
LOOK_WHETHER_IN_PLACE_S = 0.05
"""Files are looked for by their names only so often. What is recorded after they were deleted and before the next look
ends with the process, as does what was recorded just before."""
SENDING_UNSURE = "sending_unsure"
"""A note, on disk before an event is sent whose times may be wrong, gone when all attempts have been written. Where
a start finds it, the back-end may have seen any event, and none of before has its times corrected."""

log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class OpenFiles:
    """What is open of a data directory. `reading` looks at the same rows in another thread.

    Not frozen: `reopen` puts sound files in the place of damaged ones.
    """

    path: Path
    lock: DirectoryLock
    side: SideRecord
    shelf: SqliteShelf
    reading: SqliteRows
    pictures: PictureFile
    log_file: LogFile
    folder: LogFolder
    queue: Queue
    names: tuple[str, ...] = field(init=False)
    opened: tuple[os.stat_result, ...] = field(init=False)
    looked_s: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self._note_opened()

    def _note_opened(self) -> None:
        self.names = tuple(str(self.path.with_name(name)) for name in (DATABASE, PICTURES))
        self.opened = tuple(map(os.stat, self.names))

    def look_whether_in_place(self) -> None:
        """Raises `FilesGoneError` where the files have no longer the names that they were opened by: what is written to
        a deleted file ends with the process.
        """
        now_s = time.monotonic()
        if now_s - self.looked_s < LOOK_WHETHER_IN_PLACE_S:
            return
        try:
            now = tuple(map(os.stat, self.names))
        except FileNotFoundError:
            raise FilesGoneError from None
        if not all(map(os.path.samestat, self.opened, now)):
            raise FilesGoneError
        self.looked_s = now_s

    def close(self) -> None:
        """Let go of everything, of the right to the directory last."""
        close_quietly(self.reading.connection, self.folder, self.shelf.connection)
        self.pictures.close()
        self.log_file.close()
        self.side.close()
        self.lock.release()

    def reopen(self, readers: ThreadPoolExecutor) -> bool:
        """Set the damaged database aside and go on with what can be read of it; false where that fails.

        `readers` runs the one thread that reads on `reading`.
        """
        close_quietly(self.folder, self.shelf.connection)
        last_sequence = self.queue.counters.last_sequence
        try:
            readers.submit(self.reading.connection.close).result()
            opened = open_database(
                self.path.parent, self.queue.maker, self.queue.limits, self.side.contents, damaged=True
            )
            self.shelf.connection = opened.connection
            self.reading.connection = connect(self.path, read_only=True)
            self._use(PictureFile(self.path.with_name(PICTURES)), LogFile(self.path))
            self.folder = LogFolder(self.path)
            self._note_opened()
        except (OutboxError, sqlite3.Error, OSError) as error:
            log.error("queue_rescue_failed", error=str(error))
            return False
        self.shelf.forget_what_is_gone()
        self.queue.counters = self.shelf.counters()
        self.queue.counters.last_sequence = max(self.queue.counters.last_sequence, last_sequence)
        self.queue.thinned += 1
        self.queue.add_troubles(opened.troubles)
        return True

    def _use(self, pictures: PictureFile, log_file: LogFile) -> None:
        self.pictures.close()
        self.log_file.close()
        self.pictures = self.shelf.pictures = self.reading.pictures = pictures
        self.log_file = log_file
        self.shelf.recover(log_file)


def open_files(data_dir: Path, maker: RowMaker, limits: OutboxLimits) -> OpenFiles:
    """Everything that touches the disk at the start; on a full one, with the room that was held for that."""
    make_data_dir(data_dir)
    try:
        return _open_once(data_dir, maker, limits)
    except OutboxFullError:
        if not DiskReserve(data_dir).give_up():
            raise
    return _open_once(data_dir, maker, limits)


def _open_once(data_dir: Path, maker: RowMaker, limits: OutboxLimits) -> OpenFiles:
    """What was opened is closed again where a later step fails."""
    with contextlib.ExitStack() as stack:
        lock = DirectoryLock(data_dir)
        stack.callback(lock.release)
        try:
            side = SideRecord(data_dir)
        except OSError as error:
            raise translate(error, "open the sequence record in", data_dir) from error
        stack.callback(side.close)
        path = data_dir / DATABASE
        opened = open_database(data_dir, maker, limits, side.contents)
        stack.callback(close_quietly, opened.connection)
        try:
            pictures = PictureFile(data_dir / PICTURES)
            stack.callback(pictures.close)
            shelf = SqliteShelf(opened.connection, pictures)
            reading = SqliteRows(connect(path, read_only=True), pictures)
            stack.callback(close_quietly, reading.connection)
            log_file = LogFile(path)
            stack.callback(log_file.close)
            folder = LogFolder(path)
            stack.callback(close_quietly, folder)
            if recovered := shelf.recover(log_file):
                log.warning("queue_recovered", events=recovered)
            queue = Queue(shelf, maker, limits, disk_room=_DiskRoom(path, shelf, limits).look)
            queue.add_troubles(opened.troubles)
            _begin(queue, shelf, side)
        except (sqlite3.Error, OSError) as error:
            raise translate(error, "open the queue", path) from error
        stack.pop_all()
    return OpenFiles(
        path=path,
        lock=lock,
        side=side,
        shelf=shelf,
        reading=reading,
        pictures=pictures,
        log_file=log_file,
        folder=folder,
        queue=queue,
    )


class _DiskRoom:
    """Bytes free on the disk and inside the files; asked anew with every event only where the disk is short of room."""

    def __init__(self, path: Path, shelf: SqliteShelf, limits: OutboxLimits) -> None:
        self._path, self._shelf = path, shelf
        self._plenty = limits.least_free + PLENTY_BYTES
        self._seen = (0, 0)
        self._until_s = 0.0

    def look(self) -> tuple[int, int]:
        """See `Queue`."""
        now_s = time.monotonic()
        if now_s >= self._until_s:
            inside = max(0, self._shelf.free_bytes() - ROOM_WHILE_MAKING_ROOM)
            self._seen = (free_bytes(self._path.parent), inside)
            self._until_s = now_s + (LOOK_AT_PLENTY_S if self._seen[0] > self._plenty else 0.0)
        return self._seen


def _begin(queue: Queue, shelf: SqliteShelf, side: SideRecord) -> None:
    """Report what the last run could not, and note who writes from now on."""
    known, reserved, held = queue.counters.last_sequence, side.contents.reserved, side.contents.held
    losses = Losses()
    if held > known:
        losses.lose_unknown(known + 1, held)
        queue.counters.last_sequence = held
    elif known < reserved - SEQUENCES_AHEAD - MAX_BATCH * 4:
        # The file is older than what was given: a backup put back, a log file deleted.
        queue.counters.last_sequence = reserved
        waiting = queue.counters.waiting
        queue.owe(
            corrupt_error(
                queue.maker.now(), recovered=waiting, unreadable=None, set_aside="", next_sequence=reserved + 1
            )
        )
    with shelf.transaction():
        if shelf.note(SENDING_UNSURE):
            shelf.take_times_as_they_are()
            shelf.take_note(SENDING_UNSURE, "")
        queue.report(losses, CAUSE_DISK_FULL)
        queue.pay()
        queue.expire()
        side.reserve(queue.counters.last_sequence)
        shelf.save_counters(queue.counters)
        shelf.take_note("agent_id", queue.maker.agent_id)
        shelf.take_note("boot_id", queue.maker.boot_id)
    side.hold(0)
    # The files' names, too, must survive a power cut.
    sync_directory(side.directory)


def close_quietly(*connections: sqlite3.Connection | LogFolder) -> None:
    for connection in connections:
        try:
            connection.close()
        except sqlite3.Error as error:
            log.error("queue_close_failed", error=str(error))
