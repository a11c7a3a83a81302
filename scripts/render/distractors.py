"""Pictures of what looks like a plate and is none: signs, badges, lamps, grilles."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator

from scripts.render.drawn import any_colour, draw_shape, draw_text
from scripts.render.material import PlatePicture
from scripts.render.paint import Image

UNIT_SQUARE = np.float32([[0, 0], [1, 0], [1, 1], [0, 1]])

WORDS = (
    *("TAXI", "HONDA", "YAMAHA", "SH 150i", "Vision", "KIA", "TOYOTA", "MAZDA", "STOP", "Baby", "EXIT", "P", "5 km/h"),
    *("BAO VE", "VINAMILK", "SALE 50%", "CAM DO XE", "WC", "NO PARKING", "4x4", "AIR BLADE", "lead", "2.0 VVT-i"),
    *("BUS", "XE BUYT", "Piaggio", "POLICE", "CSGT", "AB", "www.abc.vn", "1900 6789", "0903 123 456", "Hotline"),
)
"""What stands on signs, stickers and vehicles."""


def distractor(rng: Generator) -> PlatePicture:
    """One of them."""
    makers = (_sign, _emblem, _lamp, _grid)
    return makers[rng.choice(4, p=[0.4, 0.2, 0.2, 0.2])](rng)


def _sign(rng: Generator) -> PlatePicture:
    """Something flat and written on that is no plate: a sign, a sticker, a badge, a paper, an empty panel."""
    ratio = float(np.exp(rng.uniform(np.log(0.5), np.log(6))))
    height = 72
    width = int(height * ratio)
    image = np.full((height, width, 3), any_colour(rng), np.uint8)
    ink = any_colour(rng)
    kind = rng.random()
    if kind < 0.3:
        pass  # an empty panel: plates have characters
    elif kind < 0.55:
        lines = int(rng.integers(1, 6))
        for line in range(lines):
            size = height / (lines + 0.6) * 0.6
            draw_text(
                rng,
                image,
                str(rng.choice(WORDS)),
                int(width * 0.05),
                int((line + 1) * height / (lines + 0.3)),
                size,
                ink,
            )
    elif kind < 0.8:
        for _ in range(rng.integers(2, 12)):
            draw_shape(rng, image)
    else:
        cells = rng.integers(0, 256, (rng.integers(1, 9), rng.integers(1, 16), 3), np.uint8)
        method = cv2.INTER_NEAREST if rng.random() < 0.5 else cv2.INTER_LINEAR
        image[:] = cv2.resize(cells, (width, height), interpolation=method)
    return PlatePicture(image, UNIT_SQUARE * np.float32([width, height]))


def _emblem(rng: Generator) -> PlatePicture:
    """A maker's badge: a ring or disc in metal with bars or a few letters in it, on paint."""
    height = 64
    width = int(height * rng.uniform(1.0, 2.0))
    image = np.full((height, width, 3), any_colour(rng, grey=0.8), np.uint8)
    metal, middle = int(rng.integers(90, 256)), (width // 2, height // 2)
    if rng.random() < 0.75:
        axes = (int(width * rng.uniform(0.35, 0.48)), int(height * rng.uniform(0.35, 0.48)))
        thick = -1 if rng.random() < 0.3 else int(rng.integers(3, 9))
        cv2.ellipse(image, middle, axes, 0, 0, 360, (metal,) * 3, thick, cv2.LINE_AA)
    ink = metal if rng.random() < 0.6 else int(rng.integers(0, 256))
    if rng.random() < 0.3:
        draw_text(
            rng, image, str(rng.choice(["KIA", "GM", "HINO", "FORD", "VF", "MG"])), width // 5, 42, 24, (ink,) * 3
        )
    else:
        for _ in range(int(rng.integers(1, 5))):
            ends = rng.normal(middle, (width * 0.2, height * 0.2), (2, 2)).astype(int).tolist()
            cv2.line(image, ends[0], ends[1], (ink,) * 3, int(rng.integers(3, 8)), cv2.LINE_AA)
    return PlatePicture(_shaded(rng, image), UNIT_SQUARE * np.float32([width, height]))


def _lamp(rng: Generator) -> PlatePicture:
    """A head lamp or tail lamp that is off, or half lit: glass, reflectors, ribs."""
    height = 72
    width = int(height * rng.uniform(0.8, 2.5))
    image = np.full((height, width, 3), int(rng.integers(20, 220)), np.uint8)
    tint = [(255, 255, 255), (60, 50, 210), (40, 140, 240), (235, 235, 225)][rng.integers(0, 4)]
    for _ in range(int(rng.integers(1, 4))):
        at = (int(rng.uniform(0.1, 0.9) * width), int(rng.uniform(0.2, 0.8) * height))
        radius = int(rng.uniform(0.1, 0.45) * height) + 3
        for ring in range(radius, 2, -int(rng.integers(3, 9))):
            shade = rng.uniform(0.2, 1.0)
            cv2.circle(
                image, at, ring, tuple(int(v * shade) for v in tint), -1 if rng.random() < 0.7 else 2, cv2.LINE_AA
            )
    step = int(rng.integers(5, 14))
    if rng.random() < 0.5:
        for x in range(0, width, step):
            cv2.line(
                image, (x, 0), (x + int(rng.integers(-4, 5)), height), (int(rng.integers(30, 256)),) * 3, 1, cv2.LINE_AA
            )
    return PlatePicture(_shaded(rng, image), UNIT_SQUARE * np.float32([width, height]))


def _grid(rng: Generator) -> PlatePicture:
    """A grille, mesh, tread plate or studded ramp: the same small thing many times, perhaps a reflector in it."""
    height = 72
    width = int(height * rng.uniform(1.0, 5.0))
    ground, thing = any_colour(rng, grey=0.7), any_colour(rng, grey=0.7)
    if rng.random() < 0.35:
        ground = (int(rng.integers(0, 70)), int(rng.integers(110, 200)), int(rng.integers(150, 240)))
    image = np.full((height, width, 3), ground, np.uint8)
    across, down = int(rng.integers(5, 30)), int(rng.integers(5, 18))
    kind = rng.integers(0, 4)
    for y in range(down // 2, height, down):
        if kind == 0:
            cv2.line(image, (0, y), (width, y), thing, max(1, down // 3), cv2.LINE_AA)
            continue
        for x in range(across // 2 + (across // 2 if (y // down) % 2 else 0), width, across):
            if kind == 1:
                cv2.circle(image, (x, y), max(1, min(across, down) // 3), thing, -1, cv2.LINE_AA)
            elif kind == 2:
                cv2.line(image, (x, y - down // 2), (x + across // 2, y + down // 2), thing, 1, cv2.LINE_AA)
            else:
                cv2.rectangle(image, (x - across // 3, y - down // 3), (x + across // 3, y + down // 3), thing, -1)
    if rng.random() < 0.4:
        x, y, w = int(rng.uniform(0, width)), int(rng.uniform(0, height)), int(rng.integers(8, 40))
        cv2.rectangle(image, (x, y), (x + w, y + w // 2), any_colour(rng, grey=0.2), -1)
    return PlatePicture(_shaded(rng, image), UNIT_SQUARE * np.float32([width, height]))


def _shaded(rng: Generator, image: Image) -> Image:
    """`image` under a light that changes over it."""
    light = cv2.resize(rng.normal(0.9, 0.25, (2, 3)).astype(np.float32), (image.shape[1], image.shape[0]))
    return np.clip(image * light[..., None], 0, 255).astype(np.uint8)
