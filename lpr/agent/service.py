"""`Agent`: builds every part, joins them, runs them, and closes them in reverse.

Opening goes outbox, link, vision, page, capture; stopping runs downstream: capture ends, open tracks become passages,
passages are committed, the relay gets its grace time, the outbox closes last. A lost camera or link is expected and
retried by its own supervisor; what a programming error raises ends the task group and the process, and the service
manager starts the agent again.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from datetime import datetime
from functools import partial
from typing import Any

import structlog

import lpr
from lpr.agent.board import Board
from lpr.agent.control import CommandHandler, in_the_wires_names
from lpr.agent.memory import TrackingMemory
from lpr.agent.page import PageSource, picture_of
from lpr.agent.pipeline import CameraPipeline, DecoderSays
from lpr.agent.publisher import Publisher
from lpr.agent.readers import Readers
from lpr.agent.reporter import LinkNews, Reporter
from lpr.agent.settings import detail_of, link_settings, outbox_limits, same_pictures
from lpr.agent.timekeeping import ClockWatch, clock_is_right
from lpr.capture.reader import SourceFactory
from lpr.capture.source import open_source
from lpr.config import (
    WHY_FIXED,
    AgentConfig,
    CameraConfig,
    Precision,
    RuntimeOverrides,
    apply_changes,
    effective_config,
)
from lpr.domain.clock import Clock, SystemClock
from lpr.domain.commands import CameraSelection, EventRange
from lpr.domain.errors import (
    CaptureError,
    ConfigError,
    LprError,
    VisionError,
    WebError,
)
from lpr.domain.events import CameraState, ErrorCode, Jpeg, ProcessingStatus, Severity
from lpr.imaging import encode_jpeg_within
from lpr.link.base import LinkState
from lpr.link.commands import CommandInbox
from lpr.link.files import EpochFile, SeenCommands
from lpr.link.relay import Relay
from lpr.link.socketio_transport import transports
from lpr.metrics import Metrics
from lpr.outbox.sqlite import SqliteOutbox
from lpr.tracking.repeat import RepeatGuard
from lpr.vision.engine import EngineOptions
from lpr.vision.vision import Vision, VisionOptions
from lpr.web.server import serve

PAGE_AGAIN_AFTER_S = 5.0
"""How long after an attempt to serve the local page that failed the next one is made."""
LAST_WORDS_S = 5.0
"""What an agent that cannot work waits for the link, so that the back-end hears why."""
REMEMBER_EVERY_S = 20.0
"""How often what the trackers must not forget is written down while nothing passes."""
GRACE_S = 8.0
"""What a stopping agent gives the relay for what is in flight; what is left waits on disk."""
SNAPSHOT_MAX_BYTES = 600_000

log = structlog.get_logger("agent")


class Agent:
    """One agent. `run` lasts until `stop` is called, or until the files end where all cameras are files.

    `config` is what is in force at the start, changes of earlier runs included. `data_dir` must exist or be makeable.
    With `end_with_files` false it goes on when all files have been played; `files_delivered` tells in either case.
    `decoder_says` gives what decoders printed lately, for the log of a loss (`lpr.capture.decoder_log`).
    `is_clock_right` says whether the wall clock is known to be right.
    `source_factory` opens the cameras: another one than `open_source` lets measurements bring cameras of their own.
    """

    def __init__(
        self,
        config: AgentConfig,
        *,
        clock: Clock | None = None,
        metrics: Metrics | None = None,
        end_with_files: bool = True,
        source_factory: SourceFactory = open_source,
        decoder_says: DecoderSays | None = None,
        is_clock_right: Callable[[datetime], bool] = clock_is_right,
    ) -> None:
        self.config = config
        self.clock: Clock = clock or SystemClock()
        self.metrics = metrics or Metrics()
        self.metrics.build(lpr.__version__)
        self.boot_id = str(uuid.uuid4())
        self.pipelines: dict[str, CameraPipeline] = {}
        self.files_delivered = asyncio.Event()
        """Set when all files have been played and the back-end holds everything."""
        self._end_with_files = end_with_files
        self._source_factory = source_factory
        self._decoder_says = decoder_says
        self._clock_is_right = is_clock_right
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stop = asyncio.Event()
        self._camera_ended = asyncio.Event()
        self._remembering = asyncio.Lock()
        self._configuring = asyncio.Lock()
        """One change of the configuration at a time: it is read, kept and taken in steps."""
        self._group: asyncio.TaskGroup | None = None

    # Life

    @property
    def link_state(self) -> LinkState:
        """The link in numbers and words; after `run` has begun."""
        return self._relay.state()

    def stop(self) -> None:
        """Ask the agent to end in good order; `run` returns when it has. May be called more than once."""
        self._stop.set()

    async def run(self, *, ready: Callable[[], None] | None = None) -> None:
        """Open everything, work, close everything. `ready` is called when the cameras have been started.

        Raises `LprError` where a part cannot be opened: `OutboxError`, `VisionError`, `WebError`.
        """
        async with AsyncExitStack() as stack:
            self._outbox = await stack.enter_async_context(await self._open_outbox())
            self._publisher = Publisher(
                self._outbox,
                self.config,
                link_up=lambda: self._relay.link_up,
                clock=self.clock,
                metrics=self.metrics,
            )
            self._relay, inbox = self._make_link()
            self._memory = TrackingMemory(self.config.agent.data_dir)
            self.board = Board(
                self.config,
                pipelines=self.pipelines,
                publisher=self._publisher,
                link=self._relay.state,
                clock=self.clock,
            )
            self._reporter = Reporter(self._outbox, self.board, self.metrics, self.clock)
            self._outbox.on_trouble(lambda error: self.metrics.error(error.code))
            try:
                async with asyncio.TaskGroup() as group:
                    self._group = group
                    background = [group.create_task(self._relay.run(), name="relay")]
                    try:
                        await self._work(stack, group, background, inbox, ready)
                    finally:
                        await self._close_link(background, inbox)
                        self._group = None
            except BaseExceptionGroup as errors:
                expected, unexpected = errors.split(LprError)
                if unexpected is not None or expected is None:
                    raise
                raise _first(expected) from expected

    async def _work(
        self,
        stack: AsyncExitStack,
        group: asyncio.TaskGroup,
        background: list[asyncio.Task[None]],
        inbox: CommandInbox,
        ready: Callable[[], None] | None,
    ) -> None:
        await self._open_vision(stack)
        if self.config.web.enabled and not await self._open_page(stack, tell=log.error):
            background.append(group.create_task(self._open_page_later(stack), name="page"))
        reporting = group.create_task(self._reporter.report(), name="status")
        background += [
            reporting,
            group.create_task(inbox.run(), name="commands"),
            group.create_task(self._reporter.watch_queue(), name="queue"),
            group.create_task(self._keep_remembering(), name="memory"),
            group.create_task(self._clock_watch().run(), name="clock"),
        ]
        if not self._stop.is_set():
            await self.start_cameras(tuple(camera.id for camera in self.config.cameras if camera.enabled))
        if ready is not None:
            ready()
        watch = group.create_task(self._until_files_end(), name="files")
        background.append(watch)
        await self._stop.wait()
        log.info("stopping")
        await self.stop_cameras(tuple(self.pipelines))
        self._memory.save()
        # What it is writing down comes before the last status, and the relay hears of both before it may end.
        reporting.cancel()
        await asyncio.wait({reporting})
        await self._reporter.put_status()

    async def _close_link(self, background: list[asyncio.Task[None]], inbox: CommandInbox) -> None:
        relay, *others = background
        for task in others:
            task.cancel()
        inbox.close()
        await self._relay.stop(GRACE_S)
        if not relay.done():
            await relay
        queue = self.board.queue = await self._outbox.status()
        log.info("stopped", waiting=queue.pending, dead_letters=queue.dead_letters)

    async def _open_outbox(self) -> SqliteOutbox:
        return await SqliteOutbox.open(
            self.config.agent.data_dir,
            agent_id=self.config.agent.id,
            boot_id=self.boot_id,
            clock=self.clock,
            clock_is_right=self._clock_is_right,
            limits=outbox_limits(self.config),
        )

    def _make_link(self) -> tuple[Relay, CommandInbox]:
        data_dir = self.config.agent.data_dir
        seen = SeenCommands(data_dir / "commands.json")
        settings = link_settings(self.config, boot_id=self.boot_id)
        news = LinkNews(self._publisher, self.clock)
        inbox = CommandInbox(
            CommandHandler(self).handle, seen=seen, server_now=lambda: relay.server_now(), metrics=self.metrics
        )
        relay = Relay(
            self._outbox,
            settings,
            transports(settings),
            next_epoch=EpochFile(data_dir / "epoch.json").next,
            on_command=inbox.submit,
            on_rejected=news.rejected,
            on_delivered=news.delivered,
            on_server_fault=news.server_fault,
            clock=self.clock,
            metrics=self.metrics,
        )
        return relay, inbox

    def _clock_watch(self) -> ClockWatch:
        return ClockWatch(
            self.clock,
            outbox=self._outbox,
            offset_ms=lambda: self._relay.state().clock_offset_ms,
            raise_error=self._publisher.raise_error,
            on_set=self._reporter.changed,
        )

    async def _open_vision(self, stack: AsyncExitStack) -> None:
        """Compile the networks that the cameras need. What fails is told to the back-end before the agent gives up."""
        precision = self.config.vision.precision
        options = EngineOptions(
            cache_dir=self.config.cache_dir, precision=None if precision is Precision.AUTO else precision.value
        )
        try:
            vision = Vision(VisionOptions(engine=options, models=self.config.vision.model_dir), timer=self.metrics)
            self._readers = Readers(await stack.enter_async_context(vision), self.board, self._publisher, self.metrics)
            for camera in self.config.cameras:
                await self._readers.of(self.config, camera)
        except VisionError as error:
            await self._publisher.raise_error(
                ErrorCode.MODEL_ERROR, error.message, severity=Severity.CRITICAL, details={"hint": error.hint or ""}
            )
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORDS_S):
                    await self._relay.drained()
            raise

    async def _open_page(self, stack: AsyncExitStack, *, tell: Callable[..., object]) -> bool:
        """Serve the local page and say whether it could be. A port that another program holds must not leave the gate
        blind: it is told, and the agent works on without the page.
        """
        page = PageSource(self.board, self._publisher, self._memory, self.clock, remember=self._remember)
        web = self.config.web
        try:
            served = await stack.enter_async_context(serve(page, self.metrics, host=web.host, port=web.port))
        except WebError as error:
            tell("working without the local page", error=error.message, hint=error.hint)
            return False
        log.info("local page", url=served.url)
        return True

    async def _open_page_later(self, stack: AsyncExitStack) -> None:
        """Whoever holds the port may let go of it, and an address that is not there yet may come."""
        while True:
            await self.clock.sleep(PAGE_AGAIN_AFTER_S)
            if await self._open_page(stack, tell=log.debug):
                return

    async def _went_blind(self, camera: CameraConfig, error: VisionError) -> None:
        """A device has stopped working while the agent runs: its work is done elsewhere until the next start."""
        pipeline = self.pipelines.get(camera.id)
        if pipeline is not None and (reader := await self._readers.instead(self.config, camera, error)) is not None:
            pipeline.read_with(reader)

    # Cameras (Operations of the command handler)

    def select(self, selection: CameraSelection) -> tuple[str, ...]:
        """Ids of the cameras that a command means; all where it names none. Raises `ConfigError` for unknown names."""
        known_gates = {camera.gate.id for camera in self.config.cameras}
        unknown = [name for name in selection.camera_ids if self.config.camera(name) is None]
        unknown += [name for name in selection.gate_ids if name not in known_gates]
        if unknown:
            cameras, gates = (camera.id for camera in self.config.cameras), sorted(known_gates)
            raise ConfigError(
                f"not configured here: {', '.join(unknown)}; cameras: {', '.join(cameras)}; gates: {', '.join(gates)}"
            )
        if not selection.camera_ids and not selection.gate_ids:
            return tuple(camera.id for camera in self.config.cameras)
        return tuple(
            camera.id
            for camera in self.config.cameras
            if camera.id in selection.camera_ids or camera.gate.id in selection.gate_ids
        )

    async def start_cameras(self, camera_ids: tuple[str, ...]) -> None:
        """Start analysing these; those that run go on."""
        if self._group is None or self._stop.is_set():
            raise ConfigError("the agent is stopping")
        for camera_id in camera_ids:
            camera = self.config.camera(camera_id)
            if camera is None or camera_id in self.pipelines:
                continue
            pipeline = await self._build_pipeline(camera)
            self.board.ended.discard(camera_id)
            self.board.last_pictures.pop(camera_id, None)
            self.pipelines[camera_id] = pipeline
            self._tasks[camera_id] = self._group.create_task(self._run_camera(pipeline), name=f"camera {camera_id}")
        self._reporter.changed()

    async def stop_cameras(self, camera_ids: tuple[str, ...]) -> None:
        """Stop these; returns when their threads have ended and their open passages are recorded."""
        tasks = [self._tasks[camera_id] for camera_id in camera_ids if camera_id in self._tasks]
        pipelines = [self.pipelines[camera_id] for camera_id in camera_ids if camera_id in self.pipelines]
        await asyncio.gather(*(pipeline.stop() for pipeline in pipelines))
        if tasks:
            await asyncio.wait(tasks)
        self._reporter.changed()

    async def change_config(self, changes: Mapping[str, Any]) -> tuple[str, ...]:
        """Validate as a whole, keep on disk, apply. Raises `ConfigError`, and then nothing has changed."""
        async with self._configuring:
            try:
                config = apply_changes(self.config, changes)
                await asyncio.to_thread(RuntimeOverrides(self.config.agent.data_dir).keep, changes)
            except ConfigError as error:
                told = in_the_wires_names(error)
                await self.config_refused(told)
                raise told from error
            return await self._take_config(config)

    async def config_refused(self, error: ConfigError) -> None:
        """Tell the back-end that a configuration was refused and the old one stays in force."""
        await self._publisher.raise_error(
            ErrorCode.CONFIG_REJECTED, error.message, severity=Severity.MEDIUM, details={"hint": error.hint or ""}
        )

    async def snapshot(self, camera_id: str) -> Jpeg:
        """The newest frame of a camera. Raises `ConfigError` for an unknown one, `CaptureError` where it has none."""
        self.select(CameraSelection(camera_ids=(camera_id,)))
        pipeline = self.pipelines.get(camera_id)
        frame = await pipeline.snapshot() if pipeline else None
        jpeg = await asyncio.to_thread(encode_jpeg_within, frame.image, SNAPSHOT_MAX_BYTES) if frame else None
        if jpeg is None:
            state = self.board.camera_state(camera_id).value
            raise CaptureError(f"{camera_id} has no picture now: it is {state}")
        return jpeg

    def current_status(self) -> ProcessingStatus:
        """The agent in numbers, now."""
        return self.board.status()

    async def replay(self, events: EventRange) -> int:
        """Send delivered events again, of those that `outbox.keep_delivered` still keeps; says how many there were."""
        return await self._outbox.replay(events)

    async def reload(self, written: AgentConfig) -> None:
        """Take a configuration that was read anew (SIGHUP), with the changes made at run time over it.

        Cameras and weather follow it; the rest holds from the next start.
        """
        async with self._configuring:
            fixed = [name for name in WHY_FIXED if getattr(written, name) != getattr(self.config, name)]
            if fixed:
                log.warning("changed in the file, in force from the next start only", sections=fixed)
            base = written.model_copy(update={name: getattr(self.config, name) for name in fixed})
            config, warnings = await asyncio.to_thread(effective_config, base)
            for warning in warnings:
                log.warning(warning)
            await self._take_config(config)

    async def _take_config(self, config: AgentConfig) -> tuple[str, ...]:
        """Apply a validated configuration to the cameras; returns the ids of those that changed."""
        before = {camera.id: camera for camera in self.config.cameras}
        after = {camera.id: camera for camera in config.cameras}
        self.config = self._publisher.config = self.board.config = config
        await self.stop_cameras(tuple(camera_id for camera_id in before if camera_id not in after))
        changed = tuple(camera_id for camera_id, camera in after.items() if before.get(camera_id) != camera)
        for gate_id in {camera.gate.id for camera in config.cameras}:
            self._guard_of(gate_id)
        for camera_id in changed:
            await self._follow(before.get(camera_id), after[camera_id])
        self._reporter.changed()
        return changed

    async def _follow(self, before: CameraConfig | None, camera: CameraConfig) -> None:
        """One camera goes from one configuration to another, without a restart where none is needed."""
        if not camera.enabled:
            await self.stop_cameras((camera.id,))
            return
        pipeline = self.pipelines.get(camera.id)
        same_input = before is not None and detail_of(self.config, before) is detail_of(self.config, camera)
        if pipeline is not None and before is not None and same_input and same_pictures(before, camera):
            pipeline.configure(self.config, camera)
            return
        was_on = pipeline is not None
        await self.stop_cameras((camera.id,))
        if was_on or before is None or not before.enabled:
            await self.start_cameras((camera.id,))

    def _guard_of(self, gate_id: str) -> RepeatGuard:
        """The guard of a gate; the longest `repeat_after` of its cameras holds."""
        longest = max(camera.repeat_after for camera in self.config.cameras if camera.gate.id == gate_id)
        return self._memory.guard(gate_id, longest.total_seconds(), self.clock.now())

    async def _build_pipeline(self, camera: CameraConfig) -> CameraPipeline:
        now = self.clock.now()
        return CameraPipeline(
            self.config,
            camera,
            reader=await self._readers.of(self.config, camera),
            guard=self._guard_of(camera.gate.id),
            standing=self._memory.standing(camera.id, now),
            publisher=self._publisher,
            clock=self.clock,
            metrics=self.metrics,
            on_change=self._reporter.changed,
            on_published=self._remember,
            on_blind=partial(self._went_blind, camera),
            source_factory=self._source_factory,
            decoder_says=self._decoder_says,
        )

    async def _run_camera(self, pipeline: CameraPipeline) -> None:
        camera_id = pipeline.camera.id
        try:
            await pipeline.run()
        finally:
            if pipeline.state is CameraState.ENDED:
                self.board.ended.add(camera_id)
            if (picture := picture_of(pipeline)) is not None:
                self.board.last_pictures[camera_id] = picture
            if self.pipelines.get(camera_id) is pipeline:
                del self.pipelines[camera_id]
                del self._tasks[camera_id]
            self._camera_ended.set()
            self._reporter.changed()

    async def _until_files_end(self) -> None:
        """A run over files ends by itself when they have ended and the back-end holds everything."""
        while True:
            await self._camera_ended.wait()
            self._camera_ended.clear()
            enabled = [camera.id for camera in self.config.cameras if camera.enabled]
            if enabled and all(camera_id in self.board.ended for camera_id in enabled):
                log.info("all files have been played; waiting for the back-end to hold everything")
                await self._relay.drained()
                self.files_delivered.set()
                if self._end_with_files:
                    self.stop()
                    return

    # What goes on beside the cameras

    async def _remember(self) -> None:
        async with self._remembering:
            await asyncio.to_thread(self._memory.write, self._memory.text())

    async def _keep_remembering(self) -> None:
        """A car may have stood at the barrier for longer than `repeat_after` when the power fails."""
        while True:
            await self.clock.sleep(REMEMBER_EVERY_S)
            await self._remember()


def _first(errors: BaseExceptionGroup[LprError]) -> LprError:
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
