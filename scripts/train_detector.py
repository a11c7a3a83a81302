"""Train the detector: settings, targets, loss, data, validation, loop. One page, read from top to bottom.

    python -m scripts.train_detector DATA --out RUN --minutes 75            # starts, or goes on where RUN stopped
    python -m scripts.train_detector DATA --out RUN --start models/detector.xml --rate 5e-4     # from what ships

DATA holds `train/`; nothing else of it is read. RUN keeps `last.pt` (network, its running mean, optimiser, settings,
minutes spent), `best.pt` (the running mean that did best on rendered validation scenes) and `log.jsonl`. The learning
rate follows the minutes spent, so an interrupted run ends as planned.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scripts.detector_net import STRIDE, Detector, decode
from scripts.render.material import Material, folders_of, load_material, plate_pool
from scripts.render.quads import box_of
from scripts.render.scene import Scene, render_scene
from scripts.training.compute import Compute, choose
from scripts.training.files import append_line, forget_after, load_checkpoint, save_checkpoint
from scripts.training.provenance import commit, data_facts
from scripts.training.watch import Lines, Watch
from scripts.training.weights import freeze_norms, read_detector

SURE = 0.4
"""Confidence from which a cell counts as seeing a plate, in validation."""


@dataclass(frozen=True)
class Settings:
    """What made the weights; kept in the checkpoint and in the card.

    `start` is an IR whose weights the run begins with; its batch norms are folded and stay as they are.
    """

    minutes: float = 75.0
    steps: int = 0  # where not 0, the run ends after so many at the latest
    batch: int = 16
    sizes: tuple[tuple[int, int], ...] = ((256, 256), (256, 256), (224, 224), (320, 224), (288, 288))
    last_sizes: tuple[tuple[int, int], ...] = ((320, 320), (320, 320), (384, 256), (256, 256))
    last_part: float = 0.2  # the last part of the time is spent near the size that the agent uses
    rate: float = 2e-3
    weight_decay: float = 0.02
    mean_decay: float = 0.999
    plates: int = 4000  # rendered ahead and drawn from
    seed: int = 1
    validation_scenes: int = 256
    save_every_s: float = 300.0  # and validate
    start: str = ""


# --- targets and loss ----------------------------------------------------------------------------------------------


@dataclass
class Batch:
    """images u8 [n, h, w, 3]; owner int64 [n, h/8, w/8]: plate of that cell, -1 none, -2 teach nothing;
    quads [n, most, 4, 2] and exact [n, most]; complete [n]."""

    images: Tensor
    owner: Tensor
    quads: Tensor
    exact: Tensor
    complete: Tensor

    def to(self, device: str) -> Batch:
        """The same on a device."""
        return Batch(*(getattr(self, field.name).to(device, non_blocking=True) for field in fields(self)))


def cells_of(scene: Scene, rows: int, columns: int) -> np.ndarray:
    """Which plate each cell answers for: those around a plate's middle do, those next to them are left alone."""
    owner = np.full((rows, columns), -1, np.int64)
    x = (np.arange(columns) + 0.5)[None] * STRIDE
    y = (np.arange(rows) + 0.5)[:, None] * STRIDE
    for left, top, right, bottom in scene.ignored:
        owner[(x > left) & (x < right) & (y > top) & (y < bottom)] = -2
    boxes = box_of(scene.quads)
    smaller_last = np.argsort(-np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))
    for ring in (True, False):
        for i in smaller_last:
            left, top, right, bottom = boxes[i]
            middle_x, middle_y = (left + right) / 2, (top + bottom) / 2
            reach_x = float(np.clip(0.22 * (right - left), 0.55 * STRIDE, 2.5 * STRIDE)) + (STRIDE if ring else 0)
            reach_y = float(np.clip(0.22 * (bottom - top), 0.55 * STRIDE, 2.5 * STRIDE)) + (STRIDE if ring else 0)
            near = (abs(x - middle_x) < reach_x) & (abs(y - middle_y) < reach_y)
            inside = (x > left) & (x < right) & (y > top) & (y < bottom)
            owner[near & inside if ring else near] = -2 if ring else i
    return owner


