"""How large a camera says that its pictures are: from the description (SDP) that RTSP's DESCRIBE is answered with.

H.264 and H.265 carry it in a parameter set (SPS), which the description holds in base64: ITU-T H.264 7.3.2.1.1 and
H.265 7.3.2.2. What a camera sends is not to be trusted: everything is bounded, and what cannot be read says nothing.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from typing import Final, TypeAlias

Size: TypeAlias = tuple[int, int]
"""Width and height of the pictures as they are shown, in pixels."""

_MEDIA = re.compile(r"^m=", re.MULTILINE)
_H264_SETS = re.compile(r"sprop-parameter-sets=([A-Za-z0-9+/=,]+)")
_H265_SETS = re.compile(r"sprop-sps=([A-Za-z0-9+/=,]+)")
_PLAIN_SIZE = re.compile(r"^a=(?:framesize:\d+ |x-dimensions: ?)(\d{1,5})[-,](\d{1,5})", re.MULTILINE | re.ASCII)

_SIDE_LEAST_PX: Final = 16
_SIDE_MOST_PX: Final = 16384
_SET_MOST_BYTES: Final = 1024
_SETS_MOST: Final = 8
_NUMBER_MOST_BITS: Final = 31
_CYCLE_MOST: Final = 255

_H264_SPS: Final = 7
_H265_SPS: Final = 33
_H264_PROFILES_WITH_CHROMA: Final = frozenset({44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244})
_YUV_444: Final = 3
_LUMA_PER_CHROMA: Final = {0: (1, 1), 1: (2, 2), 2: (2, 1), _YUV_444: (1, 1)}
"""Columns and rows of luma for one of chroma, by `chroma_format_idc`: what the window's offsets are counted in."""
_H265_PROFILE_BITS: Final = 88
_H265_LEVEL_BITS: Final = 8


def described_size(description: str) -> Size | None:
    """The size of the first video stream; None where the description does not tell it, or makes no sense."""
    video = next((part for part in _MEDIA.split(description)[1:] if part.startswith("video")), "")
    if found := _H264_SETS.search(video):
        return _first_size(found[1], h264_size)
    if found := _H265_SETS.search(video):
        return _first_size(found[1], h265_size)
    if found := _PLAIN_SIZE.search(video):
        return _sensible(int(found[1]), int(found[2]))
    return None


def _first_size(sets: str, size_of: Callable[[bytes], Size | None]) -> Size | None:
    for each in sets.split(",")[:_SETS_MOST]:
        try:
            unit = base64.b64decode(each)
        except binascii.Error:
            continue
        if (size := size_of(unit)) is not None:
            return size
    return None


def h264_size(unit: bytes) -> Size | None:
    """The size that an H.264 NAL unit, its header byte included, tells; None where it is no parameter set with one."""
    if not unit or unit[0] & 0x1F != _H264_SPS:
        return None
    try:
        return _h264_sps(_Bits(unit[1:]))
    except EOFError:
        return None


def h265_size(unit: bytes) -> Size | None:
    """The same for an H.265 NAL unit with its two header bytes."""
    if not unit or unit[0] >> 1 & 0x3F != _H265_SPS:
        return None
    try:
        return _h265_sps(_Bits(unit[2:]))
    except EOFError:
        return None


class _Bits:
    """The bits of a parameter set, one after the other; `EOFError` at their end and where a number has none."""

    def __init__(self, data: bytes) -> None:
        # An encoder puts a 3 between what would look like the start of the next unit.
        payload = data[:_SET_MOST_BYTES].replace(b"\x00\x00\x03", b"\x00\x00")
        self._value = int.from_bytes(payload, "big")
        self._left = 8 * len(payload)

    def take(self, count: int = 1) -> int:
        """The next `count` bits as a number."""
        self._left -= count
        if self._left < 0:
            raise EOFError
        return self._value >> self._left & (1 << count) - 1

    def number(self) -> int:
        """A number in Exp-Golomb code, 0 or more: so many zeros, a one, and so many bits."""
        zeros = 0
        while self.take() == 0:
            zeros += 1
            if zeros > _NUMBER_MOST_BITS:
                raise EOFError
        return (1 << zeros) - 1 + self.take(zeros)

    def signed(self) -> int:
        """The same with a sign: 0, 1, -1, 2, -2…"""
        code = self.number()
        return (code + 1) // 2 if code % 2 else -(code // 2)


def _h264_sps(bits: _Bits) -> Size | None:
    profile = bits.take(8)
    bits.take(16)  # constraints and level
    bits.number()  # the set's own number
    chroma, planes_apart = 1, 0
    if profile in _H264_PROFILES_WITH_CHROMA:
        chroma = bits.number()
        planes_apart = bits.take() if chroma == _YUV_444 else 0
        bits.number(), bits.number(), bits.take()  # bit depths, lossless
        if bits.take():
            _skip_scaling_lists(bits, 12 if chroma == _YUV_444 else 8)
    bits.number()  # how frames are numbered
    _skip_picture_order(bits)
    bits.number(), bits.take()  # reference frames, gaps between them
    columns, rows = bits.number() + 1, bits.number() + 1
    fields = 1 if bits.take() else 2
    if fields == 2:
        bits.take()
    bits.take()
    step_x, step_y = (1, 1) if planes_apart else _LUMA_PER_CHROMA.get(chroma, (1, 1))
    left, right, top, bottom = (bits.number() for _ in range(4)) if bits.take() else (0, 0, 0, 0)
    return _sensible(16 * columns - step_x * (left + right), 16 * rows * fields - step_y * fields * (top + bottom))


def _skip_scaling_lists(bits: _Bits, count: int) -> None:
    for place in range(count):
        if not bits.take():
            continue
        last = following = 8
        for _ in range(16 if place < 6 else 64):  # the first six are for blocks of 4 x 4
            if following:
                following = (last + bits.signed()) % 256
            last = following or last


def _skip_picture_order(bits: _Bits) -> None:
    kind = bits.number()
    if kind == 0:
        bits.number()
    elif kind == 1:
        bits.take()
        bits.signed(), bits.signed()
        for _ in range(min(bits.number(), _CYCLE_MOST)):
            bits.signed()


def _h265_sps(bits: _Bits) -> Size | None:
    bits.take(4)
    sub_layers = bits.take(3)
    bits.take()
    _skip_profiles(bits, sub_layers)
    bits.number()  # the set's own number
    chroma = bits.number()
    planes_apart = bits.take() if chroma == _YUV_444 else 0
    width, height = bits.number(), bits.number()
    step_x, step_y = (1, 1) if planes_apart else _LUMA_PER_CHROMA.get(chroma, (1, 1))
    left, right, top, bottom = (bits.number() for _ in range(4)) if bits.take() else (0, 0, 0, 0)
    return _sensible(width - step_x * (left + right), height - step_y * (top + bottom))


def _skip_profiles(bits: _Bits, sub_layers: int) -> None:
    bits.take(_H265_PROFILE_BITS + _H265_LEVEL_BITS)
    if not sub_layers:
        return
    told = [(bits.take(), bits.take()) for _ in range(8)][:sub_layers]  # always eight pairs, the rest of them unused
    for profile, level in told:
        bits.take(_H265_PROFILE_BITS * profile + _H265_LEVEL_BITS * level)


def _sensible(width: int, height: int) -> Size | None:
    sides = range(_SIDE_LEAST_PX, _SIDE_MOST_PX + 1)
    return (width, height) if width in sides and height in sides else None
