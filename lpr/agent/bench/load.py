"""What many cameras cost over one stretch of time: rates, ages, processor, memory. `soak.py` looks at many of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psutil

from lpr.agent.bench.at_work import CamerasAtWork, Counts, Mark
from lpr.metrics import percentile

GOAL_AGE_P95_MS = 300.0
GOAL_ANALYSED_SHARE = 0.97
"""Of the frames a second that were asked for; the rest is the rhythm of 8 out of 25."""
LOOK_EVERY_S = 1.0


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
