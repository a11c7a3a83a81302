"""An outbox entry -> a message that fits. Pictures are scaled here, and nowhere after they were recorded.

A socket.io server closes the connection without a word on a message above its `maxHttpBufferSize`; so the size is known
before anything is sent. What is not known is a smaller limit that nobody speaks of, a server's or a proxy's, or a line
that does not stand for as long as a large message takes: that is learned (`Bearable`). The plate crop is evidence and
never scaled; the scene gives way.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lpr import wire
from lpr.domain.choices import ImageMode, PayloadShape
from lpr.domain.clock import Instant
from lpr.domain.errors import ImageError
from lpr.domain.events import Jpeg
from lpr.imaging import fit_jpeg
from lpr.outbox.base import Entry, Ticket

TOO_LARGE = "TOO_LARGE"
"""Dead letter: even without the original picture the message is above the limit."""

OMITTED_TOO_LARGE = "too_large"
OMITTED_DAMAGED = "damaged"
OMITTED_LINK_LOST = "link_lost"

_ENVELOPE_BYTES = 512
"""Packet type, namespace, ack id, event name, `delivery`, placeholders of two attachments: generously."""
_MOST_GROWTH = 3
_SMALLEST_PICTURE = 2_000
"""Bytes; a picture that would have to be smaller is left out without trying."""
_LEARNED_FOR_S = 24 * 3600.0
"""After a day larger messages are tried again: the limit may have been raised, the line may be better."""


@dataclass(frozen=True, slots=True)
class Packing:
    """What the present connection takes. Limits count the whole message as it travels.

    The original image is scaled to what it can `bear`; only above `max_message_bytes` a message cannot be sent at all.
    """

    images: ImageMode
    payload: PayloadShape
    max_message_bytes: int
    bears_bytes: int = sys.maxsize

    @property
    def wanted_bytes(self) -> int:
        """What a message is made to fit into, as far as its original image goes."""
        return min(self.max_message_bytes, self.bears_bytes)


@dataclass(frozen=True, slots=True)
class TooLarge:
    """A message of `size_bytes` without its original picture, above the limit."""

    size_bytes: int
    limit_bytes: int


def fits_as_it_is(entry: Entry, packing: Packing) -> bool:
    """True where packing is quick: no picture has to be scaled."""
    # A byte of stored text travels as three at most (half of `ô` as half of `\u00f4`), one of a picture as one and a
    # third: nearly every event is far enough below the limit to be told without encoding it.
    if _MOST_GROWTH * entry.ticket.size_bytes + _ENVELOPE_BYTES <= packing.wanted_bytes:
        return True
    return _whole_size(entry, packing) <= packing.wanted_bytes


def pack(entry: Entry, delivery: wire.Delivery, packing: Packing) -> dict[str, Any] | TooLarge:
    """The message to emit. Slow (tens of milliseconds) where `fits_as_it_is` is false: then call it in a thread."""
    original, omitted, scale = entry.original_image, None, 1.0
    if not fits_as_it_is(entry, packing):
        base = _base_size(entry, packing)
        if base > packing.max_message_bytes:
            return TooLarge(base, packing.max_message_bytes)
        original, omitted = _fitted(entry.original_image, packing.wanted_bytes - base, packing)
        if original is not None and entry.original_image is not None:
            scale = original.width / entry.original_image.width
    return wire.message(
        entry.body,
        delivery,
        plate_image=entry.plate_image,
        original_image=original,
        images=packing.images,
        payload=packing.payload,
        original_scale=scale,
        original_omitted=omitted or entry.original_omitted,
    )


def bare(entry: Entry) -> Entry:
    """The event without its original image, as it is tried once that has taken the connection down."""
    return replace(entry, original_image=None, original_omitted=OMITTED_LINK_LOST)


def largest_size(entry: Entry, packing: Packing) -> int:
    """Bytes of the message, original image and all, as `pack` makes it at most; 0 where it carries no such image."""
    if not _travel_size(entry.original_image, packing):
        return 0
    return min(_whole_size(entry, packing), packing.wanted_bytes)


class Bearable:
    """The largest message that connections to one back-end were seen to bear; times are monotonic seconds."""

    def __init__(self) -> None:
        self._bytes = sys.maxsize
        self._until_s = float("-inf")

    def at(self, now: float) -> int:
        """Bytes; `sys.maxsize` where nothing was learned, or too long ago."""
        return self._bytes if now < self._until_s else sys.maxsize

    def broke(self, size_bytes: int, now: float) -> int:
        """A message of so many bytes took the connection down again and again, and passed once it was smaller. Returns
        what is borne from now on: half.
        """
        self._bytes, self._until_s = max(wire.MIN_MESSAGE_BYTES, size_bytes // 2), now + _LEARNED_FOR_S
        return self._bytes


def attempt(ticket: Ticket, body: Mapping[str, Any], number: int, now: Instant, *, replayed: bool) -> wire.Delivery:
    """`delivery` of one attempt. The age is taken on the monotonic clock where the event is of this boot."""
    occurred_at = wire.parse_moment(body.get("timestamp")) or ticket.recorded_at
    if ticket.recorded_monotonic_s is None:
        age_s = (now.wall - occurred_at).total_seconds()
    else:
        before_record_s = (ticket.recorded_at - occurred_at).total_seconds()
        age_s = now.monotonic_s - ticket.recorded_monotonic_s + before_record_s
    return wire.Delivery(attempt=number, replayed=replayed, sent_at=now.wall, age_ms=max(0.0, age_s * 1000.0))


def rough_size(ticket: Ticket, packing: Packing) -> int:
    """Bytes of a message as it was made of this event, near enough, and never above what it was made to fit into."""
    text = packing.images is ImageMode.BASE64
    return min(
        _ENVELOPE_BYTES + (wire.base64_size(ticket.size_bytes) if text else ticket.size_bytes), packing.wanted_bytes
    )


def _fitted(original: Jpeg | None, room: int, packing: Packing) -> tuple[Jpeg | None, str | None]:
    """The picture to send, and why there is none although one was recorded."""
    if original is None or packing.images is ImageMode.NONE or _travel_size(original, packing) <= room:
        return original, None
    max_bytes = room // 4 * 3 if packing.images is ImageMode.BASE64 else room
    if max_bytes < _SMALLEST_PICTURE:
        return None, OMITTED_TOO_LARGE
    try:
        fitted = fit_jpeg(original, max_bytes)
    except ImageError:
        return None, OMITTED_DAMAGED
    return fitted, None if fitted is not None else OMITTED_TOO_LARGE


def _whole_size(entry: Entry, packing: Packing) -> int:
    return _base_size(entry, packing) + _travel_size(entry.original_image, packing)


def _base_size(entry: Entry, packing: Packing) -> int:
    """Bytes of everything but the original picture."""
    return wire.message_size(entry.body) + _ENVELOPE_BYTES + _travel_size(entry.plate_image, packing)


def _travel_size(image: Jpeg | None, packing: Packing) -> int:
    if image is None or packing.images is ImageMode.NONE:
        return 0
    return wire.base64_size(len(image.data)) if packing.images is ImageMode.BASE64 else len(image.data)
