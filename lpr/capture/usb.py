"""Cameras on this machine's own USB ports, through V4L2."""

from __future__ import annotations

import os
import time
from pathlib import Path

from lpr.capture.opencv import OpenCvCapture
from lpr.domain.errors import CaptureError
from lpr.domain.frame import Image

_BY_ID = Path("/dev/v4l/by-id")
_DEVICES = Path("/dev")
_SELECT_TIMEOUT_S = "2"
_WIDTH_PX, _HEIGHT_PX, _FPS = 1920, 1080, 30


class UsbSource:
    """`usb:0`, or better `usb:/dev/v4l/by-id/…`, which names the same camera in whatever port it is plugged."""

    def __init__(self, device: Path) -> None:
        self._path = device
        self._capture = OpenCvCapture(self.description)
        self._opened_s = 0.0

    @property
    def live(self) -> bool:
        """Always."""
        return True

    @property
    def description(self) -> str:
        """The device."""
        return f"USB camera {self._path}"

    def open(self) -> None:
        """Open the device at 1080p, or the nearest that it can. Raises `CaptureError`."""
        if not self._path.exists():
            raise CaptureError(f"{self.description} is not there", hint=_what_is_there())
        if not os.access(self._path, os.R_OK | os.W_OK):
            raise CaptureError(
                f"{self.description} must not be opened by this user",
                hint="Put the user that runs the agent into the group `video`, then start the agent again.",
            )
        # Ten seconds would be OpenCV's own patience with a camera that went mute.
        os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", _SELECT_TIMEOUT_S)
        if not self._capture.open(os.path.realpath(self._path), "CAP_V4L2", {}):
            raise CaptureError(
                f"{self.description} cannot be opened as a camera",
                hint="Another program may hold it; and one camera may show several devices of which only the first has"
                " pictures. " + _what_is_there(),
            )
        self._ask_for_full_pictures()
        self._opened_s = time.monotonic()

    def grab(self) -> float | None:
        """Seconds since opening; None where the camera is gone."""
        return time.monotonic() - self._opened_s if self._capture.grab() else None

    def retrieve(self) -> Image:
        """The picture grabbed last."""
        return self._capture.retrieve()

    def close(self) -> None:
        """Let go of the device."""
        self._capture.close()

    def interrupt(self) -> None:
        """The driver cannot be stopped from outside; its own timeout ends it."""

    def _ask_for_full_pictures(self) -> None:
        import cv2

        # Uncompressed 1080p does not fit through USB 2 at a useful rate. A camera that has no MJPEG keeps its own form.
        self._capture.set("CAP_PROP_FOURCC", cv2.VideoWriter.fourcc(*"MJPG"))
        self._capture.set("CAP_PROP_FRAME_WIDTH", _WIDTH_PX)
        self._capture.set("CAP_PROP_FRAME_HEIGHT", _HEIGHT_PX)
        self._capture.set("CAP_PROP_FPS", _FPS)
        self._capture.set("CAP_PROP_BUFFERSIZE", 1)


def _what_is_there() -> str:
    devices = sorted(_BY_ID.glob("*")) if _BY_ID.is_dir() else sorted(_DEVICES.glob("video*"))
    if not devices:
        return "This machine shows no camera device at all: is it plugged in?"
    return "There are: " + ", ".join(f"usb:{device}" for device in devices)
