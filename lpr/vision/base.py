"""What the rest of the vision package speaks: detections, recognitions, and who makes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lpr.domain.frame import Image
from lpr.domain.geometry import Box, Quad
from lpr.domain.plate import PlateColour
from lpr.metrics import Stage
from lpr.plates.layout import upper_row


@dataclass(frozen=True, slots=True)
class Detection:
    """A plate found: its box and corners in pixels of the picture, and how sure the network is, 0..1.

    Both may reach beyond the picture where the plate does.
    """

    box: Box
    corners: Quad
    confidence: float


@dataclass(frozen=True, slots=True, eq=False)
class Recognition:
    """What the recognizer says about one straightened plate.

    `probabilities` is float32 [slots, classes], rows summing to 1: the alphabet in order, the blank last.
    `two_rows` and `readable` are probabilities 0..1; `colours` gives one to each colour it knows. `places` is float32
    [slots, 2]: where in the crop each slot looked, x and y, 0..1; `corners` float32 [4, 2]: where the plate's corners
    lie in it, in the same form, clockwise from the top left. Either is None where the network does not tell.
    """

    probabilities: NDArray[np.float32]
    two_rows: float
    colours: dict[PlateColour, float]
    readable: float
    places: NDArray[np.float32] | None = None
    corners: NDArray[np.float32] | None = None

    @property
    def colour(self) -> PlateColour:
        """The likeliest colour."""
        return max(self.colours, key=lambda colour: self.colours[colour])

    @property
    def top(self) -> int | None:
        """How many characters stand in the upper row; None where there is one row, or no telling."""
        if self.places is None or self.two_rows < 0.5:
            return None
        return upper_row(self.places, self.probabilities)


class PlateDetector(Protocol):
    """Finds plates in a picture."""

    @property
    def min_confidence(self) -> float:
        """From so much confidence, 0..1, on a thing is called a plate."""
        ...

    async def detect(self, image: Image, min_confidence: float | None = None) -> tuple[Detection, ...]:
        """The plates in `image` (uint8 H x W x 3, BGR), surest first; empty where none is. Raises `VisionError`.

        `min_confidence` 0..1 is a threshold other than the detector's own.
        """
        ...


class PlateRecognizer(Protocol):
    """Reads straightened plates."""

    @property
    def crop_size(self) -> tuple[int, int]:
        """Width and height of the crops it reads, in pixels."""
        ...

    @property
    def crop_margin(self) -> float:
        """Part of the plate's side that a crop shows beyond the plate, on each side."""
        ...

    async def read(self, crops: Sequence[Image]) -> tuple[Recognition, ...]:
        """What each crop (uint8 H x W x 3, BGR, of `crop_size`) says. Raises `VisionError`."""
        ...


class StageTimer(Protocol):
    """Is told how long each step took; `lpr.metrics.Metrics` is one."""

    def stage(self, stage: Stage, milliseconds: float) -> None:
        """`stage` took so long once."""
        ...
