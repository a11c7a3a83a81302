"""Ways to the back-end that are sick: names that nobody tells, addresses that lead nowhere, lines that carry little."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from lpr.link.names import NameResolver
from lpr.link.route import FOUND_FOR_S, SMALL_FOR_S, SMALL_SEGMENT_BYTES, Route
from tests.faults.node import NodeBackend
from tests.faults.proxy import TcpProxy
from tests.link.parts import QUICK, picture, running, settings

NAME = "api.example.vn"
IMPATIENT = replace(QUICK, connect_s=0.5)
needs_ipv6 = pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")


class NameServer:
    """`socket.getaddrinfo` of a machine that knows one name."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.works = True
        self.takes_s = 0.0
        self.asked = 0

    def __call__(self, host: str, port: int, *_: object, **__: object) -> list[Any]:
        self.asked += 1
        time.sleep(self.takes_s)
        if host != NAME or not self.works:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0))
            if ":" in address
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in self.addresses
        ]


@pytest.fixture
def name_server(monkeypatch: pytest.MonkeyPatch) -> Callable[..., NameServer]:
    """Put a name server that tells these addresses in the place of the machine's."""

    def tells(*addresses: str) -> NameServer:
        server = NameServer(*addresses)
        monkeypatch.setattr(socket, "getaddrinfo", server)
        return server

    return tells


@asynccontextmanager
async def mute_at(host: str, port: int) -> AsyncIterator[None]:
    """Something that accepts whoever comes, and says nothing."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family):
        yield


@pytest.mark.node
async def test_a_name_server_that_is_away_does_not_keep_the_agent_from_a_back_end_that_is_there(
    node_backend: NodeBackend, name_server: Callable[..., NameServer]
) -> None:
    names = name_server("127.0.0.1")
    async with running(settings(f"http://{NAME}:{node_backend.port}")) as site:
        await site.until(lambda: site.relay.link_up)
        names.works = False
        await node_backend.kick()
        await site.until(lambda: site.relay.state().connections == 2)
        await site.record(3)
        await site.until_empty()


@pytest.mark.node
async def test_a_name_server_that_takes_longer_than_connecting_may_is_heard_all_the_same(
    node_backend: NodeBackend, name_server: Callable[..., NameServer]
) -> None:
    """The first and the second name server of three are dead: ten seconds, every time."""
    names = name_server("127.0.0.1")
    names.takes_s = 2 * IMPATIENT.connect_s
    async with running(settings(f"http://{NAME}:{node_backend.port}", deadlines=IMPATIENT)) as site:
        await site.until(lambda: site.relay.link_up)


@pytest.mark.node
async def test_an_address_that_is_told_anew_is_where_the_next_connection_goes(
    node_backend: NodeBackend, name_server: Callable[..., NameServer]
) -> None:
    names = name_server("127.0.0.1")
    async with running(settings(f"http://{NAME}:{node_backend.port}")) as site:
        await site.until(lambda: site.relay.link_up)
        async with TcpProxy(node_backend.port, "127.0.0.3", node_backend.port) as moved:
            names.addresses = ("127.0.0.3",)
            assert site.relay.link_up, "what stands is left alone"
            await node_backend.kick()
            await site.until(lambda: site.relay.state().connections == 2)
            assert moved.accepted == 1
            await site.record(3)
            await site.until_empty()


@pytest.mark.node
@pytest.mark.parametrize("sick", ["127.0.0.2", pytest.param("::1", marks=needs_ipv6)])
async def test_of_two_addresses_the_one_behind_which_nobody_answers_is_not_tried_for_ever(
    node_backend: NodeBackend, name_server: Callable[..., NameServer], sick: str
) -> None:
    """It lets everybody in: an address of IPv6 whose line carries no full packet, a machine that hangs."""
    name_server(sick, "127.0.0.1")
    async with (
        mute_at(sick, node_backend.port),
        running(settings(f"http://{NAME}:{node_backend.port}", deadlines=IMPATIENT)) as site,
    ):
        await site.record(3)
        await site.until_empty()
        await node_backend.kick()
        failed = site.relay.state().failed_attempts
        await site.until(lambda: site.relay.state().connections == 2)
        assert site.relay.state().failed_attempts <= failed, "what was good comes first"


@pytest.mark.node
async def test_of_two_back_ends_the_one_that_takes_nothing_is_not_tried_for_ever(
    node_backend: NodeBackend, name_server: Callable[..., NameServer]
) -> None:
    name_server("127.0.0.2", "127.0.0.1")
    async with (
        TcpProxy(node_backend.port, "127.0.0.2", node_backend.port) as sick,
        running(settings(f"http://{NAME}:{node_backend.port}")) as site,
    ):
        await site.until(lambda: site.relay.link_up)
        sick.hold()
        await site.record(3)
        await site.until_empty()
        assert site.relay.state().connections == 2


@needs_ipv6
@pytest.mark.node
async def test_a_back_end_at_an_address_of_ipv6_alone_is_found(
    node_backend: NodeBackend, name_server: Callable[..., NameServer]
) -> None:
    async with TcpProxy(node_backend.port, "::1") as proxy:
        name_server("::1")
        for host in ("[::1]", NAME):
            async with running(settings(f"http://{host}:{proxy.port}")) as site:
                await site.record(2)
                await site.until_empty()


@pytest.mark.node
async def test_a_line_that_swallows_full_packets_is_given_small_ones(
    node_backend: NodeBackend, proxy: TcpProxy
) -> None:
    proxy.narrow = True
    async with running(settings(proxy.url)) as site:
        await site.until(lambda: site.relay.link_up)
        await site.record(3, original=picture(480, 320, noise=True))
        await site.until_empty()
        assert site.relay.state().connections == 2
    assert all(message["data"]["originalImage"]["bytes"] > 30_000 for message in node_backend.stored())


def test_what_was_found_is_used_for_a_day_and_small_packets_for_an_hour() -> None:
    now = [0.0]
    route = Route(now=lambda: now[0])
    assert route.remembered(NAME, 80) == ()
    assert route.segment_bytes is None
    route.found(NAME, 80, ["a", "b", "c"])
    route.stuck()
    assert route.segment_bytes == SMALL_SEGMENT_BYTES
    now[0] = SMALL_FOR_S
    assert route.segment_bytes is None
    assert route.remembered(NAME, 80) == ["a", "b", "c"]
    now[0] = FOUND_FOR_S
    assert route.remembered(NAME, 80) == ()


def test_each_address_has_its_turn() -> None:
    route = Route()
    first = []
    for _ in range(4):
        first.append(route.in_turn(["a", "b", "c"])[0])
        route.failed()
    assert first == ["a", "b", "c", "a"]
    assert route.in_turn(["a", "b", "c"]) == ["b", "c", "a"]
    assert route.in_turn([]) == []


async def test_a_name_that_was_never_found_is_an_error(name_server: Callable[..., NameServer]) -> None:
    name_server("127.0.0.1").works = False
    with pytest.raises(socket.gaierror):
        await NameResolver(Route(), 1.0).resolve(NAME, 80)
