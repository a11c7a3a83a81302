"""The Node back-end itself, where a back-end developer copies from it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.faults.node import FOLDER, NodeBackend


def test_the_lock_file_names_no_host() -> None:
    lock = (FOLDER / "package-lock.json").read_text("utf-8")
    assert "://" not in lock
    packages = json.loads(lock)["packages"]
    assert all("integrity" in entry for name, entry in packages.items() if name)


@pytest.mark.node
async def test_half_a_line_that_a_kill_left_behind_is_cut_off_and_the_rest_is_known(tmp_path: Path) -> None:
    backend = NodeBackend(tmp_path)
    backend.store_file.write_text('{"agentId":"a","eventId":"1","type":"error"}\n{"agentId":"a","ev', "utf-8")
    await backend.start()
    state = await backend.state()
    await backend.stop()
    assert state["stored"] == 1
    assert [event["eventId"] for event in backend.stored()] == ["1"]
    assert backend.store_file.read_bytes().endswith(b"}\n")
