"""Passages, frames and configurations for the tests of the agent."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lpr.agent.publisher import Publisher
from lpr.config import AgentConfig, CameraConfig
from lpr.domain.clock import Instant, SystemClock
from lpr.domain.frame import Frame
from lpr.domain.geometry import Box, Quad
from lpr.domain.passage import Action, Passage, PassageOutcome
from lpr.domain.plate import PlateColour, PlateRead, VehicleType
from lpr.plates.alphabet import ALPHABET, BLANK, CLASSES, SLOTS
from lpr.plates.decode import decode

CAMERA = {
    "id": "CAM_001",
    "name": "Camera Gate 1",
    "source": "rtsp://user:se:cret@192.168.1.100:554/stream",
    "gate": {"id": "GATE_001", "name": "Cổng chính"},
}


def make_config(
    data_dir: Path, *cameras: Mapping[str, Any], backend: str = "http://127.0.0.1:9", **more: Any
) -> AgentConfig:
    """A configuration with one camera where none is given; the page is off."""
    return AgentConfig.model_validate(
        {
            "agent": {"id": "gate-nuc-01", "data_dir": str(data_dir)},
            "backend": {"url": backend},
            "outbox": {"min_free_disk": 0},
            "web": {"enabled": False},
            "cameras": list(cameras) or [CAMERA],
            **more,
        }
    )


def make_passage(
    *,
    text: str = "29A12345",
    outcome: PassageOutcome = PassageOutcome.READ,
    width: int = 640,
    height: int = 360,
    box: Box | None = None,
    at: Instant | None = None,
) -> Passage:
    """A vehicle that has just passed CAM_001."""
    box = box or Box(300, 200, 104, 22)
    at = at or SystemClock().now()
    image = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    # What the recogniser would say of a clean plate: 97 % for each character, the rest spread.
    probabilities = np.full((SLOTS, CLASSES), 0.03 / (CLASSES - 1), np.float32)
    for slot in range(SLOTS):
        probabilities[slot, ALPHABET.index(text[slot]) if slot < len(text) else BLANK] = 0.97
    plate = decode(probabilities, 1)
    read = PlateRead(
        box=box,
        corners=Quad.of_box(box),
        detection_confidence=0.9,
        probabilities=probabilities,
        rows_probability=0.02,
        colour=PlateColour.WHITE,
        readable=0.99,
        sharpness=12.0,
        crop=np.full((40, 160, 3), 200, np.uint8),
        plate=plate,
    )
    return Passage(
        passage_id=str(uuid.uuid4()),
        camera_id="CAM_001",
        outcome=outcome,
        plate=plate,
        colour=PlateColour.WHITE,
        vehicle_type=VehicleType.CAR,
        action=Action.ENTRY,
        best_frame=Frame("CAM_001", 7, image, at),
        best_read=read,
        first_seen=at.plus(-1.0),
        last_seen=at,
        decided_at=at.plus(0.05),
        frames_read=6,
    )


async def publish(publisher: Publisher, passage: Passage, camera: CameraConfig) -> None:
    """As a pipeline does, but in one go."""
    prepared = await publisher.prepare(passage, camera, settled_by=passage.last_seen)
    if prepared is not None:
        await publisher.record(prepared)
