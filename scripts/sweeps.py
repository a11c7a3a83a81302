"""How the whole way holds out as it gets harder: rendered frames, one condition worsened at a time.

    python -m scripts.sweeps [--models models] [--plates 150] [--picture sweeps.svg]

The same plates at every value: width in a frame of 640 pixels, turned to the side, hanging askew, blurred, dark or
bright. Found: a box overlaps the plate; right: the text is exactly the plate's.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

import cv2
from rich.progress import track

from lpr.vision.plate_reader import PlateReader
from lpr.vision.vision import Detail
from scripts.chart import Chart, Series, draw
from scripts.reading import opened, quiet, read_frames
from scripts.render.gate import FRAME_WIDTH, Conditions, gate_frame
from scripts.render.paint import Image
from scripts.render.samples import load_backgrounds

SEED: Final = 91


@dataclass(frozen=True, slots=True)
class Sweep:
    """One condition: what it is called, the values, and what a value makes of the conditions."""

    name: str
    values: tuple[float, ...]
    at: Callable[[float], Conditions]
    logarithmic: bool = False


SWEEPS: Final = (
    Sweep(f"width (pixels of {FRAME_WIDTH})", (24, 30, 36, 44, 54, 68, 90, 130, 200),
          lambda value: Conditions(width_px=value), logarithmic=True),
    Sweep("turned to the side (degrees)", (0, 10, 20, 30, 40, 50, 60, 70), lambda value: Conditions(turn_deg=value)),
    Sweep("seen from above (degrees)", (0, 10, 20, 30, 40, 50, 60), lambda value: Conditions(tilt_deg=value)),
    Sweep("askew (degrees)", (0, 5, 10, 15, 20, 30, 45), lambda value: Conditions(roll_deg=value)),
    Sweep("blur (sigma, pixels)", (0, 0.5, 1, 1.5, 2, 2.5, 3, 4), lambda value: Conditions(blur_px=value)),
    Sweep("brightness (factor)", (0.06, 0.1, 0.16, 0.25, 0.4, 0.65, 1, 1.5, 2.2, 3.3),
          lambda value: Conditions(brightness=value), logarithmic=True),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Point:
    """Shares of the plates at one value."""

    value: float
    plates: int
    found: float
    right: float
    right_one_row: float
    right_two_rows: float


async def measure(reader: PlateReader, sweep: Sweep, value: float, plates: int, backgrounds: Sequence[Image]) -> Point:
    """Read `plates` frames at one value."""
    frames = [gate_frame(Random(f"{SEED} {number}"), sweep.at(value), backgrounds) for number in range(plates)]
    reads = await read_frames(reader, frames)
    right = [read is not None and read.plate.text == frame.text for read, frame in zip(reads, frames, strict=True)]
    by_rows = [[good for good, frame in zip(right, frames, strict=True) if frame.rows == rows] for rows in (1, 2)]
    one_row, two_rows = (sum(each) / max(1, len(each)) for each in by_rows)
    found = sum(read is not None for read in reads)
    return Point(value, plates, found / plates, sum(right) / plates, one_row, two_rows)


async def measure_all(
    models: Path | None, detail: Detail, plates: int, backgrounds: Sequence[Image]
) -> dict[str, list[Point]]:
    """All sweeps, by name."""
    todo = [(sweep, value) for sweep in SWEEPS for value in sweep.values]
    points: dict[str, list[Point]] = {sweep.name: [] for sweep in SWEEPS}
    async with opened(models, detail=detail) as reader:
        for sweep, value in track(todo, "reading rendered frames", transient=True):
            points[sweep.name].append(await measure(reader, sweep, value, plates, backgrounds))
    return points


def picture(points: dict[str, list[Point]]) -> str:
    """A chart for each sweep."""
    charts = []
    for sweep in SWEEPS:
        there = points[sweep.name]
        lines = [
            Series("found", [(each.value, each.found) for each in there], dashed=True),
            Series("right, one row", [(each.value, each.right_one_row) for each in there]),
            Series("two rows", [(each.value, each.right_two_rows) for each in there]),
        ]
        span = (min(sweep.values), max(sweep.values))
        charts.append(Chart("", lines, sweep.name, "share of plates", span, (0.0, 1.0), sweep.logarithmic))
    return draw(charts, columns=2)


def print_table(points: dict[str, list[Point]]) -> None:
    """A block for each sweep."""
    for name, there in points.items():
        print(f"\n{name:32}{'found':>8}{'right':>8}{'one row':>9}{'two rows':>10}")
        for each in there:
            print(
                f"{each.value:32g}{each.found:8.3f}{each.right:8.3f}{each.right_one_row:9.3f}{each.right_two_rows:10.3f}"
            )


def main() -> None:
    """Read the arguments, measure, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, help="folder of the networks; none: those that ship")
    parser.add_argument("--detail", choices=[each.value for each in Detail], default=Detail.FAST.value)
    parser.add_argument("--plates", type=int, default=150, help="at each value")
    parser.add_argument("--backgrounds", type=Path, help="plate-free pictures to stand behind the plates")
    parser.add_argument("--picture", type=Path, help="draw the charts here (.svg)")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    quiet()
    backgrounds = load_backgrounds(arguments.backgrounds)
    points = asyncio.run(measure_all(arguments.models, Detail(arguments.detail), arguments.plates, backgrounds))
    print_table(points)
    if arguments.picture is not None:
        arguments.picture.write_text(picture(points), encoding="utf-8")


if __name__ == "__main__":
    main()
