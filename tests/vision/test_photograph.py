"""Photographs: plates of any size are found, and each is told once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import pytest

from lpr.domain.frame import Image
from lpr.domain.geometry import Box, Quad
from lpr.domain.plate import PlateColour
from lpr.plates.alphabet import BLANK, CLASSES, INDEX, SLOTS
from lpr.vision.base import Detection, Recognition
from lpr.vision.photograph import PhotographReader, best_of_each, cut_by, surroundings, tiles
from lpr.vision.plate_reader import PlateReader

WHITE = 255


@dataclass
class WhiteDetector:
    """Finds white rectangles that are neither too small nor too large for it, in parts of the picture's width."""

    least: float = 0.04
    most: float = 0.7
    confidence: float = 0.9
    min_confidence: float = 0.35
    shown: list[tuple[int, int]] = field(default_factory=list)

    async def detect(self, image: Image, min_confidence: float | None = None) -> tuple[Detection, ...]:
        self.shown.append((image.shape[1], image.shape[0]))
        _, _, stats, _ = cv2.connectedComponentsWithStats((image[:, :, 0] == WHITE).astype(np.uint8))
        boxes = [Box(*(float(side) for side in row[:4])) for row in stats[1:]]
        seen = [box for box in boxes if self.least <= box.width / image.shape[1] <= self.most]
        if self.confidence < (self.min_confidence if min_confidence is None else min_confidence):
            return ()
        return tuple(Detection(box, Quad.of_box(box), self.confidence) for box in seen)


@dataclass
class BlueNumberRecognizer:
    """Reads what the blue of a plate's middle stands for, as surely as its green says."""

    crop_size: tuple[int, int] = (160, 64)
    crop_margin: float = 0.06

    async def read(self, crops: Sequence[Image]) -> tuple[Recognition, ...]:
        answers = []
        for crop in crops:
            sure = float(crop[32, 80, 1]) / 255
            text = f"29A{int(crop[32, 80, 2]):05d}"
            probabilities = np.full((SLOTS, CLASSES), 1e-6, np.float32)
            for slot in range(SLOTS):
                probabilities[slot, INDEX[text[slot]] if slot < len(text) else BLANK] = 1.0
            probabilities[7] = (1 - sure) / (CLASSES - 1)
            probabilities[7, INDEX[text[7]]] = sure
            answers.append(Recognition(probabilities, 0.0, dict.fromkeys(PlateColour, 0.2), 0.9))
        return tuple(answers)


def picture(width: int, height: int, *plates: tuple[Box, int, float]) -> Image:
    """A black picture with white plates: where each stands, its number below 256 and how surely it can be read."""
    image = np.zeros((height, width, 3), np.uint8)
    for box, number, sure in plates:
        part = image[int(box.y) : int(box.bottom), int(box.x) : int(box.right)]
        part[:] = (WHITE, round(255 * sure), number)
    return image


@pytest.fixture
async def workers() -> AsyncIterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


async def texts(detector: WhiteDetector, image: Image, workers: ThreadPoolExecutor) -> list[str]:
    reader = PhotographReader(PlateReader(detector, BlueNumberRecognizer(), workers))
    return [read.plate.text for read in await reader.read(image)]


async def test_a_plate_too_small_for_one_look_is_found_in_a_tile(workers: ThreadPoolExecutor) -> None:
    image = picture(3200, 2400, (Box(2900, 2200, 60, 20), 7, 0.99))
    assert await texts(WhiteDetector(), image, workers) == ["29A00007"]


async def test_a_plate_that_is_seen_in_several_tiles_is_told_once_and_whole(workers: ThreadPoolExecutor) -> None:
    # Across the border of the first two tiles of a row, and large enough for the look at the whole, too.
    image = picture(1600, 800, (Box(700, 300, 160, 50), 9, 0.99), (Box(100, 100, 150, 50), 8, 0.9))
    assert await texts(WhiteDetector(), image, workers) == ["29A00009", "29A00008"]


async def test_a_plate_that_fills_the_picture_is_found_from_further_away(workers: ThreadPoolExecutor) -> None:
    image = picture(500, 200, (Box(5, 5, 490, 190), 5, 0.99))
    detector = WhiteDetector()
    assert await texts(detector, image, workers) == ["29A00005"]
    assert detector.shown == [(500, 200), (850, 340)]


async def test_where_a_plate_was_read_for_sure_nobody_steps_back(workers: ThreadPoolExecutor) -> None:
    detector = WhiteDetector()
    await texts(detector, picture(500, 200, (Box(100, 50, 150, 60), 5, 0.99)), workers)
    assert detector.shown == [(500, 200)]


async def test_a_plate_too_small_for_a_tile_is_found_in_smaller_ones(workers: ThreadPoolExecutor) -> None:
    image = picture(1100, 700, (Box(900, 500, 30, 10), 7, 0.99))
    detector = WhiteDetector()
    assert await texts(detector, image, workers) == ["29A00007"]
    assert len(detector.shown) == 1 + 3 * 2


async def test_a_plate_too_small_for_a_tile_is_found_beside_one_that_was_read_for_sure(
    workers: ThreadPoolExecutor,
) -> None:
    """A street shows near and far vehicles: of those behind the first ones none was found."""
    image = picture(1100, 700, (Box(400, 300, 200, 60), 7, 0.99), (Box(900, 500, 30, 10), 8, 0.98))
    assert await texts(WhiteDetector(), image, workers) == ["29A00007", "29A00008"]


