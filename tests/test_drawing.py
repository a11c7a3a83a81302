"""Plates drawn into a picture."""

from __future__ import annotations

import numpy as np

from lpr.domain.geometry import Box, Quad
from lpr.drawing import AMBER, GREEN, Mark, dim_outside, draw_marks, text_width

GREY = np.full((240, 320, 3), 90, np.uint8)


def coloured(image: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    # Lines are smoothed, so their colour is met only about.
    return np.argwhere((np.abs(image.astype(int) - colour) < 60).all(axis=2))


def test_the_picture_itself_stays_as_it_is() -> None:
    before = GREY.copy()
    drawn = draw_marks(GREY, [Mark(Quad.of_box(Box(100, 100, 60, 40)), "59-X1 123.45")])
    assert (before == GREY).all()
    assert drawn.shape == GREY.shape
    assert (drawn != GREY).any()


def test_the_outline_stands_at_the_corners_in_its_colour() -> None:
    drawn = draw_marks(GREY, [Mark(Quad.of_box(Box(100, 100, 60, 40)), "", AMBER)])
    places = {tuple(place) for place in coloured(drawn, AMBER)}
    assert {(100, 100), (140, 160), (140, 100), (100, 160)} <= places
    assert len(coloured(drawn, GREEN)) == 0


def test_a_plate_without_a_text_has_no_label() -> None:
    drawn = draw_marks(GREY, [Mark(Quad.of_box(Box(100, 100, 60, 40)), "")])
    assert (drawn[:98] == GREY[:98]).all()


def test_what_lies_outside_the_region_is_dimmed_and_the_picture_itself_stays() -> None:
    before = GREY.copy()
    drawn = dim_outside(GREY, [(0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0)])
    assert (before == GREY).all()
    assert (drawn[:, :150] == 45).all()
    assert (drawn[5:-5, 170:-5] == 90).all()


def test_the_label_stays_inside_the_picture_wherever_the_plate_is() -> None:
    text = "29MĐ-123.45 0.99"
    for box in (Box(0, 0, 30, 10), Box(300, 230, 60, 40), Box(-20, 100, 30, 10), Box(310, 0, 10, 10)):
        drawn = draw_marks(GREY, [Mark(Quad.of_box(box), text)])
        area = len(coloured(drawn, GREEN))
        assert area > text_width(text, 11) * 5


def test_d_with_stroke_differs_from_d_and_is_as_wide() -> None:
    plain, stroked = (draw_marks(GREY, [Mark(Quad.of_box(Box(100, 100, 60, 40)), f"29M{letter}-1")]) for letter in "DĐ")
    assert text_width("D", 20) == text_width("Đ", 20)
    assert 0 < (plain != stroked).any(axis=2).sum() < 40


def test_a_sign_that_the_font_lacks_is_a_question_mark_and_no_error() -> None:
    quad = Quad.of_box(Box(100, 100, 60, 40))
    assert (draw_marks(GREY, [Mark(quad, "Cổng")]) == draw_marks(GREY, [Mark(quad, "C?ng")])).all()
