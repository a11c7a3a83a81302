from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator

import pytest

from lpr.cli.handles import WANTED, allow_more, run_out


@pytest.fixture
def limit() -> Iterator[None]:
    """Puts the soft limit of open files back."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("limit")
def test_what_the_system_allows_is_taken() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (WANTED - 1, hard))
    assert allow_more() is None
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= WANTED


def test_a_limit_that_is_low_for_good_is_told_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (24, 24))
    told = allow_more()
    assert told is not None
    assert "only 24 files and connections" in told.message
    assert "LimitNOFILE" in (told.hint or "")


def test_no_more_handles_is_found_within_a_group_and_nothing_else_is() -> None:
    def failure(number: int) -> OSError:
        return OSError(number, os.strerror(number))

    nested = ExceptionGroup("a", [ValueError(), ExceptionGroup("b", [failure(errno.EMFILE)])])
    assert "may be open at once" in str(run_out(nested))
    assert "the whole system" in str(run_out(failure(errno.ENFILE)))
    assert run_out(ExceptionGroup("a", [failure(errno.EIO), ValueError()])) is None
