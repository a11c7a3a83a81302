"""Fixtures that several packages' tests share: the Node back-end, a network that breaks, a real camera."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests import deadline
from tests.faults import node
from tests.faults.node import NodeBackend
from tests.faults.proxy import TcpProxy
from tests.rtsp.server import RtspServer, StartServer, why_not


def pytest_configure(config: pytest.Config) -> None:
    """No test may hang the others, nor is any to go through a proxy of the machine that it runs on."""
    config.pluginmanager.register(deadline)
    for name in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"):
        os.environ.pop(name, None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked `node` are skipped, with what is missing, where the server cannot be started."""
    reason = node.why_not()
    if reason is None:
        return
    for item in items:
        if item.get_closest_marker("node"):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def node_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeBackend]:
    """One real socket.io server for the whole run; to be had as new from `node_backend`."""
    if (reason := node.why_not()) is not None:
        pytest.skip(reason)
    backend = NodeBackend(tmp_path_factory.mktemp("node"))
    backend.launch()
    yield backend
    backend.thaw()
    backend.end()


@pytest.fixture
async def node_backend(node_process: NodeBackend) -> NodeBackend:
    """A real socket.io server that speaks the contract, listening, as new."""
    await node_process.as_new()
    return node_process


@pytest.fixture
async def proxy(node_backend: NodeBackend) -> AsyncIterator[TcpProxy]:
    """A network between the agent and the Node back-end."""
    async with TcpProxy(node_backend.port) as between:
        yield between


@pytest.fixture
def rtsp() -> Iterator[StartServer]:
    """Starts real RTSP servers that are gone when the test is over."""
    if reason := why_not():
        pytest.skip(reason)
    with ExitStack() as servers:

        def start(**options: Any) -> RtspServer:
            return servers.enter_context(RtspServer(**options))

        yield start
