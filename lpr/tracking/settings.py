"""What a camera's tracker may be told, with the reason for each number."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from lpr.domain.choices import EmitRule
from lpr.domain.geometry import Box, Point
from lpr.domain.passage import Action, ActionRule
from lpr.domain.plate import REPORTED_FROM, PlateText

Decide: TypeAlias = Callable[[NDArray[np.float32], float, int | None], PlateText]
"""Turns voted probabilities, float32 [slots, classes], the probability of two rows, and the number of characters in the
upper one (None where nobody could tell) into the best text."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line across the lane, in fractions of the frame.

    Stand at `start` and look at `end`: a vehicle that goes from your left hand to your right enters. In a picture, a
    line drawn from left to right is crossed inwards by what moves down.
    """

    start: Point
    end: Point


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackingSettings:
    """One camera's rules. Lengths that are not in pixels are in *plate sizes*: the root of a plate's area."""

    camera_id: str

    action: ActionRule = ActionRule.ENTRY
    default_action: Action = Action.ENTRY
    """Used with `auto` where motion does not tell."""
    approach_is: Action = Action.ENTRY
    """With `auto` and no line: what a plate that comes nearer does."""
    line: Line | None = None
    direction_wait_s: float = 1.0
    """With `auto`: a settled vote waits this long for the motion to tell; a barrier cannot wait for ever."""

    roi: tuple[Point, ...] = ()
    """Polygon in fractions of the frame; plates whose centre is outside are not looked at. Empty: everything."""

    emit: EmitRule = EmitRule.SETTLED
    min_confidence: float = REPORTED_FROM
    min_frames: int = 2
    min_agreement: float = 0.5
    """Share of the (weighted) frames that must have read the voted text by themselves."""
    min_margin: float = 1.5
    """Natural logarithm of the odds between the voted text and the same with its weakest character changed."""
    min_width_px: float = 36.0
    """Narrower plates are tracked but do not settle: below this characters are 4 pixels wide."""
    single_frame_confidence: float = 0.83
    """A vehicle that was seen in one frame only (two frames a second, or a folder of photographs)."""

    max_gap_s: float = 2.0
    """A vehicle out of sight for longer is a new one; the repeat guard still knows its plate."""
    invalid_wait_s: float = 1.5
    """A text outside the grammar is not settled before the plate has been in sight for so long."""
    unreadable_min_frames: int = 3
    """A vehicle that could not be read is reported where its plate was seen whole in so many frames; in two, where its
    text is within the grammar and only the confidence was lacking."""
    unreadable_hold_s: float = 3.0
    """How long an unread vehicle waits for a read of the same vehicle that explains it."""

    standing_after_s: float = 900.0
    """Text that stands still for so long belongs to the scene and is learnt."""
    standing_forget_s: float = 86_400.0
    """A learnt text that was not seen for so long is forgotten."""

    max_tracks: int = 32
    """The oldest unseen tracks are closed beyond this; each may hold a frame."""


def plate_size(box: Box) -> float:
    """Root of the area of `box` in pixels, at least 1: the unit that motion is measured in."""
    return math.sqrt(max(1.0, box.area))
