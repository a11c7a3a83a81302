"""How long to wait before the next attempt to connect, as strategies for tenacity.

Two lanes. A back-end that cannot be reached is asked again after a random part of a bound (full jitter: a thousand
gates that lost one server do not come back as one). The bound is half of the time waited so far, from half a second to
thirty: a server that was away for some seconds is found within half as many more. So is one whose certificate we do
not trust: that troubles nobody there, and may be renewed at any moment; and one that says no for reasons of its own
(its database is away, its namespace is not there yet). Whoever says when to ask again (HTTP 429 and 503 with
`Retry-After`) is not asked before, but after a minute at the latest. A back-end that does not want this agent is asked
again after a minute, doubling to ten: a wrong token is not made right by asking. A token that this process has
connected with is tried quickly for half a minute first: a back-end that is starting refuses everybody.

After a connection that was good for something the first attempt comes soon. Where the back-end throws us out of one
after another, each good for a moment (two agents have one name, and it keeps the newer), it comes ever later, at
most after five seconds.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tenacity.wait import wait_base

from lpr.domain.errors import LinkBusyError, LinkNotReadyError, LinkRefusedError, LinkUntrustedError
from lpr.link.base import Backoff

if TYPE_CHECKING:
    from tenacity import RetryCallState


_THROWN_OUT_QUICKLY = 4
"""As many times in a row the next attempt comes as soon as ever."""


class ConnectWait(wait_base):
    """The wait after a failed attempt, by how it failed. One object for the life of the relay."""

    def __init__(self, backoff: Backoff) -> None:
        self._backoff = backoff
        self._away_s = 0.0
        self._refused_s = 0.0
        self._slow_refusals = 0
        self._worked_before = False
        self._thrown_out = 0

    def __call__(self, retry_state: RetryCallState) -> float:
        outcome = retry_state.outcome
        error = outcome.exception() if outcome is not None else None
        if isinstance(error, LinkRefusedError) and not isinstance(error, LinkUntrustedError | LinkNotReadyError):
            return self._after_refusal()
        self._refused_s, self._slow_refusals = 0.0, 0
        if retry_state.attempt_number == 1:
            self._away_s = 0.0
        wait_s = self._jitter(self._away_s)
        if isinstance(error, LinkBusyError):
            wait_s += min(error.after_s, self._backoff.refused_first_s)
        self._away_s += wait_s
        return wait_s

    def first(self, *, thrown_out: bool) -> float:
        """The wait after the loss of a connection that was good for something; `thrown_out` where the back-end ended it
        moments after it was made.
        """
        self._thrown_out = self._thrown_out + 1 if thrown_out else 0
        doublings = max(0, self._thrown_out - _THROWN_OUT_QUICKLY)
        most_s = min(self._backoff.thrown_out_max_s, self._backoff.first_s * 2.0 ** min(16, doublings))
        return random.uniform(0.0, most_s)

    def connected(self) -> None:
        """The back-end let us in with this token."""
        self._refused_s, self._slow_refusals, self._worked_before = 0.0, 0, True

    def token_changed(self) -> None:
        """The next attempt carries another token: what was said about the old one no longer holds."""
        self._refused_s, self._slow_refusals, self._worked_before = 0.0, 0, False

    def _after_refusal(self) -> float:
        if self._worked_before and self._refused_s < self._backoff.quick_refused_s:
            wait_s = self._jitter(self._refused_s)
            self._refused_s += wait_s
            return wait_s
        self._slow_refusals += 1
        slow_s = self._backoff.refused_first_s * 2.0 ** min(16, self._slow_refusals - 1)
        return min(self._backoff.refused_max_s, slow_s)

    def _jitter(self, waited_s: float) -> float:
        return random.uniform(0.0, min(self._backoff.max_s, self._backoff.first_s + waited_s / 2))
