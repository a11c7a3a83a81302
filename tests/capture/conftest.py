"""Fixtures of the capture tests: the real camera, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, TypeAlias

import pytest

from tests.rtsp.server import RtspServer, why_not

StartServer: TypeAlias = Callable[..., RtspServer]


@pytest.fixture
def rtsp() -> Iterator[StartServer]:
    """Starts real RTSP servers that are gone when the test is over."""
    if reason := why_not():
        pytest.skip(reason)
    with ExitStack() as servers:

        def start(**options: Any) -> RtspServer:
            return servers.enter_context(RtspServer(**options))

        yield start
