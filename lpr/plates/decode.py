"""From a recogniser's probabilities to a text: the likeliest at all, and the likeliest that a format allows.

Correction by position is no table of swaps: the formats say which signs may stand at a place, the probabilities say
which of those was seen. It is bounded, because a plate that fits no format we know is likelier than a gross misread:
the formats may take a sign the network thought less likely, only not one it thought hopeless. Where the two signs look
the same on a plate (0 and O) the place alone tells them apart, and the bound is wide.

The reader calls this for each frame, the tracker for the mean of many: it needs numpy alone, and well under 1 ms.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lpr.domain.plate import Correction, PlateText
from lpr.plates.alphabet import ALPHABET, BLANK, CLASSES, INDEX
from lpr.plates.formats import FORMATS, TWO_ROWS, Part, PlateFormat
from lpr.plates.parse import fits_rows, matching_formats, parse, preference

Probabilities = NDArray[np.float32]

MAX_ODDS: Final = 50.0
"""A format may overrule the network by at most this ratio of probabilities, over the whole text."""

MAX_ODDS_ALIKE: Final = 1e4
"""The bound where every changed sign looks like the one that was read."""

ALIKE: Final = frozenset(frozenset(pair) for pair in ("0O", "0Q", "0D", "OQ", "OD", "1I", "2Z", "5S", "8B", "6G", "DĐ"))
"""Signs that differ by place more than by look."""

SAME_SHAPE: Final = frozenset(frozenset(pair) for pair in ("0O", "1I"))
"""Signs that cannot be told apart by look at all: what the network gives to either speaks for both."""

SECOND_PLACE: Final = 3
"""Slot of the second sign of a motorbike's series: a digit since ever, a letter too since 2023-08-15."""

RARE_LETTER_ODDS: Final = 20.0
"""In the second place of a series a 2 is met so much oftener than a Z than the network believes, which was taught both
alike: letters are a few years old there and Z the last of twenty, digits are on nearly every motorbike. An estimate;
the two look the same on a worn plate, and a Z that is seen clearly stays one.
"""

_FLOOR: Final = 1e-7


@dataclass(frozen=True, slots=True)
class _Candidate:
    text: str
    score: float


def decode(
    probabilities: Probabilities,
    rows: int,
    *,
    top: int | None = None,
    on: date | None = None,
    max_odds: float = MAX_ODDS,
    max_odds_alike: float = MAX_ODDS_ALIKE,
) -> PlateText:
    """Decide what a plate says.

    `probabilities` is float32 [slots, classes], each row summing to 1 (voting over frames: the mean of theirs). `rows`
    is 1 or 2; `top`, where known, the number of characters in the upper row of two. `on` is the day of the picture.
    `max_odds` 1 switches correction off. The confidence is the probability of the whole text, slots taken as
    independent; an empty text has confidence 0. Raises ValueError where the shape is wrong.
    """
    if probabilities.ndim != 2 or probabilities.shape[1] != CLASSES:
        raise ValueError(f"probabilities must be [slots, {CLASSES}], not {list(probabilities.shape)}")
    if rows == TWO_ROWS:
        probabilities = _as_met(probabilities)
    logs = np.log(np.maximum(probabilities.astype(np.float64), _FLOOR))
    reach = math.log(max(max_odds, max_odds_alike))
    raw = _likeliest(logs)
    text = raw.text
    if text and not matching_formats(text, rows, top):
        allowed = _likeliest_allowed(logs, rows, top, raw.score - reach)
        if allowed is not None and _may_replace(raw, allowed, max_odds, max_odds_alike):
            text = allowed.text
    return _plate_text(probabilities, raw.text, text, rows, top, on)


def _as_met(probabilities: Probabilities) -> Probabilities:
    """The probabilities with a Z in the second place of the series weighed as rarely as it is met."""
    if len(probabilities) <= SECOND_PLACE:
        return probabilities
    weighed = probabilities.copy()
    place = weighed[SECOND_PLACE]
    place[INDEX["Z"]] /= RARE_LETTER_ODDS
    place /= max(float(np.sum(place)), _FLOOR)
    return weighed


