"""What is wrong with the back-end's answers, by type of event: for the log, not too often, and for the local page.

A back-end that acknowledges detections and nothing else, or answers in words of its own, looks connected and well,
while the queue does not empty. Only a person can mend that, and has to be told which answer is wanted.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from lpr.domain.clock import Clock
from lpr.link.clocks import Seldom

log = structlog.get_logger(__name__)


class Complaints:
    """`on_change` is called when `words` have changed."""

    def __init__(self, clock: Clock, on_change: Callable[[str | None], None]) -> None:
        self._seldom = Seldom(clock)
        self._on_change = on_change
        self._standing: dict[str, str] = {}

    def unanswered(self, event_type: str, event_id: str) -> None:
        """An event of this type got no answer in time, on a connection that is alive."""
        self._complain(
            event_type,
            f"the back-end does not answer {event_type} in time",
            "an event got no answer in time; it is sent again",
            event_id=event_id,
            hint=f"its handler must call the acknowledgement, {_wanted(event_type)}",
        )

    def unreadable(self, event_type: str, event_id: str, reason: str) -> None:
        """An answer to an event of this type does not say whether it is stored."""
        self._complain(
            event_type,
            f"the back-end answers {event_type} in a way that does not say whether it is stored ({reason})",
            "an answer cannot be read; the event is sent again",
            event_id=event_id,
            reason=reason,
            hint=f"the back-end must answer as the contract says, {_wanted(event_type)}",
        )

    def put_off(self, event_type: str, event_id: str, reason: str) -> None:
        """The back-end does not want an event of this type now."""
        self._complain(
            event_type,
            f"the back-end does not take {event_type} now ({reason or 'it does not say why'})",
            "the back-end put an event off",
            event_id=event_id,
            reason=reason,
        )

    def over(self, event_type: str) -> None:
        """An event of this type was answered as it should be."""
        if self._standing.pop(event_type, None) is not None:
            self._on_change(self._words())

    def _complain(self, event_type: str, words: str, line: str, **details: object) -> None:
        if self._seldom.is_due(event_type, line):  # each event that waits brings it up anew
            log.warning(line, type=event_type, **details)
        if self._standing.get(event_type) != words:
            self._standing[event_type] = words
            self._on_change(self._words())

    def _words(self) -> str | None:
        return "; ".join(self._standing.values()) or None


def _wanted(event_type: str) -> str:
    return f'socket.on("{event_type}", (message, ack) => ack({{status: "ok", eventId: message.eventId}}))'
