"""What will go wrong if nobody does anything: sentences for the local page and `/healthz`, each with what to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from lpr.agent.settings import outbox_limits
from lpr.agent.timekeeping import SKEW_MS
from lpr.config import AgentConfig, readable_size
from lpr.domain.events import QueueStatus
from lpr.durable import free_bytes
from lpr.outbox.limits import NEAR_FULL


def concerns(
    config: AgentConfig,
    *,
    queue: QueueStatus,
    free_disk: int | None,
    clock_offset_ms: float | None,
    complaint: str | None,
    fallbacks: Iterable[str],
) -> Iterator[str]:
    """The sentences, the most urgent first.

    `free_disk` is in bytes where the queue lies, None where that cannot be asked; `clock_offset_ms` is the back-end's
    clock minus ours, None where it never told; `complaint` is what is wrong with its answers, None where nothing is;
    `fallbacks` are the devices whose work another one does.
    """
    limits = outbox_limits(config)
    if free_disk is not None and free_disk <= limits.least_free:
        yield (
            f"only {readable_size(free_disk)} are free on the disk of {config.agent.data_dir}, where the queue leaves "
            f"{readable_size(limits.least_free)} alone (outbox.min_free_disk): make room, or an outage will cost events"
        )
    if queue.bytes >= NEAR_FULL * limits.max_bytes:
        yield (
            f"the queue holds {readable_size(queue.bytes)} of {readable_size(limits.max_bytes)}: bring the back-end "
            "back, or raise outbox.max_bytes; what is full drops pictures first, then events"
        )
    if complaint is not None:
        yield f"{complaint}: events stay in the queue and are sent again; the log says more"
    if clock_offset_ms is not None and abs(clock_offset_ms) > SKEW_MS:
        way = "behind" if clock_offset_ms > 0 else "ahead of"
        yield (
            f"this machine's clock is {abs(clock_offset_ms) / 1000:.0f} s {way} the back-end's: one of the two is "
            "wrong, and so may be the times of events"
        )
    for device in fallbacks:
        yield f"{device} does not work, another device does its work until the next start: “lpr-agent check” lists them"


def free_disk_at(folder: Path) -> int | None:
    """Bytes that are free where `folder` lies; None where that cannot be asked."""
    try:
        return free_bytes(folder)
    except OSError:
        return None
