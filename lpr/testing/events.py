"""A vehicle that passed, made up: for tests and measurements that begin where an event is recorded."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lpr.domain.clock import Instant
from lpr.domain.events import Jpeg, PlateDetected
from lpr.domain.geometry import Box
from lpr.domain.passage import Action
from lpr.domain.plate import PlateText, VehicleType


def detection(
    plate: str, /, *, at: Instant, plate_image: Jpeg, original_image: Jpeg | None, **changes: Any
) -> PlateDetected:
    """A car that `plate`, as it is shown to people, is read of at `at`, coming in; `changes` are other fields."""
    text = plate.replace("-", "").replace(".", "").replace(" ", "")
    event = PlateDetected(
        occurred_at=at,
        passage_id=f"passage-{text}",
        gate_id="GATE_001",
        gate_name="Cổng chính",
        camera_id="CAM_001",
        camera_name="Camera Gate 1",
        camera_host="192.168.1.100",
        action=Action.ENTRY,
        plate=PlateText(text, text, plate, 0.97, (0.97,) * len(text), 1, "car", True, "Hà Nội"),
        vehicle_type=VehicleType.CAR,
        bounding_box=Box(100.0, 80.0, 60.0, 40.0),
        plate_image=plate_image,
        original_image=original_image,
        processing_ms=84.0,
        first_seen_at=at.wall,
        last_seen_at=at.wall,
        frames_read=5,
    )
    return replace(event, **changes)
