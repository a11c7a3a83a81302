"""Scenes for the detector: plates on photographs and on drawn backgrounds, with their boxes and exact corners.

A scene is cut, turned and zoomed out of a photograph (or drawn from nothing), plates are laid into it in perspective,
things that look like plates and are none are added, things stand before plates, and a camera takes the picture. Plates
that the photographs hold keep their boxes; as their corners are not known, `Scene.exact` is false for them.

    python -m scripts.render.scene DATA SHEET.png      draws a contact sheet of what training sees
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from scripts.render.plate import render_plate

Image: TypeAlias = NDArray[np.uint8]
Floats: TypeAlias = NDArray[np.float32]
Random: TypeAlias = np.random.Generator

LETTERBOX_GREY = 114  # what lpr.vision pads with
CAR_LONG, CAR_SHORT, BIKE = 520 / 110, 330 / 165, 190 / 140
CLOSE_UPS = 0.07  # part of the scenes in which one plate fills the picture
FAINTEST = 8.0  # grey levels of contrast over a plate, under which it is neither wanted nor held against the network
SMALLEST_HEIGHT_PX = 5  # under this, rendered plates are neither wanted nor held against the network
UNIT_SQUARE = np.float32([[0, 0], [1, 0], [1, 1], [0, 1]])


@dataclass(frozen=True)
class Photo:
    """A photograph and its plate boxes, float32 [n, 4] as left, top, right, bottom in its pixels.

    `complete` is false where the picture may show plates that have no box.
    """

    image: Image
    boxes: Floats
    complete: bool = False


@dataclass(frozen=True)
class PlatePicture:
    """A plate seen straight on and the four corners of its body in that picture, clockwise from the top left.

    `body` is uint8 [h, w], 255 where the picture shows plate or holder and 0 where a scene shows through; None where
    the corners say it all.
    """

    image: Image
    corners: Floats
    body: Image | None = None


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


@dataclass(frozen=True)
class Material:
    """All that scenes are made of. Where there are no photographs, all is drawn."""

    photos: Sequence[Photo]  # with plates
    close: Sequence[Photo]  # Vietnamese ones: few, and drawn from more often
    backgrounds: Sequence[Photo]  # without plates
    plates: Sequence[PlatePicture]


# --- what goes in -----------------------------------------------------------------------------------------------------


def plate_pool(count: int, seed: int) -> list[PlatePicture]:
    """Plates rendered ahead: straight on, at most 112 pixels high."""
    rng = np.random.default_rng(seed)
    pool = []
    for _ in range(count):
        plate = render_plate(rng)
        image, corners, body = plate.image, plate.corners, plate.body
        scale = 112 / image.shape[0]
        if scale < 1:
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            body = cv2.resize(body, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_AREA)
            corners = corners * np.float32(
                [image.shape[1] / plate.image.shape[1], image.shape[0] / plate.image.shape[0]]
            )
        pool.append(PlatePicture(image, corners, body))
    return pool


def load_photos(folder: Path, longest_side: int = 720, *, complete: bool = False) -> dict[str, Photo]:
    """Read `folder`/labels.csv and its pictures, shrunk to `longest_side`, by file name."""
    boxes: dict[str, list[list[float]]] = defaultdict(list)
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            of_image = boxes[row["image"]]
            if row["width"]:
                x, y, width, height = (float(row[key]) for key in ("x", "y", "width", "height"))
                of_image.append([x, y, x + width, y + height])
    photos = {}
    for name, found in boxes.items():
        image = cv2.imread(str(folder / "images" / name))
        assert image is not None, f"{folder}/images/{name} cannot be read"
        scale = min(1.0, longest_side / max(image.shape[:2]))
        if scale < 1:
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        photos[name] = Photo(image, np.float32(found).reshape(-1, 4) * np.float32(scale), complete)
    return photos


# --- geometry ------------------------------------------------------------------------------------------------------


def box_of(quads: Floats) -> Floats:
    """Upright boxes [n, 4] around `quads` [n, 4, 2]."""
    return np.concatenate([quads.min(axis=1), quads.max(axis=1)], axis=1).astype(np.float32).reshape(-1, 4)


def quad_of(boxes: Floats) -> Floats:
    """The corners [n, 4, 2] of upright boxes [n, 4]."""
    left, top, right, bottom = boxes.T
    return np.stack([left, top, right, top, right, bottom, left, bottom], axis=1).astype(np.float32).reshape(-1, 4, 2)


def overlap(box: Floats, others: Floats) -> float:
    """The largest part of `box` or of one of `others` [n, 4] that both share, 0..1."""
    if not len(others):
        return 0.0
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=1)
    area = np.prod(np.clip(others[:, 2:] - others[:, :2], 1e-3, None), axis=1)
    return float((shared / np.minimum(area, max(1e-3, float(np.prod(box[2:] - box[:2]))))).max())


def perspective_quad(rng: Random, ratio: float, width: float) -> Floats:
    """Corners of a plate of `ratio` turned in space, about `width` pixels wide, centred on 0,0."""
    strong = rng.random() < 0.25
    yaw, pitch = np.radians(rng.normal(0, 28 if strong else 13)), np.radians(rng.normal(8, 22 if strong else 11))
    roll = np.radians(rng.normal(0, 14 if strong else 4))
    yaw, pitch, roll = (float(np.clip(angle, -1.05, 1.05)) for angle in (yaw, pitch, roll))
    corners = np.float32([[-1, -1 / ratio, 0], [1, -1 / ratio, 0], [1, 1 / ratio, 0], [-1, 1 / ratio, 0]])
    turn = cv2.Rodrigues(np.float32([0, 0, roll]))[0] @ cv2.Rodrigues(np.float32([pitch, 0, 0]))[0]
    turned = corners @ (turn @ cv2.Rodrigues(np.float32([0, yaw, 0]))[0]).T
    distance = float(np.exp(rng.uniform(np.log(3.5), np.log(25))))
    flat = turned[:, :2] / (1 + turned[:, 2:] / distance)
    return (flat * (width / 2)).astype(np.float32)


# --- what is drawn -------------------------------------------------------------------------------------------------


def any_colour(rng: Random, grey: float = 0.5) -> tuple[int, int, int]:
    """A random BGR colour; with probability `grey` nearly a grey."""
    value = rng.integers(0, 256)
    if rng.random() < grey:
        return tuple(int(np.clip(value + rng.normal(0, 8), 0, 255)) for _ in range(3))  # type: ignore[return-value]
    return tuple(int(v) for v in rng.integers(0, 256, 3))  # type: ignore[return-value]


def draw_background(rng: Random, width: int, height: int) -> Image:
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


def draw_shape(rng: Random, image: Image) -> None:
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


def draw_stripes(rng: Random, image: Image, x: int, y: int, length: int) -> None:
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


WORDS = (
    *("TAXI", "HONDA", "YAMAHA", "SH 150i", "Vision", "KIA", "TOYOTA", "MAZDA", "STOP", "Baby", "EXIT", "P", "5 km/h"),
    *("BAO VE", "VINAMILK", "SALE 50%", "CAM DO XE", "WC", "NO PARKING", "4x4", "AIR BLADE", "lead", "2.0 VVT-i"),
    *("BUS", "XE BUYT", "Piaggio", "POLICE", "CSGT", "AB", "www.abc.vn", "1900 6789", "0903 123 456", "Hotline"),
)
"""What stands on signs, stickers and vehicles."""


def draw_text(rng: Random, image: Image, text: str, x: int, y: int, height_px: float, colour: tuple[int, ...]) -> None:
    """Plain lettering, its baseline starting at `x`, `y`."""
    font = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_PLAIN)
    thick = max(1, round(height_px / 9))
    cv2.putText(image, text, (x, y), font[rng.integers(0, 4)], height_px / 22, colour, thick, cv2.LINE_AA)


def draw_stamp(rng: Random, image: Image) -> None:
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


def sign_picture(rng: Random) -> PlatePicture:
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


def emblem_picture(rng: Random) -> PlatePicture:
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
    return PlatePicture(shaded(rng, image), UNIT_SQUARE * np.float32([width, height]))


def lamp_picture(rng: Random) -> PlatePicture:
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
    return PlatePicture(shaded(rng, image), UNIT_SQUARE * np.float32([width, height]))


def grid_picture(rng: Random) -> PlatePicture:
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
    return PlatePicture(shaded(rng, image), UNIT_SQUARE * np.float32([width, height]))


def shaded(rng: Random, image: Image) -> Image:
    """`image` under a light that changes over it."""
    light = cv2.resize(rng.normal(0.9, 0.25, (2, 3)).astype(np.float32), (image.shape[1], image.shape[0]))
    return np.clip(image * light[..., None], 0, 255).astype(np.uint8)


def draw_glow(rng: Random, image: Image, x: float, y: float, radius: float) -> None:
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


# --- laying plates into a picture ----------------------------------------------------------------------------------


def lay(rng: Random, image: Image, picture: PlatePicture, quad: Floats, *, lit: float | None = None) -> None:
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


def mount(rng: Random, image: Image, quad: Floats) -> None:
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


def hide(rng: Random, image: Image, quad: Floats) -> float:
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


# --- a scene -------------------------------------------------------------------------------------------------------


def view(rng: Random, photo: Photo, size: tuple[int, int]) -> tuple[Image, Floats]:
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
    border = (LETTERBOX_GREY,) * 3 if rng.random() < 0.7 else any_colour(rng)
    image = cv2.warpAffine(source, matrix, (width, height), flags=cv2.INTER_LINEAR, borderValue=border)
    if not len(photo.boxes):
        return image, photo.boxes
    # A turned box grows; a small turn by the plate's middle keeps the size that a person would draw.
    corners = quad_of(photo.boxes)
    middle = corners.mean(axis=1, keepdims=True)
    upright = np.float32([[scale * stretch, 0], [0, scale]])
    moved = (corners - middle) @ upright + (middle @ linear.T + offset)
    return image, box_of(moved.astype(np.float32))


def swap_plate(rng: Random, image: Image, box: Floats, picture: PlatePicture, ratio: float) -> Floats:
    """Cover a photographed plate by a rendered one, in place; its corners."""
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


def camera(rng: Random, image: Image) -> Image:
    """Light, lens, sensor and codec."""
    height, width = image.shape[:2]
    if rng.random() < 0.25:
        small = rng.normal(1, 0.25, (3, 3)).astype(np.float32)
        image = np.clip(image * cv2.resize(small, (width, height))[..., None], 0, 255).astype(np.uint8)
    steps = np.arange(256, dtype=np.float32) / 255
    curve = np.clip(steps ** float(np.exp(rng.normal(0, 0.35))) * rng.uniform(0.65, 1.35) + rng.normal(0, 0.06), 0, 1)
    white = np.exp(rng.normal(0, 0.08, 3)) if rng.random() < 0.8 else np.exp(rng.normal(0, 0.3, 3))
    table = np.clip(curve[:, None] * white[None] * 255, 0, 255).astype(np.uint8)
    image = cv2.LUT(image, table.reshape(1, 256, 3))
    if rng.random() < 0.2:
        grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
        keep = float(rng.choice([0.0, 0.3, 0.6]))
        image = cv2.addWeighted(image, keep, grey, 1 - keep, 0)
    if rng.random() < 0.1:
        image = 255 - cv2.LUT(image, table.reshape(1, 256, 3)) if rng.random() < 0.1 else image
    kind = rng.random()
    if kind < 0.25:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.4))
    elif kind < 0.38:
        length, angle = int(rng.integers(3, 9)), rng.uniform(0, np.pi)
        kernel = np.zeros((length, length), np.float32)
        reach = np.float32([np.cos(angle), np.sin(angle)]) * length / 2
        centre = np.float32([length / 2 - 0.5] * 2)
        cv2.line(kernel, [int(v) for v in np.round(centre - reach)], [int(v) for v in np.round(centre + reach)], 1.0)
        image = cv2.filter2D(image, -1, kernel / max(1.0, float(kernel.sum())))
    elif kind < 0.5:
        soft = cv2.GaussianBlur(image, (0, 0), 1.2)
        image = cv2.addWeighted(image, 1 + (gain := rng.uniform(0.3, 1.5)), soft, -gain, 0)
    if rng.random() < 0.45:
        sigma = rng.uniform(2, 16)
        coarse = rng.random() < 0.4
        shape = (height // 2, width // 2, 1) if coarse else (height, width, 1 if rng.random() < 0.5 else 3)
        noise = rng.standard_normal(shape, np.float32) * sigma
        if coarse:
            noise = cv2.resize(noise, (width, height))[..., None]
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.4:
        ok, coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(18, 85))])
        assert ok
        image = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    return image


def render_scene(rng: Random, material: Material, size: tuple[int, int]) -> Scene:
    """One scene of `size` (width, height) pixels."""
    if rng.random() < CLOSE_UPS:
        return close_up(rng, material, size)
    width, height = size
    exact_quads: list[Floats] = []
    ignored: list[Floats] = []
    boxes = np.zeros((0, 4), np.float32)
    complete = True
    choice = rng.random()
    pool = material.photos if choice < 0.42 else material.close if choice < 0.56 else ()
    if pool:
        photo = pool[rng.integers(0, len(pool))]
        image, boxes = view(rng, photo, size)
        complete = photo.complete
        if rng.random() < 0.5 and len(boxes):
            for box in boxes:
                picture = material.plates[rng.integers(0, len(material.plates))]
                exact_quads.append(swap_plate(rng, image, box, picture, plate_ratio(rng, picture)))
            boxes = boxes[:0]
    elif choice < 0.74 and material.backgrounds:
        image, _ = view(rng, material.backgrounds[rng.integers(0, len(material.backgrounds))], size)
    else:
        image = draw_background(rng, width, height)
    for _ in range(rng.integers(0, 6)):
        scatter_distractor(rng, image, boxes, exact_quads)
    wanted = (
        int(rng.choice([0, 1, 2, 3, 5], p=[0.3, 0.35, 0.2, 0.1, 0.05]))
        if choice < 0.56
        else int(rng.choice([0, 1, 2, 3, 5], p=[0.1, 0.45, 0.25, 0.13, 0.07]))
    )
    for _ in range(wanted):
        quad = place_plate(rng, image, material, boxes, exact_quads)
        if quad is not None:
            exact_quads.append(quad)
    kept: list[Floats] = []
    for quad in exact_quads:
        hidden = hide(rng, image, quad) if rng.random() < 0.18 else 0.0
        inside = visible_part(quad, width, height)
        small = float(np.ptp(quad[:, 1])) < SMALLEST_HEIGHT_PX
        if hidden > 0.45 or inside < 0.5 or small or contrast(image, quad) < FAINTEST:
            ignored.append(box_of(quad[None])[0])
        else:
            kept.append(quad)
    for _ in range(int(rng.choice([0, 1, 2, 3], p=[0.6, 0.2, 0.1, 0.1]))):
        draw_glow(
            rng,
            image,
            rng.uniform(0, width),
            rng.uniform(0, height),
            float(np.exp(rng.uniform(np.log(3), np.log(width * 0.12)))),
        )
    if rng.random() < 0.2:
        draw_stamp(rng, image)
    seen = np.array([visible_part(quad, width, height) for quad in quad_of(boxes)], np.float32)
    ignored.extend(boxes[(seen > 0.02) & (seen < 0.5)] if len(boxes) else [])
    boxes = boxes[seen >= 0.5] if len(boxes) else boxes
    quads = np.concatenate([np.float32(kept).reshape(-1, 4, 2), quad_of(boxes)])
    exact = np.array([True] * len(kept) + [False] * len(boxes), np.bool_)
    return Scene(camera(rng, image), quads, exact, np.float32(ignored).reshape(-1, 4), complete)


def close_up(rng: Random, material: Material, size: tuple[int, int]) -> Scene:
    """One plate that fills the picture, as in a photograph that somebody has cut out, at times a tiny one enlarged."""
    width, height = size
    picture = material.plates[rng.integers(0, len(material.plates))]
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
        image = cv2.resize(camera(rng, small), size, interpolation=cv2.INTER_LINEAR)
    else:
        image = camera(rng, image)
    if rng.random() < 0.7:  # cut off near the plate: what is beyond is padding
        left, top, right, bottom = box_of(quad[None])[0]
        margins = rng.uniform(0, 0.2, 4) * np.repeat(np.ptp(quad, axis=0), 2)[[0, 2, 1, 3]]
        image[: max(0, int(top - margins[1])), :] = LETTERBOX_GREY
        image[max(0, int(bottom + margins[3])) :, :] = LETTERBOX_GREY
        image[:, : max(0, int(left - margins[0]))] = LETTERBOX_GREY
        image[:, max(0, int(right + margins[2])) :] = LETTERBOX_GREY
    return Scene(image, quad[None], np.array([True]), np.zeros((0, 4), np.float32), complete=True)


def contrast(image: Image, quad: Floats) -> float:
    """Standard deviation of the grey levels in the box around `quad`."""
    left, top = np.clip(quad.min(axis=0), 0, None).astype(int)
    right, bottom = np.ceil(quad.max(axis=0)).astype(int)
    part = image[top:bottom, left:right]
    return float(cv2.cvtColor(part, cv2.COLOR_BGR2GRAY).std()) if part.size else 0.0


def visible_part(quad: Floats, width: int, height: int) -> float:
    """How much of the box around `quad` lies inside the picture, 0..1."""
    low, high = quad.min(axis=0), quad.max(axis=0)
    inside = np.clip(np.minimum(high, (width, height)) - np.maximum(low, 0), 0, None)
    return float(np.prod(inside) / max(1e-3, float(np.prod(high - low))))


def plate_ratio(rng: Random, picture: PlatePicture) -> float:
    """Width over height of the plate's body, a little off as bodies and lenses are."""
    corners = picture.corners
    return float(
        np.linalg.norm(corners[1] - corners[0]) / np.linalg.norm(corners[3] - corners[0]) * np.exp(rng.normal(0, 0.05))
    )


