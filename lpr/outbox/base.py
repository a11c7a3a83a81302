"""What the rest of the agent knows of the queue; `sqlite.py` keeps it on disk, `memory.py` in memory for tests.

Rules that every implementation keeps, and that one test suite holds all of them to:

1. `record` returns after the event is durable, and gives it its `event_id`, `sequence` and body, which never change
   (but for times that came from a clock not yet set, until the event is first loaded: see `correct_times`).
2. Nothing but `settle`, `bury`, a person's `drop_dead` and the stated limits removes an event. What a limit removes is
   reported by a `QUEUE_OVERFLOW` error that the outbox records itself, in the transaction that removes it: not even a
   crash between the two can lose something in silence.
3. `waiting` lists in the order of recording; it never lists a dead letter.
4. Sequences rise by one without a gap over the whole life of the agent's data directory, across restarts.
5. Cancelling a call never takes back what it has begun: an event whose `record` is cancelled may well be stored.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from lpr.domain.commands import EventRange
from lpr.domain.events import ErrorRaised, Jpeg, ProcessingStatus, QueueStatus, StoredEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """A waiting event without its weight: enough to decide what to send next.

    `sequence` is None for a status. `size_bytes` is what its row and pictures take. `attempts` counts the times it was
    handed to a socket, over restarts too. `recorded_offline` is true where the link was down when it was stored.
    `recorded_monotonic_s` is on this boot's monotonic clock, or None where it was recorded by an earlier run.
    """

    event_id: str
    event_type: str
    sequence: int | None
    size_bytes: int
    attempts: int
    recorded_offline: bool
    recorded_at: datetime
    recorded_monotonic_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A waiting event, whole. `body` is the contract's message without `delivery` and without pictures.

    `original_omitted` says why an original image that the event came with is no longer here (`queue_full`, `damaged`);
    None where it is here or never was. It is what `lpr.wire.message` takes under the same name.
    """

    ticket: Ticket
    body: Mapping[str, Any]
    plate_image: Jpeg | None
    original_image: Jpeg | None
    original_omitted: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """An event that the back-end can never take, with the reason it gave."""

    ticket: Ticket
    code: str
    reason: str
    buried_at: datetime


class Outbox(Protocol):
    """The disk queue. Every method may raise `OutboxError`."""

    async def record(self, event: StoredEvent, *, link_up: bool) -> Ticket:
        """Store an event for good; returns after the commit.

        Raises `OutboxFullError` where it could not be made durable because the disk is full. The event is then held in
        memory, within a bound, is listed by `waiting` and can be delivered, and is written as soon as there is room;
        what the bound pushes out is reported like any other loss.
        """
        ...

    async def put_status(self, status: ProcessingStatus) -> Ticket:
        """Store a status in place of the one that waits, if any: only the newest one is worth sending."""
        ...

    async def waiting(self, *, limit: int, exclude: Collection[str] = ()) -> Sequence[Ticket]:
        """The oldest waiting events, in order of recording, at most `limit`, without those named in `exclude`."""
        ...

    async def load(self, event_id: str) -> Entry | None:
        """One waiting event with its pictures, or None where it is no longer there."""
        ...

    async def count_attempt(self, event_id: str) -> None:
        """Remember that the event is being handed to a socket (need not be durable at once)."""
        ...

    async def settle(self, event_ids: Collection[str]) -> None:
        """The back-end holds these: delete them, or keep them apart where the limits say so (detections alone).

        Names that are not there are passed over.
        """
        ...

    async def bury(self, event_id: str, *, code: str, reason: str) -> None:
        """Move an event to the dead letters."""
        ...

    async def correct_times(self) -> int:
        """Let the times of events follow a wall clock that was set since they were recorded; says how many were.

        Of events alone that were recorded while the clock was not known to be right, in this boot of the machine, and
        that were never loaded to be sent: what the back-end may have seen is never altered.
        """
        ...

    async def status(self) -> QueueStatus:
        """The queue in numbers."""
        ...

    def on_recording(self, listener: Callable[[], None]) -> None:
        """Call `listener` in the event loop for every event whose record begins while the link is up: it will come to
        wait in a moment, and whoever has time should leave disk and processor to it.
        """
        ...

    def on_recorded(self, listener: Callable[[Ticket], None]) -> None:
        """Call `listener` in the event loop for every event that has newly come to wait.

        That is one whose record has returned, a dead letter that was put back, by this process or by another one
        (`lpr-agent queue retry`), and a delivered one that is to be sent again.
        """
        ...

    def on_trouble(self, listener: Callable[[ErrorRaised], None]) -> None:
        """Call `listener` in the event loop for every error that the outbox has recorded about itself.

        `QUEUE_NEAR_FULL`, `QUEUE_OVERFLOW`, `QUEUE_CORRUPT` and `DISK_LOW`. They are in the queue already: the listener
        is for log and counters, and must not record them again. One that was found at opening is told at once.
        """
        ...

    async def dead_letters(self, *, limit: int) -> Sequence[DeadLetter]:
        """The oldest dead letters, at most `limit`."""
        ...

    async def retry_dead(self, event_ids: Collection[str]) -> int:
        """Let dead letters wait again, in their old place, with no attempts counted; says how many there were.

        Their tickets say `recorded_offline`, so that they are sent as replayed: they have waited, and were sent before.
        """
        ...

    async def replay(self, events: EventRange) -> int:
        """Let delivered events that are still kept wait again, in their old place; says how many there were.

        Their tickets say `recorded_offline`, so that they are sent as replayed, and they wait from now on. What is
        delivered while this goes on may be among them or not.
        """
        ...

    async def drop_dead(self, event_ids: Collection[str]) -> int:
        """Delete dead letters for good, as a person wishes; says how many there were."""
        ...

    async def close(self) -> None:
        """Finish what was begun and let go of the data directory; calling it twice is harmless."""
        ...
