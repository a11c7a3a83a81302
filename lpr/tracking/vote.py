"""What a plate says, decided over all frames that saw it.

Each frame gives a distribution for every character and, through its blanks, for the length. The vote is their product
(a sum of logarithms), held back in three ways because frames are witnesses who have talked to each other:

- no frame is trusted wholly: a little of every distribution is spread evenly, which bounds what one frame can say;
- frames of one *look* (the plate has hardly moved) count together as `SAME_LOOK` correlated ones: ten minutes at the
  barrier are worth less than two looks;
- looks of one plate share its dirt and its bolts: they are correlated by `SAME_PLATE`, so that a hundred looks are
  worth less than three independent ones; and where it comes to how sure the text is, by `SAME_MISTAKE`, so that they
  are worth hardly more than one, and never prove a letter under a bolt.

Characters are voted for each length apart: a frame that lost a character says nothing about the places behind it, and
must not smear them. What the length is, is a vote of its own, in which a lost character is likelier than an invented.
Only sums are kept; the memory of a vote does not grow with the time that a vehicle stands.

The confidence that is told is less than the vote's own (`promised`): gates are opened by it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lpr.domain.plate import PlateText
from lpr.plates.alphabet import ALPHABET, BLANK, CLASSES, INDEX, SLOTS
from lpr.plates.decode import ALIKE, MAX_ODDS, MAX_ODDS_ALIKE
from lpr.plates.parse import matching_formats
from lpr.tracking.settings import Decide

Floats = NDArray[np.float64]

DOUBT: Final = 0.0005
"""How much of a frame's character distribution is spread over all characters."""
ROWS_DOUBT: Final = 0.02
SAME_LOOK: Final = 0.6
"""Correlation of the mistakes in two frames of one look."""
SAME_PLATE: Final = 0.35
"""Correlation of the mistakes in two looks at one plate, for telling one plate from another."""
SAME_MISTAKE: Final = 0.8
"""The same, for how sure the text is. What is misread is mostly misread all the way: of 4000 rendered plates, wear and
light the same in eight frames, votes that said 0.97 to 0.99 were right by 0.908 with 0.35 and by 0.999 with 0.8
(`scripts/evaluate_votes.py`)."""
PROMISED: Final = 0.9
"""From this confidence on, at most one event of a thousand may be wrong: gates are opened by it."""
SURE: Final = 0.975
"""What the vote must say for that. A vote that says 0.93 is wrong as seldom as it says, or more seldom; but what all
frames misread alike ends there, and that is too many among what is called sure. Of 4000 rendered plates 4.1 in 1000 of
the sure were wrong when votes were told as they stand, and 2.0 with this; they are far harder than a gate's
(`scripts/evaluate_votes.py`)."""
AS_IT_STANDS: Final = 0.8
"""Up to here the vote's own confidence is told."""
LOST: Final = (0.006, 0.002)
"""A frame shows one character less than there are, or more than one less: cut, covered, or two read as one. The
recogniser's own blanks tell of most; what is left here is a doubt that no clean plate gets rid of."""
INVENTED: Final = (0.0012, 0.0003)
"""A frame shows one character more than there are, or more than one more: a bolt, the police stamp."""
SLOT_CONFLICT: Final = -6.0
"""No single character says more than this against two spellings being one plate (natural logarithm)."""
LENGTH_CONFLICT: Final = -2.0
"""Nor does the length: a cut plate is the same plate. With two gaps it is less than `track.DIFFERENT`, on purpose."""
GAP_AT_END: Final = -0.3
GAP_INSIDE: Final = -0.8
"""A plate of two rows that is covered at one side loses a character at an end and one inside."""
TEXTS_KEPT: Final = 16
RUNNER_UP: Final = 0.02
"""A second length is asked for its text from this probability on."""
RIVAL: Final = 0.003
"""Characters less probable than this are not looked at one by one."""
OUTSIDE_GRAMMAR: Final = 1 / MAX_ODDS
OUTSIDE_GRAMMAR_ALIKE: Final = 1 / MAX_ODDS_ALIKE
"""How rare a plate is that the grammar does not know: the same odds by which it may overrule the network."""
TINY: Final = 1e-9
LEAST_SUPPORT: Final = 1e-3


def _length_channel() -> Floats:
    """Probability [true length, length shown], 0..SLOTS each."""
    channel = np.zeros((SLOTS + 1, SLOTS + 1))
    for true in range(SLOTS + 1):
        for shown in range(SLOTS + 1):
            one, more = LOST if shown < true else INVENTED
            others = true if shown < true else SLOTS - true
            if shown != true:
                channel[true, shown] = one if abs(shown - true) == 1 else more / (others - 1)
        channel[true, true] = 1.0 - channel[true].sum()
    return channel


