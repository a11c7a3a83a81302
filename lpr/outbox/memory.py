"""The queue in memory: for tests, and for tools that need no more. The same rules, held to by the same tests."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from lpr.domain.clock import Clock, Instant, SystemClock, isoformat_ms
from lpr.domain.commands import EventRange
from lpr.domain.events import ErrorRaised, ProcessingStatus, QueueStatus, StoredEvent
from lpr.outbox.base import DeadLetter, Entry, Ticket
from lpr.outbox.limits import OutboxLimits
from lpr.outbox.queue import CHUNK, Queue
from lpr.outbox.rows import Burial, Correction, Row, RowMaker, State, Summary, summary_of, waiting_again
from lpr.outbox.shelf import Contents, Counters, Droppable, as_dead_letter, as_entry
from lpr.wire import ERROR, PLATE_DETECTED, PROCESSING_STATUS, from_json

T = TypeVar("T", int, str, datetime)


@dataclass(slots=True)
class _Place:
    summary: Summary
    contents: Contents
    burial: Burial | None = None
    delivered_at: datetime | None = None
    unsure_boot: str | None = None


class MemoryShelf:
    """Rows in a dict, in order of position."""

    def __init__(self) -> None:
        self._places: dict[int, _Place] = {}
        self._positions: dict[str, int] = {}
        self._delivered: dict[int, _Place] = {}
        self._noted = Counters()

    def counters(self) -> Counters:
        """Everything counted anew."""
        rows = [place.summary for place in self._places.values()]
        return Counters(
            last_sequence=max([self._noted.last_sequence, *(row.sequence or 0 for row in rows)]),
            last_position=max([self._noted.last_position, *self._places]),
            used_bytes=sum(row.size_bytes for row in rows),
            waiting=sum(row.state is State.WAITING for row in rows),
            dead=sum(row.state is State.DEAD for row in rows),
            kept=len(self._delivered),
            kept_bytes=sum(place.summary.size_bytes for place in self._delivered.values()),
        )

    def save_counters(self, counters: Counters) -> None:
        """Note the last sequence and position."""
        self._noted = replace(counters)

    def insert(self, position: int, row: Row) -> None:
        """Put a row down, waiting."""
        contents = Contents(
            body=row.body,
            plate_image=row.plate_image,
            original_image=row.original_image,
            original_omitted=row.original_omitted,
        )
        self._places[position] = _Place(summary_of(position, row), contents, unsure_boot=row.unsure_boot)
        self._positions[row.event_id] = position

    def delete(self, summaries: Sequence[Summary]) -> None:
        """Remove rows."""
        for summary in summaries:
            del self._places[summary.position]
            del self._positions[summary.event_id]

    def drop_originals(self, summaries: Sequence[Summary], why: str) -> None:
        """Remove original images; the rows stay, smaller."""
        for summary in summaries:
            place = self._places[summary.position]
            place.contents = replace(place.contents, original_image=None, original_omitted=why)
            place.summary = replace(
                place.summary, size_bytes=summary.size_bytes - summary.original_bytes, original_bytes=0
            )

    def bury(self, summary: Summary, burial: Burial) -> None:
        """Make a waiting row a dead letter."""
        place = self._places[summary.position]
        place.summary, place.burial = replace(place.summary, state=State.DEAD), burial

    def revive(self, summaries: Sequence[Summary]) -> None:
        """Make dead letters wait again, with no attempts, as if recorded offline."""
        for summary in summaries:
            place = self._places[summary.position]
            place.summary = replace(place.summary, state=State.WAITING, attempts=0, recorded_offline=True)
            place.burial = None
            place.unsure_boot = None

    def keep(self, summaries: Sequence[Summary], delivered_at: datetime) -> None:
        """Lay rows apart."""
        for summary in summaries:
            place = self._places.pop(summary.position)
            del self._positions[summary.event_id]
            kept = replace(place.summary, state=State.DELIVERED)
            self._delivered[summary.position] = _Place(kept, place.contents, delivered_at=delivered_at)

    def kept(self, limit: int, *, since: datetime | None = None, before: datetime | None = None) -> list[Summary]:
        """Rows laid apart, in the order of their delivery."""
        found = [
            (place.delivered_at, position)
            for position, place in self._delivered.items()
            if place.delivered_at is not None and _is_between(place.delivered_at, since, before)
        ]
        return [self._delivered[position].summary for _, position in sorted(found)[:limit]]

    def kept_in(self, events: EventRange, *, after: int, limit: int) -> list[Summary]:
        """Rows laid apart that are in this range, ascending."""
        first, last = (None if end is None else isoformat_ms(end) for end in (events.from_time, events.to_time))
        return [
            place.summary
            for position, place in sorted(self._delivered.items())
            if position > after
            and _is_between(place.summary.sequence or 0, events.from_sequence, events.to_sequence)
            and _is_between(str(from_json(place.contents.body)["timestamp"]), first, last)
        ][:limit]

    def release(self, summaries: Sequence[Summary], now: Instant, boot_id: str) -> list[Summary]:
        """Make rows that were laid apart wait again, as if recorded offline and now."""
        released = [waiting_again(summary, now, boot_id) for summary in summaries]
        for summary in released:
            self._places[summary.position] = _Place(summary, self._delivered.pop(summary.position).contents)
            self._positions[summary.event_id] = summary.position
        self._places = dict(sorted(self._places.items()))
        return released

    def forget(self, summaries: Sequence[Summary]) -> None:
        """Remove rows that were laid apart."""
        for summary in summaries:
            del self._delivered[summary.position]

    def find(self, event_ids: Collection[str]) -> list[Summary]:
        """The rows of these names that are there."""
        known = [self._positions[event_id] for event_id in dict.fromkeys(event_ids) if event_id in self._positions]
        return [self._places[position].summary for position in known]

    def droppable(self, kind: Droppable, limit: int) -> list[Summary]:
        """The next rows of a kind that may go: dead letters first, then in order of recording."""
        rows = [place.summary for place in self._places.values() if _is_droppable(place.summary, kind)]
        return sorted(rows, key=lambda row: (row.state is not State.DEAD, row.position))[:limit]

    def in_order(self, *, after: int, limit: int) -> list[Summary]:
        """Waiting rows and dead letters with positions above `after`, ascending."""
        return [place.summary for position, place in self._places.items() if position > after][:limit]

    def waiting(self, limit: int) -> list[Summary]:
        """The oldest waiting rows."""
        return [place.summary for place in self._places.values() if place.summary.state is State.WAITING][:limit]

    def dead(self, limit: int) -> list[tuple[Summary, Burial]]:
        """The oldest dead letters."""
        return [(place.summary, place.burial) for place in self._places.values() if place.burial is not None][:limit]

    def unsure(self, machine_boot: str, *, after: int, limit: int) -> list[tuple[Summary, str]]:
        """Waiting rows that were never sent, whose times a boot of the machine may still correct, with their bodies."""
        return [
            (place.summary, place.contents.body)
            for position, place in self._places.items()
            if position > after and place.unsure_boot == machine_boot
            if place.summary.state is State.WAITING and place.summary.attempts == 0
        ][:limit]

    def correct(self, summary: Summary, correction: Correction) -> int:
        """Give a row its new times; says by how many bytes it grew."""
        place = self._places[summary.position]
        grown = len(correction.body.encode()) - len(place.contents.body.encode())
        place.contents = replace(place.contents, body=correction.body)
        place.unsure_boot = correction.unsure_boot
        place.summary = replace(
            place.summary, recorded_at=correction.recorded_at, size_bytes=place.summary.size_bytes + grown
        )
        return grown

    def body(self, summary: Summary) -> str | None:
        """A row's body."""
        place = self._places.get(summary.position)
        return None if place is None else place.contents.body

    def contents(self, event_id: str) -> tuple[Summary, Contents] | None:
        """A row with what weighs."""
        position = self._positions.get(event_id)
        return None if position is None else (self._places[position].summary, self._places[position].contents)

    def count_attempt(self, event_id: str) -> None:
        """One more."""
        if (position := self._positions.get(event_id)) is not None:
            place = self._places[position]
            place.summary = replace(place.summary, attempts=place.summary.attempts + 1)


