"""A site's own plates: labelled crops in a folder, such as `lpr-agent queue export` writes.

FOLDER/labels.csv has a line for each crop: `image` (relative to FOLDER, or to its pictures/ or images/), `text` (empty
where nobody can read it: the line is left out) and, where one knows, `rows` (1 or 2). A picture shows the plate alone,
as an export's `..._plate.jpg` do; a line with `x`, `y`, `width` and `height` says where in a larger picture it stands.
"""

from __future__ import annotations

import csv
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from lpr.domain.errors import LprError
from lpr.outbox.tools import EXPORT_FILE, PICTURES
from lpr.plates.alphabet import SLOTS, normalise
from lpr.plates.formats import ONE_ROW, TWO_ROWS
from lpr.vision.rectify import DISPLAY_MARGIN
from scripts.render.crops import Corners, Image, RealPlate
from scripts.render.samples import REAL_WIDTH

LABELS: Final = "labels.csv"
DRAFT: Final = "labels-draft.csv"
ONE_ROW_RATIO: Final = 2.6
"""Width by height from which a plate has one row, where the labels do not tell."""
LEAST_VEHICLES: Final = 20
PARTS: Final = 5
"""Of the vehicles one part in five measures, one chooses when to stop, three train."""


class SiteError(LprError):
    """A folder of labelled crops cannot be used."""


@dataclass(frozen=True, slots=True)
class Site:
    """Labelled crops, by what they are for. No vehicle stands in two parts."""

    train: list[RealPlate]
    choose: list[RealPlate]
    measure: list[RealPlate]

    @property
    def vehicles(self) -> int:
        """How many different texts there are."""
        return len({plate.text for part in (self.train, self.choose, self.measure) for plate in part})


def load_site(folder: Path) -> Site:
    """The crops of `folder`. Raises `SiteError`, which says what to do."""
    path = folder / LABELS
    if not path.exists():
        raise SiteError(f"{path} is missing", hint=_remedy(folder))
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines)
        if not {"image", "text"} <= set(reader.fieldnames or ()):
            raise SiteError(f"{path} has no columns `image` and `text`, but {', '.join(reader.fieldnames or ())}")
        plates = [_plate(folder, row, f"{path}:{reader.line_num}") for row in reader if (row["text"] or "").strip()]
    parts: list[list[RealPlate]] = [[] for _ in range(PARTS)]
    for plate in plates:
        parts[zlib.crc32(plate.text.encode()) % PARTS].append(plate)
    site = Site([plate for part in parts[2:] for plate in part], parts[1], parts[0])
    if site.vehicles < LEAST_VEHICLES or not (site.train and site.choose and site.measure):
        raise SiteError(
            f"{path} names {site.vehicles} vehicles: too few to tell whether learning them helps with others",
            hint=f"label crops of {LEAST_VEHICLES} vehicles at least; some hundred are a good number",
        )
    return site


def _plate(folder: Path, row: dict[str, str], line: str) -> RealPlate:
    text = normalise(row["text"])
    if not 0 < len(text) <= SLOTS:
        raise SiteError(f"{line}: {row['text']!r} is no text of a plate (1 to {SLOTS} of A-Z, 0-9, Đ)")
    image = _picture(folder, row["image"], line)
    if row.get("width"):
        box = tuple(float(row[name]) for name in ("x", "y", "width", "height"))
        image, corners = _cut(image, (box[0], box[1], box[2], box[3]))
    else:
        height, width = image.shape[:2]
        inset = DISPLAY_MARGIN / (1 + 2 * DISPLAY_MARGIN) * np.float32([width, height])
        low, high = inset, np.float32([width, height]) - inset
        corners = np.array([low, [high[0], low[1]], high, [low[0], high[1]]], np.float32)
    side = np.ptp(corners, axis=0)
    rows = (row.get("rows") or "").strip() or (ONE_ROW if side[0] >= ONE_ROW_RATIO * side[1] else TWO_ROWS)
    if str(rows) not in (str(ONE_ROW), str(TWO_ROWS)):
        raise SiteError(f"{line}: rows must be 1 or 2, not {rows!r}")
    return RealPlate(image, corners, text, int(rows))


def _picture(folder: Path, name: str, line: str) -> Image:
    for path in (folder / name, folder / PICTURES / name, folder / "images" / name):
        if path.is_file():
            image = cv2.imread(str(path))
            if image is None:
                raise SiteError(f"{line}: {path} is no picture that OpenCV can read")
            return np.asarray(image, np.uint8)
    raise SiteError(f"{line}: there is no picture {name} in {folder}")


def _cut(image: Image, box: tuple[float, float, float, float]) -> tuple[Image, Corners]:
    """A plate's surroundings, shrunk where it is large, and its corners in them."""
    x, y, width, height = box
    reach = 0.25 * max(width, height)
    left, top = max(0, round(x - reach)), max(0, round(y - reach))
    part = image[top : round(y + height + reach), left : round(x + width + reach)]
    factor = min(1.0, REAL_WIDTH / width)
    part = cv2.resize(part, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    corners = np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]], np.float32)
    return part, ((corners - np.float32([left, top])) * factor).astype(np.float32)


def _remedy(folder: Path) -> str:
    """What to do about missing labels: an export knows what the agent has read, which saves most of the typing."""
    if not (folder / EXPORT_FILE).exists():
        return "write one: a line for each crop, `image,text`; or name the folder of an `lpr-agent queue export`"
    count = draft_labels(folder)
    return (
        f"{DRAFT} beside it now has what the agent read on {count} crops: correct the texts, delete those that nobody "
        f"can read, save it as {LABELS}"
    )


def draft_labels(folder: Path) -> int:
    """Write DRAFT from an export's events; how many crops it names."""
    rows = []
    for line in (folder / EXPORT_FILE).read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        data, picture = event["message"].get("data", {}), event["pictures"].get("plate")
        plate, details = data.get("plate", {}), data.get("details", {})
        if picture is not None:
            rows.append((picture, plate.get("text") or details.get("bestGuess") or "", plate.get("rows") or ""))
    with (folder / DRAFT).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("image", "text", "rows"))
        writer.writerows(rows)
    return len(rows)
