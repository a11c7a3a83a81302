"""What is known in memory and not, or not yet, on the disk: events that it would not take, and attempts to send."""

from __future__ import annotations

import threading
from collections.abc import Collection
from dataclasses import replace

from lpr.outbox.base import Ticket
from lpr.outbox.held import Held


class Unwritten:
    """Shared by the writer's thread, the reader's and the event loop, each of which takes `lock` to change it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.held = Held()
        self.attempts: dict[str, int] = {}
        """Of events that were loaded and are still in the queue."""
        self._changed: set[str] = set()
        """Those whose attempts are not on the disk."""

    def know_attempts(self, event_id: str, attempts: int) -> None:
        """Take over what the disk says of an event that is about to be sent."""
        with self.lock:
            self.attempts.setdefault(event_id, attempts)

    def count_attempt(self, event_id: str, before: int | None) -> None:
        """One more for an event. `before` is what the disk says, where nothing is known yet; None: neither knows."""
        with self.lock:
            if event_id not in self.attempts:
                if before is None:
                    return
                self.attempts[event_id] = before
            self.attempts[event_id] += 1
            self._changed.add(event_id)

    def forget_attempts(self, event_ids: Collection[str]) -> None:
        """These have left the queue, or begin anew."""
        with self.lock:
            for event_id in event_ids:
                self.attempts.pop(event_id, None)
                self._changed.discard(event_id)

    def changed_attempts(self) -> dict[str, int]:
        """What is to be written down."""
        with self.lock:
            return {name: self.attempts[name] for name in self._changed if name in self.attempts}

    def attempts_written(self, counts: dict[str, int]) -> None:
        """These are on the disk."""
        with self.lock:
            self._changed -= {name for name, count in counts.items() if self.attempts.get(name) == count}

    @property
    def has_changed_attempts(self) -> bool:
        """Whether any are still to be written down."""
        return bool(self._changed)

    def with_attempts(self, ticket: Ticket) -> Ticket:
        """The ticket with the attempts that are known here."""
        attempts = self.attempts.get(ticket.event_id, ticket.attempts)
        return ticket if attempts == ticket.attempts else replace(ticket, attempts=attempts)
