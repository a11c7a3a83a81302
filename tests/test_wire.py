"""The contract's tables, row by row, and what must hold for any value at all."""

from __future__ import annotations

import base64
import copy
import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpr import wire
from lpr.domain.choices import ImageMode, PayloadShape
from lpr.domain.clock import Instant
from lpr.domain.commands import (
    CameraSelection,
    CaptureSnapshot,
    Command,
    CommandReply,
    EventRange,
    GetStatus,
    ReplayEvents,
    ReplyStatus,
    StartProcessing,
    StopProcessing,
    UpdateConfig,
)
from lpr.domain.errors import ProtocolError
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
    Weather,
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


# --------------------------------------------------------------------------------------------------------------------
# Events


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


def test_details_nested_without_end_are_cut() -> None:
    endless: dict[str, Any] = {}
    endless["again"] = endless
    assert "…" in wire.to_json(body_of(failure(details=endless)))


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
    message = sent(detection(), images=images)
    size = wire.message_size(message)
    attached = sum(len(value) for value in message["data"].values() if isinstance(value, bytes))
    bare = {**message, "data": {k: v for k, v in message["data"].items() if not isinstance(v, bytes)}}
    json_size = len(json.dumps(bare, separators=(",", ":")))
    assert json_size + attached <= size <= json_size + attached + 200
    assert wire.base64_size(4) == len(base64.b64encode(b"1234"))


# --------------------------------------------------------------------------------------------------------------------
# What the queue says about itself


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


# --------------------------------------------------------------------------------------------------------------------
# Acknowledgements

OK = {"status": "ok", "eventId": EVENT_ID}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((OK,), wire.Stored()),
        (({"status": "ok"},), wire.Stored()),
        ((OK, "something else"), wire.Stored()),
        (({"status": "duplicate", "eventId": EVENT_ID},), wire.Duplicate()),
        (
            ({"status": "rejected", "eventId": EVENT_ID, "code": "NO_GATE", "message": "không có cổng"},),
            wire.Rejected("NO_GATE", "không có cổng"),
        ),
        (({"status": "rejected", "eventId": EVENT_ID},), wire.Rejected("REJECTED", "")),
        (({"status": "retry", "eventId": EVENT_ID, "retryAfterMs": 1500},), wire.Retry(1500)),
        (({"status": "retry", "retryAfterMs": 0, "message": "bận"},), wire.Retry(0, "bận")),
        (({"status": "retry"},), wire.Retry(None)),
        ((), wire.Stored()),
        ((True,), wire.Stored()),
        (({"success": True},), wire.Stored()),
        (({"ok": True},), wire.Stored()),
        (({"status": 200, "success": True},), wire.Stored()),
        (({"success": True, "error": None},), wire.Stored()),
        (({"success": False},), wire.SoftFailure("the back-end answered without success")),
        (({"ok": False, "message": "no"},), wire.SoftFailure("no")),
        (({"error": "database is down"},), wire.SoftFailure("database is down")),
        (({"error": {"message": "boom", "stack": "..."}},), wire.SoftFailure("boom")),
        (({"success": True, "error": "but no"},), wire.SoftFailure("but no")),
    ],
)
def test_each_answer_of_the_contract_means_what_its_row_says(answer: tuple[object, ...], expected: wire.Ack) -> None:
    assert wire.parse_ack(answer, EVENT_ID) == expected


@pytest.mark.parametrize(
    "answer",
    [
        ({"status": "ok", "eventId": "another"},),
        ({"status": "rejected", "eventId": "another"},),
        ({"success": True, "eventId": "another"},),
        ({"status": "ok", "eventId": 7},),
        ({"status": "OK"},),
        ({"status": ["ok"]},),
        ({"status": None},),
        ({},),
        ({"error": None},),
        (None,),
        (False,),
        (1,),
        ("ok",),
        (b"ok",),
        ([OK],),
        (math.nan,),
    ],
)
def test_any_other_answer_leaves_the_event_where_it_is(answer: tuple[object, ...]) -> None:
    ack = wire.parse_ack(answer, EVENT_ID)
    assert isinstance(ack, wire.Unreadable)
    assert ack.reason


@pytest.mark.parametrize("answer", [(), (True,), ({"success": True},), ({"ok": True},), ({"status": "ok"},)])
def test_strict_takes_only_the_contracts_own_ok(answer: tuple[object, ...]) -> None:
    assert isinstance(wire.parse_ack(answer, EVENT_ID, strict=True), wire.Unreadable)
    assert wire.parse_ack((OK,), EVENT_ID, strict=True) == wire.Stored()


