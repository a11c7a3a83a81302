"""What plates and the glass before them are painted with: noise, shapes, paint laid over a picture."""

from __future__ import annotations

from functools import lru_cache
from random import Random
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from scripts.render.glyphs import Mask

Image = NDArray[np.uint8]
Colour = tuple[int, int, int]

_NOISE_SIZE: Final = 512


@lru_cache(maxsize=1)
def _noise_bank() -> tuple[Mask, ...]:
    """Smooth to grainy fractal noise, uint8 512x512, mean about 128, spread over the whole range."""
    generator = np.random.default_rng(7)
    bank = []
    for octaves in ((4, 8), (6, 12, 24), (12, 32), (8, 40, 128), (24, 64, 256), (64, 256), (160,), (16, 200)):
        total = np.zeros((_NOISE_SIZE, _NOISE_SIZE), np.float32)
        for cells in octaves:
            cell = generator.standard_normal((cells, cells)).astype(np.float32)
            total += cv2.resize(cell, (_NOISE_SIZE, _NOISE_SIZE), interpolation=cv2.INTER_CUBIC)
        total = (total - total.mean()) / total.std()
        bank.append(np.clip(128 + 48 * total, 0, 255).astype(np.uint8))
    return tuple(bank)


def noise(random: Random, width: int, height: int, *, coarse: bool = False) -> Mask:
    """A random window of fractal noise, uint8 (height, width), mean about 128; `coarse` leaves the grainy ones out."""
    bank = _noise_bank()
    field = bank[random.randrange(4 if coarse else len(bank))]
    span_x = min(_NOISE_SIZE, max(32, int(width * random.uniform(0.7, 1.3))))
    span_y = min(_NOISE_SIZE, max(32, int(height * random.uniform(0.7, 1.3))))
    x, y = random.randint(0, _NOISE_SIZE - span_x), random.randint(0, _NOISE_SIZE - span_y)
    return cv2.resize(field[y : y + span_y, x : x + span_x], (width, height), interpolation=cv2.INTER_LINEAR)


@lru_cache(maxsize=512)
def ramp(low: int, high: int) -> Mask:
    """A table for cv2.LUT: 0 up to `low`, 255 from `high` on, straight between."""
    return np.clip((np.arange(256) - low) * 255.0 / max(1, high - low), 0, 255).astype(np.uint8)


def rounded_rectangle(
    canvas: Image | Mask, box: tuple[float, float, float, float], radius: float, value: Colour
) -> None:
    """Fill a rectangle (left, top, right, bottom) with round corners."""
    left, top, right, bottom = (round(side) for side in box)
    r = max(1, round(min(radius, (right - left) / 2, (bottom - top) / 2)))
    cv2.rectangle(canvas, (left + r, top), (right - r, bottom), value, -1)
    cv2.rectangle(canvas, (left, top + r), (right, bottom - r), value, -1)
    for x, y in ((left + r, top + r), (right - r, top + r), (left + r, bottom - r), (right - r, bottom - r)):
        cv2.circle(canvas, (x, y), r, value, -1, cv2.LINE_AA)


def blend(image: Image, colour: Colour, mask: Mask) -> Image:
    """`colour` laid over `image` (BGR) with the opacity of `mask` (255 covers); a new image."""
    weight = cv2.merge((mask, mask, mask))
    covered = cv2.multiply(image, cv2.bitwise_not(weight), scale=1 / 255)
    paint = cv2.merge([cv2.convertScaleAbs(mask, alpha=channel / 255) for channel in colour])
    return cv2.add(covered, paint)
