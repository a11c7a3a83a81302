from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from lpr.domain.errors import LinkError
from lpr.link.files import EpochFile, SeenCommands


def test_epochs_grow_over_restarts(tmp_path: Path) -> None:
    assert [EpochFile(tmp_path / "epoch.json").next() for _ in range(3)] == [1, 2, 3]


def test_a_damaged_epoch_file_goes_on_above_every_number_given_before(tmp_path: Path) -> None:
    path = tmp_path / "epoch.json"
    EpochFile(path).next()
    path.write_text("{", "utf-8")
    assert EpochFile(path).next() > 1_000_000
    assert EpochFile(path).next() == EpochFile(path).next() - 1


def test_a_disk_that_takes_nothing_does_not_keep_the_agent_from_connecting(tmp_path: Path) -> None:
    epochs = EpochFile(tmp_path / "absent" / "epoch.json")
    with capture_logs() as logs:
        assert [epochs.next() for _ in range(3)] == [1, 2, 3]
    assert any("epoch.json cannot be read or written" in entry["error"] for entry in logs)


def test_a_command_that_cannot_be_remembered_is_named_by_its_file(tmp_path: Path) -> None:
    with pytest.raises(LinkError, match=r"seen\.json cannot be read or written") as caught:
        SeenCommands(tmp_path / "absent" / "seen.json").add("c-1")
    assert caught.value.hint


def test_the_newest_commands_are_remembered_and_no_more(tmp_path: Path) -> None:
    seen = SeenCommands(tmp_path / "seen.json", limit=3)
    for name in ("a", "b", "Cổng", "d"):
        seen.add(name)
    again = SeenCommands(tmp_path / "seen.json", limit=3)
    assert [name in again for name in ("a", "b", "Cổng", "d")] == [False, True, True, True]
    assert len(again) == 3


@pytest.mark.parametrize("content", ["", "[]", '{"commandIds": 3}', '{"commandIds": [1, null]}'])
def test_a_damaged_file_of_commands_is_an_empty_one(tmp_path: Path, content: str) -> None:
    path = tmp_path / "seen.json"
    path.write_text(content, "utf-8")
    seen = SeenCommands(path)
    assert len(seen) == 0
    seen.add("a")
    assert "a" in SeenCommands(path)


def test_a_number_that_cannot_be_kept_grows_all_the_same_and_is_said_once_until_it_can(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    epochs = EpochFile(folder / "epoch.json")
    with capture_logs() as logs:
        assert [epochs.next() for _ in range(3)] == [1, 2, 3]
        folder.mkdir()
        assert epochs.next() == 4
        (folder / "epoch.json").unlink()
        folder.rmdir()
        assert epochs.next() == 5
    assert [each["event"] for each in logs] == ["number of the connection not kept"] * 2
