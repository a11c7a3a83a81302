"""Starts and stops the real RTSP server of `gst_server.py` as a child process."""

from __future__ import annotations

import functools
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

SYSTEM_PYTHON = "/usr/bin/python3"
PROGRAM = Path(__file__).with_name("gst_server.py")
PACKAGES = "gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly"

_START_TIMEOUT_S = 20.0
_LOOK_TIMEOUT_S = 60.0
_END_TIMEOUT_S = 20.0
_LOOK = """
import gi
gi.require_version("Gst", "1.0"); gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gst, GstRtspServer
Gst.init(None)
missing = [name for name in ("appsrc", "x264enc", "rtph264pay") if not Gst.ElementFactory.find(name)]
raise SystemExit("GStreamer lacks " + ", ".join(missing) if missing else 0)
"""


@functools.cache
def why_not() -> str:
    """Why the server cannot run on this machine; '' where it can."""
    if not Path(SYSTEM_PYTHON).exists():
        return f"there is no {SYSTEM_PYTHON}"
    look = subprocess.run(
        [SYSTEM_PYTHON, "-c", _LOOK], capture_output=True, text=True, timeout=_LOOK_TIMEOUT_S, check=False
    )
    if look.returncode == 0:
        return ""
    return f"{look.stderr.strip().splitlines()[-1]}; Debian's packages for it: {PACKAGES}"


def has_element(name: str) -> bool:
    """Whether GStreamer has one that is not needed by all tests."""
    program = (
        "import gi; gi.require_version('Gst', '1.0'); from gi.repository import Gst; Gst.init(None); "
        f"raise SystemExit(Gst.ElementFactory.find({name!r}) is None)"
    )
    command = [SYSTEM_PYTHON, "-c", program]
    return subprocess.run(command, capture_output=True, timeout=_LOOK_TIMEOUT_S, check=False).returncode == 0


class StartServer(Protocol):
    """What the fixture `rtsp` is: starts a server that is gone when the test is over; takes `RtspServer`'s options."""

    def __call__(self, **options: Any) -> RtspServer:
        """A server that listens."""
        ...


class RtspServer:
    """One camera, or several paths of one: `with RtspServer() as camera: camera.url()`."""

    def __init__(
        self,
        *,
        port: int = 0,
        paths: Sequence[str] = ("live",),
        size: tuple[int, int] = (320, 240),
        fps: int = 25,
        keyframe_every: int = 25,
        login: tuple[str, str] | None = None,
        digest: bool = False,
        codec: str = "h264",
    ) -> None:
        self.port = port
        self.login = login
        self._arguments = ["--paths", ",".join(paths), "--size", f"{size[0]}x{size[1]}", "--fps", str(fps)]
        self._arguments += ["--keyframe-every", str(keyframe_every), "--codec", codec]
        if login:
            self._arguments += ["--user", login[0], "--password", login[1]]
        if digest:
            self._arguments.append("--digest")
        self._process: subprocess.Popen[str] | None = None

    def url(self, path: str = "live", *, port: int | None = None, login: tuple[str, str] | None = None) -> str:
        """The stream's address; through a proxy where `port` is its port."""
        login = login or self.login
        who = f"{login[0]}:{login[1]}@" if login else ""
        return f"rtsp://{who}127.0.0.1:{port or self.port}/{path}"

    def start(self) -> Self:
        """Start, on the port of the last time where there was one; returns when it listens."""
        self._process = subprocess.Popen(
            [SYSTEM_PYTHON, str(PROGRAM), "--port", str(self.port), *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.port = int(_first_line(self._process).removeprefix("ready "))
        return self

    def order(self, line: str) -> None:
        """One of the orders of `gst_server.py`: `pause`, `go`, `size W H`, `grey`; `main:pause` for one path."""
        process = self._running()
        assert process.stdin is not None
        process.stdin.write(line + "\n")
        process.stdin.flush()

    def kill(self) -> None:
        """End it as a power cut does, and wait until it has gone."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait(_END_TIMEOUT_S)
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()

    def freeze(self) -> None:
        """Stop the whole process: the kernel goes on answering, the camera does not."""
        os.kill(self._running().pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self._running().pid, signal.SIGCONT)

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill."""
        self.kill()

    def _running(self) -> subprocess.Popen[str]:
        assert self._process is not None, "the server has not been started"
        return self._process


def _first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=lambda stream: lines.put(stream.readline()), args=(process.stdout,), daemon=True).start()
    try:
        line = lines.get(timeout=_START_TIMEOUT_S)
    except queue.Empty:
        line = ""
    if not line.startswith("ready "):
        process.kill()
        process.wait(_END_TIMEOUT_S)
        raise RuntimeError(f"the RTSP server did not start: {line!r}")
    return line
