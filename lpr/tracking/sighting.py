"""What one plate has shown so far: its vote, its way, its best picture."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace
from typing import Final

from lpr.domain.clock import Instant
from lpr.domain.frame import Frame
from lpr.domain.geometry import Box
from lpr.domain.plate import PlateColour, PlateRead, PlateText
from lpr.plates.parse import begins_longer
from lpr.tracking.direction import Pose, Way
from lpr.tracking.settings import Decide, TrackingSettings, plate_size
from lpr.tracking.shape import has_short_number, is_short
from lpr.tracking.vote import PROMISED, Spelling, TextVote, conflict

NEW_LOOK_STEP: Final = 0.5
"""Plate sizes of movement after which a plate's mistakes are taken to be others."""
NEW_LOOK_GROWTH: Final = 0.08
FULL_CHARACTER_PX: Final = 12.0
"""Characters of this height and more are read as well as any."""
ONE_ROW_CHARACTER: Final = 0.75
TWO_ROWS_CHARACTER: Final = 0.38
"""Height of a character, as a share of the plate's."""
EDGE_PX: Final = 2.0
EDGE_SHARE: Final = 0.05
"""A box nearer to the edge than this share of its width may be cut there."""
STEADY_RATIO: Final = 0.15
STEADY_FRAMES: Final = 2
"""Width by height may change by so much (natural logarithm) within so many frames; more, and the plate is coming out
from behind something."""
STEADY_FRAMES_SHORT: Final = 4
"""A plate with few digits may be a longer one whose end is covered: it must have kept its shape for longer."""
UNPROMISED: Final = PROMISED - 0.01
"""What is told of such a plate at most before so many frames have read it: one that lost a digit looks as sure."""
INVALID_EXTRA_FRAMES: Final = 4
"""Outside the grammar there is mostly a part of a plate: wait for the rest of it, and `invalid_wait_s` at least."""
DOUBTFUL_CONFIDENCE: Final = 0.9
DOUBTFUL_FRAMES: Final = 5
DOUBTFUL_S: Final = 1.0
"""A text that is less sure waits for so many frames and so long: while the plate is in sight, a better one may come."""
LEAST_WEIGHT: Final = 0.01
"""A frame that saw less than this saw nothing."""
SETTLED_WEIGHT: Final = 0.8
LAST_WORD_WEIGHT: Final = 0.3
"""Summed weights of frames: less, and a vote has been cast by frames that saw nothing."""
HALF_READABLE: Final = 0.3
CONTRADICTION_COST: Final = 0.7
SHORTEST_UNKNOWN: Final = 6
"""Characters that a plate outside the grammar (a neighbouring country's) has at least, letters and digits among them.
Fewer are a part of a plate, or four rings (`C00D`); digits alone are a telephone number, letters alone a maker's name.
And what begins like one of ours is one whose end is covered: in no neighbouring country two digits and a letter do.
"""
FEWEST_DIGITS: Final = 3
"""Digits that it has at least: in lettering an O reads as 0 and an I as 1 (`CAMD0XE`, no parking)."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One frame's sight of the plate, kept as the picture to send."""

    look: Look
    score: float

    @property
    def frame(self) -> Frame:
        """The frame it is from."""
        return self.look.frame

    @property
    def read(self) -> PlateRead:
        """The plate in that frame."""
        return self.look.read


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """One read, prepared for tracking: its spelling, how much its vote counts (0: not at all), whether it is whole."""

    frame: Frame
    read: PlateRead
    spelling: Spelling
    weight: float
    whole: bool


def prepare(frame: Frame, read: PlateRead, bounds: Box, sharpness_reference: float) -> Look:
    """Judge one read. `bounds` is the part of the frame that is analysed, in pixels: plates are cut at its edges.

    `sharpness_reference` is the camera's usual sharpness; the absolute scale depends on lens, light and noise.
    """
    whole = not touches_edge(read.box, bounds)
    weight = _vote_weight(read, sharpness_reference) if whole else 0.0
    return Look(frame, read, Spelling.of_frame(read.probabilities), weight, whole)


def touches_edge(box: Box, bounds: Box) -> bool:
    """Whether `box` reaches the edge of `bounds`, where what is left of a plate may read as another plate."""
    margin = max(EDGE_PX, EDGE_SHARE * box.width)
    return (
        box.x < bounds.x + margin
        or box.y < bounds.y + margin
        or box.right > bounds.right - margin
        or box.bottom > bounds.bottom - margin
    )


def _vote_weight(read: PlateRead, sharpness_reference: float) -> float:
    share = ONE_ROW_CHARACTER + read.rows_probability * (TWO_ROWS_CHARACTER - ONE_ROW_CHARACTER)
    size = min(1.0, max(0.15, share * read.box.height / FULL_CHARACTER_PX))
    sharp = min(1.0, max(0.3, read.sharpness / sharpness_reference)) if sharpness_reference > 0 else 1.0
    weight = min(1.0, max(0.0, read.readable)) * size * sharp
    return weight if weight >= LEAST_WEIGHT else 0.0


