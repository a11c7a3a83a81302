"""Render the sample clip that travels with the package: a gate, cars coming in, motorbikes going out. One page.

    python -m scripts.render_gate_clip lpr/assets/gate.mp4

Everything in it is drawn: no photograph, no real plate. A pinhole camera stands between two lanes; cars come towards
it and stop at the barrier, motorbikes ride away from it. Plates come from `scripts.render.plate`, so the clip shows
what the networks were taught, in a scene they were not. Needs ffmpeg with libx264 on the PATH, for the writing only.
The texts and the frames in which each vehicle passes stand in a JSON file beside the clip.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from random import Random

import cv2
import numpy as np
from numpy.typing import NDArray

from lpr.domain.plate import PlateColour
from scripts.render.plate import draw_plate
from scripts.render.plate_spec import PlateSpec

Image = NDArray[np.uint8]

WIDTH, HEIGHT, FPS = 1920, 1080, 12
FOCAL_PX = 1500.0
HORIZON_Y = 250.0
CAMERA_HEIGHT_M = 1.9
SPRITE_PX_PER_M = 460.0
CAR_STOP_Z_M = 4.4
SEED = 20261123


@dataclass(frozen=True)
class Vehicle:
    """Who passes: a car comes towards the camera from `appears_s`, a motorbike rides away from it."""

    lines: tuple[str, ...]
    colour: PlateColour
    kind: str
    paint: tuple[int, int, int]
    appears_s: float
    lane_x_m: float
    plate_seed: int

    @property
    def text(self) -> str:
        """What an event must say, without separators."""
        return "".join(self.lines).replace("-", "").replace(".", "")


TRAFFIC = (
    Vehicle(("51K-918.27",), PlateColour.WHITE, "car", (72, 60, 54), 0.3, -1.05, 3),
    Vehicle(("59-X3", "123.45"), PlateColour.WHITE, "motorbike", (40, 40, 170), 3.2, 1.25, 10),
    Vehicle(("29B-147.26",), PlateColour.YELLOW, "car", (60, 150, 215), 8.2, -1.15, 6),
    Vehicle(("29-AB", "045.18"), PlateColour.WHITE, "motorbike", (150, 95, 30), 10.6, 1.5, 2),
    Vehicle(("59-X3", "123.54"), PlateColour.WHITE, "motorbike", (55, 55, 55), 12.8, 1.1, 6),
    Vehicle(("80A-009.51",), PlateColour.BLUE, "car", (215, 215, 210), 16.4, -1.0, 3),
    Vehicle(("72-F1", "182.63"), PlateColour.WHITE, "motorbike", (60, 110, 60), 19.6, 1.35, 4),
)
DURATION_S = 26.0


def project(x_m: float, z_m: float) -> tuple[float, float, float]:
    """Point on the ground at `x_m` right and `z_m` ahead -> column, row and pixels a metre there."""
    scale = FOCAL_PX / z_m
    return WIDTH / 2 + x_m * scale, HORIZON_Y + CAMERA_HEIGHT_M * scale, scale


def polygon(image: Image, points: list[tuple[float, float]], colour: tuple[int, int, int]) -> None:
    """Fill a polygon with soft edges; points in pixels with four bits of fraction."""
    shifted = (np.array(points) * 16).round().astype(np.int32)
    cv2.fillPoly(image, [shifted], colour, cv2.LINE_AA, 4)


def shade(colour: tuple[int, int, int], factor: float) -> tuple[int, int, int]:
    """The same paint in more or less light."""
    return tuple(int(min(255, max(0, c * factor))) for c in colour)  # type: ignore[return-value]


def background(rng: np.random.Generator) -> Image:
    """Sky, a wall, trees, a booth and a road with its markings: what stands still."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    rows = np.linspace(0, 1, int(HORIZON_Y))[:, None]
    image[: int(HORIZON_Y)] = (np.array([226, 205, 180]) * (1 - rows) + np.array([238, 232, 224]) * rows)[:, None]
    for _ in range(42):  # a row of trees behind the wall
        x, radius = int(rng.integers(-60, WIDTH + 60)), int(rng.integers(50, 130))
        tone = rng.uniform(0.7, 1.15)
        cv2.circle(image, (x, int(HORIZON_Y) - 20), radius, shade((70, 110, 82), tone), -1, cv2.LINE_AA)
    ground = np.linspace(0, 1, HEIGHT - int(HORIZON_Y))[:, None]
    image[int(HORIZON_Y) :] = (np.array([112, 116, 118]) * (1 - ground) + np.array([92, 95, 98]) * ground)[:, None]
    cv2.rectangle(image, (0, int(HORIZON_Y) - 34), (WIDTH, int(HORIZON_Y) + 42), (150, 172, 186), -1)
    for x in range(0, WIDTH, 64):
        cv2.line(image, (x, int(HORIZON_Y) - 34), (x, int(HORIZON_Y) + 42), (132, 152, 166), 2, cv2.LINE_AA)
    for side in (-3.0, 3.0):  # kerbs, running to the vanishing point
        near, far = project(side, 2.2), project(side, 60.0)
        wide = project(side * 1.09, 2.2)
        polygon(image, [near[:2], far[:2], wide[:2]], (170, 176, 180))
        polygon(
            image,
            [wide[:2], far[:2], (WIDTH if side > 0 else 0, HORIZON_Y + 30), (WIDTH if side > 0 else 0, HEIGHT)],
            (84, 132, 104),
        )
    for z in np.arange(3.0, 40.0, 3.0):  # the broken line between the lanes
        a, b = project(0.16, z), project(0.16, z + 1.4)
        polygon(
            image,
            [
                (a[0] - 0.06 * a[2], a[1]),
                (a[0] + 0.06 * a[2], a[1]),
                (b[0] + 0.06 * b[2], b[1]),
                (b[0] - 0.06 * b[2], b[1]),
            ],
            (205, 212, 214),
        )
    booth_x, booth_y, scale = project(3.7, 8.0)
    cv2.rectangle(
        image,
        (int(booth_x), int(booth_y - 2.4 * scale)),
        (int(booth_x + 1.7 * scale), int(booth_y)),
        (196, 205, 210),
        -1,
    )
    cv2.rectangle(
        image,
        (int(booth_x + 0.2 * scale), int(booth_y - 2.1 * scale)),
        (int(booth_x + 1.5 * scale), int(booth_y - 1.1 * scale)),
        (120, 104, 84),
        -1,
    )
    cv2.rectangle(
        image,
        (int(booth_x - 0.1 * scale), int(booth_y - 2.6 * scale)),
        (int(booth_x + 1.8 * scale), int(booth_y - 2.4 * scale)),
        (70, 90, 170),
        -1,
    )
    grain = cv2.GaussianBlur(rng.normal(0, 26, image.shape[:2]).astype(np.float32), (0, 0), 1.4)[..., None]
    mask = (np.arange(HEIGHT) > HORIZON_Y + 42)[:, None, None]
    return np.clip(image + grain * mask, 0, 255).astype(np.uint8)


