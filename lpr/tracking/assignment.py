"""Which read belongs to which track: the assignment with the largest total score.

Own code on purpose: the problems are tiny (a pack of ten motorbikes at most, and usually one by one), and a dependency
of fifty megabytes for forty lines would not pay.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Pair = tuple[int, int]


def best_assignment(scores: Mapping[Pair, float]) -> list[Pair]:
    """Choose pairs (row, column) so that each row and column stands in one pair at most and the sum is the largest.

    `scores` holds the allowed pairs only; a pair that scores 0 or less is never chosen: leaving both alone is worth 0.
    Rows and columns are any non-negative numbers. The result is sorted. Pairs that share no row or column with others
    are solved apart, so a crowded corner of the picture costs nothing elsewhere.
    """
    allowed = {pair: score for pair, score in scores.items() if score > 0}
    chosen: list[Pair] = []
    for rows, columns in _components(allowed):
        chosen += _solve(rows, columns, allowed)
    return sorted(chosen)


def _components(pairs: Iterable[Pair]) -> list[tuple[list[int], list[int]]]:
    by_row: dict[int, list[int]] = {}
    by_column: dict[int, list[int]] = {}
    for row, column in pairs:
        by_row.setdefault(row, []).append(column)
        by_column.setdefault(column, []).append(row)
    components = []
    unseen = set(by_row)
    while unseen:
        rows, columns, open_rows = set[int](), set[int](), [unseen.pop()]
        while open_rows:
            row = open_rows.pop()
            rows.add(row)
            for column in by_row[row]:
                if column not in columns:
                    columns.add(column)
                    open_rows += [other for other in by_column[column] if other not in rows]
        unseen -= rows
        components.append((sorted(rows), sorted(columns)))
    return components


def _solve(rows: list[int], columns: list[int], scores: Mapping[Pair, float]) -> list[Pair]:
    if len(rows) == 1 or len(columns) == 1:
        candidates = [(scores[pair], pair) for row in rows for column in columns if (pair := (row, column)) in scores]
        return [max(candidates)[1]]
    # A column of zeros for each row stands for "left alone"; forbidden pairs are dearer than that.
    cost = [[-scores.get((row, column), -1.0) for column in columns] + [0.0] * len(rows) for row in rows]
    return [
        (row, columns[place])
        for row, place in zip(rows, _hungarian(cost), strict=True)
        if place < len(columns) and (row, columns[place]) in scores
    ]


def _hungarian(cost: list[list[float]]) -> list[int]:
    """Column of each row in the cheapest full assignment (shortest augmenting paths, O(rows² x columns)).

    `cost` has at least as many columns as rows.
    """
    row_count, column_count = len(cost), len(cost[0])
    infinity = float("inf")
    # Rows and columns count from 1; 0 is the virtual column where each search starts.
    row_potential, column_potential = [0.0] * (row_count + 1), [0.0] * (column_count + 1)
    row_of, way = [0] * (column_count + 1), [0] * (column_count + 1)
    for row in range(1, row_count + 1):
        row_of[0], column = row, 0
        shortest, done = [infinity] * (column_count + 1), [False] * (column_count + 1)
        while row_of[column] != 0:
            done[column] = True
            here, step, nearest = row_of[column], infinity, 0
            for other in range(1, column_count + 1):
                if done[other]:
                    continue
                reduced = cost[here - 1][other - 1] - row_potential[here] - column_potential[other]
                if reduced < shortest[other]:
                    shortest[other], way[other] = reduced, column
                if shortest[other] < step:
                    step, nearest = shortest[other], other
            for other in range(column_count + 1):
                if done[other]:
                    row_potential[row_of[other]] += step
                    column_potential[other] -= step
                else:
                    shortest[other] -= step
            column = nearest
        while column:
            previous = way[column]
            row_of[column], column = row_of[previous], previous
    column_of = [0] * row_count
    for column in range(1, column_count + 1):
        if row_of[column]:
            column_of[row_of[column] - 1] = column - 1
    return column_of
