"""What a camera's `source` may be, what its parts are, and how to speak of it without its password.

rtsp://user:password@host:554/path   rtsps, http and https alike
usb:0   usb:/dev/v4l/by-id/…
a path of a video file, a picture or a folder of either
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

from lpr.domain.secrets import MASK, mask_secrets

DEFAULT_PORTS: Final = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
EXAMPLE: Final = "rtsp://user:password@192.168.1.100:554/stream"

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_PLACE = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:/?#@\[\]\s]+)(?::(?P<port>\d*))?(?P<path>[/?].*)?", re.DOTALL)
_LOGIN = re.compile(r"(?P<user>[^:@/]*)(?::(?P<password>.*))?", re.DOTALL)
_USB = re.compile(r"usb:(?:(?P<number>\d{1,3})|(?P<device>/dev/\S+))")
_BARE_ADDRESS = re.compile(r"(?:[^/\s]*@)?(?:\d{1,3}\.){3}\d{1,3}(?::\d+)?(?:/.*)?", re.DOTALL)
_CERTAIN_HOST = re.compile(r"localhost|\[.*\]|.*\..*")


class SourceKind(StrEnum):
    """Where pictures come from."""

    NETWORK = "network"
    USB = "usb"
    FILES = "files"


@dataclass(frozen=True, slots=True)
class StreamAddress:
    """Where a network camera is; user name and password are decoded, `path` begins with `/` or `?` or is empty.

    `written_password` is the password as it stands in the address; `masked` is the address for people.
    """

    scheme: str
    host: str
    port: int
    path: str = field(repr=False)
    user: str
    password: str = field(repr=False)
    written_password: str = field(repr=False, compare=False)
    masked: str = field(compare=False)

    @property
    def url(self) -> str:
        """The whole address with its secrets, for the decoder alone."""
        secret = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}@" if self.user or self.password else ""
        return f"{self.scheme}://{secret}{self.place}{self.path}"

    @property
    def bare(self) -> str:
        """The address without user name and password, as a request line carries it."""
        return f"{self.scheme}://{self.place}{self.path}"

    @property
    def place(self) -> str:
        """`host:port`."""
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Source:
    """What a source text names; `description` is free of secrets.

    `stream` is there for a network camera, `device` for one on USB, neither for files.
    """

    kind: SourceKind
    description: str
    stream: StreamAddress | None = None
    device: Path | None = None

    @property
    def live(self) -> bool:
        """Whether it is a camera, whose end is a fault; files end by themselves."""
        return self.kind is not SourceKind.FILES

    @property
    def host(self) -> str:
        """A network camera's host name or address; empty for the others."""
        return self.stream.host.strip("[]") if self.stream else ""


def parse_source(text: str) -> Source:
    """Read a source text without touching a disk or a network.

    Raises `ValueError`, whose words go on a sentence that begins with what was read ("… has the port 0: …"); they hold
    no secret.
    """
    text = text.strip()
    if not text:
        raise ValueError(f"must be an address such as {EXAMPLE}, usb:0, or the path of a clip or a folder")
    scheme = _SCHEME.match(text)
    if scheme:
        if scheme[1].lower() not in DEFAULT_PORTS:
            known = ", ".join(DEFAULT_PORTS)
            raise ValueError(f"begins with {scheme[1].lower()}://, which is not read here: use one of {known}")
        stream = parse_address(text)
        return Source(SourceKind.NETWORK, stream.masked, stream=stream)
    if re.match(r"(rtsps?|rtmp|https?):", text, re.IGNORECASE):
        raise ValueError("is an address without its two slashes: write rtsp://…")
    if _BARE_ADDRESS.fullmatch(text):
        raise ValueError(f"is an address without rtsp:// before it: write it as {EXAMPLE}")
    if text.startswith("usb:"):
        device = usb_device(text)
        return Source(SourceKind.USB, f"USB camera {device}", device=device)
    return Source(SourceKind.FILES, text)


def usb_device(text: str) -> Path:
    """The device of `usb:0` or `usb:/dev/…`. Raises `ValueError`."""
    found = _USB.fullmatch(text)
    if found is None:
        raise ValueError("must be usb: with a number or a device, such as usb:0 or usb:/dev/v4l/by-id/…")
    return Path(found["device"] or f"/dev/video{int(found['number'])}")


