"""The plate renderer: what it draws is what it says it drew, and the reader's crops carry true labels."""

from __future__ import annotations

from random import Random

import cv2
import numpy as np
import pytest

from lpr.domain.plate import PlateColour
from lpr.plates.alphabet import ALPHABET, BLANK, INDEX, SLOTS, normalise
from lpr.plates.formats import FORMATS, KINDS, UNKNOWN_KIND
from lpr.plates.parse import parse
from scripts.render.camera import light, obstruct, pose, shoot
from scripts.render.crops import CROP_HEIGHT, CROP_MARGIN, CROP_WIDTH, UNKNOWN, random_crop, rectify
from scripts.render.glyphs import GLYPH_HEIGHT, fonts
from scripts.render.plate import draw_plate, render_plate
from scripts.render.plate_spec import PlateSpec, random_spec


@pytest.fixture
def random() -> Random:
    """Always the same numbers."""
    return Random(20)


def test_every_font_has_every_character() -> None:
    for font in fonts():
        assert set(font) == set(ALPHABET)
        for mask in font.values():
            assert mask.shape[0] == GLYPH_HEIGHT
            assert mask.max() > 200


def test_every_kind_with_one_row_and_two_and_every_colour_is_drawn(random: Random) -> None:
    specs = [random_spec(random) for _ in range(4000)]
    assert {spec.kind for spec in specs} == {*KINDS, UNKNOWN_KIND}
    assert {spec.rows for spec in specs} == {1, 2}
    assert {spec.colour for spec in specs} == set(PlateColour)
    assert {name.name for name in FORMATS} <= {parse(spec.text, spec.rows).format for spec in specs} | {
        # The same texts as a commoner format's: parsing names that one.
        "car-four-digits", "special", "special-four-digits", "special-numeral-four-digits", "zone", "zone-four-digits",
        "e-bike-numeral-four-digits", "motorbike-numeral-four-digits", "temporary", "trailer",
    }  # fmt: skip


def test_the_lines_of_a_spec_say_its_text_and_nothing_else(random: Random) -> None:
    for _ in range(500):
        spec = random_spec(random)
        assert normalise("".join(spec.lines)) == spec.text
        assert spec.kind == UNKNOWN_KIND or parse(spec.text, spec.rows).valid


def test_a_plate_has_a_box_for_each_character_inside_its_body() -> None:
    generator = np.random.default_rng(3)
    for _ in range(12):
        plate = render_plate(generator, 0.5)
        assert plate.image.dtype == np.uint8
        assert plate.image.shape[:2] == plate.body.shape
        assert plate.char_boxes.shape == (len(plate.text), 4)
        low, high = plate.corners[0], plate.corners[2]
        slack = 0.05 * (high - low)
        assert (plate.char_boxes[:, :2] >= low - slack).all()
        assert (plate.char_boxes[:, :2] + plate.char_boxes[:, 2:] <= high + slack).all()


def test_the_characters_boxes_hold_ink_and_read_from_the_left_in_each_row(random: Random) -> None:
    spec = PlateSpec("59X153509", ("59-X1", "535.09"), "motorbike", PlateColour.WHITE, 190 / 140)
    plate = draw_plate(spec, random)
    grey = cv2.cvtColor(plate.image, cv2.COLOR_BGR2GRAY).astype(int)
    for x, y, width, height in plate.char_boxes.round().astype(int):
        box = grey[y : y + height, x : x + width]
        assert box.max() - box.min() > 30
    assert (np.diff(plate.char_boxes[:4, 0]) > 0).all()
    assert (np.diff(plate.char_boxes[4:, 0]) > 0).all()
    assert plate.char_boxes[:4, 1].max() < plate.char_boxes[4:, 1].min()


def test_the_same_seed_draws_the_same_plate() -> None:
    first, second = (render_plate(np.random.default_rng(8), 0.4) for _ in range(2))
    assert first.text == second.text
    assert np.array_equal(first.image, second.image)


