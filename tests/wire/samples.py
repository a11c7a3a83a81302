"""One event of each kind, its message, and anything that a back-end may send."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from lpr import wire
from lpr.domain.clock import Instant
from lpr.domain.events import (
    AgentState,
    CameraState,
    CameraStatus,
    ClockStatus,
    ErrorCode,
    ErrorRaised,
    Event,
    Jpeg,
    PlateDetected,
    ProcessingStatus,
    QueueStatus,
    Severity,
)
from lpr.domain.geometry import Box
from lpr.domain.passage import Action
from lpr.domain.plate import Correction, PlateColour, PlateText, VehicleType

WHEN = datetime(2026, 11, 23, 1, 2, 3, 456789, tzinfo=UTC)
NOW = Instant(WHEN, 100.0)
PLATE_JPEG = Jpeg(b"\xff\xd8plate\xff\xd9", 120, 40)
SCENE_JPEG = Jpeg(b"\xff\xd8scene\xff\xd9", 1920, 1080)
EVENT_ID = "01930000-0000-7000-8000-000000000001"


def detection(**changes: Any) -> PlateDetected:
    fields: dict[str, Any] = {
        "occurred_at": NOW,
        "passage_id": "passage-1",
        "gate_id": "GATE_001",
        "gate_name": "Cổng chính",
        "camera_id": "CAM_001",
        "camera_name": "Camera Gate 1",
        "camera_host": "192.168.1.100",
        "action": Action.ENTRY,
        "plate": PlateText(
            text="59X112345",
            raw="59X1I2345",
            display="59-X1 123.45",
            confidence=0.97,
            character_confidences=(0.9, 0.95, 1.0),
            rows=2,
            kind="motorcycle",
            valid=True,
            province="TP. Hồ Chí Minh",
            corrections=(Correction(4, "I", "1"),),
            vehicle_type=VehicleType.MOTORCYCLE,
        ),
        "vehicle_type": VehicleType.MOTORCYCLE,
        "bounding_box": Box(100.4, 200.6, 120.0, 80.0),
        "plate_image": PLATE_JPEG,
        "original_image": SCENE_JPEG,
        "processing_ms": 187.6,
        "first_seen_at": WHEN - timedelta(seconds=1),
        "last_seen_at": WHEN,
        "frames_read": 7,
        "colour": PlateColour.YELLOW,
    }
    return PlateDetected(**{**fields, **changes})


def failure(**changes: Any) -> ErrorRaised:
    fields: dict[str, Any] = {
        "occurred_at": NOW,
        "code": ErrorCode.CAMERA_DISCONNECTED,
        "message": "Camera Gate 1 gives no pictures",
        "severity": Severity.HIGH,
        "gate_id": "GATE_001",
        "details": {"cameraId": "CAM_001", "lastResponse": "404"},
    }
    return ErrorRaised(**{**fields, **changes})


def status(**changes: Any) -> ProcessingStatus:
    fields: dict[str, Any] = {
        "occurred_at": NOW,
        "state": AgentState.PROCESSING,
        "active_gates": ("GATE_001",),
        "processed_count": 12,
        "error_count": 1,
        "uptime_s": 3600.7,
        "memory_percent": 41.26,
        "cpu_percent": 33.0,
        "agent_version": "0.1.0",
        "device": "CPU",
        "cameras": (
            CameraStatus(
                camera_id="CAM_001",
                gate_id="GATE_001",
                state=CameraState.RUNNING,
                analysed_fps=7.96,
                last_frame_at=WHEN,
            ),
        ),
        "queue": QueueStatus(pending=3, bytes=300_000, oldest_age_s=12.34, dead_letters=1),
        "clock": ClockStatus(synchronised=True, offset_ms=None),
    }
    return ProcessingStatus(**{**fields, **changes})


def body_of(event: Event, sequence: int = 1234) -> dict[str, Any]:
    return wire.event_body(event, event_id=EVENT_ID, agent_id="gate-nuc-01", boot_id="boot-1", sequence=sequence)


FIRST = wire.Delivery(attempt=1, replayed=False, sent_at=WHEN + timedelta(milliseconds=14), age_ms=14.2)


def sent(event: Event, **options: Any) -> dict[str, Any]:
    pictures = (
        {}
        if isinstance(event, ProcessingStatus)
        else {"plate_image": event.plate_image, "original_image": event.original_image}
    )
    chosen = {"plate_image": None, "original_image": None, **pictures, **options}
    return wire.message(body_of(event), FIRST, **chosen)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
