"""Vietnamese plate formats as data, with the dates they hold.

A format is a row of *parts*; a part is a list of strings of which exactly one stands there. Nothing else in the package
knows what a plate looks like: parsing, decoding of probabilities and the renderer all walk this table. To follow a new
circular, add a format or close one with `until`.

Laws: Circular 24/2023/TT-BCA (2023-08-15 to 2024-12-31), 79/2024/TT-BCA (from 2025-01-01, amended by 13/2025 and
51/2025), military plates 169/2021/TT-BQP. The texts could not be read in full: where sources disagree the table takes
both, and what the law no longer issues stays readable, because issued plates stay on the road.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Final

from lpr.domain.plate import PlateColour, VehicleType
from lpr.plates.provinces import CODES

Part = tuple[str, ...]
"""Strings of one length, exactly one of which stands at this place."""

SERIES: Final = tuple("ABCDEFGHKLMNPSTUVXYZ")
"""Letters of today's series; I J O Q R W never."""

SECOND: Final = tuple("ABCDEFGHKLMNPRSTUVXYZ")
"""Second letter of a motorbike series: sources disagree on G and R, both are taken."""

OLD_SERIES: Final = tuple("IJOQR")
"""Before 2010 cars also had these, always with four digits."""

DIGIT: Final = tuple("0123456789")
NONZERO: Final = tuple("123456789")
FIVE: Final = (DIGIT,) * 5
FOUR: Final = (DIGIT,) * 4

SPECIAL: Final = ("CD", "KT", "LD", "DA", "HC", "MK", "TĐ", "RM")
ZONE: Final = ("LB", "CT", "LA", "KL")
DIPLOMATIC: Final = ("NG", "QT", "CV", "NN")
ARMY_FIRST: Final = tuple("ABCDFGHKNPQRSTVX")
ARMY_SECOND: Final = tuple("ABCDEGHKLMNPQRSTVX")
"""Letters of military units (TM, KA, QH, BH ...); no list of the pairs is public, so any pair of these is taken."""

_EVER: Final = date.min
_CIRCULAR_24: Final = date(2023, 8, 15)
_SERIES_2010: Final = date(2010, 1, 1)

ONE_ROW: Final = 1
TWO_ROWS: Final = 2


@dataclass(frozen=True, slots=True)
class PlateFormat:
    """One thing a plate may say.

    `parts` are read left to right and top to bottom. `one_row` and `two_rows` are the display forms, one letter `x` a
    character and anything else a separator; None where the format is never made with that many rows. `top` is how many
    characters stand in the upper row of two. `issued_from` and `issued_until` (the day after the last) say when
    such plates are or were issued; a plate outlives the law it was issued under, so only a date before `issued_from`
    speaks against one. `weight` is roughly how often it is met: the renderer draws by it, and parsing prefers the
    larger where a text fits two. `reserved`: its letters are kept for it on whatever drives, so that a text that fits
    it is no other plate's.
    """

    name: str
    kind: str
    parts: tuple[Part, ...]
    one_row: str | None
    two_rows: str | None
    top: int
    colours: tuple[PlateColour, ...]
    vehicle_one_row: VehicleType
    vehicle_two_rows: VehicleType
    weight: float
    issued_from: date = _EVER
    issued_until: date | None = None
    reserved: bool = False

    @property
    def length(self) -> int:
        """Characters of the text."""
        return sum(len(part[0]) for part in self.parts)

    def holds_for(self, rows: int | None) -> bool:
        """Whether such plates are made with so many rows; None asks for any."""
        if rows is None:
            return True
        return (self.one_row if rows == ONE_ROW else self.two_rows) is not None

    def issued_by(self, day: date | None) -> bool:
        """Whether a plate of this format can already be on the road on `day`; None asks for any day."""
        return day is None or self.issued_from <= day

    def display(self, text: str, rows: int) -> str:
        """`text` (of this format) with the separators a person expects."""
        form = self.one_row if rows == ONE_ROW else self.two_rows
        if form is None:
            form = self.one_row or self.two_rows or ""
        characters = iter(text)
        return "".join(next(characters) if sign == "x" else sign for sign in form)

    def vehicle(self, rows: int) -> VehicleType:
        """What carries such a plate, as far as format and rows tell."""
        return self.vehicle_one_row if rows == ONE_ROW else self.vehicle_two_rows


_WHITE, _YELLOW, _BLUE, _RED = PlateColour.WHITE, PlateColour.YELLOW, PlateColour.BLUE, PlateColour.RED
_CAR, _MOTORCYCLE, _UNKNOWN = VehicleType.CAR, VehicleType.MOTORCYCLE, VehicleType.UNKNOWN
_CIVIL: Final = (_WHITE, _YELLOW, _BLUE)


def _car(name: str, letters: Part, number: tuple[Part, ...], weight: float, until: date | None = None) -> PlateFormat:
    # The long and the short plate of one car carry the same text, so both are displayed alike.
    form = "xxx-xxx.xx" if len(number) == len(FIVE) else "xxx-xxxx"
    colours = _CIVIL if len(number) == len(FIVE) else (_WHITE, _BLUE)
    parts = (CODES, letters, *number)
    return PlateFormat(name, "car", parts, form, form, 3, colours, _CAR, _CAR, weight, issued_until=until)


