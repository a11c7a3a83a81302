"""Which frames of a camera are worth the networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from lpr.domain.clock import Instant
from lpr.domain.frame import Frame
from lpr.domain.geometry import Point
from lpr.tracking.tracker import TrackView
from lpr.vision.motion import MotionGate
from lpr.vision.plate_reader import region_bounds

STARE_S: Final = 4.0
"""How long a vehicle that stands undecided in a still scene is looked at with every frame. After that it is looked at
as often as the scene is: one more look at the same picture says what the last thirty have said."""


class Attention:
    """Every frame in which something may have changed is looked at; of a scene that stands still, one a second.

    - What moved, moved: see `MotionGate`.
    - A vehicle whose text is undecided is looked at, moving or not, for `STARE_S`: it may have stopped far off.
    - Where the last look missed a plate that had been in sight, the next frame tells whether it has gone.
    """

    def __init__(self) -> None:
        self._gate = MotionGate()
        self._looked_at: Instant | None = None

    def wants(self, frame: Frame, region: tuple[Point, ...], tracks: Sequence[TrackView]) -> bool:
        """Whether `frame` is to be analysed; `tracks` is what is in sight since the last one that was."""
        at = frame.captured_at
        bounds = region_bounds(region, frame.width, frame.height)
        opened = self._gate.open_for(frame.image, bounds, at.monotonic_s)
        staring = at.monotonic_s - self._gate.moved_at_s < STARE_S and _undecided(tracks)
        if not (opened or staring or _missed(tracks, self._looked_at)):
            return False
        self._looked_at = at
        return True


def _undecided(tracks: Sequence[TrackView]) -> bool:
    return any(not (track.reported or track.standing) for track in tracks)


def _missed(tracks: Sequence[TrackView], looked_at: Instant | None) -> bool:
    return looked_at is not None and any(track.last_seen.monotonic_s < looked_at.monotonic_s for track in tracks)
