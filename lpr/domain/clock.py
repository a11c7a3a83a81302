"""Time as an argument: a moment on both clocks, and the clock that parts are given."""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

EARLIEST_BELIEVABLE = datetime(2026, 1, 1, tzinfo=UTC)
"""This program is younger: a wall clock that says less has not been set since the box lost its power."""
SET_BY = timedelta(seconds=1)
"""A wall clock that moved by so much against the monotonic one was set; one that moved by less was steered."""


@dataclass(frozen=True, slots=True)
class Instant:
    """One moment on both clocks.

    `wall` is an aware UTC datetime: what people and the back-end are told. `monotonic_s` is seconds on the clock that
    never jumps: what durations and ages are computed from. A box without a battery starts in 1970 and has its wall
    clock set later; only `monotonic_s` can be trusted across that.
    """

    wall: datetime
    monotonic_s: float

    @property
    def monotonic_origin(self) -> datetime:
        """When the monotonic clock stood at zero, by this wall clock: it moves only when the wall clock is set."""
        return self.wall - timedelta(seconds=self.monotonic_s)

    def wall_set_since(self, earlier: Instant) -> timedelta:
        """By how much the wall clock was moved between `earlier` and this moment: the way that the origin went."""
        return self.wall - earlier.wall - timedelta(seconds=self.monotonic_s - earlier.monotonic_s)

    def seconds_since(self, earlier: Instant) -> float:
        """Seconds between `earlier` and this moment, on the monotonic clock; negative where this one is the earlier."""
        return self.monotonic_s - earlier.monotonic_s

    def plus(self, seconds: float) -> Instant:
        """The moment `seconds` later (or earlier, where negative)."""
        return Instant(self.wall + timedelta(seconds=seconds), self.monotonic_s + seconds)


class Clock(Protocol):
    """What tells the time and waits. `SystemClock` in the agent, `FakeClock` in tests."""

    def now(self) -> Instant:
        """This moment, on both clocks."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait `seconds`; cancelling ends the wait at once."""
        ...


class SystemClock:
    """The clocks of this machine. The monotonic one goes on while it is suspended, as the world does: an event that
    slept with the machine is old, and a wall clock ahead of one that stood still looks as if it had been set.
    """

    def now(self) -> Instant:
        """This moment, on both clocks."""
        return Instant(datetime.now(UTC), _since_boot_s())

    async def sleep(self, seconds: float) -> None:
        """Wait `seconds`; cancelling ends the wait at once."""
        await asyncio.sleep(max(0.0, seconds))


def _since_boot_s() -> float:
    # `time.monotonic` stands still in a suspended machine; this clock is Linux's alone.
    return time.clock_gettime(time.CLOCK_BOOTTIME) if sys.platform == "linux" else time.monotonic()


def isoformat_ms(moment: datetime) -> str:
    """An aware datetime in the contract's form, UTC with milliseconds: `2026-11-23T01:02:03.456Z`."""
    utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return utc.isoformat("T", "milliseconds")[: -len("+00:00")] + "Z"
