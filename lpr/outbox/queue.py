"""The queue's rules, once for every implementation: sequences, limits, what goes when it is full, what is reported.

A `Queue` is used by one thread at a time and keeps its rows on a `Shelf`: a dict in memory, or tables in SQLite. It
starts no transaction itself; who calls it does, and puts `counters` back where a transaction fails.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from lpr.domain.clock import EARLIEST_BELIEVABLE, Instant
from lpr.domain.commands import EventRange
from lpr.domain.errors import OutboxFullError
from lpr.domain.events import ErrorCode, ErrorRaised, ProcessingStatus, QueueStatus, StoredEvent
from lpr.outbox.base import Ticket
from lpr.outbox.limits import (
    CAUSE_AGE,
    CAUSE_DISK,
    CAUSE_OPERATOR,
    CAUSE_SIZE,
    DISK_LOW_OVER,
    LOW_WATER,
    NEAR_FULL,
    NEAR_FULL_OVER,
    QUEUE_FULL,
    RESERVE_BYTES,
    Losses,
    OutboxLimits,
)
from lpr.outbox.rows import Burial, Row, RowMaker, State, Summary, summary_of
from lpr.outbox.shelf import Counters, Droppable, Shelf
from lpr.outbox.troubles import disk_low_error, near_full_error, overflow_error
from lpr.wire import PLATE_DETECTED, from_json, parse_overflow_details

CHUNK = 200
"""Rows that are looked at in one go while room is made or age is checked, or that are sent again."""
FORGOTTEN_AT_ONCE = 1000
"""Kept events that go in one look at their age: many at once would hold up the recording of new ones."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a failed transaction is taken back to."""

    counters: Counters
    near_full: bool
    disk_low: bool
    troubles: int


