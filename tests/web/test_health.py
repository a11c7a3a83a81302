from __future__ import annotations

import pytest

from lpr.domain.events import CameraState, QueueStatus
from lpr.testing.status import FakeStatusSource
from lpr.web.health import STALE_AFTER_S, problems, works
from lpr.web.source import LinkView


def codes(source: FakeStatusSource) -> list[str]:
    return [problem.code for problem in problems(source.view)]


def test_an_agent_without_a_care_has_no_problem() -> None:
    source = FakeStatusSource()
    for number, state in enumerate((CameraState.RUNNING, CameraState.STOPPED, CameraState.CONNECTING)):
        source.add_camera(f"CAM_{number}", state=state)
    assert problems(source.view) == []


def test_a_camera_that_is_called_running_and_shows_nothing_new_is_a_problem() -> None:
    source = FakeStatusSource()
    source.add_camera("CAM_001", seconds_ago=STALE_AFTER_S - 1)
    assert codes(source) == []
    source.add_camera("CAM_002", name="Cổng phụ", seconds_ago=42.0)
    assert codes(source) == ["camera_stale"]
    assert problems(source.view)[0].message == "Cổng phụ has shown nothing new for 42 s."


def test_a_camera_that_goes_on_without_its_larger_stream_is_a_problem_of_its_own() -> None:
    source = FakeStatusSource()
    source.add_camera("CAM_001", name="Cổng chính", limp="goes on with the pictures of its smaller stream: no answer")
    assert codes(source) == ["camera_limps"]
    assert problems(source.view)[0].message == (
        "Cổng chính: goes on with the pictures of its smaller stream: no answer."
    )


def test_a_camera_whose_pictures_are_not_read_is_a_problem_before_what_it_does_without() -> None:
    source = FakeStatusSource()
    source.add_camera("CAM_001", name="Cổng chính", limp="goes on", blind="the device is lost")
    source.add_camera("CAM_002")
    assert codes(source) == ["camera_blind"]
    assert problems(source.view)[0].message == "Cổng chính is not read: the device is lost."


def test_a_recording_that_ended_long_ago_is_none() -> None:
    source = FakeStatusSource()
    source.add_camera("CAM_001", state=CameraState.ENDED, seconds_ago=9000.0)
    assert codes(source) == []


def test_what_a_person_must_look_at_is_no_reason_to_restart_an_agent_that_works() -> None:
    source = FakeStatusSource()
    source.add_camera("CAM_001", limp="goes on with the pictures of its smaller stream: no answer")
    source.add_camera("CAM_002", state=CameraState.LOST)
    source.change(
        link=LinkView(up=False, words="no answer"),
        queue=QueueStatus(pending=9, bytes=9, oldest_age_s=9.0, dead_letters=2),
        warnings=("the disk is nearly full: make room on /var",),
    )
    assert len(problems(source.view)) == 5
    assert works(problems(source.view))


@pytest.mark.parametrize(
    ("states", "work"),
    [
        ([CameraState.LOST], False),
        ([CameraState.LOST, CameraState.LOST, CameraState.STOPPED, CameraState.ENDED], False),
        ([CameraState.LOST, CameraState.CONNECTING], True),
        ([CameraState.LOST, CameraState.RUNNING], True),
        ([CameraState.STOPPED], True),
        ([], True),
    ],
)
def test_an_agent_of_whose_cameras_none_that_should_run_shows_anything_does_not_work(
    states: list[CameraState], work: bool
) -> None:
    source = FakeStatusSource()
    for number, state in enumerate(states):
        source.add_camera(f"CAM_{number}", state=state)
    assert works(problems(source.view)) == work
    assert (codes(source)[:1] == ["no_pictures"]) == (not work)


def test_pictures_that_stand_still_or_are_not_read_are_none() -> None:
    source = FakeStatusSource()
    source.add_camera("CAM_001", seconds_ago=42.0)
    source.add_camera("CAM_002", blind="the device is lost")
    assert codes(source) == ["no_pictures", "camera_stale", "camera_blind"]
    source.add_camera("CAM_003")
    assert codes(source) == ["camera_stale", "camera_blind"]


def test_events_that_are_not_stored_are_the_agents_failure() -> None:
    source = FakeStatusSource()
    source.change(queue_trouble="3 event(s) are held in memory")
    assert not works(problems(source.view))
    assert problems(source.view)[0].message == "Events are not stored: 3 event(s) are held in memory."


def test_everything_that_is_not_well_is_named_the_most_urgent_first() -> None:
    source = FakeStatusSource()
    source.add_camera("CAM_000", limp="goes on with the pictures of its smaller stream: no answer")
    source.add_camera("CAM_001", state=CameraState.LOST, seconds_ago=None)
    source.change(
        queue_trouble="the disk takes none",
        link=LinkView(up=False, words=""),
        queue=QueueStatus(pending=0, bytes=0, oldest_age_s=0.0, dead_letters=2),
        warnings=("the disk is nearly full: make room on /var",),
    )
    assert codes(source) == [
        "queue_unwritten",
        "camera_lost",
        "link_down",
        "camera_limps",
        "dead_letters",
        "warning",
    ]
    messages = [problem.message for problem in problems(source.view)]
    assert messages[:3] == [
        "Events are not stored: the disk takes none.",
        "CAM_001 is lost.",
        "Back-end: not connected.",
    ]
    assert messages[-1] == "The disk is nearly full: make room on /var."
