"""Relay: carries what the outbox holds to the back-end, over one connection after another, for ever.

It drives the delivery core (`delivery.py`), which decides, and a `Transport`, which is thrown away with its connection.
Everything runs in the event loop; only scaling a picture goes to a thread. Three things run side by side:

- the supervisor: connect, say hello, deliver until the link is lost, wait, again (tenacity holds the waits);
- the clearer: deletes and buries in the outbox what the answers said;
- a listing of the outbox, while one is wanted.
"""

from __future__ import annotations

import asyncio
import sys
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import structlog
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_never

from lpr import metrics as m
from lpr import wire
from lpr.domain.clock import Clock, SystemClock
from lpr.domain.errors import LinkError, OutboxError
from lpr.link.actions import AbortLink, Action, Bury, Fetch, GaveUp, Revive, Send, Settle
from lpr.link.backoff import ConnectWait
from lpr.link.base import (
    MESSAGE_TOO_LARGE,
    THROWN_OUT,
    LinkPhase,
    LinkSettings,
    LinkState,
    OnCommand,
    Transport,
    TransportFactory,
)
from lpr.link.clearer import Clearer, OnRejected
from lpr.link.clocks import Alarm, Seldom, ServerClock, ring_after
from lpr.link.delivery import LATE_ANSWERS, Delivery
from lpr.link.ledger import Ledger
from lpr.link.packing import (
    TOO_LARGE,
    Bearable,
    Packing,
    TooLarge,
    attempt,
    bare,
    fits_as_it_is,
    largest_size,
    pack,
    rough_size,
)
from lpr.outbox.base import Entry, Outbox, Ticket

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Delivered:
    """An event that the back-end holds. `age_ms` is from its timestamp to the answer; `rtt_ms` from the last send."""

    ticket: Ticket
    duplicate: bool
    replayed: bool
    rtt_ms: float
    age_ms: float


