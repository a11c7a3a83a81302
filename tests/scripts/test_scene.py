"""Scenes for the detector: what is drawn is where the labels say."""

from __future__ import annotations

from collections import Counter
from random import Random

import cv2
import numpy as np
import pytest

from lpr.domain.plate import PlateColour
from scripts.render.laying import lay
from scripts.render.material import Material, Photo, PlatePicture, any_spec, plate_pool
from scripts.render.paint import Image
from scripts.render.quads import Floats, box_of, overlap, perspective_quad, quad_of, visible_part
from scripts.render.scene import SMALLEST_HEIGHT_PX, close_up, render_scene, view


def checkered(width: int, height: int) -> PlatePicture:
    """A plate of black and white squares, its body the whole picture."""
    squares = ((np.arange(height)[:, None] // 8 + np.arange(width)[None] // 8) % 2 * 255).astype(np.uint8)
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    return PlatePicture(cv2.cvtColor(squares, cv2.COLOR_GRAY2BGR), corners)


@pytest.fixture(scope="module")
def material() -> Material:
    rng = np.random.default_rng(3)
    road = [Photo(rng.integers(0, 256, (120, 160, 3), np.uint8), np.zeros((0, 4), np.float32), True)]
    street = [Photo(np.full((200, 300, 3), 128, np.uint8), np.array([[100, 80, 180, 110]], np.float32))]
    return Material(street, street, road, plate_pool(6, 1))


def test_the_same_seed_draws_the_same_scenes(material: Material) -> None:
    first, second = (render_scene(np.random.default_rng(8), material, (160, 128)) for _ in range(2))
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.quads, second.quads)


def test_every_scene_has_labels_of_one_length_and_plates_that_show(material: Material) -> None:
    rng = np.random.default_rng(1)
    for _ in range(60):
        scene = render_scene(rng, material, (160, 128))
        assert scene.image.shape == (128, 160, 3)
        assert scene.image.dtype == np.uint8
        assert len(scene.quads) == len(scene.exact)
        assert all(visible_part(quad, 160, 128) >= 0.45 for quad in scene.quads)
        exact = scene.quads[scene.exact]
        assert all(np.ptp(quad[:, 1]) >= SMALLEST_HEIGHT_PX for quad in exact)


def test_boxes_of_photographs_keep_their_uncertain_corners(material: Material) -> None:
    rng = np.random.default_rng(2)
    exact = np.concatenate([render_scene(rng, material, (160, 128)).exact for _ in range(40)])
    assert exact.any()
    assert not exact.all()


def test_a_plate_lies_where_its_corners_are() -> None:
    image = np.full((120, 200, 3), 60, np.uint8)
    quad = np.array([[50, 30], [150, 40], [145, 80], [48, 72]], np.float32)
    lay(np.random.default_rng(0), image, checkered(160, 64), quad, lit=1.0)
    inside = np.zeros(image.shape[:2], np.uint8)
    cv2.fillPoly(inside, [quad.astype(np.int32)], 255)
    shrunk, grown = cv2.erode(inside, np.ones((5, 5))), cv2.dilate(inside, np.ones((5, 5)))
    assert image[..., 1][shrunk > 0].std() > 60
    assert (image[grown == 0] == 60).all()


def test_a_plate_beyond_the_edge_is_cut_and_not_moved() -> None:
    image = np.full((60, 100, 3), 60, np.uint8)
    quad = quad_of(np.array([[80, 20, 140, 45]], np.float32))[0]
    lay(np.random.default_rng(0), image, checkered(160, 64), quad, lit=1.0)
    assert (image[:, :78] == 60).all()
    assert image[22:43, 84:].std() > 40


@pytest.mark.parametrize("ratio", [520 / 110, 190 / 140])
def test_a_turned_plate_keeps_its_order_of_corners(ratio: float) -> None:
    rng = np.random.default_rng(4)
    for _ in range(200):
        quad = perspective_quad(rng, ratio, 100)
        across, down = quad[1] - quad[0], quad[3] - quad[0]
        assert across[0] * down[1] - across[1] * down[0] > 0  # clockwise on the screen: not mirrored
        assert across[0] > 0  # not upside down


def test_a_zoomed_view_takes_its_box_along() -> None:
    picture: Image = np.full((200, 300, 3), 20, np.uint8)
    picture[80:110, 100:180] = 250
    photo = Photo(picture, np.array([[100, 80, 180, 110]], np.float32))
    rng = np.random.default_rng(5)
    seen = 0
    for _ in range(40):
        image, boxes = view(rng, photo, (160, 160))
        left, top, right, bottom = boxes[0]
        if left < 2 or top < 2 or right > 158 or bottom > 158 or bottom - top < 8:
            continue
        seen += 1
        height, width = bottom - top, right - left
        middle = image[
            int(top + 0.25 * height) : int(bottom - 0.25 * height), int(left + 0.2 * width) : int(right - 0.2 * width)
        ]
        assert middle.mean() > 200
    assert seen > 5


def test_a_close_up_fills_the_picture(material: Material) -> None:
    rng = np.random.default_rng(6)
    for _ in range(20):
        scene = close_up(rng, material, (160, 128))
        left, top, right, bottom = box_of(scene.quads)[0]
        assert max((right - left) / 160, (bottom - top) / 128) > 0.6


def test_overlap_counts_the_larger_share() -> None:
    box: Floats = np.array([0, 0, 10, 10], np.float32)
    assert overlap(box, np.array([[2, 2, 4, 4]], np.float32)) == pytest.approx(1.0)
    assert overlap(box, np.array([[20, 20, 30, 30]], np.float32)) == 0.0
    assert overlap(box, np.zeros((0, 4), np.float32)) == 0.0


def test_plates_rendered_ahead_are_of_every_colour() -> None:
    """The army's red among them: with the few that roads show, clear ones were hardly believed in."""
    random = Random(4)
    colours = Counter(any_spec(random).colour for _ in range(400))
    assert min(colours[each] for each in PlateColour) >= 10
    assert colours[PlateColour.WHITE] > 200