def _is_between(value: T, first: T | None, last: T | None) -> bool:
    return (first is None or value >= first) and (last is None or value <= last)


def _is_droppable(row: Summary, kind: Droppable) -> bool:
    match kind:
        case Droppable.STATUS:
            return row.event_type == PROCESSING_STATUS
        case Droppable.ORIGINAL_IMAGE:
            return row.original_bytes > 0
        case Droppable.ERROR:
            return row.event_type == ERROR
        case Droppable.DETECTION:
            return row.event_type == PLATE_DETECTED


class MemoryOutbox:
    """An `Outbox` that forgets everything with the process; its limits hold, age is looked at with every record."""

    def __init__(
        self,
        *,
        agent_id: str = "agent",
        boot_id: str = "boot",
        clock: Clock | None = None,
        limits: OutboxLimits | None = None,
        shelf: MemoryShelf | None = None,
        clock_is_right: Callable[[datetime], bool] = lambda wall: True,
        machine_boot: str = "",
    ) -> None:
        """`shelf` of an outbox that was closed continues it, as a restart continues what is on disk."""
        self._shelf = shelf or MemoryShelf()
        maker = RowMaker(
            agent_id=agent_id,
            boot_id=boot_id,
            clock=clock or SystemClock(),
            clock_is_right=clock_is_right,
            machine_boot=machine_boot,
        )
        self._queue = Queue(self._shelf, maker, limits or OutboxLimits())
        self._boot_id = boot_id
        self._loaded: set[str] = set()
        """Events that may be on their way."""
        self._on_recording: list[Callable[[], None]] = []
        self._on_recorded: list[Callable[[Ticket], None]] = []
        self._on_trouble: list[Callable[[ErrorRaised], None]] = []
        self._queue.expire()
        self._told = [error for error, _ in self._queue.take_troubles()]
        self._queue.save()

    async def record(self, event: StoredEvent, *, link_up: bool) -> Ticket:
        """Keep an event. Raises `OutboxFullError` where it is larger than the whole queue."""
        for on_recording in self._on_recording if link_up else ():
            on_recording()
        self._queue.expire()
        ticket = self._queue.record(event, link_up=link_up)
        self._finish([ticket])
        return ticket

    async def put_status(self, status: ProcessingStatus) -> Ticket:
        """Keep a status in place of the one that waits."""
        ticket = self._queue.put_status(status)
        self._finish([ticket])
        return ticket

    async def waiting(self, *, limit: int, exclude: Collection[str] = ()) -> Sequence[Ticket]:
        """The oldest waiting events."""
        rows = self._shelf.waiting(limit + len(exclude))
        return [row.ticket(self._boot_id) for row in rows if row.event_id not in exclude][:limit]

    async def load(self, event_id: str) -> Entry | None:
        """One waiting event."""
        found = self._shelf.contents(event_id)
        if found is None or found[0].state is not State.WAITING:
            return None
        self._loaded.add(event_id)
        return as_entry(*found, self._boot_id)

    async def count_attempt(self, event_id: str) -> None:
        """One more."""
        self._shelf.count_attempt(event_id)

    async def settle(self, event_ids: Collection[str]) -> None:
        """Delete what the back-end holds."""
        self._queue.settle(event_ids)
        self._finish([])

    async def bury(self, event_id: str, *, code: str, reason: str) -> None:
        """Move an event to the dead letters."""
        self._queue.bury(event_id, Burial(code=code, reason=reason, buried_at=self._queue.maker.now().wall))

    async def status(self) -> QueueStatus:
        """The queue in numbers."""
        return self._queue.status()

    def on_recording(self, listener: Callable[[], None]) -> None:
        """Call `listener` for every event whose record begins while the link is up."""
        self._on_recording.append(listener)

    def on_recorded(self, listener: Callable[[Ticket], None]) -> None:
        """Call `listener` for every event that has newly come to wait."""
        self._on_recorded.append(listener)

    def on_trouble(self, listener: Callable[[ErrorRaised], None]) -> None:
        """Call `listener` for every error that the outbox has recorded about itself."""
        self._on_trouble.append(listener)
        for error in self._told:
            listener(error)

    async def correct_times(self) -> int:
        """Let the times of events that nobody has seen follow a wall clock that was set; says how many were."""
        after: int | None = 0
        corrected = 0
        while after is not None:
            after, more = self._queue.correct_times(after=after, out=self._loaded)
            corrected += more
        return corrected

    async def dead_letters(self, *, limit: int) -> Sequence[DeadLetter]:
        """The oldest dead letters."""
        return [as_dead_letter(summary, burial, self._boot_id) for summary, burial in self._shelf.dead(limit)]

    async def retry_dead(self, event_ids: Collection[str]) -> int:
        """Let dead letters wait again."""
        tickets = self._queue.retry_dead(event_ids)
        self._finish(tickets)
        return len(tickets)

    async def replay(self, events: EventRange) -> int:
        """Let delivered events that are still kept wait again."""
        count, after = 0, 0
        while True:
            rows = self._queue.replay(events, after=after)
            self._finish([row.ticket(self._boot_id) for row in rows])
            count += len(rows)
            if len(rows) < CHUNK:
                return count
            after = rows[-1].position

    async def drop_dead(self, event_ids: Collection[str]) -> int:
        """Delete dead letters."""
        dropped = self._queue.drop_dead(event_ids)
        self._finish([])
        return dropped

    async def close(self) -> None:
        """Nothing is held."""

    def _finish(self, tickets: Sequence[Ticket]) -> None:
        """Keep the counters, and tell the listeners; the queue's own errors are events that came to wait as well."""
        self._queue.save()
        troubles = self._queue.take_troubles()
        for ticket in [*tickets, *(ticket for _, ticket in troubles)]:
            for on_recorded in self._on_recorded:
                on_recorded(ticket)
        for error, _ in troubles:
            for on_trouble in self._on_trouble:
                on_trouble(error)
