"""Where agents meet the small back-end: connections, events into the store, acknowledgements, commands.

It knows socket.io and the store; `server.py` puts it on a port together with the pages.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import socketio
from aiohttp import web
from socketio.packet import Packet

from lpr.backend.faults import STORED, Fault, FaultKind, FaultPlan
from lpr.backend.messages import DETECTED, Message, UnreadableMessageError, understand
from lpr.backend.store import EventStore, Kept, StoredEvent
from lpr.domain.clock import isoformat_ms
from lpr.domain.errors import BackendError, LinkError

HELLO: Final = "agent_hello"
FAREWELL_S: Final = 0.2
"""How long a connection that is being closed may take to send its last packets."""

log = logging.getLogger(__name__)
_PACKET_LOG = log.getChild("packets")
# At INFO both libraries would write every packet, pictures included, into the log of a whole demo.
_PACKET_LOG.setLevel(logging.WARNING)


class CommandTimeoutError(LinkError):
    """The agent did not answer a command in time, or went away before it did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendSettings:
    """How the small back-end behaves.

    `port` 0 takes a free one. `database` None keeps events in memory. With `token` set, an agent must name it in
    `auth`, and HTTP requests that change something must carry it as `Authorization: Bearer …`. `strict` rejects what is
    not quite as the contract says; otherwise it is stored with remarks. `hello` is merged into the answer to
    `agent_hello`, None means that there is no answer. `max_message_bytes` is socket.io's `maxHttpBufferSize`: a larger
    frame closes the connection.
    """

    host: str = "127.0.0.1"
    port: int = 3001
    namespace: str = "/ai"
    token: str | None = None
    database: Path | None = None
    faults: tuple[Fault, ...] = ()
    slow_s: float = 2.0
    retry_after_ms: int = 1000
    strict: bool = False
    hello: Mapping[str, Any] | None = field(default_factory=dict)
    max_message_bytes: int = 1_000_000
    ping_interval_s: float = 25.0
    ping_timeout_s: float = 20.0
    seed: int | None = None


@dataclass(slots=True, kw_only=True)
class ConnectedAgent:
    """One agent's live connection and what it said about itself."""

    agent_id: str
    sid: str
    boot_id: str | None
    epoch: int
    version: str
    connected_at: datetime
    request: web.Request = field(repr=False)
    hello: Mapping[str, Any] | None = None
    waiting: set[asyncio.Future[Any]] = field(default_factory=set, repr=False)

    def to_json(self) -> dict[str, Any]:
        """JSON values, for people and programs."""
        return {
            "agentId": self.agent_id,
            "bootId": self.boot_id,
            "epoch": self.epoch,
            "version": self.version,
            "connectedAt": isoformat_ms(self.connected_at),
            "hello": self.hello,
        }


class _StrictJson:
    """JSON as JavaScript reads it: NaN and Infinity, which Python lets pass, end the connection there as well."""

    @staticmethod
    def dumps(*args: Any, **kwargs: Any) -> str:
        return json.dumps(*args, **(kwargs | {"allow_nan": False}))

    @staticmethod
    def loads(*args: Any, **kwargs: Any) -> Any:
        def refuse(constant: str) -> Any:
            raise ValueError(f"{constant} is no JSON")

        return json.loads(*args, **(kwargs | {"parse_constant": refuse}))


class _StrictPacket(Packet):  # type: ignore[misc]
    # A class of our own: setting `json` on the server would change it for every client in this process too.
    json = _StrictJson


