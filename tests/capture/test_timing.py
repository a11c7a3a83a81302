"""Which pictures are analysed, and how stale ones are known."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpr.capture.timing import FpsLimiter, LagMeter, RateMeter, RisingTime


@pytest.mark.parametrize(
    ("camera_fps", "fps", "expected"), [(25, 8, 80), (30, 8, 80), (25, 25, 250), (25, 60, 250), (2, 8, 20)]
)
def test_the_limiter_takes_its_share_evenly(camera_fps: int, fps: float, expected: int) -> None:
    limiter = FpsLimiter(fps)
    times = [number / camera_fps for number in range(camera_fps * 10)]
    taken = [time_s for time_s in times if limiter.due(time_s)]
    assert abs(len(taken) - expected) <= 1
    gaps = [later - earlier for earlier, later in pairwise(taken)]
    assert max(gaps) <= max(1 / fps, 1 / camera_fps) + 1 / camera_fps + 1e-6


def test_the_limiter_holds_its_rate_over_jittery_arrivals() -> None:
    limiter, jitter = FpsLimiter(8), random.Random(3)
    times = [number / 25 + jitter.uniform(0, 0.03) for number in range(2500)]
    assert abs(sum(limiter.due(time_s) for time_s in times) - 800) <= 8


def test_after_a_gap_the_limiter_does_not_catch_up_with_a_burst() -> None:
    limiter = FpsLimiter(8)
    assert limiter.due(0.0)
    taken = [time_s for time_s in (10 + number / 25 for number in range(25)) if limiter.due(time_s)]
    assert 7 <= len(taken) <= 9


def test_a_new_rate_is_obeyed_at_once() -> None:
    limiter = FpsLimiter(2)
    for number in range(25):
        limiter.due(number / 25)
    limiter.fps = 25
    assert sum(limiter.due(1 + number / 25) for number in range(25)) >= 24


@given(st.lists(st.floats(0, 0.2), min_size=2, max_size=200), st.floats(0.5, 60))
def test_the_limiter_never_takes_more_than_its_rate(gaps: list[float], fps: float) -> None:
    limiter, now_s, taken = FpsLimiter(fps), 0.0, 0
    for gap in gaps:
        now_s += gap
        taken += limiter.due(now_s)
    # A gap longer than a period starts the rhythm anew, which can bring the next picture closer by less than a period.
    assert taken <= now_s * fps * 2 + 2


def test_the_rate_is_that_of_the_last_seconds() -> None:
    meter = RateMeter(window_s=5)
    for number in range(100):
        meter.count(number / 10)
    assert meter.rate(9.9) == pytest.approx(10, rel=0.02)
    assert meter.rate(30) == 0


def play(meter: LagMeter, stamps_and_arrivals: list[tuple[float, float]]) -> list[bool]:
    return [meter.fresh(stamp_s, now_s, 0.3) for stamp_s, now_s in stamps_and_arrivals]


def steady(count: int, *, start_s: float = 0.0, delay_s: float = 0.1) -> list[tuple[float, float]]:
    return [(start_s + number / 25, start_s + number / 25 + delay_s) for number in range(count)]


def test_a_steady_stream_is_fresh_from_its_second_picture_on() -> None:
    meter = LagMeter()
    assert play(meter, steady(50))[1:] == [True] * 49
    assert meter.lag_s == pytest.approx(0, abs=1e-9)


def test_the_backlog_of_an_opening_is_passed_over() -> None:
    # One second of pictures that had been waiting comes within 60 ms, then pictures come as they are made.
    backlog = [(number / 25, 1.0 + number * 0.0024) for number in range(25)]
    live = [(1 + number / 25, 1.1 + number / 25) for number in range(25)]
    fresh = play(LagMeter(), backlog + live)
    assert not any(fresh[:25])
    assert all(fresh[26:])


def test_pictures_that_queued_up_in_a_stall_are_stale_until_the_stream_has_caught_up() -> None:
    meter = LagMeter()
    play(meter, steady(50))
    # The line stands still for a second; then 25 pictures arrive at once, then all is as before.
    queued = [(2 + number / 25, 3.0 + number * 0.002) for number in range(25)]
    fresh = play(meter, queued)
    assert not any(fresh[:15])
    assert meter.lag_s < 0.3
    assert all(play(meter, [(3 + number / 25, 3.1 + number / 25) for number in range(25)]))


def test_a_jump_of_the_cameras_clock_blinds_it_for_two_seconds_at_most() -> None:
    meter = LagMeter()
    play(meter, steady(50))
    after = [(number / 25 - 500, 2.1 + number / 25) for number in range(250)]
    fresh = play(meter, after)
    assert sum(not one for one in fresh) <= 2.1 * 25


def test_stamps_that_stand_still_end_up_not_being_believed() -> None:
    meter = LagMeter()
    fresh = play(meter, [(0.0, number / 25) for number in range(25 * 30)])
    assert all(fresh[25 * 15 :])


def test_bad_stamps_of_a_clip_become_a_rising_time_line() -> None:
    line = RisingTime(25)
    assert [line.next(stamp) for stamp in (0.0, 0.0, 0.04, 0.12, 0.1)] == pytest.approx([0, 0.04, 0.08, 0.12, 0.16])
    assert RisingTime(0).next(-3.0) == 0.0
