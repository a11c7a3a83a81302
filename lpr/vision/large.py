"""Frames of clips that are larger than 1080p: what can be read in them may be too small for one look at the whole.

A camera of such a size has its region of interest, or a smaller stream beside it, and a next frame a moment later. A
clip has neither, and may take its time: parts of it as large as 1080p are looked at as well.
"""

from __future__ import annotations

from typing import Final

from lpr.domain.frame import Frame, Image
from lpr.domain.geometry import Box
from lpr.domain.plate import PlateRead
from lpr.vision.base import Detection
from lpr.vision.photograph import SAME_PLATE, cut_by, grid, in_part
from lpr.vision.plate_reader import PlateReader

PART_PX: Final = (1920, 1080)
"""Longer and shorter side of a part, about."""
MOST: Final = 4
"""Parts on a side."""
MARGIN: Final = 0.15
"""A plate that comes so near to a part's inner edge, in parts of its width, may be cut by it: a box is not exact."""


class LargeFrameReader:
    """Reads the frames of a clip with the networks of a `PlateReader`."""

    def __init__(self, reader: PlateReader) -> None:
        self._reader = reader

    async def read(self, frame: Frame) -> tuple[PlateRead, ...]:
        """The plates of `frame`, each once; one of 1080p or less is looked at once. Raises `VisionError`."""
        found = list(await self._reader.detector.detect(frame.image))
        for part in parts(frame.width, frame.height):
            # Seen from nearer its corners are found more exactly.
            nearer = await self._in_part(frame.image, part)
            found = [each for each in found if all(each.box.iou(other.box) < SAME_PLATE for other in nearer)] + nearer
        return await self._reader.read_detections(frame.image, found)

    async def _in_part(self, image: Image, part: Box) -> list[Detection]:
        """What stands in a part and is not cut by its edge: its neighbour has that whole."""
        found = await in_part(self._reader.detector.detect, image, part)
        whole = Box(0, 0, image.shape[1], image.shape[0])
        return [each for each in found if not cut_by(part, whole, _with_margin(each.box))]


def _with_margin(box: Box) -> Box:
    margin = MARGIN * box.width
    return Box(box.x - margin, box.y - margin, box.width + 2 * margin, box.height + 2 * margin)


def parts(width: int, height: int) -> list[Box]:
    """Overlapping parts of a frame of `width` x `height` pixels, row by row; none where the whole is small enough."""
    part_px = PART_PX if width >= height else PART_PX[::-1]
    across, down = (min(MOST, max(1, round(side / px))) for side, px in zip((width, height), part_px, strict=True))
    if across * down == 1:
        return []
    return grid(width, height, across, down)
