"""The reader's promises, on cameras that follow a script."""

from __future__ import annotations

import asyncio
import gc
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil
import pytest

from lpr.capture.base import CameraSettings, CaptureLimits, FrameSource
from lpr.capture.reader import CameraReader
from lpr.domain.choices import Pace
from lpr.domain.errors import CaptureError, CaptureRefusedError, CaptureResizedError
from lpr.domain.events import CameraState
from lpr.domain.frame import Frame
from tests.capture.helpers import QUICK, SCENE, Diary, LeapingClock, ScriptedSource, Step, camera, drain, until
from tests.capture.test_files import write_clip, write_picture

CONNECTING, RUNNING, LOST = CameraState.CONNECTING, CameraState.RUNNING, CameraState.LOST
ENDED, STOPPED = CameraState.ENDED, CameraState.STOPPED
FAST_AGAIN = replace(QUICK, backoff_first_s=0.01, backoff_most_s=0.02)


def reader_of(make: Callable[[], FrameSource], diary: Diary, *, settings: CameraSettings | None = None) -> CameraReader:
    return CameraReader(
        settings or replace(camera(fps=1000), limits=FAST_AGAIN),
        on_change=diary.note,
        on_problem=diary.note_problem,
        source_factory=lambda _settings, _tries: make(),
        jitter=random.Random(1),
    )


def pictures(count: int) -> list[Step]:
    return [SCENE] * count


async def test_each_loss_is_told_once_and_each_recovery_once() -> None:
    refused = CaptureError("connection refused")
    scripts = iter([pictures(5), refused, refused, pictures(5), refused, pictures(500)])
    diary = Diary()

    def next_camera() -> FrameSource:
        script = next(scripts)
        return ScriptedSource([], opens=script) if isinstance(script, CaptureError) else ScriptedSource(script)

    async with reader_of(next_camera, diary):
        await diary.until(RUNNING, count=3)
    assert diary.states == [CONNECTING, RUNNING, LOST, RUNNING, LOST, RUNNING, STOPPED]
    lost = [change for change in diary.changes if change.state is LOST]
    assert all("ended the stream" in change.reason for change in lost)
    assert all(change.last_picture is not None and change.error is not None for change in lost)


async def test_a_camera_that_fails_at_the_start_is_lost_before_it_ever_ran() -> None:
    diary = Diary()
    async with reader_of(lambda: ScriptedSource([], opens=CaptureError("rtsp://an:s3cr3t@cam/live refuses")), diary):
        lost = await diary.until(LOST)
    assert lost.previous is CONNECTING
    assert lost.last_picture is None
    assert lost.reason == "rtsp://an:***@cam/live refuses"


RESIZED = CaptureResizedError("the camera changed its pictures")
BUSY = CaptureError("503 Service Unavailable")


def changing_camera(*after: Sequence[Step] | CaptureError) -> Callable[[], FrameSource]:
    """Shows pictures for a good while, then others; what its next connections are like, the last one for ever."""
    scripts = iter([[*pictures(150), RESIZED], *after])
    last = after[-1]

    def make() -> FrameSource:
        script = next(scripts, last)
        return ScriptedSource([], opens=script) if isinstance(script, CaptureError) else ScriptedSource(script)

    return make


async def test_a_camera_that_changes_its_pictures_and_needs_a_moment_is_not_lost() -> None:
    diary = Diary()
    async with reader_of(changing_camera(BUSY, pictures(5000)), diary) as reader:
        await until(lambda: reader.statistics().tries == 3 and reader.statistics().captured > 200)
    assert diary.states == [CONNECTING, RUNNING, STOPPED]


@pytest.mark.parametrize("after", [BUSY, [lambda: time.sleep(QUICK.stale_after_s * 3)]])
async def test_one_that_is_gone_after_that_is_lost_in_the_time_of_any_silence(
    after: CaptureError | Sequence[Step],
) -> None:
    diary = Diary()
    async with reader_of(changing_camera(BUSY, after), diary):
        lost = await diary.until(LOST)
        assert lost.last_picture is not None
        silent_s = lost.at.seconds_since(lost.last_picture)
        assert QUICK.stale_after_s <= silent_s < QUICK.stale_after_s + 1.5
    assert diary.states.count(LOST) == 1


