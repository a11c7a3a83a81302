"""The wall clock of a box that may have no battery: whether it is right, and what is done when it is set.

Whether it is right is asked of the kernel, which the time service tells. When it is set, events that wait and that were
recorded before are told by the new time (`Outbox.correct_times`), and a status goes out.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from typing import Any, Protocol

import structlog

from lpr.domain.clock import EARLIEST_BELIEVABLE, SET_BY, Clock, Instant
from lpr.domain.errors import OutboxError
from lpr.domain.events import ClockStatus, ErrorCode, Severity
from lpr.outbox.base import Outbox

TIME_ERROR = 5
"""What adjtimex(2) returns while nothing has set the clock right."""
LOOK_EVERY_S = 1.0
SKEW_MS, SKEW_OVER_MS = 5_000.0, 3_000.0
"""`CLOCK_SKEW` is raised above the first, and again only after the clocks stood closer than the second."""
_TIMEX_BYTES = 512
"""More than `struct timex` takes on any platform (208 on x86-64); all zero asks without changing anything."""

log = structlog.get_logger("agent")


def kernel_synchronised() -> bool | None:
    """Whether the kernel holds the clock for synchronised; None where it cannot be asked (in a sandbox, say)."""
    try:
        state = _libc().adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != TIME_ERROR


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def clock_is_right(wall: datetime) -> bool:
    """Whether a clock that says `wall` is known to be right. Quick, and may be called from any thread."""
    return wall >= EARLIEST_BELIEVABLE and kernel_synchronised() is not False


def clock_status(now: datetime, offset_ms: float | None) -> ClockStatus:
    """What is known of the clock at `now`; `offset_ms` is the back-end's clock minus ours where it told."""
    return ClockStatus(synchronised=clock_is_right(now), offset_ms=offset_ms)


class RaiseError(Protocol):
    """How an error is recorded: `Publisher.raise_error`."""

    async def __call__(
        self, code: ErrorCode, message: str, *, severity: Severity, details: Mapping[str, Any] | None = None
    ) -> None: ...


class ClockWatch:
    """Looks at both clocks once a second, for as long as the agent runs.

    `offset_ms` is the back-end's clock minus ours, None where it never told. `on_set` is called when the wall clock was
    set.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        outbox: Outbox,
        offset_ms: Callable[[], float | None],
        raise_error: RaiseError,
        on_set: Callable[[], None],
    ) -> None:
        self._clock, self._outbox = clock, outbox
        self._offset_ms, self._raise_error, self._on_set = offset_ms, raise_error, on_set
        self._skewed = False

    async def run(self) -> None:
        """Look for ever."""
        before = self._clock.now()
        while True:
            await self._clock.sleep(LOOK_EVERY_S)
            now = self._clock.now()
            await self._look(before, now)
            before = now

    async def _look(self, before: Instant, now: Instant) -> None:
        set_by_s = now.wall_set_since(before).total_seconds()
        if abs(set_by_s) >= SET_BY.total_seconds():
            log.warning("the wall clock was set", by_s=round(set_by_s, 1))
            self._on_set()
        try:
            if corrected := await self._outbox.correct_times():
                log.info("times of waiting events follow the wall clock", events=corrected)
        except OutboxError as error:
            log.error("times of waiting events were not corrected", error=error.message, hint=error.hint)
        offset_ms = self._offset_ms()
        if offset_ms is not None:
            await self._look_at_skew(now, offset_ms)

    async def _look_at_skew(self, now: Instant, offset_ms: float) -> None:
        if self._skewed:
            self._skewed = abs(offset_ms) >= SKEW_OVER_MS
        elif abs(offset_ms) > SKEW_MS:
            self._skewed = True
            await self._raise_error(
                ErrorCode.CLOCK_SKEW,
                f"this box's clock differs from the back-end's by {offset_ms / 1000:.1f} s",
                severity=Severity.MEDIUM,
                details={"offsetMs": round(offset_ms), "synchronised": clock_is_right(now.wall)},
            )
