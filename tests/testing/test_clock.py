from __future__ import annotations

import asyncio

from lpr.testing.clock import FakeClock


async def test_sleepers_wake_in_the_order_in_which_they_are_due_and_at_their_moment() -> None:
    clock, woken = FakeClock(), list[tuple[str, float]]()

    async def sleep(name: str, *seconds: float) -> None:
        for each in seconds:
            await clock.sleep(each)
            woken.append((name, clock.now().monotonic_s - 1000.0))

    tasks = [asyncio.create_task(sleep("a", 3.0)), asyncio.create_task(sleep("b", 1.0, 1.5))]
    await clock.advance(0.5)
    assert woken == []
    await clock.advance(10.0)
    assert woken == [("b", 1.0), ("b", 2.5), ("a", 3.0)]
    assert clock.now().monotonic_s == 1010.5
    assert all(task.done() for task in tasks)


async def test_a_cancelled_sleeper_is_forgotten() -> None:
    clock = FakeClock()
    task = asyncio.create_task(clock.sleep(5.0))
    await clock.settle()
    task.cancel()
    await clock.advance(6.0)
    assert task.cancelled()
    assert clock.sleepers == 0


async def test_the_wall_clock_jumps_and_the_other_does_not() -> None:
    clock = FakeClock()
    before = clock.now()
    clock.jump_wall(-3600.0)
    assert (clock.now().wall - before.wall).total_seconds() == -3600.0
    assert clock.now().monotonic_s == before.monotonic_s
