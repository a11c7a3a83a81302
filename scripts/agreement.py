"""Hold the forms of the networks against each other: FP32, BF16 and INT8 must find and read the same.

    python -m scripts.agreement                                       # models/ computed in f32 and in bf16
    python -m scripts.agreement models RUN/float --data FOLDER        # other forms of the same weights, and photographs

Each folder of networks (`scripts/train` leaves FP16 and INT8 weights apart in its run) is computed in f32 and in bf16,
on rendered crops (the recogniser alone), rendered frames (the whole way) and the labelled folders that are given. Exit
code 1 where two forms differ by more than 0.2 points of plates found or texts exactly right.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

import cv2
import numpy as np

from lpr.vision.models import models_folder
from lpr.vision.plate_reader import PlateReader
from scripts.reading import (
    Labelled,
    at,
    labelled,
    opened,
    plain,
    quiet,
    read_crops,
    read_frames,
    read_picture,
    texts_of,
)
from scripts.render.gate import GateFrame, gate_frames
from scripts.render.samples import Batch, load_backgrounds, render_batch

PRECISIONS: Final = ("f32", "bf16")
TOLERANCE: Final = 0.002
CROP_SEED, FRAME_SEED = 71, 72


@dataclass(frozen=True, slots=True)
class Said:
    """What one form says of one set: for each plate the text, None where it was not found; and what is right."""

    texts: list[str | None]
    wanted: list[str]

    @property
    def found(self) -> float:
        """Share of the plates."""
        return sum(text is not None for text in self.texts) / max(1, len(self.texts))

    @property
    def right(self) -> float:
        """Share of the plates."""
        return sum(said == want for said, want in zip(self.texts, self.wanted, strict=True)) / max(1, len(self.texts))

    def flips(self, other: Said) -> int:
        """How many plates the two read differently."""
        return sum(a != b for a, b in zip(self.texts, other.texts, strict=True))


@dataclass(frozen=True, slots=True)
class Sets:
    """What is read."""

    crops: Batch
    frames: Callable[[], Iterator[GateFrame]]
    """Rendered anew at every call: thousands of them would fill the memory."""
    folders: list[tuple[str, list[Labelled]]]


def render_sets(crops: int, frames: int, backgrounds: Path | None, folders: Sequence[Path]) -> Sets:
    """The same crops and frames at every call."""
    pictures = load_backgrounds(backgrounds)
    samples = render_batch(Random(CROP_SEED), pictures, crops)
    readable = samples.take(np.flatnonzero(samples.readable))
    photographs = [(folder.name, list(labelled(folder))) for folder in folders]
    return Sets(readable, partial(gate_frames, FRAME_SEED, frames, pictures), photographs)


async def say(reader: PlateReader, sets: Sets) -> dict[str, Said]:
    """What one form says of all sets, by their names."""
    said = {"rendered crops": Said([each.text for each in await read_crops(reader.recognizer, list(sets.crops.images))],
                                   texts_of(sets.crops))}  # fmt: skip
    texts, wanted = [], []
    for frame in sets.frames():
        (read,) = await read_frames(reader, [frame])
        texts.append(None if read is None else read.plate.text)
        wanted.append(frame.text)
    said["rendered frames"] = Said(texts, wanted)
    for name, plates in sets.folders:
        texts = []
        for plate in plates:
            image = cv2.imread(str(plate.path))
            assert image is not None, f"{plate.path} cannot be read"
            read = at(await read_picture(reader, np.asarray(image, np.uint8)), plate.box)
            texts.append(None if read is None else plain(read.plate.text))
        said[name] = Said(texts, [plate.text for plate in plates])
    return {name: each for name, each in said.items() if each.texts}


async def compare(folders: Sequence[Path], sets: Sets) -> dict[str, dict[str, Said]]:
    """What every form says, by its name."""
    forms = {}
    for folder in folders:
        for precision in PRECISIONS:
            async with opened(folder, precision) as reader:
                forms[f"{folder.name} in {precision}"] = await say(reader, sets)
    return forms


def spread(forms: dict[str, dict[str, Said]]) -> float:
    """The largest difference of a share found or right between two forms, 0..1."""
    widest = 0.0
    for name in next(iter(forms.values())):
        for shares in ([form[name].found for form in forms.values()], [form[name].right for form in forms.values()]):
            widest = max(widest, max(shares) - min(shares))
    return widest


def print_table(forms: dict[str, dict[str, Said]]) -> None:
    """A line for each form and set; `other text` counts against the first form."""
    first = next(iter(forms.values()))
    print(f"{'':28}{'':18}{'plates':>7}{'found':>9}{'right':>9}{'other text':>12}")
    for form, said in forms.items():
        for name, each in said.items():
            counts = f"{len(each.texts):7}{each.found:9.4f}{each.right:9.4f}{each.flips(first[name]):12}"
            print(f"{form:28}{name:18}{counts}")


def main() -> None:
    """Read the arguments, measure, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="*", help="folders of networks; none: those that ship")
    parser.add_argument("--data", type=Path, nargs="*", default=[], help="folders with images/ and labels.csv")
    parser.add_argument("--backgrounds", type=Path, help="plate-free pictures to stand behind rendered plates")
    parser.add_argument("--crops", type=int, default=6000, help="rendered for the recogniser")
    parser.add_argument("--frames", type=int, default=6000, help="rendered for the whole way")
    parser.add_argument("--tolerance", type=float, default=TOLERANCE, help="share of the plates")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    quiet()
    sets = render_sets(arguments.crops, arguments.frames, arguments.backgrounds, arguments.data)
    forms = asyncio.run(compare(arguments.models or [models_folder()], sets))
    print_table(forms)
    widest = spread(forms)
    print(f"widest difference {100 * widest:.2f} points, allowed {100 * arguments.tolerance:.2f}")
    # Shares of so many plates are no exact decimals.
    if widest > arguments.tolerance + 1e-9:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
