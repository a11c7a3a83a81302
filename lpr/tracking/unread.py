"""Vehicles that have gone unread, and wait for what may explain them: a read of the same vehicle further on."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from lpr.domain.clock import Instant
from lpr.tracking.settings import TrackingSettings
from lpr.tracking.sighting import Sighting
from lpr.tracking.track import Track
from lpr.tracking.trail import Trail

WAITING_KEPT: Final = 8
"""Unread vehicles that wait for an explanation; each holds a frame."""
LONG_PLATE: Final = 2.5
"""Width by height; one row has more."""
LONG_LEGIBLE_PX: Final = 60.0
"""Width under which nobody reads one row (models/recognizer.md): a car that never came nearer was in another street."""
LONGEST_HOLD: Final = 4
"""Times `unreadable_hold_s`: how long an unread vehicle waits at most for one in sight that may explain it."""
UNREADABLE_DETECTION: Final = 0.5
"""Mean detection confidence below which an unread track is taken for a false alarm."""


@dataclass(slots=True)
class Waiting:
    """An unread vehicle that waits. `blind_s`: for so long its camera has shown nothing since it was last in sight."""

    track: Track
    blind_s: float = 0.0

    @property
    def trail(self) -> Trail:
        """Its trail, without the time in which nothing was to be seen."""
        trail = Trail.of(self.track.incumbent)
        return trail.after_outage(self.blind_s) if self.blind_s else trail

    def may_yet_be_explained(self, at: Instant, hold_s: float, undecided: Sequence[Track]) -> bool:
        """Whether its time is not up. `undecided` are in sight and may yet explain it; for them it waits longer."""
        waited_s = at.seconds_since(self.track.last_seen) - self.blind_s
        if waited_s < hold_s:
            return True
        trail = self.trail
        return waited_s < LONGEST_HOLD * hold_s and any(Trail.of(each.incumbent).continues(trail) for each in undecided)


class Unread:
    """The unread vehicles that wait, the longest waiting first; at most `WAITING_KEPT`, for each holds a frame."""

    def __init__(self) -> None:
        self._waiting: deque[Waiting] = deque()

    @property
    def tracks(self) -> tuple[Track, ...]:
        """Those that wait."""
        return tuple(each.track for each in self._waiting)

    def hold(self, track: Track) -> list[Waiting]:
        """`track` has ended unread; returns those that can wait no longer, because there are too many."""
        self._waiting.append(Waiting(track))
        return [self._waiting.popleft()] if len(self._waiting) > WAITING_KEPT else []

    def bridge(self, blind_s: float) -> None:
        """The camera has shown nothing for so long: whoever waits has not waited meanwhile."""
        for each in self._waiting:
            each.blind_s += blind_s

    def release(self, at: Instant, hold_s: float, undecided: Sequence[Track]) -> list[Waiting]:
        """Those whose time is up at `at`; see `Waiting.may_yet_be_explained`."""
        released: list[Waiting] = []
        while self._waiting and not self._waiting[0].may_yet_be_explained(at, hold_s, undecided):
            released.append(self._waiting.popleft())
        return released

    def release_all(self) -> list[Waiting]:
        """Nothing will explain them any more."""
        released = list(self._waiting)
        self._waiting.clear()
        return released

    def explain(self, trail: Trail) -> list[Track]:
        """A vehicle was read that left `trail`: those that were pieces of its way are let go, and returned."""
        explained = [each for each in self._waiting if each.trail.continues(trail)]
        for each in explained:
            self._waiting.remove(each)
        return [each.track for each in explained]


def was_vehicle(track: Track, settings: TrackingSettings) -> bool:
    """Whether a track that could not be read was a vehicle all the same, near enough to be read."""
    sighting = track.incumbent
    enough = sighting.whole >= settings.unreadable_min_frames or (sighting.whole > 1 and sighting.half_readable())
    return (
        enough
        and sighting.moved
        and sighting.detection_confidence >= UNREADABLE_DETECTION
        and sighting.widest_whole_px >= _legible_px(sighting, settings)
    )


def _legible_px(sighting: Sighting, settings: TrackingSettings) -> float:
    """How wide a plate must have been for a person to have read it: a long one's characters are small."""
    long = sighting.last_box.width > LONG_PLATE * sighting.last_box.height
    return max(settings.min_width_px, LONG_LEGIBLE_PX if long else 0.0)
