"""Who speaks for a plate whose track has ended: another track of the same plate, where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from lpr.domain.plate import PlateText
from lpr.tracking.settings import TrackingSettings
from lpr.tracking.track import Fate, Track
from lpr.tracking.trail import TELLING

TWICE_S: Final = 0.3
"""For so long a plate may be found in two places, and be followed from the one to the other."""


def heir_of(ended: Track, text: PlateText, tracks: Sequence[Track]) -> Track | None:
    """The track that goes on with the plate of one that has ended: a camera was pushed, a passer-by stood between.

    Together they know better which way it went, and show it better, than the one that ended.
    """
    for track in _others(ended, text, tracks):
        later = track.incumbent.first_seen.seconds_since(ended.incumbent.last_seen) >= -TWICE_S
        known = track.text() if later and not track.turned else None
        if known is not None and known.text == text.text:
            return track
    return None


def is_beside_itself(ended: Track, text: PlateText, tracks: Sequence[Track], settings: TrackingSettings) -> bool:
    """Whether a plate was found twice for a while, and the track that knows more of it is still in sight."""
    for track in _others(ended, text, tracks):
        together = track.incumbent.first_seen.seconds_since(ended.incumbent.last_seen) < 0
        known = track.incumbent.final(settings) if together and track.frames > ended.frames else None
        if known is not None and known.text == text.text:
            return True
    return False


def _others(ended: Track, text: PlateText, tracks: Sequence[Track]) -> list[Track]:
    """Of whom nothing has been told; none where `text` is too short to tell vehicles apart."""
    if len(text.text) < TELLING:
        return []
    return [track for track in tracks if track is not ended and track.fate is Fate.OPEN]
