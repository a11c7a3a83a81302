"""The clocks of a link that are not the machine's: the back-end's, the relay's alarm, and that of the log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from lpr.domain.clock import Clock

_MOST_ROUND_TRIP_S = 4.0
"""The middle is wrong by half of this at most, well below the skew of clocks that is told (5 s)."""
SAID_AGAIN_AFTER_S = 600.0
"""What stays the same is logged once in this time."""
_TURNS_TO_READ = 4
"""Rounds of the event loop from bytes at the socket to an answer: read, frame, packet, callback."""


class ServerClock:
    """The back-end's wall clock, as far as it told; it was told of at another time, and ours may be set since."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._origin: datetime | None = None
        """When our monotonic clock stood at zero, by the back-end's wall clock; None where it never told."""

    def told(self, server_time: datetime, asked_at_s: float) -> None:
        """It read its clock somewhere between our asking and its answer, which came just now: take the middle, unless
        that took too long to say anything.
        """
        now_s = self._clock.now().monotonic_s
        if now_s - asked_at_s <= _MOST_ROUND_TRIP_S:
            self._origin = server_time - timedelta(seconds=(asked_at_s + now_s) / 2)

    def now(self) -> datetime:
        """Its time, or ours where it never told."""
        now = self._clock.now()
        return now.wall if self._origin is None else self._origin + timedelta(seconds=now.monotonic_s)

    def offset_ms(self) -> float | None:
        """Its clock minus ours, as it stands now."""
        if self._origin is None:
            return None
        return (self._origin - self._clock.now().monotonic_origin) / timedelta(milliseconds=1)


class Alarm:
    """Rings when time alone changes something. One stands until it rings; one that would come too late is replaced."""

    def __init__(self, clock: Clock, ring: Callable[[], None]) -> None:
        self._clock = clock
        self._ring = ring
        self._standing: tuple[float, asyncio.Task[None]] | None = None

    def set(self, ring_at_s: float, now_s: float) -> None:
        """Ring then at the latest."""
        if self._standing is not None and not self._standing[1].done():
            if self._standing[0] <= ring_at_s:
                return
            self._standing[1].cancel()
        waiting = ring_after(self._clock, ring_at_s - now_s, self._ring)
        self._standing = (ring_at_s, asyncio.create_task(waiting, name="relay-alarm"))

    def cancel(self) -> None:
        """Ring no more."""
        if self._standing is not None:
            self._standing[1].cancel()


class Seldom:
    """Whether what may happen every second, for days, is to be logged now."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._said_at_s: dict[tuple[str, ...], float] = {}

    def is_due(self, *what: str) -> bool:
        """At the first time, and again after `SAID_AGAIN_AFTER_S`."""
        now_s = self._clock.now().monotonic_s
        if now_s - self._said_at_s.get(what, float("-inf")) < SAID_AGAIN_AFTER_S:
            return False
        self._said_at_s[what] = now_s
        return True


async def ring_after(clock: Clock, seconds: float, ring: Callable[[], None]) -> None:
    """Wait, and call `ring`. Where it was this process that stood still, answers have come and have not been read yet:
    they are read first. Whoever is called finds this done.
    """
    await clock.sleep(seconds)
    for _ in range(_TURNS_TO_READ):
        await asyncio.sleep(0)
    asyncio.get_running_loop().call_soon(ring)
