"""What is told of a camera with one stream or two, whatever order their losses come in."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from lpr.agent.losses import GRACE_S, PROOF_S, CameraLosses, Notice
from lpr.capture.base import CaptureLimits
from lpr.capture.reader import CameraChange
from lpr.domain.clock import Instant
from lpr.domain.errors import CaptureError
from lpr.domain.events import CameraState
from tests.agent.helpers import make_config

START = Instant(datetime(2026, 11, 23, 8, 0, tzinfo=UTC), 1000.0)
CONNECTING, RUNNING, LOST, STOPPED = (
    CameraState.CONNECTING,
    CameraState.RUNNING,
    CameraState.LOST,
    CameraState.STOPPED,
)


class Box:
    """A camera with two streams, and a clock; notes what is told as `CODE stream`."""

    def __init__(self, folder: Path) -> None:
        self.losses = CameraLosses(make_config(folder).cameras[0])
        self.now = START
        self.told: list[str] = []
        self.notices: list[Notice] = []
        self._states = {"analysed": STOPPED, "larger": STOPPED}
        self._last: Instant | None = None

    def change(self, stream: str, state: CameraState) -> None:
        change = CameraChange(
            camera_id="CAM_001",
            state=state,
            previous=self._states[stream],
            reason=f"{stream} is {state}",
            at=self.now,
            last_picture=self._last,
            error=CaptureError("gone", hint="look") if state is LOST else None,
        )
        self._states[stream] = state
        self._take(getattr(self.losses, stream)(change))

    def wait(self, seconds: float) -> None:
        """Time passes, in the steps in which the agent looks; a running stream shows pictures."""
        for _ in range(round(seconds / 0.5)):
            self.now = self.now.plus(0.5)
            if self._states["analysed"] is RUNNING:
                self._last = self.now
            self._take(self.losses.due(self.now, self._last))

    def freeze(self, seconds: float) -> None:
        """Time passes, and no stream shows anything, though neither has been given up yet."""
        last = self._last
        for _ in range(round(seconds / 0.5)):
            self.now = self.now.plus(0.5)
            self._take(self.losses.due(self.now, last))

    def _take(self, notices: list[Notice]) -> None:
        self.notices += notices
        self.told += [f"{notice.code.value.removeprefix('CAMERA_')} {notice.stream}".strip() for notice in notices]


def running(folder: Path) -> Box:
    box = Box(folder)
    for stream in ("analysed", "larger"):
        box.change(stream, CONNECTING)
        box.change(stream, RUNNING)
    box.wait(5)
    assert box.told == []
    return box


def test_a_box_that_freezes_is_told_once_whichever_stream_is_missed_first(tmp_path: Path) -> None:
    for first, second in (("larger", "analysed"), ("analysed", "larger")):
        box = running(tmp_path)
        box.freeze(4.5)
        box.change(first, LOST)
        box.freeze(1)
        box.change(second, LOST)
        box.freeze(120)
        assert box.told == ["DISCONNECTED"]
        box.change("analysed", RUNNING)
        box.wait(GRACE_S / 2)
        box.change("larger", RUNNING)
        box.wait(60)
        assert box.told == ["DISCONNECTED", "RECOVERED"]


def test_a_box_whose_streams_go_one_after_the_other_is_told_once_and_is_back_once(tmp_path: Path) -> None:
    assert CaptureLimits().stale_after_s < PROOF_S
    for apart_s in (0.5, 2.0, 4.5):
        box = running(tmp_path)
        box.change("larger", LOST)
        # The analysed stream goes on for a moment; then it is silent until that is noticed.
        box.wait(apart_s)
        box.freeze(4.5)
        box.change("analysed", LOST)
        box.freeze(60)
        assert box.told == ["DISCONNECTED"]
        box.change("larger", RUNNING)
        box.freeze(1)
        box.change("analysed", RUNNING)
        box.wait(60)
        assert box.told == ["DISCONNECTED", "RECOVERED"]


def test_a_camera_that_goes_on_without_its_larger_stream_and_is_lost_then_is_back_once(tmp_path: Path) -> None:
    for back, follows in (("larger", "analysed"), ("analysed", "larger")):
        box = running(tmp_path)
        box.change("larger", LOST)
        box.wait(600)
        box.change("analysed", LOST)
        box.freeze(60)
        # It goes on, and then it is gone: two things to know. What comes back is one camera.
        assert box.told == ["DISCONNECTED source", "DISCONNECTED"]
        box.change(back, RUNNING)
        box.wait(GRACE_S / 2)
        box.change(follows, RUNNING)
        box.wait(60)
        assert box.told == ["DISCONNECTED source", "DISCONNECTED", "RECOVERED"]
        assert box.losses.larger_trouble == ""


def test_a_larger_stream_that_does_not_follow_is_a_loss_of_its_own(tmp_path: Path) -> None:
    box = running(tmp_path)
    box.change("larger", LOST)
    box.wait(600)
    box.change("analysed", LOST)
    box.freeze(60)
    box.change("analysed", RUNNING)
    box.wait(GRACE_S + 1)
    box.change("larger", RUNNING)
    assert box.told[2:] == ["RECOVERED", "DISCONNECTED source", "RECOVERED source"]


def test_the_larger_stream_alone_is_told_within_six_seconds_and_once(tmp_path: Path) -> None:
    box = running(tmp_path)
    box.change("larger", LOST)
    assert box.losses.larger_trouble == ""
    box.wait(5.5)
    assert box.told == ["DISCONNECTED source"]
    assert box.losses.larger_trouble == "larger is lost"
    box.wait(60)
    box.change("larger", RUNNING)
    assert box.told == ["DISCONNECTED source", "RECOVERED source"]
    assert box.losses.larger_trouble == ""


def test_one_that_is_back_before_it_could_be_told_is_not_told(tmp_path: Path) -> None:
    box = running(tmp_path)
    box.change("larger", LOST)
    box.change("larger", RUNNING)
    box.wait(60)
    assert box.told == []


def test_a_larger_stream_that_stays_away_after_the_box_is_back_is_told_then(tmp_path: Path) -> None:
    box = running(tmp_path)
    box.change("analysed", LOST)
    box.change("larger", LOST)
    box.wait(60)
    box.change("analysed", RUNNING)
    box.wait(GRACE_S - 1)
    assert box.told == ["DISCONNECTED", "RECOVERED"]
    box.wait(2)
    assert box.told == ["DISCONNECTED", "RECOVERED", "DISCONNECTED source"]


def test_one_that_never_comes_is_told_too(tmp_path: Path) -> None:
    box = Box(tmp_path)
    box.change("analysed", CONNECTING)
    box.change("larger", CONNECTING)
    box.change("larger", LOST)
    box.freeze(5)
    assert box.told == []
    box.change("analysed", RUNNING)
    box.wait(PROOF_S + 1)
    assert box.told == ["DISCONNECTED source"]
    details = box.notices[0].details(box.now)
    assert details == {"cameraId": "CAM_001", "lastResponse": None, "hint": "look", "stream": "source"}


def test_stopping_tells_nothing(tmp_path: Path) -> None:
    box = running(tmp_path)
    box.change("larger", STOPPED)
    box.change("analysed", STOPPED)
    box.wait(10)
    assert box.told == []


def test_the_last_response_is_told_by_the_wall_clock_of_now(tmp_path: Path) -> None:
    box = running(tmp_path)
    box.freeze(4.5)
    box.change("analysed", LOST)
    # The clock has been set by a year while the camera was watched.
    now = Instant(datetime(2027, 11, 23, 8, 0, 10, tzinfo=UTC), box.now.monotonic_s)
    assert box.notices[0].details(now)["lastResponse"] == "2027-11-23T08:00:05.500Z"
