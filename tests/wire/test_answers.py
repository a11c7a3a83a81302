"""The contract's table of answers, row by row, and what must hold for any answer at all."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpr import wire
from tests.wire.samples import ANYTHING, EVENT_ID

OK = {"status": "ok", "eventId": EVENT_ID}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((OK,), wire.Stored()),
        (({"status": "ok"},), wire.Stored()),
        ((OK, "something else"), wire.Stored()),
        ((None, OK), wire.Stored()),
        ((None, {"status": "retry"}), wire.Retry(None)),
        (({"status": "duplicate", "eventId": EVENT_ID},), wire.Duplicate()),
        (
            ({"status": "rejected", "eventId": EVENT_ID, "code": "NO_GATE", "message": "không có cổng"},),
            wire.Rejected("NO_GATE", "không có cổng"),
        ),
        (({"status": "rejected", "eventId": EVENT_ID},), wire.Rejected("REJECTED", "")),
        (({"status": "retry", "eventId": EVENT_ID, "retryAfterMs": 1500},), wire.Retry(1500)),
        (({"status": "retry", "retryAfterMs": 0, "message": "bận"},), wire.Retry(0, "bận")),
        (({"status": "retry"},), wire.Retry(None)),
        ((), wire.Stored()),
        ((True,), wire.Stored()),
        (({"success": True},), wire.Stored()),
        (({"ok": True},), wire.Stored()),
        (({"status": 200, "success": True},), wire.Stored()),
        (({"success": True, "error": None},), wire.Stored()),
        (({"success": False},), wire.SoftFailure("the back-end answered without success")),
        (({"ok": False, "message": "no"},), wire.SoftFailure("no")),
        (({"error": "database is down"},), wire.SoftFailure("database is down")),
        (({"error": {"message": "boom", "stack": "..."}},), wire.SoftFailure("boom")),
        (({"success": True, "error": "but no"},), wire.SoftFailure("but no")),
    ],
)
def test_each_answer_of_the_contract_means_what_its_row_says(answer: tuple[object, ...], expected: wire.Ack) -> None:
    assert wire.parse_ack(answer, EVENT_ID) == expected


@pytest.mark.parametrize(
    "answer",
    [
        ({"status": "ok", "eventId": "another"},),
        ({"status": "rejected", "eventId": "another"},),
        ({"success": True, "eventId": "another"},),
        ({"status": "ok", "eventId": 7},),
        ({"status": "OK"},),
        ({"status": ["ok"]},),
        ({"status": None},),
        ({},),
        ({"error": None},),
        (None,),
        (False,),
        (1,),
        ("ok",),
        (b"ok",),
        ([OK],),
        (math.nan,),
    ],
)
def test_any_other_answer_leaves_the_event_where_it_is(answer: tuple[object, ...]) -> None:
    ack = wire.parse_ack(answer, EVENT_ID)
    assert isinstance(ack, wire.Unreadable)
    assert ack.reason


@pytest.mark.parametrize("answer", [(), (True,), ({"success": True},), ({"ok": True},), ({"status": "ok"},)])
def test_strict_takes_only_the_contracts_own_ok(answer: tuple[object, ...]) -> None:
    assert isinstance(wire.parse_ack(answer, EVENT_ID, strict=True), wire.Unreadable)
    assert wire.parse_ack((OK,), EVENT_ID, strict=True) == wire.Stored()


@pytest.mark.parametrize("answer", [({"success": False},), ({"error": "x"},)])
def test_strict_takes_a_failure_as_a_failure(answer: tuple[object, ...]) -> None:
    assert isinstance(wire.parse_ack(answer, EVENT_ID, strict=True), wire.SoftFailure)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (math.nan, None),
        (-1, None),
        (-math.inf, None),
        (True, None),
        ("1000", None),
        ([1], None),
        (1500.9, 1500),
        (math.inf, wire.MAX_RETRY_AFTER_MS),
        (10**400, wire.MAX_RETRY_AFTER_MS),
        (1e300, wire.MAX_RETRY_AFTER_MS),
    ],
)
def test_a_wait_that_makes_no_sense_is_none_and_a_huge_one_is_bounded(value: object, expected: int | None) -> None:
    answer = {"status": "retry", "eventId": EVENT_ID, "retryAfterMs": value}
    assert wire.parse_ack((answer,), EVENT_ID) == wire.Retry(expected)


def test_texts_of_the_back_end_are_kept_short() -> None:
    ack = wire.parse_ack(({"status": "rejected", "code": "X" * 10_000, "message": {"a": ["b"] * 9999}},), EVENT_ID)
    assert isinstance(ack, wire.Rejected)
    assert len(ack.code) == wire.MAX_TEXT
    assert len(ack.message) <= wire.MAX_TEXT


near_contract = st.fixed_dictionaries(
    {},
    optional={
        "status": st.sampled_from(["ok", "duplicate", "rejected", "retry", "no"]) | ANYTHING,
        "eventId": st.just(EVENT_ID) | ANYTHING,
        "retryAfterMs": ANYTHING,
        "code": ANYTHING,
        "message": ANYTHING,
        "error": ANYTHING,
        "success": ANYTHING,
        "ok": ANYTHING,
    },
)


@given(st.lists(ANYTHING | near_contract, max_size=3), st.booleans())
def test_no_answer_at_all_breaks_the_reader(answer: list[object], strict: bool) -> None:
    ack = wire.parse_ack(answer, EVENT_ID, strict=strict)
    if isinstance(ack, wire.Retry) and ack.after_ms is not None:
        assert 0 <= ack.after_ms <= wire.MAX_RETRY_AFTER_MS
    named = answer[0].get("eventId") if answer and isinstance(answer[0], dict) else None
    if named is not None and named != EVENT_ID:
        assert isinstance(ack, wire.Unreadable)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"status": "done"}, "the answer's status is 'done', the contract has no such one"),
        ({"eventId": EVENT_ID}, "the answer has no status"),
        ("stored", "the answer is text 'stored', it must be an object with a status"),
        ("", "the answer is empty text, it must be an object with a status"),
        (7, "the answer is a number, it must be an object with a status"),
    ],
)
def test_what_cannot_be_read_is_told_as_it_came(answer: object, words: str) -> None:
    assert wire.parse_ack((answer,), EVENT_ID) == wire.Unreadable(words)
