"""Make the confidence mean what it says: find the recogniser's temperature and store it with the weights.

    python -m scripts.calibrate [--models models] [--data DATA] [--picture reliability.svg]
    python -m scripts.calibrate --only-look                               # measure, store nothing

The confidence of a text is the product of its characters' probabilities (`lpr.plates.decode`). The temperature is the
one that makes it likeliest that each text is right as often as it says, over rendered plates and the labelled crops of
DATA/train/vietnam; figures are those of plates that it was not found with. It stands in the IR's rt_info, and
`lpr.vision.recognizer` applies it. Nothing of an `eval` folder belongs here.
"""

from __future__ import annotations

import argparse
import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from lpr.plates.decode import decode
from lpr.vision.engine import RT_INFO, load_openvino
from lpr.vision.models import model_path, models_folder
from lpr.vision.recognizer import TEMPERATURE, OpenVinoRecognizer, temper
from scripts.chart import Chart, Series, draw
from scripts.reading import opened_recognizer, quiet, recognise, texts_of
from scripts.render.crops import real_crop
from scripts.render.samples import Batch, load_backgrounds, load_real, render_batch

SEED: Final = 81
SURE: Final = 0.9
LEAST, MOST = 0.4, 2.5
"""Of the temperature: what lies beyond is no calibration but a broken network."""
EDGES: Final = (0.0, 0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 1.0)
"""Of the bins of said confidences."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was said of a crop, and what it says."""

    probabilities: NDArray[np.float32]
    rows: int
    top: int | None
    wanted: str


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Confidences [n], which of those texts are right, which plates can be read at all (bool [n])."""

    confidence: NDArray[np.float64]
    right: NDArray[np.bool_]
    readable: NDArray[np.bool_]

    @property
    def surprise(self) -> float:
        """Mean negative logarithm of the probability given to what came true; natural logarithm, smaller is better."""
        said = np.clip(self.confidence, 1e-6, 1 - 1e-6)
        return float(-np.log(np.where(self.right, said, 1 - said)).mean())

    def sure(self, least: float = SURE) -> tuple[float, float]:
        """Share of the readable plates that are said with `least` or more, and share of wrong ones among all those."""
        said = self.confidence >= least
        return float(said[self.readable].mean()), float((~self.right[said]).mean()) if said.any() else 0.0


def gather(count: int, data: Path | None) -> Batch:
    """Rendered crops, and those of the photographs that may train: each labelled plate five times."""
    random = Random(SEED)
    train = None if data is None else data / "train"
    backgrounds = load_backgrounds(None if train is None else train / "background" / "images")
    rendered = render_batch(random, backgrounds, count)
    real = load_real(None if train is None else train / "vietnam")
    crops = [real_crop(plate, random) for plate in real for _ in range(5)]
    batch = Batch.empty(count + len(crops))
    batch.replace(0, rendered)
    for number, crop in enumerate(crops, count):
        batch.put(number, crop)
    # Neighbours are alike; halves of a shuffled batch are alike as wholes.
    return batch.take(np.random.default_rng(SEED).permutation(len(batch.images)))


async def answers_of(recognizer: OpenVinoRecognizer, samples: Batch) -> tuple[list[Answer], float]:
    """What the recogniser says at temperature 1, and the temperature that is stored with it."""
    stored, recognizer.temperature = recognizer.temperature, 1.0
    answers = []
    for image, wanted in zip(samples.images, texts_of(samples), strict=True):
        said = await recognise(recognizer, np.asarray(image, np.uint8))
        answers.append(Answer(said.probabilities, 2 if said.two_rows >= 0.5 else 1, said.top, wanted))
    return answers, stored


def judge(answers: Sequence[Answer], temperature: float) -> Judged:
    """How sure the agent would be of each text at a temperature, and which are right.

    A read where there is nothing to read is wrong; an empty one is no read and is left out.
    """
    said = [decode(temper(each.probabilities, temperature), each.rows, top=each.top) for each in answers]
    pairs = [(text, each) for text, each in zip(said, answers, strict=True) if text.text or each.wanted]
    return Judged(
        np.array([text.confidence for text, _ in pairs]),
        np.array([text.text == each.wanted for text, each in pairs]),
        np.array([bool(each.wanted) for _, each in pairs]),
    )


def find_temperature(answers: Sequence[Answer], steps: int = 14) -> float:
    """The temperature of least surprise, to about a hundredth: by golden section over its logarithm."""
    ratio = (math.sqrt(5) - 1) / 2
    low, high = math.log(LEAST), math.log(MOST)

    def surprise(at: float) -> float:
        return judge(answers, math.exp(at)).surprise

    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = surprise(left), surprise(right)
    for _ in range(steps):
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = surprise(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = surprise(right)
    return round(math.exp((low + high) / 2), 3)


def reliability(judged: Judged) -> list[tuple[float, float, int]]:
    """For each bin that has reads: their mean confidence, the share that is right, how many they are."""
    bins = np.clip(np.digitize(judged.confidence, EDGES) - 1, 0, len(EDGES) - 2)
    rows = []
    for number in range(len(EDGES) - 1):
        inside = bins == number
        if inside.any():
            rows.append(
                (float(judged.confidence[inside].mean()), float(judged.right[inside].mean()), int(inside.sum()))
            )
    return rows


def reliability_picture(judged: dict[str, Judged]) -> str:
    """The reliability diagram of each, and how many plates are left with how few wrong ones as one asks for more."""
    ideal = Series("", [(0.0, 0.0), (1.0, 1.0)], dashed=True, dots=False)
    diagrams = [Series(name, [(said, true) for said, true, _ in reliability(each)]) for name, each in judged.items()]
    offered = np.linspace(0.0, 0.995, 60)
    trades = []
    for name, each in judged.items():
        shares = [each.sure(float(least)) for least in offered]
        trades.append(Series(name, [(100 * kept, 100 * wrong) for kept, wrong in shares], dots=False))
    charts = [
        Chart("Reliability", [ideal, *diagrams], "confidence said", "texts right", (0.0, 1.0), (0.0, 1.0)),
        Chart("At each confidence asked for", trades, "plates kept (%)", "wrong among them (%)", x_range=(0.0, 100.0)),
    ]
    return draw(charts, columns=2)


def store(path: Path, temperature: float) -> None:
    """Write the temperature into the IR at `path`; its weights stay as they are."""
    ov = load_openvino()
    model = ov.Core().read_model(path)
    model.set_rt_info(f"{temperature:g}", [RT_INFO, TEMPERATURE])
    new = path.with_name(f"{path.stem}.calibrated.xml")
    ov.serialize(model, new, new.with_suffix(".bin"))
    del model  # lets go of the old file, which it may have mapped
    new.with_suffix(".bin").replace(path.with_suffix(".bin"))
    new.replace(path)


def print_table(judged: dict[str, Judged]) -> None:
    """Figures, then the bins."""
    for name, each in judged.items():
        kept, wrong = each.sure()
        print(
            f"{name:24} surprise {each.surprise:.4f}   said {SURE:g} or more: {100 * kept:.1f} % of readable plates, "
            f"{100 * wrong:.2f} % of them wrong"
        )
    for name, each in judged.items():
        print(f"\n{name}\n{'said':>8}{'right':>8}{'reads':>8}")
        for said, true, count in reliability(each):
            print(f"{said:8.3f}{true:8.3f}{count:8}")


@dataclass(frozen=True, slots=True)
class Calibration:
    """A temperature and what it does to plates that it was not found with."""

    temperature: float
    judged: dict[str, Judged]


async def calibrate(models: Path, samples: Batch, temperature: float | None = None) -> Calibration:
    """Find the temperature of the recogniser in `models` on one half of the samples and try it on the other.

    A `temperature` that is given is tried in its place.
    """
    with opened_recognizer(models) as recognizer:
        answers, stored = await answers_of(recognizer, samples)
    half = len(answers) // 2
    temperature = temperature or find_temperature(answers[:half])
    names = {"network alone": 1.0, f"stored, {stored:g}": stored, f"new, {temperature:g}": temperature}
    # Where nothing is stored yet, that is the network alone.
    chosen = {name: value for name, value in names.items() if name == "network alone" or value != 1.0}
    return Calibration(temperature, {name: judge(answers[half:], value) for name, value in chosen.items()})


def main() -> None:
    """Read the arguments, measure, store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, help="folder of the networks; none: those that ship")
    parser.add_argument("--data", type=Path, help="holds train/; none: rendered plates alone")
    parser.add_argument("--crops", type=int, default=6000, help="rendered crops to read")
    parser.add_argument("--picture", type=Path, help="draw the reliability diagram here (.svg)")
    parser.add_argument("--temperature", type=float, help="store this one, whatever would be found")
    parser.add_argument("--only-look", action="store_true", help="store nothing")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    quiet()
    models = arguments.models or models_folder()
    found = asyncio.run(calibrate(models, gather(arguments.crops, arguments.data), arguments.temperature))
    print_table(found.judged)
    if arguments.picture is not None:
        arguments.picture.write_text(reliability_picture(found.judged), encoding="utf-8")
    if not arguments.only_look:
        path = model_path("recognizer", models)
        store(path, found.temperature)
        print(f"\n{path} now carries the temperature {found.temperature:g}")


if __name__ == "__main__":
    main()
