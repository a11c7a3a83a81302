"""The Node back-end of `tests/node_backend` as a process that a test starts, talks to and kills."""

from __future__ import annotations

import asyncio
import json
import select
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp

TOKEN = "secret"
START_TIMEOUT_S = 30.0
END_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 30.0
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
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

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
        await asyncio.to_thread(self.launch)

    def launch(self) -> None:
        """`start` for those who have no event loop."""
        arguments = ["--port", str(self.port), "--control", str(self._control_port), "--token", self.token]
        arguments += ["--namespace", self.namespace, "--store", str(self.store_file)]
        if self.keep_images:
            arguments += ["--images", str(self.folder / "images")]
        # A killed server's port may be taken for a moment by a connection that still closes.
        for _ in range(50):
            process = subprocess.Popen(
                ["node", "server.mjs", *arguments], cwd=FOLDER, text=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            assert process.stdout is not None
            if not select.select([process.stdout], [], [], START_TIMEOUT_S)[0]:
                process.kill()
            if line := process.stdout.readline():
                ready = json.loads(line)
                self.port, self._control_port, self._process = ready["port"], ready["control"], process
                # Nobody reads its lines, but it must be able to write them.
                self._reader = threading.Thread(target=process.stdout.read, daemon=True)
                self._reader.start()
                return
            process.wait(END_TIMEOUT_S)
            process.stdout.close()
            time.sleep(0.1)
        raise RuntimeError("the Node back-end does not start")

    async def kill(self) -> None:
        """kill -9."""
        self.end(signal.SIGKILL)

    async def stop(self) -> None:
        """End the process, if one runs."""
        self.thaw()
        self.end(signal.SIGTERM)

    def end(self, by: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal and wait for the end."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(by)
            process.wait(END_TIMEOUT_S)
            assert self._reader is not None
            assert process.stdout is not None
            self._reader.join(END_TIMEOUT_S)
            process.stdout.close()

    def freeze(self) -> None:
        """SIGSTOP: connections stay open, nobody is there."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    # The control port

    async def fault(self, kind: str | None, **details: Any) -> None:
        """How the next events are treated; None ends a fault. See `control.mjs`."""
        await self._post("/fault", None if kind is None else {"kind": kind, **details})

    async def settings(self, **changes: Any) -> None:
        """Change the token, the answer to agent_hello, how long joining takes, or the largest message (told or not)."""
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
        """Lose the memory of what was stored, not the file."""
        await self._post("/forget", {})

    async def as_new(self) -> None:
        """Be alive, without events or faults, with the settings of the start."""
        self.thaw()
        if self._process is None or self._process.poll() is not None:
            await self.start()
        await self._post("/reset", {})

    async def state(self) -> Mapping[str, Any]:
        """What it has seen: stored (a count), agents, joined (auth), hellos, received (name, eventId, delivery, at)."""
        return await self._post("/state", {})

    def stored(self) -> list[dict[str, Any]]:
        """Every line of the store, whole ones only."""
        if not self.store_file.exists():
            return []
        text = self.store_file.read_bytes()
        return [json.loads(line) for line in text[: text.rfind(b"\n") + 1].splitlines()]

    async def _post(self, path: str, body: object) -> dict[str, Any]:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S)) as session,
            session.post(f"http://127.0.0.1:{self._control_port}{path}", json=body) as response,
        ):
            answer: dict[str, Any] = await response.json()
            return answer