async def test_one_that_refuses_the_login_after_that_is_lost_at_once() -> None:
    diary = Diary()
    async with reader_of(changing_camera(CaptureRefusedError("401")), diary):
        lost = await diary.until(LOST)
    assert lost.reason == "401"


async def test_a_fault_whose_causes_lead_back_to_itself_is_told_like_any_other() -> None:
    first, second = CaptureError("the stream broke"), CaptureError("the socket broke")
    first.__cause__, second.__context__ = second, first
    diary = Diary()
    async with reader_of(lambda: ScriptedSource([], opens=first), diary):
        assert (await diary.until(LOST)).reason == "the stream broke"


async def test_one_that_changes_as_soon_as_it_is_there_is_a_broken_one() -> None:
    diary = Diary()
    async with reader_of(lambda: ScriptedSource([*pictures(3), RESIZED]), diary):
        await diary.until(LOST, count=2)


async def test_two_hundred_losses_leave_no_thread_and_no_handle_behind() -> None:
    diary, made = Diary(), []
    process = psutil.Process()

    def next_camera() -> ScriptedSource:
        made.append(ScriptedSource(pictures(2) if len(made) % 3 else [CaptureError("broken")], period_s=0.0005))
        return made[-1]

    limits = replace(FAST_AGAIN, backoff_first_s=0.0005, backoff_most_s=0.001)
    before: tuple[int, int] | None = None
    async with reader_of(next_camera, diary, settings=replace(camera(fps=1000), limits=limits)):
        async with asyncio.timeout(30):
            while len(made) < 200:
                await asyncio.sleep(0.01)
                if before is None and len(made) >= 10:
                    before = (threading.active_count(), process.num_fds())
    assert before is not None
    assert threading.active_count() < before[0] + 1
    assert process.num_fds() <= before[1]
    assert all(source.closed for source in made)


async def test_a_reader_that_is_dropped_leaves_nothing_to_collect() -> None:
    diary = Diary()
    async with reader_of(lambda: ScriptedSource(pictures(1000)), diary):
        await diary.until(RUNNING)
    gc.collect()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("capture")]


async def test_a_thread_that_hangs_in_native_code_is_noticed_left_behind_and_never_more_than_a_few() -> None:
    release, made = threading.Event(), []

    def next_camera() -> ScriptedSource:
        made.append(ScriptedSource([*pictures(3), release.wait, None]))
        return made[-1]

    limits = replace(FAST_AGAIN, stale_after_s=0.15, first_picture_within_s=0.3, stop_within_s=0.2, abandoned_threads=2)
    diary = Diary()
    async with reader_of(next_camera, diary, settings=replace(camera(fps=1000), limits=limits)) as reader:
        lost = await diary.until(LOST)
        assert "no picture" in lost.reason
        await diary.until(LOST, count=2)
        await until(lambda: reader.statistics().abandoned == 2)
        await asyncio.sleep(0.5)
        assert len(made) == 2, "no third thread while two hang"
        release.set()
        await diary.until(RUNNING, count=3)
        assert reader.statistics().abandoned <= 1
        assert all(source.interrupted.is_set() for source in made[:2])


async def test_a_camera_that_connects_and_shows_nothing_is_told_lost_and_may_still_come() -> None:
    wait = threading.Event()
    limits = replace(FAST_AGAIN, stale_after_s=0.05, first_picture_grace_s=0.2, first_picture_within_s=5.0)
    diary = Diary()
    script = [lambda: (wait.wait(), None)[1], *pictures(2000)]
    settings = replace(camera(fps=1000), limits=limits)
    async with reader_of(lambda: ScriptedSource(script), diary, settings=settings) as reader:
        assert "no picture yet" in (await diary.until(LOST)).reason
        wait.set()
        await diary.until(RUNNING)
        assert reader.statistics().tries == 1


async def test_a_camera_that_is_slow_to_show_its_first_picture_is_not_told_lost() -> None:
    scripts = iter([[CaptureError("sent no picture for 2.0 s")], pictures(2000)])
    diary = Diary()
    async with reader_of(lambda: ScriptedSource(next(scripts)), diary):
        await diary.until(RUNNING)
    assert diary.states == [CONNECTING, RUNNING, STOPPED]


