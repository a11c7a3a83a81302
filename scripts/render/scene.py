"""Scenes for the detector: plates on photographs and on drawn backgrounds, with their boxes and exact corners.

A scene is cut, turned and zoomed out of a photograph (or drawn from nothing), plates are laid into it in perspective,
things that look like plates and are none are added, things stand before plates, and a camera takes the picture. Plates
that the photographs hold keep their boxes; as their corners are not known, `Scene.exact` is false for them.

    python -m scripts.render.scene DATA SHEET.png      draws a contact sheet of what training sees
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from lpr.vision.preprocess import PADDING_GREY
from scripts.render.distractors import WORDS, distractor
from scripts.render.drawn import any_colour, draw_background, draw_glow, draw_stamp, draw_text
from scripts.render.exposure import expose
from scripts.render.laying import FAINTEST, hide, lay, mount
from scripts.render.material import Material, Photo, PlatePicture, load_material, plate_pool
from scripts.render.paint import Image
from scripts.render.quads import Floats, box_of, overlap, perspective_quad, quad_of, visible_part

CLOSE_UPS = 0.07
"""Part of the scenes in which one plate fills the picture."""
SMALLEST_HEIGHT_PX = 5
"""Under this, rendered plates are neither wanted nor held against the network."""
MOST_HIDDEN = 0.45
"""Part of a plate; of which more is hidden is not held against the network."""
LEAST_INSIDE = 0.5
"""Part of a plate's box; of which less lies in the picture is not held against the network."""

_PHOTOS, _CLOSE, _BACKGROUNDS = 0.42, 0.56, 0.74
"""Up to where, of chance 0..1, a scene is of photographs with plates, of Vietnamese ones, of ones without; or drawn."""
_ADDED = (0, 1, 2, 3, 5)
_ADDED_TO_PLATES = (0.3, 0.35, 0.2, 0.1, 0.05)
_ADDED_ELSEWHERE = (0.1, 0.45, 0.25, 0.13, 0.07)
"""How many plates are laid into a scene, and how often where a photograph brings some itself and where none does."""


@dataclass(frozen=True)
class Scene:
    """What a training step sees.

    `quads` is float32 [n, 4, 2]: corners clockwise from the plate's own top left, in pixels, also outside the picture.
    `exact[i]` is false where only the box around the corners is known. `ignored` is float32 [m, 4], boxes in which
    nothing is taught (a plate hidden too much). `complete` is false where there may be plates without a box.
    """

    image: Image
    quads: Floats
    exact: NDArray[np.bool_]
    ignored: Floats
    complete: bool


def render_scene(rng: Generator, material: Material, size: tuple[int, int]) -> Scene:
    """One scene of `size` (width, height) pixels."""
    if rng.random() < CLOSE_UPS:
        return close_up(rng, material, size)
    width, height = size
    choice = rng.random()
    image, boxes, quads, complete = _ground(rng, choice, material, size)
    for _ in range(rng.integers(0, 6)):
        scatter_distractor(rng, image, boxes, quads)
    for _ in range(int(rng.choice(_ADDED, p=_ADDED_TO_PLATES if choice < _CLOSE else _ADDED_ELSEWHERE))):
        quad = place_plate(rng, image, material, boxes, quads)
        if quad is not None:
            quads.append(quad)
    kept, ignored = _wanted_of(rng, image, quads)
    for _ in range(int(rng.choice([0, 1, 2, 3], p=[0.6, 0.2, 0.1, 0.1]))):
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        draw_glow(rng, image, x, y, float(np.exp(rng.uniform(np.log(3), np.log(width * 0.12)))))
    if rng.random() < 0.2:
        draw_stamp(rng, image)
    seen = np.float32([visible_part(quad, width, height) for quad in quad_of(boxes)])
    ignored.extend(boxes[(seen > 0.02) & (seen < LEAST_INSIDE)])
    boxes = boxes[seen >= LEAST_INSIDE]
    return Scene(
        image=expose(rng, image),
        quads=np.concatenate([np.float32(kept).reshape(-1, 4, 2), quad_of(boxes)]),
        exact=np.arange(len(kept) + len(boxes)) < len(kept),
        ignored=np.float32(ignored).reshape(-1, 4),
        complete=complete,
    )


