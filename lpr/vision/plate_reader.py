"""Frame in, plates out: detect, straighten, read, understand."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from lpr.domain.frame import Frame, Image
from lpr.domain.geometry import Box, Point, Quad, point_in_polygon
from lpr.domain.plate import PlateRead, PlateText
from lpr.metrics import Stage
from lpr.plates.decode import decode as decode_text
from lpr.vision.base import Detection, PlateDetector, PlateRecognizer, Recognition, StageTimer
from lpr.vision.rectify import display_crop, grown, rectify, sharpness

VIEWS: tuple[tuple[float, float, float], ...] = ((1.0, 0.0, 0.0), (1.05, 0.012, -0.02), (0.97, -0.012, 0.02))
"""The crops that are averaged where more than one is wanted: size, and shift across and down in parts of the plate."""

FEWEST_TURNS = 4
"""Frames under way at once, on any machine: while some wait for the operating system, another is in the networks."""

MIN_PLATE_WIDTH_PX = 8.0
"""Narrower ones cannot hold text; their corners may not even make a picture."""


@dataclass(frozen=True, slots=True, eq=False)
class Crops:
    """What is cut out of the frame for one plate: the recognizer's views, and the picture for people."""

    views: tuple[Image, ...]
    display: Image
    sharpness: float


class PlateReader:
    """Reads all plates of a frame. Shared by the cameras that use the same networks on the same device.

    `workers` run what would hold up the event loop. `views` (1..3) is how many slightly different crops of each plate
    are read and averaged: steadier, at that many times the recognizer's cost.
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
        loop, start = asyncio.get_running_loop(), time.perf_counter()
        crops = await asyncio.gather(
            *(loop.run_in_executor(self._workers, self._cut, image, each.corners) for each in detections)
        )
        cut = time.perf_counter()
        answers = await asyncio.gather(*(self.recognizer.read(each.views) for each in crops))
        reads = tuple(
            plate_read(detection, crop, averaged(answer))
            for detection, crop, answer in zip(detections, crops, answers, strict=True)
        )
        if self._timer is not None:
            self._timer.stage(Stage.RECTIFY, (cut - start) * 1000)
            self._timer.stage(Stage.READ, (time.perf_counter() - cut) * 1000)
        return reads

    def _cut(self, image: Image, corners: Quad) -> Crops:
        size, margin = self.recognizer.crop_size, self.recognizer.crop_margin
        views = tuple(rectify(image, grown(corners, *view), size, margin) for view in self._views)
        return Crops(views, display_crop(image, corners), sharpness(views[0]))


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
    return Recognition(probabilities, two_rows, colours, readable, answers[0].places)


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
