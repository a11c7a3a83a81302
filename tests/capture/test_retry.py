"""The waits between the tries of one camera."""

from __future__ import annotations

import random

from lpr.capture.base import CaptureLimits
from lpr.capture.retry import RetryWaits
from lpr.domain.errors import CaptureError, CaptureRefusedError

GONE, REFUSED = CaptureError("no answer"), CaptureRefusedError("wrong password")


def test_waits_lie_anywhere_up_to_a_bound_that_doubles_from_one_to_thirty_seconds() -> None:
    tried = [[waits.after(GONE) for _ in range(8)] for waits in map(new_waits, range(300))]
    for place, bound_s in enumerate([1, 2, 4, 8, 16, 30, 30, 30]):
        waits_s = [waits[place] for waits in tried]
        assert 0.2 <= min(waits_s) < 0.3 * bound_s + 0.2
        assert 0.9 * bound_s < max(waits_s) <= bound_s


def test_a_login_that_is_refused_is_tried_after_a_minute_and_then_ever_more_rarely() -> None:
    waits = new_waits(1)
    waits_s = [waits.after(REFUSED) for _ in range(7)]
    for wait_s, bound_s in zip(waits_s, [60, 120, 240, 480, 600, 600, 600], strict=True):
        assert bound_s <= wait_s <= bound_s * 1.1


def test_a_camera_that_ran_for_a_while_is_tried_soon_again_and_one_that_is_away_for_a_year_too() -> None:
    waits = new_waits(2)
    for fault in (GONE, REFUSED):
        longest_s = max(waits.after(fault) for _ in range(5000))
        assert longest_s <= (30 if fault is GONE else 660)
    waits.succeeded()
    assert waits.after(GONE) <= 1
    assert waits.after(REFUSED) <= 66


def new_waits(seed: int) -> RetryWaits:
    return RetryWaits(CaptureLimits(), random.Random(seed))
