"""Characters as masks: open condensed fonts (fonts/outlines.json) and a parametric stroke font drawn here.

Vietnamese plates have a type of their own: tall, condensed, one stroke width, round corners. No open font has it; the
condensed ones and a stroke font with random proportions surround it, which is what a reader needs to learn.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.uint8]
Stroke = tuple[tuple[float, float, bool], ...]

GLYPH_HEIGHT: Final = 96
"""Pixels of cap height in the cached masks; a plate scales them down."""

STROKE_FONTS: Final = 40
_OVERSAMPLE: Final = 2
_SUPERSCRIPT_BITS: Final = 4


def _path(text: str) -> Stroke:
    """`x,y` points in percent of the box, `r` behind a point that is rounded."""
    points = []
    for word in text.split():
        x, y = word.rstrip("r").split(",")
        points.append((int(x) / 100, int(y) / 100, word.endswith("r")))
    return tuple(points)


def _paths(*texts: str) -> tuple[Stroke, ...]:
    return tuple(_path(text) for text in texts)


_RING: Final = "50,0 100,0r 100,100r 0,100r 0,0r 50,0"
_STROKES: Final[dict[str, tuple[tuple[Stroke, ...], ...]]] = {
    # Character -> drawings it may have; a font picks one of them and keeps to it.
    "0": (_paths(_RING),),
    "1": (
        _paths("40,22 70,0 70,100"),
        _paths("30,20 70,2 70,100"),
        _paths("60,0 60,100", "60,2 35,20"),
        _paths("20,26 70,0 70,100"),
        _paths("40,14 70,4 70,0 70,100"),
        _paths("8,30 70,0 70,100"),
        _paths("4,38 68,0 68,100"),
        _paths("0,24 72,0 72,100"),
    ),
    "2": (
        _paths("0,24 0,0r 100,0r 100,38r 0,100 100,100"),
        _paths("0,24 0,0r 100,0r 100,50r 0,85r 0,100 100,100"),
        _paths("2,16 10,2 30,0 76,0 96,8 100,26 90,42 0,100 100,100"),
        _paths("0,18 0,0r 100,0r 100,30 92,44 0,98 100,100"),
    ),
    "3": (
        _paths("0,22 0,0r 100,0r 100,47r 45,47", "45,47 100,47r 100,100r 0,100r 0,78"),
        _paths("0,0 96,0 45,40 100,42r 100,100r 0,100r 0,78"),
    ),
    "4": (_paths("55,0 0,74 100,74", "74,48 74,100"), _paths("72,100 72,0 0,70 100,70")),
    "5": (
        _paths("94,0 8,0 4,42 100,36r 100,100r 0,100r 0,80"),
        _paths("94,0 6,0 6,44 100,44r 100,100r 0,100r 0,78"),
        _paths("92,0 8,0 4,54 10,38r 100,38r 100,100r 0,100r 0,82"),
        _paths("94,0 6,0 4,50 100,34r 100,100r 0,100r 0,80"),
    ),
    "6": (
        _paths("96,20 96,0r 0,0r 0,100r 100,100r 100,42r 0,42r 0,60"),
        _paths("66,0 0,52r 0,100r 100,100r 100,46r 30,46r"),
    ),
    "7": (_paths("0,0 100,0 36,100"), _paths("0,0 100,0 96,20r 40,60r 36,100")),
    "8": (_paths("50,0 94,0r 94,46r 6,46r 6,0r 50,0", "50,46 100,46r 100,100r 0,100r 0,46r 50,46"),),
    "9": (
        _paths("4,80 4,100r 100,100r 100,0r 0,0r 0,58r 100,58r 100,40"),
        _paths("34,100 100,48r 100,0r 0,0r 0,54r 70,54r"),
    ),
    "A": (_paths("0,100 50,0 100,100", "16,70 84,70"), _paths("0,100 42,0 58,0 100,100", "14,70 86,70")),
    "B": (_paths("0,46 90,46r 90,0r 0,0 0,100 100,100r 100,46r 60,46"),),
    "C": (_paths("100,26 100,0r 0,0r 0,100r 100,100r 100,74"),),
    "D": (_paths("0,50 0,0 100,0r 100,100r 0,100 0,50"),),
    "E": (_paths("100,0 0,0 0,100 100,100", "0,48 86,48"),),
    "F": (_paths("100,0 0,0 0,100", "0,48 86,48"),),
    "G": (_paths("100,26 100,0r 0,0r 0,100r 100,100r 100,54 56,54"),),
    "H": (_paths("0,0 0,100", "100,0 100,100", "0,48 100,48"),),
    "I": (_paths("50,0 50,100"),),
    "J": (_paths("100,0 100,100r 0,100r 0,74"),),
    "K": (_paths("0,0 0,100", "100,0 0,62", "34,42 100,100"),),
    "L": (_paths("0,0 0,100 100,100"),),
    "M": (
        _paths("0,100 0,0 50,62 100,0 100,100"),
        _paths("0,100 0,0 50,45 100,0 100,100"),
        _paths("0,100 0,0 50,98 100,0 100,100"),
    ),
    "N": (_paths("0,100 0,0 100,100 100,0"),),
    "O": (_paths(_RING),),
    "P": (_paths("0,100 0,0 100,0r 100,54r 0,54"),),
    "Q": (_paths(_RING, "58,76 104,104"),),
    "R": (_paths("0,100 0,0 100,0r 100,52r 0,52", "45,52 100,100"),),
    "S": (_paths("100,24 100,0r 0,0r 0,46r 100,50r 100,100r 0,100r 0,76"),),
    "T": (_paths("0,0 100,0", "50,0 50,100"),),
    "U": (_paths("0,0 0,100r 100,100r 100,0"),),
    "V": (_paths("0,0 50,100 100,0"),),
    "W": (_paths("0,0 24,100 50,20 76,100 100,0"),),
    "X": (_paths("0,0 100,100", "100,0 0,100"),),
    "Y": (_paths("0,0 50,52 100,0", "50,52 50,100"),),
    "Z": (_paths("0,0 100,0 0,100 100,100"), _paths("2,0 98,0 4,96 100,100")),
}
_WIDTHS: Final = {"1": 0.75, "I": 0.3, "M": 1.25, "W": 1.4, "V": 1.08, "A": 1.08, "X": 1.05, "Y": 1.05, "N": 1.05}
"""Width against that of `0`, where it differs."""


def _rounded(stroke: Stroke, scale: NDArray[np.float64], radius: float) -> NDArray[np.float64]:
    """Points of a stroke in pixels, its marked corners replaced by arcs of at most `radius` pixels."""
    points = np.array([point[:2] for point in stroke]) * scale
    result = [points[0]]
    for index in range(1, len(stroke) - 1):
        before, corner, after = points[index - 1], points[index], points[index + 1]
        if not stroke[index][2]:
            result.append(corner)
            continue
        into, out = corner - before, after - corner
        length_in, length_out = float(np.hypot(*into)), float(np.hypot(*out))
        # A side that lies between two rounded corners is shared by both.
        share_in = 0.5 if stroke[index - 1][2] else 0.98
        share_out = 0.5 if stroke[index + 1][2] else 0.98
        r = min(radius, length_in * share_in, length_out * share_out)
        start, end = corner - into / length_in * r, corner + out / length_out * r
        t = np.linspace(0.0, 1.0, 7)[:, None]
        # Pulling the control point in from the corner makes the curve a circle's quarter, not a parabola's.
        control_in, control_out = start + 0.56 * (corner - start), end + 0.56 * (corner - end)
        result.extend(
            (1 - t) ** 3 * start + 3 * (1 - t) ** 2 * t * control_in + 3 * (1 - t) * t**2 * control_out + t**3 * end
        )
    result.append(points[-1])
    return np.array(result)


def _stroke_font(random: Random) -> dict[str, Mask]:
    """One font of the parametric family: proportions, stroke width, roundness and drawings drawn at random."""
    height = GLYPH_HEIGHT * _OVERSAMPLE
    weight = random.uniform(0.105, 0.17) * height
    aspect = random.uniform(0.42, 0.62)
    roundness = random.uniform(0.32, 0.6)
    masks = {}
    for character, drawings in _STROKES.items():
        natural = _WIDTHS.get(character, 1.0)
        if natural > 1.1:
            # Some stamps give M no more room than any other letter.
            natural = random.uniform(1.0, natural)
        width = aspect * height * natural * random.uniform(0.96, 1.04)
        inner = np.array([max(width - weight, 1.0), height - weight])
        canvas = np.zeros((height, round(width)), np.uint8)
        for stroke in random.choice(drawings):
            points = _rounded(stroke, inner, roundness * inner[0]) + weight / 2
            cv2.polylines(
                canvas,
                [np.round(points * 2**_SUPERSCRIPT_BITS).astype(np.int32)],
                False,
                255,
                round(weight),
                cv2.LINE_AA,
                _SUPERSCRIPT_BITS,
            )
        masks[character] = cv2.resize(
            canvas, None, fx=1 / _OVERSAMPLE, fy=1 / _OVERSAMPLE, interpolation=cv2.INTER_AREA
        )
    return _with_dbar(_trimmed(masks))


def _trimmed(masks: dict[str, Mask]) -> dict[str, Mask]:
    """Cut empty columns away, so that spacing is the plate's business alone."""
    result = {}
    for character, mask in masks.items():
        columns = np.flatnonzero(mask.max(axis=0) > 40)
        result[character] = np.ascontiguousarray(mask[:, columns[0] : columns[-1] + 1])
    return result


