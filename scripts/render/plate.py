"""Draw one Vietnamese plate, flat: body, characters, frame, bolts, and the marks that years on the road leave.

`render_plate` is what scenes and the reader's training take. What happens between plate and picture (pose, light, lens,
sensor, codec) is camera.py's. Every picture made here is the project's own: drawn from formats in `lpr.plates`, glyphs
(glyphs.py) and noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from lpr.domain.plate import PlateColour
from lpr.plates.alphabet import ALPHABET
from lpr.plates.formats import FORMATS, ONE_ROW, TWO_ROWS, UNKNOWN_KIND, Part, PlateFormat
from scripts.render.glyphs import Mask, fonts

Image = NDArray[np.uint8]
Colour = tuple[int, int, int]

ROW_HEIGHT_PX: Final = 105
"""Pixels of body height a row of characters gets at scale 1."""

_FREE_TEXT_SHARE: Final = 0.03
"""Plates with a text of no format, so that the reader reads what is there and does not guess by the grammar."""


@dataclass(frozen=True, slots=True)
class PlateSpec:
    """What to draw. `lines` are the rows with separators; `text` is their characters in reading order."""

    text: str
    lines: tuple[str, ...]
    kind: str
    colour: PlateColour
    ratio: float
    red_letters: bool = False

    @property
    def rows(self) -> int:
        """1 or 2."""
        return len(self.lines)


@dataclass(frozen=True, slots=True, eq=False)
class RenderedPlate:
    """A flat plate with a strip of its surroundings.

    `image` is uint8 (H, W, 3) BGR. `corners` float32 (4, 2): the body's corners in it, clockwise from the top left.
    `char_boxes` float32 (N, 4): x, y, width, height of each character of `text`, in pixels of `image`.
    `rows` is 1 or 2, `kind` as in `lpr.plates.formats`. `body` is a mask uint8 (H, W), 255 on body and frame,
    0 around them: where a scene shows through.
    """

    image: Image
    text: str
    rows: int
    colour: PlateColour
    kind: str
    corners: NDArray[np.float32]
    char_boxes: NDArray[np.float32]
    body: Mask


# --- what it says -----------------------------------------------------------------------------------------------


def random_spec(random: Random) -> PlateSpec:
    """Draw a text, its layout and its colour, roughly as often as the road shows them, the rare kinds more often."""
    if random.random() < _FREE_TEXT_SHARE:
        return _free_spec(random)
    plate_format = random.choices(FORMATS, weights=_WEIGHTS)[0]
    text = "".join(_drawn(part, random) for part in plate_format.parts)
    choices = [rows for rows in (ONE_ROW, TWO_ROWS) if plate_format.holds_for(rows)]
    rows = random.choices(choices, weights=[3, 2][: len(choices)])[0] if len(choices) > 1 else choices[0]
    colour = random.choices(plate_format.colours, weights=[_COLOUR_WEIGHTS[each] for each in plate_format.colours])[0]
    lines = _lines(plate_format, text, rows, random)
    red = plate_format.kind == "foreign" and ("NG" in text or "QT" in text)
    return PlateSpec(text, lines, plate_format.kind, colour, _ratio(plate_format, rows, random), red_letters=red)


def _drawn(part: Part, random: Random) -> str:
    """One of a part's strings; letters that are often mistaken come oftener than others."""
    if len(part) > len(_MISTAKEN) and len(part[0]) == 1 and part[0].isalpha() and random.random() < 0.15:
        return random.choice([sign for sign in part if sign in _MISTAKEN])
    return random.choice(part)


_MISTAKEN: Final = "MNHGD"
_COLOUR_WEIGHTS: Final = {
    PlateColour.WHITE: 8.0,
    PlateColour.YELLOW: 3.0,
    PlateColour.BLUE: 1.3,
    PlateColour.RED: 3.0,
    PlateColour.OTHER: 1.0,
}
_WEIGHTS: Final = tuple(each.weight for each in FORMATS)


