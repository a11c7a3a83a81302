"""What goes into one transaction, and what lets others pass."""

from __future__ import annotations

import math

import pytest

from lpr.outbox import jobs
from lpr.outbox.jobs import MAX_BATCH, Job, Jobs


def job(*, patient: bool = False) -> Job:
    return Job(lambda _: [], patient=patient)


def test_what_has_piled_up_is_done_together_in_its_order() -> None:
    line, put = Jobs(), [job() for _ in range(5)]
    for each in put:
        line.put(each)
    assert line.waiting
    assert line.next(10.0) == (put, False)
    assert not line.waiting
    assert line.next(0.0) == ([], False)


def test_a_transaction_is_bounded() -> None:
    line = Jobs()
    for _ in range(MAX_BATCH + 1):
        line.put(job())
    assert [len(line.next(10.0)[0]) for _ in range(2)] == [MAX_BATCH, 1]


def test_patient_jobs_wait_for_others_of_their_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "SETTLE_WITHIN_S", 0.05)
    line, put = Jobs(), [job(patient=True) for _ in range(3)]
    for each in put:
        line.put(each)
    assert line.next(0.0) == ([], False)
    assert line.next(10.0) == (put, False)


def test_patient_jobs_let_others_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "SETTLE_WITHIN_S", math.inf)
    line, patient, urgent = Jobs(), job(patient=True), job()
    line.put(patient)
    line.put(urgent)
    assert line.next(10.0) == ([urgent], False)
    assert line.next(0.0) == ([], False)


def test_patient_jobs_are_not_passed_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "SETTLE_WITHIN_S", 0.0)
    line, patient, urgent = Jobs(), job(patient=True), job()
    line.put(patient)
    line.put(urgent)
    assert line.next(10.0) == ([urgent, patient], False)


def test_at_the_end_nothing_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "SETTLE_WITHIN_S", math.inf)
    line, patient, urgent = Jobs(), job(patient=True), job()
    line.put(patient)
    line.put(urgent)
    line.end()
    assert line.next(10.0) == ([urgent, patient], True)
    assert line.next(10.0) == ([], True)
