"""Where a reader's thread hands its frames to the event loop: the border of capture, in one class each."""

from __future__ import annotations

import asyncio
import threading
from collections import deque

from lpr.domain.frame import Frame

_LOOK_UP_EVERY_S = 0.1


class FrameBuffer:
    """Frames from one thread to one event loop. The two kinds differ in what happens when it is full."""

    def __init__(self) -> None:
        self._frames: deque[Frame] = deque()
        self._changed = threading.Condition()
        self._arrived = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self.overwritten = 0
        """Frames that nobody took before a newer one came."""

    def offer(self, frame: Frame, give_up: threading.Event) -> bool:
        """Called by the thread. False where the frame was not taken: `give_up` was set, or the buffer is closed."""
        with self._changed:
            if not self._make_room(give_up) or self._closed:
                return False
            self._frames.append(frame)
            loop = self._loop
        if loop is not None:
            self._wake(loop)
        return True

    async def wait(self) -> bool:
        """Until there is a frame to take, and leave it there; false once the buffer is closed and empty."""
        self._loop = asyncio.get_running_loop()
        while True:
            with self._changed:
                if self._frames or self._closed:
                    return bool(self._frames)
                self._arrived.clear()
            await self._arrived.wait()

    async def take(self) -> Frame | None:
        """The next frame; waits for it. None once the buffer is closed and empty. Cancelling loses no frame."""
        while await self.wait():
            with self._changed:
                if self._frames:
                    frame = self._frames.popleft()
                    self._changed.notify_all()
                    return frame
        return None

    def close(self) -> None:
        """Nothing more comes; called on the loop. What lies in the buffer can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._arrived.set()

    def _make_room(self, give_up: threading.Event) -> bool:
        raise NotImplementedError

    def _wake(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            loop.call_soon_threadsafe(self._arrived.set)
        except RuntimeError:  # the loop has been closed over a thread that was still busy: nobody waits any more
            self._closed = True


class LatestFrame(FrameBuffer):
    """One place, newest wins: a live camera outruns analysis, and an old frame is worth nothing."""

    def _make_room(self, give_up: threading.Event) -> bool:
        if self._frames:
            self._frames.clear()
            self.overwritten += 1
        return not give_up.is_set()


class FrameQueue(FrameBuffer):
    """A bounded queue: the thread waits for room, and no frame of a file is lost."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self._length = length

    def _make_room(self, give_up: threading.Event) -> bool:
        while len(self._frames) >= self._length and not self._closed and not give_up.is_set():
            self._changed.wait(_LOOK_UP_EVERY_S)
        return not give_up.is_set()
