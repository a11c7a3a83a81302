"""What goes wrong with cameras, tried on a real one: noticed in time, told once, mended without help."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace

import psutil
import pytest

from lpr.capture.base import CameraSettings, CaptureLimits
from lpr.capture.reader import CameraReader
from lpr.domain.choices import RtspTransport
from lpr.domain.events import CameraState
from lpr.domain.frame import Frame
from tests.capture.conftest import StartServer
from tests.capture.helpers import QUICK, Diary, drain
from tests.rtsp.proxy import FaultyLine
from tests.rtsp.server import RtspServer
from tests.rtsp.stamp import stamp_s

pytestmark = pytest.mark.rtsp

NOTICED_WITHIN_S = 6.0
FRESH_S = 0.3
# The times of a gate, but for the longest wait: nobody wants to sit through thirty seconds here.
LIMITS = CaptureLimits(backoff_first_s=0.5, backoff_most_s=1.0)


def settings(url: str, camera_id: str = "CAM_001", *, limits: CaptureLimits = LIMITS, **more: object) -> CameraSettings:
    return replace(CameraSettings(camera_id=camera_id, source=url, limits=limits), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("transport", list(RtspTransport))
@pytest.mark.parametrize(("login", "digest"), [(None, False), (("an", "mật khẩu"), False), (("an", "p@ss/w:1"), True)])
async def test_pictures_come_fresh_over_either_transport_with_and_without_a_password(
    rtsp: StartServer, transport: RtspTransport, login: tuple[str, str] | None, digest: bool
) -> None:
    server = rtsp(login=login, digest=digest)
    diary = Diary()
    async with CameraReader(settings(server.url(), transport=transport), on_change=diary.note) as reader:
        async with asyncio.timeout(5):
            frames = [await reader.next() for _ in range(4)]

    arrived = [frame for frame in frames if frame is not None]
    assert len(arrived) == 4
    for frame in arrived:
        assert (frame.width, frame.height) == (320, 240)
        assert 0 <= frame.captured_at.monotonic_s - stamp_s(frame.image) < FRESH_S
    assert diary.states == [CameraState.CONNECTING, CameraState.RUNNING, CameraState.STOPPED]
    if login:
        assert login[1] not in " ".join(change.reason for change in diary.changes)


@dataclass
class Fault:
    """One way to break a camera, and to mend it."""

    name: str
    url: str
    break_it: Callable[[], object]
    mend_it: Callable[[], object]


def faults(server: RtspServer, rtsp: StartServer, lines: ExitStack) -> list[Fault]:
    killed, paused, stopped = rtsp(), rtsp(), rtsp()

    def line() -> FaultyLine:
        return lines.enter_context(FaultyLine(server.port))

    held, gone, mute, noise, udp = line(), line(), line(), line(), rtsp()
    return [
        Fault("killed", killed.url(), killed.kill, killed.start),
        Fault("pictures stop", paused.url(), lambda: paused.order("pause"), lambda: paused.order("go")),
        Fault("process stopped", stopped.url(), stopped.freeze, stopped.thaw),
        Fault("udp process stopped", udp.url(), udp.freeze, udp.thaw),
        Fault("bytes held", server.url(port=held.port), held.hold, held.restore),
        Fault("refused", server.url(port=gone.port), gone.refuse, gone.restore),
        Fault("accepts and stays mute", server.url(port=mute.port), mute.mute, mute.restore),
        Fault("garbage", server.url(port=noise.port), noise.garbage, noise.restore),
    ]


async def suffer(fault: Fault) -> dict[str, object]:
    """Bring one camera up, break it, wait for the news, mend it, wait for pictures; what was seen."""
    diary = Diary()
    transport = RtspTransport.UDP if fault.name.startswith("udp") else RtspTransport.TCP
    reader = CameraReader(settings(fault.url, fault.name, transport=transport), on_change=diary.note)
    async with reader:
        taking = asyncio.create_task(drain(reader))
        await diary.until(CameraState.RUNNING, within_s=20)
        await asyncio.sleep(1.0)
        broken_s = time.monotonic()
        await asyncio.to_thread(fault.break_it)
        try:
            lost = await diary.until(CameraState.LOST, within_s=12)
        except TimeoutError:
            raise AssertionError((fault.name, "was not noticed", reader.statistics())) from None
        noticed_s = time.monotonic() - broken_s
        # Long enough for two more tries, which must not be told again.
        await asyncio.sleep(2.0)
        again = diary.states.count(CameraState.LOST)
        await asyncio.to_thread(fault.mend_it)
        await diary.until(CameraState.RUNNING, count=2, within_s=25)
    await taking
    assert lost.last_picture is not None
    return {
        "noticed_s": noticed_s,
        "silent_s": lost.last_picture.monotonic_s - broken_s,
        "told": again,
        "reason": lost.reason,
        "states": diary.states,
        "hanging": reader.statistics().abandoned,
    }


async def test_each_fault_is_noticed_in_time_told_once_and_mended_while_the_other_camera_runs_on(
    rtsp: StartServer,
) -> None:
    server = rtsp()
    diary = Diary()
    neighbour = CameraReader(settings(server.url(), "neighbour"), on_change=diary.note)
    with ExitStack() as lines:
        broken = faults(server, rtsp, lines)
        async with neighbour:
            taking = asyncio.create_task(drain(neighbour))
            found = dict(zip([f.name for f in broken], await asyncio.gather(*map(suffer, broken)), strict=True))
        await taking

    for name, seen in found.items():
        assert seen["noticed_s"] <= NOTICED_WITHIN_S, (name, seen)
        assert abs(seen["silent_s"]) < 1.5, (name, seen)
        assert seen["told"] == 1, (name, seen)
        expected = [
            CameraState.CONNECTING,
            CameraState.RUNNING,
            CameraState.LOST,
            CameraState.RUNNING,
            CameraState.STOPPED,
        ]
        assert seen["states"] == expected, (name, seen)
        assert seen["hanging"] == 0, (name, seen)
    assert diary.states == [CameraState.CONNECTING, CameraState.RUNNING, CameraState.STOPPED]


async def test_a_camera_that_is_not_there_yet_is_told_lost_once_and_found_when_it_comes(rtsp: StartServer) -> None:
    server = rtsp()
    server.kill()
    diary = Diary()
    async with CameraReader(settings(server.url(), limits=QUICK), on_change=diary.note) as reader:
        lost = await diary.until(CameraState.LOST)
        await asyncio.sleep(1.0)
        await asyncio.to_thread(server.start)
        await diary.until(CameraState.RUNNING)
        assert await reader.next() is not None
    assert "refused" in lost.reason.lower()
    assert lost.last_picture is None
    assert diary.states.count(CameraState.LOST) == 1


async def test_a_wrong_password_and_a_wrong_path_are_named_and_no_secret_is_told(rtsp: StartServer) -> None:
    server = rtsp(login=("an", "right"))
    reasons = {}
    for name, url in {
        "password": server.url(login=("an", "wr0ng")),
        "none": f"rtsp://127.0.0.1:{server.port}/live",
        "path": server.url("nowhere"),
    }.items():
        diary = Diary()
        async with CameraReader(settings(url, limits=QUICK), on_change=diary.note):
            reasons[name] = (await diary.until(CameraState.LOST)).reason
    assert "refuses this user name or password" in reasons["password"]
    assert "asks for a user name and a password" in reasons["none"]
    assert "/nowhere: the camera answers that it has no such stream" in reasons["path"]
    assert not any("wr0ng" in reason or "right" in reason for reason in reasons.values())


async def test_a_changed_resolution_keeps_whole_pictures_coming(rtsp: StartServer) -> None:
    server = rtsp()
    diary = Diary()
    async with CameraReader(settings(server.url(), limits=QUICK, fps=25.0), on_change=diary.note) as reader:
        assert await reader.next() is not None
        server.order("size 640 480")
        async with asyncio.timeout(8):
            async for frame in reader.frames():
                if is_small(frame):
                    break
    # OpenCV scales what comes to the size of the first picture: the whole scene is there, in the shape of before.
    assert frame.image.shape == (240, 320, 3)
    assert diary.states.count(CameraState.LOST) <= 1
    assert diary.states[-2] is CameraState.RUNNING


def is_small(frame: Frame) -> bool:
    """Whether the painted stamp, 24 blocks wide, fills half of the width that it had."""
    return bool(frame.image[3, 150:300].max() < 60)


async def test_even_grey_pictures_at_the_start_are_passed_over_but_not_for_ever(rtsp: StartServer) -> None:
    server = rtsp()
    server.order("grey")
    async with CameraReader(settings(server.url(), limits=QUICK)) as reader:
        started_s = time.monotonic()
        async with asyncio.timeout(8):
            frame = await reader.next()
    assert frame is not None
    assert time.monotonic() - started_s > 1.5
    assert reader.statistics().grey > 5


async def test_many_losses_of_a_real_stream_leave_no_thread_and_no_handle_behind(rtsp: StartServer) -> None:
    server = rtsp()
    process = psutil.Process()
    limits = replace(QUICK, backoff_first_s=0.05, backoff_most_s=0.1)
    with FaultyLine(server.port) as line:
        diary = Diary()
        async with CameraReader(settings(server.url(port=line.port), limits=limits, fps=25.0), on_change=diary.note):
            await diary.until(CameraState.RUNNING)
            line.cut()
            await diary.until(CameraState.RUNNING, count=2)
            before = (process.num_threads(), process.num_fds())
            for cycle in range(3, 15):
                line.cut()
                await diary.until(CameraState.RUNNING, count=cycle)
            after = (process.num_threads(), process.num_fds())
    assert diary.states.count(CameraState.LOST) == 13
    assert after[0] <= before[0]
    assert after[1] <= before[1] + 1  # a connection that is just being closed on the proxy's side


async def test_stopping_ends_the_thread_whatever_the_camera_does(rtsp: StartServer) -> None:
    server = rtsp()
    for fault in ("none", "pause", "freeze"):
        diary = Diary()
        reader = CameraReader(settings(server.url(), limits=QUICK), on_change=diary.note)
        running = asyncio.create_task(reader.run())
        await diary.until(CameraState.RUNNING)
        if fault == "pause":
            server.order("pause")
        elif fault == "freeze":
            server.freeze()
        asked_s = time.monotonic()
        await reader.stop()
        assert time.monotonic() - asked_s < QUICK.stop_within_s + 0.5
        with suppress(asyncio.CancelledError):
            await running
        assert reader.statistics().abandoned == 0
        assert await reader.next() is None or await reader.next() is None
        server.order("go")
