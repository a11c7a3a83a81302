"""Where the time goes: every stage of a frame's way on this machine, through the agent's own parts.

The frames are a clip's; each with a plate in it becomes an event of its own, is recorded on a real disk and delivered
to a real back-end over loopback. Beside it the two bare networks are run back to back on the same pictures, so that
the figure that counts is a ratio of one run: machines and their loads differ.
"""

from __future__ import annotations

import asyncio
import statistics
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from lpr.agent.evidence import plate_detected
from lpr.agent.pipeline import tracking_settings
from lpr.agent.settings import detail_of, link_settings
from lpr.backend.server import Backend, BackendSettings
from lpr.capture.base import CameraSettings
from lpr.capture.source import frames_of
from lpr.config import AgentConfig, CameraConfig
from lpr.domain.clock import SystemClock
from lpr.domain.errors import CaptureError
from lpr.domain.frame import Frame
from lpr.domain.geometry import Quad
from lpr.domain.passage import Action, Passage, PassageOutcome
from lpr.domain.plate import PlateRead
from lpr.link.commands import obey_nothing
from lpr.link.files import EpochFile
from lpr.link.relay import Relay
from lpr.link.socketio_transport import transports
from lpr.metrics import Metrics, Percentiles, Stage
from lpr.outbox.sqlite import SqliteOutbox
from lpr.tracking.grammar import decide
from lpr.tracking.repeat import RepeatGuard
from lpr.tracking.tracker import PassageTracker
from lpr.vision.engine import EngineOptions, load_openvino
from lpr.vision.models import model_path
from lpr.vision.plate_reader import PlateReader
from lpr.vision.preprocess import letterbox
from lpr.vision.rectify import rectify
from lpr.vision.vision import SIZES, Detail, Vision, VisionOptions

WARM_UP = 10
"""Rounds before the first one that counts: caches, clocks and memory settle."""


@dataclass(frozen=True, slots=True)
class BenchReport:
    """What was measured. Times in milliseconds, medians.

    `ratio` is the stages detect + read over the two bare networks; `whole_ms` is everything from the frame to its
    reads, scaling and straightening included.
    """

    frame: str
    device: str
    frames: int
    plates: int
    stages: dict[str, Percentiles]
    networks_ms: float
    detect_and_read_ms: float
    whole_ms: float
    frame_to_ack: Percentiles

    @property
    def ratio(self) -> float:
        """How much the agent's own work adds to the networks."""
        return self.detect_and_read_ms / self.networks_ms if self.networks_ms else 0.0

    def to_json(self) -> dict[str, Any]:
        """JSON values, times in ms."""
        return {
            "frame": self.frame,
            "device": self.device,
            "frames": self.frames,
            "plates": self.plates,
            "stages": {name: _times(each) for name, each in self.stages.items()},
            "bareNetworksMs": round(self.networks_ms, 3),
            "detectAndReadMs": round(self.detect_and_read_ms, 3),
            "frameToReadsMs": round(self.whole_ms, 3),
            "ratio": round(self.ratio, 3),
            "frameToAckMs": _times(self.frame_to_ack),
        }


def _times(each: Percentiles) -> dict[str, float]:
    return {"count": each.count, "median": round(each.p50_ms, 3), "p95": round(each.p95_ms, 3)}


class NoPlateError(CaptureError):
    """The clip shows no plate, so there is nothing to time."""


async def bench(
    clip: Path, config: AgentConfig, *, rounds: int, folder: Path, progress: Callable[[int, int], None]
) -> BenchReport:
    """Time `rounds` frames with a plate. `config` says which device and how the back-end is spoken to; its `data_dir`
    is not touched: the queue lies in `folder`, on whose disk the commits are timed.

    Raises `NoPlateError` where the clip shows no plate, and what the parts raise.
    """
    metrics, camera = Metrics(), config.cameras[0]
    precision = None if config.vision.precision.value == "auto" else config.vision.precision.value
    engine = EngineOptions(precision=precision, cache_dir=folder / "cache")
    async with Vision(VisionOptions(engine=engine), timer=metrics) as vision:
        detail = detail_of(config, camera)
        reader = await vision.reader(config.device_of(camera), detail)
        devices = {name for names in vision.devices_of(reader).values() for name in names}
        shown = await _frames_with_one_plate(clip, reader, metrics, rounds)
        bare = _BareNetworks(config.device_of(camera), detail, engine)
        tracker = _tracker(config, camera)
        networks, timed = [], []
        async with _Delivery(config, folder, metrics) as delivery:
            for number in range(rounds + WARM_UP):
                progress(number, rounds + WARM_UP)
                frame, known = shown[number % len(shown)]
                # In turn, so that a machine that grows slower meanwhile does so for both.
                networks.append(bare.run(frame, known[0].corners, reader))
                frame = replace(frame, captured_at=SystemClock().now(), number=number)
                start = time.perf_counter()
                reads = await reader.read(frame)
                timed.append((time.perf_counter() - start) * 1000)
                with metrics.timed(Stage.TRACK):
                    tracker.update(frame, reads)
                await delivery.deliver(_passage(frame, (reads or known)[0], camera), camera)
                metrics.frame_to_ack(SystemClock().now().seconds_since(frame.captured_at) * 1000)
    width, height = shown[0][0].width, shown[0][0].height
    return BenchReport(
        frame=f"{width}x{height}",
        device=", ".join(sorted(devices)),
        frames=rounds,
        plates=rounds,
        stages={stage.value: metrics.percentiles(stage) for stage in Stage},
        networks_ms=statistics.median(networks[WARM_UP:]),
        detect_and_read_ms=sum(metrics.percentiles(stage).p50_ms for stage in (Stage.DETECT, Stage.READ)),
        whole_ms=statistics.median(timed[WARM_UP:]),
        frame_to_ack=metrics.frame_to_ack_percentiles(),
    )


