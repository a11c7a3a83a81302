"""What was held back, and why, for the log: nothing is without a trace."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from lpr.domain.clock import Instant
from lpr.tracking.track import Track

NOTES_KEPT: Final = 256


class NoteKind(StrEnum):
    """Why something was not reported, or a track was cut."""

    REPEAT = "repeat"
    STANDING = "standing"
    FLICKER = "flicker"
    FRAGMENT = "fragment"
    SPLIT = "split"
    TURN = "turn"
    TRACK_LIMIT = "track_limit"
    LATE_FRAME = "late_frame"


@dataclass(frozen=True, slots=True)
class Note:
    """Something that ended in no event, for the log: nothing is held back without a trace."""

    kind: NoteKind
    at: Instant
    track_id: int | None
    text: str
    frames: int


class Notes:
    """The newest `NOTES_KEPT` notes that nobody has taken yet."""

    def __init__(self) -> None:
        self._kept: deque[Note] = deque(maxlen=NOTES_KEPT)

    def take(self) -> tuple[Note, ...]:
        """All of them, the oldest first, and forget them."""
        notes = tuple(self._kept)
        self._kept.clear()
        return notes

    def of_track(self, kind: NoteKind, track: Track, at: Instant) -> None:
        """What became of a track."""
        text = track.text()
        self._kept.append(Note(kind, at, track.track_id, "" if text is None else text.text, track.incumbent.frames))

    def late_frame(self, at: Instant, reads: int) -> None:
        """A frame with so many reads came after a newer one."""
        self._kept.append(Note(NoteKind.LATE_FRAME, at, None, "", reads))
