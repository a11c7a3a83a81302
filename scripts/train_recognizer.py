"""Train the recogniser on plates rendered on the fly.

    python -m scripts.train_recognizer --run FOLDER [--minutes 90] [--backgrounds FOLDER] [--resume]

Other processes render while this one learns; samples lie in a pool and each is met about `reuse` times, so a slow
renderer costs freshness and not time. `checkpoint.pt` holds the weights, their running average (which is what is
shipped), optimiser, settings and progress; `--resume` goes on from it, also after a kill. `best.pt` is the average that
read most of the rendered validation plates. `log.jsonl` has one line each `report` steps.

Losses: each slot's class; where each slot looks (the centre of its character is known in a rendered plate) and a class
for every cell, which make the first minutes learn at all; where the plate's corners lie; rows and colour; and
`readable`, whose target is whether the network has just read this fresh sample exactly right: so it learns its own
chance of being right.
"""

from __future__ import annotations

import argparse
import math
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lpr.plates.alphabet import BLANK
from scripts.recognizer_net import CELLS_HIGH, CELLS_WIDE, NetSettings, Outputs, RecognizerNet
from scripts.render.crops import UNKNOWN
from scripts.render.samples import Batch, Pool, Sources, load_backgrounds, render_batch
from scripts.training.compute import Compute, choose
from scripts.training.files import append_line, forget_after, load_checkpoint, save_checkpoint
from scripts.training.provenance import commit, data_facts
from scripts.training.watch import Lines, Watch

VALIDATION_SEED: Final = 990_017
CORNERS_WEIGHT: Final = 3.0


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that shapes a run; stored in its checkpoints.

    A run ends when its time is spent or, where `steps` is not 0, after so many. `pool` and `validation` are numbers of
    samples, `report` and `validate` steps between lines of the log and between validations (a multiple of `report`),
    `average` what the running average keeps at each step. `start` is a checkpoint whose averaged weights the run begins
    with, as far as they have a place in the network; empty where it begins with none.
    """

    seed: int = 1
    minutes: float = 90.0
    steps: int = 0
    batch: int = 128
    peak_rate: float = 2.5e-3
    warm_up: int = 300
    weight_decay: float = 0.02
    average: float = 0.998
    pool: int = 24_000
    reuse: float = 2.0
    validation: int = 3000
    report: int = 100
    validate: int = 1000
    checkpoint_s: float = 180.0
    start: str = ""


# --- a step -----------------------------------------------------------------------------------------------------------


class Learner:
    """The network, its running average and its optimiser, on their device: learns a batch at a time."""

    def __init__(self, settings: Settings, net_settings: NetSettings, compute: Compute) -> None:
        torch.manual_seed(settings.seed)
        self.settings, self.net_settings, self.compute = settings, net_settings, compute
        self.net = RecognizerNet(net_settings).to(compute.device, memory_format=torch.channels_last)
        self.averaged = RecognizerNet(net_settings).to(compute.device, memory_format=torch.channels_last)
        self.averaged.load_state_dict(self.net.state_dict())
        self.averaged.requires_grad_(False).eval()
        decayed = [p for p in self.net.parameters() if p.ndim > 1]
        plain = [p for p in self.net.parameters() if p.ndim <= 1]
        self.optimiser = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": plain, "weight_decay": 0.0}],
            lr=1e-3,
        )
        self.step = 0

    def learn(self, samples: Batch, rate: float, weigh: Callable[[dict[str, Tensor]], Tensor]) -> dict[str, Tensor]:
        """One step down the losses as `weigh` sums them; the losses, and `right`, the share read exactly right."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        batch = tensors(samples, self.compute.device)
        with self.compute.autocast():
            outputs = self.net(batch["images"])
        parts, right = losses(Outputs(*(output.float() for output in outputs)), batch)
        self.optimiser.zero_grad(set_to_none=True)
        weigh(parts).backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1
        follow(self.averaged, self.net, min(self.settings.average, (self.step + 1) / (self.step + 10)))
        return {name: value.detach() for name, value in (parts | {"right": right.float().mean()}).items()}

    def state(self) -> dict[str, Any]:
        """All that it takes to go on."""
        return self.weights() | {"net": self.net.state_dict(), "optimiser": self.optimiser.state_dict()}

    def weights(self) -> dict[str, Any]:
        """All that it takes to read, and what made it."""
        return {
            "averaged": self.averaged.state_dict(),
            "settings": asdict(self.settings),
            "net_settings": asdict(self.net_settings),
            "compute": str(self.compute),
            "step": self.step,
        }

    def begin_with(self, averaged: dict[str, Tensor]) -> None:
        """Take over weights; a part that this network has and they lack begins anew."""
        for net in (self.net, self.averaged):
            net.load_state_dict(self.net.state_dict() | averaged)

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self.net.load_state_dict(state["net"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]


def tensors(samples: Batch, device: str = "cpu") -> dict[str, Tensor]:
    """Samples on a device: images float (n, 3, h, w) in channels-last memory, labels int64, centres float."""
    images = torch.from_numpy(samples.images).to(device).permute(0, 3, 1, 2).float()
    batch = {"images": images}
    for name in ("centres", "corners"):
        batch[name] = torch.from_numpy(getattr(samples, name)).to(device)
    for name in ("characters", "rows", "colours", "readable"):
        batch[name] = torch.from_numpy(getattr(samples, name).astype(np.int64)).to(device)
    return batch


# --- losses -----------------------------------------------------------------------------------------------------------


def cell_targets(centres: Tensor) -> tuple[Tensor, Tensor]:
    """Where each character's centre lies: weights (B, cells, SLOTS) summing to 1 over cells, and which are known.

    The second is bool (B, SLOTS). The weights are a small Gaussian around the centre, in cells.
    """
    known = torch.isfinite(centres).all(dim=-1)
    x = centres[..., 0].nan_to_num() * CELLS_WIDE - 0.5
    y = centres[..., 1].nan_to_num() * CELLS_HIGH - 0.5
    columns, rows = (torch.arange(count, device=centres.device) for count in (CELLS_WIDE, CELLS_HIGH))
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
        "corners": corner_loss(outputs.corners, batch["corners"]),
    }, right