def free_quad(rng: Random, image: Image, ratio: float, width_px: float, taken: Floats) -> Floats | None:
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


def place_plate(rng: Random, image: Image, material: Material, boxes: Floats, quads: Sequence[Floats]) -> Floats | None:
    """Lay one more rendered plate where there is room, in place; its corners, or None where there was none."""
    picture = material.plates[rng.integers(0, len(material.plates))]
    ratio = plate_ratio(rng, picture)
    long_side = (
        float(np.exp(rng.uniform(np.log(18), np.log(120))))
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


def scatter_distractor(rng: Random, image: Image, boxes: Floats, quads: Sequence[Floats]) -> None:
    """Draw something that is no plate where no plate is, in place."""
    taken, height, width = taken_boxes(boxes, quads), *image.shape[:2]
    if rng.random() < 0.8:
        makers = (sign_picture, emblem_picture, lamp_picture, grid_picture)
        picture = makers[rng.choice(4, p=[0.4, 0.2, 0.2, 0.2])](rng)
        span = float(np.exp(rng.uniform(np.log(10), np.log(width * 0.5))))
        quad = free_quad(rng, image, picture.image.shape[1] / picture.image.shape[0], span, taken)
        if quad is not None:
            lay(rng, image, picture, quad)
        return
    text, size = str(rng.choice(WORDS)), float(np.exp(rng.uniform(np.log(6), np.log(30))))
    x, y = float(rng.uniform(0, width)), float(rng.uniform(size, height))
    if overlap(np.float32([x, y - size * 1.2, x + size * 0.8 * len(text), y + size * 0.3]), taken) < 0.03:
        draw_text(rng, image, text, int(x), int(y), size, any_colour(rng))


# --- a look at it --------------------------------------------------------------------------------------------------


def folders_of(data: Path | None) -> list[Path]:
    """The folders of photographs that there are under `data`/train."""
    wanted = () if data is None else (data / "train" / name for name in ("world", "vietnam", "background"))
    return [folder for folder in wanted if (folder / "labels.csv").exists()]


def load_material(data: Path | None, plates: Sequence[PlatePicture], held_out: Callable[[str], bool]) -> Material:
    """What there is under `data`/train, without the photographs that `held_out` names for validation."""
    kinds: dict[str, list[Photo]] = {"world": [], "vietnam": [], "background": []}
    for folder in folders_of(data):
        photos = load_photos(folder, complete=folder.name == "background")
        kinds[folder.name] = [photo for name, photo in photos.items() if not held_out(name)]
    return Material(kinds["world"], kinds["vietnam"], kinds["background"], plates)


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
