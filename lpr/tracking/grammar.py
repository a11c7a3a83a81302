"""The text of a vote, within the formats of Vietnamese plates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lpr.domain.plate import PlateText
from lpr.plates.decode import decode


def decide(probabilities: NDArray[np.float32], two_rows: float, top: int | None = None) -> PlateText:
    """What voted `probabilities`, float32 [slots, classes], say.

    `two_rows` is the probability of two rows, `top` the characters in the upper one where frames could tell.
    """
    return decode(probabilities, 2, top=top) if two_rows >= 0.5 else decode(probabilities, 1)
