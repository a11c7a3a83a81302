"""What many frames say together."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lpr.tracking.grammar import decide
from lpr.tracking.vote import AS_IT_STANDS, PROMISED, SURE, Spelling, TextVote, conflict, promised
from tests.tracking.helpers import table

TEXT = "59X112345"


def vote_of(*frames: tuple[str, float], new_look: bool = True, weight: float = 1.0) -> TextVote:
    vote = TextVote(decide)
    for text, sure in frames:
        add(vote, text, sure, new_look=new_look, weight=weight)
    return vote


def add(
    vote: TextVote,
    text: str,
    sure: float = 0.97,
    *,
    rivals: Mapping[int, tuple[str, float]] | None = None,
    new_look: bool = True,
    weight: float = 1.0,
) -> None:
    vote.add(Spelling.of_frame(table(text, sure, rivals)), 0.97, text, weight, new_look)


def test_frames_that_agree_are_surer_than_each_of_them() -> None:
    once, often = vote_of((TEXT, 0.99)), vote_of(*[(TEXT, 0.99)] * 5)

    assert once.decision().text == often.decision().text == TEXT
    assert once.decision().confidence < often.decision().confidence
    assert often.decision().confidence > 0.89
    assert len(often.decision().character_confidences) == len(TEXT)


def test_one_misread_frame_is_outvoted() -> None:
    vote = vote_of((TEXT, 0.97), ("59X117345", 0.99), (TEXT, 0.97), (TEXT, 0.97))

    assert vote.decision().text == TEXT
    assert vote.decision().confidence > 0.8


def test_a_character_that_is_never_sure_keeps_the_confidence_low() -> None:
    vote = TextVote(decide)
    for _ in range(30):
        add(vote, TEXT, rivals={5: ("7", 0.45)})

    # Frames that see the same bolt are no independent witnesses.
    assert vote.decision().text == TEXT
    assert vote.decision().character_confidences[5] < 0.75


def test_what_every_frame_doubts_alike_stays_doubtful() -> None:
    """Under a bolt each frame gives the wrong character 0.9, and thirty of them give it hardly more."""
    vote = TextVote(decide)
    for _ in range(30):
        add(vote, TEXT, sure=0.995, rivals={5: ("7", 0.9)})

    assert vote.decision().text[5] == "7"
    assert 0.85 < vote.decision().character_confidences[5] < 0.96


@pytest.mark.parametrize("frames", [2, 5, 50])
def test_a_clean_plate_is_told_as_sure_and_one_that_all_frames_misread_alike_is_not(frames: int) -> None:
    clean, deceived = TextVote(decide), TextVote(decide)
    for _ in range(frames):
        add(clean, TEXT, sure=0.998)
        add(deceived, TEXT, sure=0.998, rivals={5: ("7", 0.94)})

    assert clean.decision().confidence > PROMISED
    assert deceived.decision().text[5] == "7"
    assert deceived.decision().confidence < PROMISED


@given(st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_what_is_told_rises_with_what_the_vote_says_and_never_says_more(one: float, other: float) -> None:
    low, high = sorted((one, other))

    assert 0 <= promised(low) <= promised(high) <= 1
    assert promised(high) <= high + 1e-12


def test_only_a_vote_that_is_sure_is_promised() -> None:
    assert promised(SURE) == pytest.approx(PROMISED)
    assert [promised(each) for each in (0.0, 0.5, AS_IT_STANDS)] == [0.0, 0.5, AS_IT_STANDS]
    assert promised(1.0) == pytest.approx(1.0)


def test_standing_still_for_long_proves_less_than_three_looks() -> None:
    standing = vote_of(*[(TEXT, 0.9)] * 5000, new_look=False)
    moving = vote_of(*[(TEXT, 0.9)] * 3)

    assert standing.decision().confidence < moving.decision().confidence
    assert standing.looks < 1.7


def test_no_number_of_looks_is_worth_more_than_a_few_independent_ones() -> None:
    assert vote_of(*[(TEXT, 0.9)] * 500).looks < 3


@given(st.permutations([(TEXT, 0.97), ("59X112845", 0.8), (TEXT, 0.9), ("59X1I2345", 0.7), (TEXT, 0.6)]))
@settings(max_examples=20, deadline=None, derandomize=True)
def test_the_order_of_looks_does_not_matter(frames: list[tuple[str, float]]) -> None:
    assert vote_of(*frames).decision().text == TEXT
    assert vote_of(*frames).decision().confidence == pytest.approx(
        vote_of(*sorted(frames)).decision().confidence, abs=1e-6
    )


def test_a_frame_that_lost_a_character_does_not_smear_the_places_behind_it() -> None:
    vote = vote_of((TEXT, 0.97), ("59X11345", 0.97), (TEXT, 0.97))

    assert vote.decision().text == TEXT
    assert min(vote.decision().character_confidences) > 0.95


def test_of_one_longer_and_one_shorter_read_the_longer_wins() -> None:
    # A plate is cut more often than a character is invented.
    assert vote_of(("59X11234", 0.97), (TEXT, 0.97)).decision().text == TEXT


def test_a_lasting_letter_among_digits_is_corrected_by_its_place() -> None:
    vote = TextVote(decide)
    for _ in range(6):
        add(vote, TEXT, sure=0.998, rivals={8: ("S", 0.7)})

    assert vote.decision().text == "59X112345"
    assert vote.decision().valid
    assert [each.read for each in vote.decision().corrections] == ["S"]
    assert vote.decision().confidence > 0.9


def test_a_rival_that_the_grammar_forbids_hardly_costs_confidence() -> None:
    vote = TextVote(decide)
    for _ in range(3):
        add(vote, TEXT, rivals={6: ("B", 0.3)})
    forbidden = vote.decision().character_confidences[6]
    vote = TextVote(decide)
    for _ in range(3):
        add(vote, TEXT, rivals={6: ("8", 0.3)})

    assert forbidden > 0.98 > vote.decision().character_confidences[6]


def test_agreement_counts_the_frames_that_read_it_themselves() -> None:
    vote = vote_of((TEXT, 0.97), ("59X117345", 0.97), (TEXT, 0.97), (TEXT, 0.97))

    assert vote.agreement(TEXT) == (pytest.approx(0.75), 3)
    assert vote.agreement("51A12345") == (0.0, 0)


def test_a_frame_without_weight_says_nothing() -> None:
    vote = vote_of((TEXT, 0.97), weight=0.0)

    assert vote.weight == 0.0


def test_absorbing_a_vote_is_voting_its_frames() -> None:
    one, other = vote_of((TEXT, 0.9)), vote_of((TEXT, 0.9), ("59X112346", 0.6))
    one.absorb(other)

    assert one.decision().text == TEXT
    assert one.agreement(TEXT)[1] == 2
    assert one.weight == pytest.approx(3.0)


def test_memory_does_not_grow_with_frames() -> None:
    vote = TextVote(decide)
    for number in range(300):
        add(vote, f"59X1{number:05d}")

    assert len(vote._texts) <= 16


def spelling(text: str, sure: float = 0.97, rivals: Mapping[int, tuple[str, float]] | None = None) -> Spelling:
    return Spelling.of_frame(table(text, sure, rivals))


def test_equal_texts_do_not_contradict_each_other() -> None:
    assert conflict(spelling(TEXT), spelling(TEXT, 0.8)) == pytest.approx(0.0, abs=0.05)


def test_one_sure_character_contradicts() -> None:
    assert conflict(spelling(TEXT), spelling("59X112346")) < -4


def test_lookalike_plates_contradict_plainly() -> None:
    assert conflict(spelling("59X112345"), spelling("59X112354")) < -9


def test_a_blurred_character_contradicts_nothing() -> None:
    blurred = spelling("59X112346", rivals={8: ("5", 0.5)})

    assert conflict(spelling(TEXT), blurred) > -1.5


@pytest.mark.parametrize("cut", ["9X112345", "59X11234", "59X1234", "9X12345", "59X112", "9112345"])
def test_a_cut_plate_does_not_contradict_the_whole_one(cut: str) -> None:
    assert conflict(spelling(TEXT), spelling(cut)) > -4
    assert conflict(spelling(cut), spelling(TEXT)) > -4


@pytest.mark.parametrize("other", ["51B02390", "60C776735", "29A12345", "59X1987", "60T4"])
def test_another_plate_contradicts_whatever_its_length(other: str) -> None:
    assert conflict(spelling(TEXT), spelling(other)) < -9


def test_what_is_no_number_is_no_evidence() -> None:
    broken = table(TEXT)
    broken[:] = np.nan
    vote = vote_of((TEXT, 0.97), (TEXT, 0.97))
    vote.add(Spelling.of_frame(broken), 0.97, "", 1.0, True)

    assert vote.decision().text == TEXT


def test_an_empty_read_contradicts_nothing() -> None:
    assert conflict(spelling(TEXT), spelling("")) == 0.0


def test_a_spelling_knows_its_length() -> None:
    for length in range(11):
        text = "".join(itertools.islice(itertools.cycle("59X1"), length))
        assert spelling(text).length == length
        assert spelling(text).lengths.sum() == pytest.approx(1.0)