_CHANNEL: Final = _length_channel()


@dataclass(frozen=True, slots=True, eq=False)
class Spelling:
    """What some frames say, for comparing: distribution of the length [SLOTS + 1] and, for the likeliest length, of
    each character [SLOTS, BLANK] (rows behind the length are meaningless)."""

    lengths: Floats
    characters: Floats
    length: int

    @classmethod
    def of_frame(cls, probabilities: NDArray[np.float32]) -> Spelling:
        """From a recogniser's float32 [slots, classes]; slots beyond or short of SLOTS are cut or taken as blank."""
        table = np.zeros((SLOTS, CLASSES))
        table[:, BLANK] = 1.0
        slots = min(SLOTS, len(probabilities))
        # What is no number is no evidence.
        table[:slots] = np.maximum(np.nan_to_num(probabilities[:slots], posinf=0.0), 0.0) + TINY
        table /= table.sum(axis=1, keepdims=True)
        blank = np.clip(table[:, BLANK], TINY, 1 - TINY)
        shown = np.concatenate(([0.0], np.cumsum(np.log1p(-blank))))
        empty = np.concatenate((np.cumsum(np.log(blank)[::-1])[::-1], [0.0]))
        lengths = _softmax(shown + empty)
        characters = table[:, :BLANK] + TINY
        characters /= characters.sum(axis=1, keepdims=True)
        return cls(lengths, characters, int(np.argmax(lengths)))


def conflict(one: Spelling, other: Spelling) -> float:
    """How far two spellings contradict each other: 0 where they may be one plate, more negative the surer they differ.

    A character counts as far as *both* sides are sure of it; what is blurred contradicts nothing.
    """
    if one.length == 0 or other.length == 0:
        return 0.0
    shared = float(one.lengths @ other.lengths) / float(np.max(one.lengths) * np.max(other.lengths))
    length = max(LENGTH_CONFLICT, math.log(max(shared, TINY)))
    rows, columns = one.characters[: one.length], other.characters[: other.length]
    if one.length == other.length:
        best = rows.max(axis=1) * columns.max(axis=1)
        overlap = np.einsum("ij,ij->i", rows, columns)
        return min(0.0, length) + float(
            np.maximum(np.log(np.maximum(overlap, TINY) / best), SLOT_CONFLICT).clip(max=0).sum()
        )
    if len(rows) > len(columns):
        rows, columns = columns, rows
    best = np.outer(rows.max(axis=1), columns.max(axis=1))
    pairs = np.maximum(np.log(np.maximum(rows @ columns.T, TINY) / best), SLOT_CONFLICT).clip(max=0)
    return min(0.0, length) + _align(pairs.tolist())


def _align(pairs: list[list[float]]) -> float:
    """Largest sum over the ways in which the short text (rows) can be what is left of the long one (columns).

    Every character of the short one must stand somewhere; skipping the long one's is cheap at the ends, because a plate
    is cut from outside.
    """
    count, skips = len(pairs), len(pairs[0]) - len(pairs)
    # best[k]: the first rows so far placed with k columns skipped before them.
    best = [GAP_AT_END * skipped for skipped in range(skips + 1)]
    for row in range(count):
        best = [value + pairs[row][row + skipped] for skipped, value in enumerate(best)]
        gap = GAP_AT_END if row == count - 1 else GAP_INSIDE
        for skipped in range(1, skips + 1):
            best[skipped] = max(best[skipped], best[skipped - 1] + gap)
    return best[skips]


class _Sums:
    """Weighted sums of log likelihoods; those of one look, or of all looks before it."""

    __slots__ = ("characters", "lengths", "rows", "support", "weight")

    def __init__(self) -> None:
        self.lengths: Floats = np.zeros(SLOTS + 1)
        self.characters: Floats = np.zeros((SLOTS + 1, SLOTS, BLANK))
        self.support: Floats = np.zeros(SLOTS + 1)
        """Weight of the frames that showed each length: those that speak for its characters."""
        self.rows = 0.0
        self.weight = 0.0

    def add(self, other: _Sums, factor: float, weight: float) -> None:
        self.lengths += factor * other.lengths
        self.characters += factor * other.characters
        self.support += factor * other.support
        self.rows += factor * other.rows
        self.weight += weight


