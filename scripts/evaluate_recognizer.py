"""How well the recogniser reads labelled plates, apart from the detector: by source, with a sheet of what went wrong.

    python -m scripts.evaluate_recognizer DATA/eval/vietnam [--checkpoint RUN/checkpoint.pt] [--sheet wrong.png]

Crops are the labelled upright boxes, grown and shifted a little at random as a detector would. Without `--checkpoint`
the shipped network (models/recognizer.xml) is measured. Measuring only: nothing here chooses or trains anything.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from lpr.domain.plate import PlateText
from lpr.plates.alphabet import normalise
from lpr.plates.decode import decode
from scripts.render.crops import rectify

Image = NDArray[np.uint8]
ROOT: Final = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What the network says of one crop: `characters` [slots, classes], `colour` [5], all of it probabilities."""

    characters: NDArray[np.float32]
    two_rows: float
    readable: float
    colour: NDArray[np.float32]


Reader = Callable[[Image], Answer]


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """One labelled plate and what was read."""

    source: str
    wanted: str
    width: float
    rows: int | None
    plate: PlateText
    answer: Answer
    crop: Image

    @property
    def right(self) -> bool:
        """Exactly the labelled text."""
        return self.plate.text == self.wanted


def openvino_reader(path: Path) -> Reader:
    """The exported network on the CPU."""
    import openvino as ov

    core = ov.Core()
    compiled = core.compile_model(core.read_model(path), "CPU", {"INFERENCE_NUM_THREADS": 1})
    names = [output.get_any_name() for output in compiled.outputs]

    def read(crop: Image) -> Answer:
        result = dict(zip(names, compiled(crop[None]).values(), strict=True))
        return Answer(
            result["characters"][0],
            float(result["rows"][0, 1]),
            float(result["readable"].reshape(-1)[0]),
            result["colour"][0],
        )

    return read


def checkpoint_reader(path: Path) -> Reader:
    """A training run's averaged weights."""
    import torch

    from scripts.recognizer_net import NetSettings, RecognizerNet

    torch.set_num_threads(1)
    state = torch.load(path, weights_only=False)
    net = RecognizerNet(NetSettings(**state["net_settings"]))
    net.load_state_dict(state["averaged"])
    net.eval()

    def read(crop: Image) -> Answer:
        with torch.no_grad():
            out = net(torch.from_numpy(crop).permute(2, 0, 1)[None].float())
        return Answer(
            out.characters[0].softmax(1).numpy(),
            float(out.rows[0].softmax(0)[1]),
            float(out.readable[0].sigmoid()),
            out.colour[0].softmax(0).numpy(),
        )

    return read


def jittered(box: tuple[float, float, float, float], random: Random, amount: float) -> NDArray[np.float32]:
    """Corners of an upright box as a detector might give them."""
    x, y, width, height = box
    grow_x, grow_y = 1 + random.gauss(0, amount), 1 + random.gauss(0, amount)
    middle_x = x + width / 2 + random.gauss(0, amount / 2) * width
    middle_y = y + height / 2 + random.gauss(0, amount / 2) * height
    left, right = middle_x - width * grow_x / 2, middle_x + width * grow_x / 2
    top, bottom = middle_y - height * grow_y / 2, middle_y + height * grow_y / 2
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)


def evaluate(folder: Path, read: Reader, views: int, jitter: float) -> list[Outcome]:
    """Read every labelled plate of `folder` (images/ and labels.csv)."""
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        labels = [row for row in csv.DictReader(file) if row["text"]]
    random = Random(5)
    outcomes = []
    for row in labels:
        image = cv2.imread(str(folder / "images" / row["image"]))
        if image is None:
            continue
        box = tuple(float(row[name]) for name in ("x", "y", "width", "height"))
        crops = [rectify(image, jittered((box[0], box[1], box[2], box[3]), random, jitter))[0] for _ in range(views)]
        answers = [read(crop) for crop in crops]
        answer = Answer(
            np.mean([each.characters for each in answers], axis=0),
            float(np.mean([each.two_rows for each in answers])),
            float(np.mean([each.readable for each in answers])),
            np.mean([each.colour for each in answers], axis=0),
        )
        plate = decode(answer.characters, 2 if answer.two_rows > 0.5 else 1)
        rows = int(row["rows"]) if row["rows"] else None
        source = row["image"].split("_")[0]
        outcomes.append(Outcome(source, normalise(row["text"]), box[2], rows, plate, answer, crops[0]))
    return outcomes


