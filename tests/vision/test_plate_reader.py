"""The way from a frame to reads, with networks that say what they are told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lpr.domain.clock import Instant
from lpr.domain.frame import Frame, Image
from lpr.domain.geometry import Box, Quad
from lpr.domain.plate import PlateColour
from lpr.metrics import Metrics, Stage
from lpr.plates.alphabet import BLANK, CLASSES, INDEX, SLOTS
from lpr.vision.base import Detection, Recognition
from lpr.vision.plate_reader import PlateReader, averaged, region_bounds
from lpr.vision.rectify import corners_home


@dataclass
class ToldDetector:
    """Finds what it is told; remembers the pictures it was shown."""

    min_confidence = 0.35

    boxes: list[Box]
    shown: list[Image] = field(default_factory=list)

    async def detect(self, image: Image, min_confidence: float | None = None) -> tuple[Detection, ...]:
        self.shown.append(image)
        return tuple(Detection(box, Quad.of_box(box), 0.9) for box in self.boxes)


@dataclass
class ToldRecognizer:
    """Reads what it is told, whatever it is shown."""

    text: str = "29A12345"
    crop_size: tuple[int, int] = (128, 64)
    crop_margin: float = 0.06
    seen: list[int] = field(default_factory=list)
    off: list[float] = field(default_factory=list)
    """By how much of a crop's width the plate's right corners lie too far left: in the first crop, the second, ..."""

    async def read(self, crops: Sequence[Image]) -> tuple[Recognition, ...]:
        self.seen.append(len(crops))
        assert all(crop.shape == (64, 128, 3) for crop in crops)
        return tuple(replace(saying(self.text), corners=self._corners()) for _ in crops)

    def _corners(self) -> NDArray[np.float32] | None:
        if not self.off:
            return None
        corners = corners_home(self.crop_margin)
        corners[1:3, 0] -= self.off.pop(0)
        return corners


def saying(text: str, sure: float = 0.99) -> Recognition:
    """A recognition of `text`, every character `sure`."""
    probabilities = np.full((SLOTS, CLASSES), (1 - sure) / (CLASSES - 1), np.float32)
    for slot in range(SLOTS):
        probabilities[slot, INDEX[text[slot]] if slot < len(text) else BLANK] = sure
    colours = {colour: 0.9 if colour is PlateColour.YELLOW else 0.025 for colour in PlateColour}
    return Recognition(probabilities, 0.1, colours, 0.97)


def frame(width: int = 640, height: int = 360) -> Frame:
    image = np.random.default_rng(2).integers(0, 256, (height, width, 3), np.uint8)
    return Frame("CAM_001", 0, image, Instant(datetime(2026, 1, 1, tzinfo=UTC), 0.0))


@pytest.fixture
async def workers() -> AsyncIterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


async def test_a_plate_comes_with_all_that_is_known_of_it(workers: ThreadPoolExecutor) -> None:
    reader = PlateReader(ToldDetector([Box(100, 50, 120, 30)]), ToldRecognizer(), workers)
    (read,) = await reader.read(frame())
    assert read.plate.display == "29A-123.45"
    assert read.colour is PlateColour.YELLOW
    assert (read.box, read.detection_confidence, read.readable) == (Box(100, 50, 120, 30), 0.9, 0.97)
    assert read.probabilities.shape == (SLOTS, CLASSES)
    assert read.sharpness > 0
    assert read.crop.shape[1] > read.crop.shape[0]


async def test_a_picture_without_colours_does_not_tell_a_plates(workers: ThreadPoolExecutor) -> None:
    """By infrared a yellow plate looks white: the colour is then called other, and not what the network supposes."""
    grey = frame().image[:, :, :1].repeat(3, axis=2)
    stamped = cv2.putText(grey.copy(), "CAM 1", (10, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 255, 255))
    reader = PlateReader(ToldDetector([Box(100, 50, 120, 30)]), ToldRecognizer(), workers)
    for image, colour in ((grey, PlateColour.OTHER), (stamped, PlateColour.OTHER), (frame().image, PlateColour.YELLOW)):
        (read,) = await reader.read(replace(frame(), image=image))
        assert read.colour is colour


async def test_no_plate_is_a_result_and_the_recognizer_is_left_alone(workers: ThreadPoolExecutor) -> None:
    recognizer = ToldRecognizer()
    assert await PlateReader(ToldDetector([]), recognizer, workers).read(frame()) == ()
    assert recognizer.seen == []


async def test_specks_too_small_for_text_are_left_out(workers: ThreadPoolExecutor) -> None:
    assert await PlateReader(ToldDetector([Box(5, 5, 6, 2)]), ToldRecognizer(), workers).read(frame()) == ()


async def test_only_the_region_is_looked_at_and_boxes_are_pixels_of_the_whole_frame(
    workers: ThreadPoolExecutor,
) -> None:
    detector = ToldDetector([Box(10, 20, 60, 20)])
    region = ((0.5, 0.5), (1.0, 0.5), (1.0, 1.0), (0.5, 1.0))
    (read,) = await PlateReader(detector, ToldRecognizer(), workers).read(frame(), region)
    assert detector.shown[0].shape == (180, 320, 3)
    assert read.box == Box(330, 200, 60, 20)
    assert read.corners.top_left == (330, 200)


async def test_a_plate_in_the_bounds_but_not_in_the_region_does_not_count(workers: ThreadPoolExecutor) -> None:
    triangle = ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))
    reader = PlateReader(ToldDetector([Box(560, 300, 60, 20), Box(10, 10, 60, 20)]), ToldRecognizer(), workers)
    reads = await reader.read(frame(), triangle)
    assert [read.box.x for read in reads] == [10]


async def test_more_views_of_each_plate_are_read_where_wanted(workers: ThreadPoolExecutor) -> None:
    recognizer = ToldRecognizer()
    reader = PlateReader(ToldDetector([Box(100, 50, 120, 30)] * 2), recognizer, workers, views=3)
    assert len(await reader.read(frame())) == 2
    assert sum(recognizer.seen) == 2 * 3


@pytest.mark.parametrize("views", [1, 3])
async def test_a_plate_that_lies_askew_in_its_crop_is_cut_out_anew(workers: ThreadPoolExecutor, views: int) -> None:
    recognizer = ToldRecognizer(off=[0.112, 0.05, 0.05, 0.05])
    reader = PlateReader(ToldDetector([Box(100, 50, 120, 30)]), recognizer, workers, views=views)
    (read,) = await reader.read(frame())
    # The crop shows 1.12 times the plate's width.
    assert np.array(read.corners.points) == pytest.approx(
        np.array([(100, 50), (100 + 0.87456 * 120, 50), (100 + 0.87456 * 120, 80), (100, 80)]), abs=0.01
    )
    assert sum(recognizer.seen) == 1 + views, "once more is enough"


async def test_a_plate_that_lies_well_in_its_crop_is_read_once(workers: ThreadPoolExecutor) -> None:
    recognizer = ToldRecognizer(off=[0.01])
    (read,) = await PlateReader(ToldDetector([Box(100, 50, 120, 30)]), recognizer, workers).read(frame())
    assert read.corners == Quad.of_box(Box(100, 50, 120, 30))
    assert sum(recognizer.seen) == 1


async def test_each_stage_tells_its_time(workers: ThreadPoolExecutor) -> None:
    metrics = Metrics()
    await PlateReader(ToldDetector([Box(100, 50, 120, 30)]), ToldRecognizer(), workers, timer=metrics).read(frame())
    assert metrics.percentiles(Stage.RECTIFY).count == 1
    assert metrics.percentiles(Stage.READ).count == 1


def test_views_that_disagree_are_averaged() -> None:
    mean = averaged([saying("29A12345"), saying("29A12346"), saying("29A12346")])
    assert mean.probabilities[7, INDEX["6"]] == pytest.approx(0.66, abs=0.01)
    assert mean.probabilities.sum(axis=1) == pytest.approx(np.ones(SLOTS), abs=1e-4)


@pytest.mark.parametrize(
    ("region", "bounds"),
    [
        ((), Box(0, 0, 640, 360)),
        (((0.25, 0.5), (0.75, 0.5), (0.5, 1.0)), Box(160, 180, 320, 180)),
        (((-1.0, -1.0), (2.0, -1.0), (2.0, 2.0)), Box(0, 0, 640, 360)),
        (((0.5, 0.5), (0.5, 0.5), (0.5, 0.5)), Box(320, 180, 1, 1)),
        (((1.0, 1.0), (1.0, 1.0), (1.0, 1.0)), Box(639, 359, 1, 1)),
    ],
)
def test_bounds_of_a_region_lie_in_the_frame_and_are_never_empty(
    region: tuple[tuple[float, float], ...], bounds: Box
) -> None:
    assert region_bounds(region, 640, 360) == bounds
