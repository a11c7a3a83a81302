"""The whole way from nothing to two networks that ship: which trainings, in which folders, resumed where they stand.

RUN/plan.json says what was asked for; RUN/detector-1, RUN/recognizer-1 and so on are the trainings, one for each seed;
RUN/models is the result, RUN/models/training.json its record. All of it is written whole or not at all: after a kill
the same command goes on.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from scripts import train_detector, train_recognizer
from scripts.recognizer_net import NetSettings
from scripts.render.samples import Sources
from scripts.training.compute import Compute
from scripts.training.files import load_checkpoint, write_text
from scripts.training.finish import Chosen, finish
from scripts.training.show import Stages, draw_curves

KEEP: Final = "keep"
TRAIN: Final = "train"
DETECTOR_SHARE: Final = 0.4
"""Of the time, where both networks are trained."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked for.

    `minutes` are those of all trainings together. `detector` and `recognizer` are TRAIN, KEEP (take the network of
    `base`, a folder of networks, as it is) or the path of a checkpoint to take instead of training one. `data` holds
    train/ with photographs; None trains on drawings alone.
    """

    minutes: float
    seeds: tuple[int, ...] = (1,)
    data: str | None = None
    detector: str = TRAIN
    recognizer: str = TRAIN
    base: str = ""
    quick: bool = False

    @property
    def data_folder(self) -> Path | None:
        """`data` as a path."""
        return None if self.data is None else Path(self.data)

    def minutes_of(self, network: str) -> float:
        """Of each training of `network` (`detector`, `recognizer`)."""
        both = self.detector == self.recognizer == TRAIN
        share = 1.0 if not both else DETECTOR_SHARE if network == "detector" else 1 - DETECTOR_SHARE
        return self.minutes * share / len(self.seeds)


class OtherPlanError(Exception):
    """A run's folder holds one with another plan."""


def begin(plan: Plan, run: Path) -> None:
    """Note the plan, or see that it is the one that the run was begun with. Raises `OtherPlanError`."""
    path = run / "plan.json"
    wanted = json.loads(json.dumps(asdict(plan)))
    if not path.exists():
        run.mkdir(parents=True, exist_ok=True)
        write_text(json.dumps(wanted, indent=1) + "\n", path)
        return
    begun = json.loads(path.read_text(encoding="utf-8"))
    other = [f"{name} {begun.get(name)!r}, not {value!r}" for name, value in wanted.items() if begun.get(name) != value]
    if other:
        raise OtherPlanError(f"{run} was begun with {'; '.join(other)}: give the same, or another folder with --run")


def go(plan: Plan, run: Path, compute: Compute, stages: Stages) -> dict[str, Any]:
    """Train what is to be trained, export, measure; the record. Where the run is finished, its record alone."""
    begin(plan, run)
    record = run / "models" / "training.json"
    if not record.exists():
        chosen = {
            "detector": _choose(plan, plan.detector, run, "detector", compute, stages),
            "recognizer": _choose(plan, plan.recognizer, run, "recognizer", compute, stages),
        }
        base = Path(plan.base) if plan.base else None
        finish(run, chosen, base=base, data=plan.data_folder, quick=plan.quick, stages=stages)
    written: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
    return written


def _choose(plan: Plan, wanted: str, run: Path, network: str, compute: Compute, stages: Stages) -> Chosen | None:
    """The best checkpoint of a network, after training where that is wanted; None where the old network is kept."""
    if wanted == KEEP:
        return None
    if wanted != TRAIN:
        path = Path(wanted)
        state = load_checkpoint(path)
        if state is None:
            raise FileNotFoundError(f"there is no checkpoint {path}")
        return Chosen(path, state, [])
    train, rank = (
        (_train_detector, train_detector.rank) if network == "detector" else (_train_recognizer, train_recognizer.rank)
    )
    tried = []
    for seed in plan.seeds:
        folder = run / f"{network}-{seed}"
        with stages.training(f"{network}, seed {seed}") as bar:
            state = train(plan, seed, folder, compute, bar)
        draw_curves(folder / "log.jsonl", folder / "curves.svg")
        tried.append((folder / "best.pt", state))
    path, state = max(tried, key=lambda each: rank(each[1]["validation"]))
    others = [{"seed": each["settings"]["seed"], "validation": each["validation"]} for _, each in tried]
    return Chosen(path, state, others)


def _train_detector(plan: Plan, seed: int, folder: Path, compute: Compute, bar: Any) -> dict[str, Any]:
    settings = train_detector.Settings(minutes=plan.minutes_of("detector"), seed=seed)
    if plan.quick:
        small = ((128, 128),)
        settings = train_detector.Settings(
            minutes=plan.minutes, seed=seed, steps=40, batch=4, sizes=small, last_sizes=small, plates=60, rate=3e-3,
            validation_scenes=16,
        )  # fmt: skip
    return train_detector.train(plan.data_folder, folder, settings, compute=compute, watch=bar)


def _train_recognizer(plan: Plan, seed: int, folder: Path, compute: Compute, bar: Any) -> dict[str, Any]:
    settings = train_recognizer.Settings(minutes=plan.minutes_of("recognizer"), seed=seed)
    net = NetSettings()
    if plan.quick:
        settings = train_recognizer.Settings(
            minutes=plan.minutes, seed=seed, steps=450, batch=64, peak_rate=4e-3, warm_up=20, average=0.97, pool=4096,
            reuse=4, validation=300, report=10, validate=100, checkpoint_s=10,
        )  # fmt: skip
        net = NetSettings(stem=(16, 32), width=64, heads=4, feed_forward=128, layers=1)
    sources = Sources.of(plan.data_folder)
    return train_recognizer.train(folder, settings, net, compute=compute, sources=sources, resume=True, watch=bar)