def _lines(plate_format: PlateFormat, text: str, rows: int, random: Random) -> tuple[str, ...]:
    """The text as it stands on the plate: separators are left out on some plates, and dots differ from makers."""
    digits = text[plate_format.top :]
    if rows == ONE_ROW:
        line = plate_format.display(text, ONE_ROW)
        return (line.replace(".", "") if random.random() < 0.15 else line,)
    head = text[: plate_format.top]
    if plate_format.kind in ("motorbike", "e-bike", "special", "zone") and random.random() < 0.93:
        head = f"{head[:2]}-{head[2:]}"
    elif plate_format.kind in ("foreign", "temporary") and random.random() < 0.7:
        head = plate_format.display(text, TWO_ROWS)[: plate_format.top + (plate_format.kind == "foreign")]
    if plate_format.kind == "foreign":
        tail = digits if len(digits) < 5 or random.random() < 0.5 else f"{digits[:3]}-{digits[3:]}"
    elif len(digits) == 5 and plate_format.kind != "military" and random.random() < 0.9:
        tail = f"{digits[:3]}.{digits[3:]}"
    elif len(digits) == 4 and random.random() < 0.1:
        tail = f"{digits[:2]}-{digits[2:]}"
    else:
        tail = digits
    return (head, tail)


def _ratio(plate_format: PlateFormat, rows: int, random: Random) -> float:
    """Width by height of the body; holders and older series stray from the norm."""
    if rows == ONE_ROW:
        return random.choice((520 / 110, 520 / 110, 470 / 110, 4.5)) * random.uniform(0.96, 1.04)
    motorbike = 190 / 140
    car = random.choice((330 / 165, 330 / 165, 280 / 200))
    either = random.choice((motorbike, car))
    ratio = {"motorbike": motorbike, "e-bike": motorbike, "car": car, "military": either}.get(plate_format.kind, either)
    return ratio * random.uniform(0.94, 1.06)


def _free_spec(random: Random) -> PlateSpec:
    """Any characters in one or two rows."""
    rows = random.choice((ONE_ROW, TWO_ROWS))
    letters = [
        random.choice(ALPHABET[10:36]) if random.random() < 0.4 else random.choice("0123456789") for _ in "10" * 5
    ]
    count = random.randint(5, 9)
    text = "".join(letters[:count])
    if rows == ONE_ROW:
        cut = random.randint(2, 4)
        lines: tuple[str, ...] = (f"{text[:cut]}-{text[cut:]}",)
        ratio = random.uniform(3.8, 5.0)
    else:
        cut = random.randint(2, min(5, count - 2))
        head = f"{text[: cut // 2]}-{text[cut // 2 : cut]}" if random.random() < 0.5 else text[:cut]
        tail = f"{text[cut:-2]}-{text[-2:]}" if count - cut > 3 and random.random() < 0.4 else text[cut:]
        lines = (head, tail)
        ratio = random.uniform(1.3, 2.1)
    colour = random.choice(tuple(PlateColour))
    return PlateSpec(text, lines, UNKNOWN_KIND, colour, ratio)


# --- noise and shapes, made once ---------------------------------------------------------------------------------

_NOISE_SIZE: Final = 512


@lru_cache(maxsize=1)
def _noise_bank() -> tuple[Mask, ...]:
    """Smooth to grainy fractal noise, uint8 512x512, mean about 128, spread over the whole range."""
    generator = np.random.default_rng(7)
    bank = []
    for octaves in ((4, 8), (6, 12, 24), (12, 32), (8, 40, 128), (24, 64, 256), (64, 256), (160,), (16, 200)):
        total = np.zeros((_NOISE_SIZE, _NOISE_SIZE), np.float32)
        for cells in octaves:
            cell = generator.standard_normal((cells, cells)).astype(np.float32)
            total += cv2.resize(cell, (_NOISE_SIZE, _NOISE_SIZE), interpolation=cv2.INTER_CUBIC)
        total = (total - total.mean()) / total.std()
        bank.append(np.clip(128 + 48 * total, 0, 255).astype(np.uint8))
    return tuple(bank)


def noise(random: Random, width: int, height: int, *, coarse: bool = False) -> Mask:
    """A random window of fractal noise, uint8 (height, width), mean about 128; `coarse` leaves the grainy ones out."""
    bank = _noise_bank()
    field = bank[random.randrange(4 if coarse else len(bank))]
    span_x = min(_NOISE_SIZE, max(32, int(width * random.uniform(0.7, 1.3))))
    span_y = min(_NOISE_SIZE, max(32, int(height * random.uniform(0.7, 1.3))))
    x, y = random.randint(0, _NOISE_SIZE - span_x), random.randint(0, _NOISE_SIZE - span_y)
    return cv2.resize(field[y : y + span_y, x : x + span_x], (width, height), interpolation=cv2.INTER_LINEAR)


