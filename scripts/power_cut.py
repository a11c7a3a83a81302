"""The power goes at random moments while the queue works; every state that the disk may be in is opened and looked at.

    python -m scripts.power_cut [--rounds 8] [--moments 500] [--events 300]

A child process works on a real queue (recording, delivering, burying, folding its log into the database, giving back
pages) and on the other files that must last: a preloaded library journals each of its writes and syncs. The disk is
then put down as it may have been at so many moments of that journal, where of everything not synced any part is lost,
down to single sectors of 512 bytes. Each is opened by the agent's own code: every event whose record had returned must
be there, whole, once and in order, none that was settled may be back, no sequence may be given twice. The next round
goes on from one of these states. Exit code 1 where a promise was broken.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
import time
from pathlib import Path

import structlog

from tests.faults import power
from tests.faults.power_check import cut_power


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--moments", type=int, default=500, help="power cuts a round")
    parser.add_argument("--events", type=int, default=300, help="events recorded in a round")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if reason := power.why_not():
        parser.error(reason)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="power-cut-") as folder:
        tally = asyncio.run(
            cut_power(
                Path(folder),
                rounds=arguments.rounds,
                moments=arguments.moments,
                events=arguments.events,
                seed=arguments.seed,
            )
        )
    for fault in tally.broken[:50]:
        print(fault)
    print(f"power cuts      {tally.moments} in {time.monotonic() - began_s:.0f} s")
    print(f"                over {tally.notes} deeds of {arguments.rounds} children")
    for fate, count in sorted(tally.fates.items()):
        print(f"                {count} where {fate}")
    print(f"looked for      {tally.promised} events whose record had returned")
    print(f"broken promises {len(tally.broken)}")
    sys.exit(1 if tally.broken else 0)


if __name__ == "__main__":
    main()
