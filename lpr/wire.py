"""Domain events and commands <-> the contract's JSON. Every name that the back-end sees is in this file.

Outwards a message is made in two steps, because the first is done once and the second at every attempt:

1. `event_body` fixes type, time, data and identity. The outbox stores it in the transaction that stores the event;
   no retry, restart or upgrade alters it.
2. `message` adds what belongs to one attempt: `delivery`, the pictures in the form that this back-end takes, and the
   bounding box in pixels of the picture that is really sent.

Inwards everything is suspect: `parse_ack` answers for any value at all, `parse_command` raises `ProtocolError` in words
that the back-end's developer can act on. What is built here is always valid JSON: numbers are finite, text is Unicode.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum, StrEnum
from typing import Any, TypeAlias

import pydantic_core

from lpr.domain.choices import ImageMode, PayloadShape
from lpr.domain.clock import isoformat_ms
from lpr.domain.commands import (
    CameraSelection,
    CaptureSnapshot,
    Command,
    CommandReply,
    CommandRequest,
    EventRange,
    GetStatus,
    ReplayEvents,
    ReplyStatus,
    StartProcessing,
    StopProcessing,
    UpdateConfig,
)
from lpr.domain.errors import ProtocolError
from lpr.domain.events import ErrorCode, ErrorRaised, Event, Jpeg, PlateDetected, ProcessingStatus, Weather
from lpr.domain.geometry import Box

CONTRACT_VERSION = 1

PLATE_DETECTED = "license_plate_detected"
PROCESSING_STATUS = "processing_status"
ERROR = "error"
HELLO = "agent_hello"
"""Names of the events that the agent emits."""

START_PROCESSING = "start_processing"
STOP_PROCESSING = "stop_processing"
UPDATE_CONFIG = "update_config"
GET_STATUS = "get_status"
CAPTURE_SNAPSHOT = "capture_snapshot"
REPLAY_EVENTS = "replay_events"
COMMANDS = (START_PROCESSING, STOP_PROCESSING, UPDATE_CONFIG, GET_STATUS, CAPTURE_SNAPSHOT, REPLAY_EVENTS)
"""Names of the commands that the agent obeys."""

CAPABILITIES = ("images:base64", "images:binary", "images:none", *(f"command:{name}" for name in COMMANDS))
"""What `agent_hello` says that this agent can do."""

MAX_RETRY_AFTER_MS = 600_000
"""A back-end that asks for a longer wait is asked again after this one: a typing error must not silence a gate."""
MIN_MESSAGE_BYTES, MAX_MESSAGE_BYTES = 16_384, 100_000_000
"""Bounds of a believable `maxMessageBytes`; outside of them the answer is nonsense and is passed over."""
MAX_REPLAY_PER_SECOND = 10_000.0
MAX_TEXT = 500
"""Characters kept of a code, a reason or an id that the other side sent."""
MAX_SEQUENCE = 2**53
"""What JSON's numbers hold exactly, in every language."""
CLOCK_SYNCHRONISED = "clockSynchronised"
"""In a stored body, and false there: the times in it were taken from a clock that was not known to be right."""
MAX_DEPTH = 32
"""Levels of nesting that a command or details may have."""


class ReplyCode(StrEnum):
    """The `code` of a command's answer that is not `ok`."""

    UNKNOWN_COMMAND = "UNKNOWN_COMMAND"
    INVALID_DATA = "INVALID_DATA"
    CONFIG_REJECTED = "CONFIG_REJECTED"
    UNKNOWN_CAMERA = "UNKNOWN_CAMERA"
    NO_FRAME = "NO_FRAME"
    EXPIRED = "EXPIRED"
    BUSY = "BUSY"
    FAILED = "FAILED"


