"""A back-end without a network: transports join it in the same process, and a test tells it how to behave."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from lpr.domain.errors import LinkError
from lpr.link.base import OnAck, OnCommand, OnDisconnect, Progress
from lpr.wire import HELLO

Answer: TypeAlias = Callable[[str, Mapping[str, Any]], Sequence[object] | None]
"""From an event's name and message: the arguments of the callback, or None for no answer."""


@dataclass(frozen=True, slots=True)
class Received:
    """One emit that reached the back-end, on which connection (counted from 1)."""

    connection: int
    name: str
    message: Mapping[str, Any]

    @property
    def event_id(self) -> str:
        """The event's identity, in either payload shape."""
        return str(self.message["eventId"])


class FakeBackend:
    """Stores by (agentId, eventId) and answers as the contract says, until `answer` or `refuse` say otherwise.

    `held` collects the acks of emits that `answer` gave None for, so that a test can answer late, twice or wrongly.
    """

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.stored: dict[str, Mapping[str, Any]] = {}
        self.auths: list[Mapping[str, Any]] = []
        self.answer: Answer = self.store
        self.hello: Sequence[object] | None = ({},)
        self.refusals: deque[LinkError] = deque()
        self.mute_connects = 0
        self.held: list[tuple[Received, OnAck]] = []
        self.transports: list[FakeTransport] = []

    def transport(self) -> FakeTransport:
        """A transport that will connect to this back-end: the factory that a relay wants."""
        transport = FakeTransport(self)
        self.transports.append(transport)
        return transport

    @property
    def live(self) -> FakeTransport | None:
        """The transport that is connected now."""
        return next((each for each in reversed(self.transports) if each.connected), None)

    def store(self, name: str, message: Mapping[str, Any]) -> Sequence[object]:
        """The contract's answer: store it, or say that it was there."""
        event_id = str(message["eventId"])
        known = event_id in self.stored
        self.stored.setdefault(event_id, message)
        return ({"status": "duplicate" if known else "ok", "eventId": event_id},)

    def drop(self, reason: str = "the back-end went away") -> None:
        """End the connection that stands, as a server that dies does."""
        if self.live is not None:
            self.live.lose(reason)

    async def command(self, name: str, *args: object) -> Mapping[str, Any]:
        """Emit a command to the agent and return its answer. Raises `LinkError` without a connection."""
        if self.live is None:
            raise LinkError("no agent is connected")
        return await self.live.obey(name, args)

    def events(self, name: str) -> list[Mapping[str, Any]]:
        """Everything received under a name, repeats too."""
        return [each.message for each in self.received if each.name == name]


class FakeTransport:
    """`Transport` in memory. What is emitted must be JSON (with bytes as attachments), as it would have to be."""

    def __init__(self, backend: FakeBackend) -> None:
        self.connected = False
        self.aborted: str | None = None
        self.closed = False
        self.progress_now: Progress | None = None
        self._backend = backend
        self._command: OnCommand | None = None
        self._disconnect: OnDisconnect | None = None
        self._number = 0

    def on_command(self, handler: OnCommand) -> None:
        """What to do with every event that the back-end emits."""
        self._command = handler

    def on_disconnect(self, handler: OnDisconnect) -> None:
        """Whom to tell that the connection has ended."""
        self._disconnect = handler

    async def connect(self, auth: Mapping[str, Any]) -> None:
        """Connect, or raise what the back-end's `refusals` hold; hangs for as long as `mute_connects` says."""
        await asyncio.sleep(0)
        self._backend.auths.append(dict(auth))
        if self._backend.mute_connects:
            self._backend.mute_connects -= 1
            await asyncio.Event().wait()
        if self._backend.refusals:
            raise self._backend.refusals.popleft()
        self._number = len(self._backend.auths)
        self.connected = True

    async def emit(self, name: str, message: Mapping[str, Any], on_ack: OnAck) -> None:
        """Hand an event to the back-end; its answer comes in a later round of the loop."""
        if not self.connected:
            raise LinkError("the connection is gone")
        json.dumps(message, allow_nan=False, default=_attachment)
        if name == HELLO:
            answer = self._backend.hello
        else:
            received = Received(self._number, name, message)
            self._backend.received.append(received)
            answer = self._backend.answer(name, message)
            if answer is None:
                self._backend.held.append((received, on_ack))
        if answer is not None:
            asyncio.get_running_loop().call_soon(on_ack, answer)

    def takes_bytes(self) -> int | None:
        """It does not say."""
        return None

    def progress(self) -> Progress | None:
        """What the test has set."""
        return self.progress_now

    def abort(self, reason: str) -> None:
        """Cut the connection."""
        self.aborted = reason
        self.lose(reason)

    async def close(self) -> None:
        """Close; the relay is not told."""
        self.connected, self.closed = False, True

    def lose(self, reason: str) -> None:
        """The connection ends, and the relay is told once."""
        if self.connected:
            self.connected = False
            if self._disconnect is not None:
                self._disconnect(reason)

    async def obey(self, name: str, args: Sequence[object]) -> Mapping[str, Any]:
        """Give a command to the agent."""
        if self._command is None:
            raise LinkError("nobody takes commands")
        return await self._command(name, args)


def _attachment(value: object) -> object:
    if isinstance(value, bytes):
        return {"_placeholder": True}
    raise TypeError(f"{type(value).__name__} is not JSON")
