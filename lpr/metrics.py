"""The agent's counters, gauges and timers: every figure has its name here and nowhere else.

A `Metrics` is made by `lpr.agent`, `bench` or a test and handed to the parts; there is no global one. It counts on a
Prometheus registry of its own (`registry`, which `lpr.web` renders), and keeps the newest values of each timer beside
it, so that the local page and `bench` can show true percentiles rather than histogram buckets. All methods may be
called from any thread; none of them waits or raises.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from lpr.domain.commands import ReplyStatus
from lpr.domain.events import CameraState, ErrorCode, QueueStatus
from lpr.domain.passage import PassageOutcome

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

RESERVOIR_SIZE = 2048
"""Newest values kept for each timer: at 8 analysed frames a second about four minutes."""

_STAGE_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_AGE_BUCKETS_S = (0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 15.0)
_DELIVERY_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0, 3600.0, 86400.0)


class Stage(StrEnum):
    """A step in the life of a plate that is timed on its own, in the order in which they happen."""

    DECODE = "decode"
    """One frame out of the video decoder."""
    SCALE = "scale"
    """The frame (or its region) brought to the detector's size."""
    DETECT = "detect"
    """The detector, from handing over the picture to decoded boxes."""
    RECTIFY = "rectify"
    """Plates cut out of the frame and straightened."""
    READ = "read"
    """The recogniser, from handing over the crops to decoded texts."""
    TRACK = "track"
    """Association and voting for one frame."""
    ENCODE = "encode"
    """The pictures of one event compressed to JPEG."""
    COMMIT = "commit"
    """An event handed to the outbox until its commit has returned."""
    SEND_TO_ACK = "send_to_ack"
    """An event handed to the socket until the back-end's answer."""


class Delivery(StrEnum):
    """How one attempt to deliver an event ended."""

    ACKED = "acked"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"
    RETRIED = "retried"
    """The back-end asked to have it again later."""
    TIMED_OUT = "timed_out"
    """No answer in time, or the connection was lost before it."""


