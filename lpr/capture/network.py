"""Cameras on the network through OpenCV's FFmpeg: RTSP, and pictures over HTTP."""

from __future__ import annotations

import base64
import http.client
import time

import structlog

from lpr.capture.base import CameraSettings, ConnectionHistory
from lpr.capture.description import Size, described_size
from lpr.capture.jpeg import CODEC, decode_jpeg
from lpr.capture.opencv import OpenCvCapture
from lpr.capture.resize import SizeWatch
from lpr.capture.rtsp import describe, greet, judge, probe, unverified
from lpr.domain.address import StreamAddress
from lpr.domain.choices import RtspTransport
from lpr.domain.errors import CaptureError, CaptureResizedError
from lpr.domain.frame import Image

QUICK_OPTIONS = "probesize;32|analyzeduration;1|fpsprobesize;0"
"""What the stream is stands in the camera's description of it: looking at pictures for it only makes them old."""

PATIENT_OPTIONS = "probesize;500000|analyzeduration;2000000"
"""For a camera whose description is too thin for that, or that sends a whole picture only every ten seconds."""

BARE_OPTION = "input_format;mjpeg|"
"""Single pictures are told by how each begins, whatever stands between them."""

_AT_ONCE_S = 0.8
_PATIENT_OPEN_MS = 6_000
_PATIENT_READ_MS = 12_000

_WHOLE_PICTURE = ord("I")
_FALLS_WITHIN_S = 5.0
_FALLS_MOST = 2
_DAMAGED_MOST = 25
"""Pictures in a row of a stream of single ones that cannot be decoded; more, and it is no such stream."""

_log = structlog.get_logger("capture")


