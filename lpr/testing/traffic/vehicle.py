"""What drives: a kind of vehicle, and one vehicle with its plate and its way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Body:
    """A kind of vehicle: its plate and what covers the view behind it, in metres."""

    plate_width: float
    plate_height: float
    plate_above_ground: float
    body_width: float
    body_height: float


CAR: Final = Body(0.52, 0.11, 0.6, 1.75, 1.5)
CAR_SHORT_PLATE: Final = Body(0.33, 0.165, 0.8, 1.75, 1.5)
MOTORBIKE: Final = Body(0.19, 0.14, 0.75, 0.62, 1.65)


@dataclass(frozen=True, slots=True, eq=False)
class Vehicle:
    """One vehicle and its way: `times_s`, `x_m` (right of the camera) and `z_m` (away from it), in step.

    `damage` takes from each character's margin in every frame, `ceiling` bounds it however near the vehicle comes, and
    `mistaken` is what each is then taken for. `murk` takes from all of them: mud, a bent plate. `slips` is how often,
    0..1, one and the same character is lost (`slip` gives its place) or seen twice (its place below zero).
    """

    identity: int
    text: str
    rows: int
    top: int
    body: Body
    times_s: NDArray[np.float64]
    x_m: NDArray[np.float64]
    z_m: NDArray[np.float64]
    damage: NDArray[np.float64]
    ceiling: NDArray[np.float64]
    mistaken: str
    murk: float = 0.0
    slips: float = 0.0
    slip: int = 0

    @property
    def start_s(self) -> float:
        """When it comes into being, seconds from the beginning."""
        return float(self.times_s[0])

    @property
    def end_s(self) -> float:
        """When it is gone."""
        return float(self.times_s[-1])
