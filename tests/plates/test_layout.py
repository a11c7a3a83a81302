"""The break between two rows, from where each character stands."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from lpr.plates.alphabet import BLANK, CLASSES, SLOTS
from lpr.plates.layout import upper_row


def probabilities(count: int) -> NDArray[np.float32]:
    """`count` slots with a character, blanks behind them."""
    slots = np.zeros((SLOTS, CLASSES), np.float32)
    slots[:count, 1] = 1
    slots[count:, BLANK] = 1
    return slots


def places(upper: int, lower: int, tilt: float = 0.0) -> NDArray[np.float32]:
    """Characters in two rows over the crop; `tilt` is how much the right side hangs lower."""
    points = [(0.15 + 0.7 * i / max(1, upper - 1), 0.3) for i in range(upper)]
    points += [(0.1 + 0.8 * i / max(1, lower - 1), 0.7) for i in range(lower)]
    points += [(0.5, 0.5)] * (SLOTS - upper - lower)
    return np.array([(x, y + tilt * x) for x, y in points], np.float32)


@pytest.mark.parametrize(("upper", "lower"), [(3, 5), (4, 4), (4, 5), (5, 5), (2, 4), (3, 4)])
@pytest.mark.parametrize("tilt", [-0.2, 0.0, 0.3])
def test_the_row_breaks_where_the_next_character_stands_left_below(upper: int, lower: int, tilt: float) -> None:
    assert upper_row(places(upper, lower, tilt), probabilities(upper + lower)) == upper


def test_one_row_has_no_break() -> None:
    line = np.array([(0.05 + 0.1 * i, 0.5) for i in range(SLOTS)], np.float32)
    assert upper_row(line, probabilities(8)) is None


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_characters_tell_nothing(count: int) -> None:
    assert upper_row(places(4, 5), probabilities(count)) is None


def test_slots_without_a_character_do_not_speak() -> None:
    spread = places(3, 5)
    spread[8:] = [(0.0, 0.9), (0.9, 0.95)]
    assert upper_row(spread, probabilities(8)) == 3
