from __future__ import annotations

from pathlib import Path

import pytest

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


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(LinkError, match=r"epoch\.json cannot be read or written") as caught:
        EpochFile(tmp_path / "absent" / "epoch.json").next()
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
