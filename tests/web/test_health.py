from __future__ import annotations

from lpr.domain.events import AgentState, CameraState, QueueStatus
from lpr.testing.status import FakeStatusSource
from lpr.web.health import STALE_AFTER_S, problems
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
    assert codes(source) == ["camera_blind"]
    assert problems(source.view)[0].message == "Cổng chính is not read: the device is lost."


def test_a_recording_that_ended_long_ago_is_none() -> None:
    source = FakeStatusSource()
    source.add_camera("CAM_001", state=CameraState.ENDED, seconds_ago=9000.0)
    assert codes(source) == []


def test_everything_that_is_not_well_is_named_the_most_urgent_first() -> None:
    source = FakeStatusSource()
    source.add_camera("CAM_000", limp="goes on with the pictures of its smaller stream: no answer")
    source.add_camera("CAM_001", state=CameraState.LOST, seconds_ago=None)
    source.change(
        state=AgentState.ERROR,
        link=LinkView(up=False, words=""),
        queue=QueueStatus(pending=0, bytes=0, oldest_age_s=0.0, dead_letters=2),
        warnings=("the disk is nearly full: make room on /var",),
    )
    assert codes(source) == [
        "agent_error",
        "camera_lost",
        "link_down",
        "camera_limps",
        "dead_letters",
        "warning",
    ]
    messages = [problem.message for problem in problems(source.view)]
    assert messages[1:3] == ["CAM_001 is lost.", "Back-end: not connected."]
    assert messages[-1] == "The disk is nearly full: make room on /var."
