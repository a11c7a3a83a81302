"""A camera whose pictures change their size while it is connected: when to ask it, and asking it.

Most cameras hang up when somebody sets another resolution; some go on in the same stream. OpenCV then scales what comes
to the size of the first picture and says nothing, so that a picture of another shape is distorted. The camera's own
description of its stream tells the new size. To ask for it every few seconds would be a burden that no other viewer is
to a camera, so it is asked when there is a reason to:

- a whole picture (an I picture) came before its time: an encoder that is set anew begins with one;
- the camera's own time stamps show a pause: setting it anew takes a moment;
- it has not been asked for `REGULARLY_S`: a change may happen to fall into the rhythm, without a pause.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from statistics import median
from typing import Final

import structlog

from lpr.capture.description import Size
from lpr.domain.errors import CaptureError, CaptureRefusedError

REGULARLY_S: Final = 30.0
"""As often as the decoder itself tells a camera that it is still there."""
APART_S: Final = 3.0
"""Between two questions: there are cameras whose whole pictures come when they please."""
QUESTIONS: Final = 2
"""That a doubt is worth: a camera may describe the new pictures a moment after it has begun to send them."""
PAUSE_S: Final = 0.4
PAUSE_PICTURES: Final = 3.0
"""A pause is longer than this many pictures usually take."""
LONGEST_S: Final = 5.0
"""Between two pictures; more is a clock that was set."""
SMOOTHING: Final = 0.1
INTERVALS: Final = 5
_log = structlog.get_logger("capture")


class SizeDoubts:
    """Says when a camera is to be asked. Pure: time comes as an argument."""

    def __init__(self) -> None:
        self._intervals: deque[int] = deque(maxlen=INTERVALS)
        self._since_whole: int | None = None
        self._previous_stamp_s: float | None = None
        self._period_s: float | None = None
        self._asked_s: float | None = None
        self._open = 0

    def arise(self, whole: bool, stamp_s: float, now_s: float) -> bool:
        """Whether the picture just decoded is a reason to ask.

        `whole` says that it needs no other, `stamp_s` is when the camera made it, `now_s` when it came.
        """
        if self._asked_s is None:
            self._asked_s = now_s
        if self._is_early(whole) | self._is_after_pause(stamp_s):
            self._open = QUESTIONS
        if now_s - self._asked_s < (APART_S if self._open else REGULARLY_S):
            return False
        self._asked_s, self._open = now_s, max(0, self._open - 1)
        return True

    def _is_early(self, whole: bool) -> bool:
        if self._since_whole is not None:
            self._since_whole += 1
        if not whole:
            return False
        interval, self._since_whole = self._since_whole, 0
        if interval is None:
            return False
        early = not self._intervals or interval < median(self._intervals)
        self._intervals.append(interval)
        return early

    def _is_after_pause(self, stamp_s: float) -> bool:
        previous_s, self._previous_stamp_s = self._previous_stamp_s, stamp_s
        if previous_s is None:
            return False
        apart_s, usual_s = min(max(0.0, stamp_s - previous_s), LONGEST_S), self._period_s
        if usual_s is None:
            self._period_s = apart_s
            return False
        self._period_s = usual_s + SMOOTHING * (apart_s - usual_s)
        return apart_s >= max(PAUSE_S, PAUSE_PICTURES * usual_s)


class SizeWatch:
    """Asks in a thread of its own, so that no picture waits for the answer; one question at a time.

    `ask` blocks for a bounded time, and gives None where the camera does not tell; it may raise `CaptureError`.
    """

    def __init__(self, ask: Callable[[], Size | None]) -> None:
        self._ask = ask
        self._doubts = SizeDoubts()
        self._asking: threading.Thread | None = None
        self._in_vain = False
        self._told: Size | None = None
        self.asked_s = float("-inf")
        """When it was asked last, by the clock that `picture` is told."""

    def picture(self, whole: bool, stamp_s: float, now_s: float) -> None:
        """One more picture was decoded; as `SizeDoubts.arise`."""
        if not self._doubts.arise(whole, stamp_s, now_s) or self._in_vain:
            return
        if self._asking is None or not self._asking.is_alive():
            self.asked_s = now_s
            self._asking = threading.Thread(target=self._question, name="picture size", daemon=True)
            self._asking.start()

    def answer(self) -> Size | None:
        """What the camera has told since this was asked before; None where it has told nothing."""
        told = self._told
        if told is not None:
            # Only now: what comes in between must not be lost.
            self._told = None
        return told

    def _question(self) -> None:
        try:
            self._told = self._ask()
            # A description without a size will not have one next time.
            self._in_vain = self._told is None
        except CaptureError as error:
            # Perhaps it allows no other viewer. What is wrong with the stream itself shows in the stream. But a login
            # that is refused is not tried again: cameras lock an account.
            self._in_vain = isinstance(error, CaptureRefusedError)
            _log.debug("picture_size_not_told", reason=error.message)
