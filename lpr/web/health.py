"""Whether all is well, and what is not: one rule for the page's banner and for `/healthz`."""

from __future__ import annotations

from dataclasses import dataclass

from lpr.domain.events import AgentState, CameraState
from lpr.web.source import CameraView, StatusView

STALE_AFTER_S = 10.0
"""A camera that is called running and whose newest frame is older than this is not well."""
LIMPS = "camera_limps"
"""A camera that works on with the smaller of its streams: less urgent than what does not work at all."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not well: a word for programs, what it concerns, and a sentence for people."""

    code: str
    subject: str
    message: str


def problems(status: StatusView) -> list[Problem]:
    """What is not well, the most urgent first; empty where all is."""
    found = []
    if status.state is AgentState.ERROR:
        found.append(Problem("agent_error", status.agent_id, "The agent reports an error."))
    cameras = [problem for camera in status.cameras if (problem := _camera_problem(camera))]
    found += [problem for problem in cameras if problem.code != LIMPS]
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
