"""How far a confidence keeps its word: what was said, in bins, and what came true."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

BINS: Final = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 1.0)
"""Lower bounds, and the upper one of the last; all but the last hold their lower bound only."""


def print_reliability(said: Sequence[tuple[float, bool]]) -> None:
    """Print a line a bin that holds anything; `said` gives a confidence (0..1), and whether that text was right."""
    print("  confidence      texts   said %  right %  wrong")
    for low, high in itertools.pairwise(BINS):
        inside = [(each, right) for each, right in said if low <= each < high or (each == high == BINS[-1])]
        if inside:
            mean = sum(each for each, _ in inside) / len(inside)
            right = sum(right for _, right in inside)
            print(
                f"  {low:5.3f} to {high:5.3f}  {len(inside):5d}  {100 * mean:7.2f}  {100 * right / len(inside):7.2f}  "
                f"{len(inside) - right:5d}"
            )