def corner_loss(found: Tensor, wanted: Tensor) -> Tensor:
    """How far corners (B, 4, 2) lie off where they are known, absolutely from two hundredths of the crop on."""
    known = torch.isfinite(wanted).flatten(1).all(dim=1)
    off = F.smooth_l1_loss(found, wanted.nan_to_num(), reduction="none", beta=0.02).mean(dim=(1, 2))
    return (off * known).sum() / known.sum().clamp_min(1)


def total_loss(parts: dict[str, Tensor], progress: float) -> Tensor:
    """The sum to go down: the dense helpers fade as the run goes on. `progress` is 0..1."""
    helper = max(0.1, 1.0 - 2.5 * progress)
    return (
        parts["text"]
        + helper * (0.15 * parts["where"] + 0.3 * parts["cell"])
        + 0.05 * parts["rows"]
        + 0.05 * parts["colour"]
        + 0.05 * parts["readable"]
        + CORNERS_WEIGHT * parts["corners"]
    )


# --- the run ----------------------------------------------------------------------------------------------------------


def validation_samples(path: Path, settings: Settings, backgrounds: Path | None) -> Batch:
    """Rendered once in a run and kept beside it: the same plates to the end, whatever becomes of the renderer."""
    if not path.exists():
        render_batch(Random(VALIDATION_SEED), load_backgrounds(backgrounds), settings.validation).save(path)
    return Batch.load(path)


