"""What an agent sent, understood and held against the contract.

Two things are told apart: a message that cannot be stored at all (`UnreadableMessageError`: it has no event id), and
one that can be, but is not quite what the contract says. The latter keeps remarks, each naming a field and what it
must be.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypeAlias

DETECTED: Final = "license_plate_detected"
STATUS: Final = "processing_status"
ERROR: Final = "error"

PICTURE_FIELDS: Final = ("processedImage", "originalImage")

Check: TypeAlias = Callable[[object], str | None]
"""Says what a value must be, or None where it is that."""
Fields: TypeAlias = Mapping[str, Check]


class UnreadableMessageError(Exception):
    """The message cannot be stored; the text says what it lacks, for the answer to the agent."""

    def __init__(self, message: str, *, event_id: str | None = None) -> None:
        super().__init__(message)
        self.event_id = event_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One event as it arrived, of either payload shape.

    `data` is the guide's object without its pictures, which are `plate_image` and `original_image`, as JPEG bytes.
    `remarks` lists what is not as the contract says.
    """

    agent_id: str
    event_id: str
    event_type: str
    shape: str
    boot_id: str | None
    sequence: int | None
    timestamp: str
    attempt: int
    replayed: bool
    sent_at: str | None
    age_ms: float | None
    data: Mapping[str, Any]
    plate_image: bytes | None = field(repr=False)
    original_image: bytes | None = field(repr=False)
    remarks: tuple[str, ...]


def understand(event_type: str, payload: object, *, agent_id: str, boot_id: str | None = None) -> Message:
    """Read one event. `agent_id` and `boot_id` are those of the connection, for the flat shape that has none.

    Raises `UnreadableMessageError` where there is no object or no event id in it.
    """
    if not isinstance(payload, Mapping):
        raise UnreadableMessageError(f"{event_type}: must be an object, got {_kind(payload)}")
    event_id = payload.get("eventId")
    if not isinstance(event_id, str) or not event_id:
        raise UnreadableMessageError(f"{event_type}: eventId must be a text, got {_kind(event_id)}")
    nested = isinstance(payload.get("data"), Mapping) and "type" in payload
    data = dict(payload["data"]) if nested else {k: v for k, v in payload.items() if k not in ("eventId", "delivery")}
    remarks = _envelope_remarks(event_type, payload) if nested else _wrong(payload, _FLAT)
    delivery = payload.get("delivery")
    delivery = delivery if isinstance(delivery, Mapping) else {}
    remarks += _wrong(delivery, _DELIVERY, "delivery.") + _data_remarks(event_type, data)
    plate_image, original_image = _take_pictures(event_type, data, remarks)
    remarks += _box_remarks(data, original_image)
    return Message(
        agent_id=_text_or(payload.get("agentId"), agent_id) if nested else agent_id,
        event_id=event_id,
        event_type=event_type,
        shape="message" if nested else "data",
        boot_id=_text_or(payload.get("bootId"), boot_id) if nested else boot_id,
        sequence=_whole_or_none(payload.get("sequence")),
        timestamp=_text_or(payload.get("timestamp"), ""),
        attempt=_whole_or_none(delivery.get("attempt")) or 0,
        replayed=delivery.get("replayed") is True,
        sent_at=_text_or(delivery.get("sentAt"), None),
        age_ms=_number_or_none(delivery.get("ageMs")),
        data=data,
        plate_image=plate_image,
        original_image=original_image,
        remarks=tuple(remarks),
    )


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Width and height in pixels from a JPEG's frame header, or None where the bytes are no whole JPEG."""
    if not (data.startswith(b"\xff\xd8") and data.rstrip(b"\0").endswith(b"\xff\xd9")):
        return None
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        # The frame headers are C0..CF, without C4 (Huffman tables), C8 (reserved) and CC (arithmetic coding).
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(data[at + 7 : at + 9], "big"), int.from_bytes(data[at + 5 : at + 7], "big")
        at += 2 + length
    return None


# The contract as tables: a field's name and what its value must be.


def _text(value: object) -> str | None:
    return None if isinstance(value, str) and value else "a text that is not empty"


def _any_text(value: object) -> str | None:
    return None if isinstance(value, str) else "a text"


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _number(value: object) -> str | None:
    return None if _is_number(value) else "a finite number"


def _flag(value: object) -> str | None:
    return None if isinstance(value, bool) else "true or false"


def _object(value: object) -> str | None:
    return None if isinstance(value, Mapping) else "an object"


def _texts(value: object) -> str | None:
    fits = isinstance(value, list) and all(isinstance(each, str) for each in value)
    return None if fits else "a list of texts"


