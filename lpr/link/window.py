"""How many events may be in flight, and how often a back-end is asked that puts everything off. Pure."""

from __future__ import annotations

FIRST = 2
"""A lost answer must be overtaken to be told from a lost link, which takes two in flight."""
FIRST_SHUT_S, MAX_SHUT_S = 0.1, 5.0
MAX_DOUBLINGS = 16


class Window:
    """Opens by one with each event taken, up to `most`, and halves when one is put off.

    After `most` that were put off in a row it is shut, ever longer, for one event at a time: a server that restarts or
    struggles is never met by a flood.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._put_off_in_a_row = 0
        self.size = 1
        self.shut_until = 0.0
        """Nothing goes before; 0 where it is open."""

    def came_up(self) -> None:
        """A connection stands."""
        self.size, self._put_off_in_a_row, self.shut_until = min(FIRST, self._most), 0, 0.0

    def sent(self, now: float) -> None:
        """One went; where the back-end puts everything off, the next one waits its time."""
        if self.shut_until:
            self.shut_until = now + self._shut_s()

    def taken(self) -> None:
        """The back-end took one (or rejected it for good)."""
        self.size = min(self._most, self.size + 1)
        self._put_off_in_a_row, self.shut_until = 0, 0.0

    def put_off(self, now: float) -> None:
        """The back-end did not take one."""
        self.size = max(1, self.size // 2)
        self._put_off_in_a_row += 1
        if self._put_off_in_a_row >= self._most:
            self.shut_until = now + self._shut_s()

    def _shut_s(self) -> float:
        doublings = min(MAX_DOUBLINGS, self._put_off_in_a_row - self._most)
        return float(min(MAX_SHUT_S, FIRST_SHUT_S * 2**doublings))
