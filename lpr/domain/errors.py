"""Every error a person may see, as one tree.

    LprError
    ├── ConfigError      the configuration, a file or an argument is wrong: nothing was started
    ├── CaptureError     a camera or file cannot be opened or read
    │   ├── CaptureRefusedError   the camera refuses this user name or password
    │   └── CaptureResizedError   its pictures have another size than before: it has to be opened anew
    ├── VisionError      a network, its device or an inference failed
    │   └── DeviceNotFoundError   the inference device asked for is not in this machine
    ├── ImageError       a picture cannot be encoded or decoded
    ├── OutboxError      the disk queue cannot be opened, written or read
    │   ├── OutboxLockedError     another agent holds the data directory
    │   └── OutboxFullError       no room: neither in the queue's bounds nor on the disk
    ├── LinkError        the back-end cannot be reached, refuses us, or speaks something else
    │   ├── LinkBusyError         it, or a proxy before it, wants to be asked again after some time
    │   ├── LinkRefusedError      it answered, and said no (token, namespace)
    │   │   ├── LinkNotReadyError     for a reason of its own, which may pass
    │   │   └── LinkUntrustedError    we say no: its certificate, or our own TLS files, are not right
    │   └── ProtocolError         what it sent is not what the contract says
    ├── WebError         the local page cannot be served
    └── BackendError     the small back-end cannot listen, start or keep what it got

"No plate seen" is a result and never an error. Foreign exceptions are translated into these once, at the border where
they arise.
"""

import os


class LprError(Exception):
    """What failed, on what, and what the operator can do about it.

    `str(error)` is one or two plain sentences without secrets; `hint` is the remedy, shown on a line of its own.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigError(LprError):
    """The configuration, a file or an argument is wrong. Exit code 2."""


class CaptureError(LprError):
    """A camera, clip or picture cannot be opened or read."""


class CaptureRefusedError(CaptureError):
    """The camera answered and refuses this user name or password: each further try may lock the account."""


class CaptureResizedError(CaptureError):
    """A stream's pictures have another size than when it was opened: nothing is lost, but it has to be opened anew."""


class VisionError(LprError):
    """A network cannot be loaded, or an inference failed."""


class DeviceNotFoundError(VisionError):
    """The inference device that was asked for is not in this machine; the message lists those that are."""


class ImageError(LprError):
    """A picture cannot be encoded or decoded."""


class OutboxError(LprError):
    """The disk queue cannot be opened, written or read."""

    event_id: str | None = None
    """Of the event that could not be written, where it is delivered all the same, from memory say."""


class OutboxLockedError(OutboxError):
    """Another agent holds the data directory."""


class OutboxFullError(OutboxError):
    """Neither the queue's bounds nor the disk leave room for this event."""


class LinkError(LprError):
    """The back-end cannot be reached or the connection was lost."""


class LinkBusyError(LinkError):
    """The back-end, or a proxy before it, wants to be asked again after `after_s` seconds."""

    def __init__(self, message: str, *, hint: str | None = None, after_s: float) -> None:
        super().__init__(message, hint=hint)
        self.after_s = after_s


class LinkRefusedError(LinkError):
    """The back-end answered and said no: token or namespace."""


class LinkNotReadyError(LinkRefusedError):
    """It said no for a reason that may pass by itself: a database that is away, a namespace that is not there yet."""


class LinkUntrustedError(LinkRefusedError):
    """We said no, before it was asked for anything: its certificate is not trusted, or a TLS file of ours is broken."""


class ProtocolError(LinkError):
    """What the other side sent is not what the contract says; the message names the field and what it must be."""


class WebError(LprError):
    """The local page cannot be served."""


class BackendError(LprError):
    """The small back-end (`lpr-agent backend`, demo, bench) cannot listen, start or keep what it got."""


def reason_of(error: OSError) -> str:
    """The system's words alone: asyncio puts a sentence of its own around them, with the address once more."""
    return os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
