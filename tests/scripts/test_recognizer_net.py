"""The recogniser's network and its losses; skipped where torch is not installed."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from random import Random

import numpy as np
import pytest

torch = pytest.importorskip("torch", exc_type=ImportError)

from lpr.plates.alphabet import CLASSES, SLOTS  # noqa: E402  # after the skip: scripts import torch at once
from scripts.export_recognizer import load  # noqa: E402
from scripts.recognizer_net import CELLS_HIGH, CELLS_WIDE, NetSettings, RecognizerNet  # noqa: E402
from scripts.render.crops import random_crop  # noqa: E402
from scripts.render.samples import Batch, render_batch  # noqa: E402
from scripts.train_recognizer import Settings, cell_targets, losses, rate_at, tensors  # noqa: E402

SMALL = NetSettings(stem=(8, 12), width=16, heads=2, feed_forward=16, layers=1)


@pytest.fixture(scope="module")
def samples() -> Batch:
    """A few rendered crops."""
    return render_batch(Random(4), [], 12)


def test_the_shipped_network_is_as_small_as_the_gate_needs() -> None:
    net = RecognizerNet(NetSettings())
    assert sum(parameter.numel() for parameter in net.parameters()) < 550_000


def test_every_output_has_the_shape_that_the_agent_reads(samples: Batch) -> None:
    outputs = RecognizerNet(SMALL)(tensors(samples.take(np.arange(3)))["images"])
    assert outputs.characters.shape == (3, SLOTS, CLASSES)
    assert outputs.attention.shape == (3, CELLS_HIGH * CELLS_WIDE, SLOTS)
    assert outputs.rows.shape == (3, 2)
    assert outputs.colour.shape == (3, 5)
    assert outputs.readable.shape == (3,)


def test_a_character_is_looked_for_in_the_cell_that_holds_its_centre() -> None:
    centres = torch.full((1, SLOTS, 2), float("nan"))
    centres[0, 0] = torch.tensor([(5 + 0.5) / CELLS_WIDE, (2 + 0.5) / CELLS_HIGH])
    weights, known = cell_targets(centres)
    assert known[0].tolist() == [True] + [False] * (SLOTS - 1)
    assert int(weights[0, :, 0].argmax()) == 2 * CELLS_WIDE + 5
    assert weights[0, :, 0].sum() == pytest.approx(1.0, abs=1e-4)


def test_every_loss_is_finite_and_a_step_lowers_their_sum(samples: Batch) -> None:
    torch.manual_seed(1)
    net = RecognizerNet(SMALL)
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-3)
    batch = tensors(samples)
    totals = []
    for _ in range(8):
        parts, right = losses(net(batch["images"]), batch)
        assert all(torch.isfinite(part) for part in parts.values())
        assert right.shape == (len(samples.images),)
        total = sum(parts.values())
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        totals.append(float(total.detach()))
    assert totals[-1] < 0.95 * totals[0]


def test_what_cannot_be_read_is_never_counted_as_right() -> None:
    random = Random(9)
    spoiled = [crop for crop in (random_crop(random, []) for _ in range(120)) if not crop.readable]
    assert spoiled
    batch = Batch.empty(len(spoiled))
    for index, crop in enumerate(spoiled):
        batch.put(index, crop)
    labelled = tensors(batch)
    _, right = losses(RecognizerNet(SMALL)(labelled["images"]), labelled)
    assert not right.any()


def test_the_rate_warms_up_and_ends_near_nothing() -> None:
    settings = Settings()
    assert rate_at(settings, 0, 0.0) < 0.02 * settings.peak_rate
    assert rate_at(settings, settings.warm_up, 0.0) == pytest.approx(settings.peak_rate)
    assert rate_at(settings, 10_000, 1.0) == pytest.approx(0.01 * settings.peak_rate)


def test_what_is_exported_of_several_runs_is_the_mean_of_their_weights(tmp_path: Path) -> None:
    settings = NetSettings()
    nets = [RecognizerNet(settings) for _ in range(2)]
    paths = [tmp_path / f"{number}.pt" for number in range(2)]
    for path, net in zip(paths, nets, strict=True):
        state = {"net_settings": asdict(settings), "averaged": net.state_dict(), "step": path.stem}
        torch.save(state, path)
    mean, state = load(*paths)
    assert state["step"] == "1"
    for name, value in mean.state_dict().items():
        first, second = (net.state_dict()[name] for net in nets)
        torch.testing.assert_close(value, (first + second) / 2 if value.is_floating_point() else second)
    torch.testing.assert_close(load(paths[0])[0].position, nets[0].position)
    other = replace(settings, width=64)
    torch.save({"net_settings": asdict(other), "averaged": RecognizerNet(other).state_dict()}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="shapes"):
        load(paths[0], tmp_path / "other.pt")
    with pytest.raises(FileNotFoundError, match="absent"):
        load(paths[0], tmp_path / "absent.pt")
