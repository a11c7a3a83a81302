"""Events with their pictures lie in a file of their own, beside the database, whose rows say where.

SQLite would write each of them twice, into its log and into its file, in pages that it chains and adds up; here they
are written once, in one piece. What makes that as safe as a table of blobs:

1. An event with its pictures is on the disk before the row that points to it is committed. It says itself what it is,
   so that the row need not be there yet when the power goes: see `records`.
2. Room is used again only once the transaction that gave it up is committed, and every view that may still see the old
   row has ended. (Other processes read too: see `tools`. What they find may have been written over, which the checksum
   tells; they then look whether the row is still there.)
3. The rows alone say what is where. Which room is free is worked out from them at the start, and again whenever it may
   have been otherwise: after a transaction that failed, and after another process has written.

Room is taken from the start of the file, so that its end comes free and can be cut off. Where no hole is large enough
an event's pictures lie in several: no room is ever lost to holes that are too small.
"""

from __future__ import annotations

import heapq
import os
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from lpr.durable import begin_to_write

BLOCK = 4096
"""Pictures of an event begin at multiples of it and are padded to the next: of a block that is only partly written the
rest would have to be read first."""
HOLES_LOOKED_AT = 64
"""For one that is large enough: looking has a bound."""
MOST_PIECES = 16
"""In which the pictures of an event lie; the file grows where that is not enough."""
SCANNED_BYTES = 4 << 20
"""Read at a time where free room is searched: 1 GB of it took 0.9 s from memory."""
MOST_PARTS = 512
"""In one call; the system takes 1024."""

Extent: TypeAlias = tuple[int, int]
"""Offset and length in bytes, multiples of `BLOCK`."""
Extents: TypeAlias = Sequence[Extent]
"""Where something lies, piece after piece."""

_PADDING = bytes(BLOCK)


