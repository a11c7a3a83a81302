"""Who drives: scenes of a gate, vehicle after vehicle, with what is wrong with their plates."""

from __future__ import annotations

import math
import random
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lpr.plates.alphabet import DIGITS
from lpr.testing.traffic.camera import FAR_M, NEAR_M
from lpr.testing.traffic.frames import Conditions, Traffic
from lpr.testing.traffic.vehicle import CAR, CAR_SHORT_PLATE, MOTORBIKE, Body, Vehicle

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
TAKEN_FOR_ANOTHER: Final = 0.44
"""Share of the deceptive characters that most frames take for another; the rest read as themselves, never surely."""
LARGEST_DOUBT: Final = 2.5
"""Bound of the margin of the rest."""
DECEPTION: Final = 1 / 1.2
"""Mean by which the margin of the others is below zero. A frame says the wrong character at odds of exp(1.2 x margin):
at twice the odds half as many are wrong, which is so as far as a reader's confidence can be believed.

Of the rendered plates of `scripts/evaluate_votes.py`, 1.1 % were misread alike in most frames; of these, 1.8 %.
"""
STEP_S: Final = 0.02
BRAKING: Final = 2.0
STARTING: Final = 1.5


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


def _deception(random: random.Random) -> float:
    """The bound of the margin of a character that looks as much like another, or more, however near it comes."""
    if random.random() < TAKEN_FOR_ANOTHER:
        return -random.expovariate(1 / DECEPTION)
    return random.uniform(0.0, LARGEST_DOUBT)


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
