"""Back-ends whose author had ideas of his own about answering: what the gate does, and what the installer reads."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from structlog.testing import capture_logs

from lpr.link.base import Progress
from lpr.testing.clock import FakeClock
from lpr.testing.transport import FakeBackend
from tests.faults.node import NodeBackend
from tests.link.parts import QUICK, Site, camera_lost, running, settings
from tests.link.test_faults import QUICK_LIMITS
from tests.outbox.helpers import status

OTHERS = ["processing_status", "error"]


async def tell(site: Site) -> None:
    """A status and an error, as a gate has them all the time."""
    await site.outbox.put_status(status(at=site.clock.now()))
    await site.outbox.record(camera_lost(), link_up=site.relay.link_up)


@pytest.mark.node
async def test_a_back_end_that_acknowledges_detections_alone_gets_each_at_once(node_backend: NodeBackend) -> None:
    async with running(settings(node_backend.url, limits=QUICK_LIMITS)) as site:
        await node_backend.fault("silent", types=OTHERS)
        await tell(site)
        await site.until(lambda: all(name in (site.relay.state().complaint or "") for name in OTHERS))
        connections = site.relay.state().connections
        assert connections <= 1 + len(OTHERS), "a new connection is tried once for each type"
        ids: list[str] = []
        for number in range(1, 16):
            await tell(site)
            ids += await site.record(1)
            await site.until(lambda amount=number: len(site.delivered) == amount)  # type: ignore[misc]
            await asyncio.sleep(0.1)
        # QUICK.ack_s is 600 ms: none waited for an answer that did not come.
        assert max(done.age_ms for done in site.delivered) < 400
        assert not any(done.replayed for done in site.delivered)
        assert site.relay.state().connections == connections
        complaint = site.relay.state().complaint or ""
        await node_backend.fault(None)
        await site.until_empty()
        assert site.relay.state().complaint is None
    assert "does not answer error in time" in complaint
    assert "does not answer processing_status in time" in complaint
    stored = [message["eventId"] for message in node_backend.stored()]
    assert len(stored) == len(set(stored))
    assert set(ids) <= set(stored)


@pytest.mark.node
async def test_answers_that_come_later_than_they_are_waited_for_settle(node_backend: NodeBackend) -> None:
    async with running(settings(node_backend.url, limits=QUICK_LIMITS)) as site:
        await site.until(lambda: site.relay.link_up)
        await node_backend.fault("slow", ms=int(QUICK.dead_s * 1500))
        ids = await site.record(4)
        await site.until_empty()
        state = site.relay.state()
    assert state.connections == 2
    assert state.acked == len(ids)
    assert {done.ticket.event_id for done in site.delivered} == set(ids)
    assert sorted(message["eventId"] for message in node_backend.stored()) == sorted(ids)


@pytest.mark.node
async def test_a_dead_server_is_found_though_the_newest_event_was_never_answered(node_backend: NodeBackend) -> None:
    async with running(settings(node_backend.url, limits=QUICK_LIMITS)) as site:
        await node_backend.fault("silent", types=OTHERS)
        await tell(site)
        await site.until(lambda: site.relay.state().complaint)
        await asyncio.sleep(QUICK.probe_s)
        node_backend.freeze()
        start = time.monotonic()
        await site.until(lambda: not site.relay.link_up)
        assert time.monotonic() - start < 4.0
        node_backend.thaw()


@pytest.mark.node
@pytest.mark.parametrize("args", [[None, {"status": "ok"}], [None, {"success": True}], [None, True]])
async def test_an_answer_behind_the_error_that_there_was_none_is_read(
    node_backend: NodeBackend, args: list[Any]
) -> None:
    async with running(settings(node_backend.url)) as site:
        await site.until(lambda: site.relay.link_up)
        await node_backend.fault("storeAndAnswer", args=args)
        ids = await site.record(3)
        await site.until_empty()
        assert site.relay.state().put_off == 0
    assert sorted(message["eventId"] for message in node_backend.stored()) == sorted(ids)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (("saved",), "the answer is text 'saved'"),
        ((None,), "the answer is nothing"),
        (({"status": "success"},), "'success'"),
        (({"status": "retry", "message": "migrating"},), "does not take license_plate_detected now (migrating)"),
        (None, "does not answer license_plate_detected in time"),
    ],
)
async def test_what_is_wrong_with_the_answers_is_told_until_they_are_right_and_logged_now_and_then(
    answer: tuple[object, ...] | None, words: str
) -> None:
    back_end, clock = FakeBackend(), FakeClock()
    back_end.answer = lambda name, message: answer

    async def live(seconds: int) -> None:
        for _ in range(seconds):
            if back_end.live is not None:
                back_end.live.progress_now = Progress(0, 0, heard_s_ago=0.0)
            await clock.advance(1.0)

    with capture_logs() as logs:
        async with running(settings(), transport=back_end.transport, clock=clock) as site:
            await live(10)
            await site.record(2)
            await live(600)
            complaint = site.relay.state().complaint or ""
            back_end.answer = back_end.store
            await live(100)
            assert site.relay.state().complaint is None
            assert await site.pending() == 0
    assert words in complaint
    told = [entry for entry in logs if entry.get("type") == "license_plate_detected"]
    assert 1 <= len(told) <= 2
    assert told[0]["log_level"] == "warning"
