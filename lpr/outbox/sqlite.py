"""The queue on disk: an async face over one thread that owns the connection it writes with.

Coroutines hand the writer functions and await their results. The writer takes all that has piled up while the disk was
busy into one transaction (group commit), so that many events cost little more than one; a result is given only after
the commit has returned. Reads run on a second connection in a second thread and never wait for a commit; a third folds
the log into the database meanwhile: see `folding`. Pictures lie beside the database: see `pictures`.

When the disk takes nothing (full, read-only, failing) events, deliveries and burials are held in memory within a bound,
stay visible and deliverable, and are written when it does again: see `held`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Self, TypeVar

import structlog

from lpr.domain.clock import Clock, SystemClock
from lpr.domain.commands import EventRange
from lpr.domain.errors import LprError, OutboxError, OutboxFullError
from lpr.domain.events import ErrorRaised, ProcessingStatus, QueueStatus, StoredEvent
from lpr.durable import sync_directory
from lpr.outbox.base import DeadLetter, Entry, Ticket
from lpr.outbox.files import (
    DATABASE,
    PICTURES,
    SEQUENCES_AHEAD,
    DirectoryLock,
    DiskReserve,
    SideRecord,
    is_damage,
    is_full,
    machine_boot,
    make_data_dir,
    translate,
)
from lpr.outbox.folding import LogFile, LogFolder
from lpr.outbox.fresh import Fresh
from lpr.outbox.held import Held
from lpr.outbox.jobs import MAX_BATCH, Job, Jobs
from lpr.outbox.limits import CAUSE_DISK_FULL, Losses, OutboxLimits
from lpr.outbox.pictures import PictureFile
from lpr.outbox.queue import CHUNK, Queue, Snapshot, as_dead_letter, as_entry
from lpr.outbox.rescue import open_database
from lpr.outbox.rows import LEAST_MOVE, Burial, Row, RowMaker, State, Summary
from lpr.outbox.schema import connect
from lpr.outbox.shelf import SqliteShelf
from lpr.outbox.troubles import corrupt_error, disk_low_error
from lpr.wire import CLOCK_SYNCHRONISED, PROCESSING_STATUS

T = TypeVar("T")

TICK_S = 1.0
"""How often the writer looks after the file: attempts written down, free pages given back, other processes noticed."""
EXPIRE_EVERY_S = 60.0
RETRY_EVERY_S = 0.5
"""How often a disk that took nothing is tried again."""
RESCUE_EVERY_S = 600.0
"""Least time between two rescues of a file in use."""
VACUUM_PAGES = 256
"""Pages given back in one step: 1 MB, a few milliseconds for which a call may have to wait."""
SLACK_PAGES = 256
SLACK_BYTES = 16 << 20
"""Free pages, and room for pictures, that busy files keep for the next events; idle ones give back all. To write over
room that is there costs the disk half as much as to let a file grow."""

READ_AHEAD = 3
"""Events read along with one that is asked for: each time the event loop and the reader wait for each other."""
ROOM_WHILE_MAKING_ROOM = 4 << 20
"""Not counted as room inside the files: what goes to make room is written over only once that is committed, and what it
makes room for is written before."""
ROOM_AT_ONCE = 256 << 10
"""Made on a full disk besides what is held."""
PLENTY_BYTES = 1 << 30
LOOK_AT_PLENTY_S = 0.25
"""With so much more than the floor free, the disk is looked at only so often: nothing fills it in that time."""
GIVE_BACK_S = 5.0
"""Longest that giving back pages may hold up the end of the agent."""
MAX_TOLD = 20
"""Newest errors about the queue that a listener who comes late is still told."""
SENDING_UNSURE = "sending_unsure"
"""A note, on disk before an event is sent whose times may be wrong, gone when all attempts have been written. Where
a start finds it, the back-end may have seen any event, and none of before has its times corrected."""

log = structlog.get_logger(__name__)


class SqliteOutbox:
    """An `Outbox` in a data directory. Made by `open`; an async context manager that closes it."""

    def __init__(
        self,
        *,
        path: Path,
        lock: DirectoryLock,
        side: SideRecord,
        shelf: SqliteShelf,
        reading: SqliteShelf,
        pictures: PictureFile,
        log_file: LogFile,
        folder: LogFolder,
        queue: Queue,
    ) -> None:
        """Use `open`. `shelf` is the queue's own, `reading` another one of the same file."""
        self._path = path
        self._lock = lock
        self._side = side
        self._queue = queue
        self._shelf = shelf
        self._reading = reading
        self._pictures = pictures
        self._log_file = log_file
        self._folder = folder
        self._boot_id = queue.maker.boot_id
        self._held = Held()
        self._fresh = Fresh()
        self._attempts: dict[str, int] = {}
        self._unwritten_attempts: set[str] = set()
        self._memory_lock = threading.Lock()
        """Guards what the writer, the reader and the loop share: held events and attempts."""
        self._on_recorded: list[Callable[[Ticket], None]] = []
        self._on_trouble: list[Callable[[ErrorRaised], None]] = []
        self._told: list[ErrorRaised] = []
        self._jobs = Jobs()
        self._loop = asyncio.get_running_loop()
        self._readers = ThreadPoolExecutor(max_workers=1, thread_name_prefix="outbox-reader")
        self._closing: asyncio.Task[None] | None = None
        self._times = asyncio.Lock()
        """Held while an event is loaded or its times are corrected: no corrected event has left with its old times."""
        self._has_unsure = shelf.has_unsure(queue.maker.machine_boot)
        self._corrected_for: datetime | None = None
        self._sending_unsure = False
        self._failure: OutboxError | None = None
        """Why the disk takes nothing, None while it does."""
        self._has_made_room = False
        self._next_try_s = 0.0
        self._next_expiry_s = 0.0
        self._reserve = DiskReserve(path.parent)
        self._next_rescue_s = 0.0
        self._data_version = _data_version(shelf)
        self._revision = shelf.revision()
        self._writer = threading.Thread(target=self._write_until_closed, name="outbox-writer", daemon=True)

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
        opening = asyncio.ensure_future(asyncio.to_thread(_open_parts, data_dir, maker, limits or OutboxLimits()))
        try:
            parts = await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_discard)
            raise
        outbox = cls(
            path=data_dir / DATABASE,
            lock=parts.lock,
            side=parts.side,
            shelf=parts.shelf,
            reading=parts.reading,
            pictures=parts.pictures,
            log_file=parts.log_file,
            folder=parts.folder,
            queue=parts.queue,
        )
        outbox._told = [error for error, _ in parts.queue.take_troubles()]
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
        self._jobs.end()
        await asyncio.to_thread(self._writer.join)
        await asyncio.to_thread(self._readers.shutdown)
        await asyncio.to_thread(self._let_go)

    def _let_go(self) -> None:
        _close_quietly(self._reading.connection, self._folder, self._shelf.connection)
        self._pictures.close()
        self._log_file.close()
        self._side.close()
        self._lock.release()

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

        (ticket,) = await self._write(run, defer=lambda error: self._hold_event(event, link_up, error))
        ((row, thinned),) = recorded
        self._has_unsure = self._has_unsure or row.unsure_boot is not None
        if link_up:
            self._fresh.add(row, ticket, thinned)
        return ticket

    async def put_status(self, status: ProcessingStatus) -> Ticket:
        """Store a status in place of the one that waits."""
        tickets = await self._write(
            lambda queue: [queue.put_status(status)], defer=lambda _: [self._hold(self._queue.make_status_row(status))]
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
            with self._memory_lock:
                # Whoever loads an event is about to count an attempt: that need not read it once more.
                self._attempts.setdefault(event_id, entry.ticket.attempts)
        if CLOCK_SYNCHRONISED in entry.body and not self._sending_unsure:
            await self._note_sending_unsure()
        ticket = self._with_attempts(entry.ticket)
        return entry if ticket is entry.ticket else replace(entry, ticket=ticket)

    async def count_attempt(self, event_id: str) -> None:
        """Remember an attempt; on disk within a second or so."""
        entry = None if event_id in self._attempts else await self._read(lambda: self._find(event_id))
        with self._memory_lock:
            if event_id not in self._attempts:
                if entry is None:
                    return
                self._attempts[event_id] = entry.attempts
            self._attempts[event_id] += 1
            self._unwritten_attempts.add(event_id)

    async def settle(self, event_ids: Collection[str]) -> None:
        """Delete what the back-end holds, or keep it apart."""
        names = frozenset(event_ids)
        self._fresh.forget(names)

        def run(queue: Queue) -> list[Ticket]:
            if queue.limits.keep_delivered_s > 0:
                known = ((name, self._attempts.get(name)) for name in names)
                self._shelf.add_attempts((name, count) for name, count in known if count is not None)
            queue.settle(names)
            return []

        def defer(_: OutboxError) -> list[Ticket]:
            with self._memory_lock:
                self._held.settle(names)
            return []

        await self._write(run, defer=defer, patient=True)
        self._forget_attempts(names)

    async def bury(self, event_id: str, *, code: str, reason: str) -> None:
        """Move an event to the dead letters."""
        burial = Burial(code=code, reason=reason, buried_at=self._queue.maker.now().wall)
        self._fresh.forget([event_id])

        def run(queue: Queue) -> list[Ticket]:
            if (attempts := self._attempts.get(event_id)) is not None:
                self._shelf.add_attempts([(event_id, attempts)])
            queue.bury(event_id, burial)
            return []

        def defer(_: OutboxError) -> list[Ticket]:
            with self._memory_lock:
                self._held.bury(event_id, burial)
            return []

        await self._write(run, defer=defer)
        self._forget_attempts([event_id])

    async def correct_times(self) -> int:
        """Let the times of events that nobody has seen follow a wall clock that was set; says how many were."""
        now, maker = self._queue.maker.now(), self._queue.maker
        right = maker.clock_is_right(now)
        stood_still = self._corrected_for is not None and abs(now.monotonic_origin - self._corrected_for) < LEAST_MOVE
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
            outcome = queue.correct_times(after=after, out=self._attempts)
            return []

        def defer(_: OutboxError) -> list[Ticket]:
            nonlocal outcome
            with self._memory_lock:
                outcome = None, self._held.correct_times(self._queue.maker, self._attempts)
            return []

        await self._write(run, defer=defer)
        return outcome

    async def _note_sending_unsure(self) -> None:
        self._sending_unsure = True

        def run(queue: Queue) -> list[Ticket]:
            self._shelf.take_note(SENDING_UNSURE, self._boot_id)
            return []

        await self._write(run, defer=lambda _: [])

    async def status(self) -> QueueStatus:
        """The queue in numbers."""
        return await self._read(self._status)

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
        self._forget_attempts(names)
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
                self._jobs.put(Job(self._verify))
            raise translate(error, "read the queue", self._path) from error

    def _in_one_view(self, look: Callable[[], T]) -> T:
        with self._pictures.view():
            self._reading.connection.execute("BEGIN")
            try:
                return look()
            finally:
                self._reading.connection.execute("COMMIT")

    def _waiting(self, limit: int, exclude: frozenset[str]) -> list[Ticket]:
        # Memory before disk: what is written down in between is then seen twice, and not missed.
        with self._memory_lock:
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
        return [self._with_attempts(ticket) for ticket in both if ticket.event_id not in exclude][:limit]

    def _load(self, event_id: str) -> tuple[Entry | None, list[Entry]]:
        """The event, and those that are likely to be asked for next: a backlog is sent in order of recording."""
        with self._memory_lock:
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
        with self._memory_lock:
            held = [ticket for ticket in self._held.tickets(self._boot_id) if ticket.event_id == event_id]
        return next(iter(held or [row.ticket(self._boot_id) for row in self._reading.find([event_id])]), None)

    def _with_attempts(self, ticket: Ticket) -> Ticket:
        attempts = self._attempts.get(ticket.event_id, ticket.attempts)
        return ticket if attempts == ticket.attempts else replace(ticket, attempts=attempts)

    def _status(self) -> QueueStatus:
        now, counters = self._queue.maker.now(), self._queue.counters
        with self._memory_lock:
            held, hidden = self._held.tickets(self._boot_id), self._held.hidden()
            held_age_s = self._held.oldest_age_s(now, self._boot_id)
        oldest = [row for row in self._reading.waiting(len(hidden) + 1) if row.event_id not in hidden][:1]
        return QueueStatus(
            pending=max(0, counters.waiting + len(held) - len(hidden)),
            bytes=counters.used_bytes + sum(ticket.size_bytes for ticket in held),
            oldest_age_s=max([held_age_s, *(row.age_s(now, self._boot_id) for row in oldest)]),
            dead_letters=counters.dead,
        )

    # ----------------------------------------------------------------------------------------------------------------
    # The writer's thread

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
        self._jobs.put(Job(run, done, defer, patient))
        return await done

    def _write_until_closed(self) -> None:
        next_tick_s, idle, closing = time.monotonic() + TICK_S, True, False
        while not closing:
            jobs, closing = self._jobs.next(max(0.0, next_tick_s - time.monotonic()))
            if closing:
                self._next_try_s = 0.0  # the last chance of what is held
            if jobs:
                idle = False
                self._commit(jobs)
            if closing or time.monotonic() >= next_tick_s:
                self._look_after(idle=idle or closing)
                next_tick_s, idle = time.monotonic() + TICK_S, True
        self._note_all_written()

    def _commit(self, jobs: Sequence[Job], *, again: bool = False) -> None:
        """One transaction for all of `jobs`, and for what is held; then their results."""
        if self._failure is not None and time.monotonic() < self._next_try_s:
            self._defer(jobs, self._failure)
            return
        snapshot, put_before = self._queue.snapshot(), self._queue.put_bytes
        try:
            outcomes, revived, version = self._transact(jobs)
        except (sqlite3.Error, OSError) as error:
            self._take_back(snapshot)
            damaged = isinstance(error, sqlite3.Error) and is_damage(error)
            stays_full = isinstance(self._failure, OutboxFullError) and not damaged
            if not again and (
                (damaged and self._may_rescue() and self._reopen()) or (stays_full and self._make_room())
            ):
                self._commit(jobs, again=True)
            else:
                self._defer(jobs, self._note_failure(error))
            return
        except Exception as error:  # noqa: BLE001 - a fault in a job; it is handed to whoever gave that job
            self._take_back(snapshot)
            if len(jobs) == 1:
                self._finish([(jobs[0], error)], [])
            for job in jobs if len(jobs) > 1 else ():
                self._commit([job])
            return
        self._data_version = version
        self._note_success()
        self._finish(list(zip(jobs, outcomes, strict=True)), revived)
        self._folder.wrote(self._queue.put_bytes - put_before)
        self._folder.fold_the_rest(self._shelf.connection)

    def _transact(self, jobs: Sequence[Job]) -> tuple[list[list[Ticket] | LprError], list[Ticket], int]:
        """What the jobs gave, what another process has put back, and the version of the data that was seen."""
        outcomes: list[list[Ticket] | LprError] = []
        with self._shelf.transaction():
            version = _data_version(self._shelf)
            revived = self._notice_others() if version != self._data_version else []
            if self._held:
                self._held.replay(self._queue)
            for job in jobs:
                try:
                    outcomes.append(job.run(self._queue))
                except LprError as error:
                    outcomes.append(error)
            self._side.reserve(self._queue.counters.last_sequence)
            self._queue.save()
        return outcomes, revived, version

    def _notice_others(self) -> list[Ticket]:
        """Another process (`lpr-agent queue`) has written: count anew, and see what it has put back or added."""
        before = self._queue.counters
        counters = self._shelf.counters()
        counters.last_sequence = max(counters.last_sequence, before.last_sequence)
        counters.last_position = max(counters.last_position, before.last_position)
        self._queue.counters = counters
        self._queue.thinned += 1
        self._shelf.forget_what_is_gone()
        self._shelf.find_room()
        revived = [row.ticket(self._boot_id) for row in self._shelf.revived_after(self._revision)]
        self._revision = self._shelf.revision()
        self._forget_attempts([ticket.event_id for ticket in revived])
        added = self._shelf.in_order(after=before.last_position, limit=MAX_BATCH)
        return revived + [row.ticket(self._boot_id) for row in added if row.state is State.WAITING]

    def _finish(self, outcomes: Sequence[tuple[Job, list[Ticket] | Exception]], tickets: Sequence[Ticket]) -> None:
        """Give results to those who wait, and tell the listeners, all in the event loop."""
        troubles = self._queue.take_troubles()
        news = [ticket for _, outcome in outcomes if isinstance(outcome, list) for ticket in outcome]
        news += [*tickets, *(ticket for _, ticket in troubles)]
        # A loop that is closed has nobody left in it who waits.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._tell, outcomes, news, [error for error, _ in troubles])

    def _tell(
        self,
        outcomes: Sequence[tuple[Job, list[Ticket] | Exception]],
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

    # ----------------------------------------------------------------------------------------------------------------
    # When the disk takes nothing (the writer's thread)

    def _take_back(self, snapshot: Snapshot) -> None:
        self._queue.restore(snapshot)
        self._shelf.forget_what_is_gone()

    def _note_failure(self, error: sqlite3.Error | OSError) -> OutboxError:
        """Remember that the disk takes nothing; at first, say so."""
        self._next_try_s = time.monotonic() + RETRY_EVERY_S
        first, self._failure = self._failure is None, translate(error, "write to the queue", self._path)
        if first:
            log.error("queue_not_writable", error=self._failure.message, hint=self._failure.hint)
        if first and is_full(error):
            self._reserve.give_up()
            low = disk_low_error(
                self._queue.maker.now(),
                free_bytes=_free_bytes(self._path),
                min_free_bytes=self._queue.limits.min_free_disk,
            )
            self._hold(self._queue.make_row(low, link_up=True))
        return self._failure

    def _make_room(self) -> bool:
        """On a disk that stays full, let go what goes at a limit, for what is held to be written over it: in a
        transaction of its own, since only what is committed is written over.

        Once only until the disk takes something, and no more than half of the queue: nothing is given up in vain.
        """
        needed = self._held.size_bytes + ROOM_AT_ONCE
        if self._has_made_room or needed > self._queue.counters.all_bytes // 2:
            return False
        self._has_made_room = True
        snapshot = self._queue.snapshot()
        try:
            with self._shelf.transaction():
                self._queue.make_room(needed)
                self._queue.save()
        except (sqlite3.Error, OSError):
            self._take_back(snapshot)
            return False
        return True

    def _note_success(self) -> None:
        if self._failure is None:
            return
        log.warning("queue_writable_again", events_written=len(self._held.rows))
        self._failure, self._has_made_room = None, False
        with self._memory_lock:
            self._held.clear()
        self._remember_held()

    def _defer(self, jobs: Sequence[Job], failure: OutboxError) -> None:
        outcomes: list[tuple[Job, list[Ticket] | Exception]] = []
        for job in jobs:
            try:
                outcomes.append((job, failure if job.defer is None else job.defer(failure)))
            except LprError as error:
                outcomes.append((job, error))
        self._remember_held()
        self._finish(outcomes, [])

    def _hold_event(self, event: StoredEvent, link_up: bool, failure: OutboxError) -> list[Ticket]:
        """Keep an event that could not be written; it can be delivered, but whoever recorded it is told the truth."""
        row = self._queue.make_row(event, link_up=link_up)
        self._has_unsure = self._has_unsure or row.unsure_boot is not None
        ticket = self._hold(row)
        self._finish([], [ticket])
        raise type(failure)(
            f"{failure.message}; the event is held in memory until it can be written", hint=failure.hint
        )

    def _hold(self, row: Row) -> Ticket:
        with self._memory_lock:
            return self._held.hold(row, self._boot_id)

    def _remember_held(self) -> None:
        """Which sequences a crash would lose now, so that the next start can report them."""
        try:
            self._side.hold(self._held.last_sequence)
        except OSError as error:
            log.error("queue_side_record_not_written", error=str(error))

    def _verify(self, _: Queue) -> list[Ticket]:
        """Look for damage that a reader has come upon; what is found leads to a rescue."""
        (finding,) = self._shelf.connection.execute("PRAGMA quick_check(1)").fetchone()
        if finding != "ok":
            raise sqlite3.DatabaseError(finding)
        return []

    def _may_rescue(self) -> bool:
        """Whether the last rescue is long enough ago: a disk that fails for good must not be filled with copies."""
        now_s = time.monotonic()
        if now_s < self._next_rescue_s:
            return False
        self._next_rescue_s = now_s + RESCUE_EVERY_S
        return True

    def _reopen(self) -> bool:
        """The file turned out to be damaged while in use: set it aside and go on with what can be read of it."""
        log.error("queue_damaged_in_use", file=self._path.name)
        maker, limits = self._queue.maker, self._queue.limits
        last = self._queue.counters
        _close_quietly(self._folder, self._shelf.connection)
        try:
            self._readers.submit(self._reading.connection.close).result()
            opened = open_database(self._path.parent, maker, limits, self._side.contents, damaged=True)
            self._shelf.connection = opened.connection
            self._reading.connection = connect(self._path, read_only=True)
            self._use_files(PictureFile(self._path.with_name(PICTURES)), LogFile(self._path))
            self._folder = LogFolder(self._path)
        except (OutboxError, sqlite3.Error, OSError) as error:
            log.error("queue_rescue_failed", error=str(error))
            return False
        self._shelf.forget_what_is_gone()
        self._queue.counters = self._shelf.counters()
        self._queue.counters.last_sequence = max(self._queue.counters.last_sequence, last.last_sequence)
        self._queue.thinned += 1
        self._data_version = _data_version(self._shelf)
        self._queue.add_troubles(opened.troubles)
        return True

    def _use_files(self, pictures: PictureFile, log_file: LogFile) -> None:
        self._pictures.close()
        self._log_file.close()
        self._pictures = self._shelf.pictures = self._reading.pictures = pictures
        self._log_file = log_file
        self._shelf.recover(log_file)

    # ----------------------------------------------------------------------------------------------------------------
    # Looking after the file (the writer's thread)

    def _look_after(self, *, idle: bool) -> None:
        """Everything that has time until nobody waits for it."""
        try:
            if self._held or self._unwritten_attempts or _data_version(self._shelf) != self._data_version:
                self._commit([])
                self._write_attempts()
            if time.monotonic() >= self._next_expiry_s:
                self._next_expiry_s = time.monotonic() + EXPIRE_EVERY_S
                self._reserve.hold(_free_bytes(self._path))
                self._commit([Job(_expire)])
            if self._failure is None:
                self._give_back(idle=idle)
        except (sqlite3.Error, OSError) as error:
            log.warning("queue_upkeep_failed", error=str(error))

    def _write_attempts(self) -> None:
        with self._memory_lock:
            counts = {name: self._attempts[name] for name in self._unwritten_attempts if name in self._attempts}
        if not counts or self._failure is not None:
            return
        with self._shelf.transaction():
            self._shelf.add_attempts(counts.items())
        with self._memory_lock:
            self._unwritten_attempts -= {name for name, count in counts.items() if self._attempts.get(name) == count}

    def _note_all_written(self) -> None:
        """At the end: the next start may trust what the file tells, and the attempts in it."""
        if self._failure is not None:
            return
        try:
            with self._shelf.transaction():
                if self._sending_unsure and not self._unwritten_attempts:
                    self._shelf.take_note(SENDING_UNSURE, "")
                self._shelf.end_epoch()
        except (sqlite3.Error, OSError) as error:
            log.warning("queue_upkeep_failed", error=str(error))

    def _forget_attempts(self, event_ids: Collection[str]) -> None:
        with self._memory_lock:
            for event_id in event_ids:
                self._attempts.pop(event_id, None)
                self._unwritten_attempts.discard(event_id)

    def _give_back(self, *, idle: bool) -> None:
        """Return free pages to the file system: a few from a busy file, all from an idle one."""
        connection = self._shelf.connection
        deadline_s = time.monotonic() + GIVE_BACK_S
        kept = 0 if idle else SLACK_PAGES
        gave = False
        while self._shelf.free_pages() > kept:
            # `execute` would take one step of it, and so give back one page.
            connection.executescript(f"PRAGMA incremental_vacuum({VACUUM_PAGES})")
            gave = True
            if not idle or self._jobs.waiting or time.monotonic() > deadline_s:
                break
        if gave and idle:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        self._give_back_pictures(deadline_s, kept_bytes=0 if idle else SLACK_BYTES, idle=idle)

    def _give_back_pictures(self, deadline_s: float, *, kept_bytes: int, idle: bool) -> None:
        self._pictures.shrink(kept_bytes)
        while idle and self._pictures.free_bytes and not self._jobs.waiting and time.monotonic() < deadline_s:
            if not self._shelf.move_pictures_down():
                break
            self._pictures.shrink(kept_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    lock: DirectoryLock
    side: SideRecord
    shelf: SqliteShelf
    reading: SqliteShelf
    pictures: PictureFile
    log_file: LogFile
    folder: LogFolder
    queue: Queue


def _open_parts(data_dir: Path, maker: RowMaker, limits: OutboxLimits) -> _Parts:
    """Everything that touches the disk at the start; on a full one, with the room that was held for that."""
    make_data_dir(data_dir)
    try:
        return _open_files(data_dir, maker, limits)
    except OutboxFullError:
        if not DiskReserve(data_dir).give_up():
            raise
    return _open_files(data_dir, maker, limits)


def _open_files(data_dir: Path, maker: RowMaker, limits: OutboxLimits) -> _Parts:
    """What was opened is closed again where a later step fails."""
    with contextlib.ExitStack() as stack:
        lock = DirectoryLock(data_dir)
        stack.callback(lock.release)
        try:
            side = SideRecord(data_dir)
        except OSError as error:
            raise translate(error, "open the sequence record in", data_dir) from error
        stack.callback(side.close)
        path = data_dir / DATABASE
        opened = open_database(data_dir, maker, limits, side.contents)
        stack.callback(_close_quietly, opened.connection)
        try:
            pictures = PictureFile(data_dir / PICTURES)
            stack.callback(pictures.close)
            shelf = SqliteShelf(opened.connection, pictures)
            reading = SqliteShelf(connect(path, read_only=True), pictures)
            stack.callback(_close_quietly, reading.connection)
            log_file = LogFile(path)
            stack.callback(log_file.close)
            folder = LogFolder(path)
            stack.callback(_close_quietly, folder)
            if recovered := shelf.recover(log_file):
                log.warning("queue_recovered", events=recovered)
            queue = Queue(shelf, maker, limits, disk_room=_DiskRoom(path, shelf, limits).look)
            queue.add_troubles(opened.troubles)
            _begin(queue, shelf, side)
        except (sqlite3.Error, OSError) as error:
            raise translate(error, "open the queue", path) from error
        stack.pop_all()
    return _Parts(
        lock=lock,
        side=side,
        shelf=shelf,
        reading=reading,
        pictures=pictures,
        log_file=log_file,
        folder=folder,
        queue=queue,
    )


class _DiskRoom:
    """Bytes free on the disk and inside the files; asked anew with every event only where the disk is short of room."""

    def __init__(self, path: Path, shelf: SqliteShelf, limits: OutboxLimits) -> None:
        self._path, self._shelf = path, shelf
        self._plenty = limits.min_free_disk + PLENTY_BYTES
        self._seen = (0, 0)
        self._until_s = 0.0

    def look(self) -> tuple[int, int]:
        """See `Queue`."""
        now_s = time.monotonic()
        if now_s >= self._until_s:
            inside = max(0, self._shelf.free_bytes() - ROOM_WHILE_MAKING_ROOM)
            self._seen = (_free_bytes(self._path), inside)
            self._until_s = now_s + (LOOK_AT_PLENTY_S if self._seen[0] > self._plenty else 0.0)
        return self._seen


def _discard(opening: asyncio.Future[_Parts]) -> None:
    """Nobody waits for these parts any longer: let go of the directory."""
    if not opening.cancelled() and opening.exception() is None:
        parts = opening.result()
        _close_quietly(parts.reading.connection, parts.folder, parts.shelf.connection)
        parts.pictures.close()
        parts.log_file.close()
        parts.side.close()
        parts.lock.release()


def _begin(queue: Queue, shelf: SqliteShelf, side: SideRecord) -> None:
    """Report what the last run could not, and note who writes from now on."""
    known, reserved, held = queue.counters.last_sequence, side.contents.reserved, side.contents.held
    losses = Losses()
    if held > known:
        losses.lose_unknown(known + 1, held)
        queue.counters.last_sequence = held
    elif known < reserved - SEQUENCES_AHEAD - MAX_BATCH * 4:
        # The file is older than what was given: a backup put back, a log file deleted.
        queue.counters.last_sequence = reserved
        waiting = queue.counters.waiting
        queue.owe(
            corrupt_error(
                queue.maker.now(), recovered=waiting, unreadable=None, set_aside="", next_sequence=reserved + 1
            )
        )
    with shelf.transaction():
        if shelf.note(SENDING_UNSURE):
            shelf.take_times_as_they_are()
            shelf.take_note(SENDING_UNSURE, "")
        queue.report(losses, CAUSE_DISK_FULL)
        queue.pay()
        queue.expire()
        side.reserve(queue.counters.last_sequence)
        shelf.save_counters(queue.counters)
        shelf.take_note("agent_id", queue.maker.agent_id)
        shelf.take_note("boot_id", queue.maker.boot_id)
    side.hold(0)
    # The files' names, too, must survive a power cut.
    sync_directory(side.directory)


def _expire(queue: Queue) -> list[Ticket]:
    queue.expire()
    return []


def _data_version(shelf: SqliteShelf) -> int:
    """Changes whenever another connection has written."""
    return int(shelf.connection.execute("PRAGMA data_version").fetchone()[0])


def _free_bytes(path: Path) -> int:
    stats = os.statvfs(path.parent)
    return stats.f_bavail * stats.f_frsize


def _close_quietly(*connections: sqlite3.Connection | LogFolder) -> None:
    for connection in connections:
        try:
            connection.close()
        except sqlite3.Error as error:
            log.error("queue_close_failed", error=str(error))
