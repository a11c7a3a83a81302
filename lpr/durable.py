"""Files that a power cut leaves whole, and the room that their disk has."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

_sync_file_range = getattr(ctypes.CDLL(None), "sync_file_range", None)
"""Linux has it alone."""
if _sync_file_range is not None:
    _sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
_RANGE_WRITE = 2
"""SYNC_FILE_RANGE_WRITE of <fcntl.h>."""


def replace_file(path: Path, text: str) -> None:
    """Write `text` in place of the file: after a power cut the old or the new content is there, whole.

    Once this has returned it is the new one. Raises `OSError`.
    """
    beside = path.with_name(f"{path.name}.new")
    with beside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make the names in it durable: files made, renamed, removed. Raises `OSError`."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def free_bytes(place: Path | int) -> int:
    """Bytes that may still be written where `place`, a path or an open file, lies. Raises `OSError`.

    What a file system keeps for root is not counted.
    """
    room = os.statvfs(place)
    return room.f_bavail * room.f_frsize


def begin_to_write(fd: int, offset: int, size_bytes: int) -> None:
    """Let the disk begin with what was written there, so that a sync that follows soon has less to wait for.

    That sync is needed all the same, and says what failed.
    """
    if _sync_file_range is not None:
        _sync_file_range(fd, offset, size_bytes, _RANGE_WRITE)