@dataclass(frozen=True, slots=True)
class Percentiles:
    """The newest values of a timer in numbers; all zero where `count` is.

    `count` is how many values were ever seen; the rest is over the newest `RESERVOIR_SIZE` of them, in milliseconds.
    """

    count: int
    p50_ms: float
    p95_ms: float


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value at or below which `share` (0..1) of the ascending `ordered` lie; 0 where it is empty."""
    if not ordered:
        return 0.0
    return ordered[min(len(ordered) - 1, max(0, math.ceil(share * len(ordered)) - 1))]


class Reservoir:
    """The newest values of one timer, bounded."""

    def __init__(self, size: int = RESERVOIR_SIZE) -> None:
        self._values: deque[float] = deque(maxlen=size)
        self._count = 0
        self._lock = threading.Lock()

    def add(self, milliseconds: float) -> None:
        """Take a value; the oldest goes where there is no room."""
        with self._lock:
            self._values.append(milliseconds)
            self._count += 1

    def percentiles(self) -> Percentiles:
        """The values in numbers."""
        with self._lock:
            ordered, count = sorted(self._values), self._count
        return Percentiles(count, percentile(ordered, 0.50), percentile(ordered, 0.95))


class Metrics:
    """Every figure of one agent. Cameras, events and codes are labels; their number is bounded by the configuration."""

    def __init__(self) -> None:
        # 60 ms of import that `lpr-agent --help` need not pay.
        from prometheus_client import (
            CollectorRegistry,
            Counter,
            Gauge,
            GCCollector,
            Histogram,
            PlatformCollector,
            ProcessCollector,
        )

        self.registry: CollectorRegistry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"lpr_{name}", text, labels, registry=self.registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"lpr_{name}", text, labels, registry=self.registry)

        def histogram(name: str, text: str, buckets: Sequence[float], *labels: str) -> Histogram:
            return Histogram(f"lpr_{name}", text, labels, buckets=buckets, registry=self.registry)

        self._captured = counter("frames_captured", "Frames decoded.", "camera")
        self._analysed = counter("frames_analysed", "Frames that the detector has seen.", "camera")
        self._dropped = counter("frames_dropped", "Frames replaced by a newer one before analysis.", "camera")
        self._skipped = counter("frames_skipped", "Frames left out because nothing had moved.", "camera")
        self._frame_age = histogram(
            "frame_age_seconds", "Age of a frame when its analysis had ended.", _AGE_BUCKETS_S, "camera"
        )
        self._newest_frame = gauge(
            "newest_frame_age_seconds", "Age of a running camera's newest picture; it rises while none comes.", "camera"
        )
        self._decoder_lag = gauge(
            "decoder_lag_seconds", "How far decoding is behind the camera, by the camera's own time stamps.", "camera"
        )
        self._evidence = counter(
            "pictures_sent",
            "Vehicles of a camera with two streams, by the stream of their pictures.",
            "camera",
            "stream",
        )
        self._camera_state = gauge("camera_state", "1 for the state that the camera is in.", "camera", "state")
        self._camera_losses = counter("camera_losses", "Times the camera was lost.", "camera")
        self._reads = counter("plate_reads", "Plates read in single frames.", "camera")
        self._passages = counter("passages", "Vehicles that passed, by outcome.", "camera", "outcome")
        self._stage = histogram("stage_seconds", "Time of one step.", _STAGE_BUCKETS_S, "stage")
        self._frame_to_ack = histogram(
            "frame_to_ack_seconds",
            "From capture of the frame that settled a plate to the back-end's acknowledgement.",
            _DELIVERY_BUCKETS_S,
        )
        self._recorded = counter("events_recorded", "Events committed to the disk queue.", "type")
        self._delivered = counter("event_deliveries", "Attempts to deliver an event, by how they ended.", "outcome")
        self._queue_pending = gauge("queue_pending", "Events that wait in the disk queue.")
        self._queue_bytes = gauge("queue_bytes", "Bytes that the waiting events take.")
        self._queue_oldest = gauge("queue_oldest_age_seconds", "Age of the oldest waiting event.")
        self._queue_dead = gauge("queue_dead_letters", "Events that the back-end refused for good.")
        self._link_up = gauge("link_up", "1 while the back-end is connected.")
        self._connects = counter("link_connects", "Connections made to the back-end.")
        self._connect_failures = counter("link_connect_failures", "Attempts to connect that failed.", "reason")
        self._errors = counter("errors", "Errors raised, by the contract's code.", "code")
        self._commands = counter("commands", "Commands answered.", "name", "status")
        self._device = gauge("device_info", "Inference device that really executes.", "network", "device")
        self._build = gauge("build_info", "Version of the agent.", "version")

        self._stages: Mapping[Stage, Reservoir] = {stage: Reservoir() for stage in Stage}
        self._to_ack = Reservoir()
        self._states: dict[str, CameraState] = {}
        self._lock = threading.Lock()

    # Capture and analysis

    def frames_captured(self, camera_id: str, count: int = 1) -> None:
        """So many frames left the decoder."""
        self._captured.labels(camera_id).inc(count)

    def frame_analysed(self, camera_id: str, age_s: float) -> None:
        """A frame has been through detector and reader; `age_s` is how long ago it was captured."""
        self._analysed.labels(camera_id).inc()
        self._frame_age.labels(camera_id).observe(max(0.0, age_s))

    def camera_freshness(self, camera_id: str, *, age_s: float, lag_s: float) -> None:
        """The camera's newest picture is so old, and its decoder so far behind; to be told twice a second or so."""
        self._newest_frame.labels(camera_id).set(max(0.0, age_s))
        self._decoder_lag.labels(camera_id).set(max(0.0, lag_s))

    def camera_stopped(self, camera_id: str) -> None:
        """The camera is not watched any more: its gauges would stand still, and look well."""
        for each in (self._newest_frame, self._decoder_lag):
            with suppress(KeyError):  # one that never showed a picture has none
                each.remove(camera_id)

    def pictures_sent(self, camera_id: str, stream: str) -> None:
        """A vehicle's pictures come from this stream, by its key in the configuration."""
        self._evidence.labels(camera_id, stream).inc()

    def frames_dropped(self, camera_id: str, count: int = 1) -> None:
        """Frames were replaced by newer ones before anyone looked at them."""
        self._dropped.labels(camera_id).inc(count)

    def frame_skipped(self, camera_id: str) -> None:
        """A frame was left out because nothing had moved in it."""
        self._skipped.labels(camera_id).inc()

    def camera_state(self, camera_id: str, state: CameraState) -> None:
        """The camera is in this state now; a change to `LOST` is counted as a loss."""
        with self._lock:
            before = self._states.get(camera_id)
            self._states[camera_id] = state
        for each in CameraState:
            self._camera_state.labels(camera_id, each.value).set(1.0 if each is state else 0.0)
        if state is CameraState.LOST and before is not CameraState.LOST:
            self._camera_losses.labels(camera_id).inc()

    def plates_read(self, camera_id: str, count: int = 1) -> None:
        """Plates were read in one frame."""
        self._reads.labels(camera_id).inc(count)

    def passage(self, camera_id: str, outcome: PassageOutcome) -> None:
        """A vehicle passed."""
        self._passages.labels(camera_id, outcome.value).inc()

    # Time

    def stage(self, stage: Stage, milliseconds: float) -> None:
        """One step took so long."""
        self._stage.labels(stage.value).observe(milliseconds / 1000.0)
        self._stages[stage].add(milliseconds)

    @contextmanager
    def timed(self, stage: Stage) -> Iterator[None]:
        """Time the block as one step; a block that raises is not counted."""
        start = time.perf_counter()
        yield
        self.stage(stage, (time.perf_counter() - start) * 1000.0)

    def frame_to_ack(self, milliseconds: float) -> None:
        """A detection was acknowledged so long after the frame that settled it had been captured."""
        self._frame_to_ack.observe(max(0.0, milliseconds) / 1000.0)
        self._to_ack.add(milliseconds)

    # Queue and link

    def event_recorded(self, event_type: str) -> None:
        """An event's commit has returned; `event_type` is the contract's name."""
        self._recorded.labels(event_type).inc()

    def delivery(self, outcome: Delivery) -> None:
        """One attempt to deliver an event ended."""
        self._delivered.labels(outcome.value).inc()

    def queue(self, status: QueueStatus) -> None:
        """The disk queue stands so."""
        self._queue_pending.set(status.pending)
        self._queue_bytes.set(status.bytes)
        self._queue_oldest.set(status.oldest_age_s)
        self._queue_dead.set(status.dead_letters)

    def link(self, *, up: bool) -> None:
        """The back-end is connected, or it is not."""
        self._link_up.set(1.0 if up else 0.0)

    def connected(self) -> None:
        """A connection was made; every one after the first is a reconnection."""
        self._connects.inc()

    def connect_failed(self, reason: str) -> None:
        """An attempt to connect failed; `reason` is one of few words (`refused`, `timeout`, ...), never free text."""
        self._connect_failures.labels(reason).inc()

    def error(self, code: ErrorCode) -> None:
        """An error was raised towards the back-end."""
        self._errors.labels(code.value).inc()

    def command(self, name: str, status: ReplyStatus) -> None:
        """A command was answered. `name` is one of the contract's, or `unknown`: never what the other side made up."""
        self._commands.labels(name, status.value).inc()

    # What runs

    def device(self, network: str, device: str) -> None:
        """`network` (`detector`, `recognizer`) executes on `device` (as OpenVINO reports it)."""
        self._device.labels(network, device).set(1.0)

    def build(self, version: str) -> None:
        """The agent's version."""
        self._build.labels(version).set(1.0)

    # Reading back

    def percentiles(self, stage: Stage) -> Percentiles:
        """The newest times of one step."""
        return self._stages[stage].percentiles()

    def frame_to_ack_percentiles(self) -> Percentiles:
        """The newest times from capture to acknowledgement."""
        return self._to_ack.percentiles()

    def passages(self, outcome: PassageOutcome, *, camera_id: str | None = None) -> int:
        """Vehicles that passed with this outcome, past one camera or past all."""
        if camera_id is None:
            return self.total("passages", outcome=outcome.value)
        return self.total("passages", camera=camera_id, outcome=outcome.value)

    def total(self, name: str, **labels: str) -> int:
        """The sum of a counter's values (`name` without `lpr_` and `_total`) over all series that carry `labels`."""
        wanted = labels.items()
        return round(
            sum(
                sample.value
                for family in self.registry.collect()
                if family.name == f"lpr_{name}"
                for sample in family.samples
                if sample.name.endswith("_total") and wanted <= sample.labels.items()
            )
        )
