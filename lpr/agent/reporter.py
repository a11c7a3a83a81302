"""What the agent tells of itself without being asked: its status, the state of its queue, and what the link says."""

from __future__ import annotations

import asyncio

import structlog

from lpr.agent.board import Board
from lpr.agent.publisher import Publisher
from lpr.domain.clock import Clock
from lpr.domain.errors import OutboxError
from lpr.domain.events import ErrorCode, Severity
from lpr.link.clearer import Rejection
from lpr.link.relay import Delivered
from lpr.metrics import Metrics
from lpr.outbox.base import Outbox

STATUS_EVERY_S = 30.0
STATUS_NOT_WITHIN_S = 0.25
"""Several cameras that change at once are told in one status."""
QUEUE_LOOK_EVERY_S = 1.0
SERVER_ERROR_EVERY_S = 3600.0
"""Answers that cannot be read are told once in this time: the telling itself may be answered so."""

log = structlog.get_logger("agent")


class Reporter:
    """Status and queue; `report` and `watch_queue` are tasks of the agent."""

    def __init__(self, outbox: Outbox, board: Board, metrics: Metrics, clock: Clock) -> None:
        self._outbox = outbox
        self._board = board
        self._metrics = metrics
        self._clock = clock
        self._news = asyncio.Event()

    def changed(self) -> None:
        """There is something new to tell."""
        self._news.set()

    async def report(self) -> None:
        """A status at the start, at every change and every `STATUS_EVERY_S` seconds."""
        while True:
            self._news.clear()
            await self.put_status()
            await self._clock.sleep(STATUS_NOT_WITHIN_S)
            try:
                async with asyncio.timeout(STATUS_EVERY_S):
                    await self._news.wait()
            except TimeoutError:
                continue

    async def put_status(self) -> None:
        """A status, now."""
        try:
            self._board.queue = await self._outbox.status()
            await self._outbox.put_status(self._board.status())
        except OutboxError as error:
            self._board.queue_fault = error.message
            log.error("status could not be stored", error=error.message, hint=error.hint)

    async def watch_queue(self) -> None:
        """Keep the board and the metrics up to date."""
        while True:
            try:
                self._board.queue = await self._outbox.status()
                self._board.queue_fault = ""
                self._metrics.queue(self._board.queue)
            except OutboxError as error:
                self._board.queue_fault = error.message
                log.error("queue could not be asked", error=error.message, hint=error.hint)
            await self._clock.sleep(QUEUE_LOOK_EVERY_S)


class LinkNews:
    """What became of events, and what is wrong at the back-end."""

    def __init__(self, publisher: Publisher, clock: Clock) -> None:
        self._publisher = publisher
        self._clock = clock
        self._server_fault_told_s = float("-inf")

    def delivered(self, delivered: Delivered) -> None:
        """The back-end holds an event."""
        self._publisher.delivered(delivered.ticket.event_id)

    async def rejected(self, rejection: Rejection) -> None:
        """The back-end can never take an event."""
        ticket = rejection.ticket
        self._publisher.rejected(ticket.event_id)
        await self._publisher.raise_error(
            ErrorCode.EVENT_REJECTED,
            f"the back-end can never store {ticket.event_type} {ticket.event_id}: {rejection.reason}",
            severity=Severity.HIGH,
            details={
                "eventId": ticket.event_id,
                "sequence": ticket.sequence,
                "code": rejection.code,
                "reason": rejection.reason,
            },
        )

    async def server_fault(self, what: str) -> None:
        """Something at the back-end or before it is not as it should be; `what` is a sentence."""
        now_s = self._clock.now().monotonic_s
        if now_s - self._server_fault_told_s < SERVER_ERROR_EVERY_S:
            return
        self._server_fault_told_s = now_s
        await self._publisher.raise_error(
            ErrorCode.SERVER_ERROR,
            what,
            severity=Severity.MEDIUM,
            details={"what": what},
        )
