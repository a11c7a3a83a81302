"""Whether all is well, and what is not: one rule for the page's banner and for `/healthz`.

The agent does its work where some camera's pictures are read, or none should be, and what they show is stored for good.
What else is not well is for a person to look at, and no reason for a watchdog to restart it: a back-end that is away,
one camera of several, a disk that fills.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from lpr.domain.events import CameraState
from lpr.web.source import CameraView, StatusView

STALE_AFTER_S = 10.0
"""A camera that is called running and whose newest frame is older than this is not well."""
LIMPS = "camera_limps"
"""A camera that works on with the smaller of its streams: less urgent than what does not work at all."""
WORK_STOPS: Final = frozenset({"no_pictures", "queue_unwritten"})
"""What means that the agent does not do its work."""
SHOULD_RUN: Final = (CameraState.CONNECTING, CameraState.RUNNING, CameraState.LOST)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not well: a word for programs, what it concerns, and a sentence for people."""

    code: str
    subject: str
    message: str


def works(found: Sequence[Problem]) -> bool:
    """Whether the agent does its work all the same."""
    return not any(problem.code in WORK_STOPS for problem in found)


def problems(status: StatusView) -> list[Problem]:
    """What is not well, the most urgent first; empty where all is."""
    found = []
    cameras = [problem for camera in status.cameras if (problem := _camera_problem(camera))]
    useless = [problem for problem in cameras if problem.code != LIMPS]
    if useless and len(useless) == sum(camera.state in SHOULD_RUN for camera in status.cameras):
        found.append(Problem("no_pictures", status.agent_id, "No camera gives pictures that are read."))
    if status.queue_trouble:
        found.append(Problem("queue_unwritten", "queue", _sentence(f"events are not stored: {status.queue_trouble}")))
    found += useless
    if not status.link.up:
        found.append(Problem("link_down", "back-end", _sentence(f"back-end: {status.link.words or 'not connected'}")))
    found += [problem for problem in cameras if problem.code == LIMPS]
    if status.queue.dead_letters:
        count = status.queue.dead_letters
        events = "1 event was" if count == 1 else f"{count} events were"
        found.append(
            Problem(
                "dead_letters", "queue", f"{events} refused by the back-end: “lpr-agent queue list --dead” names them."
            )
        )
    found += [Problem("warning", "agent", _sentence(warning)) for warning in status.warnings]
    return found


def _camera_problem(camera: CameraView) -> Problem | None:
    if camera.state is CameraState.LOST:
        why = f": {camera.detail}" if camera.detail else ""
        return Problem("camera_lost", camera.camera_id, _sentence(f"{camera.name} is lost{why}"))
    if camera.state is CameraState.RUNNING and (camera.frame_age_s or 0.0) > STALE_AFTER_S:
        age = f"{camera.frame_age_s:.0f} s"
        return Problem("camera_stale", camera.camera_id, f"{camera.name} has shown nothing new for {age}.")
    if camera.state is CameraState.RUNNING and camera.blind:
        return Problem("camera_blind", camera.camera_id, _sentence(f"{camera.name} is not read: {camera.blind}"))
    if camera.state is CameraState.RUNNING and camera.limp:
        return Problem(LIMPS, camera.camera_id, _sentence(f"{camera.name}: {camera.limp}"))
    return None


def _sentence(text: str) -> str:
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")
