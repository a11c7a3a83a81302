"""Improve a reader on a site's own plates without forgetting the rest.

It starts from the network that ships, read back out of its IR, learns the site's crops mixed with fresh rendered plates
at a small rate, and keeps the state that reads most crops of vehicles that it was not shown, among those states that
read as many rendered plates as before. What is reported is measured on still other vehicles and other rendered plates,
with the exported networks as the agent runs them. Nothing is written where nothing is gained.
"""

from __future__ import annotations

import asyncio
import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lpr.vision.engine import RT_INFO, load_openvino
from lpr.vision.models import model_path
from scripts import export_recognizer
from scripts.reading import opened_recognizer, read_crops, texts_of
from scripts.recognizer_net import RecognizerNet
from scripts.render.crops import RealPlate, real_crop, rectify, seen_quad
from scripts.render.samples import Batch, Pool, Sources, render_batch
from scripts.train_recognizer import CORNERS_WEIGHT, Learner, Settings, tensors
from scripts.training.compute import Compute
from scripts.training.files import publish, write_text
from scripts.training.provenance import commit
from scripts.training.show import Stages
from scripts.training.site import Site
from scripts.training.weights import freeze_norms, read_weights

CHOOSE_SEED, CONTROL_SEED = 51, 52
VIEWS: Final = 2
"""Crops of each of the site's plates that are measured, each cut out a little differently, as a detector would."""


@dataclass(frozen=True, slots=True)
class AdaptSettings:
    """How an adaptation goes.

    `blends` are the parts of the way from the old weights to the new ones that are tried: what lies between has learned
    most of the site and forgotten little. `site_share` is the share of the site's crops in a batch, `forget` how many
    rendered plates (share of 1) may be read less than before, `control` how many of them are looked at, `look` how many
    steps lie between two looks.
    """

    steps: int = 400
    batch: int = 64
    rate: float = 1e-4
    site_share: float = 0.25
    blends: tuple[float, ...] = (1.0, 0.5, 0.25)
    look: int = 100
    control: int = 1500
    forget: float = 0.003
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Look:
    """What a state of the network reads: shares of the site's crops and of rendered plates; the site's mean loss."""

    site: float
    rendered: float
    loss: float


@dataclass(frozen=True, slots=True)
class Adapted:
    """What came of it: before and after, on the crops that measure. `folder` is None where nothing was gained."""

    before: Look
    after: Look
    folder: Path | None


def adapt(site: Site, models: Path, out: Path, settings: AdaptSettings, *, compute: Compute, stages: Stages) -> Adapted:
    """Adapt the recogniser of `models` to `site`; the new folder of networks is `out`. Raises `VisionError`."""
    net, net_settings, info = read_weights(model_path("recognizer", models))
    shape = Settings(seed=settings.seed, batch=settings.batch, average=0.99, weight_decay=0.0)
    learner = Learner(shape, net_settings, compute)
    learner.net.load_state_dict(net.state_dict())
    learner.averaged.load_state_dict(net.state_dict())
    with stages.training("adapting") as bar:
        best = _learn(learner, site, settings, bar)
    with stages.step("measuring"), TemporaryDirectory() as folder:
        before = after = asyncio.run(_measure(models, site, settings))
        if best is not None:
            new = Path(folder)
            _export(best, net_settings, info, models, new)
            after = asyncio.run(_measure(new, site, settings))
            if after.site >= before.site and after.rendered >= before.rendered - settings.forget:
                _record(new, settings, site, before, after)
                publish(new, out)
                return Adapted(before, after, out)
    return Adapted(before, after, None)


def _learn(learner: Learner, site: Site, settings: AdaptSettings, bar: Any) -> dict[str, Tensor] | None:
    """The weights of the best state; None where none is better than the first."""
    random = Random(settings.seed)
    choose = site_batch(site.choose, Random(CHOOSE_SEED), VIEWS)
    control = render_batch(Random(CHOOSE_SEED), [], settings.control)
    first = best = look_at(learner.averaged, choose, control, learner.compute)
    kept = None
    old = {name: value.clone() for name, value in learner.averaged.state_dict().items()}
    between = RecognizerNet(learner.net_settings).to(learner.compute.device)
    count = round(settings.site_share * settings.batch)
    with Pool(Sources(), size=4096, reuse=3, seed=f"adapt {settings.seed}", workers=learner.compute.workers) as pool:
        freeze_norms(learner.net)
        for step in range(settings.steps):
            batch = pool.draw(settings.batch)
            batch.replace(0, site_batch(random.choices(site.train, k=count), random))
            parts = learner.learn(batch, rate_at(settings, step), weigh)
            bar.advance((step + 1) / settings.steps)
            if (step + 1) % settings.look == 0:
                bar.report({"text": float(parts["text"]), "right": float(parts["right"])})
                for blend in settings.blends:
                    between.load_state_dict(blended(old, learner.averaged.state_dict(), blend))
                    look = look_at(between, choose, control, learner.compute)
                    if look.rendered >= first.rendered - settings.forget and better(look, best):
                        best = look
                        kept = {name: value.cpu().clone() for name, value in between.state_dict().items()}
    return kept


