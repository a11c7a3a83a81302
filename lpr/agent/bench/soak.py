"""A long run watched: memory, handles, threads and event time, stretch by stretch, and what grew meanwhile."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from lpr.agent.bench.at_work import CamerasAtWork
from lpr.agent.bench.load import LOOK_EVERY_S, Spread, report_between
from lpr.domain.clock import Instant

GOAL_GROWTH_MB = 1.0
"""In ten minutes, after warming up."""
GOAL_DRIFT_MS = 50.0
TEN_MINUTES_S = 600.0
FEWEST_LOOKS = 4
SHORTEST_SPAN_S = 180.0
"""Fewer stretches after warming up, or all of them within less time, and a growth in ten minutes is a guess."""
MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One stretch of a long run; `at_s` seconds after the first picture it ended. `memory` is the median, in bytes.

    `drift_ms` is by how much event time was off the time of capture, None where the cameras do not tell when a picture
    was made. It is the least of the stretch: what decoding takes comes and goes, a drift stays.
    """

    at_s: float
    memory: float
    handles: int
    threads: int
    age: Spread
    to_ack: Spread
    drift_ms: float | None
    analysed_fps: float
    events: int
    acked: int
    waiting: int
    lost: int
    cpu: float

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "atSeconds": round(self.at_s, 1),
            "memoryBytes": round(self.memory),
            "handles": self.handles,
            "threads": self.threads,
            "frameAgeMs": self.age.to_json(),
            "frameToAckMs": self.to_ack.to_json(),
            "driftMs": None if self.drift_ms is None else round(self.drift_ms, 2),
            "analysedFps": round(self.analysed_fps, 2),
            "events": self.events,
            "acknowledged": self.acked,
            "waiting": self.waiting,
            "lost": self.lost,
            "cpu": round(self.cpu, 3),
        }


async def soak(work: CamerasAtWork, *, seconds: float, every_s: float) -> AsyncIterator[Look]:
    """Watch for `seconds`, and tell of every `every_s` of them."""
    begun = work.clock.now()
    for number in range(1, max(1, round(seconds / every_s)) + 1):
        yield await _look(work, begun, until_s=number * every_s)


async def _look(work: CamerasAtWork, begun: Instant, *, until_s: float) -> Look:
    before = work.mark()
    memory: list[int] = []
    drifts: list[float] = []
    handles: list[int] = []
    threads: list[int] = []
    while (left_s := until_s - work.clock.now().seconds_since(begun)) > 0:
        await work.pause(min(LOOK_EVERY_S, left_s))
        memory.append(work.process.memory_info().rss)
        handles.append(work.process.num_fds())
        threads.append(work.process.num_threads())
        drifts += work.drifts_ms()
    after = work.mark()
    report = report_between(work, before, after)
    return Look(
        at_s=after.at.seconds_since(begun),
        memory=statistics.median(memory or [report.memory]),
        # Medians: a file that is open for a moment is no leak.
        handles=statistics.median_low(handles or [report.handles]),
        threads=statistics.median_low(threads or [report.threads]),
        age=report.age,
        to_ack=report.to_ack,
        drift_ms=min(drifts, default=None),
        analysed_fps=sum(camera.analysed_fps for camera in report.cameras) / len(report.cameras),
        events=report.events,
        acked=report.acked,
        waiting=work.agent.board.queue.pending,
        lost=sum(camera.lost for camera in report.cameras),
        cpu=report.cpu,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SoakVerdict:
    """What a long run showed after the first `warm_up_s`.

    `growth_mb` is MiB in ten minutes, None where the run was too short to tell. `handles` and `threads` are what they
    grew by from the first half to the second. `drift_ms` is how far apart the stretches' drifts lie, None where the
    cameras do not tell.
    """

    warm_up_s: float
    looks: int
    growth_mb: float | None
    handles: int
    threads: int
    drift_ms: float | None
    lost: int

    @property
    def failures(self) -> tuple[str, ...]:
        """What must not be, in words."""
        found: list[str] = []
        if self.growth_mb is not None and self.growth_mb >= GOAL_GROWTH_MB:
            found.append(f"memory grows by {self.growth_mb:.2f} MB in ten minutes, not less than {GOAL_GROWTH_MB:g}")
        if self.handles > 0:
            found.append(f"{self.handles} file handles more in the second half")
        if self.threads > 0:
            found.append(f"{self.threads} threads more in the second half")
        if self.drift_ms is not None and self.drift_ms > GOAL_DRIFT_MS:
            found.append(f"event time moved by {self.drift_ms:.0f} ms against the time of capture")
        if self.lost:
            found.append(f"cameras were lost {self.lost} times")
        return tuple(found)

    def to_json(self) -> dict[str, Any]:
        """JSON values; `good` is null where the run was too short to tell."""
        return {
            "verdict": {
                "good": None if self.growth_mb is None and not self.failures else not self.failures,
                "warmUpSeconds": round(self.warm_up_s, 1),
                "looks": self.looks,
                "growthMbIn10Min": None if self.growth_mb is None else round(self.growth_mb, 3),
                "moreHandles": self.handles,
                "moreThreads": self.threads,
                "driftMs": None if self.drift_ms is None else round(self.drift_ms, 2),
                "lost": self.lost,
                "failures": list(self.failures),
            }
        }


def warm_up_of(seconds: float) -> float:
    """How much of a run of `seconds` is for warming up: a fifth, ten minutes at most."""
    return min(TEN_MINUTES_S, seconds / 5)


def verdict_on(looks: Sequence[Look], warm_up_s: float) -> SoakVerdict:
    """Judge a long run by its looks."""
    warm = [look for look in looks if look.at_s > warm_up_s]
    half = len(warm) // 2
    enough = len(warm) >= FEWEST_LOOKS and warm[-1].at_s - warm[0].at_s >= SHORTEST_SPAN_S
    drifts = [look.drift_ms for look in warm if look.drift_ms is not None]
    return SoakVerdict(
        warm_up_s=warm_up_s,
        looks=len(warm),
        growth_mb=(
            slope([look.at_s for look in warm], [look.memory for look in warm]) * TEN_MINUTES_S / MEBIBYTE
            if enough
            else None
        ),
        handles=_rise([look.handles for look in warm], half),
        threads=_rise([look.threads for look in warm], half),
        drift_ms=max(drifts) - min(drifts) if drifts else None,
        lost=sum(look.lost for look in looks),
    )


def _rise(values: Sequence[int], half: int) -> int:
    return max(0, max(values[half:]) - max(values[:half])) if half else 0


def slope(times: Sequence[float], values: Sequence[float]) -> float:
    """How fast `values` rise with `times`: the median over all pairs (Theil and Sen), which one outlier cannot move.

    0 where there are fewer than two different times.
    """
    pairs = itertools.combinations(zip(times, values, strict=True), 2)
    slopes = [(late[1] - early[1]) / (late[0] - early[0]) for early, late in pairs if late[0] != early[0]]
    return statistics.median(slopes) if slopes else 0.0