async def test_frames_of_a_called_off_thread_are_not_offered_any_more() -> None:
    release = threading.Event()
    first = ScriptedSource([*pictures(3), release.wait, *pictures(50)])
    second = ScriptedSource(pictures(5000))
    sources = iter([first, second])
    limits = replace(FAST_AGAIN, stale_after_s=0.15)
    diary = Diary()
    async with reader_of(lambda: next(sources), diary, settings=replace(camera(fps=1000), limits=limits)) as reader:
        await diary.until(RUNNING, count=2)
        offered = reader.statistics().captured
        release.set()
        await until(lambda: first.closed > 0)
        assert diary.states == [CONNECTING, RUNNING, LOST, RUNNING]
        assert reader.statistics().captured >= offered


async def test_grey_pictures_at_the_start_are_skipped() -> None:
    grey = np.full_like(SCENE, 128)
    diary = Diary()
    async with reader_of(lambda: ScriptedSource([grey] * 20 + [SCENE] * 500), diary) as reader:
        frame = await reader.next()
    assert frame is not None
    assert frame.image.std() > 10
    assert reader.statistics().grey >= 15


async def test_live_frames_carry_both_clocks_rising_numbers_and_cannot_be_written_to() -> None:
    diary = Diary()
    async with reader_of(lambda: ScriptedSource(pictures(2000)), diary) as reader:
        frames = [frame for frame in [await reader.next() for _ in range(5)] if frame is not None]
    assert len(frames) == 5
    for earlier, later in pairwise(frames):
        assert later.number > earlier.number
        assert later.captured_at.monotonic_s > earlier.captured_at.monotonic_s
    assert abs(frames[-1].captured_at.monotonic_s - time.monotonic()) < 1
    assert frames[0].captured_at.wall.tzinfo is not None
    with pytest.raises(ValueError, match="read-only"):
        frames[0].image[0, 0, 0] = 1


async def test_a_slow_taker_of_a_live_camera_gets_the_newest_and_the_rest_is_counted() -> None:
    diary = Diary()
    async with reader_of(lambda: ScriptedSource(pictures(5000)), diary) as reader:
        await reader.next()
        await until(lambda: reader.statistics().overwritten > 10)
        frame = await reader.next()
        numbers = reader.statistics()
    assert frame is not None
    assert numbers.captured - frame.number <= 3
    assert numbers.age_ms is not None
    assert numbers.age_ms < 100


async def test_the_rate_is_that_of_the_settings_and_can_be_changed_while_running() -> None:
    diary = Diary()
    settings = replace(camera(fps=10), limits=FAST_AGAIN)
    async with reader_of(lambda: ScriptedSource(pictures(100_000), period_s=0.002), diary, settings=settings) as reader:
        taking = asyncio.create_task(drain(reader))
        await diary.until(RUNNING)
        await asyncio.sleep(1.0)
        slow = reader.statistics().offered
        reader.set_fps(50)
        await asyncio.sleep(1.0)
        quick = reader.statistics().offered - slow
    await taking
    assert 8 <= slow <= 12
    assert 35 <= quick <= 55


async def test_a_mistake_in_the_program_is_raised_and_not_taken_for_a_lost_camera() -> None:
    diary = Diary()
    reader = reader_of(lambda: ScriptedSource([SCENE, ZeroDivisionError("a bug")]), diary)
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(reader.run(), 5)
    assert diary.states[-1] is STOPPED
    assert await drain(reader) <= 1


async def test_cancelling_stops_the_thread_too() -> None:
    diary = Diary()
    source = ScriptedSource(pictures(100_000))
    running = asyncio.create_task(reader_of(lambda: source, diary).run())
    await diary.until(RUNNING)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert source.closed
    assert diary.states[-1] is STOPPED


async def test_stopping_before_running_and_twice_does_no_harm() -> None:
    diary = Diary()
    reader = reader_of(lambda: ScriptedSource(pictures(10)), diary)
    await reader.stop()
    await reader.run()
    await reader.stop()
    assert await reader.next() is None
    assert diary.states == []
    with pytest.raises(RuntimeError, match="once"):
        await reader.run()


async def test_waiting_for_the_next_try_is_cut_short_by_stop() -> None:
    diary = Diary()
    limits = replace(QUICK, backoff_first_s=60, backoff_most_s=60)
    settings = replace(camera(), limits=limits)
    async with reader_of(lambda: ScriptedSource([], opens=CaptureError("refused")), diary, settings=settings):
        await diary.until(LOST)
        asked_s = time.monotonic()
    assert time.monotonic() - asked_s < 1