class TextVote:
    """The vote on one plate."""

    def __init__(self, decide: Decide) -> None:
        self._decide = decide
        self._before = _Sums()
        self._look = _Sums()
        self._texts: dict[str, tuple[float, int]] = {}
        self._text_weight = 0.0
        self._tops: dict[int, float] = {}
        self._decision: PlateText | None = None
        self._spelling: Spelling | None = None

    @property
    def weight(self) -> float:
        """Summed weights of the frames so far; 0 where nothing has been voted."""
        return self._text_weight

    @property
    def looks(self) -> float:
        """How many independent looks the frames are worth."""
        total = self._before.weight + _effective(self._look.weight, SAME_LOOK)
        return _effective(total, SAME_PLATE)

    def add(
        self,
        spelling: Spelling,
        rows_probability: float,
        text: str,
        weight: float,
        new_look: bool,
        top: int | None = None,
    ) -> None:
        """Let one frame vote.

        `text` is what the frame says by itself, for agreement; `top` how many characters it saw in the upper row of
        two. `weight` (0..1) is how well it saw the plate. `new_look` says that the plate has moved enough since the
        last look for its mistakes to be others.
        """
        if weight <= 0.0:
            return
        if new_look and self._look.weight > 0:
            self._close_look()
        here = self._look
        here.weight += weight
        # What the frame says about each true length, through the ways in which lengths are misread.
        here.lengths += weight * np.log(_CHANNEL @ spelling.lengths + TINY)
        spread = np.log((1 - DOUBT) * spelling.characters + DOUBT / BLANK)
        here.support += weight * spelling.lengths
        here.characters += (weight * spelling.lengths)[:, None, None] * spread
        two = min(max(rows_probability, ROWS_DOUBT), 1 - ROWS_DOUBT)
        here.rows += weight * math.log(two / (1 - two))
        self._count_text(text, weight)
        if top is not None:
            self._tops[top] = self._tops.get(top, 0.0) + weight
        self._decision = self._spelling = None

    def absorb(self, other: TextVote) -> None:
        """Take over another vote's frames: they were of this plate after all."""
        self._close_look()
        other._close_look()
        self._before.add(other._before, 1.0, other._before.weight)
        for text, (weight, count) in other._texts.items():
            self._count_text(text, weight, count)
        for top, seen in other._tops.items():
            self._tops[top] = self._tops.get(top, 0.0) + seen
        self._decision = self._spelling = None

    def _close_look(self) -> None:
        worth = _effective(self._look.weight, SAME_LOOK)
        if worth > 0:
            self._before.add(self._look, worth / self._look.weight, worth)
        self._look = _Sums()

    def _count_text(self, text: str, weight: float, count: int = 1) -> None:
        self._text_weight += weight
        before, frames = self._texts.get(text, (0.0, 0))
        self._texts[text] = (before + weight, frames + count)
        if len(self._texts) > TEXTS_KEPT:
            del self._texts[min(self._texts, key=lambda each: self._texts[each])]

    def agreement(self, text: str) -> tuple[float, int]:
        """Weighted share, and count, of the frames that said `text` by themselves."""
        weight, count = self._texts.get(text, (0.0, 0))
        return (weight / self._text_weight if self._text_weight else 0.0, count)

    def spelling(self) -> Spelling:
        """The vote's distributions, for comparing with a frame's or another vote's."""
        if self._spelling is None:
            total = self._total()
            lengths = _softmax(_scale(total.weight, SAME_PLATE) * total.lengths)
            length = int(np.argmax(lengths))
            self._spelling = Spelling(lengths, _characters(total, length, SAME_PLATE), length)
        return self._spelling

    def decision(self) -> PlateText:
        """The best text, within the grammar where one fits, with the vote's own confidences.

        The text is decided from the frames' (geometric) mean: the grammar may overrule what the network thought in one
        frame only so far, and many frames must not make a letter among the digits unmovable. How sure it is, comes from
        the whole vote.
        """
        if self._decision is None:
            total = self._total()
            scale = _scale(total.weight, SAME_MISTAKE)
            lengths = _softmax(scale * total.lengths)
            rows_probability = 1 / (1 + math.exp(-max(-30.0, min(30.0, scale * total.rows))))
            texts = [
                self._decide_length(total, length, rows_probability)
                for length in np.argsort(lengths)[::-1][:2].tolist()
                if lengths[length] > RUNNER_UP
            ]
            likelier = _likelier(texts, lengths)
            self._decision = replace(likelier, confidence=promised(likelier.confidence))
        return self._decision

    def _decide_length(self, total: _Sums, length: int, rows_probability: float) -> PlateText:
        """The best text of so many characters, its confidence as if the length were certain."""
        mean = _softmax(total.characters[length] / max(float(total.support[length]), TINY))
        table = np.full((SLOTS, CLASSES), TINY)
        table[:length, :BLANK] = mean[:length]
        table[length:, BLANK] = 1.0
        top = max(self._tops, key=lambda each: self._tops[each]) if self._tops else None
        text = self._decide(table.astype(np.float32), rows_probability, top)
        if len(text.text) != length:
            return replace(text, confidence=0.0)
        confidences = _confidences(text, _characters(total, length, SAME_MISTAKE))
        return replace(text, confidence=min(1.0, math.prod(confidences)), character_confidences=confidences)

    def _total(self) -> _Sums:
        total = _Sums()
        total.add(self._before, 1.0, self._before.weight)
        worth = _effective(self._look.weight, SAME_LOOK)
        if worth > 0:
            total.add(self._look, worth / self._look.weight, worth)
        return total


