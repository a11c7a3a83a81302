"""How sure is a vote over frames that share their mistakes? Rendered plates through the reader and the tracker.

    python -m scripts.evaluate_votes [--vehicles 1000] [--seed 1] [--fps 8]

Each vehicle's plate is drawn once, with its wear, dirt and light, and shown in eight frames while it comes nearer; half
of the cameras blur and compress every frame in another way, half always in the same. What the recogniser says of each
goes through the tracker as it would at a gate. The plates are much harder than those of a gate (a fifth of the frames
is misread): what counts is whether the confidences that come out keep their word, and how often one that is
sure is wrong, against the single frames beside them.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Final

import cv2

from lpr.domain.choices import EmitRule
from lpr.domain.clock import Instant
from lpr.domain.frame import Frame
from lpr.domain.geometry import Box, Quad
from lpr.domain.passage import Passage, PassageOutcome
from lpr.domain.plate import PlateRead
from lpr.testing.traffic import EMPTY
from lpr.tracking.grammar import decide
from lpr.tracking.repeat import RepeatGuard
from lpr.tracking.settings import TrackingSettings
from lpr.tracking.tracker import PassageTracker
from lpr.vision.base import Detection
from lpr.vision.plate_reader import PlateReader
from scripts.reading import opened, quiet
from scripts.reliability import print_reliability
from scripts.render.camera import light, pose, shoot
from scripts.render.crops import hardness, place, seen_quad
from scripts.render.plate import ROW_HEIGHT_PX, draw_plate
from scripts.render.plate_spec import random_spec

FRAMES: Final = 8
FARTHEST_PX: Final = {1: (38.0, 75.0), 2: (30.0, 55.0)}
"""Width of the plate in the first frame, by rows."""
GROWTH: Final = (1.6, 3.2)
SURE: Final = 0.9
READABLE: Final = 0.75
"""Share of a vehicle's frames that are read right by themselves where a person could read it, too."""
BEGIN: Final = datetime(2026, 1, 1, tzinfo=UTC)


def main() -> None:
    """Read the arguments, render, vote, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vehicles", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--fps", type=float, default=8.0)
    arguments = parser.parse_args()
    quiet()
    frames: list[tuple[float, bool]] = []
    votes: dict[EmitRule, list[tuple[float, bool]]] = {rule: [] for rule in EmitRule}
    legible, sure_of = 0, Counter[EmitRule]()
    for text, reads in asyncio.run(_collected(arguments.vehicles, arguments.seed)):
        frames += [(read.plate.confidence, read.plate.text == text) for read in reads]
        readable = sum(read.plate.text == text for read in reads) >= READABLE * FRAMES
        legible += readable
        for rule in EmitRule:
            said = [
                (passage.plate.confidence, passage.plate.text == text)
                for passage in passages_of(reads, rule, arguments.fps)
                if passage.outcome is PassageOutcome.READ
            ]
            votes[rule] += said
            sure_of[rule] += readable and any(right and confidence >= SURE for confidence, right in said)
    for name, said in (("single frames", frames), *((f"votes, emit: {rule.value}", votes[rule]) for rule in EmitRule)):
        sure = [right for confidence, right in said if confidence >= SURE]
        print(f"{name}: {len(said)}, {len(sure)} at {SURE:g} or more, {len(sure) - sum(sure)} of these wrong")
        print_reliability(said)
    for rule in EmitRule:
        share = 100 * sure_of[rule] / max(1, legible)
        print(f"emit: {rule.value}: of {legible} readable vehicles {share:.1f} % sure and right")


async def _collected(vehicles: int, seed: int) -> list[tuple[str, list[PlateRead]]]:
    return [each async for each in vehicles_read(vehicles, seed)]


async def vehicles_read(vehicles: int, seed: int) -> AsyncIterator[tuple[str, list[PlateRead]]]:
    """The text of each vehicle, and what the recogniser says of its frames."""
    async with opened() as reader:
        for number in range(vehicles):
            yield await _vehicle(reader, Random(f"{seed} {number}"))


async def _vehicle(reader: PlateReader, random: Random) -> tuple[str, list[PlateRead]]:
    spec, hard = random_spec(random), hardness(random)
    far_px = random.uniform(*FARTHEST_PX[spec.rows])
    growth = random.uniform(*GROWTH)
    scale = max(0.16, min(1.2, 1.15 * far_px * growth / (ROW_HEIGHT_PX * spec.rows * spec.ratio)))
    plate = draw_plate(spec, random, scale, hard=hard)
    # One seed each for what stays the same from frame to frame.
    stance, surroundings, lamps, camera = (random.random() for _ in range(4))
    steady, tilt = random.random() < 0.5, random.uniform(0.3, 1.0)
    reads: list[PlateRead] = []
    for index in range(FRAMES):
        width = far_px * growth ** (index / (FRAMES - 1))
        image, _, corners = place(plate, pose(Random(stance), spec.ratio, width, hard=tilt), Random(surroundings), [])
        picture = shoot(
            light(image, corners, Random(lamps), hard=hard), Random(camera) if steady else random, hard=hard
        )
        quad = Quad(*((float(x), float(y)) for x, y in seen_quad(corners, random)))
        # Read by its corners in the small picture, then moved to where a gate's would show it.
        (read,) = await reader.read_detections(picture, [Detection(_box_of(quad), quad, 0.9)])
        reads.append(replace(read, box=_at_the_gate(read.box, index)))
    return plate.text, reads


def _box_of(quad: Quad) -> Box:
    xs, ys = zip(*quad.points, strict=True)
    return Box(min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys))


def _at_the_gate(box: Box, index: int) -> Box:
    """Where the plate would be in the picture of a gate: it sinks as it comes nearer."""
    return Box(900 - box.width / 2, 150 + 90 * index - box.height / 2, box.width, box.height)


def passages_of(reads: Sequence[PlateRead], rule: EmitRule, fps: float) -> list[Passage]:
    """What the tracker makes of one vehicle."""
    tracker = PassageTracker(TrackingSettings(camera_id="CAM", emit=rule), RepeatGuard(), decide)
    passages: list[Passage] = []
    for index, read in enumerate(reads):
        at = Instant(BEGIN + timedelta(seconds=index / fps), index / fps)
        passages += tracker.update(Frame("CAM", index, EMPTY, at), [read])
    return [*passages, *tracker.finish(Instant(BEGIN + timedelta(seconds=60), 60.0))]


if __name__ == "__main__":
    cv2.setNumThreads(1)
    main()
