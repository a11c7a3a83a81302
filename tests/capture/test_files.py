"""Pictures, clips and folders: in order, on their own time line, broken ones named and passed over."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

import cv2
import numpy as np
import pytest

from lpr.capture.base import CameraSettings
from lpr.capture.files import GAP_BETWEEN_SCENES_S, ClipSource, SequenceSource, media_files
from lpr.capture.opencv import OpenCvCapture
from lpr.capture.source import frames_of
from lpr.domain.choices import Pace
from lpr.domain.clock import SystemClock
from lpr.domain.errors import CaptureError, ConfigError
from lpr.domain.frame import Frame

FPS, WIDTH, HEIGHT = 25, 64, 48


def scene(number: int) -> np.ndarray:
    image = np.random.default_rng(number).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    image[:24] = number * 10 % 250
    return image


def write_clip(path: Path, frames: int = 25, *, first: int = 0) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), FPS, (WIDTH, HEIGHT))
    for number in range(frames):
        writer.write(scene(first + number))
    writer.release()
    return path


def write_picture(path: Path, number: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode(path.suffix, scene(number))
    assert done
    path.write_bytes(data.tobytes())
    return path


def read(path: Path, *, fps: float = FPS) -> list[Frame | CaptureError]:
    settings = CameraSettings(camera_id="CAM_001", source=str(path), fps=fps, pace=Pace.FAST)
    return list(frames_of(settings, SystemClock()))


def frames(items: list[Frame | CaptureError]) -> list[Frame]:
    return [item for item in items if isinstance(item, Frame)]


def errors(items: list[Frame | CaptureError]) -> list[str]:
    return [str(item) for item in items if isinstance(item, CaptureError)]


def test_a_clip_gives_every_frame_on_its_own_time_line(tmp_path: Path) -> None:
    read_frames = frames(read(write_clip(tmp_path / "gate.mp4", 50)))
    assert [frame.number for frame in read_frames] == list(range(50))
    start_s = read_frames[0].captured_at.monotonic_s
    times = [frame.captured_at.monotonic_s - start_s for frame in read_frames]
    assert times == pytest.approx([number / FPS for number in range(50)], abs=0.002)
    assert float(np.abs(read_frames[30].image[:20].astype(int) - 300 % 250).mean()) < 12


def test_a_clip_is_thinned_to_the_frames_that_are_analysed(tmp_path: Path) -> None:
    assert len(frames(read(write_clip(tmp_path / "gate.mp4", 100), fps=8))) == 32


def test_a_folder_is_read_in_natural_order_pictures_and_clips_alike(tmp_path: Path) -> None:
    for name in ("p10.jpg", "p2.png", "P1.JPG"):
        write_picture(tmp_path / name)
    write_clip(tmp_path / "p3.mp4", 5)
    (tmp_path / "notes.txt").write_text("not looked at")
    write_picture(tmp_path / ".hidden.jpg")
    assert [path.name for path in media_files(tmp_path)] == ["P1.JPG", "p2.png", "p3.mp4", "p10.jpg"]
    read_frames = frames(read(tmp_path))
    assert len(read_frames) == 8
    times = [frame.captured_at.monotonic_s for frame in read_frames]
    assert times == sorted(times)
    assert times[2] - times[1] == pytest.approx(GAP_BETWEEN_SCENES_S)


def test_a_folder_passes_over_what_only_bears_the_name_of_a_picture(tmp_path: Path) -> None:
    write_picture(tmp_path / "1.jpg")
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "gone.jpg").symlink_to("nowhere")
    items = read(tmp_path)
    assert len(frames(items)) == 1
    (said,) = errors(items)
    assert "gone.jpg" in said


@pytest.mark.parametrize("suffix", [".heic", ".HEIC", ".jfif", ".gif", ".avif"])
def test_no_photograph_of_a_phone_is_passed_over_in_silence(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"IMG_0001{suffix}").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 300)
    (said,) = errors(read(tmp_path))
    assert f"IMG_0001{suffix}" in said
    assert "HEIC" in said


def test_vietnamese_names_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "Cổng chính"
    write_picture(folder / "xe máy số 1.jpg")
    write_clip(folder / "ra khỏi bãi.mp4", 3)
    assert len(frames(read(folder))) == 4


def test_a_broken_picture_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    for number in range(5):
        write_picture(tmp_path / f"{number}.jpg", number)
    (tmp_path / "1.jpg").write_bytes(b"no picture at all")
    (tmp_path / "3.jpg").write_bytes(b"")
    items = read(tmp_path)
    assert len(frames(items)) == 3
    said = errors(items)
    assert len(said) == 2
    assert "1.jpg" in said[0]
    assert "3.jpg" in said[1]


def test_a_broken_clip_among_others_is_named_and_passed_over(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", 5)
    (tmp_path / "b.mp4").write_bytes(b"\0" * 4000)
    (tmp_path / "c.mp4").write_bytes(b"")
    write_clip(tmp_path / "d.mp4", 5)
    items = read(tmp_path)
    assert len(frames(items)) == 10
    assert ["b.mp4" in errors(items)[0], "c.mp4" in errors(items)[1]] == [True, True]


@pytest.mark.parametrize("suffix", [".avi", ".mkv"])
def test_a_clip_that_ends_mid_frame_gives_its_frames_first_and_a_named_error_then(tmp_path: Path, suffix: str) -> None:
    whole = tmp_path / f"whole{suffix}"
    writer = cv2.VideoWriter(str(whole), cv2.VideoWriter.fourcc(*"MJPG"), FPS, (WIDTH, HEIGHT))
    for number in range(100):
        writer.write(scene(number))
    writer.release()
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    items = read(cut)
    assert 40 <= len(frames(items)) <= 52
    assert isinstance(items[-1], CaptureError)
    assert f"cut{suffix}" in str(items[-1])
    assert "breaks off after" in str(items[-1])


@pytest.mark.parametrize(("counted", "broken"), [(90_050, False), (90_100, True)])
def test_a_piece_of_a_longer_recording_is_whole_though_it_says_when_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: int, broken: bool
) -> None:
    """What a recorder cuts into Matroska files goes on in time: this one begins after an hour, and says 3602 s."""
    told = {"CAP_PROP_FRAME_COUNT": float(counted), "CAP_PROP_PTS": 90_000.0}
    get = OpenCvCapture.get
    monkeypatch.setattr(OpenCvCapture, "get", lambda self, name: told.get(name) or get(self, name))
    items = read(write_clip(tmp_path / "gate.mp4", 50))
    assert (len(frames(items)), bool(errors(items))) == (50, broken)


def test_a_recording_without_its_index_is_an_error_that_says_so(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "gate.mp4", 50)
    clip.write_bytes(clip.read_bytes()[:-2000])
    said = errors(read(clip))
    assert len(said) == 1
    assert "damaged, not complete" in said[0]


def test_a_clip_in_a_codec_that_cannot_be_decoded_is_named_with_it(tmp_path: Path) -> None:
    clip = tmp_path / "gate.avi"
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"MJPG"), FPS, (WIDTH, HEIGHT))
    for number in range(5):
        writer.write(scene(number))
    writer.release()
    clip.write_bytes(clip.read_bytes().replace(b"MJPG", b"VP90"))
    (error,) = read(clip)
    assert isinstance(error, CaptureError)
    assert re.search(r"no picture that can be decoded \(codec vp90\)", error.message, re.IGNORECASE)
    assert "H.264" in (error.hint or "")


def test_a_source_that_repeats_goes_on_in_time_and_leaves_out_what_is_broken(tmp_path: Path) -> None:
    write_picture(tmp_path / "1.jpg")
    (tmp_path / "2.jpg").write_bytes(b"broken")
    source = SequenceSource(media_files(tmp_path), "folder", picture_s=0.5, repeat=True)
    source.open()
    times, broken = [], 0
    for _ in range(8):
        try:
            times.append(source.grab())
        except CaptureError:
            broken += 1
    source.close()
    assert times == [0.0, 0.5, 1.0, 1.5]
    assert broken == 4


def test_a_repeating_folder_in_which_nothing_can_be_read_ends(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(b"broken")
    source = SequenceSource(media_files(tmp_path), "folder", picture_s=0.5, repeat=True)
    source.open()
    with pytest.raises(CaptureError):
        source.grab()
    assert source.grab() is None


def test_a_missing_path_and_an_empty_folder_are_errors_that_name_them(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        media_files(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="no picture and no clip"):
        media_files(tmp_path)


def test_what_is_no_file_is_refused_and_not_read_for_ever(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ConfigError, match="is a pipe, not a file") as raised:
        media_files(tmp_path / "pipe.jpg")
    assert raised.value.hint
    with pytest.raises(ConfigError, match="'/dev/zero' is a device, not a picture or clip"):
        media_files(Path("/dev/zero"))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s.png"))
        with pytest.raises(ConfigError, match="is a socket, not a file"):
            media_files(tmp_path / "s.png")


def test_a_closed_clip_leaves_no_handle(tmp_path: Path) -> None:
    source = ClipSource(write_clip(tmp_path / "gate.mp4", 5))
    source.open()
    assert source.grab() == 0.0
    source.close()
    source.close()
    with pytest.raises(CaptureError, match="not open"):
        source.grab()


def test_the_address_of_a_camera_is_no_file_and_its_password_is_not_told() -> None:
    for address in ("rtsp://an:s3cr3t@camera/live", "HTTP://an:s3cr3t@camera/video"):
        with pytest.raises(ConfigError, match="is the address of a camera") as raised:
            media_files(Path(address))
        assert "s3cr3t" not in f"{raised.value} {raised.value.hint}"
