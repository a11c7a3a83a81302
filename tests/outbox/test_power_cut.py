"""A power cut at any moment, with any part of what was not synced lost: what was promised is there.

The short run; `python -m scripts.power_cut` is the long one.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lpr.config import RuntimeOverrides
from tests.faults import power
from tests.faults.power import Fate, Note
from tests.faults.power_check import Promises, broken, cut_power
from tests.faults.power_child import ORIGINAL_BYTES, PLATE_BYTES
from tests.outbox.helpers import SqliteStore, detection

pytestmark = pytest.mark.skipif(power.why_not() is not None, reason=power.why_not() or "")


def test_whatever_a_power_cut_loses_nothing_that_was_promised_is_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tally = asyncio.run(cut_power(tmp_path, rounds=2, moments=50, events=60, seed=20261126))
    with capsys.disabled():
        sys.stdout.write(
            f"\n{tally.moments} power cuts, {tally.promised} events looked for, {len(tally.broken)} lost\n"
        )
    assert tally.broken == []
    assert tally.moments == 100
    assert tally.promised > 1000
    assert set(tally.fates) == {fate.value for fate in Fate}


async def test_a_rescue_that_a_power_cut_ends_loses_nothing_that_could_be_read(
    disk: SqliteStore, tmp_path: Path
) -> None:
    promises = Promises()
    outbox = await disk.open()
    for n in range(40):
        event = detection(f"29A{n}", plate_bytes=PLATE_BYTES, original_bytes=ORIGINAL_BYTES)
        ticket = await outbox.record(event, link_up=True)
        promises.recorded[ticket.event_id] = (ticket.sequence or 0, f"29A{n}")
    await outbox.bury(ticket.event_id, code="BAD", reason="no")
    promises.dead.add(ticket.event_id)
    await outbox.close()
    path = disk.data_dir / "outbox.db"
    data = bytearray(path.read_bytes())
    data[28:32] = (9999).to_bytes(4, "big")  # the header speaks of pages that are not there
    path.write_bytes(bytes(data))
    start = tmp_path / "found"
    start.mkdir()
    disk.data_dir.rename(start / "data")
    tally = await cut_power(tmp_path, rounds=1, moments=60, events=6, seed=1, damaged=(start, promises))
    assert tally.broken == []
    assert tally.promised >= 60 * 40 - 6


@pytest.mark.parametrize(("found", "is_right"), [("a", True), ("b", True), ("c", True), ("d", False)])
async def test_a_change_that_was_being_kept_when_the_power_went_may_be_what_the_next_round_begins_with(
    tmp_path: Path, found: str, is_right: bool
) -> None:
    promises = Promises()
    for line in ("k a", "K a", "k b", "k c"):
        promises.hear(line)
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    RuntimeOverrides(data_dir).keep({"weather": {"condition": found}})
    assert (await broken(data_dir, promises, was_damaged=False) == []) is is_right


# --------------------------------------------------------------------------------------------------------------------
# The simulated disk itself


class Deeds:
    """Notes as a child would make them."""

    def __init__(self) -> None:
        self.notes: list[Note] = []
        self._syncs = 0

    def make(self, path: str, inode: int) -> None:
        self.notes.append(Note("C", inode, 0, path.encode()))

    def write(self, inode: int, offset: int, data: bytes) -> None:
        self.notes.append(Note("W", inode, offset, data))

    def sync(self, inode: int, *, returns: bool = True) -> None:
        self._syncs += 1
        self.notes.append(Note("S", inode, self._syncs, b""))
        if returns:
            self.notes.append(Note("F", inode, self._syncs, b""))

    def sync_folder(self, path: str) -> None:
        self.notes.append(Note("O", 999, 0, path.encode()))
        self.sync(999)

    def rename(self, before: str, after: str) -> None:
        self.notes.append(Note("R", 0, 0, f"{before}\n{after}".encode()))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    return folder.resolve()


def outcomes(deeds: Deeds, root: Path, fate: Fate, tries: int = 1) -> Iterator[dict[str, bytes]]:
    dice = random.Random(1)
    for number in range(tries):
        disk = power.Disk(root)
        for note in deeds.notes:
            disk.follow(note)
        into = root.parent / f"{fate.name}-{number}"
        into.mkdir()
        disk.put_down(into, fate, dice)
        yield {path.name: path.read_bytes() for path in into.iterdir()}


def test_what_was_synced_is_there_and_the_rest_may_be_lost(root: Path) -> None:
    deeds = Deeds()
    deeds.make(f"{root}/a", 1)
    deeds.sync_folder(str(root))
    deeds.write(1, 0, b"safe")
    deeds.sync(1)
    deeds.write(1, 4, b"lost")
    assert list(outcomes(deeds, root, Fate.LOST)) == [{"a": b"safe"}]
    assert list(outcomes(deeds, root, Fate.KEPT)) == [{"a": b"safelost"}]


def test_a_sync_that_has_not_returned_promises_nothing(root: Path) -> None:
    deeds = Deeds()
    deeds.make(f"{root}/a", 1)
    deeds.sync_folder(str(root))
    deeds.write(1, 0, b"lost")
    deeds.sync(1, returns=False)
    assert list(outcomes(deeds, root, Fate.LOST)) == [{"a": b""}]


def test_a_name_is_lost_until_its_folder_is_synced(root: Path) -> None:
    deeds = Deeds()
    deeds.make(f"{root}/a.new", 1)
    deeds.write(1, 0, b"data")
    deeds.sync(1)
    deeds.rename(f"{root}/a.new", f"{root}/a")
    assert list(outcomes(deeds, root, Fate.LOST)) == [{}]
    assert {tuple(each) for each in outcomes(deeds, root, Fate.SOME, 20)} == {(), ("a.new",), ("a",)}
    deeds.sync_folder(str(root))
    assert list(outcomes(deeds, root, Fate.TORN)) == [{"a": b"data"}]


def test_later_writes_may_be_there_without_earlier_ones_and_sectors_without_the_others(root: Path) -> None:
    deeds = Deeds()
    deeds.make(f"{root}/a", 1)
    deeds.sync_folder(str(root))
    deeds.write(1, 0, b"1" * 1024)
    deeds.write(1, 1024, b"2" * 1024)
    some = {each["a"] for each in outcomes(deeds, root, Fate.SOME, 40)}
    assert some == {b"", b"1" * 1024, bytes(1024) + b"2" * 1024, b"1" * 1024 + b"2" * 1024}
    torn = {each["a"] for each in outcomes(deeds, root, Fate.TORN, 40)}
    assert bytes(512) + b"1" * 512 in torn
