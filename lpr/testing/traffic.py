"""Made-up traffic past a gate camera, with the truth beside it: what the tracker is tested and measured on.

A pinhole camera three metres up looks down a lane. Cars come and go, motorbikes go (their plate is behind), alone, in
packs, in queues at a barrier, across each other; nearer vehicles cover farther ones; plates enter cut by the edge of
the picture. A plate's read is worse the smaller and more blurred it is, and its mistakes are *persistent*: a bolt or
dirt makes the same wrong character in frame after frame, however near the vehicle comes; a passing glare for half a
second; and what is misread in one frame is misread in the next as long as the plate has hardly moved, for ten minutes
at the barrier. Frames are lost one by one and in runs, the pole shakes, the wall clock jumps.

Everything comes from one seed. The figures in here are no measurements: they are set to be harder than the gate cameras
and readers that this project has seen.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lpr.domain.clock import Instant
from lpr.domain.frame import Frame, Image
from lpr.domain.geometry import Box, Quad
from lpr.domain.passage import Passage, PassageOutcome
from lpr.domain.plate import PlateColour, PlateRead
from lpr.plates.alphabet import ALPHABET, BLANK, CLASSES, DIGITS, INDEX, SLOTS
from lpr.plates.decode import decode

WIDTH: Final = 1920
HEIGHT: Final = 1080
FOCAL_PX: Final = 2200.0
CAMERA_HEIGHT_M: Final = 3.0
PITCH: Final = math.radians(20.0)
NEAR_M: Final = 2.4
FAR_M: Final = 14.0

CONFUSIONS: Final = {
    "0": "88869693D", "1": "77744T3", "2": "77331119", "3": "888559912", "4": "1111673", "5": "666666339",
    "6": "8888888555503", "7": "1112223", "8": "6666666993305", "9": "8883335502", "A": "4447K", "B": "88DDG",
    "C": "GGGD", "D": "00UQ", "E": "FFF3", "F": "EEEH", "G": "CCCDBS", "H": "NNMM", "I": "1T", "J": "1U", "K": "MXN",
    "L": "1C", "M": "NNNHVV", "N": "MMMH", "O": "0Q", "P": "FFD", "Q": "0D", "R": "8H", "S": "G58", "T": "117",
    "U": "DD0M", "V": "YYYN", "W": "VN", "X": "KKY", "Y": "VVT", "Z": "2267", "Đ": "6D",
}  # fmt: skip
"""What each character is taken for, the oftener the oftener it stands there: counted over 32 000 frames of 4 000
rendered plates that the shipped reader read (`scripts/evaluate_votes.py`). It has learned the grammar: digits are taken
for digits, and the grammar mends little."""


@dataclass(frozen=True, slots=True)
class Body:
    """A kind of vehicle: its plate and what covers the view behind it, in metres."""

    plate_width: float
    plate_height: float
    plate_above_ground: float
    body_width: float
    body_height: float


CAR: Final = Body(0.52, 0.11, 0.6, 1.75, 1.5)
CAR_SHORT_PLATE: Final = Body(0.33, 0.165, 0.8, 1.75, 1.5)
MOTORBIKE: Final = Body(0.19, 0.14, 0.75, 0.62, 1.65)


@dataclass(frozen=True, slots=True, eq=False)
class Vehicle:
    """One vehicle and its way: `times_s`, `x_m` (right of the camera) and `z_m` (away from it), in step.

    `damage` takes from each character's margin in every frame, `ceiling` bounds it however near the vehicle comes, and
    `mistaken` is what each is then taken for. `murk` takes from all of them: mud, a bent plate. `slips` is how often,
    0..1, one and the same character is lost (`slip` gives its place) or seen twice (its place below zero).
    """

    identity: int
    text: str
    rows: int
    top: int
    body: Body
    times_s: NDArray[np.float64]
    x_m: NDArray[np.float64]
    z_m: NDArray[np.float64]
    damage: NDArray[np.float64]
    ceiling: NDArray[np.float64]
    mistaken: str
    murk: float = 0.0
    slips: float = 0.0
    slip: int = 0

    @property
    def start_s(self) -> float:
        """When it comes into being, seconds from the beginning."""
        return float(self.times_s[0])

    @property
    def end_s(self) -> float:
        """When it is gone."""
        return float(self.times_s[-1])


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
        views = [view for each in present if (view := _look_at(each, at_s, self._shake)) is not None]
        reads = [read for view in views if (read := self._read(view, views, at_s)) is not None]
        if self._random.random() < self.conditions.false_alarm:
            reads.append(self._false_alarm())
        self._random.shuffle(reads)
        return reads

    def _read(self, view: _View, others: Sequence[_View], at_s: float) -> PlateRead | None:
        left, top, right, bottom = _visible(view, others)
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
        if whole and _clear(margins) and box.width >= 40:
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

    def _quality(self, view: _View) -> tuple[float, float]:
        """Mean margin of this plate's characters in this frame, and how sharp it is (1: perfectly)."""
        share = 0.38 if view.vehicle.rows == 2 else 0.75
        character_px = share * view.box.height
        quality = 8.0 * (1 - math.exp(-max(0.0, character_px - 3.0) / 5.0)) - view.vehicle.murk
        blur = 1.0 - min(0.5, view.speed_px_s / 6000.0) - abs(self._random.gauss(0, 0.06))
        if self._random.random() < self.conditions.bad_frame:
            blur -= 0.5
        return quality - 6.0 * (1 - max(0.1, blur)), max(0.1, blur)

    def _margins(
        self, view: _View, quality: float, window: tuple[float, float, float, float]
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
            shown = _shown(vehicle, place, window)
            if shown < 0.4:
                continue
            text.append((character, mistaken))
            # Half a character is read as something, but not as itself.
            kept.append(float(margins[place]) - (6.0 if shown < 0.8 else 0.0))
        return self._length_mistake(vehicle, text, kept, quality)

    def _glare_on(self, vehicle: Vehicle) -> NDArray[np.float64]:
        """What the light takes from each character, or gives it; it changes within half a second."""
        keep = math.exp(-1 / (0.5 * self.conditions.fps))
        fresh = self._numbers.normal(0, self.conditions.glare, len(vehicle.text))
        state = _drifted(self._glare.get(vehicle.identity), keep, fresh)
        self._glare[vehicle.identity] = state
        return state

    def _look_of(self, view: _View) -> NDArray[np.float64]:
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


FRAME_NOISE: Final = 0.45
"""Of each margin, between two frames in which nothing else differs."""
LOOK_STEP: Final = 0.5
LOOK_GROWTH: Final = 0.16
"""Plate sizes of movement, and growth (natural logarithm), after which the pixels of a plate are others."""


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


EMPTY: Final[Image] = np.broadcast_to(np.zeros((1, 1, 1), np.uint8), (HEIGHT, WIDTH, 3))
"""A black frame that takes three bytes."""


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


# The camera


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """A vehicle in the picture: its plate's box and its body's, pixels, and how far it is."""

    vehicle: Vehicle
    box: Box
    body: Box
    distance_m: float
    speed_px_s: float


def project(x_m: float, y_m: float, z_m: float) -> tuple[float, float, float]:
    """A point right of, above the ground under, and away from the camera: pixels, and distance along its axis."""
    down = CAMERA_HEIGHT_M - y_m
    along = z_m * math.cos(PITCH) + down * math.sin(PITCH)
    below = down * math.cos(PITCH) - z_m * math.sin(PITCH)
    return WIDTH / 2 + FOCAL_PX * x_m / along, HEIGHT / 2 + FOCAL_PX * below / along, along


def _look_at(vehicle: Vehicle, at_s: float, shake: NDArray[np.float64]) -> _View | None:
    x, z = _place(vehicle, at_s)
    body = vehicle.body
    u, v, along = project(x, body.plate_above_ground, z)
    u, v = u + float(shake[0]), v + float(shake[1])
    width, height = FOCAL_PX * body.plate_width / along, FOCAL_PX * body.plate_height / along
    box = Box(u - width / 2, v - height / 2, width, height)
    before_x, before_z = _place(vehicle, at_s - 0.05)
    before_u, before_v, _ = project(before_x, body.plate_above_ground, before_z)
    speed = math.hypot(u - float(shake[0]) - before_u, v - float(shake[1]) - before_v) / 0.05
    _, ground, _ = project(x, 0.0, z)
    _, roof, _ = project(x, body.body_height, z)
    wide = FOCAL_PX * body.body_width / along
    return _View(vehicle, box, Box(u - wide / 2, roof, wide, ground - roof), along, speed)


def _place(vehicle: Vehicle, at_s: float) -> tuple[float, float]:
    return (
        float(np.interp(at_s, vehicle.times_s, vehicle.x_m)),
        float(np.interp(at_s, vehicle.times_s, vehicle.z_m)),
    )


def _visible(view: _View, others: Sequence[_View]) -> tuple[float, float, float, float]:
    """The window of the plate that is in sight, in fractions of it: left, top, right, bottom."""
    box = view.box
    left, top, right, bottom = 0.0, 0.0, 1.0, 1.0
    left, right = max(left, -box.x / box.width), min(right, (WIDTH - box.x) / box.width)
    top, bottom = max(top, -box.y / box.height), min(bottom, (HEIGHT - box.y) / box.height)
    for other in others:
        if other.distance_m >= view.distance_m - 0.3 or other.body.y > box.y + box.height or other.body.bottom < box.y:
            continue
        cover_left = (other.body.x - box.x) / box.width
        cover_right = (other.body.right - box.x) / box.width
        if cover_right <= left or cover_left >= right:
            continue
        # What is left over on the wider side stays in sight.
        if cover_left - left >= right - cover_right:
            right = min(right, cover_left)
        else:
            left = max(left, cover_right)
    return left, top, right, bottom


def _shown(vehicle: Vehicle, place: int, window: tuple[float, float, float, float]) -> float:
    """How much of a character's width and height is in the window, 0..1."""
    row, column, count = 0, place, len(vehicle.text)
    if vehicle.rows == 2:
        row = int(place >= vehicle.top)
        column, count = (place - vehicle.top, len(vehicle.text) - vehicle.top) if row else (place, vehicle.top)
    cell = 0.9 / count
    start = 0.05 + column * cell
    left, top, right, bottom = window
    wide = (min(right, start + cell) - max(left, start)) / cell
    row_height = 1.0 / vehicle.rows
    high = (min(bottom, (row + 1) * row_height) - max(top, row * row_height)) / row_height
    return max(0.0, min(1.0, wide)) * max(0.0, min(1.0, high))


def _clear(margins: NDArray[np.float64]) -> bool:
    return len(margins) > 0 and float(np.min(margins)) > 1.5


# Who drives


class Street:
    """Makes vehicles, one scene after another. Texts are never used twice."""

    def __init__(self, seed: int, conditions: Conditions | None = None) -> None:
        self.conditions = conditions or Conditions()
        self.vehicles: list[Vehicle] = []
        self.now_s = 1.0
        self.random = random.Random(seed)
        self._seed = seed
        self._used: set[str] = set()

    def traffic(self) -> Traffic:
        """All that has been made so far."""
        return Traffic(self.vehicles, self.conditions, self._seed + 1)

    def fill(self, passages: int) -> None:
        """Add scenes in a gate's mixture until there are at least `passages` vehicles."""
        scenes = (self.car, self.car, self.motorbike, self.motorbike, self.pack, self.queue, self.crossing, self.row)
        while len(self.vehicles) < passages:
            self.random.choice(scenes)()
            self.now_s += self.random.choice((0.3, 1.0, 3.0))

    def car(self) -> None:
        """One car, towards the camera or away from it."""
        self.now_s = self._drive(self._car_text(), self._car_body(), self.now_s, towards=self.random.random() < 0.6)

    def motorbike(self) -> None:
        """One motorbike, seen from behind."""
        self.now_s = self._drive(self._motorbike_text(), MOTORBIKE, self.now_s, towards=False)

    def pack(self) -> None:
        """Up to ten motorbikes at once, beside and behind each other."""
        speed, ends = self.random.uniform(2.5, 6.0), [self.now_s]
        count = self.random.randint(4, 10)
        for index in range(count):
            start = self.now_s + (index // 3) * self.random.uniform(0.5, 0.9) + self.random.uniform(0, 0.25)
            x = (-1.15, 0.0, 1.15)[index % 3] + self.random.uniform(-0.15, 0.15)
            own = speed * self.random.uniform(0.93, 1.07)
            ends.append(self._drive(self._motorbike_text(), MOTORBIKE, start, towards=False, speed=own, x=x))
        self.now_s = max(ends)

    def row(self) -> None:
        """Motorbikes of one series with neighbouring or transposed numbers, one right behind the other."""
        speed, ends = self.random.uniform(2.5, 5.0), [self.now_s]
        texts = self._lookalikes(self.random.randint(3, 6))
        for index, text in enumerate(texts):
            start = self.now_s + index * self.random.uniform(0.45, 0.8)
            x = (-0.5, 0.5)[index % 2] + self.random.uniform(-0.2, 0.2)
            ends.append(self._drive(text, MOTORBIKE, start, towards=False, speed=speed, x=x))
        self.now_s = max(ends)

    def queue(self) -> None:
        """Cars that stop at the barrier, each pulling into the place of the one before as soon as it is free."""
        start, x = self.now_s, self.random.uniform(-0.4, 0.4)
        texts = self._lookalike_cars(self.random.randint(2, 4))
        for text in texts:
            wait = self.random.uniform(1.5, 8.0)
            end = self._drive(text, CAR, start, towards=True, x=x, stop=(self.random.uniform(5.0, 5.6), wait))
            start = end + self.random.uniform(-1.2, 0.3)
        self.now_s = end

    def crossing(self) -> None:
        """Two vehicles the ways of whose plates cross in the picture."""
        side = self.random.choice((-1, 1))
        first = self._drive(self._car_text(), CAR, self.now_s, towards=True, x=-side * 0.9, drift=side * 1.6)
        text = self._motorbike_text()
        start = self.now_s + self.random.uniform(0, 0.8)
        second = self._drive(text, MOTORBIKE, start, towards=False, x=side * 1.0, drift=-side * 1.8)
        self.now_s = max(first, second)

    def standing(self, seconds: float) -> None:
        """A car that stands at the barrier for `seconds`."""
        self.now_s = self._drive(self._car_text(), CAR, self.now_s, towards=True, stop=(5.2, seconds))

    def parked(self, seconds: float, x: float = -1.9, z: float = 7.0) -> None:
        """A car that is there from the beginning for `seconds` and never moves."""
        times = np.array([0.0, seconds])
        self._add(self._car_text(), CAR, times, np.full(2, x), np.full(2, z))

    def _drive(
        self,
        text: str,
        body: Body,
        start_s: float,
        *,
        towards: bool,
        speed: float | None = None,
        x: float | None = None,
        drift: float = 0.0,
        stop: tuple[float, float] | None = None,
    ) -> float:
        """Let one vehicle drive the lane, with a stop at (metres away, seconds); returns when it is gone."""
        cruise = speed if speed is not None else self.random.uniform(2.0, 7.0)
        lane = x if x is not None else self.random.uniform(-1.2, 1.2)
        distances = _distances(cruise, FAR_M - NEAR_M, None if stop is None else (FAR_M - stop[0], stop[1]))
        times = np.arange(len(distances), dtype=np.float64) * STEP_S + start_s
        share = distances / (FAR_M - NEAR_M)
        z = FAR_M - distances if towards else NEAR_M + distances
        weave = self.random.uniform(0, 0.12) * np.sin(times * self.random.uniform(1.0, 3.0))
        self._add(text, body, times, np.asarray(lane + drift * share + weave, np.float64), z)
        return float(times[-1])

    def _add(
        self, text: str, body: Body, times: NDArray[np.float64], x: NDArray[np.float64], z: NDArray[np.float64]
    ) -> None:
        damage, ceiling, murk = np.zeros(len(text)), np.full(len(text), np.inf), 0.0
        chance, conditions, place = self.random.random(), self.conditions, self.random.randrange(len(text))
        if chance < conditions.ruined:
            murk = 9.0
        elif chance < conditions.ruined + conditions.damaged:
            damage[place] = self.random.uniform(1.0, 5.0)
        elif chance < conditions.ruined + conditions.damaged + conditions.deceptive:
            ceiling[place] = _deception(self.random)
        slipping = self.random.random() < conditions.slipping
        slips, slip = (
            (self.random.uniform(0.1, 0.6), self.random.randrange(-len(text), len(text))) if slipping else (0, 0)
        )
        mistaken = "".join(self.random.choice(CONFUSIONS[character]) for character in text)
        rows = 1 if body is CAR else 2
        top = 3 if body is CAR_SHORT_PLATE else 4
        self.vehicles.append(
            Vehicle(
                len(self.vehicles) + 1, text, rows, top, body, times, x, z, damage, ceiling, mistaken, murk, slips, slip
            )
        )

    def _car_body(self) -> Body:
        return CAR if self.random.random() < 0.7 else CAR_SHORT_PLATE

    def _number(self) -> str:
        return f"{self.random.randrange(100000):05d}"

    def _unused(self, text: str) -> bool:
        if text in self._used:
            return False
        self._used.add(text)
        return True

    def _car_text(self) -> str:
        while True:
            code, letter = self.random.choice(("29", "30", "51", "59", "60", "43")), self.random.choice("ABCDEFGHKLM")
            if self._unused(text := code + letter + self._number()):
                return text

    def _motorbike_text(self) -> str:
        while True:
            code, letter = self.random.choice(("29", "50", "59", "60")), self.random.choice("BCDEFGHKLMNPSTUVXYZ")
            numeral = self.random.choice("123456789")
            # Old plates with four digits are on the road still: the text of a cut newer one looks the same.
            number = self._number()[: 4 if self.random.random() < 0.12 else 5]
            if self._unused(text := code + letter + numeral + number):
                return text

    def _lookalikes(self, count: int) -> list[str]:
        return self._neighbours(self._motorbike_text(), count)

    def _lookalike_cars(self, count: int) -> list[str]:
        return self._neighbours(self._car_text(), count)

    def _neighbours(self, first: str, count: int) -> list[str]:
        texts = [first]
        while len(texts) < count:
            characters = list(texts[-1])
            place = self.random.randrange(len(first) - 4, len(first) - 1)
            if self.random.random() < 0.5:
                characters[place], characters[place + 1] = characters[place + 1], characters[place]
            else:
                characters[place] = self.random.choice(DIGITS)
            if self._unused(text := "".join(characters)):
                texts.append(text)
        return texts


TAKEN_FOR_ANOTHER: Final = 0.44
"""Share of the deceptive characters that most frames take for another; the rest read as themselves, never surely."""
LARGEST_DOUBT: Final = 2.5
"""Bound of the margin of the rest."""
DECEPTION: Final = 1 / 1.2
"""Mean by which the margin of the others is below zero. A frame says the wrong character at odds of exp(1.2 x margin):
at twice the odds half as many are wrong, which is so as far as a reader's confidence can be believed.

Of the rendered plates of `scripts/evaluate_votes.py`, 1.1 % were misread alike in most frames; of these, 1.8 %.
"""


def _deception(random: random.Random) -> float:
    """The bound of the margin of a character that looks as much like another, or more, however near it comes."""
    if random.random() < TAKEN_FOR_ANOTHER:
        return -random.expovariate(1 / DECEPTION)
    return random.uniform(0.0, LARGEST_DOUBT)


STEP_S: Final = 0.02
BRAKING: Final = 2.0
STARTING: Final = 1.5


def _distances(cruise: float, length: float, stop: tuple[float, float] | None) -> NDArray[np.float64]:
    """Metres driven after each STEP_S, up to `length`; a stop is at (metres, seconds)."""
    distances, driven, speed, waited = [0.0], 0.0, cruise, 0.0
    stopped = stop is None
    while driven < length:
        if not stopped and stop is not None:
            left = stop[0] - driven
            speed = min(speed, math.sqrt(max(0.0, 2 * BRAKING * left)))
            if left < 0.02 or speed < 0.05:
                speed, waited = 0.0, waited + STEP_S
                stopped = waited >= stop[1]
        else:
            speed = min(cruise, speed + STARTING * STEP_S)
        driven += speed * STEP_S
        distances.append(driven)
    return np.array(distances)


# What came out


@dataclass(slots=True)
class Score:
    """How the passages that came out compare with the vehicles that were there.

    `clear` vehicles were whole and readable to a careful person in at least two frames that reached the tracker; the
    rest were seen too little or cannot be read. Merged: a clear vehicle for which nothing was handed on. Split: one for
    which more than one passage was. Misread: a passage with a wrong text. Unread: a clear vehicle reported unreadable
    only. Ghost: a passage that no vehicle was behind.
    """

    vehicles: int = 0
    clear: int = 0
    right: int = 0
    merged: int = 0
    split: int = 0
    misread: int = 0
    unread: int = 0
    ghosts: int = 0
    unclear_silent: int = 0
    passages: int = 0
    sure: int = 0
    sure_wrong: int = 0
    said: list[tuple[float, bool]] = field(default_factory=list)
    """Confidence of each text that was handed on, and whether it was right."""
    delays_s: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def add(self, other: Score) -> None:
        """Count `other`'s vehicles too."""
        for name in (
            "vehicles", "clear", "right", "merged", "split", "misread", "unread", "ghosts", "unclear_silent",
            "passages", "sure", "sure_wrong",
        ):  # fmt: skip
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.said += other.said
        self.delays_s += other.delays_s
        self.faults += other.faults


def score(traffic: Traffic, passages: Sequence[Passage]) -> Score:
    """Hold `passages` against the truth of `traffic`, all of whose frames must have been played."""
    result = Score(vehicles=len(traffic.vehicles), passages=len(passages))
    of_vehicle: dict[int, list[Passage]] = {}
    by_text = {each.text: each.identity for each in traffic.vehicles}
    for passage in passages:
        identity = identity_of(passage.best_read)
        # A right text is its own vehicle's, whoever's picture the passage carries: counted as wrong below.
        identity = by_text.get(passage.plate.text, identity) if passage.outcome is PassageOutcome.READ else identity
        of_vehicle.setdefault(identity, []).append(passage)
    ghosts = of_vehicle.pop(0, [])
    result.ghosts = len(ghosts)
    result.faults += [f"ghost: {_said(each)}" for each in ghosts]
    for identity, seen in traffic.seen.items():
        _score_vehicle(result, seen, of_vehicle.get(identity, []), traffic)
    return result


def _said(passage: Passage) -> str:
    plate, first = passage.plate, passage.first_seen.monotonic_s
    return f"{passage.outcome.value} {plate.text} {plate.confidence:.3f} at {first:.2f} in {passage.frames_read} frames"


CLEAR_FRAMES: Final = 2


def _score_vehicle(result: Score, seen: Seen, passages: Sequence[Passage], traffic: Traffic) -> None:
    text, clear = seen.vehicle.text, seen.clear >= CLEAR_FRAMES
    read = [each for each in passages if each.outcome is PassageOutcome.READ]
    right = [each for each in read if each.plate.text == text and identity_of(each.best_read) == seen.vehicle.identity]
    result.clear += clear
    result.misread += len(read) - len(right)
    result.said += [(each.plate.confidence, each.plate.text == text) for each in read]
    sure = [each for each in read if each.plate.confidence >= 0.9]
    result.sure += len(sure)
    result.sure_wrong += sum(each.plate.text != text for each in sure)
    if len(passages) > 1:
        result.split += 1
    if clear and not passages:
        result.merged += 1
    if clear and passages and not read:
        result.unread += 1
    if not clear and not passages:
        result.unclear_silent += 1
    if clear and len(passages) == 1 and right:
        result.right += 1
        result.delays_s.append(right[0].decided_at.monotonic_s - traffic.instant(seen.first_clear_s).monotonic_s)
    elif clear or len(passages) > 1 or len(read) > len(right):
        said = ", ".join(_said(each) for each in passages)
        result.faults.append(
            f"{text} (vehicle {seen.vehicle.identity}, {seen.clear} clear of {seen.reads} reads, from "
            f"{traffic.instant(seen.vehicle.start_s).monotonic_s:.2f}): {said or 'nothing'}"
        )
