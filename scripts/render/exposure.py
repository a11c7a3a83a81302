"""The camera that takes a scene of the detector's: light, lens, sensor and codec.

The recogniser's crops have another one (`camera.shoot`), which knows where the plate is and how large.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator

from scripts.render.paint import Image


def expose(rng: Generator, image: Image) -> Image:
    """The picture that a camera, good or bad, makes of a scene uint8 (h, w, 3) BGR."""
    return _coded(rng, _noisy(rng, _focused(rng, _toned(rng, _lit(rng, image)))))


def _lit(rng: Generator, image: Image) -> Image:
    """At times under a light that changes over it."""
    if rng.random() >= 0.25:
        return image
    light = cv2.resize(rng.normal(1, 0.25, (3, 3)).astype(np.float32), (image.shape[1], image.shape[0]))
    return np.clip(image * light[..., None], 0, 255).astype(np.uint8)


def _toned(rng: Generator, image: Image) -> Image:
    """With a curve of brightness and a white of its own, at times with little colour left, seldom as a negative."""
    steps = np.arange(256, dtype=np.float32) / 255
    curve = np.clip(steps ** float(np.exp(rng.normal(0, 0.35))) * rng.uniform(0.65, 1.35) + rng.normal(0, 0.06), 0, 1)
    white = np.exp(rng.normal(0, 0.08, 3)) if rng.random() < 0.8 else np.exp(rng.normal(0, 0.3, 3))
    table = np.clip(curve[:, None] * white[None] * 255, 0, 255).astype(np.uint8).reshape(1, 256, 3)
    image = cv2.LUT(image, table)
    if rng.random() < 0.2:
        grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
        keep = float(rng.choice([0.0, 0.3, 0.6]))
        image = cv2.addWeighted(image, keep, grey, 1 - keep, 0)
    if rng.random() < 0.1 and rng.random() < 0.1:
        image = 255 - cv2.LUT(image, table)
    return image


def _focused(rng: Generator, image: Image) -> Image:
    """Blurred, moved, sharpened by the camera, or as it was."""
    kind = rng.random()
    if kind < 0.25:
        return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.4))
    if kind < 0.38:
        length, angle = int(rng.integers(3, 9)), rng.uniform(0, np.pi)
        kernel = np.zeros((length, length), np.float32)
        reach = np.float32([np.cos(angle), np.sin(angle)]) * length / 2
        centre = np.float32([length / 2 - 0.5] * 2)
        cv2.line(kernel, [int(v) for v in np.round(centre - reach)], [int(v) for v in np.round(centre + reach)], 1.0)
        return cv2.filter2D(image, -1, kernel / max(1.0, float(kernel.sum())))
    if kind < 0.5:
        gain = rng.uniform(0.3, 1.5)
        return cv2.addWeighted(image, 1 + gain, cv2.GaussianBlur(image, (0, 0), 1.2), -gain, 0)
    return image


def _noisy(rng: Generator, image: Image) -> Image:
    """At times with noise, fine or coarse, grey or in colours."""
    if rng.random() >= 0.45:
        return image
    height, width = image.shape[:2]
    sigma = rng.uniform(2, 16)
    coarse = rng.random() < 0.4
    shape = (height // 2, width // 2, 1) if coarse else (height, width, 1 if rng.random() < 0.5 else 3)
    noise = rng.standard_normal(shape, np.float32) * sigma
    if coarse:
        noise = cv2.resize(noise, (width, height))[..., None]
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def _coded(rng: Generator, image: Image) -> Image:
    """At times with what a JPEG leaves of it."""
    if rng.random() >= 0.4:
        return image
    ok, coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(18, 85))])
    assert ok
    return cv2.imdecode(coded, cv2.IMREAD_COLOR)