async def test_a_smaller_tile_has_no_say_about_a_plate_that_was_read_for_sure(workers: ThreadPoolExecutor) -> None:
    read: list[int] = []

    class Counting(BlueNumberRecognizer):
        async def read(self, crops: Sequence[Image]) -> tuple[Recognition, ...]:
            read.append(len(crops))
            return await super().read(crops)

    detector = WhiteDetector()
    reader = PhotographReader(PlateReader(detector, Counting(), workers))
    (plate,) = await reader.read(picture(1100, 700, (Box(400, 300, 200, 60), 7, 0.99)))
    assert plate.plate.text == "29A00007"
    assert len(detector.shown) == 1 + 3 * 2
    assert sum(read) == 1


async def test_a_plate_that_was_not_read_for_sure_is_looked_at_more_closely(workers: ThreadPoolExecutor) -> None:
    detector = WhiteDetector()
    image = picture(700, 500, (Box(100, 50, 60, 20), 5, 0.5), (Box(400, 300, 60, 20), 6, 0.99))
    assert await texts(detector, image, workers) == ["29A00006", "29A00005"]
    assert detector.shown == [(700, 500), (389, 500), (389, 500), (180, 108)]


async def test_a_sure_plate_that_a_second_look_at_another_one_cuts_stays_as_it_was_read(
    workers: ThreadPoolExecutor,
) -> None:
    # The unsure plate's surroundings end in the middle of its neighbour, of which half reads surer than the whole.
    image = picture(700, 500, (Box(100, 50, 60, 20), 5, 0.5), (Box(180, 50, 60, 20), 6, 0.9))
    image[50:70, 180:206, 1] = 255
    reader = PhotographReader(PlateReader(WhiteDetector(), BlueNumberRecognizer(), workers))
    (sure, unsure) = await reader.read(image)
    assert (sure.box, sure.plate.text) == (Box(180, 50, 60, 20), "29A00006")
    assert (unsure.box, unsure.plate.text) == (Box(100, 50, 60, 20), "29A00005")


def test_surroundings_stay_in_the_picture_and_nearly_all_of_it_is_no_closer_look() -> None:
    assert surroundings(Box(0, 0, 60, 20), 700, 500) == Box(0, 0, 120, 64)
    assert surroundings(Box(100, 50, 400, 200), 700, 500) is None
    assert surroundings(Box(-500, -500, 60, 20), 700, 500) is None


@pytest.mark.parametrize(
    ("detection", "sure", "told"),
    [(0.25, 0.95, ["29A00007"]), (0.25, 0.7, []), (0.4, 0.7, ["29A00007"]), (0.15, 0.99, [])],
)
async def test_what_is_hardly_taken_for_a_plate_counts_where_it_is_read_for_sure(
    workers: ThreadPoolExecutor, detection: float, sure: float, told: list[str]
) -> None:
    """The army's red plates: clear to anybody, and little like a plate to the detector."""
    image = picture(400, 300, (Box(100, 80, 120, 40), 7, sure))
    assert await texts(WhiteDetector(confidence=detection), image, workers) == told


async def test_a_look_that_says_something_else_makes_the_surest_one_less_sure(workers: ThreadPoolExecutor) -> None:
    box = Box(100, 80, 120, 40)
    reader = PhotographReader(PlateReader(WhiteDetector(), BlueNumberRecognizer(), workers))
    (sure,) = await reader.read(picture(400, 300, (box, 7, 0.96)))
    other = replace(sure, plate=replace(sure.plate, text="29A00001", confidence=0.24))
    elsewhere = replace(other, box=Box(300, 200, 60, 20))
    (first, second) = best_of_each((other, sure, elsewhere))
    assert (first.plate.text, first.plate.confidence) == ("29A00007", pytest.approx(0.96 * 0.8, abs=0.01))
    assert (second.box, second.plate.confidence) == (elsewhere.box, pytest.approx(0.24))
    assert best_of_each((sure, sure))[0].plate.confidence == pytest.approx(sure.plate.confidence)


async def test_nothing_is_a_result(workers: ThreadPoolExecutor) -> None:
    assert await texts(WhiteDetector(), picture(1700, 900), workers) == []


def test_tiles_cover_a_picture_and_overlap_and_a_small_picture_has_none() -> None:
    assert tiles(1100, 700) == []
    for width, height in ((1600, 900), (4000, 3000), (12_000, 500), (300, 20_000)):
        covered = np.zeros((height, width), np.uint8)
        for tile in tiles(width, height):
            covered[int(tile.y) : int(tile.bottom), int(tile.x) : int(tile.right)] += 1
        assert covered.min() == 1
        assert covered.max() > 1


@pytest.mark.parametrize(
    ("size", "count", "tile"),
    [
        ((1600, 900), 2, (889, 900)),
        ((4000, 3000), 16, (1176, 882)),
        ((9600, 6250), 15, (2286, 2404)),
        ((12_000, 500), 15, (984, 500)),
        ((300, 20_000), 16, (300, 1538)),
    ],
)
def test_a_large_picture_has_larger_tiles_and_a_long_one_more_of_them_in_a_row(
    size: tuple[int, int], count: int, tile: tuple[int, int]
) -> None:
    """A long screenshot of photographs was looked at in four tiles, in which no plate could be seen."""
    there = tiles(*size)
    assert (len(there), (there[0].width, there[0].height)) == (count, tile)


def test_only_an_edge_inside_the_picture_cuts_a_plate() -> None:
    whole, tile = Box(0, 0, 1000, 500), Box(0, 0, 600, 500)
    assert cut_by(tile, whole, Box(500, 200, 99, 30))
    assert not cut_by(tile, whole, Box(0, 0, 99, 30))
