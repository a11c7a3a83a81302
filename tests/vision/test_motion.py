"""An idle scene costs next to nothing, and nothing that moves is missed for it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpr.domain.geometry import Box
from lpr.vision.motion import MotionGate

WHOLE = Box(0, 0, 1920, 1080)


def scene(seed: int = 0, *, noise: float = 3.0, gain: float = 0.0) -> np.ndarray:
    """A street in grey levels with a sensor's noise, 1080p."""
    columns = np.linspace(60, 180, 1920, dtype=np.float32)[None, :]
    grain = np.random.default_rng(seed).normal(0, noise, (270, 480)).astype(np.float32)
    picture = columns + gain + np.kron(grain, np.ones((4, 4), np.float32))
    return np.repeat(np.clip(picture, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def with_plate(image: np.ndarray, x: int, y: int, width: int = 60) -> np.ndarray:
    """A white plate in the scene."""
    image = image.copy()
    image[y : y + width // 4, x : x + width] = 235
    return image


def test_the_first_frame_is_always_looked_at() -> None:
    assert MotionGate().open_for(scene(), WHOLE, 0.0)


@pytest.mark.parametrize("noise", [0.0, 3.0, 10.0])
def test_a_still_scene_is_skipped_but_for_once_a_second(noise: float) -> None:
    gate = MotionGate()

    looked = [gate.open_for(scene(frame, noise=noise), WHOLE, frame / 8) for frame in range(24)]

    assert sum(looked) == 3


def test_a_plate_that_moves_by_its_own_height_opens_the_gate() -> None:
    gate = MotionGate()
    gate.open_for(with_plate(scene(1), 900, 500), WHOLE, 0.0)

    assert gate.open_for(with_plate(scene(2), 920, 500), WHOLE, 0.125)


def test_what_creeps_is_noticed_though_no_two_frames_differ_much() -> None:
    gate = MotionGate(look_every_s=1000)
    gate.open_for(with_plate(scene(1), 900, 500), WHOLE, 0.0)

    looked = [gate.open_for(with_plate(scene(step), 900 + 2 * step, 500), WHOLE, step / 8) for step in range(1, 30)]

    assert any(looked)


def test_a_cloud_over_the_whole_scene_is_no_motion() -> None:
    gate = MotionGate()
    gate.open_for(scene(1), WHOLE, 0.0)

    assert not gate.open_for(scene(2, gain=-12.0), WHOLE, 0.125)


def test_motion_outside_the_region_does_not_count() -> None:
    gate, left = MotionGate(), Box(0, 0, 800, 1080)
    gate.open_for(scene(1), left, 0.0)

    assert not gate.open_for(with_plate(scene(2), 1200, 500, width=300), left, 0.125)


def test_a_stream_that_changes_its_size_is_looked_at() -> None:
    gate = MotionGate()
    gate.open_for(scene(1), WHOLE, 0.0)

    assert gate.open_for(scene(1)[:120, :160], Box(0, 0, 160, 120), 0.125)


def test_a_dark_car_on_a_dark_road_under_a_night_sensor_opens_the_gate() -> None:
    gate = MotionGate()
    night = scene(1, noise=10.0).copy()
    gate.open_for(night, WHOLE, 0.0)

    passing = scene(2, noise=10.0).astype(np.int16)
    passing[400:700, 800:1200] -= 9

    assert gate.open_for(np.clip(passing, 0, 255).astype(np.uint8), WHOLE, 0.125)


def test_a_vehicle_in_a_scene_that_moves_as_a_whole_is_not_hidden_by_it() -> None:
    """Foliage in the wind: everything differs by more than the vehicle does."""

    def windy(seed: int) -> np.ndarray:
        leaves = np.random.default_rng(seed).normal(0, 25, (54, 96))
        return np.clip(scene(seed).astype(np.float32) + np.kron(leaves, np.ones((20, 20)))[..., None], 0, 255)

    gate = MotionGate()
    gate.open_for(windy(1).astype(np.uint8), WHOLE, 0.0)

    assert gate.open_for(with_plate(windy(2).astype(np.uint8), 900, 500, width=90), WHOLE, 0.125)


def test_a_lamp_that_flickers_over_the_whole_scene_hides_no_plate() -> None:
    gate = MotionGate()
    gate.open_for(scene(1), WHOLE, 0.0)

    assert gate.open_for(with_plate(scene(2, gain=-30.0), 900, 500), WHOLE, 0.125)


@pytest.mark.parametrize("covered", [0.3, 0.5, 0.7, 0.95])
def test_a_lorry_that_fills_the_picture_opens_the_gate(covered: float) -> None:
    gate = MotionGate()
    gate.open_for(scene(1), WHOLE, 0.0)
    lorry = scene(2).copy()
    lorry[:, : round(covered * 1920)] = 150

    assert gate.open_for(lorry, WHOLE, 0.125)


@given(width=st.integers(1, 40), height=st.integers(1, 40))
def test_the_smallest_pictures_do_no_harm(width: int, height: int) -> None:
    image = np.zeros((height, width, 3), np.uint8)
    gate = MotionGate()

    assert gate.open_for(image, Box(0, 0, width, height), 0.0)
    assert not gate.open_for(image, Box(0, 0, width, height), 0.1)
