"""Reads, frames and drives made by hand."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from lpr.domain.clock import Instant
from lpr.domain.frame import Frame, Image
from lpr.domain.geometry import Box, Quad
from lpr.domain.passage import Passage
from lpr.domain.plate import PlateColour, PlateRead
from lpr.plates.alphabet import BLANK, CLASSES, INDEX, SLOTS
from lpr.tracking.grammar import decide
from lpr.tracking.repeat import RepeatGuard
from lpr.tracking.settings import TrackingSettings
from lpr.tracking.standing import StandingMemory
from lpr.tracking.tracker import PassageTracker

WIDTH, HEIGHT = 1280, 720
BLACK: Image = np.broadcast_to(np.zeros((1, 1, 1), np.uint8), (HEIGHT, WIDTH, 3))
WALL = datetime(2026, 11, 23, 1, 2, 3, tzinfo=UTC)


def at(seconds: float) -> Instant:
    """A moment of the test's own time line."""
    return Instant(WALL + timedelta(seconds=seconds), 5000.0 + seconds)


def frame(seconds: float, camera_id: str = "CAM") -> Frame:
    """An empty picture, taken then."""
    return Frame(camera_id, round(seconds * 1000), BLACK, at(seconds))


def table(text: str, sure: float = 0.998, rivals: Mapping[int, tuple[str, float]] | None = None) -> NDArray[np.float32]:
    """A recogniser's output for `text`, by default as for a clean plate.

    `rivals` gives places of it to other characters with so much probability.
    """
    probabilities = np.full((SLOTS, CLASSES), (1 - sure) / (CLASSES - 1))
    for place in range(SLOTS):
        probabilities[place, INDEX[text[place]] if place < len(text) else BLANK] = sure
    for place, (rival, share) in (rivals or {}).items():
        probabilities[place] *= 1 - share
        probabilities[place, INDEX[rival]] += share
    result: NDArray[np.float32] = (probabilities / probabilities.sum(axis=1, keepdims=True)).astype(np.float32)
    return result


def read(
    text: str,
    box: Box,
    *,
    sure: float = 0.998,
    rivals: Mapping[int, tuple[str, float]] | None = None,
    readable: float = 0.98,
    sharpness: float = 12.0,
    detection: float = 0.9,
) -> PlateRead:
    """One plate of one frame; long boxes have one row."""
    probabilities = table(text, sure, rivals)
    rows = 1 if box.width > 3 * box.height else 2
    return PlateRead(
        box=box,
        corners=Quad.of_box(box),
        detection_confidence=detection,
        probabilities=probabilities,
        rows_probability=0.97 if rows == 2 else 0.03,
        colour=PlateColour.WHITE,
        readable=readable,
        sharpness=sharpness,
        crop=np.zeros((1, 1, 3), np.uint8),
        plate=decide(probabilities, 0.97 if rows == 2 else 0.03),
    )


def square(x: float, y: float, width: float = 80.0) -> Box:
    """A motorbike's plate with its centre there."""
    return Box(x - width / 2, y - width / 2.72, width, width / 1.36)


def long(x: float, y: float, width: float = 150.0) -> Box:
    """A car's long plate with its centre there."""
    return Box(x - width / 2, y - width / 9.46, width, width / 4.73)


def tracker(
    guard: RepeatGuard | None = None, *, standing: StandingMemory | None = None, **settings: object
) -> PassageTracker:
    """A tracker whose passages are called p1, p2 and so on."""
    ids = (f"p{number}" for number in itertools.count(1))
    return PassageTracker(
        TrackingSettings(**{"camera_id": "CAM", **settings}),  # type: ignore[arg-type]
        RepeatGuard() if guard is None else guard,
        decide,
        standing=standing,
        new_id=lambda: next(ids),
    )


Placed = Callable[[float], Box | None]


def approach(start_s: float, x: float = 640.0, seconds: float = 2.0, shape: Callable[..., Box] = square) -> Placed:
    """From 40 to 160 pixels wide, sinking in the picture, as a vehicle that comes nearer does."""

    def box(seconds_now: float) -> Box | None:
        share = (seconds_now - start_s) / seconds
        return shape(x, 200 + 300 * share**1.5, 40 * math.exp(1.386 * share)) if 0 <= share <= 1 else None

    return box


def play(
    subject: PassageTracker,
    plates: Sequence[tuple[str, Placed]],
    *,
    until_s: float,
    fps: float = 8.0,
    start_s: float = 0.0,
    finish: bool = True,
    spoil: Callable[[float, str, Box], PlateRead | None] | None = None,
) -> list[Passage]:
    """Show the plates to the tracker, in frames from `start_s` to `until_s`, and collect what it hands on."""
    passages: list[Passage] = []
    make = spoil or (lambda _seconds, text, box: read(text, box))
    for seconds in times(start_s, until_s, fps):
        placed = [(text, box) for text, place in plates if (box := place(seconds)) is not None]
        reads = [each for text, box in placed if (each := make(seconds, text, box)) is not None]
        passages += subject.update(frame(seconds), reads)
    return passages + (list(subject.finish(at(until_s + 10))) if finish else [])


def times(start_s: float, until_s: float, fps: float) -> Iterator[float]:
    """When frames are taken."""
    for index in range(int((until_s - start_s) * fps) + 1):
        yield start_s + index / fps


def texts(passages: Sequence[Passage]) -> list[str]:
    """What was handed on."""
    return [each.plate.text for each in passages]
