"""The Node back-end of `tests/node_backend` as a process that a test starts, talks to and kills."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp

TOKEN = "secret"
FOLDER = Path(__file__).parent.parent / "node_backend"


def why_not() -> str | None:
    """Why the Node server cannot be started here; None where it can."""
    if shutil.which("node") is None:
        return "node is not installed (Node 18 or newer is wanted)"
    if not (FOLDER / "node_modules" / "socket.io").is_dir():
        return "the packages of tests/node_backend are not installed: run `npm ci` there, or scripts/test"
    return None


class NodeBackend:
    """One data directory and, one after another, the processes that serve it; the ports stay the same."""

    def __init__(self, folder: Path, *, token: str = TOKEN, namespace: str = "/ai", keep_images: bool = False) -> None:
        self.folder, self.token, self.namespace, self.keep_images = folder, token, namespace, keep_images
        self.port = self._control_port = 0
        self._process: asyncio.subprocess.Process | None = None
        self._session: aiohttp.ClientSession | None = None
        self._log: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where agents find it."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def store_file(self) -> Path:
        """One line of JSON an event, in the order in which they were stored."""
        return self.folder / "events.jsonl"

    async def start(self) -> None:
        """Start a process and wait until it listens; on the ports of the one before, if there was one."""
        arguments = ["--port", str(self.port), "--control", str(self._control_port), "--token", self.token]
        arguments += ["--namespace", self.namespace, "--store", str(self.store_file)]
        if self.keep_images:
            arguments += ["--images", str(self.folder / "images")]
        # A killed server's port may be taken for a moment by a connection that still closes.
        for _ in range(50):
            if await self._launch(arguments):
                return
            await asyncio.sleep(0.1)
        raise RuntimeError("the Node back-end does not start")

    async def _launch(self, arguments: Sequence[str]) -> bool:
        self._process = await asyncio.create_subprocess_exec(
            "node", "server.mjs", *arguments, cwd=FOLDER,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            await self._process.wait()
            return False
        ready = json.loads(line)
        self.port, self._control_port = ready["port"], ready["control"]
        self._log = asyncio.create_task(_drain(self._process.stdout))
        self._session = aiohttp.ClientSession()
        return True

    async def kill(self) -> None:
        """kill -9."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """End the process, if one runs."""
        if self._process is not None:
            self.thaw()
            await self._end(signal.SIGTERM)

    def freeze(self) -> None:
        """SIGSTOP: connections stay open, nobody is there."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    async def _end(self, by: signal.Signals) -> None:
        assert self._process is not None
        process, self._process = self._process, None
        process.send_signal(by)
        await process.wait()
        if self._log is not None:
            await self._log
        if self._session is not None:
            await self._session.close()

    # The control port

    async def fault(self, kind: str | None, **details: Any) -> None:
        """How the next events are treated; None ends a fault. See `control.mjs`."""
        await self._post("/fault", None if kind is None else {"kind": kind, **details})

    async def settings(self, **changes: Any) -> None:
        """Change the token, the answer to agent_hello, or how long joining takes."""
        await self._post("/settings", changes)

    async def command(self, name: str, *args: object) -> Mapping[str, Any]:
        """Emit a command to the agent; its answer."""
        answer = await self._post("/command", {"name": name, "args": args})
        assert "reply" in answer, answer
        reply: Mapping[str, Any] = answer["reply"]
        return reply

    async def kick(self) -> None:
        """Disconnect every agent from the namespace, as an application does."""
        await self._post("/kick", {})

    async def forget(self) -> None:
        """Lose the memory of what was stored."""
        await self._post("/forget", {})

    async def state(self) -> Mapping[str, Any]:
        """What it has seen: stored (a count), agents (their auth), received (name, eventId, delivery, at)."""
        return await self._post("/state", {})

    def stored(self) -> list[dict[str, Any]]:
        """Every line of the store, whole ones only."""
        if not self.store_file.exists():
            return []
        text = self.store_file.read_bytes()
        return [json.loads(line) for line in text[: text.rfind(b"\n") + 1].splitlines()]

    async def _post(self, path: str, body: object) -> dict[str, Any]:
        assert self._session is not None
        async with self._session.post(f"http://127.0.0.1:{self._control_port}{path}", json=body) as response:
            answer: dict[str, Any] = await response.json()
            return answer


async def _drain(stream: asyncio.StreamReader) -> None:
    while await stream.readline():
        pass
