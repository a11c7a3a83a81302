"""The pinhole camera over the lane: where plates and bodies are in its picture, and what covers what."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lpr.domain.frame import Image
from lpr.domain.geometry import Box
from lpr.testing.traffic.vehicle import Vehicle

WIDTH: Final = 1920
HEIGHT: Final = 1080
FOCAL_PX: Final = 2200.0
CAMERA_HEIGHT_M: Final = 3.0
PITCH: Final = math.radians(20.0)
NEAR_M: Final = 2.4
FAR_M: Final = 14.0
EMPTY: Final[Image] = np.broadcast_to(np.zeros((1, 1, 1), np.uint8), (HEIGHT, WIDTH, 3))
"""A black frame that takes three bytes."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A vehicle in the picture: its plate's box and its body's, pixels, and how far it is."""

    vehicle: Vehicle
    box: Box
    body: Box
    distance_m: float
    speed_px_s: float


def project(x_m: float, y_m: float, z_m: float) -> tuple[float, float, float]:
    """A point right of, above the ground under, and away from the camera: pixels, and distance along its axis."""
    down = CAMERA_HEIGHT_M - y_m
    along = z_m * math.cos(PITCH) + down * math.sin(PITCH)
    below = down * math.cos(PITCH) - z_m * math.sin(PITCH)
    return WIDTH / 2 + FOCAL_PX * x_m / along, HEIGHT / 2 + FOCAL_PX * below / along, along


def look_at(vehicle: Vehicle, at_s: float, shake: NDArray[np.float64]) -> View:
    """The vehicle as it is in the picture at `at_s`, moved by `shake` pixels."""
    x, z = _place(vehicle, at_s)
    body = vehicle.body
    u, v, along = project(x, body.plate_above_ground, z)
    u, v = u + float(shake[0]), v + float(shake[1])
    width, height = FOCAL_PX * body.plate_width / along, FOCAL_PX * body.plate_height / along
    box = Box(u - width / 2, v - height / 2, width, height)
    before_x, before_z = _place(vehicle, at_s - 0.05)
    before_u, before_v, _ = project(before_x, body.plate_above_ground, before_z)
    speed = math.hypot(u - float(shake[0]) - before_u, v - float(shake[1]) - before_v) / 0.05
    _, ground, _ = project(x, 0.0, z)
    _, roof, _ = project(x, body.body_height, z)
    wide = FOCAL_PX * body.body_width / along
    return View(vehicle, box, Box(u - wide / 2, roof, wide, ground - roof), along, speed)


def _place(vehicle: Vehicle, at_s: float) -> tuple[float, float]:
    return (
        float(np.interp(at_s, vehicle.times_s, vehicle.x_m)),
        float(np.interp(at_s, vehicle.times_s, vehicle.z_m)),
    )


def visible(view: View, others: Sequence[View]) -> tuple[float, float, float, float]:
    """The window of the plate that is in sight, in fractions of it: left, top, right, bottom."""
    box = view.box
    left, top, right, bottom = 0.0, 0.0, 1.0, 1.0
    left, right = max(left, -box.x / box.width), min(right, (WIDTH - box.x) / box.width)
    top, bottom = max(top, -box.y / box.height), min(bottom, (HEIGHT - box.y) / box.height)
    for other in others:
        if other.distance_m >= view.distance_m - 0.3 or other.body.y > box.y + box.height or other.body.bottom < box.y:
            continue
        cover_left = (other.body.x - box.x) / box.width
        cover_right = (other.body.right - box.x) / box.width
        if cover_right <= left or cover_left >= right:
            continue
        # What is left over on the wider side stays in sight.
        if cover_left - left >= right - cover_right:
            right = min(right, cover_left)
        else:
            left = max(left, cover_right)
    return left, top, right, bottom


def shown(vehicle: Vehicle, place: int, window: tuple[float, float, float, float]) -> float:
    """How much of a character's width and height is in the window, 0..1."""
    row, column, count = 0, place, len(vehicle.text)
    if vehicle.rows == 2:
        row = int(place >= vehicle.top)
        column, count = (place - vehicle.top, len(vehicle.text) - vehicle.top) if row else (place, vehicle.top)
    cell = 0.9 / count
    start = 0.05 + column * cell
    left, top, right, bottom = window
    wide = (min(right, start + cell) - max(left, start)) / cell
    row_height = 1.0 / vehicle.rows
    high = (min(bottom, (row + 1) * row_height) - max(top, row * row_height)) / row_height
    return max(0.0, min(1.0, wide)) * max(0.0, min(1.0, high))
