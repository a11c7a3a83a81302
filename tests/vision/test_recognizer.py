"""The recogniser's facts come with its weights, and its distributions are tempered by one of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lpr.domain.errors import VisionError
from lpr.domain.frame import Image
from lpr.plates.alphabet import CLASSES, SLOTS
from lpr.vision.engine import RT_INFO, Engine, EngineOptions, load_openvino
from lpr.vision.models import model_path
from lpr.vision.recognizer import TEMPERATURE, OpenVinoRecognizer, temper

ONE_THREAD = EngineOptions(threads=1, precision="f32")


def some_distributions(seed: int) -> NDArray[np.float32]:
    """[slots, classes], rows summing to 1."""
    raised = np.exp(np.random.default_rng(seed).normal(0, 3, (SLOTS, CLASSES)))
    return (raised / raised.sum(axis=1, keepdims=True)).astype(np.float32)


@given(st.integers(0, 1000), st.floats(0.3, 3.0))
def test_a_temperature_changes_how_sure_a_sign_is_and_never_which(seed: int, temperature: float) -> None:
    before = some_distributions(seed)
    after = temper(before, temperature)
    assert np.array_equal(after.argmax(axis=1), before.argmax(axis=1))
    assert after.sum(axis=1) == pytest.approx(np.ones(SLOTS), abs=1e-4)
    surer = after.max(axis=1) >= before.max(axis=1) - 1e-5
    assert (surer if temperature <= 1 else after.max(axis=1) <= before.max(axis=1) + 1e-5).all()


def test_a_temperature_of_one_leaves_all_as_it_is() -> None:
    before = some_distributions(1)
    assert temper(before, 1.0) is before


def test_what_is_impossible_stays_possible_enough_to_be_no_nan() -> None:
    certain = np.zeros((1, 3), np.float32)
    certain[0, 1] = 1.0
    assert np.isfinite(temper(certain, 0.2)).all()


def with_temperature(folder: Path, value: str) -> Path:
    """The shipped recogniser with another temperature."""
    ov, path = load_openvino(), folder / "recognizer.xml"
    model = ov.Core().read_model(model_path("recognizer"))
    model.set_rt_info(value, [RT_INFO, TEMPERATURE])
    ov.serialize(model, path, path.with_suffix(".bin"))
    return path


async def test_the_stored_temperature_is_applied_to_every_read(tmp_path: Path) -> None:
    with Engine(ONE_THREAD) as engine:
        recognizers = []
        for value in ("1", "2"):
            (tmp_path / value).mkdir()
            recognizers.append(OpenVinoRecognizer(engine.load(with_temperature(tmp_path / value, value), "CPU")))
        width, height = recognizers[0].crop_size
        crop: Image = np.random.default_rng(3).integers(0, 256, (height, width, 3), np.uint8)
        (plain,), (flat,) = [await each.read((crop,)) for each in recognizers]
    assert flat.probabilities == pytest.approx(temper(plain.probabilities, 2.0), abs=1e-5)
    assert flat.readable == pytest.approx(plain.readable)


@pytest.mark.parametrize("value", ["0", "-1", "hot", "nan", "1e9"])
def test_a_temperature_that_is_none_is_refused_with_a_remedy(tmp_path: Path, value: str) -> None:
    with Engine(ONE_THREAD) as engine:
        network = engine.load(with_temperature(tmp_path, value), "CPU")
        with pytest.raises(VisionError, match="temperature") as caught:
            OpenVinoRecognizer(network)
    assert "scripts.calibrate" in (caught.value.hint or "")
