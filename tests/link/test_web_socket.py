"""The WebSocket against aiohttp's own server: what leaves in one write, what is taken, what is passed on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from lpr.link import web_socket
from lpr.link.web_socket import WebSocket

SIZES = (0, 1, 125, 126, 65_535, 65_536, 100_000)


class Line:
    """A server that keeps what it gets and says what it is told to, and our end of the connection."""

    def __init__(self) -> None:
        self.got: asyncio.Queue[str | bytes] = asyncio.Queue()
        self.taken: list[str] = []
        self.ours: WebSocket
        self.theirs: web.WebSocketResponse

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        self.theirs = web.WebSocketResponse(autoping=False)
        await self.theirs.prepare(request)
        async for message in self.theirs:
            self.got.put_nowait(message.data)
        return self.theirs

    def take(self, text: str) -> bool:
        self.taken.append(text)
        return text.startswith("mine")


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    async with _line() as found:
        yield found


@asynccontextmanager
async def _line() -> AsyncIterator[Line]:
    made = Line()
    app = web.Application()
    app.router.add_get("/", made.serve)
    runner = web.AppRunner(app, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    response: Any = partial(WebSocket, take=made.take)
    try:
        async with aiohttp.ClientSession(ws_response_class=response) as session:
            made.ours = await session.ws_connect(f"http://127.0.0.1:{runner.addresses[0][1]}/", autoping=False)  # type: ignore[assignment]
            yield made
            made.ours.discard()
    finally:
        await runner.cleanup()


async def test_messages_that_belong_together_leave_in_one_write(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    messages: list[str | bytes] = ["4" + "Đ" * 1000]
    for size in SIZES:
        messages += [bytes(size), "x" * size]
    tcp, written = line.ours.tcp, []
    assert tcp is not None
    write = tcp.write
    monkeypatch.setattr(tcp, "write", lambda data: (written.append(len(data)), write(data)))
    await line.ours.write_together(messages)
    assert len(written) == 1
    assert [await asyncio.wait_for(line.got.get(), 5.0) for _ in messages] == messages


async def test_every_message_is_masked_with_another_key(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []
    assert line.ours.tcp is not None
    monkeypatch.setattr(line.ours.tcp, "write", written.append)
    await line.ours.write_together([bytes(100), bytes(100)])
    first, second = written[0][:106], written[0][106:]
    assert first[:2] == second[:2] == b"\x82\xe4"
    assert first[6:10] == first[2:6] != second[2:6] == second[6:10]


async def test_a_full_buffer_holds_nobody_up(line: Line) -> None:
    """The one who watches the connection also writes to it."""
    for _ in range(20):
        await asyncio.wait_for(line.ours.write_together([bytes(1 << 20)]), 1.0)
    assert line.ours.tcp is not None
    assert line.ours.tcp.get_write_buffer_size() > 0


async def test_nothing_is_written_to_a_connection_that_is_closing(line: Line) -> None:
    await line.ours.close()
    with pytest.raises(ConnectionResetError):
        await line.ours.write_together(["x"])


async def test_what_is_taken_is_received_by_nobody_else(line: Line) -> None:
    line.ours._passed_on_at = asyncio.get_running_loop().time()
    for text in ("mine 1", "mine 2", "other"):
        await line.theirs.send_str(text)
    await line.theirs.send_bytes(b"mine")
    assert [(await line.ours.receive()).data for _ in range(2)] == ["other", b"mine"]
    assert line.taken == ["mine 1", "mine 2", "other"]


async def test_one_in_a_while_is_passed_on_for_a_sign_of_life(line: Line) -> None:
    for turn in range(2):
        await line.theirs.send_str(f"mine {turn}")
        assert (await asyncio.wait_for(line.ours.receive(), 5.0)).data == f"mine {turn}"
        line.ours._passed_on_at -= web_socket.PASSED_ON_EVERY_S
    assert line.taken == []


async def test_pings_and_pongs_are_signs_of_life_and_nothing_else(line: Line) -> None:
    before = line.ours.heard_at
    await line.theirs.ping(b"are you there")
    await line.theirs.pong(b"I am")
    await line.theirs.send_str("other")
    assert (await line.ours.receive()).data == "other"
    assert line.ours.ponged
    assert line.ours.heard_at > before
    assert await asyncio.wait_for(line.got.get(), 5.0) == b"are you there"
