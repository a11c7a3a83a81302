"""A process that is killed, and files that are copied while it writes: all that was reported is there."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

from lpr.testing.clock import FakeClock
from tests.outbox.helpers import SqliteStore, picture

CHILD = """
import asyncio, sys
from pathlib import Path
from lpr.outbox.limits import OutboxLimits
from lpr.outbox.sqlite import SqliteOutbox
from tests.outbox.helpers import detection

async def main():
    outbox = await SqliteOutbox.open(
        Path(sys.argv[1]), agent_id="gate", boot_id=sys.argv[2], limits=OutboxLimits(min_free_disk=0)
    )
    async def record(first):
        for n in range(first, 100000, 4):
            ticket = await outbox.record(detection(f"29A{n}", plate_bytes=3000, original_bytes=40000), link_up=True)
            print(ticket.sequence, ticket.event_id, flush=True)
    await asyncio.gather(*(record(first) for first in range(4)))

asyncio.run(main())
"""


def start_child(data_dir: Path, boot_id: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(data_dir), boot_id],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def read_reports(child: subprocess.Popen[str], count: int) -> dict[int, str]:
    """Events whose record has returned in the child."""
    assert child.stdout is not None
    reports: dict[int, str] = {}
    while len(reports) < count:
        words = child.stdout.readline().split()
        assert words, "the child has ended"
        if len(words) == 2:  # not a line of the log
            reports[int(words[0])] = words[1]
    return reports


def read_rest(child: subprocess.Popen[str]) -> dict[int, str]:
    assert child.stdout is not None
    lines = [line.split() for line in child.stdout.read().splitlines()]
    child.stdout.close()
    return {int(line[0]): line[1] for line in lines if len(line) == 2 and len(line[1]) == 36}


async def test_what_was_reported_as_recorded_survives_kill_9(disk: SqliteStore) -> None:
    promised: dict[int, str] = {}
    for round_number in range(3):
        child = start_child(disk.data_dir, f"boot-{round_number}")
        promised |= read_reports(child, 12 + 7 * round_number)
        child.send_signal(signal.SIGKILL)
        promised |= read_rest(child)
        child.wait()

    outbox = await disk.open(boot_id="after")
    waiting = {ticket.sequence: ticket.event_id for ticket in await outbox.waiting(limit=100_000)}
    assert promised.items() <= waiting.items()
    assert sorted(sequence for sequence in waiting if sequence) == list(range(1, len(waiting) + 1))
    for event_id in promised.values():
        entry = await outbox.load(event_id)
        assert entry is not None
        plate = entry.body["data"]["licensePlate"]
        assert entry.plate_image == picture(f"plate {plate}", 3000)
        assert entry.original_image == picture(f"scene {plate}", 40000)
    assert list(disk.data_dir.glob("*damaged*")) == []
    await outbox.close()


async def test_the_files_copied_at_any_moment_hold_all_that_was_reported(
    disk: SqliteStore, clock: FakeClock, tmp_path: Path
) -> None:
    child = start_child(disk.data_dir, "boot-1")
    promised: dict[int, str] = {}
    for copy_number in range(4):
        promised |= read_reports(child, 9)
        # Stopped, so that the two files are of one moment, as after a power cut.
        child.send_signal(signal.SIGSTOP)
        copy = tmp_path / f"copy-{copy_number}"
        copy.mkdir()
        for name in ("outbox.db", "outbox.db-wal", "outbox.db-pictures", "outbox.seq"):
            shutil.copy(disk.data_dir / name, copy / name)
        child.send_signal(signal.SIGCONT)
        outbox = await SqliteStore(clock, copy).open(boot_id="after")
        waiting = {ticket.sequence: ticket.event_id for ticket in await outbox.waiting(limit=100_000)}
        assert promised.items() <= waiting.items()
        await outbox.close()
        assert list(copy.glob("*damaged*")) == []
    child.kill()
    read_rest(child)
    child.wait()
