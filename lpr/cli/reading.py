"""Plates in photographs and clips, file by file: what `lpr-agent read` does before anything is printed."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

from lpr.agent.attention import Attention
from lpr.capture.base import CameraSettings
from lpr.capture.files import as_written, is_clip, media_files
from lpr.capture.opencv import OpenCvCapture
from lpr.capture.source import frames_of
from lpr.domain.choices import EmitRule
from lpr.domain.clock import Instant
from lpr.domain.errors import CaptureError, ConfigError, ImageError, LprError
from lpr.domain.frame import Frame, Image
from lpr.domain.geometry import Quad
from lpr.domain.passage import Passage, PassageOutcome
from lpr.domain.plate import REPORTED_FROM, PlateColour, PlateRead, PlateText
from lpr.domain.secrets import mask_secrets
from lpr.imaging import decode_image
from lpr.tracking.grammar import decide
from lpr.tracking.repeat import RepeatGuard
from lpr.tracking.settings import TrackingSettings
from lpr.tracking.sighting import may_be_plate
from lpr.tracking.tracker import PassageTracker
from lpr.vision.large import LargeFrameReader
from lpr.vision.photograph import PhotographReader
from lpr.vision.plate_reader import PlateReader

PICTURES_AT_ONCE = 3
"""One is decoded while another one is read, and one waits: more only takes memory."""
HELD_S = 20.0
"""So long after it has left, a vehicle is told although another one that came before it is still in sight."""
MOST_HELD = 16
"""Passages that wait; each holds a frame."""

_START = Instant(datetime(2000, 1, 1, tzinfo=UTC), 0.0)


@dataclass(frozen=True, slots=True)
class MediaFile:
    """A picture or clip, by the name that a person will recognise it by."""

    path: Path
    name: str

    @property
    def is_clip(self) -> bool:
        """What is not known for a clip is taken for a picture."""
        return is_clip(self.path)


@dataclass(frozen=True, slots=True, eq=False)
class SeenPlate:
    """One plate: where it stands in the picture, and what it says. `sure` is whether the agent would report it."""

    corners: Quad
    plate: PlateText
    colour: PlateColour
    sure: bool


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What one picture shows, or one passage (or frame) of a clip.

    `at_s` and `until_s` are seconds from the clip's start; both are None for a picture, and for a clip that shows no
    plate at all.
    """

    file: MediaFile
    image: Image
    plates: tuple[SeenPlate, ...]
    at_s: float | None = None
    until_s: float | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """A file that could not be read, or not to its end."""

    name: str
    error: LprError


Outcome: TypeAlias = Reading | Failure
Progress: TypeAlias = Callable[[MediaFile], None]
"""Is told of each picture or frame that is done, and whose it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """`fps` is frames of a clip looked at a second; `min_confidence` 0..1 leaves plates below it out; `every_frame`
    gives a clip's frames one by one instead of its passages."""

    fps: float = 8.0
    min_confidence: float = 0.0
    sure_confidence: float = REPORTED_FROM
    every_frame: bool = False


def files_of(paths: Iterable[Path]) -> Iterator[MediaFile | Failure]:
    """The pictures and clips that `paths` name, folders opened; a failure for each that names none."""
    for path in paths:
        try:
            for file in media_files(path):
                yield MediaFile(file, str(file))
        except ConfigError as error:
            yield Failure(mask_secrets(as_written(path)), CaptureError(error.message, hint=error.hint))


def amount_of(file: MediaFile, options: ReadOptions) -> float:
    """About how many pictures or frames of `file` will be looked at; 1 where a clip does not say."""
    if not file.is_clip:
        return 1.0
    clip = OpenCvCapture(file.name)
    try:
        if not clip.open(str(file.path.resolve()), "CAP_FFMPEG", {"CAP_PROP_N_THREADS": 1}):
            return 1.0  # it will be named when it is its turn
        rate = clip.get("CAP_PROP_FPS")
        seconds = clip.get("CAP_PROP_FRAME_COUNT") / rate if rate > 0 else 0.0
        return max(1.0, seconds * min(options.fps, rate))
    except CaptureError:
        return 1.0
    finally:
        clip.close()


async def read_files(
    files: Sequence[MediaFile], reader: PlateReader, options: ReadOptions, progress: Progress
) -> AsyncIterator[Outcome]:
    """Read `files` one after the other, in their order; a broken one is a `Failure` and the next one follows.

    Raises `VisionError` where the networks fail: that is no file's fault.
    """
    pictures: deque[asyncio.Task[Outcome]] = deque()
    try:
        for file in files:
            if file.is_clip:
                while pictures:
                    yield await pictures.popleft()
                async for outcome in _read_clip(file, reader, options, progress):
                    yield outcome
                continue
            pictures.append(asyncio.create_task(_read_picture(file, reader, options, progress)))
            if len(pictures) >= PICTURES_AT_ONCE:
                yield await pictures.popleft()
        while pictures:
            yield await pictures.popleft()
    finally:
        for task in pictures:
            task.cancel()
        await asyncio.gather(*pictures, return_exceptions=True)


