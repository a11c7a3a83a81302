"""The tables of the queue's file, their versions, and a connection that is set up for them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lpr.domain.errors import OutboxError

APPLICATION_ID = 0x4C505251
"""'LPRQ' in the file's header: this file is ours."""
PAGE_SIZE = 4096
"""Of a new file. Rows are small since pictures lie apart, and every page that a commit touches is written whole."""
FOLD_PAGES = 1000
"""The log is folded into the database when it holds about so many pages (4 MB), beside the commits: see `folding`."""
WAL_PAGES = 2000
"""Where that did not keep up, the commit that fills the log to here (8 MB) folds it."""
WAL_KEPT_BYTES = 10 << 20
"""The log keeps its size up to here. Writing over it costs the disk a third less than letting it grow anew each time
(measured on ext4), and on a full disk deliveries can still be written down, into it."""
BUSY_TIMEOUT_S = 5.0

V1 = """
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- One row an event. Small, so that lists are quick; pictures lie apart.
CREATE TABLE events (
    position             INTEGER PRIMARY KEY,         -- order of recording, never given twice
    event_id             TEXT    NOT NULL UNIQUE,
    type                 TEXT    NOT NULL,            -- the wire's name
    code                 TEXT,                        -- of an error
    sequence             INTEGER,                     -- NULL for a status
    state                INTEGER NOT NULL DEFAULT 0,  -- 0 waiting, 1 dead letter, 2 delivered and kept
    size_bytes           INTEGER NOT NULL,            -- body and pictures
    original_bytes       INTEGER NOT NULL,
    attempts             INTEGER NOT NULL DEFAULT 0,
    recorded_offline     INTEGER NOT NULL,
    recorded_at_ms       INTEGER NOT NULL,            -- since 1970, UTC
    recorded_monotonic_s REAL    NOT NULL,            -- on the clock of the run `boot_id`
    boot_id              TEXT    NOT NULL,
    original_omitted     TEXT,                        -- why the original image is no longer here
    revived              INTEGER NOT NULL DEFAULT 0,  -- number of the retry that put it back, rising
    body                 TEXT    NOT NULL             -- JSON
);
-- None of these holds a row for a detection that waits: recording one writes to no index but the name's.
CREATE INDEX events_by_type ON events (type, position) WHERE type != 'license_plate_detected';
CREATE INDEX events_not_waiting ON events (state, position) WHERE state != 0;
CREATE INDEX events_revived ON events (revived) WHERE revived != 0;

-- image_id is twice the event's position, and one more for the original image: found without another index.
CREATE TABLE images (
    image_id INTEGER PRIMARY KEY,
    width    INTEGER NOT NULL,
    height   INTEGER NOT NULL,
    checksum INTEGER NOT NULL,                        -- CRC-32 of data
    data     BLOB    NOT NULL                         -- JPEG
);

CREATE TABLE dead_letters (
    position     INTEGER PRIMARY KEY,
    code         TEXT    NOT NULL,
    reason       TEXT    NOT NULL,
    buried_at_ms INTEGER NOT NULL
);
"""

V2 = """
-- Delivered events that are kept to be sent again on request. They lie apart, so that what waits is found without
-- reading over them; their pictures stay where they are.
CREATE TABLE delivered (
    position             INTEGER PRIMARY KEY,
    event_id             TEXT    NOT NULL,
    type                 TEXT    NOT NULL,
    code                 TEXT,
    sequence             INTEGER,
    size_bytes           INTEGER NOT NULL,
    original_bytes       INTEGER NOT NULL,
    attempts             INTEGER NOT NULL,
    recorded_offline     INTEGER NOT NULL,
    recorded_at_ms       INTEGER NOT NULL,
    recorded_monotonic_s REAL    NOT NULL,
    boot_id              TEXT    NOT NULL,
    original_omitted     TEXT,
    body                 TEXT    NOT NULL,
    timestamp            TEXT    NOT NULL,            -- the event's own, as the body has it
    delivered_at_ms      INTEGER NOT NULL
);
CREATE INDEX delivered_by_time ON delivered (delivered_at_ms);
"""

