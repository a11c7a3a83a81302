"""Plates laid into a picture in perspective, with what surrounds them and what stands before them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator

from scripts.render.drawn import any_colour
from scripts.render.material import PlatePicture
from scripts.render.paint import Image
from scripts.render.quads import Floats

FAINTEST = 8.0
"""Grey levels of contrast over a plate, under which it is neither wanted nor held against the network."""


def lay(rng: Generator, image: Image, picture: PlatePicture, quad: Floats, *, lit: float | None = None) -> None:
    """Warp `picture` onto `quad` of `image`, in place, anti-aliased and in light that fits the surroundings."""
    height, width = image.shape[:2]
    margin = 2 if picture.body is None else 2 + 0.1 * np.ptp(quad, axis=0)
    low = np.floor(np.clip(quad.min(axis=0) - margin, 0, None)).astype(int)
    high = np.ceil(np.minimum(quad.max(axis=0) + margin + 1, (width, height))).astype(int)
    if (high - low < 2).any():
        return
    source, corners, body = picture.image, picture.corners, picture.body
    shrink = float(np.linalg.norm(quad[1] - quad[0]) / max(1.0, np.linalg.norm(corners[1] - corners[0])))
    if shrink < 0.75:  # linear interpolation alone would skip pixels
        sides = max(2, round(source.shape[1] * shrink * 1.2)), max(2, round(source.shape[0] * shrink * 1.2))
        corners = corners * np.float32([sides[0] / source.shape[1], sides[1] / source.shape[0]])
        source = cv2.resize(source, sides, interpolation=cv2.INTER_AREA)
        body = None if body is None else cv2.resize(body, sides, interpolation=cv2.INTER_AREA)
    matrix = cv2.getPerspectiveTransform(np.float32(corners) - 0.5, np.float32(quad - low) - 0.5)
    size = (int(high[0] - low[0]), int(high[1] - low[1]))
    texture = cv2.warpPerspective(source, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    if body is None:
        mask = np.zeros((size[1], size[0]), np.uint8)
        cv2.fillPoly(mask, [np.int32(np.round((quad - low - 0.5) * 16))], 255, cv2.LINE_AA, 4)
    else:
        mask = cv2.warpPerspective(body, matrix, size, flags=cv2.INTER_LINEAR)
    part = image[low[1] : high[1], low[0] : high[0]]
    around = part.reshape(-1, 3).mean(axis=0)
    gain = rng.uniform(0.35, 1.1) if lit is None else lit
    if rng.random() < 0.4:
        gain *= float(np.clip(around.mean() / 120, 0.35, 1.1))
    # A body so dark that its characters drown would teach to see plates in any dark patch.
    gain = max(gain, FAINTEST / max(1.0, float(texture[..., 1].std())))
    tint = (around + 20) / (around.mean() + 20) if rng.random() < 0.4 else np.ones(3)
    alpha = (mask.astype(np.float32) / 255)[..., None]
    part[:] = np.clip(texture * (gain * tint).astype(np.float32) * alpha + part * (1 - alpha), 0, 255).astype(np.uint8)


def mount(rng: Generator, image: Image, quad: Floats) -> None:
    """What surrounds a plate: a dark tail, a bumper, a frame, a lamp above it."""
    low, high = quad.min(axis=0), quad.max(axis=0)
    middle, (w, h) = (low + high) / 2, high - low
    shade = any_colour(rng, grey=0.7)
    if rng.random() < 0.6:
        shade = tuple(int(v * 0.35) for v in shade)
    kind = rng.random()
    if kind < 0.4:  # the narrow dark back of a motorbike
        for _ in range(int(rng.integers(1, 4))):
            at = middle + rng.normal(0, 0.35, 2) * (w, h) - (0, h * rng.uniform(-0.6, 0.9))
            axes = (int(max(1, w * rng.uniform(0.3, 0.9))), int(max(1, h * rng.uniform(0.5, 1.6))))
            tone = tuple(int(np.clip(v * rng.uniform(0.5, 1.5), 0, 255)) for v in shade)
            cv2.ellipse(image, (int(at[0]), int(at[1])), axes, float(rng.normal(0, 15)), 0, 360, tone, -1, cv2.LINE_AA)
    elif kind < 0.7:  # a bumper or boot
        half = np.float32([w * rng.uniform(0.7, 2.5), h * rng.uniform(0.6, 3)])
        at = middle + rng.normal(0, 0.2, 2) * half
        corner, other = np.int32(at - half), np.int32(at + half)
        cv2.rectangle(image, [int(v) for v in corner], [int(v) for v in other], shade, -1)
        for _ in range(int(rng.integers(0, 4))):
            y = int(rng.uniform(corner[1], other[1]))
            cv2.line(
                image, (int(corner[0]), y), (int(other[0]), y), any_colour(rng), int(rng.integers(1, 4)), cv2.LINE_AA
            )
    if rng.random() < 0.45:  # a plate holder
        grown = (quad - middle) * rng.uniform(1.03, 1.25) + middle + rng.normal(0, 0.02, 2) * (w, h)
        cv2.fillPoly(image, [np.int32(grown)], any_colour(rng, grey=0.9), cv2.LINE_AA)


def hide(rng: Generator, image: Image, quad: Floats) -> float:
    """Put something before a plate, in place; the hidden part of it, 0..1."""
    low, high = quad.min(axis=0), quad.max(axis=0)
    w, h = high - low
    before = np.zeros(image.shape[:2], np.uint8)
    if rng.random() < 0.5:  # a bar: barrier arm, railing, rope, branch
        at, angle = rng.uniform(low, high), rng.uniform(-0.7, 0.7) + (np.pi / 2) * (rng.random() < 0.3)
        reach = np.float32([np.cos(angle), np.sin(angle)]) * max(image.shape[:2])
        thick = int(max(1, h * rng.uniform(0.04, 0.35)))
        cv2.line(before, [int(v) for v in at - reach], [int(v) for v in at + reach * rng.uniform(0, 1)], 255, thick)
    else:  # something that reaches in from a side
        side = rng.integers(0, 4)
        centre = (low + high) / 2 + np.float32([[w, 0], [-w, 0], [0, h], [0, -h]])[side] * rng.uniform(0.6, 1.1)
        axes = (int(max(1, w * rng.uniform(0.2, 0.6))), int(max(1, h * rng.uniform(0.2, 0.7))))
        cv2.ellipse(before, [int(v) for v in centre], axes, float(rng.uniform(0, 180)), 0, 360, 255, -1)
    body = np.zeros(image.shape[:2], np.uint8)
    cv2.fillPoly(body, [np.int32(quad)], 255)
    covered = float(cv2.countNonZero(before & body) / max(1, cv2.countNonZero(body)))
    image[before > 0] = any_colour(rng, grey=0.8)
    return covered
