"""A disk that is really full: a file system of its own, mounted for the test, that another program fills up.

(`test_held.py` has what can be tried without one.)
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lpr.domain.errors import OutboxFullError
from lpr.domain.events import ErrorRaised
from lpr.link.files import EpochFile
from lpr.outbox.files import RESERVE, RESERVE_FILE_BYTES, DiskReserve
from lpr.outbox.sqlite import SqliteOutbox
from lpr.testing.clock import FakeClock
from lpr.wire import parse_overflow_details
from tests.outbox.helpers import SqliteStore, detection, picture
from tests.outbox.inside import until

DISK_BYTES = 160 << 20


class Other:
    """Another program, which takes whatever is left."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "somebody-elses"

    def fill(self) -> None:
        with self.path.open("ab", buffering=0) as file:
            for size in (1 << 20, 4096, 1):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(b"x" * size)

    def leave(self) -> None:
        self.path.unlink()


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "lpr-test", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def small(mounted: Path, clock: FakeClock) -> SqliteStore:
    return SqliteStore(clock, mounted / "data")


async def record(outbox: SqliteOutbox, name: str) -> None:
    with contextlib.suppress(OutboxFullError):  # held in memory
        await outbox.record(detection(name, original_bytes=200_000), link_up=True)


async def codes(outbox: SqliteOutbox) -> list[str]:
    """Of the errors that wait."""
    entries = [await outbox.load(t.event_id) for t in await outbox.waiting(limit=999) if t.event_type == "error"]
    return [entry.body["data"]["errorCode"] for entry in entries if entry is not None]


async def test_an_agent_that_starts_on_a_full_disk_delivers_and_records(small: SqliteStore, mounted: Path) -> None:
    outbox = await small.open()
    for n in range(10):
        await record(outbox, f"29A{n}")
    await until((small.data_dir / RESERVE).exists)
    await EpochFile(small.data_dir / "epoch.json").next()
    await outbox.close()
    other = Other(mounted)
    other.fill()

    outbox = await small.open(boot_id="boot-2")
    waiting = await outbox.waiting(limit=99)
    assert [ticket.sequence for ticket in waiting] == list(range(1, 11))
    assert await EpochFile(small.data_dir / "epoch.json").next() == 2
    other.fill()  # what was given up is taken at once
    await outbox.settle([ticket.event_id for ticket in waiting[:4]])
    for n in range(10, 13):
        await record(outbox, f"29A{n}")
    assert "DISK_LOW" in await codes(outbox)
    plates = [t for t in await outbox.waiting(limit=99) if t.event_type == "license_plate_detected"]
    assert len(plates) == 9
    entry = await outbox.load(plates[-1].event_id)
    assert entry is not None
    assert entry.plate_image == picture("plate 29A12", 200)

    other.leave()
    await until(lambda: not outbox._held)
    await outbox.close()
    outbox = await small.open(boot_id="boot-3")
    sequences = [ticket.sequence or 0 for ticket in await outbox.waiting(limit=99)]
    assert sequences == sorted(set(sequences))
    assert set(sequences) >= set(range(5, 14))
    await outbox.close()


async def test_nothing_is_lost_in_silence_when_a_disk_fills_and_empties_again_and_again(
    small: SqliteStore, mounted: Path
) -> None:
    outbox = await small.open()
    troubles: list[ErrorRaised] = []
    outbox.on_trouble(troubles.append)
    other, count = Other(mounted), 0
    for _ in range(2):
        for full in (False, True):
            if full:
                other.fill()
            for _ in range(20):
                await record(outbox, f"29A{count}")
                count += 1
        other.leave()
        await until(lambda: not outbox._held and outbox._writer.failure is None)
    plates = [t for t in await outbox.waiting(limit=9999) if t.event_type == "license_plate_detected"]
    lost = [
        sequence
        for error in troubles
        if error.code == "QUEUE_OVERFLOW"
        for first, last in parse_overflow_details(error.details).lost
        for sequence in range(first, last + 1)
    ]
    assert len(plates) + len(lost) == count
    assert [t.sequence for t in plates] == sorted({t.sequence or 0 for t in plates})
    await outbox.close()
    assert list(small.data_dir.glob("*damaged*")) == []


async def test_the_room_that_was_given_up_is_held_again_when_there_is_plenty(tmp_path: Path) -> None:
    reserve = DiskReserve(tmp_path)
    (tmp_path / RESERVE).touch()  # as a power cut may leave it
    reserve.hold(free_bytes=RESERVE_FILE_BYTES)
    assert (tmp_path / RESERVE).stat().st_size == 0, "a disk that is short of room is left what it has"
    reserve.hold(free_bytes=10 * RESERVE_FILE_BYTES)
    held = await asyncio.to_thread((tmp_path / RESERVE).stat)
    assert held.st_size == RESERVE_FILE_BYTES
    assert held.st_blocks * 512 >= RESERVE_FILE_BYTES, "real room, not a hole"
    assert reserve.give_up()
    assert not reserve.give_up()
    assert os.listdir(tmp_path) == []


async def test_while_the_disk_stays_full_new_events_are_written_over_the_oldest_original_images(
    small: SqliteStore, mounted: Path
) -> None:
    outbox = await small.open()
    troubles: list[ErrorRaised] = []
    outbox.on_trouble(troubles.append)
    for n in range(60):
        await record(outbox, f"29A{n}")
    other = Other(mounted)
    other.fill()
    for n in range(60, 70):
        await record(outbox, f"29A{n}")
        other.fill()  # the room that the queue gives up is taken, too
    await until(lambda: not outbox._held)
    await outbox.close()

    outbox = await small.open(boot_id="boot-2")
    plates = [t for t in await outbox.waiting(limit=999) if t.event_type == "license_plate_detected"]
    assert len(plates) == 70, "no event was lost for it"
    newest = await outbox.load(plates[-1].event_id)
    assert newest is not None
    assert newest.original_image == picture("scene 29A69", 200_000)
    oldest = await outbox.load(plates[0].event_id)
    assert oldest is not None
    assert (oldest.original_image, oldest.original_omitted) == (None, "queue_full")
    assert oldest.plate_image == picture("plate 29A0", 200)
    assert "QUEUE_OVERFLOW" in [error.code for error in troubles]
    await outbox.close()