@torch.no_grad()
def validate(net: RecognizerNet, samples: Batch, compute: Compute) -> dict[str, float]:
    """How much of rendered validation plates is right, shares of 1.

    `exact`: whole texts of readable plates; `signs`: their characters, each in its slot; `rows` and `colour`. And
    `corners`: how far these are off in the mean, in parts of the crop.
    """
    was_training = net.training
    net.eval()
    counts = np.zeros(7, np.int64)
    off: list[Tensor] = []
    for start in range(0, len(samples.images), 250):
        batch = tensors(samples.take(np.arange(start, min(start + 250, len(samples.images)))), compute.device)
        with compute.autocast():
            outputs = net(batch["images"])
        wanted, told = batch["readable"].bool(), batch["colours"] != UNKNOWN
        slots = outputs.characters.argmax(2) == batch["characters"]
        signs = (batch["characters"] != BLANK) & wanted[:, None]
        found = (
            (slots.all(1) & wanted, slots & signs, (outputs.rows.argmax(1) == batch["rows"]) & wanted),
            ((outputs.colour.argmax(1) == batch["colours"]) & told, wanted, signs, told),
        )
        counts += [int(each.sum()) for group in found for each in group]
        off.append((outputs.corners.float() - batch["corners"]).abs().flatten())
    net.train(was_training)
    exact, right_signs, rows, colours, readable, all_signs, told_colours = (int(count) for count in counts)
    return {
        "exact": round(exact / max(1, readable), 4),
        "signs": round(right_signs / max(1, all_signs), 4),
        "rows": round(rows / max(1, readable), 4),
        "colour": round(colours / max(1, told_colours), 4),
        "corners": round(float(torch.cat(off).nanmean()), 4),
    }


def rank(figures: dict[str, float]) -> tuple[float, float]:
    """Which of two validations is the better one: by whole texts, and while there are none by characters."""
    return figures["exact"], figures.get("signs", 0.0)


def rate_at(settings: Settings, step: int, progress: float) -> float:
    """Learning rate: linear warm-up, then a cosine down to a hundredth by the end of the time."""
    if step < settings.warm_up:
        return settings.peak_rate * (step + 1) / settings.warm_up
    return settings.peak_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


class Run:
    """A training in its folder: what is saved there, and when."""

    def __init__(self, folder: Path, learner: Learner, sources: Sources, watch: Watch) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.learner, self.sources, self.watch = folder, learner, sources, watch
        self.spent_s, self.samples = 0.0, 0
        self.commits: list[str] = []
        self.best = load_checkpoint(folder / "best.pt")
        self.data = [data_facts(each) for each in sources.folders]

    @property
    def progress(self) -> float:
        """How much of the run is done, 0..1."""
        settings = self.learner.settings
        done = self.learner.step / settings.steps if settings.steps else 0.0
        return max(done, self.spent_s / 60 / settings.minutes)

    def resume(self) -> None:
        """Go on from the checkpoint; where there is none yet, from the beginning. Raises `FileNotFoundError`."""
        state = load_checkpoint(self.folder / "checkpoint.pt")
        if state is None and (start := self.learner.settings.start):
            if (first := load_checkpoint(Path(start))) is None:
                raise FileNotFoundError(f"there is no checkpoint {start} to begin with")
            self.learner.begin_with(first["averaged"])
        if state is not None:
            self.learner.restore(state)
            self.spent_s, self.samples = state["spent_s"], state["samples"]
            self.commits = list(state.get("commits", []))
        if self.best is not None and self.best["step"] > self.learner.step:
            self.best = None  # of steps that a kill took back
        forget_after(self.learner.step, self.folder / "log.jsonl")

    def begin(self) -> None:
        """Note by which code it goes on."""
        if (now := commit()) not in self.commits[-1:]:
            self.commits.append(now)

    def _facts(self) -> dict[str, Any]:
        return {"samples": self.samples, "spent_s": self.spent_s, "commits": self.commits, "data": self.data}

    def save(self) -> None:
        """Write the checkpoint."""
        save_checkpoint(self.learner.state() | self._facts(), self.folder / "checkpoint.pt")

    def judge(self, figures: dict[str, float]) -> None:
        """Keep the average where none before read more of the validation plates."""
        if self.best is None or rank(figures) >= rank(self.best["validation"]):
            self.best = self.learner.weights() | self._facts() | {"validation": figures}
            save_checkpoint(self.best, self.folder / "best.pt")

    def log(self, figures: dict[str, Any]) -> None:
        """Add a line to the log."""
        append_line(figures, self.folder / "log.jsonl")
        self.watch.report(figures)


