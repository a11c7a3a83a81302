"""The relay in simulated time, against a back-end in the same process."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
import structlog
from tenacity import AsyncRetrying, RetryCallState

from lpr.domain.clock import isoformat_ms
from lpr.domain.errors import LinkBusyError, LinkError, LinkNotReadyError, LinkRefusedError, OutboxError
from lpr.domain.events import ErrorCode, ErrorRaised, Severity
from lpr.link.backoff import ConnectWait
from lpr.link.base import THROWN_OUT, Backoff, LinkDeadlines, LinkPhase, LinkState, OnAck
from lpr.link.clearer import SETTLE_RETRY_S
from lpr.link.outages import AGAIN_AFTER_S
from lpr.metrics import Metrics, Stage
from lpr.outbox.base import Entry, Ticket
from lpr.outbox.memory import MemoryOutbox
from lpr.testing.clock import FakeClock
from lpr.testing.transport import FakeBackend, FakeTransport
from lpr.wire import HELLO
from tests.link.parts import Site, camera_lost, picture, running, settings

REAL = {"deadlines": LinkDeadlines(), "backoff": Backoff()}


@pytest.fixture(autouse=True)
def _the_same_dice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a hundred others one or two wait so that a test which counts or adds up attempts to connect fails."""
    monkeypatch.setattr("lpr.link.backoff.random", random.Random(1))


@asynccontextmanager
async def joined(backend: FakeBackend, clock: FakeClock, **more: Any) -> AsyncIterator[Site]:
    """A relay with the real deadlines in simulated time."""
    link = more.pop("link", settings(**REAL))
    async with running(link, transport=backend.transport, clock=clock, **more) as site:
        await clock.settle()
        yield site


async def test_an_event_recorded_with_the_link_up_is_delivered_at_once() -> None:
    backend, clock = FakeBackend(), FakeClock()
    async with joined(backend, clock) as site:
        [event_id] = await site.record()
        await clock.settle()
        assert await site.pending() == 0
    assert list(backend.stored) == [event_id]
    assert [(done.duplicate, done.replayed) for done in site.delivered] == [(False, False)]


async def test_nothing_is_deleted_before_the_answer() -> None:
    backend, clock = FakeBackend(), FakeClock()
    backend.answer = lambda name, message: None
    async with joined(backend, clock) as site:
        await site.record(2)
        await clock.advance(5.0)
        assert await site.pending() == 2
        received, on_ack = backend.held[0]
        on_ack(backend.store(received.name, received.message))
        await clock.settle()
        assert await site.pending() == 1


async def test_age_and_attempt_tell_the_truth_after_an_outage_even_when_the_wall_clock_was_set() -> None:
    backend, clock = FakeBackend(), FakeClock()
    backend.refusals.append(LinkError("away"))
    async with joined(backend, clock) as site:
        await site.record()
        clock.jump_wall(10 * 365 * 86400)
        await clock.advance(1.0)
        delivery = backend.received[0].message["delivery"]
    assert delivery["replayed"] is True
    assert delivery["attempt"] == 1
    assert delivery["ageMs"] <= 1000


@pytest.mark.parametrize("jump_years", [-60, 60])
async def test_a_wall_clock_that_jumps_by_years_while_events_are_in_flight_disturbs_nothing(jump_years: int) -> None:
    backend, clock = FakeBackend(), FakeClock()
    backend.answer = lambda name, message: None
    async with joined(backend, clock) as site:
        ids = await site.record(3)
        await clock.settle()
        clock.jump_wall(jump_years * 365 * 86400)
        ids += await site.record(2)
        await clock.settle()
        for received, on_ack in backend.held:
            on_ack(backend.store(received.name, received.message))
        backend.answer = backend.store
        backend.drop()
        ids += await site.record(2)
        await clock.advance(10.0)
        assert await site.pending() == 0
        assert site.relay.link_up
    assert sorted(backend.stored) == sorted(ids)
    assert [message["sequence"] for message in backend.stored.values()] == list(range(1, 8))
    assert all(0 <= message["delivery"]["ageMs"] < 10_000 for message in backend.stored.values())


