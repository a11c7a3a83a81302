"""Which read of a frame is whose: by motion first, with the text as a witness."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from lpr.domain.clock import Instant
from lpr.domain.geometry import Box
from lpr.domain.plate import PlateRead
from lpr.tracking.assignment import Pair, best_assignment
from lpr.tracking.motion import Prediction
from lpr.tracking.settings import plate_size
from lpr.tracking.sighting import Look
from lpr.tracking.track import Track
from lpr.tracking.vote import conflict

TEXT_DOUBT: Final = -14.0
"""Contradicting text counts against a match no more than this: motion decides, text is a witness among others."""
TEXT_TRUST: Final = 0.5
"""How far a contradiction counts: single frames are misread more boldly than their probabilities say."""
TEXT_SUPPORT: Final = 2.0
"""And agreeing text for it no more than this: neighbours in a row of motorbikes have texts nearly alike."""
LEAP: Final = 2.0
"""Plate sizes from where it was expected: what has never been legible, a lamp or a strip of the barrier, has not become
the plate that is read so far from it. Both its way and its first moment would be told of that vehicle."""
LEAP_IN_SIZE: Final = math.log(3.0)
"""And what cannot be read at all, so many times as large or small as it was expected, is not where a plate has gone: in
the seconds in which one fades into the distance, any size is within reach, the side of a lorry's too."""
SAME_READ_IOU: Final = 0.5
COVERED: Final = 0.8
"""A box that lies within another by this share is a part of the same plate (one row of two)."""


def associate(tracks: Sequence[Track], looks: Sequence[Look], at: Instant, bounds: Box) -> list[Pair]:
    """Pairs of a track's index and a look's, each at most once: the likeliest whole.

    `bounds` is the part of the frame that is analysed, in pixels: plates are cut at its edges.
    """
    scores: dict[Pair, float] = {}
    for row, track in enumerate(tracks):
        expected = track.motion.predict(at.monotonic_s).within(bounds)
        for column, look in enumerate(looks):
            motion = expected.evidence(look.read.box, bounds.area)
            if motion is not None and not _leaps(track, expected, look):
                scores[row, column] = motion + _text_evidence(track, look)
    return best_assignment(scores)


def _leaps(track: Track, expected: Prediction, look: Look) -> bool:
    """Whether one of the two has a text and the other, without any, lies so far from it that it is another thing."""
    legible = look.weight > 0
    if legible == (track.incumbent.vote.weight > 0):
        return False
    size = plate_size(look.read.box)
    if not legible:
        return look.whole and abs(math.log(size) - expected.log_size) > LEAP_IN_SIZE
    x, y = look.read.box.centre
    return math.hypot(x - expected.x, y - expected.y) > LEAP * max(size, expected.size)


def _text_evidence(track: Track, look: Look) -> float:
    """What the text says for or against a match, between TEXT_DOUBT and TEXT_SUPPORT."""
    if look.weight <= 0 or track.incumbent.vote.weight <= 0:
        return 0.0
    plates = [track.incumbent] if track.challenger is None else [track.incumbent, track.challenger]
    against = max(conflict(each.vote.spelling(), look.spelling) for each in plates if each.vote.weight > 0)
    return max(TEXT_DOUBT, TEXT_SUPPORT + TEXT_TRUST * against)


def distinct(reads: Sequence[PlateRead]) -> list[PlateRead]:
    """`reads` without second boxes of one plate: the surer (or, one within the other, the larger) stays."""
    kept: list[PlateRead] = []
    for read in sorted(reads, key=lambda each: (each.detection_confidence, each.box.area), reverse=True):
        rivals = [other for other in kept if _same_plate(read.box, other.box)]
        if not rivals:
            kept.append(read)
        elif len(rivals) == 1 and read.box.area > 1.5 * rivals[0].box.area:
            kept[kept.index(rivals[0])] = read
    return kept


def _same_plate(one: Box, other: Box) -> bool:
    smaller, larger = sorted((one, other), key=lambda box: box.area)
    width = min(smaller.right, larger.right) - max(smaller.x, larger.x)
    height = min(smaller.bottom, larger.bottom) - max(smaller.y, larger.y)
    covered = max(0.0, width) * max(0.0, height) / max(1.0, smaller.area)
    return covered >= COVERED or one.iou(other) >= SAME_READ_IOU