def _ground(
    rng: Generator, choice: float, material: Material, size: tuple[int, int]
) -> tuple[Image, Floats, list[Floats], bool]:
    """A picture to lay plates into: the boxes [n, 4] of plates in it, the corners of those that rendered ones have
    replaced, and whether there is none without a box."""
    boxes = np.zeros((0, 4), np.float32)
    pool = material.photos if choice < _PHOTOS else material.close if choice < _CLOSE else ()
    if pool:
        photo = pool[rng.integers(0, len(pool))]
        image, boxes = view(rng, photo, size)
        if rng.random() < 0.5:
            return image, boxes[:0], [swap_plate(rng, image, box, material) for box in boxes], photo.complete
        return image, boxes, [], photo.complete
    if choice < _BACKGROUNDS and material.backgrounds:
        image, _ = view(rng, material.backgrounds[rng.integers(0, len(material.backgrounds))], size)
        return image, boxes, [], True
    return draw_background(rng, *size), boxes, [], True


def _wanted_of(rng: Generator, image: Image, quads: Sequence[Floats]) -> tuple[list[Floats], list[Floats]]:
    """Put things before some of the plates, in place: corners of those that the network is to find, boxes of others."""
    height, width = image.shape[:2]
    kept: list[Floats] = []
    ignored: list[Floats] = []
    for quad in quads:
        hidden = hide(rng, image, quad) if rng.random() < 0.18 else 0.0
        inside = visible_part(quad, width, height)
        small = float(np.ptp(quad[:, 1])) < SMALLEST_HEIGHT_PX
        if hidden > MOST_HIDDEN or inside < LEAST_INSIDE or small or contrast(image, quad) < FAINTEST:
            ignored.append(box_of(quad[None])[0])
        else:
            kept.append(quad)
    return kept, ignored


