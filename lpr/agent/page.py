"""What the local page is told: the agent's parts seen through `lpr.web`'s `StatusSource`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

import structlog

from lpr.agent.board import Board
from lpr.agent.memory import TrackingMemory
from lpr.agent.pipeline import CameraPipeline
from lpr.agent.publisher import PublishedPassage, Publisher
from lpr.config import CameraConfig
from lpr.domain.clock import Clock, Instant
from lpr.domain.events import CameraState
from lpr.link.base import LinkPhase, LinkState
from lpr.tracking.standing import StandingText
from lpr.web.source import (
    CameraPicture,
    CameraView,
    LinkView,
    PassageView,
    SeenPlate,
    StandingView,
    StatusView,
)

log = structlog.get_logger("agent")


class PageSource:
    """A `StatusSource` over the living agent. Everything is read at the moment of asking, nothing is kept.

    `remember` writes down what must outlive a restart.
    """

    def __init__(
        self,
        board: Board,
        publisher: Publisher,
        memory: TrackingMemory,
        clock: Clock,
        *,
        remember: Callable[[], Awaitable[None]],
    ) -> None:
        self._board, self._publisher, self._memory, self._clock = board, publisher, memory, clock
        self._remember = remember

    def status(self) -> StatusView:
        """The agent as it stands."""
        board, link = self._board, self._board.link
        status = board.status()
        return StatusView(
            agent_id=board.config.agent.id,
            version=status.agent_version,
            state=status.state,
            uptime_s=status.uptime_s,
            device=status.device,
            link=LinkView(
                up=link.phase is LinkPhase.UP,
                words=link_words(link, self._clock.now().wall),
                since=link.connected_since,
            ),
            queue=status.queue,
            clock=status.clock,
            cpu_percent=status.cpu_percent,
            memory_percent=status.memory_percent,
            cameras=tuple(self._camera(camera) for camera in board.config.cameras),
            queue_trouble=board.queue_trouble,
            warnings=board.warnings,
        )

    def passages(self, limit: int) -> Sequence[PassageView]:
        """The newest passages, newest first."""
        return [_passage(each) for each in self._publisher.passages[:limit]]

    def camera_picture(self, camera_id: str) -> CameraPicture | None:
        """The frame that was analysed last, with its plates; of a camera that has ended, its last one."""
        pipeline = self._board.pipeline(camera_id)
        return picture_of(pipeline) if pipeline else self._board.last_pictures.get(camera_id)

    def passage_crop(self, passage_id: str) -> bytes | None:
        """The plate of one of the newest passages."""
        published = self._publisher.passage_of(passage_id)
        return published.crop.data if published and published.crop else None

    def standing(self) -> Sequence[StandingView]:
        """What was learnt to belong to the scenes, of cameras that are stopped as well."""
        now = self._clock.now()
        return [
            _standing(camera, each, now)
            for camera in self._board.config.cameras
            for each in self._memory.standing(camera.id, now).texts()
        ]

    async def forget_standing(self, camera_id: str, text: str) -> bool:
        """Report a text again; what still stands there is learnt anew in its time."""
        if not any((each.camera_id, each.text) == (camera_id, text) for each in self.standing()):
            return False
        self._memory.standing(camera_id, self._clock.now()).clear(text)
        log.info("standing text forgotten on the local page", camera=camera_id, plate=text)
        await self._remember()
        return True

    def _camera(self, camera: CameraConfig) -> CameraView:
        pipeline = self._board.pipeline(camera.id)
        numbers = pipeline.capture.statistics() if pipeline else None
        last = numbers.last_picture if numbers else None
        state = self._board.camera_state(camera.id)
        return CameraView(
            camera_id=camera.id,
            name=camera.name,
            gate_name=camera.gate.name,
            state=state,
            decoded_fps=pipeline.decoded_fps if pipeline else 0.0,
            analysed_fps=numbers.analysed_fps if numbers else 0.0,
            frame_age_s=self._clock.now().seconds_since(last) if last else None,
            last_frame_at=last.wall if last else None,
            passages=self._publisher.passages_of(camera.id),
            detail=pipeline.trouble if pipeline and state is not CameraState.RUNNING else "",
            limp=_limp(pipeline) if pipeline else "",
            blind=pipeline.blind if pipeline else "",
        )


def picture_of(pipeline: CameraPipeline) -> CameraPicture | None:
    """A camera's newest analysed frame with what was found in it."""
    if pipeline.analysed is None:
        return None
    plates = tuple(SeenPlate(read.corners, read.plate.display, read.plate.confidence) for read in pipeline.reads)
    return CameraPicture(pipeline.analysed, plates, tuple(pipeline.camera.roi or ()))


def _limp(pipeline: CameraPipeline) -> str:
    trouble = pipeline.larger_trouble
    return f"goes on with the pictures of its smaller stream: {trouble}" if trouble else ""


def _standing(camera: CameraConfig, standing: StandingText, now: Instant) -> StandingView:
    # By the wall clock of now, which may have been set since.
    since, last_seen = (now.plus(each.seconds_since(now)).wall for each in (standing.since, standing.last_seen))
    return StandingView(
        camera_id=camera.id,
        camera_name=camera.name,
        text=standing.text,
        display=standing.display,
        place=standing.place,
        since=since,
        last_seen=last_seen,
    )


def link_words(link: LinkState, now: datetime) -> str:
    """The link in one sentence, for a person."""
    match link.phase:
        case LinkPhase.UP:
            return f"connected to {link.url}"
        case LinkPhase.CONNECTING:
            return f"connecting to {link.url}"
        case LinkPhase.STOPPED:
            return "the agent is stopping"
        case LinkPhase.WAITING | LinkPhase.REFUSED:
            words = link.last_error or f"no connection to {link.url}"
            if link.next_attempt_at is None:
                return words
            seconds = max(0, round((link.next_attempt_at - now) / timedelta(seconds=1)))
            return f"{words}; trying again in {seconds} s"


def _passage(published: PublishedPassage) -> PassageView:
    passage = published.passage
    return PassageView(
        passage_id=passage.passage_id,
        camera_id=passage.camera_id,
        gate_name=published.gate_name,
        plate=passage.plate.display,
        outcome=passage.outcome,
        confidence=passage.plate.confidence,
        action=passage.action,
        vehicle_type=passage.vehicle_type,
        occurred_at=passage.best_frame.captured_at.wall,
        delivery=published.state,
        kind=passage.plate.kind,
        province=passage.plate.province,
    )