def plate_picture(vehicle: Vehicle) -> Image:
    """The vehicle's plate, flat, cut at the edge of its body."""
    ratio = 520 / 110 if len(vehicle.lines) == 1 else 190 / 140
    spec = PlateSpec(vehicle.text, vehicle.lines, vehicle.kind, vehicle.colour, ratio)
    rendered = draw_plate(spec, Random(vehicle.plate_seed))
    (left, top), (right, bottom) = rendered.corners[0].astype(int), rendered.corners[2].astype(int)
    return rendered.image[top:bottom, left:right]


def blank_sprite(width_m: float, height_m: float) -> Image:
    """Transparent canvas, uint8 H x W x 4, `SPRITE_PX_PER_M` to the metre."""
    return np.zeros((int(height_m * SPRITE_PX_PER_M), int(width_m * SPRITE_PX_PER_M), 4), np.uint8)


class Brush:
    """Draws on a sprite in metres from its lower middle: x right, y up."""

    def __init__(self, sprite: Image) -> None:
        self.sprite = sprite

    def at(self, x: float, y: float) -> tuple[float, float]:
        return self.sprite.shape[1] / 2 + x * SPRITE_PX_PER_M, self.sprite.shape[0] - y * SPRITE_PX_PER_M

    def shape(self, points: list[tuple[float, float]], colour: tuple[int, int, int], *, mirror: bool = False) -> None:
        for side in (1, -1) if mirror else (1,):
            placed = (np.array([self.at(side * x, y) for x, y in points]) * 16).round().astype(np.int32)
            cv2.fillPoly(self.sprite, [placed], (*colour, 255), cv2.LINE_AA, 4)

    def disc(
        self, x: float, y: float, rx: float, ry: float, colour: tuple[int, int, int], *, mirror: bool = False
    ) -> None:
        for side in (1, -1) if mirror else (1,):
            cx, cy = self.at(side * x, y)
            axes = (int(rx * SPRITE_PX_PER_M), int(ry * SPRITE_PX_PER_M))
            cv2.ellipse(self.sprite, (int(cx), int(cy)), axes, 0, 0, 360, (*colour, 255), -1, cv2.LINE_AA)

    def plate(self, plate: Image, x: float, y: float, width_m: float) -> None:
        """Screw the plate on, its middle at (x, y)."""
        width = int(width_m * SPRITE_PX_PER_M)
        height = round(width * plate.shape[0] / plate.shape[1])
        left, top = (int(v) for v in self.at(x, y))
        left, top = left - width // 2, top - height // 2
        self.sprite[top : top + height, left : left + width, :3] = cv2.resize(
            plate, (width, height), interpolation=cv2.INTER_AREA
        )
        self.sprite[top : top + height, left : left + width, 3] = 255


