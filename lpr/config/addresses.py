"""Addresses of cameras and back-ends and paths of files: what they must look like, and how they are shown."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlsplit

from pydantic import BeforeValidator, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from lpr.domain.address import SourceKind, check_host, has_certain_host, parse_source
from lpr.domain.secrets import mask_secrets

_VARIABLE = re.compile(r"\$\{?(\w+)\}?")


class SourceAddress:
    """Where a camera's pictures come from: `rtsp://…`, `usb:0`, a video file, a folder of images.

    `reveal()` gives the address as written, password included; `str()` and `repr()` mask it, so that no log or error
    can leak it by accident. Raises `ValueError` where it is none.
    """

    __slots__ = ("_source", "_written")

    def __init__(self, address: str) -> None:
        self._written = address
        self._source = parse_source(address)

    def reveal(self) -> str:
        """The address with its password: for opening the source and nothing else."""
        return self._written

    @property
    def kind(self) -> SourceKind:
        """A camera on the network or on USB, or files."""
        return self._source.kind

    @property
    def secrets(self) -> tuple[str, ...]:
        """The password in the address, in every form in which it may be seen; empty where there is none."""
        stream = self._source.stream
        if stream is None or not stream.password:
            return ()
        return tuple(dict.fromkeys((stream.written_password, stream.password, quote(stream.password, safe=""))))

    @property
    def may_hide_login(self) -> bool:
        """Whether this is read as an address without a login, and may have been meant as one with it."""
        stream = self._source.stream
        without = stream is not None and not stream.user and not stream.password and "@" in stream.path
        return without and not has_certain_host(self._written)

    @property
    def host(self) -> str:
        """The camera's host name or address; empty for USB cameras and files."""
        return self._source.host

    def __str__(self) -> str:
        stream = self._source.stream
        return stream.masked if stream else mask_secrets(self._written)

    def __repr__(self) -> str:
        return f"SourceAddress({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SourceAddress) and other.reveal() == self._written

    def __hash__(self) -> int:
        return hash(self._written)

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
    source = SourceAddress(value.strip() if isinstance(value, str) else "")
    if source.kind is SourceKind.FILES:
        return SourceAddress(str(_located(Path(source.reveal()).expanduser(), info.context)))
    return source


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
    check_host(parts.hostname)
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
