"""What the local page and monitors are told before something goes wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from lpr.agent.board import NOTHING_QUEUED, Board
from lpr.agent.concerns import concerns, free_disk_at
from lpr.config import AgentConfig
from lpr.outbox.limits import LEAST_FREE_DISK
from lpr.testing.clock import FakeClock
from tests.agent.helpers import make_config

GIB = 1 << 30


@pytest.fixture
def config(tmp_path: Path) -> AgentConfig:
    return make_config(tmp_path, outbox={"max_bytes": "2 GiB", "min_free_disk": "1 GiB"})


def said(config: AgentConfig, **facts: Any) -> list[str]:
    """The sentences about an agent of which all is well but for `facts`."""
    well: dict[str, Any] = {
        "queue": NOTHING_QUEUED,
        "free_disk": 50 * GIB,
        "clock_offset_ms": -40.0,
        "complaint": None,
        "fallbacks": (),
    }
    return list(concerns(config, **(well | facts)))


def test_where_all_is_well_or_unknown_nothing_is_said(config: AgentConfig) -> None:
    assert said(config) == []
    assert said(config, free_disk=None, clock_offset_ms=None) == []


def test_a_disk_below_its_floor_is_told_before_events_are_lost(config: AgentConfig) -> None:
    assert said(config, free_disk=GIB + 1) == []
    [words] = said(config, free_disk=GIB // 2)
    assert words.startswith(f"only 512.0 MiB are free on the disk of {config.agent.data_dir}, where the queue")
    assert "leaves 1.00 GiB alone (outbox.min_free_disk)" in words


def test_a_disk_without_a_floor_of_its_own_is_told_where_the_queue_stops_growing(tmp_path: Path) -> None:
    config = make_config(tmp_path, outbox={"min_free_disk": 0})
    assert said(config, free_disk=LEAST_FREE_DISK + 1) == []
    [words] = said(config, free_disk=LEAST_FREE_DISK)
    assert "leaves 32.0 MiB alone" in words


def test_a_queue_that_fills_is_told_at_four_fifths(config: AgentConfig) -> None:
    assert said(config, queue=replace(NOTHING_QUEUED, bytes=int(1.5 * GIB))) == []
    [words] = said(config, queue=replace(NOTHING_QUEUED, bytes=int(1.7 * GIB)))
    assert words.startswith("the queue holds 1.70 GiB of 2.00 GiB")


@pytest.mark.parametrize(("offset_ms", "words"), [(61_000.0, "61 s behind"), (-61_000.0, "61 s ahead of")])
def test_a_clock_that_is_not_the_back_ends_is_told(config: AgentConfig, offset_ms: float, words: str) -> None:
    [sentence] = said(config, clock_offset_ms=offset_ms)
    assert words in sentence


def test_answers_that_empty_no_queue_are_told(config: AgentConfig) -> None:
    [sentence] = said(config, complaint="the back-end does not answer error")
    assert sentence.startswith("the back-end does not answer error: events stay in the queue")


def test_a_device_that_does_not_work_is_told(config: AgentConfig) -> None:
    assert [words.split(",")[0] for words in said(config, fallbacks=("GPU",))] == ["GPU does not work"]


def test_the_board_asks_the_disk_of_its_own_data(tmp_path: Path) -> None:
    config = make_config(tmp_path, outbox={"min_free_disk": "1000 TiB"})
    link = cast("Any", SimpleNamespace(clock_offset_ms=None, complaint=None))
    board = Board(config, pipelines={}, publisher=cast("Any", None), link=lambda: link, clock=FakeClock())
    board.fallbacks.add("NPU")
    assert [words.split()[0] for words in board.warnings] == ["only", "NPU"]
    assert free_disk_at(tmp_path / "gone") is None


def test_events_that_the_disk_does_not_take_are_told_until_it_takes_them(config: AgentConfig) -> None:
    board = Board(config, pipelines={}, publisher=cast("Any", None), link=cast("Any", None), clock=FakeClock())
    assert board.queue_trouble == ""
    board.queue = replace(NOTHING_QUEUED, pending=5, unwritten=3)
    assert board.queue_trouble.startswith(f"3 event(s) are held in memory, for the disk of {config.agent.data_dir}")
    board.queue_fault = "the queue cannot be read"
    assert board.queue_trouble == "the queue cannot be read"
    board.queue, board.queue_fault = replace(NOTHING_QUEUED, fault="the disk is read-only"), ""
    assert board.queue_trouble == "the disk is read-only"
    board.queue = NOTHING_QUEUED
    assert board.queue_trouble == ""
