"""Addresses of cameras and back-ends and paths of files: what they must look like, and how they are shown."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

from pydantic import BeforeValidator, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from lpr.domain.secrets import MASK, mask_secrets

STREAM_SCHEMES = ("rtsp", "rtsps", "http", "https")

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
# Installers paste passwords that hold @ # / or ? as they are. What the camera is told is quoted later; here the
# password ends at the first @ behind which a host stands that the end, a port or a path follows.
_STREAM = re.compile(
    r"""(?P<scheme>\w+)://(?:(?P<user>[^:@/]*)(?::(?P<password>.*?))?@)?
        (?P<host>\[[0-9A-Fa-f:.]+\]|[^:/?#@\[\]\s]+)(?::(?P<port>\d*))?(?P<path>[/?].*)?""",
    re.VERBOSE,
)
_USB = re.compile(r"usb:(\d{1,3}|/dev/\S+)")
_VARIABLE = re.compile(r"\$\{?(\w+)\}?")


class SourceAddress:
    """Where a camera's pictures come from: `rtsp://…`, `usb:0`, a video file, a folder of images.

    `reveal()` gives the address as written, password included; `str()` and `repr()` mask it, so that no log or error
    can leak it by accident.
    """

    __slots__ = ("_address",)

    def __init__(self, address: str) -> None:
        self._address = address

    def reveal(self) -> str:
        """The address with its password: for opening the source and nothing else."""
        return self._address

    @property
    def secrets(self) -> tuple[str, ...]:
        """The password in the address, as written and decoded; empty where there is none."""
        found = _STREAM.fullmatch(self._address)
        written = found["password"] if found else None
        return tuple(dict.fromkeys((written, unquote(written)))) if written else ()

    @property
    def host(self) -> str:
        """The camera's host name or address; empty for USB cameras and files."""
        found = _STREAM.fullmatch(self._address)
        return found["host"].strip("[]") if found else ""

    @property
    def is_live(self) -> bool:
        """Whether this is a camera (an end of stream is a fault) and not a file or folder (an end is the end)."""
        return "://" in self._address or self._address.startswith("usb:")

    def __str__(self) -> str:
        found = _STREAM.fullmatch(self._address)
        if found is None or found["password"] is None:
            return mask_secrets(self._address)
        return self._address[: found.start("password")] + MASK + mask_secrets(self._address[found.end("password") :])

    def __repr__(self) -> str:
        return f"SourceAddress({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SourceAddress) and other.reveal() == self._address

    def __hash__(self) -> int:
        return hash(self._address)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        masked = core_schema.plain_serializer_function_ser_schema(str, when_used="json")
        return core_schema.with_info_plain_validator_function(_source, serialization=masked)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "minLength": 1}


def _source(value: object, info: core_schema.ValidationInfo) -> SourceAddress:
    if isinstance(value, SourceAddress):
        return value
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be an address such as rtsp://user:password@192.168.1.100:554/stream, usb:0, or a file")
    address = value.strip()
    scheme = _SCHEME.match(address)
    if scheme:
        _check_stream(address, scheme[1].lower())
    elif address.startswith("usb:"):
        if not _USB.fullmatch(address):
            raise ValueError("must be usb: with a number or a device, such as usb:0 or usb:/dev/v4l/by-id/…")
    elif re.match(r"(rtsps?|rtmp|https?):", address, re.IGNORECASE):
        raise ValueError("is an address without its two slashes: write rtsp://…")
    else:
        address = str(_located(Path(address).expanduser(), info.context))
    return SourceAddress(address)


def _check_stream(address: str, scheme: str) -> None:
    if scheme not in STREAM_SCHEMES:
        raise ValueError(f"begins with {scheme}://, which no camera speaks: use one of {', '.join(STREAM_SCHEMES)}")
    found = _STREAM.fullmatch(address)
    if found is None:
        raise ValueError(f"is no address: write it as {scheme}://user:password@192.168.1.100:554/stream")
    _check_host(found["host"])
    if found["port"] is not None and not 0 < int(found["port"] or 0) < 65536:
        raise ValueError("is no address: the port must be 1 to 65535")


def _check_host(host: str) -> None:
    if re.fullmatch(r"[\d.]+", host) and not _is_ipv4(host):
        raise ValueError(f"is no address: {host} is neither a host name nor four numbers of 0 to 255")
    if not re.fullmatch(r"[\w.:%\[\]-]+", host):
        raise ValueError("is no address: this is no host name")


def _is_ipv4(host: str) -> bool:
    numbers = host.split(".")
    return len(numbers) == 4 and all(number.isdigit() and int(number) <= 255 for number in numbers)


def _backend_url(value: object) -> object:
    if not isinstance(value, str):
        return value
    url = value.strip()
    if not re.match(r"https?://", url, re.IGNORECASE):
        raise ValueError("must begin with https:// (or http:// on the same machine), such as https://api.example.vn")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("is no address: host or port cannot be read, as in http://localhost:3001") from None
    if not parts.hostname or port == 0:
        raise ValueError("is no address: host or port is missing, as in http://localhost:3001")
    _check_host(parts.hostname)
    if parts.username or parts.password:
        raise ValueError("must not hold a user or password: the token belongs into backend.token_file")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError("must end after host and port: the namespace belongs into backend.namespace")
    return url.removesuffix("/")


BackendUrl = Annotated[
    str,
    BeforeValidator(_backend_url),
    WithJsonSchema({"type": "string", "format": "uri", "pattern": "^https?://[^/]+/?$"}),
]
"""`https://host[:port]` without a path."""


def _located(path: Path, context: Any) -> Path:
    base = context.get("base_dir") if isinstance(context, Mapping) else None
    return path if base is None else Path(os.path.abspath(base / path))


def _path(value: object, info: ValidationInfo) -> object:
    if not isinstance(value, str):
        return value
    if not value.strip() or "\0" in value:
        raise ValueError("must be the path of a file or folder")
    environ: Mapping[str, str] = info.context.get("environ", os.environ) if info.context else os.environ

    def expanded(match: re.Match[str]) -> str:
        if match[1] not in environ:
            raise ValueError(f"uses ${match[1]}, which is not set in the environment")
        return environ[match[1]]

    return _located(Path(_VARIABLE.sub(expanded, value.strip())).expanduser(), info.context)


ConfigPath = Annotated[Path, BeforeValidator(_path), WithJsonSchema({"type": "string", "minLength": 1})]
"""A path in which `~` and `$VARIABLE` are expanded; a relative one starts at the configuration file's folder."""
