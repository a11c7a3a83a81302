"""The verdict on a long run: what is growth, what is noise, and when nothing can be said."""

from __future__ import annotations

import random

import pytest

from lpr.agent.bench.load import Spread
from lpr.agent.bench.soak import Look, slope, verdict_on, warm_up_of

MIB = 1 << 20


def look(minute: int, memory_mb: float, **changes: object) -> Look:
    values: dict[str, object] = {
        "at_s": 60.0 * minute,
        "memory": memory_mb * MIB,
        "handles": 30,
        "threads": 20,
        "age": Spread(p50=50.0, p95=90.0, worst=200.0),
        "to_ack": Spread(p50=100.0, p95=200.0, worst=300.0),
        "drift_ms": 6.0,
        "analysed_fps": 8.0,
        "events": 5,
        "acked": 5,
        "waiting": 0,
        "lost": 0,
        "cpu": 1.0,
    }
    return Look(**{**values, **changes})  # type: ignore[arg-type]


def test_memory_that_wavers_around_a_level_is_good() -> None:
    noise = random.Random(1)
    looks = [look(minute, 400 + noise.uniform(-0.5, 0.5)) for minute in range(1, 61)]
    verdict = verdict_on(looks, warm_up_s=600.0)
    assert verdict.failures == ()
    assert verdict.growth_mb == pytest.approx(0.0, abs=0.3)
    assert verdict.to_json()["verdict"]["good"] is True


def test_a_slow_leak_under_noise_is_found() -> None:
    noise = random.Random(1)
    looks = [look(minute, 400 + 0.2 * minute + noise.uniform(-0.5, 0.5)) for minute in range(1, 31)]
    verdict = verdict_on(looks, warm_up_s=360.0)
    assert verdict.growth_mb == pytest.approx(2.0, abs=0.4)
    assert len(verdict.failures) == 1
    assert "memory grows by" in verdict.failures[0]


def test_growth_while_warming_up_does_not_count() -> None:
    looks = [look(minute, min(400.0, 100.0 * minute)) for minute in range(1, 31)]
    assert verdict_on(looks, warm_up_s=warm_up_of(1800.0)).failures == ()


def test_one_outlier_does_not_make_a_leak() -> None:
    looks = [look(minute, 900.0 if minute == 30 else 400.0) for minute in range(1, 31)]
    assert verdict_on(looks, warm_up_s=360.0).growth_mb == 0.0


@pytest.mark.parametrize(("key", "more"), [("handles", 33), ("threads", 21)])
def test_what_is_more_in_the_second_half_stays_open(key: str, more: int) -> None:
    looks = [look(minute, 400.0, **({key: more} if minute > 20 else {})) for minute in range(1, 31)]
    failures = verdict_on(looks, warm_up_s=360.0).failures
    assert len(failures) == 1
    assert key in failures[0]


def test_what_comes_and_goes_in_both_halves_is_no_leak() -> None:
    looks = [look(minute, 400.0, handles=30 + minute % 2) for minute in range(1, 31)]
    assert verdict_on(looks, warm_up_s=360.0).failures == ()


def test_event_time_that_moves_away_is_told() -> None:
    looks = [look(minute, 400.0, drift_ms=6.0 + 3 * minute) for minute in range(1, 31)]
    assert any("event time" in failure for failure in verdict_on(looks, warm_up_s=360.0).failures)


def test_a_camera_lost_at_any_time_is_told() -> None:
    looks = [look(minute, 400.0, lost=int(minute == 1)) for minute in range(1, 31)]
    assert verdict_on(looks, warm_up_s=360.0).failures == ("cameras were lost 1 times",)


def test_a_run_of_seconds_says_nothing_about_ten_minutes() -> None:
    looks = [look(0, 300.0 + second, at_s=float(second)) for second in range(1, 11)]
    verdict = verdict_on(looks, warm_up_s=2.0)
    assert verdict.growth_mb is None
    assert verdict.to_json()["verdict"]["good"] is None


def test_real_cameras_do_not_tell_their_drift() -> None:
    looks = [look(minute, 400.0, drift_ms=None) for minute in range(1, 31)]
    verdict = verdict_on(looks, warm_up_s=360.0)
    assert verdict.drift_ms is None
    assert verdict.failures == ()


def test_a_fifth_of_the_run_is_warming_up_and_never_more_than_ten_minutes() -> None:
    assert warm_up_of(1800.0) == 360.0
    assert warm_up_of(86_400.0) == 600.0


def test_a_slope_needs_two_moments() -> None:
    assert slope([], []) == 0.0
    assert slope([1.0], [5.0]) == 0.0
    assert slope([1.0, 1.0], [5.0, 9.0]) == 0.0
    assert slope([0.0, 1.0, 2.0], [5.0, 7.0, 9.0]) == 2.0
