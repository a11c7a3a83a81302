"""The delivery core in rough weather: long random walks over the same model as `test_delivery_model`.

Hypothesis finds the short odd case; these walks find what takes a few hundred ordinary steps to build up. Each world
has its own weather (how often things break), is driven for some hundred steps and must then come to rest with
everything delivered, on whatever connection it has. `LPR_STORM_WORLDS=20000` makes millions of steps of it
(with `-o faulthandler_timeout=0`: it takes longer than a test may).
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import pytest

from lpr.link.base import DeliveryLimits
from lpr.wire import Ack, Duplicate, Rejected, Retry, SoftFailure, Stored, Unreadable
from tests.link.model import ERROR, PLATE_DETECTED, PROCESSING_STATUS, World

WORLDS = int(os.environ.get("LPR_STORM_WORLDS", "160"))
BATCHES = 8
STEPS = 300


class Weather:
    """A world and the dice that say what happens to it next."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        small = DeliveryLimits(live_queue=4, page=4, deferred=6, window=self.dice.choice([2, 3, 8]))
        self.world = World(self.dice.choice([DeliveryLimits(), small]))
        happenings: list[Callable[[], None]] = [
            self.record, self.record_many, self.connect, self.lose, self.answer, self.answer, self.answer_late,
            self.lose_an_answer, self.page, self.page, self.fail_to_page, self.clear, self.drop, self.pass_time,
            self.pass_time, self.tell_progress, self.restart, self.fail_to_load, self.live_without_an_answer,
        ]  # fmt: skip
        self.happenings = happenings
        self.weights = [self.dice.choice([1, 4, 16]) for _ in happenings]
        # Some things are rare in every weather, or nothing would ever build up.
        for rare in (self.restart, self.drop, self.fail_to_load):
            self.weights[happenings.index(rare)] = self.dice.choice([0, 0, 1])
        self.kindness = self.dice.choice([0.0, 0.3, 0.7, 0.95])

    def run(self) -> None:
        for happening in self.dice.choices(self.happenings, self.weights, k=STEPS):
            happening()
        if self.world.rate == 0:
            self.world.lose(wanted=True)  # a back-end that wants no backlog is replaced by one that does
        self.world.heal()

    def record(self) -> None:
        kind = self.dice.choice([PLATE_DETECTED, PLATE_DETECTED, ERROR, PROCESSING_STATUS])
        self.world.record(kind, self.dice.choice([500, 100_000, 900_000]))

    def record_many(self) -> None:
        for _ in range(self.dice.randrange(12)):
            self.world.record(PLATE_DETECTED, 500)

    def connect(self) -> None:
        if not self.world.up:
            self.world.connect(self.dice.choice([None, None, None, None, 5.0, 0.0]))

    def lose(self) -> None:
        if self.world.up:
            self.world.lose(wanted=self.dice.random() < 0.1)

    def answer(self) -> None:
        if self.world.open:
            self.world.answer(self.dice.choice(sorted(self.world.open)), self.ack())

    def ack(self) -> Ack:
        if self.dice.random() < self.kindness:
            return Stored()
        return self.dice.choice(
            [Stored(), Duplicate(), Rejected("BAD", "no"), Retry(None), Retry(0), Retry(60_000), SoftFailure("no"),
             SoftFailure("no"), Unreadable("?")]
        )  # fmt: skip

    def answer_late(self) -> None:
        if self.world.sends:
            self.world.answer(self.dice.choice(list(self.world.sends)[-20:]), self.ack())

    def lose_an_answer(self) -> None:
        """The oldest in flight is stored and never answered; the others are answered, and time goes by."""
        flying = sorted(self.world.open)
        if len(flying) > 1:
            self.world.stored.add(self.world.open[flying[0]].ticket.event_id)
            for emission in flying[1:]:
                if emission in self.world.open:
                    self.world.answer(emission, self.ack())
            self.world.advance(self.dice.choice([1.0, 9.0]))

    def page(self) -> None:
        if self.world.fetches:
            self.world.page()

    def fail_to_page(self) -> None:
        if self.world.fetches:
            self.world.fetches.clear()
            self.world.machine.fetch_failed(self.world.now)
            self.world.step()

    def fail_to_load(self) -> None:
        if self.world.open:
            emission = self.dice.choice(sorted(self.world.open))
            self.world.open.pop(emission)
            self.world.machine.postpone(self.world.now, emission)
            self.world.step()

    def clear(self) -> None:
        if self.world.to_leave:
            self.world.clear()

    def drop(self) -> None:
        if self.world.disk:
            self.world.drop(self.dice.choice(list(self.world.disk)))

    def pass_time(self) -> None:
        self.world.advance(self.dice.choice([0.01, 0.2, 1.0, 5.0, 9.0, 70.0, 10_000.0]))

    def tell_progress(self) -> None:
        pending = self.dice.choice([0, 0, 5_000, 800_000])
        self.world.progress(self.dice.randrange(10**7), pending, self.dice.choice([None, 0.0, 4.0]))

    def live_without_an_answer(self) -> None:
        """Nothing in flight is answered for so long that each connection is given up, but the other end gives pongs."""
        for _ in range(self.dice.choice([1, 4])):
            self.world.advance(4.5)
            self.world.progress(0, 0, 0.0)
            self.world.advance(4.5)

    def restart(self) -> None:
        self.world.restart()


@pytest.mark.parametrize("batch", range(BATCHES))
def test_everything_arrives_whatever_the_weather(batch: int) -> None:
    for seed in range(batch * WORLDS // BATCHES, (batch + 1) * WORLDS // BATCHES):
        try:
            Weather(seed).run()
        except AssertionError as error:
            raise AssertionError(f"in the weather of seed {seed}: {error}") from error
