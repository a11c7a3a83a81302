"""Where a plate will be: constant velocity with honest uncertainty, in the plate's own sizes.

Three independent Kalman filters: the centre's x, its y, and the logarithm of the size. The unit of length is the
plate's size (root of its area), because a plate twice as near moves twice as fast in the picture. Whether a box belongs
to a track is a likelihood ratio against "a plate never seen before appeared here", so that frame rate, gaps and size
of the picture need no thresholds of their own: at two frames a second the uncertainty is simply larger.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

from lpr.domain.geometry import Box, Point
from lpr.tracking.settings import plate_size

START_RATE: Final = 8.0
"""Standard deviation of a new track's velocity, plate sizes a second: 5 m/s seen under a gate camera's usual angle."""
START_GROWTH: Final = 0.9
"""The same for the rate of log size, a second: coming from 10 m to 4 m within a second."""
ACCELERATION: Final = 6.0
"""Plate sizes/s², 1.2 m/s² for a car's plate, plus what perspective adds to a straight drive (below)."""
PERSPECTIVE: Final = 0.8
"""A plate that comes nearer speeds up in the picture: acceleration for each plate size a second of speed."""
GROWTH_ACCELERATION: Final = 1.0
JITTER: Final = 0.12
"""Standard deviation of a detected centre, in plate sizes; includes a shaking pole."""
SIZE_JITTER: Final = 0.08
NEW_PER_FRAME: Final = 0.3
"""Plates that appear for the first time, in one frame: the rival explanation of every match."""
SIZE_RANGE: Final = 3.0
"""New plates' log sizes are spread over so much: 20 to 400 pixels."""
DETECTED: Final = math.log(0.9 / 0.1)
"""Log odds that the plate of a live track is detected in a frame."""
GATE: Final = 16.0
"""Squared Mahalanobis distance (three degrees of freedom) beyond which nothing matches: one in a thousand."""
CUT_JITTER: Final = 0.45
"""The same for a plate that is cut by the edge of the picture, and for its log size."""
STRIP: Final = 0.25
"""The least share of a plate's side that a detector finds."""
RATIO_GAIN: Final = 0.4
RATIO_JITTER: Final = 0.25
"""Standard deviation of the logarithm of width by height between two frames of one plate."""


@dataclass(slots=True)
class _Axis:
    """A value and its rate, with their covariance."""

    value: float
    rate: float
    var_value: float
    covariance: float
    var_rate: float

    def predicted(self, dt: float, acceleration: float) -> tuple[float, float, float, float]:
        """Value, its variance, covariance with the rate, and the rate's variance `dt` seconds later."""
        noise = acceleration * acceleration
        # White acceleration over dt; the textbook's thirds and halves.
        var_value = self.var_value + dt * (2 * self.covariance + dt * self.var_rate) + noise * dt**3 / 3
        covariance = self.covariance + dt * self.var_rate + noise * dt**2 / 2
        return self.value + dt * self.rate, var_value, covariance, self.var_rate + noise * dt

    def update(self, measured: float, var_measured: float, dt: float, acceleration: float) -> None:
        value, var_value, covariance, var_rate = self.predicted(dt, acceleration)
        total = var_value + var_measured
        gain, rate_gain = var_value / total, covariance / total
        innovation = measured - value
        self.value = value + gain * innovation
        self.rate += rate_gain * innovation
        self.var_value = (1 - gain) * var_value
        self.covariance = (1 - gain) * covariance
        self.var_rate = var_rate - rate_gain * covariance

    def stretch(self, factor: float) -> None:
        """The same in a unit of length that is so many times as short."""
        self.value, self.rate = self.value * factor, self.rate * factor
        self.var_value, self.covariance, self.var_rate = (
            each * factor**2 for each in (self.var_value, self.covariance, self.var_rate)
        )


