"""A model of delivery on one page: a disk, a back-end, and what an honest middleman between them may do.

It holds the machine's actions against the facts: what lies on disk, what was sent and not yet answered, what was
answered. It knows nothing of how the machine decides.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

from lpr.link.actions import AbortLink, Bury, Fetch, GaveUp, Revive, Send, Settle
from lpr.link.base import DeliveryLimits, LinkDeadlines, Progress
from lpr.link.delivery import Delivery
from lpr.outbox.base import Ticket
from lpr.wire import ERROR, PLATE_DETECTED, PROCESSING_STATUS, Ack, Duplicate, Rejected, SoftFailure, Stored

EPOCH = datetime(2026, 11, 23, tzinfo=UTC)


def ticket(
    name: str, *, kind: str = PLATE_DETECTED, size: int = 100_000, at: float | None = 0.0, **changes: object
) -> Ticket:
    """A ticket recorded at monotonic second `at` (None: by an earlier run)."""
    made = Ticket(
        event_id=name,
        event_type=kind,
        sequence=None if kind == PROCESSING_STATUS else 1,
        size_bytes=size,
        attempts=0,
        recorded_offline=False,
        recorded_at=EPOCH + timedelta(seconds=at or 0.0),
        recorded_monotonic_s=at,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


class World:
    """The machine under test between a disk and a back-end."""

    def __init__(self, limits: DeliveryLimits | None = None) -> None:
        self.limits = limits or DeliveryLimits()
        self.now = 1000.0
        self.up = False
        self.rate: float | None = None
        self.disk: dict[str, Ticket] = {}
        self.dead: dict[str, str] = {}
        self.graves: dict[str, Ticket] = {}
        self.to_revive: set[str] = set()
        self.dropped: set[str] = set()
        self.recorded: list[str] = []
        self.stored: set[str] = set()
        self.sends: dict[int, Send] = {}
        self.sent: set[str] = set()
        self.sent_at: dict[int, float] = {}
        self.answered: set[int] = set()
        self.open: dict[int, Send] = {}
        self.fetches: list[Fetch] = []
        self.to_leave: list[tuple[str, ...]] = []
        self.aborts: list[str] = []
        self.said_stored: set[str] = set()
        self.rejected: set[str] = set()
        self.soft: defaultdict[str, int] = defaultdict(int)
        self.losses: defaultdict[str, int] = defaultdict(int)
        self.unanswered: defaultdict[str, int] = defaultdict(int)
        self.heard_at = float("-inf")
        self.status: str | None = None
        self._names = count(1)
        self.machine = Delivery(self.limits, LinkDeadlines())

    # What happens

    def record(self, kind: str = PLATE_DETECTED, size: int = 100_000) -> str:
        name = f"{kind[0]}{next(self._names)}"
        made = ticket(name, kind=kind, size=size, at=self.now, recorded_offline=not self.up)
        if kind == PROCESSING_STATUS:
            self.disk.pop(self.status or "", None)
            self.status = name
        else:
            self.recorded.append(name)
        self.disk[name] = made
        self.machine.recorded(self.now, made)
        self.step()
        return name

    def expect(self) -> None:
        """An event is being recorded, or begins to be and fails."""
        self.machine.expected(self.now)
        self.step()

    def connect(self, rate: float | None = None) -> None:
        self.up, self.rate = True, rate
        self.machine.link_up(self.now, replay_per_second=rate)
        self.step()

    def lose(self, *, wanted: bool = False) -> None:
        self.up, self.rate = False, None
        for send in self.open.values():
            self.losses[send.ticket.event_id] += not wanted
        self.open.clear()
        self.machine.link_down(self.now, wanted=wanted)
        self.step()

    def answer(self, emission: int, ack: Ack) -> None:
        """Answer any emission of this run, in flight or long given up, once or again."""
        name = self.sends[emission].ticket.event_id
        if isinstance(ack, Stored | Duplicate):
            self.stored.add(name)
            self.said_stored.add(name)
        elif isinstance(ack, Rejected):
            self.rejected.add(name)
        elif isinstance(ack, SoftFailure) and emission in self.open:
            self.soft[name] += 1
        if self.open.pop(emission, None) is not None:
            self.answered.add(emission)
        self.machine.answered(self.now, emission, ack)
        self.step()

    def page(self) -> None:
        fetch = self.fetches.pop(0)
        listed = [entry for name, entry in self.disk.items() if name not in fetch.exclude][: fetch.limit]
        self.machine.page(self.now, listed, fetch.limit)
        self.step()

    def clear(self) -> None:
        names = self.to_leave.pop(0)
        for name in names:
            if (left := self.disk.pop(name, None)) is not None and name in self.dead:
                self.graves[name] = left
        self.machine.left(names)
        self._revive()
        self.step()

    def _revive(self) -> None:
        for name in self.to_revive & self.graves.keys():
            del self.dead[name]
            self.to_revive.remove(name)
            self.soft[name] = self.unanswered[name] = 0
            self.disk[name] = replace(self.graves.pop(name), attempts=0, recorded_offline=True)
            self.disk = dict(sorted(self.disk.items(), key=lambda entry: int(entry[0][1:])))
            self.machine.recorded(self.now, self.disk[name])

    def drop(self, name: str) -> None:
        """An operator drops an event from the queue."""
        self.disk.pop(name, None)
        self.dropped.add(name)

    def restart(self) -> None:
        """The process is killed: memory is gone, the disk is not."""
        self.up, self.rate = False, None
        self.open.clear()
        self.losses.clear()  # counted in memory: a restart gives everybody a fresh start
        self.sends.clear()
        self.sent.clear()
        self.fetches.clear()
        for name in (name for names in self.to_leave for name in names):
            self.dead.pop(name, None)  # decided, not done
        self.to_leave.clear()
        self.to_revive.clear()
        for name, kept in self.disk.items():
            self.disk[name] = replace(kept, recorded_monotonic_s=None)
        self.machine = Delivery(self.limits, LinkDeadlines())

    def advance(self, seconds: float) -> None:
        self.now += seconds
        self.step()

    def progress(self, acked: int, pending: int, heard_s_ago: float | None = None) -> None:
        """The kernel tells how far the bytes are, and the transport when the other end last gave a sign of life."""
        if heard_s_ago is not None:
            self.heard_at = max(self.heard_at, self.now - heard_s_ago)
        self.machine.progressed(self.now, Progress(acked, pending, heard_s_ago))
        self.step()

    # What the machine does about it, and what it must not

    def step(self) -> None:
        found_gone = False
        for action in self.machine.step(self.now):
            match action:
                case Send():
                    found_gone = not self._sent(action) or found_gone
                case Settle(names):
                    assert set(names) <= self.said_stored, "settled without an answer that it is stored"
                    self.to_leave.append(names)
                case Bury(buried, code, _):
                    self._buried(buried.event_id, code)
                case Revive(names):
                    assert all(self.dead[name] in ("NOT_TAKEN", "UNANSWERED") for name in names)
                    self.to_revive.update(names)
                    self._revive()
                case GaveUp(emission, unanswered):
                    self._given_up(emission, unanswered=unanswered)
                case AbortLink(reason):
                    assert self.up
                    self.aborts.append(reason)
                case Fetch():
                    self.fetches.append(action)
                    assert len(self.fetches) == 1, "two listings at once"
        wake = self.machine.wake_at(self.now)
        assert wake is None or wake > self.now, "asks to be woken in the past: a busy loop"
        assert self.machine.in_flight == len(self.open)
        if self.aborts:
            self.aborts.clear()
            self.lose()
        elif found_gone:
            self.step()  # it was told so, which is an input: a place in the window is free

    def _sent(self, send: Send) -> bool:
        """Whether there was anything to send."""
        name = send.ticket.event_id
        assert self.up, "sent without a link"
        assert name not in {other.ticket.event_id for other in self.open.values()}, "in flight twice"
        assert send.ticket.event_type != PROCESSING_STATUS or name == self.status, "sent an old status"
        first = name not in self.sent
        assert send.attempt == self.disk[name].attempts + 1 if name in self.disk else True
        self.sends[send.emission] = send
        self.sent.add(name)
        self.sent_at[send.emission] = self.now
        if name not in self.disk:
            # Loading it finds nothing: memory may remember what has left, as long as nothing of it is sent.
            self.machine.gone(self.now, send.emission)
            return False
        assert name not in self.dead, "sent from the grave"
        assert send.replayed or (first and not send.ticket.recorded_offline), "a replay that does not say so"
        self.disk[name] = replace(self.disk[name], attempts=self.disk[name].attempts + 1)
        self.open[send.emission] = send
        # One that is no detection may go beside the window, where its type goes unanswered by a back-end that lives.
        beside = min(1, sum(other.ticket.event_type != PLATE_DETECTED for other in self.open.values()) * self.was_heard)
        assert len(self.open) <= self.limits.window + beside, "window exceeded"
        if self.losses[name] >= self.limits.losses_before_alone and not (beside and name[0] != PLATE_DETECTED[0]):
            assert len(self.open) == 1, "an event that took the link down twice was not sent alone"
        taken_down_alone = self.losses[name] > self.limits.losses_before_alone
        assert taken_down_alone or not send.bare, "lost its picture without having taken the link down alone"
        replays = sum(other.replayed for other in self.open.values())
        assert replays <= self.limits.window // 2 + beside, "the backlog took more than half of the window"
        return True

    @property
    def was_heard(self) -> bool:
        return self.heard_at > float("-inf")

    def _given_up(self, emission: int, *, unanswered: bool) -> None:
        name = self.open.pop(emission).ticket.event_id
        if not unanswered:
            assert name in self.said_stored or name in self.rejected, "given up although its time has not passed"
            return
        self.unanswered[name] += 1
        assert self.now - self.sent_at[emission] >= LinkDeadlines().ack_s, "given up too soon"
        overtaken = max(self.answered, default=0) > emission
        assert overtaken or self.heard_at > self.sent_at[emission], "given up although the other end may be dead"

    def _buried(self, name: str, code: str) -> None:
        if code == "NOT_TAKEN":
            assert self.soft[name] >= self.limits.soft_failures
        elif code == "LINK_LOST":
            assert self.losses[name] >= self.limits.losses_before_alone + self.limits.losses_alone
        elif code == "UNANSWERED":
            assert name[0] == ERROR[0], "only errors are"
            assert self.unanswered[name] >= self.limits.soft_failures
        else:
            assert name in self.rejected
        self.dead[name] = code
        self.to_leave.append((name,))

    def heal(self, steps: int = 20_000) -> None:
        """From now on everything works; everything must arrive, driven by nothing but what the machine asks for."""
        if not self.up:
            self.connect()
        for _ in range(steps):
            if self.machine.drained:
                break
            if self.fetches:
                self.page()
            elif self.to_leave:
                self.clear()
            elif self.open:
                emission = min(self.open)
                self.answer(emission, Duplicate() if self.open[emission].ticket.event_id in self.stored else Stored())
            elif (wake := self.machine.wake_at(self.now)) is not None:
                self.advance(wake - self.now)
            else:
                raise AssertionError(f"stuck with {len(self.disk)} events on disk")
        assert self.machine.drained, "did not come to rest"
        assert not self.disk
        for name in self.recorded:
            assert name in self.stored or name in self.dead or name in self.dropped, f"{name} was lost"


__all__ = ["ERROR", "PLATE_DETECTED", "PROCESSING_STATUS", "World", "ticket"]
