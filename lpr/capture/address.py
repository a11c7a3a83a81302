"""Addresses of network cameras, and how to speak of them without their passwords."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

from lpr.domain.errors import ConfigError

DEFAULT_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
MASK = "***"

# The password may hold any sign, `@` and `/` too, as installers type it: it ends at the last `@` that a host can
# follow. Taking too much for the password shows nothing of it; taking too little would. `host:554/path@2` has none.
_ADDRESS = re.compile(
    r"""^(?P<scheme>rtsps?|https?)://
        (?:(?P<user>[^:@/]*)(?::(?!\d{1,5}[/?])(?P<password>.*))?@)?
        (?P<host>\[[0-9A-Fa-f:.]+\]|[^:/?#@\[\]\s]+)
        (?::(?P<port>\d{1,5}))?
        (?P<path>[/?].*)?$""",
    re.VERBOSE | re.IGNORECASE,
)
_URL_IN_TEXT = re.compile(r"\b(?:rtsps?|https?)://[^\s'\"<>]+", re.IGNORECASE)
_SECRET_PARAMETER = re.compile(r"(?i)(?<=[?&;])([^=&;]*(?:pass|pwd|token|secret|key|auth|user)[^=&;]*)=[^&;#\s]*")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a network camera is; user name and password are decoded, `path` begins with `/` or `?` or is empty."""

    scheme: str
    host: str
    port: int
    path: str
    user: str = ""
    password: str = field(default="", repr=False)

    @property
    def url(self) -> str:
        """The whole address with its secrets, for the decoder alone."""
        secret = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}@" if self.user or self.password else ""
        return f"{self.scheme}://{secret}{self.host}:{self.port}{self.path}"

    @property
    def bare(self) -> str:
        """The address without user name and password, as a request line carries it."""
        return f"{self.scheme}://{self.host}:{self.port}{self.path}"

    @property
    def masked(self) -> str:
        """The address for people: the password, and secrets among the parameters, are hidden."""
        who = f"{self.user}:{MASK}@" if self.user or self.password else ""
        return f"{self.scheme}://{who}{self.host}:{self.port}{_mask_parameters(self.path)}"

    @property
    def place(self) -> str:
        """`host:port`."""
        return f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """Read `rtsp://user:password@host:port/path`. Raises `ConfigError`, which never repeats the password."""
    found = _ADDRESS.match(text.strip())
    if found is None:
        raise ConfigError(
            f"'{mask_url(text)}' is no camera address",
            hint="Write it as rtsp://user:password@192.168.1.100:554/stream; the camera's manual names the path.",
        )
    scheme = found["scheme"].lower()
    port = int(found["port"]) if found["port"] else DEFAULT_PORTS[scheme]
    if not 0 < port < 65536:
        raise ConfigError(f"'{mask_url(text)}' has the port {port}; a port is 1 to 65535")
    return Address(
        scheme=scheme,
        host=found["host"],
        port=port,
        path=found["path"] or "",
        user=unquote(found["user"] or ""),
        password=unquote(found["password"] or ""),
    )


def mask_url(text: str) -> str:
    """An address, right or wrong, with its password hidden."""
    found = _ADDRESS.match(text.strip())
    if found is None:
        # Not readable as an address, so no way to know where the password ends: all before the last `@` may be it.
        start, at, rest = text.rpartition("@")
        return f"{start.split('://')[0]}://{MASK}@{rest}" if at else _mask_parameters(text)
    port = f":{found['port']}" if found["port"] else ""
    who = ""
    if found["user"] is not None:
        who = f"{found['user']}:{MASK}@" if found["password"] is not None else f"{found['user']}@"
    return f"{found['scheme']}://{who}{found['host']}{port}{_mask_parameters(found['path'] or '')}"


def mask_text(text: str) -> str:
    """A message of a decoder with the passwords of every address in it hidden."""
    return _URL_IN_TEXT.sub(lambda found: mask_url(found[0]), text)


def _mask_parameters(path: str) -> str:
    return _SECRET_PARAMETER.sub(rf"\1={MASK}", path)
