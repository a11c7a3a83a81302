"""The frames of a run of traffic, with their reads: what a recogniser makes of each plate, and what it mistakes."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lpr.domain.clock import Instant
from lpr.domain.frame import Frame
from lpr.domain.geometry import Box, Quad
from lpr.domain.plate import PlateColour, PlateRead
from lpr.plates.alphabet import ALPHABET, BLANK, CLASSES, INDEX, SLOTS
from lpr.plates.decode import decode
from lpr.testing.traffic.camera import EMPTY, HEIGHT, WIDTH, View, look_at, shown, visible
from lpr.testing.traffic.vehicle import Vehicle

FRAME_NOISE: Final = 0.45
"""Of each margin, between two frames in which nothing else differs."""
LOOK_STEP: Final = 0.5
LOOK_GROWTH: Final = 0.16
"""Plate sizes of movement, and growth (natural logarithm), after which the pixels of a plate are others."""


@dataclass(slots=True)
class Seen:
    """What of a vehicle reached the tracker: frames with a read, and those that a careful person could read whole."""

    vehicle: Vehicle
    reads: int = 0
    clear: int = 0
    first_clear_s: float = math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """How bad the day is. Rates are for one frame unless said otherwise."""

    fps: float = 8.0
    lost_frame: float = 0.03
    lost_run: float = 0.004
    """A run of lost frames begins, up to 0.8 s long."""
    missed: float = 0.04
    """The detector passes over a plate that is large enough."""
    false_alarm: float = 0.03
    length_mistake: float = 0.006
    """A character is lost or doubled."""
    bad_frame: float = 0.03
    """This plate is blurred beyond reading in this frame."""
    shake_px: float = 5.0
    glare: float = 1.2
    """Standard deviation of a disturbance of one character's margin that lasts about half a second."""
    look: float = 0.9
    """The same of one that lasts until the plate has moved on."""
    damaged: float = 0.08
    """Share of vehicles with one character that is hard to read all the way."""
    deceptive: float = 0.04
    """Share of vehicles with one character that looks as much like another, or more, all the way."""
    slipping: float = 0.005
    """Share of vehicles of whose plate a character is lost or doubled in many frames."""
    ruined: float = 0.006
    """Share of vehicles that nobody can read."""
    wall_jump: float = 0.0005
    roi: tuple[tuple[float, float], ...] = ()


