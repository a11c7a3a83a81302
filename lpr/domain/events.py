"""What the agent tells the back-end. The contract's names for all this are in `lpr.wire` and nowhere else."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeAlias

from lpr.domain.clock import Instant
from lpr.domain.geometry import Box
from lpr.domain.passage import Action
from lpr.domain.plate import PlateColour, PlateText, VehicleType


@dataclass(frozen=True, slots=True)
class Jpeg:
    """A compressed picture: its bytes, its size in pixels, and the checksum of the bytes as they were at first."""

    data: bytes = field(repr=False)
    width: int
    height: int
    checksum: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "checksum", checksum(self.data))


_ZLIB_KEEPS_LOCK = 5 * 1024


def checksum(data: bytes) -> int:
    """CRC-32, in pieces so small that zlib keeps the interpreter's lock: to win it back would take longer than all of
    them.
    """
    crc, view = 0, memoryview(data)
    for start in range(0, len(data), _ZLIB_KEEPS_LOCK):
        crc = zlib.crc32(view[start : start + _ZLIB_KEEPS_LOCK], crc)
    return crc


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """Weather at the gate, as configured or set by a command; temperature in degrees Celsius, humidity in %."""

    condition: str | None = None
    temperature: float | None = None
    humidity: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlateDetected:
    """A vehicle passed and its plate was read.

    `occurred_at` is when the best frame was captured. `bounding_box` is in pixels of `original_image`, or of the
    captured frame where that image is absent. `processing_ms` runs from capture of that frame to the decision. `colour`
    is the plate's ground, `OTHER` where the pictures do not tell.
    """

    occurred_at: Instant
    passage_id: str
    gate_id: str
    gate_name: str
    camera_id: str
    camera_name: str
    camera_host: str
    action: Action
    plate: PlateText
    vehicle_type: VehicleType
    bounding_box: Box
    plate_image: Jpeg
    original_image: Jpeg | None
    processing_ms: float
    first_seen_at: datetime
    last_seen_at: datetime
    frames_read: int
    weather: Weather | None = None
    colour: PlateColour = PlateColour.OTHER


class Severity(StrEnum):
    """How urgent an error is."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class ErrorCode(StrEnum):
    """Every code of the contract."""

    CAMERA_DISCONNECTED = "CAMERA_DISCONNECTED"
    CAMERA_RECOVERED = "CAMERA_RECOVERED"
    PROCESSING_ERROR = "PROCESSING_ERROR"
    MODEL_ERROR = "MODEL_ERROR"
    DEVICE_FALLBACK = "DEVICE_FALLBACK"
    PLATE_UNREADABLE = "PLATE_UNREADABLE"
    QUEUE_NEAR_FULL = "QUEUE_NEAR_FULL"
    QUEUE_OVERFLOW = "QUEUE_OVERFLOW"
    QUEUE_CORRUPT = "QUEUE_CORRUPT"
    DISK_LOW = "DISK_LOW"
    CLOCK_SKEW = "CLOCK_SKEW"
    EVENT_REJECTED = "EVENT_REJECTED"
    CONFIG_REJECTED = "CONFIG_REJECTED"
    SERVER_ERROR = "SERVER_ERROR"


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorRaised:
    """Something went wrong (or recovered) that the back-end should know.

    `details` holds JSON values under the contract's own names. `plate_image` and `original_image` are carried for
    `PLATE_UNREADABLE` and appear inside the details on the wire.
    """

    occurred_at: Instant
    code: ErrorCode
    message: str
    severity: Severity
    gate_id: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    plate_image: Jpeg | None = None
    original_image: Jpeg | None = None


class AgentState(StrEnum):
    """What the agent is doing."""

    IDLE = "idle"
    PROCESSING = "processing"
    ERROR = "error"


class CameraState(StrEnum):
    """What one camera is doing."""

    STOPPED = "stopped"
    CONNECTING = "connecting"
    RUNNING = "running"
    LOST = "lost"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraStatus:
    """One camera's state; `analysed_fps` is frames analysed a second over the last seconds."""

    camera_id: str
    gate_id: str
    state: CameraState
    analysed_fps: float
    last_frame_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStatus:
    """The disk queue in numbers; `oldest_age_s` is 0 where nothing waits.

    Of the events that wait, `unwritten` are held in memory because the disk takes none; `fault` says why it does not,
    in words, also where nothing waits.
    """

    pending: int
    bytes: int
    oldest_age_s: float
    dead_letters: int
    unwritten: int = 0
    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockStatus:
    """Whether the wall clock is known to be right, and how far it stands from the back-end's where that is known."""

    synchronised: bool
    offset_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessingStatus:
    """The agent's state in numbers; memory and CPU in percent of this machine."""

    occurred_at: Instant
    state: AgentState
    active_gates: tuple[str, ...]
    processed_count: int
    error_count: int
    uptime_s: float
    memory_percent: float
    cpu_percent: float
    agent_version: str
    device: str
    cameras: tuple[CameraStatus, ...]
    queue: QueueStatus
    clock: ClockStatus


StoredEvent: TypeAlias = PlateDetected | ErrorRaised
"""Events that carry a sequence number and are never dropped in silence."""

Event: TypeAlias = PlateDetected | ErrorRaised | ProcessingStatus
