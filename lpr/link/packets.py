"""Socket.IO's two packets of which there are many: an event of ours, and the answer to it.

Everything else on a connection is python-socketio's own. It would look at each character of a picture in turn, and go
through a message five times: that takes half of the processor time that sending an event costs with it as it is.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from itertools import chain, zip_longest
from typing import Any

from engineio import packet as engine_packet
from socketio import packet as socket_packet

from lpr.wire import MIN_MESSAGE_BYTES, Base64Text

_STAND_IN = secrets.token_hex(16)
"""Stands for a picture while the rest is encoded. Nobody can guess it, so nothing else in a message is it."""
_EVENT = f"{engine_packet.MESSAGE}{socket_packet.EVENT}"
_BINARY_EVENT = f"{engine_packet.MESSAGE}{socket_packet.BINARY_EVENT}"
_ACK = f"{engine_packet.MESSAGE}{socket_packet.ACK}"
_MOST_DIGITS = 15
TOO_DEEP = "(nested too deeply to be read)"
"""Stands for what was in such an answer."""
_encode = json.JSONEncoder(separators=(",", ":")).encode
"""`json.dumps` makes an encoder at every call."""


def event_packet(namespace: str, number: int, name: str, message: Mapping[str, Any]) -> list[str | bytes]:
    """The WebSocket messages of one event, to be answered under `number`: a text, and one for each `bytes` in it."""
    pictures: list[str] = []
    attachments: list[bytes] = []
    pieces = _encode([name, _taken_apart(dict(message), pictures, attachments)]).split(_STAND_IN)
    kind = f"{_BINARY_EVENT}{len(attachments)}-" if attachments else _EVENT
    head = f"{kind}{_place(namespace)}{number}"
    return ["".join([head, *chain.from_iterable(zip_longest(pieces, pictures, fillvalue=""))]), *attachments]


def read_answer(namespace: str, text: str) -> tuple[int, list[Any]] | None:
    """The number of the event and the answer's arguments; None where a text is anything else.

    An answer nested too deeply to be read is one all the same: that event's, not a fault of the connection.
    """
    head = f"{_ACK}{_place(namespace)}"
    begin = text.find("[", len(head), len(head) + _MOST_DIGITS + 1)
    if begin < 0 or not text.startswith(head):
        return None
    number = text[len(head) : begin]
    if not (number.isascii() and number.isdigit()):
        return None
    try:
        arguments = json.loads(text[begin:])
    except RecursionError:
        arguments = [TOO_DEEP]
    except ValueError:
        return None
    return int(number), arguments


def read_limit(opening: str) -> int | None:
    """The largest message that a server says it takes (socket.io 4: its `maxHttpBufferSize`) where it opens; None where
    it says none that can be believed.
    """
    try:
        said = json.loads(opening[1:])["maxPayload"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return said if isinstance(said, int) and said >= MIN_MESSAGE_BYTES else None


def _place(namespace: str) -> str:
    return "" if namespace == "/" else f"{namespace},"


def _taken_apart(value: Any, pictures: list[str], attachments: list[bytes]) -> Any:
    """The same value with a stand-in for each picture and a placeholder for each attachment; both are appended in the
    order in which they are encoded.
    """
    kind = type(value)
    if kind is dict:
        return {key: _taken_apart(inner, pictures, attachments) for key, inner in value.items()}
    if kind is list:
        return [_taken_apart(inner, pictures, attachments) for inner in value]
    if kind is Base64Text:
        pictures.append(value)
        return _STAND_IN
    if kind is bytes:
        attachments.append(value)
        return {"_placeholder": True, "num": len(attachments) - 1}
    return value