@lru_cache(maxsize=512)
def _ramp(low: int, high: int) -> Mask:
    """A table for cv2.LUT: 0 up to `low`, 255 from `high` on, straight between."""
    return np.clip((np.arange(256) - low) * 255.0 / max(1, high - low), 0, 255).astype(np.uint8)


def _rounded_rectangle(
    canvas: Image | Mask, box: tuple[float, float, float, float], radius: float, value: Colour
) -> None:
    """Fill a rectangle (left, top, right, bottom) with round corners."""
    left, top, right, bottom = (round(side) for side in box)
    r = max(1, round(min(radius, (right - left) / 2, (bottom - top) / 2)))
    cv2.rectangle(canvas, (left + r, top), (right - r, bottom), value, -1)
    cv2.rectangle(canvas, (left, top + r), (right, bottom - r), value, -1)
    for x, y in ((left + r, top + r), (right - r, top + r), (left + r, bottom - r), (right - r, bottom - r)):
        cv2.circle(canvas, (x, y), r, value, -1, cv2.LINE_AA)


def blend(image: Image, colour: Colour, mask: Mask) -> Image:
    """`colour` laid over `image` (BGR) with the opacity of `mask` (255 covers); a new image."""
    weight = cv2.merge((mask, mask, mask))
    covered = cv2.multiply(image, cv2.bitwise_not(weight), scale=1 / 255)
    paint = cv2.merge([cv2.convertScaleAbs(mask, alpha=channel / 255) for channel in colour])
    return cv2.add(covered, paint)


# --- characters ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Placed:
    """A character or separator with its place on the body, pixels."""

    sign: str
    x: float
    y: float
    width: float
    height: float


def _lay_out(spec: PlateSpec, font: dict[str, Mask], width: float, height: float, random: Random) -> list[_Placed]:
    """Place every sign of the rows on a body of `width` x `height` pixels."""
    if spec.rows == ONE_ROW:
        row_height = height * random.uniform(0.62, 0.8)
        tops = [(height - row_height) * random.uniform(0.42, 0.58)]
    else:
        row_height = height * random.uniform(0.34, 0.42)
        gap = height * random.uniform(0.03, 0.1)
        margin = (height - 2 * row_height - gap) * random.uniform(0.42, 0.58)
        tops = [margin, margin + row_height + gap]
    stretch = random.uniform(0.85, 1.3)
    cell = _cell_share(font) if random.random() < 0.5 else None
    spacing = random.uniform(0.06, 0.2) * row_height
    placed = []
    for index, (line, top) in enumerate(zip(spec.lines, tops, strict=True)):
        share = random.uniform(0.8, 0.95) if index or spec.rows == ONE_ROW else random.uniform(0.66, 0.9)
        line_height = row_height * (random.uniform(0.9, 1.0) if index == 0 and spec.rows == TWO_ROWS else 1.0)
        natural = [_natural_width(sign, font, line_height, stretch, cell) for sign in line]
        placed.extend(_lay_line(line, natural, (width, share * width), (top, line_height), spacing, random))
    return placed


def _lay_line(
    line: str,
    natural: list[float],
    body: tuple[float, float],
    vertical: tuple[float, float],
    spacing: float,
    random: Random,
) -> list[_Placed]:
    """Place one row, shrunk in width where it would not fit and spread where it is much too short."""
    width, room = body
    top, height = vertical
    total = sum(natural) + spacing * (len(line) - 1)
    if total > room:
        factor = room / total
        natural, spacing = [each * factor for each in natural], spacing * factor
    elif random.random() < 0.55:
        # Real plates fill their row: the stamp spreads the characters, up to a limit.
        spacing = min(spacing + (room - total) / max(1, len(line) - 1), 0.5 * height)
    total = sum(natural) + spacing * (len(line) - 1)
    x = (width - total) / 2 + random.uniform(-0.02, 0.02) * width
    placed = []
    for sign, sign_width in zip(line, natural, strict=True):
        placed.append(_Placed(sign, x, top, sign_width, height))
        x += sign_width + spacing
    return placed


def _cell_share(font: dict[str, Mask]) -> float:
    """Width of a stamp by its height where all characters have one width: that of the font's 0."""
    return font["0"].shape[1] / font["0"].shape[0]


