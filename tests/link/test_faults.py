"""The fault table against the real Node server: whatever breaks, everything arrives, once, and the break is noticed.

Deadlines are about a tenth of the real ones (`parts.QUICK`), so "within 15 s" reads "within 1.5 s" here, twice that on
a busy machine; one test at the foot runs with the real ones where `LPR_SLOW_TESTS` is set.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from lpr.link.base import DeliveryLimits, LinkDeadlines, LinkPhase
from tests.faults.node import NodeBackend
from tests.faults.proxy import TcpProxy
from tests.link.parts import QUICK, Site, picture, running, settings
from tests.outbox.helpers import status

pytestmark = pytest.mark.node

FOUND_WITHIN_S = 3.0
"""15 s over ten, and as much again for a machine that has other things to do; without a watch it is a minute."""
QUICK_LIMITS = DeliveryLimits(first_retry_s=0.05, max_retry_s=0.5, alone_pause_s=0.1)


@asynccontextmanager
async def joined(backend: NodeBackend, url: str | None = None, **changes: Any) -> AsyncIterator[Site]:
    """A relay that is connected, over the proxy where its address is given."""
    async with running(settings(url or backend.url, **{"limits": QUICK_LIMITS, **changes})) as site:
        await site.until(lambda: site.relay.link_up)
        yield site


async def stored_once(backend: NodeBackend, site: Site, ids: list[str], timeout_s: float = 15.0) -> None:
    """The queue runs empty, and the back-end holds exactly these, each once, in order of recording."""
    await site.until_empty(timeout_s)
    stored = [message["eventId"] for message in backend.stored()]
    assert sorted(stored) == sorted(ids)


async def notices(site: Site) -> float:
    """Seconds until the relay sees that the link is gone."""
    start = time.monotonic()
    await site.until(lambda: not site.relay.link_up)
    return time.monotonic() - start


async def test_a_server_killed_and_restarted_gets_everything_once(node_backend: NodeBackend) -> None:
    async with joined(node_backend) as site:
        ids = await site.record(30)
        await site.until(lambda: site.relay.state().acked >= 5)
        await node_backend.kill()
        ids += await site.record(20)
        await node_backend.start()
        restarted = time.monotonic()
        acked = site.relay.state().acked
        await site.until(lambda: site.relay.state().acked > acked)
        assert time.monotonic() - restarted < 5.0
        await stored_once(node_backend, site, ids)


async def test_a_frozen_server_is_found_while_sending(node_backend: NodeBackend) -> None:
    async with joined(node_backend) as site:
        node_backend.freeze()
        ids = await site.record(12)
        assert await notices(site) < FOUND_WITHIN_S
        node_backend.thaw()
        await stored_once(node_backend, site, ids)


async def test_a_frozen_server_is_found_while_idle(node_backend: NodeBackend) -> None:
    async with joined(node_backend) as site:
        ids = await site.record(3)
        await site.until_empty()
        await asyncio.sleep(QUICK.probe_s * 1.5)  # it has answered a ping
        node_backend.freeze()
        assert await notices(site) < FOUND_WITHIN_S
        assert "ping" in (site.relay.state().last_error or "")
        node_backend.thaw()
        ids += await site.record(1)
        await stored_once(node_backend, site, ids)


async def test_a_network_that_swallows_everything_is_found_while_sending(
    node_backend: NodeBackend, proxy: TcpProxy
) -> None:
    async with joined(node_backend, proxy.url) as site:
        proxy.blackhole()
        ids = await site.record(12, original=picture(800, 600, noise=True))
        assert await notices(site) < FOUND_WITHIN_S
        await asyncio.sleep(0.3)
        assert not site.relay.link_up
        proxy.resume()
        await stored_once(node_backend, site, ids)


async def test_a_silent_server_is_given_up_and_tried_again(node_backend: NodeBackend) -> None:
    async with joined(node_backend) as site:
        await node_backend.fault("silent")
        ids = await site.record(5)
        assert await notices(site) < FOUND_WITHIN_S
        await node_backend.fault(None)
        await stored_once(node_backend, site, ids)


async def test_slow_answers_are_waited_for(node_backend: NodeBackend) -> None:
    async with joined(node_backend) as site:
        await node_backend.fault("slow", ms=int(QUICK.ack_s * 0.6 * 1000))
        ids = await site.record(10)
        await stored_once(node_backend, site, ids)
        assert site.relay.state().connections == 1
        assert site.relay.state().unanswered == 0


async def test_lost_answers_are_asked_for_again_on_the_same_connection(node_backend: NodeBackend) -> None:
    async with joined(node_backend) as site:
        await node_backend.fault("loseAck", share=1, count=1)
        ids = await site.record(1)
        for _ in range(12):
            ids += await site.record(1)
            await asyncio.sleep(QUICK.ack_s / 8)
        await stored_once(node_backend, site, ids)
        assert site.relay.state().duplicates == 1
        assert site.relay.state().connections == 1


@pytest.mark.parametrize("kind", ["kick", "close", "terminate"])
async def test_every_way_of_being_thrown_out_ends_in_coming_back(node_backend: NodeBackend, kind: str) -> None:
    async with joined(node_backend) as site:
        await node_backend.fault(kind, count=2)
        ids = await site.record(20)
        await stored_once(node_backend, site, ids)
        assert site.relay.state().connections >= 2


async def test_an_idle_agent_that_is_kicked_comes_back(node_backend: NodeBackend) -> None:
    async with joined(node_backend) as site:
        await node_backend.kick()
        await site.until(lambda: site.relay.state().connections == 2)


@pytest.mark.parametrize(
    ("kind", "details"),
    [
        ("wrongEvent", {}),
        ("answer", {"args": ["yes"]}),
        ("answer", {"args": [42]}),
        ("answer", {"args": [{"status": "perhaps"}]}),
        ("answer", {"args": [None]}),
        ("answer", {"args": [[1, 2]]}),
        ("answer", {"args": [{"success": False}]}),
        ("answer", {"args": [{"error": "disk full"}]}),
        ("retry", {"afterMs": 30}),
        ("retry", {"afterMs": "soon"}),
    ],
)
async def test_answers_that_do_not_say_stored_settle_nothing(
    node_backend: NodeBackend, kind: str, details: dict[str, Any]
) -> None:
    async with joined(node_backend) as site:
        await node_backend.fault(kind, count=4, **details)
        ids = await site.record(6)
        await site.until(lambda: site.relay.state().put_off >= 4)
        await stored_once(node_backend, site, ids)
        assert site.relay.state().connections == 1


@pytest.mark.parametrize("args", [[], [True], [{"success": True}], [{"ok": True}]])
async def test_a_back_end_that_knows_no_contract_is_understood(node_backend: NodeBackend, args: list[Any]) -> None:
    async with joined(node_backend) as site:
        await node_backend.fault("storeAndAnswer", args=args)
        ids = await site.record(6)
        await stored_once(node_backend, site, ids)


async def test_with_strict_acks_short_answers_settle_nothing(node_backend: NodeBackend) -> None:
    async with joined(node_backend, strict_acks=True) as site:
        await node_backend.fault("answer", args=[True], count=3)
        ids = await site.record(3)
        await stored_once(node_backend, site, ids)
        assert site.relay.state().put_off == 3


async def test_ten_soft_failures_bury_one_event_and_stop_nobody(node_backend: NodeBackend) -> None:
    limits = replace(QUICK_LIMITS, first_retry_s=0.01, max_retry_s=0.02)
    async with joined(node_backend, limits=limits) as site:
        await node_backend.fault("answer", match="29A-999.99", args=[{"success": False}])
        ids = await site.record(2)
        [bad] = await site.record(1, plate="29A-999.99")
        ids += await site.record(2)
        await stored_once(node_backend, site, ids)
        await site.until(lambda: site.rejections)
        assert site.rejections[0].ticket.event_id == bad
        assert site.rejections[0].code == "NOT_TAKEN"
        assert (await site.outbox.status()).dead_letters == 1


async def test_a_back_end_that_failed_for_long_gets_what_it_would_not_take(node_backend: NodeBackend) -> None:
    limits = replace(QUICK_LIMITS, first_retry_s=0.01, max_retry_s=0.02, soft_failures=2)
    async with joined(node_backend, limits=limits) as site:
        await node_backend.fault("answer", args=[{"error": "database is locked"}])
        ids = await site.record(3)
        await site.until(lambda: len(site.rejections) == 3)
        await node_backend.fault(None)
        assert (await site.outbox.status()).dead_letters == 3
        ids += await site.record(1)
        await site.until(lambda: len(site.delivered) == 4)
        await stored_once(node_backend, site, ids)
        assert (await site.outbox.status()).dead_letters == 0
        assert [message["delivery"]["replayed"] for message in node_backend.stored()] == [False, True, True, True]


async def test_an_event_that_always_breaks_the_link_is_buried_while_the_others_pass(node_backend: NodeBackend) -> None:
    async with joined(node_backend) as site:
        await node_backend.fault("terminate", match="29A-999.99")
        ids = await site.record(2)
        [bad] = await site.record(1, plate="29A-999.99")
        for _ in range(400):
            if site.rejections:
                break
            ids += await site.record(1)
            await asyncio.sleep(0.02)
        assert [rejection.ticket.event_id for rejection in site.rejections] == [bad]
        assert site.rejections[0].code == "LINK_LOST"
        await stored_once(node_backend, site, ids)


async def test_a_limit_of_size_that_nobody_speaks_of_is_found_and_kept_to(node_backend: NodeBackend) -> None:
    faults: list[str] = []

    async def fault(what: str) -> None:
        faults.append(what)

    await node_backend.fault("terminate", minBytes=40_000)
    async with running(settings(node_backend.url, limits=QUICK_LIMITS), on_server_fault=fault) as site:
        await site.until(lambda: site.relay.link_up)
        heavy = await site.record(5, original=picture(480, 320, noise=True))
        ids = list(heavy)
        for _ in range(400):
            if not await site.pending():
                break
            ids += await site.record(1)
            await asyncio.sleep(0.02)
        await stored_once(node_backend, site, ids)
        assert not site.rejections
        connections = site.relay.state().connections
        # From now on nothing takes the connection down any more, and there is a picture again.
        later = await site.record(5, original=picture(480, 320, noise=True))
        await stored_once(node_backend, site, ids + later)
        assert site.relay.state().connections == connections
    stored = {message["eventId"]: message["data"] for message in node_backend.stored()}
    assert any(stored[name].get("originalImageOmitted") == "link_lost" for name in heavy)
    assert all(0 < stored[name]["originalImage"]["bytes"] < 30_000 for name in later)
    assert "break the connection" in faults[0]


async def test_a_limit_of_size_that_nobody_speaks_of_is_found_where_every_event_is_too_large(
    node_backend: NodeBackend,
) -> None:
    await node_backend.fault("terminate", minBytes=40_000)
    async with joined(node_backend) as site:
        ids = await site.record(3, original=picture(480, 320, noise=True))
        for _ in range(50):
            if len(site.delivered) >= 3:
                break
            # Scaling each takes its time: no more of them than show that new ones do not go before for ever.
            ids += await site.record(1, original=picture(480, 320, noise=True))
            await asyncio.sleep(0.4)
        await stored_once(node_backend, site, ids)
        assert not site.rejections
    sizes = [message["data"]["originalImage"] for message in node_backend.stored()]
    assert sum(not size for size in sizes) <= 4, "few go without their picture until the limit is found"
    assert max(size["bytes"] for size in sizes if size) > 12_000, "they are no smaller than they have to be"
    assert sizes[-1]["bytes"] > 12_000


async def test_a_limit_of_size_that_the_server_names_is_kept_to_at_once_though_every_event_is_too_large(
    node_backend: NodeBackend,
) -> None:
    await node_backend.settings(maxPayload=40_000)
    async with joined(node_backend) as site:
        ids = await site.record(12, original=picture(480, 320, noise=True))
        await stored_once(node_backend, site, ids, timeout_s=8.0)
        assert not site.rejections
        state = site.relay.state()
        assert 2 <= state.connections <= 5
        assert "larger than the back-end" in (state.last_error or "")
        assert "maxHttpBufferSize" in (state.remedy or "")
    assert all(0 < message["data"]["originalImage"]["bytes"] < 30_000 for message in node_backend.stored())


async def test_a_limit_of_size_that_the_server_tells_where_it_opens_costs_no_connection(
    node_backend: NodeBackend,
) -> None:
    await node_backend.settings(maxHttpBufferSize=40_000)
    async with joined(node_backend) as site:
        ids = await site.record(12, original=picture(480, 320, noise=True))
        await stored_once(node_backend, site, ids)
        assert site.relay.state().connections == 1
    assert all(12_000 < message["data"]["originalImage"]["bytes"] < 30_000 for message in node_backend.stored())


async def test_an_event_that_can_be_no_smaller_than_the_named_limit_is_buried_and_stops_nobody(
    node_backend: NodeBackend,
) -> None:
    async with joined(node_backend) as site:
        await node_backend.settings(maxPayload=1_200)
        await node_backend.kick()
        await site.record(1)
        for _ in range(200):
            if site.rejections:
                break
            await site.outbox.put_status(status(at=site.clock.now()))
            await asyncio.sleep(0.05)
        assert [rejection.code for rejection in site.rejections] == ["LINK_LOST"]


async def test_junk_from_the_server_ends_the_connection_and_nothing_else(node_backend: NodeBackend) -> None:
    async with joined(node_backend) as site:
        await node_backend.fault("junk", text="42/ai,{not json", count=1)
        ids = await site.record(6)
        await stored_once(node_backend, site, ids)


async def test_a_refused_token_is_tried_again_slowly_and_a_new_one_at_once(node_backend: NodeBackend) -> None:
    token = ["wrong"]
    async with running(settings(node_backend.url, token=lambda: token[0])) as site:
        ids = await site.record(2)
        await site.until(lambda: site.relay.state().phase is LinkPhase.REFUSED)
        state = site.relay.state()
        assert "invalid token" in (state.last_error or "")
        assert "token" in (state.remedy or "")
        assert "wrong" not in repr(state)
        await asyncio.sleep(0.2)
        assert len((await node_backend.state())["joined"]) == 1  # no storm
        token[0] = node_backend.token
        await stored_once(node_backend, site, ids)


async def test_a_back_end_that_refuses_everybody_while_it_starts_is_asked_again_soon(node_backend: NodeBackend) -> None:
    async with joined(node_backend) as site:
        await node_backend.settings(token="not yet")
        await node_backend.kick()
        await site.until(lambda: site.relay.state().failed_attempts >= 2)
        await node_backend.settings(token=node_backend.token)
        await site.until(lambda: site.relay.link_up, timeout_s=1.0)


async def test_a_namespace_that_is_not_there_is_said_in_words(node_backend: NodeBackend) -> None:
    async with running(settings(node_backend.url, namespace="/gates")) as site:
        await site.until(lambda: site.relay.state().phase is LinkPhase.REFUSED)
        state = site.relay.state()
    assert "no namespace /gates" in (state.last_error or "")
    assert "backend.namespace" in (state.remedy or "")


async def test_a_server_that_takes_its_time_to_let_us_in_is_waited_for(node_backend: NodeBackend) -> None:
    await node_backend.settings(joinDelayMs=int(QUICK.connect_s * 500))
    async with running(settings(node_backend.url)) as site:
        ids = await site.record(1)
        await stored_once(node_backend, site, ids)


async def test_a_frame_above_the_servers_limit_is_never_sent(node_backend: NodeBackend) -> None:
    async with joined(node_backend) as site:
        large = picture(1600, 900, noise=True)
        assert len(large.data) > 1_100_000  # 1.5 MB in base64
        ids = await site.record(3, original=large)
        await stored_once(node_backend, site, ids)
        assert site.relay.state().connections == 1
    sizes = [message["data"]["originalImage"]["bytes"] for message in node_backend.stored()]
    assert all(300_000 < size < 675_000 for size in sizes)


async def test_resets_every_moment_lose_nothing(node_backend: NodeBackend, proxy: TcpProxy) -> None:
    async with joined(node_backend, proxy.url) as site:
        ids = []
        for _ in range(8):
            ids += await site.record(15)
            await site.until(lambda: site.relay.link_up)
            await asyncio.sleep(0.05)
            proxy.cut()
            await site.until(lambda: not site.relay.link_up)
        await stored_once(node_backend, site, ids)
        assert site.relay.state().connections == 9


async def test_a_tenth_of_the_answers_lost_loses_nothing(node_backend: NodeBackend) -> None:
    async with joined(node_backend) as site:
        await node_backend.fault("loseAck", share=0.1)
        ids = await site.record(150)
        await asyncio.sleep(0.5)
        await node_backend.fault(None)
        await stored_once(node_backend, site, ids)


async def test_a_slow_long_line_is_used_and_not_given_up(node_backend: NodeBackend, proxy: TcpProxy) -> None:
    proxy.up_rate, proxy.delay_s = 120_000.0, 0.02  # 64 kbit/s and 300 ms, times 15
    async with joined(node_backend, proxy.url) as site:
        ids = await site.record(8, original=picture(200, 150, noise=True))
        await stored_once(node_backend, site, ids)
        assert site.relay.state().connections == 1
        assert site.relay.state().unanswered == 0


async def test_answers_that_are_swallowed_end_the_connection(node_backend: NodeBackend, proxy: TcpProxy) -> None:
    async with joined(node_backend, proxy.url) as site:
        proxy.drop_answers = True
        ids = await site.record(5)
        assert await notices(site) < FOUND_WITHIN_S
        proxy.drop_answers = False
        await stored_once(node_backend, site, ids)


async def test_a_back_end_that_forgot_everything_is_sent_only_what_was_not_acknowledged(
    node_backend: NodeBackend,
) -> None:
    async with joined(node_backend) as site:
        ids = await site.record(5)
        await site.until_empty()
        await node_backend.forget()
        await node_backend.kick()
        ids += await site.record(3)
        await stored_once(node_backend, site, ids)


async def test_a_stop_waits_for_what_is_in_flight(node_backend: NodeBackend) -> None:
    async with running(settings(node_backend.url), grace_s=5.0) as site:
        await site.until(lambda: site.relay.link_up)
        await node_backend.fault("slow", ms=200)
        await site.record(4)
    assert await site.pending() == 0
    assert len(node_backend.stored()) == 4
    assert (await node_backend.state())["agents"] == []


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]


@asynccontextmanager
async def odd_server(serve: Serve) -> AsyncIterator[str]:
    """Something at a port that is no socket.io server."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def accept_and_stay_mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(-1)
    writer.close()


