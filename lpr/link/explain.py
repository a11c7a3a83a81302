"""Why a connection could not be made, in words, with what to do about it. The only place that reads foreign errors."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

import aiohttp

from lpr.domain.errors import LinkError, LinkRefusedError, LinkUntrustedError
from lpr.link.base import LinkSettings

_MAX_SAID = 200
"""Characters quoted of what the back-end said."""

_HTTP_HINTS: Mapping[int, str] = {
    400: "the server does not take a WebSocket here; is it socket.io 3 or 4, with the websocket transport allowed?",
    404: "there is a web server, but no socket.io under this path: check backend.url and backend.path",
    502: "the proxy in front of the back-end cannot reach it: is the back-end running?",
    503: "the back-end is not ready, or the proxy in front of it has none to send us to",
    504: "the proxy in front of the back-end got no answer from it",
}


def explain(error: BaseException, settings: LinkSettings) -> LinkError:
    """The error in this project's own terms; the innermost cause that says something decides."""
    where = settings.url
    for cause in _causes(error):
        match cause:
            case ssl.SSLCertVerificationError():
                return _bad_certificate(cause, where)
            case ssl.SSLError():
                return _tls_failed(cause, where)
            case aiohttp.WSServerHandshakeError():
                return _handshake_refused(cause, where)
            case aiohttp.InvalidURL():
                return LinkError(f"{where} is no address", hint="backend.url must look like https://api.example.vn")
            case socket.gaierror() | aiohttp.ClientConnectorDNSError():
                return LinkError(
                    f"the name {urlsplit(where).hostname} cannot be resolved",
                    hint="check backend.url, and the name server of this machine (`resolvectl query NAME`)",
                )
            case ConnectionRefusedError():
                return LinkError(
                    f"nobody listens at {where}", hint="is the back-end running, and are host and port right?"
                )
            case aiohttp.ServerDisconnectedError() | ConnectionResetError():
                return _closed_early(where)
            case _:
                continue
    return LinkError(
        f"{where} cannot be reached: {_said(str(error)) or type(error).__name__}",
        hint="check the network cable, the address and the firewall; `lpr-agent check` tries each step",
    )


def refusal(data: object, settings: LinkSettings) -> LinkRefusedError:
    """The back-end's own no to the namespace or the token. `data` is what came with it."""
    said = data.get("message") if isinstance(data, Mapping) else data
    words = _said(said if isinstance(said, str) else "")
    if words == "Invalid namespace":
        return LinkRefusedError(
            f"{settings.url} has no namespace {settings.namespace}",
            hint="backend.namespace must be the one that the back-end serves with io.of(…)",
        )
    if words == "Unable to connect":  # what a python-socketio server says of a namespace that nobody handles
        return LinkRefusedError(
            f"{settings.url} does not take us into the namespace {settings.namespace}",
            hint="backend.namespace must be one that the back-end serves; where it does, check backend.token",
        )
    return LinkRefusedError(
        f"{settings.url} refused the agent: {words or 'without a reason'}",
        hint="check backend.token or token_file, and that the back-end knows this agent; a new token is tried at once",
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what led to it, innermost first: the outer ones only say that it failed."""
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in chain:
        chain.append(current)
        if isinstance(current, aiohttp.ClientConnectorError | aiohttp.ClientConnectorCertificateError):
            inner = getattr(current, "os_error", None) or getattr(current, "certificate_error", None)
            if isinstance(inner, BaseException) and inner not in chain:
                chain.append(inner)
        current = current.__cause__ or current.__context__
    return reversed(chain)


def _closed_early(where: str) -> LinkError:
    hint = "is it a socket.io server, and does the address have the right scheme (http or https)?"
    if where.startswith(("https", "wss")):
        # TLS 1.3 servers say so only after the handshake, and not every library hears them out.
        hint += " It may also want a client certificate: backend.client_cert and client_key"
    return LinkError(f"{where} closed the connection during the handshake", hint=hint)


def _bad_certificate(error: ssl.SSLCertVerificationError, where: str) -> LinkError:
    return LinkUntrustedError(
        f"the certificate of {where} is not trusted: {_said(error.verify_message or str(error))}",
        hint="a back-end with its own authority needs backend.ca_file; an expired or misnamed certificate must be "
        "replaced there; check the clock of this machine as well",
    )


def _tls_failed(error: ssl.SSLError, where: str) -> LinkError:
    words = _said((error.reason or str(error)).replace("_", " ").lower())
    if "alert" in words:
        return LinkRefusedError(
            f"{where} refused our side of TLS: {words}",
            hint="it may want a client certificate: backend.client_cert and client_key",
        )
    return LinkError(f"TLS with {where} failed: {words}", hint="does this port speak TLS? otherwise use http://")


def _handshake_refused(error: aiohttp.WSServerHandshakeError, where: str) -> LinkError:
    if error.status in (401, 403):
        return LinkRefusedError(
            f"{where} refused the connection (HTTP {error.status})",
            hint="a proxy or the back-end wants a token that it did not get: check backend.token or token_file",
        )
    hint = _HTTP_HINTS.get(error.status, "look at the back-end's log")
    return LinkError(f"{where} does not take a WebSocket (HTTP {error.status})", hint=hint)


def _said(words: str) -> str:
    """Foreign words, on one line and bounded."""
    line = " ".join(words.split())
    return line if len(line) <= _MAX_SAID else line[: _MAX_SAID - 1] + "…"
