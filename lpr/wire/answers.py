"""Inwards: what the back-end's answer to an event means. Anything at all may stand in one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from lpr.wire.values import kind_of, short_text

MAX_RETRY_AFTER_MS = 600_000
"""A back-end that asks for a longer wait is asked again after this one: a typing error must not silence a gate."""


@dataclass(frozen=True, slots=True)
class Stored:
    """The back-end holds the event: delete it."""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The back-end had the event already: delete it."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """The back-end can never store the event: move it to the dead letters."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Retry:
    """Not now. `after_ms` is how long to wait, 0..`MAX_RETRY_AFTER_MS`, or None where the back-end did not say."""

    after_ms: int | None
    message: str = ""


@dataclass(frozen=True, slots=True)
class SoftFailure:
    """`{success: false}` or `{error: …}` of a back-end that knows no contract: retry; ten of them are a rejection."""

    message: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Whether the event is stored is unknown: keep it, and send the same eventId again. `reason` is for the log."""

    reason: str


Ack: TypeAlias = Stored | Duplicate | Rejected | Retry | SoftFailure | Unreadable


def parse_ack(answer: Sequence[object], event_id: str, *, strict: bool = False) -> Ack:
    """What a callback's arguments say about the event; never raises.

    Only the first argument counts. With `strict` an `ok` must be the contract's own, with the eventId; without it the
    short forms `cb()`, `cb(true)`, `{success: true}` and `{ok: true}` are taken as stored too, and of
    `cb(null, answer)`, as Node's own callbacks are called where there is no error, the second argument counts.
    """
    if len(answer) > 1 and answer[0] is None and not strict:
        answer = answer[1:]
    if not answer:
        return Unreadable("the answer is empty, and backend.ack is strict") if strict else Stored()
    first = answer[0]
    if first is True:
        return Unreadable("the answer is true, and backend.ack is strict") if strict else Stored()
    if not isinstance(first, Mapping):
        said = f" {short_text(first)!r}" if isinstance(first, str) and first else ""
        return Unreadable(f"the answer is {kind_of(first)}{said}, it must be an object with a status")
    named = first.get("eventId")
    if named is not None and named != event_id:
        return Unreadable(f"the answer names another eventId, {short_text(named)}")
    if first.get("status") in ("ok", "duplicate", "rejected", "retry"):
        if named is None and strict:
            return Unreadable("the answer names no eventId, and backend.ack is strict")
        return _contract_ack(first)
    return _short_ack(first, strict=strict)


def _contract_ack(answer: Mapping[Any, Any]) -> Ack:
    match answer["status"]:
        case "ok":
            return Stored()
        case "duplicate":
            return Duplicate()
        case "rejected":
            return Rejected(short_text(answer.get("code")) or "REJECTED", short_text(answer.get("message")))
        case _:
            return Retry(_retry_after_ms(answer.get("retryAfterMs")), short_text(answer.get("message")))


def _short_ack(answer: Mapping[Any, Any], *, strict: bool) -> Ack:
    """An answer without a status of the contract. A sign of failure outweighs a sign of success beside it."""
    error = answer.get("error")
    if error not in (None, False, ""):
        return SoftFailure(_error_text(error))
    if answer.get("success") is False or answer.get("ok") is False:
        return SoftFailure(short_text(answer.get("message")) or "the back-end answered without success")
    if answer.get("success") is True or answer.get("ok") is True:
        return Unreadable("the answer has no status, and backend.ack is strict") if strict else Stored()
    if "status" in answer:
        return Unreadable(f"the answer's status is {short_text(answer['status'])!r}, the contract has no such one")
    return Unreadable("the answer has no status")


def _error_text(error: object) -> str:
    if isinstance(error, Mapping) and isinstance(inner := error.get("message"), str):
        return short_text(inner)
    return short_text(error)


def _retry_after_ms(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value or value < 0:
        return None
    return int(min(value, MAX_RETRY_AFTER_MS))
