"""What goes out: every field of the contract, and JSON whatever the events hold."""

from __future__ import annotations

import base64
import copy
import json
import math
from datetime import timedelta
from typing import Any, cast

import numpy as np
import pytest

from lpr import wire
from lpr.domain.choices import ImageMode, PayloadShape
from lpr.domain.errors import ProtocolError
from lpr.domain.events import (
    ClockStatus,
    ErrorCode,
    Jpeg,
    Weather,
)
from lpr.domain.geometry import Box
from lpr.domain.plate import Correction, PlateText
from tests.wire.samples import EVENT_ID, FIRST, PLATE_JPEG, SCENE_JPEG, WHEN, body_of, detection, failure, sent, status


def test_a_detection_carries_every_field_of_the_guide_and_of_the_contract() -> None:
    assert sent(detection()) == {
        "type": "license_plate_detected",
        "timestamp": "2026-11-23T01:02:03.456Z",
        "data": {
            "licensePlate": "59-X1 123.45",
            "confidence": 0.97,
            "gateId": "GATE_001",
            "gateName": "Cổng chính",
            "action": "entry",
            "processedImage": base64.b64encode(PLATE_JPEG.data).decode(),
            "originalImage": base64.b64encode(SCENE_JPEG.data).decode(),
            "boundingBox": {"x": 100, "y": 201, "width": 120, "height": 80},
            "processingTime": 188,
            "deviceInfo": {"cameraId": "CAM_001", "deviceName": "Camera Gate 1", "ipAddress": "192.168.1.100"},
            "plate": {
                "text": "59X112345",
                "raw": "59X1I2345",
                "corrections": [{"position": 4, "read": "I", "corrected": "1"}],
                "characterConfidences": [0.9, 0.95, 1.0],
                "rows": 2,
                "kind": "motorcycle",
                "province": "TP. Hồ Chí Minh",
                "valid": True,
                "colour": "yellow",
            },
            "vehicleType": "motorcycle",
            "passageId": "passage-1",
            "firstSeenAt": "2026-11-23T01:02:02.456Z",
            "lastSeenAt": "2026-11-23T01:02:03.456Z",
            "framesRead": 7,
        },
        "eventId": EVENT_ID,
        "agentId": "gate-nuc-01",
        "bootId": "boot-1",
        "sequence": 1234,
        "contract": 1,
        "delivery": {"attempt": 1, "replayed": False, "sentAt": "2026-11-23T01:02:03.470Z", "ageMs": 14},
    }


def test_a_status_carries_every_field_and_the_last_sequence_given() -> None:
    message = sent(status())
    assert message["sequence"] == 1234
    assert message["data"] == {
        "status": "processing",
        "activeGates": ["GATE_001"],
        "processedCount": 12,
        "errorCount": 1,
        "uptime": 3601,
        "memoryUsage": 41.3,
        "cpuUsage": 33.0,
        "agentVersion": "0.1.0",
        "device": "CPU",
        "cameras": [
            {
                "cameraId": "CAM_001",
                "gateId": "GATE_001",
                "state": "running",
                "analysedFps": 7.96,
                "lastFrameAt": "2026-11-23T01:02:03.456Z",
            }
        ],
        "queue": {"pending": 3, "bytes": 300000, "oldestAgeSeconds": 12.3, "deadLetters": 1},
        "clock": {"synchronised": True, "offsetMs": None},
    }


def test_an_error_carries_the_guides_fields_and_its_details() -> None:
    assert sent(failure())["data"] == {
        "errorCode": "CAMERA_DISCONNECTED",
        "message": "Camera Gate 1 gives no pictures",
        "gateId": "GATE_001",
        "severity": "high",
        "timestamp": "2026-11-23T01:02:03.456Z",
        "details": {"cameraId": "CAM_001", "lastResponse": "404"},
    }


def test_an_unreadable_plate_carries_its_pictures_and_scaled_box_in_the_details() -> None:
    event = failure(
        code=ErrorCode.PLATE_UNREADABLE,
        details={"licensePlate": "29A-1?", "boundingBox": {"x": 10, "y": 20, "width": 30, "height": 40}},
        plate_image=PLATE_JPEG,
        original_image=SCENE_JPEG,
    )
    details = sent(event, original_scale=0.5)["data"]["details"]
    assert details["processedImage"] == base64.b64encode(PLATE_JPEG.data).decode()
    assert details["originalImage"] == base64.b64encode(SCENE_JPEG.data).decode()
    assert details["boundingBox"] == {"x": 5, "y": 10, "width": 15, "height": 20}
    assert details["licensePlate"] == "29A-1?"


