"""The characters of a plate and what separates them: where each stands on the body, and stamped into it."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import cv2
import numpy as np

from lpr.plates.formats import ONE_ROW, TWO_ROWS
from scripts.render.glyphs import Mask
from scripts.render.plate_spec import PlateSpec


@dataclass(frozen=True, slots=True)
class PlacedSign:
    """A character or separator with its place on the body, pixels."""

    sign: str
    x: float
    y: float
    width: float
    height: float


def lay_out(spec: PlateSpec, font: dict[str, Mask], width: float, height: float, random: Random) -> list[PlacedSign]:
    """Place every sign of the rows on a body of `width` x `height` pixels."""
    if spec.rows == ONE_ROW:
        row_height = height * random.uniform(0.62, 0.8)
        tops = [(height - row_height) * random.uniform(0.42, 0.58)]
    else:
        row_height = height * random.uniform(0.34, 0.42)
        gap = height * random.uniform(0.03, 0.1)
        margin = (height - 2 * row_height - gap) * random.uniform(0.42, 0.58)
        tops = [margin, margin + row_height + gap]
    stretch = random.uniform(0.85, 1.3)
    cell = _cell_share(font) if random.random() < 0.5 else None
    spacing = random.uniform(0.06, 0.2) * row_height
    placed = []
    for index, (line, top) in enumerate(zip(spec.lines, tops, strict=True)):
        share = random.uniform(0.8, 0.95) if index or spec.rows == ONE_ROW else random.uniform(0.66, 0.9)
        line_height = row_height * (random.uniform(0.9, 1.0) if index == 0 and spec.rows == TWO_ROWS else 1.0)
        natural = [_natural_width(sign, font, line_height, stretch, cell) for sign in line]
        placed.extend(_lay_line(line, natural, (width, share * width), (top, line_height), spacing, random))
    return placed


def _lay_line(
    line: str,
    natural: list[float],
    body: tuple[float, float],
    vertical: tuple[float, float],
    spacing: float,
    random: Random,
) -> list[PlacedSign]:
    """Place one row, shrunk in width where it would not fit and spread where it is much too short."""
    width, room = body
    top, height = vertical
    total = sum(natural) + spacing * (len(line) - 1)
    if total > room:
        factor = room / total
        natural, spacing = [each * factor for each in natural], spacing * factor
    elif random.random() < 0.55:
        # Real plates fill their row: the stamp spreads the characters, up to a limit.
        spacing = min(spacing + (room - total) / max(1, len(line) - 1), 0.5 * height)
    total = sum(natural) + spacing * (len(line) - 1)
    x = (width - total) / 2 + random.uniform(-0.02, 0.02) * width
    placed = []
    for sign, sign_width in zip(line, natural, strict=True):
        placed.append(PlacedSign(sign, x, top, sign_width, height))
        x += sign_width + spacing
    return placed


def _cell_share(font: dict[str, Mask]) -> float:
    """Width of a stamp by its height where all characters have one width: that of the font's 0."""
    return font["0"].shape[1] / font["0"].shape[0]


def _natural_width(sign: str, font: dict[str, Mask], height: float, stretch: float, cell: float | None) -> float:
    if sign == ".":
        return 0.1 * height
    if sign == "-":
        return 0.24 * height
    mask = font[sign]
    share = mask.shape[1] / mask.shape[0]
    if cell is not None and share > 0.75 * cell:
        share = cell
    return height * share * stretch


def draw_signs(
    placed: list[PlacedSign], font: dict[str, Mask], ink: Mask, offset: tuple[float, float], random: Random
) -> None:
    """Stamp the signs into `ink`, whose pixel `offset` is the body's corner. Each stands a little off its place."""
    wobble = random.uniform(0.0, 0.012) * placed[0].height
    dot_square = random.random() < 0.3
    for sign in placed:
        x = round(offset[0] + sign.x + random.uniform(-wobble, wobble))
        y = round(offset[1] + sign.y + random.uniform(-wobble, wobble))
        width, height = max(1, round(sign.width)), max(2, round(sign.height))
        if sign.sign == "-":
            middle, half = y + round(height * random.uniform(0.45, 0.53)), max(1, round(0.055 * height))
            cv2.rectangle(ink, (x, middle - half), (x + width, middle + half), 255, -1)
        elif sign.sign == ".":
            radius = max(1, width // 2)
            centre = (
                x + radius,
                y + round(height * random.choice((random.uniform(0.8, 1.0), random.uniform(0.5, 1.0)))) - radius,
            )
            if dot_square:
                cv2.rectangle(
                    ink, (centre[0] - radius, centre[1] - radius), (centre[0] + radius, centre[1] + radius), 255, -1
                )
            else:
                cv2.circle(ink, centre, radius, 255, -1, cv2.LINE_AA)
        else:
            shrinks = height < font[sign.sign].shape[0]
            glyph = cv2.resize(
                font[sign.sign], (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
            )
            window = ink[y : y + height, x : x + width]
            np.maximum(window, glyph[: window.shape[0], : window.shape[1]], out=window)