async def test_attempts_to_connect_are_spread_out_and_never_more_than_thirty_seconds_apart() -> None:
    backend, clock = FakeBackend(), FakeClock()
    backend.refusals.extend(LinkError("away") for _ in range(40))
    moments: list[float] = []
    link = settings(**REAL, token=lambda: moments.append(clock.now().monotonic_s))
    async with joined(backend, clock, link=link):
        await clock.advance(900.0)
    gaps = [later - earlier for earlier, later in pairwise(moments)]
    assert all(gap <= 30.5 for gap in gaps)
    assert sum(gaps[10:]) / len(gaps[10:]) > 8.0
    assert 20 < len(moments) < 120


@pytest.mark.parametrize("away_s", [0.5, 3.0, 10.0])
def test_a_server_that_is_back_is_found_within_half_of_the_time_that_it_was_away(away_s: float) -> None:
    """Three seconds away: the next attempt comes at most two later."""
    for _ in range(100):
        waits, waited_s, attempt = ConnectWait(Backoff()), 0.0, 0
        while waited_s < away_s:
            attempt += 1
            waited_s += waits(failed(attempt, LinkError("away")))
        assert waited_s - away_s <= away_s / 2 + 0.5


def test_who_is_thrown_out_of_one_connection_after_another_comes_again_ever_later() -> None:
    """Two agents of one name, of which a back-end keeps the newer, made four connections a second for ever."""
    waits = ConnectWait(Backoff())
    quick = [waits.first(thrown_out=True) for _ in range(4)]
    assert max(quick) <= 0.5
    slow = [waits.first(thrown_out=True) for _ in range(200)]
    assert sum(slow) / len(slow) > 2.0
    assert max(slow) <= 5.0
    assert waits.first(thrown_out=False) <= 0.5, "one that stood for a while, or a line that broke, ends it"
    assert waits.first(thrown_out=True) <= 0.5


async def test_two_agents_of_one_name_are_told_of_and_do_not_storm_a_back_end_that_keeps_the_newer() -> None:
    backend, clock = FakeBackend(), FakeClock()
    async with joined(backend, clock) as site:
        for _ in range(1200):
            if site.relay.link_up:
                await site.record()
                await clock.settle()
                backend.drop(THROWN_OUT)
            await clock.advance(0.1)
        state = site.relay.state()
        assert 20 < state.connections < 120  # at a quarter of a second apart it would be hundreds
        assert "agent.id" in (state.remedy or "")


def test_a_token_that_worked_is_tried_quickly_for_half_a_minute_and_then_slowly() -> None:
    """Also after an outage: a back-end that is starting may refuse everybody for a while."""
    waits = ConnectWait(Backoff())
    waits.connected()
    for attempt in range(1, 20):
        waits(failed(attempt, LinkError("away")))
    refused_s, quick = 0.0, 0
    while (wait_s := waits(failed(20 + quick, LinkRefusedError("no")))) < 60.0:
        assert wait_s <= refused_s / 2 + 0.5
        refused_s, quick = refused_s + wait_s, quick + 1
    assert refused_s >= 30.0
    assert quick >= 5
    assert [waits(failed(99, LinkRefusedError("no"))) for _ in range(5)] == [120.0, 240.0, 480.0, 600.0, 600.0]


def failed(attempt: int, error: LinkError) -> RetryCallState:
    state = RetryCallState(AsyncRetrying(), None, (), {})
    state.attempt_number = attempt
    state.set_exception((type(error), error, error.__traceback__))
    return state


async def test_connections_that_deliver_nothing_do_not_reset_the_backoff() -> None:
    backend, clock = FakeBackend(), FakeClock()
    async with joined(backend, clock) as site:
        connections = []
        for _ in range(600):
            if site.relay.link_up:
                connections.append(clock.now().monotonic_s)
                backend.drop()
            await clock.advance(0.5)
    assert len(connections) < 60  # at half a second apart it would be hundreds


