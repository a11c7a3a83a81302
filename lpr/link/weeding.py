"""How a backlog is gone through in which events lie that take the link down. Part of the delivery core.

Each costs the connection several times until it is a dead letter, and what passes must not wait for all of them:

- live events go alone at the beginning of a connection, where the backlog has ended one after another;
- there, the newest known of the backlog go first for a while, and the oldest again after the next loss: such events
  mostly lie together, and the others before or behind them; ever more of it are known while none passes;
- between the losses of those that go alone (suspects) others pass.
"""

from __future__ import annotations

from lpr.link.base import DeliveryLimits, LinkDeadlines

_BACKLOG_LOSSES, _MOST_PAUSE_DOUBLINGS = 2, 2
"""Once so many connections have been lost with some of the backlog in flight, it waits at the beginning of each further
one: as long as a hello may take, doubling so often."""
_MOST_PAGE_DOUBLINGS = 4


class Weeding:
    """Times are seconds on a monotonic clock."""

    def __init__(self, limits: DeliveryLimits, deadlines: LinkDeadlines) -> None:
        self._others_s, self._pause_unit_s = limits.alone_pause_s, deadlines.hello_s
        self._losses = 0
        """Connections that were lost with some of the backlog in flight, since any of it was answered."""
        self._took_newest = self._newest_are_next = False
        self._newest_until = 0.0
        self.no_suspect_before = 0.0

    def came_up(self, now: float, *, barren: bool) -> float:
        """A connection stands; returns how long live events are alone on it: not at all where none of those before took
        anything, be it live.
        """
        doublings = min(_MOST_PAUSE_DOUBLINGS, self._losses - _BACKLOG_LOSSES)
        pause_s = float(self._pause_unit_s * 2**doublings) if self._losses >= _BACKLOG_LOSSES and not barren else 0.0
        self._newest_until = now + pause_s + self._others_s if self._newest_are_next else 0.0
        return pause_s

    @property
    def pages(self) -> int:
        """How much of the backlog is to be known, in pages."""
        return int(2 ** max(0, min(_MOST_PAGE_DOUBLINGS, self._losses - _BACKLOG_LOSSES)))

    def newest_first(self, now: float) -> bool:
        """Whether the next one of the backlog is the newest known."""
        return now < self._newest_until

    def sent(self, now: float) -> None:
        """One of the backlog goes."""
        self._took_newest = self.newest_first(now)

    def answered(self) -> None:
        """One of the backlog was answered."""
        self._losses = 0

    def backlog_lost(self) -> None:
        """The link was lost with some of the backlog in flight."""
        self._losses += 1
        self._newest_are_next = self._losses >= _BACKLOG_LOSSES and not self._took_newest

    def suspect_lost(self, now: float) -> None:
        """The link was lost with one that went alone, after others had passed: of many one would always be due."""
        self.no_suspect_before = now + self._others_s

    def messages_are_smaller_now(self) -> None:
        """What took the link down is not what would be sent now."""
        self.no_suspect_before = 0.0
