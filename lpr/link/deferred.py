"""Events that are sent again, each in its time. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from lpr.outbox.base import Ticket


class Deferred:
    """At most `most` of them; whatever is let go is still in the outbox."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: dict[str, tuple[float, Ticket]] = {}
        self._due: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[str]:
        """Ids."""
        return iter(self._held)

    def __contains__(self, event_id: str) -> bool:
        return event_id in self._held

    @property
    def is_full(self) -> bool:
        """Whether the next one costs one of these its place."""
        return len(self._held) >= self._most

    @property
    def next_at(self) -> float | None:
        """When it must be asked again what is due, at the latest; None where nothing waits."""
        return self._due[0][0] if self._due else None

    def put(self, ticket: Ticket, due_at: float) -> bool:
        """Hold an event until then; returns whether others, those that wait longest, were let go for it."""
        let_go = self.is_full
        while self.is_full:
            del self._held[max(self._held, key=lambda event_id: self._held[event_id][0])]
        self._held[ticket.event_id] = (due_at, ticket)
        heapq.heappush(self._due, (due_at, ticket.event_id))
        return let_go

    def take(self, event_id: str) -> None:
        """Hold it no longer; one that is not here is passed over."""
        self._held.pop(event_id, None)

    def woken(self, now: float) -> list[Ticket]:
        """Those whose time has come, the longest due first; they are held no longer."""
        woken: list[Ticket] = []
        while self._due and self._due[0][0] <= now:
            due_at, event_id = heapq.heappop(self._due)
            held = self._held.get(event_id)
            # It may have been taken, or put off anew, since.
            if held is not None and held[0] == due_at:
                del self._held[event_id]
                woken.append(held[1])
        return woken
