"""Show what the renderer makes: a sheet of flat plates, or of crops as the recogniser gets them with their labels.

python -m scripts.render.sheet plates.png
python -m scripts.render.sheet crops.png --crops [--backgrounds FOLDER] [--seed 3] [--count 120]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from random import Random

import cv2
import numpy as np

from lpr.plates.alphabet import ALPHABET, BLANK
from scripts.render.crops import COLOURS, CROP_HEIGHT, CROP_WIDTH, UNKNOWN, Crop, random_crop
from scripts.render.paint import Image
from scripts.render.plate import RenderedPlate, render_plate

COLUMNS = 10


def plate_tile(plate: RenderedPlate) -> Image:
    """A plate shrunk into 190x120 pixels."""
    tile = np.zeros((120, 190, 3), np.uint8)
    factor = min(190 / plate.image.shape[1], 120 / plate.image.shape[0])
    small = cv2.resize(plate.image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    tile[: small.shape[0], : small.shape[1]] = small[:120, :190]
    return tile


def crop_tile(crop: Crop) -> Image:
    """A crop with the centres of its characters, its text, rows and colour below."""
    tile = np.zeros((CROP_HEIGHT + 14, CROP_WIDTH + 4, 3), np.uint8)
    shown = crop.image.copy()
    for x, y in crop.centres[np.isfinite(crop.centres[:, 0])]:
        cv2.circle(shown, (round(float(x) * CROP_WIDTH), round(float(y) * CROP_HEIGHT)), 1, (0, 255, 0), -1)
    tile[:CROP_HEIGHT, :CROP_WIDTH] = shown
    text = "".join(ALPHABET[index] for index in crop.characters if index != BLANK).replace("Đ", "D-")
    colour = "?" if crop.colour == UNKNOWN else COLOURS[crop.colour][:3]
    caption = f"{text} {crop.rows + 1} {colour}" if crop.readable else "not readable"
    cv2.putText(tile, caption, (2, CROP_HEIGHT + 10), cv2.FONT_HERSHEY_SIMPLEX, 0.35, (0, 255, 255), 1, cv2.LINE_AA)
    return tile


def sheet(tiles: list[Image]) -> Image:
    """Tiles of one size in rows of COLUMNS."""
    tiles = tiles + [np.zeros_like(tiles[0])] * (-len(tiles) % COLUMNS)
    return np.vstack([np.hstack(tiles[at : at + COLUMNS]) for at in range(0, len(tiles), COLUMNS)])


def main() -> None:
    """Read the arguments and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the picture to write")
    parser.add_argument("--crops", action="store_true", help="the recogniser's crops instead of flat plates")
    parser.add_argument("--backgrounds", type=Path, help="folder of plate-free pictures to stand behind crops")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=100)
    arguments = parser.parse_args()
    if arguments.crops:
        random = Random(arguments.seed)
        folder = arguments.backgrounds
        loaded = [cv2.imread(str(path)) for path in sorted(folder.iterdir())] if folder else []
        backgrounds = [picture for picture in loaded if picture is not None]
        tiles = [crop_tile(random_crop(random, backgrounds)) for _ in range(arguments.count)]
    else:
        generator = np.random.default_rng(arguments.seed)
        tiles = [plate_tile(render_plate(generator)) for _ in range(arguments.count)]
    if not cv2.imwrite(str(arguments.out), sheet(tiles)):
        raise SystemExit(f"{arguments.out} could not be written")
    print(arguments.out)


if __name__ == "__main__":
    main()
