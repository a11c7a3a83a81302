"""The libraries under the link still have the insides that it uses; what it does with them, the other tests here try.

pyproject.toml holds these libraries to the minor releases that all of it has passed with. Who raises a bound and finds
one of these tests failing finds here, too, which of our classes leans on what has gone.
"""

from __future__ import annotations

import inspect
import tomllib
from importlib.metadata import version
from pathlib import Path

import aiohttp
import pytest
import socketio
from aiohttp.http import WebSocketWriter
from aiohttp.resolver import ThreadedResolver
from engineio import base_client
from packaging.requirements import Requirement

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


@pytest.mark.parametrize("name", ["python-socketio", "python-engineio", "aiohttp"])
def test_a_library_whose_insides_are_used_is_held_to_releases_that_are_known(name: str) -> None:
    listed = tomllib.loads(PYPROJECT.read_text("utf-8"))["project"]["dependencies"]
    [bounds] = [each.specifier for each in map(Requirement, listed) if each.name == name]
    assert sorted(each.operator for each in bounds) == ["<", ">="], f"{name} may be of any later release"
    assert version(name) in bounds


@pytest.mark.parametrize(
    ("owner", "method", "parameters", "ours"),
    [
        (socketio.AsyncClient, "_handle_connect", ["self", "namespace", "data"], "link.socketio_transport._Client"),
        (socketio.AsyncClient, "_handle_ack", ["self", "namespace", "id", "data"], "link.socketio_transport._Client"),
        (socketio.AsyncClient, "_handle_eio_message", ["self", "data"], "link.socketio_transport._Client"),
        (socketio.AsyncServer, "_handle_eio_message", ["self", "eio_sid", "data"], "backend.hub.AgentHub"),
        (aiohttp.ClientWebSocketResponse, "receive", ["self", "timeout"], "link.web_socket.WebSocket"),
        (WebSocketWriter, "send_frame", ["self", "message", "opcode", "compress"], "link.web_socket._Frames"),
    ],
)
def test_a_method_that_is_called_or_overridden_takes_what_it_took(
    owner: type, method: str, parameters: list[str], ours: str
) -> None:
    found = getattr(owner, method, None)
    assert found is not None, f"{owner.__name__} has no {method} any longer, on which lpr.{ours} leans"
    assert list(inspect.signature(found).parameters) == parameters, f"lpr.{ours} leans on {owner.__name__}.{method}"
    assert inspect.iscoroutinefunction(found), f"lpr.{ours} awaits {owner.__name__}.{method}"


def test_names_are_looked_up_by_what_the_resolver_is_given_for_a_loop() -> None:
    used = inspect.getsource(ThreadedResolver.resolve)
    assert "self._loop.getaddrinfo(" in used, "lpr.link.names.NameResolver leans on it"
    assert list(inspect.signature(ThreadedResolver).parameters) == ["loop"]


async def test_a_client_has_the_state_that_is_looked_at_and_taken_from_it() -> None:
    client = socketio.AsyncClient()
    # `SocketIoTransport` ends what these stand for, and looks at them to tell how far a connection came.
    for name in ("sid", "state", "read_loop_task", "write_loop_task"):
        assert hasattr(client.eio, name), f"the engine has no {name} any longer"
    assert isinstance(base_client.connected_clients, list)
    assert client._binary_packet is None
    assert client.namespaces == {}
