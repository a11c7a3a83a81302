"""Sizes and durations as people write them: `2 GiB`, `7 d`, `1 h 30 min`; parsed, and printed the same way."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_BINARY = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_DECIMAL = {"kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
# A bare K, M, G is binary, as in systemd's MemoryMax=2G.
_SIZE_UNITS = {"": 1, "b": 1, "byte": 1, "bytes": 1} | {
    name.lower(): factor
    for names in (_BINARY, _DECIMAL, {unit[0]: factor for unit, factor in _BINARY.items()})
    for name, factor in names.items()
}
_DURATION_NAMES: Mapping[str, tuple[str, ...]] = {
    "w": ("w", "week", "weeks"),
    "d": ("d", "day", "days"),
    "h": ("h", "hr", "hour", "hours"),
    "min": ("min", "m", "mins", "minute", "minutes"),
    "s": ("s", "sec", "secs", "second", "seconds"),
    "ms": ("ms", "millisecond", "milliseconds"),
}
_UNIT_MS = {"w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "min": 60_000, "s": 1_000, "ms": 1}
_DURATION_UNITS = {alias: _UNIT_MS[unit] for unit, aliases in _DURATION_NAMES.items() for alias in aliases}
_LONGEST_MS = 100 * 365 * _UNIT_MS["d"]

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*")
_DURATION_PART = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*")


def parse_size(value: object) -> int:
    """Bytes from `2 GiB`, `500 MB`, `2G` or a plain number of bytes. Raises `ValueError` with what it must be."""
    complaint = "must be a size such as 2 GiB, 500 MB or a number of bytes"
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(complaint)
    match = _SIZE.fullmatch(str(value))
    factor = _SIZE_UNITS.get(match[2].lower()) if match else None
    if match is None or factor is None:
        raise ValueError(f"{complaint}, not {value!r}")
    return round(float(match[1]) * factor) if "." in match[1] else int(match[1]) * factor


def format_size(size: int) -> str:
    """A size in the largest unit that divides it, so that `parse_size` gives the same bytes: `2 GiB`, `900 kB`."""
    for units in (_BINARY, _DECIMAL):
        for unit, factor in reversed(units.items()):
            if size >= factor and size % factor == 0:
                return f"{size // factor} {unit}"
    return f"{size} B"


def readable_size(size: int) -> str:
    """A size for people, rounded: `512 B`, `12 KiB`, `3.4 MiB`, `1.25 GiB`."""
    if size < 1024:
        return f"{size} B"
    if size < 1 << 20:
        return f"{size / 1024:.0f} KiB"
    if size < 1 << 30:
        return f"{size / (1 << 20):.1f} MiB"
    return f"{size / (1 << 30):.2f} GiB"


def parse_duration(value: object) -> timedelta:
    """A duration from `7 d`, `90 s`, `1 h 30 min` or a plain number of seconds. Raises `ValueError`."""
    complaint = "must be a duration such as 60 s, 10 min, 24 h or 7 d"
    if isinstance(value, timedelta):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(complaint)
    text = str(value).strip()
    text = f"{text} s" if re.fullmatch(r"\d+(?:\.\d+)?", text) else text
    milliseconds, position = 0.0, 0
    for part in _DURATION_PART.finditer(text):
        unit = _DURATION_UNITS.get(part[2].lower())
        if part.start() != position or unit is None:
            break
        milliseconds, position = milliseconds + float(part[1]) * unit, part.end()
    if not text or position != len(text) or milliseconds > _LONGEST_MS:
        raise ValueError(f"{complaint}, not {value!r}")
    return timedelta(milliseconds=milliseconds)


def format_duration(duration: timedelta) -> str:
    """A duration in as few units as tell it exactly to the millisecond: `7 d`, `1 h 30 min`, `0 s`."""
    rest, parts = round(duration.total_seconds() * 1000), []
    for unit, factor in _UNIT_MS.items():
        # Weeks are read but not printed: `7 d` is how the sample says it.
        if unit != "w" and rest >= factor:
            parts.append(f"{rest // factor} {unit}")
            rest %= factor
    return " ".join(parts) or "0 s"


def _as_written(write: Callable[[Any], str], pattern: str, examples: list[str]) -> tuple[object, ...]:
    schema = {"anyOf": [{"type": "string", "pattern": pattern}, {"type": "number", "minimum": 0}], "examples": examples}
    return (PlainSerializer(write, return_type=str, when_used="json"), WithJsonSchema(schema))


Size = Annotated[
    int,
    BeforeValidator(parse_size),
    *_as_written(format_size, r"^\s*\d+(\.\d+)?\s*[A-Za-z]*\s*$", ["2 GiB", "500 MB"]),
]
"""Bytes."""

Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    *_as_written(format_duration, r"^(\s*\d+(\.\d+)?\s*[A-Za-z]*)+\s*$", ["60 s", "10 min", "7 d"]),
]
"""A `timedelta` of at least 0."""
