"""What the trackers must not forget over a restart: plates that just passed, and texts that belong to the scene.

A JSON file in the data directory, replaced in one step. It is a memory aid, not a record: where it is damaged the agent
starts without it, and the worst is one vehicle reported a second time.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import structlog

from lpr.domain.clock import Instant
from lpr.domain.errors import reason_of
from lpr.durable import replace_file
from lpr.tracking.repeat import RepeatGuard
from lpr.tracking.settings import TrackingSettings
from lpr.tracking.standing import StandingMemory

FILE_NAME = "tracking.json"

log = structlog.get_logger("agent")


class TrackingMemory:
    """One guard a gate and one memory of standing texts a camera, kept in `data_dir`."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / FILE_NAME
        self._guards: dict[str, RepeatGuard] = {}
        self._standing: dict[str, StandingMemory] = {}
        self._kept = self._read()
        self._written = self._told = ""

    def guard(self, gate_id: str, repeat_after_s: float, now: Instant) -> RepeatGuard:
        """The guard that all cameras of a gate share; it forgets after `repeat_after_s` from now on."""
        guard = self._guards.get(gate_id)
        if guard is None:
            guard = self._guards[gate_id] = RepeatGuard(repeat_after_s)
            guard.restore(_entries(self._kept.get("gates"), gate_id), now)
        guard.repeat_after_s = repeat_after_s
        return guard

    def standing(self, camera_id: str, now: Instant) -> StandingMemory:
        """What belongs to the scene of one camera."""
        memory = self._standing.get(camera_id)
        if memory is None:
            rules = TrackingSettings(camera_id=camera_id)
            memory = self._standing[camera_id] = StandingMemory(rules.standing_after_s, rules.standing_forget_s)
            memory.restore(_entries(self._kept.get("cameras"), camera_id), now)
        return memory

    def save(self) -> None:
        """Write the file; what fails is logged, for nothing depends on it."""
        self.write(self.text())

    def text(self) -> str:
        """What the file should say now. To be asked where the trackers run, for they must not go on meanwhile."""
        state = {
            "gates": {gate_id: guard.state() for gate_id, guard in self._guards.items()},
            "cameras": {camera_id: memory.state() for camera_id, memory in self._standing.items()},
        }
        return json.dumps(state, ensure_ascii=False)

    def write(self, text: str) -> None:
        """Put `text` on disk where it differs from what was put there last; in any thread, one at a time."""
        if text == self._written:
            return
        try:
            replace_file(self._path, text)
        except OSError as error:
            # Once: it is written every few seconds while vehicles pass.
            if reason_of(error) != self._told:
                log.warning("tracking memory not saved", path=str(self._path), error=reason_of(error))
            self._told = reason_of(error)
        else:
            self._written, self._told = text, ""

    def _read(self) -> dict[str, Any]:
        try:
            kept = json.loads(self._path.read_text("utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            log.warning("tracking memory not read; starting without it", path=str(self._path), error=str(error))
            return {}
        return kept if isinstance(kept, dict) else {}


def _entries(section: object, name: str) -> list[dict[str, Any]]:
    entries = section.get(name) if isinstance(section, dict) else None
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
