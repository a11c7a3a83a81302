"""How much the queue may hold, and what goes when it holds too much. Pure; both outboxes follow it.

Delivered events that are kept to be sent again on request take only the room that nothing else needs: at a limit they
go first, those delivered longest ago before the others, and no report speaks of them, since the back-end holds them.
After them these go, each kind only after the one before it is used up, dead letters before what waits, oldest first:

1. the waiting status,
2. original images (their events stay, and say so),
3. errors,
4. detections.

What went is told by a `QUEUE_OVERFLOW` that is recorded in the same transaction. A report that is dropped in its turn
hands its content on to the next one, so that no loss is ever forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from lpr.wire import PLATE_DETECTED, Overflow, SequenceRanges

LOW_WATER = 0.98
"""Room is made down to this share of the limit, so that one report stands for many losses."""
NEAR_FULL = 0.8
NEAR_FULL_OVER = 0.7
"""`QUEUE_NEAR_FULL` is raised at the first share, and again only after the queue was below the second."""
DISK_LOW_OVER = 64 << 20
"""`DISK_LOW` is raised again only after so much more than the floor was free: the log alone comes and goes by 16 MB."""
RESERVE_BYTES = 16 << 20
"""What the queue may hold even where the disk is below its floor, but no more than a third of what it could have."""
LEAST_FREE_DISK = 32 << 20
"""Left free whatever `min_free_disk` says: more than SQLite's log grows to before it is folded into the database.
Without that room the queue could fill the disk so that it could not even write down what was delivered."""
MAX_RANGES = 1000
"""Runs of sequences that one report names; more of them make another report."""
BRIDGED_SEQUENCES = 32
"""Events without an original image are named in runs over gaps of so many: what lies in a gap is an error, or lost."""

CAUSE_SIZE = "max_bytes"
CAUSE_AGE = "max_age"
CAUSE_DISK = "min_free_disk"
CAUSE_DISK_FULL = "disk_full"
CAUSE_OPERATOR = "operator"

QUEUE_FULL = "queue_full"
DAMAGED = "damaged"
"""Why an original image is no longer with its event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxLimits:
    """`max_bytes` counts bodies and pictures, not the file's own bookkeeping (a few percent more).

    Delivered detections are kept for `keep_delivered_s` from their delivery; 0 deletes them at once.
    """

    max_bytes: int = 2 << 30
    max_age_s: float = 7 * 86400.0
    min_free_disk: int = 1 << 30
    keep_delivered_s: float = 0.0

    @property
    def least_free(self) -> int:
        """Bytes of the disk that are left free."""
        return max(self.min_free_disk, LEAST_FREE_DISK)


def merge_ranges(ranges: Iterable[tuple[int, int]], *, bridged: int = 0) -> SequenceRanges:
    """The same sequences in as few runs as can be, ascending; gaps of up to `bridged` sequences are taken in."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1 + bridged:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return tuple(merged)


def subtract_ranges(ranges: SequenceRanges, gone: SequenceRanges) -> SequenceRanges:
    """What of `ranges` is not in `gone`; both merged."""
    left: list[tuple[int, int]] = []
    others = iter(gone)
    other = next(others, None)
    for first, last in ranges:
        start = first
        while other is not None and other[1] < start:
            other = next(others, None)
        while other is not None and other[0] <= last:
            if other[0] > start:
                left.append((start, other[0] - 1))
            start = other[1] + 1
            if other[1] > last:
                break
            other = next(others, None)
        if start <= last:
            left.append((start, last))
    return tuple(left)


@dataclass(slots=True)
class Losses:
    """What was dropped and is not yet reported. Not frozen: it is filled while room is made."""

    detections: int = 0
    errors: int = 0
    unknown: int = 0
    statuses: int = 0
    original_images: int = 0
    lost: list[tuple[int, int]] = field(default_factory=list)
    without_original: list[tuple[int, int]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.lost or self.statuses or self.original_images)

    def lose(self, event_type: str, sequence: int | None) -> None:
        """Note an event that is dropped; a status has no sequence."""
        if sequence is None:
            self.statuses += 1
            return
        if event_type == PLATE_DETECTED:
            self.detections += 1
        else:
            self.errors += 1
        self.lost.append((sequence, sequence))

    def lose_unknown(self, first: int, last: int) -> None:
        """Note events of which nothing but their sequences is left."""
        self.unknown += last - first + 1
        self.lost.append((first, last))

    def lose_original(self, sequence: int | None) -> None:
        """Note an event that is kept without its original image."""
        self.original_images += 1
        if sequence is not None:
            self.without_original.append((sequence, sequence))

    def inherit(self, report: Overflow) -> None:
        """Take over what a report says that is being dropped itself."""
        self.detections += report.detections
        self.errors += report.errors
        self.unknown += report.unknown
        self.statuses += report.statuses
        self.original_images += report.original_images
        self.lost += report.lost
        self.without_original += report.without_original

    def reports(self, cause: str) -> list[Overflow]:
        """The losses in as few reports as their size allows; the counts are in the first."""
        lost = merge_ranges(self.lost)
        without_original = merge_ranges(
            subtract_ranges(merge_ranges(self.without_original), lost), bridged=BRIDGED_SEQUENCES
        )
        first = Overflow(
            cause=cause,
            detections=self.detections,
            errors=self.errors,
            unknown=self.unknown,
            statuses=self.statuses,
            original_images=self.original_images,
            lost=lost[:MAX_RANGES],
            without_original=without_original[:MAX_RANGES],
        )
        more = range(MAX_RANGES, max(len(lost), len(without_original)), MAX_RANGES)
        return [first] + [
            Overflow(
                cause=cause,
                lost=lost[start : start + MAX_RANGES],
                without_original=without_original[start : start + MAX_RANGES],
            )
            for start in more
        ]


def describe(overflow: Overflow) -> str:
    """One sentence for people: what was lost, how much of it, and why."""
    counts = [
        (overflow.detections, "detection(s)"),
        (overflow.errors, "error(s)"),
        (overflow.original_images, "original image(s)"),
        (overflow.unknown, "event(s) of unknown type"),
        (overflow.statuses, "status(es)"),
    ]
    lost = ", ".join(f"{count} {what}" for count, what in counts if count) or "more"
    return f"The queue dropped {lost}: {_CAUSES[overflow.cause]}"


_CAUSES = {
    CAUSE_SIZE: "it is full (outbox.max_bytes)",
    CAUSE_AGE: "they waited longer than outbox.max_age",
    CAUSE_DISK: "the disk is short of space (outbox.min_free_disk)",
    CAUSE_DISK_FULL: "the disk was full and memory for waiting events ran out",
    CAUSE_OPERATOR: "a person removed them with `lpr-agent queue drop`",
}
