"""The larger stream of a camera whose smaller one is analysed: what is sent of a vehicle is taken from there."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from difflib import SequenceMatcher

import structlog

from lpr.capture.base import CameraSettings
from lpr.capture.reader import CameraChange, CameraReader, SourceFactory
from lpr.capture.stills import Stills
from lpr.domain.clock import Clock
from lpr.domain.errors import CaptureRefusedError, VisionError
from lpr.domain.events import CameraState
from lpr.domain.frame import Frame
from lpr.domain.geometry import Point
from lpr.domain.passage import Passage, PassageOutcome
from lpr.domain.plate import PlateRead
from lpr.vision.plate_reader import PlateReader

STILL_WITHIN_S = 0.25
"""The wanted picture is the last or the next one of the stream; what takes longer does not come."""
SNAPSHOT_WITHIN_S = 1.0
SAME_PLACE = 2.0
"""A plate that says nearly the same is the same one within so many of its own widths: streams are not in step."""
ALIKE = 0.7

log = structlog.get_logger("agent")


class LargerStream:
    """Reads the stream and exchanges a passage's pictures for its own. `on_change` is called on the loop."""

    def __init__(
        self,
        settings: CameraSettings,
        plates: PlateReader,
        *,
        clock: Clock,
        on_change: Callable[[CameraChange], None],
        decoder_says: Callable[[float], Sequence[str]] | None,
        source_factory: SourceFactory,
    ) -> None:
        self.stills = Stills()
        self.reader = CameraReader(
            settings,
            clock=clock,
            on_change=on_change,
            decoder_says=decoder_says,
            source_factory=source_factory,
            fills=self.stills,
        )
        self._camera_id, self._plates, self._clock = settings.camera_id, plates, clock
        self._may_open = asyncio.Event()

    async def run(self) -> None:
        """Until `stop` is called; connects when `open` was."""
        await self._may_open.wait()
        await self.reader.run()

    def follow(self, change: CameraChange) -> None:
        """The other stream has changed: what it found out of the camera holds here, too.

        A login that was refused there is not tried here as well, for cameras lock an account after a few tries.
        """
        refused = isinstance(change.error, CaptureRefusedError)
        if change.state is CameraState.RUNNING or (change.state is CameraState.LOST and not refused):
            self._may_open.set()
        if change.state is CameraState.RUNNING:
            self.reader.hurry()

    def attend(self, frame: Frame, wanted: bool) -> Frame:
        """Whether this frame of the other stream is looked at; the frame, with a place for its counterpart if so.

        While nothing is looked at no picture of the larger stream is fetched. The first frame after that has not asked
        for one itself, so it is asked for here.
        """
        self.stills.awake = wanted
        if wanted and frame.still is None:
            return replace(frame, still=self.stills.want(frame.captured_at))
        return frame

    def read_with(self, plates: PlateReader) -> None:
        """Look for plates in its pictures with other networks from now on."""
        self._plates = plates

    async def stop(self) -> None:
        """End reading."""
        self._may_open.set()
        await self.reader.stop()

    async def newest(self, instead: Frame) -> Frame:
        """The picture of this moment, or `instead` where none comes."""
        if self.reader.state is not CameraState.RUNNING:
            return instead
        still = self.stills.want(self._clock.now())
        return await self.stills.filled(still, SNAPSHOT_WITHIN_S) or instead

    async def with_larger_pictures(self, passage: Passage, region: tuple[Point, ...]) -> Passage:
        """The passage with the larger stream's frame of its best moment, and the plate as it stands there.

        The plate is looked for anew: two streams of a camera are not in step, and what is sent must show the plate
        where it says so. Within that step a barrier's arm may have come before it, so the picture before is tried, too.
        Where neither has come or shows that plate, the passage stays as it is.
        """
        small = passage.best_frame
        frames = await self._frames_of(small)
        passage = replace(passage, best_frame=replace(small, still=None))
        for frame in frames:
            try:
                async with self._plates.turns:
                    reads = await self._plates.read(frame, region)
            except VisionError as error:
                return self._kept(passage, error.message)
            read = same_plate(reads, frame, passage)
            if read is not None:
                if clearness(passage.best_read) > clearness(read):
                    read = replace(read, crop=passage.best_read.crop)
                return replace(passage, best_frame=frame, best_read=read)
        why = "the larger stream's picture does not show this plate" if frames else "no picture of the larger stream"
        return self._kept(passage, why)

    async def _frames_of(self, small: Frame) -> list[Frame]:
        """What the larger stream has of this moment, and of the one before."""
        still = small.still
        if still is None:
            return []
        within_s = STILL_WITHIN_S if self.reader.state is CameraState.RUNNING else 0.0
        return [frame for frame in (await self.stills.filled(still, within_s), still.before) if frame is not None]

    def _kept(self, passage: Passage, why: str) -> Passage:
        log.info("pictures of the smaller stream", camera=self._camera_id, plate=passage.plate.display, why=why)
        return passage


def same_plate(reads: Sequence[PlateRead], frame: Frame, passage: Passage) -> PlateRead | None:
    """Which of the plates read in `frame` is the passage's; None where none is.

    The same text decides; what says nearly the same must stand nearly where the passage's plate stood. What could not
    be read has only its place.
    """
    near = sorted(reads, key=lambda read: _distance(read, frame, passage))
    for read in near:
        if read.plate.text == passage.plate.text:
            return read
    unread = passage.outcome is PassageOutcome.UNREADABLE
    for read in near:
        if _distance(read, frame, passage) <= SAME_PLACE and (unread or _alike(read, passage)):
            return read
    return None


def clearness(read: PlateRead) -> float:
    """How well a person can read a plate's crop; to be compared with another one's only."""
    return (
        math.log(max(1.0, read.box.width))
        + 0.7 * math.log(1.0 + max(0.0, read.sharpness))
        + math.log(max(0.2, read.readable))
    )


def _distance(read: PlateRead, frame: Frame, passage: Passage) -> float:
    """From where the passage's plate stood to where this one does, in widths of the plate; both as parts of a frame."""
    small, box = passage.best_frame, passage.best_read.box
    x, y = read.box.centre
    before_x, before_y = box.centre
    across = abs(x / frame.width - before_x / small.width)
    down = abs(y / frame.height - before_y / small.height) * small.height / small.width
    return math.hypot(across, down) * small.width / max(1.0, box.width)


def _alike(read: PlateRead, passage: Passage) -> bool:
    return SequenceMatcher(None, read.plate.text, passage.plate.text, autojunk=False).ratio() >= ALIKE
