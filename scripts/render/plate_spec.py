"""What a plate says and of what kind it is: texts of the formats in `lpr.plates`, a few of no format."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final

from lpr.domain.plate import PlateColour
from lpr.plates.alphabet import ALPHABET
from lpr.plates.formats import FORMATS, ONE_ROW, TWO_ROWS, UNKNOWN_KIND, Part, PlateFormat

_FREE_TEXT_SHARE: Final = 0.03
"""Plates with a text of no format, so that the reader reads what is there and does not guess by the grammar."""


@dataclass(frozen=True, slots=True)
class PlateSpec:
    """What to draw. `lines` are the rows with separators; `text` is their characters in reading order."""

    text: str
    lines: tuple[str, ...]
    kind: str
    colour: PlateColour
    ratio: float
    red_letters: bool = False

    @property
    def rows(self) -> int:
        """1 or 2."""
        return len(self.lines)


def random_spec(random: Random) -> PlateSpec:
    """Draw a text, its layout and its colour, roughly as often as the road shows them, the rare kinds more often."""
    if random.random() < _FREE_TEXT_SHARE:
        return _free_spec(random)
    plate_format = random.choices(FORMATS, weights=_WEIGHTS)[0]
    text = "".join(_drawn(part, random) for part in plate_format.parts)
    choices = [rows for rows in (ONE_ROW, TWO_ROWS) if plate_format.holds_for(rows)]
    rows = random.choices(choices, weights=[3, 2][: len(choices)])[0] if len(choices) > 1 else choices[0]
    colour = random.choices(plate_format.colours, weights=[_COLOUR_WEIGHTS[each] for each in plate_format.colours])[0]
    lines = _lines(plate_format, text, rows, random)
    red = plate_format.kind == "foreign" and ("NG" in text or "QT" in text)
    return PlateSpec(text, lines, plate_format.kind, colour, _ratio(plate_format, rows, random), red_letters=red)


def _drawn(part: Part, random: Random) -> str:
    """One of a part's strings; letters that are often mistaken come oftener than others."""
    if len(part) > len(_MISTAKEN) and len(part[0]) == 1 and part[0].isalpha() and random.random() < 0.15:
        return random.choice([sign for sign in part if sign in _MISTAKEN])
    return random.choice(part)


_MISTAKEN: Final = "MNHGD"
_COLOUR_WEIGHTS: Final = {
    PlateColour.WHITE: 8.0,
    PlateColour.YELLOW: 3.0,
    PlateColour.BLUE: 1.3,
    PlateColour.RED: 3.0,
    PlateColour.OTHER: 1.0,
}
_WEIGHTS: Final = tuple(each.weight for each in FORMATS)


def _lines(plate_format: PlateFormat, text: str, rows: int, random: Random) -> tuple[str, ...]:
    """The text as it stands on the plate: separators are left out on some plates, and dots differ from makers."""
    digits = text[plate_format.top :]
    if rows == ONE_ROW:
        line = plate_format.display(text, ONE_ROW)
        return (line.replace(".", "") if random.random() < 0.15 else line,)
    head = text[: plate_format.top]
    if plate_format.kind in ("motorbike", "e-bike", "special", "zone") and random.random() < 0.93:
        head = f"{head[:2]}-{head[2:]}"
    elif plate_format.kind in ("foreign", "temporary") and random.random() < 0.7:
        head = plate_format.display(text, TWO_ROWS)[: plate_format.top + (plate_format.kind == "foreign")]
    if plate_format.kind == "foreign":
        tail = digits if len(digits) < 5 or random.random() < 0.5 else f"{digits[:3]}-{digits[3:]}"
    elif len(digits) == 5 and plate_format.kind != "military" and random.random() < 0.9:
        tail = f"{digits[:3]}.{digits[3:]}"
    elif len(digits) == 4 and random.random() < 0.1:
        tail = f"{digits[:2]}-{digits[2:]}"
    else:
        tail = digits
    return (head, tail)


def _ratio(plate_format: PlateFormat, rows: int, random: Random) -> float:
    """Width by height of the body; holders and older series stray from the norm."""
    if rows == ONE_ROW:
        return random.choice((520 / 110, 520 / 110, 470 / 110, 4.5)) * random.uniform(0.96, 1.04)
    motorbike = 190 / 140
    car = random.choice((330 / 165, 330 / 165, 280 / 200))
    either = random.choice((motorbike, car))
    ratio = {"motorbike": motorbike, "e-bike": motorbike, "car": car, "military": either}.get(plate_format.kind, either)
    return ratio * random.uniform(0.94, 1.06)


def _free_spec(random: Random) -> PlateSpec:
    """Any characters in one or two rows."""
    rows = random.choice((ONE_ROW, TWO_ROWS))
    letters = [
        random.choice(ALPHABET[10:36]) if random.random() < 0.4 else random.choice("0123456789") for _ in "10" * 5
    ]
    count = random.randint(5, 9)
    text = "".join(letters[:count])
    if rows == ONE_ROW:
        cut = random.randint(2, 4)
        lines: tuple[str, ...] = (f"{text[:cut]}-{text[cut:]}",)
        ratio = random.uniform(3.8, 5.0)
    else:
        cut = random.randint(2, min(5, count - 2))
        head = f"{text[: cut // 2]}-{text[cut // 2 : cut]}" if random.random() < 0.5 else text[:cut]
        tail = f"{text[cut:-2]}-{text[-2:]}" if count - cut > 3 and random.random() < 0.4 else text[cut:]
        lines = (head, tail)
        ratio = random.uniform(1.3, 2.1)
    colour = random.choice(tuple(PlateColour))
    return PlateSpec(text, lines, UNKNOWN_KIND, colour, ratio)
