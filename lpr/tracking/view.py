"""A track as others see it."""

from __future__ import annotations

from dataclasses import dataclass

from lpr.domain.clock import Instant
from lpr.domain.geometry import Box
from lpr.tracking.track import Fate, Track


@dataclass(frozen=True, slots=True)
class TrackView:
    """One track as the local page draws it: box in frame pixels, text so far, whether it was handed on."""

    track_id: int
    box: Box
    text: str
    confidence: float
    frames: int
    first_seen: Instant
    last_seen: Instant
    reported: bool
    standing: bool

    @classmethod
    def of(cls, track: Track) -> TrackView:
        """`track` as it is now."""
        text = track.text()
        sighting = track.incumbent
        return cls(
            track_id=track.track_id,
            box=track.box,
            text="" if text is None else text.display,
            confidence=0.0 if text is None else text.confidence,
            frames=sighting.frames,
            first_seen=sighting.first_seen,
            last_seen=track.last_seen,
            reported=track.fate is not Fate.OPEN,
            standing=track.held_standing,
        )
