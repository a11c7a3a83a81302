"""The transport alone, against the Node server: what it leaves behind, what it tells, what it can be asked."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
import socketio
from aiohttp import web
from engineio import base_client

from lpr import wire
from lpr.domain.errors import LinkError, LinkRefusedError
from lpr.link.base import LinkSettings
from lpr.link.route import Route
from lpr.link.socketio_transport import SocketIoTransport
from tests.faults.node import TOKEN, NodeBackend
from tests.faults.proxy import TcpProxy
from tests.link.parts import QUICK, settings

pytestmark = pytest.mark.node


class Open:
    """A transport with its ears: the reasons it gave, the commands that came."""

    def __init__(self, link: LinkSettings) -> None:
        self.transport = SocketIoTransport(link, Route())
        self.reasons: list[str] = []
        self.commands: list[tuple[str, Sequence[object]]] = []
        self.transport.on_disconnect(self.reasons.append)
        self.transport.on_command(self._obey)

    async def _obey(self, name: str, args: Sequence[object]) -> Mapping[str, Any]:
        self.commands.append((name, args))
        return {"status": "ok", "message": "Đã mở"}

    async def connect(self, token: str = TOKEN) -> None:
        auth = wire.auth(token=token, agent_id="a", boot_id="b", epoch=1, version="0")
        await self.transport.connect(auth)

    async def ask(self, name: str, message: Mapping[str, Any]) -> Sequence[object]:
        answer: asyncio.Future[Sequence[object]] = asyncio.get_running_loop().create_future()
        await self.transport.emit(name, message, answer.set_result)
        return await asyncio.wait_for(answer, 5.0)

    async def until_lost(self) -> str:
        async with asyncio.timeout(5.0):
            while not self.reasons:  # noqa: ASYNC110 - looked at from outside
                await asyncio.sleep(0.005)
        return self.reasons[0]


def event(name: str = "e-1") -> dict[str, Any]:
    return {"eventId": name, "type": "error", "data": {"details": {}, "message": "Cổng chính"}, "delivery": {}}


async def test_an_answer_comes_back_with_its_arguments(node_backend: NodeBackend) -> None:
    link = Open(settings(node_backend.url))
    await link.connect()
    assert await link.ask("error", event()) == ({"status": "ok", "eventId": "e-1"},)
    await link.transport.close()
    assert link.reasons == []


async def test_every_event_of_the_back_end_reaches_the_handler_and_its_return_is_the_answer(
    node_backend: NodeBackend,
) -> None:
    link = Open(settings(node_backend.url))
    await link.connect()
    assert await node_backend.command("anything at all", 1, "hai", None) == {"status": "ok", "message": "Đã mở"}
    assert link.commands == [("anything at all", (1, "hai", None))]
    await link.transport.close()


async def test_the_end_is_told_once_with_its_reason(node_backend: NodeBackend) -> None:
    link = Open(settings(node_backend.url))
    await link.connect()
    await node_backend.kick()
    assert "disconnected us" in await link.until_lost()
    link.transport.abort("again")
    await link.transport.close()
    assert len(link.reasons) == 1


async def test_nothing_can_be_sent_over_a_connection_that_has_ended(node_backend: NodeBackend) -> None:
    link = Open(settings(node_backend.url))
    await link.connect()
    link.transport.abort("for a test")
    assert link.reasons == ["for a test"]
    with pytest.raises(LinkError, match="is gone"):
        await link.transport.emit("error", event(), lambda args: None)
    await link.transport.close()
    await link.transport.close()


async def test_the_kernel_tells_how_far_the_bytes_have_come(node_backend: NodeBackend, proxy: TcpProxy) -> None:
    link = Open(settings(proxy.url))
    await link.connect()
    before = link.transport.progress()
    assert before is not None
    proxy.hold()
    await link.transport.emit("error", {**event(), "bulk": "x" * 4_000_000}, lambda args: None)
    await asyncio.sleep(0.2)
    stuck = link.transport.progress()
    assert stuck is not None
    assert stuck.pending_bytes > 0
    assert stuck.acked_bytes >= before.acked_bytes
    link.transport.abort("enough")
    await link.transport.close()
    assert link.transport.progress() is None


async def test_a_connection_that_carries_nothing_but_is_alive_is_left_alone(node_backend: NodeBackend) -> None:
    link = Open(settings(node_backend.url))
    await link.connect()
    await asyncio.sleep(3 * (QUICK.probe_s + QUICK.probe_answer_s) / 2)
    assert link.reasons == []
    await link.transport.close()


async def test_many_connections_however_they_end_leave_nothing_behind(
    node_backend: NodeBackend, proxy: TcpProxy
) -> None:
    async def live(turn: int) -> None:
        link = Open(settings(node_backend.url if turn % 6 else proxy.url))
        if turn % 6 == 1:
            with pytest.raises(LinkRefusedError):
                await link.connect(token="wrong")
            return
        if turn % 6 == 2:
            connecting = asyncio.create_task(link.connect())
            await asyncio.sleep(0.001 * (turn % 7))
            connecting.cancel()
            await asyncio.gather(connecting, return_exceptions=True)
            await link.transport.close()
            return
        await link.connect()
        match turn % 6:
            case 0:
                proxy.cut()
                await link.until_lost()
            case 3:
                await node_backend.kick()
                await link.until_lost()
            case 4:
                link.transport.abort("for a test")
            case _:
                await link.ask("error", event(f"e-{turn}"))
        await link.transport.close()

    for turn in range(12):  # what is made once is made here
        await live(turn)
    await asyncio.sleep(0.05)
    files, tasks = len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())
    for turn in range(60):
        await live(turn)
    await asyncio.sleep(0.05)
    assert len(asyncio.all_tasks()) <= tasks
    assert len(os.listdir("/proc/self/fd")) <= files + 1
    assert base_client.connected_clients == []


async def test_connecting_is_bounded_as_a_whole(node_backend: NodeBackend, proxy: TcpProxy) -> None:
    proxy.blackhole()
    link = Open(settings(proxy.url, deadlines=replace(QUICK, connect_s=0.2)))
    with pytest.raises(LinkError, match=r"no answer within 0\.2 s"):
        await asyncio.wait_for(link.connect(), 2.0)


async def test_an_answer_with_an_attachment_is_heard_too() -> None:
    """It takes the library's way, which the others pass by."""
    server = socketio.AsyncServer(async_mode="aiohttp", transports=["websocket"])
    server.on("connect", lambda *_: None, namespace="/ai")
    server.on("*", lambda name, sid, message: {"status": "ok", "seen": message["bulk"]}, namespace="/ai")
    app = web.Application()
    server.attach(app)
    runner = web.AppRunner(app, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    link = Open(settings(f"http://127.0.0.1:{runner.addresses[0][1]}"))
    await link.connect()
    for bulk in ("text", b"bytes", [b"", b"more"], "text"):
        assert await link.ask("error", {**event(), "bulk": bulk}) == ({"status": "ok", "seen": bulk},)
    await link.transport.close()
    await server.shutdown()
    await runner.cleanup()


async def test_attachments_of_events_sent_at_once_do_not_mix(node_backend: NodeBackend) -> None:
    """Together with answers to commands, which take the library's way."""
    link = Open(settings(node_backend.url))
    await link.connect()
    emitted = [link.ask("error", {**event(f"e-{n}"), "bulk": [bytes([n]) * 70_000] * 3}) for n in range(8)]
    commands = [node_backend.command("get_status", {"commandId": f"c-{n}"}) for n in range(8)]
    replies = await asyncio.gather(*emitted, *commands)
    assert [reply[0]["eventId"] for reply in replies[:8]] == [f"e-{n}" for n in range(8)]
    assert {reply["status"] for reply in replies[8:]} == {"ok"}
    await link.transport.close()
