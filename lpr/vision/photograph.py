"""Plates in a single picture, which may show them at any size: several looks, one answer for each plate.

A camera at a gate is mounted for the size at which plates pass it, and has a next frame. A photograph has neither: its
plates may be forty pixels in four thousand, or fill it from edge to edge. So it is looked at as a whole, in overlapping
tiles where it is larger than what the network takes in, in smaller tiles for what stands behind, closer around each
plate that could not be read for sure, since corners are found more exactly there, and, where nothing was read for sure
at all, from further away.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from lpr.domain.frame import Image
from lpr.domain.geometry import Box
from lpr.domain.plate import PlateRead
from lpr.vision.base import Detection
from lpr.vision.plate_reader import PlateReader, moved
from lpr.vision.preprocess import PADDING_GREY

TILE_PX: Final = 800
"""About the width and height of a tile; a smaller picture is one."""
MAX_TILES: Final = 16
SMALL_TILE_PX: Final = 420
"""The same for a second round: of plates 26 to 36 pixels wide 89 % are then found for 67, and none more from smaller
ones."""
MAX_SMALL_TILES: Final = 36
OVERLAP: Final = 0.2
"""Part of a tile that the next one shows, too: a plate narrower than that is whole in one of them."""

FAINT: Final = 0.2
"""What the detector calls a plate so surely is read: red plates and other rare ones often get no more. A camera looks
again a moment later, and would read four times as much for it. Below the detector's own threshold it is no plate
unless it was read for sure."""
SURE: Final = 0.8
"""Where a plate was read with this confidence, smaller tiles are searched for others alone, and nobody steps back."""
BEYOND_DOUBT: Final = 0.95
"""A plate that was read with this confidence gets no second look."""
MAX_SECOND_LOOKS: Final = 6
"""In a picture full of what looks like plates, the likeliest ones get them."""
CLOSER: Final = 3.0
"""A second look shows a plate's surroundings up to this many times its width (or twice its height)."""
CLOSER_ASPECT: Final = 0.6
"""Height of a second look by its width, about the detector's own."""
NEARLY_ALL: Final = 0.8
STEP_BACK: Final = 0.35
"""Grey put around the picture, in parts of its sides."""

SAME_PLATE: Final = 0.3
"""Reads whose boxes overlap more are of one plate."""
EDGE_PX: Final = 3.0
"""A plate that comes so near to a tile's inner edge is likely cut by it: the next tile has it whole."""


class PhotographReader:
    """Reads photographs with the networks of a `PlateReader`."""

    def __init__(self, reader: PlateReader) -> None:
        self._reader = reader

    async def read(self, image: Image) -> tuple[PlateRead, ...]:
        """The plates of `image` (uint8 H x W x 3, BGR), the surest text first; none overlaps another by much.

        Raises `VisionError`.
        """
        found = await self._detect(image)
        found += await self._in_tiles(image, TILE_PX, MAX_TILES)
        looks = await self._reader.read_detections(image, found)
        looks += await self._reader.read_detections(image, await self._smaller(image, looks))
        first = best_of_each(looks)
        unsure = [read.box for read in first if read.plate.text and read.plate.confidence < BEYOND_DOUBT]
        closer = [each for box in unsure[:MAX_SECOND_LOOKS] for each in await self._closer(image, box)]
        looks += await self._reader.read_detections(image, closer)
        if all(read.plate.confidence < SURE for read in looks):
            looks += await self._reader.read_detections(image, await self._from_afar(image))
        return best_of_each([each for each in looks if self._believes(each)])

    def _believes(self, look: PlateRead) -> bool:
        """Whether it is a look at a plate at all: the detector says so, or the text does."""
        return look.detection_confidence >= self._reader.detector.min_confidence or look.plate.confidence >= SURE

    async def _smaller(self, image: Image, looks: Sequence[PlateRead]) -> list[Detection]:
        """What smaller tiles show; of them only other plates, where one has been read for sure."""
        found = await self._in_tiles(image, SMALL_TILE_PX, MAX_SMALL_TILES)
        if all(read.plate.confidence < SURE for read in looks):
            return found
        return [each for each in found if all(each.box.iou(read.box) < SAME_PLATE for read in looks)]

    async def _detect(self, image: Image) -> list[Detection]:
        return list(await self._reader.detector.detect(image, min(FAINT, self._reader.detector.min_confidence)))

    async def _in_tiles(self, image: Image, side_px: float, most: int) -> list[Detection]:
        """What stands in each tile and is not cut by its edge: its neighbour has that whole."""
        height, width = image.shape[:2]
        whole = Box(0, 0, width, height)
        return [
            each
            for tile in tiles(width, height, side_px, most)
            for each in await self._in_part(image, tile)
            if not cut_by(tile, whole, each.box)
        ]

    async def _closer(self, image: Image, plate: Box) -> list[Detection]:
        """That plate again; what else stands around it was read before, and may be cut here."""
        part = surroundings(plate, image.shape[1], image.shape[0])
        found = await self._in_part(image, part) if part is not None else []
        return [each for each in found if each.box.iou(plate) >= SAME_PLATE]

    async def _in_part(self, image: Image, part: Box) -> list[Detection]:
        return await in_part(self._detect, image, part)

    async def _from_afar(self, image: Image) -> list[Detection]:
        height, width = image.shape[:2]
        x, y = math.ceil(STEP_BACK * width), math.ceil(STEP_BACK * height)
        wide = np.pad(image, ((y, y), (x, x), (0, 0)), constant_values=PADDING_GREY)
        return [moved(each, -x, -y) for each in await self._detect(wide)]


