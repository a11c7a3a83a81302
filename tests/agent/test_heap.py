"""Freed frames go back to the system."""

import gc

import numpy as np
import psutil

from lpr.agent.heap import give_frames_back


def test_frames_that_were_freed_leave_the_process_though_small_things_were_kept_between() -> None:
    assert give_frames_back(), "glibc refused"
    process = psutil.Process()
    kept, frames = [], []
    before = process.memory_info().rss
    for _ in range(40):
        frames.append(np.ones((1080, 1920, 3), np.uint8))
        kept.append(np.ones(50_000, np.uint8))
    held = process.memory_info().rss
    frames.clear()
    gc.collect()

    assert held - before > 200e6
    assert process.memory_info().rss - before < 60e6
    assert len(kept) == 40
