"""The reader on the system's ffmpeg: in software against the real camera, and up to the fallback without a GPU."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import structlog
from structlog.testing import capture_logs

from lpr.capture import ffmpeg
from lpr.capture.base import CameraSettings
from lpr.capture.ffmpeg import FfmpegSource, HardwareDecodeError, VaapiSource, as_i420, ffmpeg_command, input_script
from lpr.capture.reader import CameraReader
from lpr.capture.source import open_source
from lpr.domain.address import parse_address
from lpr.domain.choices import Decoder
from lpr.domain.errors import CaptureError
from tests.capture.conftest import StartServer
from tests.capture.helpers import camera
from tests.rtsp.stamp import stamp_s

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="Debian's package ffmpeg is not installed")
NO_GPU = Path("/dev/dri/renderD999")


def ffmpeg_on(settings: CameraSettings, device: Path | None = None) -> FfmpegSource:
    return FfmpegSource(settings, parse_address(settings.source), device=device)


def grab_on(source: FfmpegSource) -> None:
    while True:
        source.grab()


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    ffmpeg._software_only.clear()
    ffmpeg.vaapi_device.cache_clear()
    structlog.reset_defaults()
    yield
    ffmpeg._software_only.clear()
    ffmpeg.vaapi_device.cache_clear()


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
async def test_a_gpu_that_cannot_decode_means_software_and_one_warning(
    rtsp: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = rtsp()
    settings = replace(camera(server.url()), decoder=Decoder.VAAPI)
    source = ffmpeg_on(settings, NO_GPU)
    with pytest.raises(HardwareDecodeError):
        source.open()
    source.close()
    monkeypatch.setattr(ffmpeg, "vaapi_device", lambda: (NO_GPU, ""))
    with capture_logs() as logs:
        for _ in range(2):
            async with CameraReader(settings) as reader:
                assert await reader.next() is not None
    warnings = [entry for entry in logs if entry["event"] == "decoding_in_software"]
    assert len(warnings) == 1
    assert "GPU cannot decode" in warnings[0]["reason"]


@pytest.mark.parametrize(("decoder", "told"), [(Decoder.VAAPI, 1), (Decoder.AUTO, 0)])
def test_without_a_gpu_only_who_asked_for_it_is_told(
    decoder: Decoder, told: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(ffmpeg, "RENDER_NODES", tmp_path)
    source = open_source(replace(camera("rtsp://127.0.0.1:1/live"), decoder=decoder))
    assert isinstance(source, VaapiSource)
    with capture_logs() as logs, pytest.raises(CaptureError, match="cannot be reached"):
        source.open()
    assert [entry["event"] for entry in logs] == ["decoding_in_software"] * told


def test_an_intel_gpu_is_told_from_another_makers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, vendor in (("renderD128", "0x10de"), ("renderD129", "0x8086")):
        (tmp_path / "dri").mkdir(exist_ok=True)
        (tmp_path / "dri" / name).touch()
        (tmp_path / "drm" / name / "device").mkdir(parents=True)
        (tmp_path / "drm" / name / "device" / "vendor").write_text(vendor + "\n")
    monkeypatch.setattr(ffmpeg, "RENDER_NODES", tmp_path / "dri")
    monkeypatch.setattr(ffmpeg, "DRM_CLASS", tmp_path / "drm")
    assert ffmpeg._intel_render_node() == tmp_path / "dri" / "renderD129"
