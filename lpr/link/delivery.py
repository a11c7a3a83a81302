"""The delivery core: what is sent next, what an answer means, when a connection is given up.

A state machine without a clock, a socket or a task. Inputs are methods that take the time (seconds on a monotonic
clock); `step` returns what is to be done. Whoever drives it (`relay.py`, or a test in simulated time) performs the
actions and reports back. The rules:

**Nothing is lost, nothing is settled without an answer.** An event leaves by `Settle` (the back-end said that it holds
it) or `Bury` (it can never be taken), and by nothing else. Everything kept here is a cache of the outbox: whatever
memory forgets is found again by `Fetch`.

**Order.** Live events go first, in order of recording. A live event is one recorded on the present connection and never
sent; everything else is backlog: at most half of the window, at the rate that the back-end sets, but at least one send
in `_LIVE_TURNS + 1` while any waits, so that neither starves the other. And the backlog only takes what it does not
have to queue for: where its answers come later because more of it is in flight, it is the line or the server that is
busy, a live event would wait behind it, and less is put in flight, down to one.

**Window.** At most `window` events in flight, and about `in_flight_s` seconds of the uplink's bytes. It opens by one
with each event taken and halves when one is put off: a server that restarts or struggles is never met by a flood. A
server that puts off everything is asked one event at a time, at growing distance.

**Put off.** `retry` waits as long as the back-end says, or from 1 s doubling to 60 s. Answers of no contract
(`{success: false}`) count: the tenth is a rejection. Unreadable answers do not count; the event is sent again.

**Silence.** With events in flight and no sign of life for `ack_s` plus the time their bytes need, at most `dead_s`, the
connection is aborted. The time needed is reckoned over the slowest uplink seen, a modem's until one was seen. A sign of
life is an answer, or bytes on their way that the peer's TCP acknowledges. An event that a later one has overtaken, and
that is older than `ack_s`, has lost its answer: it alone is sent again.

**Poison.** An event in flight at two losses of the link is sent alone, after another has passed. Three losses alone,
with others passing in between, and it is a dead letter. (A flapping link loses events too; hence "others passing", and
the pauses.)

**Status.** Only the newest one is sent; an older one is forgotten wherever it stands.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from lpr.link.base import DeliveryLimits, LinkDeadlines, Progress
from lpr.outbox.base import Ticket
from lpr.wire import PROCESSING_STATUS, Ack, Duplicate, Rejected, Retry, SoftFailure, Stored, Unreadable

NOT_TAKEN = "NOT_TAKEN"
"""Dead letter: the back-end answered without success, again and again."""
LINK_LOST = "LINK_LOST"
"""Dead letter: the connection broke every time that this event was sent."""

_LIVE_TURNS = 7
_FIRST_WINDOW = 2
"""A lost answer must be overtaken to be told from a lost link, which takes two in flight."""
_SHORTEST_RETRY_S = 0.1
_FIRST_HOLD_S, _MAX_HOLD_S = 0.1, 5.0
_UPLINK_SAMPLES = 16
_SHORTEST_SAMPLE_S = 0.2
_LATE_ANSWERS = 64
_QUEUED_RTT = 1.5
"""An answer that took this many times the shortest was queued for."""
_RTT_SLACK_S = 0.0005
_RTT_SAMPLES = 64
_BACKLOG_STEP_UP, _BACKLOG_STEP_DOWN = 0.25, 0.5
_ASSUMED_UPLINK = 8_000.0
"""Bytes a second. Without it the first picture over a slow line would be given up before anything was measured."""


@dataclass(frozen=True, slots=True)
class Send:
    """Hand this event to the socket and report the answer under `emission`. `attempt` counts from 1, over restarts."""

    emission: int
    ticket: Ticket
    attempt: int
    replayed: bool


@dataclass(frozen=True, slots=True)
class Settle:
    """Delete these events and report `left`."""

    event_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Bury:
    """Move this event to the dead letters and report `left`."""

    ticket: Ticket
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class GaveUp:
    """No answer to this emission is waited for any more (one that comes is still heard); its event is looked after."""

    emission: int


@dataclass(frozen=True, slots=True)
class AbortLink:
    """Cut the connection; `link_down` follows."""

    reason: str


@dataclass(frozen=True, slots=True)
class Fetch:
    """List the oldest waiting events without those named, and report `page` or `fetch_failed`."""

    limit: int
    exclude: frozenset[str]


Action: TypeAlias = Send | Settle | Bury | GaveUp | AbortLink | Fetch


@dataclass(frozen=True, slots=True)
class Flight:
    """One event in flight. `order` is its place among the sends."""

    ticket: Ticket
    order: int
    sent_at: float
    backlog: bool
    alone: bool


@dataclass(slots=True)
class _History:
    """What is remembered of an event between its sends."""

    attempt: int = 0
    put_off: int = 0
    soft_failures: int = 0
    losses: int = 0
    losses_alone: int = 0
    passed_mark: int = 0
    not_before: float = 0.0


class Delivery:
    """The machine. All methods are quick and never wait; none raises on anything that the other side can cause."""

    def __init__(self, limits: DeliveryLimits, deadlines: LinkDeadlines) -> None:
        self._limits = limits
        self._ack_s, self._dead_s = deadlines.ack_s, deadlines.dead_s

        self._up = False
        self._up_since = 0.0
        self._aborting = False
        self._window = 1
        self._alive_at = 0.0
        self._passed_here = 0
        self._refusals = 0
        self._hold_until = 0.0
        self._replay_gap_s: float | None = 0.0
        self._replay_at = 0.0
        self._live_in_a_row = 0

        self._live: OrderedDict[str, Ticket] = OrderedDict()
        self._page: deque[Ticket] = deque()
        self._deferred: dict[str, tuple[float, Ticket]] = {}
        self._due: list[tuple[float, str]] = []
        self._suspects: OrderedDict[str, Ticket] = OrderedDict()
        self._in_flight: dict[int, Flight] = {}
        self._leaving: dict[str, Ticket] = {}
        self._unanswered: OrderedDict[int, Ticket] = OrderedDict()
        self._histories: OrderedDict[str, _History] = OrderedDict()
        self._newest_status: str | None = None

        self._out: list[Action] = []
        self._to_settle: list[str] = []
        self._emissions = 0
        self._passed = 0
        self._given_up = 0
        self._answered_order = 0
        self._last_answer_at = 0.0

        self._more_on_disk = True
        self._more_since_fetch = False
        self._fetching = False
        self._fetch_not_before = 0.0

        self._backlog_window = 1.0
        self._backlog_rtts: deque[float] = deque(maxlen=_RTT_SAMPLES)
        self._progress: tuple[float, Progress] | None = None
        self._uplink: deque[float] = deque(maxlen=_UPLINK_SAMPLES)
        self._answer_rate: deque[float] = deque(maxlen=_UPLINK_SAMPLES)

    # What others may know

    @property
    def in_flight(self) -> int:
        """Events handed to the socket and not answered."""
        return len(self._in_flight)

    @property
    def drained(self) -> bool:
        """Nothing waits that is known of, here or on disk, and everything that left has left the disk too."""
        return not (
            self._more_on_disk
            or self._fetching
            or self._live
            or self._page
            or self._deferred
            or self._suspects
            or self._in_flight
            or self._leaving
        )

    @property
    def unanswered(self) -> int:
        """Sends that got no answer in time, or lost their connection before it."""
        return self._given_up

    @property
    def passed_on_this_link(self) -> int:
        """Events that the back-end took (or rejected) on the present connection."""
        return self._passed_here

    # The link

    def link_up(self, now: float, *, replay_per_second: float | None = None) -> None:
        """A connection stands. `replay_per_second` bounds the backlog: None is no bound, 0 is no backlog at all."""
        self._up, self._up_since, self._alive_at, self._last_answer_at = True, now, now, now
        self._aborting = False
        self._window, self._refusals, self._hold_until = min(_FIRST_WINDOW, self._limits.window), 0, 0.0
        self._passed_here = self._live_in_a_row = self._answered_order = 0
        self._progress = None
        self._backlog_window = 1.0
        self._backlog_rtts.clear()
        self._look_again()
        self._replay_at = now
        if replay_per_second is None:
            self._replay_gap_s = 0.0
        else:
            self._replay_gap_s = 1.0 / replay_per_second if replay_per_second > 0 else None

    def link_down(self, now: float, *, wanted: bool = False) -> None:
        """The connection has ended; `wanted` where we closed it, which says nothing about the events in flight."""
        flights = list(self._in_flight.items())
        self._in_flight.clear()
        self._up = False
        for emission, flight in flights:
            self._remember_unanswered(emission, flight.ticket)
            if not wanted:
                self._blame(now, flight)
        # All of it is on disk, and will be fetched in order of recording.
        self._live.clear()
        self._page.clear()
        self._look_again()

    # The outbox

    def recorded(self, now: float, ticket: Ticket) -> None:
        """An event has been recorded."""
        if ticket.event_type == PROCESSING_STATUS:
            self._replace_status(ticket)
        elif not self._up or _was_sent_or_waited(ticket) or len(self._live) >= self._limits.live_queue:
            self._look_again()
        elif not self._is_known(ticket.event_id):
            self._live[ticket.event_id] = ticket

    def page(self, now: float, tickets: Sequence[Ticket], limit: int) -> None:
        """What `Fetch` asked for, in order of recording."""
        self._fetching = False
        self._more_on_disk = self._more_since_fetch or len(tickets) >= limit
        known = self._known_ids()
        for ticket in tickets:
            if ticket.event_type == PROCESSING_STATUS and self._newest_status is None:
                self._newest_status = ticket.event_id
            if ticket.event_id not in known and not self._is_stale_status(ticket):
                self._page.append(ticket)
        if not self._up:
            self._page.clear()
            self._look_again()

    def fetch_failed(self, now: float) -> None:
        """The outbox could not be read: ask again in a moment."""
        self._fetching = False
        self._fetch_not_before = now + self._limits.first_retry_s

    def left(self, event_ids: Iterable[str]) -> None:
        """`Settle` or `Bury` has been carried out."""
        for event_id in event_ids:
            self._leaving.pop(event_id, None)
            self._histories.pop(event_id, None)

    def gone(self, now: float, emission: int) -> None:
        """The event of this emission is no longer in the outbox: it was dropped, or a newer status took its place."""
        flight = self._in_flight.pop(emission, None)
        if flight is not None:
            self._histories.pop(flight.ticket.event_id, None)

    def unsendable(self, now: float, emission: int, code: str, reason: str) -> None:
        """The event of this emission can be sent in no form."""
        flight = self._in_flight.pop(emission, None)
        if flight is not None:
            self._leave(flight.ticket, code, reason)

    def postpone(self, now: float, emission: int) -> None:
        """The event of this emission could not be read or handed over just now: not its fault."""
        flight = self._in_flight.pop(emission, None)
        if flight is not None:
            self._defer(now, flight.ticket, self._limits.first_retry_s)

    # The answers

    def answered(self, now: float, emission: int, ack: Ack) -> Flight | None:
        """The back-end answered; returns the flight that this ends, or None for an answer that comes too late."""
        flight = self._in_flight.pop(emission, None)
        if flight is None:
            self._answered_late(emission, ack)
            return None
        self._measure_answer(now, flight)
        self._alive_at = now
        self._answered_order = max(self._answered_order, flight.order)
        match ack:
            case Stored() | Duplicate():
                self._taken()
                self._leave(flight.ticket)
            case Rejected(code, message):
                self._taken()
                self._leave(flight.ticket, code, message)
            case Retry() | SoftFailure() | Unreadable():
                self._not_taken(now, flight, ack)
        return flight

    def progressed(self, now: float, progress: Progress) -> None:
        """How far the bytes have come. Bytes under way that advance are a sign of life, and measure the uplink."""
        before, self._progress = self._progress, (now, progress)
        if before is None:
            return
        then, earlier = before
        advanced = progress.acked_bytes - earlier.acked_bytes
        if advanced <= 0 or not (earlier.pending_bytes or progress.pending_bytes):
            return
        self._alive_at = max(self._alive_at, now)
        # Only a pipe that was full all the time tells its width: one whose first bytes are not all through yet. Else a
        # status that went in a moment would make the next event, a second later, look like one over a modem.
        if advanced < earlier.pending_bytes and now - then >= _SHORTEST_SAMPLE_S:
            self._uplink.append(advanced / (now - then))

    # What to do

    def step(self, now: float) -> list[Action]:
        """Everything that is to be done now, in order. Call it after every input and at `wake_at`."""
        if self._up and not self._aborting:
            self._give_up_on_the_silent(now)
        if self._up and not self._aborting:
            while (chosen := self._choose(now)) is not None:
                ticket, backlog, alone = chosen
                self._send(now, ticket, backlog=backlog, alone=alone)
            self._fetch(now)
        if self._to_settle:
            self._out.append(Settle(tuple(self._to_settle)))
            self._to_settle = []
        actions, self._out = self._out, []
        return actions

    def wake_at(self, now: float) -> float | None:
        """When, after `now`, `step` must be called although nothing happened; None where only an input changes things.

        To be asked after `step(now)`: what is due by then has been done, or waits for an input.
        """
        if not self._up or self._aborting:
            return None
        moments: list[float] = []
        if self._in_flight:
            moments.append(self._alive_at + self._silence_s())
            moments += [flight.sent_at + self._ack_s for flight in self._in_flight.values() if self._overtaken(flight)]
        if len(self._in_flight) < self._window and self._alone_in_flight() is None:
            moments += self._moments_to_send()
        if self._more_on_disk and not self._fetching and self._fetch_not_before:
            moments.append(self._fetch_not_before)
        return min((moment for moment in moments if moment > now), default=None)

    # Choosing

    def _choose(self, now: float) -> tuple[Ticket, bool, bool] | None:
        """The next event to send, whether it is backlog, and whether alone; None where nothing may go now."""
        if len(self._in_flight) >= self._window or now < self._hold_until or self._alone_in_flight() is not None:
            return None
        self._wake_deferred(now)
        ticket = self._peek_live()
        backlog = self._peek_backlog(now)
        # Asked after the peeks, which may have set suspects aside.
        if self._suspect_is_due(now):
            # Nothing else starts until the window has drained, or the suspect would wait for ever.
            return None if self._in_flight else (self._suspects.popitem(last=False)[1], True, True)
        if ticket is not None and not (backlog is not None and self._live_in_a_row >= _LIVE_TURNS):
            chosen, is_backlog = ticket, False
        elif backlog is not None:
            chosen, is_backlog = backlog, True
        else:
            return None
        if not self._fits_the_uplink(chosen):
            return None
        (self._page.popleft() if is_backlog else self._live.popitem(last=False))
        return chosen, is_backlog, False

    def _peek_live(self) -> Ticket | None:
        while self._live:
            ticket = next(iter(self._live.values()))
            if not self._set_aside(ticket):
                return ticket
            del self._live[ticket.event_id]
        return None

    def _peek_backlog(self, now: float) -> Ticket | None:
        while self._page and self._set_aside(self._page[0]):
            self._page.popleft()
        if not self._page or self._replay_gap_s is None or now < self._replay_at:
            return None
        flying = sum(flight.backlog for flight in self._in_flight.values())
        room = max(1, min(self._window // 2, int(self._backlog_window)))
        return self._page[0] if flying < room else None

    def _set_aside(self, ticket: Ticket) -> bool:
        """True where this ticket must not be sent in its turn: it has left, is stale, or must be sent alone."""
        if ticket.event_id in self._leaving or self._is_stale_status(ticket):
            return True
        history = self._histories.get(ticket.event_id)
        if history is not None and history.losses >= self._limits.losses_before_alone:
            self._suspects[ticket.event_id] = ticket
            return True
        return False

    def _wake_deferred(self, now: float) -> None:
        """Events whose time has come go to the head of the backlog."""
        woken = []
        while self._due and self._due[0][0] <= now:
            moment, event_id = heapq.heappop(self._due)
            held = self._deferred.get(event_id)
            if held is not None and held[0] == moment:
                del self._deferred[event_id]
                woken.append(held[1])
        self._page.extendleft(reversed(woken))

    def _suspect_is_due(self, now: float) -> bool:
        while self._suspects:
            event_id, ticket = next(iter(self._suspects.items()))
            if event_id in self._leaving or self._is_stale_status(ticket):
                del self._suspects[event_id]
                continue
            if self._replay_gap_s is None or now < self._replay_at or now < self._history(event_id).not_before:
                return False
            return self._passed_here > 0 or self._nothing_else_waits()
        return False

    def _nothing_else_waits(self) -> bool:
        return not (self._live or self._page or self._more_on_disk or self._fetching or self._in_flight)

    def _alone_in_flight(self) -> Flight | None:
        return next((flight for flight in self._in_flight.values() if flight.alone), None)

    def _fits_the_uplink(self, ticket: Ticket) -> bool:
        """One event always may go; a further one only where the uplink carries all of them in `in_flight_s`."""
        if not self._in_flight or not self._uplink:
            return True
        return self._bytes_in_flight() + ticket.size_bytes <= min(self._uplink) * self._limits.in_flight_s

    def _moments_to_send(self) -> Iterator[float]:
        """When something that waits for its time, not for an input, may be sent."""
        yield self._hold_until
        if self._due:
            yield max(self._due[0][0], self._hold_until)
        if self._replay_gap_s is not None and (self._page or self._suspects):
            yield self._replay_at
            for event_id in list(self._suspects)[:1]:
                yield self._history(event_id).not_before

    def _send(self, now: float, ticket: Ticket, *, backlog: bool, alone: bool) -> None:
        history = self._history(ticket.event_id)
        replayed = self._is_replay(ticket, history)
        history.attempt = max(history.attempt, ticket.attempts) + 1
        if not self._in_flight:
            self._alive_at = now
        if backlog:
            self._live_in_a_row = 0
            if self._replay_gap_s:
                self._replay_at = max(now, self._replay_at) + self._replay_gap_s
        else:
            self._live_in_a_row += 1
        if self._hold_until:
            self._hold_until = now + self._hold_s()
        self._emissions += 1
        self._in_flight[self._emissions] = Flight(ticket, self._emissions, now, backlog, alone)
        self._out.append(Send(self._emissions, ticket, history.attempt, replayed))

    def _is_replay(self, ticket: Ticket, history: _History) -> bool:
        """Stored while the link was down, or sent before. What waited through an outage counts as stored in it: the
        link was dead before that was noticed.
        """
        recorded_s = ticket.recorded_monotonic_s
        return (
            ticket.recorded_offline
            or ticket.attempts > 0
            or history.attempt > 0
            or recorded_s is None
            or recorded_s < self._up_since
        )

    def _fetch(self, now: float) -> None:
        if self._fetching or not self._more_on_disk or now < self._fetch_not_before:
            return
        if len(self._page) > self._limits.page // 2 or len(self._deferred) >= self._limits.deferred:
            return
        self._fetching, self._more_since_fetch, self._fetch_not_before = True, False, 0.0
        self._out.append(Fetch(self._limits.page, frozenset(self._known_ids())))

    # Silence

    def _give_up_on_the_silent(self, now: float) -> None:
        if not self._in_flight:
            return
        for emission, flight in list(self._in_flight.items()):
            if self._overtaken(flight) and now - flight.sent_at >= self._ack_s:
                del self._in_flight[emission]
                self._remember_unanswered(emission, flight.ticket)
                self._out.append(GaveUp(emission))
                self._defer(now, flight.ticket, self._next_retry_s(flight.ticket))
        silent_s = now - self._alive_at
        if self._in_flight and silent_s >= self._silence_s():
            self._aborting = True
            self._out.append(AbortLink(f"no answer for {silent_s:.1f} s with {len(self._in_flight)} events in flight"))

    def _silence_s(self) -> float:
        slowest = min((*self._uplink, *self._answer_rate), default=_ASSUMED_UPLINK)
        return max(self._ack_s, min(self._dead_s, self._ack_s + self._bytes_in_flight() / slowest))

    def _overtaken(self, flight: Flight) -> bool:
        return flight.order < self._answered_order

    def _measure_answer(self, now: float, flight: Flight) -> None:
        took_s = now - max(flight.sent_at, self._last_answer_at)
        self._last_answer_at = now
        if flight.backlog:
            self._pace_backlog(now - flight.sent_at)
        if took_s >= _SHORTEST_SAMPLE_S and flight.ticket.size_bytes > 0:
            self._answer_rate.append(flight.ticket.size_bytes / took_s)

    def _pace_backlog(self, rtt_s: float) -> None:
        """More while answers come as fast as they ever did, less when they come late. It goes down to one again and
        again, and so keeps seeing how fast they can come.
        """
        self._backlog_rtts.append(rtt_s)
        if rtt_s > _QUEUED_RTT * min(self._backlog_rtts) + _RTT_SLACK_S:
            self._backlog_window = max(1.0, self._backlog_window - _BACKLOG_STEP_DOWN)
        else:
            self._backlog_window = min(self._limits.window / 2, self._backlog_window + _BACKLOG_STEP_UP)

    def _bytes_in_flight(self) -> int:
        return sum(flight.ticket.size_bytes for flight in self._in_flight.values())

    # Answers

    def _taken(self) -> None:
        self._passed += 1
        self._passed_here += 1
        self._refusals, self._hold_until = 0, 0.0
        self._window = min(self._limits.window, self._window + 1)

    def _not_taken(self, now: float, flight: Flight, ack: Retry | SoftFailure | Unreadable) -> None:
        self._refusals += 1
        self._window = max(1, self._window // 2)
        if self._refusals >= self._limits.window:
            self._hold_until = now + self._hold_s()
        wait_s = self._next_retry_s(flight.ticket)
        if isinstance(ack, Retry) and ack.after_ms is not None:
            wait_s = max(_SHORTEST_RETRY_S, ack.after_ms / 1000.0)
        if isinstance(ack, SoftFailure):
            history = self._history(flight.ticket.event_id)
            history.soft_failures += 1
            if history.soft_failures >= self._limits.soft_failures:
                reason = f"the back-end answered {history.soft_failures} times without success: {ack.message}"
                self._leave(flight.ticket, NOT_TAKEN, reason)
                return
        self._defer(now, flight.ticket, wait_s)

    def _hold_s(self) -> float:
        doublings = min(16, self._refusals - self._limits.window)
        return float(min(_MAX_HOLD_S, _FIRST_HOLD_S * 2**doublings))

    def _next_retry_s(self, ticket: Ticket) -> float:
        history = self._history(ticket.event_id)
        history.put_off += 1
        return float(min(self._limits.max_retry_s, self._limits.first_retry_s * 2 ** min(16, history.put_off - 1)))

    def _answered_late(self, emission: int, ack: Ack) -> None:
        """An answer to an emission that was given up: what it says of the event is as true as ever."""
        ticket = self._unanswered.pop(emission, None)
        if ticket is None or ticket.event_id in self._leaving:
            return
        match ack:
            case Stored() | Duplicate():
                self._forget(ticket.event_id)
                self._leave(ticket)
            case Rejected(code, message):
                self._forget(ticket.event_id)
                self._leave(ticket, code, message)
            case _:
                pass

    def _leave(self, ticket: Ticket, code: str | None = None, reason: str = "") -> None:
        self._leaving[ticket.event_id] = ticket
        if code is None:
            self._to_settle.append(ticket.event_id)
        else:
            self._out.append(Bury(ticket, code, reason))

    def _forget(self, event_id: str) -> None:
        """Take an event out of the places from which it would be sent again. (Queues skip what is leaving.)"""
        self._deferred.pop(event_id, None)
        self._suspects.pop(event_id, None)
        for emission, flight in list(self._in_flight.items()):
            if flight.ticket.event_id == event_id:
                del self._in_flight[emission]
                self._out.append(GaveUp(emission))

    def _remember_unanswered(self, emission: int, ticket: Ticket) -> None:
        self._given_up += 1
        self._unanswered[emission] = ticket
        while len(self._unanswered) > _LATE_ANSWERS:
            self._unanswered.popitem(last=False)

    # Putting off, poison, status

    def _defer(self, now: float, ticket: Ticket, wait_s: float) -> None:
        if self._is_stale_status(ticket):
            return
        while len(self._deferred) >= self._limits.deferred:
            # The one that waits longest goes back to the disk; paging has paused, so it will not come back at once.
            latest = max(self._deferred, key=lambda event_id: self._deferred[event_id][0])
            del self._deferred[latest]
            self._look_again()
        self._deferred[ticket.event_id] = (now + wait_s, ticket)
        heapq.heappush(self._due, (now + wait_s, ticket.event_id))

    def _blame(self, now: float, flight: Flight) -> None:
        """The link was lost with this event in flight."""
        ticket = flight.ticket
        if ticket.event_id in self._leaving:
            return
        history = self._history(ticket.event_id)
        history.losses += 1
        if not flight.alone:
            history.passed_mark = self._passed
            return
        if self._passed > history.passed_mark:
            history.passed_mark = self._passed
            history.losses_alone += 1
        if history.losses_alone >= self._limits.losses_alone:
            reason = (
                f"the connection was lost {history.losses} times with this event in flight, "
                f"{history.losses_alone} times with it alone, while others passed"
            )
            self._leave(ticket, LINK_LOST, reason)
            return
        history.not_before = now + self._limits.alone_pause_s * 2 ** min(8, history.losses_alone)

    def _replace_status(self, ticket: Ticket) -> None:
        """The newest status takes the place of the one that waits, so that a busy link does not starve it."""
        before, self._newest_status = self._newest_status, ticket.event_id
        for event_id in (before, ticket.event_id):
            if event_id is not None:
                self._deferred.pop(event_id, None)
                self._suspects.pop(event_id, None)
        if not self._up:
            self._look_again()
        elif before in self._live:
            self._live = OrderedDict(
                (ticket.event_id, ticket) if event_id == before else (event_id, kept)
                for event_id, kept in self._live.items()
            )
        else:
            self._live[ticket.event_id] = ticket

    def _is_stale_status(self, ticket: Ticket) -> bool:
        return ticket.event_type == PROCESSING_STATUS and ticket.event_id != self._newest_status

    # Memory

    def _look_again(self) -> None:
        """Something may be on disk that is not here; a listing that is under way may not show it."""
        self._more_on_disk = self._more_since_fetch = True

    def _history(self, event_id: str) -> _History:
        history = self._histories.get(event_id)
        if history is None:
            history = self._histories[event_id] = _History()
            while len(self._histories) > self._limits.histories:
                self._histories.popitem(last=False)
        return history

    def _known_ids(self) -> set[str]:
        return {
            *self._live,
            *(ticket.event_id for ticket in self._page),
            *self._deferred,
            *self._suspects,
            *(flight.ticket.event_id for flight in self._in_flight.values()),
            *self._leaving,
        }

    def _is_known(self, event_id: str) -> bool:
        return (
            event_id in self._live
            or event_id in self._deferred
            or event_id in self._suspects
            or event_id in self._leaving
            or any(flight.ticket.event_id == event_id for flight in self._in_flight.values())
            or any(ticket.event_id == event_id for ticket in self._page)
        )


def _was_sent_or_waited(ticket: Ticket) -> bool:
    """A dead letter that is tried again, or a delivery that was asked for again: backlog, though it comes just now."""
    return ticket.recorded_offline or ticket.attempts > 0
