"""Four corners to a straight picture."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lpr.domain.frame import Image
from lpr.domain.geometry import Box, Quad
from lpr.vision.rectify import (
    MAX_CROP_WIDTH_PX,
    corner_points,
    corners_home,
    cut_again,
    display_crop,
    grown,
    rectify,
    sharpness,
    sides_px,
)

TURNED = Quad((100, 60), (220, 90), (205, 150), (85, 120))


def four_colours() -> Image:
    """A plate of four coloured quarters lying at `TURNED`: blue, green, red and white, in reading order."""
    flat = np.zeros((64, 128, 3), np.uint8)
    flat[:32, :64], flat[:32, 64:], flat[32:, 64:], flat[32:, :64] = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255,) * 3
    source = np.array([[0, 0], [128, 0], [128, 64], [0, 64]], np.float32)
    matrix = cv2.getPerspectiveTransform(source, np.array(TURNED.points, np.float32))
    return np.asarray(cv2.warpPerspective(flat, matrix, (320, 240)), np.uint8)


def test_the_corners_come_out_in_reading_order() -> None:
    crop = rectify(four_colours(), TURNED, (128, 64), 0.0)
    assert crop.shape == (64, 128, 3)
    quarters = [crop[16, 32], crop[16, 96], crop[48, 96], crop[48, 32]]
    assert [each.tolist() for each in quarters] == [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]


def test_the_margin_shows_what_stands_around_the_plate() -> None:
    image = np.full((100, 200, 3), 7, np.uint8)
    image[30:70, 50:150] = 200
    quad = Quad.of_box(Box(50, 30, 100, 40))
    crop = rectify(image, quad, (112, 48), 0.1)
    assert crop[:, :6].mean() < 40
    assert crop[10:38, 14:98].mean() == pytest.approx(200)


def test_where_a_plate_lies_in_a_crop_cut_askew_tells_where_it_lies_in_the_picture() -> None:
    askew = Quad((94, 66), (226, 85), (201, 155), (90, 113))
    matrix = cv2.getPerspectiveTransform(corner_points(askew), corners_home(0.06))
    in_crop = cv2.perspectiveTransform(corner_points(TURNED)[None], matrix)[0]
    found = cut_again(askew, np.asarray(in_crop, np.float32), 0.06)
    assert found is not None
    assert corner_points(found) == pytest.approx(corner_points(TURNED), abs=0.01)


@pytest.mark.parametrize(
    ("corners", "why"),
    [
        (corners_home(0.06) + 0.01, "near enough"),
        (corners_home(0.06) + np.array([[0, 0], [0.4, 0], [0, 0], [0, 0]], np.float32), "too far to be believed"),
        (np.full((4, 2), np.nan, np.float32), "no number"),
        (
            corners_home(0.06) + np.float32(0.28) * np.array([[1, 1], [-1, -1], [0, 0], [-1, -1]], np.float32),
            "no shape",
        ),
    ],
)
def test_a_crop_is_left_as_it_is_where_its_corners_are(corners: NDArray[np.float32], why: str) -> None:
    assert cut_again(TURNED, corners, 0.06) is None, why


def test_corners_beyond_the_frame_repeat_its_border() -> None:
    image = np.full((50, 50, 3), 90, np.uint8)
    crop = rectify(image, Quad.of_box(Box(30, 30, 60, 60)), (128, 64), 0.06)
    assert (crop == 90).all()


def test_a_plate_wholly_outside_is_a_picture_all_the_same() -> None:
    crop = rectify(np.full((50, 50, 3), 90, np.uint8), Quad.of_box(Box(500, 400, 900, 600)), (128, 64), 0.06)
    assert crop.shape == (64, 128, 3)


def test_a_large_plate_is_averaged_and_not_sampled() -> None:
    image = np.zeros((1000, 2000, 3), np.uint8)
    image[:, ::2] = 255
    crop = rectify(image, Quad.of_box(Box(100, 100, 1800, 800)), (128, 64), 0.0)
    assert abs(float(crop.mean()) - 127) < 8
    assert crop[4:-4, 4:-4].std() < 40


def test_the_picture_for_people_keeps_the_ratio_it_is_seen_in() -> None:
    wide = display_crop(four_colours(), TURNED)
    width, height = sides_px(TURNED)
    assert wide.shape[1] / wide.shape[0] == pytest.approx(width / height, rel=0.05)


def test_the_picture_for_people_has_a_largest_size() -> None:
    crop = display_crop(np.zeros((1200, 2400, 3), np.uint8), Quad.of_box(Box(0, 0, 2400, 600)))
    assert crop.shape[1] <= MAX_CROP_WIDTH_PX * 1.1 + 1


def test_a_blurred_plate_is_less_sharp() -> None:
    image = four_colours()
    assert sharpness(cv2.GaussianBlur(image, (0, 0), 3)) < sharpness(image)


def test_growing_keeps_the_middle_and_shifting_moves_by_parts_of_the_plate() -> None:
    quad = Quad.of_box(Box(10, 20, 100, 40))
    assert grown(quad, 1.1).box.centre == pytest.approx(quad.box.centre)
    assert grown(quad, 1.1).box.width == pytest.approx(110)
    assert grown(quad, 1.0, 0.1, -0.5).box.centre == pytest.approx((70, 20))
