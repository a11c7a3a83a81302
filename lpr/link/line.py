"""What is known of the line: when it last gave a sign of life, and what it carries. Part of the delivery core.

A sign of life is an answer, or bytes on their way that the peer's TCP acknowledges. How long silence may last is
reckoned over the slowest uplink seen: a modem's until one was seen.
"""

from __future__ import annotations

from collections import deque

from lpr.link.base import DeliveryLimits, LinkDeadlines, Progress

_SAMPLES = 16
_SHORTEST_SAMPLE_S = 0.2
_ASSUMED_UPLINK = 8_000.0
"""Bytes a second. Without it the first picture over a slow line would be given up before anything was measured."""


class Line:
    """Of one back-end, over all connections to it; times are seconds on a monotonic clock, rates bytes a second."""

    def __init__(self, limits: DeliveryLimits, deadlines: LinkDeadlines) -> None:
        self._in_flight_s = limits.in_flight_s
        self._ack_s, self._dead_s = deadlines.ack_s, deadlines.dead_s
        self._alive_at = 0.0
        self._last_answer_at = 0.0
        self._heard_at = float("-inf")
        self._progress: tuple[float, Progress] | None = None
        self._uplink: deque[float] = deque(maxlen=_SAMPLES)
        self._answer_rate: deque[float] = deque(maxlen=_SAMPLES)

    def came_up(self, now: float) -> None:
        """A connection stands."""
        self._alive_at = self._last_answer_at = now
        self._progress = None

    def became_busy(self, now: float) -> None:
        """Something is in flight where nothing was: silence counts from here."""
        self._alive_at = now

    def answered(self, now: float, *, sent_at: float, size_bytes: int) -> None:
        """The answer to an event of so many bytes came."""
        took_s = now - max(sent_at, self._last_answer_at)
        self._alive_at = self._last_answer_at = now
        if took_s >= _SHORTEST_SAMPLE_S and size_bytes > 0:
            self._answer_rate.append(size_bytes / took_s)

    def progressed(self, now: float, progress: Progress) -> None:
        """How far the bytes have come. Bytes under way that advance are a sign of life, and measure the uplink."""
        if progress.heard_s_ago is not None:
            self._heard_at = max(self._heard_at, now - progress.heard_s_ago)
        before, self._progress = self._progress, (now, progress)
        if before is None:
            return
        then, earlier = before
        advanced = progress.acked_bytes - earlier.acked_bytes
        if advanced <= 0 or not (earlier.pending_bytes or progress.pending_bytes):
            return
        self._alive_at = max(self._alive_at, now)
        # Only a pipe that was full all the time tells its width: one whose first bytes are not all through yet. Else a
        # status that went in a moment would make the next event, a second later, look like one over a modem.
        if advanced < earlier.pending_bytes and now - then >= _SHORTEST_SAMPLE_S:
            self._uplink.append(advanced / (now - then))

    def carries(self, size_bytes: int) -> bool:
        """Whether so many bytes are through in `in_flight_s`, as far as is known."""
        return not self._uplink or size_bytes <= min(self._uplink) * self._in_flight_s

    def heard_since(self, moment: float) -> bool:
        """Whether the program at the other end has given a sign of life after that, be it no answer."""
        return self._heard_at > moment

    def silent_s(self, now: float) -> float:
        """How long no sign of life has come."""
        return now - self._alive_at

    def dead_at(self, in_flight_bytes: int) -> float:
        """When silence will have lasted too long for what is in flight."""
        slowest = min((*self._uplink, *self._answer_rate), default=_ASSUMED_UPLINK)
        return self._alive_at + max(self._ack_s, min(self._dead_s, self._ack_s + in_flight_bytes / slowest))
