"""Types of event that the back-end leaves unanswered, though it lives and answers others. Part of the delivery core.

Many a back-end acknowledges detections and nothing else; it is sent the rest all the same. A type becomes mute when a
connection was given up for want of its answers while the program at the other end was alive: it is not given up for
them again, since a new one did not help. An answer in time ends that.

What is mute, except detections, has a lane of its own: one event at a time, outside the window. A detection never waits
for the answer that does not come to something else.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator

from lpr.outbox.base import Ticket
from lpr.wire import PLATE_DETECTED


class Mute:
    """The types, and the events that wait in the lane, in order."""

    def __init__(self) -> None:
        self._types: set[str] = set()
        self._waiting: OrderedDict[str, Ticket] = OrderedDict()

    def are_mute(self, event_types: Collection[str]) -> bool:
        """Whether all of these are."""
        return self._types.issuperset(event_types)

    def went_unanswered(self, event_types: Iterable[str]) -> None:
        """A connection is given up for these."""
        self._types.update(event_types)

    def answered(self, event_type: str) -> list[Ticket]:
        """An answer came as soon as one should; returns what of this type leaves the lane, in order."""
        if event_type not in self._types:
            return []
        self._types.remove(event_type)
        freed = [ticket for ticket in self._waiting.values() if ticket.event_type == event_type]
        for ticket in freed:
            self.take(ticket.event_id)
        return freed

    def has_lane(self, event_type: str) -> bool:
        """Whether events of this type go in the lane, outside the window."""
        return event_type in self._types and event_type != PLATE_DETECTED

    # The lane

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[str]:
        return iter(self._waiting)

    def __contains__(self, event_id: str) -> bool:
        return event_id in self._waiting

    def put(self, ticket: Ticket) -> None:
        """Let an event wait in the lane."""
        self._waiting[ticket.event_id] = ticket

    def of(self, event_id: str) -> Ticket:
        """The ticket of an event that waits in it."""
        return self._waiting[event_id]

    def take(self, event_id: str) -> None:
        """An event leaves the lane, if it is in it."""
        self._waiting.pop(event_id, None)

    def clear(self) -> None:
        """All of them leave it."""
        self._waiting.clear()
