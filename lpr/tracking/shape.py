"""What shape whole plates have before this camera, learnt from those that were read for certain.

A plate whose end is covered, by the rider behind or by a post, reads as a shorter plate, and some shorter plates are
right: `60-Z4 426.47` without its last column is a car's `60Z-4264`. What gives it away is that it is too narrow for its
height. How narrow whole plates are depends on where the camera hangs, so it is learnt.
"""

from __future__ import annotations

import math
from typing import Final

from lpr.domain.plate import PlateText, VehicleType

MIN_SAMPLES: Final = 4
MEMORY: Final = 0.05
CUT: Final = {1: 0.08, 2: 0.11}
"""Natural logarithm of width by height that a cut plate lacks at least: three quarters of a character, by rows."""
SPREADS: Final = 2.0
FIRST_SPREAD: Final = 0.06
SHORT_NUMBER: Final = 4
"""Plates with so few digits are issued no more, and a covered five-digit plate looks like one."""


class Shapes:
    """Mean and spread of the shape of whole plates, by rows and vehicle."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, VehicleType], tuple[int, float, float]] = {}

    def learn(self, text: PlateText, log_ratio: float) -> None:
        """A whole plate, read for certain, had this natural logarithm of width by height."""
        key = (text.rows, text.vehicle_type)
        count, mean, variance = self._known.get(key, (0, log_ratio, FIRST_SPREAD**2))
        gain = max(MEMORY, 1 / (count + 1))
        step = log_ratio - mean
        self._known[key] = (count + 1, mean + gain * step, variance + max(MEMORY, gain / 2) * (step * step - variance))

    def looks_cut(self, text: PlateText, log_ratio: float) -> bool:
        """Whether a plate that may be a part of a longer one is too narrow to be whole.

        Measured by the narrowest kind that this camera knows with so many rows: what vehicle it is, a cut text tells
        wrongly. False where too little is known.
        """
        if text.valid and not is_short(text.text):
            return False
        whole = [
            mean - max(CUT[text.rows], SPREADS * math.sqrt(variance))
            for (rows, _), (count, mean, variance) in self._known.items()
            if rows == text.rows and count >= MIN_SAMPLES
        ]
        return bool(whole) and log_ratio < min(whole)


def is_short(text: str) -> bool:
    """Whether `text` ends in four digits or fewer."""
    return len(text) - len(text.rstrip("0123456789")) <= SHORT_NUMBER


def has_short_number(text: PlateText) -> bool:
    """Whether `text` is a plate whose number has four digits: only one of five is shown with a dot."""
    return text.valid and "." not in text.display
