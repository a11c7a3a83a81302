"""One camera: frames in, reads, passages, recorded events. Built when a camera starts, thrown away when it stops."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

import structlog

from lpr.agent.attention import Attention
from lpr.agent.larger import LargerStream
from lpr.agent.losses import CameraLosses, Notice
from lpr.agent.publisher import PreparedPassage, Publisher
from lpr.capture.base import CameraSettings
from lpr.capture.reader import CameraChange, CameraReader, SourceFactory
from lpr.capture.source import open_source
from lpr.config import AgentConfig, CameraConfig
from lpr.domain.clock import Clock, Instant
from lpr.domain.errors import VisionError
from lpr.domain.events import CameraState, ErrorCode, Severity
from lpr.domain.frame import Frame
from lpr.domain.passage import Passage
from lpr.domain.plate import PlateRead
from lpr.metrics import Metrics, Stage
from lpr.tracking.grammar import decide
from lpr.tracking.repeat import RepeatGuard
from lpr.tracking.settings import Line, TrackingSettings
from lpr.tracking.standing import StandingMemory
from lpr.tracking.tracker import PassageTracker
from lpr.vision.plate_reader import PlateReader

DecoderSays: TypeAlias = Callable[[float], Sequence[str]]
"""What the decoders printed in the last so many seconds, for the log of a loss."""

SWEEP_EVERY_S = 0.5
"""How often a live camera's tracker is asked what has gone, for when no frames come."""
DECODED_RATE_OVER_S = 2.0
BLIND_FOR_S = 5.0
"""After so long without one inference that worked another device is asked for: a driver that hangs stays so."""
PASSAGES_WAITING = 128
"""Vehicles of one camera that wait for a disk which takes its time: minutes at a busy gate, with pictures some 40 MB.
Beyond that the camera waits with them, and what it shows meanwhile is not seen."""
VISION_ERROR_EVERY_S = 60.0
"""A camera whose inferences fail says so, to the back-end and in the log, once in this time, not with every frame."""

log = structlog.get_logger("agent")


def capture_settings(camera: CameraConfig, *, larger: bool = False) -> CameraSettings:
    """What the capture side needs of a camera's configuration: of the stream that is analysed, or the larger one."""
    source = camera.source if larger or camera.analyse_source is None else camera.analyse_source
    return CameraSettings(
        camera_id=camera.id,
        source=source.reveal(),
        fps=camera.fps,
        transport=camera.transport,
        decoder=camera.decoder,
        pace=camera.pace,
    )


def tracking_settings(config: AgentConfig, camera: CameraConfig) -> TrackingSettings:
    """What the tracker needs of a camera's configuration."""
    line = camera.direction.line
    return TrackingSettings(
        camera_id=camera.id,
        action=camera.action,
        default_action=camera.default_action,
        approach_is=camera.direction.towards,
        line=Line(*line) if line else None,
        roi=camera.roi or (),
        emit=camera.emit,
        min_confidence=config.min_confidence_of(camera),
        max_gap_s=config.tracking.lost_after.total_seconds(),
    )