def car_front(paint: tuple[int, int, int], plate: Image) -> Image:
    """A saloon from the front, 1.8 m wide."""
    brush = Brush(blank_sprite(2.1, 1.6))
    brush.shape([(-0.86, 0.0), (-0.62, 0.0), (-0.62, 0.32), (-0.86, 0.32)], (28, 28, 30), mirror=True)  # tyres
    brush.shape([(-0.60, 0.92), (-0.50, 1.42), (0.50, 1.42), (0.60, 0.92)], shade(paint, 0.82))  # cabin
    brush.shape([(-0.51, 1.41), (-0.40, 1.48), (0.40, 1.48), (0.51, 1.41)], shade(paint, 1.1))
    brush.shape([(-0.68, 0.90), (-0.54, 1.38), (0.54, 1.38), (0.68, 0.90)], (92, 78, 62))  # windscreen
    brush.shape([(-0.66, 0.92), (-0.55, 1.36), (-0.18, 1.36), (-0.42, 0.92)], (128, 112, 92))  # the sky in it
    brush.disc(-0.28, 1.06, 0.10, 0.12, (44, 40, 40))  # the driver
    brush.disc(0.92, 0.98, 0.09, 0.06, shade(paint, 0.7), mirror=True)  # mirrors
    brush.shape([(-0.88, 0.24), (-0.90, 0.74), (-0.74, 0.93), (0.74, 0.93), (0.90, 0.74), (0.88, 0.24)], paint)  # body
    brush.shape([(-0.74, 0.93), (-0.62, 0.76), (0.62, 0.76), (0.74, 0.93)], shade(paint, 1.14))  # bonnet
    brush.shape([(-0.87, 0.40), (-0.84, 0.18), (0.84, 0.18), (0.87, 0.40)], shade(paint, 0.78))  # bumper
    brush.shape([(-0.44, 0.54), (-0.48, 0.72), (0.48, 0.72), (0.44, 0.54)], (38, 38, 40))  # grille
    for height in (0.58, 0.63, 0.68):
        brush.shape([(-0.44, height), (-0.44, height + 0.012), (0.44, height + 0.012), (0.44, height)], (140, 140, 142))
    brush.disc(0.0, 0.73, 0.05, 0.035, (190, 190, 192))
    brush.shape([(0.52, 0.60), (0.86, 0.64), (0.84, 0.78), (0.56, 0.74)], (226, 230, 232), mirror=True)  # lamps
    brush.shape([(0.56, 0.63), (0.70, 0.65), (0.69, 0.73), (0.58, 0.71)], (250, 250, 250), mirror=True)
    brush.shape([(-0.60, 0.24), (-0.58, 0.30), (0.58, 0.30), (0.60, 0.24)], (46, 46, 48))  # lower air intake
    brush.plate(plate, 0.0, 0.43, 0.52)
    return brush.sprite


