"""aiohttp's WebSocket, with what a link needs besides: signs of life, several messages in one write, and a hard end."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp.http import WebSocketWriter

if TYPE_CHECKING:
    from aiohttp import WSMessage

PASSED_ON_EVERY_S = 5.0
"""A text that was taken is passed on all the same after so long: whoever receives takes silence for the end."""


class WebSocket(aiohttp.ClientWebSocketResponse):
    """A WebSocket that tells when it last heard anything; pongs do not reach engineio, which knows none."""

    def __init__(self, *args: Any, take: Callable[[str], bool], **options: Any) -> None:
        """`take` is given every text and says whether it was for it; what it takes is received by nobody else."""
        super().__init__(*args, **options)
        self.heard_at = 0.0
        self.ponged = False
        self.too_large = False
        self.opening: str | None = None
        """The first text: how the other side opens."""
        self._take = take
        self._passed_on_at = 0.0
        self._frames = _Frames()

    async def receive(self, timeout: float | None = None) -> WSMessage:
        while True:
            message = await super().receive(timeout)
            self.heard_at = asyncio.get_running_loop().time()
            if message.type is aiohttp.WSMsgType.PING:
                await self.pong(message.data)
            elif message.type is aiohttp.WSMsgType.PONG:
                self.ponged = True
            elif self._is_due() or not (message.type is aiohttp.WSMsgType.TEXT and self._take(message.data)):
                if self.opening is None and message.type is aiohttp.WSMsgType.TEXT:
                    self.opening = message.data
                self._passed_on_at = self.heard_at
                fault = message.data
                if isinstance(fault, aiohttp.WebSocketError):
                    self.too_large = fault.code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG
                return message

    def _is_due(self) -> bool:
        return self.heard_at - self._passed_on_at >= PASSED_ON_EVERY_S

    async def write_together(self, messages: Sequence[str | bytes]) -> None:
        """Write messages in one go, with nothing in between. Does not wait for room: what is in flight is bounded
        elsewhere, and whoever watches a connection must not hang on it.

        Raises `ConnectionResetError` where it is going or gone.
        """
        tcp = self.tcp
        if self.closed or tcp is None or tcp.is_closing():
            raise ConnectionResetError("it is being closed")
        tcp.write(await self._frames.of(messages))

    @property
    def tcp(self) -> asyncio.Transport | None:
        """The transport under the WebSocket, TLS included; None when it is gone."""
        connection = self._response.connection
        return connection.transport if connection is not None else None

    def discard(self) -> None:
        """Cut the connection and let go of it, whatever state it is in."""
        if (tcp := self.tcp) is not None:
            tcp.abort()
        self._response.close()


class _Frames:
    """A client's frames without a connection: the library makes and masks them, and they are gathered here.

    An event with two attachments is three messages. Written one by one, each is a system call, a moment in which other
    threads take the interpreter's lock, and a time that the back-end is woken for a part of something.
    """

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        ours: Any = self
        # After so many bytes it would wait for room in the buffer of a protocol. There is none here.
        self._writer = WebSocketWriter(ours, ours, use_mask=True, limit=sys.maxsize)

    async def of(self, messages: Sequence[str | bytes]) -> bytes:
        """Texts and binary messages in this order, as they travel. Waits for nothing."""
        for message in messages:
            if isinstance(message, str):
                await self._writer.send_frame(message.encode(), aiohttp.WSMsgType.TEXT)
            else:
                await self._writer.send_frame(message, aiohttp.WSMsgType.BINARY)
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)

    # What the library asks of a transport

    def write(self, data: bytes) -> None:
        self._pieces.append(data)

    def is_closing(self) -> bool:
        return False
