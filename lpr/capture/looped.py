"""A clip played over and over as if it were a camera: for measuring what many cameras cost, where there are none.

The pictures really are decoded, at the stream's own rate on the wall clock, and they come whether or not anyone takes
them: the reader treats it as it treats a network camera. Beyond that it knows when each picture was "made", which no
camera tells: the age of a frame can be measured from there, and what a slow decoder hides shows.
"""

from __future__ import annotations

import threading
from collections import deque
from pathlib import Path

from lpr.capture.opencv import OpenCvCapture
from lpr.domain.clock import Clock, SystemClock
from lpr.domain.errors import CaptureError
from lpr.domain.frame import Image

HELD_BACK_S = 2.0
"""A camera whose pictures nobody fetches drops what it holds; from there on the stream is up to date again."""
GRABS_KEPT = 128
"""At 25 pictures a second about five seconds: longer than a frame is under way."""


class LoopedClip:
    """`path` played at `fps` pictures a second, begun `skip` pictures into the clip, without an end.

    Several cameras of one clip are told apart by `skip`: else all would see a vehicle in the same moment. A clip that
    was recorded at another rate plays faster or slower.
    """

    def __init__(self, path: Path, *, fps: float = 25.0, skip: int = 0, clock: Clock | None = None) -> None:
        self._path = path
        self._period_s = 1.0 / fps
        self._skip = skip
        self._clock = clock or SystemClock()
        self._capture = OpenCvCapture(self.description)
        self._interrupted = threading.Event()
        self._number = 0
        self._opened_s = 0.0
        self._lock = threading.Lock()
        # From which picture on which moment counts as that of picture 0; a new entry wherever the camera dropped some.
        self._origins: deque[tuple[int, float]] = deque(maxlen=GRABS_KEPT)
        self._grabs: deque[tuple[float, float]] = deque(maxlen=GRABS_KEPT)
        self.dropped = 0
        """Pictures that the camera would have thrown away because they were not fetched in time."""

    @property
    def live(self) -> bool:
        """Always."""
        return True

    @property
    def description(self) -> str:
        """The clip, and that it stands for a camera."""
        return f"{self._path} as a camera"

    def open(self) -> None:
        """Open the clip and go to where this camera begins. Raises `CaptureError` where it is no clip."""
        if not self._capture.open(str(self._path.resolve()), "CAP_FFMPEG", {"CAP_PROP_N_THREADS": 1}):
            raise CaptureError(
                f"{self._path} cannot be opened as a video", hint="Is it there, and is it a clip that plays?"
            )
        for _ in range(self._skip):
            if self._interrupted.is_set():
                break
            self._decode_next()
        self._opened_s = self._clock.now().monotonic_s
        with self._lock:
            self._origins.append((0, self._opened_s))

    def grab(self) -> float | None:
        """Wait for the next picture to be made, and decode it; seconds from opening. None once interrupted.

        Raises `CaptureError` where the clip holds no picture.
        """
        due_s = self._due_s()
        if self._interrupted.wait(max(0.0, due_s - self._clock.now().monotonic_s)):
            return None
        self._decode_next()
        with self._lock:
            self._grabs.append((self._clock.now().monotonic_s, due_s))
        self._number += 1
        return due_s - self._opened_s

    def retrieve(self) -> Image:
        """The picture grabbed last."""
        return self._capture.retrieve()

    def close(self) -> None:
        """Close the clip."""
        self._capture.close()

    def interrupt(self) -> None:
        """End the waiting in `grab`."""
        self._interrupted.set()

    def made_at_s(self, number: int) -> float:
        """When picture `number` of this connection was made, on the monotonic clock."""
        with self._lock:
            origins = list(self._origins)
        origin_s = next((moment for first, moment in reversed(origins) if first <= number), origins[0][1])
        return origin_s + number * self._period_s

    def made_before_s(self, moment_s: float) -> float | None:
        """When the picture was made that had left the decoder last at `moment_s`; None where that is long past."""
        with self._lock:
            grabs = list(self._grabs)
        return next((made_s for grabbed_s, made_s in reversed(grabs) if grabbed_s <= moment_s), None)

    def _due_s(self) -> float:
        """When the next picture is made; the camera drops what it would have to hold for too long."""
        _, origin_s = self._origins[-1]
        due_s = origin_s + self._number * self._period_s
        missing = int((self._clock.now().monotonic_s - due_s) / self._period_s)
        if missing * self._period_s <= HELD_BACK_S:
            return due_s
        self.dropped += missing
        with self._lock:
            self._origins.append((self._number, origin_s + missing * self._period_s))
        return due_s + missing * self._period_s

    def _decode_next(self) -> None:
        if self._capture.grab():
            return
        self._capture.set("CAP_PROP_POS_FRAMES", 0)
        if not self._capture.grab():
            raise CaptureError(f"{self._path} holds no picture that can be decoded")