def _likeliest(logs: NDArray[np.float64]) -> _Candidate:
    """The best text at all: signs from the left, blanks behind them."""
    signs = logs[:, :BLANK]
    best = signs.argmax(axis=1)
    sign_scores = np.concatenate(([0.0], np.cumsum(signs.max(axis=1))))
    blank_scores = _blanks_behind(logs)
    length = int(np.argmax(sign_scores + blank_scores))
    text = "".join(ALPHABET[index] for index in best[:length])
    return _Candidate(text, float(sign_scores[length] + blank_scores[length]))


def _blanks_behind(logs: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each length 0..slots, the score of blanks in all slots from there on."""
    return np.concatenate((np.cumsum(logs[::-1, BLANK])[::-1], [0.0]))


def _likeliest_allowed(logs: NDArray[np.float64], rows: int, top: int | None, least: float) -> _Candidate | None:
    """The best text that some format allows; the commoner format where two are equal.

    Formats of a length with which no text at all scores `least` are not looked at.
    """
    blank_scores = _blanks_behind(logs)
    sign_scores = np.concatenate(([0.0], np.cumsum(logs[:, :BLANK].max(axis=1))))
    within_reach = sign_scores + blank_scores >= least
    best: _Candidate | None = None
    for plate_format in _by_preference(rows):
        length = plate_format.length
        if length > len(logs) or not within_reach[length] or not fits_rows(plate_format, rows, top):
            continue
        candidate = _best_of(plate_format, logs, float(blank_scores[length]))
        if best is None or candidate.score > best.score + 1e-9:
            best = candidate
    return best


@lru_cache(maxsize=4)
def _by_preference(rows: int) -> tuple[PlateFormat, ...]:
    return tuple(sorted(FORMATS, key=lambda each: -preference(each, rows)))


def _best_of(plate_format: PlateFormat, logs: NDArray[np.float64], blanks: float) -> _Candidate:
    score, position, pieces = blanks, 0, []
    for part in plate_format.parts:
        options = _indices(part)
        width = options.shape[1]
        scores = logs[position, options[:, 0]]
        for offset in range(1, width):
            scores = scores + logs[position + offset, options[:, offset]]
        choice = int(scores.argmax())
        score += float(scores[choice])
        pieces.append(part[choice])
        position += width
    return _Candidate("".join(pieces), score)


@lru_cache(maxsize=64)
def _indices(part: Part) -> NDArray[np.int64]:
    return np.array([[INDEX[sign] for sign in option] for option in part])


def _may_replace(raw: _Candidate, allowed: _Candidate, max_odds: float, max_odds_alike: float) -> bool:
    """Whether the formats' text is near enough to the network's own."""
    alike = len(raw.text) == len(allowed.text) and all(
        read == put or frozenset((read, put)) in ALIKE for read, put in zip(raw.text, allowed.text, strict=True)
    )
    bound = max(max_odds_alike, max_odds) if alike and max_odds > 1 else max_odds
    return raw.score - allowed.score <= math.log(bound)


def _plate_text(
    probabilities: Probabilities, raw: str, text: str, rows: int, top: int | None, on: date | None
) -> PlateText:
    parsed = parse(text, rows, on, top)
    confidences = tuple(_sign_confidence(probabilities[index], sign) for index, sign in enumerate(text))
    blanks = probabilities[len(text) :, BLANK]
    confidence = math.prod(confidences) * float(np.prod(blanks)) if text else 0.0
    return PlateText(
        text=text,
        raw=raw,
        display=parsed.display,
        confidence=min(1.0, max(0.0, confidence)),
        character_confidences=confidences,
        rows=rows,
        kind=parsed.kind,
        valid=parsed.valid,
        province=parsed.province,
        corrections=tuple(_corrections(raw, text)),
        vehicle_type=parsed.vehicle_type,
    )


def _sign_confidence(slot: NDArray[np.float32], sign: str) -> float:
    """Probability of `sign` in its slot; a sign of the same shape counts for it, since only its place tells it."""
    total = float(slot[INDEX[sign]])
    for pair in SAME_SHAPE:
        if sign in pair:
            (other,) = pair - {sign}
            total += float(slot[INDEX[other]])
    return min(1.0, max(0.0, total))


def _corrections(raw: str, text: str) -> Iterator[Correction]:
    for position in range(max(len(raw), len(text))):
        read, put = raw[position : position + 1], text[position : position + 1]
        if read != put:
            yield Correction(position, read, put)
