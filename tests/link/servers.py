"""The three servers that the contract is held against, under one set of names."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from lpr.backend.faults import Fault, FaultKind
from lpr.backend.server import Backend, BackendSettings
from lpr.link.base import LinkSettings, TransportFactory
from lpr.link.socketio_transport import transports
from lpr.testing.transport import FakeBackend
from tests.faults.node import TOKEN, NodeBackend
from tests.link import parts


@dataclass(frozen=True, slots=True)
class Arrived:
    """One stored event as a back-end sees it; pictures as the numbers of their bytes."""

    event_id: str
    name: str
    data: Mapping[str, Any]
    sequence: int | None
    delivery: Mapping[str, Any]
    plate_bytes: int
    original_bytes: int


class Server(Protocol):
    """What a test of the contract asks of a server."""

    name: str

    def settings(self, **changes: Any) -> LinkSettings: ...
    def transport(self, settings: LinkSettings) -> TransportFactory: ...
    async def stored(self) -> list[Arrived]: ...
    async def auths(self) -> list[Mapping[str, Any]]: ...
    async def command(self, name: str, *args: object) -> Mapping[str, Any]: ...
    async def misbehave(self, kind: str, times: int) -> None: ...
    async def wish(self, hello: Mapping[str, Any] | None) -> None: ...


class InProcess:
    """`lpr.testing.transport`: no network at all."""

    name = "in-process"

    def __init__(self) -> None:
        self.backend = FakeBackend()

    def settings(self, **changes: Any) -> LinkSettings:
        return parts.settings(**changes)

    def transport(self, settings: LinkSettings) -> TransportFactory:
        return self.backend.transport

    async def stored(self) -> list[Arrived]:
        names = {received.event_id: received.name for received in self.backend.received}
        return [_arrived(names[event_id], message) for event_id, message in self.backend.stored.items()]

    async def auths(self) -> list[Mapping[str, Any]]:
        return list(self.backend.auths)

    async def command(self, name: str, *args: object) -> Mapping[str, Any]:
        return await self.backend.command(name, *args)

    async def misbehave(self, kind: str, times: int) -> None:
        left = times

        def answer(name: str, message: Mapping[str, Any]) -> tuple[object, ...] | None:
            nonlocal left
            if left == 0:
                return tuple(self.backend.store(name, message))
            left -= 1
            match kind:
                case "silent":
                    self.backend.store(name, message)
                    return None
                case "retry":
                    return ({"status": "retry", "eventId": message["eventId"], "retryAfterMs": 20},)
                case "reject":
                    return ({"status": "rejected", "eventId": message["eventId"], "code": "BAD", "message": "no"},)
                case "kick" | "close":
                    self.backend.store(name, message)
                    self.backend.drop(kind)
                    return None
            raise AssertionError(kind)

        self.backend.answer = answer

    async def wish(self, hello: Mapping[str, Any] | None) -> None:
        self.backend.hello = None if hello is None else (hello,)


class Small:
    """`lpr.backend`, the agent's own small back-end."""

    name = "lpr.backend"

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self._auths: dict[int, Mapping[str, Any]] = {}
        backend.on_change(self._note)

    def _note(self) -> None:
        for agent in self.backend.agents:
            self._auths[agent.epoch] = {
                "agentId": agent.agent_id, "bootId": agent.boot_id, "epoch": agent.epoch, "version": agent.version
            }  # fmt: skip

    def settings(self, **changes: Any) -> LinkSettings:
        return parts.settings(self.backend.url, **changes)

    def transport(self, settings: LinkSettings) -> TransportFactory:
        return transports(settings)

    async def stored(self) -> list[Arrived]:
        return [
            Arrived(
                event.event_id,
                event.event_type,
                # It keeps pictures in columns of their own.
                {**event.data, "processedImage": event.plate_image_bytes, "originalImage": event.original_image_bytes},
                event.sequence,
                {"attempt": event.attempt, "replayed": event.replayed, "ageMs": event.age_ms},
                event.plate_image_bytes,
                event.original_image_bytes,
            )
            for event in await self.backend.events()
        ]

    async def auths(self) -> list[Mapping[str, Any]]:
        return list(self._auths.values())

    async def command(self, name: str, *args: object) -> Mapping[str, Any]:
        answer: Mapping[str, Any] = (await self.backend.emit(name, *args))[0]
        return answer

    async def misbehave(self, kind: str, times: int) -> None:
        self.backend.faults.replace([Fault(FaultKind(kind), 1.0, times)])

    async def wish(self, hello: Mapping[str, Any] | None) -> None:
        object.__setattr__(self.backend.settings, "hello", hello)


class Node:
    """A real Node server."""

    name = "node"
    _KINDS: Mapping[str, Mapping[str, Any]] = {
        "silent": {"kind": "loseAck", "share": 1},
        "retry": {"kind": "retry", "afterMs": 20},
        "reject": {"kind": "reject"},
        "kick": {"kind": "kick"},
        "close": {"kind": "close"},
    }

    def __init__(self, backend: NodeBackend) -> None:
        self.backend = backend

    def settings(self, **changes: Any) -> LinkSettings:
        return parts.settings(self.backend.url, **changes)

    def transport(self, settings: LinkSettings) -> TransportFactory:
        return transports(settings)

    async def stored(self) -> list[Arrived]:
        return [_arrived(message["type"], message) for message in self.backend.stored()]

    async def auths(self) -> list[Mapping[str, Any]]:
        return list((await self.backend.state())["joined"])

    async def command(self, name: str, *args: object) -> Mapping[str, Any]:
        return await self.backend.command(name, *args)

    async def misbehave(self, kind: str, times: int) -> None:
        await self.backend.fault(**self._KINDS[kind], count=times)

    async def wish(self, hello: Mapping[str, Any] | None) -> None:
        await self.backend.settings(hello=hello)


@asynccontextmanager
async def small() -> AsyncIterator[Small]:
    """The small back-end, listening."""
    async with Backend(BackendSettings(port=0, token=TOKEN, retry_after_ms=20)) as backend:
        yield Small(backend)


def _arrived(name: str, message: Mapping[str, Any]) -> Arrived:
    data = message.get("data", message)
    holder = data["details"] if name == "error" else data
    sizes = [_size(holder.get(field, "")) for field in ("processedImage", "originalImage")]
    return Arrived(message["eventId"], name, data, message.get("sequence"), message["delivery"], *sizes)


def _size(picture: object) -> int:
    match picture:
        case {"bytes": int(size)}:  # the Node server keeps pictures in files
            return size
        case bytes():
            return len(picture)
        case str():
            return len(base64.b64decode(picture, validate=True))
    raise AssertionError(f"no picture: {picture!r}")
