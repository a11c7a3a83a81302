"""Train the recogniser on plates rendered on the fly.

    python -m scripts.train_recognizer --run FOLDER [--minutes 90] [--backgrounds FOLDER] [--resume]

A worker process renders while this one learns; samples lie in a pool and each is met at most `reuse` times, so a slow
renderer costs freshness and not time. A checkpoint holds the weights, their running average (which is what is shipped),
optimiser, settings and progress; `--resume` goes on from it. FOLDER/log.jsonl has one line each `report` steps.

Losses: each slot's class; where each slot looks (the centre of its character is known in a rendered plate) and a class
for every cell, which make the first minutes learn at all; rows and colour; and `readable`, whose target is whether the
network has just read this fresh sample exactly right: so it learns its own chance of being right.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import multiprocessing
import os
import queue
import signal
import sys
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from random import Random
from typing import Any, Final

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lpr.plates.alphabet import BLANK, SLOTS, normalise
from scripts.recognizer_net import CELLS_HIGH, CELLS_WIDE, NetSettings, Outputs, RecognizerNet
from scripts.render.crops import CROP_HEIGHT, CROP_WIDTH, UNKNOWN, Crop, RealPlate, random_crop, real_crop

CHUNK: Final = 128
VALIDATION_SEED: Final = 990_017
REAL_SHARE: Final = 0.008
"""Small: there are few vehicles in those photographs, and their texts must not become a habit."""
REAL_WIDTH: Final = 200
"""Photographs are shrunk so that their plates are at most so wide: nearer to what cameras at a gate see."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that shapes a run; stored in its checkpoints."""

    seed: int = 1
    batch: int = 128
    peak_rate: float = 2.5e-3
    warm_up: int = 300
    weight_decay: float = 0.02
    average: float = 0.998
    pool: int = 24_000
    reuse: float = 2.0
    validation: int = 3000
    report: int = 100
    checkpoint_s: float = 180.0
    bf16: bool = True


# --- samples ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Batch:
    """Arrays of n samples; see `scripts.render.crops.Crop` for their meaning."""

    images: NDArray[np.uint8]
    characters: NDArray[np.int8]
    centres: NDArray[np.float32]
    rows: NDArray[np.int8]
    colours: NDArray[np.int8]
    readable: NDArray[np.int8]

    @classmethod
    def empty(cls, count: int) -> Batch:
        """Room for `count` samples."""
        return cls(
            np.zeros((count, CROP_HEIGHT, CROP_WIDTH, 3), np.uint8),
            np.zeros((count, SLOTS), np.int8),
            np.zeros((count, SLOTS, 2), np.float32),
            *(np.zeros(count, np.int8) for _ in range(3)),
        )

    def put(self, index: int, crop: Crop) -> None:
        """Store one sample."""
        self.images[index], self.characters[index], self.centres[index] = crop.image, crop.characters, crop.centres
        self.rows[index], self.colours[index], self.readable[index] = crop.rows, crop.colour, crop.readable

    def replace(self, start: int, other: Batch) -> None:
        """Overwrite from `start` on, around the end."""
        places = (start + np.arange(len(other.images))) % len(self.images)
        for field in fields(self):
            getattr(self, field.name)[places] = getattr(other, field.name)

    def take(self, indices: NDArray[np.int64]) -> dict[str, Tensor]:
        """Some samples as tensors: images float channels first, labels int64."""
        images = torch.from_numpy(self.images[indices]).permute(0, 3, 1, 2).float()
        tensors = {"images": images, "centres": torch.from_numpy(self.centres[indices])}
        for name in ("characters", "rows", "colours", "readable"):
            tensors[name] = torch.from_numpy(getattr(self, name)[indices].astype(np.int64))
        return tensors


def render_batch(
    random: Random, backgrounds: list[NDArray[np.uint8]], count: int, real: list[RealPlate] | None = None
) -> Batch:
    """`count` fresh samples; a few of them are photographs where `real` has any."""
    batch = Batch.empty(count)
    texts = sorted({plate.text for plate in real or []})
    for index in range(count):
        if real and random.random() < REAL_SHARE:
            # By text first: some vehicles have thirty pictures, some one.
            text = random.choice(texts)
            batch.put(index, real_crop(random.choice([plate for plate in real if plate.text == text]), random))
        else:
            batch.put(index, random_crop(random, backgrounds))
    return batch


