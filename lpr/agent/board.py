"""What the agent knows of itself, drawn together: the status event is made of it, and the local page reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import psutil

import lpr
from lpr.agent.concerns import concerns, free_disk_at
from lpr.agent.pipeline import CameraPipeline
from lpr.agent.publisher import Publisher
from lpr.agent.timekeeping import clock_status
from lpr.config import AgentConfig, CameraConfig
from lpr.domain.clock import Clock
from lpr.domain.events import AgentState, CameraState, CameraStatus, ProcessingStatus, QueueStatus
from lpr.link.base import LinkState
from lpr.web.source import CameraPicture

ACTIVE = (CameraState.CONNECTING, CameraState.RUNNING, CameraState.LOST)
LOAD_EVERY_S = 2.0
NOTHING_QUEUED = QueueStatus(pending=0, bytes=0, oldest_age_s=0.0, dead_letters=0)


class Board:
    """The agent in numbers. Reads the living parts; holds only what nobody else does."""

    def __init__(
        self,
        config: AgentConfig,
        *,
        pipelines: Mapping[str, CameraPipeline],
        publisher: Publisher,
        link: Callable[[], LinkState],
        clock: Clock,
    ) -> None:
        self.config = config
        self.queue = NOTHING_QUEUED
        """The disk queue as it was asked for last."""
        self.queue_fault = ""
        """Why the queue could not be asked or written then, in words; empty where it could."""
        self.devices: dict[str, str] = {}
        """Camera id -> what really executes its networks."""
        self.ended: set[str] = set()
        """Cameras whose files came to their end."""
        self.last_pictures: dict[str, CameraPicture] = {}
        """The last picture of each camera that has ended, for the local page."""
        self.fallbacks: set[str] = set()
        """Inference devices that are not there, whose work another one does."""
        self._load = (0.0, 0.0)
        self._load_at_s = float("-inf")
        self._pipelines, self._publisher, self._link, self._clock = pipelines, publisher, link, clock
        self.started = clock.now()
        psutil.cpu_percent(None)  # sets the mark that the next call measures from

    @property
    def uptime_s(self) -> float:
        """Seconds since the start."""
        return self._clock.now().seconds_since(self.started)

    @property
    def link(self) -> LinkState:
        """The link in numbers and words."""
        return self._link()

    def pipeline(self, camera_id: str) -> CameraPipeline | None:
        """The camera at work, or None where it is not."""
        return self._pipelines.get(camera_id)

    @property
    def device(self) -> str:
        """What really executes, over all cameras: `CPU`, `GPU.0`, or several."""
        return ", ".join(sorted(set(self.devices.values())))

    def camera_state(self, camera_id: str) -> CameraState:
        """What one camera is doing."""
        pipeline = self._pipelines.get(camera_id)
        if pipeline is not None:
            return pipeline.state
        return CameraState.ENDED if camera_id in self.ended else CameraState.STOPPED

    def camera_status(self, camera: CameraConfig) -> CameraStatus:
        """One camera in numbers."""
        pipeline = self._pipelines.get(camera.id)
        numbers = pipeline.capture.statistics() if pipeline else None
        last = numbers.last_picture if numbers else None
        return CameraStatus(
            camera_id=camera.id,
            gate_id=camera.gate.id,
            state=self.camera_state(camera.id),
            analysed_fps=round(numbers.analysed_fps, 2) if numbers else 0.0,
            last_frame_at=last.wall if last else None,
        )

    @property
    def state(self) -> AgentState:
        """Idle while no camera is on; an error where every one that should give pictures gives none."""
        return _overall(self.camera_state(camera.id) for camera in self.config.cameras)

    def status(self) -> ProcessingStatus:
        """The agent at this moment."""
        now = self._clock.now()
        memory_percent, cpu_percent = self._machine_load(now.monotonic_s)
        active = {camera.gate.id: None for camera in self.config.cameras if self.camera_state(camera.id) in ACTIVE}
        return ProcessingStatus(
            occurred_at=now,
            state=self.state,
            active_gates=tuple(active),
            processed_count=self._publisher.processed_count,
            error_count=self._publisher.error_count,
            uptime_s=self.uptime_s,
            memory_percent=memory_percent,
            cpu_percent=cpu_percent,
            agent_version=lpr.__version__,
            device=self.device,
            cameras=tuple(self.camera_status(camera) for camera in self.config.cameras),
            queue=self.queue,
            clock=clock_status(now.wall, self._link().clock_offset_ms),
        )

    @property
    def queue_trouble(self) -> str:
        """Why events are not stored for good, in words; empty where they are."""
        if self.queue_fault or not self.queue.unwritten:
            return self.queue_fault or self.queue.fault
        held, disk = f"{self.queue.unwritten} event(s) are held in memory", self.config.agent.data_dir
        return f"{held}, for the disk of {disk} takes none: a power cut would lose them"

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences for the operator, each with what to do."""
        return tuple(
            concerns(
                self.config,
                queue=self.queue,
                free_disk=free_disk_at(self.config.agent.data_dir),
                clock_offset_ms=self.link.clock_offset_ms,
                complaint=self.link.complaint,
                fallbacks=sorted(self.fallbacks),
            )
        )

    def _machine_load(self, now_s: float) -> tuple[float, float]:
        """Memory and CPU in percent. The CPU's share is over the time since it was last asked: not too often, then."""
        if now_s - self._load_at_s >= LOAD_EVERY_S:
            self._load = (psutil.virtual_memory().percent, psutil.cpu_percent(None))
            self._load_at_s = now_s
        return self._load


def _overall(states: Iterable[CameraState]) -> AgentState:
    active = [state for state in states if state in ACTIVE]
    if not active:
        return AgentState.IDLE
    return AgentState.ERROR if all(state is CameraState.LOST for state in active) else AgentState.PROCESSING
