"""What the delivery core decides, case by case, in simulated time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lpr.link.actions import Send
from lpr.link.base import DeliveryLimits, LinkDeadlines, Progress
from lpr.link.delivery import Delivery
from lpr.wire import ERROR, PLATE_DETECTED, PROCESSING_STATUS, Duplicate, Rejected, Retry, SoftFailure, Stored
from tests.link.model import World, ticket


def connected(**limits: int) -> World:
    world = World(DeliveryLimits(**limits))
    world.connect()
    world.page()
    return world


def in_flight(world: World) -> list[str]:
    return [world.open[emission].ticket.event_id for emission in sorted(world.open)]


def answer(world: World, name: str, ack: object) -> None:
    [emission] = [number for number, send in world.open.items() if send.ticket.event_id == name]
    world.answer(emission, ack)  # type: ignore[arg-type]


def one_more_passes(world: World, heavy: str) -> None:
    """Another event is recorded, and all that is in flight is taken but `heavy`."""
    world.record()
    while world.fetches:
        world.page()
    for name in in_flight(world):
        if name != heavy:
            answer(world, name, Stored())


def warm_up(world: World) -> None:
    """Have enough taken that the window stands open."""
    for _ in range(10):
        name = world.record()
        answer(world, name, Stored())
    while world.to_leave:
        world.clear()


def test_the_window_opens_with_what_is_taken_and_is_never_more_than_eight() -> None:
    world = connected()
    names = [world.record() for _ in range(40)]
    widths = []
    while in_flight(world):
        widths.append(len(world.open))
        answer(world, in_flight(world)[0], Stored())
    assert widths[:4] == [2, 3, 4, 5]
    assert max(widths) == 8
    assert [world.sends[number].ticket.event_id for number in sorted(world.sends)] == names


def test_what_is_put_off_halves_the_window() -> None:
    world = connected()
    warm_up(world)
    for _ in range(8):
        world.record()
    assert len(world.open) == 8
    answer(world, in_flight(world)[0], Retry(60_000))
    for _ in range(4):
        answer(world, in_flight(world)[0], Duplicate())
        world.record()
    assert len(world.open) < 8


def test_live_events_go_before_the_backlog_and_the_backlog_has_half_of_the_window() -> None:
    world = World()
    for _ in range(30):
        world.record()
    world.connect()
    world.page()
    for _ in range(12):
        answer(world, in_flight(world)[0], Stored())
    assert len(world.open) == 4
    live = [world.record(), world.record()]
    assert in_flight(world)[-2:] == live
    assert [send.replayed for send in world.open.values()] == [True] * 4 + [False] * 2


def test_a_busy_gate_does_not_starve_the_backlog() -> None:
    world = World()
    backlog = [world.record() for _ in range(50)]
    world.connect()
    world.page()
    for _ in range(20):
        world.record()
    answered = []
    for _ in range(200):
        name = in_flight(world)[0]
        answered.append(name)
        answer(world, name, Stored())
        world.record()  # there is always a live event waiting
        if world.fetches:
            world.page()
    replayed = [name for name in answered if name in backlog]
    assert 20 <= len(replayed) <= 110
    assert replayed == sorted(replayed, key=backlog.index)


def test_the_backlog_keeps_the_rate_that_the_back_end_sets() -> None:
    world = World()
    for _ in range(50):
        world.record()
    world.connect(rate=5.0)
    world.page()
    start, moments = world.now, []
    while world.now < start + 4.0:
        while world.open:
            moments.append(world.now)
            answer(world, in_flight(world)[0], Stored())
        wake = world.machine.wake_at(world.now)
        assert wake is not None
        world.advance(wake - world.now)
    assert len(moments) == pytest.approx(20, abs=1)


@pytest.mark.parametrize("each_s", [0.1, 0.002])
def test_a_live_event_never_waits_behind_a_backlog_that_waits_for_itself(each_s: float) -> None:
    """A server that does one thing after another: more in flight would only be a longer queue in front of it."""
    world = World()
    for _ in range(200):
        world.record()
    world.connect()
    world.page()
    widths = []
    for _ in range(100):
        widths.append(len(world.open))
        world.advance(each_s)  # the time for one event, however many wait
        answer(world, in_flight(world)[0], Stored())
        if world.fetches:
            world.page()
    assert sum(widths[20:]) / len(widths[20:]) < 1.8
    assert max(widths) <= 2


def about_to_record() -> World:
    """A backlog on its way, of which nothing is in flight: it would go on at once, were nothing being recorded."""
    world = World()
    for _ in range(200):
        world.record()
    world.connect()
    world.page()
    for _ in range(20):
        world.advance(0.002)
        answer(world, in_flight(world)[0], Stored())
    world.expect()
    while world.open:
        answer(world, in_flight(world)[0], Stored())
    return world


def test_the_backlog_gives_way_to_an_event_that_is_being_recorded_until_it_is_answered() -> None:
    world = about_to_record()
    world.advance(0.003)
    live = world.record()
    world.advance(0.004)
    assert in_flight(world) == [live]
    answer(world, live, Stored())
    assert len(world.open) > 0


def test_the_backlog_goes_on_where_nothing_has_come_in_a_hundredth_of_a_second() -> None:
    world = about_to_record()
    wake = world.machine.wake_at(world.now)
    assert wake == pytest.approx(world.now + 0.01)
    world.advance(wake - world.now)
    assert len(world.open) > 0


def test_the_backlog_gives_way_to_a_slow_line_for_a_moment_only() -> None:
    world = about_to_record()
    live = world.record()
    world.advance(0.011)
    assert in_flight(world)[0] == live
    assert len(world.open) > 1


def test_events_that_are_always_about_to_come_do_not_starve_the_backlog() -> None:
    world = about_to_record()
    start, taken = world.now, 0
    while world.now < start + 1.0:
        world.expect()
        world.advance(0.005)
        for name in in_flight(world):
            world.expect()
            answer(world, name, Stored())
            taken += 1
        if world.fetches:
            world.page()
    assert 15 <= taken <= 80  # four in flight, every twentieth of a second


def test_a_rate_of_nothing_holds_the_backlog_back_and_lets_live_events_pass() -> None:
    world = World()
    world.record()
    world.connect(rate=0.0)
    world.page()
    assert in_flight(world) == []
    live = world.record()
    assert in_flight(world) == [live]


def test_a_later_event_answered_first_proves_that_an_answer_was_lost() -> None:
    world = connected()
    lost, other = world.record(), world.record()
    answer(world, other, Stored())
    world.advance(9.0)
    assert in_flight(world) == []
    assert world.up
    world.advance(2.0)
    assert in_flight(world) == [lost]
    assert next(iter(world.open.values())).attempt == 2
    assert next(iter(world.open.values())).replayed


def test_silence_ends_the_connection_within_the_deadline() -> None:
    world = connected()
    world.record()
    start = world.now
    while world.up:
        wake = world.machine.wake_at(world.now)
        assert wake is not None
        world.advance(wake - world.now)
    assert world.now - start == pytest.approx(12.0)  # 100 KB, nothing known of the line: the longest wait


def test_a_small_event_is_waited_for_no_longer_than_its_bytes_need() -> None:
    world = connected()
    world.record(size=800)
    world.advance(8.0)
    assert world.up
    world.advance(0.2)
    assert not world.up


def test_bytes_that_still_move_keep_a_slow_connection() -> None:
    world = connected()
    world.record(size=900_000)
    for second in range(100):
        world.machine.progressed(world.now, Progress(8_000 * second, 900_000 - 8_000 * second))
        world.advance(1.0)
        assert world.up
    assert world.open


def test_a_slow_line_is_given_only_what_it_carries_in_a_few_seconds() -> None:
    world = connected()
    warm_up(world)
    world.record()
    for second in range(5):
        world.machine.progressed(world.now, Progress(8_000 * second, 50_000))
        world.advance(1.0)
    world.record()
    world.record()
    assert len(world.open) == 1


def test_a_line_that_was_idle_between_two_looks_is_not_called_slow() -> None:
    world = connected()
    warm_up(world)
    late = world.record()
    world.machine.progressed(world.now, Progress(740, 860))
    world.advance(1.0)
    world.machine.progressed(world.now, Progress(3_400, 310_000))
    others = [world.record() for _ in range(5)]
    assert in_flight(world) == [late, *others]

    # So an answer that comes late holds up nobody, and costs no connection.
    for name in others:
        answer(world, name, Stored())
    world.advance(15.0)
    assert world.up


def test_retry_after_is_kept_to_the_millisecond() -> None:
    world = connected()
    name = world.record()
    answer(world, name, Retry(2_500))
    assert world.machine.wake_at(world.now) == pytest.approx(world.now + 2.5)
    world.advance(2.499)
    assert in_flight(world) == []
    world.advance(0.002)
    assert in_flight(world) == [name]


def test_waits_without_a_wish_double_to_a_minute() -> None:
    world = connected()
    name = world.record()
    waits = []
    for _ in range(9):
        answer(world, name, Retry(None))
        start = world.now
        while not world.open:
            wake = world.machine.wake_at(world.now)
            assert wake is not None
            world.advance(wake - world.now)
        waits.append(round(world.now - start, 3))
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_back_end_that_takes_nothing_is_asked_ever_more_slowly() -> None:
    world = World()
    for _ in range(2000):
        world.record(size=500)
    world.connect()
    start = world.now
    asked = 0
    while world.now < start + 120.0:
        if world.fetches:
            world.page()
        elif world.open:
            asked += 1
            answer(world, in_flight(world)[0], Retry(0))
        else:
            wake = world.machine.wake_at(world.now)
            assert wake is not None
            world.advance(wake - world.now)
    assert asked < 80


def test_the_tenth_answer_without_success_is_a_rejection() -> None:
    world = connected()
    name = world.record()
    for _ in range(10):
        assert name not in world.dead
        if not world.open:
            world.advance(61.0)
        answer(world, name, SoftFailure("database is locked"))
    assert world.dead == {name: "NOT_TAKEN"}


def refuse_all(world: World, name: str) -> None:
    """Have the back-end take nothing until `name` is a dead letter."""
    while name not in world.dead:
        while world.fetches:
            world.page()
        for emission in list(world.open):
            world.answer(emission, SoftFailure("database is locked"))
        while world.to_leave:
            world.clear()
        if name not in world.dead and not world.open:
            wake = world.machine.wake_at(world.now)
            assert wake is not None, "it is never tried again"
            world.advance(wake - world.now)


def test_what_a_sick_back_end_refused_is_tried_anew_when_it_takes_something_again() -> None:
    world = connected()
    names = [world.record() for _ in range(3)]
    for name in names:
        refuse_all(world, name)
    assert set(world.dead) == set(names)
    world.record()
    world.heal()
    assert not world.dead
    assert world.stored >= set(names)


def test_a_back_end_that_takes_statuses_while_it_is_sick_condemns_nothing_for_good() -> None:
    world = connected()
    name = world.record()
    answer(world, name, SoftFailure("the database is away"))
    answer(world, world.record(kind=PROCESSING_STATUS), Stored())
    refuse_all(world, name)
    assert set(world.dead) == {name}
    world.record()
    world.heal()
    assert not world.dead
    assert name in world.stored


def test_what_is_refused_while_others_are_taken_stays_a_dead_letter() -> None:
    world = connected()
    name = world.record()
    answer(world, name, SoftFailure("gateId is unknown"))
    answer(world, world.record(), Stored())
    refuse_all(world, name)
    world.record()
    world.heal()
    assert world.dead == {name: "NOT_TAKEN"}


def test_a_rejected_event_is_buried_with_the_back_ends_code() -> None:
    world = connected()
    name = world.record(kind=ERROR)
    answer(world, name, Rejected("SCHEMA", "gateId is unknown"))
    assert world.dead == {name: "SCHEMA"}


def test_an_event_that_breaks_the_link_is_sent_alone_and_then_buried_while_others_pass() -> None:
    world = connected()
    poison = world.record()
    for _ in range(100):
        if world.dead:
            break
        if not world.up:
            world.connect()
        world.record()
        while world.fetches:
            world.page()
        while world.up and world.open and poison not in in_flight(world):
            answer(world, in_flight(world)[0], Stored())
            while world.to_leave:
                world.clear()
        if poison in in_flight(world):
            world.lose()
        world.advance(3.0)
    assert world.dead == {poison: "LINK_LOST"}


def test_live_events_pass_though_the_backlog_begins_with_many_that_break_the_link() -> None:
    world = World()
    poison = {world.record() for _ in range(50)}
    good = live = 0
    for step in range(1200):
        if not world.up and step % 3 == 0:
            world.connect()
        while world.fetches:
            world.page()
        if step % 5 == 0:
            world.record()
            good += 1
        while world.up and world.open:
            emission = min(world.open)
            send = world.open[emission]
            if send.ticket.event_id in poison:
                world.lose()
                continue
            live += not send.replayed
            world.answer(emission, Stored())
            while world.to_leave:
                world.clear()
        world.advance(0.1)
    assert live >= 0.8 * good


@pytest.mark.parametrize(("bad", "every", "share"), [(5, 1, 1.0), (50, 1, 0.9), (50, 9, 0.7), (150, 1, 0.3)])
def test_the_good_of_a_backlog_pass_though_many_in_it_break_the_link(bad: int, every: int, share: float) -> None:
    """A cluster at its beginning, or one in nine: most of the others are through in two minutes, long before all that
    break the link are weeded out.
    """
    world = World()
    names = [world.record() for _ in range(bad + 450)]
    poison = set(names[: bad * every : every])
    for step in range(1200):
        if not world.up:
            world.advance(0.3)
            world.connect()
        if step % 5 == 0:
            world.record()
        while world.fetches:
            world.page()
        while world.up and world.open:
            emission = min(world.open)
            if world.open[emission].ticket.event_id in poison:
                world.lose()
                continue
            world.answer(emission, Stored())
            while world.to_leave:
                world.clear()
        world.advance(0.1)
    assert len(world.stored & (set(names) - poison)) >= share * 450


def test_statuses_that_break_the_link_do_so_ever_more_rarely_and_are_no_dead_letters() -> None:
    world = connected()
    warm_up(world)
    losses = 0
    for step in range(720):
        if not world.up:
            world.connect()
        world.record()
        if step % 6 == 0:
            world.record(kind=PROCESSING_STATUS)
        while world.fetches:
            world.page()
        while world.up and world.open:
            emission = min(world.open)
            if world.open[emission].ticket.event_type == PROCESSING_STATUS:
                world.lose()
                losses += 1
            else:
                world.answer(emission, Stored())
                while world.to_leave:
                    world.clear()
        world.advance(5.0)
    assert world.dead == {}
    assert 3 <= losses <= 15


def test_where_no_backlog_is_wanted_a_status_comes_though_those_before_it_were_lost_with_the_link() -> None:
    world = World()
    world.connect(rate=0)
    for _ in range(3):
        world.record(kind=PROCESSING_STATUS)
        world.lose()
        world.advance(1.0)
        world.connect(rate=0)
        while world.fetches:
            world.page()
    for _ in range(3):
        name = world.record(kind=PROCESSING_STATUS)
        if name not in in_flight(world):
            world.advance(world.limits.alone_pause_s)
        answer(world, name, Stored())
        while world.to_leave:
            world.clear()


def test_a_status_does_not_answer_for_the_one_before_it() -> None:
    world = connected()
    warm_up(world)
    refused = 0
    for _ in range(60):
        world.record(kind=PROCESSING_STATUS)
        world.advance(10.0)
        for emission in list(world.open):
            world.answer(emission, SoftFailure("the database is away"))
            refused += 1
    assert refused >= 30
    assert world.dead == {}


def test_what_takes_the_link_down_alone_is_sent_without_its_original_image() -> None:
    world = connected()
    heavy = world.record()
    bare: list[bool] = []
    while True:
        if not world.up:
            world.connect()
        world.record()
        while world.fetches:
            world.page()
        while world.up and world.open and heavy not in in_flight(world):
            answer(world, in_flight(world)[0], Stored())
            while world.to_leave:
                world.clear()
        if heavy in in_flight(world):
            [send] = [each for each in world.open.values() if each.ticket.event_id == heavy]
            bare.append(send.bare)
            if bare[-1]:
                break
            world.lose()
        world.advance(3.0)
    assert bare == [False, False, False, True]  # twice in company, once alone
    answer(world, heavy, Stored())
    assert not world.dead


@pytest.mark.parametrize("steps_between", [2, 5, 50])
def test_where_every_event_is_too_large_one_is_tried_without_its_image_though_new_ones_keep_coming(
    steps_between: int,
) -> None:
    world = World()
    for step in range(600):
        if not world.up and step % 3 == 0:
            world.connect()
        while world.fetches:
            world.page()
        if step % steps_between == 0:
            world.record()
        if any(send.bare for send in world.open.values()):
            return
        if world.up and world.open:
            world.lose()
        world.advance(0.1)
    raise AssertionError("in a minute none was")


def test_what_was_lost_in_whole_is_sent_in_whole_once_more_where_messages_have_become_smaller() -> None:
    world = connected()
    heavy = world.record()
    for loss in range(3):  # twice in company, once alone
        while heavy not in in_flight(world):
            one_more_passes(world, heavy)
            while world.to_leave:
                world.clear()
            world.advance(3.0)
        world.lose()
        if loss == 2:
            world.machine.messages_are_smaller_now()
        world.connect()
    one_more_passes(world, heavy)
    [send] = [each for each in world.open.values() if each.ticket.event_id == heavy]
    assert not send.bare
    assert len(world.open) == 1, "but alone"


def test_a_link_that_lets_nothing_pass_condemns_nobody() -> None:
    world = World()
    for _ in range(3):
        world.record()
    for _ in range(60):
        world.connect()
        while world.fetches:
            world.page()
        world.advance(5.0)
        if world.up:
            world.lose()
        world.advance(30.0)
    assert not world.dead
    world.heal()


def test_only_the_newest_status_is_sent() -> None:
    world = World()
    world.record(kind=PROCESSING_STATUS)
    world.record(kind=PROCESSING_STATUS)
    world.connect()
    world.page()
    newest = world.status
    assert in_flight(world) == [newest]
    world.lose()
    world.connect()
    again = world.record(kind=PROCESSING_STATUS)
    world.page()
    assert in_flight(world) == [again]


def test_an_event_that_waited_through_an_outage_is_marked_replayed_though_it_was_recorded_with_the_link_up() -> None:
    world = connected()
    warm_up(world)
    names = [world.record() for _ in range(12)]
    unsent = [name for name in names if name not in in_flight(world)]
    assert unsent
    world.lose()
    world.advance(1.0)
    world.connect()
    world.page()
    while world.open:
        for emission, send in list(world.open.items()):
            assert send.replayed
            world.answer(emission, Duplicate())


def test_an_answer_that_comes_after_the_link_was_given_up_still_settles() -> None:
    world = connected()
    name = world.record()
    [emission] = world.open
    world.lose()
    world.connect()
    world.page()
    assert in_flight(world) == [name]
    world.answer(emission, Stored())
    assert in_flight(world) == []
    assert world.to_leave == [(name,)]


def test_a_failed_listing_is_tried_again() -> None:
    world = World()
    name = world.record(kind=PLATE_DETECTED)
    world.connect()
    world.fetches.clear()
    world.machine.fetch_failed(world.now)
    world.step()
    assert not world.fetches
    wake = world.machine.wake_at(world.now)
    assert wake is not None
    world.advance(wake - world.now)
    world.page()
    assert in_flight(world) == [name]


def test_more_than_memory_holds_is_found_on_disk() -> None:
    world = connected(live_queue=4, page=4)
    names = [world.record() for _ in range(50)]
    world.heal()
    assert set(names) == world.stored


@pytest.mark.parametrize("again", [{"recorded_offline": True}, {"attempts": 2}])
def test_what_was_delivered_or_buried_before_comes_again_as_backlog(again: dict[str, int]) -> None:
    """Hundreds asked for again must not stand before the vehicle that waits at the barrier."""
    core = Delivery(DeliveryLimits(), LinkDeadlines())
    core.link_up(0.0, replay_per_second=None)
    core.recorded(0.0, replace(ticket("again"), **again))
    core.recorded(0.0, ticket("live"))

    sent = [action.ticket.event_id for action in core.step(0.0) if isinstance(action, Send)]

    assert sent == ["live"]