@pytest.mark.parametrize("answer", [({"success": False},), ({"error": "x"},)])
def test_strict_takes_a_failure_as_a_failure(answer: tuple[object, ...]) -> None:
    assert isinstance(wire.parse_ack(answer, EVENT_ID, strict=True), wire.SoftFailure)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (math.nan, None),
        (-1, None),
        (-math.inf, None),
        (True, None),
        ("1000", None),
        ([1], None),
        (1500.9, 1500),
        (math.inf, wire.MAX_RETRY_AFTER_MS),
        (10**400, wire.MAX_RETRY_AFTER_MS),
        (1e300, wire.MAX_RETRY_AFTER_MS),
    ],
)
def test_a_wait_that_makes_no_sense_is_none_and_a_huge_one_is_bounded(value: object, expected: int | None) -> None:
    answer = {"status": "retry", "eventId": EVENT_ID, "retryAfterMs": value}
    assert wire.parse_ack((answer,), EVENT_ID) == wire.Retry(expected)


def test_texts_of_the_back_end_are_kept_short() -> None:
    ack = wire.parse_ack(({"status": "rejected", "code": "X" * 10_000, "message": {"a": ["b"] * 9999}},), EVENT_ID)
    assert isinstance(ack, wire.Rejected)
    assert len(ack.code) == wire.MAX_TEXT
    assert len(ack.message) <= wire.MAX_TEXT


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
near_contract = st.fixed_dictionaries(
    {},
    optional={
        "status": st.sampled_from(["ok", "duplicate", "rejected", "retry", "no"]) | anything,
        "eventId": st.just(EVENT_ID) | anything,
        "retryAfterMs": anything,
        "code": anything,
        "message": anything,
        "error": anything,
        "success": anything,
        "ok": anything,
    },
)


@given(st.lists(anything | near_contract, max_size=3), st.booleans())
def test_no_answer_at_all_breaks_the_reader(answer: list[object], strict: bool) -> None:
    ack = wire.parse_ack(answer, EVENT_ID, strict=strict)
    if isinstance(ack, wire.Retry) and ack.after_ms is not None:
        assert 0 <= ack.after_ms <= wire.MAX_RETRY_AFTER_MS
    named = answer[0].get("eventId") if answer and isinstance(answer[0], dict) else None
    if named is not None and named != EVENT_ID:
        assert isinstance(ack, wire.Unreadable)


# --------------------------------------------------------------------------------------------------------------------
# Commands


@pytest.mark.parametrize(
    ("name", "data", "command"),
    [
        ("start_processing", {}, StartProcessing()),
        ("start_processing", {"cameraIds": ["A", "B", "A"]}, StartProcessing(CameraSelection(("A", "B"), ()))),
        ("start_processing", {"cameraIds": None}, StartProcessing()),
        ("stop_processing", {"gateIds": ["Cổng"]}, StopProcessing(CameraSelection((), ("Cổng",)))),
        ("stop_processing", {}, StopProcessing()),
        ("stop_processing", {"cameraIds": []}, StopProcessing()),
        ("update_config", {"weather": {"temperature": 30}}, UpdateConfig({"weather": {"temperature": 30}})),
        ("get_status", {}, GetStatus()),
        ("capture_snapshot", {"cameraId": "CAM_001"}, CaptureSnapshot("CAM_001")),
        ("replay_events", {}, ReplayEvents()),
        (
            "replay_events",
            {"fromSequence": 7, "toSequence": 7.0},
            ReplayEvents(EventRange(from_sequence=7, to_sequence=7)),
        ),
        (
            "replay_events",
            {"fromTime": "2026-11-23T08:00:00+07:00", "toTime": 1795395600000, "toSequence": None},
            ReplayEvents(
                EventRange(
                    from_time=datetime(2026, 11, 23, 1, tzinfo=UTC), to_time=datetime(2026, 11, 23, 1, tzinfo=UTC)
                )
            ),
        ),
    ],
)
@pytest.mark.parametrize("enveloped", [False, True])
def test_a_command_is_read_bare_and_in_the_guides_envelope(
    name: str, data: dict[str, Any], command: Command, enveloped: bool
) -> None:
    extra = {"commandId": "c-1", "expiresAt": "2026-11-23T01:02:03.456Z"}
    argument = {"type": name, "data": {**data, **extra}} if enveloped else {**data, **extra}
    request = wire.parse_command(name, [argument])
    assert (request.name, request.command, request.command_id) == (name, command, "c-1")
    assert request.expires_at == datetime(2026, 11, 23, 1, 2, 3, 456000, tzinfo=UTC)


