"""Whole frames with one plate, under conditions that are stated: what the two networks are measured on together.

Training draws its plates as hard as it likes; here one knows how wide, how turned, how blurred and how bright they are.
Other plates than training's, because of other seeds; the same renderer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

import cv2
import numpy as np

from scripts.render.camera import Corners, light, shoot
from scripts.render.crops import hardness
from scripts.render.drawn import draw_background
from scripts.render.laying import mount
from scripts.render.paint import Image
from scripts.render.plate import ROW_HEIGHT_PX, draw_plate
from scripts.render.plate_spec import random_spec

FRAME_WIDTH: Final = 640
FRAME_HEIGHT: Final = 384
MOST_HARDNESS: Final = 0.7
"""Of what training calls hard: beyond, plates are what nobody could read at a gate either."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """How a plate is seen.

    `width_px` is the plate's in a frame of FRAME_WIDTH; `turn_deg`, `tilt_deg` and `roll_deg` turn it to the side, back
    and in its plane; `blur_px` is the sigma of the blur; `brightness` multiplies; `hard` (0..1) is how much wear, bad
    light and bad camera come on top, by chance.
    """

    width_px: float = 120.0
    turn_deg: float = 0.0
    tilt_deg: float = 8.0
    roll_deg: float = 0.0
    blur_px: float = 0.0
    brightness: float = 1.0
    hard: float = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class GateFrame:
    """A picture uint8 (FRAME_HEIGHT, FRAME_WIDTH, 3) BGR; its plate's corners in it (4, 2), text, and rows (1 or 2)."""

    image: Image
    corners: Corners
    text: str
    rows: int


def ordinary(random: Random) -> Conditions:
    """Conditions as a gate's camera meets them, good days and bad."""
    return Conditions(
        width_px=55 * 4 ** random.random(),
        turn_deg=random.gauss(0, 13),
        tilt_deg=random.gauss(8, 8),
        roll_deg=random.gauss(0, 3.5),
        blur_px=abs(random.gauss(0, 0.5)),
        brightness=math.exp(random.gauss(0, 0.25)),
        hard=MOST_HARDNESS * hardness(random),
    )


def gate_frames(seed: int, count: int, backgrounds: Sequence[Image]) -> Iterator[GateFrame]:
    """Frames under ordinary conditions, always the same for one seed."""
    random = Random(seed)
    for _ in range(count):
        yield gate_frame(random, ordinary(random), backgrounds)


def gate_frame(random: Random, conditions: Conditions, backgrounds: Sequence[Image]) -> GateFrame:
    """A plate of any kind, somewhere near the middle of a frame."""
    spec = random_spec(random)
    scale = 1.15 * conditions.width_px / (ROW_HEIGHT_PX * spec.rows * spec.ratio)
    plate = draw_plate(spec, random, max(0.16, min(1.2, scale)), hard=conditions.hard)
    corners = seen_corners(spec.ratio, conditions)
    room = (np.float32([FRAME_WIDTH, FRAME_HEIGHT]) - np.ptp(corners, axis=0)).clip(0) / 2
    shift = np.float32([random.uniform(-0.6, 0.6), random.uniform(-0.6, 0.6)]) * room
    corners = (corners + np.float32([FRAME_WIDTH, FRAME_HEIGHT]) / 2 + shift).astype(np.float32)
    image = _surroundings(random, backgrounds)
    generator = np.random.default_rng(random.getrandbits(63))
    if random.random() < 0.75:
        mount(generator, image, corners)
    matrix = cv2.getPerspectiveTransform(plate.corners, corners)
    size = (FRAME_WIDTH, FRAME_HEIGHT)
    flat = cv2.warpPerspective(plate.image, matrix, size, borderMode=cv2.BORDER_REPLICATE)
    mask = cv2.threshold(cv2.warpPerspective(plate.body, matrix, size), 127, 255, cv2.THRESH_BINARY)[1]
    cv2.copyTo(flat, mask, image)
    if conditions.hard > 0.15:
        image = light(image, corners, random, hard=conditions.hard)
    if conditions.blur_px > 0.05:
        image = cv2.GaussianBlur(image, (0, 0), conditions.blur_px)
    image = cv2.convertScaleAbs(image, alpha=conditions.brightness)
    return GateFrame(shoot(image, random, hard=conditions.hard), corners, spec.text, spec.rows)


def seen_corners(ratio: float, conditions: Conditions) -> Corners:
    """Corners (4, 2) of a plate of `ratio` around the origin, clockwise from its own top left, in perspective."""
    angles = (conditions.tilt_deg, conditions.turn_deg, conditions.roll_deg)
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        vector = np.zeros(3)
        vector[axis] = math.radians(angle)
        matrix = cv2.Rodrigues(vector)[0] @ matrix
    flat = np.array([[-1, -1 / ratio, 0], [1, -1 / ratio, 0], [1, 1 / ratio, 0], [-1, 1 / ratio, 0]])
    turned = flat @ matrix.T
    distance = 10.0
    seen = turned[:, :2] * (distance / (distance + turned[:, 2:]))
    # The width that is stated is that of the plate itself, not of what is left of it from the side.
    return (seen * conditions.width_px / 2).astype(np.float32)


def _surroundings(random: Random, backgrounds: Sequence[Image]) -> Image:
    if backgrounds and random.random() < 0.6:
        picture = random.choice(backgrounds)
        return cv2.resize(picture, (FRAME_WIDTH, FRAME_HEIGHT), interpolation=cv2.INTER_LINEAR)
    return draw_background(np.random.default_rng(random.getrandbits(63)), FRAME_WIDTH, FRAME_HEIGHT)