# --------------------------------------------------------------------------------------------------------------------
# Events


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

    For a body that nobody has seen yet: the wall clock was set since its times were taken.
    """
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
    # Value by value made fit for JSON, not by `_clean_object` once more: this is on the way of every vehicle.
    plate = event.plate
    data: dict[str, Any] = {
        "licensePlate": _unicode(plate.display or plate.text),
        "confidence": _fraction(plate.confidence),
        "gateId": _unicode(event.gate_id),
        "gateName": _unicode(event.gate_name),
        "action": event.action.value,
        "processedImage": "",
        "originalImage": "",
        "boundingBox": _box(event.bounding_box),
        "processingTime": _whole(event.processing_ms),
        "deviceInfo": {
            "cameraId": _unicode(event.camera_id),
            "deviceName": _unicode(event.camera_name),
            "ipAddress": _unicode(event.camera_host),
        },
        "plate": {
            "text": _unicode(plate.text),
            "raw": _unicode(plate.raw),
            "corrections": [
                {
                    "position": int(change.position),
                    "read": _unicode(change.read),
                    "corrected": _unicode(change.corrected),
                }
                for change in plate.corrections
            ],
            "characterConfidences": [_fraction(value) for value in plate.character_confidences],
            "rows": int(plate.rows),
            "kind": _unicode(plate.kind),
            "province": None if plate.province is None else _unicode(plate.province),
            "valid": bool(plate.valid),
            "colour": event.colour.value,
        },
        "vehicleType": event.vehicle_type.value,
        "passageId": _unicode(event.passage_id),
        "firstSeenAt": isoformat_ms(event.first_seen_at),
        "lastSeenAt": isoformat_ms(event.last_seen_at),
        "framesRead": int(event.frames_read),
    }
    if event.weather is not None and (weather := _weather(event.weather)):
        data["weather"] = _clean_object(weather)
    return data


def error_data(event: ErrorRaised) -> dict[str, Any]:
    """`data` of an `error`; those with pictures, and every `PLATE_UNREADABLE`, hold them inside `details`."""
    details = dict(event.details)
    if event.code is ErrorCode.PLATE_UNREADABLE or event.plate_image or event.original_image:
        details |= {"processedImage": "", "originalImage": ""}
    return _clean_object(
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
    return _clean_object(
        {
            "status": status.state.value,
            "activeGates": list(status.active_gates),
            "processedCount": status.processed_count,
            "errorCount": status.error_count,
            "uptime": _whole(status.uptime_s),
            "memoryUsage": _rounded(status.memory_percent, 1),
            "cpuUsage": _rounded(status.cpu_percent, 1),
            "agentVersion": status.agent_version,
            "device": status.device,
            "cameras": [
                {
                    "cameraId": camera.camera_id,
                    "gateId": camera.gate_id,
                    "state": camera.state.value,
                    "analysedFps": _rounded(camera.analysed_fps, 2),
                    "lastFrameAt": None if camera.last_frame_at is None else isoformat_ms(camera.last_frame_at),
                }
                for camera in status.cameras
            ],
            "queue": {
                "pending": status.queue.pending,
                "bytes": status.queue.bytes,
                "oldestAgeSeconds": _rounded(status.queue.oldest_age_s, 1),
                "deadLetters": status.queue.dead_letters,
            },
            "clock": {
                "synchronised": status.clock.synchronised,
                "offsetMs": None if status.clock.offset_ms is None else _rounded(status.clock.offset_ms, 1),
            },
        }
    )


# --------------------------------------------------------------------------------------------------------------------
# What the queue says about itself

SequenceRanges: TypeAlias = tuple[tuple[int, int], ...]
"""First and last sequence of each run without a gap, ascending."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overflow:
    """What a limit took out of the queue. `cause` names the limit.

    The first five count what went, by type; `unknown` are events that were lost before it was written down what they
    were. `lost` names the events by their sequences. Events in `without_original` that are still there have no original
    image any longer; others in these ranges never had one, or are lost too.
    """

    cause: str
    detections: int = 0
    errors: int = 0
    unknown: int = 0
    statuses: int = 0
    original_images: int = 0
    lost: SequenceRanges = ()
    without_original: SequenceRanges = ()


def overflow_details(overflow: Overflow) -> dict[str, Any]:
    """`details` of a `QUEUE_OVERFLOW`: counts by type, what lost nothing left out, and sequences."""
    counts = {
        PLATE_DETECTED: overflow.detections,
        ERROR: overflow.errors,
        "unknown": overflow.unknown,
        PROCESSING_STATUS: overflow.statuses,
        "originalImages": overflow.original_images,
    }
    return {
        "cause": overflow.cause,
        "dropped": {name: count for name, count in counts.items() if count},
        "sequences": [list(run) for run in overflow.lost],
        "sequencesWithoutOriginalImage": [list(run) for run in overflow.without_original],
    }


