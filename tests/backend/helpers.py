"""Messages as the agent really makes them, and a plain socket.io client that sends them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp
import numpy as np
import socketio

from lpr import wire
from lpr.backend.server import Backend
from lpr.domain.choices import ImageMode, PayloadShape
from lpr.domain.clock import Instant
from lpr.domain.events import Jpeg, PlateDetected
from lpr.domain.plate import PlateText, VehicleType
from lpr.imaging import encode_jpeg
from lpr.testing import events

Serve = Callable[..., AbstractAsyncContextManager[Backend]]

HAPPENED_AT = datetime(2026, 11, 23, 1, 2, 3, 456_000, UTC)


def picture(width: int, height: int) -> Jpeg:
    return encode_jpeg(np.full((height, width, 3), 90, np.uint8))


def detection(plate: str = "59-X1 123.45", *, gate_name: str = "Cổng chính") -> PlateDetected:
    text = plate.replace("-", "").replace(".", "").replace(" ", "")
    return events.detection(
        plate,
        at=Instant(HAPPENED_AT, 100.0),
        plate_image=picture(120, 90),
        original_image=picture(320, 240),
        gate_name=gate_name,
        plate=PlateText(text, text, plate, 0.97, (0.97,) * len(text), 2, "motorcycle", True, "TP. Hồ Chí Minh"),
        vehicle_type=VehicleType.MOTORCYCLE,
    )


def message(
    event_id: str = "event-1",
    *,
    sequence: int = 1,
    attempt: int = 1,
    agent_id: str = "gate-nuc-01",
    images: ImageMode = ImageMode.BASE64,
    payload: PayloadShape = PayloadShape.MESSAGE,
    event: Any = None,
) -> dict[str, Any]:
    """A message as the agent really makes it."""
    event = event or detection()
    body = wire.event_body(event, event_id=event_id, agent_id=agent_id, boot_id="boot-1", sequence=sequence)
    return wire.message(
        body,
        wire.Delivery(attempt=attempt, replayed=attempt > 1, sent_at=HAPPENED_AT, age_ms=14),
        plate_image=getattr(event, "plate_image", None),
        original_image=getattr(event, "original_image", None),
        images=images,
        payload=payload,
    )


@dataclass
class Agent:
    """A plain socket.io client that does what the contract says, for one connection."""

    client: socketio.AsyncClient
    namespace: str
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, body: Mapping[str, Any], event_type: str = wire.PLATE_DETECTED) -> Any:
        """Emit with an acknowledgement and wait for it."""
        return await self.client.call(event_type, body, namespace=self.namespace, timeout=5)

    async def emit(self, body: Mapping[str, Any], event_type: str = wire.PLATE_DETECTED) -> None:
        await self.client.emit(event_type, body, namespace=self.namespace)

    def on(self, name: str, handler: Callable[..., Any]) -> None:
        self.client.on(name, handler, namespace=self.namespace)


@asynccontextmanager
async def connected(
    backend: Backend,
    *,
    token: str | None = None,
    agent_id: str = "gate-nuc-01",
    epoch: int = 1,
    refusals: list[object] | None = None,
) -> AsyncIterator[Agent]:
    async with aiohttp.ClientSession() as session:
        client = socketio.AsyncClient(reconnection=False, http_session=session, handle_sigint=False)
        agent = Agent(client, backend.settings.namespace)

        @client.on("disconnect", namespace=agent.namespace)
        def _gone(*_reason: object) -> None:
            agent.gone.set()

        @client.on("connect_error", namespace=agent.namespace)
        def _refused(reason: object) -> None:
            if refusals is not None:
                refusals.append(reason)

        auth = wire.auth(token=token, agent_id=agent_id, boot_id="boot-1", epoch=epoch, version="0.1.0")
        try:
            await client.connect(
                backend.url, auth=auth, transports=["websocket"], namespaces=[agent.namespace], wait_timeout=5
            )
            yield agent
        finally:
            await client.shutdown()
