"""Whether the wall clock is known to be right: asked of the kernel, which the time service tells."""

from __future__ import annotations

import ctypes
from datetime import UTC, datetime

from lpr.domain.events import ClockStatus

TIME_ERROR = 5
"""What adjtimex(2) returns while nothing has set the clock right."""
EARLIEST_BELIEVABLE = datetime(2026, 1, 1, tzinfo=UTC)
"""This program is younger: a clock that says less has not been set since the box lost its power."""
_TIMEX_BYTES = 512
"""More than `struct timex` takes on any platform (208 on x86-64); all zero asks without changing anything."""


def kernel_synchronised() -> bool | None:
    """Whether the kernel holds the clock for synchronised; None where it cannot be asked (in a sandbox, say)."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        state = libc.adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != TIME_ERROR


def clock_status(now: datetime, offset_ms: float | None) -> ClockStatus:
    """What is known of the clock at `now`; `offset_ms` is the back-end's clock minus ours where it told."""
    believable = now >= EARLIEST_BELIEVABLE
    return ClockStatus(synchronised=believable and kernel_synchronised() is not False, offset_ms=offset_ms)
