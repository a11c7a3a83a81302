"""The whole agent at work on streams that look like cameras, and its counters, taken from outside.

`CamerasAtWork` runs an `Agent` with its real readers, networks, trackers and outbox against a real back-end, whose
process is its own so that its cost is not counted here.
"""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

import psutil

from lpr.agent.bench.streams import LoadOptions, Streams, load_config
from lpr.agent.heap import give_frames_back
from lpr.agent.service import Agent
from lpr.domain.clock import Clock, Instant, SystemClock
from lpr.domain.errors import CaptureError
from lpr.domain.events import CameraState
from lpr.metrics import Metrics, Stage

FIRST_PICTURES_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Counts:
    """One camera's counters at a moment."""

    captured: int
    taken: int
    analysed: int
    overwritten: int
    stale: int
    lost: int
    decode_s: float
    held_back: int


@dataclass(frozen=True, slots=True)
class Mark:
    """The process at a moment; two of them make a measurement. Times in seconds of processor or clock."""

    at: Instant
    cpu_s: float
    machine_s: float
    threads_s: Mapping[str, float]
    events: int
    acked: int
    cameras: Mapping[str, Counts]


class CamerasAtWork:
    """`async with CamerasAtWork(options) as work`: inside, every camera has shown a picture and is being analysed.

    Raises `CaptureError` where one shows none, and what the agent raises where a part cannot be opened.
    """

    def __init__(self, options: LoadOptions) -> None:
        self.options = options
        self.config = load_config(options)
        self.camera_ids = tuple(camera.id for camera in self.config.cameras)
        self.clock = SystemClock()
        self.process = psutil.Process()
        self._metrics = _Ages(self.clock)
        self._streams = self._metrics.streams = Streams(options, self.camera_ids)
        give_frames_back()  # as `lpr-agent run` does
        self.agent = Agent(
            self.config,
            clock=self.clock,
            metrics=self._metrics,
            end_with_files=False,
            source_factory=self._streams.open,
        )
        self._running: asyncio.Task[None] | None = None
        self._origin = self.clock.now()

    async def __aenter__(self) -> Self:
        started = asyncio.Event()
        self._running = asyncio.create_task(self.agent.run(ready=started.set), name="agent under load")
        try:
            await self._unless_it_ends(started.wait())
            await self._unless_it_ends(self._first_pictures())
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()

    @property
    def device(self) -> str:
        """What really executes the networks."""
        return self.agent.board.device

    async def pause(self, seconds: float) -> None:
        """Let it work for a while; raises what the agent raises if it ends."""
        await self._unless_it_ends(self.clock.sleep(seconds))

    def mark(self) -> Mark:
        """The counters now."""
        times = self.process.cpu_times()
        everything = psutil.cpu_times()
        return Mark(
            at=self.clock.now(),
            cpu_s=times.user + times.system,
            machine_s=sum(everything)
            - everything.idle
            - getattr(everything, "iowait", 0.0)
            - _counted_twice(everything),
            threads_s=threads_cpu_s(self.process),
            events=self._metrics.total("events_recorded"),
            acked=self.agent.link_state.acked,
            cameras={camera_id: self._counts(camera_id) for camera_id in self.camera_ids},
        )

    def take_times(self) -> tuple[Mapping[str, list[float]], Mapping[str, list[float]], list[float]]:
        """Of all frames since this was asked before: ages in ms since made and since decoded, by camera; and acks."""
        return self._metrics.take()

    def stage_ms(self) -> dict[str, float]:
        """Median milliseconds of each step that was taken, over its newest values."""
        found = {stage.value: self._metrics.percentiles(stage) for stage in Stage}
        return {name: each.p50_ms for name, each in found.items() if each.count}

    def drifts_ms(self) -> list[float]:
        """By how much the times that events will carry differ from when the pictures were made, in ms, newest frames.

        Both clocks are compared: what an event says is wall time, what a picture's making is known by is monotonic.
        """
        found: list[float] = []
        for camera_id in self.camera_ids:
            pipeline, clip = self.agent.pipelines.get(camera_id), self._streams.clip(camera_id)
            if pipeline is None or pipeline.analysed is None or clip is None or pipeline.capture.statistics().tries > 1:
                continue
            frame = pipeline.analysed
            made_s = clip.made_at_s(frame.number) - self._origin.monotonic_s
            said_s = (frame.captured_at.wall - self._origin.wall) / timedelta(seconds=1)
            found.append((said_s - made_s) * 1000)
        return found

    def _counts(self, camera_id: str) -> Counts:
        pipeline, clip = self.agent.pipelines.get(camera_id), self._streams.clip(camera_id)
        if pipeline is None:
            return Counts(0, 0, 0, 0, 0, 0, 0.0, 0)
        numbers = pipeline.capture.statistics()
        return Counts(
            captured=numbers.captured,
            taken=numbers.taken,
            analysed=self._metrics.total("frames_analysed", camera=camera_id),
            overwritten=numbers.overwritten,
            stale=numbers.stale,
            lost=numbers.lost,
            decode_s=numbers.decode_ms * numbers.captured / 1000,
            held_back=clip.dropped if clip else 0,
        )

    async def _first_pictures(self) -> None:
        try:
            async with asyncio.timeout(FIRST_PICTURES_WITHIN_S):
                while waiting := [name for name in self.camera_ids if not self._shows(name)]:
                    await self.clock.sleep(0.05)
        except TimeoutError:
            pipelines = self.agent.pipelines
            why = "; ".join(f"{name}: {pipelines[name].trouble}" for name in waiting if name in pipelines)
            raise CaptureError(f"no picture after {FIRST_PICTURES_WITHIN_S:.0f} s from {why or waiting}") from None

    def _shows(self, camera_id: str) -> bool:
        pipeline = self.agent.pipelines.get(camera_id)
        return pipeline is not None and pipeline.state is CameraState.RUNNING and pipeline.analysed is not None

    async def _unless_it_ends(self, work: Coroutine[Any, Any, object]) -> None:
        """Wait for `work`; where the agent ends before, raise what it raised."""
        assert self._running is not None  # noqa: S101 - only called inside
        waiting = asyncio.ensure_future(work)
        await asyncio.wait({self._running, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            waiting.result()
            return
        waiting.cancel()
        await self._running
        raise CaptureError("the agent stopped by itself")

    async def _end(self) -> None:
        self.agent.stop()
        if self._running is not None:
            await asyncio.wait({self._running})
            if not self._running.cancelled() and (error := self._running.exception()) is not None:
                raise error


class _Ages(Metrics):
    """The agent's metrics, with every frame's age and every time to an acknowledgement kept until it is asked for."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self.streams: Streams | None = None
        self._decoded: defaultdict[str, list[float]] = defaultdict(list)
        self._made: defaultdict[str, list[float]] = defaultdict(list)
        self._acks: list[float] = []

    def frame_analysed(self, camera_id: str, age_s: float) -> None:
        super().frame_analysed(camera_id, age_s)
        self._decoded[camera_id].append(age_s * 1000)
        clip = self.streams.clip(camera_id) if self.streams else None
        now_s = self._clock.now().monotonic_s
        made_s = clip.made_before_s(now_s - age_s) if clip else None
        self._made[camera_id].append((now_s - made_s if made_s is not None else age_s) * 1000)

    def frame_to_ack(self, milliseconds: float) -> None:
        super().frame_to_ack(milliseconds)
        self._acks.append(milliseconds)

    def take(self) -> tuple[Mapping[str, list[float]], Mapping[str, list[float]], list[float]]:
        """Ages since the picture was made, since it was decoded, and times to acknowledgement, all in ms."""
        taken = dict(self._made), dict(self._decoded), self._acks
        self._made, self._decoded, self._acks = defaultdict(list), defaultdict(list), []
        return taken


def threads_cpu_s(process: psutil.Process) -> dict[str, float]:
    """Processor seconds of this process's threads, by what they do. Threads that ended are not in it."""
    names = {thread.native_id: thread.name for thread in threading.enumerate()}
    sums: dict[str, float] = {}
    for thread in process.threads():
        duty = _duty(names.get(thread.id), own=thread.id == process.pid)
        sums[duty] = sums.get(duty, 0.0) + thread.user_time + thread.system_time
    return sums


def _duty(name: str | None, *, own: bool) -> str:
    if own:
        return "event loop"
    if name is None:
        return "networks"  # OpenVINO's, which Python knows nothing of
    if name.startswith("capture "):
        return "decoding"
    return "queue on disk" if "outbox" in name else "workers"


def _counted_twice(times: Any) -> float:
    # Linux counts guests' time as user time as well.
    return float(getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0))