@dataclass(frozen=True, slots=True)
class Prediction:
    """Where the plate should be at one moment: pixels, log size, and variances with the detector's own included."""

    x: float
    y: float
    log_size: float
    log_ratio: float
    size: float
    var_x: float
    var_y: float
    var_log_size: float
    shaped: bool
    """Whether the plate's shape is known: it has been seen whole."""

    @property
    def box(self) -> Box:
        """The plate's expected box in pixels; parts of it may lie outside the frame."""
        size, stretch = math.exp(self.log_size), math.exp(self.log_ratio / 2)
        width, height = size * stretch, size / stretch
        return Box(self.x - width / 2, self.y - height / 2, width, height)

    def within(self, bounds: Box) -> Prediction:
        """What of the expected plate can be seen: at the edge of the picture its box is cut, and its centre moves."""
        whole = self.box
        if (
            bounds.x <= whole.x
            and bounds.y <= whole.y
            and whole.right <= bounds.right
            and whole.bottom <= bounds.bottom
        ):
            return self
        outside = max(bounds.x - whole.right, bounds.y - whole.bottom, whole.x - bounds.right, whole.y - bounds.bottom)
        if outside > self.size:
            return self
        # What is seen of it at all is a strip at the edge.
        strip_x, strip_y = STRIP * whole.width, STRIP * whole.height
        left = max(bounds.x, min(whole.x, bounds.right - strip_x))
        top = max(bounds.y, min(whole.y, bounds.bottom - strip_y))
        right = min(bounds.right, max(whole.right, bounds.x + strip_x))
        bottom = min(bounds.bottom, max(whole.bottom, bounds.y + strip_y))
        seen = Box(left, top, max(1.0, right - left), max(1.0, bottom - top))
        x, y = seen.centre
        return replace(self, x=x, y=y, log_size=math.log(plate_size(seen)), log_ratio=_log_ratio(seen))

    def evidence(self, box: Box, frame_area: float) -> float | None:
        """Log of how much likelier `box` is this plate than a new one somewhere in the frame; None if out of reach."""
        x, y = box.centre
        dx, dy, ds = x - self.x, y - self.y, math.log(plate_size(box)) - self.log_size
        distance = dx * dx / self.var_x + dy * dy / self.var_y + ds * ds / self.var_log_size
        if distance > GATE:
            return None
        spread = math.log((2 * math.pi) ** 3 * self.var_x * self.var_y * self.var_log_size) / 2
        new = math.log(NEW_PER_FRAME / max(1.0, frame_area) / SIZE_RANGE)
        # A long plate and a square one are two plates, unless one of them is cut: doubt, not proof.
        shape = max(-4.0, -(((_log_ratio(box) - self.log_ratio) / RATIO_JITTER) ** 2) / 2) if self.shaped else 0.0
        return -distance / 2 - spread - new + DETECTED + shape

    @property
    def centre(self) -> Point:
        """Pixels."""
        return (self.x, self.y)


class Motion:
    """The motion of one plate, fed with its boxes. Times are monotonic seconds and never run backwards."""

    def __init__(self, box: Box, at_s: float, whole: bool = True) -> None:
        size = plate_size(box)
        x, y = box.centre
        noise = ((JITTER if whole else CUT_JITTER) * size) ** 2 + 1.0
        rate = (START_RATE * size) ** 2
        self._x = _Axis(x, 0.0, noise, 0.0, rate)
        self._y = _Axis(y, 0.0, noise, 0.0, rate)
        size_jitter = SIZE_JITTER if whole else CUT_JITTER
        self._size = _Axis(math.log(size), 0.0, size_jitter**2, 0.0, START_GROWTH**2)
        self._whole = whole
        self._log_ratio = _log_ratio(box)
        self._at_s = at_s

    @property
    def size(self) -> float:
        """Smoothed plate size in pixels."""
        return math.exp(self._size.value)

    def stretch(self, across: float, down: float) -> None:
        """From now on pictures are so many times as wide and as high."""
        self._x.stretch(across)
        self._y.stretch(down)
        self._size.value += math.log(across * down) / 2
        self._log_ratio += math.log(across / down)

    def _acceleration(self) -> float:
        speed = math.hypot(self._x.rate, self._y.rate)
        return ACCELERATION * self.size + PERSPECTIVE * speed

    def predict(self, at_s: float) -> Prediction:
        """Where the plate should be at `at_s`."""
        dt = max(0.0, at_s - self._at_s)
        acceleration = self._acceleration()
        x, var_x, _, _ = self._x.predicted(dt, acceleration)
        y, var_y, _, _ = self._y.predicted(dt, acceleration)
        log_size, var_size, _, _ = self._size.predicted(dt, GROWTH_ACCELERATION)
        noise = (JITTER * self.size) ** 2 + 1.0
        return Prediction(
            x,
            y,
            log_size,
            self._log_ratio,
            self.size,
            var_x + noise,
            var_y + noise,
            var_size + SIZE_JITTER**2,
            self._whole,
        )

    def update(self, box: Box, at_s: float, whole: bool = True) -> None:
        """The plate was seen in `box` at `at_s`; `whole` says that the edge of the picture did not cut it."""
        dt = max(0.0, at_s - self._at_s)
        acceleration = self._acceleration()
        size = plate_size(box)
        jitter = JITTER if whole else CUT_JITTER
        noise = (jitter * size) ** 2 + 1.0
        x, y = box.centre
        self._x.update(x, noise, dt, acceleration)
        self._y.update(y, noise, dt, acceleration)
        self._size.update(
            math.log(size), (SIZE_JITTER if whole else CUT_JITTER) ** 2, dt, 0.0 if not whole else GROWTH_ACCELERATION
        )
        if whole:
            # The first whole sight of a plate that came in cut says what its shape is.
            self._log_ratio += (RATIO_GAIN if self._whole else 1.0) * (_log_ratio(box) - self._log_ratio)
            self._whole = True
        self._at_s = at_s


def _log_ratio(box: Box) -> float:
    return math.log(max(1.0, box.width) / max(1.0, box.height))