def load_real(folder: Path | None) -> list[RealPlate]:
    """Labelled plates of `folder` (images/, labels.csv) that may train; none without a folder."""
    if folder is None:
        return []
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        labels = [row for row in csv.DictReader(file) if row["text"] and row["rows"]]
    plates = []
    for row in labels:
        image = cv2.imread(str(folder / "images" / row["image"]))
        if image is None:
            continue
        x, y, width, height = (float(row[name]) for name in ("x", "y", "width", "height"))
        reach = 0.25 * max(width, height)
        left, top = max(0, round(x - reach)), max(0, round(y - reach))
        part = image[top : round(y + height + reach), left : round(x + width + reach)]
        factor = min(1.0, REAL_WIDTH / width)
        part = cv2.resize(part, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        box = np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]], np.float32)
        corners = ((box - np.float32([left, top])) * factor).astype(np.float32)
        plates.append(RealPlate(part, corners, normalise(row["text"]), int(row["rows"])))
    return plates


def load_backgrounds(folder: Path | None) -> list[NDArray[np.uint8]]:
    """Plate-free pictures of `folder`, at most 320 pixels wide; none without a folder."""
    if folder is None:
        return []
    pictures = [cv2.imread(str(path)) for path in sorted(folder.iterdir())]
    kept = []
    for picture in pictures:
        if picture is None or min(picture.shape[:2]) < 40:
            continue
        factor = min(1.0, 320 / picture.shape[1])
        size = (max(40, round(picture.shape[1] * factor)), max(40, round(picture.shape[0] * factor)))
        kept.append(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
    return kept


def render_for_ever(seed: int, backgrounds: Path | None, real: Path | None, chunks: Any) -> None:
    """The worker: puts chunks into a bounded queue until its parent goes."""
    cv2.setNumThreads(1)
    os.nice(3)
    parent = os.getppid()
    random = Random(seed)
    pictures, photographs = load_backgrounds(backgrounds), load_real(real)
    while os.getppid() == parent:
        chunks.put(render_batch(random, pictures, CHUNK, photographs))


class Pool:
    """Rendered samples in memory, the oldest replaced by the newest."""

    def __init__(self, settings: Settings, backgrounds: Path | None, real: Path | None, seed: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._chunks = context.Queue(16)
        self._worker = context.Process(
            target=render_for_ever, args=(seed, backgrounds, real, self._chunks), daemon=True
        )
        self._worker.start()
        self._samples = Batch.empty(settings.pool)
        self._reuse = settings.reuse
        self._random = np.random.default_rng(seed)
        self.received = 0
        self._drawn = 0

    def draw(self, count: int) -> dict[str, Tensor]:
        """A batch of samples; waits for the worker where each sample has been used enough.

        Takes no more than it needs: on a shared core the worker then leaves its time to the training.
        """
        while True:
            if self.received >= len(self._samples.images) and self._drawn < (self._reuse - 0.3) * self.received:
                break
            starved = self.received < 2048 or self._drawn + count > self._reuse * self.received
            try:
                chunk = self._chunks.get(timeout=60) if starved else self._chunks.get_nowait()
            except queue.Empty:
                if starved and not self._worker.is_alive():
                    raise RuntimeError("the rendering process has ended") from None
                if not starved:
                    break
                continue
            self._samples.replace(self.received % len(self._samples.images), chunk)
            self.received += len(chunk.images)
        self._drawn += count
        return self._samples.take(self._random.integers(0, min(self.received, len(self._samples.images)), count))

    def close(self) -> None:
        """End the worker."""
        self._worker.terminate()
        self._worker.join()


# --- losses -----------------------------------------------------------------------------------------------------------


def cell_targets(centres: Tensor) -> tuple[Tensor, Tensor]:
    """Where each character's centre lies: weights (B, cells, SLOTS) summing to 1 over cells, and which are known.

    The second is bool (B, SLOTS). The weights are a small Gaussian around the centre, in cells.
    """
    known = torch.isfinite(centres).all(dim=-1)
    x = centres[..., 0].nan_to_num() * CELLS_WIDE - 0.5
    y = centres[..., 1].nan_to_num() * CELLS_HIGH - 0.5
    columns, rows = torch.arange(CELLS_WIDE), torch.arange(CELLS_HIGH)
    weight_x = torch.exp(-((x[:, None, :] - columns[:, None]) ** 2) / 0.5)
    weight_y = torch.exp(-((y[:, None, :] - rows[:, None]) ** 2) / 1.1)
    weights = (weight_y[:, :, None] * weight_x[:, None]).flatten(1, 2)
    return weights / weights.sum(dim=1, keepdim=True).clamp_min(1e-6), known


def losses(outputs: Outputs, batch: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
    """Each loss, and which samples were read exactly right."""
    characters, readable = batch["characters"], batch["readable"].bool()
    per_slot = F.cross_entropy(outputs.characters.flatten(0, 1), characters.flatten(), reduction="none")
    # Spoiled plates and no plates teach "blank" gently, so that nothing is hallucinated on them.
    weight = torch.where(readable, 1.0, 0.1)[:, None]
    text = (per_slot.view_as(characters) * weight).mean()
    target, known = cell_targets(batch["centres"])
    looking = outputs.attention.log_softmax(dim=1)
    where = -((target * looking).sum(dim=1) * known).sum() / known.sum().clamp_min(1)
    # A cell near a centre must name that character; a cell near none is blank.
    near, owner = (target * known[:, None]).max(dim=2)
    named = torch.where(near > 0.12, characters.gather(1, owner), torch.full_like(owner, BLANK))
    sure = (near > 0.12) | (near < 0.01)
    cells = F.cross_entropy(outputs.cells.flatten(0, 1), named.flatten(), reduction="none").view_as(near)
    # Where a real plate's characters stand is not known: its cells teach nothing.
    sure &= (known.any(dim=1) | ~readable)[:, None]
    cell = (cells * sure).sum() / sure.sum()
    right = (outputs.characters.argmax(dim=2) == characters).all(dim=1) & readable
    return {
        "text": text,
        "where": where,
        "cell": cell,
        "rows": F.cross_entropy(outputs.rows, batch["rows"], ignore_index=UNKNOWN),
        "colour": F.cross_entropy(outputs.colour, batch["colours"], ignore_index=UNKNOWN),
        "readable": F.binary_cross_entropy_with_logits(outputs.readable, right.float()),
    }, right


def total_loss(parts: dict[str, Tensor], progress: float) -> Tensor:
    """The sum to go down: the dense helpers fade as the run goes on. `progress` is 0..1."""
    helper = max(0.1, 1.0 - 2.5 * progress)
    return (
        parts["text"]
        + helper * (0.15 * parts["where"] + 0.3 * parts["cell"])
        + 0.05 * parts["rows"]
        + 0.05 * parts["colour"]
        + 0.05 * parts["readable"]
    )


# --- the run ----------------------------------------------------------------------------------------------------------


def validation_samples(path: Path, settings: Settings, backgrounds: Path | None) -> Batch:
    """Rendered once in a run and kept beside it: the same plates to the end, whatever becomes of the renderer."""
    if path.exists():
        with np.load(path) as stored:
            return Batch(**{field.name: stored[field.name] for field in fields(Batch)})
    batch = render_batch(Random(VALIDATION_SEED), load_backgrounds(backgrounds), settings.validation)
    np.savez_compressed(path, **{field.name: getattr(batch, field.name) for field in fields(Batch)})
    return batch


@torch.no_grad()
def validate(net: RecognizerNet, samples: Batch) -> dict[str, float]:
    """Exactly right texts and heads over rendered validation plates, shares of 1."""
    net.eval()
    right, rows, colours, known_colours, readable = 0, 0, 0, 0, 0
    for start in range(0, len(samples.images), 250):
        batch = samples.take(np.arange(start, min(start + 250, len(samples.images))))
        outputs = net(batch["images"])
        wanted = batch["readable"].bool()
        right += int(((outputs.characters.argmax(2) == batch["characters"]).all(1) & wanted).sum())
        rows += int(((outputs.rows.argmax(1) == batch["rows"]) & wanted).sum())
        told = batch["colours"] != UNKNOWN
        colours += int(((outputs.colour.argmax(1) == batch["colours"]) & told).sum())
        known_colours += int(told.sum())
        readable += int(wanted.sum())
    net.train()
    return {
        "exact": round(right / max(1, readable), 4),
        "rows": round(rows / max(1, readable), 4),
        "colour": round(colours / max(1, known_colours), 4),
    }


def rate_at(settings: Settings, step: int, progress: float) -> float:
    """Learning rate: linear warm-up, then a cosine down to a hundredth by the end of the time."""
    if step < settings.warm_up:
        return settings.peak_rate * (step + 1) / settings.warm_up
    return settings.peak_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


def train(
    run: Path,
    settings: Settings,
    net_settings: NetSettings,
    minutes: float,
    backgrounds: Path | None = None,
    real: Path | None = None,
    resume: bool = False,
) -> None:
    """Train for `minutes` of this process's life beyond what a resumed run already had."""
    run.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(settings.seed)
    net, averaged = RecognizerNet(net_settings), RecognizerNet(net_settings)
    net.to(memory_format=torch.channels_last)
    averaged.load_state_dict(net.state_dict())
    averaged.requires_grad_(False)
    decayed = [p for p in net.parameters() if p.ndim > 1]
    plain = [p for p in net.parameters() if p.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": plain, "weight_decay": 0.0}], lr=1e-3
    )
    step, spent_s, samples = 0, 0.0, 0
    if resume and (run / "checkpoint.pt").exists():
        state = torch.load(run / "checkpoint.pt", weights_only=False)
        net.load_state_dict(state["net"])
        averaged.load_state_dict(state["averaged"])
        optimiser.load_state_dict(state["optimiser"])
        step, spent_s, samples = state["step"], state["spent_s"], state["samples"]
    # After a resumption the worker must not render the same plates again.
    pool = Pool(settings, backgrounds, real, settings.seed * 1000 + step)
    validation = validation_samples(run / "validation.npz", settings, backgrounds)

    def save() -> None:
        state = {
            "net": net.state_dict(),
            "averaged": averaged.state_dict(),
            "optimiser": optimiser.state_dict(),
            "settings": asdict(settings),
            "net_settings": asdict(net_settings),
            "step": step,
            "samples": samples,
            "spent_s": spent_s,
        }
        torch.save(state, run / "checkpoint.tmp")
        (run / "checkpoint.tmp").replace(run / "checkpoint.pt")

    last, last_save = time.monotonic(), time.monotonic()
    sums: dict[str, float] = {}
    counted = 0
    try:
        while spent_s < minutes * 60:
            progress = spent_s / (minutes * 60)
            for group in optimiser.param_groups:
                group["lr"] = rate_at(settings, step, progress)
            batch = pool.draw(settings.batch)
            images = batch["images"].to(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16, enabled=settings.bf16):
                outputs = net(images)
            parts, right = losses(Outputs(*(output.float() for output in outputs)), batch)
            optimiser.zero_grad(set_to_none=True)
            total_loss(parts, progress).backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
            step, samples = step + 1, samples + settings.batch
            follow(averaged, net, min(settings.average, (step + 1) / (step + 10)))
            for name, value in (parts | {"right": right.float().mean()}).items():
                sums[name] = sums.get(name, 0.0) + value.item()
            counted += 1
            now = time.monotonic()
            spent_s, last = spent_s + now - last, now
            if step % settings.report == 0:
                line: dict[str, Any] = {
                    "step": step,
                    "samples": samples,
                    "rendered": pool.received,
                    "s": round(spent_s),
                }
                line |= {name: round(value / counted, 4) for name, value in sums.items()}
                if step % (10 * settings.report) == 0:
                    line |= {"validation": validate(averaged, validation)}
                sums, counted = {}, 0
                with (run / "log.jsonl").open("a", encoding="utf-8") as log:
                    log.write(json.dumps(line) + "\n")
                print(json.dumps(line), flush=True)
            if now - last_save > settings.checkpoint_s:
                save()
                last_save = now
    finally:
        pool.close()
        save()
    print(json.dumps({"final": validate(averaged, validation)}))


@torch.no_grad()
def follow(averaged: RecognizerNet, net: RecognizerNet, keep: float) -> None:
    """Move the running average towards the network; counters and batch statistics too."""
    for slow, fast in zip(averaged.state_dict().values(), net.state_dict().values(), strict=True):
        if slow.dtype.is_floating_point:
            slow.lerp_(fast, 1 - keep)
        else:
            slow.copy_(fast)


def main() -> None:
    """Read the arguments and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="folder for checkpoint and log")
    parser.add_argument("--minutes", type=float, default=90, help="time to train, resumed time included")
    parser.add_argument("--backgrounds", type=Path, help="folder of plate-free pictures")
    parser.add_argument("--real", type=Path, help="folder with images/ and labels.csv of photographs that may train")
    parser.add_argument("--resume", action="store_true", help="go on from the run's checkpoint")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--fp32", action="store_true", help="train in float32: faster where the CPU has no bf16")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(1)
    # Being told to stop is no loss: what stands is saved on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    settings = Settings(seed=arguments.seed, bf16=not arguments.fp32)
    train(
        arguments.run,
        settings,
        NetSettings(),
        arguments.minutes,
        arguments.backgrounds,
        arguments.real,
        arguments.resume,
    )


if __name__ == "__main__":
    main()