async def in_part(
    detect: Callable[[Image], Awaitable[Sequence[Detection]]], image: Image, part: Box
) -> list[Detection]:
    """What `detect` finds in a part of `image`, where it stands in the whole."""
    shown = image[int(part.y) : int(part.bottom), int(part.x) : int(part.right)]
    return [moved(each, part.x, part.y) for each in await detect(shown)]


def tiles(width: int, height: int, side_px: float = TILE_PX, most: int = MAX_TILES) -> list[Box]:
    """Overlapping parts of a picture of `width` x `height` pixels, about `side_px` wide and high, row by row.

    None where the whole is small enough; no more than `most`, which are larger then and about as wide as high all the
    same: a long strip is many tiles one after the other.
    """
    across, down = (max(1, round(side / side_px)) for side in (width, height))
    if across * down > most:
        across = min(most, max(1, round(across / math.sqrt(across * down / most))))
        down = min(down, most // across)
    if across * down == 1:
        return []
    return grid(width, height, across, down)


def grid(width: int, height: int, across: int, down: int) -> list[Box]:
    """`across` x `down` equal parts of a picture, row by row, neighbours overlapping."""
    columns, rows = _spans(width, across), _spans(height, down)
    return [Box(left, top, right - left, bottom - top) for top, bottom in rows for left, right in columns]


def _spans(side: int, count: int) -> list[tuple[int, int]]:
    """`count` equal parts of 0..`side`, neighbours overlapping."""
    length = side / (count - (count - 1) * OVERLAP)
    step = length * (1 - OVERLAP)
    return [(round(index * step), min(side, round(index * step + length))) for index in range(count)]


def surroundings(plate: Box, width: int, height: int) -> Box | None:
    """Whole pixels around `plate` in a picture of `width` x `height`; None where that is nearly all of it anyway."""
    reach = CLOSER / 2 * max(plate.width, 2 * plate.height)
    x, y = plate.centre
    part = Box(x - reach, y - CLOSER_ASPECT * reach, 2 * reach, 2 * CLOSER_ASPECT * reach).clipped(width, height)
    left, top, right, bottom = (int(side) for side in (part.x, part.y, part.right, part.bottom))
    if right - left > NEARLY_ALL * width or bottom <= top or right <= left:
        return None
    return Box(left, top, right - left, bottom - top)


def cut_by(tile: Box, whole: Box, box: Box) -> bool:
    """Whether `box` touches an edge of `tile` that is no edge of the `whole` picture."""
    return (
        (box.x < tile.x + EDGE_PX and tile.x > whole.x)
        or (box.y < tile.y + EDGE_PX and tile.y > whole.y)
        or (box.right > tile.right - EDGE_PX and tile.right < whole.right)
        or (box.bottom > tile.bottom - EDGE_PX and tile.bottom < whole.bottom)
    )


def best_of_each(reads: Sequence[PlateRead]) -> tuple[PlateRead, ...]:
    """One read of each plate, the one with the surest text, surest first.

    Where other looks at a plate say something else, its text is the less sure for it: the surest of several looks is
    right more seldom than it says, since it was chosen for being sure.
    """
    kept: list[PlateRead] = []
    for read in sorted(reads, key=lambda each: -each.plate.confidence):
        if all(read.box.iou(other.box) < SAME_PLATE for other in kept):
            kept.append(read)
    judged = [doubted(read, [other for other in reads if other.box.iou(read.box) >= SAME_PLATE]) for read in kept]
    return tuple(sorted(judged, key=lambda each: -each.plate.confidence))


def doubted(read: PlateRead, looks: Sequence[PlateRead]) -> PlateRead:
    """`read`, less sure by what the `looks` at that plate (itself among them) say against its text."""
    said = sum(each.plate.confidence for each in looks)
    if said <= 0:
        return read
    agreeing = sum(each.plate.confidence for each in looks if each.plate.text == read.plate.text)
    return replace(read, plate=replace(read.plate, confidence=read.plate.confidence * agreeing / said))