async def test_a_connection_that_delivered_resets_the_backoff() -> None:
    backend, clock = FakeBackend(), FakeClock()
    async with joined(backend, clock) as site:
        backend.refusals.extend(LinkError("away") for _ in range(8))
        backend.drop()
        await clock.advance(300.0)
        await site.record()
        await clock.settle()
        assert site.relay.state().acked == 1
        backend.drop()
        await clock.advance(0.6)
        assert site.relay.link_up


async def test_a_refused_agent_waits_a_minute_then_two_and_at_most_ten() -> None:
    backend, clock = FakeBackend(), FakeClock()
    backend.refusals.extend(LinkRefusedError("no") for _ in range(9))
    moments: list[float] = []

    def token() -> str:
        moments.append(clock.now().monotonic_s)
        return "wrong"

    link = settings(deadlines=LinkDeadlines(), backoff=Backoff(token_poll_s=1e9), token=token)
    async with joined(backend, clock, link=link) as site:
        assert site.relay.state().phase is LinkPhase.REFUSED
        await clock.advance(60 + 120 + 240 + 480 + 600 + 600)
    # The provider is asked once more at the end of each wait, to see whether the token has changed.
    attempts = sorted(set(moments))
    gaps = [round(later - earlier) for earlier, later in pairwise(attempts)]
    assert gaps == [60, 120, 240, 480, 600, 600]


async def test_a_back_end_that_says_no_for_reasons_of_its_own_is_found_within_half_a_minute() -> None:
    backend, clock = FakeBackend(), FakeClock()
    backend.refusals.extend(LinkNotReadyError("maintenance") for _ in range(999))
    async with joined(backend, clock, link=settings(deadlines=LinkDeadlines(), backoff=Backoff())) as site:
        await clock.advance(3600.0)
        assert site.relay.state().phase is LinkPhase.REFUSED
        backend.refusals.clear()
        await clock.advance(30.0)
        assert site.relay.link_up


@pytest.mark.parametrize(("said_s", "wait_s"), [(20.0, 20.0), (86400.0, 60.0)])
async def test_a_back_end_that_says_when_to_ask_again_is_not_asked_before_but_after_a_minute_at_the_latest(
    said_s: float, wait_s: float
) -> None:
    backend, clock = FakeBackend(), FakeClock()
    backend.refusals.extend(LinkBusyError("later", after_s=said_s) for _ in range(3))
    async with joined(backend, clock, link=settings(**REAL)) as site:
        await clock.advance(2 * wait_s - 0.1)
        assert len(backend.auths) == 2
        await clock.advance(wait_s + 60.0)
        assert site.relay.link_up


async def test_a_rotated_token_is_tried_within_seconds() -> None:
    backend, clock = FakeBackend(), FakeClock()
    backend.refusals.append(LinkRefusedError("expired"))
    token = ["old"]
    async with joined(backend, clock, link=settings(**REAL, token=lambda: token[0])) as site:
        await clock.advance(20.0)
        assert len(backend.auths) == 1
        token[0] = "new"
        await clock.advance(6.0)
        assert site.relay.link_up
    assert [auth["token"] for auth in backend.auths] == ["old", "new"]


async def test_a_back_end_that_never_greets_gets_the_defaults_after_two_seconds() -> None:
    backend, clock = FakeBackend(), FakeClock()
    backend.hello = None
    async with joined(backend, clock) as site:
        await site.record()
        await clock.advance(1.9)
        assert not site.relay.link_up
        await clock.advance(0.2)
        assert await site.pending() == 0


async def test_a_back_end_that_never_greets_is_waited_for_once_and_again_when_it_has_answered() -> None:
    backend, clock = FakeBackend(), FakeClock()
    backend.hello = None
    async with joined(backend, clock) as site:
        await clock.advance(2.1)
        assert site.relay.link_up
        backend.drop()
        await clock.advance(0.5 + 0.3)
        assert site.relay.link_up, "a fifth of a second is enough"
        backend.hello = ({"images": "none"},)
        backend.drop()
        await clock.advance(0.8)
        [live] = await site.record()
        await clock.settle()
        assert backend.stored[live]["data"]["originalImage"] == ""
        backend.hello = None
        backend.drop()
        await clock.advance(0.5 + 1.0)
        assert not site.relay.link_up, "it has answered before"
        await clock.advance(1.5)
        assert site.relay.link_up


