"""From what the configuration says (`rtsp://…`, `usb:0`, a path) to the source that reads it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lpr.capture.base import CameraSettings, ConnectionHistory, FrameSource
from lpr.capture.files import SequenceSource, media_files
from lpr.capture.network import NetworkSource
from lpr.capture.timing import FpsLimiter
from lpr.capture.usb import UsbSource
from lpr.capture.vaapi import VaapiSource
from lpr.domain.address import Source, mask_address, parse_source
from lpr.domain.choices import Decoder
from lpr.domain.clock import Clock
from lpr.domain.errors import CaptureError, ConfigError
from lpr.domain.frame import Frame


def describe_source(text: str) -> Source:
    """What a source text names. Raises `ConfigError` where it names nothing."""
    try:
        return parse_source(text)
    except ValueError as error:
        what = f"'{mask_address(text)}'" if text.strip() else "the camera's source"
        raise ConfigError(
            f"{what} {error}", hint="These can be read: rtsp://…, rtsps://…, http://…, https://…, usb:…, and paths."
        ) from error


def open_source(settings: CameraSettings, history: ConnectionHistory | None = None) -> FrameSource:
    """The source that `settings` name, not opened yet; `history` is what earlier connections to it have taught.

    Raises `ConfigError` where the text names none, or a file or folder that is not there.
    """
    source = describe_source(settings.source)
    if source.stream is not None:
        network = NetworkSource if settings.decoder is Decoder.SOFTWARE else VaapiSource
        return network(settings, source.stream, history or ConnectionHistory())
    if source.device is not None:
        return UsbSource(source.device)
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
