"""A camera's picture for people: scaled, what lies outside the region dimmed, plates framed and labelled."""

from __future__ import annotations

from lpr.domain.geometry import Quad
from lpr.drawing import Mark, dim_outside, draw_marks
from lpr.imaging import encode_jpeg, resize
from lpr.web.source import CameraPicture

JPEG_QUALITY = 80


def draw_jpeg(picture: CameraPicture, max_width: int) -> bytes:
    """The picture as JPEG, at most `max_width` pixels wide. Takes some milliseconds: call it in a thread."""
    # The frame is shared with the analysis and must never be written to: all that follows makes copies.
    image = picture.frame.image
    scale = min(1.0, max_width / image.shape[1])
    if scale < 1.0:
        image = resize(image, max_width, max(1, round(image.shape[0] * scale)))
    if len(picture.region) >= 3:
        image = dim_outside(image, picture.region)
    marks = [
        Mark(Quad(*((x * scale, y * scale) for x, y in plate.corners.points)), plate.text) for plate in picture.plates
    ]
    return encode_jpeg(draw_marks(image, marks), quality=JPEG_QUALITY).data
