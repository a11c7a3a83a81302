"""A clip that a person names for a command to play."""

from __future__ import annotations

from pathlib import Path

from lpr import logging
from lpr.capture.base import CameraSettings
from lpr.capture.decoder_log import DecoderMessages
from lpr.capture.source import frames_of
from lpr.domain.clock import SystemClock
from lpr.domain.errors import CaptureError, ConfigError


def check_clip(clip: Path) -> None:
    """Whether it can be read, before anything is started: else it would be a camera that shows nothing.

    Raises `ConfigError`.
    """
    logging.quiet()  # what the decoder says of a broken file is for a log, and none is set up yet
    with DecoderMessages():
        first = next(frames_of(CameraSettings(camera_id="clip", source=str(clip)), SystemClock()), None)
    if first is None or isinstance(first, CaptureError):
        raise ConfigError(f"--clip: {first.message if first else f'{clip} holds no picture'}")