def blocks(size_bytes: int) -> int:
    """Bytes of room that so many bytes take."""
    return -(-size_bytes // BLOCK) * BLOCK


def extents_to_text(extents: Extents) -> str:
    """As a row keeps them: numbers of blocks."""
    return " ".join(str(number // BLOCK) for extent in extents for number in extent)


def extents_from_text(text: str) -> Extents:
    """What `extents_to_text` made. Raises `ValueError`."""
    numbers = [BLOCK * int(number) for number in text.split()]
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def split(extents: Extents, length: int) -> tuple[Extents, Extents]:
    """The first `length` bytes (a multiple of `BLOCK`), and the rest."""
    first, rest = [], []
    for offset, size in extents:
        here = min(size, length)
        length -= here
        if here:
            first.append((offset, here))
        if size > here:
            rest.append((offset + here, size - here))
    return first, rest


class PictureFile:
    """The file. `read` and `view` may be used in another thread than everything else."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Open it; made where it is not there. `read_only` takes a missing one for one without readable pictures.

        Raises `OSError`.
        """
        self.free_bytes = 0
        """Room in the file that holds nothing, or soon will hold nothing."""
        self._size = 0
        self._holes: list[Extent] = []
        """Ascending; two never touch."""
        self._given_up: deque[tuple[int, Extent]] = deque()
        """With the number of the last view that may still see what was there."""
        self._views_begun = 0
        self._views_ended = 0
        self._unsynced = False
        try:
            self._fd = os.open(path, (os.O_RDONLY if read_only else os.O_RDWR | os.O_CREAT) | os.O_CLOEXEC, 0o644)
        except FileNotFoundError:
            if not read_only:
                raise
            self._fd = -1

    def close(self) -> None:
        """Let go of the file; twice is harmless."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    # ----------------------------------------------------------------------------------------------------------------
    # Reading

    def read(self, extents: Extents, start: int, size_bytes: int) -> bytes:
        """So many bytes of what lies there, from `start` on: fewer where the file ends before or cannot be read."""
        if self._fd < 0:
            return b""
        try:
            if len(extents) == 1:
                return os.pread(self._fd, size_bytes, extents[0][0] + start)
            whole = b"".join(os.pread(self._fd, length, offset) for offset, length in extents)
            return whole[start : start + size_bytes]
        except OSError:
            return b""  # no checksum fits that: the picture counts as damaged

    def free_places(self, marked: bytes) -> Iterator[int]:
        """Where in free room, at multiples of `BLOCK`, such bytes lie."""
        for offset, length in [*self._holes, *(extent for _, extent in self._given_up)]:
            for begin in range(offset, offset + length, SCANNED_BYTES):
                data = self.read([(begin, 0)], 0, min(SCANNED_BYTES, offset + length - begin))
                at = data.find(marked)
                while at >= 0:
                    if at % BLOCK == 0:
                        yield begin + at
                    at = data.find(marked, at + 1)

    @contextmanager
    def view(self) -> Iterator[None]:
        """Around a consistent view of the rows: while it lasts, what they point to is not written over.

        One at a time, in one thread.
        """
        self._views_begun += 1
        try:
            yield
        finally:
            self._views_ended = self._views_begun

    # ----------------------------------------------------------------------------------------------------------------
    # Writing

    def put(self, events: Sequence[Sequence[bytes]]) -> list[Extents]:
        """Write the pictures of some events, those of each one behind the other; says where each event's lie.

        `sync` must follow. Raises `OSError`; what was then written is found free by the next `find_room`.
        """
        places: list[Extents] = []
        run: list[bytes] = []
        begins = ends = 0
        for parts in events:
            size = sum(map(len, parts))
            room = blocks(max(1, size))
            extents = self._take(room)
            places.append(extents)
            if len(extents) > 1:
                self._write_pieces(b"".join(parts), extents)
                continue
            if extents[0][0] != ends or len(run) + len(parts) >= MOST_PARTS:
                self._write(run, begins)
                run, begins = [], extents[0][0]
            run += [*parts, _PADDING[: room - size]]
            ends = sum(extents[0])
        self._write(run, begins)
        return places

    def sync(self) -> None:
        """Have the disk keep what was written. Raises `OSError`."""
        if self._unsynced:
            os.fdatasync(self._fd)
            self._unsynced = False

    def release(self, extents: Iterable[Extent]) -> None:
        """What lies there is needed no longer, and that is committed."""
        for extent in extents:
            self._given_up.append((self._views_begun, extent))
            self.free_bytes += extent[1]

    def _write_pieces(self, data: bytes, extents: Extents) -> None:
        at = 0
        for offset, length in extents:
            self._write([data[at : at + length].ljust(length, b"\0")], offset)
            at += length

    def _write(self, parts: list[bytes], offset: int) -> None:
        if not parts:
            return
        self._unsynced = True
        written, whole = os.pwritev(self._fd, parts, offset), sum(map(len, parts))
        if written < whole:  # the disk has become full on the way; the next call says so
            rest = memoryview(b"".join(parts))
            while written < whole:
                written += os.pwrite(self._fd, rest[written:], offset + written)
        begin_to_write(self._fd, offset, whole)

    # ----------------------------------------------------------------------------------------------------------------
    # Room

    def find_room(self, used: Iterable[Extent]) -> None:
        """Work out what is free from what the rows point to, in any order."""
        self._holes, self._given_up, self.free_bytes = [], deque(), 0
        end, free = 0, []
        for offset, length in sorted(used):
            if offset > end:
                free.append((end, offset - end))
            end = max(end, offset + length)
        self._size = max(end, blocks(os.fstat(self._fd).st_size))
        if self._size > end:
            free.append((end, self._size - end))
        self.release(free)

    def move_down(self, extents: Extents) -> Extents | None:
        """Copy what lies at the end of the file into holes before it, and say where; None where they are too few.

        `sync` must follow, and `release` of the old place once the row that points to it is committed.
        """
        self._take_back_given_up()
        length, first = sum(size for _, size in extents), min(offset for offset, _ in extents)
        chosen: list[Extent] = []
        for hole in self._holes:
            missing = length - sum(size for _, size in chosen)
            if hole[0] >= first or missing <= 0 or len(chosen) == MOST_PIECES:
                break
            chosen.append((hole[0], min(hole[1], missing)))
        if sum(size for _, size in chosen) < length:
            return None
        for extent in chosen:
            self._cut_out(extent)
        self._write_pieces(self.read(extents, 0, length), chosen)
        return chosen

    def shrink(self, kept_bytes: int) -> None:
        """Cut off the end where it is free, but for so many bytes. Raises `OSError`."""
        self._take_back_given_up()
        if not self._holes or sum(self._holes[-1]) < self._size:
            return
        offset, length = self._holes[-1]
        kept = min(length, blocks(kept_bytes))
        if kept == length:
            return
        os.ftruncate(self._fd, offset + kept)
        self._size = offset + kept
        self.free_bytes -= length - kept
        self._holes[-1:] = [(offset, kept)] if kept else []

    def _take(self, length: int) -> Extents:
        self._take_back_given_up()
        for offset, size in self._holes[:HOLES_LOOKED_AT]:
            if size >= length:
                self._cut_out((offset, length))
                return [(offset, length)]
        largest = heapq.nlargest(MOST_PIECES, self._holes, key=lambda hole: hole[1])
        if sum(size for _, size in largest) < length:
            return [self._grow(length)]
        pieces, _ = split(sorted(largest), length)
        for piece in pieces:
            self._cut_out(piece)
        return pieces

    def _grow(self, length: int) -> Extent:
        """Room at the end of the file, beginning in what is free there."""
        offset = self._size
        if self._holes and sum(self._holes[-1]) == offset:
            offset, size = self._holes.pop()
            self.free_bytes -= size
        self._size = offset + length
        return offset, length

    def _cut_out(self, extent: Extent) -> None:
        """Use the beginning of a hole."""
        number = bisect_left(self._holes, (extent[0], 0))
        offset, size = self._holes[number]
        left = size - extent[1]
        self._holes[number : number + 1] = [(offset + extent[1], left)] if left else []
        self.free_bytes -= extent[1]

    def _take_back_given_up(self) -> None:
        """Room that no view can see any longer becomes holes."""
        while self._given_up and self._given_up[0][0] <= self._views_ended:
            _, (offset, length) = self._given_up.popleft()
            at = bisect_left(self._holes, (offset, 0))
            if at < len(self._holes) and self._holes[at][0] == offset + length:
                length += self._holes.pop(at)[1]
            if at > 0 and sum(self._holes[at - 1]) == offset:
                at -= 1
                before = self._holes.pop(at)
                offset, length = before[0], before[1] + length
            self._holes.insert(at, (offset, length))
