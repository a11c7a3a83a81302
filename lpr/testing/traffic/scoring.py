"""What came out, held against what was there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from lpr.domain.passage import Passage, PassageOutcome
from lpr.testing.traffic.frames import Seen, Traffic, identity_of

CLEAR_FRAMES: Final = 2
SURE: Final = 0.9
"""From this confidence on at most one text of a thousand may be wrong."""


@dataclass(slots=True)
class Score:
    """How the passages that came out compare with the vehicles that were there.

    `clear` vehicles were whole and readable to a careful person in at least two frames that reached the tracker; the
    rest were seen too little or cannot be read. Merged: a clear vehicle for which nothing was handed on. Split: one for
    which more than one passage was. Misread: a passage with a wrong text. Unread: a clear vehicle reported unreadable
    only. Ghost: a passage that no vehicle was behind.
    """

    vehicles: int = 0
    clear: int = 0
    right: int = 0
    merged: int = 0
    split: int = 0
    misread: int = 0
    unread: int = 0
    ghosts: int = 0
    unclear_silent: int = 0
    passages: int = 0
    sure: int = 0
    sure_wrong: int = 0
    clear_sure: int = 0
    """Clear vehicles that were told right with `SURE` or more."""
    said: list[tuple[float, bool]] = field(default_factory=list)
    """Confidence of each text that was handed on, and whether it was right."""
    delays_s: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def add(self, other: Score) -> None:
        """Count `other`'s vehicles too."""
        for name in (
            "vehicles", "clear", "right", "merged", "split", "misread", "unread", "ghosts", "unclear_silent",
            "passages", "sure", "sure_wrong", "clear_sure",
        ):  # fmt: skip
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.said += other.said
        self.delays_s += other.delays_s
        self.faults += other.faults


def score(traffic: Traffic, passages: Sequence[Passage]) -> Score:
    """Hold `passages` against the truth of `traffic`, all of whose frames must have been played."""
    result = Score(vehicles=len(traffic.vehicles), passages=len(passages))
    of_vehicle: dict[int, list[Passage]] = {}
    by_text = {each.text: each.identity for each in traffic.vehicles}
    for passage in passages:
        identity = identity_of(passage.best_read)
        # A right text is its own vehicle's, whoever's picture the passage carries: counted as wrong below.
        identity = by_text.get(passage.plate.text, identity) if passage.outcome is PassageOutcome.READ else identity
        of_vehicle.setdefault(identity, []).append(passage)
    ghosts = of_vehicle.pop(0, [])
    result.ghosts = len(ghosts)
    result.faults += [f"ghost: {_said(each)}" for each in ghosts]
    for identity, seen in traffic.seen.items():
        _score_vehicle(result, seen, of_vehicle.get(identity, []), traffic)
    return result


def _said(passage: Passage) -> str:
    plate, first = passage.plate, passage.first_seen.monotonic_s
    return f"{passage.outcome.value} {plate.text} {plate.confidence:.3f} at {first:.2f} in {passage.frames_read} frames"


def _score_vehicle(result: Score, seen: Seen, passages: Sequence[Passage], traffic: Traffic) -> None:
    text, clear = seen.vehicle.text, seen.clear >= CLEAR_FRAMES
    read = [each for each in passages if each.outcome is PassageOutcome.READ]
    right = [each for each in read if each.plate.text == text and identity_of(each.best_read) == seen.vehicle.identity]
    result.clear += clear
    result.misread += len(read) - len(right)
    result.said += [(each.plate.confidence, each.plate.text == text) for each in read]
    sure = [each for each in read if each.plate.confidence >= SURE]
    result.sure += len(sure)
    result.sure_wrong += sum(each.plate.text != text for each in sure)
    result.clear_sure += clear and any(each.plate.text == text for each in sure)
    if len(passages) > 1:
        result.split += 1
    if clear and not passages:
        result.merged += 1
    if clear and passages and not read:
        result.unread += 1
    if not clear and not passages:
        result.unclear_silent += 1
    if clear and len(passages) == 1 and right:
        result.right += 1
        result.delays_s.append(right[0].decided_at.monotonic_s - traffic.instant(seen.first_clear_s).monotonic_s)
    elif clear or len(passages) > 1 or len(read) > len(right):
        said = ", ".join(_said(each) for each in passages)
        result.faults.append(
            f"{text} (vehicle {seen.vehicle.identity}, {seen.clear} clear of {seen.reads} reads, from "
            f"{traffic.instant(seen.vehicle.start_s).monotonic_s:.2f}): {said or 'nothing'}"
        )
