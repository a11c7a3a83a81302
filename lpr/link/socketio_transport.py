"""Transport over python-socketio: one client, one aiohttp session, one connection; then thrown away.

Why so much is done here that a Socket.IO client might be expected to do: python-socketio's own reconnection hangs or
dies when a server accepts and stays silent, closes early or authenticates slowly, and never follows a server-side
`disconnect()`; it does not notice a half-open connection while it is sending, and `disconnect()` waits on a peer that
may be dead. So: no reconnection of its own, a deadline over the whole of connecting, and an abort that goes to the TCP
transport. Joining, leaving, the server's pings and commands are the library's; our events and the answers to them, of
which there are hundreds a second, pass it by: see `packets` and `web_socket`.

An idle connection is asked for a sign of life with WebSocket pings (the server's own come every 25 s and allow 20 more,
which is too late). Only a server that has answered one is judged by them.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import socket
import ssl
import struct
import sys
import termios
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import aiohttp
import socketio
from aiohttp.connector import AddrInfoType
from engineio import base_client as engineio_clients
from engineio import packet as engine_packet

from lpr.domain.errors import LinkError, LinkRefusedError, LinkUntrustedError
from lpr.link.base import (
    MESSAGE_TOO_LARGE,
    THROWN_OUT,
    LinkDeadlines,
    LinkSettings,
    OnAck,
    OnCommand,
    OnDisconnect,
    Progress,
    TransportFactory,
)
from lpr.link.explain import Stage, explain, refusal, sent_elsewhere, timed_out, too_old
from lpr.link.names import NameResolver
from lpr.link.packets import event_packet, read_answer, read_limit
from lpr.link.route import Route, proxy_of
from lpr.link.web_socket import WebSocket

_TCP_INFO_BYTES_ACKED = 120
"""Offset of `tcpi_bytes_acked` in Linux's `struct tcp_info` (since 4.1)."""
_USER_TIMEOUT_DEADLINES = 4
"""`TCP_USER_TIMEOUT` in `dead_s`: the last resort. The kernel counts time at a closed window as silence, though a slow
proxy opens it now and then; our own deadlines know better, and come first.
"""
_UNWATCHED_DEADLINES = 2
"""After this many `dead_s` without an answer the delivery waits for none, unless bytes are still on their way."""
_SHARE_OF_NAMES = 0.3
"""Of the time for connecting, that a name server is waited for where an address is remembered."""
_FIRST_EVENT = 2
"""Number of the emission after `agent_hello`."""
MAX_INCOMING_BYTES = 8 << 20
"""A command or an answer above this ends the connection: what it would take to read it is for the cameras."""
_KEEPALIVE_IDLE_S, _KEEPALIVE_EVERY_S, _KEEPALIVE_COUNT = 5, 3, 3

# The libraries' own lines say nothing that is not said here, and some hold whole messages.
for _name in ("socketio.client", "engineio.client"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)


