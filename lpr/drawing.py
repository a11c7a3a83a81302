"""What is drawn into a picture for people: plates with their outline and what they say, a region of interest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lpr.domain.frame import Image
from lpr.domain.geometry import Point, Quad

GREEN = (80, 200, 60)
AMBER = (40, 170, 250)
_REGION = (240, 190, 90)
_DARK = (20, 20, 20)
_TEXT_HEIGHT = 0.026
"""Of the picture's shorter side: readable where the whole picture is on a screen."""
_MIN_TEXT_PX = 11


@dataclass(frozen=True, slots=True)
class Mark:
    """An outline in pixels of the picture, and the line of text to stand at it, or ''; `colour` is blue, green, red."""

    corners: Quad
    text: str
    colour: tuple[int, int, int] = GREEN


def draw_marks(image: Image, marks: Sequence[Mark]) -> Image:
    """A copy of `image` (uint8 H x W x 3, BGR) with `marks` in it; the picture itself stays as it is."""
    import cv2

    canvas = image.copy()
    height = max(_MIN_TEXT_PX, round(min(image.shape[:2]) * _TEXT_HEIGHT))
    for mark in marks:
        outline = np.array([[round(x), round(y)] for x, y in mark.corners.points], np.int32)
        # Thin around a small plate, so that its characters stay in sight.
        thickness = max(1, min(height // 6, round(mark.corners.box.height / 12)))
        cv2.polylines(canvas, [outline], True, mark.colour, thickness, cv2.LINE_AA)
    # The texts last, so that no outline crosses one.
    for mark in marks:
        if mark.text:
            _label(canvas, mark, height)
    return canvas


def dim_outside(image: Image, region: Sequence[Point]) -> Image:
    """A copy of `image` at half its light, and at its own inside `region`, a polygon in fractions 0..1 of the picture.

    (Boolean indexing takes ten times as long.)
    """
    import cv2

    height, width = image.shape[:2]
    outline = np.array([[round(x * (width - 1)), round(y * (height - 1))] for x, y in region], np.int32)
    inside = np.zeros((height, width), np.uint8)
    cv2.fillPoly(inside, [outline], 255)
    dimmed = image >> np.uint8(1)
    cv2.copyTo(image, inside, dimmed)
    cv2.polylines(dimmed, [outline], True, _REGION, max(1, round(width / 480)), cv2.LINE_AA)
    return dimmed


def _label(canvas: Image, mark: Mark, height: int) -> None:
    import cv2

    width, pad = text_width(mark.text, height), max(2, height // 4)
    box = mark.corners.box
    left = int(min(max(0, box.x), max(0, canvas.shape[1] - width - 2 * pad)))
    above = int(box.y) - height - 3 * pad
    top = above if above >= 0 else int(min(box.bottom + pad, canvas.shape[0] - height - 2 * pad))
    cv2.rectangle(canvas, (left, top), (left + width + 2 * pad, top + height + 2 * pad), mark.colour, cv2.FILLED)
    _put_text(canvas, mark.text, (left + pad, top + pad + height), height)


def text_width(text: str, height: int) -> int:
    """Pixels that `text` takes in capitals of `height` pixels."""
    return sum(_advance(character, height) for character in text)


def _put_text(canvas: Image, text: str, origin: Point, height: int) -> None:
    """Text whose baseline starts at `origin`, sign by sign: OpenCV's line fonts have ASCII only, and plates have Đ."""
    import cv2

    scale, thickness = _scale(height), max(1, height // 9)
    x, y = int(origin[0]), int(origin[1])
    for character in text:
        shown = _ascii(character)
        cv2.putText(canvas, shown, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, _DARK, thickness, cv2.LINE_AA)
        if character in "Đđ":
            middle = y - height // 2
            cv2.line(canvas, (x, middle), (x + _advance("D", height) // 2, middle), _DARK, thickness, cv2.LINE_AA)
        x += _advance(character, height)


def _ascii(character: str) -> str:
    if character in "Đđ":
        return "D" if character == "Đ" else "d"
    return character if character.isascii() and character.isprintable() else "?"


def _scale(height: int) -> float:
    # Capitals of this font are 21 units high.
    return height / 21.0


def _advance(character: str, height: int) -> int:
    import cv2

    (width, _), _ = cv2.getTextSize(_ascii(character), cv2.FONT_HERSHEY_SIMPLEX, _scale(height), 1)
    return int(width)