def parse_overflow_details(details: Mapping[str, Any]) -> Overflow:
    """What `overflow_details` made; reads a report of ours that is itself dropped, so that its content lives on."""
    dropped = details["dropped"]
    return Overflow(
        cause=details["cause"],
        detections=dropped.get(PLATE_DETECTED, 0),
        errors=dropped.get(ERROR, 0),
        unknown=dropped.get("unknown", 0),
        statuses=dropped.get(PROCESSING_STATUS, 0),
        original_images=dropped.get("originalImages", 0),
        lost=tuple((first, last) for first, last in details["sequences"]),
        without_original=tuple((first, last) for first, last in details["sequencesWithoutOriginalImage"]),
    )


def near_full_details(*, used_bytes: int, max_bytes: int) -> dict[str, Any]:
    """`details` of a `QUEUE_NEAR_FULL`."""
    return {"bytes": used_bytes, "maxBytes": max_bytes, "percent": _rounded(100 * used_bytes / max(1, max_bytes), 1)}


def disk_low_details(*, free_bytes: int, min_free_bytes: int) -> dict[str, Any]:
    """`details` of a `DISK_LOW`."""
    return {"freeBytes": free_bytes, "minFreeBytes": min_free_bytes}


def corrupt_details(*, recovered: int, unreadable: int | None, set_aside: str, next_sequence: int) -> dict[str, Any]:
    """`details` of a `QUEUE_CORRUPT`; `unreadable` is None where nobody can know."""
    return {
        "recovered": recovered,
        "unreadable": unreadable,
        "setAside": set_aside,
        "nextSequence": next_sequence,
    }


# --------------------------------------------------------------------------------------------------------------------
# One attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One attempt: its number from 1, whether the event waited or went out before, when, and how old it then is."""

    attempt: int
    replayed: bool
    sent_at: datetime
    age_ms: float


def message(
    body: Mapping[str, Any],
    delivery: Delivery,
    *,
    plate_image: Jpeg | None,
    original_image: Jpeg | None,
    images: ImageMode = ImageMode.BASE64,
    payload: PayloadShape = PayloadShape.MESSAGE,
    original_scale: float = 1.0,
    original_omitted: str | None = None,
) -> dict[str, Any]:
    """What is emitted for one attempt. `body` is not changed.

    `original_image` is the picture as it is sent, `original_scale` its width over the width of the one recorded with
    the event: the bounding box is multiplied by it and rounded to whole pixels. `original_omitted` says why a picture
    that was recorded is not sent (`too_large`, `link_lost`, `queue_full`); it appears as `originalImageOmitted` beside
    the empty field, so that nobody searches for a fault. A picture that is absent, or `images` none, is empty text.
    Where the event's times were taken from a clock that was not known to be right, `delivery` says `clockSynchronised`
    false.
    """
    data = dict(body["data"])
    holder = data
    if body["type"] == ERROR:
        holder = data["details"] = dict(data["details"])
    if "processedImage" in holder:
        holder["processedImage"] = _picture(plate_image, images)
        holder["originalImage"] = _picture(original_image, images)
        if original_omitted is not None:
            holder["originalImageOmitted"] = original_omitted
    if isinstance(box := holder.get("boundingBox"), Mapping):
        holder["boundingBox"] = {side: _whole(value * original_scale) for side, value in box.items()}
    attempt = {
        "attempt": delivery.attempt,
        "replayed": delivery.replayed,
        "sentAt": isoformat_ms(delivery.sent_at),
        "ageMs": max(0, _whole(delivery.age_ms)),
    }
    if CLOCK_SYNCHRONISED in body:
        attempt[CLOCK_SYNCHRONISED] = body[CLOCK_SYNCHRONISED]
    if payload == PayloadShape.DATA:
        return {**data, "eventId": body["eventId"], "timestamp": body["timestamp"], "delivery": attempt}
    envelope = {name: value for name, value in body.items() if name != CLOCK_SYNCHRONISED}
    return {**envelope, "data": data, "delivery": attempt}


class Base64Text(str):
    """Text that is known to need no escape in JSON, so that nobody has to look through 100 KB for one."""

    __slots__ = ()


def base64_size(length: int) -> int:
    """Characters that `length` bytes take as base64."""
    return (length + 2) // 3 * 4


