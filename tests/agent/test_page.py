"""What the local page is told of texts that belong to the scene, and what becomes of one that a person clears."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from lpr.agent.memory import TrackingMemory
from lpr.agent.page import PageSource
from lpr.domain.clock import Instant
from lpr.domain.geometry import Box
from lpr.testing.clock import FakeClock
from tests.agent.helpers import make_config

SIGN, CAR = "30A11122", "59X112345"


def page_of(folder: Path, clock: FakeClock) -> tuple[PageSource, TrackingMemory]:
    """The page of an agent that works in `folder`; each call is another run of it."""
    memory = TrackingMemory(folder)

    async def remember() -> None:
        await asyncio.to_thread(memory.write, memory.text())

    # Of the board and the publisher only the configuration is asked here.
    board = cast("Any", SimpleNamespace(config=make_config(folder)))
    return PageSource(board, cast("Any", None), memory, clock, remember=remember), memory


def learn(memory: TrackingMemory, text: str, now: Instant) -> None:
    """`text` has stood before the camera for so long that it is part of the scene."""
    standing = memory.standing("CAM_001", now)
    standing.observe(text, text, Box(100, 100, 60, 20), now.plus(-standing.after_s - 60), now)


async def test_what_was_learnt_is_listed_and_what_is_cleared_stays_cleared_over_a_restart(tmp_path: Path) -> None:
    clock = FakeClock()
    page, memory = page_of(tmp_path, clock)
    for text in (SIGN, CAR):
        learn(memory, text, clock.now())
    assert {each.text for each in page.standing()} == {SIGN, CAR}
    assert page.standing()[0].camera_name == "Camera Gate 1"

    assert await page.forget_standing("CAM_001", SIGN)

    # Nothing but what is on disk by now is known to the next run.
    again, other_memory = page_of(tmp_path, clock)
    assert [each.text for each in again.standing()] == [CAR]
    assert not other_memory.standing("CAM_001", clock.now()).learnt(SIGN)


async def test_what_is_not_there_is_not_forgotten(tmp_path: Path) -> None:
    page, memory = page_of(tmp_path, FakeClock())
    learn(memory, CAR, FakeClock().now())
    assert not await page.forget_standing("CAM_001", SIGN)
    assert not await page.forget_standing("CAM_009", CAR)
    assert [each.text for each in page.standing()] == [CAR]


async def test_since_when_it_stands_there_is_told_by_the_wall_clock_of_now(tmp_path: Path) -> None:
    clock = FakeClock()
    page, memory = page_of(tmp_path, clock)
    learn(memory, CAR, clock.now())
    stood = clock.now().wall - page.standing()[0].since
    clock.jump_wall(timedelta(days=365).total_seconds())
    assert clock.now().wall - page.standing()[0].since == stood
