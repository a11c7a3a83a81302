"""The one thread that writes: jobs into transactions, what becomes of them when the disk takes nothing, and upkeep.

It takes all that has piled up while the disk was busy into one transaction (group commit), so that many events cost
little more than one; results are given only after the commit has returned.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

import structlog

from lpr.domain.errors import LprError, OutboxError, OutboxFullError
from lpr.durable import free_bytes
from lpr.outbox.base import Ticket
from lpr.outbox.files import DiskReserve, UnsyncedError, is_damage, is_full, real_cause, translate
from lpr.outbox.jobs import MAX_BATCH, Job, Jobs
from lpr.outbox.opening import SENDING_UNSURE, OpenFiles
from lpr.outbox.queue import Queue, Snapshot
from lpr.outbox.rows import Row, State
from lpr.outbox.sqlite_shelf import SqliteShelf
from lpr.outbox.troubles import disk_low_error
from lpr.outbox.unwritten import Unwritten

TICK_S = 1.0
"""How often the writer looks after the file: attempts written down, free pages given back, other processes noticed."""
EXPIRE_EVERY_S = 60.0
RETRY_EVERY_S = 0.5
"""How often a disk that took nothing is tried again."""
STALLS_AFTER_S = 10.0
"""For so long the disk may take over a commit before it is said to stall."""
RESCUE_EVERY_S = 600.0
"""Least time between two rescues of a file in use."""
VACUUM_PAGES = 256
"""Pages given back in one step: 1 MB, a few milliseconds for which a call may have to wait."""
SLACK_PAGES = 256
SLACK_BYTES = 16 << 20
"""Free pages, and room for pictures, that busy files keep for the next events; idle ones give back all. To write over
room that is there costs the disk half as much as to let a file grow."""
ROOM_AT_ONCE = 256 << 10
"""Made on a full disk besides what is held."""
GIVE_BACK_S = 5.0
"""Longest that giving back pages may hold up the end of the agent."""

Outcomes: TypeAlias = Sequence[tuple[Job, list[Ticket] | Exception]]

log = structlog.get_logger(__name__)


class Writer:
    """The thread. `put` may be called from any thread; `hold` and `verify` are for jobs, which run in its own."""

    def __init__(
        self,
        files: OpenFiles,
        unwritten: Unwritten,
        readers: ThreadPoolExecutor,
        finish: Callable[[Outcomes, Sequence[Ticket]], None],
    ) -> None:
        """`finish` is called in this thread with jobs and their results, once these are durable, and with tickets of
        events that newly wait besides.
        """
        self.failure: OutboxError | None = None
        """Why the disk takes nothing, None while it does."""
        self.sending_unsure = False
        """Whether events were sent in this run whose times may be wrong."""
        self.next_try_s = 0.0
        self._files = files
        self._queue, self._shelf, self._side = files.queue, files.shelf, files.side
        self._unwritten = unwritten
        self._held = unwritten.held
        self._readers = readers
        self._finish = finish
        self._boot_id = files.queue.maker.boot_id
        self._jobs = Jobs()
        self._side_fault = ""
        self._began_s: float | None = None
        """When the commit began that is being made."""
        self._has_made_room = False
        self._next_expiry_s = 0.0
        self._next_rescue_s = 0.0
        self._reserve = DiskReserve(files.path.parent)
        self._data_version = _data_version(files.shelf)
        self._revision = files.shelf.revision()
        self._thread = threading.Thread(target=self._write_until_closed, name="outbox-writer", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def put(self, job: Job) -> None:
        """Ask for a job."""
        self._jobs.put(job)

    def end(self) -> None:
        """Ask for nothing more."""
        self._jobs.end()

    def join(self) -> None:
        """Wait until all is done that was asked for."""
        self._thread.join()

    @property
    def fault(self) -> str:
        """Why the disk takes nothing at this moment, in words; empty where it does."""
        if (failure := self.failure) is not None:
            return failure.message
        began_s = self._began_s
        if began_s is None or (stalls_s := time.monotonic() - began_s) < STALLS_AFTER_S:
            return ""
        return f"the disk of {self._files.path.parent} has not answered for {stalls_s:.0f} s"

    def hold(self, row: Row) -> Ticket:
        """Keep in memory what the disk does not take."""
        with self._unwritten.lock:
            return self._held.hold(row, self._boot_id)

    def verify(self, _: Queue) -> list[Ticket]:
        """A job: look for damage that a reader has come upon; what is found leads to a rescue."""
        (finding,) = self._shelf.connection.execute("PRAGMA quick_check(1)").fetchone()
        if finding != "ok":
            raise sqlite3.DatabaseError(finding)
        return []

    # ----------------------------------------------------------------------------------------------------------------
    # Transactions

    def _write_until_closed(self) -> None:
        next_tick_s, idle, closing = time.monotonic() + TICK_S, True, False
        while not closing:
            jobs, closing = self._jobs.next(max(0.0, next_tick_s - time.monotonic()))
            if closing:
                self.next_try_s = 0.0  # the last chance of what is held
            if jobs:
                idle = False
                self._began_s = time.monotonic()
                self._answer(jobs)
                self._note_how_long(time.monotonic() - self._began_s)
            if closing or time.monotonic() >= next_tick_s:
                self._look_after(idle=idle or closing)
                next_tick_s, idle = time.monotonic() + TICK_S, True
        self._note_all_written()

    def _note_how_long(self, took_s: float) -> None:
        self._began_s = None
        if took_s >= STALLS_AFTER_S:
            log.warning("queue_stalled", seconds=round(took_s, 1), hint="look for disk errors with `dmesg`")

    def _answer(self, jobs: Sequence[Job]) -> None:
        """`_commit`, after which everybody has an answer: without this thread all would wait for theirs for ever."""
        try:
            self._commit(jobs)
        except Exception as error:  # noqa: BLE001 - a fault of ours; it is handed to all who wait
            self._finish([(job, error) for job in jobs], [])

    def _commit(self, jobs: Sequence[Job], *, again: bool = False) -> None:
        """One transaction for all of `jobs`, and for what is held; then their results."""
        if self.failure is not None and time.monotonic() < self.next_try_s:
            self._defer(jobs, self.failure)
            return
        snapshot, put_before = self._queue.snapshot(), self._queue.put_bytes
        outcomes: list[list[Ticket] | LprError] = []
        try:
            revived, version = self._transact(jobs, outcomes)
        except UnsyncedError as error:
            self._leave_in_doubt(jobs, outcomes, error)
            return
        except (sqlite3.Error, OSError) as error:
            self._take_back(snapshot)
            cause = real_cause(error, self._files.path.parent)
            damaged = isinstance(cause, sqlite3.Error) and is_damage(cause)
            stays_full = isinstance(self.failure, OutboxFullError) and not damaged
            if not again and (
                (damaged and self._may_rescue() and self._reopen()) or (stays_full and self._make_room())
            ):
                self._commit(jobs, again=True)
            else:
                self._defer(jobs, self._note_failure(cause))
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
        self._files.folder.wrote(self._queue.put_bytes - put_before)
        self._files.folder.fold_the_rest(self._shelf.connection)

    def _transact(self, jobs: Sequence[Job], outcomes: list[list[Ticket] | LprError]) -> tuple[list[Ticket], int]:
        """What another process has put back, and the version of the data that was seen; `outcomes` takes what the jobs
        gave.
        """
        with self._shelf.transaction(inserts=len(jobs) + len(self._held.rows)):
            version = _data_version(self._shelf)
            revived = self._notice_others() if version != self._data_version else []
            if self._held:
                self._held.replay(self._queue)
            for job in jobs:
                try:
                    outcomes.append(job.run(self._queue))
                except LprError as error:
                    outcomes.append(error)
            # The disk is at work from here on, and whatever can wait until now is done meanwhile.
            self._shelf.put_down()
            self._files.look_whether_in_place()
            self._side.reserve(self._queue.counters.last_sequence)
            self._queue.save()
        return revived, version

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
        self._unwritten.forget_attempts([ticket.event_id for ticket in revived])
        added = self._shelf.in_order(after=before.last_position, limit=MAX_BATCH)
        return revived + [row.ticket(self._boot_id) for row in added if row.state is State.WAITING]

    # ----------------------------------------------------------------------------------------------------------------
    # When the disk takes nothing (the writer's thread)

    def _take_back(self, snapshot: Snapshot) -> None:
        self._queue.restore(snapshot)
        self._shelf.forget_what_is_gone()

    def _leave_in_doubt(
        self, jobs: Sequence[Job], outcomes: Sequence[list[Ticket] | LprError], error: UnsyncedError
    ) -> None:
        """All of it is in the queue, and is delivered; only whether the disk holds it nobody knows. Who asked is told
        so, and the next transaction makes sure of it.
        """
        with self._unwritten.lock:
            self._held.clear()
        failure = self._note_failure(error)
        told = [_unsynced(failure, outcome) if isinstance(outcome, list) else outcome for outcome in outcomes]
        tickets = [ticket for outcome in outcomes if isinstance(outcome, list) for ticket in outcome]
        self._finish(list(zip(jobs, told, strict=True)), tickets)

    def _note_failure(self, error: sqlite3.Error | OSError) -> OutboxError:
        """Remember that the disk takes nothing; at first, say so."""
        self.next_try_s = time.monotonic() + RETRY_EVERY_S
        first, self.failure = self.failure is None, translate(error, "write to the queue", self._files.path)
        if first:
            log.error("queue_not_writable", error=self.failure.message, hint=self.failure.hint)
        if first and is_full(error):
            low = disk_low_error(
                self._queue.maker.now(),
                free_bytes=self._give_up_reserve(),
                min_free_bytes=self._queue.limits.least_free,
            )
            self.hold(self._queue.make_row(low, link_up=True))
        return self.failure

    def _give_up_reserve(self) -> int:
        """Says how many bytes are free then; 0 where the folder has gone, or is not ours any more."""
        try:
            self._reserve.give_up()
            return free_bytes(self._files.path.parent)
        except OSError as error:
            log.warning("queue_reserve_not_given_up", error=str(error))
            return 0

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
        except UnsyncedError:
            return False
        except (sqlite3.Error, OSError):
            self._take_back(snapshot)
            return False
        return True

    def _note_success(self) -> None:
        if self.failure is None:
            return
        log.warning("queue_writable_again", events_written=len(self._held.rows))
        self.failure, self._has_made_room, self._side_fault = None, False, ""
        with self._unwritten.lock:
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

    def _remember_held(self) -> None:
        """Which sequences a crash would lose now, so that the next start can report them."""
        try:
            self._side.hold(self._held.last_sequence)
        except OSError as error:
            # Once: it is tried with every event that the disk does not take.
            if not self._side_fault:
                log.error("queue_side_record_not_written", error=str(error))
            self._side_fault = str(error)

    def _may_rescue(self) -> bool:
        """Whether the last rescue is long enough ago: a disk that fails for good must not be filled with copies."""
        now_s = time.monotonic()
        if now_s < self._next_rescue_s:
            return False
        self._next_rescue_s = now_s + RESCUE_EVERY_S
        return True

    def _reopen(self) -> bool:
        """The file turned out to be damaged while in use: set it aside and go on with what can be read of it."""
        log.error("queue_damaged_in_use", file=self._files.path.name)
        if not self._files.reopen(self._readers):
            return False
        self._data_version = _data_version(self._shelf)
        return True

    # ----------------------------------------------------------------------------------------------------------------
    # Looking after the file (the writer's thread)

    def _look_after(self, *, idle: bool) -> None:
        """Everything that has time until nobody waits for it."""
        try:
            written_by_others = _data_version(self._shelf) != self._data_version
            if self.failure or self._held or self._unwritten.has_changed_attempts or written_by_others:
                self._commit([])
                self._write_attempts()
            if time.monotonic() >= self._next_expiry_s:
                self._next_expiry_s = time.monotonic() + EXPIRE_EVERY_S
                self._reserve.hold(free_bytes(self._files.path.parent))
                self._commit([Job(_expire)])
            if self.failure is None:
                self._give_back(idle=idle)
        except (sqlite3.Error, OSError) as error:
            log.warning("queue_upkeep_failed", error=str(error))
        except Exception:  # a fault of ours, which must not end the thread
            log.exception("queue_upkeep_failed")

    def _write_attempts(self) -> None:
        counts = self._unwritten.changed_attempts()
        if not counts or self.failure is not None:
            return
        with self._shelf.transaction():
            self._shelf.add_attempts(counts.items())
        self._unwritten.attempts_written(counts)

    def _note_all_written(self) -> None:
        """At the end: the next start may trust what the file tells, and the attempts in it."""
        if self.failure is not None:
            return
        try:
            with self._shelf.transaction():
                if self.sending_unsure and not self._unwritten.has_changed_attempts:
                    self._shelf.take_note(SENDING_UNSURE, "")
                self._shelf.end_epoch()
        except (sqlite3.Error, OSError) as error:
            log.warning("queue_upkeep_failed", error=str(error))

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
        self._files.pictures.shrink(kept_bytes)
        while idle and self._files.pictures.free_bytes and not self._jobs.waiting and time.monotonic() < deadline_s:
            if not self._shelf.move_pictures_down():
                break
            self._files.pictures.shrink(kept_bytes)


def _unsynced(failure: OutboxError, tickets: Sequence[Ticket]) -> OutboxError:
    error = type(failure)(failure.message, hint=failure.hint)
    error.event_id = tickets[0].event_id if tickets else None
    return error


def _expire(queue: Queue) -> list[Ticket]:
    queue.expire()
    return []


def _data_version(shelf: SqliteShelf) -> int:
    """Changes whenever another connection has written."""
    return int(shelf.connection.execute("PRAGMA data_version").fetchone()[0])
