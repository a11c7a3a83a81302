"""From what the configuration says (`rtsp://…`, `usb:0`, a path) to the source that reads it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from lpr.capture.address import mask_url, parse_address
from lpr.capture.base import CameraSettings, FrameSource
from lpr.capture.ffmpeg import VaapiSource
from lpr.capture.files import SequenceSource, media_files
from lpr.capture.network import NetworkSource
from lpr.capture.timing import FpsLimiter
from lpr.capture.usb import UsbSource, device_path
from lpr.domain.choices import Decoder
from lpr.domain.clock import Clock
from lpr.domain.errors import CaptureError, ConfigError
from lpr.domain.frame import Frame

_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://")


class SourceKind(StrEnum):
    """Where frames come from."""

    NETWORK = "network"
    USB = "usb"
    FILES = "files"


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What a source text names; `description` is free of secrets, `host` is '' where there is none."""

    kind: SourceKind
    description: str
    host: str = ""

    @property
    def live(self) -> bool:
        """Whether it is a camera; files end by themselves."""
        return self.kind is not SourceKind.FILES


def describe_source(text: str) -> SourceInfo:
    """Read a source text without touching a disk or a network. Raises `ConfigError` where it names none."""
    text = text.strip()
    if not text:
        raise ConfigError("the camera's source is empty", hint="rtsp://…, usb:0, or the path of a clip or a folder.")
    if text.lower().startswith(("rtsp://", "rtsps://", "http://", "https://")):
        address = parse_address(text)
        return SourceInfo(SourceKind.NETWORK, address.masked, address.host)
    if text.startswith("usb:"):
        return SourceInfo(SourceKind.USB, f"USB camera {device_path(text)}")
    if _SCHEME.match(text):
        raise ConfigError(
            f"'{mask_url(text)}' is of a kind that cannot be read",
            hint="These can: rtsp://…, rtsps://…, http://…, https://…, usb:…, and paths.",
        )
    return SourceInfo(SourceKind.FILES, text)


def open_source(settings: CameraSettings, tries: int = 0) -> FrameSource:
    """The source that `settings` name, not opened yet; `tries` says how often in a row it gave no picture.

    Raises `ConfigError` where the text names none, or a file or folder that is not there.
    """
    info = describe_source(settings.source)
    if info.kind is SourceKind.NETWORK:
        network = NetworkSource if settings.decoder is Decoder.SOFTWARE else VaapiSource
        return network(settings, patient=tries % 2 == 1)
    if info.kind is SourceKind.USB:
        return UsbSource(settings.source.strip())
    path = Path(settings.source.strip()).expanduser()
    return SequenceSource(media_files(path), str(path), picture_s=1 / settings.fps, repeat=settings.repeat)


def frames_of(settings: CameraSettings, clock: Clock) -> Iterator[Frame | CaptureError]:
    """The frames of files as fast as they are taken, `fps` of each second; in between, an error for each broken file.

    Times are the files' own, laid from this moment. For the command line and benches; a camera has its `CameraReader`.
    Raises `ConfigError` where there is no such file, `CaptureError` where a camera's stream is named and fails.
    """
    source = open_source(settings)
    limiter = FpsLimiter(settings.fps)
    started = clock.now()
    number = 0
    try:
        source.open()
        while True:
            try:
                position_s = source.grab()
                if position_s is None:
                    return
                if limiter.due(position_s):
                    yield Frame(settings.camera_id, number, source.retrieve(), started.plus(position_s))
                number += 1
            except CaptureError as error:
                if source.live:
                    raise
                yield error
    finally:
        source.close()
