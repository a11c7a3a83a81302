"""How fast events are recorded, against the same bytes written to a bare file on the same disk in the same run."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lpr.domain.clock import SystemClock
from lpr.domain.errors import OutboxError
from lpr.domain.events import Jpeg, PlateDetected
from lpr.domain.geometry import Box
from lpr.domain.passage import Action
from lpr.domain.plate import PlateText, VehicleType
from lpr.outbox.limits import OutboxLimits
from lpr.outbox.sqlite import SqliteOutbox

EVENT_BYTES = 100_000
PLATE_BYTES = 8_000
ROUND = 50
"""Events of one kind in a row: short, so that a disk whose speed comes and goes treats all kinds alike."""
TOGETHER = 8
"""Coroutines that record at once, as several cameras do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingSpeed:
    """Events of `EVENT_BYTES` a second: bare `write` + `fdatasync` to the end of a file, the same over what a file
    holds already, recorded one at a time, by `TOGETHER` at once, and deleted again in batches of `TOGETHER`.

    The queue writes over room that delivered events have left, once there is some, which costs many disks less than to
    let a file grow. So does a queue at work, but both figures belong beside its own.
    """

    bare_per_s: float
    bare_over_per_s: float
    recorded_per_s: float
    recorded_together_per_s: float
    settled_per_s: float

    @property
    def ratio(self) -> float:
        """Recorded one at a time over bare; 0.4 is the goal."""
        return self.recorded_per_s / self.bare_per_s

    @property
    def ratio_over(self) -> float:
        """Recorded one at a time over bare without growth."""
        return self.recorded_per_s / self.bare_over_per_s


async def measure_recording(directory: Path, *, rounds: int = 12) -> RecordingSpeed:
    """Measure in `directory`, an empty one on the disk in question; `rounds` of `ROUND` events for each figure."""
    spent = dict.fromkeys(("bare", "over", "recorded", "together", "settled"), 0.0)
    async with await SqliteOutbox.open(
        directory / "queue", agent_id="bench", boot_id="bench", limits=OutboxLimits(min_free_disk=0)
    ) as outbox:
        for _ in range(rounds):
            events = [sample_event(n) for n in range(2 * ROUND)]
            bare = [_bytes_of(sample_event(n)) for n in range(ROUND)]
            spent["bare"] += await asyncio.to_thread(_write_bare, directory / "bare", bare, os.O_APPEND)
            spent["over"] += await asyncio.to_thread(_write_bare, directory / "bare", bare)
            spent["recorded"] += await _timed(_record(outbox, events[:ROUND]))
            lanes = [events[ROUND + lane :: TOGETHER] for lane in range(TOGETHER)]
            spent["together"] += await _timed(_all(_record(outbox, lane) for lane in lanes))
            spent["settled"] += await _timed(_settle(outbox))
    count = rounds * ROUND
    return RecordingSpeed(
        bare_per_s=count / spent["bare"],
        bare_over_per_s=count / spent["over"],
        recorded_per_s=count / spent["recorded"],
        recorded_together_per_s=count / spent["together"],
        settled_per_s=2 * count / spent["settled"],
    )


def _bytes_of(event: PlateDetected) -> Sequence[bytes]:
    """Pieces of `EVENT_BYTES` in all: the event's own pictures, and as much as there is else in it."""
    pictures = [image.data for image in (event.plate_image, event.original_image) if image is not None]
    return [*pictures, bytes(EVENT_BYTES - sum(map(len, pictures)))]


def _write_bare(path: Path, events: Sequence[Sequence[bytes]], flags: int = 0) -> float:
    """Seconds for `events`, each written in one piece and made durable. One buffer again and again would be in the
    processor's cache, and events are not.
    """
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | flags, 0o600)
        try:
            began_s = time.perf_counter()
            for pieces in events:
                os.writev(fd, pieces)
                os.fdatasync(fd)
            return time.perf_counter() - began_s
        finally:
            os.close(fd)
    except OSError as error:
        raise OutboxError(f"cannot write {path}: {error.strerror}") from error


async def _record(outbox: SqliteOutbox, events: Sequence[PlateDetected]) -> None:
    for event in events:
        await outbox.record(event, link_up=True)


async def _settle(outbox: SqliteOutbox) -> None:
    names = [ticket.event_id for ticket in await outbox.waiting(limit=2 * ROUND)]
    # All at once, as answers come in: deliveries are given a moment to be written down together.
    await asyncio.gather(*(outbox.settle(names[n : n + TOGETHER]) for n in range(0, len(names), TOGETHER)))


async def _all(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    await asyncio.gather(*work)


async def _timed(work: Coroutine[Any, Any, None]) -> float:
    began_s = time.perf_counter()
    await work
    return time.perf_counter() - began_s


def sample_event(number: int) -> PlateDetected:
    """A detection of about `EVENT_BYTES`; its pictures are noise, which is what JPEG looks like to a disk.

    Their checksums are reckoned here and not while events are recorded, as the agent does it where it compresses them.
    """
    now = SystemClock().now()
    text = f"29A{number:05d}"
    return PlateDetected(
        occurred_at=now,
        passage_id=f"bench-{number}",
        gate_id="BENCH",
        gate_name="Cổng thử",
        camera_id="BENCH",
        camera_name="bench",
        camera_host="127.0.0.1",
        action=Action.ENTRY,
        plate=PlateText(text, text, text, 0.99, (0.99,) * len(text), 1, "car", True),
        vehicle_type=VehicleType.CAR,
        bounding_box=Box(800.0, 600.0, 160.0, 40.0),
        plate_image=Jpeg(os.urandom(PLATE_BYTES), 160, 40),
        original_image=Jpeg(os.urandom(EVENT_BYTES - PLATE_BYTES - 1000), 1920, 1080),
        processing_ms=100.0,
        first_seen_at=now.wall,
        last_seen_at=now.wall,
        frames_read=8,
    )
