"""Outwards, at every attempt: what belongs to one, with the pictures in the form that this back-end takes."""

from __future__ import annotations

import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pydantic_core

from lpr.domain.choices import ImageMode, PayloadShape
from lpr.domain.clock import isoformat_ms
from lpr.domain.errors import ProtocolError
from lpr.domain.events import Jpeg
from lpr.wire.names import CLOCK_SYNCHRONISED, ERROR
from lpr.wire.values import kind_of, whole_number


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
        holder["boundingBox"] = {side: whole_number(value * original_scale) for side, value in box.items()}
    attempt = {
        "attempt": delivery.attempt,
        "replayed": delivery.replayed,
        "sentAt": isoformat_ms(delivery.sent_at),
        "ageMs": max(0, whole_number(delivery.age_ms)),
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
        raise ProtocolError(f"a stored message is {kind_of(value)}, it must be an object")
    return value


def _picture(image: Jpeg | None, images: ImageMode) -> str | bytes:
    if image is None or images == ImageMode.NONE:
        return ""
    if images == ImageMode.BINARY:
        return image.data
    return Base64Text(binascii.b2a_base64(image.data, newline=False), "ascii")
