"""How fast the backlog may go beside live events. Part of the delivery core.

It keeps the rate that the back-end sets, and at most half of the window; it gets at least one send in `_LIVE_TURNS + 1`
while any waits, so that neither starves the other. And it only takes what it does not have to queue for: where its
answers come later because more of it is in flight, it is the line or the server that is busy, a live event would wait
behind it, and less is put in flight, down to one.

It also gives way, for a moment, to a live event that is being recorded or has just been sent: each of the backlog takes
its time of the processor, the disk and the back-end. Where the line is slow that moment is nothing.
"""

from __future__ import annotations

from collections import deque

_LIVE_TURNS = 7
_QUEUED_RTT = 1.5
"""An answer that took this many times the shortest was queued for."""
_RTT_SLACK_S = 0.0005
_RTT_SAMPLES = 64
_STEP_UP, _STEP_DOWN = 0.25, 0.5
_WAY_S = 0.01
"""How long the backlog gives way to one event: on a quick line it is through by then."""
_MOST_WAY_S = 0.05
"""Longest that the backlog gives way to events that come one after another."""


class Pace:
    """Times are seconds on a monotonic clock."""

    def __init__(self, window: int) -> None:
        self._most = window / 2
        self._width = 1.0
        self._rtts_s: deque[float] = deque(maxlen=_RTT_SAMPLES)
        self._gap_s: float | None = 0.0
        self._next_at = 0.0
        self._live_in_a_row = 0
        self._sent_at = 0.0
        self._way_until = 0.0

    def came_up(self, now: float, replay_per_second: float | None, *, pause_s: float = 0.0) -> None:
        """A connection stands. None is no bound, 0 is no backlog at all; none goes before `pause_s` are over."""
        self._width, self._live_in_a_row, self._next_at = 1.0, 0, now + pause_s
        self._sent_at, self._way_until = now, 0.0
        self._rtts_s.clear()
        self.keep_to(replay_per_second)

    def keep_to(self, replay_per_second: float | None) -> None:
        """The back-end's wish, on the connection that stands."""
        if replay_per_second is None:
            self._gap_s = 0.0
        else:
            self._gap_s = 1.0 / replay_per_second if replay_per_second > 0 else None

    @property
    def next_at(self) -> float | None:
        """When the next one may go; None where no backlog is wanted."""
        if self._gap_s is None:
            return None
        return self._next_at if self.goes_before_live else max(self._next_at, self._way_until)

    def is_due(self, now: float) -> bool:
        """Whether one may go now."""
        next_at = self.next_at
        return next_at is not None and now >= next_at

    def has_room(self, in_flight: int, window: int) -> bool:
        """Whether one more may be in flight, beside `in_flight` of the backlog and in a window of so many."""
        return in_flight < max(1, min(window // 2, int(self._width)))

    @property
    def goes_before_live(self) -> bool:
        """So many live events have gone in a row that it is the backlog's turn."""
        return self._live_in_a_row >= _LIVE_TURNS

    def give_way(self, now: float) -> None:
        """A live event will be here in a moment."""
        self._way_until = min(now + _WAY_S, self._sent_at + _MOST_WAY_S)

    def sent_live(self, now: float) -> None:
        """A live event goes."""
        self._live_in_a_row += 1
        self.give_way(now)

    def live_came_through(self) -> None:
        """A live event has been answered."""
        self._way_until = 0.0

    def sent(self, now: float) -> None:
        """One of the backlog goes."""
        self._live_in_a_row, self._sent_at = 0, now
        if self._gap_s:
            self._next_at = max(now, self._next_at) + self._gap_s

    def answered(self, rtt_s: float) -> None:
        """More while answers come as fast as they ever did, less when they come late. It goes down to one again and
        again, and so keeps seeing how fast they can come.
        """
        self._rtts_s.append(rtt_s)
        if rtt_s > _QUEUED_RTT * min(self._rtts_s) + _RTT_SLACK_S:
            self._width = max(1.0, self._width - _STEP_DOWN)
        else:
            self._width = min(self._most, self._width + _STEP_UP)