async def test_a_greeting_that_comes_later_than_it_was_waited_for_holds_from_then_on() -> None:
    backend, clock = FakeBackend(), FakeClock()
    backend.hello = None
    greetings: list[OnAck] = []

    class Slow(FakeTransport):
        async def emit(self, name: str, message: Mapping[str, Any], on_ack: OnAck) -> None:
            if name == HELLO:
                greetings.append(on_ack)
            await super().emit(name, message, on_ack)

    def transport() -> FakeTransport:
        backend.transports.append(Slow(backend))
        return backend.transports[-1]

    async with running(settings(), transport=transport, clock=clock) as site:
        await clock.advance(3.0)
        backend.drop()
        await site.record(2)
        backend.answer = lambda name, message: None
        await clock.advance(0.5 + 0.3)
        assert site.relay.link_up
        greetings[-1]([{"images": "none", "replayPerSecond": 0}])
        backend.answer = backend.store
        [live] = await site.record()
        await clock.advance(0.1)
        assert backend.stored[live]["data"]["originalImage"] == ""
        before = len(backend.received)
        await clock.advance(0.2)
        assert len(backend.received) == before, "no backlog is wanted any more"


async def test_a_stop_does_not_wait_for_a_greeting_that_is_never_answered() -> None:
    backend, clock = FakeBackend(), FakeClock()
    backend.hello = None
    async with joined(backend, clock) as site:
        await site.record()
        assert (len(backend.auths), site.relay.link_up) == (1, False), "it has greeted, and waits"
        stopping = asyncio.create_task(site.relay.stop(grace_s=60.0))
        await clock.settle()
        stopped = stopping.done()
        await clock.advance(LinkDeadlines().hello_s)  # or this test would not end where it fails
    assert stopped
    assert backend.received == [], "nobody knows what that back-end takes"
    assert site.relay.state().phase is LinkPhase.STOPPED
    assert site.relay.state().last_error is None


async def test_a_back_end_that_throws_everybody_out_after_a_moment_gets_something_in_each() -> None:
    backend, clock = FakeBackend(), FakeClock()
    backend.hello = None
    async with joined(backend, clock) as site:
        await site.record(3)
        for _ in range(40):
            backend.drop()
            await clock.advance(0.3)
        assert await site.pending() == 0


async def test_a_link_that_comes_and_goes_is_logged_a_few_times_and_then_now_and_then() -> None:
    backend, clock = FakeBackend(), FakeClock()
    with structlog.testing.capture_logs() as lines:
        async with joined(backend, clock) as site:
            for number in range(120):
                await site.record()
                await clock.advance(5.0)
                assert site.relay.link_up
                backend.drop(f"no answer for {number / 10} s")
                await clock.advance(1.0)
    said = [line["event"] for line in lines if line["log_level"] != "debug"]
    assert said.count("no link to the back-end") in (3, 4, 5, 6)
    assert said.count("connected to the back-end") in (3, 4, 5, 6)
    assert any("comes and goes" in event for event in said)
    assert len(said) <= 6 + 6 + 2


async def test_nonsense_in_the_greeting_is_passed_over() -> None:
    backend, clock = FakeBackend(), FakeClock()
    backend.hello = ({"maxMessageBytes": "big", "images": 7, "replayPerSecond": -1},)
    async with joined(backend, clock) as site:
        await site.record()
        await clock.settle()
        assert await site.pending() == 0


async def test_the_back_ends_clock_gives_the_offset() -> None:
    backend, clock = FakeBackend(), FakeClock()
    backend.hello = ({"serverTime": isoformat_ms(clock.now().wall + timedelta(seconds=90))},)
    async with joined(backend, clock) as site:
        offset = site.relay.state().clock_offset_ms
        assert offset is not None
        assert offset == pytest.approx(90_000, abs=5)