def report(outcomes: list[Outcome]) -> None:
    """Print the tables."""
    groups: dict[str, list[Outcome]] = defaultdict(list)
    for each in outcomes:
        for name in ("all", each.source, f"rows {each.rows}"):
            groups[name].append(each)
    print(
        f"{'group':10} {'plates':>6} {'exact':>7} {'raw':>7} {'char err':>8} {'rows ok':>7} {'>= 0.9':>8} {'wrong':>8}"
    )
    for name, group in groups.items():
        sure = [each for each in group if each.plate.confidence >= 0.9]
        wrong = sum(not each.right for each in sure)
        known = [each for each in group if each.rows is not None]
        rows_right = sum((each.answer.two_rows > 0.5) == (each.rows == 2) for each in known)
        print(
            f"{name:10} {len(group):6} {share(sum(each.right for each in group), len(group))}"
            f" {share(sum(each.plate.raw == each.wanted for each in group), len(group))}"
            f" {np.mean([distance(each.plate.text, each.wanted) for each in group]):8.3f}"
            f" {share(rows_right, len(known))} {share(len(sure), len(group)):>8} {wrong:8}"
        )
    mended = sum(each.right and each.plate.raw != each.wanted for each in outcomes)
    broken = sum(not each.right and each.plate.raw == each.wanted for each in outcomes)
    print(f"correction mended {mended}, broke {broken}")


def share(part: int, whole: int) -> str:
    """Percent, aligned."""
    return f"{100 * part / max(1, whole):6.2f}%"


def distance(a: str, b: str) -> int:
    """Edits between two texts."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (x != y))
    return row[-1]


def draw_sheet(outcomes: list[Outcome], path: Path) -> None:
    """The wrong ones with what was wanted, what was read and how sure it was."""
    tiles = []
    for each in sorted((each for each in outcomes if not each.right), key=lambda each: -each.plate.confidence):
        tile = np.zeros((166, 196, 3), np.uint8)
        tile[:96, :192] = cv2.resize(each.crop, (192, 96), interpolation=cv2.INTER_LINEAR)
        lines = (f"{each.source} {each.width:.0f}px", f"is   {each.wanted}", f"read {each.plate.text}")
        sure = f"{each.plate.confidence:.2f} readable {each.answer.readable:.2f}"
        for index, line in enumerate((*lines, sure)):
            text = line.replace("Đ", "D-")
            cv2.putText(
                tile, text, (3, 112 + 16 * index), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 255, 255), 1, cv2.LINE_AA
            )
        tiles.append(tile)
    tiles.extend([np.zeros((166, 196, 3), np.uint8)] * (-len(tiles) % 8))
    if tiles:
        cv2.imwrite(str(path), np.vstack([np.hstack(tiles[at : at + 8]) for at in range(0, len(tiles), 8)]))


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="holds images/ and labels.csv")
    parser.add_argument("--checkpoint", type=Path, help="a training run's checkpoint instead of the shipped network")
    parser.add_argument("--model", type=Path, default=ROOT / "models" / "recognizer.xml")
    parser.add_argument("--views", type=int, default=1, help="crops of each plate that are averaged")
    parser.add_argument("--jitter", type=float, default=0.015, help="standard deviation of size, share of the plate")
    parser.add_argument("--sheet", type=Path, help="draw the wrong ones here")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    read = checkpoint_reader(arguments.checkpoint) if arguments.checkpoint else openvino_reader(arguments.model)
    outcomes = evaluate(arguments.folder, read, arguments.views, arguments.jitter)
    report(outcomes)
    if arguments.sheet:
        draw_sheet(outcomes, arguments.sheet)


if __name__ == "__main__":
    main()
