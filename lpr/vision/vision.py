"""Readers for cameras: which networks, on which device, tested before they are trusted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from lpr.domain.errors import VisionError
from lpr.vision.base import PlateDetector, StageTimer
from lpr.vision.detector import OpenVinoDetector
from lpr.vision.engine import Engine, EngineOptions, Network
from lpr.vision.golden import Golden, check_detector, check_recognizer, load_golden
from lpr.vision.models import model_path
from lpr.vision.plate_reader import PlateReader
from lpr.vision.recognizer import OpenVinoRecognizer

log = structlog.get_logger("vision")


class Detail(StrEnum):
    """How finely a frame is looked at; the same network at another input size."""

    FAST = "fast"
    """320 x 320: plates from about 1/13 of the frame's width on."""
    FAR = "far"
    """640 x 384: plates of half that width, at 2.4 times the cost."""
    UPRIGHT = "upright"
    """384 x 640. What is looked at `FAR` is looked at like this where it is much higher than wide, as a phone's clip is
    and a camera's that hangs on its side: in the other input it would be half as large, and a third of that used."""


SIZES: dict[Detail, tuple[int, int]] = {Detail.FAST: (320, 320), Detail.FAR: (640, 384), Detail.UPRIGHT: (384, 640)}
"""Width and height of the detector's input in pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VisionOptions:
    """What to read with, and how.

    `engine` is how networks run. `models` is the folder that holds them and their golden picture, None for the
    package's own. `min_confidence` is the detector's threshold, None for the one stored with it. `views` is how many
    crops of each plate are read and averaged (1..3).
    """

    models: Path | None = None
    engine: EngineOptions = field(default_factory=EngineOptions)
    min_confidence: float | None = None
    views: int = 1


class Vision:
    """Gives each camera its reader; networks of one device and size are shared. Use as an async context manager."""

    def __init__(self, options: VisionOptions | None = None, *, timer: StageTimer | None = None) -> None:
        self.options = options or VisionOptions()
        self.engine = Engine(self.options.engine)
        self._timer = timer
        self._golden: Golden | None = None
        self._readers: dict[tuple[str, Detail], PlateReader] = {}
        self._opening = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def reader(self, device: str = "AUTO", detail: Detail = Detail.FAST) -> PlateReader:
        """The reader for cameras on `device` (`CPU`, `GPU`, `NPU`, `AUTO`, ...), tested on the golden picture.

        The first call compiles, in a worker thread. Where a network from the cache fails the test, the cache is wiped
        and it is compiled anew once. Raises `DeviceNotFoundError`, or `VisionError` where the networks are missing or
        the device computes them wrongly.
        """
        key = (device.upper(), detail)
        async with self._opening:
            if key not in self._readers:
                self._readers[key] = await self._open(*key)
            return self._readers[key]

    def devices_of(self, reader: PlateReader) -> dict[str, tuple[str, ...]]:
        """Where the networks of `reader` really run, by network (`detector`, `recognizer`)."""
        return {network.name: network.devices for network in networks_of(reader)}

    async def close(self) -> None:
        """Wait for what is under way, then let everything go."""
        self._readers.clear()
        await asyncio.to_thread(self.engine.close)

    async def _open(self, device: str, detail: Detail) -> PlateReader:
        networks = await self._load(device, detail)
        try:
            await self._test(*networks)
        except VisionError as error:
            if self.engine.options.cache_dir is None:
                raise self._wrong(error, device) from error
            log.warning("the cache of compiled networks is wiped", reason=str(error))
            for network in networks:
                self.engine.forget(network)
            self.engine.wipe_cache()
            networks = await self._load(device, detail)
            try:
                await self._test(*networks)
            except VisionError as again:
                raise self._wrong(again, device) from again
        for network in networks:
            log.info(
                "network ready",
                network=network.name,
                version=network.info.get("version", "?"),
                size="x".join(map(str, network.size)),
                devices=", ".join(network.devices),
            )
        upright = partial(self._upright, device) if detail is Detail.FAR else None
        return self._build(*networks, timer=self._timer, upright=upright)

    async def _upright(self, device: str) -> PlateDetector:
        return (await self.reader(device, Detail.UPRIGHT)).detector

    async def _load(self, device: str, detail: Detail) -> tuple[Network, Network]:
        load, folder = self.engine.load, self.options.models
        detector = await asyncio.to_thread(load, model_path("detector", folder), device, SIZES[detail])
        return detector, await asyncio.to_thread(load, model_path("recognizer", folder), device)

    def _build(
        self,
        detector: Network,
        recognizer: Network,
        *,
        timer: StageTimer | None,
        upright: Callable[[], Awaitable[PlateDetector]] | None = None,
    ) -> PlateReader:
        least = self.options.min_confidence
        return PlateReader(
            OpenVinoDetector(self.engine, detector, min_confidence=least, timer=timer, upright=upright),
            OpenVinoRecognizer(recognizer),
            self.engine.workers,
            timer=timer,
            views=self.options.views,
        )

    async def _test(self, detector: Network, recognizer: Network) -> None:
        """Off the record: what the golden picture takes is no frame's time."""
        if self._golden is None:
            self._golden = load_golden(self.options.models)
        reader = self._build(detector, recognizer, timer=None)
        await check_detector(self._golden, reader.detector)
        await check_recognizer(self._golden, reader)

    @staticmethod
    def _wrong(error: VisionError, device: str) -> VisionError:
        return VisionError(
            f"{error} (device {device})",
            hint="the device or its driver computes the networks wrongly: update the driver, or use device CPU",
        )


def networks_of(reader: PlateReader) -> tuple[Network, ...]:
    """The compiled networks behind `reader`, where it is made of such."""
    parts = (reader.detector, reader.recognizer)
    return tuple(part.network for part in parts if isinstance(part, OpenVinoDetector | OpenVinoRecognizer))
