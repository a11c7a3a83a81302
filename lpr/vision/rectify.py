"""A plate's four corners to a straight picture of it: for the recognizer, and for people."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from lpr.domain.frame import Image
from lpr.domain.geometry import Quad
from lpr.vision.opencv import load_cv2

MAX_CROP_WIDTH_PX = 400
"""Of the picture for people: sharper plates than that are shrunk, smaller ones stay as they are."""
MIN_CROP_SIDE_PX = 8
DISPLAY_MARGIN = 0.05
"""What such a picture shows around the plate, in parts of its sides."""
ASKEW = 0.04
"""From this part of a crop's sides on that a corner is off, the plate is cut out again."""
FARTHEST = 0.3
"""Corners that are said to be farther off are not believed."""
COARSE = 2.5
"""From this many frame pixels a crop pixel on, the frame is averaged first; below, training does not either."""


def corner_points(quad: Quad) -> NDArray[np.float32]:
    """float32 [4, 2], clockwise from the top left."""
    return np.array(quad.points, np.float32)


def sides_px(quad: Quad) -> tuple[float, float]:
    """Width and height of the plate as it is seen: means of opposite sides, in pixels."""
    p = corner_points(quad)
    width = (math.dist(p[0], p[1]) + math.dist(p[3], p[2])) / 2
    height = (math.dist(p[0], p[3]) + math.dist(p[1], p[2])) / 2
    return width, height


def rectify(image: Image, quad: Quad, size: tuple[int, int], margin: float) -> Image:
    """Cut the plate out of `image`, stretched to `size` (width, height) with `margin` of its sides shown around it.

    `quad` is in pixels of `image` and may reach beyond it: the border's pixels are repeated there. The result is
    uint8 size[1] x size[0] x 3.
    """
    cv2 = load_cv2()
    corners = corner_points(quad)
    width, height = sides_px(quad)
    factor = min(width / size[0], height / size[1]) * (1 + 2 * margin)
    if factor > COARSE:
        image, corners = _averaged(image, corners, 2 / factor)
    matrix = cv2.getPerspectiveTransform(corners, corners_home(margin) * np.array(size, np.float32))
    crop = cv2.warpPerspective(image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(crop, np.uint8)


def corners_home(margin: float) -> NDArray[np.float32]:
    """Where a plate's corners lie in a crop that shows `margin` of its sides around it: float32 [4, 2], fractions."""
    near = margin / (1 + 2 * margin)
    far = 1 - near
    return np.array([[near, near], [far, near], [far, far], [near, far]], np.float32)


def cut_again(quad: Quad, corners: NDArray[np.float32], margin: float) -> Quad | None:
    """The corners in the picture of a plate that lies in the crop of `quad` at `corners` (float32 [4, 2], fractions).

    None where that is near enough to where they should be, and where they are no corners of a plate.
    """
    cv2 = load_cv2()
    home = corners_home(margin)
    off = float(np.abs(corners - home).max())
    if not ASKEW <= off <= FARTHEST or not cv2.isContourConvex(corners):
        return None
    matrix = cv2.getPerspectiveTransform(home, corner_points(quad))
    points = np.asarray(cv2.perspectiveTransform(corners[None], matrix)[0], np.float64)
    if not np.isfinite(points).all():
        return None
    return Quad(*((x, y) for x, y in points.tolist()))


def display_crop(image: Image, quad: Quad, margin: float = DISPLAY_MARGIN) -> Image:
    """The straightened plate at the ratio and size in which it is seen, for people (uint8 H x W x 3)."""
    width, height = sides_px(quad)
    shrink = min(1.0, MAX_CROP_WIDTH_PX / max(width, height, 1.0))
    size = tuple(max(MIN_CROP_SIDE_PX, round(side * shrink * (1 + 2 * margin))) for side in (width, height))
    return rectify(image, quad, (size[0], size[1]), margin)


def sharpness(crop: Image) -> float:
    """Mean absolute Laplacian of the grey crop, in grey levels; larger is sharper."""
    cv2 = load_cv2()
    grey = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY)
    return float(np.abs(cv2.Laplacian(grey, cv2.CV_16S)).mean())


def grown(quad: Quad, by: float, dx: float = 0.0, dy: float = 0.0) -> Quad:
    """The quad `by` times as large around its middle, moved by parts of its own width and height."""
    p = corner_points(quad)
    middle = p.mean(axis=0)
    across, down = (p[1] + p[2] - p[0] - p[3]) / 2, (p[2] + p[3] - p[0] - p[1]) / 2
    moved = (p - middle) * by + middle + across * dx + down * dy
    return Quad(*((float(x), float(y)) for x, y in moved))


def _averaged(image: Image, corners: NDArray[np.float32], scale: float) -> tuple[Image, NDArray[np.float32]]:
    """The part of `image` around `corners`, shrunk by averaging, and the corners in it."""
    cv2 = load_cv2()
    reach = 0.15 * (corners.max(axis=0) - corners.min(axis=0)) + 2
    limit = np.array([image.shape[1], image.shape[0]], np.float32)
    low = np.floor(np.clip(corners.min(axis=0) - reach, 0, limit - 1)).astype(int)
    high = np.ceil(np.clip(corners.max(axis=0) + reach, low + 1, limit)).astype(int)
    part = image[low[1] : high[1], low[0] : high[0]]
    sides = [max(1, round(side * scale)) for side in (part.shape[1], part.shape[0])]
    small = np.asarray(cv2.resize(part, sides, interpolation=cv2.INTER_AREA), np.uint8)
    factors = np.array([sides[0] / part.shape[1], sides[1] / part.shape[0]], np.float32)
    return small, ((corners - low) * factors).astype(np.float32)
