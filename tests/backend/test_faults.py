from __future__ import annotations

import pytest

from lpr.backend.faults import Fault, FaultKind, FaultPlan, parse_fault
from lpr.domain.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("slow", Fault(FaultKind.SLOW)),
        (" retry:0.3 ", Fault(FaultKind.RETRY, 0.3)),
        ("kick:x2", Fault(FaultKind.KICK, times=2)),
        ("close:1", Fault(FaultKind.CLOSE)),
    ],
)
def test_faults_are_read_and_written_in_the_same_words(text: str, fault: Fault) -> None:
    assert parse_fault(text) == fault
    assert parse_fault(str(fault)) == fault


@pytest.mark.parametrize(
    "text", ["", "sleepy", "retry:often", "retry:1.5", "retry:-0.1", "kick:x", "kick:x-1", "a:b:c"]
)
def test_a_fault_that_is_none_is_refused_with_those_that_are(text: str) -> None:
    with pytest.raises(ConfigError, match="silent"):
        parse_fault(text)


def test_a_counted_fault_strikes_the_next_events_and_then_is_gone() -> None:
    plan = FaultPlan([parse_fault("kick:x2")])
    assert [plan.strike() for _ in range(3)] == [{FaultKind.KICK}, {FaultKind.KICK}, frozenset()]
    assert plan.faults == ()


def test_a_share_strikes_about_as_often_as_it_says() -> None:
    plan = FaultPlan([parse_fault("retry:0.3")], seed=7)
    struck = sum(bool(plan.strike()) for _ in range(2000))
    assert 520 < struck < 680


def test_slow_goes_with_another_and_of_the_rest_the_strongest_wins() -> None:
    plan = FaultPlan([parse_fault(each) for each in ("retry", "slow", "silent")])
    assert plan.strike() == {FaultKind.SLOW, FaultKind.SILENT}


def test_a_counted_fault_that_a_stronger_one_hid_keeps_its_times() -> None:
    plan = FaultPlan([parse_fault("silent:x1"), parse_fault("retry:x1")])
    assert plan.strike() == {FaultKind.SILENT}
    assert plan.strike() == {FaultKind.RETRY}
    assert plan.strike() == frozenset()
