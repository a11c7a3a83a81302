"""Outwards, once: what the outbox stores of a domain event, and no retry, restart or upgrade alters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from lpr.domain.clock import isoformat_ms
from lpr.domain.events import ErrorCode, ErrorRaised, Event, PlateDetected, ProcessingStatus, Weather
from lpr.domain.geometry import Box
from lpr.wire.names import CLOCK_SYNCHRONISED, CONTRACT_VERSION, ERROR, PLATE_DETECTED, PROCESSING_STATUS
from lpr.wire.values import clean_object, fraction_of_one, parse_moment, rounded, unicode_text, whole_number

_MILLISECOND = timedelta(milliseconds=1)


def event_type(event: Event) -> str:
    """The name that the event is emitted under."""
    match event:
        case PlateDetected():
            return PLATE_DETECTED
        case ErrorRaised():
            return ERROR
        case ProcessingStatus():
            return PROCESSING_STATUS


def event_body(
    event: Event, *, event_id: str, agent_id: str, boot_id: str, sequence: int, clock_synchronised: bool = True
) -> dict[str, Any]:
    """The message that never changes: everything but `delivery`, pictures left as empty text.

    `sequence` is the event's own, or for a status the last one given (0 where none was yet). The bounding box is in
    pixels of the event's own original image; `message` rescales it. Where the clock was not `clock_synchronised` the
    body notes it, and `moved_body` may correct its times until it is first sent.
    """
    body = {
        "type": event_type(event),
        "data": event_data(event),
        "timestamp": isoformat_ms(event.occurred_at.wall),
        "eventId": event_id,
        "agentId": agent_id,
        "bootId": boot_id,
        "sequence": sequence,
        "contract": CONTRACT_VERSION,
    }
    return body if clock_synchronised else {**body, CLOCK_SYNCHRONISED: False}


def moved_body(body: Mapping[str, Any], by: timedelta, *, clock_synchronised: bool) -> dict[str, Any]:
    """The same body with all of its times moved, and with or without the note that its clock was not known to be right.

    For a body that nobody has seen yet: the wall clock was set since its times were taken. They have whole milliseconds
    and are moved by whole ones, or a millionth of a second would make another millisecond of them.
    """
    by = _MILLISECOND * round(by / _MILLISECOND)
    moved = _moved(body, ("timestamp",), by)
    data = moved["data"] = _moved(body["data"], ("timestamp", "firstSeenAt", "lastSeenAt"), by)
    if isinstance(details := data.get("details"), Mapping):
        data["details"] = _moved(details, ("lastResponse",), by)
    moved.pop(CLOCK_SYNCHRONISED, None)
    return moved if clock_synchronised else {**moved, CLOCK_SYNCHRONISED: False}


def _moved(holder: Mapping[str, Any], names: Sequence[str], by: timedelta) -> dict[str, Any]:
    times = {name: parse_moment(holder[name]) for name in names if isinstance(holder.get(name), str)}
    return {**holder, **{name: isoformat_ms(time + by) for name, time in times.items() if time is not None}}


def event_data(event: Event) -> dict[str, Any]:
    """The guide's `data` object of an event, pictures left as empty text."""
    match event:
        case PlateDetected():
            return plate_data(event)
        case ErrorRaised():
            return error_data(event)
        case ProcessingStatus():
            return status_data(event)


def plate_data(event: PlateDetected) -> dict[str, Any]:
    """`data` of a `license_plate_detected`; `weather` is there only where it is known."""
    # Value by value made fit for JSON, not by `clean_object` once more: this is on the way of every vehicle.
    plate = event.plate
    data: dict[str, Any] = {
        "licensePlate": unicode_text(plate.display or plate.text),
        "confidence": fraction_of_one(plate.confidence),
        "gateId": unicode_text(event.gate_id),
        "gateName": unicode_text(event.gate_name),
        "action": event.action.value,
        "processedImage": "",
        "originalImage": "",
        "boundingBox": _box(event.bounding_box),
        "processingTime": whole_number(event.processing_ms),
        "deviceInfo": {
            "cameraId": unicode_text(event.camera_id),
            "deviceName": unicode_text(event.camera_name),
            "ipAddress": unicode_text(event.camera_host),
        },
        "plate": {
            "text": unicode_text(plate.text),
            "raw": unicode_text(plate.raw),
            "corrections": [
                {
                    "position": int(change.position),
                    "read": unicode_text(change.read),
                    "corrected": unicode_text(change.corrected),
                }
                for change in plate.corrections
            ],
            "characterConfidences": [fraction_of_one(value) for value in plate.character_confidences],
            "rows": int(plate.rows),
            "kind": unicode_text(plate.kind),
            "province": None if plate.province is None else unicode_text(plate.province),
            "valid": bool(plate.valid),
            "colour": event.colour.value,
        },
        "vehicleType": event.vehicle_type.value,
        "passageId": unicode_text(event.passage_id),
        "firstSeenAt": isoformat_ms(event.first_seen_at),
        "lastSeenAt": isoformat_ms(event.last_seen_at),
        "framesRead": int(event.frames_read),
    }
    if event.weather is not None and (weather := _weather(event.weather)):
        data["weather"] = clean_object(weather)
    return data


def error_data(event: ErrorRaised) -> dict[str, Any]:
    """`data` of an `error`; those with pictures, and every `PLATE_UNREADABLE`, hold them inside `details`."""
    details = dict(event.details)
    if event.code is ErrorCode.PLATE_UNREADABLE or event.plate_image or event.original_image:
        details |= {"processedImage": "", "originalImage": ""}
    return clean_object(
        {
            "errorCode": event.code.value,
            "message": event.message,
            "gateId": event.gate_id,
            "severity": event.severity.value,
            "timestamp": isoformat_ms(event.occurred_at.wall),
            "details": details,
        }
    )


def status_data(status: ProcessingStatus) -> dict[str, Any]:
    """`data` of a `processing_status`, and of the answer to `get_status`."""
    return clean_object(
        {
            "status": status.state.value,
            "activeGates": list(status.active_gates),
            "processedCount": status.processed_count,
            "errorCount": status.error_count,
            "uptime": whole_number(status.uptime_s),
            "memoryUsage": rounded(status.memory_percent, 1),
            "cpuUsage": rounded(status.cpu_percent, 1),
            "agentVersion": status.agent_version,
            "device": status.device,
            "cameras": [
                {
                    "cameraId": camera.camera_id,
                    "gateId": camera.gate_id,
                    "state": camera.state.value,
                    "analysedFps": rounded(camera.analysed_fps, 2),
                    "lastFrameAt": None if camera.last_frame_at is None else isoformat_ms(camera.last_frame_at),
                }
                for camera in status.cameras
            ],
            "queue": {
                "pending": status.queue.pending,
                "bytes": status.queue.bytes,
                "oldestAgeSeconds": rounded(status.queue.oldest_age_s, 1),
                "deadLetters": status.queue.dead_letters,
            },
            "clock": {
                "synchronised": status.clock.synchronised,
                "offsetMs": None if status.clock.offset_ms is None else rounded(status.clock.offset_ms, 1),
            },
        }
    )


def _box(box: Box) -> dict[str, float]:
    return {
        "x": rounded(box.x, 2),
        "y": rounded(box.y, 2),
        "width": rounded(box.width, 2),
        "height": rounded(box.height, 2),
    }


def _weather(weather: Weather) -> dict[str, Any]:
    known = {"condition": weather.condition, "temperature": weather.temperature, "humidity": weather.humidity}
    return {name: value for name, value in known.items() if value is not None}
