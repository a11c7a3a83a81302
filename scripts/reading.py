"""Read what the renderer made and what people labelled, with the networks as the agent runs them."""

from __future__ import annotations

import csv
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import structlog

from lpr.domain.clock import SystemClock
from lpr.domain.frame import Frame, Image
from lpr.domain.geometry import Box
from lpr.domain.plate import PlateRead, PlateText
from lpr.plates.alphabet import ALPHABET, BLANK, normalise
from lpr.vision.base import PlateRecognizer, Recognition
from lpr.vision.engine import Engine, EngineOptions
from lpr.vision.models import model_path
from lpr.vision.plate_reader import PlateReader, plate_text
from lpr.vision.recognizer import OpenVinoRecognizer
from lpr.vision.vision import Detail, Vision, VisionOptions
from scripts.render.gate import GateFrame
from scripts.render.samples import Batch

FOUND_IOU = 0.3
"""A plate is found where a box overlaps its own by so much."""


def quiet() -> None:
    """Let the parts' own log say only what is wrong: a command prints its answer."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))


@asynccontextmanager
async def opened(
    models: Path | None = None, precision: str | None = None, *, detail: Detail = Detail.FAST, views: int = 1
) -> AsyncIterator[PlateReader]:
    """The networks of `models` (None: those that ship) on one CPU thread, computing in `precision` (None: its own)."""
    options = VisionOptions(models=models, engine=EngineOptions(precision=precision, threads=1), views=views)
    async with Vision(options) as vision:
        yield await vision.reader("CPU", detail)


@contextmanager
def opened_recognizer(models: Path | None = None, precision: str | None = None) -> Iterator[OpenVinoRecognizer]:
    """The recogniser of `models` alone, untested on the golden picture: it may not have learned to read yet."""
    with Engine(EngineOptions(precision=precision, threads=1)) as engine:
        yield OpenVinoRecognizer(engine.load(model_path("recognizer", models), "CPU"))


async def recognise(recognizer: PlateRecognizer, crop: Image) -> Recognition:
    """What the recogniser says of a crop, stretched to the size that it was trained for where that is another."""
    if (crop.shape[1], crop.shape[0]) != recognizer.crop_size:
        crop = np.asarray(cv2.resize(crop, recognizer.crop_size, interpolation=cv2.INTER_LINEAR), np.uint8)
    (answer,) = await recognizer.read((crop,))
    return answer


async def read_crops(recognizer: PlateRecognizer, images: Sequence[Image]) -> list[PlateText]:
    """What each crop says."""
    return [plate_text(await recognise(recognizer, image)) for image in images]


async def read_frames(reader: PlateReader, frames: Sequence[GateFrame]) -> list[PlateRead | None]:
    """The read at each frame's plate, None where it was not found."""
    return [at(await read_picture(reader, frame.image), box_of(frame)) for frame in frames]


async def read_picture(reader: PlateReader, image: Image) -> tuple[PlateRead, ...]:
    """The plates of a picture."""
    return await reader.read(Frame("measuring", 0, image, SystemClock().now()))


def at(reads: Sequence[PlateRead], box: Box) -> PlateRead | None:
    """The read that overlaps `box` most, None where none does by FOUND_IOU."""
    best = max(reads, key=lambda read: box.iou(read.box), default=None)
    return best if best is not None and box.iou(best.box) >= FOUND_IOU else None


def box_of(frame: GateFrame) -> Box:
    """The upright box around the frame's plate."""
    (left, top), (right, bottom) = frame.corners.min(axis=0).tolist(), frame.corners.max(axis=0).tolist()
    return Box(left, top, right - left, bottom - top)


def texts_of(samples: Batch) -> list[str]:
    """What each sample says; empty where there is nothing to read."""
    return ["".join(ALPHABET[index] for index in row if index != BLANK) for row in samples.characters.tolist()]


@dataclass(frozen=True, slots=True)
class Labelled:
    """A plate of a photograph: the file, the box in its pixels, the text (A-Z0-9, Đ as D)."""

    path: Path
    box: Box
    text: str


def labelled(folder: Path) -> Iterator[Labelled]:
    """The plates with a text of a folder (images/, labels.csv)."""
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            if row["text"] and row["width"]:
                box = Box(*(float(row[key]) for key in ("x", "y", "width", "height")))
                yield Labelled(folder / "images" / row["image"], box, plain(row["text"]))


def plain(text: str) -> str:
    """A-Z0-9 alone, Đ as D: how labels are written."""
    return normalise(text).replace("Đ", "D")