def _with_dbar(masks: dict[str, Mask]) -> dict[str, Mask]:
    """Add Đ, a D with a bar across its stem; few condensed fonts carry it."""
    d = masks["D"]
    height, width = d.shape
    reach, half = round(0.16 * width), max(2, round(0.045 * height))
    canvas = np.zeros((height, width + reach), np.uint8)
    canvas[:, reach:] = d
    middle = round(0.48 * height)
    canvas[middle - half : middle + half, : reach + round(0.55 * width)] = 255
    return masks | {"Đ": canvas}


def _outline_font(outlines: dict[str, list[list[list[int]]]]) -> dict[str, Mask]:
    masks = {}
    scale = GLYPH_HEIGHT / 1000 * 2**_SUPERSCRIPT_BITS
    for character, polygons in outlines.items():
        width = max(x for polygon in polygons for x, _ in polygon)
        canvas = np.zeros((GLYPH_HEIGHT, max(1, round(width * GLYPH_HEIGHT / 1000))), np.uint8)
        contours = [np.round(np.array(polygon) * scale).astype(np.int32) for polygon in polygons]
        cv2.fillPoly(canvas, contours, 255, cv2.LINE_AA, _SUPERSCRIPT_BITS)
        masks[character] = canvas
    return _with_dbar(masks)


@lru_cache(maxsize=1)
def fonts() -> tuple[dict[str, Mask], ...]:
    """Every font as masks by character: uint8 (GLYPH_HEIGHT, its width), 255 where there is ink."""
    outlines = json.loads((Path(__file__).parent / "fonts" / "outlines.json").read_text(encoding="utf-8"))
    random = Random(2026)
    return tuple(_outline_font(each) for each in outlines.values()) + tuple(
        _stroke_font(random) for _ in range(STROKE_FONTS)
    )
