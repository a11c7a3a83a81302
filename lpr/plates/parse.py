"""From a text to what it means: format, kind, province, display form, and whether the law knows it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Final

from lpr.domain.plate import VehicleType
from lpr.plates.alphabet import DIGITS, LETTERS, normalise
from lpr.plates.formats import FORMATS, ONE_ROW, TWO_ROWS, UNKNOWN_KIND, Part, PlateFormat
from lpr.plates.provinces import PROVINCE_BY_CODE

_TWO_ROW_SHARE: Final = 0.25
"""Of plates that are made with one row and with two, how many have two: decides where a text fits two formats."""


@dataclass(frozen=True, slots=True)
class ParsedPlate:
    """What a text means.

    `text` is A-Z0-9Đ without separators. `format` names the entry of `lpr.plates.formats`, `kind` its group; both are
    `unknown` where not even the shape fits any. `valid` is true where a format fits to the letter and such plates were
    issued by the day asked for. `rows` is what was asked, or the likelier number. `vehicle_type` is UNKNOWN where
    formats of different vehicles fit equally.
    """

    text: str
    format: str
    kind: str
    valid: bool
    rows: int
    display: str
    province: str | None
    vehicle_type: VehicleType


@lru_cache(maxsize=4096)
def parse(text: str, rows: int | None = None, on: date | None = None, top: int | None = None) -> ParsedPlate:
    """Say what `text` means; separators and case do not matter, nothing is corrected.

    `rows` (1, 2 or None for not known) decides between a car's `59X 123.45` and an old motorbike's `59-X1 2345`, which
    have the same text; `top`, the number of characters in the upper row where that is known, decides for certain.
    `on` is the day the plate was seen; None asks for any.
    """
    clean = normalise(text)
    fitting = matching_formats(clean, rows, top)
    issued = [each for each in fitting if each.issued_by(on)]
    if issued:
        return _described(clean, issued, rows, valid=True)
    if fitting:
        return _described(clean, fitting, rows, valid=False)
    alike = [each for each in FORMATS if _fits(each, clean, rows, top, strict=False)]
    if alike:
        alike.sort(key=lambda each: -preference(each, rows))
        return _described(clean, alike, rows, valid=False)
    return _unknown(clean, rows, top)


@lru_cache(maxsize=4096)
def matching_formats(text: str, rows: int | None = None, top: int | None = None) -> tuple[PlateFormat, ...]:
    """Formats that `text` (normalised) fits to the letter, the likeliest first; `rows` and `top` as in `parse`."""
    fitting = [each for each in FORMATS if _fits(each, text, rows, top, strict=True)]
    # `80NG63160` on two rows could be a motorbike's series N, G: nobody but a diplomat has these letters.
    fitting = [each for each in fitting if each.reserved] or fitting
    return tuple(sorted(fitting, key=lambda each: -preference(each, rows)))


@lru_cache(maxsize=4096)
def begins_longer(text: str, rows: int | None = None) -> bool:
    """Whether `text` (normalised) is the beginning of a longer text that some format allows to the letter."""
    return any(len(text) < each.length and each.holds_for(rows) and _begins(each.parts, text) for each in FORMATS)


def _begins(parts: Sequence[Part], text: str) -> bool:
    for part in parts:
        if not text:
            return True
        sign, text = text[: len(part[0])], text[len(part[0]) :]
        if not any(option.startswith(sign) for option in part):
            return False
    return not text


def preference(plate_format: PlateFormat, rows: int | None) -> float:
    """How often the format is met, given the rows."""
    both = plate_format.one_row is not None and plate_format.two_rows is not None
    return plate_format.weight * (_TWO_ROW_SHARE if rows == TWO_ROWS and both else 1.0)


def forms(text: str) -> tuple[str, ...]:
    """The text and, where M or T stands before a D or Đ in the series, the other form of it.

    Đ is hard to tell from D on a worn plate, and many back-ends never store it: who looks a plate up should look for
    all of these.
    """
    clean = normalise(text)
    series = clean[2:4]
    if series in ("MĐ", "TĐ", "MD", "TD"):
        other = "D" if series[1] == "Đ" else "Đ"
        return (clean, clean[:3] + other + clean[4:])
    return (clean,)


def province_of(text: str) -> str | None:
    """The province that a civil plate's first two digits name (a temporary plate's follow its T), or None."""
    match = re.match(r"T?(\d\d)", text)
    return PROVINCE_BY_CODE.get(match.group(1)) if match else None


def fits_rows(plate_format: PlateFormat, rows: int | None, top: int | None) -> bool:
    """Whether the format is made with so many rows and, on two, with `top` characters in the upper one."""
    if rows == TWO_ROWS and top is not None and plate_format.top != top:
        return False
    return plate_format.holds_for(rows)


def _fits(plate_format: PlateFormat, text: str, rows: int | None, top: int | None, *, strict: bool) -> bool:
    if len(text) != plate_format.length or not fits_rows(plate_format, rows, top):
        return False
    return _expression(plate_format.name, strict).fullmatch(text) is not None


@lru_cache(maxsize=2 * len(FORMATS))
def _expression(name: str, strict: bool) -> re.Pattern[str]:
    parts = next(each.parts for each in FORMATS if each.name == name)
    return re.compile("".join(_group(part if strict else _loose(part)) for part in parts))


def _group(part: Part) -> str:
    return f"(?:{'|'.join(part)})"


def _loose(part: Part) -> Part:
    """The part with any digit for a digit and any letter for a letter: a province or series that we do not know.

    Signs that make a format what it is (NG, MĐ, T) stay.
    """
    if len(part) == 1:
        return part
    if len(part[0]) == 2 and part[0].isdigit():
        return tuple(f"{a}{b}" for a in DIGITS for b in DIGITS)
    if len(part[0]) > 1:
        return part
    return tuple(DIGITS) if part[0].isdigit() else tuple(LETTERS)


def _described(text: str, fitting: Sequence[PlateFormat], rows: int | None, *, valid: bool) -> ParsedPlate:
    best = fitting[0]
    row_count = rows if rows is not None else (ONE_ROW if best.holds_for(ONE_ROW) else TWO_ROWS)
    vehicles = {each.vehicle(row_count) for each in fitting if each.holds_for(row_count)}
    return ParsedPlate(
        text=text,
        format=best.name,
        kind=best.kind,
        valid=valid,
        rows=row_count,
        display=best.display(text, row_count),
        province=province_of(text) if best.kind != "military" else None,
        vehicle_type=vehicles.pop() if len(vehicles) == 1 else VehicleType.UNKNOWN,
    )


def _unknown(text: str, rows: int | None, top: int | None) -> ParsedPlate:
    """No format has this shape: shown as it stands, the rows apart where it is known where they break."""
    display = f"{text[:top]} {text[top:]}" if rows == TWO_ROWS and top is not None and 0 < top < len(text) else text
    return ParsedPlate(text, UNKNOWN_KIND, UNKNOWN_KIND, False, rows or ONE_ROW, display, None, VehicleType.UNKNOWN)
