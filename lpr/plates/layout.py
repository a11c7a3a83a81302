"""Where the rows of a plate break, from where the recogniser looked for each character."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from lpr.plates.alphabet import BLANK

_LEAST_RETURN: Final = 0.15
"""A new row starts where the next character stands at least this share of the crop further left."""


def upper_row(places: NDArray[np.float32], probabilities: NDArray[np.float32]) -> int | None:
    """How many characters stand in the upper row of a two-row plate, or None where the places do not tell.

    `places` is float32 [slots, 2], the recogniser's output of that name: x and y of each character as shares of the
    crop. `probabilities` [slots, classes] say which slots hold a character. It is what tells a car's `59X 123.45` from
    an old motorbike's `59-X1 2345`; pass it to `lpr.plates.decode.decode` as `top`. Ask only where the plate has two
    rows: one row has no break and gives None.
    """
    empty = np.flatnonzero(probabilities.argmax(axis=1) == BLANK)
    count = int(empty[0]) if len(empty) else len(probabilities)
    if count < 2:
        return None
    steps = np.diff(places[:count, 0])
    at = int(np.argmin(steps))
    if steps[at] > -_LEAST_RETURN or places[at + 1, 1] <= places[at, 1]:
        return None
    return at + 1