def blended(old: dict[str, Tensor], new: dict[str, Tensor], part: float) -> dict[str, Tensor]:
    """The weights that lie `part` (0..1) of the way from old to new; counters stay those of the old."""
    return {
        name: torch.lerp(value, new[name], part) if value.is_floating_point() else value for name, value in old.items()
    }


def rate_at(settings: AdaptSettings, step: int) -> float:
    """A rise over a tenth of the steps, then half a cosine."""
    part = (step + 1) / settings.steps
    return settings.rate * min(1.0, 10 * part) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * part)))


def weigh(parts: dict[str, Tensor]) -> Tensor:
    """The sum to go down. The head that names cells does not travel with the weights, so it has no say."""
    small = 0.05 * (parts["rows"] + parts["colour"] + parts["readable"])
    return parts["text"] + 0.015 * parts["where"] + small + CORNERS_WEIGHT * parts["corners"]


def better(one: Look, other: Look) -> bool:
    """Whether a state reads the site better: more texts; where as many, surer ones."""
    return (one.site, -one.loss) > (other.site, -other.loss)


def site_batch(plates: Sequence[RealPlate], random: Random, views: int = 0) -> Batch:
    """Crops of a site's plates: through one more drawn camera to train, `views` plain ones of each to measure."""
    crops = []
    for plate in plates:
        for _ in range(max(1, views)):
            crop = real_crop(plate, random)
            if views or random.random() < 0.4:
                crop = replace(crop, image=rectify(plate.image, seen_quad(plate.corners, random))[0])
            crops.append(crop)
    batch = Batch.empty(len(crops))
    for index, crop in enumerate(crops):
        batch.put(index, crop)
    return batch


@torch.no_grad()
def look_at(net: RecognizerNet, site: Batch, control: Batch, compute: Compute) -> Look:
    """How the network reads both."""
    net.eval()
    (at_site, loss), (rendered, _) = (_share_and_loss(net, samples, compute) for samples in (site, control))
    return Look(at_site, rendered, loss)


def _share_and_loss(net: RecognizerNet, samples: Batch, compute: Compute) -> tuple[float, float]:
    """Share of the readable samples that is read right, and the characters' mean loss over them."""
    readable = samples.take(np.flatnonzero(samples.readable))
    count, right, loss = len(readable.images), 0, 0.0
    for start in range(0, count, 250):
        batch = tensors(readable.take(np.arange(start, min(start + 250, count))), compute.device)
        with compute.autocast():
            said = net(batch["images"]).characters.float()
        right += int((said.argmax(2) == batch["characters"]).all(1).sum())
        loss += float(F.cross_entropy(said.flatten(0, 1), batch["characters"].flatten(), reduction="sum"))
    return right / max(1, count), loss / max(1, count)


def _export(weights: dict[str, Tensor], net_settings: Any, info: dict[str, str], models: Path, out: Path) -> None:
    """Make `out` a folder like `models`, with the new reader in it, in FP16 weights."""
    net = RecognizerNet(net_settings)
    net.load_state_dict(weights)
    net.eval()
    ov = load_openvino()
    model = export_recognizer.to_openvino(net)
    facts = info | {"version": f"{info.get('version', '?')} adapted", "precision": "fp16"}
    for key, value in facts.items():
        model.set_rt_info(value, [RT_INFO, key])
    for path in models.iterdir():
        if path.is_file() and not path.name.startswith("recognizer."):
            shutil.copy(path, out)
    ov.save_model(model, out / "recognizer.xml", compress_to_fp16=True)


async def _measure(models: Path, site: Site, settings: AdaptSettings) -> Look:
    """How exported networks read vehicles and rendered plates that had no say in anything, as the agent runs them."""
    crops = site_batch(site.measure, Random(CONTROL_SEED), VIEWS)
    rendered = render_batch(Random(CONTROL_SEED), [], settings.control)
    shares = []
    with opened_recognizer(models) as recognizer:
        for samples in (crops, rendered.take(np.flatnonzero(rendered.readable))):
            said = [plate.text for plate in await read_crops(recognizer, list(samples.images))]
            right = sum(a == b for a, b in zip(said, texts_of(samples), strict=True))
            shares.append(right / max(1, len(said)))
    return Look(shares[0], shares[1], math.nan)


def _record(out: Path, settings: AdaptSettings, site: Site, before: Look, after: Look) -> None:
    """Add to the record of the weights what was done to them."""
    path = out / "training.json"
    record = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    counts = {name: len(getattr(site, name)) for name in ("train", "choose", "measure")}
    entry = {"commit": commit(), "settings": asdict(settings), "crops": counts, "vehicles": site.vehicles}
    figures = {
        "before": {"site": before.site, "rendered": before.rendered},
        "after": {"site": after.site, "rendered": after.rendered},
    }
    record.setdefault("adapted", []).append(entry | figures)
    write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", path)
