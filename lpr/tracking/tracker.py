"""`PassageTracker`: reads of one camera in, passages out, each vehicle once."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from lpr.domain.choices import EmitRule
from lpr.domain.clock import Instant
from lpr.domain.frame import Frame
from lpr.domain.geometry import Box, point_in_polygon
from lpr.domain.passage import Action, ActionRule, Passage, PassageOutcome
from lpr.domain.plate import PlateRead, PlateText
from lpr.tracking.association import associate, distinct
from lpr.tracking.heir import heir_of, is_beside_itself
from lpr.tracking.motion import Motion
from lpr.tracking.notes import Note, NoteKind, Notes
from lpr.tracking.repeat import RepeatGuard, Verdict
from lpr.tracking.settings import Decide, TrackingSettings
from lpr.tracking.shape import Shapes, is_short
from lpr.tracking.sighting import LAST_WORD_WEIGHT, Look, Sighting, may_be_plate, prepare
from lpr.tracking.standing import StandingMemory
from lpr.tracking.track import Challenge, Fate, Track
from lpr.tracking.trail import Trail
from lpr.tracking.unread import Unread, Waiting, was_vehicle
from lpr.tracking.view import TrackView
from lpr.tracking.watch import Watch

__all__ = ["Note", "NoteKind", "PassageTracker", "TrackView", "new_passage_id"]

GAP_FRAMES: Final = 3
"""A track outlives this many missed frames even where `max_gap_s` is shorter."""
CANDIDATE_AFTER_S: Final = 30.0
"""Text that rests for so long is remembered as a candidate for a standing text."""
SHARPNESS_MEMORY: Final = 0.02
RECENT_KEPT: Final = 32
KNOWN_VEHICLES: Final = (Fate.REPORTED, Fate.REPEATED)
TENTATIVE_FRAMES: Final = 3
TENTATIVE_GAP_S: Final = 0.8
"""A track of fewer frames may be a false alarm, and must not wait for a vehicle to come by."""
OUTSIDE_GAP_S: Final = 0.6
"""A track that was expected to have left the picture is closed after so long."""


def new_passage_id() -> str:
    """A random UUID."""
    return str(uuid.uuid4())


class PassageTracker:
    """Follows the plates that one camera sees, and hands on each vehicle once.

    Pure: what time it is comes with the frames, nothing is read or written, nothing waits. Not safe for use by two
    threads at once. `guard` is shared by all cameras of a gate; `decide` turns voted probabilities into a text;
    `new_id` makes passage ids.
    """

    def __init__(
        self,
        settings: TrackingSettings,
        guard: RepeatGuard,
        decide: Decide,
        *,
        standing: StandingMemory | None = None,
        new_id: Callable[[], str] = new_passage_id,
    ) -> None:
        self._settings = settings
        self._guard = guard
        self._decide = decide
        self._new_id = new_id
        self.standing = standing or StandingMemory(settings.standing_after_s, settings.standing_forget_s)
        self._tracks: list[Track] = []
        self._unread = Unread()
        self._recent: deque[Trail] = deque(maxlen=RECENT_KEPT)
        self._recent_unread: deque[Trail] = deque(maxlen=RECENT_KEPT)
        self._notes = Notes()
        self._next_id = 1
        self._watch = Watch()
        self._sharpness = 0.0
        self._shapes = Shapes()
        self._frame_size = (0, 0)

    @property
    def settings(self) -> TrackingSettings:
        """The rules in force."""
        return self._settings

    def configure(self, settings: TrackingSettings) -> None:
        """Go on by other rules; vehicles in sight are kept."""
        self._settings = settings
        self.standing.after_s, self.standing.forget_s = settings.standing_after_s, settings.standing_forget_s

    @property
    def tracks(self) -> tuple[TrackView, ...]:
        """What is in sight, for the local page."""
        return tuple(TrackView.of(track) for track in self._tracks)

    def take_notes(self) -> tuple[Note, ...]:
        """What was held back since the last call, oldest first (the newest `NOTES_KEPT`)."""
        return self._notes.take()

    def update(self, frame: Frame, reads: Sequence[PlateRead], now: Instant | None = None) -> tuple[Passage, ...]:
        """Take one frame's reads, none included, and return the passages that it decides, in order.

        Frames come in the order of their capture; one that is older than the newest is noted and left out. `now` is
        when this is called, for `decided_at`; the frame's own time where it is not given.
        """
        at = frame.captured_at
        if self._watch.newest is not None and at.seconds_since(self._watch.newest) < 0:
            self._notes.late_frame(at, len(reads))
            return ()
        self._watch.analysed(at)
        # What has been gone for too long is closed first: after minutes without a picture, anything could be anything.
        passages = self._close(at, now or at)
        self._bridge(self._watch.saw(at))
        self._keep_size(frame)
        seen = self._associate(self._prepare(frame, reads), at)
        passages += self._resolve_challenges([track for track, _ in seen], now or at)
        passages += self._resolve_turns(seen, now or at)
        for track in self._tracks:
            if track.last_seen.monotonic_s == at.monotonic_s:
                passages += self._consider(track, now or at)
        passages += self._limit(now or at)
        return tuple(passages)

    def pass_over(self, frame: Frame) -> tuple[Passage, ...]:
        """Take a frame that was not analysed because nothing had moved in it: the camera sees, and time goes on."""
        passages = self.close_stale(frame.captured_at)
        self._bridge(self._watch.saw(frame.captured_at))
        return passages

    def close_stale(self, now: Instant) -> tuple[Passage, ...]:
        """Close what has not been seen for too long; for when no frames come.

        Who went unread before a camera was lost waits until its pictures are back, `LONGEST_OUTAGE_S` at most: it may
        still be there, and be read then.
        """
        return tuple(self._close(now, now))

    def finish(self, now: Instant) -> tuple[Passage, ...]:
        """The camera has stopped: everything in sight becomes a passage, or is let go with a note."""
        passages: list[Passage] = []
        for track in sorted(self._tracks, key=lambda each: each.incumbent.first_seen.monotonic_s):
            passages += self._end(track, now)
        self._tracks.clear()
        for waiting in self._unread.release_all():
            passages += self._report_unreadable(waiting, now)
        return tuple(passages)

    # What a frame shows

    def _bridge(self, blind_s: float) -> None:
        """Nothing was to be seen for so long: it counts neither against who waits nor between two pieces of a way."""
        if blind_s > 0:
            self._unread.bridge(blind_s)
            self._change_trails(lambda trail: trail.after_outage(blind_s))

    def _keep_size(self, frame: Frame) -> None:
        if self._frame_size not in ((0, 0), (frame.width, frame.height)):
            self._stretch(frame.width / self._frame_size[0], frame.height / self._frame_size[1])
        self._frame_size = (frame.width, frame.height)

    def _stretch(self, across: float, down: float) -> None:
        """The camera's pictures have another size, its view is the same: so are the places, as parts of the picture."""
        for track in (*self._tracks, *self._unread.tracks):
            track.stretch(across, down)
        self._change_trails(lambda trail: trail.stretched(across, down))
        self.standing.stretch(across, down)

    def _change_trails(self, change: Callable[[Trail], Trail]) -> None:
        for trails in (self._recent, self._recent_unread):
            changed = [change(trail) for trail in trails]
            trails.clear()
            trails.extend(changed)

    def _prepare(self, frame: Frame, reads: Sequence[PlateRead]) -> list[Look]:
        bounds = self._bounds(frame.width, frame.height)
        looks = [
            prepare(frame, read, bounds, self._sharpness) for read in distinct(reads) if self._in_roi(read.box, frame)
        ]
        for look in looks:
            if look.weight > 0:
                gain = SHARPNESS_MEMORY if self._sharpness else 1.0
                self._sharpness += gain * (look.read.sharpness - self._sharpness)
        return looks

    def _bounds(self, width: int, height: int) -> Box:
        """The part of the frame that is analysed: the upright rectangle around the region of interest."""
        roi = self._settings.roi
        if not roi:
            return Box(0, 0, width, height)
        xs, ys = [x * width for x, _ in roi], [y * height for _, y in roi]
        return Box(min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)).clipped(width, height)

    def _in_roi(self, box: Box, frame: Frame) -> bool:
        x, y = box.centre
        return not self._settings.roi or point_in_polygon((x / frame.width, y / frame.height), self._settings.roi)

    # Which read is whose

    def _associate(self, looks: list[Look], at: Instant) -> list[tuple[Track, Look]]:
        """Each look with the track that it is of."""
        pairs = associate(self._tracks, looks, at, self._bounds(*self._frame_size))
        for row, column in pairs:
            self._tracks[row].see(looks[column], self._decide)
        seen = [(self._tracks[row], looks[column]) for row, column in pairs]
        taken = {column for _, column in pairs}
        fresh = [(self._open(look), look) for column, look in enumerate(looks) if column not in taken]
        return seen + fresh

    def _open(self, look: Look) -> Track:
        at = look.frame.captured_at
        track = Track(
            self._new_track_id(), Motion(look.read.box, at.monotonic_s, look.whole), Sighting(self._decide, look)
        )
        self._tracks.append(track)
        return track

    def _new_track_id(self) -> int:
        self._next_id += 1
        return self._next_id - 1

    def _resolve_challenges(self, seen: list[Track], now: Instant) -> list[Passage]:
        passages: list[Passage] = []
        for track in seen:
            challenge = track.challenge(self._settings)
            if challenge is Challenge.SAME_PLATE:
                track.take_over()
            elif challenge is Challenge.OTHER_PLATE:
                self._notes.of_track(NoteKind.SPLIT, track, now)
                after = track.split(self._new_track_id())
                self._tracks[self._tracks.index(track)] = after
                passages += self._end(track, now)
        return passages

    def _resolve_turns(self, seen: list[tuple[Track, Look]], now: Instant) -> list[Passage]:
        """Who comes, and goes back again in plain sight, has passed twice."""
        passages: list[Passage] = []
        for track, look in seen if self._settings.action is ActionRule.AUTO else ():
            after = track.turn(look, self._next_id, self._decide) if track in self._tracks else None
            if after is not None:
                self._new_track_id()
                self._notes.of_track(NoteKind.TURN, track, now)
                self._tracks[self._tracks.index(track)] = after
                passages += self._end(track, now)
        return passages

    # What becomes of a track

    def _consider(self, track: Track, now: Instant) -> list[Passage]:
        """Hand on the track's passage where its time has come."""
        self._watch_standing(track, now)
        if track.fate is not Fate.OPEN:
            if track.reported is not None:
                self._guard.refresh(track.reported.text, track.incumbent.last_seen)
            return []
        if track.held_standing and not track.incumbent.moved:
            self._stay_standing(track, now)
            return []
        if self._settings.emit is EmitRule.FINAL:
            return []
        # A doubt that has begun is waited out: the text is not settled while a challenger stands.
        text = track.incumbent.settled(self._settings) if track.challenger is None else None
        if text is None or self._shapes.looks_cut(text, track.incumbent.log_ratio):
            return []
        return self._hand_on(track, text, now, last_word=False)

    def _watch_standing(self, track: Track, now: Instant) -> None:
        rested = track.rested_s(now) >= CANDIDATE_AFTER_S
        text = track.reported
        if text is None and rested and self._settings.emit is EmitRule.FINAL:
            text = track.incumbent.settled(self._settings)
        if text is None:
            return
        if rested:
            self.standing.observe(text.text, text.display, track.box, track.rest_since, track.last_seen)
        elif not self.standing.explains(text.text, track.box, now) and track.incumbent.moved:
            self.standing.moved(text.text)

    def _hand_on(self, track: Track, text: PlateText, now: Instant, last_word: bool) -> list[Passage]:
        """Report `text`, unless it was reported, belongs to the scene, or its direction is still to come."""
        sighting, settings = track.incumbent, self._settings
        track.settled_at = track.settled_at or sighting.last_seen
        if self._belongs_to_scene(track, text, now):
            return []
        if not text.valid and not sighting.moved:
            # What is no plate and never moves is writing on a wall.
            return []
        action = sighting.way.action(settings, *self._frame_size)
        waited_s = sighting.last_seen.seconds_since(track.settled_at)
        if action is None and not last_word and waited_s < settings.direction_wait_s:
            return []
        verdict = self._verdict(track, text, action)
        if verdict is Verdict.UNCERTAIN and not last_word:
            return []
        if not sighting.moved:
            # Something that only shows itself now and then, and never moves, is no vehicle that comes again and again.
            self.standing.observe(text.text, text.display, track.box, track.rest_since, track.last_seen)
        if verdict is not Verdict.NEW:
            self._guard.repeated(text.text, sighting.last_seen, settings.camera_id)
            return self._withhold(track, text, NoteKind.REPEAT, now)
        # Where it bears the same text, the guard has just said that it is another passage.
        if self._is_fragment(Trail.of(sighting), track, but_text=text.text):
            return self._withhold(track, text, NoteKind.FRAGMENT, now)
        passage = self._passage(track, text, PassageOutcome.READ, action, now)
        self._guard.reported(text.text, passage.action, sighting.last_seen, settings.camera_id)
        track.fate, track.reported, track.passage_id = Fate.REPORTED, text, passage.passage_id
        if text.valid and not is_short(text.text):
            self._shapes.learn(text, sighting.log_ratio)
        sighting.drop_picture()
        return [passage]

    def _verdict(self, track: Track, text: PlateText, action: Action | None) -> Verdict:
        """What the gate's guard says; who goes the other way is no repeat, unless it is his rear that does."""
        since = track.incumbent.read_since
        verdict = self._guard.verdict(text.text, action, since, turned=track.turned)
        by_its_way = verdict is Verdict.NEW and self._guard.verdict(text.text, None, since) is Verdict.UNCERTAIN
        return Verdict.REPEAT if by_its_way and self._shows_its_rear(Trail.of(track.incumbent), track) else verdict

    def _withhold(self, track: Track, text: PlateText, why: NoteKind, now: Instant) -> list[Passage]:
        track.fate = Fate.REPEATED if why is NoteKind.REPEAT else Fate.FRAGMENT
        track.reported = text
        track.incumbent.drop_picture()
        self._notes.of_track(why, track, now)
        return []

    def _stay_standing(self, track: Track, now: Instant) -> None:
        text = track.standing_text
        if text is not None:
            self._belongs_to_scene(track, text, now)

    def _belongs_to_scene(self, track: Track, text: PlateText, now: Instant) -> bool:
        if not self.standing.explains(text.text, track.box, now):
            if track.held_standing or track.incumbent.moved:
                self.standing.moved(text.text)
            track.held_standing = False
            return False
        if track.incumbent.moved:
            self.standing.moved(text.text)
            return False
        self.standing.observe(text.text, text.display, track.box, track.rest_since, track.last_seen)
        # It was reported when it came, perhaps by an earlier run of the agent; only what has been there for long counts
        # as new when it leaves. Where the last word alone is told, nothing has been said of it yet.
        known = self.standing.learnt(text.text) or self._guard.refresh(text.text, track.last_seen)
        if not known and self._settings.emit is EmitRule.SETTLED:
            action = track.incumbent.way.action(self._settings, *self._frame_size)
            action = action or self._settings.default_action
            self._guard.reported(text.text, action, track.last_seen, self._settings.camera_id)
        if not track.held_standing:
            track.held_standing, track.standing_text = True, text
            self._notes.of_track(NoteKind.STANDING, track, now)
        return True

    def _is_fragment(self, trail: Trail, but: Track, but_text: str = "") -> bool:
        """Whether `trail` is a piece of the way of a vehicle that has been reported, not as `but_text`."""
        known = (each for each in self._known(but) if not but_text or each.text != but_text)
        return any(trail.continues(other) for other in known)

    def _shows_its_rear(self, trail: Trail, track: Track) -> bool:
        """Whether a vehicle that has just passed shows its other plate, which goes farther off, still the same way.

        Where every time counts that a plate comes by (a short `repeat_after`), so does this one.
        """
        same = [each for each in self._known(track) if each.text == trail.text]
        if not same or trail.first_seen.seconds_since(same[-1].last_seen) > self._guard.repeat_after_s:
            return False
        return trail.passes_on(same[-1])

    def _known(self, but: Track) -> list[Trail]:
        """The trails of the vehicles that have been reported, `but` left out; those still in sight are the last."""
        in_sight = [track for track in self._tracks if track is not but and track.fate in KNOWN_VEHICLES]
        return [*self._recent, *(Trail.of(track.incumbent) for track in in_sight)]

    def _passage(
        self, track: Track, text: PlateText, outcome: PassageOutcome, action: Action | None, now: Instant
    ) -> Passage:
        sighting = track.incumbent
        view = sighting.picture
        return Passage(
            passage_id=self._new_id(),
            camera_id=self._settings.camera_id,
            outcome=outcome,
            plate=text,
            colour=sighting.colour,
            vehicle_type=text.vehicle_type,
            action=action or self._settings.default_action,
            best_frame=view.frame,
            best_read=view.read,
            first_seen=sighting.first_seen,
            last_seen=sighting.last_seen,
            decided_at=now,
            frames_read=max(1, sighting.voted),
        )

    # How a track ends

    def _close(self, at: Instant, now: Instant) -> list[Passage]:
        passages: list[Passage] = []
        gone = [track for track in self._tracks if self._is_gone(track, at)]
        self._tracks = [track for track in self._tracks if track not in gone]
        for track in sorted(gone, key=lambda each: each.last_seen.monotonic_s):
            passages += self._end(track, now)
        return passages + self._release(at, now)

    def _limit(self, now: Instant) -> list[Passage]:
        """Close what is beyond `max_tracks`: the longest unseen first, then what has been seen least."""
        excess = len(self._tracks) - self._settings.max_tracks
        if excess <= 0:
            return []
        passages: list[Passage] = []
        self._tracks.sort(key=lambda each: (each.last_seen.monotonic_s, each.frames))
        for _ in range(excess):
            track = self._tracks.pop(0)
            self._notes.of_track(NoteKind.TRACK_LIMIT, track, now)
            passages += self._end(track, now)
        return passages

    def _is_gone(self, track: Track, at: Instant) -> bool:
        unseen_s = at.seconds_since(track.last_seen)
        patience_s = GAP_FRAMES * self._watch.interval_s
        most_s = self._settings.max_gap_s
        if track.frames < TENTATIVE_FRAMES:
            most_s = min(most_s, TENTATIVE_GAP_S)
        if unseen_s > max(most_s, patience_s):
            return True
        if unseen_s <= max(OUTSIDE_GAP_S, patience_s):
            return False
        expected = track.motion.predict(at.monotonic_s)
        width, height = self._frame_size
        margin = expected.size
        return not (-margin <= expected.x <= width + margin and -margin <= expected.y <= height + margin)

    def _end(self, track: Track, now: Instant) -> list[Passage]:
        """The track will not be seen again: its last word."""
        passages: list[Passage] = []
        if track.challenger is not None:
            passages += self._end_challenge(track, now)
        if track.fate is Fate.OPEN and not (track.held_standing and not track.incumbent.moved):
            passages += self._last_word(track, now)
        if track.fate in KNOWN_VEHICLES:
            self._recent.append(Trail.of(track.incumbent))
            for piece in self._unread.explain(self._recent[-1]):
                self._notes.of_track(NoteKind.FRAGMENT, piece, self._recent[-1].last_seen)
        return passages

    def _end_challenge(self, track: Track, now: Instant) -> list[Passage]:
        """A challenger that stands at the end: a vehicle of its own where its vote is as good as any, else noise."""
        challenger = track.challenger
        text = None if challenger is None else challenger.final(self._settings)
        if challenger is None or text is None:
            track.dismiss_challenger()
            return []
        _, count = challenger.vote.agreement(text.text)
        if Trail.of(challenger).continues(Trail.of(track.incumbent)) or count < self._settings.min_frames:
            if track.fate is Fate.OPEN and challenger.vote.weight > track.incumbent.vote.weight:
                track.take_over()
            track.dismiss_challenger()
            return []
        after = track.split(self._new_track_id())
        self._notes.of_track(NoteKind.SPLIT, track, now)
        return self._last_word(track, now) + self._end(after, now) if track.fate is Fate.OPEN else self._end(after, now)

    def _last_word(self, track: Track, now: Instant) -> list[Passage]:
        text = track.incumbent.final(self._settings)
        heir = None if text is None else heir_of(track, text, self._tracks)
        if heir is not None:
            heir.incumbent.absorb(track.incumbent)
            return []
        if text is not None and is_beside_itself(track, text, self._tracks, self._settings):
            self._notes.of_track(NoteKind.FRAGMENT, track, now)
            return []
        if text is not None and not self._shapes.looks_cut(text, track.incumbent.log_ratio):
            return self._hand_on(track, text, now, last_word=True)
        if was_vehicle(track, self._settings):
            return [passage for each in self._unread.hold(track) for passage in self._report_unreadable(each, now)]
        # Where nothing was ever readable it was a lamp, and lamps would fill the log.
        if track.incumbent.vote.weight >= LAST_WORD_WEIGHT:
            self._notes.of_track(NoteKind.FLICKER, track, now)
        return []

    def _release(self, at: Instant, now: Instant) -> list[Passage]:
        """Report the unread vehicles that nothing has explained in time, while there was anything to be seen."""
        undecided = [track for track in self._tracks if track.fate is Fate.OPEN]
        due = self._unread.release(self._watch.seen_until(at), self._settings.unreadable_hold_s, undecided)
        return [passage for each in due for passage in self._report_unreadable(each, now)]

    def _report_unreadable(self, waiting: Waiting, now: Instant) -> list[Passage]:
        track, trail = waiting.track, waiting.trail
        # An unread vehicle explains another unread one, never one that was read.
        if self._is_fragment(trail, track) or any(trail.continues(other) for other in self._recent_unread):
            self._notes.of_track(NoteKind.FRAGMENT, track, now)
            return []
        # Where no frame could vote, the best picture's own guess has to do.
        text = track.text() or replace(track.incumbent.picture.read.plate, confidence=0.0)
        if not may_be_plate(text):
            # However surely it was read: neither a part nor a maker's name is what the plate says.
            text = replace(text, confidence=0.0)
        action = track.incumbent.way.action(self._settings, *self._frame_size)
        self._recent_unread.append(trail)
        seen = track.incumbent
        if self._guard.explains(text.text, action, seen.read_since, seen.last_seen, self._settings.camera_id):
            self._notes.of_track(NoteKind.REPEAT, track, now)
            return []
        passage = self._passage(track, text, PassageOutcome.UNREADABLE, action, now)
        track.incumbent.drop_picture()
        return [passage]
