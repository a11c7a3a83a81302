"""What a text means: kinds, display forms, provinces, dates, and the traps of the grammar."""

from __future__ import annotations

from datetime import date

import pytest

from lpr.domain.plate import VehicleType
from lpr.plates.alphabet import ALPHABET, BLANK, CLASSES, SLOTS, normalise
from lpr.plates.formats import FORMATS, KINDS
from lpr.plates.parse import begins_longer, forms, parse, province_of
from lpr.plates.provinces import CODES, PROVINCE_BY_CODE


def test_alphabet_has_37_characters_and_a_blank_behind_them() -> None:
    assert len(ALPHABET) == len(set(ALPHABET)) == BLANK == 37
    assert CLASSES == 38
    assert ALPHABET[-1] == "Đ"


def test_codes_are_11_to_99_without_the_eight_never_issued() -> None:
    missing = {f"{code}" for code in range(11, 100)} - set(CODES)
    assert missing == {"13", "42", "44", "45", "46", "87", "91", "96"}


def test_thirty_four_provinces_and_the_central_organs_share_the_codes() -> None:
    assert len(set(PROVINCE_BY_CODE.values())) == 34 + 1
    assert province_of("59X153509") == "Thành phố Hồ Chí Minh"
    assert province_of("43A12345") == "Đà Nẵng"
    assert province_of("T2912345") == "Hà Nội"
    assert province_of("TM2366") is None


def test_no_format_is_longer_than_the_slots() -> None:
    assert max(each.length for each in FORMATS) == SLOTS


def test_every_display_form_holds_as_many_characters_as_its_format() -> None:
    for each in FORMATS:
        shown = [form for form in (each.one_row, each.two_rows) if form is not None]
        assert shown, each.name
        assert {form.count("x") for form in shown} == {each.length}, each.name


@pytest.mark.parametrize(
    ("text", "rows", "kind", "display", "vehicle"),
    [
        ("29A12345", 1, "car", "29A-123.45", VehicleType.CAR),
        ("30M4321", 1, "car", "30M-4321", VehicleType.CAR),
        ("59X153509", 2, "motorbike", "59-X1 535.09", VehicleType.MOTORCYCLE),
        ("54L36961", 2, "motorbike", "54-L3 6961", VehicleType.UNKNOWN),
        ("81AA04892", 2, "motorbike", "81-AA 048.92", VehicleType.MOTORCYCLE),
        ("80NG63160", 1, "foreign", "80-NG-631-60", VehicleType.CAR),
        ("80631NG60", 1, "foreign", "80-631-NG-60", VehicleType.CAR),
        ("80NG63160", 2, "foreign", "80-NG-631-60", VehicleType.UNKNOWN),
        ("29NN12345", 2, "foreign", "29-NN-123-45", VehicleType.UNKNOWN),
        ("50CV01234", 2, "foreign", "50-CV-012-34", VehicleType.UNKNOWN),
        ("80QT00117", 2, "foreign", "80-QT-001-17", VehicleType.UNKNOWN),
        ("TM2366", 1, "military", "TM-23-66", VehicleType.CAR),
        ("29LD12345", 1, "special", "29LD-123.45", VehicleType.CAR),
        ("29MĐ112345", 2, "e-bike", "29-MĐ1 123.45", VehicleType.MOTORCYCLE),
        ("51R12345", 1, "special", "51R-123.45", VehicleType.CAR),
        ("T2912345", 1, "temporary", "T29-123.45", VehicleType.CAR),
        ("20LB01234", 1, "zone", "20LB-012.34", VehicleType.CAR),
    ],
)
def test_each_kind_is_named_and_shown_its_way(
    text: str, rows: int, kind: str, display: str, vehicle: VehicleType
) -> None:
    parsed = parse(text, rows)
    assert (parsed.kind, parsed.display, parsed.valid) == (kind, display, True)
    assert parsed.vehicle_type is vehicle
    assert parsed.kind in KINDS