async def _frames_with_one_plate(
    clip: Path, reader: PlateReader, metrics: Metrics, wanted: int
) -> list[tuple[Frame, tuple[PlateRead, ...]]]:
    """Frames of the clip that show exactly one plate: what one frame costs is then told by what is in it."""
    shown: list[tuple[Frame, tuple[PlateRead, ...]]] = []
    start = time.perf_counter()
    for frame in frames_of(CameraSettings(camera_id="bench", source=str(clip), fps=30.0), SystemClock()):
        if isinstance(frame, CaptureError):
            raise frame
        metrics.stage(Stage.DECODE, (time.perf_counter() - start) * 1000)
        if len(shown) < min(wanted, 40):
            reads = await reader.read(frame)
            if len(reads) == 1:
                shown.append((frame, reads))
        start = time.perf_counter()
    if not shown:
        raise NoPlateError(f"{clip} shows no frame with exactly one plate", hint="give a clip that does: --clip FILE")
    return shown


class _Delivery:
    """A queue on the real disk, a link and a back-end over loopback."""

    def __init__(self, config: AgentConfig, folder: Path, metrics: Metrics) -> None:
        self._config, self._folder, self._metrics = config, folder, metrics

    async def __aenter__(self) -> Self:
        boot_id = str(uuid.uuid4())
        self._backend = await Backend(BackendSettings(port=0, database=self._folder / "backend.db")).__aenter__()
        self._outbox = await SqliteOutbox.open(self._folder / "queue", agent_id="bench", boot_id=boot_id)
        settings = replace(link_settings(self._config, boot_id=boot_id), url=self._backend.url, namespace="/ai")
        settings = replace(settings, token=lambda: None, ca_file=None, client_cert_file=None, client_key_file=None)
        self._relay = Relay(
            self._outbox,
            settings,
            transports(settings),
            next_epoch=EpochFile().next,
            on_command=obey_nothing,
            metrics=self._metrics,
        )
        self._running = asyncio.create_task(self._relay.run())
        await self._backend.wait_for_agent()
        return self

    async def deliver(self, passage: Passage, camera: CameraConfig) -> None:
        """Encode, commit, send, and wait for the answer."""
        metrics = self._metrics
        with metrics.timed(Stage.ENCODE):
            event = plate_detected(
                passage, camera, weather=None, max_message_bytes=self._config.backend.max_message_bytes
            )
        with metrics.timed(Stage.COMMIT):
            await self._outbox.record(event, link_up=self._relay.link_up)
        await self._relay.drained()

    async def __aexit__(self, *_: object) -> None:
        await self._relay.stop(1.0)
        await self._running
        await self._outbox.close()
        await self._backend.close()


def _tracker(config: AgentConfig, camera: CameraConfig) -> PassageTracker:
    return PassageTracker(tracking_settings(config, camera), RepeatGuard(), decide)


def _passage(frame: Frame, read: PlateRead, camera: CameraConfig) -> Passage:
    """One frame made a passage of its own, so that every round delivers."""
    return Passage(
        passage_id=str(uuid.uuid4()),
        camera_id=camera.id,
        outcome=PassageOutcome.READ,
        plate=read.plate,
        colour=read.colour,
        vehicle_type=read.plate.vehicle_type,
        action=Action.ENTRY,
        best_frame=frame,
        best_read=read,
        first_seen=frame.captured_at,
        last_seen=frame.captured_at,
        decided_at=SystemClock().now(),
        frames_read=1,
    )


class _BareNetworks:
    """The two networks and nothing else: compiled alike, run synchronously, one after the other."""

    def __init__(self, device: str, detail: Detail, options: EngineOptions) -> None:
        openvino = load_openvino()
        core = openvino.Core()
        settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
        if options.precision is not None:
            settings["INFERENCE_PRECISION_HINT"] = options.precision
        detector = core.read_model(model_path("detector"))
        width, height = SIZES[detail]
        detector.reshape([1, height, width, 3])
        self._size = (width, height)
        self._detector = core.compile_model(detector, device, settings).create_infer_request()
        recognizer = core.read_model(model_path("recognizer"))
        self._recognizer = core.compile_model(recognizer, device, settings).create_infer_request()

    def run(self, frame: Frame, corners: Quad, reader: PlateReader) -> float:
        """Milliseconds of both inferences on this frame and its plate; preparing the pictures is not timed."""
        scaled, _ = letterbox(frame.image, self._size)
        crop = rectify(frame.image, corners, reader.recognizer.crop_size, reader.recognizer.crop_margin)
        start = time.perf_counter()
        self._detector.infer({0: scaled[None]})
        self._recognizer.infer({0: crop[None]})
        return (time.perf_counter() - start) * 1000
