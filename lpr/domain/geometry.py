"""Boxes, corners and regions in pixels of a frame or fractions of it; x grows right, y grows down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

Point: TypeAlias = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Box:
    """An upright rectangle in pixels: left and top edge, width and height; sides are never negative."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """Right edge, in pixels."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """Lower edge, in pixels."""
        return self.y + self.height

    @property
    def centre(self) -> Point:
        """Middle of the box, in pixels."""
        return (self.x + self.width / 2, self.y + self.height / 2)

    @property
    def area(self) -> float:
        """Square pixels."""
        return self.width * self.height

    def iou(self, other: Box) -> float:
        """Intersection over union with `other`, 0..1."""
        overlap_width = min(self.right, other.right) - max(self.x, other.x)
        overlap_height = min(self.bottom, other.bottom) - max(self.y, other.y)
        if overlap_width <= 0 or overlap_height <= 0:
            return 0.0
        shared = overlap_width * overlap_height
        return shared / (self.area + other.area - shared)

    def scaled(self, factor: float) -> Box:
        """The same box in a picture that is `factor` times as large."""
        return Box(self.x * factor, self.y * factor, self.width * factor, self.height * factor)

    def stretched(self, across: float, down: float) -> Box:
        """The same box in a picture that is `across` times as wide and `down` times as high."""
        return Box(self.x * across, self.y * down, self.width * across, self.height * down)

    def moved(self, dx: float, dy: float) -> Box:
        """The same box, `dx` pixels further right and `dy` further down."""
        return Box(self.x + dx, self.y + dy, self.width, self.height)

    def clipped(self, width: float, height: float) -> Box:
        """What of the box lies inside a picture of `width` x `height` pixels; empty sides become 0."""
        left, top = min(max(self.x, 0.0), width), min(max(self.y, 0.0), height)
        right, bottom = min(max(self.right, 0.0), width), min(max(self.bottom, 0.0), height)
        return Box(left, top, max(0.0, right - left), max(0.0, bottom - top))


@dataclass(frozen=True, slots=True)
class Quad:
    """The four corners of a plate in frame pixels, in reading order: top left, top right, bottom right, bottom left."""

    top_left: Point
    top_right: Point
    bottom_right: Point
    bottom_left: Point

    @property
    def points(self) -> tuple[Point, Point, Point, Point]:
        """The corners, clockwise from the top left."""
        return (self.top_left, self.top_right, self.bottom_right, self.bottom_left)

    @property
    def box(self) -> Box:
        """The smallest upright box around the corners."""
        xs, ys = [x for x, _ in self.points], [y for _, y in self.points]
        return Box(min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys))

    @classmethod
    def of_box(cls, box: Box) -> Quad:
        """The corners of an upright box."""
        return cls((box.x, box.y), (box.right, box.y), (box.right, box.bottom), (box.x, box.bottom))


def point_in_polygon(point: Point, polygon: tuple[Point, ...]) -> bool:
    """Whether `point` lies inside `polygon` (even-odd rule; three corners or more, same units as the point)."""
    x, y = point
    inside = False
    previous_x, previous_y = polygon[-1]
    for corner_x, corner_y in polygon:
        if (corner_y > y) != (previous_y > y):
            crossing = (previous_x - corner_x) * (y - corner_y) / (previous_y - corner_y) + corner_x
            if x < crossing:
                inside = not inside
        previous_x, previous_y = corner_x, corner_y
    return inside


def polygon_area(polygon: tuple[Point, ...]) -> float:
    """The area that `polygon` goes round, in its own units squared; where edges cross, the parts' difference."""
    edges = zip(polygon, polygon[1:] + polygon[:1], strict=True)
    return abs(sum(a[0] * b[1] - b[0] * a[1] for a, b in edges)) / 2


def crosses_itself(polygon: tuple[Point, ...]) -> bool:
    """Whether two edges of `polygon` cross; touching in a point is no crossing."""
    edges = list(zip(polygon, polygon[1:] + polygon[:1], strict=True))
    return any(_cross(*one, *other) for at, one in enumerate(edges) for other in edges[at + 1 :])


def _cross(a: Point, b: Point, c: Point, d: Point) -> bool:
    def side(p: Point, q: Point, r: Point) -> float:
        return (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])

    return side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0