def message_size(message: Mapping[str, Any]) -> int:
    """Bytes that a message takes on the wire: its JSON, and its attachments as they are.

    Characters beyond ASCII are counted as python-socketio writes them (`\\u1ed5`), so the figure is never too small.
    """
    attachments = 0

    def placeholder(value: object) -> object:
        nonlocal attachments
        if isinstance(value, bytes):
            attachments += len(value)
            return {"_placeholder": True, "num": 0}
        raise TypeError(f"{type(value).__name__} is not JSON")

    return len(json.dumps(message, separators=(",", ":"), allow_nan=False, default=placeholder)) + attachments


def to_json(value: Mapping[str, Any]) -> str:
    """A body as compact JSON text with Vietnamese as it is, for storage and export. `from_json` reads it back."""
    # In a quarter of the time that `json` takes. NaN, which no body of ours has, would become null.
    return pydantic_core.to_json(value, inf_nan_mode="null").decode()


def from_json(text: str) -> dict[str, Any]:
    """A body from `to_json`. Raises `ProtocolError` where the text is no JSON object."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ProtocolError(f"a stored message is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise ProtocolError(f"a stored message is {_kind(value)}, it must be an object")
    return value


# --------------------------------------------------------------------------------------------------------------------
# Acknowledgements


@dataclass(frozen=True, slots=True)
class Stored:
    """The back-end holds the event: delete it."""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The back-end had the event already: delete it."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """The back-end can never store the event: move it to the dead letters."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Retry:
    """Not now. `after_ms` is how long to wait, 0..`MAX_RETRY_AFTER_MS`, or None where the back-end did not say."""

    after_ms: int | None
    message: str = ""