def motorbike_rear(paint: tuple[int, int, int], plate: Image) -> Image:
    """A scooter and its rider from behind, 0.75 m wide."""
    brush = Brush(blank_sprite(1.0, 1.75))
    brush.shape([(-0.055, 0.0), (-0.055, 0.55), (0.055, 0.55), (0.055, 0.0)], (30, 30, 32))  # tyre
    brush.shape([(0.10, 0.20), (0.10, 0.46), (0.19, 0.46), (0.19, 0.20)], (110, 112, 116))  # exhaust
    brush.shape([(-0.20, 0.52), (-0.24, 0.78), (0.24, 0.78), (0.20, 0.52)], paint)  # tail
    brush.shape([(-0.20, 0.78), (-0.22, 0.84), (0.22, 0.84), (0.20, 0.78)], shade(paint, 0.6))  # seat
    brush.shape([(-0.13, 0.66), (-0.15, 0.74), (0.15, 0.74), (0.13, 0.66)], (52, 40, 205))  # tail lamp
    brush.shape([(0.17, 0.66), (0.18, 0.72), (0.26, 0.71), (0.24, 0.66)], (60, 150, 240), mirror=True)  # indicators
    brush.shape(
        [(0.14, 0.62), (0.17, 0.90), (0.27, 0.90), (0.30, 0.40), (0.20, 0.38)], (70, 62, 58), mirror=True
    )  # legs
    brush.shape(
        [(-0.24, 0.82), (-0.27, 1.28), (-0.15, 1.38), (0.15, 1.38), (0.27, 1.28), (0.24, 0.82)], shade(paint, 0.9)
    )  # back
    brush.shape([(0.25, 1.28), (0.36, 1.06), (0.30, 1.00), (0.21, 1.14)], shade(paint, 0.8), mirror=True)  # arms
    brush.shape([(0.30, 1.00), (0.40, 1.02), (0.40, 1.07), (0.31, 1.06)], (60, 60, 62), mirror=True)  # handlebar
    brush.disc(0.40, 1.16, 0.06, 0.045, (58, 58, 60), mirror=True)  # mirrors
    brush.disc(0.0, 1.52, 0.135, 0.15, shade(paint, 1.35))  # helmet
    brush.shape([(-0.12, 1.42), (-0.12, 1.46), (0.12, 1.46), (0.12, 1.42)], (50, 50, 52))
    brush.plate(plate, 0.0, 0.505, 0.19)
    return brush.sprite


def paste(image: Image, sprite: Image, x_m: float, z_m: float) -> tuple[int, int, int, int] | None:
    """Stand the sprite on the ground at (x, z) with its shadow; returns its place in the frame, None where unseen."""
    centre_x, ground_y, scale = project(x_m, z_m)
    width, height = (round(side * scale / SPRITE_PX_PER_M) for side in (sprite.shape[1], sprite.shape[0]))
    left, top = round(centre_x - width / 2), round(ground_y - height)
    if width < 8 or top >= HEIGHT or left >= WIDTH or left + width <= 0:
        return None
    shadow = image.copy()
    cv2.ellipse(
        shadow,
        (round(centre_x), round(ground_y)),
        (round(width * 0.46), max(2, round(width * 0.09))),
        0,
        0,
        360,
        (52, 52, 54),
        -1,
        cv2.LINE_AA,
    )
    cv2.addWeighted(shadow, 0.6, image, 0.4, 0, image)
    shrunk = cv2.resize(
        sprite, (width, height), interpolation=cv2.INTER_AREA if scale < SPRITE_PX_PER_M else cv2.INTER_LINEAR
    )
    x0, y0, x1, y1 = max(0, left), max(0, top), min(WIDTH, left + width), min(HEIGHT, top + height)
    part = shrunk[y0 - top : y1 - top, x0 - left : x1 - left]
    alpha = part[..., 3:].astype(np.float32) / 255
    target = image[y0:y1, x0:x1]
    target[:] = (target * (1 - alpha) + part[..., :3] * alpha).astype(np.uint8)
    return left, top, width, height


def depth_of(vehicle: Vehicle, time_s: float) -> float | None:
    """Metres ahead of the camera at `time_s`, None where the vehicle is not in the picture."""
    age = time_s - vehicle.appears_s
    if age < 0:
        return None
    if vehicle.kind == "motorbike":
        z = 2.6 + 2.6 * age + 0.35 * age**2
        return z if z < 42 else None
    approach_s, wait_s = 3.6, 1.6
    far = 24.0
    if age < approach_s:  # brakes evenly to the barrier
        rest = 1 - age / approach_s
        return CAR_STOP_Z_M + (far - CAR_STOP_Z_M) * rest**2
    if age < approach_s + wait_s:
        return CAR_STOP_Z_M
    z = CAR_STOP_Z_M - 1.1 * (age - approach_s - wait_s) ** 2
    return z if z > 1.5 else None


