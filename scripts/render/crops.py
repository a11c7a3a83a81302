"""Crops as the recogniser gets them: a rendered plate, photographed, cut out with a detector's imperfect corners."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from lpr.domain.plate import PlateColour
from lpr.plates.alphabet import BLANK, INDEX, SLOTS
from lpr.vision.rectify import corners_home
from scripts.render.camera import Corners, backdrop, is_grey, light, obstruct, pose, project, shoot
from scripts.render.paint import Image
from scripts.render.plate import ROW_HEIGHT_PX, RenderedPlate, draw_plate
from scripts.render.plate_spec import random_spec

CROP_WIDTH: Final = 160
CROP_HEIGHT: Final = 64
CROP_MARGIN: Final = 0.06
"""Share of the plate's sides that the crop shows around it, on each side."""

COLOURS: Final = tuple(PlateColour)

UNKNOWN: Final = -1
"""A label that no loss is taken on."""


@dataclass(frozen=True, slots=True, eq=False)
class Crop:
    """One sample of the recogniser.

    `image` uint8 (CROP_HEIGHT, CROP_WIDTH, 3) BGR. `characters` int (SLOTS,) classes, blanks behind the text. `centres`
    float32 (SLOTS, 2): x and y of each character as fractions of the crop, nan for blanks. `corners` float32 (4, 2):
    the plate's own corners in the same form, nan where they are not known. `rows` 0 for one row, 1 for two; `colour`
    index into COLOURS, UNKNOWN where the picture does not tell; `readable` 0 or 1.
    """

    image: Image
    characters: NDArray[np.int8]
    centres: NDArray[np.float32]
    corners: NDArray[np.float32]
    rows: int
    colour: int
    readable: int


def hardness(random: Random) -> float:
    """How hard wear, light and camera make it for one plate, 0.1 to 1: at a gate most plates are plain to read.

    One figure for all of them: drawn apart, half of the plates had one thing at its worst, and a third could not be
    read by anybody.
    """
    return 0.1 + 0.9 * random.random() ** 1.7


def random_crop(random: Random, backgrounds: list[Image]) -> Crop:
    """A plate, now and then one that cannot be read or none at all (drawn from `backgrounds` where there are any)."""
    fate = random.random()
    if fate < 0.035:
        return _no_plate(random, backgrounds)
    return _plate_crop(random, backgrounds, spoil=fate < 0.075)


def _plate_crop(random: Random, backgrounds: list[Image], *, spoil: bool) -> Crop:
    spec = random_spec(random)
    width, hard = _width(random, spec.rows), hardness(random)
    if spoil and random.random() < 0.4:
        width = random.uniform(9, 20)
    scale = max(0.16, min(1.2, 1.15 * width / (ROW_HEIGHT_PX * spec.rows * spec.ratio)))
    plate = draw_plate(spec, random, scale, hard=hard)
    if spoil and width > 20:
        plate = _spoiled(plate, random)
    if random.random() < 0.15:
        plate = bent(plate, random)
    corners = pose(random, spec.ratio, width, hard=random.uniform(0.3, 1.0))
    image, homography, corners = place(plate, corners, random, backgrounds)
    if random.random() < 0.05 + 0.15 * hard:
        image = obstruct(image, corners, random, hard=hard)
    image = shoot(light(image, corners, random, hard=hard), random, hard=hard)
    quad = seen_quad(corners, random)
    crop, to_crop = rectify(image, quad)
    size = np.float32([CROP_WIDTH, CROP_HEIGHT])
    centres = plate.char_boxes[:, :2] + plate.char_boxes[:, 2:] / 2
    centres = project(centres.astype(np.float32), to_crop @ homography) / size
    return _labelled(crop, plate, centres, project(corners, to_crop) / size, readable=not spoil)


def _unknown(points: int) -> NDArray[np.float32]:
    return np.full((points, 2), np.nan, np.float32)