class Traffic:
    """A run of frames with their reads. Iterate `frames()` once; `seen` then says what there was to be seen."""

    def __init__(self, vehicles: Sequence[Vehicle], conditions: Conditions, seed: int, start_s: float = 1000.0) -> None:
        self.vehicles = sorted(vehicles, key=lambda each: each.start_s)
        self.conditions = conditions
        self.seen = {each.identity: Seen(each) for each in self.vehicles}
        self._random = random.Random(seed)
        self._numbers = np.random.default_rng(seed)
        self._glare: dict[int, NDArray[np.float64]] = {}
        self._looks: dict[int, tuple[Box, NDArray[np.float64]]] = {}
        self._start_s = start_s
        self._wall = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)
        self._shake = np.zeros(2)

    def instant(self, seconds: float) -> Instant:
        """The moment `seconds` after the beginning."""
        return Instant(self._wall + timedelta(seconds=seconds), self._start_s + seconds)

    @property
    def end_s(self) -> float:
        """When the last vehicle has gone."""
        return max((each.end_s for each in self.vehicles), default=0.0)

    def frames(self) -> Iterator[tuple[Frame, list[PlateRead]]]:
        """Every frame that is not lost, with the reads in it in no particular order."""
        step = 1 / self.conditions.fps
        lost_until, number, waiting = -1.0, 0, list(self.vehicles)
        present: list[Vehicle] = []
        for index in range(int(self.end_s / step) + 2):
            at_s = index * step + self._random.uniform(-0.1, 0.1) * step
            number += 1
            while waiting and waiting[0].start_s <= at_s:
                present.append(waiting.pop(0))
            present = [each for each in present if each.end_s >= at_s]
            if self._random.random() < self.conditions.lost_run:
                lost_until = at_s + self._random.uniform(0.2, 0.8)
            if at_s < lost_until or self._random.random() < self.conditions.lost_frame:
                continue
            if self._random.random() < self.conditions.wall_jump:
                self._wall += timedelta(hours=self._random.uniform(-30, 30))
            yield Frame("CAM", number, EMPTY, self.instant(at_s)), self._reads(present, at_s)

    def _reads(self, present: Sequence[Vehicle], at_s: float) -> list[PlateRead]:
        keep = math.exp(-1 / (0.4 * self.conditions.fps))
        kick = self._numbers.normal(0, self.conditions.shake_px, 2)
        self._shake = keep * self._shake + math.sqrt(1 - keep * keep) * kick
        views = [look_at(each, at_s, self._shake) for each in present]
        reads = [read for view in views if (read := self._read(view, views, at_s)) is not None]
        if self._random.random() < self.conditions.false_alarm:
            reads.append(self._false_alarm())
        self._random.shuffle(reads)
        return reads

    def _read(self, view: View, others: Sequence[View], at_s: float) -> PlateRead | None:
        left, top, right, bottom = visible(view, others)
        share = max(0.0, right - left) * max(0.0, bottom - top)
        vehicle, box = view.vehicle, view.box
        found = (1 - self.conditions.missed) / (1 + math.exp((24 - box.width) / 3.0))
        if share < 0.3 or self._random.random() > found * min(1.0, 1.3 * share):
            return None
        part = Box(
            box.x + left * box.width, box.y + top * box.height, (right - left) * box.width, (bottom - top) * box.height
        )
        quality, blur = self._quality(view)
        text, margins = self._margins(view, quality, (left, top, right, bottom))
        table = self._table(text, margins)
        whole = share > 0.97
        seen = self.seen[vehicle.identity]
        seen.reads += 1
        if whole and _is_clear(margins) and box.width >= 40:
            seen.clear += 1
            seen.first_clear_s = min(seen.first_clear_s, at_s)
        jittered = self._jittered(part)
        readable = 1 / (1 + math.exp(-1.2 * (float(margins.mean()) - 2.0))) if len(margins) else 0.05
        rows_probability = 0.97 if vehicle.rows == 2 else 0.03
        return _plate_read(
            jittered,
            table,
            rows_probability,
            readable=readable,
            sharpness=14.0 * blur * self._random.uniform(0.9, 1.1),
            confidence=min(0.99, self._random.uniform(0.75, 0.95) * (0.6 + 0.4 * share)),
            identity=vehicle.identity,
        )

    def _quality(self, view: View) -> tuple[float, float]:
        """Mean margin of this plate's characters in this frame, and how sharp it is (1: perfectly)."""
        share = 0.38 if view.vehicle.rows == 2 else 0.75
        character_px = share * view.box.height
        quality = 8.0 * (1 - math.exp(-max(0.0, character_px - 3.0) / 5.0)) - view.vehicle.murk
        blur = 1.0 - min(0.5, view.speed_px_s / 6000.0) - abs(self._random.gauss(0, 0.06))
        if self._random.random() < self.conditions.bad_frame:
            blur -= 0.5
        return quality - 6.0 * (1 - max(0.1, blur)), max(0.1, blur)

    def _margins(
        self, view: View, quality: float, window: tuple[float, float, float, float]
    ) -> tuple[list[tuple[str, str]], NDArray[np.float64]]:
        """The characters in sight with what each is taken for, and by how much the true one wins (may be negative)."""
        vehicle = view.vehicle
        margins = quality - vehicle.damage + self._glare_on(vehicle) + self._look_of(view)
        margins += self._numbers.normal(0, FRAME_NOISE, len(vehicle.text))
        ceiling = vehicle.ceiling + self._numbers.normal(0, FRAME_NOISE, len(vehicle.text))
        margins = np.minimum(margins, ceiling)
        text: list[tuple[str, str]] = []
        kept: list[float] = []
        for place, (character, mistaken) in enumerate(zip(vehicle.text, vehicle.mistaken, strict=True)):
            part = shown(vehicle, place, window)
            if part < 0.4:
                continue
            text.append((character, mistaken))
            # Half a character is read as something, but not as itself.
            kept.append(float(margins[place]) - (6.0 if part < 0.8 else 0.0))
        return self._length_mistake(vehicle, text, kept, quality)

    def _glare_on(self, vehicle: Vehicle) -> NDArray[np.float64]:
        """What the light takes from each character, or gives it; it changes within half a second."""
        keep = math.exp(-1 / (0.5 * self.conditions.fps))
        fresh = self._numbers.normal(0, self.conditions.glare, len(vehicle.text))
        state = _drifted(self._glare.get(vehicle.identity), keep, fresh)
        self._glare[vehicle.identity] = state
        return state

    def _look_of(self, view: View) -> NDArray[np.float64]:
        """What the pixels that the characters happen to fall on do to them; it changes as the plate moves."""
        identity, box = view.vehicle.identity, view.box
        fresh = self._numbers.normal(0, self.conditions.look, len(view.vehicle.text))
        before, keep = self._looks.get(identity), 0.0
        if before is not None:
            (x, y), (old_x, old_y) = box.centre, before[0].centre
            moved = math.hypot(x - old_x, y - old_y) / math.sqrt(box.area)
            keep = math.exp(-moved / LOOK_STEP - abs(math.log(box.width / before[0].width)) / LOOK_GROWTH)
        state = _drifted(before[1] if before else None, keep, fresh)
        self._looks[identity] = (box, state)
        return state

    def _length_mistake(
        self, vehicle: Vehicle, text: list[tuple[str, str]], margins: list[float], quality: float
    ) -> tuple[list[tuple[str, str]], NDArray[np.float64]]:
        rate = self.conditions.length_mistake * (4.0 if quality < 3 else 1.0)
        if vehicle.slips and text and self._random.random() < vehicle.slips:
            _slip(text, margins, abs(vehicle.slip) % len(text), lost=vehicle.slip >= 0)
        elif text and self._random.random() < rate:
            _slip(text, margins, self._random.randrange(len(text)), lost=self._random.random() < 0.75)
        return text, np.array(margins)

    def _table(self, text: Sequence[tuple[str, str]], margins: NDArray[np.float64]) -> NDArray[np.float32]:
        """The recogniser's output: the likeliest characters share what the margins give them."""
        logits = self._numbers.normal(-6.0, 0.7, (SLOTS, CLASSES))
        for slot, ((character, mistaken), margin) in enumerate(zip(text, margins.tolist(), strict=True)):
            # Networks are surer than they should be.
            logits[slot, INDEX[mistaken]] = 0.0
            logits[slot, INDEX[character]] = 1.2 * margin
            logits[slot, BLANK] = -7.0
        logits[len(text) :, BLANK] = 3.0
        table = np.exp(logits - logits.max(axis=1, keepdims=True))
        result: NDArray[np.float32] = (table / table.sum(axis=1, keepdims=True)).astype(np.float32)
        return result

    def _jittered(self, box: Box) -> Box:
        dx, dy, dw, dh = self._numbers.normal(0, 0.025, 4).tolist()
        width, height = box.width * (1 + dw), box.height * (1 + dh)
        return Box(box.x + dx * box.width, box.y + dy * box.height, width, height).clipped(WIDTH, HEIGHT)

    def _false_alarm(self) -> PlateRead:
        """A sticker, a grille, a lamp: anywhere, any size, nonsense on it."""
        width = self._random.uniform(30, 160)
        height = width / self._random.uniform(1.2, 5.0)
        box = Box(self._random.uniform(0, WIDTH - width), self._random.uniform(0, HEIGHT - height), width, height)
        text = [
            (self._random.choice(ALPHABET), self._random.choice(ALPHABET)) for _ in range(self._random.randint(1, 8))
        ]
        table = self._table(text, self._numbers.normal(0, 1.5, len(text)))
        return _plate_read(box, table, 0.5, readable=0.2, sharpness=8.0, confidence=0.4, identity=0)


