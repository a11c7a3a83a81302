"""What the back-end may ask of the agent, already understood; `lpr.wire` turns the contract's JSON into these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class CameraSelection:
    """Which cameras a command means; both empty means all of them."""

    camera_ids: tuple[str, ...] = ()
    gate_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StartProcessing:
    """Start analysing the selected cameras."""

    cameras: CameraSelection = field(default_factory=CameraSelection)


@dataclass(frozen=True, slots=True)
class StopProcessing:
    """Stop the selected cameras; their capture threads end."""

    cameras: CameraSelection = field(default_factory=CameraSelection)


@dataclass(frozen=True, slots=True)
class UpdateConfig:
    """Change the configuration at run time. `changes` is a partial configuration with the wire's camelCase names."""

    changes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class GetStatus:
    """Answer with the processing status."""


@dataclass(frozen=True, slots=True)
class CaptureSnapshot:
    """Answer with the newest frame of a camera."""

    camera_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRange:
    """Events from one sequence to another, and from one time to another, both ends included; None is an open end.

    The time is the event's own: when the vehicle passed, not when that was stored or sent.
    """

    from_sequence: int | None = None
    to_sequence: int | None = None
    from_time: datetime | None = None
    to_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class ReplayEvents:
    """Send delivered events again, of those that are still kept."""

    events: EventRange = field(default_factory=EventRange)


Command: TypeAlias = StartProcessing | StopProcessing | UpdateConfig | GetStatus | CaptureSnapshot | ReplayEvents


@dataclass(frozen=True, slots=True)
class CommandRequest:
    """A command with what delivery adds: an id that makes repeats harmless, and a time after which it is void."""

    name: str
    command: Command
    command_id: str | None = None
    expires_at: datetime | None = None


class ReplyStatus(StrEnum):
    """How a command ended."""

    OK = "ok"
    ERROR = "error"
    DUPLICATE = "duplicate"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandReply:
    """The answer to a command; `message` names the field and what it must be where `status` is an error."""

    status: ReplyStatus
    command_id: str | None = None
    message: str = ""
    code: str | None = None
    data: Mapping[str, Any] | None = None
