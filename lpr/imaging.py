"""Pictures to JPEG bytes and back, and made to fit a number of bytes. The only place that knows OpenCV's codecs."""

from __future__ import annotations

import math
import re

import numpy as np

from lpr.domain.errors import ImageError
from lpr.domain.events import Jpeg
from lpr.domain.frame import Image

MAX_QUALITY = 85
MIN_QUALITY = 60
MIN_SIDE_PX = 160
"""Below this, and below `MIN_QUALITY`, a scene tells a person nothing: it is left out instead."""

_BEGINNINGS = re.compile(
    rb"(?P<JPEG>\xff\xd8\xff)|(?P<PNG>\x89PNG\r\n)|(?P<GIF>GIF8)|(?P<TIFF>II\*\0|MM\0\*)|(?P<WebP>RIFF.{4}WEBP)"
    rb"|(?P<AVIF>.{4}ftypavi[fs])|(?P<HEIC>.{4}ftyp(?:heic|heix|heim|heis|hevc|mif1|msf1))"
    rb"|(?P<video>.{4}ftyp|\x1aE\xdf\xa3|RIFF.{4}AVI )",
    re.DOTALL,
)
"""How files of each kind begin."""
BEGINNING_BYTES = 1024
_ANIMATED = b"NETSCAPE2.0"
"""Stands behind the palette of a GIF that plays."""


def encode_jpeg(image: Image, *, quality: int = MAX_QUALITY) -> Jpeg:
    """Compress uint8 H x W x 3 (BGR) at `quality` 1..100. Raises `ImageError` on an empty or odd array."""
    import cv2

    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0 or image.dtype != np.uint8:
        raise ImageError(f"a picture must be uint8 H x W x 3, got {image.dtype} {image.shape}")
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ImageError(f"OpenCV could not compress a picture of {image.shape[1]} x {image.shape[0]} pixels")
    return Jpeg(data.tobytes(), int(image.shape[1]), int(image.shape[0]))


def decode_image(data: bytes) -> Image:
    """uint8 H x W x 3 (BGR) from the bytes of a JPEG, PNG or other still picture. Raises `ImageError`."""
    import cv2

    if not data:
        raise ImageError("the picture is empty (0 bytes)")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise ImageError(f"OpenCV refuses this picture: {error.err}") from error
    if image is None:
        raise _undecodable(data)
    return np.asarray(image, np.uint8)


def is_video(beginning: bytes) -> bool:
    """Whether a file that begins with these bytes, `BEGINNING_BYTES` of them, is a video or a GIF that plays.

    False also of the kinds that nothing tells by their beginning (MPEG, raw H.264).
    """
    kind = begins.lastgroup if (begins := _BEGINNINGS.match(beginning)) else None
    return kind == "video" or (kind == "GIF" and _ANIMATED in beginning)


def _undecodable(data: bytes) -> ImageError:
    """What these bytes are instead of a picture that can be read, and what to do about it."""
    kind = begins.lastgroup if (begins := _BEGINNINGS.match(data)) else None
    if kind is None:
        return ImageError(f"these {len(data)} bytes are no picture that OpenCV can read")
    if kind == "HEIC":
        return ImageError(
            "this is a HEIC picture, which OpenCV cannot read",
            hint="Save it as JPEG. An iPhone takes JPEG with Settings > Camera > Formats > Most Compatible.",
        )
    if kind == "video":
        return ImageError("this is a video, not a picture", hint="End its name in what it is: .mp4, .mkv or .avi.")
    return ImageError(f"this {kind} picture is damaged or not complete ({len(data)} bytes)", hint="Copy it again.")


def resize(image: Image, width: int, height: int) -> Image:
    """The picture at `width` x `height` pixels; area averaging where it shrinks."""
    import cv2

    shrinks = width < image.shape[1] or height < image.shape[0]
    scaled = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(scaled, np.uint8)


def encode_jpeg_within(image: Image, max_bytes: int) -> Jpeg | None:
    """Compress into at most `max_bytes`: quality first, then size; None where even a thumbnail is too large.

    The scale for the next try comes from the bytes of the last one (bytes grow about with the area), so three or
    four tries do.
    """
    scale = 1.0
    while True:
        width, height = round(image.shape[1] * scale), round(image.shape[0] * scale)
        if scale < 1.0 and max(width, height) < MIN_SIDE_PX:
            return None
        scaled = image if scale == 1.0 else resize(image, width, height)
        for quality in (MAX_QUALITY, 75, MIN_QUALITY):
            jpeg = encode_jpeg(scaled, quality=quality)
            if len(jpeg.data) <= max_bytes:
                return jpeg
        scale *= min(0.85, math.sqrt(max_bytes / len(jpeg.data)) * 0.95)


def fit_jpeg(jpeg: Jpeg, max_bytes: int) -> Jpeg | None:
    """The same picture in at most `max_bytes`; itself where it fits, None where it cannot. Raises `ImageError`."""
    if len(jpeg.data) <= max_bytes:
        return jpeg
    return encode_jpeg_within(decode_image(jpeg.data), max_bytes)