def _within(low: float, high: float = math.inf) -> Check:
    def check(value: object) -> str | None:
        if _is_number(value) and low <= value <= high:  # type: ignore[operator]
            return None
        return f"a number from {low:g}" + ("" if high == math.inf else f" to {high:g}")

    return check


def _whole(low: int) -> Check:
    def check(value: object) -> str | None:
        fits = isinstance(value, int) and not isinstance(value, bool) and value >= low
        return None if fits else f"a whole number from {low}"

    return check


def _one_of(*allowed: object) -> Check:
    def check(value: object) -> str | None:
        return None if value in allowed else "one of " + ", ".join(map(str, allowed))

    return check


_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def _time(value: object) -> str | None:
    if isinstance(value, str) and _TIME.fullmatch(value):
        try:
            datetime.fromisoformat(value)
        except ValueError:
            return "a time that exists"
        return None
    return "UTC with milliseconds, like 2026-11-23T01:02:03.456Z"


def _plate_letters(value: object) -> str | None:
    fits = isinstance(value, str) and re.fullmatch(r"[0-9A-ZĐ]+", value)
    return None if fits else "A-Z, 0-9 and Đ without separators"


def _confidences(value: object) -> str | None:
    fits = isinstance(value, list) and all(_within(0, 1)(each) is None for each in value)
    return None if fits else "a list of numbers from 0 to 1"


def _list_of(fields: Fields) -> Check:
    def check(value: object) -> str | None:
        if not isinstance(value, list):
            return "a list"
        for place, each in enumerate(value):
            wrong = _wrong(each, fields) if isinstance(each, Mapping) else ["an object"]
            if wrong:
                return f"right in entry {place}: {wrong[0]}"
        return None

    return check


def _or_null(check: Check) -> Check:
    return lambda value: None if value is None else check(value)


_ENVELOPE: Fields = {
    "type": _text,
    "timestamp": _time,
    "data": _object,
    "eventId": _text,
    "agentId": _text,
    "bootId": _text,
    "sequence": _whole(0),
    "contract": _one_of(1),
    "delivery": _object,
}
_FLAT: Fields = {"timestamp": _time, "delivery": _object}
_DELIVERY: Fields = {"attempt": _whole(1), "replayed": _flag, "sentAt": _time, "ageMs": _number}
_BOX: Fields = {"x": _within(0), "y": _within(0), "width": _within(0), "height": _within(0)}
_DATA: Mapping[str, Fields] = {
    DETECTED: {
        "licensePlate": _text,
        "confidence": _within(0, 1),
        "gateId": _text,
        "gateName": _any_text,
        "action": _one_of("entry", "exit"),
        "boundingBox": _object,
        "processingTime": _within(0),
        "deviceInfo": _object,
        "plate": _object,
        "vehicleType": _one_of("car", "motorcycle", "unknown"),
        "passageId": _text,
        "firstSeenAt": _time,
        "lastSeenAt": _time,
        "framesRead": _whole(1),
    },
    STATUS: {
        "status": _one_of("idle", "processing", "error"),
        "activeGates": _texts,
        "processedCount": _whole(0),
        "errorCount": _whole(0),
        "uptime": _within(0),
        "memoryUsage": _within(0, 100),
        "cpuUsage": _within(0),
        "agentVersion": _text,
        "device": _any_text,
        "cameras": _list_of(
            {
                "cameraId": _text,
                "gateId": _text,
                "state": _text,
                "analysedFps": _within(0),
                "lastFrameAt": _or_null(_time),
            }
        ),
        "queue": _object,
        "clock": _object,
    },
    ERROR: {
        "errorCode": _one_of(
            "CAMERA_DISCONNECTED",
            "CAMERA_RECOVERED",
            "PROCESSING_ERROR",
            "MODEL_ERROR",
            "DEVICE_FALLBACK",
            "PLATE_UNREADABLE",
            "QUEUE_NEAR_FULL",
            "QUEUE_OVERFLOW",
            "QUEUE_CORRUPT",
            "DISK_LOW",
            "CLOCK_SKEW",
            "EVENT_REJECTED",
            "CONFIG_REJECTED",
            "SERVER_ERROR",
        ),
        "message": _text,
        "gateId": _any_text,
        "severity": _one_of("low", "medium", "high", "critical"),
        "timestamp": _time,
        "details": _object,
    },
}
_PARTS: Mapping[str, Mapping[str, Fields]] = {
    DETECTED: {
        "boundingBox": _BOX,
        "deviceInfo": {"cameraId": _text, "deviceName": _any_text, "ipAddress": _any_text},
        "plate": {
            "text": _plate_letters,
            "raw": _any_text,
            "corrections": _list_of({}),
            "characterConfidences": _confidences,
            "rows": _one_of(1, 2),
            "kind": _text,
            "province": _or_null(_text),
            "valid": _flag,
        },
    },
    STATUS: {
        "queue": {
            "pending": _whole(0),
            "bytes": _whole(0),
            "oldestAgeSeconds": _within(0),
            "deadLetters": _whole(0),
        },
        "clock": {"synchronised": _flag, "offsetMs": _or_null(_number)},
    },
    ERROR: {},
}


