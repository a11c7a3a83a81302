"""What the disk would not take: kept in memory, within a bound, until it does. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Container
from dataclasses import replace

from lpr.domain.clock import Instant
from lpr.outbox.base import Entry, Ticket
from lpr.outbox.limits import CAUSE_DISK_FULL, QUEUE_FULL, Losses
from lpr.outbox.queue import Queue
from lpr.outbox.rows import Burial, Row, RowMaker, summary_of
from lpr.wire import PROCESSING_STATUS

HELD_BYTES = 64 << 20
HELD_EVENTS = 2000
"""At either bound original images go first, then the oldest events; what went is reported once the disk takes it."""

_NOWHERE = 1 << 62
"""Position of a row that is not in the database: after all those that are."""


class Held:
    """Events, deliveries and burials that could not be written down, in the order in which they came.

    Deliveries and burials hide an event at once; only after a crash would it be sent again.
    """

    def __init__(self) -> None:
        self.rows: OrderedDict[str, Row] = OrderedDict()
        self.settled: set[str] = set()
        self.buried: dict[str, Burial] = {}
        self._losses = Losses()
        self._bytes = 0

    def __bool__(self) -> bool:
        return bool(self.rows or self.settled or self.buried or self._losses)

    @property
    def size_bytes(self) -> int:
        """Text and pictures of the held events."""
        return self._bytes

    def hold(self, row: Row, boot_id: str) -> Ticket:
        """Keep an event; a status takes the place of the one that is held."""
        if row.event_type == PROCESSING_STATUS:
            for old in [old for old in self.rows.values() if old.event_type == PROCESSING_STATUS]:
                self._drop(old)
        self.rows[row.event_id] = row
        self._bytes += row.size_bytes
        self._shrink()
        return row.ticket(boot_id)

    def settle(self, event_ids: Collection[str]) -> None:
        """The back-end holds these."""
        for event_id in event_ids:
            if event_id in self.rows:
                self._drop(self.rows[event_id])
            else:
                self.settled.add(event_id)

    def bury(self, event_id: str, burial: Burial) -> None:
        """The back-end can never take this one."""
        self.buried[event_id] = burial

    def hides(self, event_id: str) -> bool:
        """Whether an event that the database still lists no longer waits."""
        return event_id in self.settled or event_id in self.buried

    def hidden(self) -> frozenset[str]:
        """Events that the database still lists and that no longer wait."""
        return frozenset(self.settled) | self.buried.keys() - self.rows.keys()

    @property
    def replaces_status(self) -> bool:
        """Whether the status in the database is no longer the newest."""
        return any(row.event_type == PROCESSING_STATUS for row in self.rows.values())

    @property
    def last_sequence(self) -> int:
        """The highest sequence that only memory knows, 0 where there is none."""
        return max((row.sequence or 0 for row in self.rows.values()), default=0)

    def tickets(self, boot_id: str) -> list[Ticket]:
        """The held events that wait, in order."""
        return [row.ticket(boot_id) for row in self.rows.values() if not self.hides(row.event_id)]

    def entry(self, event_id: str, boot_id: str) -> Entry | None:
        """A held event, whole."""
        row = self.rows.get(event_id)
        if row is None or self.hides(event_id):
            return None
        return row.entry(row.ticket(boot_id))

    def correct_times(self, maker: RowMaker, out: Container[str]) -> int:
        """Let the times of held events follow a wall clock that was set; says of how many."""
        corrected = 0
        for event_id, row in self.rows.items():
            if row.unsure_boot is None or event_id in out:
                continue
            correction = maker.correction(row.recorded_at, row.recorded_monotonic_s, row.body)
            if correction is not None:
                self._bytes -= row.size_bytes
                self.rows[event_id] = replace(
                    row,
                    body=correction.body,
                    recorded_at=correction.recorded_at,
                    unsure_boot=correction.unsure_boot,
                )
                self._bytes += self.rows[event_id].size_bytes
                corrected += 1
        return corrected

    def oldest_age_s(self, now: Instant, boot_id: str) -> float:
        """Seconds that the oldest held event has waited, 0 where none does."""
        first = next(iter(self.rows.values()), None)
        return 0.0 if first is None else summary_of(_NOWHERE, first).age_s(now, boot_id)

    def replay(self, queue: Queue) -> None:
        """Write everything down, in one transaction of the caller's; `clear` follows once it is durable."""
        for row in self.rows.values():
            if queue.shelf.find([row.event_id]):
                continue  # a commit that failed after it had taken effect
            queue.insert_status(row) if row.event_type == PROCESSING_STATUS else queue.insert(row)
        queue.settle(self.settled)
        for event_id, burial in self.buried.items():
            queue.bury(event_id, burial)
        queue.report(self._losses, CAUSE_DISK_FULL)
        queue.pay()

    def clear(self) -> None:
        """All of it is on the disk."""
        self.rows.clear()
        self.settled.clear()
        self.buried.clear()
        self._losses = Losses()
        self._bytes = 0

    def _shrink(self) -> None:
        """Keep to the bounds; the newest event always stays."""
        for row in list(self.rows.values())[:-1]:
            if self._bytes <= HELD_BYTES:
                break
            if row.original_image is not None and row.sequence is not None:
                bare = replace(row, original_image=None, original_omitted=QUEUE_FULL)
                self.rows[row.event_id] = bare
                self._bytes -= row.original_bytes
                self._losses.lose_original(row.sequence)
        while len(self.rows) > 1 and (self._bytes > HELD_BYTES or len(self.rows) > HELD_EVENTS):
            oldest = next(iter(self.rows.values()))
            self._drop(oldest)
            self._losses.lose(oldest.event_type, oldest.sequence)

    def _drop(self, row: Row) -> None:
        del self.rows[row.event_id]
        self._bytes -= row.size_bytes
