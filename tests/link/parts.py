"""What the tests of the link join: an outbox in memory, events, a relay that runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import numpy as np

from lpr.domain.clock import Clock, Instant, SystemClock
from lpr.domain.events import ErrorCode, ErrorRaised, Jpeg, PlateDetected, Severity
from lpr.imaging import encode_jpeg
from lpr.link.base import Backoff, LinkDeadlines, LinkSettings, TransportFactory
from lpr.link.clearer import Rejection
from lpr.link.files import EpochFile
from lpr.link.relay import Delivered, Relay
from lpr.link.socketio_transport import transports
from lpr.outbox.base import Outbox
from lpr.outbox.memory import MemoryOutbox
from lpr.testing import events

QUICK = LinkDeadlines(
    connect_s=2.0, hello_s=0.3, ack_s=0.6, dead_s=0.9, probe_s=0.2, probe_answer_s=0.8, disconnect_s=0.5, progress_s=0.1
)
"""Deadlines for tests: about a tenth of the real ones."""
QUICK_BACKOFF = Backoff(first_s=0.05, max_s=0.2, refused_first_s=0.3, refused_max_s=1.0, token_poll_s=0.05)

STOPS_WITHIN_S = 30.0
"""Far more than a relay takes to end, whatever it is doing."""

_PICTURES: dict[tuple[int, int], Jpeg] = {}


def picture(width: int, height: int, *, noise: bool = False) -> Jpeg:
    """A JPEG; with noise about as large as JPEGs get."""
    key = (width, height * (-1 if noise else 1))
    if key not in _PICTURES:
        shape = (height, width, 3)
        pixels = np.random.default_rng(1).integers(0, 256, shape, np.uint8) if noise else np.full(shape, 90, np.uint8)
        _PICTURES[key] = encode_jpeg(np.asarray(pixels, np.uint8), quality=95)
    return _PICTURES[key]


def detection(plate: str = "29A-123.45", *, original: Jpeg | None = None, clock: Clock | None = None) -> PlateDetected:
    return events.detection(
        plate,
        at=(clock or SystemClock()).now(),
        plate_image=picture(120, 40),
        original_image=original or picture(320, 240),
    )


def camera_lost(clock: Clock | None = None) -> ErrorRaised:
    return ErrorRaised(
        occurred_at=(clock or SystemClock()).now(),
        code=ErrorCode.CAMERA_DISCONNECTED,
        message="CAM_001 is silent",
        severity=Severity.HIGH,
        gate_id="GATE_001",
        details={"cameraId": "CAM_001"},
    )


def settings(url: str = "http://fake", **changes: Any) -> LinkSettings:
    given: dict[str, Any] = {
        "url": url,
        "agent_id": "gate-nuc-01",
        "boot_id": "boot-1",
        "version": "0.1.0",
        "token": lambda: "secret",
        "deadlines": QUICK,
        "backoff": QUICK_BACKOFF,
    }
    return LinkSettings(**{**given, **changes})


class Site:
    """A relay that runs, its outbox, and what it reported."""

    def __init__(self, relay: Relay, outbox: Outbox, clock: Clock) -> None:
        self.relay, self.outbox, self.clock = relay, outbox, clock
        self.rejections: list[Rejection] = []
        self.delivered: list[Delivered] = []
        self.commands: list[tuple[str, Sequence[object]]] = []
        self.reply: Mapping[str, Any] = {"status": "ok"}

    async def record(self, amount: int = 1, plate: str = "29A-123.45", original: Jpeg | None = None) -> list[str]:
        """Record detections; their ids."""
        tickets = [
            await self.outbox.record(detection(plate, clock=self.clock, original=original), link_up=self.relay.link_up)
            for _ in range(amount)
        ]
        return [ticket.event_id for ticket in tickets]

    async def pending(self) -> int:
        return (await self.outbox.status()).pending

    async def until(self, reached: Callable[[], object], timeout_s: float = 10.0) -> None:
        """Wait until something holds; looked at every few milliseconds of real time."""
        async with asyncio.timeout(timeout_s):
            while not reached():  # noqa: ASYNC110 - looked at from outside
                await asyncio.sleep(0.005)

    async def until_empty(self, timeout_s: float = 10.0) -> None:
        async with asyncio.timeout(timeout_s):
            while await self.pending():  # noqa: ASYNC110 - looked at from outside
                await asyncio.sleep(0.005)


@asynccontextmanager
async def running(
    link: LinkSettings,
    *,
    transport: TransportFactory | None = None,
    outbox: Outbox | None = None,
    clock: Clock | None = None,
    grace_s: float = 0.0,
    **more: Any,
) -> AsyncIterator[Site]:
    """A relay inside the block; stopped, and waited for, at its end."""
    clock = clock or SystemClock()
    outbox = outbox or MemoryOutbox(agent_id=link.agent_id, boot_id=link.boot_id, clock=clock)

    async def obey(name: str, args: Sequence[object]) -> Mapping[str, Any]:
        site.commands.append((name, args))
        return site.reply

    async def rejected(rejection: Rejection) -> None:
        site.rejections.append(rejection)

    given: dict[str, Any] = {
        "next_epoch": EpochFile().next,
        "on_command": obey,
        "on_rejected": rejected,
        "on_delivered": lambda done: site.delivered.append(done),
        "clock": clock,
    }
    relay = Relay(outbox, link, transport or transports(link), **{**given, **more})
    site = Site(relay, outbox, clock)
    task = asyncio.create_task(relay.run())
    try:
        yield site
    finally:
        try:
            # In real time: a clock that only the test moves stands still by now.
            async with asyncio.timeout(STOPS_WITHIN_S + grace_s):
                await relay.stop(grace_s)
                await task
        finally:
            task.cancel()


def instant(second: float = 0.0) -> Instant:
    return Instant(datetime(2026, 11, 23, 1, 2, 3, tzinfo=UTC), second)
