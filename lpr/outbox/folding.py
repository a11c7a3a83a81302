"""SQLite's log is folded into the database in a thread of its own, so that no commit waits for it.

SQLite's way is to fold within the commit that fills the log: that event, and all that queue behind it, wait for as many
bytes again as were written since the last time, and for another sync. Here a second connection copies while commits go
on. It cannot quite catch up with a writer that never rests, and only a log that is folded to its end is begun anew; so
the writer folds the little that is left, between two commits. Where all of this fails (a reader that holds the log, a
full disk) SQLite's own way stands behind it, at `schema.WAL_PAGES`.

Folding late is worth it: a page that was written again in the meantime, as those of delivered events are, is copied
once.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from pathlib import Path

import structlog

from lpr.durable import free_bytes
from lpr.outbox import schema

FEW_PAGES = 96
"""What the writer may fold by itself: 400 KB of a new file."""
PASSES = 4
"""While commits go on, each pass leaves less to the next."""
COMMIT_PAGES = 6
"""Pages that a commit writes beside bodies: indexes, the places of pictures, the list of free pages and the like."""

log = structlog.get_logger(__name__)


class LogFile:
    """The log itself, for syncs that SQLite leaves to us."""

    def __init__(self, path: Path) -> None:
        """Open the log of the database at `path`, which a connection holds open. Raises `OSError`.

        Where the disk has plenty of room the log takes what it may come to: on a full one it can then still be written.
        """
        self._fd = os.open(path.with_name(f"{path.name}-wal"), os.O_RDWR | os.O_CLOEXEC)
        if free_bytes(self._fd) > 4 * schema.WAL_KEPT_BYTES:
            with contextlib.suppress(OSError):
                os.posix_fallocate(self._fd, 0, schema.WAL_KEPT_BYTES)

    def sync(self) -> None:
        """Have the disk keep all that is committed. Raises `OSError`."""
        os.fdatasync(self._fd)

    def close(self) -> None:
        """Let go of it; twice is harmless."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class LogFolder:
    """The thread and its connection. `wrote` and `fold_the_rest` are for the writer's thread."""

    def __init__(self, path: Path) -> None:
        """Open a connection to the database at `path`, which is there. Raises `sqlite3.Error`."""
        self._connection = schema.connect(path)
        self._page_bytes = int(self._connection.execute("PRAGMA page_size").fetchone()[0])
        self._fold_pages = schema.own_pages(self._connection, schema.FOLD_PAGES)
        self._written_pages = 0
        """Ever, about; only the writer counts."""
        self._fold_at = self._fold_pages
        self._rest_is_the_writers = False
        self._closing = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._fold_until_closed, name="outbox-folder", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread and close its connection."""
        self._closing = True
        self._wake.set()
        self._thread.join()
        self._connection.close()

    def wrote(self, size_bytes: int) -> None:
        """A transaction with bodies of so many bytes is in the log."""
        self._written_pages += COMMIT_PAGES + size_bytes // self._page_bytes
        if self._written_pages >= self._fold_at:
            self._fold_at = self._written_pages + self._fold_pages // 2
            self._wake.set()

    def fold_the_rest(self, connection: sqlite3.Connection) -> None:
        """Fold what the thread has left, where it has just done the most of it, over the writer's connection."""
        if self._rest_is_the_writers:
            self._rest_is_the_writers = False
            if self._fold(connection):
                self._fold_at = self._written_pages + self._fold_pages

    def _fold_until_closed(self) -> None:
        while True:
            self._wake.wait()
            # Before the look whether it is the end: what `close` sets after that would be cleared away, and never seen.
            self._wake.clear()
            if self._closing:
                return
            for _ in range(PASSES):
                before = self._written_pages
                if not self._fold(self._connection):
                    break
                if self._written_pages - before <= FEW_PAGES:
                    self._rest_is_the_writers = True
                    break

    def _fold(self, connection: sqlite3.Connection) -> bool:
        """Fold what is in the log at this moment; false where not all of that could be."""
        try:
            busy, in_log, folded = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error as error:
            # It stays in the log, and nothing is lost. What ails the disk the next commit finds out, and says.
            log.debug("queue_log_not_folded", error=str(error))
            return False
        return not busy and in_log == folded
