"""A clip that stands for a camera: no end, the wall clock's pace, and a memory of when each picture was made."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from lpr.capture.base import CameraSettings
from lpr.capture.looped import HELD_BACK_S, LoopedClip
from lpr.capture.reader import CameraReader
from lpr.domain.errors import CaptureError
from lpr.domain.events import CameraState
from lpr.testing.clock import FakeClock

PICTURES = 5
STEP = 40


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five pictures, each an even grey of its own."""
    path = tmp_path_factory.mktemp("clips") / "gate.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25, (64, 48))
    for number in range(PICTURES):
        writer.write(np.full((48, 64, 3), 20 + STEP * number, np.uint8))
    writer.release()
    return path


def shown(source: LoopedClip) -> int:
    """Which picture of the clip was grabbed last."""
    return round((float(source.retrieve().mean()) - 20) / STEP)


async def grab_in_time(source: LoopedClip, clock: FakeClock, pictures: int, period_s: float) -> list[float]:
    positions: list[float] = []
    for _ in range(pictures):
        position_s = source.grab()
        assert position_s is not None
        positions.append(position_s)
        await clock.advance(period_s)
    return positions


async def test_it_goes_round_and_round_on_one_time_line(clip: Path) -> None:
    clock = FakeClock()
    source = LoopedClip(clip, fps=10.0, clock=clock)
    source.open()

    pictures = []
    for _ in range(2 * PICTURES + 1):
        assert source.grab() is not None
        pictures.append(shown(source))
        await clock.advance(0.1)

    assert pictures == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0]
    position_s = source.grab()
    assert position_s == pytest.approx(1.1)
    source.close()


async def test_another_camera_begins_further_on_in_the_clip(clip: Path) -> None:
    source = LoopedClip(clip, skip=PICTURES + 3, clock=FakeClock())
    source.open()

    assert source.grab() == 0.0
    assert shown(source) == 3
    source.close()


async def test_it_knows_when_each_picture_was_made_however_late_it_was_fetched(clip: Path) -> None:
    clock = FakeClock(monotonic_s=100.0)
    source = LoopedClip(clip, fps=10.0, clock=clock)
    source.open()
    await grab_in_time(source, clock, 3, 0.1)
    await clock.advance(0.5)
    source.grab()

    assert [source.made_at_s(number) for number in range(4)] == pytest.approx([100.0, 100.1, 100.2, 100.3])
    assert source.made_before_s(100.25) == pytest.approx(100.2)
    assert source.made_before_s(clock.now().monotonic_s) == pytest.approx(100.3)
    assert source.made_before_s(99.0) is None
    source.close()


async def test_what_nobody_fetches_is_dropped_and_the_stream_is_up_to_date_again(clip: Path) -> None:
    clock = FakeClock(monotonic_s=100.0)
    source = LoopedClip(clip, fps=10.0, clock=clock)
    source.open()
    await grab_in_time(source, clock, 2, 0.1)

    await clock.advance(HELD_BACK_S - 0.2)
    assert source.grab() == pytest.approx(0.2), "what is held back for a while still comes"
    assert source.dropped == 0

    await clock.advance(HELD_BACK_S + 1.0)
    position_s = source.grab()
    assert position_s is not None
    assert clock.now().monotonic_s - (100.0 + position_s) < 0.2
    assert source.dropped > 10
    assert source.made_at_s(3) == pytest.approx(100.0 + position_s)
    assert source.made_at_s(2) == pytest.approx(100.2)
    source.close()


def test_waiting_for_the_next_picture_ends_at_once_when_interrupted(clip: Path) -> None:
    source = LoopedClip(clip, fps=0.01)
    source.open()
    assert source.grab() is not None
    begun = time.monotonic()
    threading.Timer(0.05, source.interrupt).start()

    assert source.grab() is None
    assert time.monotonic() - begun < 5.0
    source.close()


def test_what_is_no_clip_is_named(tmp_path: Path) -> None:
    (tmp_path / "gate.mp4").write_bytes(b"no clip")
    for path in (tmp_path / "gate.mp4", tmp_path / "missing.mp4"):
        source = LoopedClip(path)
        with pytest.raises(CaptureError, match=path.name):
            source.open()
        source.close()


async def test_a_reader_takes_it_for_a_camera(clip: Path) -> None:
    settings = CameraSettings(camera_id="CAM_001", source="rtsp://127.0.0.1/any", fps=10.0)
    async with CameraReader(settings, source_factory=lambda _settings, _tries: LoopedClip(clip, fps=50.0)) as reader:
        frames = [await reader.next() for _ in range(3)]
        assert reader.state is CameraState.RUNNING

    times = [frame.captured_at.monotonic_s for frame in frames if frame is not None]
    assert len(times) == 3
    assert times == sorted(times)
    assert reader.statistics().lost == 0
