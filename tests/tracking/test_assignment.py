"""The best pairing is really the best."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lpr.tracking.assignment import best_assignment

SCORES = st.dictionaries(
    st.tuples(st.integers(0, 4), st.integers(0, 4)), st.floats(-5, 10, allow_nan=False).map(lambda x: round(x, 3))
)


def best_sum(scores: dict[tuple[int, int], float]) -> float:
    """By trying everything: each row takes a column or none."""
    columns = [*range(5), *([None] * 5)]
    return max(
        sum(max(0.0, scores.get((row, column), 0.0)) for row, column in enumerate(order) if column is not None)
        for order in set(permutations(columns, 5))
    )


@given(SCORES)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_no_other_pairing_scores_more(scores: dict[tuple[int, int], float]) -> None:
    pairs = best_assignment(scores)

    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(pairs)
    assert all(scores[pair] > 0 for pair in pairs)
    assert sum(scores[pair] for pair in pairs) == pytest.approx(best_sum(scores))


def test_nothing_to_pair_gives_no_pairs() -> None:
    assert best_assignment({}) == []
    assert best_assignment({(0, 0): -1.0, (1, 0): 0.0}) == []


def test_the_greedy_choice_is_given_up_for_the_better_whole() -> None:
    assert best_assignment({(0, 0): 9.0, (0, 1): 8.0, (1, 0): 8.0}) == [(0, 1), (1, 0)]


def test_a_large_crowd_is_paired_in_a_moment() -> None:
    scores = {(row, column): 10.0 - abs(row - column) for row in range(30) for column in range(30)}

    assert best_assignment(scores) == [(index, index) for index in range(30)]