def collate(scenes: list[Scene]) -> Batch:
    """Pack scenes of one size."""
    most = max(1, *(len(scene.quads) for scene in scenes))
    rows, columns = (side // STRIDE for side in scenes[0].image.shape[:2])
    quads = np.zeros((len(scenes), most, 4, 2), np.float32)
    exact = np.zeros((len(scenes), most), np.bool_)
    for i, scene in enumerate(scenes):
        quads[i, : len(scene.quads)], exact[i, : len(scene.quads)] = scene.quads, scene.exact
    owner = np.stack([cells_of(scene, rows, columns) for scene in scenes])
    images = np.stack([scene.image for scene in scenes])
    complete = np.array([scene.complete for scene in scenes])
    return Batch(*(torch.from_numpy(part) for part in (images, owner, quads, exact, complete)))


def overlap_of(found: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and generalised IoU of boxes [k, 4] pairwise by row."""
    low, high = torch.maximum(found[:, :2], wanted[:, :2]), torch.minimum(found[:, 2:], wanted[:, 2:])
    shared = (high - low).clamp(min=0).prod(1)
    union = (found[:, 2:] - found[:, :2]).prod(1) + (wanted[:, 2:] - wanted[:, :2]).prod(1) - shared
    hull = (torch.maximum(found[:, 2:], wanted[:, 2:]) - torch.minimum(found[:, :2], wanted[:, :2])).prod(1)
    iou = shared / union.clamp(min=1e-3)
    return iou, iou - (hull - union) / hull.clamp(min=1e-3)


def loss_of(raw: Tensor, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    """Confidence learns how well the cell's box fits (quality focal loss); boxes and corners where a plate is.

    The sum, and its parts for the log. Asks the device for no number, so that a GPU need not wait for the CPU.
    """
    raw = raw.float()
    boxes, corners = decode(raw)
    image, row, column = torch.nonzero(batch.owner >= 0, as_tuple=True)
    plate = batch.owner[image, row, column]
    quads = batch.quads[image, plate]
    wanted = torch.cat([quads.amin(1), quads.amax(1)], 1)
    found = boxes[image, :, row, column]
    iou, general = overlap_of(found, wanted)
    # Every plate weighs the same, however many cells answer for it.
    key = image * batch.quads.shape[1] + plate
    cells = torch.zeros(batch.quads.shape[0] * batch.quads.shape[1], device=raw.device)
    share = 1 / cells.index_add(0, key, torch.ones_like(iou))[key]
    plates = share.sum().clamp(min=1)

    target = torch.zeros_like(raw[:, 0])
    target[image, row, column] = iou.detach().clamp(min=0.1)
    probability = raw[:, 0].sigmoid()
    weight = (target - probability).detach().abs().pow(2) * (batch.owner != -2)
    # Photographs may hold plates without a box: a cell that is sure of one is not taught otherwise there.
    doubtful = (~batch.complete)[:, None, None] & (batch.owner == -1)
    weight = torch.where(doubtful, weight * ((1 - probability.detach()) / 0.4).clamp(0.05, 1), weight)
    # A positive cell counts by its share too, but not all the way: the middle of a large plate should be sure.
    balance = torch.ones_like(weight)
    balance[image, row, column] = share.sqrt() * 2
    confidence = (
        F.binary_cross_entropy_with_logits(raw[:, 0], target, reduction="none") * weight * balance
    ).sum() / plates

    box = ((1 - general) * share).sum() / plates
    size = (wanted[:, 2:] - wanted[:, :2]).clamp(min=4).repeat(1, 4)
    error = (corners[image, :, row, column] - quads.flatten(1)) / size
    known = batch.exact[image, plate].float() * share
    corner = (F.smooth_l1_loss(error, torch.zeros_like(error), reduction="none", beta=0.02).mean(1) * known).sum()
    corner = corner / known.sum().clamp(min=1)
    total = confidence + 1.5 * box + 8 * corner
    return total, {"confidence": confidence.detach(), "box": box.detach(), "corner": corner.detach()}


# --- data ----------------------------------------------------------------------------------------------------------


def held_out(name: str) -> bool:
    """One photograph in twenty is for validation, always the same ones."""
    return zlib.crc32(name.encode()) % 20 == 0


class Scenes(torch.utils.data.IterableDataset[Batch]):
    """Batches without end. The workers render, each its own scenes; the loop only learns."""

    def __init__(self, material: Material, settings: Settings, sizes: tuple[tuple[int, int], ...], seed: int) -> None:
        self.material, self.settings, self.sizes, self.seed = material, settings, sizes, seed

    def __iter__(self) -> Iterator[Batch]:
        cv2.setNumThreads(1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the loop's to answer
        worker = torch.utils.data.get_worker_info()
        if worker is not None:
            # Ended the long way, a worker is aborted now and then by a library's thread that still runs, and the loader
            # takes that for a fault of the training.
            Finalize(None, os._exit, args=(0,), exitpriority=-100)
        rng = np.random.default_rng((self.seed, worker.id if worker is not None else 0))
        while True:
            size = self.sizes[rng.integers(0, len(self.sizes))]
            yield collate([render_scene(rng, self.material, size) for _ in range(self.settings.batch)])


def batches(
    material: Material, settings: Settings, sizes: tuple[tuple[int, int], ...], seed: int, workers: int
) -> Iterator[Batch]:
    """Batches from worker processes."""
    scenes = Scenes(material, settings, sizes, seed)
    # Spawned: in a forked child the locks of OpenCV's and OpenMP's threads may be held by threads that it lacks.
    loader = torch.utils.data.DataLoader(
        scenes, batch_size=None, num_workers=workers, prefetch_factor=8, multiprocessing_context="spawn"
    )
    return iter(loader)


# --- validation ----------------------------------------------------------------------------------------------------


@torch.no_grad()
def validate(network: nn.Module, scenes: list[Batch], device: str = "cpu") -> dict[str, float]:
    """Found (the surest cell at a plate overlaps it by half), false (a sure cell far from any), corner error (in parts
    of the plate's size)."""
    network.eval()
    found = plates = false = pictures = 0
    corner_errors: list[float] = []
    for batch in scenes:
        raw = network(batch.images.to(device).permute(0, 3, 1, 2).float() / 255).float().cpu()
        boxes, corners = decode(raw)
        sure = raw[:, 0].sigmoid() * (batch.owner != -2)
        for i, owner in enumerate(batch.owner):
            pictures += 1
            false += int((sure[i] * _far_from_plates(owner, batch.quads[i])).max() >= SURE)
            for p in owner.unique().tolist():
                if p < 0:
                    continue
                plates += 1
                quad = batch.quads[i, p]
                row, column = divmod(int((sure[i] * (owner == p)).argmax()), owner.shape[1])
                wanted = torch.cat([quad.amin(0), quad.amax(0)])[None]
                iou = float(overlap_of(boxes[i, :, row, column][None], wanted)[0])
                if iou < 0.5 or float(sure[i, row, column]) < SURE:
                    continue
                found += 1
                if bool(batch.exact[i, p]):
                    size = (wanted[0, 2:] - wanted[0, :2]).repeat(4)
                    corner_errors.append(float(((corners[i, :, row, column] - quad.flatten()) / size).abs().mean()))
    return {
        "found": found / max(1, plates),
        "false_per_picture": false / max(1, pictures),
        "corner_error": float(np.mean(corner_errors)) if corner_errors else 1.0,
    }


def _far_from_plates(owner: Tensor, quads: Tensor) -> Tensor:
    """Cells that no plate answers for, bool [rows, columns]: neither by `owner` nor within the box around one."""
    far = owner == -1
    y = (torch.arange(owner.shape[0]) + 0.5)[:, None] * STRIDE
    x = (torch.arange(owner.shape[1]) + 0.5)[None] * STRIDE
    for (left, top), (right, bottom) in zip(quads.amin(1).tolist(), quads.amax(1).tolist(), strict=True):
        far &= ~((x > left) & (x < right) & (y > top) & (y < bottom))
    return far


# --- loop ----------------------------------------------------------------------------------------------------------


def rate_at(part: float, settings: Settings) -> float:
    """Learning rate after `part` (0..1) of the time: a short rise, then half a cosine."""
    return (
        settings.rate * min(1.0, part / 0.02 + 0.02) * (0.01 + 0.99 * 0.5 * (1 + float(np.cos(np.pi * min(1.0, part)))))
    )


def rank(figures: dict[str, float]) -> float:
    """How good a validation is: plates found, less what is seen where there are none and how far corners lie off."""
    return figures["found"] - 0.1 * figures["false_per_picture"] - figures["corner_error"]


class Run:
    """A training in its folder: network, running mean and optimiser, and what is saved of them."""

    def __init__(
        self, folder: Path, settings: Settings, compute: Compute, watch: Watch, data: Path | None = None
    ) -> None:
        torch.manual_seed(settings.seed)
        folder.mkdir(parents=True, exist_ok=True)
        self.data = [data_facts(each) for each in folders_of(data)]
        self.folder, self.settings, self.compute, self.watch = folder, settings, compute, watch
        network = read_detector(Path(settings.start)) if settings.start else Detector()
        self.network = network.to(compute.device, memory_format=torch.channels_last)
        self.steady = torch.optim.swa_utils.AveragedModel(self.network, use_buffers=True)
        self.optimiser = torch.optim.AdamW(self.network.parameters(), settings.rate, weight_decay=settings.weight_decay)
        self.spent_s, self.step = 0.0, 0
        self.commits: list[str] = []
        self.best = load_checkpoint(folder / "best.pt")
        start = settings.start
        if (kept := load_checkpoint(folder / "last.pt")) is not None:
            start = kept["settings"].get(
                "start", ""
            )  # of these weights the norms are folded or not, whatever is asked for
            self.network.load_state_dict(kept["network"])
            self.steady.load_state_dict(kept["steady"])
            self.optimiser.load_state_dict(kept["optimiser"])
            self.spent_s, self.step = kept["spent_s"], kept["step"]
            self.commits = list(kept.get("commits", []))
            self.settings = replace(settings, start=start)
        if start:
            freeze_norms(self.network)
        if self.best is not None and self.best["step"] > self.step:
            self.best = None  # of steps that a kill took back
        forget_after(self.step, folder / "log.jsonl")

    @property
    def part(self) -> float:
        """How much of the run is done, 0..1."""
        done = self.step / self.settings.steps if self.settings.steps else 0.0
        return max(done, self.spent_s / 60 / self.settings.minutes)

    def learn(self, batch: Batch) -> dict[str, Tensor]:
        """One step; the losses."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate_at(self.part, self.settings)
        batch = batch.to(self.compute.device)
        images = batch.images.permute(0, 3, 1, 2).float() / 255  # NHWC storage seen as NCHW: already channels_last
        with self.compute.autocast():
            raw = self.network(images)
        loss, parts = loss_of(raw, batch)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 10.0)
        self.optimiser.step()
        self.step += 1
        if self.step % 4 == 0:
            blend(self.steady, self.network, min(self.settings.mean_decay**4, self.step / (self.step + 40)))
        return parts

    def save(self) -> None:
        """Write the checkpoint whole or not at all."""
        state = {"network": self.network.state_dict(), "optimiser": self.optimiser.state_dict()}
        save_checkpoint(self._weights() | state, self.folder / "last.pt")

    def judge(self, figures: dict[str, float]) -> None:
        """Keep the running mean where none before did better on the validation scenes."""
        if self.best is None or rank(figures) >= rank(self.best["validation"]):
            self.best = self._weights() | {"validation": figures}
            save_checkpoint(self.best, self.folder / "best.pt")

    def _weights(self) -> dict[str, Any]:
        return {
            "steady": self.steady.state_dict(),
            "settings": asdict(self.settings),
            "compute": str(self.compute),
            "spent_s": self.spent_s,
            "step": self.step,
            "commits": self.commits,
            "data": self.data,
        }


def train(
    data: Path | None, out: Path, settings: Settings, *, compute: Compute, watch: Watch | None = None
) -> dict[str, Any]:
    """Learn until `settings.minutes` are spent; go on from `out`/last.pt where there is one. The best weights.

    Without `data` all scenes are drawn. What is returned is what `best.pt` holds: `steady`, the settings, and the
    figures of its `validation`.
    """
    torch.set_num_threads(compute.threads)
    run = Run(out, settings, compute, watch or Lines(), data)
    if run.part < 1 or run.best is None:
        _learn(run, data)
    assert run.best is not None
    return run.best


def _learn(run: Run, data: Path | None) -> None:
    """The loop."""
    settings = run.settings
    if (now := commit()) not in run.commits[-1:]:
        run.commits.append(now)
    material = load_material(data, plate_pool(settings.plates, settings.seed + run.step), held_out)
    checks = validation(data, settings)
    phase, source = -1, iter(())
    sums: list[dict[str, Tensor]] = []
    last = last_save = time.monotonic()
    try:
        while run.part < 1:
            if phase != (phase := int(run.part >= 1 - settings.last_part)):
                sizes = settings.last_sizes if phase else settings.sizes
                source = batches(material, settings, sizes, settings.seed + 1000 + run.step, run.compute.workers)
            sums.append(run.learn(next(source)))
            now_s = time.monotonic()
            run.spent_s, last = run.spent_s + now_s - last, now_s
            run.watch.advance(run.part)
            if now_s - last_save > settings.save_every_s:
                _look(run, checks, sums)
                last_save, sums = now_s, []
        _look(run, checks, sums)
    finally:
        run.save()


def _look(run: Run, checks: list[Batch], sums: list[dict[str, Tensor]]) -> None:
    """Validate, save, and write a line of the log."""
    figures = validate(run.steady.module, checks, run.compute.device)
    run.judge(figures)
    run.save()
    note: dict[str, Any] = {"step": run.step, "minutes": run.spent_s / 60, "rate": rate_at(run.part, run.settings)}
    if sums:
        note |= {name: float(torch.stack([each[name] for each in sums]).mean()) for name in sums[0]}
    note |= {f"valid_{name}": value for name, value in figures.items()}
    note = {name: round(value, 5) for name, value in note.items()}
    append_line(note, run.folder / "log.jsonl")
    run.watch.report(note)


@torch.no_grad()
def blend(steady: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the running mean of all weights and batch-norm figures towards the network."""
    mean = [t for t in steady.module.state_dict().values() if t.is_floating_point()]
    new = [t for t in network.state_dict().values() if t.is_floating_point()]
    torch._foreach_lerp_(mean, new, 1 - decay)


def validation(data: Path | None, settings: Settings) -> list[Batch]:
    """Rendered scenes with other plates and other photographs than training has."""
    plates = plate_pool(300, settings.seed + 77_777)
    kept = load_material(data, plates, lambda name: not held_out(name))
    rng = np.random.default_rng(5)
    scenes = [render_scene(rng, kept, (320, 320)) for _ in range(settings.validation_scenes)]
    return [collate(scenes[i : i + 16]) for i in range(0, len(scenes), 16)]


def main() -> None:
    """Read the arguments and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", help="the folder that holds train/; without it, drawings alone")
    parser.add_argument("--out", type=Path, required=True, help="the folder of this run")
    parser.add_argument("--minutes", type=float, default=Settings.minutes)
    parser.add_argument("--seed", type=int, default=Settings.seed)
    parser.add_argument("--start", default="", help="the IR of a detector whose weights to begin with")
    parser.add_argument("--rate", type=float, default=Settings.rate, help="highest learning rate")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, ... or auto: the GPU where torch finds one")
    parser.add_argument("--threads", type=int, default=1, help="that learn, on a CPU")
    parser.add_argument("--workers", type=int, default=1, help="processes that render")
    parser.add_argument("--fp32", action="store_true", help="no bf16, also where the device has it")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        compute = choose(
            arguments.device,
            bf16=False if arguments.fp32 else None,
            threads=arguments.threads,
            workers=arguments.workers,
        )
    except ValueError as error:
        raise SystemExit(str(error)) from error
    settings = Settings(minutes=arguments.minutes, rate=arguments.rate, seed=arguments.seed, start=arguments.start)
    train(arguments.data, arguments.out, settings, compute=compute)


if __name__ == "__main__":
    main()