@pytest.mark.parametrize(
    ("images", "plate", "original"),
    [
        (ImageMode.BASE64, base64.b64encode(PLATE_JPEG.data).decode(), base64.b64encode(SCENE_JPEG.data).decode()),
        (ImageMode.BINARY, PLATE_JPEG.data, SCENE_JPEG.data),
        (ImageMode.NONE, "", ""),
    ],
)
def test_pictures_travel_as_the_back_end_takes_them_and_their_fields_are_always_there(
    images: ImageMode, plate: str | bytes, original: str | bytes
) -> None:
    data = sent(detection(), images=images)["data"]
    assert data["processedImage"] == plate
    assert data["originalImage"] == original


def test_an_original_image_that_is_not_sent_is_empty_text_and_says_why() -> None:
    data = sent(detection(), original_image=None, original_omitted="too_large")["data"]
    assert data["originalImage"] == ""
    assert data["originalImageOmitted"] == "too_large"
    assert "originalImageOmitted" not in sent(detection())["data"]


def test_the_box_is_scaled_to_the_picture_that_is_sent_and_the_body_stays_as_it_was() -> None:
    body = body_of(detection())
    before = copy.deepcopy(body)
    message = wire.message(body, FIRST, plate_image=PLATE_JPEG, original_image=SCENE_JPEG, original_scale=1 / 3)
    assert message["data"]["boundingBox"] == {"x": 33, "y": 67, "width": 40, "height": 27}
    assert body == before


def test_the_data_shape_is_the_guides_data_with_what_delivery_needs() -> None:
    flat, whole = sent(detection(), payload=PayloadShape.DATA), sent(detection())
    added = {"eventId": EVENT_ID, "timestamp": whole["timestamp"], "delivery": whole["delivery"]}
    assert flat == {**whole["data"], **added}


def test_weather_is_there_only_where_it_is_known() -> None:
    assert "weather" not in sent(detection())["data"]
    assert "weather" not in sent(detection(weather=Weather()))["data"]
    weather = Weather(condition="mưa", temperature=27.5, humidity=90.0)
    expected = {"condition": "mưa", "temperature": 27.5, "humidity": 90.0}
    assert sent(detection(weather=weather))["data"]["weather"] == expected


def test_numbers_that_json_cannot_hold_never_get_out() -> None:
    nan, infinity = math.nan, math.inf
    plate = PlateText("29A1", "29A1", "29A-1", nan, (nan, infinity, -1.0), 1, "car", True)
    event = detection(plate=plate, processing_ms=infinity, bounding_box=Box(nan, 0.0, infinity, 1.0))
    data = json.loads(wire.to_json(body_of(event)))["data"]
    assert data["confidence"] == 0.0
    assert data["plate"]["characterConfidences"] == [0.0, 0.0, 0.0]
    assert data["processingTime"] == 0
    assert data["boundingBox"] == {"x": 0.0, "y": 0.0, "width": 0.0, "height": 1.0}
    assert wire.to_json(body_of(status(cpu_percent=nan, clock=ClockStatus(synchronised=False, offset_ms=infinity))))


def test_a_detection_is_json_whatever_its_fields_hold() -> None:
    half = "\ud83d"
    # What a decoder of networks might let slip: numbers that are numpy's.
    one, yes, likely = cast("int", np.int64(1)), cast("bool", np.bool_(True)), cast("float", np.float32(0.5))
    plate = PlateText(half, half, half, likely, (likely,), one, half, yes, half, (Correction(one, half, half),))
    texts = ("gate_id", "gate_name", "camera_id", "camera_name", "camera_host", "passage_id")
    event = detection(plate=plate, frames_read=one, **dict.fromkeys(texts, half))
    text = wire.to_json(body_of(event))
    assert text.encode()
    data = json.loads(text)["data"]
    assert (data["gateName"], data["framesRead"], data["plate"]["rows"], data["plate"]["valid"]) == ("?", 1, 1, True)
    assert data["plate"]["corrections"] == [{"position": 1, "read": "?", "corrected": "?"}]


