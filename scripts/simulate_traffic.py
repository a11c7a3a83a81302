"""How often does the tracker merge, split or misread vehicles? Plays made-up traffic and prints a table.

    python -m scripts.simulate_traffic [--passages 10000] [--fps 2 4 8] [--seed 1] [--reliability] [--faults]

`lpr.testing.traffic` says what the traffic is like. Vehicles that were whole and readable in fewer than two of the
frames that reached the tracker are counted apart: at two frames a second a fast motorbike may be in one frame only.
"""

from __future__ import annotations

import argparse
import statistics
import time

from lpr.domain.passage import Passage
from lpr.testing.traffic import Conditions, Score, Street, score
from lpr.tracking.grammar import decide
from lpr.tracking.repeat import RepeatGuard
from lpr.tracking.settings import TrackingSettings
from lpr.tracking.tracker import PassageTracker
from scripts.reliability import print_reliability

BLOCK = 250
"""Vehicles in one run of one tracker."""


def main() -> None:
    """Parse the arguments, play, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, default=2000, help="vehicles for each frame rate")
    parser.add_argument("--fps", type=float, nargs="+", default=[2.0, 4.0, 8.0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--reliability", action="store_true", help="print what the confidences said, and what was right"
    )
    parser.add_argument("--faults", action="store_true", help="name every vehicle that did not come out once and right")
    arguments = parser.parse_args()
    print(HEADER)
    for fps in arguments.fps:
        total, tracking_s, frames = Score(), 0.0, 0
        for block in range(-(-arguments.passages // BLOCK)):
            result, block_s, block_frames = play(fps, arguments.seed * 1000 + block)
            total.add(result)
            tracking_s, frames = tracking_s + block_s, frames + block_frames
        print(row(fps, total, tracking_s / max(1, frames)), flush=True)
        if arguments.reliability:
            print_reliability(total.said)
        if arguments.faults:
            print("\n".join(f"    {fault}" for fault in total.faults))


def play(fps: float, seed: int) -> tuple[Score, float, int]:
    """One block of traffic through one tracker: the score, seconds spent in the tracker, and frames."""
    street = Street(seed, Conditions(fps=fps))
    street.fill(BLOCK)
    traffic = street.traffic()
    tracker = PassageTracker(TrackingSettings(camera_id="CAM"), RepeatGuard(), decide)
    passages: list[Passage] = []
    spent_s, frames = 0.0, 0
    for frame, reads in traffic.frames():
        started = time.perf_counter()
        passages += tracker.update(frame, reads)
        spent_s, frames = spent_s + time.perf_counter() - started, frames + 1
    passages += tracker.finish(traffic.instant(traffic.end_s + 5))
    return score(traffic, passages), spent_s, frames


HEADER = (
    "  fps  vehicles   clear   right %  merged %   split %  misread %  unread %  ghosts  "
    "sure %  sure wrong/1000  delay p50/p95 s  ms/frame"
)


def row(fps: float, total: Score, frame_s: float) -> str:
    """One line of the table; shares are of the clear vehicles."""
    share = 100 / max(1, total.clear)
    delays = sorted(total.delays_s) or [0.0]
    late = delays[min(len(delays) - 1, int(0.95 * len(delays)))]
    return (
        f"{fps:5g}  {total.vehicles:8d}  {total.clear:6d}  {total.right * share:8.3f}  {total.merged * share:8.3f}  "
        f"{total.split * share:8.3f}  {total.misread * share:9.3f}  {total.unread * share:8.3f}  {total.ghosts:6d}  "
        f"{total.clear_sure * share:6.2f}  "
        f"{1000 * total.sure_wrong / max(1, total.sure):15.2f}  {statistics.median(delays):7.2f}/{late:5.2f}  "
        f"{1000 * frame_s:8.2f}"
    )


if __name__ == "__main__":
    main()