def train(
    folder: Path,
    settings: Settings,
    net_settings: NetSettings,
    *,
    compute: Compute,
    sources: Sources,
    resume: bool = False,
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Train until the settings' time or steps are spent, those of an interrupted run included; the best weights.

    What is returned is what `best.pt` holds: `averaged`, the settings, and the figures of its `validation`.
    """
    torch.set_num_threads(compute.threads)
    if not resume and (folder / "checkpoint.pt").exists():
        raise FileExistsError(f"{folder} holds a run already: resume it (--resume), or begin another folder")
    run = Run(folder, Learner(settings, net_settings, compute), sources, watch or Lines())
    run.resume()
    validation = validation_samples(folder / "validation.npz", settings, sources.backgrounds)
    if run.progress < 1:
        run.begin()
        _learn(run, validation)
    if run.best is None or run.best["step"] < run.learner.step:
        figures = validate(run.learner.averaged, validation, compute)
        run.judge(figures)
        run.watch.report({"final": figures})
    assert run.best is not None
    return run.best


def _learn(run: Run, validation: Batch) -> None:
    """The loop."""
    learner, settings = run.learner, run.learner.settings
    # After a resumption the workers must not render the same plates again.
    seed = f"{settings.seed} from {learner.step}"
    workers = learner.compute.workers
    with Pool(run.sources, size=settings.pool, reuse=settings.reuse, seed=seed, workers=workers) as pool:
        last = last_save = time.monotonic()
        sums: dict[str, Tensor] = {}
        counted = 0
        try:
            while (progress := run.progress) < 1:
                rate = rate_at(settings, learner.step, progress)
                # Weights that read already need no help with looking.
                weigh = partial(total_loss, progress=1.0 if settings.start else progress)
                parts = learner.learn(pool.draw(settings.batch), rate, weigh)
                run.samples += settings.batch
                sums = {name: value + sums.get(name, 0.0) for name, value in parts.items()}
                counted += 1
                now = time.monotonic()
                run.spent_s, last = run.spent_s + now - last, now
                run.watch.advance(run.progress)
                if learner.step % settings.report == 0:
                    line: dict[str, Any] = {"step": learner.step, "samples": run.samples, "rendered": pool.received}
                    line["s"] = round(run.spent_s)
                    line |= {name: round(float(value) / counted, 4) for name, value in sums.items()}
                    if learner.step % settings.validate == 0:
                        line["validation"] = validate(learner.averaged, validation, learner.compute)
                        run.judge(line["validation"])
                    sums, counted = {}, 0
                    run.log(line)
                if now - last_save > settings.checkpoint_s:
                    run.save()
                    last_save = now
        finally:
            run.save()


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
    parser.add_argument("--device", default="cpu", help="cpu, cuda, ... or auto: the GPU where torch finds one")
    parser.add_argument("--threads", type=int, default=1, help="that learn, on a CPU")
    parser.add_argument("--workers", type=int, default=1, help="processes that render")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--start", default="", help="checkpoint whose weights to begin with")
    parser.add_argument("--rate", type=float, default=Settings.peak_rate, help="highest learning rate")
    parser.add_argument("--fp32", action="store_true", help="no bf16, also where the device has it")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    # Being told to stop is no loss: what stands is saved on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        train(
            arguments.run,
            Settings(seed=arguments.seed, minutes=arguments.minutes, start=arguments.start, peak_rate=arguments.rate),
            NetSettings(),
            compute=choose(
                arguments.device,
                bf16=False if arguments.fp32 else None,
                threads=arguments.threads,
                workers=arguments.workers,
            ),
            sources=Sources(arguments.backgrounds, arguments.real),
            resume=arguments.resume,
        )
    except (FileExistsError, FileNotFoundError, ValueError) as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
