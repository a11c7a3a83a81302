"""The delivery core against a model: whatever links, back-ends, disks and people do to it, the promises hold."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from lpr.link.base import DeliveryLimits
from lpr.wire import Duplicate, Rejected, Retry, SoftFailure, Stored, Unreadable
from tests.link.model import ERROR, PLATE_DETECTED, PROCESSING_STATUS, World

ACKS = st.one_of(
    st.just(Stored()),
    st.just(Duplicate()),
    st.just(Rejected("BAD", "no")),
    st.builds(Retry, st.one_of(st.none(), st.sampled_from([0, 1, 500, 60_000]))),
    st.just(SoftFailure("no")),
    st.just(Unreadable("?")),
)
SIZES = st.sampled_from([500, 100_000, 900_000])


class DeliveryMachine(RuleBasedStateMachine):
    """Every rule is something that the world may do; every check is in `World`."""

    @initialize(small=st.booleans())
    def start(self, small: bool) -> None:
        # Small limits, so that what happens at each of them is met often.
        limits = DeliveryLimits(live_queue=4, page=4, deferred=6, histories=200) if small else DeliveryLimits()
        self.world = World(limits)

    @rule(kind=st.sampled_from([PLATE_DETECTED, ERROR, PROCESSING_STATUS, PROCESSING_STATUS]), size=SIZES)
    def something_is_recorded(self, kind: str, size: int) -> None:
        self.world.record(kind, size)

    @rule()
    def something_is_about_to_be_recorded(self) -> None:
        self.world.expect()

    @rule(amount=st.integers(1, 40), size=SIZES)
    def many_are_recorded(self, amount: int, size: int) -> None:
        for _ in range(amount):
            self.world.record(PLATE_DETECTED, size)

    @precondition(lambda self: not self.world.up)
    @rule(rate=st.sampled_from([None, None, None, 0.0, 5.0]))
    def the_link_comes_up(self, rate: float | None) -> None:
        self.world.connect(rate)

    @precondition(lambda self: self.world.up)
    @rule(wanted=st.sampled_from([False, False, False, True]))
    def the_link_is_lost(self, wanted: bool) -> None:
        self.world.lose(wanted=wanted)

    @rule(times=st.integers(1, 12), taken=st.integers(0, 2), seconds=st.sampled_from([0.0, 1.0, 30.0]))
    def the_link_flaps(self, times: int, taken: int, seconds: float) -> None:
        for _ in range(times):
            if not self.world.up:
                self.world.connect()
            while self.world.fetches:
                self.world.page()
            for emission in sorted(self.world.open)[:taken]:
                self.world.answer(emission, Stored())
            if self.world.up:
                self.world.lose()
            self.world.advance(seconds)

    @precondition(lambda self: self.world.open)
    @rule(data=st.data(), ack=ACKS)
    def an_answer_comes(self, data: st.DataObject, ack: object) -> None:
        self.world.answer(data.draw(st.sampled_from(sorted(self.world.open))), ack)  # type: ignore[arg-type]

    @precondition(lambda self: self.world.open)
    @rule(amount=st.integers(1, 30))
    def the_back_end_takes_many(self, amount: int) -> None:
        for _ in range(amount):
            if self.world.open:
                self.world.answer(min(self.world.open), Stored())

    @precondition(lambda self: len(self.world.open) > 1)
    @rule()
    def an_answer_is_lost_for_good(self) -> None:
        """The oldest in flight is never answered, the others are, and time goes by."""
        oldest = min(self.world.open)
        for emission in sorted(self.world.open):
            if emission != oldest and emission in self.world.open:
                self.world.answer(emission, Stored())
        self.world.advance(9.0)

    @precondition(lambda self: self.world.open)
    @rule(amount=st.integers(1, 30), ack=st.sampled_from([Retry(None), Retry(100), SoftFailure("no"), Unreadable("?")]))
    def the_back_end_takes_none(self, amount: int, ack: Retry | SoftFailure | Unreadable) -> None:
        for _ in range(amount):
            if self.world.open:
                self.world.answer(min(self.world.open), ack)
            self.world.advance(0.7)

    @precondition(lambda self: self.world.sends)
    @rule(data=st.data(), ack=ACKS)
    def an_old_answer_comes_late_or_again(self, data: st.DataObject, ack: object) -> None:
        self.world.answer(data.draw(st.sampled_from(sorted(self.world.sends))), ack)  # type: ignore[arg-type]

    @precondition(lambda self: self.world.open)
    @rule(data=st.data())
    def an_answer_is_lost(self, data: st.DataObject) -> None:
        self.world.stored.add(self.world.open[data.draw(st.sampled_from(sorted(self.world.open)))].ticket.event_id)

    @precondition(lambda self: self.world.fetches)
    @rule()
    def the_disk_lists(self) -> None:
        self.world.page()

    @precondition(lambda self: self.world.fetches)
    @rule()
    def the_disk_does_not_list(self) -> None:
        self.world.fetches.clear()
        self.world.machine.fetch_failed(self.world.now)
        self.world.step()

    @precondition(lambda self: self.world.to_leave)
    @rule()
    def the_disk_deletes(self) -> None:
        self.world.clear()

    @precondition(lambda self: self.world.disk)
    @rule(data=st.data())
    def an_operator_drops_an_event(self, data: st.DataObject) -> None:
        self.world.drop(data.draw(st.sampled_from(sorted(self.world.disk))))

    @precondition(lambda self: self.world.open)
    @rule(data=st.data())
    def an_event_cannot_be_read(self, data: st.DataObject) -> None:
        emission = data.draw(st.sampled_from(sorted(self.world.open)))
        self.world.open.pop(emission)
        self.world.machine.postpone(self.world.now, emission)
        self.world.step()

    @rule(seconds=st.sampled_from([0.01, 0.5, 3.0, 9.0, 70.0, 100_000.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.advance(seconds)

    @rule(
        acked=st.integers(0, 10**7),
        pending=st.sampled_from([0, 0, 5_000, 800_000]),
        heard_s_ago=st.sampled_from([None, 0.0, 4.0]),
    )
    def the_kernel_tells_how_far_it_is(self, acked: int, pending: int, heard_s_ago: float | None) -> None:
        self.world.progress(acked, pending, heard_s_ago)

    @precondition(lambda self: self.world.open)
    @rule(seconds=st.sampled_from([9.0, 13.0]))
    def the_back_end_lives_and_answers_nothing(self, seconds: float) -> None:
        self.world.advance(seconds / 2)
        self.world.progress(0, 0, 0.0)
        self.world.advance(seconds / 2)

    @rule()
    def the_process_is_killed(self) -> None:
        self.world.restart()

    def teardown(self) -> None:
        if hasattr(self, "world"):
            if self.world.rate == 0:
                self.world.lose(wanted=True)  # a back-end that wants no backlog is replaced by one that does
            # Any other connection goes on: what is forgotten on it would be found again on a new one.
            self.world.heal()


TestDelivery = DeliveryMachine.TestCase
TestDelivery.settings = settings(
    max_examples=int(os.environ.get("LPR_MODEL_EXAMPLES", "60")),
    stateful_step_count=60,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking sixty steps of simulation takes minutes
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