def parse_address(text: str) -> StreamAddress:
    """Take a network camera's address apart; a password may hold any sign as it is. Raises `ValueError` (see above)."""
    text = text.strip()
    scheme, slashes, rest = text.partition("://")
    scheme = scheme.lower()
    if not slashes or scheme not in DEFAULT_PORTS:
        raise ValueError(f"is no camera address: write it as {EXAMPLE}")
    login, place = _split(rest)
    found = _PLACE.fullmatch(place)
    if found is None:
        signs = "; in user name and password write @ as %40, / as %2F, : as %3A, # as %23" if "@" in rest else ""
        raise ValueError(f"is no camera address: write it as {EXAMPLE.replace('rtsp', scheme)}{signs}")
    host, path = found["host"], found["path"] or ""
    check_host(host)
    port = int(found["port"] or 0) if found["port"] is not None else DEFAULT_PORTS[scheme]
    if not 0 < port < 65536:
        raise ValueError(f"has the port {port}: the port must be 1 to 65535")
    who = _LOGIN.fullmatch(login) if login is not None else None
    user, written = (who["user"], who["password"] or "") if who else ("", "")
    return StreamAddress(
        scheme=scheme,
        host=host,
        port=port,
        path=path,
        user=unquote(user),
        password=unquote(written),
        written_password=written,
        masked=_masked(scheme, who, place),
    )


def has_certain_host(text: str) -> bool:
    """Whether the host in a network camera's address is certainly one: four numbers, a name with a dot in it."""
    try:
        return _CERTAIN_HOST.fullmatch(parse_address(text).host) is not None
    except ValueError:
        return False


def has_path(text: str) -> bool:
    """Whether a network camera's address goes on after host and port."""
    try:
        return parse_address(text).path != ""
    except ValueError:
        return False


def mask_address(text: str) -> str:
    """A source text, right or wrong, with its password hidden."""
    text = text.strip()
    scheme, slashes, rest = text.partition("://")
    if not slashes:
        return mask_secrets(text)
    try:
        return parse_address(text).masked
    except ValueError:
        # Not readable as an address, so no way to know where the password ends: all before the last `@` may be it.
        _, at, place = rest.rpartition("@")
        return mask_secrets(f"{scheme}://{MASK}@{place}" if at else text)


def _split(rest: str) -> tuple[str | None, str]:
    """Login and place of what follows `scheme://`; the login is None where there is none.

    Installers type passwords with `@`, `/` and `:` in them as they are, and paths may hold an `@` too, so several
    readings fit. A host that is certainly one (an address, a name with a dot) decides; then the last `@` does, for
    taking too much for the password shows nothing of it, and taking too little would.
    """
    readings = [
        (rest[:at], rest[at + 1 :])
        for at, sign in enumerate(rest)
        if sign == "@" and _LOGIN.fullmatch(rest[:at]) and _PLACE.fullmatch(rest[at + 1 :])
    ]
    certain = [reading for reading in readings if _CERTAIN_HOST.fullmatch(_host(reading[1]))]
    # `cam:554/live/ch@0` and `10.0.0.5:554/live/an@10.0.0.6` have no login: what stands first is host and port.
    if re.match(r"[\d.]+:\d+[/?]" if certain else r"[^:@/]*:\d{1,5}[/?]", rest):
        return None, rest
    best = certain or readings
    return best[-1] if best else (None, rest)


def _host(place: str) -> str:
    found = _PLACE.fullmatch(place)
    return found["host"] if found else ""


def _masked(scheme: str, who: re.Match[str] | None, place: str) -> str:
    # The password goes first: `mask_secrets` takes a space for the end of an address.
    hidden = "" if who is None else f"{who['user']}@" if who["password"] is None else f"{who['user']}:{MASK}@"
    return mask_secrets(f"{scheme}://{hidden}{place}")


def check_host(host: str) -> None:
    """Whether this can be a host's name or address. Raises `ValueError` (see `parse_source`)."""
    numbers = host.split(".")
    if re.fullmatch(r"[\d.]+", host) and not (
        len(numbers) == 4 and all(number.isdigit() and int(number) <= 255 for number in numbers)
    ):
        raise ValueError(f"is no address: {host} is neither a host name nor four numbers of 0 to 255")
    if not re.fullmatch(r"[\w.:%\[\]-]+", host):
        raise ValueError("is no address: this is no host name")
