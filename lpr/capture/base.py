"""What every source of frames can do, and what a camera is told about reading its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from lpr.domain.choices import Decoder, Pace, RtspTransport
from lpr.domain.frame import Image


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureLimits:
    """How long things may take, in seconds.

    A loss is noticed after `stale_after_s` at the latest, whatever the decoder does. `open_timeout_s` and
    `read_timeout_s` are the decoder's own; a frozen stream takes it twice `read_timeout_s` to give up, which must be
    little more than `stale_after_s`, so that its thread has ended before the next one starts. A camera that answers and
    has never shown a picture is told lost after `first_picture_grace_s` and hung up on after `first_picture_within_s`:
    some send a whole picture only every ten seconds. Between tries lie up to `backoff_first_s`, then twice as long each
    time, `backoff_most_s` at most; a login that was refused is tried again after `refused_first_s` to `refused_most_s`,
    for cameras lock an account (or this machine out) after about five tries.
    """

    open_timeout_s: float = 4.0
    read_timeout_s: float = 2.0
    stale_after_s: float = 4.5
    first_picture_within_s: float = 15.0
    first_picture_grace_s: float = 10.0
    backoff_first_s: float = 1.0
    backoff_most_s: float = 30.0
    refused_first_s: float = 60.0
    refused_most_s: float = 600.0
    steady_after_s: float = 10.0
    stop_within_s: float = 5.0
    queue_length: int = 8
    abandoned_threads: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraSettings:
    """One camera or file to read.

    `source` is `rtsp://…`, `http(s)://…`, `usb:0`, `usb:/dev/v4l/by-id/…`, a video file, a picture, or a folder of
    either. `fps` is frames analysed a second, above 0. `repeat` plays files over and over (for trials that last).
    """

    camera_id: str
    source: str = field(repr=False)
    fps: float = 8.0
    transport: RtspTransport = RtspTransport.TCP
    decoder: Decoder = Decoder.AUTO
    pace: Pace = Pace.REALTIME
    repeat: bool = False
    limits: CaptureLimits = CaptureLimits()


@dataclass(slots=True)
class ConnectionHistory:
    """What the connections to one camera have taught, for the next one.

    `fruitless` is how many in a row gave no picture; `refused` whether the last one failed at the login. Of decoding on
    the GPU: `software_only` once it is given up for this camera, `hardware_failures` how often in a row it broke soon.
    `resized_to` is the size (width, height) that made us hang up, until pictures of the size that is told have come;
    `fell_when_asked` how often in a row the stream broke off right after the camera was asked for that size. `bare`
    says that what a camera writes between its single pictures is not to be heeded.
    """

    fruitless: int = 0
    refused: bool = False
    software_only: bool = False
    hardware_failures: int = 0
    resized_to: tuple[int, int] | None = None
    fell_when_asked: int = 0
    bare: bool = False


class FrameSource(Protocol):
    """A camera or file, read by one thread that may block in it.

    The thread calls `open`, then `grab` over and over with `retrieve` for the pictures it wants, then `close`; each may
    raise `CaptureError`. A live source that raised or ended is done with. A file source that raised in `grab` or
    `retrieve` names one broken picture or clip; asked again it goes on with what follows.
    """

    @property
    def live(self) -> bool:
        """Whether pictures come whether or not anyone takes them; the end of a live source is a fault."""
        ...

    @property
    def description(self) -> str:
        """What this is, for people: an address without its password, a device, a path."""
        ...

    def open(self) -> None:
        """Connect or open; blocks for `open_timeout_s` at most where the decoder can be held to it."""
        ...

    def grab(self) -> float | None:
        """Decode the next picture: its time on the source's own time line, in seconds from 0; None at the end."""
        ...

    def retrieve(self) -> Image:
        """The picture that was grabbed last."""
        ...

    def close(self) -> None:
        """Let go of everything; may be called twice, and after a failed `open`."""
        ...

    def interrupt(self) -> None:
        """Called from another thread: make a blocked call return soon, where that can be done."""
        ...
