"""What the capture tests share: short limits, a scripted source, and a log of what a reader said."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from lpr.capture.base import CameraSettings, CaptureLimits
from lpr.capture.reader import CameraChange, CameraReader
from lpr.domain.clock import Instant, SystemClock
from lpr.domain.errors import CaptureError
from lpr.domain.events import CameraState
from lpr.domain.frame import Image

QUICK = CaptureLimits(
    open_timeout_s=2.0,
    read_timeout_s=1.0,
    stale_after_s=1.5,
    first_picture_within_s=4.0,
    first_picture_grace_s=1.5,
    backoff_first_s=0.2,
    backoff_most_s=0.8,
    steady_after_s=2.0,
    stop_within_s=3.0,
)
"""Everything sooner than at a gate, so that a test takes seconds."""

SCENE: Image = np.random.default_rng(1).integers(0, 255, (48, 64, 3), np.uint8)


@dataclass
class Diary:
    """Every change a reader reported, with a way to wait for one."""

    changes: list[CameraChange] = field(default_factory=list)
    problems: list[CaptureError] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def note(self, change: CameraChange) -> None:
        """`on_change` of the reader."""
        self.changes.append(change)
        self._news.set()

    def note_problem(self, problem: CaptureError) -> None:
        """`on_problem` of the reader."""
        self.problems.append(problem)

    @property
    def states(self) -> list[CameraState]:
        """The states in order."""
        return [change.state for change in self.changes]

    async def until(self, state: CameraState, *, count: int = 1, within_s: float = 30.0) -> CameraChange:
        """Wait for the `count`-th change to `state`."""
        async with asyncio.timeout(within_s):
            while True:
                found = [change for change in self.changes if change.state is state]
                if len(found) >= count:
                    return found[count - 1]
                self._news.clear()
                await self._news.wait()


class LeapingClock(SystemClock):
    """The real time, on which a wait is over at once and has lasted as long as it should."""

    def __init__(self) -> None:
        self.leapt_s = 0.0

    def now(self) -> Instant:
        """The real time and all leaps."""
        return super().now().plus(self.leapt_s)

    async def sleep(self, seconds: float) -> None:
        """Leap."""
        await asyncio.sleep(0)
        self.leapt_s += seconds


Step = Image | BaseException | Callable[[], None] | None


class ScriptedSource:
    """A camera of steps: a picture is given, an error raised, a call made, None ends the stream."""

    def __init__(
        self, steps: Sequence[Step], *, live: bool = True, period_s: float = 0.005, opens: BaseException | None = None
    ) -> None:
        self.live = live
        self.description = "a scripted camera"
        self.closed = 0
        self.interrupted = threading.Event()
        self._steps = iter(steps)
        self._period_s = period_s
        self._opens = opens
        self._image: Image = SCENE
        self._at_s = -period_s

    def open(self) -> None:
        """Raises what `opens` holds."""
        if self._opens is not None:
            raise self._opens

    def grab(self) -> float | None:
        """The next step; None when all are through."""
        step = next(self._steps, None)
        while callable(step):
            step()
            step = next(self._steps, None)
        if step is None:
            return None
        if isinstance(step, BaseException):
            raise step
        if self.live:
            time.sleep(self._period_s)
        self._image = step
        self._at_s += self._period_s
        return time.monotonic() if self.live else self._at_s

    def retrieve(self) -> Image:
        """The picture of the last step."""
        return self._image.copy()

    def close(self) -> None:
        """Counted."""
        self.closed += 1

    def interrupt(self) -> None:
        """Noted."""
        self.interrupted.set()


def camera(source: str = "rtsp://127.0.0.1/live", *, camera_id: str = "CAM_001", fps: float = 25.0) -> CameraSettings:
    """A camera with short limits."""
    return CameraSettings(camera_id=camera_id, source=source, fps=fps, limits=QUICK)


async def until(condition: Callable[[], bool], *, within_s: float = 30.0) -> None:
    """Wait for what no event tells: another thread's doing."""
    async with asyncio.timeout(within_s):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)


async def drain(reader: CameraReader) -> int:
    """Take frames until there are no more; how many there were."""
    count = 0
    async for _frame in reader.frames():
        count += 1
    return count
