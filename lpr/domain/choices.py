"""What an installer may choose and more than one part must understand; the values are the configuration's words."""

from __future__ import annotations

from enum import StrEnum


class ImageMode(StrEnum):
    """How pictures travel: base64 text, Socket.IO attachments, or not at all (the fields are then empty text)."""

    BASE64 = "base64"
    BINARY = "binary"
    NONE = "none"


class PayloadShape(StrEnum):
    """What is emitted: the guide's whole message, or its `data` flat for handlers that read fields off the argument."""

    MESSAGE = "message"
    DATA = "data"


class RtspTransport(StrEnum):
    """How an RTSP camera sends its pictures; TCP loses none on a bad line, UDP spares old cameras."""

    TCP = "tcp"
    UDP = "udp"


class Decoder(StrEnum):
    """Who decodes a network stream. `AUTO` takes an Intel GPU where there is one and software elsewhere."""

    AUTO = "auto"
    SOFTWARE = "software"
    VAAPI = "vaapi"


class Pace(StrEnum):
    """How quickly files are played."""

    REALTIME = "realtime"
    """At the speed they were recorded with; slower where analysis does not keep up, for no frame is lost."""
    FAST = "fast"
    """As fast as they can be analysed."""


class EmitRule(StrEnum):
    """When a passage is handed on."""

    SETTLED = "settled"
    """As soon as the vote is settled: a barrier waits for it."""
    FINAL = "final"
    """When the vehicle has gone: the best picture and the last word of the vote."""