class AgentHub:
    """The agents that are connected, what they sent, and how to speak to them."""

    def __init__(self, settings: BackendSettings | None = None) -> None:
        self.settings = settings or BackendSettings()
        self.faults = FaultPlan(self.settings.faults, seed=self.settings.seed)
        self.store = EventStore(self.settings.database)
        self.refused = 0
        """Connections that were refused for their token."""
        self._agents: dict[str, ConnectedAgent] = {}
        self._listeners: list[Callable[[Kept], None]] = []
        self._change_listeners: list[Callable[[], None]] = []
        self._news = asyncio.Event()
        self.socketio = self._make_socketio()

    # What came

    async def events(
        self,
        *,
        event_type: str | None = None,
        agent_id: str | None = None,
        after: int = 0,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> list[StoredEvent]:
        """Stored events in the order of their arrival; see `EventStore.events`."""
        return await self.store.events(
            event_type=event_type, agent_id=agent_id, after=after, limit=limit, newest_first=newest_first
        )

    async def wait_for(
        self, count: int, *, event_type: str | None = DETECTED, agent_id: str | None = None, timeout_s: float = 30.0
    ) -> list[StoredEvent]:
        """Wait until so many different events are stored (`event_type` None: of any type) and return them.

        Raises `TimeoutError` naming how many there were.
        """
        found: list[StoredEvent] = []
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    # Taken before looking, so that what arrives meanwhile is not slept through.
                    news = self._news
                    found = await self.events(event_type=event_type, agent_id=agent_id)
                    if len(found) >= count:
                        return found
                    await news.wait()
        except TimeoutError:
            raise TimeoutError(f"{len(found)} of {count} events after {timeout_s:g} s") from None

    async def wait_for_agent(self, agent_id: str | None = None, *, timeout_s: float = 10.0) -> ConnectedAgent:
        """Wait until this agent, or any, is connected. Raises `TimeoutError`."""
        async with asyncio.timeout(timeout_s):
            while (agent := self._agent(agent_id)) is None:
                await self._news.wait()
            return agent

    def on_event(self, listener: Callable[[Kept], None]) -> None:
        """Call `listener` in the event loop for every event that was stored or came again, after its commit."""
        self._listeners.append(listener)

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` in the event loop whenever an agent came, went or introduced itself."""
        self._change_listeners.append(listener)

    @property
    def agents(self) -> tuple[ConnectedAgent, ...]:
        """Who is connected; the newest connection of each agent."""
        newest: dict[str, ConnectedAgent] = {}
        for agent in self._agents.values():
            if agent.agent_id not in newest or agent.epoch >= newest[agent.agent_id].epoch:
                newest[agent.agent_id] = agent
        return tuple(newest.values())

    # Commands

    async def command(
        self,
        name: str,
        data: Mapping[str, Any] | None = None,
        *,
        agent_id: str | None = None,
        command_id: str | None = None,
        expires_at: datetime | None = None,
        flat: bool = False,
        timeout_s: float = 10.0,
    ) -> dict[str, Any]:
        """Send a command and return the agent's answer, an object.

        It goes out as the guide's `{type, data}`, or with `flat` as the data itself. `command_id` makes a repeat
        harmless; one is made up where it is None. Raises `LinkError` where no such agent is connected,
        `CommandTimeoutError` where no answer came, `ProtocolError` never: what came is returned as it is, an answer
        that is no object as `{"status": "error", "message": …}`.
        """
        extra: dict[str, Any] = {"commandId": command_id or secrets.token_hex(8)}
        if expires_at is not None:
            extra["expiresAt"] = isoformat_ms(expires_at)
        body = {**(data or {}), **extra} if flat else {"type": name, "data": dict(data or {}), **extra}
        answer = await self.emit(name, body, agent_id=agent_id, timeout_s=timeout_s)
        if len(answer) == 1 and isinstance(answer[0], dict):
            return answer[0]
        return {"status": "error", "message": f"the agent's answer is no object: {str(answer)[:200]}"}

    async def emit(
        self, name: str, *args: Any, agent_id: str | None = None, timeout_s: float = 10.0
    ) -> tuple[Any, ...]:
        """Emit anything at all to an agent and return what its callback was given, for trying nonsense.

        Raises as `command` does.
        """
        agent = self._agent(agent_id)
        if agent is None:
            whom = f"agent '{agent_id}'" if agent_id else "agent"
            raise LinkError(f"no {whom} is connected", hint="start one with backend.url set to this back-end")
        answered: asyncio.Future[tuple[Any, ...]] = asyncio.get_running_loop().create_future()
        agent.waiting.add(answered)

        def take(*answer: Any) -> None:
            if not answered.done():
                answered.set_result(answer)

        try:
            async with asyncio.timeout(timeout_s):
                await self.socketio.emit(name, args, to=agent.sid, namespace=self.settings.namespace, callback=take)
                return await answered
        except TimeoutError:
            raise CommandTimeoutError(
                f"agent '{agent.agent_id}' did not answer {name} within {timeout_s:g} s"
            ) from None
        finally:
            agent.waiting.discard(answered)

    async def kick(self, agent_id: str | None = None) -> None:
        """Disconnect an agent from the namespace, or all of them."""
        for agent in self.agents:
            if agent_id in (None, agent.agent_id):
                await self.socketio.disconnect(agent.sid, namespace=self.settings.namespace)

    def _agent(self, agent_id: str | None) -> ConnectedAgent | None:
        return next((agent for agent in self.agents if agent_id in (None, agent.agent_id)), None)

    # Socket.IO

    def _make_socketio(self) -> Any:
        settings = self.settings
        sio = socketio.AsyncServer(
            async_mode="aiohttp",
            serializer=_StrictPacket,
            transports=["websocket"],
            max_http_buffer_size=settings.max_message_bytes,
            ping_interval=settings.ping_interval_s,
            ping_timeout=settings.ping_timeout_s,
            logger=_PACKET_LOG,
            engineio_logger=_PACKET_LOG,
        )
        namespace = settings.namespace
        sio.on("connect", self._on_connect, namespace=namespace)
        sio.on("disconnect", self._on_disconnect, namespace=namespace)
        sio.on("*", self._on_event, namespace=namespace)
        understand_packet = sio._handle_eio_message  # noqa: SLF001 - the only place where broken packets can be met

        async def end_on_nonsense(eio_sid: str, data: Any) -> None:
            try:
                await understand_packet(eio_sid, data)
            except (ValueError, KeyError, IndexError, TypeError) as error:
                log.warning("closing a connection that sent no socket.io packet: %s", error)
                await self._hang_up(eio_sid)

        sio.eio.on("message", end_on_nonsense)
        return sio

    async def hang_up(self) -> None:
        """Close every connection, also those that are not (or not any longer) an agent's."""
        await asyncio.gather(*(self._hang_up(eio_sid) for eio_sid in list(self.socketio.eio.sockets)))

    async def _hang_up(self, eio_sid: str) -> None:
        connection, environ = self.socketio.eio.sockets.get(eio_sid), self.socketio.environ.get(eio_sid)
        if connection is None or connection.closed or environ is None:
            return
        await connection.close(wait=False)
        transport = environ["aiohttp.request"].transport
        if transport is None or transport.is_closing():
            return
        # Bounded, because nobody empties the queue any longer once the client has gone.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL_S):
                await connection.queue.join()
        transport.close()

    async def _on_connect(self, sid: str, environ: Mapping[str, Any], auth: object = None) -> None:
        credentials = auth if isinstance(auth, Mapping) else {}
        token = credentials.get("token")
        if self.settings.token is not None and not _same(token, self.settings.token):
            self.refused += 1
            raise socketio.exceptions.ConnectionRefusedError("unauthorized")
        epoch = credentials.get("epoch")
        self._agents[sid] = ConnectedAgent(
            agent_id=_text(credentials.get("agentId")) or "unknown",
            sid=sid,
            boot_id=_text(credentials.get("bootId")),
            epoch=epoch if isinstance(epoch, int) else 0,
            version=_text(credentials.get("version")) or "",
            connected_at=datetime.now(UTC),
            request=environ["aiohttp.request"],
        )
        self._tell_change()

    async def _on_disconnect(self, sid: str, *_reason: object) -> None:
        agent = self._agents.pop(sid, None)
        if agent is None:
            return
        for answered in agent.waiting:
            if not answered.done():
                answered.set_exception(CommandTimeoutError(f"agent '{agent.agent_id}' went away before its answer"))
        self._tell_change()

    async def _on_event(self, event_type: str, sid: str, *args: Any) -> Any:
        """Every event of an agent; what is returned is the acknowledgement, `not_handled` gives none."""
        agent = self._agents.get(sid)
        if agent is None:
            return self.socketio.not_handled
        payload = args[0] if args else None
        if event_type == HELLO:
            return await self._answer_hello(agent, payload)
        faults = self.faults.strike()
        if FaultKind.SLOW in faults:
            await asyncio.sleep(self.settings.slow_s)
        refusal = _refusal(faults, payload, self.settings.retry_after_ms)
        if refusal is not None:
            return refusal
        answer = await self._take_in(agent, event_type, payload)
        if not faults & STORED:
            return answer
        if FaultKind.CLOSE in faults and agent.request.transport is not None:
            agent.request.transport.abort()
        elif FaultKind.KICK in faults:
            await self.socketio.disconnect(sid, namespace=self.settings.namespace)
        return self.socketio.not_handled

    async def _answer_hello(self, agent: ConnectedAgent, payload: object) -> Any:
        agent.hello = payload if isinstance(payload, Mapping) else {}
        self._tell_change()
        if self.settings.hello is None:
            return self.socketio.not_handled
        # A tenth of grace: the frame also holds the event's name, and a base64 picture is measured before it is sent.
        limits = {"maxMessageBytes": self.settings.max_message_bytes * 9 // 10}
        return {"contract": 1, "serverTime": isoformat_ms(datetime.now(UTC)), **limits, **self.settings.hello}

    async def _take_in(self, agent: ConnectedAgent, event_type: str, payload: object) -> dict[str, Any]:
        """Store an event and make the acknowledgement, after the commit."""
        try:
            message = understand(event_type, payload, agent_id=agent.agent_id, boot_id=agent.boot_id)
            if self.settings.strict and message.remarks:
                return _rejection(message.event_id, "CONTRACT", "; ".join(message.remarks))
            kept = await self.store.keep(message)
        except UnreadableMessageError as error:
            return _rejection(error.event_id, "UNREADABLE", str(error))
        except BackendError as error:
            log.error("%s", error)
            return _postponement(message, error, self.settings.retry_after_ms)
        self._tell_event(kept)
        return {"status": "duplicate" if kept.duplicate else "ok", "eventId": message.event_id}

    def _tell_event(self, kept: Kept) -> None:
        for listener in self._listeners:
            listener(kept)
        self._wake()

    def _tell_change(self) -> None:
        for listener in self._change_listeners:
            listener()
        self._wake()

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()


def _refusal(faults: frozenset[FaultKind], payload: object, retry_after_ms: int) -> dict[str, Any] | None:
    """The answer of a fault that does not store the event, or None."""
    event_id = payload.get("eventId") if isinstance(payload, Mapping) else None
    if FaultKind.REJECT in faults:
        return _rejection(event_id, "FAULT", "rejected on request (--fault reject)")
    if FaultKind.RETRY in faults:
        return {"status": "retry", "eventId": event_id, "retryAfterMs": retry_after_ms}
    return None


def _rejection(event_id: object, code: str, message: str) -> dict[str, Any]:
    return {"status": "rejected", "eventId": event_id, "code": code, "message": message}


def _postponement(message: Message, error: BackendError, retry_after_ms: int) -> dict[str, Any]:
    return {
        "status": "retry",
        "eventId": message.event_id,
        "retryAfterMs": retry_after_ms,
        "message": error.message,
    }


def _same(given: object, wanted: str) -> bool:
    """Whether the token is right, in a time that tells nothing about it."""
    return isinstance(given, str) and secrets.compare_digest(given.encode("utf-8", "replace"), wanted.encode())


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
