"""What the queue says about itself, and is told again: details of its errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from lpr.wire.names import ERROR, PLATE_DETECTED, PROCESSING_STATUS
from lpr.wire.values import rounded

SequenceRanges: TypeAlias = tuple[tuple[int, int], ...]
"""First and last sequence of each run without a gap, ascending."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overflow:
    """What a limit took out of the queue. `cause` names the limit.

    The first five count what went, by type; `unknown` are events that were lost before it was written down what they
    were. `lost` names the events by their sequences. Events in `without_original` that are still there have no original
    image any longer; others in these ranges never had one, or are lost too.
    """

    cause: str
    detections: int = 0
    errors: int = 0
    unknown: int = 0
    statuses: int = 0
    original_images: int = 0
    lost: SequenceRanges = ()
    without_original: SequenceRanges = ()


def overflow_details(overflow: Overflow) -> dict[str, Any]:
    """`details` of a `QUEUE_OVERFLOW`: counts by type, what lost nothing left out, and sequences."""
    counts = {
        PLATE_DETECTED: overflow.detections,
        ERROR: overflow.errors,
        "unknown": overflow.unknown,
        PROCESSING_STATUS: overflow.statuses,
        "originalImages": overflow.original_images,
    }
    return {
        "cause": overflow.cause,
        "dropped": {name: count for name, count in counts.items() if count},
        "sequences": [list(run) for run in overflow.lost],
        "sequencesWithoutOriginalImage": [list(run) for run in overflow.without_original],
    }


def parse_overflow_details(details: Mapping[str, Any]) -> Overflow:
    """What `overflow_details` made; reads a report of ours that is itself dropped, so that its content lives on."""
    dropped = details["dropped"]
    return Overflow(
        cause=details["cause"],
        detections=dropped.get(PLATE_DETECTED, 0),
        errors=dropped.get(ERROR, 0),
        unknown=dropped.get("unknown", 0),
        statuses=dropped.get(PROCESSING_STATUS, 0),
        original_images=dropped.get("originalImages", 0),
        lost=tuple((first, last) for first, last in details["sequences"]),
        without_original=tuple((first, last) for first, last in details["sequencesWithoutOriginalImage"]),
    )


def near_full_details(*, used_bytes: int, max_bytes: int) -> dict[str, Any]:
    """`details` of a `QUEUE_NEAR_FULL`."""
    return {"bytes": used_bytes, "maxBytes": max_bytes, "percent": rounded(100 * used_bytes / max(1, max_bytes), 1)}


def disk_low_details(*, free_bytes: int, min_free_bytes: int) -> dict[str, Any]:
    """`details` of a `DISK_LOW`."""
    return {"freeBytes": free_bytes, "minFreeBytes": min_free_bytes}


def corrupt_details(*, recovered: int, unreadable: int | None, set_aside: str, next_sequence: int) -> dict[str, Any]:
    """`details` of a `QUEUE_CORRUPT`; `unreadable` is None where nobody can know."""
    return {
        "recovered": recovered,
        "unreadable": unreadable,
        "setAside": set_aside,
        "nextSequence": next_sequence,
    }
