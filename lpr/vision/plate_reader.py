"""Frame in, plates out: detect, straighten, read, understand."""

from __future__ import annotations

import asyncio
import os
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TypeAlias, TypeVar, TypeVarTuple

import numpy as np
from numpy.typing import NDArray

from lpr.domain.frame import Frame, Image
from lpr.domain.geometry import Box, Point, Quad, point_in_polygon
from lpr.domain.plate import PlateColour, PlateRead, PlateText
from lpr.metrics import Stage
from lpr.plates.decode import decode as decode_text
from lpr.vision.base import Detection, PlateDetector, PlateRecognizer, Recognition, StageTimer
from lpr.vision.rectify import cut_again, display_crop, grown, rectify, sharpness

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

View: TypeAlias = tuple[float, float, float]
VIEWS: tuple[View, ...] = ((1.0, 0.0, 0.0), (1.05, 0.012, -0.02), (0.97, -0.012, 0.02))
"""The crops that are averaged where more than one is wanted: size, and shift across and down in parts of the plate."""

FEWEST_TURNS = 4
"""Frames under way at once, on any machine: while some wait for the operating system, another is in the networks."""

MIN_PLATE_WIDTH_PX = 8.0
"""Narrower ones cannot hold text; their corners may not even make a picture."""

GREY_LEVELS = 3
"""So far from green at most are blue and red in a pixel without colour: cameras and codecs round."""
MOST_COLOURED = 0.01
"""Share of such a picture's pixels that may have a colour all the same: a camera's own text."""
SAMPLED_EVERY_PX = 24


@dataclass(frozen=True, slots=True, eq=False)
class Crops:
    """What is cut out of the frame for one plate: the recognizer's views, and the picture for people."""

    views: tuple[Image, ...]
    display: Image
    sharpness: float


@dataclass(frozen=True, slots=True, eq=False)
class Glimpse:
    """A plate, the views of it that have been cut out, and what the recognizer said of them."""

    detection: Detection
    views: tuple[Image, ...]
    answers: tuple[Recognition, ...]


class Laps:
    """How long each stage took, where stages take turns."""

    def __init__(self) -> None:
        self.milliseconds: defaultdict[Stage, float] = defaultdict(float)
        self._last = time.perf_counter()

    def end(self, stage: Stage) -> None:
        """What has passed since the last lap was `stage`."""
        now = time.perf_counter()
        self.milliseconds[stage] += (now - self._last) * 1000
        self._last = now


class PlateReader:
    """Reads all plates of a frame. Shared by the cameras that use the same networks on the same device.

    `workers` run what would hold up the event loop. `views` (1..3) is how many slightly different crops of each plate
    are read and averaged: steadier, at that many times the recognizer's cost. A plate that lies askew in its crop,
    since the detector's corners were off, is cut out again and read once more.
    """

    def __init__(
        self,
        detector: PlateDetector,
        recognizer: PlateRecognizer,
        workers: Executor,
        *,
        timer: StageTimer | None = None,
        views: int = 1,
    ) -> None:
        self.detector, self.recognizer = detector, recognizer
        self._workers, self._timer = workers, timer
        self._views = VIEWS[:views]
        self.turns = asyncio.Semaphore(max(FEWEST_TURNS, os.cpu_count() or 1))
        """Who reads for several cameras takes a turn first and the newest frame then (`async with reader.turns`): more
        frames at once end no sooner, they only grow old together. Turns go round in order, so that an overloaded
        machine looks at every camera equally often."""

    async def read(self, frame: Frame, region: tuple[Point, ...] = ()) -> tuple[PlateRead, ...]:
        """The plates of `frame`, the surest detection first; empty where there is none.

        `region` is a polygon in fractions 0..1 of the frame: only plates whose middle lies in it count, and only its
        surroundings are looked at, so that a small region is seen at a higher resolution. Raises `VisionError`.
        """
        bounds = region_bounds(region, frame.width, frame.height)
        part = frame.image[int(bounds.y) : int(bounds.bottom), int(bounds.x) : int(bounds.right)]
        found = [moved(detection, bounds.x, bounds.y) for detection in await self.detector.detect(part)]
        return await self.read_detections(frame.image, [each for each in found if in_region(each, region, frame)])

    async def read_detections(self, image: Image, detections: Sequence[Detection]) -> tuple[PlateRead, ...]:
        """What the plates at `detections` (pixels of `image`) say."""
        detections = [each for each in detections if each.box.width >= MIN_PLATE_WIDTH_PX and each.box.height >= 4]
        if not detections:
            return ()
        laps = Laps()
        first = await self._in_workers(self._cut, [(image, each.corners, self._views[:1]) for each in detections])
        laps.end(Stage.RECTIFY)
        answers = await self._read_all(first)
        laps.end(Stage.READ)
        plates = [self._straightened(*each) for each in zip(detections, first, answers, strict=True)]
        crops = await self._in_workers(self._finish, [(image, each) for each in plates])
        laps.end(Stage.RECTIFY)
        answers = await self._read_all(
            [each.views[len(plate.views) :] for each, plate in zip(crops, plates, strict=True)]
        )
        laps.end(Stage.READ)
        if self._timer is not None:
            for stage, milliseconds in laps.milliseconds.items():
                self._timer.stage(stage, milliseconds)
        reads = [
            plate_read(plate.detection, crop, averaged((*plate.answers, *more)))
            for plate, crop, more in zip(plates, crops, answers, strict=True)
        ]
        if is_grey(image):
            reads = [replace(read, colour=PlateColour.OTHER) for read in reads]
        return tuple(reads)

    def _straightened(
        self, detection: Detection, views: tuple[Image, ...], answers: tuple[Recognition, ...]
    ) -> Glimpse:
        """The plate with what was read of it; with better corners and nothing where it lies askew in its crop."""
        corners = answers[0].corners
        better = None if corners is None else cut_again(detection.corners, corners, self.recognizer.crop_margin)
        if better is None:
            return Glimpse(detection, views, answers)
        return Glimpse(replace(detection, corners=better), (), ())

    def _cut(self, image: Image, corners: Quad, views: Sequence[View]) -> tuple[Image, ...]:
        size, margin = self.recognizer.crop_size, self.recognizer.crop_margin
        return tuple(rectify(image, grown(corners, *view), size, margin) for view in views)

    def _finish(self, image: Image, plate: Glimpse) -> Crops:
        corners = plate.detection.corners
        views = plate.views + self._cut(image, corners, self._views[len(plate.views) :])
        return Crops(views, display_crop(image, corners), sharpness(views[0]))

    async def _in_workers(self, function: Callable[[*Ts], T], calls: Sequence[tuple[*Ts]]) -> list[T]:
        loop = asyncio.get_running_loop()
        return await asyncio.gather(*(loop.run_in_executor(self._workers, function, *call) for call in calls))

    async def _read_all(self, plates: Sequence[tuple[Image, ...]]) -> list[tuple[Recognition, ...]]:
        return await asyncio.gather(*(self.recognizer.read(views) for views in plates))


