"""Text that belongs to the scene: a sign, a poster, a parked car.

What stands still with the same text in the same place is first a candidate; after `standing_after_s` it is learnt, and
is not reported again until it moves. A *different* text in that place is never held back, nor the same text elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from lpr.domain.clock import Instant
from lpr.domain.geometry import Box
from lpr.tracking.settings import plate_size

MAX_TEXTS: Final = 64
CANDIDATE_FORGET_S: Final = 300.0
"""A candidate that was not seen for so long may have left, and come back."""
SAME_PLACE: Final = 1.0
"""Centres nearer than this many plate sizes are one place: the camera may shake or be cleaned."""
SAME_SIZE: Final = 1.35


@dataclass(frozen=True, slots=True)
class StandingText:
    """One text of the scene, for the local page. `place` is in pixels of the frame."""

    text: str
    display: str
    place: Box
    since: Instant
    last_seen: Instant
    learnt: bool


class StandingMemory:
    """The standing texts of one camera. `after_s` and `forget_s` as in `TrackingSettings`."""

    def __init__(self, after_s: float, forget_s: float) -> None:
        self.after_s = after_s
        self.forget_s = forget_s
        self._texts: dict[str, StandingText] = {}
        self._cleared: dict[str, Instant | None] = {}
        """Texts that a person has cleared, and when they were seen next: their time begins anew there."""

    def observe(self, text: str, display: str, place: Box, since: Instant, now: Instant) -> None:
        """`text` has stood at `place` since `since` and stands there now."""
        known = self._texts.get(text)
        since = self._since(text, since, now)
        begun = since if since.monotonic_s <= now.monotonic_s else now
        if known is not None and same_place(known.place, place) and self._current(known, begun):
            since = min(since, known.since, key=lambda moment: moment.monotonic_s)
            learnt = known.learnt or now.seconds_since(since) >= self.after_s
        else:
            learnt = now.seconds_since(since) >= self.after_s
        self._texts[text] = StandingText(text, display, place, since, now, learnt)
        if len(self._texts) > MAX_TEXTS:
            # Candidates go before what is learnt, the longest unseen first.
            del self._texts[min(self._texts, key=lambda each: _staying_power(self._texts[each]))]

    def explains(self, text: str, place: Box, now: Instant) -> bool:
        """Whether `text`, standing at `place`, is only what was there already."""
        known = self._texts.get(text)
        return known is not None and same_place(known.place, place) and self._current(known, now)

    def learnt(self, text: str) -> bool:
        """Whether `text` has stood for long enough to belong to the scene."""
        return text in self._texts and self._texts[text].learnt

    def moved(self, text: str) -> None:
        """`text` was seen to move: it is a vehicle, and no part of the scene any more."""
        self._texts.pop(text, None)

    def clear(self, text: str | None = None) -> None:
        """Forget one text, or all: a person says so on the local page. What stands on is learnt again in its time."""
        for each in [text] if text is not None else list(self._texts):
            if self._texts.pop(each, None) is not None:
                self._cleared[each] = None
        while len(self._cleared) > MAX_TEXTS:
            del self._cleared[next(iter(self._cleared))]

    def stretch(self, across: float, down: float) -> None:
        """From now on pictures are so many times as wide and as high."""
        for text, known in self._texts.items():
            self._texts[text] = replace(known, place=known.place.stretched(across, down))

    def texts(self, learnt_only: bool = True) -> tuple[StandingText, ...]:
        """For the local page, the longest standing first."""
        chosen = [each for each in self._texts.values() if each.learnt or not learnt_only]
        return tuple(sorted(chosen, key=lambda each: each.since.monotonic_s))

    def _since(self, text: str, since: Instant, now: Instant) -> Instant:
        if text not in self._cleared:
            return since
        anew = self._cleared[text] = self._cleared[text] or now
        return max(since, anew, key=lambda moment: moment.monotonic_s)

    def _current(self, known: StandingText, now: Instant) -> bool:
        return now.seconds_since(known.last_seen) <= (self.forget_s if known.learnt else CANDIDATE_FORGET_S)

    def state(self) -> list[dict[str, Any]]:
        """What must outlive a restart, as JSON values."""
        return [
            {
                "text": each.text,
                "display": each.display,
                "place": [each.place.x, each.place.y, each.place.width, each.place.height],
                "since": each.since.wall.isoformat(),
                "lastSeen": each.last_seen.wall.isoformat(),
                "learnt": each.learnt,
            }
            for each in self.texts(learnt_only=False)
        ]

    def restore(self, state: list[dict[str, Any]], now: Instant) -> None:
        """Take up what `state()` of an earlier run gave; entries that make no sense or are too old are left out."""
        for entry in state:
            try:
                known = _parse(entry, now)
            except (KeyError, TypeError, ValueError):
                continue
            if now.seconds_since(known.last_seen) >= 0 and self._current(known, now):
                self._texts[known.text] = known


def same_place(one: Box, other: Box) -> bool:
    """Whether two boxes of a thing that stands still are one place, shaking allowed for."""
    larger, smaller = sorted((plate_size(one), plate_size(other)), reverse=True)
    (x, y), (other_x, other_y) = one.centre, other.centre
    near = max(abs(x - other_x), abs(y - other_y)) <= SAME_PLACE * larger
    return near and larger <= SAME_SIZE * smaller


def _staying_power(each: StandingText) -> tuple[bool, float]:
    return (each.learnt, each.last_seen.monotonic_s)


def _parse(entry: Mapping[str, Any], now: Instant) -> StandingText:
    x, y, width, height = (float(value) for value in entry["place"])
    since, last_seen = (
        now.plus((datetime.fromisoformat(str(entry[name])) - now.wall) / timedelta(seconds=1))
        for name in ("since", "lastSeen")
    )
    place, learnt = Box(x, y, width, height), entry.get("learnt", True) is True
    return StandingText(str(entry["text"]), str(entry["display"]), place, since, last_seen, learnt)
