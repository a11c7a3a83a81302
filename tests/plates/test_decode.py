"""From probabilities to a text: the grammar helps where it mends and stays out where it would break."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lpr.domain.plate import Correction
from lpr.plates.alphabet import ALPHABET, BLANK, CLASSES, INDEX, SLOTS
from lpr.plates.decode import MAX_ODDS, decode
from lpr.plates.formats import FORMATS, PlateFormat
from lpr.plates.parse import matching_formats


def probabilities(text: str, sure: float = 0.99, **doubts: float) -> NDArray[np.float32]:
    """What a recogniser would say of `text`; `doubts` such as `at2_O=0.3` move some probability to another sign."""
    slots = np.full((SLOTS, CLASSES), (1 - sure) / (CLASSES - 1), np.float64)
    for position in range(SLOTS):
        slots[position, INDEX[text[position]] if position < len(text) else BLANK] = sure
    for name, amount in doubts.items():
        place, sign = name.removeprefix("at").split("_")
        row = slots[int(place)]
        row[INDEX[sign]] = 0
        row *= (1 - amount) / row.sum()
        row[INDEX[sign]] = amount
    return slots.astype(np.float32)


def test_a_clear_read_passes_through_unchanged() -> None:
    plate = decode(probabilities("59X153509"), 2)
    assert (plate.text, plate.raw, plate.corrections) == ("59X153509", "59X153509", ())
    assert plate.display == "59-X1 535.09"
    assert plate.valid
    assert len(plate.character_confidences) == 9
    assert plate.confidence == pytest.approx(0.99**10, rel=1e-3)


@pytest.mark.parametrize(("letter", "digit"), list(zip("OQDIZSBG", "00012586", strict=True)))
def test_a_letter_in_the_number_becomes_the_digit_it_looks_like(letter: str, digit: str) -> None:
    read = f"29A1{letter}345"
    doubt = {f"at4_{digit}": 0.02}
    plate = decode(probabilities(read, **doubt), 1)
    assert plate.text == f"29A1{digit}345"
    assert plate.raw == read
    assert plate.corrections == (Correction(4, letter, digit),)


def test_a_letter_in_the_province_becomes_a_digit() -> None:
    plate = decode(probabilities("S1G97162", at0_5=0.05), 1)
    assert (plate.text, plate.province) == ("51G97162", "Thành phố Hồ Chí Minh")


def test_a_digit_for_the_series_letter_becomes_a_letter() -> None:
    assert decode(probabilities("51897162", at2_B=0.05), 1).text == "51B97162"


def test_the_second_place_of_a_motorbike_series_is_left_alone() -> None:
    for read, other in (("59B153509", "I"), ("59BB53509", "8"), ("59B853509", "B"), ("59BS53509", "5")):
        plate = decode(probabilities(read, at3_8=0.4) if other == "8" else probabilities(read), 2)
        assert plate.text == read
        assert plate.corrections == ()


def test_d_with_a_bar_is_taken_only_where_a_format_has_it() -> None:
    assert decode(probabilities("59Đ153509", at2_D=0.05), 2).text == "59D153509"
    assert decode(probabilities("29MĐ112345"), 2).text == "29MĐ112345"


def test_an_e_bike_read_without_the_bar_gets_it_and_keeps_what_was_read() -> None:
    plate = decode(probabilities("29MD112345", at3_Đ=0.01), 2)
    assert (plate.text, plate.raw) == ("29MĐ112345", "29MD112345")


def test_a_sure_read_that_fits_no_format_stays() -> None:
    plate = decode(probabilities("W1J061", sure=0.999), 1)
    assert (plate.text, plate.kind, plate.valid, plate.corrections) == ("W1J061", "unknown", False, ())


def test_correction_stops_at_its_bound() -> None:
    near = probabilities("29A1T345", at4_7=1 / (MAX_ODDS * 0.8))
    far = probabilities("29A1T345", sure=0.9999, at4_7=1 / (MAX_ODDS * 3))
    assert decode(near, 1).text == "29A17345"
    assert decode(far, 1).text == "29A1T345"


def test_odds_of_one_switch_correction_off() -> None:
    slots = probabilities("29A1O345", at4_0=0.3)
    assert decode(slots, 1, max_odds=1.0).text == "29A1O345"
    assert decode(slots, 1).text == "29A10345"


def test_o_and_0_speak_for_each_other_in_the_confidence() -> None:
    plate = decode(probabilities("29A1O345", at4_0=0.4), 1)
    assert plate.character_confidences[4] > 0.95


def test_the_rows_decide_what_the_same_text_is() -> None:
    slots = probabilities("59X12345")
    assert decode(slots, 1).display == "59X-123.45"
    assert decode(slots, 2, top=3).display == "59X-123.45"
    assert decode(slots, 2, top=4).display == "59-X1 2345"


def test_an_empty_plate_is_an_empty_text_with_no_confidence() -> None:
    plate = decode(probabilities(""), 1)
    assert (plate.text, plate.confidence, plate.character_confidences) == ("", 0.0, ())


def test_a_wrong_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="38"):
        decode(np.zeros((10, 37), np.float32), 1)


def test_a_last_digit_half_seen_is_found_where_the_format_needs_it() -> None:
    slots = probabilities("51G9716")
    slots[7] = (1 - 0.45) * slots[7]
    slots[7, INDEX["2"]] = 0.45
    plate = decode(slots, 1)
    assert plate.text in ("51G9716", "51G97162")
    assert plate.valid


@st.composite
def format_and_text(draw: st.DrawFn) -> tuple[PlateFormat, str]:
    """A format and a text of it."""
    plate_format = draw(st.sampled_from(FORMATS))
    return plate_format, "".join(draw(st.sampled_from(part)) for part in plate_format.parts)


@given(format_and_text())
def test_every_text_of_every_format_reads_back_as_itself(pair: tuple[PlateFormat, str]) -> None:
    plate_format, text = pair
    rows = 1 if plate_format.one_row else 2
    plate = decode(probabilities(text), rows)
    assert plate.text == text
    assert plate.valid
    assert plate_format in matching_formats(text, rows)
    assert "".join(sign for sign in plate.display if sign in ALPHABET) == text


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2]), st.floats(0.2, 6.0))
def test_any_probabilities_give_a_text_whose_corrections_explain_it(seed: int, rows: int, sharpness: float) -> None:
    logits = np.random.default_rng(seed).normal(0, sharpness, (SLOTS, CLASSES))
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    plate = decode(shares.astype(np.float32), rows)
    assert len(plate.character_confidences) == len(plate.text)
    assert all(0.0 <= each <= 1.0 for each in (*plate.character_confidences, plate.confidence))
    rebuilt: dict[int, str] = dict(enumerate(plate.raw))
    for correction in plate.corrections:
        assert rebuilt.get(correction.position, "") == correction.read
        rebuilt[correction.position] = correction.corrected
    assert "".join(rebuilt[index] for index in sorted(rebuilt)) == plate.text
    if plate.corrections:
        assert plate.valid


@given(format_and_text(), st.integers(0, SLOTS - 1), st.integers(0, CLASSES - 2))
def test_correction_never_touches_a_text_that_fits(pair: tuple[PlateFormat, str], place: int, sign: int) -> None:
    _, text = pair
    slots = probabilities(text)
    slots[place] *= 0.6
    slots[place, sign] += 0.4
    rows = 1 if matching_formats(text, 1) else 2
    if place >= len(text):
        return
    assert decode(slots, rows).corrections == ()


def doubtful_second(two: float, z: float) -> NDArray[np.float32]:
    """`59-C2 123.45` whose fourth sign may be a 2 or a Z."""
    table = np.full((SLOTS, CLASSES), 1e-6, np.float32)
    for slot in range(SLOTS):
        table[slot, INDEX["59C212345"[slot]] if slot < 9 else BLANK] = 1.0
    table[3] = 1e-6
    table[3, INDEX["2"]], table[3, INDEX["Z"]] = two, z
    return table / table.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("two", "z", "read"), [(0.3, 0.7, "59C212345"), (0.002, 0.998, "59CZ12345"), (1.0, 0.0, "59C212345")]
)
def test_a_z_in_the_second_place_of_a_series_must_be_seen_clearly(two: float, z: float, read: str) -> None:
    assert decode(doubtful_second(two, z), 2).text == read


def test_nowhere_else_is_a_z_weighed_down() -> None:
    table = doubtful_second(0.0, 1.0)
    table[2] = 1e-6
    table[2, INDEX["2"]], table[2, INDEX["Z"]] = 0.4, 0.6

    assert decode(table / table.sum(axis=1, keepdims=True), 2).text[2] == "Z"