def _natural_width(sign: str, font: dict[str, Mask], height: float, stretch: float, cell: float | None) -> float:
    if sign == ".":
        return 0.1 * height
    if sign == "-":
        return 0.24 * height
    mask = font[sign]
    share = mask.shape[1] / mask.shape[0]
    if cell is not None and share > 0.75 * cell:
        share = cell
    return height * share * stretch


def _draw_signs(
    placed: list[_Placed], font: dict[str, Mask], ink: Mask, offset: tuple[float, float], random: Random
) -> None:
    """Stamp the signs into `ink`, whose pixel `offset` is the body's corner. Each stands a little off its place."""
    wobble = random.uniform(0.0, 0.012) * placed[0].height
    dot_square = random.random() < 0.3
    for sign in placed:
        x = round(offset[0] + sign.x + random.uniform(-wobble, wobble))
        y = round(offset[1] + sign.y + random.uniform(-wobble, wobble))
        width, height = max(1, round(sign.width)), max(2, round(sign.height))
        if sign.sign == "-":
            middle, half = y + round(height * random.uniform(0.45, 0.53)), max(1, round(0.055 * height))
            cv2.rectangle(ink, (x, middle - half), (x + width, middle + half), 255, -1)
        elif sign.sign == ".":
            radius = max(1, width // 2)
            centre = (
                x + radius,
                y + round(height * random.choice((random.uniform(0.8, 1.0), random.uniform(0.5, 1.0)))) - radius,
            )
            if dot_square:
                cv2.rectangle(
                    ink, (centre[0] - radius, centre[1] - radius), (centre[0] + radius, centre[1] + radius), 255, -1
                )
            else:
                cv2.circle(ink, centre, radius, 255, -1, cv2.LINE_AA)
        else:
            shrinks = height < font[sign.sign].shape[0]
            glyph = cv2.resize(
                font[sign.sign], (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
            )
            window = ink[y : y + height, x : x + width]
            np.maximum(window, glyph[: window.shape[0], : window.shape[1]], out=window)


# --- the whole plate ----------------------------------------------------------------------------------------------

_GROUNDS: Final[dict[PlateColour, tuple[tuple[Colour, Colour], ...]]] = {
    # Ranges of ground colour as BGR, low and high.
    PlateColour.WHITE: (((185, 190, 190), (250, 252, 252)), ((150, 160, 160), (225, 232, 235))),
    PlateColour.YELLOW: (((0, 150, 205), (70, 215, 255)), ((10, 120, 180), (90, 190, 235))),
    PlateColour.BLUE: (((120, 45, 0), (215, 120, 60)),),
    PlateColour.RED: (((10, 5, 140), (70, 60, 225)),),
    PlateColour.OTHER: (((30, 60, 10), (110, 150, 80)), ((5, 5, 5), (60, 60, 60)), ((60, 90, 180), (120, 150, 250))),
}


def _colours(spec: PlateSpec, random: Random) -> tuple[Colour, Colour]:
    """Ground and ink as BGR."""
    low, high = random.choice(_GROUNDS[spec.colour])
    level = random.random()
    ground = tuple(
        int(np.clip(a + (b - a) * level + random.uniform(-10, 10), 0, 255)) for a, b in zip(low, high, strict=True)
    )
    if spec.red_letters:
        ink: tuple[int, ...] = (random.randint(10, 70), random.randint(5, 60), random.randint(140, 225))
    elif spec.colour in (PlateColour.BLUE, PlateColour.RED) or max(ground) < 130:
        shade = random.randint(190, 255)
        ink = (shade, shade, random.randint(shade - 15, shade))
    else:
        shade = random.randint(0, 55)
        ink = (shade + random.randint(0, 30), shade + random.randint(0, 12), shade + random.randint(0, 12))
    return (ground[0], ground[1], ground[2]), (ink[0], ink[1], ink[2])


def draw_plate(spec: PlateSpec, random: Random, scale: float = 1.0, *, hard: float = 0.7) -> RenderedPlate:
    """Draw `spec`; at `scale` 1 a row of characters gets ROW_HEIGHT_PX pixels of body height.

    `hard`, 0 to 1, is how badly the years have treated it.
    """
    height = max(24, round(ROW_HEIGHT_PX * spec.rows * scale))
    width = max(32, round(height * spec.ratio))
    margin = max(3, round(0.09 * height))
    offset = (float(margin), float(margin))
    size = (width + 2 * margin, height + 2 * margin)
    font = random.choice(fonts())
    placed = _lay_out(spec, font, width, height, random)
    ink = np.zeros((size[1], size[0]), np.uint8)
    _draw_signs(placed, font, ink, offset, random)
    ground, paint = _colours(spec, random)
    border = _draw_border(ink, offset, (width, height), random)
    image = _paint(_worn(ink, random, hard), ground, paint, random, hard)
    image = _shaded(image, ink, border, random)
    _decorate(image, spec, placed, offset, (width, height), random)
    image, body = _framed(image, offset, (width, height), random)
    x, y = offset
    corners = np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]], np.float32)
    boxes = np.array([[x + s.x, y + s.y, s.width, s.height] for s in placed if s.sign not in ".-"], np.float32).reshape(
        -1, 4
    )
    return RenderedPlate(image, spec.text, spec.rows, spec.colour, spec.kind, corners, boxes, body)


