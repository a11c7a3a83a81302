"""A clock that stands still until a test moves it."""

from __future__ import annotations

import asyncio
import heapq
from datetime import UTC, datetime, timedelta
from itertools import count

from lpr.domain.clock import Instant

_TURNS = 30
"""Rounds of the event loop that `settle` gives: a woken task may wake another, which may wake another."""


class FakeClock:
    """Manual time. `advance` moves it and wakes sleepers in the order in which they are due."""

    def __init__(
        self, wall: datetime = datetime(2026, 11, 23, 1, 2, 3, tzinfo=UTC), monotonic_s: float = 1000.0
    ) -> None:
        self._now = Instant(wall, monotonic_s)
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = count()

    def now(self) -> Instant:
        """This moment, on both clocks."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Wait until `advance` has moved the time by `seconds`; zero or less waits one round of the loop."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now.monotonic_s + seconds, next(self._order), woken))
        await woken

    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass, stopping at each moment at which somebody wakes, so that what they do is done in time."""
        until_s = self._now.monotonic_s + seconds
        await self.settle()
        while self._sleepers and self._sleepers[0][0] <= until_s:
            due_s, _, woken = heapq.heappop(self._sleepers)
            if woken.done():
                continue
            self._now = self._now.plus(max(0.0, due_s - self._now.monotonic_s))
            woken.set_result(None)
            await self.settle()
        self._now = self._now.plus(until_s - self._now.monotonic_s)

    async def settle(self) -> None:
        """Let every task that can go on do so, without any time passing."""
        for _ in range(_TURNS):
            await asyncio.sleep(0)

    def set_wall(self, wall: datetime) -> None:
        """Set the wall clock, as a time server does; the monotonic clock does not notice."""
        self._now = Instant(wall, self._now.monotonic_s)

    def jump_wall(self, seconds: float) -> None:
        """Move the wall clock alone."""
        self.set_wall(self._now.wall + timedelta(seconds=seconds))

    @property
    def sleepers(self) -> int:
        """How many wait on this clock."""
        return sum(not woken.done() for _, _, woken in self._sleepers)
