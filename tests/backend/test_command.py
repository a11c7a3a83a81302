"""`lpr-agent backend` as the program that people start."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from lpr.backend.server import Backend
from tests.backend.helpers import connected, message


@asynccontextmanager
async def started(*arguments: str, directory: Path | None = None) -> AsyncIterator[asyncio.subprocess.Process]:
    environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "160", "LC_ALL": "C"}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-c", "from lpr.cli.main import main; main()", "backend", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
        cwd=directory,
    )
    try:
        async with asyncio.timeout(30):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def backend_at(url: str) -> Backend:
    """Enough of a back-end for `connected`, where the real one is another process."""
    return cast("Backend", SimpleNamespace(url=url, settings=SimpleNamespace(namespace="/ai")))


async def _line(stream: asyncio.StreamReader | None) -> str:
    assert stream is not None
    return (await stream.readline()).decode().strip()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "term"])
async def test_json_lines_come_at_once_and_a_signal_ends_it_cleanly(number: signal.Signals, tmp_path: Path) -> None:
    async with started("--port", "0", "--json", "--database", str(tmp_path / "events.db")) as process:
        url = (await _line(process.stderr)).split()[-1].removesuffix("/ai")
        async with connected(backend_at(url)) as agent:
            await agent.send(message("event-1"))
            listed: dict[str, Any] = json.loads(await _line(process.stdout))
            assert (listed["eventId"], listed["duplicate"]) == ("event-1", False)
            assert listed["data"]["gateName"] == "Cổng chính"
            process.send_signal(number)
            out, err = await process.communicate()
    assert (process.returncode, out, err) == (0, b"", b"")


async def test_without_a_terminal_there_is_a_line_an_event() -> None:
    async with started("--port", "0", "--memory", "--fault", "retry:x1") as process:
        url = (await _line(process.stdout)).split()[1].removesuffix("/ai")
        assert "no agent connected" in await _line(process.stdout)
        assert await _line(process.stdout) == "faults in force: retry:x1"
        async with connected(backend_at(url)) as agent:
            assert (await agent.send(message("event-1")))["status"] == "retry"
            assert (await agent.send(message("event-1", attempt=2)))["status"] == "ok"
            line = await _line(process.stdout)
    for word in ("59-X1 123.45", "0.97", "Cổng chính", "entry", "motorcycle", "replayed, attempt 2"):
        assert word in line


async def test_a_port_in_use_is_an_error_of_two_lines_and_exit_code_1() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        async with started("--port", str(port), "--memory") as process:
            out, err = await process.communicate()
    assert process.returncode == 1
    assert out == b""
    assert f"127.0.0.1:{port}" in err.decode()
    assert "--port" in err.decode()
    assert "Traceback" not in err.decode()


@pytest.mark.parametrize(
    ("arguments", "word"), [(("--fault", "lazy"), "silent"), (("--namespace", "ai"), "begin with /")], ids=str
)
async def test_wrong_arguments_are_exit_code_2(arguments: tuple[str, ...], word: str) -> None:
    async with started("--port", "0", "--memory", *arguments) as process:
        _, err = await process.communicate()
    assert process.returncode == 2
    assert word in err.decode()
    assert "Traceback" not in err.decode()


async def test_what_was_acknowledged_is_still_there_after_a_restart(tmp_path: Path) -> None:
    """In a file unless `--memory` says otherwise: a back-end that forgets would be sent nothing again."""
    for expected in ("ok", "duplicate"):
        async with started("--port", "0", "--json", directory=tmp_path) as process:
            url = (await _line(process.stderr)).split()[-1].removesuffix("/ai")
            async with connected(backend_at(url)) as agent:
                assert (await agent.send(message("event-1")))["status"] == expected
    assert (tmp_path / "lpr-backend.db").exists()
