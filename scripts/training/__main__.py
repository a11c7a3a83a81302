"""Train both networks from nothing to models/, or improve the reader on a site's own plates.

    scripts/train                                      # drawings alone; on a GPU where torch finds one
    scripts/train --data DATA --seeds 1,2,3            # photographs of DATA/train, too; the best of three seeds ships
    scripts/train --quick                              # a small version: shows that all of it works
    scripts/train --detector keep --recognizer RUN/best.pt     # no training: from a checkpoint to what ships
    scripts/train --adapt FOLDER                       # improve the reader on labelled crops, into runs/adapted

Interrupted, by Ctrl-C, a kill or a power cut, the same command goes on. The result lies in RUN/models and, where it is
no quick one, in models/ in the end: weights, golden picture, curves, and training.json with the commit, seeds,
settings, data with its licences, and figures. The cards beside them are for people to write.

FOLDER of --adapt is what `lpr-agent queue export` writes, with a labels.csv (image,text) by someone who has looked at
the pictures; without one, a draft of it is written from what the agent read. The new folder of networks goes into the
configuration as vision.model_dir.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import Any, Final

import cv2

from lpr.domain.errors import LprError
from lpr.vision.models import models_folder
from scripts.reading import quiet
from scripts.training.adapt import AdaptSettings, adapt
from scripts.training.compute import Compute, choose
from scripts.training.course import KEEP, TRAIN, OtherPlanError, Plan, go
from scripts.training.files import publish
from scripts.training.show import Stages
from scripts.training.site import load_site

ROOT: Final = Path(__file__).resolve().parents[2]
CPU_MINUTES, GPU_MINUTES = 480.0, 45.0
QUICK_MINUTES: Final = 30.0
"""Quick runs end after so many steps; this bounds them where a machine has other things to do."""


def arguments_of(words: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, help="folder of the run (default runs/full, runs/quick)")
    parser.add_argument(
        "--out", type=Path, help="where the result goes (default models/; a quick one stays in the run)"
    )
    parser.add_argument(
        "--minutes", type=float, help=f"to train, in all ({CPU_MINUTES:g} on a CPU, {GPU_MINUTES:g} on a GPU)"
    )
    parser.add_argument("--data", type=Path, help="folder with train/ of labelled photographs; none: drawings alone")
    parser.add_argument("--seeds", default="1", help="such as 1,2,3: the one that reads rendered plates best ships")
    parser.add_argument("--quick", action="store_true", help="a minute's version")
    parser.add_argument(
        "--detector", default=TRAIN, metavar="CHECKPOINT", help="take this one, or `keep` the one of --models"
    )
    parser.add_argument("--recognizer", default=TRAIN, metavar="CHECKPOINT", help="the same for the reader")
    parser.add_argument("--models", type=Path, help="folder of the networks to keep or to adapt; none: those that ship")
    parser.add_argument("--adapt", type=Path, metavar="FOLDER", help="labelled crops to improve the reader on")
    parser.add_argument("--steps", type=int, default=AdaptSettings().steps, help="of an adaptation")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ...")
    parser.add_argument("--threads", type=int, help="that learn, on a CPU (default: half of the cores)")
    parser.add_argument("--workers", type=int, help="processes that render (default: the other half)")
    return parser.parse_args(words)


def plan_of(arguments: argparse.Namespace, compute: Compute) -> Plan:
    """What the command line asks for. Raises ValueError."""
    minutes = QUICK_MINUTES if arguments.quick else CPU_MINUTES if compute.device == "cpu" else GPU_MINUTES
    keeps = KEEP in (arguments.detector, arguments.recognizer)
    data = arguments.data
    if data is not None and not (data / "train").is_dir():
        raise ValueError(f"{data} holds no folder train/ with photographs")
    try:
        seeds = tuple(int(seed) for seed in arguments.seeds.split(","))
    except ValueError as error:
        raise ValueError(f"--seeds takes numbers such as 1,2,3, not {arguments.seeds}") from error
    return Plan(
        minutes=arguments.minutes or minutes,
        seeds=seeds,
        data=None if data is None else str(data.resolve()),
        detector=arguments.detector,
        recognizer=arguments.recognizer,
        base=str((arguments.models or models_folder()).resolve()) if keeps else "",
        quick=arguments.quick,
    )


def tell(record: dict[str, Any], stages: Stages) -> None:
    """The figures that matter."""
    figures = record["figures"]
    if reader := figures.get("recognizer"):
        float_, chance = reader["float"], reader["chance"]
        stages.console.print(
            f"reader, on fresh rendered plates: text exactly right {float_['exact']:.1%}, "
            f"characters {float_['signs']:.1%} (always the same answer: {chance:.1%})"
        )
    if calibration := figures.get("calibration"):
        stages.console.print(f"temperature {calibration['temperature']:g}")
    if agreement := figures.get("agreement"):
        stages.console.print(f"FP32, BF16 and INT8 differ by {agreement['widest_points']:.2f} points at most")


def run_adaptation(arguments: argparse.Namespace, compute: Compute, stages: Stages) -> int:
    """Adapt; 0 where the site is read better, 1 where it is not."""
    quiet()
    site = load_site(arguments.adapt)
    parts = f"{len(site.train)} crops train, {len(site.choose)} choose, {len(site.measure)} measure"
    stages.console.print(f"{site.vehicles} vehicles: {parts}", highlight=False)
    models, out = arguments.models or models_folder(), arguments.out or ROOT / "runs" / "adapted"
    settings = AdaptSettings(steps=arguments.steps)
    adapted = adapt(site, models, out, settings, compute=compute, stages=stages)
    before, after = adapted.before, adapted.after
    for name, first, then in (
        ("the site's crops", before.site, after.site),
        ("rendered plates", before.rendered, after.rendered),
    ):
        stages.console.print(f"{name}: {first:.1%} exactly right before, {then:.1%} after", highlight=False)
    if adapted.folder is None:
        print("the reader does not get better on this site: nothing is written", file=sys.stderr)
        return 1
    stages.console.print(f"the networks are in {out}: vision.model_dir in the agent's configuration", highlight=False)
    return 0


def run_course(arguments: argparse.Namespace, compute: Compute, stages: Stages) -> int:
    """Train, export, publish."""
    plan = plan_of(arguments, compute)
    run = arguments.run or ROOT / "runs" / ("quick" if plan.quick else "full")
    stages.console.print(
        f"{run}: {compute}, {compute.threads} thread(s) learn, {compute.workers} process(es) render", highlight=False
    )
    tell(go(plan, run, compute, stages), stages)
    out = arguments.out or (None if plan.quick else ROOT / "models")
    if out is not None:
        publish(run / "models", out)
    stages.console.print(f"the networks are in {out or run / 'models'}", highlight=False)
    return 0


def main() -> int:
    """Read the arguments and go."""
    arguments = arguments_of()
    cv2.setNumThreads(1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    stages = Stages()
    try:
        compute = choose(arguments.device, threads=arguments.threads, workers=arguments.workers)
        return (run_course if arguments.adapt is None else run_adaptation)(arguments, compute, stages)
    except (LprError, ValueError, OtherPlanError, FileNotFoundError) as error:
        hint = getattr(error, "hint", None)
        print(f"{error}\n{hint}" if hint else error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
