"""A training that begins with what ships: the weights come out of an IR as they went in; skipped without torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", exc_type=ImportError)

import openvino as ov  # noqa: E402  # after the skip

from lpr.domain.errors import VisionError  # noqa: E402
from lpr.vision.models import models_folder  # noqa: E402
from scripts import train_detector  # noqa: E402
from scripts.detector_net import Deployed, Detector  # noqa: E402
from scripts.export_detector import to_openvino  # noqa: E402
from scripts.training.compute import Compute  # noqa: E402
from scripts.training.files import load_checkpoint  # noqa: E402
from scripts.training.weights import read_detector  # noqa: E402

MODELS = models_folder()


def answers(network: Detector, image: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        tensor = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
        return np.asarray(Deployed(network).eval()(tensor)[0])


@pytest.fixture
def picture() -> np.ndarray:
    golden = cv2.imread(str(MODELS / "golden.png"))
    assert golden is not None
    return cv2.resize(golden, (320, 320), interpolation=cv2.INTER_AREA)


def test_a_detectors_weights_come_back_out_of_an_ir_as_they_went_in(tmp_path: Path, picture: np.ndarray) -> None:
    torch.manual_seed(3)
    network = Detector().eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2.0)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.1)
    ov.save_model(to_openvino(network, ov), tmp_path / "detector.xml", compress_to_fp16=False)
    back = read_detector(tmp_path / "detector.xml")
    assert np.allclose(answers(back, picture), answers(network, picture), rtol=1e-3, atol=1e-2)


def test_what_ships_in_int8_still_finds_its_plate(picture: np.ndarray) -> None:
    found = answers(read_detector(MODELS / "detector.xml"), picture)
    compiled = ov.Core().compile_model(MODELS / "detector.xml", "CPU")
    shipped = compiled(picture[None])[0][0]
    at = np.unravel_index(shipped[0].argmax(), shipped[0].shape)
    assert found[(0, *at)] > 0.5
    assert np.allclose(found[(slice(1, 5), *at)], shipped[(slice(1, 5), *at)], atol=5), "pixels"


def test_a_network_of_another_form_is_refused() -> None:
    with pytest.raises(VisionError, match="is no detector"):
        read_detector(MODELS / "recognizer.xml")


def test_a_training_begins_with_them_and_leaves_the_folded_norms_alone(tmp_path: Path) -> None:
    settings = train_detector.Settings(
        start=str(MODELS / "detector.xml"), rate=0.0, batch=2, steps=2, sizes=((96, 96),), last_sizes=((96, 96),),
        plates=4, validation_scenes=2,
    )  # fmt: skip
    best = train_detector.train(None, tmp_path, settings, compute=Compute())
    shipped = read_detector(MODELS / "detector.xml").state_dict()
    kept = {name.removeprefix("module."): value for name, value in best["steady"].items()}
    assert all(torch.allclose(kept[name], value, atol=1e-6) for name, value in shipped.items() if value.ndim)


def test_a_training_that_goes_on_leaves_them_alone_though_nobody_says_again_where_it_began(tmp_path: Path) -> None:
    short = train_detector.Settings(
        start=str(MODELS / "detector.xml"), rate=0.0, batch=2, steps=2, sizes=((96, 96),), last_sizes=((96, 96),),
        plates=4, validation_scenes=2,
    )  # fmt: skip
    train_detector.train(None, tmp_path, short, compute=Compute())
    train_detector.train(None, tmp_path, replace(short, start="", steps=4), compute=Compute())
    last = load_checkpoint(tmp_path / "last.pt")
    assert last is not None
    assert last["step"] == 4
    assert last["settings"]["start"] == short.start
    assert torch.equal(last["network"]["stem.1.running_mean"], torch.zeros(16))