async def test_a_camera_that_is_away_for_forty_seconds_is_tried_ever_more_rarely_and_found() -> None:
    clock, tries_s, diary = LeapingClock(), [], Diary()

    def next_camera() -> FrameSource:
        tries_s.append(clock.leapt_s)
        if len(tries_s) > 1 and clock.leapt_s < 40:
            return ScriptedSource([], opens=CaptureError("no answer"))
        return ScriptedSource(pictures(5 if len(tries_s) == 1 else 100_000))

    reader = CameraReader(
        replace(camera(fps=1000), limits=CaptureLimits()),
        clock=clock,
        on_change=diary.note,
        source_factory=lambda _settings, _history: next_camera(),
        jitter=Longest(),
    )
    async with reader:
        await diary.until(RUNNING, count=2)
        assert diary.states == [CONNECTING, RUNNING, LOST, RUNNING]
    assert tries_s == [0, 1, 3, 7, 15, 31, 61]


class Longest(random.Random):
    """Chance that always takes the longest wait."""

    def uniform(self, a: float, b: float) -> float:
        """The upper end."""
        return b


async def test_a_clip_is_played_to_its_end_without_losing_a_frame(tmp_path: Path) -> None:
    write_clip(tmp_path / "gate.mp4", 60)
    diary = Diary()
    settings = CameraSettings(camera_id="CAM_001", source=str(tmp_path / "gate.mp4"), fps=25, pace=Pace.FAST)
    reader = CameraReader(settings, on_change=diary.note)
    numbers = []
    async with reader:
        async for frame in reader.frames():
            if frame.number % 20 == 0:
                await asyncio.sleep(0.05)
            numbers.append(frame.number)
    assert numbers == list(range(60))
    assert diary.states == [CONNECTING, RUNNING, ENDED]
    assert "played to its end" in diary.changes[-1].reason
    assert reader.statistics().overwritten == 0


async def test_a_clip_at_its_own_pace_takes_its_own_time(tmp_path: Path) -> None:
    write_clip(tmp_path / "gate.mp4", 25)
    settings = CameraSettings(camera_id="CAM_001", source=str(tmp_path / "gate.mp4"), fps=25)
    frames: list[Frame] = []
    ages_s: list[float] = []
    async with CameraReader(settings) as reader:
        async for frame in reader.frames():
            frames.append(frame)
            ages_s.append(time.monotonic() - frame.captured_at.monotonic_s)
    assert frames[-1].captured_at.seconds_since(frames[0].captured_at) == pytest.approx(0.96, abs=0.01)
    assert min(ages_s) > -0.01, "no frame comes before its time"
    assert float(np.median(ages_s)) < 0.2


async def test_broken_files_are_told_one_by_one_and_the_end_says_how_many(tmp_path: Path) -> None:
    for number in range(4):
        write_picture(tmp_path / f"{number}.jpg", number)
    (tmp_path / "2.jpg").write_bytes(b"broken")
    diary = Diary()
    settings = CameraSettings(camera_id="CAM_001", source=str(tmp_path), fps=8, pace=Pace.FAST)
    async with CameraReader(settings, on_change=diary.note, on_problem=diary.note_problem) as reader:
        assert await drain(reader) == 3
    assert ["2.jpg" in str(problem) for problem in diary.problems] == [True]
    assert diary.changes[-1].state is ENDED
    assert "1 broken" in diary.changes[-1].reason


async def test_a_file_that_is_missing_ends_at_once_and_says_why(tmp_path: Path) -> None:
    diary = Diary()
    settings = CameraSettings(camera_id="CAM_001", source=str(tmp_path / "gate.mp4"))
    async with CameraReader(settings, on_change=diary.note, on_problem=diary.note_problem) as reader:
        assert await drain(reader) == 0
    assert diary.states == [CONNECTING, ENDED]
    assert "gate.mp4" in diary.changes[-1].reason
    assert diary.changes[-1].error is not None


async def test_stopping_in_the_middle_of_a_clip_does_not_wait_for_its_end(tmp_path: Path) -> None:
    write_clip(tmp_path / "gate.mp4", 250)
    diary = Diary()
    settings = CameraSettings(camera_id="CAM_001", source=str(tmp_path / "gate.mp4"), fps=25)
    async with CameraReader(settings, on_change=diary.note) as reader:
        await reader.next()
        asked_s = time.monotonic()
    assert time.monotonic() - asked_s < 1
    assert diary.states[-1] is STOPPED