def test_details_of_any_kind_become_json() -> None:
    details = {
        "nan": math.nan,
        "numpy": np.float32(1.5),
        "array": np.array([1, 2]),
        "when": WHEN,
        "code": ErrorCode.DISK_LOW,
        "half a pair": "\ud83d",
        7: {1},
        "bytes": b"\x00",
    }
    body = json.loads(wire.to_json(body_of(failure(details=details))))
    assert body["data"]["details"] == {
        "nan": None,
        "numpy": 1.5,
        "array": [1, 2],
        "when": "2026-11-23T01:02:03.456Z",
        "code": "DISK_LOW",
        "half a pair": "?",
        "7": [1],
        "bytes": "AA==",
    }


class ListOfItsOwn(list[Any]):
    """No list exactly, which is told apart quickly, but one all the same."""


@pytest.mark.parametrize("kind", [list, ListOfItsOwn])
def test_details_nested_without_end_are_cut(kind: type[list[Any]]) -> None:
    endless: dict[str, Any] = {}
    endless["again"] = kind([endless])
    round_and_round = kind()
    round_and_round.append(round_and_round)
    for details in (endless, {"list": round_and_round}):
        written = wire.to_json(body_of(failure(details=details)))
        assert "…" in written
        assert len(written) < 2000


def test_vietnamese_text_is_stored_as_it_is_and_read_back_unharmed() -> None:
    text = wire.to_json(body_of(detection()))
    assert "Cổng chính" in text
    assert wire.from_json(text) == body_of(detection())


def test_a_stored_text_is_what_any_other_encoder_would_write() -> None:
    values = [
        'Đ\u2028\x7f\x00\b\n"/\\',
        "🚗",
        -0.0,
        0.1,
        123456.789,
        2**70,
        -3,
        True,
        None,
        [],
        {},
        {"": ["a", {"b": 1}]},
    ]
    body = body_of(failure(details={"values": values}))
    assert wire.to_json(body) == json.dumps(body, separators=(",", ":"), ensure_ascii=False)
    extremes = {"large": 1e300, "small": 5e-324, "whole": 1e16}
    assert wire.from_json(wire.to_json(extremes)) == extremes


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3"])
def test_a_stored_text_that_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(ProtocolError, match="stored message"):
        wire.from_json(text)


@pytest.mark.parametrize("images", list(ImageMode))
def test_the_size_of_a_message_is_what_its_json_and_attachments_take(images: ImageMode) -> None:
    message = sent(detection(plate_image=Jpeg(bytes(3_000), 120, 40)), images=images)
    size = wire.message_size(message)
    attached = sum(len(value) for value in message["data"].values() if isinstance(value, bytes))
    bare = {**message, "data": {k: v for k, v in message["data"].items() if not isinstance(v, bytes)}}
    json_size = len(json.dumps(bare, separators=(",", ":")))
    assert json_size + attached <= size <= json_size + attached + 200
    assert wire.base64_size(4) == len(base64.b64encode(b"1234"))


def test_times_of_a_clock_that_was_not_right_are_said_to_be_so_beside_the_attempt_and_nowhere_else() -> None:
    body = wire.moved_body(body_of(detection()), timedelta(hours=1), clock_synchronised=False)
    message = wire.message(body, FIRST, plate_image=PLATE_JPEG, original_image=SCENE_JPEG)
    assert message["delivery"]["clockSynchronised"] is False
    assert "clockSynchronised" not in message
    assert message["timestamp"] == "2026-11-23T02:02:03.456Z"
    assert (message["data"]["firstSeenAt"], message["data"]["lastSeenAt"]) == (
        "2026-11-23T02:02:02.456Z",
        "2026-11-23T02:02:03.456Z",
    )
    assert "clockSynchronised" not in sent(detection())["delivery"]


def test_what_was_dropped_is_told_by_type_count_and_sequence_and_can_be_read_back() -> None:
    overflow = wire.Overflow(
        cause="max_bytes", statuses=1, original_images=40, errors=3, lost=((3, 3), (5, 6)), without_original=((1, 40),)
    )
    details = wire.overflow_details(overflow)
    assert details == {
        "cause": "max_bytes",
        "dropped": {"error": 3, "originalImages": 40, "processing_status": 1},
        "sequences": [[3, 3], [5, 6]],
        "sequencesWithoutOriginalImage": [[1, 40]],
    }
    assert wire.parse_overflow_details(json.loads(json.dumps(details))) == overflow


@pytest.mark.parametrize("off_us", [-400, -1, 1, 400])
def test_times_are_moved_by_whole_milliseconds(off_us: int) -> None:
    body = body_of(detection())
    by = timedelta(seconds=30)
    moved = wire.moved_body(body, by + timedelta(microseconds=off_us), clock_synchronised=True)
    assert moved == wire.moved_body(body, by, clock_synchronised=True)
