"""A camera's picture for people: scaled, what lies outside the region dimmed, plates framed and labelled."""

from __future__ import annotations

from lpr.domain.geometry import Box, Quad
from lpr.drawing import AMBER, Mark, dim_outside, draw_marks
from lpr.imaging import encode_jpeg, resize
from lpr.web.source import CameraPicture

JPEG_QUALITY = 80
SURROUNDINGS = 0.6
"""How much of the picture is shown around a standing text, in sides of its box, for a person to know it by."""
SURROUNDINGS_LEAST_PX = 40
PLACE_WIDTH_PX = 480


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


def draw_place(picture: CameraPicture, place: Box) -> bytes | None:
    """What stands at `place` (pixels of the frame) and around it, as JPEG; None where that lies outside the frame."""
    image = picture.frame.image
    across = max(SURROUNDINGS_LEAST_PX, SURROUNDINGS * max(place.width, place.height))
    wide = Box(place.x - across, place.y - across, place.width + 2 * across, place.height + 2 * across)
    part = wide.clipped(picture.frame.width, picture.frame.height)
    left, top, right, bottom = (int(edge) for edge in (part.x, part.y, part.right, part.bottom))
    if right - left < 1 or bottom - top < 1:
        return None
    shown = image[top:bottom, left:right]
    scale = PLACE_WIDTH_PX / shown.shape[1]
    shown = resize(shown, PLACE_WIDTH_PX, max(1, round(shown.shape[0] * scale)))
    corners = Quad.of_box(place.moved(-left, -top).scaled(scale))
    return encode_jpeg(draw_marks(shown, [Mark(corners, "", AMBER)]), quality=JPEG_QUALITY).data
