"""What the log says of a link that goes and comes: each outage at once, and no page of them.

In a week without a back-end there are 20 000 attempts to connect; one that is restarted every ten seconds, or a line
that breaks with each picture, makes as many outages.
"""

from __future__ import annotations

import re
from collections import deque

import structlog

from lpr.domain.clock import Clock
from lpr.domain.errors import LinkError

AGAIN_AFTER_S = 600.0
"""A failure that stays the same is logged once in this time while there is no connection."""
AT_ONCE = 3
"""With connections in between, as many of a kind are logged in that time."""
KINDS = 32
"""Of failures that are remembered; they differ in more than numbers."""

_NUMBER = re.compile(r"\d[\d.]*")
_COMES = "connected"

log = structlog.get_logger(__name__)


class OutageLog:
    """Told of everything, it says what is news; the rest can be read at level debug."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._said: dict[str, deque[float]] = {}
        self._connected_at_s = self._flaps_said_at_s = float("-inf")

    def connected(self, url: str) -> None:
        """A connection stands."""
        self._connected_at_s = self._clock.now().monotonic_s
        if self._is_news(_COMES):
            log.info("connected to the back-end", url=url)
        else:
            log.debug("connected to the back-end", url=url)

    def failed(self, error: LinkError) -> None:
        """An attempt failed, or a connection was lost."""
        if self._is_news(_NUMBER.sub("#", error.message)):
            log.warning("no link to the back-end", error=error.message, hint=error.hint)
        else:
            log.debug("no link to the back-end", error=error.message, hint=error.hint)

    def _is_news(self, kind: str) -> bool:
        now_s = self._clock.now().monotonic_s
        said = self._said.setdefault(kind, deque(maxlen=AT_ONCE))
        lately = [moment for moment in said if now_s - moment < AGAIN_AFTER_S]
        goes_on = bool(lately) and lately[-1] > self._connected_at_s
        if goes_on or len(lately) >= AT_ONCE:
            return False
        said.append(now_s)
        if len(lately) == AT_ONCE - 1 and now_s - self._flaps_said_at_s >= AGAIN_AFTER_S:
            self._flaps_said_at_s = now_s
            log.warning("the link comes and goes: not each time is logged", most=AT_ONCE, within_s=AGAIN_AFTER_S)
        while len(self._said) > KINDS:
            del self._said[next(iter(self._said))]
        return True