class _Client(socketio.AsyncClient):  # type: ignore[misc]
    """A client that survives junk: a packet that cannot be read ends the connection, not a task nobody watches.

    It knows nothing of our events. Answers to them that come its way are taken before it reads them, and where it must
    read one (with attachments) handed on.
    """

    def __init__(
        self,
        on_junk: Callable[[str], None],
        take: Callable[[str], bool],
        on_answer: Callable[[int, Sequence[object]], None],
        on_old_server: Callable[[], None],
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._on_junk = on_junk
        self._take = take
        self._on_answer = on_answer
        self._on_old_server = on_old_server

    @property
    def awaits_attachments(self) -> bool:
        """Whether the next message belongs to the one before."""
        return self._binary_packet is not None

    async def _handle_connect(self, namespace: str | None, data: object) -> None:
        # Since socket.io 3 a welcome has an id. The library would take one without it, and wait for heartbeats in vain.
        if isinstance(data, Mapping) and "sid" in data:
            await super()._handle_connect(namespace, data)
        else:
            self._on_old_server()

    async def _handle_ack(self, namespace: str | None, id: int, data: Sequence[object]) -> None:  # noqa: A002 - its name
        if (namespace or "/") in self.namespaces:
            self._on_answer(id, data)

    async def _handle_eio_message(self, data: object) -> None:
        if isinstance(data, str) and self._take(f"{engine_packet.MESSAGE}{data}"):
            return
        try:
            await super()._handle_eio_message(data)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
            self._on_junk(f"the back-end sent what is no Socket.IO packet ({type(error).__name__})")


def transports(settings: LinkSettings) -> TransportFactory:
    """One for each connection, over a way that they remember together."""
    route = Route(proxy_of(settings.url))
    return lambda: SocketIoTransport(settings, route)


class SocketIoTransport:
    """`Transport` for one connection to `settings.url`, namespace `settings.namespace`, over WebSocket only."""

    def __init__(self, settings: LinkSettings, route: Route) -> None:
        """`route` is what earlier connections learned of the way."""
        self._settings = settings
        self._route = route
        self._deadlines: LinkDeadlines = settings.deadlines
        self._client: Any = None
        self._web_socket: WebSocket | None = None
        self._session: aiohttp.ClientSession | None = None
        self._command: OnCommand | None = None
        self._disconnect: OnDisconnect | None = None
        self._joined: asyncio.Future[None] | None = None
        self._stage = Stage.CONNECTING
        self._up = False
        self._reason: str | None = None
        self._emissions = 0
        self._answered = 0
        self._unanswered: dict[int, OnAck] = {}
        self._emitted_at = 0.0
        self._probe: asyncio.Task[None] | None = None

    def on_command(self, handler: OnCommand) -> None:
        """What to do with every event that the back-end emits."""
        self._command = handler

    def on_disconnect(self, handler: OnDisconnect) -> None:
        """Whom to tell that the connection has ended."""
        self._disconnect = handler

    # Connecting

    async def connect(self, auth: Mapping[str, Any]) -> None:
        """See `Transport`. Every file (CA, certificate) is read anew."""
        try:
            async with asyncio.timeout(self._deadlines.connect_s):
                await self._open(dict(auth))
        except TimeoutError as error:
            self._route.failed()
            if self._stage is not Stage.RESOLVING:
                self._route.stuck()
            await self._dispose()
            raise timed_out(self._stage, self._settings) from error
        except BaseException as error:
            # Who refuses us has been reached.
            if isinstance(error, LinkUntrustedError) or not isinstance(error, LinkRefusedError):
                self._route.failed()
            await self._dispose()
            raise
        self._up = True
        self._probe = asyncio.create_task(self._probe_when_idle(), name="link-probe")

    async def _open(self, auth: dict[str, Any]) -> None:
        settings = self._settings
        context = await asyncio.to_thread(tls_context, settings) if settings.url.startswith(("https", "wss")) else True
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                ssl=context,
                limit=1,
                force_close=True,
                resolver=NameResolver(self._route, _SHARE_OF_NAMES * self._deadlines.connect_s),
                socket_factory=self._make_socket,
            ),
            trace_configs=[self._trace()],
            ws_response_class=self._note_web_socket,  # type: ignore[arg-type]  # called, and nothing else
            timeout=aiohttp.ClientTimeout(total=None),
        )
        self._joined = asyncio.get_running_loop().create_future()
        self._client = self._make_client(self._session)
        try:
            await self._client.connect(
                settings.url,
                auth=auth,
                transports=["websocket"],
                namespaces=[settings.namespace],
                socketio_path=settings.path,
                wait=False,
            )
        except _FOREIGN as error:
            raise explain(error, settings) from error
        self._client.eio.read_loop_task.add_done_callback(self._on_read_loop_ended)
        self._set_socket_options()
        await self._joined

    def _trace(self) -> aiohttp.TraceConfig:
        """Note how far the attempt comes, and follow no redirection, which may lead anywhere: browsers do not for a
        WebSocket either. The library offers no other way not to.
        """

        def comes_to(stage: Stage) -> Callable[..., Awaitable[None]]:
            async def note(*_: object) -> None:
                self._stage = stage

            return note

        async def refuse(_: object, __: object, redirect: aiohttp.TraceRequestRedirectParams) -> None:
            answer = redirect.response
            raise sent_elsewhere(answer.status, answer.headers.get("Location", ""), self._settings)

        trace = aiohttp.TraceConfig()
        trace.on_dns_resolvehost_start.append(comes_to(Stage.RESOLVING))
        trace.on_dns_resolvehost_end.append(comes_to(Stage.CONNECTING))
        trace.on_connection_create_end.append(comes_to(Stage.UPGRADING))
        trace.on_request_redirect.append(refuse)
        return trace

    def _note_web_socket(self, *args: Any, **options: Any) -> WebSocket:
        """The library knows its WebSocket only when all went well; we must close it also where it did not."""
        self._stage = Stage.JOINING
        self._web_socket = WebSocket(*args, take=self._take_answer, **options)
        return self._web_socket

    def _make_client(self, session: aiohttp.ClientSession) -> _Client:
        client = _Client(
            self.abort,
            self._take_answer,
            self._on_answer,
            lambda: self._fail_joining(too_old(self._settings)),
            reconnection=False,
            handle_sigint=False,
            http_session=session,
            request_timeout=self._deadlines.disconnect_s,
            websocket_extra_options={
                "autoping": False,
                "max_msg_size": MAX_INCOMING_BYTES,
                "proxy": self._route.proxy,
            },
        )
        namespace = self._settings.namespace
        client.on("connect", self._on_joined, namespace=namespace)
        client.on("connect_error", self._on_refused, namespace=namespace)
        client.on("disconnect", self._on_client_disconnect, namespace=namespace)
        client.on("*", self._on_event, namespace=namespace)
        return client

    def _make_socket(self, address: AddrInfoType) -> socket.socket:
        sock = socket.socket(*address[:3])
        if (segment_bytes := self._route.segment_bytes) is not None:
            with suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, segment_bytes)
        return sock

    def _set_socket_options(self) -> None:
        """The kernel gives up on bytes that nobody acknowledges, and on a peer that is silent, by itself."""
        sock = self._socket()
        if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
            return
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if sys.platform == "linux":
                user_timeout_ms = int(_USER_TIMEOUT_DEADLINES * self._deadlines.dead_s * 1000)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, user_timeout_ms)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_IDLE_S)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEPALIVE_EVERY_S)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _KEEPALIVE_COUNT)

    def _on_joined(self, *args: object) -> None:
        if self._joined is not None and not self._joined.done():
            self._joined.set_result(None)

    def _on_refused(self, *args: object) -> None:
        # Also called by the library when there was no connection at all; `connect` then raises by itself.
        if self._client is not None and self._client.eio.sid is not None:
            self._fail_joining(refusal(args[0] if args else None, self._settings))

    def _fail_joining(self, error: LinkError) -> None:
        if self._joined is not None and not self._joined.done():
            self._joined.set_exception(error)

    # While it stands

    async def emit(self, name: str, message: Mapping[str, Any], on_ack: OnAck) -> None:
        """See `Transport`."""
        namespace = self._settings.namespace
        if not self._up or self._web_socket is None or namespace not in self._client.namespaces:
            raise LinkError(f"the connection to {self._settings.url} is gone")
        self._emissions += 1
        self._emitted_at = asyncio.get_running_loop().time()
        self._unanswered[self._emissions] = on_ack
        try:
            await self._web_socket.write_together(event_packet(namespace, self._emissions, name, message))
        except _FOREIGN as error:
            raise LinkError(f"the connection to {self._settings.url} is gone: {error}") from error

    def _take_answer(self, text: str) -> bool:
        """Answers to events go past the library, which starts two tasks for each."""
        if self._client.awaits_attachments or (answer := read_answer(self._settings.namespace, text)) is None:
            return False
        # Not called here: a fault in who is told is not one of the connection.
        asyncio.get_running_loop().call_soon(self._on_answer, *answer)
        return True

    def _on_answer(self, number: int, args: Sequence[object]) -> None:
        if (on_ack := self._unanswered.pop(number, None)) is not None:
            self._answered = max(self._answered, number)
            on_ack(tuple(args))

    def takes_bytes(self) -> int | None:
        """See `Transport`."""
        opening = self._web_socket.opening if self._web_socket is not None else None
        return read_limit(opening) if opening else None

    def progress(self) -> Progress | None:
        """From the kernel's books; None where it keeps none (not Linux), or when the connection is gone."""
        web_socket, sock = self._web_socket, self._socket()
        if web_socket is None or sock is None or (tcp := web_socket.tcp) is None or sys.platform != "linux":
            return None
        try:
            info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES_ACKED + 8)
            (unsent,) = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0" * 4))
        except (OSError, ValueError):
            return None
        if len(info) < _TCP_INFO_BYTES_ACKED + 8:
            return None
        (acked,) = struct.unpack_from("Q", info, _TCP_INFO_BYTES_ACKED)
        heard_s_ago = asyncio.get_running_loop().time() - web_socket.heard_at
        return Progress(acked, unsent + tcp.get_write_buffer_size(), heard_s_ago)

    async def _on_event(self, name: object, *args: object) -> Mapping[str, Any] | None:
        if self._command is None:
            return None
        # Whatever JSON holds may stand where the name should.
        return await self._command(name if isinstance(name, str) else repr(name), args)

    async def _probe_when_idle(self) -> None:
        """Ping while nothing waits for an answer (else the delivery's own deadline watches)."""
        loop = asyncio.get_running_loop()
        while (web_socket := self._web_socket) is not None and not web_socket.closed:
            asked_at = loop.time()
            try:
                await asyncio.wait_for(web_socket.ping(), self._deadlines.probe_answer_s)
            except (OSError, aiohttp.ClientError, TimeoutError):
                self.abort("a ping could not be sent")
                return
            await asyncio.sleep(self._deadlines.probe_s)
            if not web_socket.ponged or web_socket.heard_at >= asked_at or not self._is_idle():
                continue
            await asyncio.sleep(max(0.0, asked_at + self._deadlines.probe_answer_s - loop.time()))
            # Where it was this process that stood still, the answer has come and has not been read yet.
            await asyncio.sleep(self._deadlines.probe_s / 10)
            if web_socket.heard_at < asked_at and self._is_idle():
                self.abort(f"no answer to a ping for {loop.time() - asked_at:.1f} s on an idle connection")
                return

    def _is_idle(self) -> bool:
        """Nothing of ours is on its way before a ping: the newest emit has been answered, or the delivery has long
        ceased to watch it (an `agent_hello` that the back-end does not know, a status that it never acknowledges).
        """
        if self._answered == self._emissions:
            return True
        if asyncio.get_running_loop().time() - self._emitted_at < _UNWATCHED_DEADLINES * self._deadlines.dead_s:
            return False
        progress = self.progress()
        return progress is None or progress.pending_bytes == 0

    # The end

    def abort(self, reason: str) -> None:
        """See `Transport`."""
        progress = self.progress()
        if self._up and progress is not None and progress.pending_bytes:
            self._route.stuck()
        self._lost(reason)
        if self._web_socket is not None and (tcp := self._web_socket.tcp) is not None:
            tcp.abort()

    async def close(self) -> None:
        """See `Transport`."""
        was_up, self._up = self._up, False
        if was_up and self._reason is None:
            with suppress(TimeoutError, *_FOREIGN):
                await asyncio.wait_for(self._client.disconnect(), self._deadlines.disconnect_s)
        await self._dispose()

    def _on_client_disconnect(self, *args: object) -> None:
        self._lost(_DISCONNECT_WORDS.get(str(args[0]) if args else "", str(args[0]) if args else "unknown reason"))

    def _on_read_loop_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            task.exception()  # looked at, so that asyncio does not complain about it
        self._lost("the connection broke")

    def _lost(self, reason: str) -> None:
        if self._reason is not None:
            return
        if self._web_socket is not None and self._web_socket.too_large:
            reason = f"the back-end sent a message of more than {MAX_INCOMING_BYTES >> 20} MiB"
        elif self._web_socket is not None and self._web_socket.close_code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG:
            reason = MESSAGE_TOO_LARGE
        self._reason = reason
        self._fail_joining(
            LinkError(
                f"{self._settings.url} ended the connection before the namespace {self._settings.namespace} answered: "
                f"{reason}",
                hint="look at the back-end's log; a proxy in front of it may not let WebSockets through",
            )
        )
        if self._up:
            self._up = False
            if self._answered < _FIRST_EVENT <= self._emissions:
                self._route.took_nothing()
            if self._disconnect is not None:
                self._disconnect(reason)

    async def _dispose(self) -> None:
        """Leave nothing behind: no task, no socket, no entry in the library's list of clients."""
        self._up = False
        if self._reason is None:
            self._reason = "closed"
        tasks = [self._probe] if self._probe is not None else []
        if self._client is not None:
            engine = self._client.eio
            engine.state = "disconnected"
            with suppress(ValueError):
                engineio_clients.connected_clients.remove(engine)
            tasks += [task for task in (engine.read_loop_task, engine.write_loop_task) if task is not None]
        if self._web_socket is not None:
            self._web_socket.discard()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=self._deadlines.disconnect_s)
        if self._session is not None:
            await self._session.close()
        if self._joined is not None and self._joined.done() and not self._joined.cancelled():
            self._joined.exception()  # looked at, so that asyncio does not complain about it

    def _socket(self) -> socket.socket | None:
        return self._web_socket.get_extra_info("socket") if self._web_socket is not None else None


