"""Whether anything moved since a frame was last looked at: cheap, so that an idle scene costs next to nothing.

The part of the frame that counts is reduced to a coarse grid of mean brightness and compared with the grid of the frame
that was analysed last, not with the one before, so that what creeps is noticed as well. A change of the whole picture's
brightness (a cloud, the camera's gain) is taken out first; what is left must exceed the picture's own noise, in single
cells (a plate that moves) or less strongly over several together (a dark car on a dark road).

Whatever is doubtful counts as motion, for a frame that is looked at in vain costs milliseconds, and a vehicle that is
hidden is lost: where the whole picture is restless (heavy rain, a pole in the wind, trees) every frame is looked at.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lpr.domain.frame import Image
from lpr.domain.geometry import Box
from lpr.vision.opencv import load_cv2

GRID = (96, 54)
"""Columns and rows: a cell of a 1080p frame is 20 pixels wide, half of the smallest plate that is read."""
STEP_PX = 4
"""Every fourth pixel of every fourth row is enough for a mean."""
MIN_CHANGE = 5.0
"""Grey levels. Less is a codec's breathing."""
NOISE_FACTOR = 6.0
"""Times the median absolute change: what a picture's noise practically never reaches."""
MIN_CELLS = 2
"""One cell alone is an insect or a dead pixel."""
BROAD = 5
"""Cells on a side that are taken together for what is large and faint: their noise is a fifth of one cell's."""
MIN_BROAD_CHANGE = 2.5
"""Grey levels; a codec's breathing, too, is less over so many cells."""
RESTLESS = 2.5
"""Median absolute change, grey levels, from which on the picture itself is in motion and nothing can be told apart."""


class MotionGate:
    """Remembers one camera's scene; one that stands still is analysed every `look_every_s` seconds all the same."""

    def __init__(self, look_every_s: float = 1.0) -> None:
        self._look_every_s = look_every_s
        self._seen: NDArray[np.float32] | None = None
        self._looked_at_s = float("-inf")
        self.moved_at_s = float("-inf")
        """When something had moved last."""

    def open_for(self, image: Image, bounds: Box, at_s: float) -> bool:
        """Whether the frame should be analysed; if so it becomes what the next ones are compared with.

        `image` is uint8 H x W x 3 (BGR), `bounds` the part that counts, in pixels, `at_s` seconds on any clock that
        does not go back.
        """
        grid = coarse(image, bounds)
        if self._seen is None or moved(self._seen, grid):
            self.moved_at_s = at_s
        elif at_s - self._looked_at_s < self._look_every_s:
            return False
        self._seen, self._looked_at_s = grid, at_s
        return True


def coarse(image: Image, bounds: Box) -> NDArray[np.float32]:
    """Mean brightness (green) of each cell, float32 [rows, columns]; smaller pictures give smaller grids."""
    part = image[int(bounds.y) : int(bounds.bottom) : STEP_PX, int(bounds.x) : int(bounds.right) : STEP_PX, 1]
    size = (min(GRID[0], part.shape[1]), min(GRID[1], part.shape[0]))
    cv2 = load_cv2()
    return np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.float32)


def moved(before: NDArray[np.float32], after: NDArray[np.float32]) -> bool:
    """Whether something differs between two grids; always where their sizes do."""
    if before.shape != after.shape:
        return True
    change = after - before
    change -= np.median(change)
    size = np.abs(change)
    noise = float(np.median(size))
    if noise > RESTLESS or np.count_nonzero(size > max(MIN_CHANGE, NOISE_FACTOR * noise)) >= MIN_CELLS:
        return True
    broad = np.abs(load_cv2().blur(change, (BROAD, BROAD)))
    limit = max(MIN_BROAD_CHANGE, NOISE_FACTOR * float(np.median(broad)))
    return int(np.count_nonzero(broad > limit)) >= BROAD
