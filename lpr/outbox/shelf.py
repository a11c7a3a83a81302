"""Where a `Queue` keeps its rows: what it asks of a shelf, and how a shelf counts and shows them.

A shelf knows no rules. `memory.py` has one of dicts, `sqlite_shelf.py` one of tables.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Protocol

from lpr.domain.clock import Instant
from lpr.domain.commands import EventRange
from lpr.domain.events import Jpeg
from lpr.outbox.base import DeadLetter, Entry
from lpr.outbox.rows import Burial, Correction, Row, Summary
from lpr.wire import from_json


class Droppable(Enum):
    """What may go at a limit, in this order."""

    STATUS = "status"
    ORIGINAL_IMAGE = "original image"
    ERROR = "error"
    DETECTION = "detection"


@dataclass(slots=True)
class Counters:
    """The queue in numbers, kept up to date so that nothing needs to be counted again.

    `used_bytes` are those of what waits and of dead letters; `kept` and `kept_bytes` count delivered events.
    """

    last_sequence: int = 0
    last_position: int = 0
    used_bytes: int = 0
    waiting: int = 0
    dead: int = 0
    kept: int = 0
    kept_bytes: int = 0

    def copy(self) -> Counters:
        """The same figures, apart; made for every transaction, in a fraction of the time that `replace` takes."""
        return Counters(
            self.last_sequence,
            self.last_position,
            self.used_bytes,
            self.waiting,
            self.dead,
            self.kept,
            self.kept_bytes,
        )

    @property
    def all_bytes(self) -> int:
        """What counts against the limit of size."""
        return self.used_bytes + self.kept_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What weighs of a row: its body as JSON text, and its pictures."""

    body: str
    plate_image: Jpeg | None
    original_image: Jpeg | None
    original_omitted: str | None
    unsound: bool = False
    """Whether a picture is not what was recorded, or cannot be read; it is then None."""


class Shelf(Protocol):
    """Where rows lie. Positions are given by the `Queue` and rise in the order of recording."""

    def counters(self) -> Counters:
        """Everything counted anew."""
        ...

    def save_counters(self, counters: Counters) -> None:
        """Note the last sequence and position, for when no row shows them any longer."""
        ...

    def insert(self, position: int, row: Row) -> None:
        """Put a row down, waiting."""
        ...

    def delete(self, summaries: Sequence[Summary]) -> None:
        """Remove rows with all that belongs to them."""
        ...

    def drop_originals(self, summaries: Sequence[Summary], why: str) -> None:
        """Remove original images; the rows stay, smaller."""
        ...

    def bury(self, summary: Summary, burial: Burial) -> None:
        """Make a waiting row a dead letter."""
        ...

    def revive(self, summaries: Sequence[Summary]) -> None:
        """Make dead letters wait again, with no attempts, as if recorded offline."""
        ...

    def keep(self, summaries: Sequence[Summary], delivered_at: datetime) -> None:
        """Lay rows apart with their pictures; none of the lists shows them but `kept` and `kept_in`."""
        ...

    def kept(self, limit: int, *, since: datetime | None = None, before: datetime | None = None) -> list[Summary]:
        """Rows laid apart, in the order of their delivery, of those delivered from `since` to `before`."""
        ...

    def kept_in(self, events: EventRange, *, after: int, limit: int) -> list[Summary]:
        """Rows laid apart that are in this range, with positions above `after`, ascending."""
        ...

    def release(self, summaries: Sequence[Summary], now: Instant, boot_id: str) -> list[Summary]:
        """Make rows that were laid apart wait again, in their old place, as if recorded offline and `now`."""
        ...

    def forget(self, summaries: Sequence[Summary]) -> None:
        """Remove rows that were laid apart, with their pictures."""
        ...

    def find(self, event_ids: Collection[str]) -> list[Summary]:
        """The waiting rows and dead letters of these names that are there, in any order."""
        ...

    def droppable(self, kind: Droppable, limit: int) -> list[Summary]:
        """The next rows of a kind that may go: dead letters first, then in order of recording."""
        ...

    def in_order(self, *, after: int, limit: int) -> list[Summary]:
        """Waiting rows and dead letters with positions above `after`, ascending."""
        ...

    def waiting(self, limit: int) -> list[Summary]:
        """The oldest waiting rows."""
        ...

    def dead(self, limit: int) -> list[tuple[Summary, Burial]]:
        """The oldest dead letters."""
        ...

    def unsure(self, machine_boot: str, *, after: int, limit: int) -> list[tuple[Summary, str]]:
        """Waiting rows that were never sent, whose times a boot of the machine may still correct, with their bodies."""
        ...

    def correct(self, summary: Summary, correction: Correction) -> int:
        """Give a row its new times; says by how many bytes it grew."""
        ...

    def body(self, summary: Summary) -> str | None:
        """The body of a waiting row or a dead letter; None where it is no longer there."""
        ...

    def contents(self, event_id: str) -> tuple[Summary, Contents] | None:
        """A waiting row or a dead letter with what weighs."""
        ...


def as_entry(summary: Summary, contents: Contents, boot_id: str) -> Entry:
    """A row as the rest of the agent sees it."""
    return Entry(
        ticket=summary.ticket(boot_id),
        body=from_json(contents.body),
        plate_image=contents.plate_image,
        original_image=contents.original_image,
        original_omitted=contents.original_omitted,
    )


def as_dead_letter(summary: Summary, burial: Burial, boot_id: str) -> DeadLetter:
    """A dead letter as the rest of the agent sees it."""
    return DeadLetter(
        ticket=summary.ticket(boot_id), code=burial.code, reason=burial.reason, buried_at=burial.buried_at
    )
