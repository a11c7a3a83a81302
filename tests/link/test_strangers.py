"""What may stand in the back-end's place or before it: proxies, portals, a server of another time, silent name servers.

Each is called by its name, with what to do about it.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import WSMsgType, web

from lpr.domain.errors import LinkBusyError
from lpr.link.base import Backoff, LinkPhase, LinkState
from lpr.link.names import NameResolver
from lpr.link.route import Route
from lpr.link.socketio_transport import transports
from tests.faults.node import NodeBackend
from tests.link.parts import QUICK, running, settings

HTML = "<html><title>Welcome to the hotel</title></html>"
IMPATIENT = replace(QUICK, connect_s=0.4)


@asynccontextmanager
async def serving(handler: Any) -> AsyncIterator[str]:
    """A web server that answers whatever it is asked with `handler`."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def said_of(url: str, **changes: Any) -> LinkState:
    """What the first failed attempt to connect to `url` is told as."""
    async with running(settings(url, **changes)) as site:
        await site.until(lambda: site.relay.state().last_error)
        return site.relay.state()


@pytest.mark.parametrize(
    ("status", "headers", "words", "remedy"),
    [
        (301, {"Location": "https://api.example.vn/socket.io/?EIO=4"}, "https://api.example.vn/socket.io/ (HTTP 301)",
         "backend.url: https://api.example.vn"),
        (302, {"Location": "http://10.0.0.1/login?from=x"}, "http://10.0.0.1/login (HTTP 302)", "login page"),
        (307, {"Location": "/api/socket.io/"}, "/api/socket.io/ (HTTP 307)", "another backend.path"),
        (302, {}, "HTTP 302", "login page"),
        (200, {"Content-Type": "text/html"}, "HTTP 200", "login page"),
        (400, {}, "HTTP 400", "proxy_http_version"),
        (400, {}, "HTTP 400", "this port wants https"),
        (401, {}, "HTTP 401", "backend.token"),
        (403, {}, "HTTP 403", "backend.token"),
        (407, {}, "HTTP 407", "a proxy of this network"),
        (426, {}, "HTTP 426", "proxy_http_version"),
        (429, {}, "HTTP 429", "limits how often"),
        (503, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, "HTTP 503", "not ready"),
    ],
)  # fmt: skip
async def test_an_answer_that_is_no_websocket_says_what_stands_there(
    status: int, headers: dict[str, str], words: str, remedy: str
) -> None:
    asked = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=status, headers=headers, text=HTML)

    async with serving(answer) as url:
        state = await said_of(url)
        assert set(asked) == {"/socket.io/"}, "redirections are not followed"
    assert words in (state.last_error or "")
    assert remedy in (state.remedy or "")
    assert "?" not in (state.last_error or "")


@pytest.mark.parametrize("status", [429, 503])
async def test_when_to_ask_again_is_understood(status: int) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Retry-After": " 120"})

    async with serving(answer) as url:
        with pytest.raises(LinkBusyError) as caught:
            await transports(settings(url))().connect({})
    assert caught.value.after_s == 120.0


async def test_a_socket_io_2_server_is_called_by_its_name() -> None:
    async def serve(request: web.Request) -> web.WebSocketResponse:
        # Word for word what socket.io 2.5.1 says.
        web_socket = web.WebSocketResponse()
        await web_socket.prepare(request)
        await web_socket.send_str('0{"sid":"joRbP5HIyc","upgrades":[],"pingInterval":25000,"pingTimeout":20000}')
        await web_socket.send_str("40")
        async for message in web_socket:
            if message.type is WSMsgType.TEXT and message.data.startswith("40/ai"):
                await web_socket.send_str("40/ai,")
        return web_socket

    async with serving(serve) as url:
        state = await said_of(url)
    assert state.phase is LinkPhase.REFUSED
    assert "speaks socket.io 2" in (state.last_error or "")
    assert "npm install socket.io@4" in (state.remedy or "")


@pytest.mark.node
async def test_a_middleware_that_is_too_slow_is_not_called_a_dead_server(node_backend: NodeBackend) -> None:
    await node_backend.settings(joinDelayMs=10_000)
    state = await said_of(node_backend.url, deadlines=IMPATIENT)
    assert "did not let us into the namespace /ai within 0.4 s" in (state.last_error or "")
    assert "next()" in (state.remedy or "")


async def test_a_port_that_swallows_what_is_sent_there_is_no_mute_server() -> None:
    # A full backlog: the kernel drops what knocks, as a firewall does.
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    knocking = [socket.socket() for _ in range(4)]
    for each in knocking:
        each.setblocking(False)
        each.connect_ex(listener.getsockname())
    try:
        state = await said_of(f"http://127.0.0.1:{listener.getsockname()[1]}", deadlines=IMPATIENT)
    finally:
        for each in (*knocking, listener):
            each.close()
    assert "does not answer within 0.4 s" in (state.last_error or "")
    assert "firewall" in (state.remedy or "")


class DeadNameServer:
    """`socket.getaddrinfo` where the name server is silent."""

    def __init__(self) -> None:
        self.asked = 0
        self.gives_up = threading.Event()

    def __call__(self, *_: object, **__: object) -> Any:
        self.asked += 1
        self.gives_up.wait(30.0)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


@pytest.fixture
def dead_name_server(monkeypatch: pytest.MonkeyPatch) -> Any:
    server = DeadNameServer()
    monkeypatch.setattr(socket, "getaddrinfo", server)
    yield server
    server.gives_up.set()


async def test_a_name_server_that_is_silent_is_told_from_a_silent_back_end(dead_name_server: DeadNameServer) -> None:
    state = await said_of("http://api.example.vn", deadlines=IMPATIENT)
    assert "the name api.example.vn was not resolved within 0.4 s" in (state.last_error or "")
    assert "resolvectl" in (state.remedy or "")


async def test_lookups_that_hang_take_no_thread_from_anybody(dead_name_server: DeadNameServer) -> None:
    quick = {"deadlines": replace(QUICK, connect_s=0.01), "backoff": Backoff(first_s=0.01, max_s=0.01)}
    async with running(settings("http://api.example.vn", **quick)) as site:
        await site.until(lambda: dead_name_server.asked > 40)
        async with asyncio.timeout(1.0):
            assert await asyncio.to_thread(lambda: "at once") == "at once"


@pytest.mark.node
async def test_a_server_on_this_machine_that_listens_at_one_of_its_two_addresses_is_found(
    node_backend: NodeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Node, told to listen on localhost, takes ::1 where the hosts file has it, and that alone."""

    def two_of_them(host: str, port: int, *, flags: int = 0, **_: object) -> Any:
        assert host == "localhost"
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in ("127.0.0.2", "127.0.0.1")]
        return found[:1] if flags & socket.AI_ADDRCONFIG else found

    monkeypatch.setattr(socket, "getaddrinfo", two_of_them)
    async with running(settings(f"http://localhost:{node_backend.port}")) as site:
        await site.until(lambda: site.relay.link_up)


async def test_a_name_that_can_be_none_is_an_error_like_others() -> None:
    with pytest.raises(ValueError, match="label"):
        await NameResolver(Route(), 1.0).resolve("a" * 70 + ".vn", 80)