def _drifted(before: NDArray[np.float64] | None, keep: float, fresh: NDArray[np.float64]) -> NDArray[np.float64]:
    """A disturbance that holds by `keep` (0..1) from one frame to the next, and is as strong in all of them."""
    return fresh if before is None else keep * before + math.sqrt(1 - keep * keep) * fresh


def _slip(text: list[tuple[str, str]], margins: list[float], place: int, *, lost: bool) -> None:
    """The character at `place` is lost, or seen twice where there is room for it."""
    if lost:
        del text[place], margins[place]
    elif len(text) < SLOTS:
        text.insert(place, text[place])
        margins.insert(place, margins[place])


def identity_of(read: PlateRead) -> int:
    """Which vehicle a read was made from; 0 for a false alarm. The crop carries it."""
    blue, green, red = (int(value) for value in read.crop[0, 0])
    return (blue << 16) + (green << 8) + red


def _plate_read(
    box: Box,
    table: NDArray[np.float32],
    rows_probability: float,
    *,
    readable: float,
    sharpness: float,
    confidence: float,
    identity: int,
) -> PlateRead:
    crop = np.array([[[identity >> 16, identity >> 8 & 255, identity & 255]]], np.uint8)
    return PlateRead(
        box=box,
        corners=Quad.of_box(box),
        detection_confidence=confidence,
        probabilities=table,
        rows_probability=rows_probability,
        colour=PlateColour.WHITE,
        readable=readable,
        sharpness=sharpness,
        crop=crop,
        plate=decode(table, 2 if rows_probability >= 0.5 else 1),
    )


def _is_clear(margins: NDArray[np.float64]) -> bool:
    return len(margins) > 0 and float(np.min(margins)) > 1.5
