"""OpenCV, imported late, with words for the one way in which that fails on a bare server."""

from __future__ import annotations

from typing import Any

from lpr.domain.errors import VisionError


def load_cv2() -> Any:
    """The `cv2` module. Raises `VisionError` naming the Debian packages where a system library is missing."""
    try:
        import cv2
    except ImportError as error:
        raise VisionError(
            f"OpenCV cannot be loaded: {error}",
            hint="install its system libraries: apt-get install libgl1 libglib2.0-0 libsm6 libx11-6",
        ) from error
    return cv2
