"""The files of the data directory that belong to the queue: the database, the lock, and the side record."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import sqlite3
import zlib
from dataclasses import dataclass
from pathlib import Path

from lpr.domain.errors import OutboxError, OutboxFullError, OutboxLockedError
from lpr.durable import sync_directory

DATABASE = "outbox.db"
PICTURES = "outbox.db-pictures"
BESIDE_DATABASE = ("-wal", "-shm", "-pictures")
"""What is added to the database's name for the files that belong to it."""
LOCK = "outbox.lock"
RESERVE = "outbox.reserve"
SIDE_RECORD = "outbox.seq"

MACHINE_BOOT = Path("/proc/sys/kernel/random/boot_id")

SEQUENCES_AHEAD = 1000
"""How far the side record runs ahead, so that it is written once in so many events. Only where the database itself is
lost do sequences go on from there, with a gap of at most so many, which `QUEUE_CORRUPT` tells."""
_SIDE_BYTES = 128
RESERVE_FILE_BYTES = 20 << 20
"""Room for SQLite's log and shared index, without which the queue could not even be opened on a full disk."""

_COULD_NOT_WRITE = {sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_TRUNCATE}
_PROBE_BYTES = 64 << 10
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class FilesGoneError(OSError):
    """The queue's files were deleted, or others put in their place, while they are open: what is written is lost."""

    def __init__(self) -> None:
        super().__init__(errno.ESTALE, "its files were deleted or replaced while the agent runs")


class UnsyncedError(OSError):
    """A transaction is committed, and seen by who reads, but the disk may not have kept it."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(cause.errno, cause.strerror or str(cause))


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file is damaged, as against busy, full or forbidden."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        # Raised by Python's module itself or by us, on values that our schema does not have.
        return isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.ProgrammingError)
    return (code & 0xFF) in _DAMAGE or code == sqlite3.SQLITE_IOERR_SHORT_READ


def is_full(error: sqlite3.Error | OSError) -> bool:
    """Whether there is no room on the disk."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    code = getattr(error, "sqlite_errorcode", 0)
    # The second: no room for the index that all who have the file open share.
    return (code & 0xFF) == sqlite3.SQLITE_FULL or code == sqlite3.SQLITE_IOERR_SHMSIZE


def real_cause(error: sqlite3.Error | OSError, directory: Path) -> sqlite3.Error | OSError:
    """What the system says, where SQLite only says that it could not write: a quota that is used up, a disk that has
    become read-only. Found out by writing there.
    """
    if getattr(error, "sqlite_errorcode", None) not in _COULD_NOT_WRITE:
        return error
    probe = directory / f".write-test-{os.getpid()}"
    try:
        with probe.open("wb", buffering=0) as file:
            file.write(bytes(_PROBE_BYTES))
            os.fsync(file.fileno())
    except OSError as cause:
        return cause
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()
    return error


def translate(error: sqlite3.Error | OSError, doing: str, path: Path) -> OutboxError:
    """A foreign error as one of ours: what failed, on what, and what the operator can do."""
    if is_full(error):
        return OutboxFullError(f"cannot {doing} {path}: no room on the disk", hint="make room on the disk")
    reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
    return OutboxError(f"cannot {doing} {path}: {reason}", hint=_hint(error, path))


def _hint(error: sqlite3.Error | OSError, path: Path) -> str | None:
    if isinstance(error, OSError) and error.errno == errno.EROFS:
        return "the disk is mounted read-only; one with errors turns so by itself: look at `dmesg`"
    if isinstance(error, FilesGoneError):
        return (
            "what waits is still sent, as long as the agent runs: restart it when its local page shows an empty queue"
        )
    denied = isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM)
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if denied or code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        # Not `Path.is_dir`: that raises where not even looking is allowed.
        directory = path if os.path.isdir(path) else path.parent
        return (
            f"user id {os.getuid()} must be able to write in {directory} and all that is in it (who ran the agent as"
            f" root, has left files of root's there): sudo chown -R USER {directory}, or set agent.data_dir"
        )
    if isinstance(error, OSError) and error.errno in (errno.EEXIST, errno.ENOTDIR) and os.path.isfile(path):
        return f"{path} is a file: set agent.data_dir to a folder"
    if isinstance(error, OSError) and error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
        return "no folder can be made there: set agent.data_dir to one on a disk"
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return "another program keeps the queue's file busy; try again"
    if code == sqlite3.SQLITE_IOERR or isinstance(error, OSError):
        return "look for disk errors with `dmesg`; the disk may be failing"
    return None


def machine_boot() -> str | None:
    """The name of this boot of the machine, as long as which the monotonic clock runs; None where none is given."""
    try:
        return MACHINE_BOOT.read_text("ascii").strip() or None
    except (OSError, ValueError):
        return None


