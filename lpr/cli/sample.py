"""The clip of a gate that travels with the package."""

from __future__ import annotations

import json
from pathlib import Path


def sample_clip() -> Path:
    """The clip that travels with the package."""
    from importlib import resources

    return Path(str(resources.files("lpr"))) / "assets" / "gate.mp4"


def expected_texts(clip: Path) -> tuple[str, ...]:
    """The plates of a clip, from the JSON file beside it where there is one."""
    try:
        vehicles = json.loads(clip.with_suffix(".json").read_text("utf-8"))
        return tuple(str(vehicle["text"]) for vehicle in vehicles)
    except (OSError, ValueError, TypeError, KeyError):
        return ()
