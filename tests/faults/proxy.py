"""A TCP proxy between an agent and a back-end that breaks in every way that a network does.

    hold()        bytes stop in both directions, the connections stay open; resume() lets them go on
    blackhole()   the same for connections that stand, and new ones are accepted and stay mute
    mute()        what stands is reset, new ones are accepted and stay mute
    cut()         every connection is reset; refuse() also turns new ones away
    answer(text)  what stands is reset, whoever comes is answered so and turned away
    delay_s       each chunk comes so much later
    up_rate       bytes a second towards the back-end, with small buffers, so that the sender feels it
    drop_answers  what the back-end sends is swallowed
    narrow        full segments are swallowed, in both directions and without a word: what comes in pieces of more than
                  1300 bytes, on connections whose ends agreed on segments larger than that (an MTU black hole)

Everything can be changed while connections stand.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from types import TracebackType
from typing import Self

_CHUNK = 4096
_SMALL_BUFFER = 8192
_NARROW = 1300


class TcpProxy:
    """`async with TcpProxy(port) as proxy:` listens on `proxy.port` and connects on to `port` on this machine."""

    def __init__(self, target_port: int, host: str = "127.0.0.1", port: int = 0) -> None:
        self.target_port = target_port
        self._at = (host, port)
        self.port = 0
        self.delay_s = 0.0
        self.up_rate: float | None = None
        self.drop_answers = self.narrow = False
        self.accepted = 0
        self._mute = self._refusing = False
        self._answer: bytes | None = None
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Where agents find the back-end behind it."""
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        family = socket.AF_INET6 if ":" in self._at[0] else socket.AF_INET
        listener = socket.create_server(self._at, family=family)
        # Inherited by accepted sockets; must be set before the window is negotiated.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFER)
        self._server = await asyncio.start_server(self._serve, sock=listener, limit=_CHUNK)
        self.port = listener.getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def hold(self) -> None:
        """Let nothing through; nobody is told."""
        self._flowing.clear()

    def resume(self) -> None:
        """End `hold`, `blackhole`, `mute`, `refuse` and `answer`. Connections that were mute from the start stay so."""
        self._mute = self._refusing = False
        self._answer = None
        self._flowing.set()

    def blackhole(self) -> None:
        """Let nothing through, and accept new connections without a word."""
        self._mute = True
        self.hold()

    def mute(self) -> None:
        """Reset what stands, and accept new connections without a word."""
        self._mute = True
        self.cut()

    def answer(self, text: str) -> None:
        """Reset what stands, and send whoever comes away with these words."""
        self._answer = text.encode()
        self.cut()

    def refuse(self) -> None:
        """Reset what stands and whatever comes."""
        self._refusing = True
        self.cut()

    def cut(self) -> None:
        """Reset every connection."""
        for writer in list(self._writers):
            _reset(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            if self._refusing:
                return
            if self._mute:
                await asyncio.Event().wait()
            if self._answer is not None:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(self._answer)
                await writer.drain()
                await reader.read()  # they hang up
                return
            await self._join(reader, writer)
        except (OSError, EOFError, asyncio.CancelledError):
            pass
        finally:
            _reset(writer)
            self._writers.discard(writer)
            self._tasks.discard(task)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        their_reader, their_writer = await asyncio.open_connection("127.0.0.1", self.target_port, limit=_CHUNK)
        self._writers.add(their_writer)
        segment = writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
        widest = _NARROW if self.narrow and segment > _NARROW else _CHUNK
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._pump(reader, their_writer, up=True, widest=widest))
                tasks.create_task(self._pump(their_reader, writer, up=False, widest=widest))
        except* (OSError, EOFError):
            pass
        finally:
            _reset(their_writer)
            self._writers.discard(their_writer)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, up: bool, widest: int) -> None:
        """Carry bytes one way; ends, and with it the connection, at the end of the stream. Behind a piece of more than
        `widest` bytes nothing comes through any more.
        """
        loop = asyncio.get_running_loop()
        on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def deliver() -> None:
            while (arrival := await on_the_way.get())[1]:
                await asyncio.sleep(max(0.0, arrival[0] - loop.time()))
                await self._flowing.wait()
                if up or not self.drop_answers:
                    writer.write(arrival[1])
                    await writer.drain()
            raise EOFError

        deliverer = asyncio.create_task(deliver())
        try:
            chunk = b"more"
            while chunk:
                chunk = await reader.read(_CHUNK)
                await self._flowing.wait()
                if len(chunk) > widest:
                    await asyncio.Event().wait()
                on_the_way.put_nowait((loop.time() + self.delay_s, chunk))
                if up and self.up_rate is not None:
                    await asyncio.sleep(len(chunk) / self.up_rate)
            await deliverer
        finally:
            deliverer.cancel()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with a reset, so that the other side notices at once and no port lingers."""
    sock = writer.get_extra_info("socket")
    if sock is not None:
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