async def test_a_silent_back_end_is_given_up_within_fifteen_seconds() -> None:
    backend, clock = FakeBackend(), FakeClock()
    backend.answer = lambda name, message: None
    async with joined(backend, clock) as site:
        await site.record()
        transport = backend.live
        await clock.advance(14.9)
        assert transport is not None
        assert transport.aborted is not None
        assert "no answer" in transport.aborted
        assert transport.closed


async def test_stop_sends_what_waits_and_says_farewell() -> None:
    backend, clock = FakeBackend(), FakeClock()
    async with joined(backend, clock, grace_s=5.0) as site:
        await site.record(20)
    assert await site.pending() == 0
    assert site.relay.state().phase is LinkPhase.STOPPED
    assert all(transport.closed for transport in backend.transports)


async def test_stop_does_not_wait_longer_than_the_grace_time() -> None:
    backend, clock = FakeBackend(), FakeClock()
    backend.answer = lambda name, message: [{"status": "retry", "eventId": message["eventId"], "retryAfterMs": 500}]
    async with joined(backend, clock) as site:
        await site.record(3)
        await clock.settle()
        stopping = asyncio.create_task(site.relay.stop(grace_s=6.0))
        await clock.advance(5.9)
        assert not stopping.done()
        await clock.advance(0.2)
        await clock.advance(3.0)
        assert stopping.done()
        assert await site.pending() == 3


async def test_stop_waits_for_no_answers_where_none_come() -> None:
    backend, clock = FakeBackend(), FakeClock()
    backend.answer = lambda name, message: None
    async with joined(backend, clock) as site:
        await site.record(3)
        await clock.settle()
        stopping = asyncio.create_task(site.relay.stop(grace_s=60.0))
        await clock.advance(1.5)
        assert not stopping.done()
        await clock.advance(1.0)
        await clock.advance(3.0)
        assert stopping.done()
        assert await site.pending() == 3


async def test_stop_while_the_link_is_down_returns_at_once() -> None:
    backend, clock = FakeBackend(), FakeClock()
    backend.refusals.extend(LinkError("away") for _ in range(99))
    async with joined(backend, clock) as site:
        await site.record()
        await clock.advance(20.0)
        await asyncio.wait_for(site.relay.stop(grace_s=60.0), 5.0)
        assert await site.pending() == 1


async def test_stop_while_connecting_leaves_nothing_open() -> None:
    backend, clock = FakeBackend(), FakeClock()
    backend.mute_connects = 1
    async with joined(backend, clock) as site:
        await asyncio.wait_for(site.relay.stop(grace_s=60.0), 5.0)
    assert all(transport.closed for transport in backend.transports)


async def test_drained_returns_when_the_back_end_holds_everything() -> None:
    backend, clock = FakeBackend(), FakeClock()
    backend.refusals.append(LinkError("away"))
    async with joined(backend, clock) as site:
        await site.record(5)
        drained = asyncio.create_task(site.relay.drained())
        await clock.settle()
        assert not drained.done()
        await clock.advance(2.0)
        assert drained.done()
        assert len(backend.stored) == 5


async def test_a_rejection_is_told_once_except_of_a_rejected_rejection() -> None:
    backend, clock = FakeBackend(), FakeClock()
    backend.answer = lambda name, message: (
        {"status": "rejected", "eventId": message["eventId"], "code": "NO", "message": "not this one"},
    )
    async with joined(backend, clock) as site:
        await site.outbox.record(camera_lost(clock), link_up=True)
        rejected = ErrorRaised(
            occurred_at=clock.now(), code=ErrorCode.EVENT_REJECTED, message="…", severity=Severity.HIGH
        )
        await site.outbox.record(rejected, link_up=True)
        await clock.settle()
        assert (await site.outbox.status()).dead_letters == 2
    assert [(rejection.code, rejection.reason) for rejection in site.rejections] == [("NO", "not this one")]


