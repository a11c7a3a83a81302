"""What goes wrong with cameras, tried on a real one: noticed in time, told once, mended without help."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack, suppress
from dataclasses import dataclass, replace

import psutil
import pytest
from structlog.testing import capture_logs

from lpr.capture import network
from lpr.capture.base import CameraSettings, CaptureLimits
from lpr.capture.reader import CameraReader
from lpr.domain.address import StreamAddress
from lpr.domain.choices import RtspTransport
from lpr.domain.events import CameraState
from tests.capture.helpers import QUICK, Diary, LeapingClock, drain, until
from tests.rtsp.proxy import FaultyLine
from tests.rtsp.server import RtspServer, StartServer, has_element
from tests.rtsp.stamp import stamp_s

pytestmark = pytest.mark.rtsp

NOTICED_WITHIN_S = 6.0
FRESH_S = 0.3
OFF_THE_BEAT = 250
"""Whole pictures so rare that one which comes with a change of size never happens to be due anyway."""
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


@pytest.mark.parametrize(("codec", "encoder"), [("h265", "x265enc"), ("jpeg", "jpegenc")])
async def test_a_camera_that_has_no_h264_is_read_as_well(rtsp: StartServer, codec: str, encoder: str) -> None:
    if not has_element(encoder):
        pytest.skip(f"GStreamer lacks {encoder}")
    async with CameraReader(settings(rtsp(codec=codec).url())) as reader, asyncio.timeout(30):
        frame = await reader.next()
        assert frame is not None
        assert frame.image.shape == (240, 320, 3)
        assert 0 <= frame.captured_at.monotonic_s - stamp_s(frame.image) < 2
        assert reader.statistics().tries == 1


@dataclass
class Fault:
    """One way to break a camera, and to mend it."""

    name: str
    url: str
    break_it: Callable[[], object]
    mend_it: Callable[[], object]
    transport: RtspTransport = RtspTransport.TCP


def faults(rtsp: StartServer, lines: ExitStack) -> list[Fault]:
    """Every way in which the camera itself breaks, over both transports, and every way in which the line does."""
    found = []
    for transport in RtspTransport:
        # Over UDP with a password, and with both of the ways in which one is asked for.
        login = {"login": ("an", "p@ss/w:1"), "digest": True} if transport is RtspTransport.UDP else {}
        killed, paused, stopped = rtsp(**login), rtsp(**login), rtsp(**login)
        found += [
            Fault("killed", killed.url(), killed.kill, killed.start, transport),
            Fault("pictures stop", paused.url(), _order(paused, "pause"), _order(paused, "go"), transport),
            Fault("process stopped", stopped.url(), stopped.freeze, stopped.thaw, transport),
        ]
    server = rtsp(login=("an", "mật khẩu"))

    def line(name: str, break_it: Callable[[FaultyLine], None]) -> Fault:
        between = lines.enter_context(FaultyLine(server.port))
        return Fault(name, server.url(port=between.port), lambda: break_it(between), between.restore)

    return [
        *found,
        line("cut and refused", FaultyLine.refuse),
        line("bytes held", FaultyLine.hold),
        line("accepts and stays mute", FaultyLine.mute),
        line("garbage without an end", FaultyLine.garbage),
        line("reboots", _reboot),
    ]


def _order(server: RtspServer, words: str) -> Callable[[], None]:
    return lambda: server.order(words)


def _reboot(line: FaultyLine) -> None:
    """Gone at first, then there and not ready: such a camera takes connections and does not answer them yet."""
    line.refuse()
    booted = threading.Timer(1.5, lambda: (line.restore(), line.mute()))
    booted.start()
    booted.join()


async def suffer(fault: Fault) -> dict[str, object]:
    """Bring one camera up, break it, wait for the news, mend it, wait for pictures; what was seen."""
    diary = Diary()
    reader = CameraReader(
        settings(fault.url, f"{fault.name} {fault.transport}", transport=fault.transport), on_change=diary.note
    )
    async with reader:
        taking = asyncio.create_task(drain(reader))
        await diary.until(CameraState.RUNNING, within_s=20)
        await asyncio.sleep(1.0)
        broken_s = time.monotonic()
        breaking = asyncio.create_task(asyncio.to_thread(fault.break_it))
        try:
            lost = await diary.until(CameraState.LOST, within_s=12)
        except TimeoutError:
            raise AssertionError((fault, "was not noticed", reader.statistics())) from None
        noticed_s = time.monotonic() - broken_s
        await breaking
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
    diary = Diary()
    neighbour = CameraReader(settings(rtsp().url(), "neighbour"), on_change=diary.note)
    with ExitStack() as lines:
        broken = await asyncio.to_thread(faults, rtsp, lines)
        async with neighbour:
            taking = asyncio.create_task(drain(neighbour))
            results = await asyncio.gather(*map(suffer, broken))
        await taking

    expected = [
        CameraState.CONNECTING,
        CameraState.RUNNING,
        CameraState.LOST,
        CameraState.RUNNING,
        CameraState.STOPPED,
    ]
    for fault, seen in zip(broken, results, strict=True):
        told = (fault.name, fault.transport, seen)
        assert seen["noticed_s"] <= NOTICED_WITHIN_S, told
        assert abs(seen["silent_s"]) < 1.5, told
        assert seen["told"] == 1, told
        assert seen["states"] == expected, told
        assert seen["hanging"] == 0, told
        assert "p@ss" not in str(seen["reason"]), told
    assert diary.states == [CameraState.CONNECTING, CameraState.RUNNING, CameraState.STOPPED]


@pytest.mark.skipif(not os.environ.get("LPR_SLOW_TESTS"), reason="takes a minute and a half: set LPR_SLOW_TESTS=1")
async def test_a_camera_that_is_gone_for_forty_seconds_is_found_with_the_limits_of_a_gate(rtsp: StartServer) -> None:
    server, diary = rtsp(), Diary()
    async with CameraReader(settings(server.url(), limits=CaptureLimits()), on_change=diary.note) as reader:
        await diary.until(CameraState.RUNNING)
        await asyncio.to_thread(server.kill)
        await diary.until(CameraState.LOST, within_s=6)
        await asyncio.sleep(40)
        await asyncio.to_thread(server.start)
        await diary.until(CameraState.RUNNING, count=2, within_s=35)
        assert reader.statistics().tries < 20
    assert diary.states.count(CameraState.LOST) == 1


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


@pytest.mark.parametrize(
    ("codec", "transport", "before", "after", "within_s"),
    [
        # Larger, and then smaller, each in another shape.
        ("h264", RtspTransport.TCP, (320, 240), (1280, 720), NOTICED_WITHIN_S),
        ("h264", RtspTransport.UDP, (1280, 720), (640, 480), NOTICED_WITHIN_S),
        # On a busy machine x265 is slow with anything, the description included.
        ("h265", RtspTransport.TCP, (320, 192), (320, 240), 3 * NOTICED_WITHIN_S),
    ],
)
async def test_a_stream_that_changes_its_size_on_the_way_is_taken_at_its_new_size_and_is_no_loss(
    rtsp: StartServer,
    codec: str,
    transport: RtspTransport,
    before: tuple[int, int],
    after: tuple[int, int],
    within_s: float,
) -> None:
    if codec == "h265" and not has_element("x265enc"):
        pytest.skip("GStreamer lacks x265enc")
    server = rtsp(codec=codec, size=before, login=("an", "p@ss/w:1"), digest=True, keyframe_every=OFF_THE_BEAT)
    diary = Diary()
    with capture_logs() as logs:
        async with CameraReader(settings(server.url(), transport=transport), on_change=diary.note) as reader:
            await diary.until(CameraState.RUNNING)
            started_s = time.monotonic()
            assert await size_of_frames(reader, lambda _size, at_s: at_s > started_s + 2) == before
            server.order(f"size {after[0]} {after[1]}")
            ordered_s = time.monotonic()
            assert await size_of_frames(reader, lambda size, _at_s: size == after) == after
            noticed_s = time.monotonic() - ordered_s
            # And once is enough: it stays as it is.
            assert await size_of_frames(reader, lambda _size, at_s: at_s > ordered_s + noticed_s + 3) == after
    assert noticed_s <= within_s
    assert diary.states == [CameraState.CONNECTING, CameraState.RUNNING, CameraState.STOPPED], "nothing to be told"
    assert reader.statistics().tries == 2
    [entry] = [each for each in logs if each["event"] == "camera_resized"]
    assert f"from {before[0]} x {before[1]} to {after[0]} x {after[1]} pixels" in entry["reason"]
    assert "p@ss" not in str(logs)


async def test_single_pictures_over_rtsp_are_taken_at_their_new_size_over_the_same_connection(
    rtsp: StartServer,
) -> None:
    server, diary = rtsp(codec="jpeg", size=(640, 480)), Diary()
    async with CameraReader(settings(server.url()), on_change=diary.note) as reader:
        await diary.until(CameraState.RUNNING)
        assert await size_of_frames(reader, lambda _size, _at_s: True) == (640, 480)
        server.order("size 1280 720")
        ordered_s = time.monotonic()
        assert await size_of_frames(reader, lambda size, _at_s: size != (640, 480)) == (1280, 720)
        assert time.monotonic() - ordered_s <= NOTICED_WITHIN_S
    assert diary.states == [CameraState.CONNECTING, CameraState.RUNNING, CameraState.STOPPED]
    assert reader.statistics().tries == 1


async def size_of_frames(reader: CameraReader, enough: Callable[[tuple[int, int], float], bool]) -> tuple[int, int]:
    """The width and height of the first frame that is enough, which is asked with them and when it was taken."""
    async with asyncio.timeout(30):
        async for frame in reader.frames():
            size = (frame.width, frame.height)
            if enough(size, frame.captured_at.monotonic_s):
                return size
    raise AssertionError("the frames ended")


async def test_a_camera_that_changed_and_then_shows_nothing_is_lost_in_the_time_of_any_other(rtsp: StartServer) -> None:
    server, diary = rtsp(keyframe_every=OFF_THE_BEAT), Diary()
    with FaultyLine(server.port) as line:
        async with CameraReader(settings(server.url(port=line.port)), on_change=diary.note) as reader:
            taking = asyncio.create_task(drain(reader))
            await diary.until(CameraState.RUNNING)
            await asyncio.sleep(1.5)
            server.order("size 640 480")
            # It answers how large its pictures are, over a connection of its own, and takes no other after that.
            await until(lambda: line.accepted >= 3)
            line.hold()
            held_s = time.monotonic()
            await diary.until(CameraState.LOST)
            assert time.monotonic() - held_s <= NOTICED_WITHIN_S
            line.restore()
            await diary.until(CameraState.RUNNING, count=2)
        await taking
    assert diary.states.count(CameraState.LOST) == 1


async def test_a_camera_that_lies_about_its_size_is_believed_once(rtsp: StartServer) -> None:
    server, diary = rtsp(), Diary()
    liar = "m=video 0 RTP/AVP 96\r\na=framesize:96 704-576\r\n"
    with pytest.MonkeyPatch.context() as patch, capture_logs() as logs:
        patch.setattr(network, "describe", lambda _address, _timeout_s: liar)
        async with CameraReader(settings(server.url()), on_change=diary.note) as reader:
            taking = asyncio.create_task(drain(reader))
            await until(lambda: any(each["event"] == "picture_size_not_believed" for each in logs))
            assert reader.statistics().tries == 2
        await taking
    assert diary.states == [CameraState.CONNECTING, CameraState.RUNNING, CameraState.STOPPED]


async def test_a_camera_that_lets_go_of_its_viewer_when_it_is_asked_is_asked_no_more(rtsp: StartServer) -> None:
    server, asked_s = rtsp(), []
    with FaultyLine(server.port) as line, pytest.MonkeyPatch.context() as patch, capture_logs() as logs:

        def knock(address: StreamAddress, timeout_s: float) -> str:
            asked_s.append(time.monotonic())
            line.cut()
            return ""

        patch.setattr(network, "describe", knock)
        limits = replace(LIMITS, backoff_first_s=0.05, backoff_most_s=0.1)
        async with CameraReader(settings(server.url(port=line.port), limits=limits)) as reader:
            taking = asyncio.create_task(drain(reader))
            await until(lambda: len(asked_s) == 2 and reader.statistics().tries == 3)
            seen = reader.statistics().captured
            await until(lambda: reader.statistics().captured > seen + 25 * 5)
        await taking
    assert len(asked_s) == 2
    assert reader.statistics().lost == 2
    assert [each["event"] for each in logs].count("camera_not_asked_again") == 1


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


async def test_two_hundred_losses_of_real_streams_leave_no_thread_and_no_handle_behind(rtsp: StartServer) -> None:
    cameras, cycles = 4, 50
    process = psutil.Process()
    # No silence counts here but that of a line that is cut, at once: a busy machine makes others.
    patient = {"open_timeout_s": 8.0, "read_timeout_s": 8.0, "stale_after_s": 16.0, "first_picture_within_s": 16.0}
    limits = replace(QUICK, backoff_first_s=0.01, backoff_most_s=0.02, **patient)
    with ExitStack() as lines:
        pairs = [lines.enter_context(FaultyLine(rtsp().port)) for _ in range(cameras)]
        diaries = [Diary() for _ in pairs]
        readers = [
            CameraReader(
                settings(f"rtsp://127.0.0.1:{line.port}/live", f"CAM_{place}", limits=limits, fps=25.0),
                on_change=diary.note,
            )
            for place, (line, diary) in enumerate(zip(pairs, diaries, strict=True))
        ]

        async def lose(line: FaultyLine, diary: Diary, until_cycle: int) -> None:
            for cycle in range(diary.states.count(CameraState.RUNNING), until_cycle):
                line.cut()
                await diary.until(CameraState.RUNNING, count=cycle + 1)

        async def lose_all(until_cycle: int) -> tuple[int, int]:
            await asyncio.gather(*(lose(line, diary, until_cycle) for line, diary in zip(pairs, diaries, strict=True)))
            return process.num_threads(), process.num_fds()

        async with AsyncExitStack() as running:
            for reader in readers:
                await running.enter_async_context(reader)
            await asyncio.gather(*(diary.until(CameraState.RUNNING) for diary in diaries))
            before = await lose_all(4)
            after = await lose_all(cycles + 1)
    assert sum(diary.states.count(CameraState.LOST) for diary in diaries) == cameras * cycles
    assert after[0] <= before[0]
    assert after[1] <= before[1] + cameras  # connections that are just being closed on the lines' side


async def test_a_refused_login_is_tried_again_after_minutes_and_costs_one_login_each_time(rtsp: StartServer) -> None:
    server, clock = rtsp(login=("an", "right"), digest=True), LeapingClock()
    with FaultyLine(server.port, keep_words=True) as line:
        wrong = server.url(port=line.port, login=("an", "wr0ng"))
        async with CameraReader(settings(wrong, limits=CaptureLimits()), clock=clock) as reader:
            await until(lambda: reader.statistics().tries >= 5)
        tries = reader.statistics().tries
    assert clock.leapt_s >= 60 + 120 + 240 + 480
    # The first time the decoder logs in, and then we do to learn why it could not; from then on we ask alone. The last
    # try may have been cut short.
    assert tries - 1 <= line.words.count(b"Authorization:") <= tries + 1


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
