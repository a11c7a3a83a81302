"""An event as it lies beside the database, so whole that it can be put back into it.

What is recorded is synced once, in the file of pictures: the rows that point there are committed, but left to SQLite to
sync when something else must last. A power cut may take those rows, the newest ones, and nothing else. The next start
finds their events by their heads, in room that no row speaks for.

An event is taken for one of those where its head names the `epoch` that the database names, its position follows on
the last one that the database knows, and all checksums are right. An epoch begins with every start, and after every
transaction that failed: positions are given anew then.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import pydantic_core

from lpr.domain.events import Jpeg
from lpr.outbox.pictures import Extents, PictureFile, blocks
from lpr.outbox.rows import Row, milliseconds, moment_of

MAGIC = b"LPRevent"
EPOCH_BYTES = 16
_HEAD = struct.Struct("<8s16sqIII")
"""Magic, epoch, position, length of the description, length of the body, and the checksum of all that but the magic."""
HEAD_BYTES = _HEAD.size


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An event without a row, and where it lies."""

    position: int
    row: Row
    extents: Extents
    head_bytes: int


Described: TypeAlias = tuple[int, int, int, int]
"""A picture's bytes, width, height and checksum."""


def describe(image: Jpeg | None) -> Described | None:
    """What is noted of a picture."""
    return None if image is None else (len(image.data), image.width, image.height, image.checksum)


def pack(row: Row, position: int, epoch: bytes, plate: Described | None, original: Described | None) -> bytes:
    """What lies before an event's pictures, of which it says how they are."""
    description = pydantic_core.to_json(
        [
            row.event_id,
            row.event_type,
            row.code,
            row.sequence,
            milliseconds(row.recorded_at),
            row.recorded_monotonic_s,
            row.boot_id,
            row.recorded_offline,
            row.original_omitted,
            row.attempts,
            row.unsure_boot,
            plate,
            original,
        ]
    )
    body = row.body.encode()
    head = _HEAD.pack(MAGIC, epoch, position, len(description), len(body), 0)
    crc = zlib.crc32(body, zlib.crc32(description, zlib.crc32(head)))
    return _HEAD.pack(MAGIC, epoch, position, len(description), len(body), crc) + description + body


def lost_events(file: PictureFile, epoch: bytes, *, after: int) -> list[Found]:
    """Events of that epoch in free room that follow on the position `after`, without a gap.

    Whatever had been recorded does. What lies behind a gap nobody was told of: it was written together with something
    that is not whole, and not yet synced.
    """
    found: dict[int, Found] = {}
    for offset in file.free_places(MAGIC + epoch):
        _, _, position, described, body, _ = _HEAD.unpack(file.read([(offset, 0)], 0, HEAD_BYTES).ljust(HEAD_BYTES))
        if position > after and (event := _event_at(file, offset, position, HEAD_BYTES + described + body)) is not None:
            found[position] = event
    last = after
    while last + 1 in found:
        last += 1
    return [found[position] for position in range(after + 1, last + 1)]


def _event_at(file: PictureFile, offset: int, position: int, head_bytes: int) -> Found | None:
    packed = file.read([(offset, 0)], 0, head_bytes)
    row = _unpack(packed, lambda at, size: file.read([(offset + head_bytes, 0)], at, size))
    if row is None:
        return None
    extents = [(offset, blocks(head_bytes + row.picture_bytes))]
    return Found(position=position, row=row, extents=extents, head_bytes=head_bytes)


def _unpack(packed: bytes, read: Callable[[int, int], bytes]) -> Row | None:
    """The row, from what `pack` made; None where anything is not as it was. `read` gives from an offset behind it on so
    many bytes.
    """
    magic, epoch, position, described, body_bytes, noted_crc = _HEAD.unpack_from(packed)
    head = _HEAD.pack(magic, epoch, position, described, body_bytes, 0)
    if zlib.crc32(packed[HEAD_BYTES:], zlib.crc32(head)) != noted_crc:
        return None
    fields = json.loads(packed[HEAD_BYTES : HEAD_BYTES + described])
    images: list[Jpeg | None] = []
    at = 0
    for what in fields[-2:]:
        if what is None:
            images.append(None)
            continue
        size, width, height, noted = what
        image = Jpeg(read(at, size), width, height)
        if len(image.data) != size or image.checksum != noted:
            return None
        images.append(image)
        at += size
    event_id, kind, code, sequence, at_ms, monotonic_s, boot_id, offline, omitted, attempts, unsure_boot = fields[:-2]
    return Row(
        event_id=event_id,
        event_type=kind,
        code=code,
        sequence=sequence,
        body=packed[HEAD_BYTES + described :].decode(),
        plate_image=images[0],
        original_image=images[1],
        recorded_at=moment_of(at_ms),
        recorded_monotonic_s=monotonic_s,
        boot_id=boot_id,
        recorded_offline=offline,
        original_omitted=omitted,
        attempts=attempts,
        unsure_boot=unsure_boot,
    )
