"""The wall clock is set while events wait: what the back-end is told, with the real queue on disk and the real link."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lpr.agent.timekeeping import ClockWatch
from lpr.domain.clock import isoformat_ms
from lpr.domain.errors import LinkError
from lpr.domain.events import ErrorCode, Severity
from lpr.link.base import Backoff, LinkDeadlines
from lpr.outbox.memory import MemoryOutbox
from lpr.outbox.sqlite import SqliteOutbox
from lpr.testing.clock import FakeClock
from lpr.testing.transport import FakeBackend
from tests.link.parts import Site, running, settings

LONG_AGO = datetime(1970, 1, 1, 0, 5, tzinfo=UTC)
TODAY = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)


class Raised:
    """Errors that a watch raised, and how often it saw the clock set."""

    def __init__(self) -> None:
        self.errors: list[tuple[ErrorCode, Mapping[str, Any]]] = []
        self.set = 0

    async def error(
        self, code: ErrorCode, message: str, *, severity: Severity, details: Mapping[str, Any] | None = None
    ) -> None:
        self.errors.append((code, details or {}))

    def on_set(self) -> None:
        self.set += 1


@asynccontextmanager
async def watched(site: Site, clock: FakeClock) -> AsyncIterator[Raised]:
    raised = Raised()
    watch = ClockWatch(
        clock,
        outbox=site.outbox,
        offset_ms=lambda: site.relay.state().clock_offset_ms,
        raise_error=raised.error,
        on_set=raised.on_set,
    )
    task = asyncio.create_task(watch.run())
    await clock.settle()
    try:
        yield raised
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_box_that_starts_in_1970_tells_its_events_by_the_right_time_once_its_clock_is_set(
    tmp_path: Path,
) -> None:
    clock, backend = FakeClock(wall=LONG_AGO), FakeBackend()
    backend.refusals.extend(LinkError("the network is not up yet") for _ in range(1000))
    right: list[bool] = []
    outbox = await SqliteOutbox.open(
        tmp_path, agent_id="gate-nuc-01", boot_id="boot-1", clock=clock, clock_is_right=lambda wall: bool(right)
    )
    link = settings(deadlines=LinkDeadlines(), backoff=Backoff())
    async with (
        running(link, transport=backend.transport, outbox=outbox, clock=clock) as site,
        watched(site, clock) as raised,
    ):
        first = await site.record()
        await clock.advance(120)
        second = await site.record()
        await clock.advance(30)
        clock.set_wall(TODAY)
        right.append(True)
        await clock.advance(1)
        await site.until(lambda: not outbox._has_unsure)
        backend.refusals.clear()
        async with asyncio.timeout(10):
            while len(backend.stored) < 2:
                await clock.advance(0.05)
                await asyncio.sleep(0.002)
        assert raised.set == 1
    await outbox.close()
    times = {event_id: backend.stored[event_id]["timestamp"] for event_id in first + second}
    assert list(times.values()) == [isoformat_ms(TODAY - timedelta(seconds=s)) for s in (150, 30)]
    for message in backend.stored.values():
        sent_at, happened = (datetime.fromisoformat(at) for at in (message["delivery"]["sentAt"], message["timestamp"]))
        assert message["delivery"]["ageMs"] == pytest.approx((sent_at - happened) / timedelta(milliseconds=1), abs=5)
    assert all("clockSynchronised" not in message["delivery"] for message in backend.stored.values())
    assert all("clockSynchronised" not in message for message in backend.stored.values())


async def test_an_event_sent_before_the_clock_was_set_says_so_and_is_the_same_at_every_attempt(tmp_path: Path) -> None:
    """Its age is right all the same, so that a back-end can reckon its time by its own clock."""
    clock, backend = FakeClock(wall=LONG_AGO), FakeBackend()
    right: list[bool] = []
    backend.answer = lambda name, message: None
    outbox = await SqliteOutbox.open(
        tmp_path, agent_id="gate-nuc-01", boot_id="boot-1", clock=clock, clock_is_right=lambda wall: bool(right)
    )
    link = settings(deadlines=LinkDeadlines(), backoff=Backoff())
    async with running(link, transport=backend.transport, outbox=outbox, clock=clock) as site, watched(site, clock):
        await clock.settle()
        [event_id] = await site.record()
        await site.until(lambda: backend.received)
        clock.set_wall(TODAY)
        right.append(True)
        await clock.advance(1)
        await site.until(lambda: not outbox._has_unsure)
        backend.answer = backend.store
        backend.drop()
        async with asyncio.timeout(10):
            while not backend.stored:
                await clock.advance(0.05)
                await asyncio.sleep(0.002)
    await outbox.close()
    sent, again = (received.message for received in backend.received)
    assert sent["delivery"]["clockSynchronised"] is again["delivery"]["clockSynchronised"] is False
    assert {**sent, "delivery": None} == {**again, "delivery": None}
    assert sent["timestamp"] == isoformat_ms(LONG_AGO)
    assert again["eventId"] == event_id
    assert 900 <= again["delivery"]["ageMs"] < 5000


async def test_the_offset_to_the_back_end_is_right_again_when_our_clock_is_set() -> None:
    clock, backend = FakeClock(wall=LONG_AGO), FakeBackend()
    backend.hello = ({"serverTime": isoformat_ms(TODAY)},)
    async with running(settings(), transport=backend.transport, clock=clock) as site:
        await clock.settle()
        far = (TODAY - LONG_AGO).total_seconds() * 1000
        assert site.relay.state().clock_offset_ms == pytest.approx(far, abs=5)
        await clock.advance(10)
        clock.set_wall(TODAY + timedelta(seconds=10))
        assert site.relay.state().clock_offset_ms == pytest.approx(0, abs=5)
        assert site.relay.server_now() == pytest.approx(TODAY + timedelta(seconds=10), abs=timedelta(milliseconds=5))


async def test_a_skew_is_raised_once_until_it_is_over() -> None:
    clock, backend = FakeClock(wall=TODAY), FakeBackend()
    backend.hello = ({"serverTime": isoformat_ms(TODAY + timedelta(seconds=4))},)
    async with running(settings(), transport=backend.transport, clock=clock) as site, watched(site, clock) as raised:
        await clock.advance(3)
        assert raised.errors == []
        clock.jump_wall(-2)  # 6 s behind
        await clock.advance(3)
        assert [(code, details["offsetMs"]) for code, details in raised.errors] == [(ErrorCode.CLOCK_SKEW, 6000)]
        clock.jump_wall(2)  # 4 s: neither new nor over
        await clock.advance(3)
        clock.jump_wall(-2)
        await clock.advance(3)
        assert len(raised.errors) == 1
        clock.jump_wall(6)
        await clock.advance(3)
        clock.jump_wall(-7)
        await clock.advance(3)
        assert len(raised.errors) == 2


async def test_answers_tell_the_back_ends_time_too() -> None:
    clock, backend = FakeClock(wall=TODAY), FakeBackend()

    def answer(name: str, message: Mapping[str, Any]) -> list[object]:
        [stored] = backend.store(name, message)
        assert isinstance(stored, dict)
        return [{**stored, "serverTime": isoformat_ms(TODAY + timedelta(minutes=5))}]

    backend.answer = answer
    outbox = MemoryOutbox(agent_id="gate-nuc-01", boot_id="boot-1", clock=clock)
    async with (
        running(settings(), transport=backend.transport, outbox=outbox, clock=clock) as site,
        watched(site, clock) as raised,
    ):
        await clock.settle()
        await site.record()
        await clock.advance(2)
        assert [code for code, _ in raised.errors] == [ErrorCode.CLOCK_SKEW]


async def test_an_answer_that_took_long_tells_no_time() -> None:
    clock, backend = FakeClock(wall=TODAY), FakeBackend()
    backend.hello, backend.answer = (), lambda name, message: None
    async with (
        running(settings(deadlines=LinkDeadlines()), transport=backend.transport, clock=clock) as site,
        watched(site, clock),
    ):
        await clock.settle()
        await site.record()
        await clock.advance(7)
        [(received, answer)] = backend.held
        answer([{"status": "ok", "eventId": received.event_id, "serverTime": isoformat_ms(clock.now().wall)}])
        await clock.advance(1)
        assert site.relay.state().acked == 1
        assert site.relay.state().clock_offset_ms is None


@pytest.mark.parametrize("nonsense", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", 8.64e15, "soon", None, 1e300])
async def test_a_time_that_makes_no_sense_harms_nothing(nonsense: object) -> None:
    clock, backend = FakeClock(wall=TODAY), FakeBackend()
    backend.hello = ({"serverTime": nonsense},)
    async with running(settings(), transport=backend.transport, clock=clock) as site, watched(site, clock):
        await clock.settle()
        await site.record()
        await clock.advance(2)
        assert await site.pending() == 0
        site.relay.server_now()