class Queue:
    """A shelf with the rules."""

    def __init__(
        self,
        shelf: Shelf,
        maker: RowMaker,
        limits: OutboxLimits,
        *,
        disk_room: Callable[[], tuple[int, int]] | None = None,
    ) -> None:
        """`disk_room` tells bytes free on the disk, and bytes that the file holds free inside; None: no disk."""
        self.shelf = shelf
        self.maker = maker
        self.limits = limits
        self.counters = shelf.counters()
        self.put_bytes = 0
        """Of bodies that were ever put down, about; never taken back."""
        self.thinned = 0
        """How often waiting rows or their pictures went, or changed, for any reason but delivery; never taken back."""
        self._troubles: list[tuple[ErrorRaised, Ticket]] = []
        self._disk_room = disk_room
        self._near_full = False
        self._disk_low = False
        self._owed: list[ErrorRaised] = []
        self._noted_position = -1
        """Rows up to here may go: a note says what they show."""
        self._unsaved = False

    # ----------------------------------------------------------------------------------------------------------------
    # What callers ask for

    def make_row(self, event: StoredEvent, *, link_up: bool) -> Row:
        """An event's row with the next sequence, which is then given.

        Raises `OutboxFullError`, with nothing changed, where the event is larger than the whole queue.
        """
        row = self._fitting(self.maker.make(event, sequence=self.counters.last_sequence + 1, link_up=link_up))
        self.counters.last_sequence += 1
        return row

    def record(self, event: StoredEvent, *, link_up: bool) -> Ticket:
        """Take an event in. Raises `OutboxFullError`, with nothing changed, where it is larger than the whole queue."""
        return self.insert(self.make_row(event, link_up=link_up))

    def insert(self, row: Row) -> Ticket:
        """Take a row in that has its sequence already; make room for it."""
        self._make_room(row.size_bytes)
        ticket = self._put(row)
        self._watch_level()
        self.pay()
        return ticket

    def make_room(self, needed: int) -> None:
        """Let go what goes at a limit until there is room for so many bytes, and report it."""
        self._make_room(needed)
        self.pay()

    def put_status(self, status: ProcessingStatus) -> Ticket:
        """Take a status in, in place of the one that waits. It is small and alone, so no limit holds for it."""
        return self.insert_status(self.make_status_row(status))

    def make_status_row(self, status: ProcessingStatus) -> Row:
        """A status's row; it has no sequence of its own."""
        return self.maker.make(status, sequence=self.counters.last_sequence, link_up=True)

    def insert_status(self, row: Row) -> Ticket:
        """Take a status's row in, in place of the one that waits."""
        self._delete(self.shelf.droppable(Droppable.STATUS, CHUNK))
        return self._put(row)

    def settle(self, event_ids: Collection[str]) -> None:
        """Delete or lay apart what the back-end holds, dead letters of these names too."""
        found, keeps = self.shelf.find(event_ids), self.limits.keep_delivered_s > 0
        self._delete([row for row in found if not (keeps and row.event_type == PLATE_DETECTED)])
        if keeps:
            self._keep([row for row in found if row.event_type == PLATE_DETECTED])

    def replay(self, events: EventRange, *, after: int) -> list[Summary]:
        """Let the next `CHUNK` kept events in this range wait again; fewer are all that there are above `after`."""
        rows = self.shelf.kept_in(events, after=after, limit=CHUNK)
        released = self.shelf.release(rows, self.maker.now(), self.maker.boot_id)
        size = sum(row.size_bytes for row in rows)
        self.counters.kept -= len(rows)
        self.counters.kept_bytes -= size
        self.counters.waiting += len(rows)
        self.counters.used_bytes += size
        self._watch_level()
        self.pay()
        return released

    def bury(self, event_id: str, burial: Burial) -> None:
        """Make a waiting event a dead letter; a name that does not wait is passed over."""
        for summary in self.shelf.find([event_id]):
            if summary.state is State.WAITING:
                self.shelf.bury(summary, burial)
                self.counters.waiting -= 1
                self.counters.dead += 1

    def retry_dead(self, event_ids: Collection[str]) -> list[Ticket]:
        """Let dead letters wait again; tickets of those that were there, in their order."""
        dead = self._in_state(event_ids, State.DEAD)
        self.shelf.revive(dead)
        self.counters.waiting += len(dead)
        self.counters.dead -= len(dead)
        revived = (summary.ticket(self.maker.boot_id) for summary in dead)
        return [replace(ticket, attempts=0, recorded_offline=True) for ticket in revived]

    def drop_dead(self, event_ids: Collection[str]) -> int:
        """Delete dead letters; says how many there were."""
        dead = self._in_state(event_ids, State.DEAD)
        self._delete(dead)
        return len(dead)

    def drop_waiting(self, event_ids: Collection[str]) -> int:
        """Delete waiting events as a person wishes, and report it; says how many there were."""
        waiting = self._in_state(event_ids, State.WAITING)
        losses = Losses()
        self._lose(waiting, losses)
        self.report(losses, CAUSE_OPERATOR)
        self.pay()
        return len(waiting)

    def expire(self) -> None:
        """Drop what waited longer than `max_age`, and report it; forget what was kept for long enough."""
        self._forget_old()
        now, losses, after = self.maker.now(), Losses(), 0
        while rows := self.shelf.in_order(after=after, limit=CHUNK):
            after = rows[-1].position
            old = [row for row in rows if self._waited_s(row, now) > self.limits.max_age_s]
            if not old:
                break
            self._lose(old, losses)
        self.report(losses, CAUSE_AGE)
        self.pay()

    def _waited_s(self, row: Summary, now: Instant) -> float:
        """Seconds that a row has waited for certain: a clock that may be wrong is no reason to drop anything."""
        if row.boot_id != self.maker.boot_id and not self.maker.clock_is_right(now):
            return 0.0
        return row.age_s(now, self.maker.boot_id)

    def correct_times(self, *, after: int, out: Container[str]) -> tuple[int | None, int]:
        """Let the times of the next `CHUNK` events follow a wall clock that was set, but of none that is in `out`.

        Returns the last position looked at, None where there is no more, and how many were moved or found right.
        """
        rows, corrected = self.shelf.unsure(self.maker.machine_boot, after=after, limit=CHUNK), 0
        for row, body in rows:
            correction = self.maker.correction(row.recorded_at, row.recorded_monotonic_s, body)
            if correction is not None and row.event_id not in out:
                self.counters.used_bytes += self.shelf.correct(row, correction)
                corrected += 1
        self.thinned += bool(corrected)
        return rows[-1][0].position if len(rows) == CHUNK else None, corrected

    def report(self, losses: Losses, cause: str) -> None:
        """Owe the report of what was lost, if anything was."""
        if losses:
            self.owe(*(overflow_error(self.maker.now(), overflow) for overflow in losses.reports(cause)))

    def owe(self, *errors: ErrorRaised) -> None:
        """Note errors of the queue about itself; they follow the event that led to them, in the same transaction."""
        self._owed += errors

    def pay(self) -> None:
        """Record the errors that are owed. They are small and about limits themselves: no limit holds for them."""
        owed, self._owed = self._owed, []
        for error in owed:
            self._troubles.append((error, self._put(self.make_row(error, link_up=True))))

    def add_troubles(self, troubles: Iterable[tuple[ErrorRaised, Ticket]]) -> None:
        """Errors that were recorded on this shelf before the queue was made."""
        self._troubles += troubles

    def take_troubles(self) -> list[tuple[ErrorRaised, Ticket]]:
        """The errors recorded since this was last asked: to be told to listeners once they are durable."""
        taken, self._troubles = self._troubles, []
        return taken

    def status(self) -> QueueStatus:
        """The queue in numbers."""
        now = self.maker.now()
        ages_s = [row.age_s(now, self.maker.boot_id) for row in self.shelf.waiting(1)]
        return QueueStatus(
            pending=self.counters.waiting,
            bytes=self.counters.used_bytes,
            oldest_age_s=max(ages_s, default=0.0),
            dead_letters=self.counters.dead,
        )

    def adopt(self, row: Row, burial: Burial | None) -> None:
        """Take over a row of another shelf as it is, with its sequence, in any number: no limit is looked at."""
        self._put(row)
        self.counters.last_sequence = max(self.counters.last_sequence, row.sequence or 0)
        if burial is not None:
            self.shelf.bury(summary_of(self.counters.last_position, row), burial)
            self.counters.waiting -= 1
            self.counters.dead += 1

    def save(self) -> None:
        """Have the shelf note the last sequence and position; called at the end of every transaction.

        The newest row shows them as well as the note does, so that the note is only brought up to date when that row
        goes: recording alone writes one page less.
        """
        if self._unsaved:
            self.shelf.save_counters(self.counters)
            self._noted_position = self.counters.last_position
            self._unsaved = False

    def snapshot(self) -> Snapshot:
        """What `restore` needs where the transaction that is about to begin fails."""
        return Snapshot(self.counters.copy(), self._near_full, self._disk_low, len(self._troubles))

    def restore(self, snapshot: Snapshot) -> None:
        """Take back what was counted, noted and owed since `snapshot`; the shelf's rows are the caller's."""
        self.counters = snapshot.counters.copy()
        self._near_full, self._disk_low = snapshot.near_full, snapshot.disk_low
        del self._troubles[snapshot.troubles :]
        self._owed.clear()
        self._noted_position, self._unsaved = -1, False

    # ----------------------------------------------------------------------------------------------------------------
    # Room

    def _fitting(self, row: Row) -> Row:
        """The row, without its original image where the queue could not even hold it alone."""
        if row.size_bytes <= self.limits.max_bytes:
            return row
        bare = replace(row, original_image=None, original_omitted=QUEUE_FULL)
        if row.original_image is not None and bare.size_bytes <= self.limits.max_bytes:
            return bare
        raise OutboxFullError(
            f"an event of {row.size_bytes} bytes is larger than the whole queue ({self.limits.max_bytes} bytes)",
            hint="raise outbox.max_bytes in the configuration",
        )

    def _make_room(self, needed: int) -> None:
        limit, cause = self._limit()
        self._forget_excess(self.counters.all_bytes + needed - limit)
        if self.counters.all_bytes + needed <= limit:
            return
        goal = max(0, int(limit * LOW_WATER) - needed)
        losses = Losses()
        for kind in Droppable:
            while self.counters.used_bytes > goal and (rows := self.shelf.droppable(kind, CHUNK)):
                self._drop_some(kind, rows, self.counters.used_bytes - goal, losses)
        self.report(losses, cause)

    def _forget_excess(self, excess: int) -> None:
        """Forget kept events, those delivered longest ago first, until that has brought `excess` bytes."""
        while excess > 0 and (rows := self.shelf.kept(CHUNK)):
            chosen: list[Summary] = []
            for row in rows:
                if excess <= 0:
                    break
                excess -= row.size_bytes
                chosen.append(row)
            self._forget(chosen)

    def _forget_old(self) -> None:
        """Forget what was kept for its time, and what holds room on a disk that is short of it."""
        now, keep_s = self.maker.now().wall, self.limits.keep_delivered_s
        if not self.counters.kept:
            return
        if keep_s <= 0:
            self._forget(self.shelf.kept(FORGOTTEN_AT_ONCE))
        elif now >= EARLIEST_BELIEVABLE:
            # What a clock that was never set says of a delivery is no reason to forget it.
            before = now - timedelta(seconds=keep_s)
            self._forget(self.shelf.kept(FORGOTTEN_AT_ONCE, since=EARLIEST_BELIEVABLE, before=before))
        if self._disk_room is not None:
            self._forget_excess(self.limits.least_free - sum(self._disk_room()))

    def _drop_some(self, kind: Droppable, rows: Sequence[Summary], excess: int, losses: Losses) -> None:
        """Drop as many of `rows`, from the first, as bring `excess` bytes; all where they bring less."""
        chosen: list[Summary] = []
        for row in rows:
            if excess <= 0:
                break
            excess -= row.original_bytes if kind is Droppable.ORIGINAL_IMAGE else row.size_bytes
            chosen.append(row)
        if kind is not Droppable.ORIGINAL_IMAGE:
            self._lose(chosen, losses)
            return
        self.thinned += 1
        self.shelf.drop_originals(chosen, QUEUE_FULL)
        self.counters.used_bytes -= sum(row.original_bytes for row in chosen)
        for row in chosen:
            losses.lose_original(row.sequence)

    def _lose(self, rows: Sequence[Summary], losses: Losses) -> None:
        """Delete rows that were not delivered, and note them; what a report among them says is taken over."""
        self.thinned += bool(rows)
        for row in rows:
            if row.code == ErrorCode.QUEUE_OVERFLOW and (body := self.shelf.body(row)) is not None:
                losses.inherit(parse_overflow_details(from_json(body)["data"]["details"]))
            losses.lose(row.event_type, row.sequence)
        self._delete(rows)

    def _limit(self) -> tuple[int, str]:
        """Bytes that the queue may hold now, and the cause that losses have at this limit."""
        if self._disk_room is None:
            return self.limits.max_bytes, CAUSE_SIZE
        free_bytes, free_inside = self._disk_room()
        self._watch_disk(free_bytes)
        room = free_inside + max(0, free_bytes - self.limits.least_free)
        reserve = min(RESERVE_BYTES, (self.counters.all_bytes + free_inside + free_bytes) // 3)
        disk_limit = max(reserve, self.counters.all_bytes + room)
        if disk_limit < self.limits.max_bytes:
            return disk_limit, CAUSE_DISK
        return self.limits.max_bytes, CAUSE_SIZE

    def _watch_level(self) -> None:
        used, most = self.counters.used_bytes, self.limits.max_bytes
        if used >= most * NEAR_FULL and not self._near_full:
            self._near_full = True
            self.owe(near_full_error(self.maker.now(), used_bytes=used, max_bytes=most))
        elif used < most * NEAR_FULL_OVER:
            self._near_full = False

    def _watch_disk(self, free_bytes: int) -> None:
        floor = self.limits.least_free
        if free_bytes < floor and not self._disk_low:
            self._disk_low = True
            self.owe(disk_low_error(self.maker.now(), free_bytes=free_bytes, min_free_bytes=floor))
        elif free_bytes > floor + DISK_LOW_OVER:
            self._disk_low = False

    # ----------------------------------------------------------------------------------------------------------------
    # Rows and counters together

    def _put(self, row: Row) -> Ticket:
        self.counters.last_position += 1
        self.counters.used_bytes += row.size_bytes
        self.counters.waiting += 1
        self.put_bytes += len(row.body)
        self.shelf.insert(self.counters.last_position, row)
        return row.ticket(self.maker.boot_id)

    def _delete(self, rows: Sequence[Summary]) -> None:
        self.shelf.delete(rows)
        self._take_out(rows)

    def _keep(self, rows: Sequence[Summary]) -> None:
        self.shelf.keep(rows, self.maker.now().wall)
        self._take_out(rows)
        self.counters.kept += len(rows)
        self.counters.kept_bytes += sum(row.size_bytes for row in rows)

    def _forget(self, rows: Sequence[Summary]) -> None:
        self.shelf.forget(rows)
        self.counters.kept -= len(rows)
        self.counters.kept_bytes -= sum(row.size_bytes for row in rows)

    def _take_out(self, rows: Sequence[Summary]) -> None:
        """Rows that no longer wait, nor are dead letters."""
        self.counters.used_bytes -= sum(row.size_bytes for row in rows)
        self.counters.waiting -= sum(row.state is State.WAITING for row in rows)
        self.counters.dead -= sum(row.state is State.DEAD for row in rows)
        self._unsaved = self._unsaved or any(row.position > self._noted_position for row in rows)

    def _in_state(self, event_ids: Collection[str], state: State) -> list[Summary]:
        found = [row for row in self.shelf.find(event_ids) if row.state is state]
        return sorted(found, key=lambda row: row.position)
