"""A small TCP proxy that stands between a camera and its viewer and makes the line go wrong, in one thread."""

from __future__ import annotations

import os
import selectors
import socket
import threading
from types import TracebackType
from typing import Self

_POLL_S = 0.02
_STALLS_S = 10.0
"""A viewer that reads nothing for so long is let go: whoever wants the line to do something else waits for its thread.
"""


class FaultyLine:
    """Forwards `port` to `target_port` on loopback until told otherwise.

    `hold`: nothing passes any more, connections stay. `cut`: all connections are closed. `blackhole`: held, and new
    connections are taken and never answered; `mute`: the same, cut first. `refuse`: cut, and nobody listens. `garbage`:
    what the camera sends is replaced by noise. `restore`: all is well for what comes from now on.
    With `keep_words` all that viewers say is kept in `words`.
    """

    def __init__(self, target_port: int, *, keep_words: bool = False) -> None:
        self.target_port = target_port
        self.accepted = 0
        self.words = bytearray()
        self._keep_words = keep_words
        self._mode = "pass"
        self._lock = threading.Lock()
        self._listener: socket.socket | None = _listen(0)
        self.port = self._listener.getsockname()[1]
        self._peers: dict[socket.socket, socket.socket] = {}
        self._cameras: set[socket.socket] = set()
        self._mute: list[socket.socket] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="faulty line", daemon=True)
        self._thread.start()

    def hold(self) -> None:
        """Let nothing pass."""
        self._mode = "hold"

    def blackhole(self) -> None:
        """Let nothing pass; take connections and stay mute."""
        self._mode = "blackhole"

    def mute(self) -> None:
        """Close all connections; take new ones and stay mute."""
        self.blackhole()
        self.cut()

    def garbage(self) -> None:
        """Replace what the camera sends by noise."""
        self._mode = "garbage"

    def cut(self) -> None:
        """Close all connections; new ones are forwarded."""
        with self._lock:
            for end in [*self._peers, *self._mute]:
                end.close()
            self._peers.clear()
            self._cameras.clear()
            self._mute.clear()

    def refuse(self) -> None:
        """Close all connections, and the door."""
        with self._lock:
            if self._listener is not None:
                self._listener.close()
                self._listener = None
        self.cut()

    def restore(self) -> None:
        """Forward again. What was connected while it was bad is closed first, as a real line would have lost it."""
        self.cut()
        self._mode = "pass"
        with self._lock:
            if self._listener is None:
                self._listener = _listen(self.port)

    def __enter__(self) -> Self:
        """The line is up from its making on."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close everything."""
        self._stopping.set()
        self._thread.join(2 * _STALLS_S)
        assert not self._thread.is_alive()
        self.refuse()

    def _run(self) -> None:
        while not self._stopping.is_set():
            with self._lock:
                watched = [self._listener] if self._listener else []
                if self._mode in ("pass", "garbage"):
                    watched += list(self._peers)
                ready = _readable(watched)
                for end in ready:
                    if end is self._listener:
                        self._accept(end)
                    elif end in self._peers:
                        self._forward(end)
            if not ready:
                self._stopping.wait(_POLL_S / 4)

    def _accept(self, listener: socket.socket) -> None:
        try:
            viewer, _ = listener.accept()
        except BlockingIOError:
            return  # whoever knocked has gone again
        viewer.settimeout(_STALLS_S)
        self.accepted += 1
        if self._mode in ("hold", "blackhole"):
            self._mute.append(viewer)
            return
        try:
            camera = socket.create_connection(("127.0.0.1", self.target_port), 1.0)
        except OSError:
            viewer.close()
            return
        self._peers[viewer], self._peers[camera] = camera, viewer
        self._cameras.add(camera)

    def _forward(self, end: socket.socket) -> None:
        other = self._peers[end]
        try:
            data = end.recv(65536)
            if data:
                if self._keep_words and end not in self._cameras:
                    self.words += data
                noise = self._mode == "garbage" and end in self._cameras
                other.sendall(os.urandom(len(data)) if noise else data)
                return
        except OSError:
            pass  # either side hung up: the same as an end
        for one in (end, other):
            self._peers.pop(one, None)
            self._cameras.discard(one)
            one.close()


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(16)
    listener.setblocking(False)
    return listener


def _readable(ends: list[socket.socket]) -> list[socket.socket]:
    with selectors.DefaultSelector() as selector:
        for end in ends:
            selector.register(end, selectors.EVENT_READ)
        return [key.fileobj for key, _ in selector.select(0) if isinstance(key.fileobj, socket.socket)]
