"""How much the queue may hold, and what goes when it holds too much. Pure; both outboxes follow it.

At a limit these go, each kind only after the one before it is used up, dead letters before what waits, oldest first:

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

from lpr.wire import Overflow, SequenceRanges

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
    """`max_bytes` counts bodies and pictures, not the file's own bookkeeping (a few percent more)."""

    max_bytes: int = 2 << 30
    max_age_s: float = 7 * 86400.0
    min_free_disk: int = 1 << 30


def merge_ranges(ranges: Iterable[tuple[int, int]]) -> SequenceRanges:
    """The same sequences in as few runs as can be, ascending."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return tuple(merged)


@dataclass(slots=True)
class Losses:
    """What was dropped and is not yet reported. Not frozen: it is filled while room is made."""

    statuses: int = 0
    original_images: list[tuple[int, int]] = field(default_factory=list)
    errors: list[tuple[int, int]] = field(default_factory=list)
    detections: list[tuple[int, int]] = field(default_factory=list)
    unknown: list[tuple[int, int]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.statuses or self.original_images or self.errors or self.detections or self.unknown)

    def inherit(self, report: Overflow) -> None:
        """Take over what a report says that is being dropped itself."""
        self.statuses += report.statuses
        self.original_images += report.original_images
        self.errors += report.errors
        self.detections += report.detections
        self.unknown += report.unknown

    def reports(self, cause: str) -> list[Overflow]:
        """The losses in as few reports as their size allows."""
        kinds = {
            "original_images": merge_ranges(self.original_images),
            "errors": merge_ranges(self.errors),
            "detections": merge_ranges(self.detections),
            "unknown": merge_ranges(self.unknown),
        }
        longest = max(len(runs) for runs in kinds.values())
        return [
            Overflow(
                cause=cause,
                statuses=self.statuses if start == 0 else 0,
                **{name: runs[start : start + MAX_RANGES] for name, runs in kinds.items()},
            )
            for start in range(0, max(1, longest), MAX_RANGES)
        ]


def describe(overflow: Overflow) -> str:
    """One sentence for people: what was lost, how much of it, and why."""
    counts = [
        (sum(last - first + 1 for first, last in overflow.detections), "detection(s)"),
        (sum(last - first + 1 for first, last in overflow.errors), "error(s)"),
        (sum(last - first + 1 for first, last in overflow.original_images), "original image(s)"),
        (sum(last - first + 1 for first, last in overflow.unknown), "event(s) of unknown type"),
        (overflow.statuses, "status(es)"),
    ]
    lost = ", ".join(f"{count} {what}" for count, what in counts if count)
    return f"The queue dropped {lost}: {_CAUSES[overflow.cause]}"


_CAUSES = {
    CAUSE_SIZE: "it is full (outbox.max_bytes)",
    CAUSE_AGE: "they waited longer than outbox.max_age",
    CAUSE_DISK: "the disk is short of space (outbox.min_free_disk)",
    CAUSE_DISK_FULL: "the disk was full and memory for waiting events ran out",
    CAUSE_OPERATOR: "a person removed them with `lpr-agent queue drop`",
}
