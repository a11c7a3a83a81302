"""Frames larger than 1080p: small plates are found in a part, each is told once, and others are looked at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from lpr.domain.clock import SystemClock
from lpr.domain.frame import Frame, Image
from lpr.domain.geometry import Box, Quad
from lpr.vision.base import Detection
from lpr.vision.large import LargeFrameReader, parts
from lpr.vision.plate_reader import PlateReader
from tests.vision.test_photograph import BlueNumberRecognizer, WhiteDetector, picture


@pytest.fixture
async def workers() -> AsyncIterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


async def texts(detector: WhiteDetector, image: Image, workers: ThreadPoolExecutor) -> list[str]:
    reader = LargeFrameReader(PlateReader(detector, BlueNumberRecognizer(), workers))
    return sorted(read.plate.text for read in await reader.read(Frame("clip", 0, image, SystemClock().now())))


@pytest.mark.parametrize("size", [(3840, 2160), (2160, 3840)])
async def test_a_plate_too_small_for_the_whole_is_found_in_a_part(
    workers: ThreadPoolExecutor, size: tuple[int, int]
) -> None:
    small, large = Box(size[0] - 300, size[1] - 100, 80, 24), Box(300, 300, 300, 80)
    image = picture(*size, (small, 7, 0.99), (large, 9, 0.99))
    assert await texts(WhiteDetector(least=0.03), image, workers) == ["29A00007", "29A00009"]


@dataclass
class Inexact(WhiteDetector):
    """Finds what it finds a few pixels too small on each side."""

    async def detect(self, image: Image, min_confidence: float | None = None) -> tuple[Detection, ...]:
        boxes = [each.box for each in await super().detect(image, min_confidence)]
        small = [Box(box.x + 4, box.y + 4, box.width - 8, box.height - 8) for box in boxes]
        return tuple(Detection(box, Quad.of_box(box), 0.9) for box in small)


@pytest.mark.parametrize("left", [1660, 1690, 1800, 1980, 2050])
async def test_a_plate_that_lies_across_the_parts_is_read_once_and_whole(
    workers: ThreadPoolExecutor, left: int
) -> None:
    image = picture(3840, 2160, (Box(left, 1000, 120, 40), 5, 0.99))
    reader = LargeFrameReader(PlateReader(Inexact(least=0.02), BlueNumberRecognizer(), workers))
    (read,) = await reader.read(Frame("clip", 0, image, SystemClock().now()))
    assert read.box == Box(left + 4, 1004, 112, 32)


@pytest.mark.parametrize("size", [(1920, 1080), (1080, 1920), (352, 288), (2560, 1440)])
async def test_a_frame_of_a_usual_size_is_looked_at_once(workers: ThreadPoolExecutor, size: tuple[int, int]) -> None:
    detector = WhiteDetector()
    await texts(detector, picture(*size), workers)
    assert detector.shown == [size]


@pytest.mark.parametrize("size", [(3840, 2160), (3072, 2048), (7680, 4320), (1080, 30_000)])
def test_parts_cover_the_frame_and_are_few(size: tuple[int, int]) -> None:
    found = parts(*size)
    assert len(found) <= 16
    assert {min(part.x for part in found), min(part.y for part in found)} == {0}
    assert (max(part.right for part in found), max(part.bottom for part in found)) == size