class NetworkSource:
    """One stream, connected once. Every second try in vain is patient: it looks longer at what the camera sends."""

    def __init__(self, settings: CameraSettings, address: StreamAddress, history: ConnectionHistory) -> None:
        self._settings = settings
        self._address = address
        self._history = history
        self._patient = history.fruitless % 2 == 1
        self._refused = history.refused
        self._capture = OpenCvCapture(self._address.masked)
        self._opened_s = 0.0
        self._size: Size | None = None
        self._single = False
        self._grabbed = 0
        # Streams over HTTP come without a description. And there may be cameras that let go of one viewer when another
        # one knocks: such a camera is not asked again.
        asked = address.scheme.startswith("rtsp") and history.fell_when_asked < _FALLS_MOST
        self._watch = SizeWatch(self._ask_size) if asked else None

    @property
    def live(self) -> bool:
        """Always."""
        return True

    @property
    def description(self) -> str:
        """The address without its password."""
        return self._address.masked

    def open(self) -> None:
        """Let the decoder connect. Raises `CaptureError` that tells what is wrong.

        A sign of life comes first, so that a dead camera does not hold up the opening of others. What is wrong with a
        stream is asked only when it could not be opened: some cameras need a moment after one that asked and left. But
        one that refused the login last time is asked first, with one login instead of the decoder's and ours.
        """
        limits = self._settings.limits
        # Of HTTP we cannot ask it: our question speaks no Digest, the decoder does.
        ask = probe if self._refused and self._address.scheme.startswith("rtsp") else greet
        ask(self._address, limits.open_timeout_s / 2)
        if not self._open_decoder():
            self._history.bare = False  # perhaps it sends something else now
            check(self._address, limits.open_timeout_s / 2)
            raise CaptureError(
                f"{self.description} answers, but its stream cannot be opened",
                hint="Does a player such as VLC show it? The camera should send H.264 or H.265"
                + (" over UDP; try `transport: tcp`." if self._settings.transport is RtspTransport.UDP else "."),
            )
        self._opened_s = time.monotonic()

    def _open_decoder(self) -> bool:
        limits, patient = self._settings.limits, self._patient
        parameters = {
            "CAP_PROP_OPEN_TIMEOUT_MSEC": _PATIENT_OPEN_MS if patient else limits.open_timeout_s * 1000,
            "CAP_PROP_READ_TIMEOUT_MSEC": _PATIENT_READ_MS if patient else limits.read_timeout_s * 1000,
            # More threads hold back a picture each; one suffices for several 1080p streams.
            "CAP_PROP_N_THREADS": 1,
        }
        if not self._capture.open(self._address.url, "CAP_FFMPEG", parameters, self._options()):
            return False
        self._single = self._capture.codec == CODEC and self._capture.hand_out_packets()
        return True

    def grab(self) -> float | None:
        """Seconds on the camera's own clock; None where the stream ended.

        Raises `CaptureResizedError` where the camera sends pictures of another size than it did at first; single
        pictures (MJPEG) may be of any size.
        """
        asked_s = time.monotonic()
        if not (self._capture.grab() or self._grab_bare()):
            self._count_fall()
            waited_s = time.monotonic() - asked_s
            if waited_s > _AT_ONCE_S:
                raise CaptureError(
                    f"{self.description} sent no picture for {waited_s:.1f} s",
                    hint="The connection stands, but nothing comes: look at the camera and at the network to it.",
                )
            if self._single and self._grabbed == 1 and self._address.scheme.startswith("http"):
                raise CaptureError(
                    f"{self.description} gave one picture and ended",
                    hint="This may be the address of a snapshot: that of the camera's stream is another, mostly rtsp://…",
                )
            return None
        self._grabbed += 1
        if self._address.scheme.startswith("http"):
            return time.monotonic() - self._opened_s  # pictures over HTTP carry no time
        stamp_s = self._capture.get("CAP_PROP_POS_MSEC") / 1000
        if self._watch is not None and not self._single:
            whole, now_s = self._capture.get("CAP_PROP_FRAME_TYPE") == _WHOLE_PICTURE, time.monotonic()
            if _FALLS_WITHIN_S < now_s - self._watch.asked_s < float("inf"):
                self._history.fell_when_asked = 0
            self._watch.picture(whole, stamp_s, now_s)
            self._heed(self._watch.answer())
        return stamp_s

    def _grab_bare(self) -> bool:
        """Once more, where the decoder does not see pictures in what a camera sends over HTTP.

        It ends at a part that is called `image/jpg`, `image/jpeg; charset=utf-8`, or nothing at all.
        """
        if self._grabbed or not self._single or self._history.bare or not self._address.scheme.startswith("http"):
            return False
        self._history.bare = True
        self._capture.close()
        self._history.bare = self._open_decoder() and self._capture.grab()
        return self._history.bare

    def retrieve(self) -> Image:
        """The picture grabbed last; of single pictures the first one from there on that is not damaged."""
        image = self._retrieve_single() if self._single else self._capture.retrieve()
        size = image.shape[1], image.shape[0]
        if self._size not in (None, size):
            _log.warning("camera_resized", camera=self._settings.camera_id, reason=self._resized_to(size))
        self._size = size
        return image

    def _retrieve_single(self) -> Image:
        for _ in range(_DAMAGED_MOST):
            image = decode_jpeg(self._capture.packet())
            if image is not None:
                return image
            if not self._capture.grab():
                break
        raise CaptureError(
            f"{self.description} sends pictures that cannot be decoded",
            hint="Does a web browser show them? The line to the camera may be bad.",
        )

    def close(self) -> None:
        """Hang up."""
        self._capture.close()

    def interrupt(self) -> None:
        """The decoder cannot be stopped from outside; its own timeouts end it."""

    def _ask_size(self) -> Size | None:
        return described_size(describe(self._address, self._settings.limits.open_timeout_s / 2))

    def _count_fall(self) -> None:
        if self._watch is None or time.monotonic() - self._watch.asked_s > _FALLS_WITHIN_S:
            return
        self._history.fell_when_asked += 1
        if self._history.fell_when_asked == _FALLS_MOST:
            _log.warning(
                "camera_not_asked_again",
                camera=self._settings.camera_id,
                reason="its stream breaks off when it is asked for the size of its pictures: does it allow one viewer"
                " only? A change of its resolution is not noticed while it is connected.",
            )

    def _heed(self, told: Size | None) -> None:
        """What the camera has told of its pictures' size, against what they have.

        It is believed once: one whose pictures are not what it tells although they come over a new connection would
        have us hang up for ever.
        """
        size, history = self._size, self._history
        if told is None or size is None:
            return
        if told == size:
            history.resized_to = None
        elif told != history.resized_to:
            history.resized_to = told
            raise CaptureResizedError(self._resized_to(told))
        else:
            self._watch = None
            _log.info("picture_size_not_believed", camera=self._settings.camera_id, told=told, seen=size)

    def _resized_to(self, size: Size) -> str:
        width, height = self._size or size
        return f"{self.description} changed its pictures from {width} x {height} to {size[0]} x {size[1]} pixels"

    def _options(self) -> str:
        options = PATIENT_OPTIONS if self._patient else QUICK_OPTIONS
        if self._address.scheme.startswith("rtsp"):
            return f"rtsp_transport;{self._settings.transport}|{options}"
        return BARE_OPTION + options if self._history.bare else options


def check(address: StreamAddress, timeout_s: float) -> None:
    """Whether the camera answers and has this stream for this user. Raises `CaptureError` with what is wrong."""
    if address.scheme.startswith("rtsp"):
        probe(address, timeout_s)
    else:
        greet(address, timeout_s)
        ask_web(address, timeout_s)


def ask_web(address: StreamAddress, timeout_s: float) -> None:
    """What a camera's web server answers at `address`; raises `CaptureError` where that is no success."""
    host, port = address.host.strip("[]"), address.port
    link = (
        http.client.HTTPSConnection(host, port, timeout=timeout_s, context=unverified())
        if address.scheme == "https"
        else http.client.HTTPConnection(host, port, timeout=timeout_s)
    )
    try:
        login = base64.b64encode(f"{address.user}:{address.password}".encode()).decode()
        link.request("GET", address.path or "/", headers={"Authorization": f"Basic {login}"} if address.user else {})
        with link.getresponse() as answer:
            status, words = answer.status, f"{answer.status} {answer.reason}"
    except (OSError, http.client.HTTPException) as error:
        raise CaptureError(f"{address.place} answers nothing that can be read ({type(error).__name__})") from error
    finally:
        link.close()
    judge(status, words, address)
