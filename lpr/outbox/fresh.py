"""Events that are in memory already when they are sent: those recorded last, and those read ahead of the backlog."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from lpr.outbox.base import Entry

FRESH_BYTES = 8 << 20
"""Beyond, the oldest are read from the disk like any other."""


@dataclass(frozen=True, slots=True)
class _Known:
    entry: Entry
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

    def add(self, entry: Entry, thinned: int) -> None:
        """Keep an event that has just become durable, or was just read."""
        self.forget([entry.ticket.event_id])
        self._known[entry.ticket.event_id] = _Known(entry, thinned)
        self._bytes += entry.ticket.size_bytes
        while self._bytes > self._max_bytes:
            _, oldest = self._known.popitem(last=False)
            self._bytes -= oldest.entry.ticket.size_bytes

    def forget(self, event_ids: Iterable[str]) -> None:
        """These have left the queue, or are about to."""
        for event_id in event_ids:
            if (known := self._known.pop(event_id, None)) is not None:
                self._bytes -= known.entry.ticket.size_bytes

    def entry(self, event_id: str, thinned: int) -> Entry | None:
        """The event as it was recorded; None where the disk must be asked."""
        known = self._known.get(event_id)
        return None if known is None or known.thinned != thinned else known.entry