def test_separators_and_case_do_not_matter() -> None:
    assert parse("59-x1 535.09", 2) == parse("59X153509", 2)
    assert normalise(" 29a-123.45 ") == "29A12345"


def test_the_rows_and_not_the_text_tell_a_car_from_an_old_motorbike() -> None:
    assert parse("59X12345", 1).display == "59X-123.45"
    assert parse("59X12345", 1).vehicle_type is VehicleType.CAR
    assert parse("59X12345", 2).display == "59-X1 2345"


def test_the_upper_row_tells_a_square_car_plate_from_an_old_motorbike() -> None:
    car, motorbike = parse("59X12345", 2, top=3), parse("59X12345", 2, top=4)
    assert (car.display, car.vehicle_type) == ("59X-123.45", VehicleType.CAR)
    assert (motorbike.display, motorbike.vehicle_type) == ("59-X1 2345", VehicleType.MOTORCYCLE)


@pytest.mark.parametrize(
    ("text", "rows", "begins"),
    [
        ("30G566", 1, True),
        ("29AB123", 1, False),
        ("29AB123", 2, True),
        ("80NG631", 1, True),
        ("TM23", 1, True),
        ("29MĐ1123", 2, True),
        ("30G55678", 1, False),
        ("13A123", 1, False),
        ("2AB1234", 1, False),
        ("UN4567", 1, False),
    ],
)
def test_the_beginning_of_a_longer_plate_is_known(text: str, rows: int, begins: bool) -> None:
    assert begins_longer(text, rows) is begins


@pytest.mark.parametrize("series", ["LD", "KT", "DA", "HC", "CD", "MK"])
def test_a_special_series_on_two_rows_may_be_a_motorbikes_so_the_vehicle_stays_open(series: str) -> None:
    assert parse(f"29{series}12345", 1).kind == "special"
    two = parse(f"29{series}12345", 2)
    assert two.display == f"29-{series} 123.45"
    assert two.vehicle_type is VehicleType.UNKNOWN


@pytest.mark.parametrize(("read", "other"), [("29MD112345", "29MĐ112345"), ("29TĐ12345", "29TD12345")])
def test_a_series_of_md_or_td_keeps_both_forms(read: str, other: str) -> None:
    assert forms(read) == (read, other)
    assert forms("29A12345") == ("29A12345",)


def test_the_series_letter_does_not_tell_the_kind_of_vehicle() -> None:
    for letter in "ABCDEFGHKLMNPSTUVXYZ":
        assert parse(f"29{letter}12345", 1).vehicle_type is VehicleType.CAR


def test_a_code_that_was_never_issued_lowers_the_validity_and_keeps_the_kind() -> None:
    parsed = parse("13A12345", 1)
    assert (parsed.kind, parsed.valid, parsed.province) == ("car", False, None)
    assert parsed.display == "13A-123.45"


def test_a_letter_outside_the_series_lowers_the_validity_and_keeps_the_kind() -> None:
    parsed = parse("29W12345", 1)
    assert (parsed.kind, parsed.valid) == ("car", False)


def test_letters_given_up_in_2010_stand_with_four_digits() -> None:
    assert parse("29J1234", 1).valid
    assert not parse("29J12345", 1).valid


def test_two_letter_series_are_valid_from_the_day_of_their_circular() -> None:
    assert parse("59CE12345", 2, date(2023, 8, 15)).valid
    assert not parse("59CE12345", 2, date(2023, 8, 14)).valid


def test_plates_of_older_laws_stay_valid() -> None:
    for text in ("59X153509", "54L36961", "30M4321"):
        assert parse(text, None, date(2026, 11, 23)).valid


def test_what_fits_nothing_is_shown_as_it_stands() -> None:
    parsed = parse("ABCDEF", 2, top=2)
    assert (parsed.kind, parsed.valid, parsed.display) == ("unknown", False, "AB CDEF")
    assert parse("", 1).kind == "unknown"


def test_military_plates_name_no_province() -> None:
    assert parse("KB1234", 2).province is None
