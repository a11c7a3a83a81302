"""The reader on the system's ffmpeg, in software against the real camera."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from lpr.capture.base import CameraSettings
from lpr.capture.ffmpeg import FfmpegSource, HardwareDecodeError, as_i420, ffmpeg_command, input_script
from lpr.domain.address import parse_address
from lpr.domain.errors import CaptureError, CaptureResizedError
from tests.capture import fake_ffmpeg
from tests.capture.helpers import camera
from tests.rtsp.server import StartServer
from tests.rtsp.stamp import stamp_s

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="Debian's package ffmpeg is not installed")
NO_GPU = Path("/dev/dri/renderD999")


def ffmpeg_on(settings: CameraSettings, device: Path | None = None) -> FfmpegSource:
    return FfmpegSource(settings, parse_address(settings.source), device=device)


def grab_on(source: FfmpegSource) -> None:
    while True:
        source.grab()


def test_the_planes_are_put_one_after_the_other() -> None:
    width, height = 8, 4
    luma = np.arange(32, dtype=np.uint8)
    first, second = np.full((2, 4), 100, np.uint8), np.full((2, 4), 200, np.uint8)
    data = luma.tobytes() + np.hstack([first, second]).tobytes()
    planes = as_i420(data, width, height)
    assert planes.shape == (6, 8)
    assert planes[:4].ravel().tolist() == luma.tolist()
    assert planes[4].tolist() == [100] * 8
    assert planes[5].tolist() == [200] * 8


def test_the_command_line_shows_no_address_and_the_script_holds_it() -> None:
    settings = camera("rtsp://an:s3c'r3t@cam/live")
    command = " ".join(ffmpeg_command("ffmpeg", 8, Path("/dev/dri/renderD128")))
    assert "cam" not in command
    assert "-hwaccel vaapi" in command
    assert "hwdownload" in command
    assert "hwdownload" not in " ".join(ffmpeg_command("ffmpeg", 8, None))
    script = input_script(parse_address(settings.source), settings)
    assert "file 'rtsp://an:s3c%27r3t@cam:554/live'" in script
    assert "option rtsp_transport tcp" in script


@needs_ffmpeg
@pytest.mark.rtsp
def test_pictures_come_fresh_through_ffmpeg(rtsp: StartServer) -> None:
    server = rtsp(login=("an", "p@s'x"))
    source = ffmpeg_on(camera(server.url(), fps=12))
    source.open()
    try:
        times, ages_s = [], []
        for _ in range(15):
            times.append(source.grab())
            image = source.retrieve()
            ages_s.append(time.monotonic() - stamp_s(image))
    finally:
        source.close()
    assert image.shape == (240, 320, 3)
    assert float(np.median(ages_s)) < 0.3
    assert times == sorted(time_s for time_s in times if time_s is not None)


@needs_ffmpeg
@pytest.mark.rtsp
def test_pictures_of_another_size_end_the_connection_at_once(rtsp: StartServer) -> None:
    server = rtsp()
    source = ffmpeg_on(camera(server.url()))
    source.open()
    source.grab()
    server.order("size 640 480")
    began_s = time.monotonic()
    with pytest.raises(CaptureResizedError):
        grab_on(source)
    assert time.monotonic() - began_s < 4
    source.close()


@needs_ffmpeg
@pytest.mark.rtsp
def test_what_is_wrong_with_the_camera_is_told_and_not_blamed_on_the_gpu(rtsp: StartServer) -> None:
    server = rtsp(login=("an", "right"))
    source = ffmpeg_on(camera(server.url(login=("an", "wr0ng"))))
    with pytest.raises(CaptureError, match="refuses this user name or password") as raised:
        source.open()
    source.close()
    assert "wr0ng" not in str(raised.value)

    source = ffmpeg_on(camera(server.url()))
    source.open()
    source.grab()
    server.kill()
    with pytest.raises(CaptureError):
        grab_on(source)
    source.close()


@needs_ffmpeg
@pytest.mark.rtsp
def test_interrupting_ends_a_blocked_read_at_once(rtsp: StartServer) -> None:
    server = rtsp()
    source = ffmpeg_on(camera(server.url()))
    source.open()
    source.grab()
    server.order("pause")
    source.interrupt()
    began_s = time.monotonic()
    with pytest.raises(CaptureError):
        grab_on(source)
    assert time.monotonic() - began_s < 1
    source.close()


@needs_ffmpeg
@pytest.mark.rtsp
def test_a_gpu_that_is_not_there_is_named_as_the_fault(rtsp: StartServer) -> None:
    source = ffmpeg_on(camera(rtsp().url()), NO_GPU)
    with pytest.raises(HardwareDecodeError, match="and the camera is there: Device setup failed"):
        source.open()
    source.close()


@pytest.mark.rtsp
def test_two_hundred_connections_leave_no_process_no_thread_and_no_handle(
    rtsp: StartServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = fake_ffmpeg.install(tmp_path, "well")
    monkeypatch.setenv("PATH", str(tmp_path))
    url, process = rtsp().url(), psutil.Process()
    before = (process.num_fds(), process.num_threads())
    for number in range(200):
        source = ffmpeg_on(camera(url))
        source.open()
        if number % 2:
            source.interrupt()
        else:
            source.grab()
        source.close()
    assert len(fake.starts) == 200
    assert process.num_fds() <= before[0]
    assert process.num_threads() <= before[1]
    assert fake_children(process, tmp_path) == []


def fake_children(process: psutil.Process, folder: Path) -> list[str]:
    """Children that run the fake, or have ended and were not waited for."""
    children = [(child, child.status()) for child in process.children()]
    return [str(c) for c, status in children if status == psutil.STATUS_ZOMBIE or str(folder) in " ".join(c.cmdline())]