OnDelivered: TypeAlias = Callable[[Delivered], None]
OnChange: TypeAlias = Callable[[LinkState], None]
OnServerFault: TypeAlias = Callable[[str], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class _Sent:
    """What is needed when the answer to an emission comes. `unbearable_bytes` of the message took the connection down
    before its original image was left out; 0 where nothing was.
    """

    ticket: Ticket
    replayed: bool
    sent_at_s: float
    age_ms: float
    unbearable_bytes: int


class Relay:
    """One back-end's link. `run` is a task of the agent; it ends after `stop`, or with what a programming error raised.

    `next_epoch` gives a number that grows with every connection, over restarts (`EpochFile.next`). `on_rejected` is
    awaited for every event that was buried, except for rejected `EVENT_REJECTED` errors, which would breed for ever.
    `on_server_fault` is awaited, with a sentence for it, for every answer of the back-end that cannot be read and where
    the connection turned out not to bear large messages.
    """

    def __init__(
        self,
        outbox: Outbox,
        settings: LinkSettings,
        transport_factory: TransportFactory,
        *,
        next_epoch: Callable[[], Awaitable[int]],
        on_command: OnCommand,
        on_rejected: OnRejected | None = None,
        on_delivered: OnDelivered | None = None,
        on_change: OnChange | None = None,
        on_server_fault: OnServerFault | None = None,
        clock: Clock | None = None,
        metrics: m.Metrics | None = None,
    ) -> None:
        self._outbox = outbox
        self._settings = settings
        self._make_transport = transport_factory
        self._next_epoch = next_epoch
        self._on_command = on_command
        self._on_delivered = on_delivered
        self._on_change = on_change
        self._on_server_fault = on_server_fault
        self._clock: Clock = clock if clock is not None else SystemClock()

        self._delivery = Delivery(settings.limits, settings.deadlines)
        self._packing = Packing(settings.images, settings.payload, settings.max_message_bytes)
        self._bearable = Bearable()
        self._waits = ConnectWait(settings.backoff)
        self._ledger = Ledger(settings.url, clock=self._clock, metrics=metrics, on_change=self._changed)
        self._server_clock = ServerClock(self._clock)
        self._clearer = Clearer(outbox, clock=self._clock, on_left=self._left, on_rejected=on_rejected)
        self._sent: dict[int, _Sent] = {}
        self._struck: OrderedDict[int, _Sent] = OrderedDict()
        """Emissions that are not waited for any more; an answer to one may still come."""
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._ended = asyncio.Event()
        self._stopped_at_s = self._grace_until_s = float("inf")
        self._lost: str | None = None
        self._thrown_out_soon = False
        self._lost_hint = _LOST_HINT
        self._tasks: asyncio.TaskGroup | None = None
        self._alarm = Alarm(self._clock, self._wake.set)
        self._seldom = Seldom(self._clock)
        self._progress_at_s = 0.0
        self._token: str | None = None
        self._greets = True
        """Whether the back-end answered the last hello, or may: none has been sent."""
        outbox.on_recording(lambda: self._delivery.expected(self._now()))
        outbox.on_recorded(self._recorded)

    # For the agent

    @property
    def link_up(self) -> bool:
        """Whether an event recorded now can be sent at once; `Outbox.record` wants to know."""
        return self._ledger.phase is LinkPhase.UP

    def state(self) -> LinkState:
        """The link in numbers and words."""
        return self._ledger.state(
            in_flight=self._delivery.in_flight,
            unanswered=self._delivery.unanswered,
            clock_offset_ms=self._server_clock.offset_ms(),
        )

    def _changed(self) -> None:
        if self._on_change is not None:
            self._on_change(self.state())

    def server_now(self) -> datetime:
        """The back-end's wall clock as far as it told, else ours: what a time that it set is to be held against."""
        return self._server_clock.now()

    async def run(self) -> None:
        """Deliver until `stop` has been called and its grace time is over. Cancelling cuts the connection."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                clearer = tasks.create_task(self._clearer.run(), name="relay-clearer")
                await self._supervise()
                # Answers that came last are honoured too, unless the outbox hangs or fails.
                await self._clearer.until_idle(self._settings.deadlines.disconnect_s)
                clearer.cancel()
        finally:
            self._alarm.cancel()
            self._tasks = None
            self._ended.set()
            self._ledger.change(phase=LinkPhase.STOPPED, next_attempt_at=None)

    async def stop(self, grace_s: float) -> None:
        """Send what waits for at most `grace_s` seconds, close, and return when `run` has ended.

        A link that is down is not waited for, nor is a back-end that answers nothing: what is recorded is safe on disk.
        """
        self._stopped_at_s = self._now()
        self._grace_until_s = self._stopped_at_s + grace_s
        self._stopping.set()
        self._wake.set()
        if self._tasks is not None:
            await self._ended.wait()

    async def drained(self) -> None:
        """Return when the back-end holds everything that was recorded. (Dead letters do not count.)"""
        while not (self._delivery.drained or (await self._outbox.status()).pending == 0):
            await self._clock.sleep(self._settings.deadlines.progress_s / 4)

    # Supervision

    async def _supervise(self) -> None:
        while not self._stopping.is_set():
            try:
                async for attempt_ in self._attempts():
                    with attempt_:
                        await self._one_connection()
            except LinkError:
                return  # stopping; said already
            # The connection was good for something, so the count of attempts begins anew, with the shortest wait.
            if not self._stopping.is_set():
                await self._pause(self._waits.first(thrown_out=self._thrown_out_soon))

    def _attempts(self) -> AsyncRetrying:
        return AsyncRetrying(
            sleep=self._pause,
            wait=self._waits,
            stop=stop_never,
            retry=retry_if_exception(lambda error: isinstance(error, LinkError) and not self._stopping.is_set()),
            before_sleep=self._announce_wait,
            reraise=True,
        )

    async def _one_connection(self) -> None:
        """Connect and deliver. Returns when a connection on which anything was acknowledged has ended; raises
        `LinkError` where there was none, so that the wait grows.
        """
        if self._stopping.is_set():
            raise LinkError("the agent is stopping")
        transport = self._make_transport()
        self._lost, self._lost_hint = None, _LOST_HINT
        transport.on_command(self._on_command)
        transport.on_disconnect(self._on_lost)
        try:
            try:
                await self._connect(transport)
            except LinkError as error:
                if not self._stopping.is_set():
                    self._ledger.failed(error)
                raise
            await self._hold(transport)
        finally:
            await _shielded(transport.close())

    async def _connect(self, transport: Transport) -> None:
        self._ledger.change(phase=LinkPhase.CONNECTING, next_attempt_at=None)
        self._token = self._settings.token()
        auth = wire.auth(
            token=self._token,
            agent_id=self._settings.agent_id,
            boot_id=self._settings.boot_id,
            epoch=await self._next_epoch(),
            version=self._settings.version,
        )
        await self._unless_stopped(transport.connect(auth))
        self._waits.connected()
        replay_per_second = await self._say_hello(transport)
        if self._lost is not None:
            raise LinkError(f"{self._settings.url} closed the connection at once: {self._lost}")
        self._delivery.link_up(self._now(), replay_per_second=replay_per_second)
        self._progress_at_s = self._now()
        self._ledger.connected()

    async def _hold(self, transport: Transport) -> None:
        """Deliver over a connection that stands, until it is lost or we are done."""
        stands_since_s = self._now()
        try:
            await self._deliver(transport)
        finally:
            self._delivery.link_down(self._now(), wanted=self._lost is None or self._learned_from_the_loss())
            for emission in list(self._sent):
                self._strike(emission)
            self._perform_without_link()
            self._ledger.disconnected()
        if self._lost is None:
            return
        if self._lost == THROWN_OUT:
            self._lost_hint = _THROWN_OUT_HINT
        self._thrown_out_soon = (
            self._lost == THROWN_OUT and self._now() - stands_since_s < self._settings.backoff.thrown_out_within_s
        )
        error = LinkError(f"the connection to {self._settings.url} was lost: {self._lost}", hint=self._lost_hint)
        self._ledger.failed(error)
        if self._delivery.passed_on_this_link == 0:
            raise error

    async def _say_hello(self, transport: Transport) -> float | None:
        """What the back-end wishes for this connection; returns the backlog's rate, None where it set none."""
        answer: asyncio.Future[Sequence[object]] = asyncio.get_running_loop().create_future()
        sent_at_s = self._now()
        greeting = wire.hello(agent_id=self._settings.agent_id, version=self._settings.version)
        takes_bytes = transport.takes_bytes()
        waited = False

        def answered(args: Sequence[object]) -> None:
            self._greets = True
            if answer.done():
                return
            answer.set_result(args)
            if waited:
                self._delivery.keep_to(self._heed(args, sent_at_s, takes_bytes))
                self._wake.set()

        await transport.emit(wire.HELLO, greeting, answered)
        hello_s = self._settings.deadlines.hello_s
        await self._first_of(answer, hello_s if self._greets else hello_s * _SHARE_OF_HELLO)
        if self._stopping.is_set() and not answer.done():
            raise LinkError("the agent is stopping")
        self._greets, waited = answer.done(), True
        return self._heed(answer.result() if answer.done() else (), sent_at_s, takes_bytes)

    def _heed(self, answer: Sequence[object], sent_at_s: float, takes_bytes: int | None) -> float | None:
        """Take to heart what the back-end wishes; returns the backlog's rate, None where it set none. What the server
        says that it `takes` bounds the original images, and condemns no event: it may be mistaken.
        """
        wishes = wire.parse_hello_answer(answer)
        for problem in wishes.problems:
            log.warning("agent_hello was answered with nonsense", problem=problem)
            self._tell_not_of_the_contract(f"agent_hello: {problem}")
        if wishes.server_time is not None:
            self._server_clock.told(wishes.server_time, sent_at_s)
        self._packing = Packing(
            wishes.images if wishes.images is not None else self._settings.images,
            self._settings.payload,
            wishes.max_message_bytes if wishes.max_message_bytes is not None else self._settings.max_message_bytes,
            min(self._bearable.at(self._now()), takes_bytes or sys.maxsize),
        )
        return wishes.replay_per_second

    async def _first_of(self, answer: asyncio.Future[Sequence[object]], timeout_s: float) -> None:
        """Wait for the answer, the loss of the link, a stop or the time, whichever comes first."""
        answer.add_done_callback(lambda _: self._wake.set())
        alarm = asyncio.create_task(ring_after(self._clock, timeout_s, self._wake.set))
        try:
            while not (answer.done() or alarm.done() or self._lost is not None or self._stopping.is_set()):
                self._wake.clear()
                await self._wake.wait()
        finally:
            alarm.cancel()

    def _on_lost(self, reason: str) -> None:
        if self._lost is None:
            self._lost = reason
        self._wake.set()

    def _announce_wait(self, retry_state: RetryCallState) -> None:
        wait_s = retry_state.next_action.sleep if retry_state.next_action is not None else 0.0
        self._ledger.change(next_attempt_at=self._clock.now().wall + timedelta(seconds=wait_s))

    async def _pause(self, seconds: float) -> None:
        """Wait before the next attempt; a stop ends the wait, and a new token ends that of a refused one."""
        until_s = self._now() + seconds
        while (left_s := until_s - self._now()) > 0 and not self._stopping.is_set():
            with suppress(LinkError):
                await self._unless_stopped(self._clock.sleep(min(left_s, self._settings.backoff.token_poll_s)))
            if self._ledger.phase is LinkPhase.REFUSED and self._settings.token() != self._token:
                self._waits.token_changed()
                log.info("the token has changed: trying it now")
                return

    async def _unless_stopped(self, work: Coroutine[Any, Any, None]) -> None:
        """Do `work`, but leave it when the agent stops. Raises what it raises, or `LinkError` where it was left."""
        task = asyncio.create_task(work)
        stopped = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise LinkError("the agent is stopping")
            task.result()
        finally:
            for each in (task, stopped):
                each.cancel()
            await asyncio.wait({task, stopped})

    # Delivering

    async def _deliver(self, transport: Transport) -> None:
        while self._lost is None and not self._done():
            self._wake.clear()
            now_s = self._now()
            self._ask_progress(transport, now_s)
            actions = deque(self._delivery.step(now_s))
            while actions:
                await self._perform(transport, actions.popleft())
            self._set_alarm(now_s)
            await self._wake.wait()

    def _done(self) -> bool:
        return self._stopping.is_set() and (self._delivery.drained or self._now() >= self._farewell_at_s())

    def _farewell_at_s(self) -> float:
        """When a stop waits no longer: after its grace time, or when nothing comes any more. What waits is on disk."""
        now_s = self._now()
        patience_s = _LAST_ANSWER_S + (self._ledger.rtt_ms or 0.0) / 1000.0
        return min(self._grace_until_s, max(self._stopped_at_s, now_s - self._delivery.silent_s(now_s)) + patience_s)

    async def _perform(self, transport: Transport, action: Action) -> None:
        match action:
            case Send():
                await self._send(transport, action)
            case AbortLink(reason):
                self._lost_hint = _SILENT_HINT
                transport.abort(reason)
            case _:
                self._perform_on_outbox(action)

    def _perform_without_link(self) -> None:
        """What the loss of the link, or an answer that came with it, left to do."""
        for action in self._delivery.step(self._now()):
            self._perform_on_outbox(action)

    def _perform_on_outbox(self, action: Action) -> None:
        match action:
            case Settle() | Bury() | Revive():
                self._clearer.put(action)
            case Fetch() if self._tasks is not None:
                self._tasks.create_task(self._fetch(action), name="relay-fetch")
            case GaveUp(emission, unanswered):
                self._strike(emission, link_lives=unanswered)
            case _:
                raise AssertionError(f"{action} needs a link")

    async def _send(self, transport: Transport, send: Send) -> None:
        if self._lost is not None:
            self._delivery.postpone(self._now(), send.emission)
            self._wake.set()  # a place in the window is free
            return
        try:
            entry = await self._outbox.load(send.ticket.event_id)
            if entry is None:
                self._delivery.gone(self._now(), send.emission)
                self._wake.set()  # a place in the window is free
                return
            await self._outbox.count_attempt(send.ticket.event_id)
        except OutboxError as error:
            self._tell_of_disk("an event could not be read from the queue", error)
            self._delivery.postpone(self._now(), send.emission)
            self._wake.set()  # a place in the window is free
            return
        await self._emit(transport, send, entry)

    async def _emit(self, transport: Transport, send: Send, entry: Entry) -> None:
        now = self._clock.now()
        delivery = attempt(entry.ticket, entry.body, send.attempt, now, replayed=send.replayed)
        packing = self._packing
        unbearable_bytes = largest_size(entry, packing) if send.bare else 0
        if unbearable_bytes:
            entry = bare(entry)
        if fits_as_it_is(entry, packing):
            message = pack(entry, delivery, packing)
        else:
            message = await asyncio.to_thread(pack, entry, delivery, packing)
        if isinstance(message, TooLarge):
            reason = f"{message.size_bytes} bytes without the original image, at most {message.limit_bytes} may be sent"
            self._delivery.unsendable(self._now(), send.emission, TOO_LARGE, reason)
            self._wake.set()  # a place in the window is free
            return
        self._sent[send.emission] = _Sent(send.ticket, send.replayed, self._now(), delivery.age_ms, unbearable_bytes)
        try:
            await transport.emit(
                send.ticket.event_type, message, lambda args: self._answered(send.emission, send.ticket.event_id, args)
            )
        except LinkError as error:
            self._sent.pop(send.emission, None)
            self._delivery.postpone(self._now(), send.emission)
            self._wake.set()  # a place in the window is free
            self._on_lost(error.message)
            return
        self._ledger.sent()

    def _answered(self, emission: int, event_id: str, args: Sequence[object]) -> None:
        """An answer came, perhaps from a connection that has been given up."""
        ack = wire.parse_ack(args, event_id, strict=self._settings.strict_acks)
        counts = self._delivery.answered(self._now(), emission, ack)
        sent = self._sent.pop(emission, None) or self._struck.pop(emission, None)
        if counts and sent is not None:
            self._account(sent, ack, args)
        self._wake.set()

    def _account(self, sent: _Sent, ack: wire.Ack, args: Sequence[object]) -> None:
        rtt_ms = (self._now() - sent.sent_at_s) * 1000.0
        self._learn_server_time(args, sent)
        self._ledger.answered(sent.ticket, ack, rtt_ms=rtt_ms)
        if sent.unbearable_bytes and isinstance(ack, wire.Stored):
            self._learn_what_is_borne(sent.unbearable_bytes)
        match ack:
            case wire.Stored() | wire.Duplicate() if self._on_delivered is not None:
                duplicate = isinstance(ack, wire.Duplicate)
                self._on_delivered(Delivered(sent.ticket, duplicate, sent.replayed, rtt_ms, sent.age_ms + rtt_ms))
            case wire.Unreadable(reason):
                self._tell_not_of_the_contract(reason)
            case _:
                pass

    def _learn_server_time(self, args: Sequence[object], sent: _Sent) -> None:
        if (
            args
            and isinstance(args[0], Mapping)
            and (said := wire.parse_server_time(args[0].get("serverTime"))) is not None
        ):
            self._server_clock.told(said, sent.sent_at_s)

    def _learned_from_the_loss(self) -> bool:
        """Whether the other side said that a message was too large, and those that follow will be smaller."""
        if self._lost != MESSAGE_TOO_LARGE or not self._sent:
            return False
        broke_bytes = max(rough_size(sent.ticket, self._packing) for sent in self._sent.values())
        if broke_bytes <= wire.MIN_MESSAGE_BYTES:
            return False
        self._learn_what_is_borne(broke_bytes)
        self._lost_hint = (
            "nothing is lost: original images are scaled until the messages are taken; raise maxHttpBufferSize at the "
            "back-end, or the limit of the proxy before it"
        )
        return True

    def _learn_what_is_borne(self, broke_bytes: int) -> None:
        bears_bytes = self._bearable.broke(broke_bytes, self._now())
        self._packing = replace(self._packing, bears_bytes=bears_bytes)
        self._delivery.messages_are_smaller_now()
        log.warning("large messages break the connection", broke_bytes=broke_bytes, bears_bytes=bears_bytes)
        self._tell(
            f"messages of {broke_bytes} bytes break the connection: original images are scaled so that they have"
            f" {bears_bytes} at most; raise maxHttpBufferSize at the back-end and limits of proxies before it, or"
            " lower backend.max_message_bytes"
        )

    def _tell_not_of_the_contract(self, what: str) -> None:
        self._tell(f"the back-end's answer is not of the contract: {what}")

    def _tell(self, server_fault: str) -> None:
        if self._on_server_fault is not None and self._tasks is not None:
            self._tasks.create_task(self._on_server_fault(server_fault), name="relay-server-fault")

    def _strike(self, emission: int, *, link_lives: bool = False) -> None:
        """No answer came."""
        if (sent := self._sent.pop(emission, None)) is None:
            return
        self._ledger.unanswered(sent.ticket, link_lives=link_lives)
        self._struck[emission] = sent
        while len(self._struck) > LATE_ANSWERS:
            self._struck.popitem(last=False)

    # The outbox

    def _recorded(self, ticket: Ticket) -> None:
        self._delivery.recorded(self._now(), ticket)
        self._wake.set()

    async def _fetch(self, fetch: Fetch) -> None:
        try:
            tickets = await self._outbox.waiting(limit=fetch.limit, exclude=fetch.exclude)
        except OutboxError as error:
            self._tell_of_disk("the queue could not be listed", error)
            self._delivery.fetch_failed(self._now())
        else:
            self._delivery.page(self._now(), tickets, fetch.limit)
        self._wake.set()

    def _tell_of_disk(self, line: str, error: OutboxError) -> None:
        if self._seldom.is_due(line):
            log.warning(line, error=error.message, hint=error.hint)

    def _left(self, event_ids: Iterable[str]) -> None:
        self._delivery.left(event_ids)
        self._wake.set()

    # Time

    def _now(self) -> float:
        return self._clock.now().monotonic_s

    def _ask_progress(self, transport: Transport, now_s: float) -> None:
        if not self._delivery.in_flight or now_s < self._progress_at_s:
            return
        self._progress_at_s = now_s + self._settings.deadlines.progress_s
        if (progress := transport.progress()) is not None:
            self._delivery.progressed(now_s, progress)

    def _set_alarm(self, now_s: float) -> None:
        moments = [moment for moment in (self._delivery.wake_at(now_s),) if moment is not None]
        if self._delivery.in_flight:
            moments.append(self._progress_at_s)
        if self._stopping.is_set():
            moments.append(self._farewell_at_s())
        if moments:
            self._alarm.set(max(min(moments), now_s), now_s)


_SHARE_OF_HELLO = 0.1
"""Of its time is waited for the answer of a back-end that gave none on the connection before: most know no hello, and
what is recorded meanwhile is no live event. One that comes later is heard, and waited for the next time."""
_LAST_ANSWER_S = 2.0
"""A stop gives up on answers when none has come, and no byte has moved, for so long beyond what the last one took."""
_SILENT_HINT = (
    "nothing is lost: events wait on disk; a back-end must call the acknowledgement of every event within seconds; "
    "where it does, the network swallows things"
)
_THROWN_OUT_HINT = (
    "nothing is lost: events wait on disk; the back-end's log says why; where two agents have one agent.id (a computer "
    "that was copied), it may throw out the one for the other"
)
_LOST_HINT = "nothing is lost: events wait on disk; look at the back-end's log, and at the network between"


async def _shielded(closing: Awaitable[None]) -> None:
    """Finish closing even where we are being cancelled: a half-open connection must not stay behind."""
    task = asyncio.ensure_future(closing)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise
