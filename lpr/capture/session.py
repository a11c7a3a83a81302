"""One connection to one source: the thread that reads it until it ends, fails or is called off."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from lpr.capture.base import CameraSettings, FrameSource
from lpr.capture.buffers import FrameBuffer
from lpr.capture.stills import Stills
from lpr.capture.timing import LagMeter, RateMeter
from lpr.domain.choices import Pace
from lpr.domain.clock import Clock, Instant
from lpr.domain.errors import CaptureError
from lpr.domain.frame import Frame, Image

FRESH_WITHIN_S = 0.3
"""An older picture of a live camera is decoded, for the next ones need it, but not analysed."""

_LAST_ACT_S = 1.0
_GREY_AT_MOST_S = 2.0
_GREY_SPREAD = 2.0


@dataclass(slots=True)
class CaptureCounts:
    """What a camera's threads have done since it was started. Written by the thread that reads, read by anyone."""

    captured: int = 0
    offered: int = 0
    stale: int = 0
    grey: int = 0
    problems: int = 0
    lag_s: float = 0.0
    decode_s: float = 0.0
    rate: RateMeter = field(default_factory=RateMeter)
    newest: Frame | None = None
    last_picture: Instant | None = None


class Chooser(Protocol):
    """Says which pictures are fetched from the decoder."""

    def due(self, time_s: float) -> bool:
        """Whether the picture grabbed at `time_s` is; times never fall."""
        ...


class Session:
    """Opens `source` in a thread of its own and offers its frames to `buffer`.

    `ended` is a future of the event loop: its result is None where the source came to its end or the session was called
    off, the `CaptureError` where it failed; an exception there is a mistake in this program. `on_first_picture` and
    `on_problem` are called on the loop. Each frame wants its counterpart of the `larger` stream, where there is one.
    """

    def __init__(
        self,
        source: FrameSource,
        settings: CameraSettings,
        buffer: FrameBuffer,
        counts: CaptureCounts,
        chooser: Chooser,
        clock: Clock,
        *,
        larger: Stills | None = None,
        on_first_picture: Callable[[Session], None],
        on_problem: Callable[[CaptureError], None],
    ) -> None:
        self._source = source
        self._settings = settings
        self._buffer = buffer
        self._counts = counts
        self._chooser = chooser
        self._larger = larger
        self._clock = clock
        self._on_first_picture = on_first_picture
        self._on_problem = on_problem
        self._called_off = threading.Event()
        self._lag = LagMeter()
        self._first_grabbed: Instant | None = None
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[CaptureError | None] = self._loop.create_future()
        self.started = clock.now()
        self.opened = False
        self.first_picture: Instant | None = None
        self.last_picture: Instant | None = None
        # A daemon, because native code that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=f"capture {settings.camera_id}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread is still there."""
        return self._thread.is_alive()

    def call_off(self) -> None:
        """Make the thread end as soon as it can; from now on it offers no frame."""
        self._called_off.set()
        self._source.interrupt()

    async def gone(self, timeout_s: float) -> bool:
        """Wait until the thread has ended, `timeout_s` at most; whether it has."""
        done, _ = await asyncio.wait({self.ended}, timeout=timeout_s)
        if done:
            # Telling the loop was the thread's last act: it takes microseconds to end now.
            self._thread.join(_LAST_ACT_S)
        return not self.alive

    def _run(self) -> None:
        outcome: BaseException | None = None
        try:
            try:
                self._source.open()
                self.opened = True
                if self._source.live:
                    self._read_live()
                else:
                    self._read_files()
            finally:
                self._source.close()
        except BaseException as error:  # noqa: BLE001  # carried to the loop, which raises what is no CaptureError
            outcome = error
        self._tell(self._settle, outcome)

    def _settle(self, outcome: BaseException | None) -> None:
        if self.ended.done():
            return
        if outcome is None or isinstance(outcome, CaptureError):
            _forget_where(outcome)
            self.ended.set_result(outcome)
        else:
            self.ended.set_exception(outcome)

    def _tell(self, function: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:  # the loop was closed over a thread that hung: nobody is left to be told
            self._called_off.set()

    def _read_live(self) -> None:
        while not self._called_off.is_set():
            began_s = time.thread_time()
            position_s = self._source.grab()
            if self._called_off.is_set():
                return
            if position_s is None:
                raise CaptureError(f"{self._source.description} ended the stream")
            now = self._clock.now()
            self._take_live(position_s, now)
            self._counts.decode_s += time.thread_time() - began_s

    def _take_live(self, position_s: float, now: Instant) -> None:
        number = self._count(now)
        fresh = self._lag.fresh(position_s, now.monotonic_s, FRESH_WITHIN_S)
        self._counts.lag_s = self._lag.lag_s
        if not fresh:
            # Nor is it a sign of life: a decoder that gives up on a frozen stream hands out what it still held.
            self._counts.stale += 1
            return
        self.last_picture = self._counts.last_picture = now
        # The first one is fetched in any case: it shows that the camera is there.
        if self.first_picture is not None and not self._chooser.due(now.monotonic_s):
            return
        still = self._larger.want(now) if self._larger is not None and self._larger.awake else None
        image = self._source.retrieve()
        if self._is_warming_up(image, now):
            self._counts.grey += 1
            return
        if self.first_picture is None:
            self.first_picture = now
            self._tell(self._on_first_picture, self)
        self._offer(Frame(self._settings.camera_id, number, image, now, still))

    def _is_warming_up(self, image: Image, now: Instant) -> bool:
        """Whether this is one of the even grey pictures that some cameras and decoders begin with."""
        if self.first_picture is not None or self._first_grabbed is None:
            return False
        if now.seconds_since(self._first_grabbed) > _GREY_AT_MOST_S:
            return False  # a dark night or a covered lens: that is what the camera sees
        return float(np.std(image[::8, ::8], dtype=np.float32)) < _GREY_SPREAD

    def _read_files(self) -> None:
        begun = self._clock.now()
        while not self._called_off.is_set():
            began_s = time.thread_time()
            try:
                position_s = self._source.grab()
                if position_s is None:
                    return
                now = self._clock.now()
                number = self._count(now)
                self.last_picture = self._counts.last_picture = now
                if not self._chooser.due(position_s):
                    continue
                image = self._source.retrieve()
            except CaptureError as error:
                self._counts.problems += 1
                self._tell(self._on_problem, error)
                continue
            finally:
                self._counts.decode_s += time.thread_time() - began_s
            captured_at = begun.plus(position_s)
            if self._settings.pace is Pace.REALTIME:
                self._called_off.wait(max(0.0, captured_at.seconds_since(self._clock.now())))
            if self.first_picture is None:
                self.first_picture = captured_at
                self._tell(self._on_first_picture, self)
            self._offer(Frame(self._settings.camera_id, number, image, captured_at))

    def _count(self, now: Instant) -> int:
        if self._first_grabbed is None:
            self._first_grabbed = now
        number = self._counts.captured
        self._counts.captured += 1
        return number

    def _offer(self, frame: Frame) -> None:
        frame.image.setflags(write=False)
        if self._buffer.offer(frame, self._called_off):
            self._counts.newest = frame
            self._counts.offered += 1
            self._counts.rate.count(self._clock.now().monotonic_s)


def _forget_where(error: BaseException | None) -> None:
    """Drop the tracebacks of a fault: it may be kept for long, and they keep this session and its last picture."""
    seen: set[int] = set()
    # Of causes and contexts together a ring may come to be; Python itself breaks only those of contexts alone.
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        error.__traceback__ = None
        error = error.__cause__ or error.__context__
