"""A site's own plates: labels are read with care, weights come back out of an IR, and what ships is left alone."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from random import Random

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", exc_type=ImportError)
pytest.importorskip("nncf", exc_type=ImportError)

import openvino as ov  # noqa: E402  # after the skip

from lpr.domain.errors import VisionError  # noqa: E402
from lpr.domain.geometry import Quad  # noqa: E402
from lpr.vision.models import models_folder  # noqa: E402
from lpr.vision.rectify import display_crop  # noqa: E402
from scripts import export_recognizer  # noqa: E402
from scripts.recognizer_net import NetSettings, RecognizerNet  # noqa: E402
from scripts.render.crops import CROP_HEIGHT, CROP_WIDTH  # noqa: E402
from scripts.render.gate import Conditions, gate_frame  # noqa: E402
from scripts.training.adapt import AdaptSettings, Look, adapt, better, blended  # noqa: E402
from scripts.training.compute import Compute  # noqa: E402
from scripts.training.show import Stages  # noqa: E402
from scripts.training.site import SiteError, load_site  # noqa: E402
from scripts.training.weights import freeze_norms, read_weights  # noqa: E402

SMALL = NetSettings(stem=(8, 12), width=16, heads=2, feed_forward=16, layers=1)
VEHICLES = 24


def random_net() -> RecognizerNet:
    """One whose norms have seen something."""
    torch.manual_seed(3)
    net = RecognizerNet(SMALL)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias)
    # The conversion leaves out layer norms that do nothing, as the others here still do.
    torch.nn.init.uniform_(net.norm.weight, 0.5, 1.5)
    torch.nn.init.normal_(net.norm.bias)
    torch.nn.init.normal_(net.slot)
    return net.eval()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of networks with a small recogniser that has learned nothing."""
    folder = tmp_path_factory.mktemp("models")
    for name in ("detector.xml", "detector.bin", "golden.png", "golden.json", "recognizer.md"):
        shutil.copy(models_folder() / name, folder)
    state = {"settings": {"seed": 1}, "step": 1, "samples": 1, "net_settings": asdict(SMALL)}
    model = export_recognizer.convert(random_net(), state)
    ov.save_model(model, folder / "recognizer.xml", compress_to_fp16=True)
    return folder


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `lpr-agent queue export` leaves: an event a line, and a crop of each plate."""
    folder = tmp_path_factory.mktemp("export")
    (folder / "pictures").mkdir()
    lines = []
    for number in range(VEHICLES):
        frame = gate_frame(Random(f"site {number}"), Conditions(), [])
        corners = Quad(*((float(x), float(y)) for x, y in frame.corners))
        name = f"pictures/{number:08d}_plate.jpg"
        cv2.imwrite(str(folder / name), display_crop(frame.image, corners))
        data = {"plate": {"text": frame.text, "rows": frame.rows}}
        lines.append(json.dumps({"pictures": {"plate": name}, "message": {"data": data}}))
    (folder / "events.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def site_folder(exported: Path, tmp_path: Path) -> Path:
    """An export that somebody has labelled."""
    folder = tmp_path / "site"
    shutil.copytree(exported, folder)
    with pytest.raises(SiteError):
        load_site(folder)
    (folder / "labels-draft.csv").replace(folder / "labels.csv")
    return folder


def test_weights_come_back_out_of_an_ir_as_they_went_in(models: Path) -> None:
    back, settings, info = read_weights(models / "recognizer.xml")
    assert settings == SMALL
    assert info["precision"] == "fp16"
    images = torch.rand(2, 3, CROP_HEIGHT, CROP_WIDTH) * 255
    with torch.no_grad():
        before, after = random_net()(images), back(images)
    for name in ("characters", "attention", "rows", "colour", "readable", "corners"):
        assert torch.allclose(getattr(before, name), getattr(after, name), atol=2e-2), name


def test_frozen_norms_do_the_same_in_training_as_in_use(models: Path) -> None:
    net, _, _ = read_weights(models / "recognizer.xml")
    images = torch.rand(2, 3, CROP_HEIGHT, CROP_WIDTH) * 255
    with torch.no_grad():
        in_use = net(images).characters
        freeze_norms(net)
        assert torch.allclose(net(images).characters, in_use, atol=1e-5)


def test_a_network_of_another_form_is_refused(models: Path, tmp_path: Path) -> None:
    with pytest.raises(VisionError, match="does not fit"):
        read_weights(models / "detector.xml")


def test_missing_labels_are_drafted_from_what_the_agent_read(exported: Path, tmp_path: Path) -> None:
    folder = tmp_path / "site"
    shutil.copytree(exported, folder)
    with pytest.raises(SiteError, match=r"labels\.csv is missing") as caught:
        load_site(folder)
    assert "labels-draft.csv" in (caught.value.hint or "")
    with (folder / "labels-draft.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == VEHICLES
    assert set(rows[0]) == {"image", "text", "rows"}


def test_no_vehicle_both_trains_and_measures(site_folder: Path) -> None:
    site = load_site(site_folder)
    texts = [{plate.text for plate in part} for part in (site.train, site.choose, site.measure)]
    assert sum(map(len, texts)) == site.vehicles == len(set.union(*texts))
    assert all(texts)


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("pictures/00000000_plate.jpg,29A123456789012,1", "no text of a plate"),
        ("pictures/nowhere.jpg,29A12345,1", "no picture"),
        ("events.jsonl,29A12345,1", "no picture that OpenCV"),
        ("pictures/00000000_plate.jpg,29A12345,3", "rows must be 1 or 2"),
    ],
)
def test_a_line_that_is_wrong_is_named(site_folder: Path, line: str, wrong: str) -> None:
    with (site_folder / "labels.csv").open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    with pytest.raises(SiteError, match=wrong) as caught:
        load_site(site_folder)
    assert f"labels.csv:{VEHICLES + 2}" in str(caught.value)


def test_too_few_vehicles_are_refused(site_folder: Path) -> None:
    lines = (site_folder / "labels.csv").read_text(encoding="utf-8").splitlines()
    (site_folder / "labels.csv").write_text("\n".join(lines[:6]) + "\n", encoding="utf-8")
    with pytest.raises(SiteError, match="too few"):
        load_site(site_folder)


def test_more_texts_are_better_and_surer_ones_where_as_many() -> None:
    assert better(Look(0.9, 0.5, 3.0), Look(0.8, 0.9, 1.0))
    assert better(Look(0.9, 0.5, 1.0), Look(0.9, 0.5, 2.0))
    assert not better(Look(0.9, 0.5, 2.0), Look(0.9, 0.5, 2.0))


def test_blended_weights_lie_between_the_old_and_the_new() -> None:
    old = {"weight": torch.tensor([0.0, 2.0]), "count": torch.tensor(3)}
    new = {"weight": torch.tensor([4.0, 2.0]), "count": torch.tensor(9)}
    half = blended(old, new, 0.25)
    assert half["weight"].tolist() == [1.0, 2.0]
    assert int(half["count"]) == 3


def fingerprint(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_is_learned_goes_into_a_new_folder_and_nowhere_else(
    site_folder: Path, models: Path, tmp_path: Path
) -> None:
    before, out = fingerprint(models), tmp_path / "new"
    settings = AdaptSettings(steps=20, look=10, batch=32, rate=3e-3, control=40)
    adapted = adapt(load_site(site_folder), models, out, settings, compute=Compute(), stages=Stages())
    assert fingerprint(models) == before
    assert adapted.folder == out
    after = fingerprint(out)
    assert after["detector.bin"] == before["detector.bin"]
    assert after["recognizer.bin"] != before["recognizer.bin"]
    assert "recognizer.md" not in after
    _, shape, info = read_weights(out / "recognizer.xml")
    assert shape == SMALL
    assert info["version"].endswith("adapted")
    (entry,) = json.loads(after["training.json"])["adapted"]
    assert entry["vehicles"] == VEHICLES
    assert set(entry["before"]) == {"site", "rendered"}


def test_nothing_is_written_where_nothing_is_gained(site_folder: Path, models: Path, tmp_path: Path) -> None:
    # A rate of nothing learns nothing.
    settings = AdaptSettings(steps=4, look=2, batch=16, rate=0.0, control=20)
    adapted = adapt(load_site(site_folder), models, tmp_path / "new", settings, compute=Compute(), stages=Stages())
    assert adapted.folder is None
    assert not (tmp_path / "new").exists()
    assert np.isfinite(adapted.before.site)
