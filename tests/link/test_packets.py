"""Events of ours are, character for character, those of python-socketio, and answers are read as it reads them."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from socketio.packet import ACK, EVENT, Packet

from lpr.link.packets import TOO_DEEP, event_packet, read_answer, read_limit
from lpr.wire import Base64Text, Unreadable, parse_ack

PICTURES = st.binary(max_size=40).map(lambda data: Base64Text(base64.b64encode(data), "ascii"))
LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.binary(max_size=8) | PICTURES
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
)
MESSAGES = st.dictionaries(st.text(max_size=4), VALUES, max_size=4)
NAMESPACES = st.sampled_from(["/", "/ai"])
NUMBERS = st.integers(1, 1 << 40)


@given(message=MESSAGES, namespace=NAMESPACES, number=NUMBERS)
def test_every_event_is_encoded_as_the_library_does(message: dict[str, Any], namespace: str, number: int) -> None:
    theirs = Packet(EVENT, data=["license_plate_detected", message], namespace=namespace, id=number).encode()
    text, *attachments = theirs if isinstance(theirs, list) else [theirs]
    assert event_packet(namespace, number, "license_plate_detected", message) == [f"4{text}", *attachments]


def test_a_picture_is_not_looked_through() -> None:
    """Text that would have to be escaped shows whether it was."""
    assert event_packet("/", 7, "x", {"picture": Base64Text('"')}) == ['427["x",{"picture":"""}]']


@given(
    arguments=st.lists(st.dictionaries(st.text(max_size=4), st.text(max_size=4))), namespace=NAMESPACES, number=NUMBERS
)
def test_every_answer_is_read_as_the_library_does(arguments: list[Any], namespace: str, number: int) -> None:
    text = Packet(ACK, data=arguments, namespace=namespace, id=number).encode()
    theirs = Packet(encoded_packet=text)
    assert read_answer(namespace, f"4{text}") == (theirs.id, theirs.data) == (number, arguments)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2",
        "43",
        "43/ai",
        "43/ai,",
        "43/ai,1",
        '43/ai,["x"]',
        '43/other,1["x"]',
        '431["x"]',
        '42/ai,1["x"]',
        '43/ai,1{"a":1}',
        '43/ai,-1["x"]',
        '43/ai,\u00b2["x"]',
        '43/ai,1234567890123456["x"]',
        '43/ai,1["x"',
        '43/ai,1["x"]]',
    ],
)
def test_what_is_not_an_answer_of_the_namespace_is_left_to_the_library(text: str) -> None:
    assert read_answer("/ai", text) is None


@pytest.mark.parametrize("deep", ["[" * 3000 + "]" * 3000, "[" + '{"a":' * 50_000 + "1" + "}" * 50_000 + "]"])
def test_an_answer_nested_too_deeply_to_be_read_is_still_its_events(deep: str) -> None:
    answer = read_answer("/ai", f"43/ai,17{deep}")
    assert answer == (17, [TOO_DEEP])
    assert isinstance(parse_ack(answer[1], "e-1"), Unreadable)


@pytest.mark.parametrize(
    ("opening", "limit"),
    [
        ('0{"sid":"x","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":50000}', 50_000),
        ('0{"sid":"x","maxPayload":0}', None),
        ('0{"sid":"x","maxPayload":"1e6"}', None),
        ('0{"sid":"x"}', None),
        ("0[]", None),
        ("0" + "[" * 50_000, None),
        ("no", None),
    ],
)
def test_what_a_server_takes_is_read_from_its_opening_where_it_can_be_believed(opening: str, limit: int | None) -> None:
    assert read_limit(opening) == limit


def test_an_answer_may_hold_anything() -> None:
    arguments = [None, {"status": "ok"}, [["]"]], "Đã"]
    assert read_answer("/ai", f"43/ai,17{json.dumps(arguments)}") == (17, arguments)