def promised(confidence: float) -> float:
    """The confidence to tell of a text that the vote is right about with `confidence`, so that PROMISED keeps its word.

    Rising, and the same up to AS_IT_STANDS; above it in log odds a straight line to (SURE, PROMISED), and from there on
    the vote's own, as much lower.
    """
    if confidence <= AS_IT_STANDS:
        return confidence
    odds, low, sure, kept = (_log_odds(each) for each in (confidence, AS_IT_STANDS, SURE, PROMISED))
    told = odds - (sure - kept) if odds >= sure else low + (odds - low) * (kept - low) / (sure - low)
    return 1 / (1 + math.exp(-told))


def _log_odds(probability: float) -> float:
    return math.log(probability / max(TINY, 1 - probability))


def _characters(total: _Sums, length: int, correlation: float) -> Floats:
    """Distribution of each character of a text of so many, voted by the frames that showed so many."""
    return _softmax(_scale(float(total.support[length]), correlation) * total.characters[length])


def _scale(weight: float, correlation: float) -> float:
    """What correlated witnesses' sum of logarithms is to be multiplied by.

    A single poor frame is not made poorer still: its own probabilities say how little it saw.
    """
    return max(1.0, _effective(weight, correlation)) / max(weight, LEAST_SUPPORT)


def _likelier(texts: list[PlateText], lengths: Floats) -> PlateText:
    """The likelier of a text and its rival of another length, where plates outside the grammar are rare."""
    weights = [float(lengths[len(text.raw)]) * (1.0 if text.valid else OUTSIDE_GRAMMAR) for text in texts]
    best = max(range(len(texts)), key=lambda index: weights[index] * texts[index].confidence)
    others = 1.0 - sum(float(lengths[len(text.raw)]) for text in texts)
    # Where nothing is within the grammar, there is nothing to be rarer than.
    certain = weights[best] / (sum(weights) + max(0.0, others) * max(weights))
    return replace(texts[best], confidence=texts[best].confidence * certain)


def _confidences(text: PlateText, characters: Floats) -> tuple[float, ...]:
    """Probability of each character of `text`, given that plates outside the grammar are rare.

    A rival that the grammar allows in that place counts in full; one that it does not, as rarely as such plates are.
    """
    confidences = []
    for place, character in enumerate(text.text):
        row = characters[place]
        own = float(row[INDEX[character]])
        rivals = 0.0
        for index in np.flatnonzero(row > RIVAL).tolist():
            if index != INDEX[character]:
                rivals += float(row[index]) * (_rarity(text, place, ALPHABET[index]) if text.valid else 1.0)
        small = float(row[row <= RIVAL].sum()) if own > RIVAL else 0.0
        confidences.append(own / max(TINY, own + rivals + small))
    return tuple(confidences)


def _rarity(text: PlateText, place: int, rival: str) -> float:
    other = text.text[:place] + rival + text.text[place + 1 :]
    if matching_formats(other, text.rows):
        return 1.0
    return OUTSIDE_GRAMMAR_ALIKE if frozenset((rival, text.text[place])) in ALIKE else OUTSIDE_GRAMMAR


def _effective(count: float, correlation: float) -> float:
    """How many independent witnesses `count` equally correlated ones are worth; at most 1 / correlation."""
    return count if count <= 1.0 else count / (1 + (count - 1) * correlation)


def _softmax(logits: Floats) -> Floats:
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    result: Floats = shifted / shifted.sum(axis=-1, keepdims=True)
    return result
