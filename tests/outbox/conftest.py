from __future__ import annotations

from pathlib import Path

import pytest

from lpr.testing.clock import FakeClock
from tests.outbox.helpers import MemoryStore, SqliteStore, Store


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, clock: FakeClock, tmp_path: Path) -> Store:
    return MemoryStore(clock) if request.param == "memory" else SqliteStore(clock, tmp_path / "data")


@pytest.fixture
def disk(clock: FakeClock, tmp_path: Path) -> SqliteStore:
    return SqliteStore(clock, tmp_path / "data")
