"""What the back-end is told of a camera's losses: one word for a camera, however many streams it has.

    the analysed stream is lost      CAMERA_DISCONNECTED, at once
    it shows pictures again          CAMERA_RECOVERED
    the larger stream alone is lost  CAMERA_DISCONNECTED of lesser weight, `details.stream` is `source`
    it shows pictures again          CAMERA_RECOVERED, the same

One loss of a camera is one word, and so is its return, though a box takes its streams with it one after the other:

- The loss of the larger one is told when the analysed one has shown pictures for longer since than its own loss could
  have gone unnoticed: else the box was going, and CAMERA_DISCONNECTED is about to tell of both.
- CAMERA_RECOVERED of the camera tells of both streams, whatever was told of the larger one before: that gets time to
  follow, and only where it does not is its loss told, as a loss of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lpr.capture.reader import CameraChange
from lpr.config import CameraConfig
from lpr.domain.clock import Instant, isoformat_ms
from lpr.domain.events import CameraState, ErrorCode, Severity

PROOF_S = 5.0
"""A picture of the analysed stream so long after the larger one was lost is proof that the box is there: silence of its
own would have been noticed by then."""
LARGER = "source"
"""The larger stream, by the name of its key in the configuration."""
GRACE_S = 15.0
"""What the larger stream gets to follow after a recovery: it is tried at once, and a second time soon after."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """An error to raise towards the back-end about the camera `camera_id`.

    `change` is the loss, None for a recovery; `stream` is set where it concerns the larger stream alone.
    """

    code: ErrorCode
    message: str
    severity: Severity
    camera_id: str
    change: CameraChange | None = None
    stream: str = ""

    def details(self, now: Instant) -> dict[str, Any]:
        """The error's details under the contract's names, to be told at `now`."""
        found: dict[str, Any] = {"cameraId": self.camera_id}
        if self.change is not None:
            last = self.change.last_picture
            # By the wall clock of now, which may have been set since.
            found["lastResponse"] = isoformat_ms(now.plus(last.seconds_since(now)).wall) if last else None
            found["hint"] = self.change.error.hint if self.change.error else None
        return found | ({"stream": self.stream} if self.stream else {})


class CameraLosses:
    """Turns the changes of a camera's one or two streams into what is told. Pure: time comes as an argument."""

    def __init__(self, camera: CameraConfig) -> None:
        self.camera = camera
        self._analysed = CameraState.STOPPED
        self._larger_lost: CameraChange | None = None
        self._larger_told = False
        self._not_before_s = float("-inf")

    @property
    def larger_trouble(self) -> str:
        """Why the larger stream gives no pictures, in words; empty where it does, and until it is told."""
        return self._larger_lost.reason if self._larger_lost is not None and self._larger_told else ""

    def analysed(self, change: CameraChange) -> list[Notice]:
        """The stream in which plates are looked for has changed; of a camera with one stream, that one."""
        self._analysed = change.state
        if change.state is CameraState.LOST or change.error is not None:
            self._larger_told = False
            return [self._lost(change)]
        if change.previous is CameraState.LOST and change.state is CameraState.RUNNING:
            self._not_before_s = change.at.monotonic_s + GRACE_S
            return [self._recovered("pictures again")]
        return []

    def larger(self, change: CameraChange) -> list[Notice]:
        """The larger stream has changed."""
        if change.state is CameraState.LOST:
            self._larger_lost = change
            return []
        told, self._larger_told = self._larger_told, False
        self._larger_lost = None
        if told and change.state is CameraState.RUNNING:
            return [self._recovered("pictures of the larger stream again", LARGER)]
        return []

    def due(self, now: Instant, last_picture: Instant | None) -> list[Notice]:
        """What has become certain by `now`; `last_picture` is when the analysed stream showed its last one."""
        lost = self._larger_lost
        if lost is None or self._larger_told or self._analysed is not CameraState.RUNNING or last_picture is None:
            return []
        if last_picture.seconds_since(lost.at) < PROOF_S or now.monotonic_s < self._not_before_s:
            return []
        self._larger_told = True
        return [self._larger_is_lost(lost)]

    def _lost(self, change: CameraChange) -> Notice:
        return Notice(
            code=ErrorCode.CAMERA_DISCONNECTED,
            message=f"{self.camera.name}: {change.reason}",
            severity=Severity.HIGH,
            camera_id=self.camera.id,
            change=change,
        )

    def _larger_is_lost(self, change: CameraChange) -> Notice:
        return Notice(
            code=ErrorCode.CAMERA_DISCONNECTED,
            message=f"{self.camera.name}: goes on with the pictures of its smaller stream: {change.reason}",
            severity=Severity.MEDIUM,
            camera_id=self.camera.id,
            change=change,
            stream=LARGER,
        )

    def _recovered(self, words: str, stream: str = "") -> Notice:
        return Notice(
            code=ErrorCode.CAMERA_RECOVERED,
            message=f"{self.camera.name}: {words}",
            severity=Severity.LOW,
            camera_id=self.camera.id,
            stream=stream,
        )
