"""The same vehicle seen again: by the next run of the agent, and by the gate's other camera."""

from __future__ import annotations

import json

import pytest

from lpr.domain.geometry import Box
from lpr.domain.passage import Action, ActionRule
from lpr.tracking.repeat import RepeatGuard
from lpr.tracking.standing import StandingMemory
from tests.tracking.helpers import Placed, at, long, play, texts, tracker


def restarted(guard: RepeatGuard, standing: StandingMemory, now_s: float) -> tuple[RepeatGuard, StandingMemory]:
    """What the next run of the agent knows at `now_s`, by way of its file."""
    kept = json.loads(json.dumps([guard.state(), standing.state()]))
    guard, standing = RepeatGuard(guard.repeat_after_s), StandingMemory(standing.after_s, standing.forget_s)
    guard.restore(kept[0], at(now_s))
    standing.restore(kept[1], at(now_s))
    return guard, standing


def waits_until(start_s: float) -> Placed:
    """At the barrier until then, and in through it."""

    def box(now_s: float) -> Box | None:
        driven_s = max(0.0, now_s - start_s)
        return long(640, 400 + 60 * driven_s, 150 + 40 * driven_s) if driven_s < 4 else None

    return box


@pytest.mark.parametrize("down_s", [5.0, 180.0])
@pytest.mark.parametrize("action", list(ActionRule))
def test_a_car_at_the_barrier_is_one_passage_though_the_agent_starts_again(action: ActionRule, down_s: float) -> None:
    guard, standing = RepeatGuard(60.0), StandingMemory(900.0, 86_400.0)
    car = [("29A12345", waits_until(270.0))]
    before = play(tracker(guard, standing=standing, action=action), car, until_s=60, fps=4, finish=False)

    guard, standing = restarted(guard, standing, 60 + down_s)
    after = play(
        tracker(guard, standing=standing, action=action),
        car,
        start_s=60 + down_s,
        until_s=276,
        fps=4,
    )

    assert texts(before) == ["29A12345"]
    assert texts(after) == []


def test_another_car_in_that_place_after_the_restart_is_a_passage() -> None:
    guard, standing = RepeatGuard(60.0), StandingMemory(900.0, 86_400.0)
    play(tracker(guard, standing=standing), [("29A12345", lambda _s: long(640, 400))], until_s=50, fps=4, finish=False)

    guard, standing = restarted(guard, standing, 80)
    after = play(tracker(guard, standing=standing), [("29A12346", lambda _s: long(640, 400))], start_s=80, until_s=85)

    assert texts(after) == ["29A12346"]
    assert after[0].action is Action.ENTRY
