"""Inwards: commands, whose mistakes are told in words that the back-end's developer can act on; and their answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

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
from lpr.wire.names import (
    CAPTURE_SNAPSHOT,
    COMMANDS,
    GET_STATUS,
    REPLAY_EVENTS,
    START_PROCESSING,
    STOP_PROCESSING,
    UPDATE_CONFIG,
)
from lpr.wire.values import (
    MAX_DEPTH,
    MAX_TEXT,
    clean_object,
    finite_number,
    kind_of,
    parse_moment,
    short_text,
    unicode_text,
)

MAX_SEQUENCE = 2**53
"""What JSON's numbers hold exactly, in every language."""


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


def parse_command(name: str, args: Sequence[object]) -> CommandRequest:
    """The command that the back-end emitted as `name` with `args`: its data, or the guide's `{type, data}`.

    Raises `ProtocolError` that names the field and what it must be; `refusal` makes the answer of it. `update_config`
    is only taken apart here; whether its values are good is the configuration's to say.
    """
    if name not in COMMANDS:
        raise ProtocolError(f"unknown command {short_text(name)!r}; this agent knows {', '.join(COMMANDS)}")
    envelope, data = _command_data(name, args)
    command_id = _command_id(envelope, data)
    expires_at = _expires_at(data.get("expiresAt", envelope.get("expiresAt")))
    content = {key: value for key, value in data.items() if key not in ("commandId", "expiresAt")}
    return CommandRequest(name, READERS[name](name, content), command_id, expires_at)


def command_id_of(args: Sequence[object]) -> str | None:
    """The commandId of a command that may otherwise be nonsense, so that its refusal can name it; None without one."""
    first = args[0] if args else None
    if not isinstance(first, Mapping):
        return None
    inner = first.get("data")
    for holder in (first, inner if isinstance(inner, Mapping) else {}):
        value = holder.get("commandId")
        if isinstance(value, str) and 0 < len(value) <= MAX_TEXT:
            return unicode_text(value)
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
    return clean_object(
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
        renamed["cameras"] = {
            unicode_text(str(key)): _snake(value, f"cameras.{key}", 2) for key, value in cameras.items()
        }
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
    return unicode_text(value) if isinstance(value, str) else value


def _snake_object(value: Mapping[Any, Any], path: str, depth: int) -> dict[str, Any]:
    renamed: dict[str, Any] = {}
    for key, inner in value.items():
        place = f"{path}.{key}" if path else str(key)
        if not isinstance(key, str):
            raise ProtocolError(f"{place}: a key must be text, this one is {kind_of(key)}")
        name = snake_case(unicode_text(key))
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
        raise ProtocolError(f"the argument of {name} is {kind_of(first)}, it must be an object (or nothing)")
    if "data" not in first:
        data = {key: value for key, value in first.items() if key not in ("type", "timestamp")}
        _check_type(name, first)
        return {}, data
    _check_type(name, first)
    inner = first["data"]
    if inner is None:
        return first, {}
    if not isinstance(inner, Mapping):
        raise ProtocolError(f"data of {name} is {kind_of(inner)}, it must be an object")
    return first, inner


def _check_type(name: str, envelope: Mapping[str, Any]) -> None:
    if "type" in envelope and envelope["type"] != name:
        raise ProtocolError(f"type is {short_text(envelope['type'])!r}, it must be {name!r} like the event's name")


def _command_id(envelope: Mapping[str, Any], data: Mapping[str, Any]) -> str | None:
    value = data.get("commandId", envelope.get("commandId"))
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT:
        raise ProtocolError(f"commandId must be text of 1 to {MAX_TEXT} characters, it is {kind_of(value)}")
    return unicode_text(value)


def _expires_at(value: object) -> datetime | None:
    return None if value is None else _moment("expiresAt", value)


def _moment(field: str, value: object) -> datetime:
    moment = parse_moment(value)
    if moment is None:
        raise ProtocolError(
            f"{field} must be a time such as 2026-11-23T01:02:03.456Z or milliseconds since 1970, "
            f"it is {short_text(value)!r}"
        )
    return moment


def _read_selection(name: str, data: Mapping[str, Any]) -> CameraSelection:
    """Which cameras, all where none is named; a list without any names none, as the contract has it.

    A field that is not known is refused, since passing over it would mean all of the cameras.
    """
    for key in data:
        if key not in ("cameraIds", "gateIds"):
            raise ProtocolError(f"{name} knows no field {short_text(key)!r}; it takes cameraIds, gateIds or nothing")
    return CameraSelection(_id_list(data, "cameraIds"), _id_list(data, "gateIds"))


def _id_list(data: Mapping[str, Any], field: str) -> tuple[str, ...]:
    value = data.get(field)
    if value is None:
        return ()
    if not isinstance(value, list | tuple):
        raise ProtocolError(f"{field} must be a list of text, it is {kind_of(value)}")
    for index, item in enumerate(value):
        if not isinstance(item, str) or not item:
            raise ProtocolError(f"{field}.{index} must be text that is not empty, it is {kind_of(item)}")
    return tuple(dict.fromkeys(unicode_text(item) for item in value))


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
        raise ProtocolError(f"cameraId must be text that is not empty, it is {kind_of(camera_id)}")
    return CaptureSnapshot(unicode_text(camera_id))


def _read_replay(name: str, data: Mapping[str, Any]) -> Command:
    """Which events; as with cameras, a field that is not known is refused: passing over it would mean all of them."""
    for key in data:
        if key not in ("fromSequence", "toSequence", "fromTime", "toTime"):
            raise ProtocolError(
                f"{name} knows no field {short_text(key)!r}; "
                "it takes fromSequence, toSequence, fromTime, toTime or nothing"
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
    number = finite_number(value)
    if number is None or not 1 <= number <= MAX_SEQUENCE or number != int(number):
        raise ProtocolError(f"{field} must be a whole number from 1 to {MAX_SEQUENCE}, it is {short_text(value)!r}")
    return int(number)


READERS: Mapping[str, Callable[[str, Mapping[str, Any]], Command]] = {
    START_PROCESSING: _read_start,
    STOP_PROCESSING: _read_stop,
    UPDATE_CONFIG: _read_update,
    GET_STATUS: _read_get_status,
    CAPTURE_SNAPSHOT: _read_snapshot,
    REPLAY_EVENTS: _read_replay,
}
