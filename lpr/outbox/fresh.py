"""Events that are in memory already when they are sent: those recorded last, and those read ahead of the backlog."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from lpr.outbox.base import Entry, Ticket
from lpr.outbox.rows import Row

FRESH_BYTES = 8 << 20
"""Beyond, the oldest are read from the disk like any other."""


@dataclass(slots=True)
class _Known:
    event: Entry | Row
    """A row becomes an entry when it is asked for: whoever records waits for no parsing."""
    ticket: Ticket
    thinned: int


class Fresh:
    """Copies within a bound: neither disk nor another thread is asked for them. Used in the event loop's thread only.

    `thinned` is the queue's count of how often it lost or changed anything: a copy that was made at another count may
    say too much, and is not believed.
    """

    def __init__(self, max_bytes: int = FRESH_BYTES) -> None:
        self._max_bytes = max_bytes
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._bytes = 0

    def add(self, event: Entry | Row, ticket: Ticket, thinned: int) -> None:
        """Keep an event that has just become durable, or was just read."""
        self.forget([ticket.event_id])
        self._known[ticket.event_id] = _Known(event, ticket, thinned)
        self._bytes += ticket.size_bytes
        while self._bytes > self._max_bytes:
            _, oldest = self._known.popitem(last=False)
            self._bytes -= oldest.ticket.size_bytes

    def forget(self, event_ids: Iterable[str]) -> None:
        """These have left the queue, or are about to."""
        for event_id in event_ids:
            if (known := self._known.pop(event_id, None)) is not None:
                self._bytes -= known.ticket.size_bytes

    def entry(self, event_id: str, thinned: int) -> Entry | None:
        """The event as it was recorded; None where the disk must be asked."""
        known = self._known.get(event_id)
        if known is None or known.thinned != thinned:
            return None
        if isinstance(known.event, Row):
            known.event = known.event.entry(known.ticket)
        return known.event
