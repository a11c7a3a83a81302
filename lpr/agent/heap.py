"""Frames are megabytes and live for a moment: they must go back to the system when they are freed."""

from __future__ import annotations

import ctypes

_M_MMAP_THRESHOLD = -3
"""`mallopt(3)` of glibc."""
_FROM_BYTES = 1 << 20
_M_ARENA_MAX = -8
_ARENAS = 2


def give_frames_back() -> bool:
    """Have glibc map blocks of 1 MiB and more apart, for the whole process; whether it took it.

    Left alone it raises that bound to 32 MiB as soon as one large block was freed, keeps frames of 1080p (6 MB) on the
    heap from then on, and what lies between them holds the heap up for ever. Two cameras: 330 MB instead of 740. Nor
    does each of twenty threads get a heap of its own, which keeps what it held once: 16 MB after five minutes, growing.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
        return bool(mallopt(_M_MMAP_THRESHOLD, _FROM_BYTES)) and bool(mallopt(_M_ARENA_MAX, _ARENAS))
    except (OSError, AttributeError):  # another C library
        return False
