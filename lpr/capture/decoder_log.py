"""What decoders print, caught where they print it.

FFmpeg and libpng inside OpenCV write to the standard error of the process, behind Python's back: unformatted, without a
time, and not in the log where a person looks. While `DecoderMessages` is entered, such lines are kept, logged at debug
level with the passwords of addresses hidden, and the last of them are told with each loss of a camera. All else that
goes to the standard error passes through untouched.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections import deque
from types import TracebackType
from typing import IO, Self

import structlog

from lpr.domain.secrets import mask_secrets

_KEPT = 60
_LINE_MAX_BYTES = 4096
_FROM_DECODER = re.compile(
    r"^(\[[\w,+.]+ @ 0x[0-9a-f]+\]|\[ *(?:WARN|ERROR|INFO|FATAL):\d+@[\d.]+\] global |libpng (?:warning|error): )"
)

_log = structlog.get_logger("capture")


class DecoderMessages:
    """Entered once by the agent; a context manager that gives the standard error back when it leaves.

    Python's own standard error is led around the pipe, so that what it says is not lost when the process dies.
    """

    def __init__(self) -> None:
        self._recent: deque[tuple[float, str]] = deque(maxlen=_KEPT)
        self._thread: threading.Thread | None = None
        self._real_fd = -1
        self._python_stderr: IO[str] | None = None

    def recent(self, within_s: float) -> list[str]:
        """The lines of the last `within_s` seconds, oldest first; of all cameras, for a decoder does not say whose."""
        since_s = time.monotonic() - within_s
        return [line for said_s, line in tuple(self._recent) if said_s >= since_s]

    def __enter__(self) -> Self:
        """Lead file descriptor 2 into a pipe."""
        sys.stderr.flush()
        self._real_fd = os.dup(2)
        if _is_fd_2(sys.stderr):
            self._python_stderr = sys.stderr
            sys.stderr = open(os.dup(self._real_fd), "w", buffering=1, errors="backslashreplace")  # kept
        read_fd, write_fd = os.pipe()
        os.dup2(write_fd, 2)
        os.close(write_fd)
        self._thread = threading.Thread(target=self._read, args=(read_fd,), name="decoder messages", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give it back; what is still in the pipe is read first."""
        os.dup2(self._real_fd, 2)  # closes the last writing end, which ends the thread
        if self._thread is not None:
            self._thread.join(2.0)
        if self._python_stderr is not None:
            around, sys.stderr = sys.stderr, self._python_stderr
            around.close()
        os.close(self._real_fd)

    def _read(self, read_fd: int) -> None:
        with open(read_fd, "rb", buffering=0) as pipe:
            left = b""
            while data := pipe.read(_LINE_MAX_BYTES):
                *lines, left = (left + data).split(b"\n")
                for line in lines:
                    self._take(line)
                if len(left) > _LINE_MAX_BYTES:
                    self._take(left)
                    left = b""
            if left:
                self._take(left)

    def _take(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").rstrip()
        if not _FROM_DECODER.match(text):
            os.write(self._real_fd, line + b"\n")
            return
        masked = mask_secrets(text)
        self._recent.append((time.monotonic(), masked))
        _log.debug("decoder_says", text=masked)


def _is_fd_2(stream: IO[str]) -> bool:
    """Whether what is written there goes the way that decoders' words go; not where somebody has put another one."""
    try:
        return stream.fileno() == 2
    except (OSError, ValueError):
        return False