def render_plate(rng: np.random.Generator, scale: float = 1.0) -> RenderedPlate:
    """A random plate of any kind with its wear, flat; about 105 pixels of height for each row at `scale` 1."""
    random = Random(int(rng.integers(2**63)))
    return draw_plate(random_spec(random), random, scale)


def _draw_border(ink: Mask, offset: tuple[float, float], body: tuple[int, int], random: Random) -> Mask:
    """Draw the line along the edge: painted into `ink`, or (returned mask) only embossed."""
    width, height = body
    embossed = np.zeros_like(ink)
    style = random.random()
    if style < 0.2:
        return embossed
    inset, thick = random.uniform(0.01, 0.045) * height, random.uniform(0.008, 0.03) * height
    left, top = offset
    outer = (left + inset, top + inset, left + width - inset, top + height - inset)
    inner = (outer[0] + thick, outer[1] + thick, outer[2] - thick, outer[3] - thick)
    radius = random.uniform(0.03, 0.1) * height
    _rounded_rectangle(embossed, outer, radius, (255, 255, 255))
    _rounded_rectangle(embossed, inner, radius, (0, 0, 0))
    if style < 0.65:
        np.maximum(ink, embossed, out=ink)
    return embossed


def _worn(ink: Mask, random: Random, hard: float) -> Mask:
    """The ink as years leave it: thicker or thinner, faded all over, rubbed off in places, scratched."""
    height, width = ink.shape
    size = random.random()
    worn = ink
    if size < 0.12 and height > 60:
        worn = cv2.dilate(worn, np.ones((3, 3), np.uint8))
    elif size < 0.25:
        worn = cv2.erode(worn, np.ones((2, 2), np.uint8))
    if random.random() < 0.5 * hard:
        low = random.randint(10, 130) if random.random() < 0.6 * hard else random.randint(10, 80)
        patch = cv2.LUT(noise(random, width, height), _ramp(low - 60, low + random.randint(5, 60)))
        floor = random.randint(round(200 - 170 * hard), 220)
        patch = np.maximum(patch, np.uint8(floor))
        worn = cv2.multiply(worn, patch, scale=1 / 255)
    if random.random() < 0.4:
        # Faded, down to where only the relief is left to read.
        least = 0.35 if random.random() < 0.5 * hard else 0.7
        worn = cv2.convertScaleAbs(worn, alpha=random.uniform(least, 1.0))
    if random.random() < 0.08 * hard:
        for _ in range(random.randint(1, 6)):
            start = (random.randint(0, width), random.randint(0, height))
            end = (start[0] + random.randint(-width // 2, width // 2), start[1] + random.randint(-height, height) // 2)
            cv2.line(worn, start, end, random.choice((0, 0, 160)), 1, cv2.LINE_AA)
    return worn


def _paint(ink: Mask, ground: Colour, paint: Colour, random: Random, hard: float) -> Image:
    """Colours from the ink's opacity, with the ground a little uneven and dirty."""
    height, width = ink.shape
    levels = np.arange(256, dtype=np.float32)[:, None] / 255
    table = np.array(ground, np.float32) * (1 - levels) + np.array(paint, np.float32) * levels
    image = cv2.LUT(cv2.merge((ink, ink, ink)), table.astype(np.uint8)[:, None, :])
    if random.random() < 0.45 * hard:
        low = random.randint(110, 200)
        dirt = cv2.LUT(noise(random, width, height), _ramp(low, low + random.randint(20, 110)))
        dirt = cv2.convertScaleAbs(dirt, alpha=random.uniform(0.1, 0.15 + 0.7 * hard))
        shade = random.randint(20, 130)
        image = blend(image, (max(0, shade - 30), max(0, shade - 12), shade), dirt)
    return image


def _shaded(image: Image, ink: Mask, border: Mask, random: Random) -> Image:
    """Relief of pressed characters and border under a slanting light, and slow differences of brightness."""
    height, width = ink.shape
    shading = np.full((height, width), 128, np.uint8)
    depth = random.uniform(0.0, 0.45) if random.random() < 0.75 else 0.0
    if depth > 0.03:
        reach = max(1, round(0.012 * height * random.uniform(0.6, 1.6)))
        soft = cv2.blur(np.maximum(ink, border), (2 * reach + 1, 2 * reach + 1))
        dx, dy = random.choice(((reach, reach), (-reach, reach), (0, reach), (reach, -reach), (0, -reach), (reach, 0)))
        shifted = cv2.warpAffine(soft, np.array([[1, 0, dx], [0, 1, dy]], np.float32), (width, height))
        shading = cv2.addWeighted(soft, depth / 2, shifted, -depth / 2, 128)
    if random.random() < 0.7:
        amount = random.uniform(0.05, 0.4)
        shading = cv2.addWeighted(shading, 1.0, noise(random, width, height, coarse=True), amount, -128 * amount)
    if random.random() < 0.5:
        amount = random.uniform(0.03, 0.2)
        shading = cv2.addWeighted(shading, 1.0, noise(random, width, height), amount, -128 * amount)
    return cv2.multiply(image, cv2.merge((shading, shading, shading)), scale=1 / 128)


def _decorate(
    image: Image,
    spec: PlateSpec,
    placed: list[_Placed],
    offset: tuple[float, float],
    body: tuple[int, int],
    random: Random,
) -> None:
    """Bolts, the police stamp, stickers, in place."""
    width, height = body
    left, top = offset
    unit = height / spec.rows
    if random.random() < 0.6:
        radius = max(1, round(unit * random.uniform(0.03, 0.09)))
        across, down = random.choice(((0.5, 0.06), (0.25, 0.5), (0.1, 0.08), (0.33, 0.08), (0.06, 0.5), (0.5, 0.5)))
        across, down = across + random.uniform(-0.04, 0.04), down + random.uniform(-0.03, 0.05)
        shade = random.randint(20, 230)
        for x, y in {(across, down), (1 - across, down), (across, 1 - down), (1 - across, 1 - down)}:
            if spec.rows == ONE_ROW and y > 0.6 and abs(down - 0.5) > 0.2 and random.random() < 0.5:
                continue
            centre = (round(left + x * width), round(top + y * height))
            cv2.circle(image, centre, radius, (shade, shade, shade), -1, cv2.LINE_AA)
            bright = min(255, shade + 90)
            cv2.circle(
                image, (centre[0] - radius // 3, centre[1] - radius // 3), max(1, radius // 2), (bright,) * 3, -1
            )
    dashes = [sign for sign in placed if sign.sign == "-"]
    if random.random() < 0.45:
        anchor = random.choice(dashes) if dashes else random.choice(placed)
        radius = max(1, round(unit * random.uniform(0.04, 0.085)))
        centre = (
            round(left + anchor.x + anchor.width * random.uniform(0.2, 0.8)),
            round(top + anchor.y + anchor.height * random.choice((0.15, 0.2, 0.85, 0.05))),
        )
        stamp = random.choice(((40, 40, 200), (150, 150, 150), (200, 200, 205), (90, 90, 95), (60, 60, 170)))
        cv2.circle(image, centre, radius, stamp, random.choice((-1, 1)), cv2.LINE_AA)
    if random.random() < 0.1:
        _sticker(image, offset, body, random)


def _sticker(image: Image, offset: tuple[float, float], body: tuple[int, int], random: Random) -> None:
    """A gaudy piece of foil at an edge or corner."""
    width, height = body
    size = round(height * random.uniform(0.06, 0.16))
    x = round(
        offset[0] + random.choice((random.uniform(-0.01, 0.02), random.uniform(0.93, 1.0), random.random())) * width
    )
    y = round(offset[1] + random.choice((random.uniform(-0.05, 0.03), random.uniform(0.95, 1.03))) * height)
    colour = (random.randint(0, 255), random.randint(0, 255), random.randint(0, 255))
    if random.random() < 0.5:
        cv2.ellipse(image, (x, y), (size, max(1, size // 2)), random.randint(0, 180), 0, 360, colour, -1, cv2.LINE_AA)
    else:
        cv2.rectangle(image, (x - size, y - size // 2), (x + size, y + size // 2), colour, -1)


def _framed(image: Image, offset: tuple[float, float], body: tuple[int, int], random: Random) -> tuple[Image, Mask]:
    """Cut the body out with round corners and lay it on what surrounds it: holder, car body, shadow; and their mask."""
    size_y, size_x = image.shape[:2]
    width, height = body
    left, top = offset
    plate = np.zeros((size_y, size_x), np.uint8)
    radius = random.uniform(0.02, 0.12) * height
    box = (left, top, left + width, top + height)
    _rounded_rectangle(plate, box, radius, (255, 255, 255))
    ground = random.randint(5, 120) if random.random() < 0.7 else random.randint(100, 240)
    tint = [random.randint(-25, 25) for _ in range(3)]
    behind = np.empty_like(image)
    behind[:] = [int(np.clip(ground + each, 0, 255)) for each in tint]
    body_mask = plate
    if random.random() < 0.45:
        thick = random.uniform(0.015, 0.08) * height
        body_mask = np.zeros_like(plate)
        holder = (box[0] - thick, box[1] - thick, box[2] + thick, box[3] + thick)
        _rounded_rectangle(body_mask, holder, radius * 0.7, (255, 255, 255))
        shade = random.choice((random.randint(5, 50), random.randint(130, 255)))
        colour = random.choice(
            ((shade, shade, shade), (shade, shade, shade), (30, 140, 190), (20, 20, 170), (150, 190, 215))
        )
        _rounded_rectangle(behind, holder, radius * 0.7, colour)
        if shade > 120 and random.random() < 0.5:
            _ornament(behind, holder, thick, random)
    cv2.copyTo(image, plate, behind)
    if random.random() < 0.1:
        _overlap(behind, box, random)
    return behind, body_mask


def _overlap(image: Image, box: tuple[float, float, float, float], random: Random) -> None:
    """A holder that reaches over the plate's edge: black rubber, chrome, or the gilt patterns that motorbikes wear."""
    height = box[3] - box[1]
    reach = height * random.uniform(0.01, 0.05)
    band = np.zeros(image.shape[:2], np.uint8)
    _rounded_rectangle(band, box, 0.08 * height, (255, 255, 255))
    inner = (box[0] + reach, box[1] + reach, box[2] - reach, box[3] - reach)
    _rounded_rectangle(band, inner, 0.06 * height, (0, 0, 0))
    shade = random.choice((random.randint(5, 60), random.randint(120, 250)))
    colour = random.choice(((shade, shade, shade), (40, 150, 200), (90, 170, 205)))
    pattern = np.empty_like(image)
    pattern[:] = colour
    if random.random() < 0.7:
        # Curls and beads at this size are a quick change of light and dark along the edge.
        step = max(2, round(height * random.uniform(0.02, 0.06)))
        dark = tuple(channel // random.choice((2, 3)) for channel in colour)
        for x in range(round(box[0]), round(box[2]), step):
            cv2.circle(pattern, (x, round(box[1] + random.random() * reach)), max(1, step // 3), dark, -1)
            cv2.circle(pattern, (x, round(box[3] - random.random() * reach)), max(1, step // 3), dark, -1)
        for y in range(round(box[1]), round(box[3]), step):
            cv2.circle(pattern, (round(box[0] + random.random() * reach), y), max(1, step // 3), dark, -1)
            cv2.circle(pattern, (round(box[2] - random.random() * reach), y), max(1, step // 3), dark, -1)
    cv2.copyTo(pattern, band, image)


def _ornament(image: Image, holder: tuple[float, float, float, float], thick: float, random: Random) -> None:
    """Beads along a chrome holder."""
    step = max(2, round(thick * random.uniform(1.0, 2.5)))
    radius = max(1, round(thick / 3))
    left, top, right, bottom = (round(side) for side in holder)
    shade = random.randint(40, 120)
    for x in range(left, right, step):
        cv2.circle(image, (x, top + radius), radius, (shade, shade, shade), -1)
        cv2.circle(image, (x, bottom - radius), radius, (shade, shade, shade), -1)
    for y in range(top, bottom, step):
        cv2.circle(image, (left + radius, y), radius, (shade, shade, shade), -1)
        cv2.circle(image, (right - radius, y), radius, (shade, shade, shade), -1)