async def _read_picture(file: MediaFile, reader: PlateReader, options: ReadOptions, progress: Progress) -> Outcome:
    try:
        image = await asyncio.to_thread(lambda: decode_image(file.path.read_bytes()))
    except OSError as error:
        return Failure(file.name, CaptureError(f"cannot be read: {error.strerror}"))
    except ImageError as error:
        return Failure(file.name, error)
    finally:
        progress(file)
    reads = await PhotographReader(reader).read(image)
    return Reading(file, image, _plates(reads, options))


async def _read_clip(
    file: MediaFile, reader: PlateReader, options: ReadOptions, progress: Progress
) -> AsyncIterator[Outcome]:
    tracker, attention, looking = _tracker(file, options), Attention(), LargeFrameReader(reader)
    told = _InTurn()
    last: Frame | None = None
    async for frame in _frames(file, options):
        progress(file)
        if isinstance(frame, CaptureError):
            yield Failure(file.name, frame)
            continue
        last = frame
        if options.every_frame:
            readings = _of_frame(file, frame, await looking.read(frame), options)
        elif attention.wants(frame, (), tracker.tracks):
            readings = _passages(file, tracker.update(frame, await looking.read(frame)), options)
        else:
            readings = _passages(file, tracker.pass_over(frame), options)
        in_sight_since_s = min((_seconds(track.first_seen) for track in tracker.tracks), default=math.inf)
        for reading in told.next(readings, _seconds(frame.captured_at), in_sight_since_s):
            yield reading
    if last is None:
        return
    for reading in told.next(_passages(file, tracker.finish(last.captured_at), options), math.inf, math.inf):
        yield reading
    if not told.any:
        yield Reading(file, last.image, ())


class _InTurn:
    """A clip's passages in the order in which the vehicles came: one that stands for long is told late."""

    def __init__(self) -> None:
        self._held: list[Reading] = []
        self.any = False
        """Whether there has been one at all."""

    def next(self, ended: Sequence[Reading], at_s: float, in_sight_since_s: float) -> list[Reading]:
        """What is told at `at_s`, when the passages `ended` have ended, and somebody has been in sight for so long.

        Nobody waits for longer than `HELD_S` for one that came before, and no more than `MOST_HELD` wait.
        """
        self.any = self.any or bool(ended)
        self._held = sorted([*self._held, *ended], key=_came_s)
        overdue = (_came_s(each) for each in self._held if each.until_s is not None and at_s - each.until_s >= HELD_S)
        too_many = (_came_s(each) for each in self._held[:-MOST_HELD])
        before_s = max([in_sight_since_s, *overdue, *too_many])
        due = [each for each in self._held if _came_s(each) <= before_s]
        self._held = self._held[len(due) :]
        return due


def _came_s(reading: Reading) -> float:
    return reading.at_s or 0.0


async def _frames(file: MediaFile, options: ReadOptions) -> AsyncIterator[Frame | CaptureError]:
    """The frames of a clip; the next one is decoded while the one before is read."""
    settings = CameraSettings(camera_id=file.name, source=str(file.path), fps=options.fps)
    frames = frames_of(settings, _StandingClock())
    coming = asyncio.create_task(asyncio.to_thread(next, frames, None))
    try:
        while (frame := await coming) is not None:
            coming = asyncio.create_task(asyncio.to_thread(next, frames, None))
            yield frame
    finally:
        # A generator cannot be closed while a thread is in it.
        await asyncio.gather(coming, return_exceptions=True)
        if isinstance(frames, Generator):
            frames.close()


class _StandingClock:
    """The time at which every clip begins, so that a frame's time is its place in the clip."""

    def now(self) -> Instant:
        return _START

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def _tracker(file: MediaFile, options: ReadOptions) -> PassageTracker:
    settings = TrackingSettings(camera_id=file.name, emit=EmitRule.FINAL, min_confidence=options.sure_confidence)
    return PassageTracker(settings, RepeatGuard(), decide)


def _plates(reads: Sequence[PlateRead], options: ReadOptions) -> tuple[SeenPlate, ...]:
    return tuple(
        SeenPlate(
            read.corners,
            read.plate,
            read.colour,
            read.plate.confidence >= options.sure_confidence and may_be_plate(read.plate),
        )
        for read in reads
        if read.plate.text and read.plate.confidence >= options.min_confidence
    )


def _of_frame(file: MediaFile, frame: Frame, reads: Sequence[PlateRead], options: ReadOptions) -> list[Reading]:
    plates, at_s = _plates(reads, options), _seconds(frame.captured_at)
    return [Reading(file, frame.image, plates, at_s, at_s)] if plates else []


def _passages(file: MediaFile, passages: Sequence[Passage], options: ReadOptions) -> list[Reading]:
    return [_passage(file, each) for each in passages if each.plate.confidence >= options.min_confidence]


def _passage(file: MediaFile, passage: Passage) -> Reading:
    seen = SeenPlate(passage.best_read.corners, passage.plate, passage.colour, passage.outcome is PassageOutcome.READ)
    at_s, until_s = _seconds(passage.first_seen), _seconds(passage.last_seen)
    return Reading(file, passage.best_frame.image, (seen,), at_s, until_s)


def _seconds(moment: Instant) -> float:
    return moment.seconds_since(_START)
