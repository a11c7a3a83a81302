"""Streams of single pictures (MJPEG): each is a JPEG of its own, and may have a size of its own.

OpenCV's FFmpeg decodes all of them, and scales what comes to the size of the first one without a word. Taken undecoded
from it, only those that are wanted are decoded, and each shows how large it is.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lpr.domain.frame import Image

CODEC: Final = "MJPG"
"""The four letters by which OpenCV calls such a stream."""
_END: Final = np.frombuffer(b"\xff\xd9", np.uint8)


def decode_jpeg(data: NDArray[np.uint8]) -> Image | None:
    """The picture, uint8 H x W x 3 (BGR); None where there is nothing that can be decoded.

    Of one that broke off the rest is grey. Which way up a camera was held is not asked: regions are of the picture.
    """
    import cv2

    if data.size == 0:
        return None
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image: Any = cv2.imdecode(data, flags)
        if image is None:
            # There are cameras that leave out the mark of the end.
            image = cv2.imdecode(np.concatenate([data, _END]), flags)
    except cv2.error:  # larger than any picture may be
        return None
    return None if image is None else np.asarray(image, np.uint8)
