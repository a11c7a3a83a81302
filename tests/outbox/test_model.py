"""SQLite against memory: whatever is done, in whatever order, both outboxes must show the same."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lpr.domain.commands import EventRange
from lpr.domain.errors import OutboxFullError
from lpr.domain.events import ErrorRaised
from lpr.outbox.base import Outbox, Ticket
from lpr.outbox.limits import OutboxLimits
from lpr.testing.clock import FakeClock
from lpr.wire import parse_overflow_details
from tests.outbox.helpers import MemoryStore, SqliteStore, detection, failure, status

T = TypeVar("T")

LIMITS = OutboxLimits(max_bytes=30_000, max_age_s=500.0, min_free_disk=0, keep_delivered_s=300.0)
SIZES = st.sampled_from([0, 500, 3000, 8000])
NAMES = st.sampled_from(["29A12345", "59X112345", "80NG63160"])
PICKS = st.integers(0, 30)


class OutboxesAgree(RuleBasedStateMachine):
    """Two outboxes and one clock. Ids differ, so events are compared by what else they say."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="outbox-model-"))
        self.clock = FakeClock()
        self.loop = asyncio.new_event_loop()
        self.boots = 0

    @initialize()
    def open(self) -> None:
        self.stores = (MemoryStore(self.clock), SqliteStore(self.clock, self.directory / "data"))
        self.open_both()

    def open_both(self) -> None:
        self.boots += 1
        boot_id = f"boot-{self.boots}"
        self.outboxes: list[Outbox] = [self.run(store.open(boot_id=boot_id, limits=LIMITS)) for store in self.stores]
        self.heard: list[list[ErrorRaised]] = [[], []]
        for outbox, heard in zip(self.outboxes, self.heard, strict=True):
            outbox.on_trouble(heard.append)
        self.run(asyncio.sleep(0))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def waiting(self, outbox: Outbox) -> Sequence[Ticket]:
        return self.run(outbox.waiting(limit=10_000))

    def pick(self, outbox: Outbox, index: int) -> str:
        tickets = self.waiting(outbox)
        return tickets[index % len(tickets)].event_id if tickets else "nothing waits"

    @rule(name=NAMES, plate=SIZES, original=SIZES, link_up=st.booleans())
    def record(self, name: str, plate: int, original: int, link_up: bool) -> None:
        event = detection(name, plate_bytes=plate, original_bytes=original, at=self.clock.now())
        for outbox in self.outboxes:
            self.run(outbox.record(event, link_up=link_up))

    @rule()
    def record_error(self) -> None:
        for outbox in self.outboxes:
            self.run(outbox.record(failure(at=self.clock.now()), link_up=True))

    @rule()
    def record_what_can_never_fit(self) -> None:
        for outbox in self.outboxes:
            try:
                self.run(outbox.record(detection(plate_bytes=40_000), link_up=True))
            except OutboxFullError:
                continue
            raise AssertionError("it was taken in")

    @rule(count=st.integers(0, 9))
    def put_status(self, count: int) -> None:
        for outbox in self.outboxes:
            self.run(outbox.put_status(status(count, at=self.clock.now())))

    @rule(picks=st.lists(PICKS, max_size=5))
    def settle(self, picks: list[int]) -> None:
        for outbox in self.outboxes:
            self.run(outbox.settle([self.pick(outbox, index) for index in picks]))

    @rule(index=PICKS)
    def count_attempt(self, index: int) -> None:
        for outbox in self.outboxes:
            self.run(outbox.count_attempt(self.pick(outbox, index)))

    @rule(index=PICKS)
    def bury(self, index: int) -> None:
        for outbox in self.outboxes:
            self.run(outbox.bury(self.pick(outbox, index), code="NO", reason="không"))

    @rule(index=PICKS)
    def retry(self, index: int) -> None:
        for outbox in self.outboxes:
            dead = self.run(outbox.dead_letters(limit=100))
            names = [dead[index % len(dead)].ticket.event_id] if dead else ["none"]
            assert self.run(outbox.retry_dead(names)) == len(dead[:1])

    @rule(index=PICKS)
    def drop_dead(self, index: int) -> None:
        for outbox in self.outboxes:
            dead = self.run(outbox.dead_letters(limit=100))
            names = [dead[index % len(dead)].ticket.event_id] if dead else ["none"]
            assert self.run(outbox.drop_dead(names)) == len(dead[:1])

    @rule(first=st.integers(1, 40), count=st.integers(0, 20))
    def replay(self, first: int, count: int) -> None:
        events = EventRange(from_sequence=first, to_sequence=first + count)
        memory, disk = (self.run(outbox.replay(events)) for outbox in self.outboxes)
        assert memory == disk <= count + 1

    @precondition(lambda self: self.boots < 4)
    @rule()
    def restart(self) -> None:
        for outbox in self.outboxes:
            self.run(outbox.close())
        self.open_both()

    @rule(seconds=st.sampled_from([0.5, 60.0, 400.0]))
    def pass_time(self, seconds: float) -> None:
        self.run(self.clock.advance(seconds))
        self.look_at_age()

    @rule(seconds=st.sampled_from([-3600.0, 3600.0]))
    def jump(self, seconds: float) -> None:
        self.clock.jump_wall(seconds)
        self.look_at_age()

    def look_at_age(self) -> None:
        """The one looks at age with every record, the other once a minute of its own: ask both now."""
        for outbox in self.outboxes:
            self.run(look_at_age(outbox))

    @invariant()
    def both_show_the_same(self) -> None:
        memory, disk = (self.shown(outbox) for outbox in self.outboxes)
        assert memory == disk
        assert [report(error) for error in self.heard[0]] == [report(error) for error in self.heard[1]]

    @invariant()
    def numbers_are_those_of_what_is_there(self) -> None:
        for outbox in self.outboxes:
            numbers, waiting = self.run(outbox.status()), self.waiting(outbox)
            dead = self.run(outbox.dead_letters(limit=10_000))
            assert numbers.pending == len(waiting)
            assert numbers.dead_letters == len(dead)
            assert numbers.bytes == sum(t.size_bytes for t in waiting) + sum(d.ticket.size_bytes for d in dead)
            assert len([ticket for ticket in waiting if ticket.sequence is None]) <= 1

    def shown(self, outbox: Outbox) -> dict[str, Any]:
        entries = [self.run(outbox.load(ticket.event_id)) for ticket in self.waiting(outbox)]
        return {
            "entries": [
                (
                    replace(entry.ticket, event_id=""),
                    {**entry.body, "eventId": ""},
                    entry.plate_image,
                    entry.original_image,
                    entry.original_omitted,
                )
                for entry in entries
                if entry is not None
            ],
            "dead": [
                (replace(letter.ticket, event_id=""), letter.code, letter.reason, letter.buried_at)
                for letter in self.run(outbox.dead_letters(limit=1000))
            ],
            "status": self.run(outbox.status()),
        }

    def teardown(self) -> None:
        for outbox in getattr(self, "outboxes", ()):
            self.run(outbox.close())
        self.run(self.loop.shutdown_default_executor())
        self.loop.close()
        shutil.rmtree(self.directory)


async def look_at_age(outbox: Outbox) -> None:
    queue = outbox._queue  # type: ignore[attr-defined]
    if hasattr(outbox, "_write"):

        def expire(_: object) -> list[Ticket]:
            queue.expire()
            return []

        await outbox._write(expire)
    else:
        queue.expire()
        outbox._finish([])  # type: ignore[attr-defined]


def report(error: ErrorRaised) -> tuple[str, object]:
    parsed = parse_overflow_details(error.details) if error.code == "QUEUE_OVERFLOW" else dict(error.details)
    return error.code.value, parsed


TestOutboxesAgree = OutboxesAgree.TestCase
TestOutboxesAgree.settings = settings(
    max_examples=12,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
