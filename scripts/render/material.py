"""What the detector's scenes are made of: photographs with their boxes, and plates rendered ahead."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import cv2
import numpy as np

from lpr.domain.plate import PlateColour
from scripts.render.paint import Image
from scripts.render.plate import draw_plate
from scripts.render.plate_spec import PlateSpec, random_spec
from scripts.render.quads import Floats


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
class Material:
    """All that scenes are made of. Where there are no photographs, all is drawn."""

    photos: Sequence[Photo]  # with plates
    close: Sequence[Photo]  # Vietnamese ones: few, and drawn from more often
    backgrounds: Sequence[Photo]  # without plates
    plates: Sequence[PlatePicture]


ANY_COLOUR = 0.3
"""Part of the plates whose colour is drawn evenly: of rare ones, as of the army's red, roads show too few."""


def plate_pool(count: int, seed: int) -> list[PlatePicture]:
    """Plates rendered ahead: straight on, at most 112 pixels high."""
    random = Random(seed)
    pool = []
    for _ in range(count):
        plate = draw_plate(any_spec(random), random)
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


def any_spec(random: Random) -> PlateSpec:
    """What a plate says, its colour as often as the road shows it or as any other."""
    colour = random.choice(list(PlateColour)) if random.random() < ANY_COLOUR else None
    while True:
        spec = random_spec(random)
        if colour in (None, spec.colour):
            return spec


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
