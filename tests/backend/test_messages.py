from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import pytest

from lpr import wire
from lpr.backend.messages import UnreadableMessageError, jpeg_size, understand
from lpr.domain.choices import ImageMode, PayloadShape
from lpr.domain.clock import Instant
from lpr.domain.events import (
    AgentState,
    CameraState,
    CameraStatus,
    ClockStatus,
    ErrorCode,
    ErrorRaised,
    ProcessingStatus,
    QueueStatus,
    Severity,
)
from tests.backend.helpers import HAPPENED_AT, detection, message, picture


@pytest.mark.parametrize("payload", list(PayloadShape))
@pytest.mark.parametrize("images", list(ImageMode))
def test_what_the_agent_makes_is_understood_without_a_remark(payload: PayloadShape, images: ImageMode) -> None:
    event = detection()
    read = understand(
        wire.PLATE_DETECTED,
        message(images=images, payload=payload, event=event),
        agent_id="gate-nuc-01",
        boot_id="boot-1",
    )
    assert read.remarks == ()
    assert (read.agent_id, read.event_id, read.boot_id, read.attempt) == ("gate-nuc-01", "event-1", "boot-1", 1)
    assert read.timestamp == "2026-11-23T01:02:03.456Z"
    assert read.data["licensePlate"] == "59-X1 123.45"
    assert read.data["gateName"] == "Cổng chính"
    assert read.sequence == (1 if payload is PayloadShape.MESSAGE else None)
    if images is ImageMode.NONE:
        assert read.plate_image is None
        assert read.original_image is None
    else:
        assert event.original_image is not None
        assert read.plate_image == event.plate_image.data
        assert read.original_image == event.original_image.data
    assert "processedImage" not in read.data


def test_a_status_of_the_agent_is_understood_without_a_remark() -> None:
    status = ProcessingStatus(
        occurred_at=Instant(HAPPENED_AT, 1.0),
        state=AgentState.PROCESSING,
        active_gates=("GATE_001",),
        processed_count=3,
        error_count=0,
        uptime_s=12.0,
        memory_percent=40.0,
        cpu_percent=120.0,
        agent_version="0.1.0",
        device="CPU",
        cameras=(
            CameraStatus(
                camera_id="CAM_001",
                gate_id="GATE_001",
                state=CameraState.RUNNING,
                analysed_fps=8.0,
                last_frame_at=datetime.now(UTC),
            ),
            CameraStatus(
                camera_id="CAM_002",
                gate_id="GATE_001",
                state=CameraState.CONNECTING,
                analysed_fps=0.0,
                last_frame_at=None,
            ),
        ),
        queue=QueueStatus(pending=0, bytes=0, oldest_age_s=0.0, dead_letters=0),
        clock=ClockStatus(synchronised=True, offset_ms=None),
    )
    read = understand(wire.PROCESSING_STATUS, message(event=status), agent_id="a")
    assert read.remarks == ()
    assert read.data["cameras"][1]["lastFrameAt"] is None


def test_the_pictures_of_an_unreadable_plate_are_taken_from_its_details() -> None:
    error = ErrorRaised(
        occurred_at=Instant(HAPPENED_AT, 1.0),
        code=ErrorCode.PLATE_UNREADABLE,
        message="A vehicle passed and its plate could not be read",
        severity=Severity.LOW,
        gate_id="GATE_001",
        details={"cameraId": "CAM_001", "bestGuess": "59X1"},
        plate_image=picture(120, 90),
        original_image=picture(320, 240),
    )
    read = understand(wire.ERROR, message(event=error), agent_id="a")
    assert read.remarks == ()
    assert read.plate_image == error.plate_image.data if error.plate_image else False
    assert read.data["details"] == {"cameraId": "CAM_001", "bestGuess": "59X1"}


@pytest.mark.parametrize("payload", [None, [], "text", 7, {}, {"eventId": ""}, {"eventId": 7}], ids=repr)
def test_what_has_no_event_id_cannot_be_stored(payload: object) -> None:
    with pytest.raises(UnreadableMessageError):
        understand(wire.PLATE_DETECTED, payload, agent_id="a")


def _changed(path: str, value: Any) -> dict[str, Any]:
    body = message()
    *parents, last = path.split(".")
    place = body
    for parent in parents:
        place[parent] = dict(place[parent])
        place = place[parent]
    if value is KeyError:
        del place[last]
    else:
        place[last] = value
    return body


@pytest.mark.parametrize(
    ("path", "value", "remark"),
    [
        ("type", "error", "type must be the event's name license_plate_detected, got 'error'"),
        ("contract", 2, "contract must be one of 1, got 2"),
        ("sequence", -1, "sequence must be a whole number from 0, got -1"),
        ("timestamp", "2026-11-23 01:02", "timestamp must be UTC with milliseconds"),
        ("timestamp", "2026-13-23T01:02:03.456Z", "timestamp must be a time that exists"),
        ("delivery", KeyError, "delivery is missing"),
        ("delivery.attempt", 0, "delivery.attempt must be a whole number from 1, got 0"),
        ("data.action", "auto", "data.action must be one of entry, exit, got 'auto'"),
        ("data.confidence", 1.5, "data.confidence must be a number from 0 to 1, got 1.5"),
        ("data.confidence", float("nan"), "data.confidence must be a number from 0 to 1, got nan"),
        ("data.confidence", True, "data.confidence must be a number from 0 to 1, got true"),
        ("data.licensePlate", KeyError, "data.licensePlate is missing"),
        ("data.plate.text", "59X1 12345", "data.plate.text must be A-Z, 0-9 and Đ without separators"),
        ("data.plate.characterConfidences", [0.5, 2], "data.plate.characterConfidences must be a list of numbers"),
        ("data.deviceInfo.cameraId", None, "data.deviceInfo.cameraId must be a text that is not empty, got nothing"),
        ("data.boundingBox.width", 900, "data.boundingBox must lie inside the originalImage of 320 x 240 pixels"),
        ("data.processedImage", KeyError, "data.processedImage is missing"),
        ("data.processedImage", "not base64!", "data.processedImage must be base64"),
        ("data.originalImage", base64.b64encode(b"GIF89a").decode(), "data.originalImage must be a JPEG"),
        ("data.originalImage", {"x": 1}, "data.originalImage must be base64 or binary, got an object"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_not_as_the_contract_says_is_named(path: str, value: Any, remark: str) -> None:
    read = understand(wire.PLATE_DETECTED, _changed(path, value), agent_id="a")
    assert [each for each in read.remarks if each.startswith(remark)], read.remarks


def test_a_picture_with_a_data_prefix_is_taken_and_remarked() -> None:
    body = _changed("data.processedImage", "data:image/jpeg;base64," + message()["data"]["processedImage"])
    read = understand(wire.PLATE_DETECTED, body, agent_id="a")
    assert read.remarks == ("data.processedImage must be base64 without a data: prefix",)
    assert read.plate_image == detection().plate_image.data


def test_an_event_that_the_contract_does_not_know_is_remarked() -> None:
    assert "surprise is no event of the contract" in understand("surprise", {"eventId": "e"}, agent_id="a").remarks


def test_jpeg_size_reads_the_header_and_refuses_other_bytes() -> None:
    jpeg = picture(123, 45).data
    assert jpeg_size(jpeg) == (123, 45)
    for broken in (b"", b"\xff\xd8\xff\xd9", jpeg[:-20], b"\x89PNG" + jpeg):
        assert jpeg_size(broken) is None
