"""When one camera's pictures came, and for how long it has been blind: what happened meanwhile nobody could see."""

from __future__ import annotations

from typing import Final

from lpr.domain.clock import Instant
from lpr.tracking.trail import MAX_PAUSE_S

LONGEST_INTERVAL_S: Final = 1.0
"""A longer pause between pictures is a camera that was gone, and says nothing of its frame rate."""
LONGEST_OUTAGE_S: Final = 60.0
"""After a longer outage nothing is taken for what was in sight before, and nothing waits for it: by then an unread
vehicle has gone, or nobody can say that it is the same. Most cameras that start anew are back by then."""


class Watch:
    """The time line of one camera's pictures.

    `newest` is the one that was analysed last; `interval_s` the mean time between two of these, 0 before the second.
    """

    def __init__(self) -> None:
        self.newest: Instant | None = None
        self.interval_s = 0.0
        self._seen: Instant | None = None

    def analysed(self, at: Instant) -> None:
        """A picture was taken at `at`, and looked at."""
        if self.newest is not None:
            step = min(at.seconds_since(self.newest), LONGEST_INTERVAL_S)
            self.interval_s = step if self.interval_s == 0 else self.interval_s + 0.1 * (step - self.interval_s)
        self.newest = at

    def saw(self, at: Instant) -> float:
        """A picture was taken at `at`, looked at or not. Returns for how many seconds before it the camera was blind.

        0 where that was too long for anything to go on, or no longer than anything may be hidden for.
        """
        missed_s = 0.0 if self._seen is None else at.seconds_since(self._seen)
        blind_s = self._blind_s(at) if missed_s > MAX_PAUSE_S else 0.0
        self._seen = at
        return blind_s

    def seen_until(self, now: Instant) -> Instant:
        """Up to when the camera has been watched: `now`, while its pictures come and once they are gone for good."""
        return now.plus(-self._blind_s(now))

    def _blind_s(self, at: Instant) -> float:
        blind_s = 0.0 if self._seen is None else at.seconds_since(self._seen) - LONGEST_INTERVAL_S
        return blind_s if 0 < blind_s <= LONGEST_OUTAGE_S else 0.0
