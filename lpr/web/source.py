"""What the local page must be told. The agent implements `StatusSource`; `lpr.testing.status` has one for tests.

Nothing in here may hold a secret: camera addresses, tokens and passwords stay outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from lpr.domain.events import AgentState, CameraState, ClockStatus, QueueStatus
from lpr.domain.frame import Frame
from lpr.domain.geometry import Box, Point, Quad
from lpr.domain.passage import Action, PassageOutcome
from lpr.domain.plate import VehicleType


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraView:
    """One camera as people see it.

    `decoded_fps` and `analysed_fps` are frames a second over the last seconds. `frame_age_s` is the age of the newest
    frame on the monotonic clock, None where there never was one; `last_frame_at` is when it was captured.
    `passages` counts the vehicles since the start. `detail` says in words what hinders the camera, empty where nothing
    does (`no answer from 192.168.1.100, trying again in 8 s`). `limp` says what it has to do without while it runs,
    `blind` why its pictures are not read.
    """

    camera_id: str
    name: str
    gate_name: str
    state: CameraState
    decoded_fps: float = 0.0
    analysed_fps: float = 0.0
    frame_age_s: float | None = None
    last_frame_at: datetime | None = None
    passages: int = 0
    detail: str = ""
    limp: str = ""
    blind: str = ""


@dataclass(frozen=True, slots=True)
class SeenPlate:
    """A plate in a camera's newest analysed frame: corners in frame pixels, display text (may be empty), 0..1."""

    corners: Quad
    text: str = ""
    confidence: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class CameraPicture:
    """A camera's newest analysed frame with what was found in it.

    `region` is the camera's region of interest as fractions of the frame, empty where it is all of it.
    """

    frame: Frame
    plates: tuple[SeenPlate, ...] = ()
    region: tuple[Point, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingView:
    """A text that belongs to a camera's scene and is not reported: a sign, a poster, a parked car.

    `text` names it among the camera's, `display` is for people, `place` is where it stands, in pixels of the frame.
    """

    camera_id: str
    camera_name: str
    text: str
    display: str
    place: Box
    since: datetime
    last_seen: datetime


class DeliveryState(StrEnum):
    """Where a passage's event is."""

    WAITING = "waiting"
    """On this disk, not yet acknowledged."""
    DELIVERED = "delivered"
    REJECTED = "rejected"
    """Refused for good: it lies among the dead letters."""
    DROPPED = "dropped"
    """Given up by a stated limit, or never stored because nothing could be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PassageView:
    """One vehicle that passed. `plate` is the display form; `kind` names the plate's format; `confidence` is 0..1."""

    passage_id: str
    camera_id: str
    gate_name: str
    plate: str
    outcome: PassageOutcome
    confidence: float
    action: Action
    vehicle_type: VehicleType
    occurred_at: datetime
    delivery: DeliveryState
    kind: str = "unknown"
    province: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkView:
    """The link to the back-end. `words` is one sentence (`no answer from api.example.vn, trying again in 12 s`)."""

    up: bool
    words: str
    since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusView:
    """Everything on the page but the passages and the pictures.

    `device` is what really executes (`CPU`, `GPU.0`), in the words of OpenVINO. `warnings` are sentences for the
    operator, each with what to do; `queue_trouble` says why events are not stored for good, and is empty where they
    are. CPU and memory are percent of this machine.
    """

    agent_id: str
    version: str
    state: AgentState
    uptime_s: float
    device: str
    link: LinkView
    queue: QueueStatus
    clock: ClockStatus
    cpu_percent: float
    memory_percent: float
    cameras: tuple[CameraView, ...] = ()
    queue_trouble: str = ""
    warnings: tuple[str, ...] = field(default=())


class StatusSource(Protocol):
    """What the agent tells the page. All of it is asked in the event loop; what is not awaited must return at once."""

    def status(self) -> StatusView:
        """The agent as it stands; asked about once a second while somebody looks."""
        ...

    def passages(self, limit: int) -> Sequence[PassageView]:
        """The newest passages, newest first, at most `limit`."""
        ...

    def camera_picture(self, camera_id: str) -> CameraPicture | None:
        """A camera's newest analysed frame, or None where there is none (or no such camera)."""
        ...

    def passage_crop(self, passage_id: str) -> bytes | None:
        """The plate of one of the newest passages as JPEG, or None where it is no longer held."""
        ...

    def standing(self) -> Sequence[StandingView]:
        """The texts that were learnt to belong to the cameras' scenes, those of one camera together."""
        ...

    async def forget_standing(self, camera_id: str, text: str) -> bool:
        """A person says that `text` is to be reported again; kept over a restart. False where there is no such text."""
        ...
