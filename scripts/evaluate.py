"""Measure the whole way, frame in and text out, on labelled photographs.

    python -m scripts.evaluate DATA/eval/vietnam DATA/train/background        # tables
    python -m scripts.evaluate DATA/eval/vietnam --sheet errors.png           # and a picture of what went wrong
    python -m scripts.evaluate DATA/eval/vietnam --found                      # the detector alone
    python -m scripts.evaluate DATA/eval/vietnam --reliability r.svg          # does the confidence mean what it says
    python -m scripts.evaluate DATA/eval/vietnam --judge reads.jsonl          # another program's reads, same tables

A label counts as found where a plate's box overlaps it (IoU at least 0.3), as read where that plate's text is the
label's (Đ counts as D, which is how the labels have it). A false read is a text of five characters or more on no
label. The figures are those of the networks in models/ through lpr.vision, as the agent runs them.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np

from lpr.domain.clock import SystemClock
from lpr.domain.frame import Frame, Image
from lpr.domain.geometry import Box
from lpr.domain.plate import PlateRead
from lpr.metrics import Metrics, Stage
from lpr.vision.detector import OpenVinoDetector
from lpr.vision.engine import Engine, EngineOptions
from lpr.vision.models import model_path
from lpr.vision.rectify import display_crop
from lpr.vision.vision import SIZES, Detail, Vision, VisionOptions
from scripts.calibrate import Judged, reliability, reliability_picture
from scripts.reading import quiet

FOUND_IOU = 0.3
SHORTEST_FALSE_READ = 5
NO_PLATE = "no plate"
NO_CROP: Image = np.zeros((1, 1, 3), np.uint8)
OTHERS = (
    "others on photographs of these kinds, as published with the data, not measured here: fast-alpr 0.4 with CCT-XS v2 "
    "found 96.1 %, read 90.4 %, 93 ms a frame on two cores; a Vietnamese YOLOv5n pair found 99.3 %, read 88.1 %, 126 ms"
)
"""Their weights are downloaded when they first run; with them at hand, --judge takes their reads."""


@dataclass(frozen=True)
class Label:
    """A row of labels.csv that has a box."""

    box: Box
    text: str
    kind: str


@dataclass(frozen=True)
class Guess:
    """A plate as the networks have it."""

    box: Box
    text: str
    confidence: float
    crop: Image


@dataclass
class Tally:
    """Counts of one row of the table."""

    plates: int = 0
    found: int = 0
    read: int = 0
    false_reads: int = 0
    false_sure: int = 0
    sure: int = 0
    sure_wrong: int = 0
    pictures: int = 0


@dataclass
class Outcome:
    """What a run over one folder gave. `confidences`: of each text read, whether it is right, whether at a label."""

    tallies: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    errors: list[tuple[str, str, str, Image]] = field(default_factory=list)
    confidences: list[tuple[float, bool, bool]] = field(default_factory=list)


def clean(text: str) -> str:
    """A-Z0-9 alone."""
    return re.sub("[^A-Z0-9]", "", text.upper().replace("Đ", "D"))


def load_labels(folder: Path) -> dict[str, list[Label]]:
    """All pictures of `folder` with their labels, empty for pictures without plates."""
    labels: dict[str, list[Label]] = defaultdict(list)
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            of_image = labels[row["image"]]
            if row["width"]:
                box = Box(*(float(row[key]) for key in ("x", "y", "width", "height")))
                of_image.append(Label(box, row["text"], row["kind"] + (" 2-row" if row["rows"] == "2" else "")))
    return labels


def judge(
    outcome: Outcome, name: str, image: Image, labels: list[Label], guesses: Sequence[Guess], sure: float
) -> None:
    """Count one picture."""
    prefix = name.split("_")[0]
    for key in (prefix, "all"):
        outcome.tallies[key].pictures += 1
    taken = set()
    for label in labels:
        best = max(range(len(guesses)), key=lambda i: label.box.iou(guesses[i].box), default=None)
        hit = guesses[best] if best is not None and label.box.iou(guesses[best].box) >= FOUND_IOU else None
        if hit is not None:
            taken.add(best)
        if not label.text:
            continue
        right = hit is not None and clean(hit.text) == label.text
        if hit is not None:
            outcome.confidences.append((hit.confidence, right, True))
        for key in (prefix, label.kind, "all"):
            tally = outcome.tallies[key]
            tally.plates, tally.found, tally.read = (
                tally.plates + 1,
                tally.found + (hit is not None),
                tally.read + right,
            )
            if hit is not None and hit.confidence >= sure:
                tally.sure, tally.sure_wrong = tally.sure + 1, tally.sure_wrong + (not right)
        if not right:
            shown = hit.crop if hit is not None else cut(image, label.box)
            outcome.errors.append((name, label.text, hit.text if hit is not None else "not found", shown))
    for i, guess in enumerate(guesses):
        if i not in taken and len(clean(guess.text)) >= SHORTEST_FALSE_READ:
            for key in (prefix, "all"):
                outcome.tallies[key].false_reads += 1
                outcome.tallies[key].false_sure += guess.confidence >= sure
            outcome.confidences.append((guess.confidence, False, False))
            outcome.errors.append((name, NO_PLATE, f"{guess.text} {guess.confidence:.2f}", guess.crop))


def cut(image: Image, box: Box) -> Image:
    """The surroundings of a plate that was not found."""
    grown = Box(box.x - box.width, box.y - box.height, 3 * box.width, 3 * box.height)
    inside = grown.clipped(image.shape[1], image.shape[0])
    part = image[int(inside.y) : int(inside.bottom), int(inside.x) : int(inside.right)].copy()
    corner = (int(box.x - inside.x), int(box.y - inside.y))
    other = (corner[0] + int(box.width), corner[1] + int(box.height))
    return np.asarray(cv2.rectangle(part, corner, other, (0, 0, 255), 1), np.uint8)


def guess_of(read: PlateRead) -> Guess:
    """What counts of a read."""
    return Guess(read.box, read.plate.text, read.plate.confidence, read.crop)


async def read_folder(vision: Vision, folder: Path, arguments: argparse.Namespace) -> tuple[Outcome, list[str]]:
    """Read all pictures of `folder`; also the reads, a JSON line for each picture."""
    reader = await vision.reader(arguments.device, Detail(arguments.detail))
    outcome, clock = Outcome(), SystemClock()
    lines = []
    for number, (name, labels) in enumerate(show_progress(load_labels(folder))):
        image = np.asarray(cv2.imread(str(folder / "images" / name)), np.uint8)
        plates = await reader.read(Frame("evaluation", number, image, clock.now()))
        plates = tuple(plate for plate in plates if plate.plate.confidence >= arguments.min_confidence)
        judge(outcome, name, image, labels, [guess_of(plate) for plate in plates], arguments.sure)
        lines.append(json.dumps({"image": name, "plates": [as_json(plate) for plate in plates]}, ensure_ascii=False))
    return outcome, lines


def judge_reads(folder: Path, reads: Path, sure: float) -> Outcome:
    """Count what another program read: a JSON line a picture, as `lpr-agent read --json` writes it."""
    guesses: dict[str, list[Guess]] = {}
    for line in reads.read_text(encoding="utf-8").splitlines():
        read = json.loads(line)
        guesses[read["image"].rsplit("/", 1)[-1]] = [
            Guess(Box(*plate["box"]), plate["text"], plate["confidence"], NO_CROP) for plate in read["plates"]
        ]
    outcome = Outcome()
    for name, labels in load_labels(folder).items():
        image = np.asarray(cv2.imread(str(folder / "images" / name)), np.uint8)
        there = [replace(each, crop=cut(image, each.box)) for each in guesses.get(name, [])]
        judge(outcome, name, image, labels, there, sure)
    return outcome


async def find_in_folder(folder: Path, arguments: argparse.Namespace) -> Outcome:
    """Run the detector alone: texts stay empty, so nothing counts as read."""
    outcome = Outcome()
    with Engine(EngineOptions(precision=arguments.precision, threads=arguments.threads)) as engine:
        network = engine.load(
            model_path("detector", arguments.models), arguments.device, SIZES[Detail(arguments.detail)]
        )
        detector = OpenVinoDetector(engine, network, min_confidence=arguments.detector_confidence)
        for name, labels in show_progress(load_labels(folder)):
            image = np.asarray(cv2.imread(str(folder / "images" / name)), np.uint8)
            found = await detector.detect(image)
            guesses = [Guess(each.box, f"{each.confidence:.2f}xxxx", each.confidence, display_crop(image, each.corners))
                       for each in found]  # fmt: skip
            judge(outcome, name, image, labels, guesses, 2.0)
    outcome.errors = [error for error in outcome.errors if error[2] == "not found" or error[1] == NO_PLATE]
    return outcome


def as_json(read: PlateRead) -> dict[str, object]:
    """As `lpr-agent read --json` has it."""
    box = [round(side, 1) for side in (read.box.x, read.box.y, read.box.width, read.box.height)]
    return {"box": box, "text": read.plate.text, "confidence": round(read.plate.confidence, 4)}


def show_progress(labels: dict[str, list[Label]]) -> Iterator[tuple[str, list[Label]]]:
    """The items, and on a terminal how many are done."""
    start = time.monotonic()
    for done, item in enumerate(sorted(labels.items())):
        if sys.stderr.isatty() and done % 20 == 0:
            rate = done / max(1e-6, time.monotonic() - start)
            print(f"\r{done}/{len(labels)}  {rate:.0f}/s ", end="", file=sys.stderr)
        yield item


def print_table(outcome: Outcome, sure: float) -> None:
    """Rows by prefix and by kind, the sum last."""
    print(f"{'':34}{'all confidences':>26}{f'confidence >= {sure:g}':>25}")
    print(
        f"{'':18}{'pictures':>8}{'plates':>8}{'found':>9}{'read':>9}{'false':>8}{'of all':>9}{'wrong':>8}{'false':>8}"
    )
    for key in sorted(outcome.tallies, key=lambda key: (key == "all", key)):
        tally = outcome.tallies[key]
        share = [f"{part / tally.plates:9.4f}" if tally.plates else "        -" for part in (tally.found, tally.read)]
        sure_share = f"{tally.sure / tally.plates:9.4f}" if tally.plates else "        -"
        counts = f"{key:18}{tally.pictures:8}{tally.plates:8}"
        print(f"{counts}{share[0]}{share[1]}{tally.false_reads:8}{sure_share}{tally.sure_wrong:8}{tally.false_sure:8}")


def draw_sheet(errors: Sequence[tuple[str, str, str, Image]], path: Path, columns: int = 8) -> None:
    """A contact sheet of errors: the crop, what it says, what was read."""
    tiles = []
    order = sorted(errors, key=lambda error: (error[1] == NO_PLATE, error[0]))
    for name, wanted, got, crop in order[:400]:
        tile = np.full((150, 200, 3), 40, np.uint8)
        scale = min(190 / crop.shape[1], 96 / crop.shape[0])
        small = cv2.resize(crop, (max(1, int(crop.shape[1] * scale)), max(1, int(crop.shape[0] * scale))))
        tile[4 : 4 + small.shape[0], 5 : 5 + small.shape[1]] = small
        for line, text in enumerate((name[:26], wanted, got)):
            plain = text.replace("Đ", "D")
            cv2.putText(
                tile, plain, (4, 114 + 15 * line), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (230, 230, 230), 1, cv2.LINE_AA
            )
        tiles.append(tile)
    while len(tiles) % columns or not tiles:
        tiles.append(np.full((150, 200, 3), 40, np.uint8))
    cv2.imwrite(str(path), np.vstack([np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]))


async def run(arguments: argparse.Namespace) -> list[str]:
    """Evaluate folder after folder; the reads, a JSON line for each picture."""
    options = VisionOptions(
        models=arguments.models,
        engine=EngineOptions(precision=arguments.precision, threads=arguments.threads),
        min_confidence=arguments.detector_confidence,
        views=arguments.views,
    )
    metrics, reads = Metrics(), list[str]()
    for folder in arguments.folders:
        start = time.monotonic()
        if arguments.judge is not None:
            outcome = judge_reads(folder, arguments.judge, arguments.sure)
        elif arguments.found:
            outcome = await find_in_folder(folder, arguments)
        else:
            async with Vision(options, timer=metrics) as vision:
                outcome, lines = await read_folder(vision, folder, arguments)
            reads.extend(lines)
        pictures = outcome.tallies["all"].pictures
        print(f"\n{folder}: {pictures} pictures, {(time.monotonic() - start) / max(1, pictures) * 1000:.1f} ms each")
        print_table(outcome, arguments.sure)
        print("most often misread:", confusions(outcome))
        if arguments.sheet is not None:
            draw_sheet(outcome.errors, arguments.sheet.with_stem(f"{arguments.sheet.stem}-{folder.name}"))
        if not arguments.found:
            print_reliability(outcome)
        if arguments.reliability is not None:
            path = arguments.reliability.with_stem(f"{arguments.reliability.stem}-{folder.name}")
            path.write_text(reliability_picture({folder.name: judged(outcome)}), encoding="utf-8")
    print(OTHERS)
    if not arguments.found and arguments.judge is None:
        for stage in (Stage.SCALE, Stage.DETECT, Stage.RECTIFY, Stage.READ):
            print(f"{stage.value:10} {metrics.percentiles(stage).p50_ms:7.2f} ms median")
    return reads


def judged(outcome: Outcome) -> Judged:
    """Confidences for the reliability diagram; a text where no plate is counts as wrong."""
    said, right, at_label = zip(*outcome.confidences, strict=True) if outcome.confidences else ((), (), ())
    return Judged(np.array(said, float), np.array(right, bool), np.array(at_label, bool))


def print_reliability(outcome: Outcome) -> None:
    """How often texts were right, by what was said of them."""
    rows = reliability(judged(outcome))
    print("said, right, reads:", "  ".join(f"{said:.2f} {right:.3f} {count}" for said, right, count in rows))


def confusions(outcome: Outcome) -> str:
    """Which character was taken for which, where lengths agree."""
    pairs: Counter[str] = Counter()
    for _, wanted, got, _ in outcome.errors:
        if wanted == NO_PLATE:
            continue
        got = clean(got)
        if len(got) == len(wanted):
            pairs.update(f"{a}->{b}" for a, b in zip(wanted, got, strict=True) if a != b)
        elif got != "NOTFOUND":
            pairs["length"] += 1
    return ", ".join(f"{pair} {count}" for pair, count in pairs.most_common(12))


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", help="folders with labels.csv and images/")
    parser.add_argument("--models", type=Path, help="folder of the networks, instead of the package's own")
    parser.add_argument("--reads", type=Path, help="write the reads as JSON lines")
    parser.add_argument("--sheet", type=Path, help="draw the errors; the folder's name is added")
    parser.add_argument("--reliability", type=Path, help="draw the diagram (.svg); the folder's name is added")
    parser.add_argument("--judge", type=Path, metavar="READS", help="judge these reads (JSON lines) of another program")
    parser.add_argument("--found", action="store_true", help="the detector alone")
    parser.add_argument("--device", default="CPU")
    parser.add_argument("--detail", choices=[each.value for each in Detail], default=Detail.FAST.value)
    parser.add_argument("--views", type=int, choices=(1, 2, 3), default=1)
    parser.add_argument("--precision", choices=("f32", "bf16", "f16"), help="what the device computes in")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--detector-confidence", type=float, help="instead of the one stored with the weights")
    parser.add_argument("--min-confidence", type=float, default=0.0, help="of the text: less counts as no read")
    parser.add_argument("--sure", type=float, default=0.9, help="confidence from which a read counts as sure")
    cv2.setNumThreads(1)
    quiet()
    arguments = parser.parse_args()
    reads = asyncio.run(run(arguments))
    if arguments.reads is not None:
        arguments.reads.write_text("\n".join(reads) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
