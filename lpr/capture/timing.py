"""Which pictures are analysed, how fresh they are, and how often they come. Pure: time is an argument."""

from __future__ import annotations

from collections import deque

_TOLERANCE_S = 0.002
"""Time stamps in files are rounded to milliseconds."""
_RESYNCS_BELIEVED = 3
_AS_MADE = 0.8


class FpsLimiter:
    """Chooses `fps` pictures a second out of more, evenly; all of them where there are fewer."""

    def __init__(self, fps: float) -> None:
        self.fps = fps
        self._due_s: float | None = None

    def due(self, time_s: float) -> bool:
        """Whether the picture taken at `time_s` is to be analysed; times never fall."""
        period_s = 1.0 / self.fps
        if self._due_s is None or time_s - self._due_s > period_s or self._due_s - time_s > period_s:
            # The first one, or after a gap: the rhythm starts anew instead of catching up with a burst.
            self._due_s = time_s
        if time_s < self._due_s - _TOLERANCE_S:
            return False
        self._due_s += period_s
        return True


class RateMeter:
    """Events a second over the last seconds."""

    def __init__(self, window_s: float = 5.0) -> None:
        self._window_s = window_s
        self._times: deque[float] = deque()

    def count(self, now_s: float) -> None:
        """One event, now."""
        self._times.append(now_s)
        self._forget(now_s)

    def rate(self, now_s: float) -> float:
        """Events a second; right from the second event on."""
        self._forget(now_s)
        if len(self._times) < 2:
            return 0.0
        span_s = max(now_s, self._times[-1]) - self._times[0]
        return (len(self._times) - 1) / span_s if span_s > 0 else 0.0

    def _forget(self, now_s: float) -> None:
        while self._times and now_s - self._times[0] > self._window_s:
            self._times.popleft()


class LagMeter:
    """How far a live stream has fallen behind, from the camera's own time stamps.

    A stamp says when a picture was made, up to a constant. The quickest picture of the last minute had the shortest
    way; what the others took longer is their lag. After opening, pictures that were waiting come in one burst: each is
    quicker than the one before, so it is the burst itself that tells them from fresh ones.
    """

    def __init__(self, *, window_s: float = 60.0, burst_s: float = 3.0, resync_after_s: float = 2.0) -> None:
        self._window_s = window_s
        self._burst_s = burst_s
        self._resync_after_s = resync_after_s
        self._delays: deque[tuple[float, float]] = deque()
        self._started_s: float | None = None
        self._previous: tuple[float, float] | None = None
        self._behind_since_s: float | None = None
        self._burst_over = False
        self._resyncs = 0
        self.lag_s = 0.0

    def fresh(self, stamp_s: float, now_s: float, within_s: float) -> bool:
        """Whether the picture stamped `stamp_s` and decoded at `now_s` lags at most `within_s` behind.

        Stamps that jump make the meter start again rather than blind the camera; where they do it time and again they
        are not believed any more, and every picture counts as fresh.
        """
        if self._started_s is None:
            self._started_s = now_s
        if not self._burst_over and self._in_burst(stamp_s, now_s):
            self._previous = (stamp_s, now_s)
            return False
        self._burst_over = True
        self._previous = (stamp_s, now_s)
        self.lag_s = self._measure(now_s - stamp_s, now_s)
        if self.lag_s <= within_s or self._resyncs > _RESYNCS_BELIEVED:
            self._behind_since_s = None
            return True
        if self._behind_since_s is None:
            self._behind_since_s = now_s
        if now_s - self._behind_since_s > self._resync_after_s:
            self._delays.clear()
            self._resyncs += 1
            self._behind_since_s = None
        return False

    def _in_burst(self, stamp_s: float, now_s: float) -> bool:
        if self._previous is None or self._started_s is None:
            return True
        if now_s - self._started_s > self._burst_s:
            return False
        previous_stamp_s, previous_now_s = self._previous
        made_apart_s, came_apart_s = stamp_s - previous_stamp_s, now_s - previous_now_s
        if made_apart_s <= 0:
            return came_apart_s < 0.008
        return came_apart_s < _AS_MADE * made_apart_s

    def _measure(self, delay_s: float, now_s: float) -> float:
        # A queue whose delays rise towards the right: its head is the least of the window.
        while self._delays and self._delays[-1][1] >= delay_s:
            self._delays.pop()
        self._delays.append((now_s, delay_s))
        while now_s - self._delays[0][0] > self._window_s:
            self._delays.popleft()
        return delay_s - self._delays[0][1]


class RisingTime:
    """Makes a usable time line of the stamps that a decoder gives: they never fall, and never stand still."""

    def __init__(self, fps: float) -> None:
        self._step_s = 1.0 / fps if 0 < fps < 1000 else 0.04
        self._last_s: float | None = None

    def next(self, stamp_s: float) -> float:
        """Seconds of this picture; one step after the last one where the stamp is of no use."""
        if self._last_s is None:
            self._last_s = max(0.0, stamp_s)
        elif stamp_s > self._last_s:
            self._last_s = stamp_s
        else:
            self._last_s += self._step_s
        return self._last_s