def test_id_and_expiry_may_stand_beside_the_data() -> None:
    request = wire.parse_command(
        "get_status", [{"type": "get_status", "data": {}, "commandId": "c", "expiresAt": 1000}]
    )
    assert request.command_id == "c"
    assert request.expires_at == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)


@pytest.mark.parametrize("args", [[], [None], [{}], [{"type": "start_processing", "data": None}]])
def test_a_command_without_data_means_all_cameras(args: list[object]) -> None:
    assert wire.parse_command("start_processing", args).command == StartProcessing()


@pytest.mark.parametrize(
    ("name", "argument", "words"),
    [
        ("reboot", {}, "unknown command 'reboot'.*start_processing"),
        ("start_processing", [], "argument of start_processing is a list, it must be an object"),
        ("start_processing", "now", "is text, it must be an object"),
        ("start_processing", {"type": "stop_processing", "data": {}}, "type is 'stop_processing', it must be"),
        ("start_processing", {"data": 3}, "data of start_processing is a number"),
        ("start_processing", {"cameraIds": "CAM_001"}, "cameraIds must be a list of text, it is text"),
        ("start_processing", {"cameraIds": ["A", 7]}, r"cameraIds\.1 must be text that is not empty, it is a number"),
        ("start_processing", {"gateIds": [""]}, r"gateIds\.0 must be text that is not empty, it is empty text"),
        ("stop_processing", {"cameraId": "CAM_001"}, "knows no field 'cameraId'; it takes cameraIds, gateIds"),
        ("capture_snapshot", {}, "cameraId must be text that is not empty, it is nothing"),
        ("capture_snapshot", {"cameraId": 5}, "cameraId must be text"),
        ("replay_events", {"fromSequence": "1"}, "fromSequence must be a whole number from 1 to 9007199254740992"),
        ("replay_events", {"toSequence": 0}, "toSequence must be a whole number from 1 .* it is '0'"),
        ("replay_events", {"fromSequence": 1.5}, "fromSequence must be a whole number"),
        ("replay_events", {"fromSequence": 1e300}, "fromSequence must be a whole number"),
        ("replay_events", {"fromSequence": True}, "fromSequence must be a whole number"),
        ("replay_events", {"fromSequence": 9, "toSequence": 8}, "toSequence must not be below fromSequence 9, it is 8"),
        ("replay_events", {"fromTime": "monday"}, "fromTime must be a time such as .* it is 'monday'"),
        ("replay_events", {"toTime": []}, "toTime must be a time"),
        (
            "replay_events",
            {"fromTime": "2026-11-23T02:00:00Z", "toTime": "2026-11-23T01:00:00Z"},
            "toTime must not be before fromTime 2026-11-23T02:00:00.000Z, it is 2026-11-23T01:00:00.000Z",
        ),
        ("replay_events", {"sequence": 5}, "knows no field 'sequence'; it takes fromSequence, toSequence, fromTime"),
        ("get_status", {"commandId": 5}, "commandId must be text"),
        ("get_status", {"commandId": ""}, "commandId must be text"),
        ("get_status", {"expiresAt": "tomorrow"}, "expiresAt must be a time"),
        ("get_status", {"expiresAt": 1e300}, "expiresAt must be a time"),
        ("get_status", {"expiresAt": math.nan}, "expiresAt must be a time"),
    ],
)
def test_nonsense_is_refused_with_the_field_and_what_it_must_be(name: str, argument: object, words: str) -> None:
    with pytest.raises(ProtocolError, match=words) as raised:
        wire.parse_command(name, [argument])
    reply = wire.reply_dict(wire.refusal(name, [argument], raised.value))
    assert reply["status"] == "error"
    assert reply["code"] == ("UNKNOWN_COMMAND" if name == "reboot" else "INVALID_DATA")
    assert reply["message"] == raised.value.message


@given(st.sampled_from([*wire.COMMANDS, "x"]), st.lists(anything, max_size=2))
def test_no_command_at_all_breaks_the_reader(name: str, args: list[object]) -> None:
    try:
        wire.parse_command(name, args)
    except ProtocolError as error:
        json.dumps(wire.reply_dict(wire.refusal(name, args, error)), allow_nan=False)


