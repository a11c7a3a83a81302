"""What many cameras cost: the whole agent at work on streams that look like cameras, measured from outside.

`CamerasAtWork` runs an `Agent` with its real readers, networks, trackers and outbox against a real back-end, whose
process is its own so that its cost is not counted here. `measure_load` looks at one stretch of time; `soak.py` looks at
many of them one after the other and at what grows meanwhile.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections import defaultdict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from lpr.agent.heap import give_frames_back
from lpr.agent.service import Agent
from lpr.capture.base import CameraSettings, ConnectionHistory, FrameSource
from lpr.capture.looped import LoopedClip
from lpr.capture.source import open_source
from lpr.config import AgentConfig, config_from
from lpr.domain.clock import Clock, Instant, SystemClock
from lpr.domain.errors import CaptureError
from lpr.domain.events import CameraState
from lpr.metrics import Metrics, Stage, percentile

STREAM_FPS = 25.0
GOAL_AGE_P95_MS = 300.0
GOAL_ANALYSED_SHARE = 0.97
"""Of the frames a second that were asked for; the rest is the rhythm of 8 out of 25."""
FIRST_PICTURES_WITHIN_S = 60.0
LOOK_EVERY_S = 1.0

_PLACEHOLDER = "rtsp://127.0.0.1/{}"
"""The address of a camera that is played from a clip; nobody connects to it."""


# What is played --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """What to put on the agent: `cameras` streams of `clip`, or real cameras where `sources` names some.

    `fps` frames a second are analysed of each camera, `stream_fps` come from it. `folder` takes the queue and the
    compiled networks.
    """

    clip: Path
    folder: Path
    backend_url: str
    cameras: int = 1
    sources: tuple[str, ...] = ()
    fps: float = 8.0
    stream_fps: float = STREAM_FPS
    device: str = "AUTO"
    detail: str = "auto"


def load_config(options: LoadOptions) -> AgentConfig:
    """A configuration of so many cameras, each with a gate of its own. Raises `ConfigError`."""
    sources = options.sources or tuple(_PLACEHOLDER.format(number) for number in range(options.cameras))
    names = [f"bench-{number + 1}" for number in range(len(sources))]
    values: dict[str, Any] = {
        "agent": {"id": "bench", "data_dir": str(options.folder / "data")},
        "backend": {"url": options.backend_url},
        "outbox": {"min_free_disk": 0},
        "web": {"enabled": False},
        "vision": {"device": options.device, "input": options.detail, "cache": str(options.folder / "cache")},
        "cameras": [
            {
                "id": name,
                "source": source,
                "gate": {"id": name},
                "fps": options.fps,
                "action": "auto",
                # The same vehicles come again with every round of the clip, and each is to be reported.
                "repeat_after": 0,
            }
            for name, source in zip(names, sources, strict=True)
        ],
    }
    return config_from(values)


class Streams:
    """Opens the cameras of a measurement and keeps what is known of each."""

    def __init__(self, options: LoadOptions, camera_ids: Sequence[str]) -> None:
        self._options = options
        self._places = {camera_id: place for place, camera_id in enumerate(camera_ids)}
        self._clips: dict[str, LoopedClip] = {}

    def open(self, settings: CameraSettings, history: ConnectionHistory) -> FrameSource:
        """The source of one camera, for its `CameraReader`."""
        if self._options.sources:
            return open_source(settings, history)
        # Spread over ten seconds of the clip: decoding up to a place in it takes time of its own.
        spread = round(10 * self._options.stream_fps * self._places[settings.camera_id] / len(self._places))
        clip = LoopedClip(self._options.clip, fps=self._options.stream_fps, skip=spread)
        self._clips[settings.camera_id] = clip
        return clip

    def clip(self, camera_id: str) -> LoopedClip | None:
        """The clip that stands for a camera; None where the camera is a real one."""
        return self._clips.get(camera_id)


class _Ages(Metrics):
    """The agent's metrics, with every frame's age kept until it is asked for: a reservoir mixes the stretches."""

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


# The agent at work -----------------------------------------------------------------------------------------------


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


# One stretch of time -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Some times in numbers, ms; all zero where there are none."""

    p50: float
    p95: float
    worst: float

    def to_json(self) -> dict[str, float]:
        """JSON values."""
        return {"p50": round(self.p50, 1), "p95": round(self.p95, 1), "worst": round(self.worst, 1)}


