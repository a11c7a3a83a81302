"""The border to OpenCV's `VideoCapture`: opening with options, foreign errors translated."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from lpr.domain.errors import CaptureError
from lpr.domain.frame import Image

_VARIABLE = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
_READ_WITHIN_S = 0.5
"""OpenCV reads the variable in the first microseconds of opening; this long it is kept for one that has begun."""


class _DecoderOptions:
    """FFmpeg's options pass through one environment variable of the whole process.

    Cameras with the same options open side by side. One that needs others waits until those have opened, or until they
    have long read the variable, so that a camera that hangs while opening cannot hold up another one for longer.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._value: str | None = None
        self._opening = 0
        self._last_begun_s = 0.0

    @contextmanager
    def set_to(self, value: str | None) -> Iterator[None]:
        with self._changed:
            while value != self._value and self._opening and (left_s := self._held_for_s()) > 0:
                self._changed.wait(left_s)
            # Written only when it changes: another thread may be reading the environment in C at this moment.
            if os.environ.get(_VARIABLE) != value:
                if value is None:
                    os.environ.pop(_VARIABLE, None)
                else:
                    os.environ[_VARIABLE] = value
            self._value = value
            self._opening += 1
            self._last_begun_s = time.monotonic()
        try:
            yield
        finally:
            with self._changed:
                self._opening -= 1
                self._changed.notify_all()

    def _held_for_s(self) -> float:
        return self._last_begun_s + _READ_WITHIN_S - time.monotonic()


_options = _DecoderOptions()


class OpenCvCapture:
    """One `cv2.VideoCapture`, used by one thread."""

    def __init__(self, description: str) -> None:
        self.description = description
        self._capture: Any = None

    @property
    def is_open(self) -> bool:
        """Whether pictures can be grabbed."""
        return self._capture is not None

    def open(self, target: str | int, backend: str, parameters: dict[str, float], options: str | None = None) -> bool:
        """Open `target` with the `CAP_…` backend and `CAP_PROP_…` parameters; False where OpenCV says no.

        `options` are FFmpeg's, as `name;value|name;value`. Raises `CaptureError` where OpenCV itself fails.
        """
        import cv2

        flat = [int(number) for name, value in parameters.items() for number in (getattr(cv2, name), value)]
        try:
            with _options.set_to(options):
                capture = cv2.VideoCapture(target, getattr(cv2, backend), flat)
        except cv2.error as error:
            raise CaptureError(f"OpenCV cannot open {self.description}: {error.err}") from error
        if not capture.isOpened():
            capture.release()
            return False
        self._capture = capture
        return True

    def get(self, name: str) -> float:
        """The value of a `CAP_PROP_…`; 0 where it is not known."""
        import cv2

        return float(self._capture.get(getattr(cv2, name)))

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
            found, image = self._capture.retrieve()
        except cv2.error as error:
            raise CaptureError(f"OpenCV failed on a picture of {self.description}: {error.err}") from error
        if not found or image is None or image.size == 0:
            raise CaptureError(f"{self.description} gave an empty picture")
        if image.ndim == 2:
            image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
        return np.asarray(image, np.uint8)

    def close(self) -> None:
        """Let go of the connection, device or file."""
        capture, self._capture = self._capture, None
        if capture is not None:
            capture.release()
