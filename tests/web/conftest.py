from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp.test_utils import TestClient, TestServer

from lpr.metrics import Metrics
from lpr.testing.status import FakeStatusSource
from lpr.web.server import create_app


@pytest.fixture
def source() -> FakeStatusSource:
    return FakeStatusSource()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def http(source: FakeStatusSource, metrics: Metrics) -> AsyncIterator[TestClient]:  # type: ignore[type-arg]
    async with TestClient(TestServer(create_app(source, metrics, only_local=True))) as client:
        yield client