class CameraPipeline:
    """Reads, analyses and publishes one camera. `run` ends when the files end or `stop` is called.

    `on_change` is told of every change of the camera's state, in the event loop; `on_published` is awaited when
    passages have been recorded; `on_blind` with the error when no inference has worked for `BLIND_FOR_S`, and again
    after as long.
    """

    def __init__(
        self,
        config: AgentConfig,
        camera: CameraConfig,
        *,
        reader: PlateReader,
        guard: RepeatGuard,
        standing: StandingMemory,
        publisher: Publisher,
        clock: Clock,
        metrics: Metrics,
        on_change: Callable[[], None],
        on_published: Callable[[], Awaitable[None]],
        on_blind: Callable[[VisionError], Awaitable[None]] | None = None,
        source_factory: SourceFactory = open_source,
        decoder_says: DecoderSays | None = None,
    ) -> None:
        self.camera = camera
        self._plates, self._publisher = reader, publisher
        self._clock, self._metrics = clock, metrics
        self._on_change, self._on_published, self._on_blind = on_change, on_published, on_blind
        self._losses = CameraLosses(camera)
        self.larger: LargerStream | None = None
        if camera.analyse_source is not None:
            self.larger = LargerStream(
                capture_settings(camera, larger=True),
                reader,
                clock=clock,
                on_change=self._larger_changed,
                decoder_says=decoder_says,
                source_factory=source_factory,
            )
        self.capture = CameraReader(
            capture_settings(camera),
            clock=clock,
            on_change=self._changed,
            decoder_says=decoder_says,
            source_factory=source_factory,
            larger=self.larger.stills if self.larger else None,
        )
        self.tracker = PassageTracker(
            tracking_settings(config, camera),
            guard,
            decide,
            standing=standing,
        )
        self.reads: tuple[PlateRead, ...] = ()
        """The plates in the frame that was analysed last, for the local page."""
        self.analysed: Frame | None = None
        """The frame that was analysed last."""
        self.trouble = ""
        """Why the camera is not running, in words."""
        self.blind = ""
        """Why its pictures are not read although it runs, in words; empty where they are."""
        self._decoded_rate = (0.0, 0, 0.0)
        self._notices: asyncio.Queue[Notice] = asyncio.Queue()
        self._passages: asyncio.Queue[PreparedPassage] = asyncio.Queue(PASSAGES_WAITING)
        self._captured = self._overwritten = 0
        self._attention = Attention()
        self._vision_told_at_s: float | None = None
        self._blind_since_s: float | None = None

    def configure(self, config: AgentConfig, camera: CameraConfig) -> None:
        """Go on by a changed configuration; vehicles in sight are kept."""
        self.camera = self._losses.camera = camera
        self.capture.set_fps(camera.fps)
        self.tracker.configure(tracking_settings(config, camera))

    def read_with(self, reader: PlateReader) -> None:
        """Go on with other networks, from the next frame on."""
        self._plates = reader
        if self.larger is not None:
            self.larger.read_with(reader)

    @property
    def state(self) -> CameraState:
        """What the camera is doing."""
        return self.capture.state

    @property
    def larger_trouble(self) -> str:
        """Why vehicles are sent with the smaller stream's pictures, in words; empty where they are not."""
        return self._losses.larger_trouble

    async def snapshot(self) -> Frame | None:
        """The newest picture, of the larger stream where there is one; None where there never was any."""
        frame = self.capture.newest
        return await self.larger.newest(frame) if frame is not None and self.larger is not None else frame

    @property
    def decoded_fps(self) -> float:
        """Frames decoded a second, over the time since this was asked before, two seconds at least."""
        since_s, before, rate = self._decoded_rate
        now_s, captured = self._clock.now().monotonic_s, self.capture.statistics().captured
        if now_s - since_s >= DECODED_RATE_OVER_S:
            rate = (captured - before) / (now_s - since_s) if since_s else 0.0
            self._decoded_rate = (now_s, captured, rate)
        return rate

    async def run(self) -> None:
        """Until the files end or `stop` is called: then open tracks become passages, and passages are recorded.

        Cancelling ends it too, at once and without them.
        """
        async with asyncio.TaskGroup() as tasks:
            teller = tasks.create_task(self._tell(), name=f"tell {self.camera.id}")
            recorder = tasks.create_task(self._record(), name=f"record {self.camera.id}")
            sweeper = tasks.create_task(self._sweep(), name=f"sweep {self.camera.id}")
            capturing = tasks.create_task(self.capture.run(), name=f"capture {self.camera.id}")
            if self.larger is not None:
                tasks.create_task(self.larger.run(), name=f"larger stream {self.camera.id}")
            await self._analyse()
            await capturing
            sweeper.cancel()
            self._metrics.camera_stopped(self.camera.id)
            await self._publish_finished()
            if self.larger is not None:
                await self.larger.stop()
            await self._passages.join()
            await self._notices.join()
            teller.cancel()
            recorder.cancel()

    async def stop(self) -> None:
        """End capturing; `run` then finishes by itself."""
        await self.capture.stop()

    # Frames

    async def _analyse(self) -> None:
        while await self.capture.ready():
            # The frame is taken when its turn has come: waiting with it in hand would only make it old.
            async with self._plates.turns:
                frame = await self.capture.next()
                if frame is None:
                    return
                passages = await self._look_at(frame)
            await self._publish(passages, settled_by=frame.captured_at)

    async def _look_at(self, frame: Frame) -> Sequence[Passage]:
        """What the frame decides."""
        self._count_frames()
        wanted = self._attention.wants(frame, self.camera.roi or (), self.tracker.tracks)
        if self.larger is not None:
            frame = self.larger.attend(frame, wanted)
        if not wanted:
            self._metrics.frame_skipped(self.camera.id)
            return self.tracker.pass_over(frame)
        try:
            reads = await self._plates.read(frame, self.camera.roi or ())
        except VisionError as error:
            await self._vision_failed(error)
            return ()
        self.blind, self._blind_since_s = "", None
        self._metrics.frame_analysed(self.camera.id, self._clock.now().seconds_since(frame.captured_at))
        self._metrics.plates_read(self.camera.id, len(reads))
        with self._metrics.timed(Stage.TRACK):
            passages = self.tracker.update(frame, reads, self._clock.now())
        self.analysed, self.reads = replace(frame, still=None), reads
        return passages

    def _count_frames(self) -> None:
        counts = self.capture.statistics()
        self._metrics.frames_captured(self.camera.id, counts.captured - self._captured)
        self._metrics.frames_dropped(self.camera.id, counts.overwritten - self._overwritten)
        self._metrics.stage(Stage.DECODE, counts.decode_ms)
        self._captured, self._overwritten = counts.captured, counts.overwritten

    async def _sweep(self) -> None:
        """A live camera may fall silent with a vehicle in sight. Files always come to their end, and may lag behind."""
        if not self.capture.info.live:
            return
        while True:
            await self._clock.sleep(SWEEP_EVERY_S)
            now, numbers = self._clock.now(), self.capture.statistics()
            last = numbers.last_picture
            if last is not None:
                age_s, lag_s = now.seconds_since(last), numbers.lag_ms / 1000
                self._metrics.camera_freshness(self.camera.id, age_s=age_s, lag_s=lag_s)
            if due := self._losses.due(now, last):
                self._note(due)
            await self._publish(self.tracker.close_stale(now), settled_by=now)

    async def _publish_finished(self) -> None:
        # A file's frames may carry times ahead of ours (played fast), and tracks must not end before they began.
        now, newest = self._clock.now(), self.analysed
        if newest is not None and newest.captured_at.monotonic_s > now.monotonic_s:
            now = newest.captured_at
        await self._publish(self.tracker.finish(now), settled_by=now)

    async def _publish(self, passages: Sequence[Passage], *, settled_by: Instant) -> None:
        for passage in passages:
            shown = passage
            if self.larger is not None:
                shown = await self.larger.with_larger_pictures(passage, self.camera.roi or ())
                kept = shown.best_frame.image is passage.best_frame.image
                self._metrics.pictures_sent(self.camera.id, "analyse_source" if kept else "source")
            prepared = await self._publisher.prepare(shown, self.camera, settled_by=settled_by)
            if prepared is not None:
                await self._passages.put(prepared)
        # Nothing is held back without a trace in the log.
        for note in self.tracker.take_notes():
            log.info(
                "not reported",
                camera=self.camera.id,
                why=note.kind.value,
                plate=note.text,
                frames=note.frames,
                track=note.track_id,
            )

    async def _record(self) -> None:
        """One after the other, beside the analysis: a disk that stalls, as flash does for seconds, blinds no camera."""
        while True:
            prepared = await self._passages.get()
            try:
                await self._publisher.record(prepared)
                if self._passages.empty():
                    await self._on_published()
            finally:
                self._passages.task_done()

    # Faults

    async def _vision_failed(self, error: VisionError) -> None:
        now_s, self.blind = self._clock.now().monotonic_s, error.message
        if self._vision_told_at_s is None or now_s - self._vision_told_at_s >= VISION_ERROR_EVERY_S:
            self._vision_told_at_s = now_s
            log.error("inference failed", camera=self.camera.id, error=error.message, hint=error.hint)
            await self._publisher.raise_error(
                ErrorCode.PROCESSING_ERROR,
                error.message,
                severity=Severity.HIGH,
                gate_id=self.camera.gate.id,
                details={"cameraId": self.camera.id, "hint": error.hint or ""},
            )
        if self._blind_since_s is None:
            self._blind_since_s = now_s
        elif now_s - self._blind_since_s >= BLIND_FOR_S and self._on_blind is not None:
            self._blind_since_s = now_s
            await self._on_blind(error)

    def _changed(self, change: CameraChange) -> None:
        self._metrics.camera_state(self.camera.id, change.state)
        self.trouble = change.reason
        if self.larger is not None:
            self.larger.follow(change)
        self._note(self._losses.analysed(change))

    def _larger_changed(self, change: CameraChange) -> None:
        if change.state is CameraState.RUNNING:
            self.capture.hurry()
        self._note(self._losses.larger(change))

    def _note(self, notices: Sequence[Notice]) -> None:
        for notice in notices:
            self._notices.put_nowait(notice)
        self._on_change()

    async def _tell(self) -> None:
        """Losses and recoveries are told in the order in which they came."""
        while True:
            notice = await self._notices.get()
            try:
                await self._publisher.raise_error(
                    notice.code,
                    notice.message,
                    severity=notice.severity,
                    gate_id=self.camera.gate.id,
                    details=notice.details(self._clock.now()),
                )
            finally:
                self._notices.task_done()
