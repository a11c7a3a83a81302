"""What the delivery core (`delivery.py`) asks of whoever drives it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from lpr.outbox.base import Ticket


@dataclass(frozen=True, slots=True)
class Send:
    """Hand this event to the socket and report the answer under `emission`. `attempt` counts from 1, over restarts.

    `bare` is without its original image: in whole it took the connection down.
    """

    emission: int
    ticket: Ticket
    attempt: int
    replayed: bool
    bare: bool = False


@dataclass(frozen=True, slots=True)
class Settle:
    """Delete these events and report `left`."""

    event_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Bury:
    """Move this event to the dead letters and report `left`."""

    ticket: Ticket
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Revive:
    """Let these dead letters wait again, after their `Bury`."""

    event_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GaveUp:
    """No answer to this emission is waited for any more (one that comes is still heard); its event is looked after.

    `unanswered` where its time has passed while the connection goes on; else another emission settled the event.
    """

    emission: int
    unanswered: bool = False


@dataclass(frozen=True, slots=True)
class AbortLink:
    """Cut the connection; `link_down` follows."""

    reason: str


@dataclass(frozen=True, slots=True)
class Fetch:
    """List the oldest waiting events without those named, and report `page` or `fetch_failed`."""

    limit: int
    exclude: frozenset[str]


Action: TypeAlias = Send | Settle | Bury | Revive | GaveUp | AbortLink | Fetch