def barrier_angle(time_s: float) -> float:
    """0 closed to 1 open: it lifts while a car that has waited drives on."""
    for vehicle in TRAFFIC:
        age = time_s - vehicle.appears_s - 4.4
        if vehicle.kind == "car" and 0 <= age < 3.0:
            return float(np.clip(min(age / 0.8, (3.0 - age) / 0.8), 0, 1))
    return 0.0


def draw_barrier(image: Image, opened: float) -> None:
    """A red and white arm over the left lane, in front of the cars."""
    post_x, post_y, scale = project(-2.75, 3.9)
    cv2.rectangle(
        image,
        (int(post_x - 0.14 * scale), int(post_y - 1.02 * scale)),
        (int(post_x + 0.14 * scale), int(post_y)),
        (60, 140, 225),
        -1,
    )
    angle = opened * np.deg2rad(80)
    for piece in range(8):
        ends = []
        for step in (piece, piece + 1):
            reach = step * 0.34 * scale
            ends.append((post_x + reach * np.cos(angle), post_y - 0.92 * scale - reach * np.sin(angle)))
        thickness = 0.05 * scale
        nx, ny = np.sin(angle) * thickness, np.cos(angle) * thickness
        (ax, ay), (bx, by) = ends
        polygon(
            image,
            [(ax, ay), (bx, by), (bx + nx, by + ny), (ax + nx, ay + ny)],
            (50, 50, 210) if piece % 2 else (235, 235, 235),
        )


def stamp_time(image: Image, time_s: float) -> None:
    """The camera's own text, which is no plate."""
    text = f"CAM_001  2026-11-23 08:15:{int(time_s):02d}"
    cv2.putText(image, text, (36, 58), cv2.FONT_HERSHEY_SIMPLEX, 1.1, (20, 20, 20), 5, cv2.LINE_AA)
    cv2.putText(image, text, (36, 58), cv2.FONT_HERSHEY_SIMPLEX, 1.1, (240, 240, 240), 2, cv2.LINE_AA)


def main() -> None:
    """Draw every frame and hand it to ffmpeg."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--still", type=float, metavar="SECONDS", help="write one frame as PNG instead of the clip")
    arguments = parser.parse_args()
    rng = np.random.default_rng(SEED)
    scene = background(rng)
    sprites = []
    for vehicle in TRAFFIC:
        plate = plate_picture(vehicle)
        sprites.append((car_front if vehicle.kind == "car" else motorbike_rear)(vehicle.paint, plate))

    def frame_at(time_s: float) -> Image:
        image = scene.copy()
        standing = [(z, v, s) for v, s in zip(TRAFFIC, sprites, strict=True) if (z := depth_of(v, time_s)) is not None]
        for z, vehicle, sprite in sorted(standing, key=lambda item: -item[0]):
            paste(image, sprite, vehicle.lane_x_m, z)
        draw_barrier(image, barrier_angle(time_s))
        stamp_time(image, time_s)
        noise = (
            np.random.default_rng(round(time_s * 1000)).normal(0, 2.0, (HEIGHT // 2, WIDTH // 2, 1)).astype(np.float32)
        )
        return np.clip(image + cv2.resize(noise, (WIDTH, HEIGHT))[..., None], 0, 255).astype(np.uint8)

    if arguments.still is not None:
        cv2.imwrite(str(arguments.output), frame_at(arguments.still))
        return
    command = ["ffmpeg", "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "bgr24", "-s", f"{WIDTH}x{HEIGHT}"]
    command += ["-r", str(FPS), "-i", "-", "-c:v", "libx264", "-preset", "slow", "-crf", "27", "-pix_fmt", "yuv420p"]
    command += ["-movflags", "+faststart", str(arguments.output)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as encoder:
        assert encoder.stdin is not None
        for number in range(int(DURATION_S * FPS)):
            encoder.stdin.write(frame_at(number / FPS).tobytes())
        encoder.stdin.close()
    if encoder.returncode:
        raise SystemExit(f"ffmpeg ended with {encoder.returncode}")
    truth = [{"text": v.text, "rows": len(v.lines), "kind": v.kind, "appearsAtSeconds": v.appears_s} for v in TRAFFIC]
    arguments.output.with_suffix(".json").write_text(json.dumps(truth, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
