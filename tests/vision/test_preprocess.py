"""Pictures of any size on a fixed input."""

from __future__ import annotations

import numpy as np
import pytest

from lpr.vision.preprocess import MAX_ENLARGEMENT, PADDING_GREY, Letterbox, letterbox


@pytest.mark.parametrize("picture", [(1920, 1080), (472, 303), (200, 900), (320, 320), (641, 37)])
def test_a_point_goes_there_and_back(picture: tuple[int, int]) -> None:
    place = Letterbox.fitting(picture, (320, 320))
    there = np.array([[picture[0] * 0.3, picture[1] * 0.8]], np.float32) * place.scale
    there += [place.offset_x, place.offset_y]
    assert place.to_picture(there)[0].tolist() == pytest.approx([picture[0] * 0.3, picture[1] * 0.8], abs=1e-3)


def test_a_wide_picture_is_padded_above_and_below_and_not_stretched() -> None:
    scaled, place = letterbox(np.full((540, 960, 3), 255, np.uint8), (320, 320))
    assert scaled.shape == (320, 320, 3)
    assert (place.width, place.height, place.offset_y) == (320, 180, 70)
    assert (scaled[:70] == PADDING_GREY).all()
    assert (scaled[250:] == PADDING_GREY).all()
    assert (scaled[70:250] == 255).all()


def test_a_picture_of_the_right_size_passes_unchanged() -> None:
    image = np.random.default_rng(1).integers(0, 256, (384, 640, 3), np.uint8)
    scaled, place = letterbox(image, (640, 384))
    assert (scaled == image).all()
    assert place == Letterbox(1.0, 0, 0, 640, 384)


def test_a_thumbnail_is_not_blown_up_without_bounds() -> None:
    _, place = letterbox(np.zeros((10, 10, 3), np.uint8), (320, 320))
    assert (place.width, place.height) == (10 * MAX_ENLARGEMENT, 10 * MAX_ENLARGEMENT)


def test_a_picture_one_pixel_high_has_still_a_row() -> None:
    scaled, place = letterbox(np.zeros((1, 3000, 3), np.uint8), (320, 320))
    assert scaled.shape == (320, 320, 3)
    assert place.height == 1


def test_thin_strokes_survive_the_shrinking_of_a_large_frame() -> None:
    image = np.zeros((2160, 3840, 3), np.uint8)
    for column in range(3):
        image[:, column::12] = 255  # a stroke of three columns in each pixel of 320
    scaled, place = letterbox(image, (320, 320))
    inside = scaled[place.offset_y + 5 : place.offset_y + place.height - 5, 5:-5]
    assert inside.min() > 40
    assert inside.std() < 15
