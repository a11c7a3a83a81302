"""How long to wait before a camera is tried again. Pure: randomness is an argument."""

from __future__ import annotations

import random

from lpr.capture.base import CaptureLimits
from lpr.domain.errors import CaptureError, CaptureRefusedError

_LEAST_SHARE = 0.2
_REFUSED_JITTER = 0.1


class RetryWaits:
    """The waits between the tries of one camera: longer with every failure in a row."""

    def __init__(self, limits: CaptureLimits, jitter: random.Random) -> None:
        self._limits, self._jitter = limits, jitter
        self._failures = self._refusals = 0

    def succeeded(self) -> None:
        """The camera ran for a good while: the next failure is the first one."""
        self._failures = self._refusals = 0

    def after(self, fault: CaptureError) -> float:
        """Seconds to wait after one more failure. Several cameras behind one switch do not come back in step."""
        limits = self._limits
        if isinstance(fault, CaptureRefusedError):
            wait_s = _doubled(limits.refused_first_s, self._refusals, limits.refused_most_s)
            self._refusals += 1
            return wait_s * (1.0 + self._jitter.uniform(0.0, _REFUSED_JITTER))
        ceiling_s = _doubled(limits.backoff_first_s, self._failures, limits.backoff_most_s)
        self._failures += 1
        return max(limits.backoff_first_s * _LEAST_SHARE, self._jitter.uniform(0.0, ceiling_s))


def _doubled(first_s: float, times: int, most_s: float) -> float:
    # More doublings than any wait has: a camera may be away for a year.
    return float(min(most_s, first_s * 2 ** min(times, 32)))
