"""What a plate says, and what one frame says about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lpr.domain.frame import Image
from lpr.domain.geometry import Box, Quad

REPORTED_FROM: Final = 0.8
"""A text of less confidence, 0..1, is not reported as a plate where nothing else is configured."""


class PlateColour(StrEnum):
    """Ground colour of a plate's body."""

    WHITE = "white"
    YELLOW = "yellow"
    BLUE = "blue"
    RED = "red"
    OTHER = "other"


class VehicleType(StrEnum):
    """What carries the plate, as far as plate and rows tell."""

    CAR = "car"
    MOTORCYCLE = "motorcycle"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Correction:
    """One character that the grammar changed: place in the text from 0, what the network read, what it became."""

    position: int
    read: str
    corrected: str


@dataclass(frozen=True, slots=True)
class PlateText:
    """What a plate says, decided from one frame or from a vote over many.

    `text` is A-Z0-9Đ without separators, after correction; `raw` is the likeliest text before it. `display` is the form
    for people: `29A-123.45`, `59-X1 123.45`. `confidence` and each of `character_confidences` (one for each character
    of `text`) are 0..1. `rows` is 1 or 2. `kind` names the format (`lpr.plates` lists them), `unknown` where none fits,
    and then `valid` is false. `province` is the province's name, or None where the format has none.
    """

    text: str
    raw: str
    display: str
    confidence: float
    character_confidences: tuple[float, ...]
    rows: int
    kind: str
    valid: bool
    province: str | None = None
    corrections: tuple[Correction, ...] = ()
    vehicle_type: VehicleType = VehicleType.UNKNOWN


@dataclass(frozen=True, slots=True, eq=False)
class PlateRead:
    """One plate in one frame: where it stands, and what the networks say about it.

    `box` and `corners` are pixels of the whole frame. `probabilities` is float32 [slots, classes], each row summing to
    1: the alphabet's characters in order and the blank last; voting over frames adds these, not texts.
    `rows_probability` is the probability that the plate has two rows, `readable` the probability that it can be read
    at all; both 0..1, as is `detection_confidence`. `sharpness` is the mean absolute Laplacian of the rectified grey
    crop at the recogniser's size, in grey levels (larger is sharper). `crop` is the rectified plate at its natural
    ratio, for people. `plate` is the text from this frame alone. `top` is how many characters stand in the upper row of
    two, None where there is one row or it is not known: it tells `29C` over `272.23` from `29-C2` over `7223`.
    """

    box: Box
    corners: Quad
    detection_confidence: float
    probabilities: NDArray[np.float32]
    rows_probability: float
    colour: PlateColour
    readable: float
    sharpness: float
    crop: Image
    plate: PlateText
    top: int | None = None
