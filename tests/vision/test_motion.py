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


@given(width=st.integers(1, 40), height=st.integers(1, 40))
def test_the_smallest_pictures_do_no_harm(width: int, height: int) -> None:
    image = np.zeros((height, width, 3), np.uint8)
    gate = MotionGate()

    assert gate.open_for(image, Box(0, 0, width, height), 0.0)
    assert not gate.open_for(image, Box(0, 0, width, height), 0.1)
