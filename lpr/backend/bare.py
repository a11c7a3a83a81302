"""A socket.io line with nothing behind it: what delivery is measured against.

`python -m lpr.backend.bare` is a server that acknowledges every event at once and stores nothing, in a process of its
own: it prints its address on the first line and ends when its standard input does, so that it never outlives whoever
started it. `BareLine` is python-socketio's own client with so many events in flight, and no queue.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
import socketio
from aiohttp import web

from lpr.domain.errors import BackendError

NAMESPACE: Final = "/ai"
MAX_MESSAGE_BYTES: Final = 1_000_000
"""What a socket.io server takes by default."""
SERVER_WITHIN_S: Final = 30.0
SERVER_ENDS_WITHIN_S: Final = 5.0


# The server -------------------------------------------------------------------------------------------------------


async def serve() -> None:
    """Acknowledge everything until standard input ends."""
    server = socketio.AsyncServer(
        async_mode="aiohttp", transports=["websocket"], max_http_buffer_size=MAX_MESSAGE_BYTES
    )
    server.on("connect", lambda *_: None, namespace=NAMESPACE)
    server.on("*", _acknowledge, namespace=NAMESPACE)
    app = web.Application()
    server.attach(app)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    sys.stdout.write(f"http://127.0.0.1:{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    # A file at its end counts as readable, which a pipe, a terminal and /dev/null all are then.
    await asyncio.to_thread(sys.stdin.buffer.read)
    await server.shutdown()
    await runner.cleanup()


def _acknowledge(name: str, sid: str, *args: Any) -> dict[str, Any]:
    message = args[0] if args and isinstance(args[0], Mapping) else {}
    return {"status": "ok", "eventId": message["eventId"]} if "eventId" in message else {}


@asynccontextmanager
async def bare_server() -> AsyncIterator[str]:
    """The server as a child process inside the block; its address. Raises `BackendError` where it does not start."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "lpr.backend.bare",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        # Ctrl-C is for the measurement, which ends the child in its turn.
        start_new_session=True,
    )
    try:
        yield await _address_of(child)
    finally:
        await _end(child)


async def _address_of(child: asyncio.subprocess.Process) -> str:
    if child.stdout is None:
        raise AssertionError("it was started with a pipe")
    try:
        async with asyncio.timeout(SERVER_WITHIN_S):
            line = await child.stdout.readline()
    except TimeoutError as error:
        raise BackendError(f"the bare server did not start within {SERVER_WITHIN_S:g} s") from error
    if not line:
        raise BackendError("the bare server did not start", hint="what it said stands above")
    return line.decode().strip()


async def _end(child: asyncio.subprocess.Process) -> None:
    if child.stdin is not None:
        child.stdin.close()
    try:
        async with asyncio.timeout(SERVER_ENDS_WITHIN_S):
            await child.wait()
    except TimeoutError:
        child.kill()
        await child.wait()


# The client -------------------------------------------------------------------------------------------------------


class BareLine:
    """A client of `url` that is connected inside the block."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session: aiohttp.ClientSession
        self._client: Any

    async def __aenter__(self) -> Self:
        """Connect. Raises `BackendError`."""
        # Our own, because the library's is not closed where it does not come to a connection.
        self._session = aiohttp.ClientSession()
        self._client = socketio.AsyncClient(reconnection=False, handle_sigint=False, http_session=self._session)
        try:
            await self._client.connect(self._url, transports=["websocket"], namespaces=[NAMESPACE])
        except (socketio.exceptions.SocketIOError, aiohttp.ClientError) as error:
            await self._session.close()
            raise BackendError(f"cannot connect to {self._url}: {error}") from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.disconnect()
        await self._session.close()

    async def emit_for(self, seconds: float, name: str, messages: Sequence[Mapping[str, Any]], *, window: int) -> int:
        """Emit `messages` in turn for so long, `window` of them in flight; how many were acknowledged."""
        until_s = time.perf_counter() + seconds
        lanes = [messages[lane::window] or messages for lane in range(window)]
        return sum(await asyncio.gather(*(self._emit_until(until_s, name, lane) for lane in lanes)))

    async def _emit_until(self, until_s: float, name: str, messages: Sequence[Mapping[str, Any]]) -> int:
        count, loop = 0, asyncio.get_running_loop()
        while time.perf_counter() < until_s:
            answered: asyncio.Future[None] = loop.create_future()
            await self._client.emit(
                name,
                messages[count % len(messages)],
                namespace=NAMESPACE,
                # Where the measurement was ended meanwhile, nobody waits any longer.
                callback=lambda *_, answered=answered: answered.done() or answered.set_result(None),
            )
            await answered
            count += 1
        return count


if __name__ == "__main__":
    asyncio.run(serve())