async def test_an_event_that_fits_in_no_form_is_a_dead_letter() -> None:
    backend, clock = FakeBackend(), FakeClock()
    backend.hello = ({"maxMessageBytes": 16_384},)
    async with joined(backend, clock) as site:
        event = ErrorRaised(
            occurred_at=clock.now(), code=ErrorCode.PROCESSING_ERROR, message="…", severity=Severity.LOW,
            details={"trace": "x" * 20_000},
        )  # fmt: skip
        await site.outbox.record(event, link_up=True)
        await site.record()
        await clock.settle()
        await site.until(lambda: site.rejections)
    assert [rejection.code for rejection in site.rejections] == ["TOO_LARGE"]
    assert len(backend.stored) == 1


async def test_a_scene_that_cannot_be_made_to_fit_is_left_out_and_that_is_said() -> None:
    backend, clock = FakeBackend(), FakeClock()
    backend.hello = ({"maxMessageBytes": 16_384},)
    async with joined(backend, clock) as site:
        event = ErrorRaised(
            occurred_at=clock.now(), code=ErrorCode.PLATE_UNREADABLE, message="…", severity=Severity.LOW,
            details={"guess": "x" * 12_000}, plate_image=picture(120, 40), original_image=picture(800, 600, noise=True),
        )  # fmt: skip
        await site.outbox.record(event, link_up=True)
        await site.until_empty()
    [message] = backend.stored.values()
    details = message["data"]["details"]
    assert details["originalImage"] == ""
    assert details["originalImageOmitted"] == "too_large"
    assert details["processedImage"]


class FaultyOutbox(MemoryOutbox):
    """An outbox whose disk fails, on request, in one of its methods."""

    failing: str | None = None

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.settled: list[str] = []

    def _check(self, name: str) -> None:
        if self.failing == name:
            raise OutboxError("the disk does not answer", hint="look at it")

    async def waiting(self, *, limit: int, exclude: Collection[str] = ()) -> Sequence[Ticket]:
        self._check("waiting")
        return await super().waiting(limit=limit, exclude=exclude)

    async def load(self, event_id: str) -> Entry | None:
        self._check("load")
        return await super().load(event_id)

    async def settle(self, event_ids: Collection[str]) -> None:
        self._check("settle")
        self.settled += event_ids
        await super().settle(event_ids)

    async def bury(self, event_id: str, *, code: str, reason: str) -> None:
        self._check("bury")
        await super().bury(event_id, code=code, reason=reason)


@pytest.mark.parametrize("failing", ["waiting", "load", "settle"])
async def test_a_disk_that_fails_for_a_while_delays_and_loses_nothing(failing: str) -> None:
    backend, clock = FakeBackend(), FakeClock()
    outbox = FaultyOutbox(agent_id="gate-nuc-01", boot_id="boot-1", clock=clock)
    backend.refusals.append(LinkError("away"))
    async with joined(backend, clock, outbox=outbox) as site:
        await site.record(5)
        outbox.failing = failing
        await clock.advance(10.0)
        assert await site.pending() == 5
        outbox.failing = None
        await clock.advance(10.0)
        assert await site.pending() == 0
    assert len(backend.stored) == 5


async def test_a_dead_letter_that_the_disk_does_not_take_keeps_nothing_else_from_leaving() -> None:
    """Deleting takes no room, burying does."""
    backend, clock = FakeBackend(), FakeClock()
    outbox = FaultyOutbox(agent_id="gate-nuc-01", boot_id="boot-1", clock=clock)

    def refuse_one(name: str, message: Mapping[str, Any]) -> Sequence[object]:
        rejected = message["data"]["licensePlate"] == "29A-999.99"
        return ({"status": "rejected", "eventId": message["eventId"]},) if rejected else backend.store(name, message)

    backend.answer = refuse_one
    outbox.failing = "bury"
    async with joined(backend, clock, outbox=outbox) as site:
        await site.record(1, plate="29A-999.99")
        ids = []
        for _ in range(5):
            ids += await site.record(2)
            await clock.advance(SETTLE_RETRY_S)
        assert await site.pending() == 1
        assert outbox.settled == ids, "each once"
        outbox.failing = None
        await clock.advance(2 * SETTLE_RETRY_S)
        assert await site.pending() == 0
        assert (await outbox.status()).dead_letters == 1