def _wrong(value: Mapping[str, Any], fields: Fields, where: str = "") -> list[str]:
    remarks = []
    for name, check in fields.items():
        if name not in value:
            remarks.append(f"{where}{name} is missing")
        elif wanted := check(value[name]):
            remarks.append(f"{where}{name} must be {wanted}, got {_kind(value[name])}")
    return remarks


def _envelope_remarks(event_type: str, message: Mapping[str, Any]) -> list[str]:
    remarks = _wrong(message, _ENVELOPE)
    if message.get("type") != event_type:
        remarks.append(f"type must be the event's name {event_type}, got {_kind(message.get('type'))}")
    return remarks


def _data_remarks(event_type: str, data: Mapping[str, Any]) -> list[str]:
    if event_type not in _DATA:
        return [f"{event_type} is no event of the contract"]
    remarks = _wrong(data, _DATA[event_type], "data.")
    for name, fields in _PARTS[event_type].items():
        if isinstance(data.get(name), Mapping):
            remarks += _wrong(data[name], fields, f"data.{name}.")
    return remarks


def _take_pictures(event_type: str, data: dict[str, Any], remarks: list[str]) -> tuple[bytes | None, bytes | None]:
    """Take the pictures out of `data`; those of an unreadable plate stand in its details."""
    holder, where = data, "data."
    if event_type == ERROR and isinstance(data.get("details"), Mapping):
        holder, where = dict(data["details"]), "data.details."
        data["details"] = holder
    pictures: list[bytes | None] = []
    for name in PICTURE_FIELDS:
        if name not in holder:
            if event_type == DETECTED:
                remarks.append(f"{where}{name} is missing")
            pictures.append(None)
            continue
        picture, remark = _picture(holder.pop(name))
        pictures.append(picture)
        if remark:
            remarks.append(f"{where}{name} must be {remark}")
    return pictures[0], pictures[1]


def _picture(value: object) -> tuple[bytes | None, str | None]:
    """A picture's bytes and what is wrong with it; None and "" are a picture that was left out."""
    if value is None or value == "":
        return None, None
    if isinstance(value, str):
        remark = "base64 without a data: prefix" if value.startswith("data:") else None
        try:
            data = base64.b64decode(value.partition(",")[2] if remark else value, validate=True)
        except (binascii.Error, ValueError):
            return None, "base64"
        return data, remark or (None if jpeg_size(data) else "a JPEG")
    if isinstance(value, (bytes, bytearray)):
        return bytes(value), None if jpeg_size(bytes(value)) else "a JPEG"
    return None, f"base64 or binary, got {_kind(value)}"


def _box_remarks(data: Mapping[str, Any], original_image: bytes | None) -> list[str]:
    box, size = data.get("boundingBox"), jpeg_size(original_image) if original_image else None
    if size is None or not isinstance(box, Mapping) or _wrong(box, _BOX):
        return []
    # A pixel's grace for rounding where the picture was scaled to fit.
    if box["x"] + box["width"] > size[0] + 1 or box["y"] + box["height"] > size[1] + 1:
        return [f"data.boundingBox must lie inside the originalImage of {size[0]} x {size[1]} pixels"]
    return []


def _kind(value: object) -> str:
    """A value in few words, for a remark; never a whole picture."""
    if value is None:
        return "nothing"
    if isinstance(value, (bool, int, float)):
        return str(value).lower() if isinstance(value, bool) else str(value)
    if isinstance(value, str):
        return f"'{value[:40]}…'" if len(value) > 40 else f"'{value}'"
    if isinstance(value, (bytes, bytearray)):
        return f"{len(value)} bytes"
    return "an object" if isinstance(value, Mapping) else "a list" if isinstance(value, list) else type(value).__name__


def _text_or(value: object, otherwise: Any) -> Any:
    return value if isinstance(value, str) and value else otherwise


def _whole_or_none(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number_or_none(value: object) -> float | None:
    return float(value) if _is_number(value) else None  # type: ignore[arg-type]
