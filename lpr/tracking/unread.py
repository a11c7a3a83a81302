"""Vehicles that have gone unread, and wait for what may explain them: a read of the same vehicle further on."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
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


class Unread:
    """The unread vehicles that wait, the longest waiting first; at most `WAITING_KEPT`, for each holds a frame."""

    def __init__(self) -> None:
        self._waiting: deque[Track] = deque()

    @property
    def tracks(self) -> tuple[Track, ...]:
        """Those that wait."""
        return tuple(self._waiting)

    def hold(self, track: Track) -> list[Track]:
        """`track` has ended unread; returns those that can wait no longer, because there are too many."""
        self._waiting.append(track)
        return [self._waiting.popleft()] if len(self._waiting) > WAITING_KEPT else []

    def release(self, at: Instant, hold_s: float, undecided: Sequence[Track]) -> list[Track]:
        """Those whose time is up. `undecided` are in sight and may yet explain one; for them it waits longer."""
        released: list[Track] = []
        while self._waiting and not _may_yet_be_explained(self._waiting[0], at, hold_s, undecided):
            released.append(self._waiting.popleft())
        return released

    def release_all(self) -> list[Track]:
        """Nothing will explain them any more."""
        released = list(self._waiting)
        self._waiting.clear()
        return released

    def explain(self, trail: Trail) -> list[Track]:
        """A vehicle was read that left `trail`: those that were pieces of its way are let go, and returned."""
        explained = [track for track in self._waiting if Trail.of(track.incumbent).continues(trail)]
        for track in explained:
            self._waiting.remove(track)
        return explained


def _may_yet_be_explained(track: Track, at: Instant, hold_s: float, undecided: Sequence[Track]) -> bool:
    waited_s = at.seconds_since(track.last_seen)
    if waited_s < hold_s:
        return True
    trail = Trail.of(track.incumbent)
    return waited_s < LONGEST_HOLD * hold_s and any(Trail.of(each.incumbent).continues(trail) for each in undecided)


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
