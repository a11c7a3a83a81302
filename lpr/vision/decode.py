"""The detector's raw output to detections. Pure numpy: runs anywhere, tested on tiny arrays.

The network answers with one row of 13 numbers a cell: confidence 0..1, the box (left, top, right, bottom) and the four
corners (x, y; clockwise from the plate's own top left), all in pixels of the network's input. Several cells around a
plate's middle answer for it; the surest wins, and those that agree with it steady its corners.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lpr.domain.errors import VisionError
from lpr.domain.geometry import Box, Quad
from lpr.vision.base import Detection
from lpr.vision.preprocess import Letterbox

NUMBERS = 13
MAX_CANDIDATES = 256
"""Cells looked at, surest first: a picture full of noise costs no more than that."""
MAX_DETECTIONS = 32
SAME_PLATE_IOU = 0.45
"""Boxes that overlap more are one plate."""
AGREEING_IOU = 0.75
"""Cells whose boxes overlap the winner's more than that have a say in its corners."""


def decode(output: NDArray[np.float32], place: Letterbox, min_confidence: float) -> tuple[Detection, ...]:
    """Turn `output` (float32 [1, 13, rows, columns]) into detections in pixels of the picture, surest first.

    Cells under `min_confidence` (0..1) are left out, as are cells with numbers that are none. Raises `VisionError`
    where the shape is another.
    """
    if output.ndim != 4 or output.shape[:2] != (1, NUMBERS):
        raise VisionError(f"the detector answered with shape {output.shape} instead of (1, {NUMBERS}, rows, columns)")
    cells = output[0].reshape(NUMBERS, -1).T
    cells = cells[cells[:, 0] >= min_confidence]
    cells = cells[np.isfinite(cells).all(axis=1)]
    if not len(cells):
        return ()
    cells = cells[np.argsort(-cells[:, 0], kind="stable")][:MAX_CANDIDATES]
    return tuple(_detection(cluster, place) for cluster in clusters(cells))


def clusters(cells: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Split `cells` ([n, 13], surest first) into those that speak of one plate each, winner first in each."""
    found: list[NDArray[np.float32]] = []
    while len(cells) and len(found) < MAX_DETECTIONS:
        overlap = iou(cells[0, 1:5], cells[:, 1:5])
        overlap[0] = 1.0  # a box without area overlaps nothing, itself included
        found.append(cells[overlap >= AGREEING_IOU])
        cells = cells[overlap < SAME_PLATE_IOU]
    return found


def iou(box: NDArray[np.float32], boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union of `box` [4] with each of `boxes` [n, 4] (left, top, right, bottom)."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=1)
    areas = np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None), axis=1)
    own = np.prod(np.clip(box[2:] - box[:2], 0, None))
    overlap: NDArray[np.float32] = (shared / np.maximum(areas + own - shared, 1e-6)).astype(np.float32)
    return overlap


def _detection(cluster: NDArray[np.float32], place: Letterbox) -> Detection:
    """The mean of a cluster, each cell weighing as much as it is sure."""
    weights = cluster[:, 0] / cluster[:, 0].sum()
    points = place.to_picture((weights @ cluster[:, 1:]).reshape(6, 2))
    (left, top), (right, bottom) = points[0].tolist(), points[1].tolist()
    corners = [(float(x), float(y)) for x, y in points[2:]]
    box = Box(left, top, max(0.0, right - left), max(0.0, bottom - top))
    return Detection(box, Quad(*corners), float(cluster[0, 0]))
