"""One outage of a camera, and which of the tries to end it are worth a line in the log. Pure: time is an argument."""

from __future__ import annotations

import re
from typing import Final

from lpr.domain.clock import Instant

SILENT_AT_MOST_S: Final = 6 * 3600.0
"""Whoever looks into the log of a camera that has been away for weeks finds a line of this day."""
_NUMBERS: Final = re.compile(r"\d+(?:\.\d+)?")


class Outage:
    """From the last picture (or the first try) until pictures come again. `tries` have failed since."""

    def __init__(self, since: Instant) -> None:
        self.since = since
        self.tries = 0
        self._causes: set[str] = set()
        self._told: Instant | None = None

    def failed(self, reason: str, now: Instant) -> bool:
        """One more try has failed. Whether to say so: the first time, at each doubling, and where the cause is new."""
        self.tries += 1
        # How long the silence lasted this time is no other cause.
        cause = _NUMBERS.sub("#", reason)
        doubled = self.tries & (self.tries - 1) == 0
        long_ago = self._told is None or now.seconds_since(self._told) >= SILENT_AT_MOST_S
        if not (doubled or long_ago) and cause in self._causes:
            return False
        self._causes.add(cause)
        self._told = now
        return True

    def numbers(self, now: Instant) -> dict[str, int]:
        """How long it has lasted and what it took, for the log."""
        return {"outage_s": round(now.seconds_since(self.since)), "tries": self.tries}
