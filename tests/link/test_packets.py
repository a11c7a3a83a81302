"""Packets of ours are, character for character, those of python-socketio."""

from __future__ import annotations

import base64
from typing import Any

import engineio.json
import socketio.packet
from hypothesis import given
from hypothesis import strategies as st

from lpr.link.packets import Packet
from lpr.wire import Base64Text

PICTURES = st.binary(max_size=40).map(lambda data: Base64Text(base64.b64encode(data), "ascii"))
LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.binary(max_size=8) | PICTURES
MESSAGES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
)


@given(message=MESSAGES, number=st.none() | st.integers(0, 1 << 40))
def test_every_message_is_encoded_as_the_library_does(message: Any, number: int | None) -> None:
    ours, theirs = (
        kind(socketio.packet.EVENT, data=["license_plate_detected", message], namespace="/ai", id=number)
        for kind in (Packet, socketio.packet.Packet)
    )
    assert ours.packet_type == theirs.packet_type
    assert ours.encode() == theirs.encode()


def test_a_picture_is_not_looked_through() -> None:
    """Text that would have to be escaped shows whether it was."""
    encoded = Packet(socketio.packet.EVENT, data=["x", {"picture": Base64Text('"')}]).encode()
    assert encoded == '2["x",{"picture":"""}]'


def test_an_answer_is_read_as_the_library_does() -> None:
    text = '3/ai,17[{"status":"ok","eventId":"1"}]'
    ours, theirs = Packet(encoded_packet=text), socketio.packet.Packet(encoded_packet=text)
    assert (ours.packet_type, ours.namespace, ours.id, ours.data) == (3, "/ai", 17, theirs.data)


def test_other_clients_of_the_process_keep_their_packets() -> None:
    assert socketio.packet.Packet.json is engineio.json
    assert socketio.AsyncClient(serializer=Packet).packet_class is Packet
    assert socketio.packet.Packet.json is engineio.json
