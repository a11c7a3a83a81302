"""Decoding on a GPU, tried on a real camera with an `ffmpeg` that is a program of ours: it writes frames, or fails.

What is not shown here is a GPU: no test machine has one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import structlog
from structlog.testing import capture_logs
from structlog.typing import EventDict

from lpr.capture import vaapi
from lpr.capture.base import CameraSettings, CaptureLimits
from lpr.capture.reader import CameraReader
from lpr.capture.source import open_source
from lpr.capture.vaapi import VaapiSource, intel_render_node, vaapi_device
from lpr.domain.choices import Decoder
from lpr.domain.errors import CaptureError
from lpr.domain.events import CameraState
from lpr.domain.frame import Frame
from tests.capture import fake_ffmpeg
from tests.capture.fake_ffmpeg import FakeFfmpeg
from tests.capture.helpers import Diary, camera
from tests.rtsp.server import StartServer
from tests.rtsp.stamp import stamp_s

INTEL, NVIDIA = "0x8086", "0x10de"
SOON_AGAIN = CaptureLimits(backoff_first_s=0.05, backoff_most_s=0.1)

Machine = Callable[..., FakeFfmpeg]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """Makes a machine with these GPUs, whose ffmpeg goes these ways; none of either where that is empty."""

    def make(ways: str = "well", gpus: tuple[str, ...] = (INTEL,)) -> FakeFfmpeg:
        for number, vendor in enumerate(gpus):
            node = tmp_path / "dri" / f"renderD{128 + number}"
            node.parent.mkdir(exist_ok=True)
            node.touch()
            device = tmp_path / "drm" / node.name / "device"
            device.mkdir(parents=True)
            (device / "vendor").write_text(vendor + "\n")
        monkeypatch.setattr(vaapi, "RENDER_NODES", tmp_path / "dri")
        monkeypatch.setattr(vaapi, "DRM_CLASS", tmp_path / "drm")
        (tmp_path / "bin").mkdir()
        monkeypatch.setenv("PATH", str(tmp_path / "bin"))
        vaapi_device.cache_clear()
        return fake_ffmpeg.install(tmp_path / "bin", ways) if ways else FakeFfmpeg(tmp_path / "bin")

    structlog.reset_defaults()
    yield make
    vaapi_device.cache_clear()


def on_gpu(url: str, decoder: Decoder = Decoder.AUTO) -> CameraSettings:
    return replace(camera(url), decoder=decoder, limits=SOON_AGAIN)


def is_from_gpu(frame: Frame) -> bool:
    return bool((np.abs(frame.image.astype(int) - fake_ffmpeg.BGR) <= 3).all())


def warnings(logs: list[EventDict]) -> list[str]:
    return [str(entry["reason"]) for entry in logs if entry["event"] == "decoding_in_software"]


@pytest.mark.rtsp
async def test_frames_come_whole_and_fresh_from_ffmpeg_and_the_address_stays_off_its_command_line(
    rtsp: StartServer, machine: Machine
) -> None:
    fake = machine()
    server = rtsp(login=("an", "s3cr3t"))
    with capture_logs() as logs:
        async with CameraReader(on_gpu(server.url())) as reader, asyncio.timeout(60):
            frames = [frame for frame in [await reader.next() for _ in range(5)] if frame is not None]
    assert len(frames) == 5
    assert all(frame.image.shape == (240, 320, 3) and is_from_gpu(frame) for frame in frames)
    assert warnings(logs) == []
    [start] = fake.starts
    arguments, script = start.split(" <<< ")
    assert "-hwaccel vaapi" in arguments
    assert "127.0.0.1" not in arguments
    assert f"file 'rtsp://an:s3cr3t@127.0.0.1:{server.port}/live'" in script


@pytest.mark.rtsp
@pytest.mark.parametrize(
    ("ways", "words"),
    [
        ("dies", "Unrecognized option 'fps_mode'."),
        ("crashes", "without a word"),
        ("no driver", "Failed to initialise VAAPI connection"),
        ("noise", "something else than pictures"),
        ("odd", "pictures of 321 x 240 pixels"),
    ],
)
async def test_an_ffmpeg_that_gives_no_picture_is_given_up_at_once_with_one_warning(
    rtsp: StartServer, machine: Machine, ways: str, words: str
) -> None:
    fake = machine(ways)
    server = rtsp()
    diary = Diary()
    with capture_logs() as logs:
        async with CameraReader(on_gpu(server.url()), on_change=diary.note) as reader, asyncio.timeout(60):
            frame = await reader.next()
            assert frame is not None
            assert stamp_s(frame.image) > 0, "a picture of the camera itself"
            assert diary.states == [CameraState.CONNECTING, CameraState.RUNNING], "the camera was never lost"
            # Nor is it tried again when the camera comes back.
            await asyncio.to_thread(server.kill)
            await diary.until(CameraState.LOST)
            await asyncio.to_thread(server.start)
            await diary.until(CameraState.RUNNING, count=2)
    assert len(fake.starts) == 1
    [reason] = warnings(logs)
    assert words in reason


@pytest.mark.rtsp
@pytest.mark.parametrize(("ways", "words"), [("soon", "hwaccel went away"), ("torn", "without a word")])
async def test_one_that_breaks_again_and_again_is_given_up_the_third_time_and_shows_no_torn_picture(
    rtsp: StartServer, machine: Machine, ways: str, words: str
) -> None:
    fake = machine(ways)
    server = rtsp()
    with capture_logs() as logs:
        async with CameraReader(on_gpu(server.url())) as reader, asyncio.timeout(30):
            from_gpu = 0
            async for frame in reader.frames():
                if not is_from_gpu(frame):
                    break
                from_gpu += 1
    assert abs(time.monotonic() - stamp_s(frame.image)) < 1, "the camera's own picture, whole and fresh"
    assert from_gpu >= 3
    assert len(fake.starts) == 3
    [reason] = warnings(logs)
    assert "3 times in a row" in reason
    assert words in reason


@pytest.mark.rtsp
async def test_one_that_stays_silent_is_given_up_the_third_time_and_one_that_is_slow_once_is_kept(
    rtsp: StartServer, machine: Machine
) -> None:
    url = rtsp().url()
    short = replace(SOON_AGAIN, open_timeout_s=0.5, read_timeout_s=0.3)
    fake = machine()
    for ways, starts, software in (("silent", 3, True), ("silent,well", 2, False)):
        fake_ffmpeg.install(fake.folder, ways)
        with capture_logs() as logs:
            async with CameraReader(replace(on_gpu(url), limits=short)) as reader, asyncio.timeout(60):
                frame = await reader.next()
        assert frame is not None
        assert is_from_gpu(frame) is not software
        assert len(fake.starts) == starts
        assert len(warnings(logs)) == software
        fake.log.unlink()


@pytest.mark.rtsp
async def test_pictures_of_another_size_are_no_loss_on_the_gpu_either_and_stay_there(
    rtsp: StartServer, machine: Machine
) -> None:
    fake = machine("resized,well")
    server, diary = rtsp(), Diary()
    with capture_logs() as logs:
        async with CameraReader(on_gpu(server.url()), on_change=diary.note) as reader, asyncio.timeout(30):
            while len(fake.starts) < 2:
                assert await reader.next() is not None
            frame = await reader.next()
    assert frame is not None
    assert is_from_gpu(frame)
    assert "drop_changed" in fake.starts[0]
    assert diary.states == [CameraState.CONNECTING, CameraState.RUNNING, CameraState.STOPPED]
    assert [each["event"] for each in logs].count("camera_resized") == 1
    assert warnings(logs) == []


@pytest.mark.rtsp
async def test_a_gpu_on_which_every_other_picture_seems_to_be_of_another_size_is_given_up(
    rtsp: StartServer, machine: Machine
) -> None:
    fake = machine("flickers")
    with capture_logs() as logs:
        async with CameraReader(on_gpu(rtsp().url())) as reader, asyncio.timeout(30):
            async for frame in reader.frames():
                if not is_from_gpu(frame):
                    break
    assert stamp_s(frame.image) > 0, "a picture of the camera itself"
    assert len(fake.starts) == 3
    [reason] = warnings(logs)
    assert "3 times in a row" in reason


@pytest.mark.rtsp
async def test_a_camera_that_is_lost_and_found_is_decoded_on_the_gpu_again(rtsp: StartServer, machine: Machine) -> None:
    # This ffmpeg draws its own pictures and does not notice that the camera has gone; the real one ends with it.
    fake = machine("soon,well")
    server = rtsp()
    diary = Diary()
    with capture_logs() as logs:
        async with CameraReader(on_gpu(server.url()), on_change=diary.note) as reader:
            await diary.until(CameraState.RUNNING)
            await asyncio.to_thread(server.kill)
            lost = await diary.until(CameraState.LOST)
            await asyncio.to_thread(server.start)
            await diary.until(CameraState.RUNNING, count=2)
            frame = await reader.next()
    assert frame is not None
    assert is_from_gpu(frame)
    assert "cannot be reached" in lost.reason, "the camera's fault, not the GPU's"
    assert len(fake.starts) == 2
    assert warnings(logs) == []


@pytest.mark.parametrize("decoder", [Decoder.AUTO, Decoder.VAAPI])
@pytest.mark.parametrize(
    ("ways", "gpus", "words"),
    [
        ("", (INTEL,), "ffmpeg is not installed"),
        ("old", (INTEL,), "does not know VA-API"),
        ("hangs", (INTEL,), "hangs"),
        ("well", (), "no Intel GPU"),
        ("well", (NVIDIA,), "no Intel GPU"),
    ],
)
def test_who_has_no_gpu_is_told_only_where_it_was_asked_for_and_who_has_one_always(
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    decoder: Decoder,
    ways: str,
    gpus: tuple[str, ...],
    words: str,
) -> None:
    monkeypatch.setattr(vaapi, "_ASK_FFMPEG_WITHIN_S", 0.5)
    fake = machine(ways, gpus)
    source = open_source(replace(camera("rtsp://127.0.0.1:1/live"), decoder=decoder))
    assert isinstance(source, VaapiSource)
    with capture_logs() as logs:
        for _ in range(2):
            with pytest.raises(CaptureError, match="cannot be reached"):
                source.open()
    told = 1 if decoder is Decoder.VAAPI or INTEL in gpus else 0
    assert [words in reason for reason in warnings(logs)] == [True] * told
    assert fake.starts == []


def test_a_file_that_is_no_program_means_software(machine: Machine) -> None:
    fake = machine("")
    (fake.folder / "ffmpeg").write_bytes(b"\x7fELF no program")
    (fake.folder / "ffmpeg").chmod(0o755)
    device, why_not = vaapi_device()
    assert device is None
    assert "cannot be started" in why_not


def test_an_intel_gpu_is_told_from_another_makers(machine: Machine, tmp_path: Path) -> None:
    machine(gpus=(NVIDIA, INTEL))
    assert intel_render_node() == tmp_path / "dri" / "renderD129"
    assert vaapi_device()[0] == tmp_path / "dri" / "renderD129"