def is_grey(image: Image) -> bool:
    """Whether a picture has no colours, as a camera's at night by infrared: what is yellow by day looks white there."""
    # Channel by channel: `ptp` along an axis of three takes six times as long.
    blue, green, red = np.moveaxis(image[::SAMPLED_EVERY_PX, ::SAMPLED_EVERY_PX].astype(np.int16), 2, 0)
    coloured = (abs(blue - green) > GREY_LEVELS) | (abs(green - red) > GREY_LEVELS)
    return bool(np.mean(coloured) <= MOST_COLOURED)


def plate_read(detection: Detection, crops: Crops, answer: Recognition) -> PlateRead:
    """All that one frame says about one plate."""
    return PlateRead(
        box=detection.box,
        corners=detection.corners,
        detection_confidence=detection.confidence,
        probabilities=answer.probabilities,
        rows_probability=answer.two_rows,
        colour=answer.colour,
        readable=answer.readable,
        sharpness=crops.sharpness,
        crop=crops.display,
        plate=plate_text(answer),
        top=answer.top,
    )


def plate_text(answer: Recognition) -> PlateText:
    """The text that one frame says."""
    return decode_text(answer.probabilities, 2 if answer.two_rows >= 0.5 else 1, top=answer.top)


def averaged(answers: Sequence[Recognition]) -> Recognition:
    """The mean of what several views of one plate say."""
    if len(answers) == 1:
        return answers[0]
    probabilities: NDArray[np.float32] = np.mean([each.probabilities for each in answers], axis=0, dtype=np.float32)
    colours = {name: fmean(each.colours[name] for each in answers) for name in answers[0].colours}
    two_rows, readable = fmean(each.two_rows for each in answers), fmean(each.readable for each in answers)
    return Recognition(probabilities, two_rows, colours, readable, answers[0].places, answers[0].corners)


def region_bounds(region: tuple[Point, ...], width: int, height: int) -> Box:
    """The pixels of a `width` x `height` frame around `region` (fractions), at least one; all where there is none."""
    if not region:
        return Box(0, 0, width, height)
    xs, ys = [x * width for x, _ in region], [y * height for _, y in region]
    left, top = min(max(0, int(min(xs))), width - 1), min(max(0, int(min(ys))), height - 1)
    right, bottom = max(left + 1, min(width, round(max(xs)))), max(top + 1, min(height, round(max(ys))))
    return Box(left, top, right - left, bottom - top)


def in_region(detection: Detection, region: tuple[Point, ...], frame: Frame) -> bool:
    """Whether the plate's middle lies in `region` (fractions of the frame); true where there is none."""
    if not region:
        return True
    x, y = detection.box.centre
    return point_in_polygon((x / frame.width, y / frame.height), region)


def moved(detection: Detection, dx: float, dy: float) -> Detection:
    """The same plate in a picture whose origin lies `dx`, `dy` further left and up."""
    corners = Quad(*((x + dx, y + dy) for x, y in detection.corners.points))
    return Detection(detection.box.moved(dx, dy), corners, detection.confidence)
