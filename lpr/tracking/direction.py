"""Which way a vehicle goes, from where its plate was.

Towards the camera a plate grows and sinks in the picture; away from it, it shrinks and rises. Across a line it moves
along the line's normal. What is measured is the difference between the first third of the way and the last, so a stop
of ten minutes at the barrier neither adds nor hides anything.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from lpr.domain.geometry import Box, Point
from lpr.domain.passage import Action, ActionRule
from lpr.tracking.motion import JITTER, SIZE_JITTER
from lpr.tracking.settings import Line, TrackingSettings, plate_size

POSES_KEPT: Final = 48
NEWEST_KEPT: Final = 8
MIN_POSES: Final = 2
CERTAIN: Final = 4.0
"""Standard deviations of the detector's jitter that a movement must exceed."""
MIN_GROWTH: Final = 0.06
"""Natural logarithm; smaller changes of size are lens and slope."""
SMOOTHING: Final = 0.5
MIN_STEP: Final = 0.6
"""Plate sizes; smaller movements are wind in the pole."""
TURN_GROWTH: Final = 0.35
TURN_STEP: Final = 1.5
"""Who goes back by so much (natural logarithm of the size; plate sizes) has turned; less is rolling at the barrier."""
TURN_POSES: Final = 3
TURN_SHARE: Final = 0.5
"""And by at least this share of the way that it had come: who moves about in sight has not gone."""


@dataclass(frozen=True, slots=True)
class Pose:
    """Where the plate was in one frame: centre in pixels, logarithm of its size."""

    x: float
    y: float
    log_size: float

    @classmethod
    def of(cls, box: Box) -> Pose:
        """The pose of a plate in `box`."""
        return cls(*box.centre, math.log(plate_size(box)))

    def towards(self, other: Pose, share: float) -> Pose:
        """The pose at `share` of the way to `other`."""
        return Pose(
            self.x + share * (other.x - self.x),
            self.y + share * (other.y - self.y),
            self.log_size + share * (other.log_size - self.log_size),
        )

    def stretched(self, across: float, down: float) -> Pose:
        """The same pose in a picture that is so many times as wide and as high."""
        return Pose(self.x * across, self.y * down, self.log_size + math.log(across * down) / 2)

    def distance(self, other: Pose) -> float:
        """To `other`, in the larger one's plate sizes."""
        return math.hypot(self.x - other.x, self.y - other.y) / math.exp(max(self.log_size, other.log_size))