def test_a_refusal_names_the_command_wherever_its_id_stands() -> None:
    assert wire.command_id_of([{"commandId": "a", "data": 3}]) == "a"
    assert wire.command_id_of([{"data": {"commandId": "b"}}]) == "b"
    for nothing in ([], [None], ["x"], [{"commandId": 3}], [{"commandId": "x" * 9999}]):
        assert wire.command_id_of(nothing) is None


def test_a_reply_always_has_all_of_its_fields() -> None:
    reply = CommandReply(status=ReplyStatus.OK, command_id="c-1", data={"fps": math.nan, "tên": "Cổng"})
    assert wire.reply_dict(reply) == {
        "status": "ok",
        "commandId": "c-1",
        "message": "",
        "code": None,
        "data": {"fps": None, "tên": "Cổng"},
    }


def test_changes_get_pythons_names_and_cameras_keep_theirs() -> None:
    changes = {
        "cameras": {"CAM_001": {"minConfidence": 0.9, "roi": [[0.1, 0.2]]}, "camTwo": {"gateName": "Cổng"}},
        "weather": {"temperature": 30},
        "backend": {"maxMessageBytes": 1},
    }
    assert wire.snake_case_changes(changes) == {
        "cameras": {"CAM_001": {"min_confidence": 0.9, "roi": [[0.1, 0.2]]}, "camTwo": {"gate_name": "Cổng"}},
        "weather": {"temperature": 30},
        "backend": {"max_message_bytes": 1},
    }


def test_two_spellings_of_one_key_are_refused() -> None:
    with pytest.raises(ProtocolError, match=r"cameras\.A\.min_confidence: given twice"):
        wire.snake_case_changes({"cameras": {"A": {"minConfidence": 1, "min_confidence": 2}}})


def test_changes_nested_without_end_are_refused() -> None:
    deep: dict[str, Any] = {}
    inner = deep
    for _ in range(200):
        inner["a"] = {}
        inner = inner["a"]
    with pytest.raises(ProtocolError, match="nested deeper"):
        wire.snake_case_changes(deep)


@pytest.mark.parametrize(
    ("camel", "snake"),
    [("minConfidence", "min_confidence"), ("fps", "fps"), ("gateID", "gate_id"), ("max_age", "max_age")],
)
def test_a_key_has_one_name_on_each_side(camel: str, snake: str) -> None:
    assert wire.snake_case(camel) == snake


def test_pythons_names_are_shown_as_the_back_end_writes_them() -> None:
    assert wire.camel_case("min_confidence") == "minConfidence"
    assert wire.camel_case("fps") == "fps"


# --------------------------------------------------------------------------------------------------------------------
# Connecting


def test_auth_and_hello_are_the_contracts() -> None:
    assert wire.auth(token="t", agent_id="a", boot_id="b", epoch=3, version="0.1.0") == {
        "token": "t",
        "agentId": "a",
        "bootId": "b",
        "epoch": 3,
        "version": "0.1.0",
        "contract": 1,
    }
    assert wire.auth(token=None, agent_id="a", boot_id="b", epoch=1, version="0")["token"] == ""
    hello = wire.hello(agent_id="a", version="0.1.0")
    assert hello["contract"] == 1
    assert "command:update_config" in hello["capabilities"]


def test_an_answer_to_hello_sets_what_it_names() -> None:
    answer = wire.parse_hello_answer(
        [{"maxMessageBytes": 500_000, "images": "binary", "replayPerSecond": 20, "serverTime": "2026-11-23T01:02:03Z"}]
    )
    assert answer == wire.HelloAnswer(
        max_message_bytes=500_000,
        images=ImageMode.BINARY,
        replay_per_second=20.0,
        server_time=datetime(2026, 11, 23, 1, 2, 3, tzinfo=UTC),
    )


@pytest.mark.parametrize("args", [[], [None], [{}]])
def test_no_answer_to_hello_leaves_the_defaults(args: list[object]) -> None:
    assert wire.parse_hello_answer(args) == wire.HelloAnswer()


def test_nonsense_in_a_hello_is_passed_over_with_words() -> None:
    answer = wire.parse_hello_answer([{"maxMessageBytes": 3, "images": "png", "replayPerSecond": "fast"}])
    assert answer.max_message_bytes is None
    assert answer.images is None
    assert answer.replay_per_second is None
    assert len(answer.problems) == 3
    assert "images must be base64, binary or none" in answer.problems[1]


@given(st.lists(anything, max_size=2))
def test_no_hello_at_all_breaks_the_reader(args: list[object]) -> None:
    answer = wire.parse_hello_answer(args)
    assert answer.max_message_bytes is None or answer.max_message_bytes >= wire.MIN_MESSAGE_BYTES
