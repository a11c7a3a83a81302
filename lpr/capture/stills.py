"""Pictures of a camera's larger stream, taken only when they are wanted: of the moments that the smaller one shows.

Plates are looked for in the smaller stream; what is sent of a vehicle is to come from the larger one. That is decoded
all the time, for a decoder must see every picture, but fetching one costs half as much again (2.6 ms at 1080p), so it
is done for the moments that are analysed and while something moves. A picture is wanted the moment its counterpart
leaves the other decoder; the larger stream's thread waits for that up to half of the time to its next picture, and
gives the one or the other, whichever is nearer.
"""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from collections import deque
from collections.abc import Sequence
from typing import Final

from lpr.capture.buffers import FrameBuffer
from lpr.domain.clock import Instant
from lpr.domain.frame import Frame, Still

NEAR_S: Final = 0.5
"""A picture taken further from the moment that was wanted shows another scene."""
MOST_BYTES: Final = 200_000_000
"""Of pictures that vehicles in sight hold: 32 of 1080p, 8 of 2160p. Beyond, the oldest are let go, those taken before
the wanted moments first."""
MOST_WANTED: Final = 8

_LONGEST_PERIOD_S = 0.2
_SMOOTHING = 0.1
_RESERVE_S = 0.004


class Stills(FrameBuffer):
    """What one stream wants of another. Wants come from the analysing side, frames from the larger stream's thread.

    To that thread it is both who chooses pictures (`due`) and where they go (`offer`).
    """

    def __init__(self, *, most_bytes: int = MOST_BYTES) -> None:
        super().__init__()
        self.awake = True
        """False while nothing moves, so that nothing is wanted; the analysing side says so."""
        self._most_bytes = most_bytes
        self._wanted: deque[Still] = deque(maxlen=MOST_WANTED)
        self._given: list[weakref.ref[Still]] = []
        self._last: Frame | None = None
        self._period_s = 0.0
        self._decode_s = 0.0
        self._grabbed_s: float | None = None
        self._left_s = 0.0
        self._left_cpu_s = 0.0

    def want(self, at: Instant) -> Still:
        """A place for the picture nearest to `at`, which is now or a moment ago; any thread may ask."""
        with self._changed:
            last = self._last
            still = Still(at, last if last is not None and _near(last, at) else None)
            self._given = [each for each in self._given if each() is not None]
            self._given.append(weakref.ref(still))
            self._wanted.append(still)
            self._changed.notify_all()
        return still

    def due(self, grabbed_s: float) -> bool:
        """Whether the picture just grabbed, at `grabbed_s` on the monotonic clock, is wanted; may wait to learn it."""
        with self._changed:
            patience_s = self._patience_s(grabbed_s)
            if not self._wanted and patience_s > 0:
                self._changed.wait_for(lambda: bool(self._wanted) or self._closed, patience_s)
            self._left_s, self._left_cpu_s = time.monotonic(), time.thread_time()
            return bool(self._wanted)

    def offer(self, frame: Frame, give_up: threading.Event) -> bool:
        """Fill what waits for it. False where the frame was not taken."""
        with self._changed:
            if self._closed or give_up.is_set():
                return False
            for still in self._wanted:
                if _near(frame, still.wanted_at):
                    still.frame = frame
            self._wanted.clear()
            self._last = frame
            self._let_go()
            self._changed.notify_all()
        return True

    async def filled(self, still: Still, within_s: float) -> Frame | None:
        """The picture that was wanted, waited for `within_s` at most; None where it has not come, or is gone again."""
        if still.frame is None:
            await asyncio.to_thread(self._wait_for, still, within_s)
        return still.frame

    def _wait_for(self, still: Still, within_s: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: still.frame is not None or still not in self._wanted, within_s)

    def _patience_s(self, grabbed_s: float) -> float:
        """How long a want may still come for which this picture is the nearest; none where pictures are queueing up."""
        previous_s, self._grabbed_s = self._grabbed_s, grabbed_s
        if previous_s is None:
            return 0.0
        # The first ones come in a burst, and one after a pause says nothing of the rhythm.
        apart_s = min(max(0.0, grabbed_s - previous_s), _LONGEST_PERIOD_S)
        self._period_s += (apart_s - self._period_s) * _SMOOTHING
        self._decode_s += (time.thread_time() - self._left_cpu_s - self._decode_s) * _SMOOTHING
        waited_s = grabbed_s - self._left_s
        if waited_s < self._period_s / 4:
            return 0.0
        return min(self._period_s / 2, self._period_s - 2 * self._decode_s - _RESERVE_S)

    def _let_go(self) -> None:
        held = [still for each in self._given if (still := each()) is not None and still not in self._wanted]
        for still in held:
            if _bytes_of(held) <= self._most_bytes:
                return
            still.before = None
        for still in held[:-1]:
            if _bytes_of(held) <= self._most_bytes:
                return
            still.frame = None


def _near(frame: Frame, at: Instant) -> bool:
    return abs(frame.captured_at.seconds_since(at)) <= NEAR_S


def _bytes_of(stills: Sequence[Still]) -> int:
    frames = {id(frame): frame for still in stills for frame in (still.before, still.frame) if frame is not None}
    return sum(frame.image.nbytes for frame in frames.values())
