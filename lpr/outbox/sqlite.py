"""The queue on disk: an async face over one thread that owns the connection it writes with.

Coroutines hand the writer functions and await their results, which are given only after the commit has returned: see
`writer`. Reads run on a second connection in a second thread and never wait for a commit; a third thread folds the log
into the database meanwhile: see `folding`. Pictures lie beside the database: see `pictures` and `records`.

When the disk takes nothing (full, read-only, failing) events, deliveries and burials are held in memory within a bound,
stay visible and deliverable, and are written when it does again: see `held`.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Self, TypeVar

from lpr.domain.clock import SET_BY, Clock, SystemClock
from lpr.domain.commands import EventRange
from lpr.domain.errors import OutboxError
from lpr.domain.events import ErrorRaised, ProcessingStatus, QueueStatus, StoredEvent
from lpr.outbox.base import DeadLetter, Entry, Ticket
from lpr.outbox.files import is_damage, machine_boot, translate
from lpr.outbox.fresh import Fresh
from lpr.outbox.jobs import Job
from lpr.outbox.limits import OutboxLimits
from lpr.outbox.opening import SENDING_UNSURE, OpenFiles, open_files
from lpr.outbox.queue import CHUNK, Queue
from lpr.outbox.rows import Burial, Row, RowMaker, State, Summary
from lpr.outbox.shelf import as_dead_letter, as_entry
from lpr.outbox.unwritten import Unwritten
from lpr.outbox.writer import Outcomes, Writer
from lpr.wire import CLOCK_SYNCHRONISED, PROCESSING_STATUS

T = TypeVar("T")

READ_AHEAD = 3
"""Events read along with one that is asked for: each time the event loop and the reader wait for each other."""
MAX_TOLD = 20
"""Newest errors about the queue that a listener who comes late is still told."""


class SqliteOutbox:
    """An `Outbox` in a data directory. Made by `open`; an async context manager that closes it."""

    def __init__(self, files: OpenFiles) -> None:
        """Use `open`."""
        self._files = files
        self._queue, self._shelf, self._reading = files.queue, files.shelf, files.reading
        self._boot_id = files.queue.maker.boot_id
        self._unwritten = Unwritten()
        self._held = self._unwritten.held
        self._fresh = Fresh()
        self._on_recording: list[Callable[[], None]] = []
        self._on_recorded: list[Callable[[Ticket], None]] = []
        self._on_trouble: list[Callable[[ErrorRaised], None]] = []
        self._told = [error for error, _ in files.queue.take_troubles()]
        self._loop = asyncio.get_running_loop()
        self._readers = ThreadPoolExecutor(max_workers=1, thread_name_prefix="outbox-reader")
        self._writer = Writer(files, self._unwritten, self._readers, self._finish)
        self._closing: asyncio.Task[None] | None = None
        self._times = asyncio.Lock()
        """Held while an event is loaded or its times are corrected: no corrected event has left with its old times."""
        self._has_unsure = files.shelf.has_unsure(files.queue.maker.machine_boot)
        self._corrected_for: datetime | None = None

    # ----------------------------------------------------------------------------------------------------------------
    # Opening and closing

    @classmethod
    async def open(
        cls,
        data_dir: Path,
        *,
        agent_id: str,
        boot_id: str,
        clock: Clock | None = None,
        limits: OutboxLimits | None = None,
        clock_is_right: Callable[[datetime], bool] = lambda wall: True,
        machine_boot_id: str | None = None,
    ) -> Self:
        """Open the queue in `data_dir`, made where it is not there; a damaged one is rescued first.

        `boot_id` is the uuid of this run. `clock_is_right` says whether the wall clock is known to be right; it is
        called in the writer's thread. `machine_boot_id` names the boot of the machine, the kernel's name if None.
        Raises `OutboxLockedError` where another agent works there, `OutboxError` where it cannot be opened or was
        written by a newer version.
        """
        maker = RowMaker(
            agent_id=agent_id,
            boot_id=boot_id,
            clock=clock or SystemClock(),
            clock_is_right=clock_is_right,
            machine_boot=machine_boot_id or machine_boot() or boot_id,
        )
        opening = asyncio.ensure_future(asyncio.to_thread(open_files, data_dir, maker, limits or OutboxLimits()))
        try:
            files = await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_discard)
            raise
        outbox = cls(files)
        outbox._writer.start()
        return outbox

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Commit what was begun, give back free pages and let go of the directory; twice is harmless.

        Cancelling does not cut it short: the files are left in order all the same.
        """
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        self._writer.end()
        await asyncio.to_thread(self._writer.join)
        await asyncio.to_thread(self._readers.shutdown)
        await asyncio.to_thread(self._files.close)

    # ----------------------------------------------------------------------------------------------------------------
    # What the agent calls

    async def record(self, event: StoredEvent, *, link_up: bool) -> Ticket:
        """Store an event for good; see `Outbox.record`."""
        recorded: list[tuple[Row, int]] = []

        def run(queue: Queue) -> list[Ticket]:
            row = queue.make_row(event, link_up=link_up)
            ticket = queue.insert(row)
            recorded[:] = [(row, queue.thinned)]
            return [ticket]

        for on_recording in self._on_recording if link_up else ():
            on_recording()
        (ticket,) = await self._write(run, defer=lambda error: self._hold_event(event, link_up, error))
        ((row, thinned),) = recorded
        self._has_unsure = self._has_unsure or row.unsure_boot is not None
        if link_up:
            self._fresh.add(row, ticket, thinned)
        return ticket

    async def put_status(self, status: ProcessingStatus) -> Ticket:
        """Store a status in place of the one that waits."""
        tickets = await self._write(
            lambda queue: [queue.put_status(status)],
            defer=lambda _: [self._writer.hold(self._queue.make_status_row(status))],
        )
        return tickets[0]

    async def waiting(self, *, limit: int, exclude: Collection[str] = ()) -> Sequence[Ticket]:
        """The oldest waiting events."""
        return await self._read(lambda: self._waiting(limit, frozenset(exclude)))

    async def load(self, event_id: str) -> Entry | None:
        """One waiting event with its pictures."""
        self._refuse_when_closed()
        async with self._times:
            thinned = self._queue.thinned
            entry = self._fresh.entry(event_id, thinned)
            if entry is None:
                entry, ahead = await self._read(lambda: self._load(event_id))
                for each in ahead:
                    self._fresh.add(each, each.ticket, thinned)
            if entry is None:
                return None
            # Whoever loads an event is about to count an attempt: that need not read it once more.
            self._unwritten.know_attempts(event_id, entry.ticket.attempts)
        if CLOCK_SYNCHRONISED in entry.body and not self._writer.sending_unsure:
            await self._note_sending_unsure()
        ticket = self._unwritten.with_attempts(entry.ticket)
        return entry if ticket is entry.ticket else replace(entry, ticket=ticket)

    async def count_attempt(self, event_id: str) -> None:
        """Remember an attempt; on disk within a second or so."""
        known = event_id in self._unwritten.attempts
        ticket = None if known else await self._read(lambda: self._find(event_id))
        self._unwritten.count_attempt(event_id, None if ticket is None else ticket.attempts)

    async def settle(self, event_ids: Collection[str]) -> None:
        """Delete what the back-end holds, or keep it apart."""
        names = frozenset(event_ids)
        self._fresh.forget(names)

        def run(queue: Queue) -> list[Ticket]:
            if queue.limits.keep_delivered_s > 0:
                known = ((name, self._unwritten.attempts.get(name)) for name in names)
                self._shelf.add_attempts((name, count) for name, count in known if count is not None)
            queue.settle(names)
            return []

        def defer(_: OutboxError) -> list[Ticket]:
            with self._unwritten.lock:
                self._held.settle(names)
            return []

        await self._write(run, defer=defer, patient=True)
        self._unwritten.forget_attempts(names)

    async def bury(self, event_id: str, *, code: str, reason: str) -> None:
        """Move an event to the dead letters."""
        burial = Burial(code=code, reason=reason, buried_at=self._queue.maker.now().wall)
        self._fresh.forget([event_id])

        def run(queue: Queue) -> list[Ticket]:
            if (attempts := self._unwritten.attempts.get(event_id)) is not None:
                self._shelf.add_attempts([(event_id, attempts)])
            queue.bury(event_id, burial)
            return []

        def defer(_: OutboxError) -> list[Ticket]:
            with self._unwritten.lock:
                self._held.bury(event_id, burial)
            return []

        await self._write(run, defer=defer)
        self._unwritten.forget_attempts([event_id])

    async def correct_times(self) -> int:
        """Let the times of events that nobody has seen follow a wall clock that was set; says how many were."""
        now, maker = self._queue.maker.now(), self._queue.maker
        right = maker.clock_is_right(now)
        stood_still = self._corrected_for is not None and abs(now.monotonic_origin - self._corrected_for) < SET_BY
        if not self._has_unsure or (stood_still and not right):
            return 0
        after: int | None = 0
        corrected = 0
        while after is not None:
            async with self._times:
                after, more = await self._correct_some(after)
            corrected += more
        self._corrected_for, self._has_unsure = now.monotonic_origin, not right
        return corrected

    async def _correct_some(self, after: int) -> tuple[int | None, int]:
        outcome: tuple[int | None, int] = (None, 0)

        def run(queue: Queue) -> list[Ticket]:
            nonlocal outcome
            outcome = queue.correct_times(after=after, out=self._unwritten.attempts)
            return []

        def defer(_: OutboxError) -> list[Ticket]:
            nonlocal outcome
            with self._unwritten.lock:
                outcome = None, self._held.correct_times(self._queue.maker, self._unwritten.attempts)
            return []

        await self._write(run, defer=defer)
        return outcome

    async def _note_sending_unsure(self) -> None:
        self._writer.sending_unsure = True

        def run(queue: Queue) -> list[Ticket]:
            self._shelf.take_note(SENDING_UNSURE, self._boot_id)
            return []

        await self._write(run, defer=lambda _: [])

    async def status(self) -> QueueStatus:
        """The queue in numbers."""
        return await self._read(self._status)

    def on_recording(self, listener: Callable[[], None]) -> None:
        """Call `listener` in the event loop for every event whose record begins while the link is up."""
        self._on_recording.append(listener)

    def on_recorded(self, listener: Callable[[Ticket], None]) -> None:
        """Call `listener` in the event loop for every event that has newly come to wait."""
        self._on_recorded.append(listener)

    def on_trouble(self, listener: Callable[[ErrorRaised], None]) -> None:
        """Call `listener` in the event loop for every error that the outbox has recorded about itself."""
        self._on_trouble.append(listener)
        for error in self._told:
            self._loop.call_soon(listener, error)

    async def dead_letters(self, *, limit: int) -> Sequence[DeadLetter]:
        """The oldest dead letters."""
        return await self._read(
            lambda: [as_dead_letter(summary, burial, self._boot_id) for summary, burial in self._reading.dead(limit)]
        )

    async def retry_dead(self, event_ids: Collection[str]) -> int:
        """Let dead letters wait again."""
        names = frozenset(event_ids)
        self._unwritten.forget_attempts(names)
        return len(await self._write(lambda queue: queue.retry_dead(names)))

    async def replay(self, events: EventRange) -> int:
        """Let delivered events that are still kept wait again; a transaction for every few hundred of them."""
        count, after = 0, 0
        while rows := await self._replay_some(events, after):
            count, after = count + len(rows), rows[-1].position
            # Told by us, after those who asked for the deliveries have had their answers: a listener that still
            # believed an event to be on its way out would not look for it again.
            for row in rows:
                for on_recorded in self._on_recorded:
                    on_recorded(row.ticket(self._boot_id))
            if len(rows) < CHUNK:
                break
        return count

    async def _replay_some(self, events: EventRange, after: int) -> list[Summary]:
        rows: list[Summary] = []

        def run(queue: Queue) -> list[Ticket]:
            rows[:] = queue.replay(events, after=after)
            return []

        await self._write(run)
        return rows

    async def drop_dead(self, event_ids: Collection[str]) -> int:
        """Delete dead letters."""
        names = frozenset(event_ids)
        dropped = 0

        def run(queue: Queue) -> list[Ticket]:
            nonlocal dropped
            dropped = queue.drop_dead(names)
            return []

        await self._write(run)
        return dropped

    def _refuse_when_closed(self) -> None:
        if self._closing is not None:
            raise OutboxError("the queue is closed")

    # ----------------------------------------------------------------------------------------------------------------
    # The reader's thread

    async def _read(self, look: Callable[[], T]) -> T:
        """Run `look` on the reading connection, in one consistent view. Raises `OutboxError`."""
        self._refuse_when_closed()
        try:
            return await self._loop.run_in_executor(self._readers, self._in_one_view, look)
        except sqlite3.Error as error:
            if is_damage(error):
                self._writer.put(Job(self._writer.verify))
            raise translate(error, "read the queue", self._files.path) from error

    def _in_one_view(self, look: Callable[[], T]) -> T:
        with self._files.pictures.view():
            self._reading.connection.execute("BEGIN")
            try:
                return look()
            finally:
                self._reading.connection.execute("COMMIT")

    def _waiting(self, limit: int, exclude: frozenset[str]) -> list[Ticket]:
        # Memory before disk: what is written down in between is then seen twice, and not missed.
        with self._unwritten.lock:
            held = self._held.tickets(self._boot_id)
            hidden = self._held.hidden()
            hides_status = self._held.replaces_status
        rows = self._reading.waiting(limit + len(exclude) + len(hidden) + hides_status)
        on_disk = [
            row.ticket(self._boot_id)
            for row in rows
            if row.event_id not in hidden and not (hides_status and row.event_type == PROCESSING_STATUS)
        ]
        known = {ticket.event_id for ticket in on_disk}
        both = on_disk + [ticket for ticket in held if ticket.event_id not in known]
        return [self._unwritten.with_attempts(ticket) for ticket in both if ticket.event_id not in exclude][:limit]

    def _load(self, event_id: str) -> tuple[Entry | None, list[Entry]]:
        """The event, and those that are likely to be asked for next: a backlog is sent in order of recording."""
        with self._unwritten.lock:
            entry = self._held.entry(event_id, self._boot_id)
            hidden = self._held.hidden()
        found = self._reading.contents(event_id) if entry is None and event_id not in hidden else None
        if found is None or found[0].state is not State.WAITING:
            return entry, []
        ahead = self._reading.contents_after(found[0].position, READ_AHEAD)
        return as_entry(*found, self._boot_id), [
            as_entry(*each, self._boot_id) for each in ahead if each[0].event_id not in hidden
        ]

    def _find(self, event_id: str) -> Ticket | None:
        with self._unwritten.lock:
            held = [ticket for ticket in self._held.tickets(self._boot_id) if ticket.event_id == event_id]
        return next(iter(held or [row.ticket(self._boot_id) for row in self._reading.find([event_id])]), None)

    def _status(self) -> QueueStatus:
        now, counters = self._queue.maker.now(), self._queue.counters
        with self._unwritten.lock:
            held, hidden = self._held.tickets(self._boot_id), self._held.hidden()
            held_age_s = self._held.oldest_age_s(now, self._boot_id)
        oldest = [row for row in self._reading.waiting(len(hidden) + 1) if row.event_id not in hidden][:1]
        return QueueStatus(
            pending=max(0, counters.waiting + len(held) - len(hidden)),
            bytes=counters.used_bytes + sum(ticket.size_bytes for ticket in held),
            oldest_age_s=max([held_age_s, *(row.age_s(now, self._boot_id) for row in oldest)]),
            dead_letters=counters.dead,
            unwritten=len(held),
            fault=self._writer.fault,
        )

    # ----------------------------------------------------------------------------------------------------------------
    # The writer, and what it gives back

    async def _write(
        self,
        run: Callable[[Queue], list[Ticket]],
        defer: Callable[[OutboxError], list[Ticket]] | None = None,
        *,
        patient: bool = False,
    ) -> list[Ticket]:
        """Run `run` in a transaction; returns once that is durable. Raises `OutboxError`."""
        self._refuse_when_closed()
        done: asyncio.Future[list[Ticket]] = self._loop.create_future()
        self._writer.put(Job(run, done, defer, patient))
        return await done

    def _finish(self, outcomes: Outcomes, tickets: Sequence[Ticket]) -> None:
        """Give results to those who wait, and tell the listeners, all in the event loop."""
        troubles = self._queue.take_troubles()
        news = [ticket for _, outcome in outcomes if isinstance(outcome, list) for ticket in outcome]
        news += [*tickets, *(ticket for _, ticket in troubles)]
        # A loop that is closed has nobody left in it who waits.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._tell, outcomes, news, [error for error, _ in troubles])

    def _tell(
        self,
        outcomes: Outcomes,
        tickets: Sequence[Ticket],
        troubles: Sequence[ErrorRaised],
    ) -> None:
        for job, outcome in outcomes:
            if job.done is None or job.done.done():
                continue  # nobody waits, or no longer; what it did stands
            if isinstance(outcome, Exception):
                job.done.set_exception(outcome)
            else:
                job.done.set_result(outcome)
        for ticket in tickets:
            for on_recorded in self._on_recorded:
                on_recorded(ticket)
        for error in troubles:
            self._told.append(error)
            for on_trouble in self._on_trouble:
                on_trouble(error)
        del self._told[:-MAX_TOLD]

    def _hold_event(self, event: StoredEvent, link_up: bool, failure: OutboxError) -> list[Ticket]:
        """Keep an event that could not be written; it can be delivered, but whoever recorded it is told the truth."""
        row = self._queue.make_row(event, link_up=link_up)
        self._has_unsure = self._has_unsure or row.unsure_boot is not None
        ticket = self._writer.hold(row)
        self._finish([], [ticket])
        error = type(failure)(
            f"{failure.message}; the event is held in memory until it can be written", hint=failure.hint
        )
        error.event_id = ticket.event_id
        raise error


def _discard(opening: asyncio.Future[OpenFiles]) -> None:
    """Nobody waits for these files any longer: let go of the directory."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
