"""The delivery core: what is sent next, what an answer means, when a connection is given up.

A state machine without a clock, a socket or a task. Inputs are methods that take the time (seconds on a monotonic
clock); `step` returns what is to be done. Whoever drives it (`relay.py`, or a test in simulated time) performs the
actions and reports back. The rules:

**Nothing is lost, nothing is settled without an answer.** An event leaves by `Settle` (the back-end said that it holds
it) or `Bury` (it can never be taken), and by nothing else; `Revive` takes back what a sick back-end had us bury.
Everything kept here is a cache of the outbox: whatever memory forgets is found again by `Fetch`.

**Order.** Live events go first, in order of recording. A live event is one recorded on the present connection and
never sent; everything else is backlog, which keeps a pace of its own: see `pace`. It goes in order of recording as
well, while none of it takes the link down.

**Window.** At most `window` events in flight, and about `in_flight_s` seconds of the uplink's bytes; fewer at first and
where the back-end puts events off: see `window`.

**Put off.** `retry` waits as long as the back-end says, everything else ever longer. Unreadable answers do not count as
failures; the event is sent again. **Poison**, an event that takes the link down, goes alone, then without its original
image, and in the end to the dead letters. For both see `histories`; for what passes meanwhile `weeding`.

**Silence.** With events in flight and no sign of life for `ack_s` plus the time their bytes need, at most `dead_s`, the
connection is aborted: see `line`. An event that a later one has overtaken, and that is older than `ack_s`, has lost its
answer: it alone is sent again. So is one of a type that the back-end never answers, where it lives: see `mute`.

**Status.** Only the newest one is sent; an older one is forgotten wherever it stands.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from lpr.link.actions import AbortLink, Action, Bury, Fetch, GaveUp, Revive, Send, Settle
from lpr.link.base import DeliveryLimits, LinkDeadlines, Progress
from lpr.link.deferred import Deferred
from lpr.link.histories import Histories, History
from lpr.link.line import Line
from lpr.link.listing import Listing
from lpr.link.mute import Mute
from lpr.link.pace import Pace
from lpr.link.weeding import Weeding
from lpr.link.window import Window
from lpr.outbox.base import Ticket
from lpr.wire import PROCESSING_STATUS, Ack, Duplicate, Rejected, Retry, SoftFailure, Stored, Unreadable

UNANSWERED = "UNANSWERED"
"""Dead letter: the back-end answers no event of this type."""
NOT_TAKEN = "NOT_TAKEN"
"""Dead letter: the back-end answered without success, again and again."""
LINK_LOST = "LINK_LOST"
"""Dead letter: the connection broke every time that this event was sent."""

_BARREN = 3
"""After so many connections that took nothing, what was in flight at their ends is tried alone: else new events, of
which each may be as bad, would always go first."""
_SHORTEST_RETRY_S = 0.1
LATE_ANSWERS = 64
"""Emissions that nobody waits for any more, and of which an answer is still heard."""


@dataclass(frozen=True, slots=True)
class Flight:
    """One event in flight. `order` is its place among the sends."""

    ticket: Ticket
    order: int
    sent_at: float
    backlog: bool
    alone: bool


class Delivery:
    """The machine. All methods are quick and never wait; none raises on anything that the other side can cause."""

    def __init__(self, limits: DeliveryLimits, deadlines: LinkDeadlines) -> None:
        self._limits = limits
        self._ack_s = deadlines.ack_s
        self._line = Line(limits, deadlines)
        self._pace = Pace(limits.window)
        self._histories = Histories(limits)
        self._mute = Mute()
        self._weeding = Weeding(limits, deadlines)
        self._window = Window(limits.window)
        self._deferred = Deferred(limits.deferred)
        self._disk = Listing()

        self._up = False
        self._up_since = 0.0
        self._aborting = False
        self._passed_here = 0
        self._barren = 0
        """Connections in a row that took nothing and were lost with something in flight."""

        self._live: OrderedDict[str, Ticket] = OrderedDict()
        self._page: deque[Ticket] = deque()
        self._suspects: OrderedDict[str, Ticket] = OrderedDict()
        self._in_flight: dict[int, Flight] = {}
        self._leaving: dict[str, Ticket] = {}
        self._unanswered: OrderedDict[int, Ticket] = OrderedDict()
        self._newest_status: str | None = None

        self._out: list[Action] = []
        self._to_settle: list[str] = []
        self._emissions = 0
        self._given_up = 0
        self._answered_order = 0

    # What others may know

    @property
    def in_flight(self) -> int:
        """Events handed to the socket and not answered."""
        return len(self._in_flight)

    @property
    def drained(self) -> bool:
        """Nothing waits that is known of, here or on disk, and everything that left has left the disk too."""
        return self._disk.has_shown_all and not (
            self._live
            or self._page
            or self._deferred
            or self._suspects
            or self._mute
            or self._in_flight
            or self._leaving
        )

    @property
    def unanswered(self) -> int:
        """Sends that got no answer in time, or lost their connection before it."""
        return self._given_up

    def silent_s(self, now: float) -> float:
        """How long nothing has been answered, and no bytes have moved, on the connection that stands."""
        return self._line.silent_s(now)

    @property
    def passed_on_this_link(self) -> int:
        """Events that the back-end took (or rejected) on the present connection."""
        return self._passed_here

    # The link

    def link_up(self, now: float, *, replay_per_second: float | None = None) -> None:
        """A connection stands. `replay_per_second` bounds the backlog: None is no bound, 0 is no backlog at all."""
        self._up, self._up_since, self._aborting = True, now, False
        self._window.came_up()
        self._passed_here = self._answered_order = 0
        self._line.came_up(now)
        self._pace.came_up(now, replay_per_second, pause_s=self._weeding.came_up(now, barren=self._barren >= _BARREN))
        self._disk.look_again()

    def keep_to(self, replay_per_second: float | None) -> None:
        """The back-end's wish came after `link_up`."""
        self._pace.keep_to(replay_per_second)

    def link_down(self, now: float, *, wanted: bool = False) -> None:
        """The connection has ended; `wanted` where we closed it, which says nothing about the events in flight."""
        flights = list(self._in_flight.items())
        self._in_flight.clear()
        self._up = False
        if not wanted:
            self._note_backlog_lost(now, [flight for _, flight in flights if flight.backlog])
        if flights and not wanted:
            self._barren = 0 if self._passed_here else self._barren + 1
        for emission, flight in flights:
            self._remember_unanswered(emission, flight.ticket)
            if not wanted:
                sole = len(flights) == 1 and flight.ticket.event_type != PROCESSING_STATUS
                self._blame(now, flight, sole=sole)
        # All of it is on disk, and will be fetched in order of recording.
        self._live.clear()
        self._page.clear()
        self._mute.clear()
        self._disk.look_again()

    def _note_backlog_lost(self, now: float, flights: list[Flight]) -> None:
        if any(not flight.alone for flight in flights):
            self._weeding.backlog_lost()
        elif flights and self._passed_here:
            self._weeding.suspect_lost(now)

    # The outbox

    def expected(self, now: float) -> None:
        """An event is being recorded."""
        self._pace.give_way(now)

    def recorded(self, now: float, ticket: Ticket) -> None:
        """An event has been recorded."""
        if ticket.event_type == PROCESSING_STATUS:
            self._replace_status(ticket)
        elif not self._up or _was_sent_or_waited(ticket) or len(self._live) >= self._limits.live_queue:
            self._disk.look_again()
        elif not self._is_known(ticket.event_id):
            self._live[ticket.event_id] = ticket

    def page(self, now: float, tickets: Sequence[Ticket], limit: int) -> None:
        """What `Fetch` asked for, in order of recording."""
        self._disk.ended(full=len(tickets) >= limit)
        known = self._known_ids()
        for ticket in tickets:
            if ticket.event_type == PROCESSING_STATUS and self._newest_status is None:
                self._newest_status = ticket.event_id
            if ticket.event_id not in known and not self._is_stale_status(ticket):
                self._page.append(ticket)
        if not self._up:
            self._page.clear()
            self._disk.look_again()

    def fetch_failed(self, now: float) -> None:
        """The outbox could not be read: ask again in a moment."""
        self._disk.failed(again_at=now + self._limits.first_retry_s)

    def left(self, event_ids: Iterable[str]) -> None:
        """`Settle` or `Bury` has been carried out."""
        for event_id in event_ids:
            self._leaving.pop(event_id, None)
            self._histories.forget(event_id)

    def gone(self, now: float, emission: int) -> None:
        """The event of this emission is no longer in the outbox: it was dropped, or a newer status took its place."""
        flight = self._in_flight.pop(emission, None)
        if flight is not None:
            self._histories.forget(flight.ticket.event_id)

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

    def answered(self, now: float, emission: int, ack: Ack) -> bool:
        """The back-end answered; returns whether that changed anything, be it late."""
        flight = self._in_flight.pop(emission, None)
        if flight is None:
            return self._answered_late(emission, ack)
        if now - flight.sent_at < self._ack_s:
            self._leave_the_mute_lane(flight.ticket.event_type)
        self._line.answered(now, sent_at=flight.sent_at, size_bytes=flight.ticket.size_bytes)
        if flight.backlog:
            self._weeding.answered()
            self._pace.answered(now - flight.sent_at)
        else:
            self._pace.live_came_through()
        self._answered_order = max(self._answered_order, flight.order)
        match ack:
            case Stored() | Duplicate():
                self._taken(flight.ticket)
                self._leave(flight.ticket)
            case Rejected(code, message):
                self._taken(flight.ticket)
                self._leave(flight.ticket, code, message)
            case Retry() | SoftFailure() | Unreadable():
                self._not_taken(now, flight, ack)
        return True

    def progressed(self, now: float, progress: Progress) -> None:
        """How far the bytes have come. Bytes under way that advance are a sign of life, and measure the uplink."""
        self._line.progressed(now, progress)

    def messages_are_smaller_now(self) -> None:
        """Of what was lost in whole, nobody knows that it would be again: it is sent in whole once more."""
        self._histories.forget_losses_alone()
        self._weeding.messages_are_smaller_now()

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
            moments.append(self._silence_ends_at())
            moments += [flight.sent_at + self._ack_s for flight in self._in_flight.values() if self._overtaken(flight)]
        if self._window_has_room() and self._alone_in_flight() is None:
            moments += self._moments_to_send()
        if (fetch_at := self._disk.next_at) is not None:
            moments.append(fetch_at)
        return min((moment for moment in moments if moment > now), default=None)

    # Choosing

    def _choose(self, now: float) -> tuple[Ticket, bool, bool] | None:
        """The next event to send, whether it is backlog, and whether alone; None where nothing may go now."""
        if self._alone_in_flight() is not None:
            return None
        # Events whose time has come go to the head of the backlog.
        self._page.extendleft(reversed(self._deferred.woken(now)))
        if not self._window_has_room() or now < self._window.shut_until:
            return self._choose_mute(now)
        ticket = self._peek_live()
        backlog = self._peek_backlog(now)
        # Asked after the peeks, which may have set suspects aside.
        if self._suspect_is_due(now):
            # Nothing else starts until the window has drained, or the suspect would wait for ever.
            return None if self._in_flight else (self._suspects.popitem(last=False)[1], True, True)
        if (mute := self._choose_mute(now)) is not None:
            return mute
        if ticket is not None and not (backlog is not None and self._pace.goes_before_live):
            chosen, is_backlog = ticket, False
        elif backlog is not None:
            chosen, is_backlog = backlog, True
        else:
            return None
        if not self._fits_the_uplink(chosen):
            return None
        if is_backlog:
            self._weeding.sent(now)
            self._page.remove(chosen)
        else:
            self._live.popitem(last=False)
        return chosen, is_backlog, False

    def _in_the_window(self) -> list[Flight]:
        return [flight for flight in self._in_flight.values() if not self._mute.has_lane(flight.ticket.event_type)]

    def _window_has_room(self) -> bool:
        return len(self._in_the_window()) < self._window.size

    def _choose_mute(self, now: float) -> tuple[Ticket, bool, bool] | None:
        """As `_choose`, of what goes in the lane for mute types, which keeps no pace, but a wish for no backlog."""
        if len(self._in_flight) > len(self._in_the_window()):
            return None
        for event_id in list(self._mute):
            ticket = self._mute.of(event_id)
            replayed = self._is_replay(ticket, self._histories.of(event_id))
            if event_id in self._leaving or self._is_stale_status(ticket):
                self._mute.take(event_id)
            elif not (replayed and self._pace.next_at is None):
                if not self._fits_the_uplink(ticket):
                    return None
                self._mute.take(event_id)
                return ticket, replayed, False
        return None

    def _leave_the_mute_lane(self, event_type: str) -> None:
        """Events of this type are answered after all: what waits goes where it belongs, and so do dead letters."""
        if unheard := self._histories.heard_again(event_type):
            self._out.append(Revive(unheard))
        for ticket in self._mute.answered(event_type):
            if self._is_replay(ticket, self._histories.of(ticket.event_id)):
                self._page.append(ticket)
            else:
                self._live[ticket.event_id] = ticket

    def _peek_live(self) -> Ticket | None:
        while self._live:
            ticket = next(iter(self._live.values()))
            if not self._set_aside(ticket):
                return ticket
            del self._live[ticket.event_id]
        return None

    def _peek_backlog(self, now: float) -> Ticket | None:
        end = -1 if self._weeding.newest_first(now) else 0
        while self._page and self._set_aside(self._page[end]):
            del self._page[end]
        if not self._page or not self._pace.is_due(now):
            return None
        flying = sum(flight.backlog for flight in self._in_the_window())
        return self._page[end] if self._pace.has_room(flying, self._window.size) else None

    def _set_aside(self, ticket: Ticket) -> bool:
        """True where this ticket is not sent in its turn: it has left, is stale, goes alone, or in the mute lane."""
        if ticket.event_id in self._leaving or self._is_stale_status(ticket):
            return True
        if self._histories.is_suspect(ticket.event_id):
            self._suspects[ticket.event_id] = ticket
            if ticket.event_type == PROCESSING_STATUS:
                self._suspects.move_to_end(ticket.event_id, last=False)
            return True
        if self._mute.has_lane(ticket.event_type):
            self._mute.put(ticket)
            return True
        return False

    def _suspect_is_due(self, now: float) -> bool:
        """Whether the first of them may go now. They go in order, but for a status, which stands at their head and
        holds up nobody; a new one is no backlog.
        """
        for event_id, ticket in list(self._suspects.items()):
            if event_id in self._leaving or self._is_stale_status(ticket):
                del self._suspects[event_id]
                continue
            replayed = self._is_replay(ticket, self._histories.of(event_id))
            if now >= self._suspect_due_at(event_id) and (not replayed or self._pace.is_due(now)):
                self._suspects.move_to_end(event_id, last=False)
                return self._passed_here > 0 or self._barren >= _BARREN or self._nothing_else_waits()
            if ticket.event_type != PROCESSING_STATUS:
                return False
        return False

    def _suspect_due_at(self, event_id: str) -> float:
        return max(self._weeding.no_suspect_before, self._histories.of(event_id).not_before)

    def _nothing_else_waits(self) -> bool:
        return self._disk.has_shown_all and not (self._live or self._page or self._in_flight)

    def _alone_in_flight(self) -> Flight | None:
        return next((flight for flight in self._in_flight.values() if flight.alone), None)

    def _fits_the_uplink(self, ticket: Ticket) -> bool:
        """One event always may go; a further one only where the uplink carries all of them in `in_flight_s`."""
        return not self._in_flight or self._line.carries(self._bytes_in_flight() + ticket.size_bytes)

    def _moments_to_send(self) -> Iterator[float]:
        """When something that waits for its time, not for an input, may be sent."""
        yield self._window.shut_until
        if (due_at := self._deferred.next_at) is not None:
            yield max(due_at, self._window.shut_until)
        if (next_at := self._pace.next_at) is not None and (self._page or self._suspects):
            yield next_at
        for event_id in list(self._suspects)[:2]:
            yield self._suspect_due_at(event_id)

    def _send(self, now: float, ticket: Ticket, *, backlog: bool, alone: bool) -> None:
        history = self._histories.of(ticket.event_id)
        replayed = self._is_replay(ticket, history)
        history.attempt = max(history.attempt, ticket.attempts) + 1
        if not self._in_flight:
            self._line.became_busy(now)
        if backlog:
            self._pace.sent(now)
        else:
            self._pace.sent_live(now)
        self._window.sent(now)
        self._emissions += 1
        self._in_flight[self._emissions] = Flight(ticket, self._emissions, now, backlog, alone)
        bare = ticket.event_type != PROCESSING_STATUS and self._histories.is_to_be_bare(ticket.event_id)
        self._out.append(Send(self._emissions, ticket, history.attempt, replayed, bare))

    def _is_replay(self, ticket: Ticket, history: History) -> bool:
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
        if not self._disk.may_begin(now) or len(self._page) > self._limits.page // 2 or self._deferred.is_full:
            return
        self._disk.begin()
        self._out.append(Fetch(self._limits.page * self._weeding.pages, frozenset(self._known_ids())))

    # Silence

    def _give_up_on_the_silent(self, now: float) -> None:
        if not self._in_flight:
            return
        for emission, flight in list(self._in_flight.items()):
            if self._overtaken(flight) and now - flight.sent_at >= self._ack_s:
                self._send_again_later(now, emission)
        if not self._in_flight or now < self._silence_ends_at():
            return
        late = [
            (emission, flight) for emission, flight in self._in_flight.items() if now - flight.sent_at >= self._ack_s
        ]
        types = {flight.ticket.event_type for _, flight in late}
        if all(self._line.heard_since(flight.sent_at) for _, flight in late):
            if self._mute.are_mute(types):
                for emission, _ in late:
                    self._send_again_later(now, emission)
                self._line.became_busy(now)
                return
            self._mute.went_unanswered(types)
        self._aborting = True
        silent_s = self._line.silent_s(now)
        self._out.append(AbortLink(f"no answer for {silent_s:.1f} s with {len(self._in_flight)} events in flight"))

    def _send_again_later(self, now: float, emission: int) -> None:
        """Wait no longer for this answer; the connection goes on."""
        ticket = self._in_flight.pop(emission).ticket
        self._remember_unanswered(emission, ticket)
        self._out.append(GaveUp(emission, unanswered=True))
        reason = None
        if self._mute.are_mute({ticket.event_type}):
            reason = self._histories.went_unanswered(ticket.event_id, ticket.event_type)
        if reason is None:
            self._defer(now, ticket, self._histories.put_off(ticket.event_id))
        else:
            self._leave(ticket, UNANSWERED, reason)

    def _silence_ends_at(self) -> float:
        """When what is in flight has waited for too long; nothing has before its own `ack_s` are over."""
        oldest_at = min(flight.sent_at for flight in self._in_flight.values())
        return max(self._line.dead_at(self._bytes_in_flight()), oldest_at + self._ack_s)

    def _overtaken(self, flight: Flight) -> bool:
        return flight.order < self._answered_order

    def _bytes_in_flight(self) -> int:
        return sum(flight.ticket.size_bytes for flight in self._in_flight.values())

    # Answers

    def _taken(self, ticket: Ticket) -> None:
        self._passed_here += 1
        if wronged := self._histories.an_event_passed(ticket.event_type):
            self._out.append(Revive(wronged))
        self._window.taken()

    def _not_taken(self, now: float, flight: Flight, ack: Retry | SoftFailure | Unreadable) -> None:
        self._window.put_off(now)
        event_id = flight.ticket.event_id
        wait_s = self._histories.put_off(event_id)
        if isinstance(ack, Retry) and ack.after_ms is not None:
            wait_s = max(_SHORTEST_RETRY_S, ack.after_ms / 1000.0)
        if isinstance(ack, SoftFailure) and (reason := self._histories.not_taken(event_id, ack.message)) is not None:
            self._leave(flight.ticket, NOT_TAKEN, reason)
        else:
            self._defer(now, flight.ticket, wait_s)

    def _answered_late(self, emission: int, ack: Ack) -> bool:
        """An answer to an emission that was given up: what it says of the event is as true as ever."""
        ticket = self._unanswered.pop(emission, None)
        if ticket is None or ticket.event_id in self._leaving:
            return False
        match ack:
            case Stored() | Duplicate():
                self._taken(ticket)
                self._forget(ticket.event_id)
                self._leave(ticket)
            case Rejected(code, message):
                self._taken(ticket)
                self._forget(ticket.event_id)
                self._leave(ticket, code, message)
            case _:
                return False
        return True

    def _leave(self, ticket: Ticket, code: str | None = None, reason: str = "") -> None:
        self._leaving[ticket.event_id] = ticket
        if code is None:
            self._to_settle.append(ticket.event_id)
        else:
            self._out.append(Bury(ticket, code, reason))

    def _forget(self, event_id: str) -> None:
        """Take an event out of the places from which it would be sent again. (Queues skip what is leaving.)"""
        self._deferred.take(event_id)
        self._suspects.pop(event_id, None)
        self._mute.take(event_id)
        for emission, flight in list(self._in_flight.items()):
            if flight.ticket.event_id == event_id:
                del self._in_flight[emission]
                self._out.append(GaveUp(emission))

    def _remember_unanswered(self, emission: int, ticket: Ticket) -> None:
        self._given_up += 1
        self._unanswered[emission] = ticket
        while len(self._unanswered) > LATE_ANSWERS:
            self._unanswered.popitem(last=False)

    # Putting off, poison, status

    def _defer(self, now: float, ticket: Ticket, wait_s: float) -> None:
        if self._is_stale_status(ticket):
            return
        if self._deferred.put(ticket, now + wait_s):
            # What was let go is still on disk; paging has paused, so it will not come back at once.
            self._disk.look_again()

    def _blame(self, now: float, flight: Flight, *, sole: bool) -> None:
        """The link was lost with this event in flight; `sole` where nothing else was."""
        ticket = flight.ticket
        # One of the mute lane is nearly always in flight, whatever ends a connection.
        if ticket.event_id in self._leaving or self._mute.has_lane(ticket.event_type):
            return
        # A status that has been replaced meanwhile has handed on its history.
        event_id = self._newest_status if self._is_stale_status(ticket) else ticket.event_id
        reason = self._histories.link_was_lost(now, event_id or ticket.event_id, alone=flight.alone, sole=sole)
        if reason is not None and ticket.event_type != PROCESSING_STATUS:
            self._leave(ticket, LINK_LOST, reason)
        elif flight.alone and self._histories.is_on_trial(ticket.event_id):
            self._suspects[ticket.event_id] = ticket
            self._suspects.move_to_end(ticket.event_id, last=False)

    def _replace_status(self, ticket: Ticket) -> None:
        """The newest status takes the place of the one that waits, so that a busy link does not starve it."""
        before, self._newest_status = self._newest_status, ticket.event_id
        if before is not None and before != ticket.event_id:
            self._histories.hand_on(before, to=ticket.event_id)
        for event_id in (before, ticket.event_id):
            if event_id is not None:
                self._deferred.take(event_id)
                self._suspects.pop(event_id, None)
                self._mute.take(event_id)
        if not self._up:
            self._disk.look_again()
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

    def _known_ids(self) -> set[str]:
        return {
            *self._live,
            *(ticket.event_id for ticket in self._page),
            *self._deferred,
            *self._suspects,
            *self._mute,
            *(flight.ticket.event_id for flight in self._in_flight.values()),
            *self._leaving,
        }

    def _is_known(self, event_id: str) -> bool:
        return (
            event_id in self._live
            or event_id in self._deferred
            or event_id in self._suspects
            or event_id in self._mute
            or event_id in self._leaving
            or any(flight.ticket.event_id == event_id for flight in self._in_flight.values())
            or any(ticket.event_id == event_id for ticket in self._page)
        )


def _was_sent_or_waited(ticket: Ticket) -> bool:
    """A dead letter that is tried again, or a delivery that was asked for again: backlog, though it comes just now."""
    return ticket.recorded_offline or ticket.attempts > 0