def test_a_pose_keeps_the_corners_in_order_and_the_width_asked_for(random: Random) -> None:
    for _ in range(200):
        corners = pose(random, 1.36, 120.0)
        assert np.ptp(corners[:, 0]) == pytest.approx(120, abs=0.1)
        edges = np.roll(corners, -1, axis=0) - corners
        following = np.roll(edges, -1, axis=0)
        turns = edges[:, 0] * following[:, 1] - edges[:, 1] * following[:, 0]
        assert (turns > 0).all()


def test_light_and_camera_keep_the_pictures_size(random: Random) -> None:
    image = np.full((70, 110, 3), 120, np.uint8)
    plate = np.array([[10, 10], [100, 12], [99, 60], [9, 58]], np.float32)
    for _ in range(60):
        seen = shoot(light(image, plate, random), random)
        assert seen.shape == image.shape
        assert seen.dtype == np.uint8


def test_what_hangs_before_a_plate_hides_some_of_it_and_seldom_most(random: Random) -> None:
    image = np.full((90, 150, 3), 120, np.uint8)
    image[::7] = 30  # something that a drop on the lens can blur
    plate = np.array([[20, 20], [130, 22], [129, 70], [19, 68]], np.float32)
    before = image.copy()
    hidden = []
    for _ in range(200):
        seen = obstruct(image, plate, random)
        assert (seen.shape, seen.dtype) == (image.shape, np.uint8)
        hidden.append((np.abs(seen[20:70, 20:130].astype(int) - image[20:70, 20:130]).max(axis=2) > 20).mean())
    assert (image == before).all()
    assert np.mean(np.array(hidden) > 0.005) > 0.7
    assert np.mean(np.array(hidden) > 0.5) < 0.03


def test_a_crop_shows_the_quad_with_its_margin() -> None:
    image = np.zeros((100, 200, 3), np.uint8)
    image[30:70, 40:160] = 255
    crop, _ = rectify(image, np.array([[40, 30], [160, 30], [160, 70], [40, 70]], np.float32))
    assert crop.shape == (CROP_HEIGHT, CROP_WIDTH, 3)
    shown = (crop[:, :, 0] > 127).mean()
    assert shown == pytest.approx(1 / (1 + 2 * CROP_MARGIN) ** 2, abs=0.04)


def test_crops_carry_labels_that_fit_each_other(random: Random) -> None:
    readable = 0
    for _ in range(60):
        crop = random_crop(random, [])
        assert crop.image.shape == (CROP_HEIGHT, CROP_WIDTH, 3)
        assert crop.characters.shape == (SLOTS,)
        signs = crop.characters[crop.characters != BLANK]
        assert (crop.characters[len(signs) :] == BLANK).all()
        assert np.isfinite(crop.centres[: len(signs)]).all()
        assert np.isnan(crop.centres[len(signs) :]).all()
        assert bool(len(signs)) == bool(crop.readable)
        assert crop.rows in ((0, 1) if crop.readable else (UNKNOWN,))
        readable += crop.readable
    assert readable > 45


def test_the_centres_of_a_crop_lie_on_its_characters(random: Random) -> None:
    inside = []
    for _ in range(40):
        crop = random_crop(random, [])
        if crop.readable:
            known = crop.centres[np.isfinite(crop.centres[:, 0])]
            inside.append(((known > -0.05) & (known < 1.05)).all())
    assert np.mean(inside) > 0.95


def test_the_alphabet_of_the_labels_is_the_agents(random: Random) -> None:
    spec = PlateSpec("29MĐ112345", ("29-MĐ1", "123.45"), "e-bike", PlateColour.WHITE, 1.36)
    plate = draw_plate(spec, random, 0.5)
    assert [INDEX[sign] for sign in plate.text][3] == ALPHABET.index("Đ")
    assert len(plate.char_boxes) == SLOTS
