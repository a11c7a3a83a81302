"""The errors that the queue records about itself, as domain events. Pure."""

from __future__ import annotations

from lpr.domain.clock import Instant
from lpr.domain.events import ErrorCode, ErrorRaised, Severity
from lpr.outbox.limits import NEAR_FULL, describe
from lpr.wire import Overflow, corrupt_details, disk_low_details, near_full_details, overflow_details


def overflow_error(now: Instant, overflow: Overflow) -> ErrorRaised:
    """Events or pictures were dropped; critical where a vehicle's passage is lost, pictures alone are not."""
    lost_events = overflow.detections or overflow.unknown
    return ErrorRaised(
        occurred_at=now,
        code=ErrorCode.QUEUE_OVERFLOW,
        message=describe(overflow),
        severity=Severity.CRITICAL if lost_events else Severity.HIGH,
        details=overflow_details(overflow),
    )


def near_full_error(now: Instant, *, used_bytes: int, max_bytes: int) -> ErrorRaised:
    """The queue is filling: soon pictures will be dropped."""
    return ErrorRaised(
        occurred_at=now,
        code=ErrorCode.QUEUE_NEAR_FULL,
        message=f"The queue is more than {NEAR_FULL:.0%} full; the link must come back before it drops pictures",
        severity=Severity.MEDIUM,
        details=near_full_details(used_bytes=used_bytes, max_bytes=max_bytes),
    )


def disk_low_error(now: Instant, *, free_bytes: int, min_free_bytes: int) -> ErrorRaised:
    """The disk is short of space; what else fills it is not ours to delete."""
    return ErrorRaised(
        occurred_at=now,
        code=ErrorCode.DISK_LOW,
        message=f"The disk of the queue has only {free_bytes >> 20} MiB left; make room on it",
        severity=Severity.HIGH,
        details=disk_low_details(free_bytes=free_bytes, min_free_bytes=min_free_bytes),
    )


def corrupt_error(
    now: Instant, *, recovered: int, unreadable: int | None, set_aside: str, next_sequence: int
) -> ErrorRaised:
    """The queue's file was damaged: what of it was carried over, and where the rest lies."""
    lost = "an unknown number of events was" if unreadable is None else f"{unreadable} event(s) were"
    return ErrorRaised(
        occurred_at=now,
        code=ErrorCode.QUEUE_CORRUPT,
        message=f"The queue's file was damaged: {recovered} event(s) were carried over, {lost} not readable"
        + (f"; the damaged file is kept as {set_aside}" if set_aside else ""),
        severity=Severity.CRITICAL,
        details=corrupt_details(
            recovered=recovered, unreadable=unreadable, set_aside=set_aside, next_sequence=next_sequence
        ),
    )
