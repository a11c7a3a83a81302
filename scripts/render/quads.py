"""Corners and boxes of plates in a picture: float32 [n, 4, 2] clockwise from the plate's own top left, and [n, 4]."""

from __future__ import annotations

from typing import TypeAlias

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]


def box_of(quads: Floats) -> Floats:
    """Upright boxes [n, 4] around `quads` [n, 4, 2]."""
    return np.concatenate([quads.min(axis=1), quads.max(axis=1)], axis=1).astype(np.float32).reshape(-1, 4)


def quad_of(boxes: Floats) -> Floats:
    """The corners [n, 4, 2] of upright boxes [n, 4]."""
    left, top, right, bottom = boxes.T
    return np.stack([left, top, right, top, right, bottom, left, bottom], axis=1).astype(np.float32).reshape(-1, 4, 2)


def overlap(box: Floats, others: Floats) -> float:
    """The largest part of `box` or of one of `others` [n, 4] that both share, 0..1."""
    if not len(others):
        return 0.0
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=1)
    area = np.prod(np.clip(others[:, 2:] - others[:, :2], 1e-3, None), axis=1)
    return float((shared / np.minimum(area, max(1e-3, float(np.prod(box[2:] - box[:2]))))).max())


def visible_part(quad: Floats, width: int, height: int) -> float:
    """How much of the box around `quad` lies inside the picture, 0..1."""
    low, high = quad.min(axis=0), quad.max(axis=0)
    inside = np.clip(np.minimum(high, (width, height)) - np.maximum(low, 0), 0, None)
    return float(np.prod(inside) / max(1e-3, float(np.prod(high - low))))


def perspective_quad(rng: Generator, ratio: float, width: float) -> Floats:
    """Corners of a plate of `ratio` turned in space, about `width` pixels wide, centred on 0,0."""
    strong = rng.random() < 0.25
    yaw, pitch = np.radians(rng.normal(0, 28 if strong else 13)), np.radians(rng.normal(8, 22 if strong else 11))
    roll = np.radians(rng.normal(0, 14 if strong else 4))
    yaw, pitch, roll = (float(np.clip(angle, -1.05, 1.05)) for angle in (yaw, pitch, roll))
    corners = np.float32([[-1, -1 / ratio, 0], [1, -1 / ratio, 0], [1, 1 / ratio, 0], [-1, 1 / ratio, 0]])
    turn = cv2.Rodrigues(np.float32([0, 0, roll]))[0] @ cv2.Rodrigues(np.float32([pitch, 0, 0]))[0]
    turned = corners @ (turn @ cv2.Rodrigues(np.float32([0, yaw, 0]))[0]).T
    distance = float(np.exp(rng.uniform(np.log(3.5), np.log(25))))
    flat = turned[:, :2] / (1 + turned[:, 2:] / distance)
    return (flat * (width / 2)).astype(np.float32)
