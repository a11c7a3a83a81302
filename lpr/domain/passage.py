"""A vehicle that passed, and how it moved."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lpr.domain.clock import Instant
from lpr.domain.frame import Frame
from lpr.domain.plate import PlateColour, PlateRead, PlateText, VehicleType


class Action(StrEnum):
    """Which way the vehicle goes through the gate; the wire knows these two and no other."""

    ENTRY = "entry"
    EXIT = "exit"


class ActionRule(StrEnum):
    """How a camera decides the action: always one of the two, or from the way the plate moves."""

    ENTRY = "entry"
    EXIT = "exit"
    AUTO = "auto"


class PassageOutcome(StrEnum):
    """Why a passage was handed on."""

    READ = "read"
    """The vote settled: this plate passed."""
    UNREADABLE = "unreadable"
    """A vehicle passed, and no read was good enough; `plate` is the best guess."""


@dataclass(frozen=True, slots=True, eq=False)
class Passage:
    """One vehicle past one camera, decided.

    `best_frame` and `best_read` are the sharpest, largest view so far. `decided_at` is when the vote settled;
    `first_seen`, `last_seen` and `best_frame.captured_at` are times of capture. `frames_read` counts the frames that
    took part in the vote.
    """

    passage_id: str
    camera_id: str
    outcome: PassageOutcome
    plate: PlateText
    colour: PlateColour
    vehicle_type: VehicleType
    action: Action
    best_frame: Frame
    best_read: PlateRead
    first_seen: Instant
    last_seen: Instant
    decided_at: Instant
    frames_read: int