@dataclass(frozen=True, slots=True)
class SoftFailure:
    """`{success: false}` or `{error: …}` of a back-end that knows no contract: retry; ten of them are a rejection."""

    message: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Whether the event is stored is unknown: keep it, and send the same eventId again. `reason` is for the log."""

    reason: str


Ack: TypeAlias = Stored | Duplicate | Rejected | Retry | SoftFailure | Unreadable


def parse_ack(answer: Sequence[object], event_id: str, *, strict: bool = False) -> Ack:
    """What a callback's arguments say about the event; never raises.

    Only the first argument counts. With `strict` an `ok` must be the contract's own, with the eventId; without it the
    short forms `cb()`, `cb(true)`, `{success: true}` and `{ok: true}` are taken as stored too, and of
    `cb(null, answer)`, as Node's own callbacks are called where there is no error, the second argument counts.
    """
    if len(answer) > 1 and answer[0] is None and not strict:
        answer = answer[1:]
    if not answer:
        return Unreadable("the answer is empty, and backend.ack is strict") if strict else Stored()
    first = answer[0]
    if first is True:
        return Unreadable("the answer is true, and backend.ack is strict") if strict else Stored()
    if not isinstance(first, Mapping):
        said = f" {_text(first)!r}" if isinstance(first, str) and first else ""
        return Unreadable(f"the answer is {_kind(first)}{said}, it must be an object with a status")
    named = first.get("eventId")
    if named is not None and named != event_id:
        return Unreadable(f"the answer names another eventId, {_text(named)}")
    if first.get("status") in ("ok", "duplicate", "rejected", "retry"):
        if named is None and strict:
            return Unreadable("the answer names no eventId, and backend.ack is strict")
        return _contract_ack(first)
    return _short_ack(first, strict=strict)


def _contract_ack(answer: Mapping[Any, Any]) -> Ack:
    match answer["status"]:
        case "ok":
            return Stored()
        case "duplicate":
            return Duplicate()
        case "rejected":
            return Rejected(_text(answer.get("code")) or "REJECTED", _text(answer.get("message")))
        case _:
            return Retry(_retry_after_ms(answer.get("retryAfterMs")), _text(answer.get("message")))


def _short_ack(answer: Mapping[Any, Any], *, strict: bool) -> Ack:
    """An answer without a status of the contract. A sign of failure outweighs a sign of success beside it."""
    error = answer.get("error")
    if error not in (None, False, ""):
        return SoftFailure(_error_text(error))
    if answer.get("success") is False or answer.get("ok") is False:
        return SoftFailure(_text(answer.get("message")) or "the back-end answered without success")
    if answer.get("success") is True or answer.get("ok") is True:
        return Unreadable("the answer has no status, and backend.ack is strict") if strict else Stored()
    if "status" in answer:
        return Unreadable(f"the answer's status is {_text(answer['status'])!r}, the contract has no such one")
    return Unreadable("the answer has no status")


def _error_text(error: object) -> str:
    if isinstance(error, Mapping) and isinstance(inner := error.get("message"), str):
        return _text(inner)
    return _text(error)


def _retry_after_ms(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value or value < 0:
        return None
    return int(min(value, MAX_RETRY_AFTER_MS))


# --------------------------------------------------------------------------------------------------------------------
# Commands


def parse_command(name: str, args: Sequence[object]) -> CommandRequest:
    """The command that the back-end emitted as `name` with `args`: its data, or the guide's `{type, data}`.

    Raises `ProtocolError` that names the field and what it must be; `refusal` makes the answer of it. `update_config`
    is only taken apart here; whether its values are good is the configuration's to say.
    """
    if name not in COMMANDS:
        raise ProtocolError(f"unknown command {_text(name)!r}; this agent knows {', '.join(COMMANDS)}")
    envelope, data = _command_data(name, args)
    command_id = _command_id(envelope, data)
    expires_at = _expires_at(data.get("expiresAt", envelope.get("expiresAt")))
    content = {key: value for key, value in data.items() if key not in ("commandId", "expiresAt")}
    return CommandRequest(name, _READERS[name](name, content), command_id, expires_at)


def command_id_of(args: Sequence[object]) -> str | None:
    """The commandId of a command that may otherwise be nonsense, so that its refusal can name it; None without one."""
    first = args[0] if args else None
    if not isinstance(first, Mapping):
        return None
    inner = first.get("data")
    for holder in (first, inner if isinstance(inner, Mapping) else {}):
        value = holder.get("commandId")
        if isinstance(value, str) and 0 < len(value) <= MAX_TEXT:
            return _unicode(value)
    return None


def refusal(name: str, args: Sequence[object], error: ProtocolError) -> CommandReply:
    """The answer to a command that `parse_command` raised `error` on."""
    return CommandReply(
        status=ReplyStatus.ERROR,
        command_id=command_id_of(args),
        message=error.message,
        code=ReplyCode.INVALID_DATA if name in COMMANDS else ReplyCode.UNKNOWN_COMMAND,
    )


def reply_dict(reply: CommandReply) -> dict[str, Any]:
    """The answer to a command as the back-end gets it."""
    return _clean_object(
        {
            "status": reply.status.value,
            "commandId": reply.command_id,
            "message": reply.message,
            "code": reply.code,
            "data": None if reply.data is None else dict(reply.data),
        }
    )


def snake_case_changes(changes: Mapping[str, Any]) -> dict[str, Any]:
    """A partial configuration with Python's names: `minConfidence` -> `min_confidence`, at every level.

    Keys of `cameras` are camera ids and stay as they are. Raises `ProtocolError` where two keys become the same, where
    a key is no text, or where it is nested deeper than `MAX_DEPTH`.
    """
    renamed = _snake_object(changes, "", 0)
    if isinstance(cameras := changes.get("cameras"), Mapping):
        renamed["cameras"] = {_unicode(str(key)): _snake(value, f"cameras.{key}", 2) for key, value in cameras.items()}
    return renamed


def snake_case(name: str) -> str:
    """`minConfidence` -> `min_confidence`, `gateID` -> `gate_id`; a name that is snake_case already stays."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def camel_case(name: str) -> str:
    """`min_confidence` -> `minConfidence`: a key's name on the wire, for words that the back-end's developer reads."""
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def _snake(value: object, path: str, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise ProtocolError(f"{path}: nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, Mapping):
        return _snake_object(value, path, depth)
    if isinstance(value, list | tuple):
        return [_snake(item, f"{path}.{index}", depth + 1) for index, item in enumerate(value)]
    return _unicode(value) if isinstance(value, str) else value


def _snake_object(value: Mapping[Any, Any], path: str, depth: int) -> dict[str, Any]:
    renamed: dict[str, Any] = {}
    for key, inner in value.items():
        place = f"{path}.{key}" if path else str(key)
        if not isinstance(key, str):
            raise ProtocolError(f"{place}: a key must be text, this one is {_kind(key)}")
        name = snake_case(_unicode(key))
        if name in renamed:
            raise ProtocolError(f"{place}: given twice, as {key} and under another spelling")
        renamed[name] = {} if place == "cameras" and isinstance(inner, Mapping) else _snake(inner, place, depth + 1)
    return renamed


def _command_data(name: str, args: Sequence[object]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The guide's envelope (empty where there is none) and the command's data."""
    first = args[0] if args else None
    if first is None:
        return {}, {}
    if not isinstance(first, Mapping):
        raise ProtocolError(f"the argument of {name} is {_kind(first)}, it must be an object (or nothing)")
    if "data" not in first:
        data = {key: value for key, value in first.items() if key not in ("type", "timestamp")}
        _check_type(name, first)
        return {}, data
    _check_type(name, first)
    inner = first["data"]
    if inner is None:
        return first, {}
    if not isinstance(inner, Mapping):
        raise ProtocolError(f"data of {name} is {_kind(inner)}, it must be an object")
    return first, inner


def _check_type(name: str, envelope: Mapping[str, Any]) -> None:
    if "type" in envelope and envelope["type"] != name:
        raise ProtocolError(f"type is {_text(envelope['type'])!r}, it must be {name!r} like the event's name")


def _command_id(envelope: Mapping[str, Any], data: Mapping[str, Any]) -> str | None:
    value = data.get("commandId", envelope.get("commandId"))
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT:
        raise ProtocolError(f"commandId must be text of 1 to {MAX_TEXT} characters, it is {_kind(value)}")
    return _unicode(value)


def _expires_at(value: object) -> datetime | None:
    return None if value is None else _moment("expiresAt", value)


def _moment(field: str, value: object) -> datetime:
    moment = parse_moment(value)
    if moment is None:
        raise ProtocolError(
            f"{field} must be a time such as 2026-11-23T01:02:03.456Z or milliseconds since 1970, "
            f"it is {_text(value)!r}"
        )
    return moment


def parse_moment(value: object) -> datetime | None:
    """An aware UTC datetime from ISO 8601 text (no zone means UTC) or milliseconds since 1970; else None."""
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return None


def _read_selection(name: str, data: Mapping[str, Any]) -> CameraSelection:
    """Which cameras, all where none is named; a list without any names none, as the contract has it.

    A field that is not known is refused, since passing over it would mean all of the cameras.
    """
    for key in data:
        if key not in ("cameraIds", "gateIds"):
            raise ProtocolError(f"{name} knows no field {_text(key)!r}; it takes cameraIds, gateIds or nothing")
    return CameraSelection(_id_list(data, "cameraIds"), _id_list(data, "gateIds"))


def _id_list(data: Mapping[str, Any], field: str) -> tuple[str, ...]:
    value = data.get(field)
    if value is None:
        return ()
    if not isinstance(value, list | tuple):
        raise ProtocolError(f"{field} must be a list of text, it is {_kind(value)}")
    for index, item in enumerate(value):
        if not isinstance(item, str) or not item:
            raise ProtocolError(f"{field}.{index} must be text that is not empty, it is {_kind(item)}")
    return tuple(dict.fromkeys(_unicode(item) for item in value))


def _read_start(name: str, data: Mapping[str, Any]) -> Command:
    return StartProcessing(_read_selection(name, data))


def _read_stop(name: str, data: Mapping[str, Any]) -> Command:
    return StopProcessing(_read_selection(name, data))


def _read_update(name: str, data: Mapping[str, Any]) -> Command:
    return UpdateConfig(dict(data))


def _read_get_status(name: str, data: Mapping[str, Any]) -> Command:
    return GetStatus()


def _read_snapshot(name: str, data: Mapping[str, Any]) -> Command:
    camera_id = data.get("cameraId")
    if not isinstance(camera_id, str) or not camera_id:
        raise ProtocolError(f"cameraId must be text that is not empty, it is {_kind(camera_id)}")
    return CaptureSnapshot(_unicode(camera_id))


def _read_replay(name: str, data: Mapping[str, Any]) -> Command:
    """Which events; as with cameras, a field that is not known is refused: passing over it would mean all of them."""
    for key in data:
        if key not in ("fromSequence", "toSequence", "fromTime", "toTime"):
            raise ProtocolError(
                f"{name} knows no field {_text(key)!r}; it takes fromSequence, toSequence, fromTime, toTime or nothing"
            )
    first, last = _sequence(data, "fromSequence"), _sequence(data, "toSequence")
    if first is not None and last is not None and last < first:
        raise ProtocolError(f"toSequence must not be below fromSequence {first}, it is {last}")
    begin, end = (None if data.get(name) is None else _moment(name, data[name]) for name in ("fromTime", "toTime"))
    if begin is not None and end is not None and end < begin:
        raise ProtocolError(f"toTime must not be before fromTime {isoformat_ms(begin)}, it is {isoformat_ms(end)}")
    return ReplayEvents(EventRange(from_sequence=first, to_sequence=last, from_time=begin, to_time=end))


def _sequence(data: Mapping[str, Any], field: str) -> int | None:
    value = data.get(field)
    if value is None:
        return None
    number = _finite(value)
    if number is None or not 1 <= number <= MAX_SEQUENCE or number != int(number):
        raise ProtocolError(f"{field} must be a whole number from 1 to {MAX_SEQUENCE}, it is {_text(value)!r}")
    return int(number)


_READERS: Mapping[str, Callable[[str, Mapping[str, Any]], Command]] = {
    START_PROCESSING: _read_start,
    STOP_PROCESSING: _read_stop,
    UPDATE_CONFIG: _read_update,
    GET_STATUS: _read_get_status,
    CAPTURE_SNAPSHOT: _read_snapshot,
    REPLAY_EVENTS: _read_replay,
}


# --------------------------------------------------------------------------------------------------------------------
# Connecting


def auth(*, token: str | None, agent_id: str, boot_id: str, epoch: int, version: str) -> dict[str, Any]:
    """The `auth` object of a connection; `epoch` grows by one at every connection."""
    return {
        "token": token or "",
        "agentId": agent_id,
        "bootId": boot_id,
        "epoch": epoch,
        "version": version,
        "contract": CONTRACT_VERSION,
    }


def hello(*, agent_id: str, version: str, capabilities: Sequence[str] = CAPABILITIES) -> dict[str, Any]:
    """The argument of `agent_hello`."""
    return {
        "agentId": agent_id,
        "version": version,
        "contract": CONTRACT_VERSION,
        "capabilities": list(capabilities),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class HelloAnswer:
    """What a back-end wishes for this connection; None where it said nothing (readable) about it.

    `problems` says in words what was passed over, for the log.
    """

    max_message_bytes: int | None = None
    images: ImageMode | None = None
    replay_per_second: float | None = None
    server_time: datetime | None = None
    problems: tuple[str, ...] = ()


def parse_hello_answer(args: Sequence[object]) -> HelloAnswer:
    """The answer to `agent_hello`; never raises: a field that makes no sense leaves its default in force."""
    first = args[0] if args else None
    if first is None:
        return HelloAnswer()
    if not isinstance(first, Mapping):
        return HelloAnswer(problems=(f"the answer is {_kind(first)}, it must be an object",))
    problems: list[str] = []

    def field(name: str, must_be: str, read: Callable[[Any], Any]) -> Any:
        if first.get(name) is None:
            return None
        value = read(first[name])
        if value is None:
            problems.append(f"{name} must be {must_be}, it is {_text(first[name])!r}")
        return value

    return HelloAnswer(
        max_message_bytes=field(
            "maxMessageBytes", f"a number from {MIN_MESSAGE_BYTES} to {MAX_MESSAGE_BYTES}", _believable_bytes
        ),
        images=field("images", "base64, binary or none", _image_mode),
        replay_per_second=field("replayPerSecond", f"a number from 0 to {MAX_REPLAY_PER_SECOND:g}", _believable_rate),
        server_time=field("serverTime", "a time of this century", parse_server_time),
        problems=tuple(problems),
    )


def parse_server_time(value: object) -> datetime | None:
    """The back-end's clock from the answer to a hello or an event; None where it tells none that can be believed."""
    moment = parse_moment(value)
    return moment if moment is not None and 2000 <= moment.year < 2100 else None


def _believable_bytes(value: object) -> int | None:
    number = _finite(value)
    return int(number) if number is not None and MIN_MESSAGE_BYTES <= number <= MAX_MESSAGE_BYTES else None


def _believable_rate(value: object) -> float | None:
    number = _finite(value)
    return number if number is not None and 0 <= number <= MAX_REPLAY_PER_SECOND else None


def _image_mode(value: object) -> ImageMode | None:
    return ImageMode(value) if isinstance(value, str) and value in list(ImageMode) else None


# --------------------------------------------------------------------------------------------------------------------
# Values that JSON can hold


def _picture(image: Jpeg | None, images: ImageMode) -> str | bytes:
    if image is None or images == ImageMode.NONE:
        return ""
    if images == ImageMode.BINARY:
        return image.data
    return Base64Text(binascii.b2a_base64(image.data, newline=False), "ascii")


def _box(box: Box) -> dict[str, float]:
    return {
        "x": _rounded(box.x, 2),
        "y": _rounded(box.y, 2),
        "width": _rounded(box.width, 2),
        "height": _rounded(box.height, 2),
    }


def _weather(weather: Weather) -> dict[str, Any]:
    known = {"condition": weather.condition, "temperature": weather.temperature, "humidity": weather.humidity}
    return {name: value for name, value in known.items() if value is not None}


def _finite(value: object) -> float | None:
    """A number that JSON can hold, or None. (An int may be too large for a float.)"""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _rounded(value: float, digits: int) -> float:
    """Never NaN or infinite: a required number that is not known is 0. numpy's own floats become Python's."""
    number = float(value)
    return round(number, digits) if math.isfinite(number) else 0.0


def _whole(value: float) -> int:
    number = float(value)
    return round(number) if math.isfinite(number) else 0


def _fraction(value: float) -> float:
    if 0.0 <= value <= 1.0:
        return round(float(value), 4)
    return 1.0 if 1.0 < value < math.inf else 0.0


def _clean_object(value: Mapping[Any, Any]) -> dict[str, Any]:
    return {_unicode(str(key)): _clean(inner, 1) for key, inner in value.items()}


def _clean(value: Any, depth: int) -> Any:
    """The nearest value that JSON can hold; NaN and infinity become null, an object of another kind its text."""
    if depth > MAX_DEPTH:
        return "…"
    # Nearly every value is of one of these kinds exactly: told apart without asking each of the classes below.
    kind = type(value)
    if kind is str:
        return _unicode(value)
    if kind is float:
        return value if math.isfinite(value) else None
    if kind is dict:
        return {_unicode(str(key)): _clean(inner, depth + 1) for key, inner in value.items()}
    if kind is list or kind is tuple:
        return [_clean(inner, depth + 1) for inner in value]
    match value:
        case None | bool():
            return value
        case Enum():
            return _clean(value.value, depth)
        case str():
            return _unicode(value)
        case int():
            return value
        case float():
            return float(value) if math.isfinite(value) else None
        case datetime():
            return isoformat_ms(value)
        case Mapping():
            return {_unicode(str(key)): _clean(inner, depth + 1) for key, inner in value.items()}
        case bytes():
            return base64.b64encode(value).decode("ascii")
        case list() | tuple() | set() | frozenset():
            return [_clean(inner, depth + 1) for inner in value]
        case _:
            return _clean_foreign(value, depth)


def _clean_foreign(value: object, depth: int) -> Any:
    """numpy's scalars and arrays know `tolist`; anything else is shown as its text."""
    to_list = getattr(value, "tolist", None)
    return _clean(to_list(), depth) if callable(to_list) else _unicode(str(value))


def _unicode(text: str) -> str:
    """Text that UTF-8 can hold: half of a surrogate pair, which some JavaScript sends, becomes a question mark."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _text(value: object) -> str:
    """A short, printable form of anything that the other side sent; empty for None."""
    if value is None:
        return ""
    shown = _unicode(value if isinstance(value, str) else _brief_repr(value))
    return shown if len(shown) <= MAX_TEXT else shown[: MAX_TEXT - 1] + "…"


_REPR = reprlib.Repr()
_REPR.maxlevel, _REPR.maxdict, _REPR.maxlist, _REPR.maxstring, _REPR.maxother = 3, 8, 8, 120, 120


def _brief_repr(value: object) -> str:
    """Bounded in length and depth, whatever was sent."""
    return _REPR.repr(value)


def _kind(value: object) -> str:
    """What kind of JSON value it is, for a sentence: `a number`, `text`, `nothing`."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return "a number"
        case str():
            return "text" if value else "empty text"
        case bytes():
            return "binary data"
        case Mapping():
            return "an object"
        case list() | tuple():
            return "a list"
        case _:
            return f"a {type(value).__name__}"
