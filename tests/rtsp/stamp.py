"""Reads the monotonic time that `gst_server.py` paints into its pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BLOCK_PX = 12
BLOCKS_A_ROW = 24
BITS = 48


def stamp_s(image: NDArray[np.uint8]) -> float:
    """When this picture was made, on this machine's monotonic clock, in seconds."""
    bits = range(BITS)
    rows = [bit // BLOCKS_A_ROW * BLOCK_PX + BLOCK_PX // 2 for bit in bits]
    columns = [bit % BLOCKS_A_ROW * BLOCK_PX + BLOCK_PX // 2 for bit in bits]
    white = image[rows, columns, 1] > 125
    return sum(1 << bit for bit, set_ in enumerate(white) if set_) / 1e6
