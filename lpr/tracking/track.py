"""One vehicle while it is in sight, and the doubt whether it is still the same one.

A track holds an *incumbent*, the plate it has been following, and at times a *challenger*: reads in the same place that
contradict the incumbent's vote. A bolt or a glare makes a contradiction that goes away again, and the challenger's
frames are given back. When association has slipped from one vehicle to the next, the challenger goes on until its own
vote is settled; then the track is split, and both vehicles have their own passage.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from lpr.domain.clock import Instant
from lpr.domain.geometry import Box
from lpr.domain.plate import PlateText
from lpr.tracking.motion import Motion
from lpr.tracking.settings import Decide, TrackingSettings, plate_size
from lpr.tracking.sighting import Look, Sighting
from lpr.tracking.standing import same_place
from lpr.tracking.vote import conflict

DOUBTFUL: Final = -3.0
"""A frame that contradicts the vote this much is kept apart from it."""
DIFFERENT: Final = -4.0
"""Two votes that contradict each other this much are two plates."""
PLAINLY_DIFFERENT: Final = -9.0
"""At least two characters that both sides are sure of."""
UNBROKEN_S: Final = 0.4
UNBROKEN_STEP: Final = 0.7
"""Within this time and this many plate sizes of where it was expected, no other vehicle can have taken the place."""
UNBROKEN_FRAMES: Final = 5
"""Frames that a challenger in unbroken sight needs beyond those that settle a vote, where one character is all that
differs: a misread that lasts is likelier than a vehicle that changed its plate."""
STANDS_ALONE_FRAMES: Final = 4
"""An incumbent that was seen in so many frames was a vehicle, whatever it read."""


class Fate(Enum):
    """What has become of a track."""

    OPEN = auto()
    REPORTED = auto()
    REPEATED = auto()
    """It is a passage that was reported already."""
    FRAGMENT = auto()
    """It is a piece of another track's way, and explains nothing itself."""


