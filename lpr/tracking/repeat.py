"""The same plate again at the same gate: one passage, unless it went the other way.

One guard a gate, not a camera: a gate may be watched from two sides, and what both read is one passage, told by the
camera that settled it first. Only *equal* texts are repeats. Plates of different vehicles are near each other
(59-X1 123.45, 59-X1 123.54): a guard that merges what looks alike swallows vehicles. Where one camera has read a
vehicle and the other has not quite, the vehicle is no unreadable one; but two lanes of one gate are two vehicles, so
what is left unread must at least resemble what was read.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from lpr.domain.clock import Instant
from lpr.domain.passage import Action

TURN_S: Final = 3.0
"""A vehicle cannot have gone and come back within so many seconds: what seems to move the other way is a wobble."""
MEANWHILE_S: Final = 10.0
"""Two cameras of one gate see a vehicle within so many seconds of each other."""
RESEMBLING: Final = 0.6
"""Share of the characters of an unread plate that must be those of the plate that the other camera read."""
MAX_PLATES: Final = 2000
"""Plates remembered at most; the least recently seen is forgotten first."""


class Verdict(StrEnum):
    """What the guard says about a plate that is about to be reported."""

    NEW = "new"
    REPEAT = "repeat"
    UNCERTAIN = "uncertain"
    """It is a repeat unless it turns out to move the other way."""


@dataclass(slots=True)
class _Seen:
    last_seen: Instant
    action: Action
    cameras: set[str]
    """That have seen it, and can explain nothing else they saw by it."""


class RepeatGuard:
    """What passed one gate in the last `repeat_after_s` seconds. Shared by the trackers of the gate's cameras."""

    def __init__(self, repeat_after_s: float = 60.0) -> None:
        self.repeat_after_s = repeat_after_s
        self._seen: OrderedDict[str, _Seen] = OrderedDict()

    @property
    def count(self) -> int:
        """Plates remembered."""
        return len(self._seen)

    def verdict(self, text: str, action: Action | None, began: Instant, *, turned: bool = False) -> Verdict:
        """Whether `text`, in sight since `began`, passed here just before; `action` is None while motion does not tell.

        However long it then stands in sight undecided, a repeat stays one. `turned` says that it has been seen to turn.
        """
        seen = self._seen.get(text)
        if seen is None or began.seconds_since(seen.last_seen) > self.repeat_after_s:
            return Verdict.NEW
        if action is None:
            return Verdict.UNCERTAIN
        turned = turned or began.seconds_since(seen.last_seen) >= TURN_S
        return Verdict.NEW if turned and action is not seen.action else Verdict.REPEAT

    def reported(self, text: str, action: Action, at: Instant, camera_id: str = "") -> None:
        """`text` was handed on as a passage that `camera_id` saw."""
        self._seen[text] = _Seen(at, action, {camera_id})
        self._seen.move_to_end(text)
        self._forget(at)

    def refresh(self, text: str, at: Instant) -> bool:
        """`text` is still in sight: the time until it counts as new begins again. False where it is not known."""
        seen = self._seen.get(text)
        if seen is not None and at.monotonic_s > seen.last_seen.monotonic_s:
            seen.last_seen = at
            self._seen.move_to_end(text)
        return seen is not None

    def repeated(self, text: str, at: Instant, camera_id: str) -> None:
        """`text` was seen again, by `camera_id`, and is a repeat."""
        if self.refresh(text, at):
            self._seen[text].cameras.add(camera_id)

    def explains(self, text: str, action: Action | None, began: Instant, ended: Instant, camera_id: str) -> bool:
        """Whether a vehicle that `camera_id` could not read, and would call `text`, was read by another camera.

        Each vehicle that was read explains one unread one a camera.
        """
        for known, seen in self._seen.items():
            meanwhile = (
                seen.last_seen.seconds_since(began) >= -MEANWHILE_S
                and ended.seconds_since(seen.last_seen) >= -MEANWHILE_S
            )
            if meanwhile and camera_id not in seen.cameras and action in (None, seen.action) and alike(text, known):
                seen.cameras.add(camera_id)
                return True
        return False

    def _forget(self, now: Instant) -> None:
        while self._seen:
            oldest = next(iter(self._seen.values()))
            if len(self._seen) <= MAX_PLATES and now.seconds_since(oldest.last_seen) <= self.repeat_after_s:
                break
            self._seen.popitem(last=False)

    def state(self) -> list[dict[str, Any]]:
        """What must outlive a restart, as JSON values."""
        return [
            {"text": text, "lastSeen": seen.last_seen.wall.isoformat(), "action": seen.action.value}
            for text, seen in self._seen.items()
        ]

    def restore(self, state: list[dict[str, Any]], now: Instant) -> None:
        """Take up what `state()` of an earlier run gave; entries that make no sense or lie ahead are left out."""
        for entry in state:
            try:
                wall = datetime.fromisoformat(str(entry["lastSeen"]))
                text, action = str(entry["text"]), Action(entry["action"])
                age_s = (now.wall - wall) / timedelta(seconds=1)
            except (KeyError, TypeError, ValueError):
                continue
            if 0 <= age_s <= self.repeat_after_s:
                self._seen[text] = _Seen(now.plus(-age_s), action, set())


def alike(unread: str, known: str) -> bool:
    """Whether `unread` is as long as `known`, and `RESEMBLING` of its characters are the same."""
    same = sum(one == other for one, other in zip(unread, known, strict=False))
    return len(unread) == len(known) and same >= RESEMBLING * len(known)