def bent(plate: RenderedPlate, random: Random) -> RenderedPlate:
    """The plate bowed around an upright axis, as bumpers and hands bend it: its middle rises or sinks."""
    height, width = plate.image.shape[:2]
    rise = random.uniform(-0.07, 0.07) * height * min(2.0, width / height) / 2
    apex = random.uniform(0.3, 0.7)

    def shift(x: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.float32(rise) * (1 - ((x / width - apex) / 0.5) ** 2)

    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    rows -= shift(columns)
    image = cv2.remap(plate.image, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    body = cv2.remap(plate.body, columns, rows, cv2.INTER_LINEAR)
    corners, boxes = plate.corners.copy(), plate.char_boxes.copy()
    corners[:, 1] += shift(corners[:, 0])
    boxes[:, 1] += shift(boxes[:, 0] + boxes[:, 2] / 2)
    return replace(plate, image=image, body=body, corners=corners, char_boxes=boxes)


def _width(random: Random, rows: int) -> float:
    """Width of the plate in the camera's picture, pixels: small ones more often."""
    low, high = (38, 330) if rows == 1 else (28, 260)
    return float(low * (high / low) ** (random.random() ** 0.9))


def _labelled(
    crop: Image, plate: RenderedPlate, centres: NDArray[np.float32], corners: Corners, *, readable: bool
) -> Crop:
    characters = np.full(SLOTS, BLANK, np.int8)
    places = _unknown(SLOTS)
    if readable:
        characters[: len(plate.text)] = [INDEX[character] for character in plate.text]
        places[: len(plate.text)] = centres
    colour = UNKNOWN if not readable or is_grey(crop) else COLOURS.index(plate.colour)
    rows = plate.rows - 1 if readable else UNKNOWN
    return Crop(crop, characters, places, corners, rows, colour, int(readable))


def place(
    plate: RenderedPlate, corners: Corners, random: Random, backgrounds: list[Image]
) -> tuple[Image, NDArray[np.float64], Corners]:
    """Lay a flat plate into a small scene: the scene, the homography from the plate's picture, the corners in it."""
    low, high = corners.min(axis=0), corners.max(axis=0)
    margin = 0.22 * (high - low) + 3
    corners = corners - low + margin
    width, height = np.ceil(high - low + 2 * margin).astype(int).tolist()
    homography = cv2.getPerspectiveTransform(plate.corners, corners.astype(np.float32))
    scene = _background(random, backgrounds, width, height)
    if random.random() < 0.35:
        flat = cv2.warpPerspective(plate.image, homography, (width, height), borderMode=cv2.BORDER_REPLICATE)
        mask = cv2.warpPerspective(
            np.full(plate.body.shape, 255, np.uint8), homography, (width, height), borderMode=cv2.BORDER_CONSTANT
        )
        cv2.copyTo(flat, mask, scene)
    else:
        flat = cv2.warpPerspective(plate.image, homography, (width, height), borderMode=cv2.BORDER_REPLICATE)
        mask = cv2.warpPerspective(plate.body, homography, (width, height))
        mask = cv2.threshold(mask, 127, 255, cv2.THRESH_BINARY)[1]
        cv2.copyTo(flat, mask, scene)
    return scene, homography, corners.astype(np.float32)


def _background(random: Random, backgrounds: list[Image], width: int, height: int) -> Image:
    if backgrounds and random.random() < 0.5:
        picture = random.choice(backgrounds)
        rows, columns = picture.shape[:2]
        span_x, span_y = min(columns, max(width, 24)), min(rows, max(height, 24))
        x, y = random.randint(0, columns - span_x), random.randint(0, rows - span_y)
        return cv2.resize(picture[y : y + span_y, x : x + span_x], (width, height), interpolation=cv2.INTER_LINEAR)
    return backdrop(random, width, height)


def seen_quad(corners: Corners, random: Random) -> Corners:
    """The corners as a detector finds them: each a little off, all shifted and scaled; at times only an upright box.

    Of plates that are seen at an angle it finds them worse: each is off by five per cent and more of the plate's sides.
    """
    if random.random() < 0.15:
        low, high = corners.min(axis=0), corners.max(axis=0)
        quad = np.array([low, [high[0], low[1]], high, [low[0], high[1]]], np.float32)
    else:
        quad = corners.copy()
    width = float(np.hypot(*(quad[1] - quad[0])))
    height = float(np.hypot(*(quad[3] - quad[0])))
    size = np.float32([width, height])
    # One-row plates are flat: an error of the same pixels is a larger share of their height.
    loose = np.float32([1.0, min(1.6, max(1.0, width / height / 2))])
    spread = random.choice((0.008, 0.015, 0.025) if random.random() < 0.6 else (0.035, 0.05, 0.07))
    jitter = np.float32([[random.gauss(0, spread), random.gauss(0, spread)] for _ in range(4)])
    jitter = jitter.clip(-2.2 * spread, 2.2 * spread)
    shift = np.float32([random.gauss(0, 0.012), random.gauss(0, 0.012)])
    grow = np.float32([1 + random.gauss(0.01, 0.025), 1 + random.gauss(0.01, 0.03)])
    centre = quad.mean(axis=0)
    return centre + (quad - centre) * grow + (jitter + shift) * size * loose


def rectify(image: Image, quad: Corners) -> tuple[Image, NDArray[np.float64]]:
    """Cut `quad` with its margin out of `image`, stretched to the recogniser's input; the crop and the homography."""
    target = corners_home(CROP_MARGIN) * np.float32([CROP_WIDTH, CROP_HEIGHT])
    homography = cv2.getPerspectiveTransform(quad.astype(np.float32), target)
    crop = cv2.warpPerspective(
        image, homography, (CROP_WIDTH, CROP_HEIGHT), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return crop, homography


@dataclass(frozen=True, slots=True, eq=False)
class RealPlate:
    """A labelled plate of a photograph that may train: the picture around it and its upright box as corners in it."""

    image: Image
    corners: Corners
    text: str
    rows: int


def real_crop(plate: RealPlate, random: Random) -> Crop:
    """A real plate through one more camera; where its characters stand is not known."""
    image = shoot(light(plate.image, plate.corners, random), random, hard=random.choice((0.3, 0.6)))
    crop, _ = rectify(image, seen_quad(plate.corners, random))
    characters = np.full(SLOTS, BLANK, np.int8)
    characters[: len(plate.text)] = [INDEX[character] for character in plate.text]
    return Crop(crop, characters, _unknown(SLOTS), _unknown(4), plate.rows - 1, UNKNOWN, 1)


def _no_plate(random: Random, backgrounds: list[Image]) -> Crop:
    """A false alarm of the detector: a piece of the world without a plate, or a body without characters."""
    width = random.randint(40, 200)
    height = max(20, round(width / random.uniform(1.2, 5.0)))
    image = shoot(_background(random, backgrounds, width, height), random)
    image = cv2.resize(image, (CROP_WIDTH, CROP_HEIGHT), interpolation=cv2.INTER_LINEAR)
    return Crop(image, np.full(SLOTS, BLANK, np.int8), _unknown(SLOTS), _unknown(4), UNKNOWN, UNKNOWN, 0)


def _spoiled(plate: RenderedPlate, random: Random) -> RenderedPlate:
    """The same plate with most of its text gone: covered, over-exposed, moved beyond recognition."""
    image = plate.image.copy()
    height, width = image.shape[:2]
    if random.random() < 0.5:
        share = random.uniform(0.45, 0.9)
        cover = backdrop(random, width, height)
        edge = round(width * share)
        if random.random() < 0.5:
            image[:, :edge] = cover[:, :edge]
        else:
            image[:, width - edge :] = cover[:, width - edge :]
    else:
        length = max(9, round(width * random.uniform(0.16, 0.35)))
        image = cv2.blur(image, (length, max(1, length // random.randint(1, 6))))
    return replace(plate, image=image)