def close_up(rng: Generator, material: Material, size: tuple[int, int]) -> Scene:
    """One plate that fills the picture, as in a photograph that somebody has cut out, at times a tiny one enlarged."""
    width, height = size
    picture = any_plate(rng, material)
    image = draw_background(rng, width, height)
    if rng.random() < 0.5 and material.backgrounds:
        image, _ = view(rng, material.backgrounds[rng.integers(0, len(material.backgrounds))], size)
    shape = perspective_quad(rng, plate_ratio(rng, picture), 100)
    fill = float(np.min(np.float32(size) / np.ptp(shape, axis=0))) * rng.uniform(0.7, 1.04)
    middle = np.float32(size) / 2 + rng.normal(0, 0.02, 2) * size
    quad = (shape * fill + middle).astype(np.float32)
    lay(rng, image, picture, quad)
    if rng.random() < 0.5:
        shrink = float(np.exp(rng.uniform(np.log(0.15), np.log(0.6))))
        small = cv2.resize(image, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        image = cv2.resize(expose(rng, small), size, interpolation=cv2.INTER_LINEAR)
    else:
        image = expose(rng, image)
    if rng.random() < 0.7:  # cut off near the plate: what is beyond is padding
        left, top, right, bottom = box_of(quad[None])[0]
        margins = rng.uniform(0, 0.2, 4) * np.repeat(np.ptp(quad, axis=0), 2)[[0, 2, 1, 3]]
        image[: max(0, int(top - margins[1])), :] = PADDING_GREY
        image[max(0, int(bottom + margins[3])) :, :] = PADDING_GREY
        image[:, : max(0, int(left - margins[0]))] = PADDING_GREY
        image[:, max(0, int(right + margins[2])) :] = PADDING_GREY
    return Scene(image, quad[None], np.array([True]), np.zeros((0, 4), np.float32), complete=True)


# --- the ground ------------------------------------------------------------------------------------------------------


def view(rng: Generator, photo: Photo, size: tuple[int, int]) -> tuple[Image, Floats]:
    """A part of `photo`, zoomed, mirrored and a little turned, and its boxes [n, 4] there."""
    width, height = size
    source_height, source_width = photo.image.shape[:2]
    fit = min(width / source_width, height / source_height)
    if len(photo.boxes) and rng.random() < 0.8:
        box = photo.boxes[rng.integers(0, len(photo.boxes))]
        target = float(np.exp(rng.uniform(np.log(16), np.log(0.8 * width))))
        if rng.random() < 0.35:  # the whole frame, as the agent sees it
            scale = fit * rng.uniform(0.9, 1.3)
        else:
            scale = float(np.clip(target / max(4.0, box[2] - box[0]), fit * 0.6, fit * 6))
        focus = (box[:2] + box[2:]) / 2
        place = np.float32([rng.uniform(0.05, 0.95) * width, rng.uniform(0.05, 0.95) * height])
    else:
        scale = fit * float(np.exp(rng.uniform(np.log(0.7), np.log(4))))
        focus = np.float32([rng.uniform(0, source_width), rng.uniform(0, source_height)])
        place = np.float32([width / 2, height / 2])
    if rng.random() < 0.85:  # keep the view filled where the picture is large enough
        for axis, (full, side) in enumerate(((source_width, width), (source_height, height))):
            low, high = side - (full - focus[axis]) * scale, focus[axis] * scale
            place[axis] = np.clip(place[axis], low, high) if low <= high else (low + high) / 2
    flip = -1.0 if rng.random() < 0.5 else 1.0
    angle = np.radians(rng.normal(0, 2.0))
    stretch = rng.uniform(0.85, 1.18)
    linear = np.float32(
        [
            [scale * np.cos(angle) * stretch * flip, -scale * np.sin(angle)],
            [scale * np.sin(angle) * flip, scale * np.cos(angle)],
        ]
    )
    if flip < 0:
        place[0] = width - place[0]
    offset = place - linear @ focus
    matrix = np.concatenate([linear, offset[:, None]], axis=1).astype(np.float32)
    source = photo.image
    if scale < 0.6:
        source = cv2.resize(source, None, fx=2 * scale, fy=2 * scale, interpolation=cv2.INTER_AREA)
        matrix = matrix.copy()
        matrix[:, 0] *= source_width / source.shape[1]
        matrix[:, 1] *= source_height / source.shape[0]
    border = (PADDING_GREY,) * 3 if rng.random() < 0.7 else any_colour(rng)
    image = cv2.warpAffine(source, matrix, (width, height), flags=cv2.INTER_LINEAR, borderValue=border)
    if not len(photo.boxes):
        return image, photo.boxes
    # A turned box grows; a small turn by the plate's middle keeps the size that a person would draw.
    corners = quad_of(photo.boxes)
    middle = corners.mean(axis=1, keepdims=True)
    upright = np.float32([[scale * stretch, 0], [0, scale]])
    moved = (corners - middle) @ upright + (middle @ linear.T + offset)
    return image, box_of(moved.astype(np.float32))


def swap_plate(rng: Generator, image: Image, box: Floats, material: Material) -> Floats:
    """Cover a photographed plate by a rendered one, in place; its corners."""
    picture = any_plate(rng, material)
    ratio = plate_ratio(rng, picture)
    size, middle = box[2:] - box[:2], (box[:2] + box[2:]) / 2
    grown = np.concatenate([middle - size * 0.62 - 1, middle + size * 0.62 + 1])
    left, top = np.clip(grown[:2], 0, None).astype(int)
    right, bottom = np.ceil(grown[2:]).astype(int)
    part = image[top:bottom, left:right]
    if part.size and min(part.shape[:2]) >= 4:
        edge = np.concatenate([part[0], part[-1], part[:, 0], part[:, -1]])
        fill = np.median(edge, axis=0) * rng.uniform(0.6, 1.2)
        part[:] = np.clip(fill + rng.normal(0, 3, (*part.shape[:2], 1)), 0, 255).astype(np.uint8)
    quad = perspective_quad(rng, ratio, 100)
    # The rendered plate takes the place's area, so that long and square plates both look at home there.
    scale = np.sqrt(size[0] * size[1] / max(1.0, float(np.prod(quad.max(axis=0) - quad.min(axis=0)))))
    quad = quad * np.float32(scale * rng.uniform(0.9, 1.35)) + middle
    lay(rng, image, picture, quad.astype(np.float32))
    return quad.astype(np.float32)


# --- what is laid into it --------------------------------------------------------------------------------------------


def any_plate(rng: Generator, material: Material) -> PlatePicture:
    """One of the plates rendered ahead."""
    return material.plates[rng.integers(0, len(material.plates))]


def plate_ratio(rng: Generator, picture: PlatePicture) -> float:
    """Width over height of the plate's body, a little off as bodies and lenses are."""
    corners = picture.corners
    return float(
        np.linalg.norm(corners[1] - corners[0]) / np.linalg.norm(corners[3] - corners[0]) * np.exp(rng.normal(0, 0.05))
    )


def place_plate(
    rng: Generator, image: Image, material: Material, boxes: Floats, quads: Sequence[Floats]
) -> Floats | None:
    """Lay one more rendered plate where there is room, in place; its corners, or None where there was none."""
    picture = any_plate(rng, material)
    ratio = plate_ratio(rng, picture)
    long_side = (
        float(np.exp(rng.uniform(np.log(14), np.log(120))))
        if rng.random() < 0.8
        else rng.uniform(60, 0.9 * image.shape[1])
    )
    width_px = long_side if ratio > 2.5 else long_side * 0.75
    quad = free_quad(rng, image, ratio, width_px, taken_boxes(boxes, quads))
    if quad is None:
        return None
    if rng.random() < 0.75:
        mount(rng, image, quad)
    lay(rng, image, picture, quad)
    if rng.random() < 0.15:
        span = float(quad[:, 0].max() - quad[:, 0].min())
        above = quad.mean(axis=0) - np.float32([rng.normal(0, 0.4) * span, rng.uniform(-0.2, 1.2) * span])
        draw_glow(rng, image, float(above[0]), float(above[1]), max(2.0, span * rng.uniform(0.1, 0.4)))
    return quad


def scatter_distractor(rng: Generator, image: Image, boxes: Floats, quads: Sequence[Floats]) -> None:
    """Draw something that is no plate where no plate is, in place."""
    taken, height, width = taken_boxes(boxes, quads), *image.shape[:2]
    if rng.random() < 0.8:
        picture = distractor(rng)
        span = float(np.exp(rng.uniform(np.log(10), np.log(width * 0.5))))
        quad = free_quad(rng, image, picture.image.shape[1] / picture.image.shape[0], span, taken)
        if quad is not None:
            lay(rng, image, picture, quad)
        return
    text, size = str(rng.choice(WORDS)), float(np.exp(rng.uniform(np.log(6), np.log(30))))
    x, y = float(rng.uniform(0, width)), float(rng.uniform(size, height))
    if overlap(np.float32([x, y - size * 1.2, x + size * 0.8 * len(text), y + size * 0.3]), taken) < 0.03:
        draw_text(rng, image, text, int(x), int(y), size, any_colour(rng))


def free_quad(rng: Generator, image: Image, ratio: float, width_px: float, taken: Floats) -> Floats | None:
    """Corners for something `width_px` wide where nothing of `taken` [n, 4] is, or None."""
    height, width = image.shape[:2]
    shape = perspective_quad(rng, ratio, width_px)
    for _ in range(5):
        quad = (shape + np.float32([rng.uniform(0, width), rng.uniform(0, height)])).astype(np.float32)
        if overlap(box_of(quad[None])[0], taken) < 0.03:
            return quad
    return None


def taken_boxes(boxes: Floats, quads: Sequence[Floats]) -> Floats:
    """Boxes of all plates so far."""
    return np.concatenate([boxes, box_of(np.float32(quads).reshape(-1, 4, 2))])


def contrast(image: Image, quad: Floats) -> float:
    """Standard deviation of the grey levels in the box around `quad`."""
    left, top = np.clip(quad.min(axis=0), 0, None).astype(int)
    right, bottom = np.ceil(quad.max(axis=0)).astype(int)
    part = image[top:bottom, left:right]
    return float(cv2.cvtColor(part, cv2.COLOR_BGR2GRAY).std()) if part.size else 0.0


# --- a look at it ----------------------------------------------------------------------------------------------------


def draw_scene(scene: Scene) -> Image:
    """The scene with its labels: exact corners green with a red top left, boxes blue, ignored grey."""
    image = scene.image.copy()
    for quad, exact in zip(scene.quads, scene.exact, strict=True):
        cv2.polylines(image, [np.int32(quad)], True, (0, 255, 0) if exact else (255, 80, 0), 1, cv2.LINE_AA)
        cv2.circle(image, [int(v) for v in quad[0]], 2, (0, 0, 255), -1)
    for left, top, right, bottom in scene.ignored:
        cv2.rectangle(image, (int(left), int(top)), (int(right), int(bottom)), (128, 128, 128), 1)
    return image


def main() -> None:
    """Draw a contact sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder that holds train/")
    parser.add_argument("sheet", type=Path, help="the picture to write")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--side", type=int, default=256, help="pixels of a scene")
    arguments = parser.parse_args()
    material = load_material(arguments.data, plate_pool(200, arguments.seed), lambda _: False)
    rng = np.random.default_rng(arguments.seed)
    rows = []
    for _ in range(6):
        scenes = [render_scene(rng, material, (arguments.side, arguments.side)) for _ in range(8)]
        rows.append(np.hstack([draw_scene(scene) for scene in scenes]))
    cv2.imwrite(str(arguments.sheet), np.vstack(rows))


if __name__ == "__main__":
    main()
