"""Moments on both clocks."""

import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta, timezone

import pytest

from lpr.domain.clock import Instant, SystemClock, isoformat_ms


def test_durations_ignore_a_wall_clock_that_was_set_in_between() -> None:
    before = Instant(datetime(1970, 1, 1, tzinfo=UTC), 100.0)
    after = Instant(datetime(2026, 11, 23, tzinfo=UTC), 103.5)

    assert after.seconds_since(before) == 3.5


def test_the_contracts_time_is_utc_with_milliseconds() -> None:
    in_hanoi = datetime(2026, 11, 23, 8, 2, 3, 456_789, tzinfo=timezone(timedelta(hours=7)))

    assert isoformat_ms(in_hanoi) == "2026-11-23T01:02:03.456Z"


@pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare (util-linux) is not installed")
def test_the_monotonic_clock_goes_on_while_the_machine_is_suspended() -> None:
    """Linux keeps a clock for that; where namespaces may be made, it is moved as a suspended machine's has moved."""
    moved = ["unshare", "--time", "--fork", "--boottime", "600"]
    if subprocess.run([*moved, "true"], capture_output=True, check=False, timeout=30).returncode:
        pytest.skip("no time namespace may be made here")
    told = subprocess.run(
        [*moved, sys.executable, "-c", "from lpr.domain.clock import SystemClock as C; print(C().now().monotonic_s)"],
        capture_output=True, text=True, check=True, timeout=30,
    )  # fmt: skip
    assert float(told.stdout) - time.monotonic() > 590.0


async def test_the_system_clock_moves_forward_and_a_negative_sleep_returns_at_once() -> None:
    clock = SystemClock()
    start = clock.now()

    await clock.sleep(-1)

    assert clock.now().seconds_since(start) >= 0
    assert clock.now().wall.tzinfo is UTC
