"""The contract's table of commands, row by row, and what must hold for any command at all."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpr import wire
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
from tests.wire.samples import ANYTHING


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


@given(st.sampled_from([*wire.COMMANDS, "x"]), st.lists(ANYTHING, max_size=2))
def test_no_command_at_all_breaks_the_reader(name: str, args: list[object]) -> None:
    try:
        wire.parse_command(name, args)
    except ProtocolError as error:
        json.dumps(wire.reply_dict(wire.refusal(name, args, error)), allow_nan=False)


def test_a_refusal_names_the_command_wherever_its_id_stands() -> None:
    assert wire.command_id_of([{"commandId": "a", "data": 3}]) == "a"
    assert wire.command_id_of([{"data": {"commandId": "b"}}]) == "b"
    for nothing in ([], [None], ["x"], [{"commandId": 3}], [{"commandId": ""}], [{"commandId": "x" * 9999}]):
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


def test_changes_in_a_list_get_pythons_names_too_and_a_key_that_is_no_text_is_refused() -> None:
    assert wire.snake_case_changes({"roiList": [{"minX": 1}, [2, "half \ud800"]]}) == {
        "roi_list": [{"min_x": 1}, [2, "half ?"]]
    }
    with pytest.raises(ProtocolError, match="a key must be text, this one is a number"):
        wire.snake_case_changes({3: 1})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("camel", "snake"),
    [("minConfidence", "min_confidence"), ("fps", "fps"), ("gateID", "gate_id"), ("max_age", "max_age")],
)
def test_a_key_has_one_name_on_each_side(camel: str, snake: str) -> None:
    assert wire.snake_case(camel) == snake


def test_pythons_names_are_shown_as_the_back_end_writes_them() -> None:
    assert wire.camel_case("min_confidence") == "minConfidence"
    assert wire.camel_case("fps") == "fps"