class Track:
    """One vehicle in sight. `track_id` counts from 1 within a tracker."""

    def __init__(self, track_id: int, motion: Motion, sighting: Sighting) -> None:
        self.track_id = track_id
        self.motion = motion
        self.incumbent = sighting
        self.challenger: Sighting | None = None
        self.fate = Fate.OPEN
        self.settled_at: Instant | None = None
        self.reported: PlateText | None = None
        self.passage_id: str | None = None
        self.last_seen = sighting.last_seen
        self.last_box = sighting.last_box
        self.rest_box = sighting.last_box
        self.rest_since = sighting.last_seen
        self.turned = False
        """It is what a vehicle does that has been seen to turn back."""
        self.held_standing = False
        self.standing_text: PlateText | None = None
        self._broken = False

    def see(self, look: Look, decide: Decide) -> None:
        """The track's plate was read in this frame, as far as motion tells."""
        at, box = look.frame.captured_at, look.read.box
        expected = self.motion.predict(at.monotonic_s)
        dx, dy = box.centre[0] - expected.x, box.centre[1] - expected.y
        broken = at.seconds_since(self.last_seen) > UNBROKEN_S or max(abs(dx), abs(dy)) > UNBROKEN_STEP * plate_size(
            box
        )
        self.motion.update(box, at.monotonic_s, look.whole)
        self._side(look, broken, decide)
        self.last_seen, self.last_box = at, box
        if not same_place(self.rest_box, box):
            self.rest_box, self.rest_since = box, at

    def _side(self, look: Look, broken: bool, decide: Decide) -> None:
        """Give the read to the incumbent or to the challenger."""
        if look.weight <= 0 or self.incumbent.vote.weight <= 0:
            # It says nothing about the text: it belongs to whoever was seen last.
            (self.challenger or self.incumbent).add(look)
            return
        against = conflict(self.incumbent.vote.spelling(), look.spelling)
        if against > DOUBTFUL:
            self.dismiss_challenger()
            self.incumbent.add(look)
        elif self.challenger is None:
            self.challenger, self._broken = Sighting(decide, look), broken
        elif conflict(self.challenger.vote.spelling(), look.spelling) <= DIFFERENT:
            # A third text: what came before was noise, not a vehicle.
            self.challenger, self._broken = Sighting(decide, look), broken or self._broken
        else:
            self.challenger.add(look)
            self._broken = self._broken or broken

    def dismiss_challenger(self) -> None:
        """The challenge came to nothing: its frames were misreads of this plate, or noise."""
        if self.challenger is None:
            return
        if conflict(self.incumbent.vote.spelling(), self.challenger.vote.spelling()) > PLAINLY_DIFFERENT:
            self.incumbent.absorb(self.challenger)
        self.challenger = None
        self._broken = False

    def challenge(self, settings: TrackingSettings) -> Challenge:
        """Whether the challenger has won, and what it has won. Takes effect through `take_over` and `split`."""
        challenger = self.challenger
        if challenger is None:
            return Challenge.NONE
        text = challenger.settled(settings)
        if text is None:
            return Challenge.NONE
        difference = conflict(self.incumbent.vote.spelling(), challenger.vote.spelling())
        if difference > DIFFERENT:
            return Challenge.SAME_PLATE
        if difference > PLAINLY_DIFFERENT and not self._broken:
            if self.fate is Fate.OPEN and self.incumbent.settled(settings) is None:
                return Challenge.SAME_PLATE
            _, count = challenger.vote.agreement(text.text)
            return Challenge.OTHER_PLATE if count >= settings.min_frames + UNBROKEN_FRAMES else Challenge.NONE
        if difference > PLAINLY_DIFFERENT and self.fate is Fate.OPEN and not self._stands_alone(settings):
            return Challenge.SAME_PLATE
        return Challenge.OTHER_PLATE

    def _stands_alone(self, settings: TrackingSettings) -> bool:
        """Whether the incumbent is more than a frame or two that were misread."""
        if self.incumbent.frames >= STANDS_ALONE_FRAMES:
            return True
        text = self.incumbent.final(settings)
        if text is None:
            return False
        _, count = self.incumbent.vote.agreement(text.text)
        return count >= settings.min_frames

    def take_over(self) -> None:
        """The challenger's text is this plate's: earlier frames were misread."""
        if self.challenger is not None:
            self.challenger.absorb(self.incumbent)
            self.incumbent, self.challenger = self.challenger, None

    def split(self, track_id: int) -> Track:
        """Part from the challenger, which goes on as a track of its own; this one ended before it began."""
        if self.challenger is None:
            raise ValueError(f"Track {self.track_id} has no challenger to part from.")
        after = self._after(self.challenger, track_id)
        self.challenger = None
        self.last_seen, self.last_box = self.incumbent.last_seen, self.incumbent.last_box
        return after

    def turn(self, look: Look, track_id: int, decide: Decide) -> Track | None:
        """Part from what the vehicle does since it has turned back: another passage, the other way. None: it has not.

        The passage back begins with `look`, the newest, and knows the way since the turn.
        """
        ways = self.incumbent.way.turn() if self.challenger is None else None
        if ways is None:
            return None
        back = Sighting(decide, look)
        self.incumbent.way, back.way = ways
        after = self._after(back, track_id)
        after.turned = True
        return after

    def _after(self, sighting: Sighting, track_id: int) -> Track:
        """The track that goes on with `sighting` where this one ends."""
        after = Track(track_id, self.motion, sighting)
        after.last_seen, after.last_box = self.last_seen, self.last_box
        after.rest_box, after.rest_since = (
            self.rest_box,
            max(self.rest_since, sighting.first_seen, key=lambda moment: moment.monotonic_s),
        )
        return after

    def stretch(self, across: float, down: float) -> None:
        """From now on pictures are so many times as wide and as high."""
        self.motion.stretch(across, down)
        self.last_box, self.rest_box = (each.stretched(across, down) for each in (self.last_box, self.rest_box))
        for sighting in (self.incumbent, self.challenger):
            if sighting is not None:
                sighting.stretch(across, down)

    def text(self) -> PlateText | None:
        """What the plate says as far as known; None where nothing was readable yet."""
        if self.reported is not None:
            return self.reported
        return self.incumbent.vote.decision() if self.incumbent.vote.weight > 0 else None

    def rested_s(self, now: Instant) -> float:
        """Seconds since it last changed its place."""
        return now.seconds_since(self.rest_since)

    @property
    def frames(self) -> int:
        """Frames that it was seen in, the challenger's included."""
        return self.incumbent.frames + (self.challenger.frames if self.challenger else 0)

    @property
    def box(self) -> Box:
        """Where it was last seen, pixels."""
        return self.last_box


class Challenge(Enum):
    """How a challenge stands."""

    NONE = auto()
    SAME_PLATE = auto()
    OTHER_PLATE = auto()