def make_data_dir(data_dir: Path) -> None:
    """Make sure that the directory is there and can be written. Raises `OutboxError`."""
    try:
        # Plates and pictures of people's vehicles: not for every user of the machine.
        new = [folder for folder in (data_dir, *data_dir.parents) if not folder.exists()]
        data_dir.mkdir(mode=0o750, parents=True, exist_ok=True)
        for folder in new:
            sync_directory(folder.parent)  # or a power cut takes its name, and with it all that is inside
        probe = data_dir / f".write-test-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        if is_full(error):
            return  # that is for the queue to live with
        raise translate(error, "write in the data directory", data_dir) from error


class DirectoryLock:
    """The right to write in a data directory, held by one agent at a time; the kernel takes it back at any death."""

    def __init__(self, data_dir: Path) -> None:
        """Take it. Raises `OutboxLockedError` that names the holder, or `OutboxError`."""
        self._path = data_dir / LOCK
        try:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise translate(error, "open the lock", self._path) from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._fd, 32, 0).decode("ascii", "replace").strip()
            os.close(self._fd)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise translate(error, "lock", self._path) from error
            raise OutboxLockedError(
                f"another agent (process {holder or 'unknown'}) works in {data_dir}",
                hint="stop that one, or give this one a directory of its own in agent.data_dir",
            ) from error
        with contextlib.suppress(OSError):  # a full disk: who holds it is a courtesy
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let go. The file stays: removing it would let two agents lock two files of one name."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def lock_holder(data_dir: Path) -> int | None:
    """The process id of the agent that works in the directory, or None where none does."""
    try:
        fd = os.open(data_dir / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
        return int(holder) if holder.isdigit() else 0
    else:
        return None
    finally:
        os.close(fd)


class DiskReserve:
    """Room that is held on the disk for the queue, and given up when another program has filled it."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / RESERVE

    def hold(self, free_bytes: int) -> None:
        """Take the room where it is not held yet and much more than that is free."""
        if free_bytes < 4 * RESERVE_FILE_BYTES or self._held_bytes() == RESERVE_FILE_BYTES:
            return
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.posix_fallocate(fd, 0, RESERVE_FILE_BYTES)
        except OSError:
            self.give_up()
        finally:
            os.close(fd)

    def _held_bytes(self) -> int:
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            return 0

    def give_up(self) -> bool:
        """Free the room; says whether there was any."""
        try:
            self._path.unlink()
        except FileNotFoundError:
            return False
        return True


@dataclass(frozen=True, slots=True)
class SideContents:
    """`reserved`: no sequence above it was ever given. `held`: the last one given to an event that waits in memory."""

    reserved: int = 0
    held: int = 0


class SideRecord:
    """What must be known of sequences even where the database is lost, in a file of its own and of fixed size.

    It is overwritten in place, so that it can be written when the disk is full.
    """

    def __init__(self, data_dir: Path) -> None:
        """Open it, make it where it is not there. Raises `OSError`."""
        self.directory = data_dir
        self._fd = os.open(data_dir / SIDE_RECORD, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self.contents = self._read()

    def _read(self) -> SideContents:
        """What it says; nothing where it is new or damaged."""
        text, _, checksum = os.pread(self._fd, _SIDE_BYTES, 0).rstrip(b" \n\0").rpartition(b" ")
        if not text or checksum != _checksum(text):
            return SideContents()
        values = json.loads(text)
        return SideContents(int(values["reserved"]), int(values["held"]))

    def write(self, contents: SideContents) -> None:
        """Remember, durably. Raises `OSError`."""
        text = json.dumps({"reserved": contents.reserved, "held": contents.held}).encode()
        line = (text + b" " + _checksum(text)).ljust(_SIDE_BYTES - 1) + b"\n"
        os.pwrite(self._fd, line, 0)
        os.fdatasync(self._fd)
        self.contents = contents

    def reserve(self, last_sequence: int) -> None:
        """Make sure that `last_sequence` is covered. Raises `OSError`."""
        if last_sequence > self.contents.reserved:
            self.write(SideContents(last_sequence + SEQUENCES_AHEAD, self.contents.held))

    def hold(self, last_sequence: int) -> None:
        """Remember the last sequence that was given in memory alone; 0 once all is written. Raises `OSError`."""
        if last_sequence != self.contents.held:
            self.write(SideContents(max(self.contents.reserved, last_sequence), last_sequence))

    def close(self) -> None:
        """Let go of the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _checksum(text: bytes) -> bytes:
    return f"{zlib.crc32(text):08x}".encode()