def view_score(look: Look) -> float:
    """How good a picture is for people: large, sharp, whole, legible."""
    read = look.read
    return (
        math.log(plate_size(read.box))
        + 0.7 * math.log(1.0 + max(0.0, read.sharpness))
        + math.log(max(0.2, read.readable))
        - (0.0 if look.whole else 3.0)
        - (0.0 if look.weight > 0 else 3.0)
    )


class Sighting:
    """All that is known of one plate in sight. Takes the same memory after ten minutes as after ten frames."""

    def __init__(self, decide: Decide, first: Look) -> None:
        self.vote = TextVote(decide)
        self.way = Way()
        self.frames = 0
        self.whole = 0
        self.voted = 0
        self.first_seen = first.frame.captured_at
        self.last_seen = first.frame.captured_at
        self.first_box = first.read.box
        self.last_box = first.read.box
        self.first_vote: tuple[Instant, Box] | None = None
        self.last_vote: tuple[Instant, Box] | None = None
        self.best: View | None = None
        self.widest_px = 0.0
        """Of the frames that voted."""
        self.widest_whole_px = 0.0
        self.detection_sum = 0.0
        self._colours: dict[PlateColour, float] = {}
        self._look_pose: Pose | None = None
        self._ratios: deque[float] = deque(maxlen=STEADY_FRAMES_SHORT)
        self._ratio_sum = 0.0
        self._keeps_picture = True
        self.add(first)

    def add(self, look: Look) -> None:
        """Let one more read of this plate count."""
        read, pose = look.read, Pose.of(look.read.box)
        self.frames += 1
        self.detection_sum += read.detection_confidence
        self.last_seen = look.frame.captured_at
        self.last_box = read.box
        if look.whole:
            self.whole += 1
            self.widest_whole_px = max(self.widest_whole_px, read.box.width)
            self.way.add(pose)
        if look.weight > 0:
            self._vote(look, pose)
        self._keep_best(look)

    def _vote(self, look: Look, pose: Pose) -> None:
        read = look.read
        new_look = self._look_pose is None or (
            self._look_pose.distance(pose) > NEW_LOOK_STEP
            or abs(self._look_pose.log_size - pose.log_size) > NEW_LOOK_GROWTH
        )
        if new_look:
            self._look_pose = pose
        self.vote.add(look.spelling, read.rows_probability, read.plate.text, look.weight, new_look, read.top)
        self.voted += 1
        self.last_vote = (look.frame.captured_at, read.box)
        self.first_vote = self.first_vote or self.last_vote
        self.widest_px = max(self.widest_px, read.box.width)
        self._colours[read.colour] = self._colours.get(read.colour, 0.0) + look.weight
        ratio = math.log(max(1.0, read.box.width) / max(1.0, read.box.height))
        self._ratios.append(ratio)
        self._ratio_sum += look.weight * ratio

    def _steady(self, frames: int) -> bool:
        """Whether the plate's shape has not changed over the last `frames` frames that voted."""
        recent = list(self._ratios)[-frames:]
        return len(recent) == frames and max(recent) - min(recent) <= STEADY_RATIO

    def _keep_best(self, look: Look) -> None:
        if not self._keeps_picture:
            return
        view = View(look, view_score(look))
        if self.best is None or self._worth(view) > self._worth(self.best):
            self.best = view

    def _worth(self, view: View) -> float:
        """A picture that contradicts the vote may be of the vehicle in front: the vote so far judges both anew."""
        if self.vote.weight < SETTLED_WEIGHT:
            return view.score
        against = conflict(self.vote.spelling(), view.look.spelling)
        return view.score + CONTRADICTION_COST * max(-6.0, against)

    @property
    def read_since(self) -> Instant:
        """When its text was first seen; before that the track may have begun with something else."""
        return self.first_vote[0] if self.first_vote else self.first_seen

    @property
    def picture(self) -> View:
        """The best picture so far. Raises LookupError after `drop_picture`: it has been handed on."""
        if self.best is None:
            raise LookupError("The picture of this plate has been handed on already.")
        return self.best

    def drop_picture(self) -> None:
        """Let go of the frame: the passage has been handed on and needs no other."""
        self.best = None
        self._keeps_picture = False

    def absorb(self, other: Sighting) -> None:
        """What `other` showed was this plate too."""
        self.vote.absorb(other.vote)
        self.frames += other.frames
        self.whole += other.whole
        self.widest_whole_px = max(self.widest_whole_px, other.widest_whole_px)
        self.voted += other.voted
        self.detection_sum += other.detection_sum
        self._ratio_sum += other._ratio_sum
        self.widest_px = max(self.widest_px, other.widest_px)
        if other.first_seen.monotonic_s < self.first_seen.monotonic_s:
            self.first_seen, self.first_box = other.first_seen, other.first_box
            other.way.extend(self.way)
            self.way = other.way
        else:
            self.last_seen, self.last_box = other.last_seen, other.last_box
            self.way.extend(other.way)
        votes = [each for each in (self.first_vote, self.last_vote, other.first_vote, other.last_vote) if each]
        if votes:
            self.first_vote = min(votes, key=lambda each: each[0].monotonic_s)
            self.last_vote = max(votes, key=lambda each: each[0].monotonic_s)
        for colour, weight in other._colours.items():
            self._colours[colour] = self._colours.get(colour, 0.0) + weight
        if not other._keeps_picture:
            self.drop_picture()
        if self._keeps_picture and other.best is not None:
            self.best = max(other.best, self.best or other.best, key=self._worth)

    def stretch(self, across: float, down: float) -> None:
        """From now on pictures are so many times as wide and as high; the best one so far stays what it was."""
        self.first_box, self.last_box = (each.stretched(across, down) for each in (self.first_box, self.last_box))
        if self.first_vote and self.last_vote:
            self.first_vote, self.last_vote = (
                (at, box.stretched(across, down)) for at, box in (self.first_vote, self.last_vote)
            )
        if self._look_pose is not None:
            self._look_pose = self._look_pose.stretched(across, down)
        self.way.stretch(across, down)

    def half_readable(self) -> bool:
        """Whether it was certainly a plate, though nobody could say for sure which."""
        return self.voted > 0 and (text := self.vote.decision()).valid and text.confidence >= HALF_READABLE

    @property
    def colour(self) -> PlateColour:
        """The colour that most of the weight saw."""
        return max(self._colours, key=lambda each: self._colours[each]) if self._colours else PlateColour.OTHER

    @property
    def log_ratio(self) -> float:
        """Mean natural logarithm of width by height over the frames that voted; 0 where none did."""
        return self._ratio_sum / self.vote.weight if self.vote.weight > 0 else 0.0

    @property
    def detection_confidence(self) -> float:
        """Mean over the frames, 0..1."""
        return self.detection_sum / self.frames

    @property
    def moved(self) -> bool:
        """Whether it has been anywhere else than where it began."""
        if self.way.travel >= 1.0 or self.way.growth >= 0.2:
            return True
        # Cut plates are not on the way: their centres lie, but not by more than this.
        return Pose.of(self.first_box).distance(Pose.of(self.last_box)) >= 1.5

    def _decision(self) -> PlateText:
        text = self.vote.decision()
        _, count = self.vote.agreement(text.text)
        if has_short_number(text) and count < STEADY_FRAMES_SHORT:
            return replace(text, confidence=min(text.confidence, UNPROMISED))
        return text

    def settled(self, settings: TrackingSettings) -> PlateText | None:
        """The voted text where the vote is settled while the plate is still in sight, else None."""
        if self.voted < settings.min_frames or self.widest_px < settings.min_width_px:
            return None
        if self.vote.weight < SETTLED_WEIGHT or not self._steady(min(STEADY_FRAMES, settings.min_frames)):
            return None
        text = self._decision()
        if not may_be_plate(text):
            return None
        if not text.valid and self.last_seen.seconds_since(self.first_seen) < settings.invalid_wait_s:
            return None
        frames = settings.min_frames + (not text.valid) * INVALID_EXTRA_FRAMES
        if is_short(text.text):
            frames = max(frames, STEADY_FRAMES_SHORT)
            if not self._steady(STEADY_FRAMES_SHORT):
                return None
        share, count = self.vote.agreement(text.text)
        if count < frames or share < settings.min_agreement:
            return None
        seen_s = self.last_seen.seconds_since(self.read_since)
        if text.confidence < DOUBTFUL_CONFIDENCE and (self.voted < DOUBTFUL_FRAMES or seen_s < DOUBTFUL_S):
            return None
        return text if _sure(text, settings) else None

    def final(self, settings: TrackingSettings) -> PlateText | None:
        """The voted text where it is good enough now that no further frame will come, else None."""
        if self.vote.weight < LAST_WORD_WEIGHT or self.widest_px < settings.min_width_px:
            return None
        text = self._decision()
        if not _sure(text, settings) or not may_be_plate(text):
            return None
        if self.voted == 1 and text.confidence < settings.single_frame_confidence:
            return None
        # Nobody has read it like this by himself: a vote of few frames could be a mixture of two plates.
        _, count = self.vote.agreement(text.text)
        if not text.valid and count < settings.min_frames + INVALID_EXTRA_FRAMES:
            return None
        return text if count or self.voted >= 2 * settings.min_frames else None


def may_be_plate(text: PlateText) -> bool:
    """Whether a plate, here or in a neighbouring country, can say this and nothing more."""
    if text.valid:
        return True
    digits = sum(sign.isdigit() for sign in text.text)
    foreign = len(text.text) >= SHORTEST_UNKNOWN and FEWEST_DIGITS <= digits < len(text.text)
    return foreign and not begins_longer(text.text, text.rows)


def _sure(text: PlateText, settings: TrackingSettings) -> bool:
    weakest = min(text.character_confidences, default=0.0)
    margin = math.log(max(1e-9, weakest) / max(1e-9, 1 - weakest))
    return text.confidence >= settings.min_confidence and margin >= settings.min_margin