async def close_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(10)
    writer.close()


def answer_http(status: str, body: str = "") -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode())
        writer.close()

    return serve


async def talk_garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(10)
    writer.write(b"\x00\xffSSH-2.0-something\r\n\r\n" * 10)
    writer.close()


@pytest.mark.parametrize(
    ("serve", "words"),
    [
        (accept_and_stay_mute, "gave no answer within"),
        (close_at_once, "closed the connection during the handshake"),
        (answer_http("404 Not Found"), "HTTP 404"),
        (answer_http("502 Bad Gateway"), "HTTP 502"),
        (answer_http("200 OK", "hello"), "HTTP 200"),
        (talk_garbage, "cannot be reached"),
    ],
    ids=["mute", "closes", "404", "502", "no-websocket", "garbage"],
)
async def test_what_is_no_back_end_is_said_in_words_and_tried_again(serve: Serve, words: str) -> None:
    quick = replace(QUICK, connect_s=0.3)
    async with odd_server(serve) as url, running(settings(url, deadlines=quick)) as site:
        await site.until(lambda: site.relay.state().failed_attempts >= 3)
        state = site.relay.state()
        assert state.phase in (LinkPhase.WAITING, LinkPhase.CONNECTING)
    assert words in (state.last_error or "")
    assert state.remedy


async def test_a_port_where_nobody_listens_is_said_in_words() -> None:
    async with running(settings("http://127.0.0.1:9")) as site:
        await site.until(lambda: site.relay.state().failed_attempts >= 2)
        assert "nobody listens" in (site.relay.state().last_error or "")


async def test_an_http_401_is_a_refusal() -> None:
    async with odd_server(answer_http("401 Unauthorized")) as url, running(settings(url)) as site:
        await site.until(lambda: site.relay.state().phase is LinkPhase.REFUSED)


@pytest.mark.skipif(not os.environ.get("LPR_SLOW_TESTS"), reason="takes half a minute: set LPR_SLOW_TESTS=1")
@pytest.mark.parametrize("sending", [True, False])
async def test_with_the_real_deadlines_a_frozen_server_is_found_within_fifteen_seconds(
    node_backend: NodeBackend, sending: bool
) -> None:
    async with joined(node_backend, deadlines=LinkDeadlines()) as site:
        await asyncio.sleep(6.0)
        node_backend.freeze()
        start = time.monotonic()
        if sending:
            await site.record(12)
        await site.until(lambda: not site.relay.link_up, timeout_s=20)
        assert time.monotonic() - start < 15.0
        node_backend.thaw()