_FOREIGN: tuple[type[Exception], ...] = (
    socketio.exceptions.SocketIOError,
    aiohttp.ClientError,
    OSError,
    ssl.SSLError,
    # What the libraries let through when the other side speaks something else.
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
)

_DISCONNECT_WORDS: Mapping[str, str] = {
    "server disconnect": THROWN_OUT,
    "transport close": "the connection was closed",
    "transport error": "the connection broke",
    "ping timeout": "the back-end fell silent",
}


def tls_context(settings: LinkSettings) -> ssl.SSLContext:
    """System trust, or `ca_file` alone; with the client certificate where one is configured. Always verifies.

    Raises `LinkUntrustedError` that names the file which cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise LinkUntrustedError(
            f"the CA file {settings.ca_file} cannot be used: {_ssl_words(error)}",
            hint="backend.ca_file must be a PEM file with the certificate of the authority that signed the back-end's",
        ) from error
    if settings.client_cert_file is not None:
        key_file = settings.client_key_file or settings.client_cert_file

        def refuse_to_ask() -> str:
            # OpenSSL would ask at the terminal, if there is one, and wait.
            raise LinkUntrustedError(
                f"the client key {key_file} has a pass phrase",
                hint="the agent needs one without: openssl pkey -in KEY -out NEW_KEY, readable for its user alone",
            )

        try:
            context.load_cert_chain(settings.client_cert_file, settings.client_key_file, password=refuse_to_ask)
        except (OSError, ssl.SSLError) as error:
            raise LinkUntrustedError(
                f"the client certificate {settings.client_cert_file} cannot be used: {_ssl_words(error)}",
                hint="backend.client_cert and client_key must be PEM files that belong together, and that "
                "the agent's user can read",
            ) from error
    return context


def _ssl_words(error: OSError) -> str:
    return str(getattr(error, "reason", None) or error.strerror or error)
