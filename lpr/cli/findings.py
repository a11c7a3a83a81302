"""What a check found: one line, how it stands, and what to do where it does not."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lpr.domain.errors import LprError


class Verdict(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, how it stands, and what to do where it does not."""

    topic: str
    verdict: Verdict
    message: str
    hint: str | None = None


def ok(topic: str, message: str) -> Finding:
    """All is well."""
    return Finding(topic, Verdict.OK, message)


def warn(topic: str, message: str, hint: str | None = None) -> Finding:
    """It works, and somebody should look at it."""
    return Finding(topic, Verdict.WARN, message, hint)


def fail(topic: str, message: str, hint: str | None = None) -> Finding:
    """It does not work."""
    return Finding(topic, Verdict.FAIL, message, hint)


def failed(topic: str, error: LprError) -> Finding:
    """What an error says, as a finding."""
    return fail(topic, error.message, error.hint)
