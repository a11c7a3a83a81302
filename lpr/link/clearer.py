"""Carries out in the outbox what the answers said: deletes, buries and revives in batches, apart from the sending."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import structlog

from lpr.domain.clock import Clock
from lpr.domain.errors import OutboxError
from lpr.domain.events import ErrorCode
from lpr.link.actions import Bury, Revive, Settle
from lpr.link.clocks import Seldom
from lpr.outbox.base import Outbox, Ticket

SETTLE_RETRY_S = 1.0
"""Pause before the outbox is asked again to delete what it could not."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Rejection:
    """An event that went to the dead letters, and why; the agent raises `EVENT_REJECTED` for it."""

    ticket: Ticket
    code: str
    reason: str


OnRejected: TypeAlias = Callable[[Rejection], Awaitable[None]]


class Clearer:
    """`run` is a task; `on_left` is called with the events that have left the outbox."""

    def __init__(
        self,
        outbox: Outbox,
        *,
        clock: Clock,
        on_left: Callable[[Iterable[str]], None],
        on_rejected: OnRejected | None,
    ) -> None:
        self._outbox = outbox
        self._clock = clock
        self._on_left = on_left
        self._on_rejected = on_rejected
        self._waiting: list[Settle | Bury | Revive] = []
        self._seldom = Seldom(clock)
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def put(self, action: Settle | Bury | Revive) -> None:
        """Ask for it."""
        self._waiting.append(action)
        self._idle.clear()
        self._wake.set()

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            await self._wake.wait()
            try:
                await self._clear()
            except OutboxError as error:
                # Kept here, and in the outbox: after a restart the back-end answers `duplicate` and we try again.
                if self._seldom.is_due(line := "what was answered could not be written down"):
                    log.warning(line, error=error.message, hint=error.hint, retried_every_s=SETTLE_RETRY_S)
                await self._clock.sleep(SETTLE_RETRY_S)

    async def until_idle(self, patience_s: float) -> None:
        """Return when everything is done that was asked for, or the outbox has hung or failed for so long."""
        patience = asyncio.create_task(self._clock.sleep(patience_s))
        idle = asyncio.create_task(self._idle.wait())
        await asyncio.wait({patience, idle}, return_when=asyncio.FIRST_COMPLETED)
        patience.cancel()
        idle.cancel()

    async def _clear(self) -> None:
        """Delete what may be deleted, all of it in one transaction; bury what must be buried, revive what may live.
        What is done stays done where the disk takes no more.
        """
        settles = [action for action in self._waiting if isinstance(action, Settle)]
        buries = [action for action in self._waiting if isinstance(action, Bury)]
        revives = [action for action in self._waiting if isinstance(action, Revive)]
        if settled := [event_id for action in settles for event_id in action.event_ids]:
            await self._outbox.settle(settled)
            self._done(settles, settled)
        for action in buries:
            await self._bury(action)
            self._done([action], [action.ticket.event_id])
        if revived := [event_id for action in revives for event_id in action.event_ids]:
            # After `on_left`: a listener that still believed them to be leaving would not look for them again.
            count = await self._outbox.retry_dead(revived)
            log.info("the back-end takes events again: those that it would not take are tried anew", events=count)
            self._done(revives, [])
        if not self._waiting:
            self._wake.clear()
            self._idle.set()

    def _done(self, actions: Sequence[Settle | Bury | Revive], left: Sequence[str]) -> None:
        # By identity: two of them may be equal, and others have come meanwhile.
        gone = {id(action) for action in actions}
        self._waiting = [action for action in self._waiting if id(action) not in gone]
        if left:
            self._on_left(left)

    async def _bury(self, action: Bury) -> None:
        entry = await self._outbox.load(action.ticket.event_id)
        await self._outbox.bury(action.ticket.event_id, code=action.code, reason=action.reason)
        if entry is None or self._on_rejected is None:
            return
        if entry.body.get("data", {}).get("errorCode") == ErrorCode.EVENT_REJECTED.value:
            return  # it would breed for ever
        await self._on_rejected(Rejection(action.ticket, action.code, action.reason))
