"""From a flat plate to the picture a camera sends: pose, light, lens, sensor and codec.

`pose` makes the homography, `light` works on the scene, `shoot` is the camera. All take uint8 BGR pictures and a
`random.Random`. The reader's crops and the frames of `gate.py` look through this glass; the detector's scenes have one
of their own (`exposure.py`). Measured before on crops of a gate (see the recogniser's card): geometry is worth ten
points, wear and light seven, the camera four.
"""

from __future__ import annotations

import math
from functools import lru_cache
from random import Random
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from scripts.render.paint import Image, noise

Corners = NDArray[np.float32]

_GRAIN_SIZE: Final = 640


# --- pose -----------------------------------------------------------------------------------------------------------


def pose(random: Random, ratio: float, width: float, *, hard: float = 1.0) -> Corners:
    """Corners (4, 2) of a plate `width` pixels wide seen from somewhere, around the origin, clockwise from top left.

    `ratio` is the body's width by height. `hard` scales the angles; at 1 most views are near the front, a fifth steep.
    """
    steep = random.random() < 0.2
    limit = hard * (1.7 if steep else 1.0)
    yaw = math.radians(random.gauss(0, 17) * limit)
    pitch = math.radians(random.gauss(0, 14) * limit)
    roll = math.radians(random.gauss(0, 5.5) * limit)
    yaw, pitch = max(-1.05, min(1.05, yaw)), max(-0.9, min(0.9, pitch))
    w, h = 1.0, 1.0 / ratio
    flat = np.array([[-w, -h, 0], [w, -h, 0], [w, h, 0], [-w, h, 0]]) / 2
    distance = random.uniform(2.2, 9.0)
    turned = flat @ (_turn_y(yaw) @ _turn_x(pitch) @ _turn_z(roll)).T
    seen = turned[:, :2] * (distance / (distance + turned[:, 2:3]))
    # A lens not level with the plate, a tail that hangs askew: shear and a stretch that no rotation gives.
    shear = np.array([[1, random.gauss(0, 0.05) * limit], [random.gauss(0, 0.03) * limit, 1]])
    seen = seen @ shear.T
    seen *= width / (seen[:, 0].max() - seen[:, 0].min())
    return seen.astype(np.float32)


def _turn_x(angle: float) -> NDArray[np.float64]:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def _turn_y(angle: float) -> NDArray[np.float64]:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def _turn_z(angle: float) -> NDArray[np.float64]:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def project(points: Corners, homography: NDArray[np.float64]) -> Corners:
    """Points (..., 2) through a homography (3, 3), float32."""
    flat = points.reshape(-1, 1, 2).astype(np.float32)
    return cv2.perspectiveTransform(flat, homography).reshape(points.shape)


# --- what hangs in front ---------------------------------------------------------------------------------------------


def obstruct(image: Image, plate: Corners, random: Random, *, hard: float = 0.7) -> Image:
    """Something between camera and plate: a bar or cable, a blade of grass, mud splashes, drops on the lens; a copy.

    It takes a part of one or two characters, seldom more: what is left must be read, or be held uncertain.
    """
    image = image.copy()
    width, height = _plate_size(plate)
    kind = random.random()
    if kind < 0.35:
        _cover(image, plate, random)
    elif kind < 0.6:
        _bar(image, plate, random, max(1, round(height * random.uniform(0.02, 0.05 + 0.1 * hard))))
    elif kind < 0.8:
        _splash(image, plate, random, height * random.uniform(0.03, 0.06 + 0.1 * hard))
    else:
        image = _drop(image, plate, random, min(width / 4, height * random.uniform(0.12, 0.2 + 0.25 * hard)))
    return image


