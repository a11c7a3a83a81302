"""A rendered picture whose answer is known: shows at start that the networks compute what they were trained to.

A damaged cache of compiled networks can load as if it were good, and a driver can compute nonsense; both read every
plate wrong and say nothing. `golden.png` and `golden.json` are written beside the networks by their export.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

from lpr.domain.errors import VisionError
from lpr.domain.frame import Image
from lpr.domain.geometry import Quad
from lpr.imaging import decode_image
from lpr.vision.base import Detection, PlateDetector
from lpr.vision.models import models_folder
from lpr.vision.plate_reader import PlateReader

CORNER_TOLERANCE = 0.08
"""How far a corner may lie from where it is, in parts of the plate's width. INT8 and f16 move it by 0.01."""


@dataclass(frozen=True, slots=True, eq=False)
class Golden:
    """The picture, the corners of its one plate in its pixels, and the plate's text."""

    image: Image
    corners: Quad
    text: str


def load_golden(folder: Path | None = None) -> Golden:
    """The golden picture in `folder`, None for the one that came with the package's networks.

    Raises `VisionError` where it is missing or damaged.
    """
    folder = folder or models_folder()
    try:
        image = decode_image((folder / "golden.png").read_bytes())
        answer = json.loads((folder / "golden.json").read_text(encoding="utf-8"))
        corners = Quad(*((float(x), float(y)) for x, y in answer["corners"]))
        return Golden(image, corners, str(answer["text"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise VisionError(
            f"the golden picture in {folder} cannot be read: {error}",
            hint="install the package again, or export the networks again",
        ) from error


async def check_detector(golden: Golden, detector: PlateDetector) -> None:
    """Raises `VisionError` where the detector does not find the golden plate where it is."""
    found = await detector.detect(golden.image)
    if not found or not _same_place(found[0], golden.corners):
        where = [round(side) for x_y in found[0].corners.points for side in x_y] if found else "nothing"
        raise VisionError(f"self-test of the detector failed: it found {where} in the golden picture")


async def check_recognizer(golden: Golden, reader: PlateReader) -> None:
    """Raises `VisionError` where the recognizer does not read the golden plate."""
    plate = Detection(golden.corners.box, golden.corners, 1.0)
    (read,) = await reader.read_detections(golden.image, [plate])
    if read.plate.text != golden.text:
        raise VisionError(f"self-test of the recognizer failed: it read {read.plate.text} instead of {golden.text}")


def _same_place(detection: Detection, corners: Quad) -> bool:
    allowed = CORNER_TOLERANCE * corners.box.width
    pairs = zip(detection.corners.points, corners.points, strict=True)
    return all(math.dist(found, wanted) <= allowed for found, wanted in pairs)
