from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from lpr.backend.server import Backend, BackendSettings
from tests.backend.helpers import Serve


@pytest.fixture
def serve() -> Serve:
    """Start a back-end on a free port: `async with serve(token=…) as backend`."""

    @asynccontextmanager
    async def start(**settings: Any) -> AsyncIterator[Backend]:
        async with Backend(BackendSettings(**{"port": 0, "seed": 1, **settings})) as backend:
            yield backend

    return start
