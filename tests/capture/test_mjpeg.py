"""Cameras that send single pictures over HTTP: a real server, whose pictures change while it is looked at."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest
from structlog.testing import capture_logs

from lpr.capture.base import ConnectionHistory
from lpr.capture.jpeg import decode_jpeg
from lpr.capture.network import NetworkSource
from lpr.capture.reader import CameraReader
from lpr.domain.address import parse_address
from lpr.domain.errors import CaptureError
from lpr.domain.events import CameraState
from lpr.domain.frame import Image
from tests.capture.helpers import Diary, camera

PERIOD_S = 0.02


def scene(width: int, height: int) -> Image:
    """A white disc half as high as the picture, which scaling to another shape makes an ellipse."""
    image = np.zeros((height, width, 3), np.uint8)
    cv2.circle(image, (width // 2, height // 2), height // 4, (255, 255, 255), -1)
    return image


def jpeg(width: int, height: int) -> bytes:
    done, data = cv2.imencode(".jpg", scene(width, height))
    assert done
    return data.tobytes()


def roundness(image: Image) -> float:
    rows, columns = np.nonzero(image[:, :, 0] > 128)
    return float(np.ptp(columns) / np.ptp(rows))


HEAD = "--b\r\nContent-Type: image/jpeg\r\nContent-Length: {length}\r\n\r\n"


class Camera:
    """Sends `picture` over and over to whoever asks."""

    def __init__(self, picture: bytes) -> None:
        self.picture, self.viewers, self.url = picture, 0, ""


@contextmanager
def mjpeg_camera(
    picture: bytes, head: str = HEAD, *, kind: str = "multipart/x-mixed-replace; boundary=b", pictures: int = 1_000_000
) -> Iterator[Camera]:
    shown, over = Camera(picture), threading.Event()

    class Stream(BaseHTTPRequestHandler):
        def log_message(self, *_words: object) -> None:
            """Silence."""

        def do_GET(self) -> None:
            shown.viewers += 1
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.end_headers()
            try:
                for _ in range(pictures):
                    if over.wait(PERIOD_S):
                        break
                    data = shown.picture
                    self.wfile.write(head.format(length=len(data)).encode() + data + b"\r\n")
            except OSError:
                pass  # the viewer has left

    with ThreadingHTTPServer(("127.0.0.1", 0), Stream) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        shown.url = f"http://an:s3cr3t@127.0.0.1:{server.server_port}/mjpg"
        try:
            yield shown
        finally:
            over.set()
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(("before", "after"), [((320, 240), (1280, 720)), ((1280, 720), (640, 480))])
async def test_pictures_of_another_size_are_taken_as_they_are_over_the_same_connection(
    before: tuple[int, int], after: tuple[int, int]
) -> None:
    diary = Diary()
    with mjpeg_camera(jpeg(*before)) as shown, capture_logs() as logs:
        async with CameraReader(camera(shown.url), on_change=diary.note) as reader:
            first = await reader.next()
            assert first is not None
            assert (first.width, first.height) == before
            shown.picture, changed_s = jpeg(*after), time.monotonic()
            async for frame in reader.frames():
                if (frame.width, frame.height) != before:
                    break
            noticed_s = time.monotonic() - changed_s
    assert (frame.width, frame.height) == after
    assert roundness(frame.image) == pytest.approx(1.0, abs=0.05)
    assert noticed_s < 2.0
    assert (diary.states, shown.viewers) == ([CameraState.CONNECTING, CameraState.RUNNING, CameraState.STOPPED], 1)
    [entry] = [each for each in logs if each["event"] == "camera_resized"]
    assert f"from {before[0]} x {before[1]} to {after[0]} x {after[1]} pixels" in entry["reason"]
    assert "s3cr3t" not in str(logs)


def opened(url: str) -> NetworkSource:
    source = NetworkSource(camera(url), parse_address(url), ConnectionHistory())
    source.open()
    return source


def take_pictures(source: NetworkSource, *, within_s: float) -> None:
    deadline_s = time.monotonic() + within_s
    while time.monotonic() < deadline_s:
        assert source.grab() is not None
        source.retrieve()


@pytest.mark.parametrize(
    ("head", "viewers"),
    [
        ("--b\nContent-Type: image/jpeg\n\n", 1),
        ("----b\r\ncontent-length: {length}\r\ncontent-type: image/jpeg\r\nX-Timestamp: 1.5\r\n\r\n", 1),
        ("--b\r\nContent-Type: image/jpg\r\nContent-Length: {length}\r\n\r\n", 2),
        ("--b\r\nContent-Type: image/jpeg; charset=utf-8\r\nContent-Length: {length}\r\n\r\n", 2),
        ("--b\r\nContent-Length: {length}\r\n\r\n", 2),
    ],
)
async def test_whatever_a_camera_writes_between_its_pictures_they_are_taken(head: str, viewers: int) -> None:
    """Where the decoder gives up they are taken over a second connection, and nobody is told of a loss."""
    diary = Diary()
    with mjpeg_camera(jpeg(320, 240), head) as shown:
        async with CameraReader(camera(shown.url), on_change=diary.note) as reader:
            for _ in range(3):
                frame = await reader.next()
                assert frame is not None
                assert roundness(frame.image) == pytest.approx(1.0, abs=0.05)
    assert (diary.states, shown.viewers) == (
        [CameraState.CONNECTING, CameraState.RUNNING, CameraState.STOPPED],
        viewers,
    )


def test_the_address_of_a_snapshot_is_called_one() -> None:
    data = jpeg(320, 240)
    with mjpeg_camera(data, kind="image/jpeg", pictures=1, head="") as shown:
        source = opened(shown.url)
        assert source.grab() is not None
        with pytest.raises(CaptureError, match="gave one picture and ended") as caught:
            source.grab()
        source.close()
    assert "address of a snapshot" in (caught.value.hint or "")
    assert "s3cr3t" not in str(caught.value)


def test_a_damaged_picture_is_passed_over_and_nothing_but_damaged_ones_is_a_fault() -> None:
    with mjpeg_camera(jpeg(320, 240)) as shown:
        source = opened(shown.url)
        try:
            assert source.grab() is not None
            whole, shown.picture = shown.picture, b"\xff\xd8 no picture"
            with pytest.raises(CaptureError, match="cannot be decoded") as raised:
                take_pictures(source, within_s=5)
            assert "s3cr3t" not in f"{raised.value} {raised.value.hint}"
            restore = threading.Timer(3 * PERIOD_S, lambda: setattr(shown, "picture", whole))
            restore.start()
            assert source.grab() is not None
            assert source.retrieve().shape == (240, 320, 3)
            restore.join()
        finally:
            source.close()


def test_a_picture_without_its_end_is_shown_as_far_as_it_came() -> None:
    whole = np.frombuffer(jpeg(320, 240), np.uint8)
    without_mark, half = decode_jpeg(whole[:-2]), decode_jpeg(whole[: len(whole) * 2 // 3])
    assert without_mark is not None
    assert half is not None
    assert np.array_equal(without_mark, decode_jpeg(whole))
    assert half.shape == (240, 320, 3)
    assert decode_jpeg(whole[:20]) is None
    assert decode_jpeg(whole[:0]) is None


def test_a_grey_picture_has_three_channels() -> None:
    done, data = cv2.imencode(".jpg", scene(64, 48)[:, :, 0])
    assert done
    image = decode_jpeg(data.ravel())
    assert image is not None
    assert image.shape == (48, 64, 3)
