"""Which device reads for which camera, and what does its work where it fails."""

from __future__ import annotations

import structlog

from lpr.agent.board import Board
from lpr.agent.publisher import Publisher
from lpr.agent.settings import detail_of
from lpr.config import AgentConfig, CameraConfig
from lpr.domain.errors import VisionError
from lpr.domain.events import ErrorCode, Severity
from lpr.metrics import Metrics
from lpr.vision.plate_reader import PlateReader
from lpr.vision.vision import Detail, Vision

FALLBACK_DEVICE = "CPU"
"""What is in every machine."""

log = structlog.get_logger("agent")


class Readers:
    """Compiles the networks that cameras need. A driver that an update broke must not leave the gate blind."""

    def __init__(self, vision: Vision, board: Board, publisher: Publisher, metrics: Metrics) -> None:
        self._vision = vision
        self._board = board
        self._publisher = publisher
        self._metrics = metrics

    async def of(self, config: AgentConfig, camera: CameraConfig) -> PlateReader:
        """The reader of a camera. Raises `VisionError` where `FALLBACK_DEVICE` cannot read either."""
        device, detail = config.device_of(camera), detail_of(config, camera)
        if device in self._board.fallbacks:
            device = FALLBACK_DEVICE
        try:
            reader = await self._vision.reader(device, detail)
        except VisionError as error:
            if device == FALLBACK_DEVICE:
                raise
            reader = await self._fall_back(device, detail, error)
        self._note_devices(camera, reader)
        return reader

    async def instead(self, config: AgentConfig, camera: CameraConfig, error: VisionError) -> PlateReader | None:
        """Another reader for a camera whose device has stopped working; None where there is none."""
        if self._board.devices.get(camera.id) == FALLBACK_DEVICE:
            return None
        try:
            reader = await self._fall_back(config.device_of(camera), detail_of(config, camera), error)
        except VisionError as again:
            log.error("no other device reads either", camera=camera.id, error=again.message, hint=again.hint)
            return None
        self._note_devices(camera, reader)
        return reader

    async def _fall_back(self, device: str, detail: Detail, error: VisionError) -> PlateReader:
        """The networks on `FALLBACK_DEVICE`, and word of it. Raises `VisionError` where they do not work there either:
        then it is not the device.
        """
        reader = await self._vision.reader(FALLBACK_DEVICE, detail)
        if device not in self._board.fallbacks:
            self._board.fallbacks.add(device)
            await self._publisher.raise_error(
                ErrorCode.DEVICE_FALLBACK,
                f"{error.message}; {FALLBACK_DEVICE} does its work",
                severity=Severity.HIGH,
                details={"device": device, "executes": FALLBACK_DEVICE, "hint": error.hint or ""},
            )
        return reader

    def _note_devices(self, camera: CameraConfig, reader: PlateReader) -> None:
        devices = self._vision.devices_of(reader)
        for network, names in devices.items():
            self._metrics.device(network, ",".join(names))
        self._board.devices[camera.id] = ",".join(dict.fromkeys(name for names in devices.values() for name in names))
