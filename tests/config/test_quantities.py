"""Sizes and durations as people write them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpr.config import format_duration, format_size, parse_duration, parse_size, readable_size


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ("2 GiB", 2 << 30),
        ("2GiB", 2 << 30),
        ("2 gib", 2 << 30),
        ("2G", 2 << 30),
        ("1.5 MiB", 3 << 19),
        ("500 MB", 500_000_000),
        ("900000", 900_000),
        (900_000, 900_000),
        ("10 B", 10),
    ],
)
def test_a_size_is_read_as_people_write_it(written: object, size: int) -> None:
    assert parse_size(written) == size


@pytest.mark.parametrize("written", ["", "GiB", "2 GiX", "-1 MB", "1e9", "2 Gi B", True, None, [1]])
def test_what_is_no_size_is_refused_with_an_example(written: object) -> None:
    with pytest.raises(ValueError, match="such as 2 GiB"):
        parse_size(written)


@given(st.integers(min_value=0, max_value=1 << 60))
def test_a_printed_size_reads_as_the_same_bytes(size: int) -> None:
    assert parse_size(format_size(size)) == size


def test_a_size_is_printed_in_the_largest_unit_that_divides_it() -> None:
    sizes = (2 << 30, 1 << 20, 900_000, 1025, 0)
    assert [format_size(size) for size in sizes] == ["2 GiB", "1 MiB", "900 kB", "1025 B", "0 B"]


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("7 d", 604_800),
        ("1 week", 604_800),
        ("60 s", 60),
        ("60", 60),
        (60, 60),
        (0.5, 0.5),
        ("1 h 30 min", 5400),
        ("1h30m", 5400),
        ("500 ms", 0.5),
        ("0", 0),
        (timedelta(seconds=90), 90),
    ],
)
def test_a_duration_is_read_as_people_write_it(written: object, seconds: float) -> None:
    assert parse_duration(written) == timedelta(seconds=seconds)


@pytest.mark.parametrize("written", ["", "d", "7 x", "-1 s", -1, "1 s, 2 min", "99999999 d", True, None, float("nan")])
def test_what_is_no_duration_is_refused_with_an_example(written: object) -> None:
    with pytest.raises(ValueError, match="such as 60 s"):
        parse_duration(written)


@given(st.integers(min_value=0, max_value=10**11))
def test_a_printed_duration_reads_as_the_same_milliseconds(milliseconds: int) -> None:
    duration = timedelta(milliseconds=milliseconds)
    assert parse_duration(format_duration(duration)) == duration


def test_a_duration_is_printed_in_as_few_units_as_tell_it_and_never_in_weeks() -> None:
    durations = (timedelta(weeks=2), timedelta(days=1), timedelta(minutes=90), timedelta(seconds=1.5), timedelta())
    assert [format_duration(each) for each in durations] == ["14 d", "1 d", "1 h 30 min", "1 s 500 ms", "0 s"]


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1 << 20, "1.0 MiB"),
        (5 << 20, "5.0 MiB"),
        (1 << 30, "1.00 GiB"),
        ((5 << 30) // 4, "1.25 GiB"),
    ],
)
def test_sizes_are_told_in_words(count: int, words: str) -> None:
    assert readable_size(count) == words
