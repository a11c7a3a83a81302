"""The border to OpenCV's `VideoCapture`: opening with options, foreign errors translated."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lpr.capture.pool import PicturePool
from lpr.domain.errors import CaptureError
from lpr.domain.frame import Image

_VARIABLE = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
_opening = threading.Lock()


@contextmanager
def _decoder_options(value: str | None) -> Iterator[None]:
    """FFmpeg's options pass through one environment variable of the whole process, so one stream is opened at a time.

    This costs nothing: OpenCV opens one at a time itself, behind a lock of its own. It is also why a camera is asked
    for a sign of life before it is opened: one that hangs in there holds up the opening of every other one.
    """
    with _opening:
        if value is None:
            os.environ.pop(_VARIABLE, None)
        else:
            os.environ[_VARIABLE] = value
        yield


class OpenCvCapture:
    """One `cv2.VideoCapture`, used by one thread."""

    def __init__(self, description: str) -> None:
        self.description = description
        self._capture: Any = None
        self._pool = PicturePool()

    def open(self, target: str | int, backend: str, parameters: dict[str, float], options: str | None = None) -> bool:
        """Open `target` with the `CAP_…` backend and `CAP_PROP_…` parameters; False where OpenCV says no.

        `options` are FFmpeg's, as `name;value|name;value`. Raises `CaptureError` where OpenCV itself fails.
        """
        import cv2

        flat = [int(number) for name, value in parameters.items() for number in (getattr(cv2, name), value)]
        try:
            with _decoder_options(options):
                capture = cv2.VideoCapture(target, getattr(cv2, backend), flat)
        except cv2.error as error:
            raise CaptureError(f"OpenCV cannot open {self.description}: {error.err}") from error
        if not capture.isOpened():
            capture.release()
            return False
        self._capture = capture
        return True

    def get(self, name: str) -> float:
        """The value of a `CAP_PROP_…`; 0 where it is not known, to this OpenCV or of this stream."""
        import cv2

        number = getattr(cv2, name, None)
        return 0.0 if number is None else float(self._capture.get(number))

    def set(self, name: str, value: float) -> bool:
        """Set a `CAP_PROP_…`; False where the device refuses."""
        import cv2

        return bool(self._capture.set(getattr(cv2, name), value))

    def grab(self) -> bool:
        """Decode the next picture; False at the end and on every fault. Raises `CaptureError` where OpenCV fails."""
        import cv2

        if self._capture is None:
            raise CaptureError(f"{self.description} is not open")
        try:
            return bool(self._capture.grab())
        except cv2.error as error:
            raise CaptureError(f"OpenCV failed while reading {self.description}: {error.err}") from error

    def retrieve(self) -> Image:
        """The picture grabbed last, uint8 H x W x 3 (BGR). Raises `CaptureError` where there is none."""
        import cv2

        if self._capture is None:
            raise CaptureError(f"{self.description} is not open")
        try:
            found, image = self._capture.retrieve(self._pool.free())
        except cv2.error as error:
            raise CaptureError(f"OpenCV failed on a picture of {self.description}: {error.err}") from error
        if not found or image is None or image.size == 0:
            raise CaptureError(f"{self.description} gave an empty picture")
        if image.ndim == 2:
            image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
        picture = np.asarray(image, np.uint8)
        self._pool.keep(picture)
        return picture

    def hand_out_packets(self) -> bool:
        """From now on `packet` gives what `grab` has taken from the stream, undecoded; only before the first `grab`.

        False where OpenCV refuses.
        """
        return self.set("CAP_PROP_FORMAT", -1)

    @property
    def codec(self) -> str:
        """Four letters; for a stream that the decoder does not know, anything."""
        return int(self.get("CAP_PROP_FOURCC")).to_bytes(4, "little", signed=True).decode("latin-1")

    def packet(self) -> NDArray[np.uint8]:
        """What was grabbed last, uint8 [bytes]. Raises `CaptureError` where OpenCV fails."""
        import cv2

        if self._capture is None:
            raise CaptureError(f"{self.description} is not open")
        try:
            found, data = self._capture.retrieve()
        except cv2.error as error:
            raise CaptureError(f"OpenCV failed on a picture of {self.description}: {error.err}") from error
        return np.asarray(data, np.uint8).ravel() if found and data is not None else np.zeros(0, np.uint8)

    def close(self) -> None:
        """Let go of the connection, device or file."""
        capture, self._capture = self._capture, None
        if capture is not None:
            capture.release()
