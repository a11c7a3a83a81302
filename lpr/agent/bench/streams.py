"""The cameras of a measurement: a clip that plays like a camera, as often as wanted, or real ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lpr.capture.base import CameraSettings, ConnectionHistory, FrameSource
from lpr.capture.looped import LoopedClip
from lpr.capture.source import open_source
from lpr.config import AgentConfig, config_from

STREAM_FPS = 25.0

_PLACEHOLDER = "rtsp://127.0.0.1/{}"
"""The address of a camera that is played from a clip; nobody connects to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """What to put on the agent: `cameras` streams of `clip`, or real cameras where `sources` names some.

    `fps` frames a second are analysed of each camera, `stream_fps` come from it. `folder` takes the queue and the
    compiled networks.
    """

    clip: Path
    folder: Path
    backend_url: str
    cameras: int = 1
    sources: tuple[str, ...] = ()
    fps: float = 8.0
    stream_fps: float = STREAM_FPS
    device: str = "AUTO"
    detail: str = "auto"


def load_config(options: LoadOptions) -> AgentConfig:
    """A configuration of so many cameras, each with a gate of its own. Raises `ConfigError`."""
    sources = options.sources or tuple(_PLACEHOLDER.format(number) for number in range(options.cameras))
    names = [f"bench-{number + 1}" for number in range(len(sources))]
    values: dict[str, Any] = {
        "agent": {"id": "bench", "data_dir": str(options.folder / "data")},
        "backend": {"url": options.backend_url},
        "outbox": {"min_free_disk": 0},
        "web": {"enabled": False},
        "vision": {"device": options.device, "input": options.detail, "cache": str(options.folder / "cache")},
        "cameras": [
            {
                "id": name,
                "source": source,
                "gate": {"id": name},
                "fps": options.fps,
                "action": "auto",
                # The same vehicles come again with every round of the clip, and each is to be reported.
                "repeat_after": 0,
            }
            for name, source in zip(names, sources, strict=True)
        ],
    }
    return config_from(values)


class Streams:
    """Opens the cameras of a measurement and keeps what is known of each."""

    def __init__(self, options: LoadOptions, camera_ids: Sequence[str]) -> None:
        self._options = options
        self._places = {camera_id: place for place, camera_id in enumerate(camera_ids)}
        self._clips: dict[str, LoopedClip] = {}

    def open(self, settings: CameraSettings, history: ConnectionHistory) -> FrameSource:
        """The source of one camera, for its `CameraReader`."""
        if self._options.sources:
            return open_source(settings, history)
        # Spread over ten seconds of the clip: decoding up to a place in it takes time of its own.
        spread = round(10 * self._options.stream_fps * self._places[settings.camera_id] / len(self._places))
        clip = LoopedClip(self._options.clip, fps=self._options.stream_fps, skip=spread)
        self._clips[settings.camera_id] = clip
        return clip

    def clip(self, camera_id: str) -> LoopedClip | None:
        """The clip that stands for a camera; None where the camera is a real one."""
        return self._clips.get(camera_id)