def _motorbike(
    name: str,
    series: tuple[Part, ...],
    number: tuple[Part, ...],
    weight: float,
    colours: tuple[PlateColour, ...] = (_WHITE,),
    since: date = _EVER,
    until: date | None = None,
    kind: str = "motorbike",
) -> PlateFormat:
    top = 2 + sum(len(part[0]) for part in series)
    form = f"xx-{'x' * (top - 2)} " + ("xxx.xx" if len(number) == len(FIVE) else "xxxx")
    parts = (CODES, *series, *number)
    return PlateFormat(name, kind, parts, None, form, top, colours, _MOTORCYCLE, _MOTORCYCLE, weight, since, until)


def _special(
    name: str, kind: str, series: Part, numeral: bool, number: tuple[Part, ...], weight: float, since: date = _EVER
) -> PlateFormat:
    parts: tuple[Part, ...] = (CODES, series, *((NONZERO,) if numeral else ()), *number)
    top = 2 + len(series[0]) + numeral
    digits = "xxx.xx" if len(number) == len(FIVE) else "xxxx"
    # With a numeral behind the series it is a motorbike's; without, both a car and a motorbike may carry it.
    vehicle = _MOTORCYCLE if numeral else _UNKNOWN
    one_row = None if numeral else f"{'x' * top}-{digits}"
    two_rows = f"xx-{'x' * (top - 2)} {digits}"
    return PlateFormat(name, kind, parts, one_row, two_rows, top, (_WHITE,), _CAR, vehicle, weight, since)


def _foreign(name: str, parts: tuple[Part, ...], form: str, top: int, weight: float) -> PlateFormat:
    return PlateFormat(name, "foreign", parts, form, form, top, (_WHITE,), _CAR, _UNKNOWN, weight, reserved=True)


def _military(digits: int, weight: float) -> PlateFormat:
    form = f"xx-{'xx-xx' if digits == len(FOUR) else 'x' * digits}"
    parts = (ARMY_FIRST, ARMY_SECOND, *(DIGIT,) * digits)
    return PlateFormat(f"military-{digits}", "military", parts, form, form, 2, (_RED,), _CAR, _UNKNOWN, weight)


_COUNTRY: Final = (DIGIT,) * 3
_SERIAL: Final = (DIGIT,) * 2

FORMATS: Final[tuple[PlateFormat, ...]] = (
    _car("car", SERIES, FIVE, 30.0),
    _car("car-four-digits", SERIES, FOUR, 9.0, until=_SERIES_2010),
    _car("car-before-2010", OLD_SERIES, FOUR, 0.5, until=_SERIES_2010),
    _motorbike("motorbike", (SERIES, SECOND), FIVE, 5.0, since=_CIRCULAR_24),
    _motorbike("motorbike-numeral", (SERIES, NONZERO), FIVE, 30.0, (_WHITE, _BLUE), until=_CIRCULAR_24),
    _motorbike("motorbike-numeral-four-digits", (SERIES, NONZERO), FOUR, 8.0, until=_SERIES_2010),
    _motorbike("motorbike-letters-four-digits", (SERIES, SECOND), FOUR, 0.8, until=_SERIES_2010),
    _motorbike("e-bike", (("MĐ",),), FIVE, 0.6, kind="e-bike"),
    _motorbike("e-bike-numeral", (("MĐ",), NONZERO), FIVE, 1.2, kind="e-bike"),
    _motorbike("e-bike-four-digits", (("MĐ",),), FOUR, 0.3, kind="e-bike"),
    _motorbike("e-bike-numeral-four-digits", (("MĐ",), NONZERO), FOUR, 0.3, kind="e-bike"),
    _special("special", "special", SPECIAL, False, FIVE, 1.6),
    _special("special-four-digits", "special", SPECIAL, False, FOUR, 0.5),
    _special("special-numeral", "special", SPECIAL, True, FIVE, 0.6),
    _special("special-numeral-four-digits", "special", SPECIAL, True, FOUR, 0.3),
    _special("trailer", "special", ("R",), False, FIVE, 0.8),
    _special("zone", "zone", ZONE, False, FIVE, 0.5),
    _special("zone-four-digits", "zone", ZONE, False, FOUR, 0.3),
    _foreign("foreign", (CODES, *_COUNTRY, DIPLOMATIC, *_SERIAL), "xx-xxx-xx-xx", 5, 1.5),
    _foreign("foreign-series-first", (CODES, DIPLOMATIC, *_COUNTRY, *_SERIAL), "xx-xx-xxx-xx", 4, 2.5),
    PlateFormat(
        "temporary", "temporary", (("T",), CODES, *FIVE), "xxx-xxx.xx", "xxx xxx.xx", 3, (_WHITE,), _CAR, _UNKNOWN, 0.6
    ),
    _military(4, 2.5),
    _military(5, 0.3),
    _military(3, 0.2),
)
"""Every format, the common before the rare."""

KINDS: Final = tuple(dict.fromkeys(each.kind for each in FORMATS))
"""car, motorbike, e-bike, special, zone, foreign, temporary, military; `unknown` is what fits none of them."""

UNKNOWN_KIND: Final = "unknown"
