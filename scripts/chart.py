"""Line charts as SVG: curves of a training, accuracy against width, reliability. A picture that any browser shows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

WIDTH, HEIGHT = 460, 300
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 30, 44
"""Pixels of a chart around its plot."""
COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Told apart by those who see no red or no green, too."""

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Series:
    """A line through points, or the points alone."""

    name: str
    points: Sequence[Point]
    dashed: bool = False
    dots: bool = True


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines over one pair of axes. A range that is None is that of the points; points that are no number are left out.

    `x_logarithmic` spaces powers evenly: all x must be above 0.
    """

    title: str
    series: Sequence[Series]
    x_label: str
    y_label: str = ""
    x_range: Point | None = None
    y_range: Point | None = None
    x_logarithmic: bool = False


@dataclass(frozen=True, slots=True)
class Axis:
    """Numbers to pixels."""

    low: float
    high: float
    start_px: float
    end_px: float
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """Where `value` lies, in pixels."""
        low, high = self._scaled(self.low), self._scaled(self.high)
        return self.start_px + (self._scaled(value) - low) / (high - low) * (self.end_px - self.start_px)

    def _scaled(self, value: float) -> float:
        return math.log(value) if self.logarithmic else value

    def ticks(self) -> list[float]:
        """About five round numbers within the range."""
        if self.logarithmic:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            marks = [digit * 10.0**power for power in decades for digit in (1, 2, 5)]
        else:
            rough = (self.high - self.low) / 5
            power = 10.0 ** math.floor(math.log10(rough))
            step = next(power * digit for digit in (1, 2, 5, 10) if power * digit >= rough)
            first = math.ceil(self.low / step - 1e-9)
            marks = [step * number for number in range(first, math.floor(self.high / step + 1e-9) + 1)]
        slack = 1e-9 * abs(self.high - self.low)
        return [mark for mark in marks if self.low - slack <= mark <= self.high + slack]


def draw(charts: Sequence[Chart], columns: int = 1) -> str:
    """The charts in a grid, as the text of an SVG file."""
    columns = min(columns, len(charts))
    width, height = columns * WIDTH, math.ceil(len(charts) / columns) * HEIGHT
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
    ]
    for number, chart in enumerate(charts):
        row, column = divmod(number, columns)
        parts += [f'<g transform="translate({column * WIDTH} {row * HEIGHT})">', *_chart(chart), "</g>"]
    return "\n".join([*parts, "</svg>", ""])


def _chart(chart: Chart) -> Iterator[str]:
    points = [point for line in chart.series for point in _known(line.points)]
    low_x, high_x = chart.x_range or _range([x for x, _ in points], widen=False)
    low_y, high_y = chart.y_range or _range([y for _, y in points], widen=True)
    x = Axis(low_x, high_x, LEFT, WIDTH - RIGHT, chart.x_logarithmic)
    y = Axis(low_y, high_y, HEIGHT - BOTTOM, TOP)
    yield f'<text x="{LEFT}" y="18" font-size="13" font-weight="bold">{escape(chart.title)}</text>'
    yield from _grid(x, y, chart)
    for number, line in enumerate(chart.series):
        yield from _line(line, x, y, COLOURS[number % len(COLOURS)])
    yield from _legend(chart.series)


def _grid(x: Axis, y: Axis, chart: Chart) -> Iterator[str]:
    for mark in x.ticks():
        at = x.place(mark)
        yield f'<line x1="{at:.1f}" y1="{TOP}" x2="{at:.1f}" y2="{HEIGHT - BOTTOM}" stroke="#e4e4e4"/>'
        yield f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 14}" text-anchor="middle" fill="#444">{mark:g}</text>'
    for mark in y.ticks():
        at = y.place(mark)
        yield f'<line x1="{LEFT}" y1="{at:.1f}" x2="{WIDTH - RIGHT}" y2="{at:.1f}" stroke="#e4e4e4"/>'
        yield f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end" fill="#444">{mark:g}</text>'
    middle = (LEFT + WIDTH - RIGHT) / 2
    yield f'<text x="{middle:.1f}" y="{HEIGHT - 12}" text-anchor="middle">{escape(chart.x_label)}</text>'
    height = (TOP + HEIGHT - BOTTOM) / 2
    turn = f'transform="rotate(-90 14 {height:.1f})"'
    yield f'<text x="14" y="{height:.1f}" text-anchor="middle" {turn}>{escape(chart.y_label)}</text>'


def _line(line: Series, x: Axis, y: Axis, colour: str) -> Iterator[str]:
    # What lies beyond a range that was asked for is drawn on its edge.
    inside = [(min(max(a, x.low), x.high), min(max(b, y.low), y.high)) for a, b in _known(line.points)]
    places = [f"{x.place(a):.1f},{y.place(b):.1f}" for a, b in inside]
    dash = ' stroke-dasharray="5 4"' if line.dashed else ""
    yield f'<polyline points="{" ".join(places)}" fill="none" stroke="{colour}" stroke-width="1.6"{dash}/>'
    if line.dots and len(places) <= 40:
        for place in places:
            at_x, at_y = place.split(",")
            yield f'<circle cx="{at_x}" cy="{at_y}" r="2.4" fill="{colour}"/>'


def _legend(series: Sequence[Series]) -> Iterator[str]:
    at = WIDTH - RIGHT
    for number, line in reversed(list(enumerate(series))):
        if line.name:
            colour = COLOURS[number % len(COLOURS)]
            yield f'<text x="{at}" y="18" text-anchor="end" fill="{colour}">{escape(line.name)}</text>'
            at -= 12 + round(6.2 * len(line.name))


def _known(points: Sequence[Point]) -> list[Point]:
    return [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]


def _range(values: Sequence[float], *, widen: bool) -> Point:
    """From the least to the greatest, never empty; a little more where `widen`."""
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    room = 0.05 * (high - low) if widen else 0.0
    if high - low < 1e-9:
        room = max(0.5, 0.1 * abs(high))
    return low - room, high + room
