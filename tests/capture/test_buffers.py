"""The border between the thread and the loop."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime

import pytest

from lpr.capture.buffers import FrameBuffer, FrameQueue, LatestFrame
from lpr.domain.clock import Instant
from lpr.domain.frame import Frame
from tests.capture.helpers import SCENE

NEVER = threading.Event()


def frame(number: int) -> Frame:
    return Frame("CAM_001", number, SCENE, Instant(datetime.now(UTC), float(number)))


async def test_the_newest_frame_wins_and_the_others_are_counted() -> None:
    place = LatestFrame()
    for number in range(5):
        assert place.offer(frame(number), NEVER)
    taken = await place.take()
    assert taken is not None
    assert taken.number == 4
    assert place.overwritten == 4


async def test_a_queue_keeps_order_and_loses_nothing_however_slow_the_taker() -> None:
    place = FrameQueue(3)
    thread = threading.Thread(target=lambda: [place.offer(frame(number), NEVER) for number in range(50)])
    thread.start()
    numbers = []
    for number in range(50):
        if number % 10 == 0:
            await asyncio.sleep(0.02)
        taken = await place.take()
        assert taken is not None
        numbers.append(taken.number)
    thread.join()
    assert numbers == list(range(50))
    assert place.overwritten == 0


@pytest.mark.parametrize("place", [LatestFrame(), FrameQueue(2)])
async def test_a_waiting_taker_is_woken_by_a_frame_and_by_the_end(place: FrameBuffer) -> None:
    waiting = asyncio.create_task(place.take())
    await asyncio.sleep(0)
    await asyncio.to_thread(place.offer, frame(7), NEVER)
    first = await asyncio.wait_for(waiting, 1)
    assert first is not None
    assert first.number == 7
    waiting = asyncio.create_task(place.take())
    await asyncio.sleep(0)
    place.close()
    assert await asyncio.wait_for(waiting, 1) is None
    assert not place.offer(frame(8), NEVER)


async def test_frames_that_lie_in_a_closed_queue_can_still_be_taken() -> None:
    place = FrameQueue(4)
    place.offer(frame(1), NEVER)
    place.close()
    last = await place.take()
    assert last is not None
    assert last.number == 1
    assert await place.take() is None


async def test_cancelling_a_taker_loses_no_frame() -> None:
    place = FrameQueue(4)
    waiting = asyncio.create_task(place.take())
    await asyncio.sleep(0)
    place.offer(frame(1), NEVER)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    kept = await asyncio.wait_for(place.take(), 1)
    assert kept is not None
    assert kept.number == 1


async def test_a_thread_that_waits_for_room_gives_up_when_called_off() -> None:
    place, called_off = FrameQueue(1), threading.Event()
    assert place.offer(frame(0), called_off)
    offering = asyncio.create_task(asyncio.to_thread(place.offer, frame(1), called_off))
    await asyncio.sleep(0.01)
    assert not offering.done()
    called_off.set()
    assert await asyncio.wait_for(offering, 1) is False


def test_a_thread_that_outlives_its_loop_finds_a_closed_place() -> None:
    place = LatestFrame()

    async def wait_in_vain() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(place.take(), 0.01)

    asyncio.run(wait_in_vain())
    place.offer(frame(0), NEVER)
    assert not place.offer(frame(1), NEVER)
