"""Network cameras decoded by the system's ffmpeg, on an Intel GPU through VA-API.

The wheels of OpenCV cannot do that. ffmpeg runs as a child process: it decodes every picture on the GPU, picks those
that are wanted there, and only those are fetched and piped over, as I420 with a small header each.
"""

from __future__ import annotations

import os
import re
import select
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import structlog

from lpr.capture.base import CameraSettings
from lpr.capture.network import check
from lpr.capture.rtsp import greet
from lpr.domain.address import StreamAddress
from lpr.domain.errors import CaptureError, CaptureResizedError
from lpr.domain.frame import Image
from lpr.domain.secrets import mask_secrets

_HEADROOM = 1.5
"""More pictures than are analysed are fetched, so that the reader's own rhythm has a choice."""

_BURST_S = 2.0
_BURST_GAP_S = 0.015
_PIPE_BYTES = 1 << 20
_SAID_BYTES = 4096
_SAID_LINES = 10
_SIDE_MAX_PX = 16384
_RESIZED = b"Input changed"
"""FFmpeg's words for a picture that is unlike the first one, which it has been told to drop."""

_log = structlog.get_logger("capture")


class HardwareDecodeError(CaptureError):
    """The stream is there, and ffmpeg or the GPU cannot decode it; software may."""


class NoPictureError(CaptureError):
    """ffmpeg runs and gave no picture in time: the camera's fault or the GPU's."""


class FfmpegSource:
    """One stream, decoded by a child process; `device` is the GPU's render node, None for software."""

    def __init__(
        self, settings: CameraSettings, address: StreamAddress, *, device: Path | None, program: str = "ffmpeg"
    ) -> None:
        self._settings = settings
        self._address = address
        self._device = device
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._received = bytearray()
        self._said = b""
        self._waiting: tuple[int, int, bytes] | None = None
        self._grabbed: tuple[int, int, bytes] | None = None
        self._interrupted = False
        self._first_s: float | None = None
        self._previous_s = 0.0

    @property
    def live(self) -> bool:
        """Always."""
        return True

    @property
    def description(self) -> str:
        """The address without its password."""
        return self._address.masked

    def open(self) -> None:
        """Start ffmpeg and wait for the first picture. Raises `HardwareDecodeError` where it is the GPU's fault."""
        limits = self._settings.limits
        greet(self._address, limits.open_timeout_s / 2)
        try:
            self._process = subprocess.Popen(  # noqa: S603  # our own arguments; the address is not among them
                ffmpeg_command(self._program, self._settings.fps, self._device),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pipesize=_PIPE_BYTES,
            )
        except OSError as error:
            raise HardwareDecodeError(f"{self._program} cannot be started: {error.strerror}") from error
        stdin = self._process.stdin
        if stdin is None:
            raise HardwareDecodeError(f"{self._program} takes no input")
        try:
            stdin.write(input_script(self._address, self._settings).encode())
            stdin.close()
        except OSError as error:
            raise self._fault() from error
        self._waiting = self._read_picture(limits.open_timeout_s + limits.read_timeout_s)

    def grab(self) -> float | None:
        """Seconds on this machine's clock, for the pipe carries none.

        Raises `CaptureError` where pictures stay out, `CaptureResizedError` where they change their size.
        """
        while True:
            picture, self._waiting = self._waiting, None
            if picture is None:
                picture = self._read_picture(self._settings.limits.read_timeout_s * 2)
            now_s = time.monotonic()
            since_s, self._previous_s = now_s - self._previous_s, now_s
            self._first_s = self._first_s or now_s
            if now_s - self._first_s < _BURST_S and since_s < _BURST_GAP_S:
                continue  # what was waiting when the stream was opened comes in one burst, and is old
            self._grabbed = picture
            return now_s

    def retrieve(self) -> Image:
        """The picture grabbed last."""
        import cv2

        if self._grabbed is None:
            raise CaptureError(f"no picture of {self.description} has been read")
        width, height, data = self._grabbed
        return np.asarray(cv2.cvtColor(as_i420(data, width, height), cv2.COLOR_YUV2BGR_I420), np.uint8)

    def close(self) -> None:
        """End ffmpeg; a viewer that vanishes is nothing to a camera."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()

    def interrupt(self) -> None:
        """Kill ffmpeg, which ends a blocked read at once."""
        self._interrupted = True
        process = self._process
        if process is not None:
            process.kill()

    def _read_picture(self, timeout_s: float) -> tuple[int, int, bytes]:
        deadline_s = time.monotonic() + timeout_s
        kind, size, _depth = (self._read_line(deadline_s) for _ in range(3))
        found = re.fullmatch(rb"(\d+) (\d+)", size)
        if kind != b"P5" or found is None:
            raise HardwareDecodeError(f"{self._program} sent something else than pictures of {self.description}")
        width, rows = int(found[1]), int(found[2])
        if not (0 < width <= _SIDE_MAX_PX and 0 < rows <= _SIDE_MAX_PX) or width % 2 or rows % 3:
            raise HardwareDecodeError(f"ffmpeg gives pictures of {width} x {rows * 2 / 3:g} pixels")
        self._receive(width * rows, deadline_s)
        data = bytes(memoryview(self._received)[: width * rows])
        del self._received[: width * rows]
        return width, rows * 2 // 3, data

    def _read_line(self, deadline_s: float) -> bytes:
        while (end := self._received.find(b"\n")) < 0:
            self._receive(len(self._received) + 1, deadline_s)
        line = bytes(self._received[:end])
        del self._received[: end + 1]
        return line

    def _receive(self, count: int, deadline_s: float) -> None:
        """Until `count` bytes have been received, reading what ffmpeg says on the way."""
        process = self._process
        if process is None or process.stdout is None or process.stderr is None:
            raise CaptureError(f"{self.description} is not open")
        pictures, words = process.stdout.fileno(), process.stderr.fileno()
        listening = [pictures, words]
        while len(self._received) < count:
            left_s = deadline_s - time.monotonic()
            ready = select.select(listening, [], [], max(0.0, left_s))[0]
            if not ready:
                raise NoPictureError(
                    f"{self.description} sent no picture in time",
                    hint="The connection stands, but nothing comes: look at the camera and at the network to it.",
                )
            if words in ready:
                said = os.read(words, _SAID_BYTES)
                self._said = (self._said + said)[-_SAID_BYTES:]
                if not said:
                    listening.remove(words)
                if _RESIZED in self._said:
                    raise CaptureResizedError(f"{self.description} changed the size of its pictures")
            if pictures in ready:
                data = os.read(pictures, _PIPE_BYTES)
                if not data:
                    raise self._fault()
                self._received += data

    def _fault(self) -> CaptureError:
        """Why ffmpeg ended: the camera's own word where that is at fault, else what ffmpeg said last."""
        if self._interrupted:
            return CaptureError(f"{self.description} was called off")
        process = self._process
        if process is not None and process.stderr is not None:
            process.wait()
            self._said = (self._said + process.stderr.read())[-_SAID_BYTES:]
        try:
            check(self._address, self._settings.limits.open_timeout_s / 2)
        except CaptureError as error:
            return error
        lines = mask_secrets(self._said.decode("utf-8", "replace")).strip().splitlines()
        if lines:
            _log.warning("decoder_said", camera=self._settings.camera_id, lines=lines[-_SAID_LINES:])
        last = lines[-1] if lines else "without a word"
        words = f"{self._program} ended on {self.description}, and the camera is there: {last}"
        return HardwareDecodeError(words) if self._device is not None else CaptureError(words)


