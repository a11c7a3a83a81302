"""Values that JSON can hold, made of anything: numbers are finite, text is Unicode, nothing is endless."""

from __future__ import annotations

import base64
import math
import reprlib
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from lpr.domain.clock import isoformat_ms

MAX_TEXT = 500
"""Characters kept of a code, a reason or an id that the other side sent."""
MAX_DEPTH = 32
"""Levels of nesting that a command or details may have."""


def parse_moment(value: object) -> datetime | None:
    """An aware UTC datetime from ISO 8601 text (no zone means UTC) or milliseconds since 1970; else None."""
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return None


def finite_number(value: object) -> float | None:
    """A number that JSON can hold, or None. (An int may be too large for a float.)"""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def rounded(value: float, digits: int) -> float:
    """Never NaN or infinite: a required number that is not known is 0. numpy's own floats become Python's."""
    number = float(value)
    return round(number, digits) if math.isfinite(number) else 0.0


def whole_number(value: float) -> int:
    """The nearest one; 0 for NaN and infinity."""
    number = float(value)
    return round(number) if math.isfinite(number) else 0


def fraction_of_one(value: float) -> float:
    """0..1 with four digits; what lies outside at the nearer end, NaN at 0."""
    if 0.0 <= value <= 1.0:
        return round(float(value) * 10_000) / 10_000  # in half the time that `round(…, 4)` takes
    return 1.0 if 1.0 < value < math.inf else 0.0


def clean_object(value: Mapping[Any, Any]) -> dict[str, Any]:
    """The nearest object that JSON can hold, `MAX_DEPTH` deep."""
    return {unicode_text(str(key)): _clean(inner, 1) for key, inner in value.items()}


def _clean(value: Any, depth: int) -> Any:
    """The nearest value that JSON can hold; NaN and infinity become null, an object of another kind its text."""
    if depth > MAX_DEPTH:
        return "…"
    # Nearly every value is of one of these kinds exactly: told apart without asking each of the classes below.
    kind = type(value)
    if kind is str:
        return unicode_text(value)
    if kind is float:
        return value if math.isfinite(value) else None
    if kind is dict:
        return {unicode_text(str(key)): _clean(inner, depth + 1) for key, inner in value.items()}
    if kind is list or kind is tuple:
        return [_clean(inner, depth + 1) for inner in value]
    match value:
        case None | bool():
            return value
        case Enum():
            return _clean(value.value, depth)
        case str():
            return unicode_text(value)
        case int():
            return value
        case float():
            return float(value) if math.isfinite(value) else None
        case datetime():
            return isoformat_ms(value)
        case Mapping():
            return {unicode_text(str(key)): _clean(inner, depth + 1) for key, inner in value.items()}
        case bytes():
            return base64.b64encode(value).decode("ascii")
        case list() | tuple() | set() | frozenset():
            return [_clean(inner, depth + 1) for inner in value]
        case _:
            return _clean_foreign(value, depth)


def _clean_foreign(value: object, depth: int) -> Any:
    """numpy's scalars and arrays know `tolist`; anything else is shown as its text."""
    to_list = getattr(value, "tolist", None)
    return _clean(to_list(), depth) if callable(to_list) else unicode_text(str(value))


def unicode_text(text: str) -> str:
    """Text that UTF-8 can hold: half of a surrogate pair, which some JavaScript sends, becomes a question mark."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def short_text(value: object) -> str:
    """A short, printable form of anything that the other side sent; empty for None."""
    if value is None:
        return ""
    shown = unicode_text(value if isinstance(value, str) else _brief_repr(value))
    return shown if len(shown) <= MAX_TEXT else shown[: MAX_TEXT - 1] + "…"


_REPR = reprlib.Repr()
_REPR.maxlevel, _REPR.maxdict, _REPR.maxlist, _REPR.maxstring, _REPR.maxother = 3, 8, 8, 120, 120


def _brief_repr(value: object) -> str:
    """Bounded in length and depth, whatever was sent."""
    return _REPR.repr(value)


def kind_of(value: object) -> str:
    """What kind of JSON value it is, for a sentence: `a number`, `text`, `nothing`."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return "a number"
        case str():
            return "text" if value else "empty text"
        case bytes():
            return "binary data"
        case Mapping():
            return "an object"
        case list() | tuple():
            return "a list"
        case _:
            return f"a {type(value).__name__}"