def spread(times: Sequence[float]) -> Spread:
    """`times` in numbers."""
    ordered = sorted(times)
    return Spread(p50=percentile(ordered, 0.50), p95=percentile(ordered, 0.95), worst=ordered[-1] if ordered else 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraLoad:
    """One camera over one stretch.

    `decoded_fps` left the decoder, `taken_fps` were looked at; of those `skipped_share` (0..1) held no motion and
    `analysed_fps` went through the networks. `age` is from the making of the picture to the end of its analysis (from
    its decoding where the camera does not tell), `decoded_age` always from its decoding. `dropped` frames were replaced
    by newer ones before analysis, `stale` came too late from the decoder, `held_back` never came to it.
    """

    camera_id: str
    decoded_fps: float
    taken_fps: float
    analysed_fps: float
    skipped_share: float
    age: Spread
    decoded_age: Spread
    dropped: int
    stale: int
    held_back: int
    lost: int
    decode_cpu: float

    def to_json(self) -> dict[str, Any]:
        """JSON values: rates a second, ages in ms, shares 0..1."""
        return {
            "cameraId": self.camera_id,
            "decodedFps": round(self.decoded_fps, 2),
            "takenFps": round(self.taken_fps, 2),
            "analysedFps": round(self.analysed_fps, 2),
            "skippedShare": round(self.skipped_share, 3),
            "frameAgeMs": self.age.to_json(),
            "sinceDecodedMs": self.decoded_age.to_json(),
            "dropped": self.dropped,
            "stale": self.stale,
            "heldBack": self.held_back,
            "lost": self.lost,
            "decodeCpu": round(self.decode_cpu, 4),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadReport:
    """What was measured over `seconds`.

    `cpu` is cores in use by this process, `cpu_by_duty` which of its threads use them, `other_cpu` cores in use by
    other processes meanwhile: where the two together come near `cores`, the figures tell of them as much as of the
    agent. Memory in bytes.
    """

    device: str
    cores: int
    seconds: float
    asked_fps: float
    cameras: tuple[CameraLoad, ...]
    age: Spread
    cpu: float
    other_cpu: float
    cpu_by_duty: Mapping[str, float]
    memory: int
    handles: int
    threads: int
    events: int
    acked: int
    to_ack: Spread
    stage_ms: Mapping[str, float]

    @property
    def cpu_per_camera(self) -> float:
        """Cores, 0..: processor time of the whole process over time and cameras."""
        return self.cpu / len(self.cameras)

    @property
    def shortfalls(self) -> tuple[str, ...]:
        """Where the goals were missed, in words; none where all were met."""
        return tuple(itertools.chain.from_iterable(_shortfalls(camera, self.asked_fps) for camera in self.cameras))

    def to_json(self) -> dict[str, Any]:
        """JSON values: processor use in cores, times in ms, memory in bytes."""
        return {
            "device": self.device,
            "cores": self.cores,
            "seconds": round(self.seconds, 1),
            "cameras": [camera.to_json() for camera in self.cameras],
            "frameAgeMs": self.age.to_json(),
            "cpuPerCamera": round(self.cpu_per_camera, 4),
            "cpu": round(self.cpu, 3),
            "cpuByDuty": {duty: round(cores, 4) for duty, cores in self.cpu_by_duty.items()},
            "otherCpu": round(self.other_cpu, 3),
            "memoryBytes": self.memory,
            "handles": self.handles,
            "threads": self.threads,
            "events": self.events,
            "acknowledged": self.acked,
            "frameToAckMs": self.to_ack.to_json(),
            "stageMs": {name: round(value, 2) for name, value in self.stage_ms.items()},
            "shortfalls": list(self.shortfalls),
        }


def _shortfalls(camera: CameraLoad, asked_fps: float) -> list[str]:
    found: list[str] = []
    if camera.age.p95 > GOAL_AGE_P95_MS:
        found.append(
            f"{camera.camera_id}: frames are {camera.age.p95:.0f} ms old at p95, more than {GOAL_AGE_P95_MS:.0f}"
        )
    if camera.taken_fps < GOAL_ANALYSED_SHARE * asked_fps:
        found.append(f"{camera.camera_id}: {camera.taken_fps:.1f} of {asked_fps:g} frames a second were looked at")
    if camera.lost:
        found.append(f"{camera.camera_id}: lost {camera.lost} times")
    return found


async def measure_load(
    work: CamerasAtWork, *, seconds: float, warm_up_s: float, progress: Callable[[float, float], None]
) -> LoadReport:
    """Watch for `seconds` after a warm-up. `progress` is told the seconds that have passed, of how many."""
    total_s = warm_up_s + seconds
    await _wait(work, warm_up_s, lambda done: progress(done, total_s))
    work.take_times()
    before = work.mark()
    await _wait(work, seconds, lambda done: progress(warm_up_s + done, total_s))
    after = work.mark()
    return report_between(work, before, after)


async def _wait(work: CamerasAtWork, seconds: float, told: Callable[[float], None]) -> None:
    begun = work.clock.now()
    while (left_s := seconds - work.clock.now().seconds_since(begun)) > 0:
        told(seconds - left_s)
        await work.pause(min(LOOK_EVERY_S, left_s))
    told(seconds)


def report_between(work: CamerasAtWork, before: Mark, after: Mark) -> LoadReport:
    """What happened between two marks; the times are all that came since they were taken last."""
    made, decoded, acks = work.take_times()
    seconds = after.at.seconds_since(before.at)
    cpu = (after.cpu_s - before.cpu_s) / seconds
    duties = {duty: (spent_s - before.threads_s.get(duty, 0.0)) / seconds for duty, spent_s in after.threads_s.items()}
    return LoadReport(
        device=work.device,
        cores=psutil.cpu_count() or 1,
        seconds=seconds,
        asked_fps=work.options.fps,
        cameras=tuple(
            _camera_load(
                camera_id,
                before.cameras[camera_id],
                counts,
                seconds,
                made.get(camera_id, []),
                decoded.get(camera_id, []),
            )
            for camera_id, counts in after.cameras.items()
        ),
        age=spread([age for ages in made.values() for age in ages]),
        cpu=cpu,
        other_cpu=max(0.0, (after.machine_s - before.machine_s) / seconds - cpu),
        cpu_by_duty=dict(sorted(duties.items(), key=lambda each: -each[1])),
        memory=work.process.memory_info().rss,
        handles=work.process.num_fds(),
        threads=work.process.num_threads(),
        events=after.events - before.events,
        acked=after.acked - before.acked,
        to_ack=spread(acks),
        stage_ms=work.stage_ms(),
    )


def _camera_load(
    camera_id: str, before: Counts, after: Counts, seconds: float, made: Sequence[float], decoded: Sequence[float]
) -> CameraLoad:
    taken, analysed = after.taken - before.taken, after.analysed - before.analysed
    return CameraLoad(
        camera_id=camera_id,
        decoded_fps=(after.captured - before.captured) / seconds,
        taken_fps=taken / seconds,
        analysed_fps=analysed / seconds,
        # One may be under way at either end.
        skipped_share=max(0.0, 1 - analysed / taken) if taken else 0.0,
        age=spread(made),
        decoded_age=spread(decoded),
        dropped=after.overwritten - before.overwritten,
        stale=after.stale - before.stale,
        held_back=after.held_back - before.held_back,
        lost=after.lost - before.lost,
        decode_cpu=(after.decode_s - before.decode_s) / seconds,
    )