def ffmpeg_command(program: str, fps: float, device: Path | None) -> Sequence[str]:
    """The command line; it names no camera, for any user of the machine can read it."""
    hardware = (
        ["-hwaccel", "vaapi", "-hwaccel_device", str(device), "-hwaccel_output_format", "vaapi"] if device else []
    )
    wanted = f"select='isnan(prev_selected_t)+gte(t-prev_selected_t,{1 / (fps * _HEADROOM):.4f})'"
    fetched = ["hwdownload", "format=nv12"] if device else []
    protocols = "pipe,fd,file,rtsp,rtp,udp,tcp,tls,crypto,http,https"
    return [
        *(program, "-hide_banner", "-nostats", "-loglevel", "error"),
        *hardware,
        # More threads hold back a picture each. And pictures of another size would be scaled to that of the first one.
        *("-threads", "1", "-flags", "+low_delay+drop_changed"),
        *("-protocol_whitelist", protocols, "-f", "concat", "-safe", "0", "-i", "pipe:0", "-an"),
        *("-vf", ",".join([wanted, *fetched, "format=yuv420p"]), "-fps_mode", "passthrough"),
        *("-f", "image2pipe", "-c:v", "pgmyuv", "pipe:1"),
    ]


def input_script(address: StreamAddress, settings: CameraSettings) -> str:
    """What ffmpeg reads from its standard input: the address with its password, and how to open it."""
    options = {"probesize": "32", "analyzeduration": "1", "fpsprobesize": "0"}
    if address.scheme.startswith("rtsp"):
        options["rtsp_transport"] = settings.transport.value
        options["timeout"] = str(int(settings.limits.open_timeout_s * 1e6))
    quoted = address.url.replace("'", r"'\''")
    return "\n".join(["ffconcat version 1.0", f"file '{quoted}'", *(f"option {n} {v}" for n, v in options.items()), ""])


def as_i420(data: bytes, width: int, height: int) -> Image:
    """The picture's planes one after the other, from ffmpeg's `pgmyuv`, which has both chroma planes side by side."""
    count = width * height
    planes = np.frombuffer(data, np.uint8)
    chroma = planes[count:].reshape(height // 2, width)
    i420 = np.empty(count * 3 // 2, np.uint8)
    i420[:count] = planes[:count]
    i420[count : count * 5 // 4] = chroma[:, : width // 2].ravel()
    i420[count * 5 // 4 :] = chroma[:, width // 2 :].ravel()
    return i420.reshape(height * 3 // 2, width)