@pytest.mark.parametrize("failing", ["waiting", "load", "settle"])
async def test_a_disk_that_fails_for_hours_does_not_fill_the_log(failing: str) -> None:
    backend, clock = FakeBackend(), FakeClock()
    outbox = FaultyOutbox(agent_id="gate-nuc-01", boot_id="boot-1", clock=clock)
    backend.refusals.append(LinkError("away"))
    with structlog.testing.capture_logs() as lines:
        async with joined(backend, clock, outbox=outbox) as site:
            await site.record(2)
            outbox.failing = failing
            await clock.advance(120.0)
            outbox.failing = None
            await clock.advance(10.0)  # a stop waits for what the disk is to be told, and time stands still in it
    warned = [line for line in lines if line.get("error") == "the disk does not answer"]
    assert len(warned) == 1, "not every second"


async def test_an_event_that_somebody_drops_from_the_queue_is_passed_over() -> None:
    backend, clock = FakeBackend(), FakeClock()
    backend.answer = lambda name, message: ({"status": "retry", "eventId": message["eventId"], "retryAfterMs": 1000},)
    async with joined(backend, clock) as site:
        [first, second] = await site.record(2)
        await clock.settle()
        await site.outbox.settle([first])  # as `lpr-agent queue drop` does
        backend.answer = backend.store
        await clock.advance(2.0)
    assert list(backend.stored) == [second]


async def test_changes_of_the_link_are_told() -> None:
    backend, clock = FakeBackend(), FakeClock()
    told: list[LinkState] = []
    async with joined(backend, clock, on_change=told.append):
        backend.refusals.append(LinkRefusedError("token", hint="look at the token"))
        backend.drop("gone")
        await clock.advance(1.0)
    phases = [state.phase for state in told]
    assert phases[0] is LinkPhase.CONNECTING
    assert LinkPhase.UP in phases
    assert LinkPhase.REFUSED in phases
    assert phases[-1] is LinkPhase.STOPPED
    assert any(state.remedy == "look at the token" for state in told)


async def test_deliveries_are_counted() -> None:
    backend, clock, metrics = FakeBackend(), FakeClock(), Metrics()
    async with joined(backend, clock, metrics=metrics) as site:
        await site.record(3)
        await clock.settle()
    assert metrics.total("event_deliveries", outcome="acked") == 3
    assert metrics.total("link_connects") == 1
    assert metrics.percentiles(Stage.SEND_TO_ACK).count == 3


async def test_a_programming_error_in_a_part_ends_the_relay() -> None:
    backend, clock = FakeBackend(), FakeClock()

    async def broken(rejection: object) -> None:
        raise ZeroDivisionError

    def reject(name: str, message: Mapping[str, Any]) -> Sequence[object]:
        return ({"status": "rejected", "eventId": message["eventId"]},)

    backend.answer = reject
    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012 - the relay ends where the block does
        async with joined(backend, clock, on_rejected=broken) as site:
            await site.record()
            await clock.settle()
    assert caught.group_contains(ZeroDivisionError)


async def test_an_outage_that_goes_on_is_logged_now_and_then_and_its_end_and_the_next_one_at_once() -> None:
    backend, clock = FakeBackend(), FakeClock()

    def refuse(times: int, words: str = "nobody listens") -> None:
        backend.refusals.extend(LinkError(words) for _ in range(times))

    def told(lines: Sequence[Mapping[str, Any]]) -> list[str]:
        return [line.get("error", line["event"]) for line in lines if line["log_level"] != "debug"]

    refuse(10_000)
    with structlog.testing.capture_logs() as lines:
        async with joined(backend, clock) as site:
            await clock.advance(AGAIN_AFTER_S - 60)
            assert told(lines) == ["nobody listens"]
            assert site.relay.state().failed_attempts > 10
            await clock.advance(120)
            assert told(lines) == ["nobody listens"] * 2
            backend.refusals.clear()
            refuse(5, "no answer")
            await clock.advance(200)
            assert told(lines)[2:] == ["no answer", "connected to the back-end"]
            refuse(1, "no answer")
            backend.drop("gone")
            await clock.advance(60)
            assert "no answer" in told(lines)[4:]
