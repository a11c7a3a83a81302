"""What must not be forgotten over a restart."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from lpr.agent.memory import FILE_NAME, TrackingMemory
from lpr.agent.timekeeping import clock_status, kernel_synchronised
from lpr.domain.clock import Instant
from lpr.domain.passage import Action
from lpr.tracking.repeat import Verdict

NOW = Instant(datetime(2026, 11, 23, 8, 0, tzinfo=UTC), 1000.0)


def test_a_plate_that_passed_just_before_a_restart_is_still_a_repeat_after_it(tmp_path: Path) -> None:
    before = TrackingMemory(tmp_path)
    before.guard("GATE_001", 60, NOW).reported("29A12345", Action.ENTRY, NOW)
    before.save()
    # The monotonic clock of another boot begins anew.
    later = Instant(NOW.wall + timedelta(seconds=20), 5.0)

    guard = TrackingMemory(tmp_path).guard("GATE_001", 60, later)

    assert guard.verdict("29A12345", Action.ENTRY, later) is Verdict.REPEAT
    assert guard.verdict("29A12345", Action.EXIT, later) is Verdict.NEW
    assert guard.verdict("29A12346", Action.ENTRY, later) is Verdict.NEW


def test_cameras_of_one_gate_share_their_guard_and_the_newest_time_holds(tmp_path: Path) -> None:
    memory = TrackingMemory(tmp_path)

    first, second = memory.guard("GATE_001", 90, NOW), memory.guard("GATE_001", 60, NOW)

    assert first is second
    assert first.repeat_after_s == 60
    assert memory.guard("GATE_002", 60, NOW) is not first


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"gates": 7}', '{"gates": {"GATE_001": [{"text": 3}]}}', "\x00"])
def test_a_damaged_file_is_a_fresh_start(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE_NAME).write_text(content, encoding="utf-8")

    guard = TrackingMemory(tmp_path).guard("GATE_001", 60, NOW)

    assert guard.verdict("29A12345", Action.ENTRY, NOW) is Verdict.NEW


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    memory = TrackingMemory(tmp_path / "gone")
    memory.guard("GATE_001", 60, NOW).reported("29A12345", Action.ENTRY, NOW)

    memory.save()

    assert not (tmp_path / "gone").exists()


def test_what_cannot_be_saved_is_said_once_until_it_can(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    memory = TrackingMemory(folder)
    with capture_logs() as logs:
        for number in range(3):
            memory.write(f"[{number}]")
        folder.mkdir()
        memory.write("[3]")
        (folder / FILE_NAME).unlink()
        folder.rmdir()
        memory.write("[4]")
    assert [each["event"] for each in logs] == ["tracking memory not saved"] * 2


def test_a_clock_that_says_1970_is_not_synchronised_whatever_the_kernel_says() -> None:
    status = clock_status(datetime(1970, 1, 1, 0, 5, tzinfo=UTC), None)

    assert status.synchronised is False


def test_the_kernel_says_whether_the_clock_is_synchronised_or_cannot_be_asked() -> None:
    assert kernel_synchronised() in (True, False, None)
    assert clock_status(NOW.wall, 12.5).offset_ms == 12.5