class Way:
    """The way of one plate through the picture, thinned so that it never takes more than `POSES_KEPT` places."""

    def __init__(self) -> None:
        self._poses: list[Pose] = []
        self._newest: deque[Pose] = deque(maxlen=NEWEST_KEPT)
        """What came after the last of them: whoever leaves after a long stop is gone before the next one is kept."""
        self._stride = 1
        self._seen = 0
        self._smooth = Pose(0.0, 0.0, 0.0)
        self.travel = 0.0
        self.growth = 0.0

    def add(self, pose: Pose) -> None:
        """The plate was here. A plate that is cut by the picture's edge should not be added: its centre lies."""
        if self._poses:
            # The farthest it has been from where it began, smoothed: neither a shaking camera nor a box that is found
            # badly once in ten minutes makes a movement.
            self._smooth = self._smooth.towards(pose, SMOOTHING)
            self.travel = max(self.travel, self._poses[0].distance(self._smooth))
            self.growth = max(self.growth, abs(self._smooth.log_size - self._poses[0].log_size))
        else:
            self._smooth = pose
        if self._seen % self._stride == 0:
            self._poses.append(pose)
            self._newest.clear()
        else:
            self._newest.append(pose)
        self._seen += 1
        if len(self._poses) >= POSES_KEPT:
            self._poses = self._poses[::2]
            self._stride *= 2

    def extend(self, later: Way) -> None:
        """The same plate went on like this."""
        for pose in (*later._poses, *later._newest):
            self.add(pose)

    def stretch(self, across: float, down: float) -> None:
        """From now on pictures are so many times as wide and as high."""
        self._poses = [each.stretched(across, down) for each in self._poses]
        self._newest = deque((each.stretched(across, down) for each in self._newest), NEWEST_KEPT)
        self._smooth = self._smooth.stretched(across, down)

    @property
    def first(self) -> Pose | None:
        """Where it was first seen whole."""
        return self._poses[0] if self._poses else None

    def turn(self) -> tuple[Way, Way] | None:
        """The way up to where the vehicle turned back and the way since; None where it has not turned."""
        poses = [*self._poses, *self._newest]
        for extreme in (max, min):
            corner = extreme(range(len(poses)), key=lambda index: poses[index].log_size, default=0)
            before, since = poses[: corner + 1], poses[corner:]
            if _turned_back(before, since):
                return _way_of(before), _way_of(since)
        return None

    def action(self, settings: TrackingSettings, width: int, height: int) -> Action | None:
        """What the vehicle does at the gate; None while motion does not tell. `width` and `height` of the frame."""
        if settings.action is not ActionRule.AUTO:
            return Action(settings.action.value)
        if len(self._poses) < MIN_POSES:
            return None
        first, last, doubt = self._ends()
        if settings.line is not None:
            return _across(first, last, doubt, settings.line, width, height)
        return _nearer(first, last, doubt, settings.approach_is)

    def _ends(self) -> tuple[Pose, Pose, float]:
        """Mean of the first and of the last third, and the factor of their difference's standard deviation."""
        third = max(1, len(self._poses) // 3)
        return _mean(self._poses[:third]), _mean(self._poses[-third:]), math.sqrt(2 / third)


def _way_of(poses: Iterable[Pose]) -> Way:
    way = Way()
    for pose in poses:
        way.add(pose)
    return way


def _turned_back(before: list[Pose], since: list[Pose]) -> bool:
    """Whether two pieces of a way that meet go opposite ways, in size and in height, and both far enough."""
    if min(len(before), len(since)) < TURN_POSES:
        return False
    begin, corner, end = _mean(before[:2]), before[-1], _mean(since[-2:])
    growth, shrinking = corner.log_size - begin.log_size, corner.log_size - end.log_size
    size = math.exp(corner.log_size)
    drop, rise = (corner.y - begin.y) / size, (corner.y - end.y) / size
    if growth < 0:
        growth, shrinking, drop, rise = -growth, -shrinking, -drop, -rise
    far = min(growth, shrinking) >= TURN_GROWTH and min(drop, rise) >= TURN_STEP
    return far and shrinking >= TURN_SHARE * growth


def _mean(poses: list[Pose]) -> Pose:
    count = len(poses)
    return Pose(
        sum(each.x for each in poses) / count,
        sum(each.y for each in poses) / count,
        sum(each.log_size for each in poses) / count,
    )


def _nearer(first: Pose, last: Pose, doubt: float, approach_is: Action) -> Action | None:
    growth = last.log_size - first.log_size
    drop = (last.y - first.y) / math.exp((first.log_size + last.log_size) / 2)
    # Size and height are two measurements of one thing; each in its own standard deviations.
    evidence = growth / (SIZE_JITTER * doubt) + drop / (JITTER * doubt)
    if abs(evidence) < CERTAIN or (abs(growth) < MIN_GROWTH and abs(drop) < MIN_STEP):
        return None
    return approach_is if evidence > 0 else _opposite(approach_is)


def _across(first: Pose, last: Pose, doubt: float, line: Line, width: int, height: int) -> Action | None:
    start, end = _pixels(line.start, width, height), _pixels(line.end, width, height)
    along_x, along_y = end[0] - start[0], end[1] - start[1]
    length = math.hypot(along_x, along_y) or 1.0

    def side(pose: Pose) -> float:
        # Positive to the right hand of one who looks from start to end (y grows down).
        return (along_x * (pose.y - start[1]) - along_y * (pose.x - start[0])) / length

    step = (side(last) - side(first)) / math.exp((first.log_size + last.log_size) / 2)
    if abs(step) < max(MIN_STEP, CERTAIN * JITTER * doubt):
        return None
    return Action.ENTRY if step > 0 else Action.EXIT


def _pixels(point: Point, width: int, height: int) -> Point:
    return (point[0] * width, point[1] * height)


def _opposite(action: Action) -> Action:
    return Action.EXIT if action is Action.ENTRY else Action.ENTRY
