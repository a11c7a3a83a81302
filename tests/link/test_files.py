from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from lpr.domain.errors import LinkError
from lpr.link import files
from lpr.link.files import EpochFile, SeenCommands


async def test_epochs_grow_over_restarts(tmp_path: Path) -> None:
    assert [await EpochFile(tmp_path / "epoch.json").next() for _ in range(3)] == [1, 2, 3]


async def test_a_damaged_epoch_file_goes_on_above_every_number_given_before(tmp_path: Path) -> None:
    path = tmp_path / "epoch.json"
    await EpochFile(path).next()
    path.write_text("{", "utf-8")
    assert await EpochFile(path).next() > 1_000_000
    assert await EpochFile(path).next() == await EpochFile(path).next() - 1


async def test_a_disk_that_takes_nothing_does_not_keep_the_agent_from_connecting(tmp_path: Path) -> None:
    epochs = EpochFile(tmp_path / "absent" / "epoch.json")
    with capture_logs() as logs:
        assert [await epochs.next() for _ in range(3)] == [1, 2, 3]
    assert any("epoch.json cannot be read or written" in entry["error"] for entry in logs)


async def test_a_command_that_cannot_be_remembered_is_named_by_its_file(tmp_path: Path) -> None:
    with pytest.raises(LinkError, match=r"seen\.json cannot be read or written") as caught:
        await SeenCommands(tmp_path / "absent" / "seen.json").add("c-1")
    assert caught.value.hint


async def test_the_newest_commands_are_remembered_and_no_more(tmp_path: Path) -> None:
    seen = SeenCommands(tmp_path / "seen.json", limit=3)
    for name in ("a", "b", "Cổng", "d"):
        await seen.add(name)
    again = SeenCommands(tmp_path / "seen.json", limit=3)
    assert [name in again for name in ("a", "b", "Cổng", "d")] == [False, True, True, True]
    assert len(again) == 3


@pytest.mark.parametrize("content", ["", "[]", '{"commandIds": 3}', '{"commandIds": [1, null]}'])
async def test_a_damaged_file_of_commands_is_an_empty_one(tmp_path: Path, content: str) -> None:
    path = tmp_path / "seen.json"
    path.write_text(content, "utf-8")
    seen = SeenCommands(path)
    assert len(seen) == 0
    await seen.add("a")
    assert "a" in SeenCommands(path)


async def test_a_number_that_cannot_be_kept_grows_all_the_same_and_is_said_once_until_it_can(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    epochs = EpochFile(folder / "epoch.json")
    with capture_logs() as logs:
        assert [await epochs.next() for _ in range(3)] == [1, 2, 3]
        folder.mkdir()
        assert await epochs.next() == 4
        (folder / "epoch.json").unlink()
        folder.rmdir()
        assert await epochs.next() == 5
    assert [each["event"] for each in logs] == ["number of the connection not kept"] * 2


@pytest.fixture
async def stalling_disk(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[threading.Event]:
    """A disk that ends no sync before the event is set; waited for shortly.

    Asynchronous, so that it ends before the event loop is closed, which waits for the threads that write.
    """
    ends, sync = threading.Event(), os.fsync

    def stall(fd: int) -> None:
        ends.wait(20.0)
        sync(fd)

    monkeypatch.setattr(os, "fsync", stall)
    monkeypatch.setattr(files, "PATIENCE_S", 0.02)
    yield ends
    ends.set()


async def test_a_disk_that_stalls_is_not_waited_for_and_has_the_last_number_when_it_is_back(
    tmp_path: Path, stalling_disk: threading.Event
) -> None:
    epochs = EpochFile(tmp_path / "epoch.json")
    numbers = [await epochs.next() for _ in range(3)]
    assert numbers == sorted(set(numbers))

    stalling_disk.set()
    async with asyncio.timeout(20):
        while await epochs.next() not in kept(tmp_path / "epoch.json"):  # noqa: ASYNC110 - a thread writes it
            await asyncio.sleep(0.01)
    assert await EpochFile(tmp_path / "epoch.json").next() > numbers[-1]


def kept(path: Path) -> list[int]:
    """The number in the file, if there is one."""
    return [json.loads(path.read_text("utf-8"))["epoch"]] if path.exists() else []


async def test_a_command_does_not_wait_for_a_disk_that_stalls(tmp_path: Path, stalling_disk: threading.Event) -> None:
    seen = SeenCommands(tmp_path / "seen.json")
    for name in ("a", "b"):
        with pytest.raises(LinkError, match=r"seen\.json was not written within .* the disk stalls"):
            await seen.add(name)
    assert "a" in seen
    assert "b" in seen
