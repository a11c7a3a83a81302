"""Decided passages and errors on their way into the outbox, and what became of them afterwards.

Nothing is called recorded before `Outbox.record` has returned. What cannot be recorded is said aloud, in the log and on
the local page, and never stops a camera.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import structlog

from lpr.agent.evidence import plate_detected, plate_unreadable
from lpr.config import AgentConfig, CameraConfig
from lpr.domain.clock import Clock, Instant
from lpr.domain.errors import ImageError, OutboxError
from lpr.domain.events import ErrorCode, ErrorRaised, Jpeg, PlateDetected, Severity, StoredEvent
from lpr.domain.passage import Passage, PassageOutcome
from lpr.metrics import Metrics, Stage
from lpr.outbox.base import Outbox, Ticket
from lpr.web.source import DeliveryState
from lpr.wire import event_type

PASSAGES_KEPT = 60
"""Newest passages with their crops, for the local page."""

NO_PICTURE = np.zeros((0, 0, 3), np.uint8)

log = structlog.get_logger("agent")


@dataclass(frozen=True, slots=True, eq=False)
class PreparedPassage:
    """A passage without its frames, and the event that tells of it."""

    passage: Passage
    camera: CameraConfig
    event: PlateDetected | ErrorRaised
    settled_by: Instant


@dataclass(frozen=True, slots=True)
class PublishedPassage:
    """A passage as the local page shows it."""

    passage: Passage
    gate_name: str
    crop: Jpeg | None
    event_id: str | None
    state: DeliveryState


class Publisher:
    """Compresses the pictures, records the event, remembers the newest passages and where they are."""

    def __init__(
        self, outbox: Outbox, config: AgentConfig, *, link_up: Callable[[], bool], clock: Clock, metrics: Metrics
    ) -> None:
        self.config = config
        self.processed_count = 0
        """Vehicles whose plate was read and recorded, since the start."""
        self.error_count = 0
        """Errors recorded since the start."""
        self._outbox, self._link_up, self._clock, self._metrics = outbox, link_up, clock, metrics
        self._passages: OrderedDict[str, PublishedPassage] = OrderedDict()
        self._counts: Counter[str] = Counter()
        self._settled_by: OrderedDict[str, Instant] = OrderedDict()
        self._outcomes: OrderedDict[str, DeliveryState] = OrderedDict()

    @property
    def passages(self) -> tuple[PublishedPassage, ...]:
        """The newest passages, newest first."""
        return tuple(reversed(self._passages.values()))

    def passage_of(self, passage_id: str) -> PublishedPassage | None:
        """One of the newest passages, or None."""
        return self._passages.get(passage_id)

    def passages_of(self, camera_id: str) -> int:
        """Vehicles that passed a camera since the start."""
        return self._counts[camera_id]

    async def prepare(self, passage: Passage, camera: CameraConfig, *, settled_by: Instant) -> PreparedPassage | None:
        """Compress the pictures of a vehicle that passed; None where it is not to be reported, or cannot be.

        `settled_by` is when the frame was captured that decided it: from there the time to the answer is measured.
        """
        with self._metrics.timed(Stage.ENCODE):
            event = await self._event_of(passage, camera)
        return None if event is None else PreparedPassage(_without_pictures(passage), camera, event, settled_by)

    async def record(self, prepared: PreparedPassage) -> None:
        """Record what became of a vehicle; returns after the commit, or after saying why there is none."""
        passage, camera = prepared.passage, prepared.camera
        ticket, event_id = await self._record(prepared.event)
        state = self._outcomes.get(event_id, DeliveryState.WAITING) if event_id else DeliveryState.DROPPED
        self._remember(PublishedPassage(passage, camera.gate.name, prepared.event.plate_image, event_id, state))
        self._metrics.passage(camera.id, passage.outcome)
        self._counts[camera.id] += 1
        if ticket is not None and state is DeliveryState.WAITING and not ticket.recorded_offline:
            self._settled_by[ticket.event_id] = prepared.settled_by
            _forget_oldest(self._settled_by)
        if ticket is not None and passage.outcome is PassageOutcome.READ:
            self.processed_count += 1
        log.info(
            "passage",
            camera=camera.id,
            outcome=passage.outcome.value,
            plate=passage.plate.display,
            confidence=round(passage.plate.confidence, 3),
            action=passage.action.value,
            frames=passage.frames_read,
            sequence=ticket.sequence if ticket else None,
        )

    async def raise_error(
        self,
        code: ErrorCode,
        message: str,
        *,
        severity: Severity,
        gate_id: str = "",
        details: Mapping[str, Any] | None = None,
    ) -> None:
        """Record an error for the back-end, and log it."""
        log.warning("error raised", code=code.value, message=message, gate=gate_id)
        await self._record(
            ErrorRaised(
                occurred_at=self._clock.now(),
                code=code,
                message=message,
                severity=severity,
                gate_id=gate_id,
                details=details or {},
            )
        )

    def delivered(self, event_id: str) -> None:
        """The back-end holds this event."""
        settled_by = self._settled_by.pop(event_id, None)
        if settled_by is not None:
            self._metrics.frame_to_ack(self._clock.now().seconds_since(settled_by) * 1000)
        self._set_state(event_id, DeliveryState.DELIVERED)

    def rejected(self, event_id: str) -> None:
        """The back-end will never take this event; it is among the dead letters."""
        self._set_state(event_id, DeliveryState.REJECTED)

    async def _event_of(self, passage: Passage, camera: CameraConfig) -> PlateDetected | ErrorRaised | None:
        weather = self.config.weather.as_weather()
        max_bytes = self.config.backend.max_message_bytes
        try:
            if passage.outcome is PassageOutcome.READ:
                return await asyncio.to_thread(
                    plate_detected, passage, camera, weather=weather, max_message_bytes=max_bytes
                )
            if not self.config.tracking.report_unreadable:
                return None
            return await asyncio.to_thread(plate_unreadable, passage, camera, max_message_bytes=max_bytes)
        except ImageError as error:
            # A plate that is cut to nothing at the frame's edge; its text has been logged by the tracker's caller.
            await self.raise_error(
                ErrorCode.PROCESSING_ERROR,
                f"pictures of {passage.plate.display or 'a vehicle'} could not be compressed: {error.message}",
                severity=Severity.HIGH,
                gate_id=camera.gate.id,
                details={"cameraId": camera.id, "licensePlate": passage.plate.display},
            )
            return None

    async def _record(self, event: StoredEvent) -> tuple[Ticket | None, str | None]:
        """The ticket of what is on the disk; and the name of what is delivered, be it from memory."""
        try:
            with self._metrics.timed(Stage.COMMIT):
                ticket = await self._outbox.record(event, link_up=self._link_up())
        except OutboxError as error:
            log.critical(
                "event could not be stored", event_type=event_type(event), error=error.message, hint=error.hint
            )
            return None, error.event_id
        self._metrics.event_recorded(event_type(event))
        if isinstance(event, ErrorRaised):
            self.error_count += 1
            self._metrics.error(event.code)
        return ticket, ticket.event_id

    def _remember(self, published: PublishedPassage) -> None:
        self._passages[published.passage.passage_id] = published
        _forget_oldest(self._passages)

    def _set_state(self, event_id: str, state: DeliveryState) -> None:
        # The answer may come before `record` has returned here: keep it for the passage that is about to be remembered.
        self._outcomes[event_id] = state
        _forget_oldest(self._outcomes)
        for passage_id, published in self._passages.items():
            if published.event_id == event_id:
                self._passages[passage_id] = replace(published, state=state)


def _without_pictures(passage: Passage) -> Passage:
    """The pictures have been compressed and nobody looks at them again: sixty frames of 1080p would be 370 MB, and of
    plates near the camera 20 MB.
    """
    frame, read = passage.best_frame, passage.best_read
    return replace(passage, best_frame=replace(frame, image=NO_PICTURE), best_read=replace(read, crop=NO_PICTURE))


def _forget_oldest(newest: OrderedDict[str, Any]) -> None:
    while len(newest) > PASSAGES_KEPT:
        newest.popitem(last=False)