V3 = """
-- The boot of the machine in which an event's times were taken from a clock that was not known to be right; NULL where
-- they are right, or can no longer be corrected. Within that boot the monotonic clock tells how far the wall clock was
-- moved since.
ALTER TABLE events ADD COLUMN unsure_boot TEXT;
CREATE INDEX events_unsure ON events (position) WHERE unsure_boot IS NOT NULL;
"""

V4 = """
-- Where an event lies in the file beside the database: head, plate image and original image, one behind the other.
-- Events that an earlier version recorded, and those that were carried over from a damaged file, have theirs in images.
CREATE TABLE pictures (
    position          INTEGER PRIMARY KEY,
    extents           TEXT    NOT NULL,               -- first block and number of blocks (of 4096 bytes), in turn
    head_size         INTEGER NOT NULL,               -- bytes
    plate_size        INTEGER,                        -- NULL where there is none; the same for the original image
    plate_width       INTEGER,
    plate_height      INTEGER,
    plate_checksum    INTEGER,                        -- CRC-32
    original_size     INTEGER,
    original_width    INTEGER,
    original_height   INTEGER,
    original_checksum INTEGER
);
"""

MIGRATIONS = (V1, V2, V3, V4)
"""Script n brings a file from version n to n + 1; never edited once it has been released, only added to."""
SCHEMA_VERSION = len(MIGRATIONS)


def connect(path: Path, *, read_only: bool = False, damaged: bool = False) -> sqlite3.Connection:
    """A connection in autocommit mode that may be handed from thread to thread. Raises `sqlite3.Error`.

    Without `read_only` a file that is not there is made, ready for WAL and for giving free pages back. `damaged` lets
    SQLite read what it can of a file that is shorter than its header says.
    """
    mode = "ro" if read_only else "rwc"
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=BUSY_TIMEOUT_S,
        cached_statements=256,
    )
    try:
        if damaged:
            connection.execute("PRAGMA writable_schema = ON")  # what makes SQLite look the other way
        if read_only:
            connection.execute("PRAGMA query_only = ON")
        else:
            _set_up_for_writing(connection)
        connection.execute("PRAGMA cache_size = -8192")
        connection.execute("PRAGMA temp_store = MEMORY")
    except BaseException:
        connection.close()
        raise
    return connection


def _set_up_for_writing(connection: sqlite3.Connection) -> None:
    # The first two hold only for a file that is still empty; in an older one they change nothing.
    connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    # Debian builds it on: every delivered picture would be overwritten with zeros, as many bytes again.
    connection.execute("PRAGMA secure_delete = OFF")
    connection.execute(f"PRAGMA wal_autocheckpoint = {own_pages(connection, WAL_PAGES)}")
    connection.execute(f"PRAGMA journal_size_limit = {WAL_KEPT_BYTES}")


def own_pages(connection: sqlite3.Connection, pages: int) -> int:
    """How many of the file's own pages weigh as much as `pages` of a new one: earlier versions made larger ones."""
    return pages * PAGE_SIZE // int(connection.execute("PRAGMA page_size").fetchone()[0])


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the file to `SCHEMA_VERSION`. Raises `OutboxError` for a newer one, or for a file that is not a queue."""
    version = check_version(connection, path)
    if version == SCHEMA_VERSION:
        return
    with transaction(connection):
        for script in MIGRATIONS[version:]:
            for statement in _statements(script):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def check_version(connection: sqlite3.Connection, path: Path) -> int:
    """The schema version of the file, 0 for an empty one. Raises `OutboxError` for what cannot be used."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application_id != APPLICATION_ID and tables:
        raise OutboxError(
            f"{path} is a database, but not a queue of lpr-agent",
            hint="move it away, or set agent.data_dir to a directory of the agent's own",
        )
    if version > SCHEMA_VERSION:
        raise OutboxError(
            f"{path} was written by a newer lpr-agent (queue version {version}, this one knows {SCHEMA_VERSION})",
            hint="install that version again; once it has delivered everything, the file can be removed",
        )
    return int(version)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing, and durable when it is left. Raises `sqlite3.Error`."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # A full disk may have rolled it back already.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _statements(script: str) -> Iterator[str]:
    """`executescript` would commit the transaction that it is called in."""
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""
