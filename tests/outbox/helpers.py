"""Events to record, of a size that the test chooses, and outboxes of both kinds that can be closed and opened again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Protocol

from lpr.domain.clock import Clock, Instant
from lpr.domain.events import (
    AgentState,
    ClockStatus,
    ErrorCode,
    ErrorRaised,
    Jpeg,
    PlateDetected,
    ProcessingStatus,
    QueueStatus,
    Severity,
)
from lpr.outbox.base import Outbox
from lpr.outbox.limits import OutboxLimits
from lpr.outbox.memory import MemoryOutbox, MemoryShelf
from lpr.outbox.sqlite import SqliteOutbox
from lpr.testing import events

ROOMY = OutboxLimits(min_free_disk=0)


def picture(name: str, size: int) -> Jpeg:
    """`size` bytes that tell which event they belong to."""
    seed = hashlib.sha256(name.encode()).digest()
    return Jpeg((seed * (size // len(seed) + 1))[:size], 64, 32)


def detection(
    name: str = "29A12345", *, plate_bytes: int = 200, original_bytes: int = 2000, at: Instant | None = None
) -> PlateDetected:
    return events.detection(
        name,
        at=at or Instant(datetime.fromisoformat("2026-11-23T01:02:03.456Z"), 1000.0),
        plate_image=picture(f"plate {name}", plate_bytes),
        original_image=picture(f"scene {name}", original_bytes) if original_bytes else None,
    )


def failure(name: str = "lost", *, at: Instant | None = None) -> ErrorRaised:
    return ErrorRaised(
        occurred_at=at or Instant(datetime.fromisoformat("2026-11-23T01:02:03.456Z"), 1000.0),
        code=ErrorCode.CAMERA_DISCONNECTED,
        message=name,
        severity=Severity.HIGH,
        gate_id="GATE_001",
    )


def status(processed: int = 0, *, at: Instant | None = None) -> ProcessingStatus:
    return ProcessingStatus(
        occurred_at=at or Instant(datetime.fromisoformat("2026-11-23T01:02:03.456Z"), 1000.0),
        state=AgentState.PROCESSING,
        active_gates=(),
        processed_count=processed,
        error_count=0,
        uptime_s=1.0,
        memory_percent=1.0,
        cpu_percent=1.0,
        agent_version="0.1.0",
        device="CPU",
        cameras=(),
        queue=QueueStatus(pending=0, bytes=0, oldest_age_s=0.0, dead_letters=0),
        clock=ClockStatus(synchronised=True, offset_ms=None),
    )


class Store(Protocol):
    """Something that outlives an outbox: opening again continues what the last one left."""

    clock_is_right: Callable[[datetime], bool]
    machine_boot: str

    async def open(self, *, boot_id: str = "boot-1", limits: OutboxLimits = ROOMY) -> Outbox: ...


class MemoryStore:
    """Rows in memory, kept from one outbox to the next."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.clock_is_right: Callable[[datetime], bool] = lambda wall: True
        self.machine_boot = "machine-boot-1"
        self._shelf = MemoryShelf()

    async def open(self, *, boot_id: str = "boot-1", limits: OutboxLimits = ROOMY) -> Outbox:
        return MemoryOutbox(
            agent_id="gate",
            boot_id=boot_id,
            clock=self._clock,
            limits=limits,
            shelf=self._shelf,
            clock_is_right=lambda wall: self.clock_is_right(wall),
            machine_boot=self.machine_boot,
        )


class SqliteStore:
    """A data directory."""

    def __init__(self, clock: Clock, data_dir: Path) -> None:
        self._clock = clock
        self.data_dir = data_dir
        self.clock_is_right: Callable[[datetime], bool] = lambda wall: True
        self.machine_boot = "machine-boot-1"

    async def open(self, *, boot_id: str = "boot-1", limits: OutboxLimits = ROOMY) -> SqliteOutbox:
        return await SqliteOutbox.open(
            self.data_dir,
            agent_id="gate",
            boot_id=boot_id,
            clock=self._clock,
            limits=limits,
            clock_is_right=lambda wall: self.clock_is_right(wall),
            machine_boot_id=self.machine_boot,
        )
