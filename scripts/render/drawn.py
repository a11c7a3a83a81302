"""What a scene shows besides plates, drawn from nothing: ground and shapes, lettering, a camera's stamp, a glow."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator

from scripts.render.paint import Image


def any_colour(rng: Generator, grey: float = 0.5) -> tuple[int, int, int]:
    """A random BGR colour; with probability `grey` nearly a grey."""
    value = rng.integers(0, 256)
    if rng.random() < grey:
        return tuple(int(np.clip(value + rng.normal(0, 8), 0, 255)) for _ in range(3))  # type: ignore[return-value]
    return tuple(int(v) for v in rng.integers(0, 256, 3))  # type: ignore[return-value]


def draw_background(rng: Generator, width: int, height: int) -> Image:
    """Ground, walls and shapes from nothing: smooth colour, texture, straight edges, dark blobs."""
    cells = rng.integers(2, 7, 2)
    base = rng.normal(rng.uniform(30, 190), rng.uniform(5, 45), (cells[1], cells[0], 1)) + rng.normal(0, 12, 3)
    picture = cv2.resize(np.float32(base), (width, height), interpolation=cv2.INTER_CUBIC)
    for coarse in (4, 16):
        grain = rng.normal(0, rng.uniform(0, 12), (height // coarse + 1, width // coarse + 1)).astype(np.float32)
        picture += cv2.resize(grain, (width, height))[..., None]
    image = np.clip(picture, 0, 255).astype(np.uint8)
    for _ in range(rng.integers(0, 14)):
        draw_shape(rng, image)
    if rng.random() < 0.3:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 2))
    return image


def draw_shape(rng: Generator, image: Image) -> None:
    """One edge, block, blob, striped kerb, grille or railing."""
    height, width = image.shape[:2]
    x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
    w, h = (int(v) for v in np.exp(rng.uniform(np.log(6), np.log(width * 0.7), 2)))
    kind, colour = rng.random(), any_colour(rng)
    if kind < 0.25:
        cv2.rectangle(image, (x - w // 2, y - h // 2), (x + w // 2, y + h // 2), colour, -1)
    elif kind < 0.5:
        cv2.ellipse(
            image, (x, y), (w // 2 + 1, h // 2 + 1), float(rng.uniform(0, 180)), 0, 360, colour, -1, cv2.LINE_AA
        )
    elif kind < 0.65:
        end = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        cv2.line(image, (x, y), end, colour, int(rng.integers(1, max(2, width // 20))), cv2.LINE_AA)
    elif kind < 0.8:
        draw_stripes(rng, image, x, y, max(12, w))
    else:
        points = np.int32(rng.normal((x, y), (w / 2, h / 2), (int(rng.integers(3, 7)), 2)))
        cv2.fillPoly(image, [points], colour, cv2.LINE_AA)


def draw_stripes(rng: Generator, image: Image, x: int, y: int, length: int) -> None:
    """Yellow and black kerbs, barrier arms, grilles: stripes across a slanted bar."""
    along = np.float32([np.cos(a := rng.uniform(-0.6, 0.6) + (np.pi / 2) * (rng.random() < 0.3)), np.sin(a)])
    across = np.float32([-along[1], along[0]])
    thick, step = length * rng.uniform(0.06, 0.3), max(2.0, length / rng.integers(4, 16))
    pairs = [((20, 190, 230), (25, 25, 25)), ((235, 235, 235), (40, 40, 200)), (any_colour(rng), any_colour(rng))]
    first, second = pairs[rng.integers(0, len(pairs))]
    slant, origin, place = rng.uniform(-0.7, 0.7), np.float32([x, y]), 0.0
    while place < length:
        foot, top = origin + along * place, origin + along * (place + slant * thick) + across * thick
        points = np.int32([foot, foot + along * step, top + along * step, top])
        cv2.fillPoly(image, [points], first if int(place / step) % 2 else second, cv2.LINE_AA)
        place += step


def draw_text(
    rng: Generator, image: Image, text: str, x: int, y: int, height_px: float, colour: tuple[int, ...]
) -> None:
    """Plain lettering, its baseline starting at `x`, `y`."""
    font = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_PLAIN)
    thick = max(1, round(height_px / 9))
    cv2.putText(image, text, (x, y), font[rng.integers(0, 4)], height_px / 22, colour, thick, cv2.LINE_AA)


def draw_stamp(rng: Generator, image: Image) -> None:
    """The line that cameras write into the picture: date, time, a name or number."""
    height, width = image.shape[:2]
    day, month, year = rng.integers(1, 29), rng.integers(1, 13), rng.integers(2012, 2027)
    text = f"{day:02d}/{month:02d}/{year} {rng.integers(0, 24):02d}:{rng.integers(0, 60):02d}:{rng.integers(0, 60):02d}"
    if rng.random() < 0.5:
        text = (
            ("".join(rng.choice(list("0123456789ABCDEF"), 8)) if rng.random() < 0.5 else "CAM 0" + str(day))
            + "  "
            + text
        )
    size = width * rng.uniform(0.016, 0.045)
    x = int(rng.uniform(0, 0.5) * width)
    y = int(height - rng.uniform(0.2, 1.5) * size) if rng.random() < 0.6 else int(size * rng.uniform(1.1, 2.5))
    colour = [(30, 230, 240), (255, 255, 255), (40, 255, 40), any_colour(rng)][rng.integers(0, 4)]
    draw_text(rng, image, text, x, y, size, colour)


def draw_glow(rng: Generator, image: Image, x: float, y: float, radius: float) -> None:
    """A lamp: burnt out in the middle, its colour around; added in place."""
    height, width = image.shape[:2]
    left, top = max(0, int(x - 3 * radius)), max(0, int(y - 3 * radius))
    right, bottom = min(width, int(x + 3 * radius) + 1), min(height, int(y + 3 * radius) + 1)
    if right - left < 2 or bottom - top < 2:
        return
    xs, ys = np.arange(left, right, dtype=np.float32) - x, np.arange(top, bottom, dtype=np.float32) - y
    flat = rng.uniform(0.5, 1.2)
    strength = np.exp(-(xs[None, :] ** 2 + (ys[:, None] / flat) ** 2) / (radius * radius))
    tints = ([255, 255, 255], [200, 235, 255], [60, 40, 255], [40, 120, 255], [255, 200, 255])
    light = strength[..., None] * np.float32(tints[rng.integers(0, len(tints))]) * rng.uniform(0.6, 2.2)
    part = image[top:bottom, left:right]
    part[:] = np.clip(part + light, 0, 255).astype(np.uint8)
