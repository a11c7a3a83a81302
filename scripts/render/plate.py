"""Draw one Vietnamese plate, flat: body, characters, frame, bolts, and the marks that years on the road leave.

`draw_plate` is what scenes and the reader's training take. What happens between plate and picture (pose, light, lens,
sensor, codec) is camera.py's. Every picture made here is the project's own: drawn from formats in `lpr.plates`, glyphs
(glyphs.py) and noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from lpr.domain.plate import PlateColour
from lpr.plates.formats import ONE_ROW
from scripts.render.glyphs import Mask, fonts
from scripts.render.paint import Colour, Image, blend, noise, ramp, rounded_rectangle
from scripts.render.plate_spec import PlateSpec, random_spec
from scripts.render.signs import PlacedSign, draw_signs, lay_out

ROW_HEIGHT_PX: Final = 105
"""Pixels of body height a row of characters gets at scale 1."""


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
    placed = lay_out(spec, font, width, height, random)
    ink = np.zeros((size[1], size[0]), np.uint8)
    draw_signs(placed, font, ink, offset, random)
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
    rounded_rectangle(embossed, outer, radius, (255, 255, 255))
    rounded_rectangle(embossed, inner, radius, (0, 0, 0))
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
        patch = cv2.LUT(noise(random, width, height), ramp(low - 60, low + random.randint(5, 60)))
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
        dirt = cv2.LUT(noise(random, width, height), ramp(low, low + random.randint(20, 110)))
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
    placed: list[PlacedSign],
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
    rounded_rectangle(plate, box, radius, (255, 255, 255))
    ground = random.randint(5, 120) if random.random() < 0.7 else random.randint(100, 240)
    tint = [random.randint(-25, 25) for _ in range(3)]
    behind = np.empty_like(image)
    behind[:] = [int(np.clip(ground + each, 0, 255)) for each in tint]
    body_mask = plate
    if random.random() < 0.45:
        thick = random.uniform(0.015, 0.08) * height
        body_mask = np.zeros_like(plate)
        holder = (box[0] - thick, box[1] - thick, box[2] + thick, box[3] + thick)
        rounded_rectangle(body_mask, holder, radius * 0.7, (255, 255, 255))
        shade = random.choice((random.randint(5, 50), random.randint(130, 255)))
        colour = random.choice(
            ((shade, shade, shade), (shade, shade, shade), (30, 140, 190), (20, 20, 170), (150, 190, 215))
        )
        rounded_rectangle(behind, holder, radius * 0.7, colour)
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
    rounded_rectangle(band, box, 0.08 * height, (255, 255, 255))
    inner = (box[0] + reach, box[1] + reach, box[2] - reach, box[3] - reach)
    rounded_rectangle(band, inner, 0.06 * height, (0, 0, 0))
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
