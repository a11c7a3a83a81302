"""Batches of the recogniser's samples, and a pool that other processes keep fresh. No torch: so workers start fast."""

from __future__ import annotations

import csv
import multiprocessing
import os
import queue
import signal
import threading
from dataclasses import dataclass, fields
from multiprocessing import connection
from pathlib import Path
from random import Random
from typing import Any, Final, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from lpr.plates.alphabet import SLOTS, normalise
from scripts.render.crops import CROP_HEIGHT, CROP_WIDTH, Crop, Image, RealPlate, random_crop, real_crop

CHUNK: Final = 128
REAL_SHARE: Final = 0.008
"""Small: there are few vehicles in those photographs, and their texts must not become a habit."""
REAL_WIDTH: Final = 200
"""Photographs are shrunk so that their plates are at most so wide: nearer to what cameras at a gate see."""
PATIENCE_S: Final = 5.0
"""How often a pool that waits for samples looks whether its workers still live."""


@dataclass(slots=True)
class Batch:
    """Arrays of n samples; see `scripts.render.crops.Crop` for their meaning."""

    images: NDArray[np.uint8]
    characters: NDArray[np.int8]
    centres: NDArray[np.float32]
    corners: NDArray[np.float32]
    rows: NDArray[np.int8]
    colours: NDArray[np.int8]
    readable: NDArray[np.int8]

    @classmethod
    def empty(cls, count: int) -> Self:
        """Room for `count` samples."""
        return cls(
            np.zeros((count, CROP_HEIGHT, CROP_WIDTH, 3), np.uint8),
            np.zeros((count, SLOTS), np.int8),
            np.zeros((count, SLOTS, 2), np.float32),
            np.zeros((count, 4, 2), np.float32),
            *(np.zeros(count, np.int8) for _ in range(3)),
        )

    @classmethod
    def load(cls, path: Path) -> Self:
        """What `save` wrote."""
        with np.load(path) as stored:
            return cls(**{field.name: stored[field.name] for field in fields(cls)})

    def save(self, path: Path) -> None:
        """Write to `path` (.npz), whole or not at all."""
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            np.savez_compressed(file, **{field.name: getattr(self, field.name) for field in fields(self)})
        part.replace(path)

    def put(self, index: int, crop: Crop) -> None:
        """Store one sample."""
        self.images[index], self.characters[index] = crop.image, crop.characters
        self.centres[index], self.corners[index] = crop.centres, crop.corners
        self.rows[index], self.colours[index], self.readable[index] = crop.rows, crop.colour, crop.readable

    def replace(self, start: int, other: Batch) -> None:
        """Overwrite from `start` on, around the end."""
        places = (start + np.arange(len(other.images))) % len(self.images)
        for field in fields(self):
            getattr(self, field.name)[places] = getattr(other, field.name)

    def take(self, indices: NDArray[np.int64]) -> Batch:
        """Copies of some samples."""
        return Batch(*(getattr(self, field.name)[indices] for field in fields(self)))


@dataclass(frozen=True, slots=True)
class Sources:
    """Photographs that samples are made of besides rendered plates; a folder that is None is left out.

    `backgrounds` holds plate-free pictures, `real` images/ and labels.csv of plates that may train, drawn as a share
    `real_share` (0..1) of the samples.
    """

    backgrounds: Path | None = None
    real: Path | None = None
    real_share: float = REAL_SHARE

    @classmethod
    def of(cls, data: Path | None) -> Self:
        """What there is under `data`/train."""
        if data is None:
            return cls()
        backgrounds, real = data / "train" / "background" / "images", data / "train" / "vietnam"
        return cls(backgrounds if backgrounds.is_dir() else None, real if real.is_dir() else None)

    @property
    def folders(self) -> list[Path]:
        """Those that hold a labels.csv."""
        folders = [self.backgrounds.parent] if self.backgrounds is not None else []
        folders += [self.real] if self.real is not None else []
        return [folder for folder in folders if (folder / "labels.csv").exists()]


def render_batch(
    random: Random,
    backgrounds: list[Image],
    count: int,
    real: list[RealPlate] | None = None,
    real_share: float = REAL_SHARE,
) -> Batch:
    """`count` fresh samples; a share of them are photographs where `real` has any."""
    batch = Batch.empty(count)
    texts = sorted({plate.text for plate in real or []})
    for index in range(count):
        if real and random.random() < real_share:
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


def load_backgrounds(folder: Path | None) -> list[Image]:
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


def render_for_ever(seed: str, sources: Sources, chunks: Any) -> None:
    """A worker: puts chunks into a bounded queue until its parent ends it, or is itself gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    _end_with_parent()
    cv2.setNumThreads(1)
    os.nice(3)
    random = Random(seed)
    backgrounds, real = load_backgrounds(sources.backgrounds), load_real(sources.real)
    while True:
        chunks.put(render_batch(random, backgrounds, CHUNK, real, sources.real_share))


def _end_with_parent() -> None:
    """A parent that was killed empties no queue: whoever waits for room in one would wait for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class Pool:
    """Rendered samples in memory, the oldest replaced by the newest. Use as a context manager, or `close` it.

    Samples lie in a pool of `size`; each is met about `reuse` times, so a slow renderer costs freshness and not time.
    """

    def __init__(self, sources: Sources, *, size: int, reuse: float, seed: str, workers: int = 1) -> None:
        context = multiprocessing.get_context("spawn")
        self._chunks = context.Queue(max(16, 2 * workers))
        self._workers = [
            context.Process(target=render_for_ever, args=(f"{seed} {number}", sources, self._chunks), daemon=True)
            for number in range(workers)
        ]
        for worker in self._workers:
            worker.start()
        self._samples = Batch.empty(size)
        self._reuse = reuse
        self._random = np.random.default_rng(number_of(seed))
        self.received = 0
        self._drawn = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def draw(self, count: int) -> Batch:
        """A batch of samples; waits for the workers where each sample has been used enough.

        Takes no more than it needs: on a shared core the workers then leave their time to the training. Raises
        RuntimeError where a worker has ended.
        """
        while True:
            if self.received >= len(self._samples.images) and self._drawn < (self._reuse - 0.3) * self.received:
                break
            starved = self.received < min(2048, len(self._samples.images)) or (
                self._drawn + count > self._reuse * self.received
            )
            try:
                chunk = self._chunks.get(timeout=PATIENCE_S) if starved else self._chunks.get_nowait()
            except queue.Empty:
                if not all(worker.is_alive() for worker in self._workers):
                    raise RuntimeError("a rendering process has ended") from None
                if not starved:
                    break
                continue
            self._samples.replace(self.received % len(self._samples.images), chunk)
            self.received += len(chunk.images)
        self._drawn += count
        return self._samples.take(self._random.integers(0, min(self.received, len(self._samples.images)), count))

    def close(self) -> None:
        """End the workers."""
        for worker in self._workers:
            worker.terminate()
            worker.join()


def number_of(seed: str) -> int:
    """A number that is the same in every process, which `hash` of a text is not."""
    return Random(seed).getrandbits(63)
