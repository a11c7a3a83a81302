"""What a back-end's no means: for us, or for now."""

from __future__ import annotations

import pytest

from lpr.domain.errors import LinkNotReadyError, LinkRefusedError
from lpr.link.explain import refusal
from tests.link.parts import settings


@pytest.mark.parametrize(
    "words", ["invalid token", "Authentication error", "jwt expired", "unknown device", "Forbidden", "API key missing"]
)
def test_a_no_to_who_we_are_is_asked_again_slowly(words: str) -> None:
    error = refusal({"message": words, "data": {"code": 1}}, settings())
    assert not isinstance(error, LinkNotReadyError)
    assert words in error.message
    assert "backend.token" in (error.hint or "")


@pytest.mark.parametrize(
    "data",
    [
        {"message": "maintenance", "data": {"retryAfter": 30}},
        {"message": "ECONNREFUSED 127.0.0.1:5432"},
        {"message": "Invalid namespace"},
        {"message": ""},
        {"message": 7},
        "busy",
        None,
        [1],
    ],
)
def test_any_other_no_may_pass_and_is_asked_again_soon(data: object) -> None:
    error = refusal(data, settings())
    assert isinstance(error, LinkNotReadyError)
    assert isinstance(error, LinkRefusedError)
    assert error.hint