def _cover(image: Image, plate: Corners, random: Random) -> None:
    """A larger thing whose edge lies over an outer character: a post, another vehicle, a barrier's arm."""
    across, down = plate[1] - plate[0], plate[3] - plate[0]
    if random.random() < 0.3:  # from above or below
        reach, outward = random.uniform(0.02, 0.3), -down
        near = plate[0] + down * reach - across
        edge = np.array([near, near + 3 * across])
        if random.random() < 0.5:
            edge, outward = edge + down * (1 - 2 * reach), down
    else:
        reach, outward = random.uniform(0.0, 0.12), -across
        near = plate[0] + across * reach - down
        edge = np.array([near, near + 3 * down])
        if random.random() < 0.5:
            edge, outward = edge + across * (1 - 2 * reach), across
    edge = edge + np.array([outward * random.gauss(0, 0.04), outward * random.gauss(0, 0.04)])
    depth = random.choice((random.uniform(0.1, 0.5), 3.0))
    shade = random.randint(0, 255)
    tint = [int(np.clip(shade + random.gauss(0, 20), 0, 255)) for _ in range(3)]
    polygon = np.array([*edge, edge[1] + outward * depth, edge[0] + outward * depth])
    cv2.fillPoly(image, [np.round(polygon * 8).astype(np.int32)], tint, cv2.LINE_AA, 3)
    if random.random() < 0.5:  # the thing's own side, in its shadow
        side = [each // random.choice((2, 3, 4)) for each in tint]
        thick = max(1, round(_plate_size(plate)[1] * random.uniform(0.02, 0.12)))
        ends = np.round(edge * 8).astype(np.int32).tolist()
        cv2.line(image, ends[0], ends[1], side, thick, cv2.LINE_AA, 3)


def _bar(image: Image, plate: Corners, random: Random, thick: int) -> None:
    """A bar, a cable, a stalk: straight or bowed, across the plate."""
    near, far = _plate_point(plate, random, 0.5), _plate_point(plate, random, 1.6)
    away = (2 * near[0] - far[0] + random.gauss(0, thick), 2 * near[1] - far[1] + random.gauss(0, thick))
    if random.random() < 0.3:  # straight up and down, or level, as barriers and posts are
        along = (0.0, 9.0 * thick + 40) if random.random() < 0.5 else (9.0 * thick + 400, 0.0)
        far, away = (near[0] + along[0], near[1] + along[1]), (near[0] - along[0], near[1] - along[1])
    line = np.array([far, near, away])
    shade = random.randint(0, 255)
    tint = [int(np.clip(shade + random.gauss(0, 25), 0, 255)) for _ in range(3)]
    points = [np.round(line * 8).astype(np.int32)]
    cv2.polylines(image, points, False, tint, thick, cv2.LINE_AA, 3)
    if thick > 3 and random.random() < 0.6:  # round: lit along one side
        bright = [min(255, each + random.randint(20, 90)) for each in tint]
        lit = [points[0] + np.int32([round(thick * 2), round(thick * 2)])]
        cv2.polylines(image, lit, False, bright, max(1, thick // 4), cv2.LINE_AA, 3)


def _splash(image: Image, plate: Corners, random: Random, radius: float) -> None:
    """Mud, bird lime, a leaf, flakes of snow: a few spots close together."""
    x, y = _plate_point(plate, random, 0.5)
    shade = random.choice((random.randint(20, 90), random.randint(90, 170), random.randint(200, 255)))
    tint = (int(shade * random.uniform(0.5, 1.0)), int(shade * random.uniform(0.75, 1.0)), shade)
    for _ in range(random.randint(1, 6)):
        axes = (max(1, round(radius * random.uniform(0.2, 1.0))), max(1, round(radius * random.uniform(0.2, 1.0))))
        place = (round(x + random.gauss(0, 1.6 * radius)), round(y + random.gauss(0, 1.2 * radius)))
        cv2.ellipse(image, place, axes, random.randint(0, 180), 0, 360, tint, -1, cv2.LINE_AA)


def _drop(image: Image, plate: Corners, random: Random, radius: float) -> Image:
    """Water on the lens or a smear on a window: one spot of the picture out of focus, maybe shifted and paler."""
    height, width = image.shape[:2]
    x, y = _plate_point(plate, random, 0.5)
    mask = np.zeros((height, width), np.uint8)
    axes = (max(2, round(radius)), max(2, round(radius * random.uniform(0.6, 1.4))))
    cv2.ellipse(mask, (round(x), round(y)), axes, random.randint(0, 180), 0, 360, random.randint(170, 255), -1)
    edge = 2 * max(1, round(radius * random.uniform(0.05, 0.5))) + 1
    mask = cv2.blur(mask, (edge, edge))
    soft = cv2.GaussianBlur(image, (0, 0), max(0.8, radius * random.uniform(0.1, 0.35)))
    soft = cv2.convertScaleAbs(soft, alpha=random.uniform(0.75, 1.1), beta=random.uniform(0, 40))
    weight = cv2.merge((mask, mask, mask))
    kept = cv2.multiply(image, cv2.bitwise_not(weight), scale=1 / 255)
    return cv2.add(kept, cv2.multiply(soft, weight, scale=1 / 255))


# --- light ----------------------------------------------------------------------------------------------------------


def light(image: Image, plate: Corners, random: Random, *, hard: float = 0.7) -> Image:
    """Uneven light on a scene: slow gradients, hard shadows, headlights, brake lights, reflections on the plate.

    `hard`, 0 to 1, scales how often they come and how much of the text they take.
    """
    if random.random() < 0.5:
        image = _gain(image, _gradient(image, random))
    if random.random() < 0.1 + 0.2 * hard:
        image = _gain(image, _shadow(image, plate, random))
    if random.random() < 0.15:
        image = _red_light(image, random)
    if random.random() < 0.15 + 0.35 * hard:
        image = _glare(image, plate, random, hard)
    return image


def _gain(image: Image, gain: NDArray[np.uint8]) -> Image:
    """Multiply by a map in 1/128."""
    return cv2.multiply(image, cv2.merge((gain, gain, gain)), scale=1 / 128)


def _gradient(image: Image, random: Random) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    strength = random.uniform(10, 80)
    cells = np.array([[128 + random.uniform(-strength, strength) for _ in range(3)] for _ in range(3)], np.float32)
    return cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)


def _plate_point(plate: Corners, random: Random, spread: float = 0.6) -> tuple[float, float]:
    """A point on or near the plate."""
    u, v = random.uniform(-0.5, 0.5) * 2 * spread, random.uniform(-0.5, 0.5) * 2 * spread
    centre = plate.mean(axis=0)
    across = (plate[1] + plate[2] - plate[0] - plate[3]) / 2
    down = (plate[2] + plate[3] - plate[0] - plate[1]) / 2
    point = centre + u * across + v * down
    return float(point[0]), float(point[1])


def _plate_size(plate: Corners) -> tuple[float, float]:
    """Width and height, pixels."""
    across, down = plate[1] - plate[0], plate[3] - plate[0]
    return max(4.0, float(np.hypot(*across))), max(4.0, float(np.hypot(*down)))


def _shadow(image: Image, plate: Corners, random: Random) -> NDArray[np.uint8]:
    """A half-plane or a band in shadow, its edge sharp or soft."""
    height, width = image.shape[:2]
    gain = np.full((height, width), 128, np.uint8)
    dark = int(128 * random.uniform(0.25, 0.8))
    x, y = _plate_point(plate, random)
    angle = random.choice((random.gauss(0, 0.25), random.uniform(0, math.tau), math.pi / 2 + random.gauss(0, 0.3)))
    along = np.array([math.cos(angle), math.sin(angle)])
    across = np.array([-along[1], along[0]]) * random.choice((1, -1))
    far = 3.0 * (width + height)
    depth = far if random.random() < 0.6 else random.uniform(0.1, 0.6) * _plate_size(plate)[1]
    start = np.array([x, y])
    polygon = [start - along * far, start + along * far, start + along * far + across * depth]
    polygon.append(start - along * far + across * depth)
    cv2.fillPoly(gain, [np.round(np.array(polygon)).astype(np.int32)], dark)
    blur = random.choice((0, 1, 2, 5))
    return cv2.blur(gain, (2 * blur + 1, 2 * blur + 1)) if blur else gain


def _red_light(image: Image, random: Random) -> Image:
    """A brake or tail light above or beside: red added from one side, the other channels pulled down."""
    height, width = image.shape[:2]
    side = random.random()
    if side < 0.7:
        ramp = np.linspace(1.0, random.uniform(0.0, 0.8), height, dtype=np.float32)[:, None].repeat(width, axis=1)
    else:
        ramp = np.linspace(1.0, random.uniform(0.0, 0.8), width, dtype=np.float32)[None, :].repeat(height, axis=0)
        if side > 0.85:
            ramp = ramp[:, ::-1]
    strength = random.uniform(0.1, 0.75)
    mask = (ramp * (255 * strength)).astype(np.uint8)
    red = np.array([random.uniform(0.15, 0.6), random.uniform(0.1, 0.5), random.uniform(0.9, 1.3)], np.float32)
    level = float(image[:: max(1, height // 8), :: max(1, width // 8)].mean()) * random.uniform(0.8, 1.6) + 30
    channels = cv2.split(image)
    keep = cv2.bitwise_not(mask)
    mixed = [
        cv2.add(
            cv2.multiply(channel, keep, scale=1 / 255), cv2.convertScaleAbs(mask, alpha=min(1.0, level * tone / 255))
        )
        for channel, tone in zip(channels, red.tolist(), strict=True)
    ]
    return cv2.merge(mixed)


def _glare(image: Image, plate: Corners, random: Random, hard: float) -> Image:
    """Reflections on the foil: streaks, arcs and blobs that whiten what is under them."""
    height, width = image.shape[:2]
    mask = np.zeros((height, width), np.uint8)
    plate_width, plate_height = _plate_size(plate)
    strength = random.randint(60, 255)
    for _ in range(random.choice((1, 1, 2) if hard < 0.6 else (1, 2, 3))):
        x, y = _plate_point(plate, random, 0.5)
        kind = random.random()
        if kind < 0.3:
            # A lamp behind the camera mirrored in the dents of the foil: short wipes that take the head, the waist or
            # the foot off one or two characters and leave the rest of them dark.
            axes = (
                max(1, round(plate_width * random.uniform(0.03, 0.16))),
                max(1, round(plate_height * random.uniform(0.03, 0.11))),
            )
            cv2.ellipse(mask, (round(x), round(y)), axes, random.gauss(0, 25), 0, 360, strength, -1, cv2.LINE_AA)
        elif kind < 0.55:
            thick = max(1, round(plate_height * random.uniform(0.015, 0.12)))
            axes = (round(plate_width * random.uniform(0.15, 0.9)), round(plate_height * random.uniform(0.04, 0.7)))
            start = random.randint(0, 360)
            tilt = random.choice((random.gauss(0, 15), random.uniform(0, 180)))
            span = random.randint(60, 200)
            cv2.ellipse(mask, (round(x), round(y)), axes, tilt, start, start + span, strength, thick, cv2.LINE_AA)
        elif kind < 0.8:
            # Wide and low ones lie over a row and eat the middle of its characters.
            axes = (
                max(1, round(plate_width * random.uniform(0.03, 0.45))),
                max(1, round(plate_height * random.uniform(0.03, 0.08 + 0.12 * hard))),
            )
            tilt = random.choice((random.gauss(0, 12), random.uniform(0, 180)))
            cv2.ellipse(mask, (round(x), round(y)), axes, tilt, 0, 360, strength, -1, cv2.LINE_AA)
        else:
            end = _plate_point(plate, random, 0.8)
            thick = max(1, round(plate_height * random.uniform(0.02, 0.12)))
            cv2.line(mask, (round(x), round(y)), (round(end[0]), round(end[1])), strength, thick, cv2.LINE_AA)
    spread = plate_height * random.choice((0.01, 0.03, 0.06, 0.15))
    size = 2 * max(0, round(spread)) + 1
    if size > 1:
        mask = cv2.blur(cv2.blur(mask, (size, size)), (size, size))
    return cv2.add(image, cv2.merge((mask, mask, mask)))


# --- camera ---------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _grain() -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Sensor noise, made once: independent grains, and the blotches that denoising and chroma smear leave."""
    generator = np.random.default_rng(11)
    fine = generator.standard_normal((_GRAIN_SIZE, _GRAIN_SIZE, 3)).astype(np.float32)
    fine = 0.75 * fine.mean(axis=2, keepdims=True) * 1.7 + 0.45 * fine
    coarse = cv2.GaussianBlur(generator.standard_normal((_GRAIN_SIZE, _GRAIN_SIZE, 3)).astype(np.float32), (0, 0), 1.3)
    coarse /= coarse.std()
    return (fine * 32).clip(-127, 127).astype(np.int8), (coarse * 32).clip(-127, 127).astype(np.int8)


def shoot(image: Image, random: Random, *, hard: float = 1.0) -> Image:
    """What the camera makes of a scene: exposure, colour cast, blur, noise, sharpening, loss of resolution, codec.

    `hard` scales how much of it; the picture keeps its size.
    """
    if random.random() < 0.14 * hard:
        image = _bloomed(image, random, hard)
    if random.random() < 0.55 * hard:
        image = _blurred(image, random, hard)
    if random.random() < 0.05 * hard:
        image = _combed(image, random)
    image = cv2.LUT(image, _tone(random, hard))
    if random.random() < 0.12:
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        image = cv2.merge((grey, grey, grey))
    if random.random() < 0.25 * hard:
        image = _coarser(image, random)
    if random.random() < 0.7:
        image = _noisy(image, random, hard)
    if random.random() < 0.3:
        image = _sharpened(image, random)
    if random.random() < 0.55:
        quality = random.randint(12, 60) if random.random() < 0.4 else random.randint(50, 95)
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return image


def is_grey(image: Image) -> bool:
    """Whether a picture carries no colour: an infrared night, a black-and-white camera."""
    probe = image[:: max(1, image.shape[0] // 12), :: max(1, image.shape[1] // 12)].astype(np.int16)
    return int(np.ptp(probe, axis=2).max()) < 12


def _bloomed(image: Image, random: Random, hard: float) -> Image:
    """Foil in a headlamp at night: the bright ground runs over and eats into the ink."""
    sigma = max(0.6, image.shape[1] / 160) * random.uniform(0.6, 1.0 + hard)
    spilt = cv2.convertScaleAbs(cv2.GaussianBlur(image, (0, 0), sigma), alpha=random.uniform(1.0, 1.15 + 0.45 * hard))
    return cv2.max(cv2.convertScaleAbs(image, alpha=random.uniform(1.0, 1.6)), spilt)


def _combed(image: Image, random: Random) -> Image:
    """Two fields of an interlaced picture, the vehicle moved between them."""
    shift = random.choice((-1, 1)) * max(1, round(image.shape[1] * random.uniform(0.004, 0.02)))
    combed = image.copy()
    combed[1::2] = np.roll(image[1::2], shift, axis=1)
    return combed


def _blurred(image: Image, random: Random, hard: float) -> Image:
    """Out of focus or moved; in pixels of this picture, more where it is larger."""
    size = max(image.shape[1] / 160, 0.6)
    kind = random.random()
    if kind < 0.5:
        sigma = random.uniform(0.3, 0.5 + 0.9 * hard) * size
        return cv2.GaussianBlur(image, (0, 0), min(sigma, 4.0))
    length = max(2, round(random.uniform(1.5, 2.0 + 4.0 * hard) * size))
    angle = random.choice((random.gauss(0, 0.2), math.pi / 2 + random.gauss(0, 0.3), random.uniform(0, math.pi)))
    side = length | 1
    kernel = np.zeros((side, side), np.float32)
    reach = (length - 1) / 2
    centre = side // 2
    start = (round((centre - reach * math.cos(angle)) * 16), round((centre - reach * math.sin(angle)) * 16))
    end = (round((centre + reach * math.cos(angle)) * 16), round((centre + reach * math.sin(angle)) * 16))
    cv2.line(kernel, start, end, 1.0, 1, cv2.LINE_AA, 4)
    return cv2.filter2D(image, -1, kernel / max(float(kernel.sum()), 1e-6), borderType=cv2.BORDER_REPLICATE)


def _tone(random: Random, hard: float) -> NDArray[np.uint8]:
    """One table a channel: exposure, contrast, gamma, white balance, clipping."""
    levels = np.arange(256, dtype=np.float32) / 255
    gamma = math.exp(random.gauss(0, 0.28) * hard)
    gain = math.exp(random.gauss(0.0, 0.25) * hard)
    if random.random() < 0.1 * hard:
        gain *= random.uniform(0.2, 0.6)
    offset = random.gauss(0, 0.05) * hard + (random.uniform(0.05, 0.3) if random.random() < 0.08 * hard else 0)
    cast = [math.exp(random.gauss(0, 0.07)) for _ in range(3)]
    if random.random() < 0.08 * hard:
        cast = [math.exp(random.gauss(0, 0.22)) for _ in range(3)]
    curve = levels**gamma * gain
    table = np.stack([curve * tone + offset for tone in cast], axis=-1)
    if random.random() < 0.05:
        # A white-balanced white plate in hard contrast.
        table = (table - 0.5) * random.uniform(1.2, 2.2) + 0.5
    return (table * 255).clip(0, 255).astype(np.uint8)[:, None, :]


def _coarser(image: Image, random: Random) -> Image:
    """Down and up again, as a scaled stream or a digital zoom does."""
    height, width = image.shape[:2]
    factor = max(random.uniform(0.4, 0.85), min(0.85, 40 / width))
    small = cv2.resize(
        image,
        (max(8, round(width * factor)), max(8, round(height * factor))),
        interpolation=random.choice((cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_NEAREST)),
    )
    back = random.choice((cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_CUBIC))
    return cv2.resize(small, (width, height), interpolation=back)


def _noisy(image: Image, random: Random, hard: float) -> Image:
    height, width = image.shape[:2]
    if height > _GRAIN_SIZE or width > _GRAIN_SIZE:
        return image
    amount = min(abs(random.gauss(0, 7)) * hard + 0.5, 32.0)
    bank = _grain()[random.random() < 0.35]
    y, x = random.randint(0, _GRAIN_SIZE - height), random.randint(0, _GRAIN_SIZE - width)
    window = bank[y : y + height, x : x + width]
    return cv2.addWeighted(image, 1.0, window, amount / 32, 0, dtype=cv2.CV_8U)


def _sharpened(image: Image, random: Random) -> Image:
    """Unsharp mask with its halos, as cheap cameras apply it."""
    radius = random.choice((3, 3, 5))
    amount = random.uniform(0.3, 2.2)
    soft = cv2.blur(image, (radius, radius))
    return cv2.addWeighted(image, 1 + amount, soft, -amount, 0)


def backdrop(random: Random, width: int, height: int) -> Image:
    """Something drawn to stand behind a plate: a tinted noise with a few edges; uint8 (height, width, 3)."""
    field = noise(random, width, height)
    shade, contrast = random.uniform(10, 200), random.uniform(0.1, 1.0)
    tint = [random.uniform(0.75, 1.25) for _ in range(3)]
    table = np.stack([((np.arange(256) - 128.0) * contrast + shade) * each for each in tint], axis=-1)
    image = cv2.LUT(cv2.merge((field, field, field)), table.clip(0, 255).astype(np.uint8)[:, None, :])
    for _ in range(random.randint(0, 4)):
        colour = [random.randint(0, 255)] * 3 if random.random() < 0.7 else [random.randint(0, 255) for _ in range(3)]
        start = (random.randint(-width, 2 * width), random.randint(-height, 2 * height))
        end = (random.randint(-width, 2 * width), random.randint(-height, 2 * height))
        cv2.line(image, start, end, colour, random.randint(1, max(2, height // 4)), cv2.LINE_AA)
    return image
