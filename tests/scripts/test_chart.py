"""Charts: numbers land where they belong, and what is no number lands nowhere."""

from __future__ import annotations

import math
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.chart import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Axis, Chart, Series, draw

SVG = "{http://www.w3.org/2000/svg}"


def parsed(picture: str) -> ET.Element:
    """The picture as XML."""
    return ET.fromstring(picture)  # noqa: S314 - we have just made it ourselves


def places(picture: str) -> list[list[tuple[float, float]]]:
    """The points of each line, in pixels of its own chart."""
    lines = parsed(picture).iter(f"{SVG}polyline")
    return [[tuple(map(float, pair.split(","))) for pair in line.attrib["points"].split()] for line in lines]


def test_the_corners_of_the_data_lie_in_the_corners_of_the_plot() -> None:
    chart = Chart("", [Series("a", [(0.0, 0.0), (10.0, 1.0)])], "x", x_range=(0.0, 10.0), y_range=(0.0, 1.0))
    ((first, last),) = places(draw([chart]))
    assert first == pytest.approx((LEFT, HEIGHT - BOTTOM))
    assert last == pytest.approx((WIDTH - RIGHT, TOP))


def test_powers_are_as_far_apart_as_each_other_on_a_logarithmic_axis() -> None:
    axis = Axis(1.0, 100.0, 0.0, 200.0, logarithmic=True)
    assert axis.place(10.0) == pytest.approx(100.0)
    assert axis.ticks() == [1, 2, 5, 10, 20, 50, 100]


def test_what_is_no_number_is_left_out_and_what_lies_beyond_is_drawn_on_the_edge() -> None:
    line = Series("a", [(0.0, math.nan), (1.0, 5.0), (2.0, 0.5)])
    ((above, inside),) = places(draw([Chart("", [line], "x", x_range=(0.0, 2.0), y_range=(0.0, 1.0))]))
    assert above[1] == pytest.approx(TOP)
    assert TOP < inside[1] < HEIGHT - BOTTOM


@pytest.mark.parametrize("points", [[], [(1.0, 1.0)], [(1.0, 0.0), (2.0, 0.0)]])
def test_nothing_and_next_to_nothing_can_be_drawn(points: list[tuple[float, float]]) -> None:
    parsed(draw([Chart("", [Series("a", points)], "x")] * 3, columns=2))


def test_names_are_texts_and_no_markup() -> None:
    picture = draw([Chart("a < b & c", [Series("<g>", [(0.0, 1.0)])], "x")])
    texts = [text.text for text in parsed(picture).iter(f"{SVG}text")]
    assert {"a < b & c", "<g>"} <= set(texts)


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_an_axis_has_a_few_round_marks_within_its_range(low: float, span: float) -> None:
    high = low + span
    marks = Axis(low, high, 0.0, 100.0).ticks()
    assert 2 <= len(marks) <= 7
    assert all(low - 1e-6 * span <= mark <= high + 1e-6 * span for mark in marks)
