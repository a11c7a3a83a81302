"""`PlateDetector` on OpenVINO."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lpr.domain.errors import VisionError
from lpr.domain.frame import Image
from lpr.metrics import Stage
from lpr.vision.base import Detection, PlateDetector, StageTimer
from lpr.vision.decode import decode
from lpr.vision.engine import Engine, Network, Outputs
from lpr.vision.preprocess import Letterbox, letterbox

OUTPUT = "plates"
DEFAULT_CONFIDENCE = 0.4
HIGH: Final = 1.2
"""Height by width from which on a picture is better laid into an upright input."""


class OpenVinoDetector:
    """Finds plates with one compiled network. `min_confidence` None takes the threshold stored with the weights.

    `upright` gives the one that pictures are left to which are `HIGH`; it is asked once, with the first of them.
    """

    def __init__(
        self,
        engine: Engine,
        network: Network,
        *,
        min_confidence: float | None = None,
        timer: StageTimer | None = None,
        upright: Callable[[], Awaitable[PlateDetector]] | None = None,
    ) -> None:
        self.network = network
        self._load_upright = upright
        self._for_upright: PlateDetector | None = None
        stored = float(network.info.get("confidence", DEFAULT_CONFIDENCE))
        self.min_confidence = stored if min_confidence is None else min_confidence
        self._workers, self._timer = engine.workers, timer

    async def detect(self, image: Image, min_confidence: float | None = None) -> tuple[Detection, ...]:
        """The plates in `image`, surest first; see `PlateDetector`."""
        if self._load_upright is not None and image.shape[0] > HIGH * image.shape[1]:
            if self._for_upright is None:
                self._for_upright = await self._load_upright()
            return tuple(await self._for_upright.detect(image, min_confidence))
        loop, start = asyncio.get_running_loop(), time.perf_counter()
        scaled, place = await loop.run_in_executor(self._workers, letterbox, image, self.network.size)
        ready = time.perf_counter()
        least = self.min_confidence if min_confidence is None else min_confidence
        found = await self.network.infer(scaled, partial(self._decode, place=place, min_confidence=least))
        if self._timer is not None:
            self._timer.stage(Stage.SCALE, (ready - start) * 1000)
            self._timer.stage(Stage.DETECT, (time.perf_counter() - ready) * 1000)
        return found

    def _decode(self, outputs: Outputs, place: Letterbox, min_confidence: float) -> tuple[Detection, ...]:
        if OUTPUT not in outputs:
            raise VisionError(f"{self.network.name} has no output named {OUTPUT}, but {', '.join(outputs)}")
        raw: NDArray[np.float32] = outputs[OUTPUT]
        return decode(raw, place, min_confidence)
