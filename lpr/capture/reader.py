"""The reader of one camera: keeps its thread running, notices when it does not, and says so in words.

The states, and all moves between them:

    STOPPED ──────> CONNECTING ──> RUNNING     the first picture is here
                    CONNECTING ──> LOST        it failed, or showed no picture in time
                    RUNNING ─────> LOST        it failed, ended (a camera has no end), or went silent
                    LOST ────────> RUNNING     pictures again, after however many tries
                    CONNECTING, RUNNING ──> ENDED    a file came to its end
                    any ─────────> STOPPED     `stop` was called

While a camera is LOST its reader tries again and again; only the moves above are reported, so each loss is told once
and each recovery once.

A camera that goes on in the same stream with pictures of another size is connected anew at once and stays RUNNING: it
has sent pictures all the time, and somebody who has just set its resolution, or a switch by day and night, is no alarm.
Where no picture comes over the new connection in the time that any silence is told in, it is LOST like any other.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType, TracebackType
from typing import Any, Self, TypeAlias

import structlog

from lpr.capture.base import CameraSettings, ConnectionHistory, FrameSource
from lpr.capture.buffers import FrameBuffer, FrameQueue, LatestFrame
from lpr.capture.outage import Outage
from lpr.capture.retry import RetryWaits
from lpr.capture.session import CaptureCounts, Chooser, Session
from lpr.capture.source import describe_source, open_source
from lpr.capture.stills import Stills
from lpr.capture.timing import FpsLimiter, RateMeter
from lpr.domain.clock import Clock, Instant, SystemClock
from lpr.domain.errors import CaptureError, CaptureRefusedError, CaptureResizedError, ConfigError
from lpr.domain.events import CameraState
from lpr.domain.frame import Frame
from lpr.domain.secrets import mask_secrets

SourceFactory: TypeAlias = Callable[[CameraSettings, ConnectionHistory], FrameSource]
"""Makes the source for the next connection, from what the earlier ones have taught."""

RESIZED_AFTER_S = 0.5
"""A connection that showed pictures for less before they changed is a failure like others, with a wait after it."""
AGAIN_AFTER_RESIZE_S = 0.5

_SAID_WITHIN_S = 10.0
_SAID_LINES = 10

_log = structlog.get_logger("capture")


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraChange:
    """A camera went from one state to another.

    `reason` is a sentence for people, without secrets. `last_picture` is when the camera last gave a picture: the
    contract's `lastResponse`. `error` is the fault where there is one.
    """

    camera_id: str
    state: CameraState
    previous: CameraState
    reason: str
    at: Instant
    last_picture: Instant | None
    error: CaptureError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureStatistics:
    """A camera's reading in numbers, since it was started.

    `captured` frames were decoded, `offered` of them handed to analysis, `taken` analysed, `overwritten` never, because
    a newer one came first. `stale` frames were behind the camera's clock, `grey` ones the start of a stream, `problems`
    broken files. `lost` counts losses, `tries` connections. `abandoned` threads hang in native code at this moment.
    `decode_ms` is processor time a captured frame, `lag_ms` how far decoding is behind the camera, `age_ms` how old the
    frame taken last was then (None before the first). `analysed_fps` counts frames taken over the last seconds.
    """

    captured: int
    offered: int
    taken: int
    overwritten: int
    stale: int
    grey: int
    problems: int
    lost: int
    tries: int
    abandoned: int
    decode_ms: float
    lag_ms: float
    age_ms: float | None
    analysed_fps: float
    last_picture: Instant | None


class CameraReader:
    """Reads one camera or file for the event loop.

    `run` does the work until the files end or `stop` is called; `next` and `frames` hand out what it reads, to one
    consumer. `on_change` and `on_problem` (a file that cannot be read, passed over) are called on the loop. Once it has
    ended or was stopped a reader is done with; start a camera again with a new one.
    """

    def __init__(
        self,
        settings: CameraSettings,
        *,
        clock: Clock | None = None,
        on_change: Callable[[CameraChange], None] | None = None,
        on_problem: Callable[[CaptureError], None] | None = None,
        decoder_says: Callable[[float], Sequence[str]] | None = None,
        source_factory: SourceFactory = open_source,
        jitter: random.Random | None = None,
        larger: Stills | None = None,
        fills: Stills | None = None,
    ) -> None:
        """Raises `ConfigError` where `settings.source` names no source.

        Of the two readers of a camera with two streams, the one whose frames are analysed is given `larger`, and the
        other one, which only `fills` what that wants, hands out no frames itself.
        `decoder_says` gives what decoders printed in the last seconds (`DecoderMessages.recent`); a loss logs it.
        """
        self.settings = settings
        self.info = describe_source(settings.source)
        self._clock = clock or SystemClock()
        self._on_change = on_change
        self._on_problem = on_problem
        self._decoder_says = decoder_says
        self._source_factory = source_factory
        limits = settings.limits
        self._waits = RetryWaits(limits, jitter or random.Random())
        self._history = ConnectionHistory()
        self._larger = larger
        self._buffer: FrameBuffer = fills or (LatestFrame() if self.info.live else FrameQueue(limits.queue_length))
        self._limiter = FpsLimiter(settings.fps)
        self._chooser: Chooser = fills or self._limiter
        self._counts = CaptureCounts()
        self._taken = 0
        self._taken_rate = RateMeter()
        self._age_s: float | None = None
        self._lost = 0
        self._tries = 0
        self._state = CameraState.STOPPED
        self._session: Session | None = None
        self._abandoned: list[Session] = []
        self._resized: Instant | None = None
        self._outage: Outage | None = None
        self._started = False
        self._has_ended = False
        self._stopping = asyncio.Event()
        self._hurried = asyncio.Event()
        self._finished = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._log = _log.bind(camera=settings.camera_id)

    # What the agent asks -------------------------------------------------------------------------------------------

    @property
    def state(self) -> CameraState:
        """What the camera is doing."""
        return self._state

    @property
    def newest(self) -> Frame | None:
        """The frame offered last, whether or not it was taken: for snapshots and the local page."""
        return self._counts.newest

    def set_fps(self, fps: float) -> None:
        """Analyse `fps` frames a second from now on."""
        self._limiter.fps = fps

    def statistics(self) -> CaptureStatistics:
        """The numbers at this moment."""
        counts, now = self._counts, self._clock.now()
        self._abandoned = [session for session in self._abandoned if session.alive]
        return CaptureStatistics(
            captured=counts.captured,
            offered=counts.offered,
            taken=self._taken,
            overwritten=self._buffer.overwritten,
            stale=counts.stale,
            grey=counts.grey,
            problems=counts.problems,
            lost=self._lost,
            tries=self._tries,
            abandoned=len(self._abandoned),
            decode_ms=1000 * counts.decode_s / counts.captured if counts.captured else 0.0,
            lag_ms=1000 * counts.lag_s,
            age_ms=None if self._age_s is None else 1000 * self._age_s,
            analysed_fps=self._taken_rate.rate(now.monotonic_s),
            last_picture=counts.last_picture,
        )

    async def ready(self) -> bool:
        """Wait until there is a frame to analyse, without taking it: a newer one may yet take its place.

        False when the files have ended or the reader has stopped.
        """
        return await self._buffer.wait()

    async def next(self) -> Frame | None:
        """The next frame to analyse; waits for it. None when the files have ended or the reader has stopped."""
        frame = await self._buffer.take()
        if frame is not None:
            now = self._clock.now()
            self._taken += 1
            self._taken_rate.count(now.monotonic_s)
            self._age_s = now.seconds_since(frame.captured_at)
        return frame

    async def frames(self) -> AsyncIterator[Frame]:
        """All frames to analyse, until the files end or the reader stops."""
        while (frame := await self.next()) is not None:
            yield frame

    # Running and stopping ------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Read until the files end or `stop` is called; cancelling stops too, in bounded time.

        Faults of cameras and files never raise here; a mistake in this program does.
        """
        if self._started:
            raise RuntimeError("a reader runs once")
        self._started = True
        try:
            if self._stopping.is_set():
                return
            self._change(CameraState.CONNECTING, f"opening {self.info.description}")
            if self.info.live:
                await self._keep_connected()
            else:
                await self._play_files()
        finally:
            self._stopping.set()
            try:
                await self._end_session()
            finally:
                if not self._has_ended:
                    self._change(CameraState.STOPPED, "stopped")
                self._buffer.close()
                self._finished.set()

    def hurry(self) -> None:
        """A camera that is waited for is tried now: there is a sign that it is back."""
        self._hurried.set()

    async def stop(self) -> None:
        """End reading and wait for the thread, `limits.stop_within_s` at most; `next` then gives what is left and None.

        May be called more than once, and before `run`, which then does nothing.
        """
        self._stopping.set()
        if self._session is not None:
            self._session.call_off()
        if self._started:
            await self._finished.wait()

    async def __aenter__(self) -> Self:
        """Run in a task of its own."""
        self._task = asyncio.create_task(self.run(), name=f"camera {self.settings.camera_id}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop; raises what `run` raised."""
        await self.stop()
        if self._task is not None:
            await self._task

    # Live cameras --------------------------------------------------------------------------------------------------

    async def _keep_connected(self) -> None:
        while not self._stopping.is_set():
            fault = await self._connect_once()
            if self._stopping.is_set():
                return
            session = self._session
            if session is not None and self._is_resized(session, fault):
                self._log.warning("camera_resized", reason=fault.message)
                self._resized = self._clock.now()
                await self._give_up_session()
                continue
            if self._may_be_beginning_anew(fault):
                self._log.info("camera_begins_anew", reason=mask_secrets(fault.message))
                await self._pause(AGAIN_AFTER_RESIZE_S)
                await self._give_up_session()
                continue
            if session is not None and self._is_slow_to_show(session):
                self._log.info("camera_slow_to_show", reason=fault.message)
                await self._give_up_session()
                continue
            if session is not None and self._was_steady(session):
                self._waits.succeeded()
            self._lose(fault)
            wait_s = self._waits.after(fault)
            self._log_failure(fault, wait_s)
            self._hurried.clear()
            await self._pause(wait_s, may_hurry=not self._history.refused)
            await self._give_up_session()

    async def _connect_once(self) -> CaptureError:
        """One connection from its opening to its failure; the failure, or a mere notice where we are stopping."""
        try:
            session = self._begin_session()
        except (CaptureError, ConfigError) as error:
            return CaptureError(error.message, hint=error.hint)
        fault = await self._watch(session) or CaptureError(f"{self.info.description} ended the stream")
        self._history.fruitless = 0 if session.first_picture else self._history.fruitless + 1
        self._history.refused = isinstance(fault, CaptureRefusedError)
        return fault

    async def _watch(self, session: Session) -> CaptureError | None:
        """Until the session fails, goes silent, or we stop."""
        limits = self.settings.limits
        stopping = asyncio.ensure_future(self._stopping.wait())
        either: list[asyncio.Future[Any]] = [session.ended, stopping]
        try:
            while True:
                silent_s = self._silent_s(session)
                patience_s = limits.stale_after_s if session.first_picture else limits.first_picture_within_s
                if silent_s > patience_s:
                    session.call_off()
                    return CaptureError(
                        f"no picture from {self.info.description} for {silent_s:.1f} s",
                        hint="The connection stands, but nothing comes: look at the camera and at the network to it.",
                    )
                if not session.first_picture and silent_s > self._told_lost_after_s(session):
                    self._lose(CaptureError(f"no picture yet from {self.info.description} after {silent_s:.1f} s"))
                check_again_s = min(0.25, limits.stale_after_s / 4)
                await asyncio.wait(either, timeout=check_again_s, return_when=asyncio.FIRST_COMPLETED)
                if session.ended.done():
                    return session.ended.result()
                if stopping.done():
                    return None
        finally:
            stopping.cancel()

    def _silent_s(self, session: Session) -> float:
        last = session.last_picture if session.first_picture else self._resized
        return self._clock.now().seconds_since(last or session.started)

    def _told_lost_after_s(self, session: Session) -> float:
        limits = self.settings.limits
        # What has been running is not given the time that a camera gets to show its first picture.
        waiting = session.opened and self._resized is None
        return limits.first_picture_grace_s if waiting else limits.stale_after_s

    def _is_slow_to_show(self, session: Session) -> bool:
        """Whether the first connection of all was good and too short for a camera whose whole pictures are rare."""
        return self._tries == 1 and session.opened and session.first_picture is None

    def _is_resized(self, session: Session, fault: CaptureError) -> bool:
        """Whether the camera goes on with other pictures; one that changes them all the time is a broken one."""
        return isinstance(fault, CaptureResizedError) and _shown_s(session) > RESIZED_AFTER_S

    def _may_be_beginning_anew(self, fault: CaptureError) -> bool:
        """Whether the camera has just changed its pictures: it may need a moment before it takes a viewer again."""
        if self._resized is None or isinstance(fault, CaptureRefusedError):
            return False
        return self._clock.now().seconds_since(self._resized) < self.settings.limits.stale_after_s

    def _was_steady(self, session: Session) -> bool:
        return _shown_s(session) > self.settings.limits.steady_after_s

    # Files ---------------------------------------------------------------------------------------------------------

    async def _play_files(self) -> None:
        try:
            session = self._begin_session()
        except (CaptureError, ConfigError) as error:
            self._end(CaptureError(error.message, hint=error.hint))
            return
        stopping = asyncio.ensure_future(self._stopping.wait())
        either: list[asyncio.Future[Any]] = [session.ended, stopping]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
        if not self._stopping.is_set():
            self._end(session.ended.result())

    def _end(self, fault: CaptureError | None) -> None:
        self._has_ended = True
        if fault is not None:
            self._report_problem(fault)
            self._change(CameraState.ENDED, fault.message, fault)
            return
        problems = self._counts.problems
        broken = f"; {problems} broken pictures or clips were passed over" if problems else ""
        self._change(CameraState.ENDED, f"{self.info.description} has been played to its end{broken}")

    def _report_problem(self, error: CaptureError) -> None:
        self._log.warning("file_broken", reason=error.message, hint=error.hint)
        if self._on_problem is not None:
            self._on_problem(error)

    # Sessions ------------------------------------------------------------------------------------------------------

    def _begin_session(self) -> Session:
        self._tries += 1
        session = Session(
            self._source_factory(self.settings, self._history),
            self.settings,
            self._buffer,
            self._counts,
            self._chooser,
            self._clock,
            larger=self._larger,
            on_first_picture=self._first_picture,
            on_problem=self._report_problem,
        )
        self._session = session
        session.start()
        return session

    def _first_picture(self, session: Session) -> None:
        if session is not self._session or self._stopping.is_set():
            return
        self._resized = None
        outage, self._outage = self._outage, None
        what = "the first picture is here" if outage is None else "pictures again"
        logged = {} if outage is None else outage.numbers(self._clock.now())
        self._change(CameraState.RUNNING, f"{self.info.description}: {what}", logged=logged)

    async def _give_up_session(self) -> None:
        """Leave the old thread, which should have ended by now; wait where too many hang in native code."""
        session, self._session = self._session, None
        if session is not None and not await session.gone(0.0):
            self._abandoned.append(session)
            self._log.warning("capture_thread_hangs", hanging=len(self._abandoned))
        while not self._stopping.is_set():
            self._abandoned = [other for other in self._abandoned if other.alive]
            if len(self._abandoned) < self.settings.limits.abandoned_threads:
                return
            await self._pause(0.5)

    async def _end_session(self) -> None:
        session, self._session = self._session, None
        if session is None:
            return
        session.call_off()
        if not await session.gone(self.settings.limits.stop_within_s):
            self._abandoned.append(session)
            self._log.warning("capture_thread_left", within_s=self.settings.limits.stop_within_s)

    async def _pause(self, seconds: float, *, may_hurry: bool = False) -> None:
        """Wait, unless we are stopping."""
        ends = [self._stopping.wait(), self._clock.sleep(seconds), *([self._hurried.wait()] if may_hurry else [])]
        either = [asyncio.ensure_future(end) for end in ends]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiting in either:
                waiting.cancel()

    # States --------------------------------------------------------------------------------------------------------

    def _lose(self, error: CaptureError) -> None:
        if self._state is not CameraState.LOST:
            self._lost += 1
            self._resized = None
            self._outage = Outage(self._counts.last_picture or self._clock.now())
            if self._decoder_says is not None and (said := self._decoder_says(_SAID_WITHIN_S)):
                self._log.warning("decoder_said", lines=list(said)[-_SAID_LINES:])
            self._change(CameraState.LOST, error.message, error)

    def _log_failure(self, fault: CaptureError, wait_s: float) -> None:
        """A try has failed, and the next one comes in `wait_s`: not every one of them is told, for it may be days."""
        outage, reason, now = self._outage, mask_secrets(fault.message), self._clock.now()
        if outage is not None and outage.failed(reason, now):
            self._log.info(
                "camera_retry",
                reason=reason,
                hint=fault.hint,
                wait_s=round(wait_s, 1),
                **outage.numbers(now),
            )

    def _change(
        self,
        state: CameraState,
        reason: str,
        error: CaptureError | None = None,
        *,
        logged: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        if state is self._state:
            return
        change = CameraChange(
            camera_id=self.settings.camera_id,
            state=state,
            previous=self._state,
            reason=mask_secrets(reason),
            at=self._clock.now(),
            last_picture=self._counts.last_picture,
            error=error,
        )
        self._state = state
        level = self._log.warning if state is CameraState.LOST else self._log.info
        level("camera_state", state=state.value, previous=change.previous.value, reason=change.reason, **logged)
        if self._on_change is not None:
            self._on_change(change)


def _shown_s(session: Session) -> float:
    """How long the connection showed pictures, from the first to the last one."""
    first, last = session.first_picture, session.last_picture
    return last.seconds_since(first) if first is not None and last is not None else 0.0
