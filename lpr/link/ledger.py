"""The link in numbers and words: what `LinkState`, the metrics and the log say of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import structlog

from lpr import metrics as m
from lpr import wire
from lpr.domain.clock import Clock
from lpr.domain.errors import LinkError, LinkRefusedError
from lpr.link.base import LinkPhase, LinkState
from lpr.link.complaints import Complaints
from lpr.link.outages import OutageLog
from lpr.outbox.base import Ticket

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Counts:
    """What of `LinkState` moves with every event, and of which nobody is told; the rest moves with the connection."""

    sent: int = 0
    acked: int = 0
    duplicates: int = 0
    put_off: int = 0
    rejected: int = 0
    rtt_ms: float | None = None


class Ledger:
    """Keeps the books of one relay. `on_change` is called for what changes with the connection, not with events."""

    def __init__(self, url: str, *, clock: Clock, metrics: m.Metrics | None, on_change: Callable[[], None]) -> None:
        self._clock = clock
        self._metrics = metrics
        self._on_change = on_change
        self._outages = OutageLog(clock)
        self._complaints = Complaints(clock, lambda words: self.change(complaint=words))
        self._counts = _Counts()
        self._state = LinkState(
            phase=LinkPhase.STOPPED,
            url=url,
            connected_since=None,
            next_attempt_at=None,
            connections=0,
            failed_attempts=0,
            last_error=None,
            remedy=None,
            complaint=None,
            clock_offset_ms=None,
            in_flight=0,
            unanswered=0,
            **asdict(_Counts()),
        )

    @property
    def phase(self) -> LinkPhase:
        """Where the link stands."""
        return self._state.phase

    @property
    def rtt_ms(self) -> float | None:
        """From handing the event that was answered last to the socket to its answer; None before the first."""
        return self._counts.rtt_ms

    def state(self, **what_others_know: Any) -> LinkState:
        """Everything; what the books do not hold is given."""
        return replace(self._state, **what_others_know, **asdict(self._counts))

    # The connection

    def change(self, **changes: Any) -> None:
        """Note, and tell where it is news."""
        before, self._state = self._state, replace(self._state, **changes)
        if self._state != before:
            self._on_change()

    def connected(self) -> None:
        """A connection stands."""
        self.change(
            phase=LinkPhase.UP,
            connected_since=self._clock.now().wall,
            connections=self._state.connections + 1,
            failed_attempts=0,
        )
        self._outages.connected(self._state.url)
        if self._metrics is not None:
            self._metrics.connected()
            self._metrics.link(up=True)

    def disconnected(self) -> None:
        """It stands no longer."""
        if self._metrics is not None:
            self._metrics.link(up=False)
        self.change(phase=LinkPhase.WAITING, connected_since=None)

    def failed(self, error: LinkError) -> None:
        """An attempt failed, or a connection was lost."""
        refused = isinstance(error, LinkRefusedError)
        self.change(
            phase=LinkPhase.REFUSED if refused else LinkPhase.WAITING,
            failed_attempts=self._state.failed_attempts + 1,
            last_error=error.message,
            remedy=error.hint,
        )
        if self._metrics is not None:
            self._metrics.connect_failed("refused" if refused else "unreachable")
        self._outages.failed(error)

    # The events

    def sent(self) -> None:
        """An event was handed to the socket."""
        self._counts.sent += 1

    def answered(self, ticket: Ticket, ack: wire.Ack, *, rtt_ms: float) -> None:
        """An answer came in time."""
        counts, about = self._counts, (ticket.event_type, ticket.event_id)
        if not isinstance(ack, wire.Unreadable):
            counts.rtt_ms = rtt_ms
        match ack:
            case wire.Stored() | wire.Duplicate():
                duplicate = isinstance(ack, wire.Duplicate)
                counts.acked += 1
                counts.duplicates += duplicate
                self._complaints.over(ticket.event_type)
                self._measure(m.Delivery.DUPLICATE if duplicate else m.Delivery.ACKED, rtt_ms)
            case wire.Rejected(code, reason):
                counts.rejected += 1
                self._complaints.over(ticket.event_type)
                self._measure(m.Delivery.REJECTED, rtt_ms)
                log.warning("the back-end rejected an event", event_id=ticket.event_id, code=code, reason=reason)
            case wire.Unreadable(reason):
                counts.put_off += 1
                self._complaints.unreadable(*about, reason)
            case wire.Retry() | wire.SoftFailure():
                counts.put_off += 1
                self._measure(m.Delivery.RETRIED, rtt_ms)
                self._complaints.put_off(*about, ack.message)

    def unanswered(self, ticket: Ticket, *, link_lives: bool) -> None:
        """No answer came in time, or before the connection ended."""
        if link_lives:
            self._complaints.unanswered(ticket.event_type, ticket.event_id)
        if self._metrics is not None:
            self._metrics.delivery(m.Delivery.TIMED_OUT)

    def _measure(self, outcome: m.Delivery, rtt_ms: float) -> None:
        if self._metrics is not None:
            self._metrics.delivery(outcome)
            self._metrics.stage(m.Stage.SEND_TO_ACK, rtt_ms)
