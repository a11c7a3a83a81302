"""Whether two tracks were two pieces of one vehicle's way: broken by a post, a passer-by, or frames that were lost."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

from lpr.domain.clock import Instant
from lpr.domain.geometry import Box
from lpr.tracking.repeat import alike
from lpr.tracking.settings import plate_size
from lpr.tracking.sighting import Sighting
from lpr.tracking.track import DIFFERENT
from lpr.tracking.vote import Spelling, conflict

MAX_PAUSE_S: Final = 4.0
REACH: Final = 3.0
REACH_PER_S: Final = 8.0
"""How far, in plate sizes, a vehicle may have gone unseen: at once, and for each second of the pause."""
TOUCHING: Final = 1.2
"""Two plates of two vehicles are never nearer than this; two boxes of one plate are."""
PASSING_S: Final = 20.0
"""A long lorry, slowly, from its front plate's last sight to its rear plate's first."""
COURSE: Final = 1.5
"""Plate sizes that a plate must have moved for its course to mean anything."""
SAME_COURSE: Final = 0.5
"""Cosine of the largest angle between the two plates' courses."""
WITNESSES: Final = 2
STEADY_GROWTH: Final = 0.2
STEADY_DROP: Final = 1.5
"""A vehicle may come back by so much (logarithm of its size; plate sizes): it rolls, and the box trembles."""
TELLING: Final = 6
"""A text of so many characters tells a vehicle wherever it turns up next."""
SINGLE_WITNESS: Final = -5.0
"""Where one side has fewer frames than `WITNESSES`, a differing character must be as sure as a single frame can be."""


@dataclass(frozen=True, slots=True)
class Trail:
    """Where and when a plate was seen, and what it said (None: nothing readable).

    `before_outage`: its camera has shown nothing for a while since, which is left out of its times.
    """

    first_seen: Instant
    last_seen: Instant
    first_box: Box
    last_box: Box
    spelling: Spelling | None
    text: str
    frames: int
    before_outage: bool = False

    @classmethod
    def of(cls, sighting: Sighting) -> Trail:
        """The trail that `sighting` has left so far."""
        vote = sighting.vote
        # What was seen before the plate could be read may have been a lamp that the track began with.
        first = sighting.first_vote or (sighting.first_seen, sighting.first_box)
        last = sighting.last_vote or (sighting.last_seen, sighting.last_box)
        return cls(
            first[0],
            last[0],
            first[1],
            last[1],
            vote.spelling() if vote.weight > 0 else None,
            vote.decision().text if vote.weight > 0 else "",
            sighting.voted,
        )

    def stretched(self, across: float, down: float) -> Trail:
        """The same trail in pictures that are so many times as wide and as high."""
        return replace(
            self,
            first_box=self.first_box.stretched(across, down),
            last_box=self.last_box.stretched(across, down),
        )

    def after_outage(self, blind_s: float) -> Trail:
        """The same trail once its camera is back, which has shown nothing for so many seconds."""
        first, last = self.first_seen.plus(blind_s), self.last_seen.plus(blind_s)
        return replace(self, first_seen=first, last_seen=last, before_outage=True)

    def continues(self, other: Trail) -> bool:
        """Whether this and `other` may be one vehicle: near enough in place and time, and without contradiction.

        Over an outage that is not enough: the one may have gone, and the next have taken its place. Their texts must
        resemble each other.
        """
        if self._pause_s(other) > MAX_PAUSE_S:
            return False
        if self.text == other.text and len(self.text) >= TELLING:
            return True
        if self.before_outage is not other.before_outage and not alike(self.text, other.text):
            return False
        return self._near(other) and self._onward(other) and not self._contradicts(other)

    def passes_on(self, other: Trail) -> bool:
        """Whether this is the other plate of the vehicle that `other` was the first plate of.

        A camera that looks across the lane sees a lorry's front come nearer and its rear go farther off, some seconds
        later. Who has turned round goes back across the picture; who shows his rear goes on.
        """
        if self.text != other.text or len(self.text) < TELLING or self._pause_s(other) > PASSING_S:
            return False
        x, y = self._course()
        other_x, other_y = other._course()
        lengths = math.hypot(x, y), math.hypot(other_x, other_y)
        return min(lengths) >= COURSE and x * other_x + y * other_y >= SAME_COURSE * lengths[0] * lengths[1]

    def _course(self) -> tuple[float, float]:
        """From where it was first seen to where it was last, in its (larger) plate sizes."""
        (x, y), (begin_x, begin_y) = self.last_box.centre, self.first_box.centre
        size = max(plate_size(self.first_box), plate_size(self.last_box))
        return (x - begin_x) / size, (y - begin_y) / size

    def _onward(self, other: Trail) -> bool:
        """Whether the later one goes on the way the earlier one went: nothing grows and sinks, and is far off next.

        What has left at the lower edge is not what comes in at the upper one.
        """
        if self._pause_s(other) <= 0:
            return True
        earlier, later = sorted((self, other), key=lambda each: each.first_seen.monotonic_s)
        size = plate_size(earlier.last_box)
        growth, grown_since = (
            math.log(size / plate_size(earlier.first_box)),
            math.log(plate_size(later.first_box) / size),
        )
        last_y = earlier.last_box.centre[1]
        drop, dropped_since = (last_y - earlier.first_box.centre[1]) / size, (later.first_box.centre[1] - last_y) / size
        return not (_turned(growth, grown_since, STEADY_GROWTH) or _turned(drop, dropped_since, STEADY_DROP))

    def _pause_s(self, other: Trail) -> float:
        """Seconds between the end of the earlier and the beginning of the later; negative where they overlap."""
        earlier, later = sorted((self, other), key=lambda each: each.first_seen.monotonic_s)
        return later.first_seen.seconds_since(earlier.last_seen)

    def _near(self, other: Trail) -> bool:
        earlier, later = sorted((self, other), key=lambda each: each.first_seen.monotonic_s)
        pause_s = self._pause_s(other)
        if pause_s <= 0:
            # In sight at the same time: one plate only where both boxes were on it.
            return _apart(self.last_box, other.last_box) <= TOUCHING
        return _apart(earlier.last_box, later.first_box) <= REACH + REACH_PER_S * pause_s

    def _contradicts(self, other: Trail) -> bool:
        if self.spelling is None or other.spelling is None:
            return False
        needed = DIFFERENT if min(self.frames, other.frames) >= WITNESSES else SINGLE_WITNESS
        return conflict(self.spelling, other.spelling) <= needed


def _turned(before: float, since: float, steady: float) -> bool:
    """Whether a movement went one way, and then the other."""
    return abs(before) > steady and abs(since) > steady and before * since < 0


def _apart(one: Box, other: Box) -> float:
    (x, y), (other_x, other_y) = one.centre, other.centre
    return math.hypot(x - other_x, y - other_y) / max(plate_size(one), plate_size(other))
