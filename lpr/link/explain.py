"""Why a connection could not be made, in words, with what to do about it. The only place that reads foreign errors."""

from __future__ import annotations

import re
import socket
import ssl
import unicodedata
from collections.abc import Iterator, Mapping
from enum import StrEnum
from urllib.parse import urljoin, urlsplit

import aiohttp

from lpr.domain.errors import LinkBusyError, LinkError, LinkNotReadyError, LinkRefusedError, LinkUntrustedError
from lpr.link.base import LinkSettings

_MAX_SAID = 200
"""Characters quoted of what the back-end said."""

_OF_WHO_WE_ARE = re.compile(
    "token|auth|credential|password|secret|api.?key|forbidden|denied|allowed|permission|jwt|signature|unknown|agent"
    # Vietnamese, as `_plain` leaves it: prove, right, permitted, register, log in, invalid, expired, device, account
    "|xac thuc|chung thuc|xac minh|quyen|duoc phep|dang ky|dang nhap|hop le|het han|thiet bi|tai khoan|mat khau"
    "|sai (ma|khoa|thong tin|ten)|cam truy cap|tu choi truy cap|bi chan|kich hoat"
)
"""What a back-end says that does not want us. Whatever else it says may be about itself, and pass."""
_CODES_OF_WHO_WE_ARE, _CODES_THAT_PASS = (401, 403, 407), (408, 425, 429)
"""As in HTTP, where a back-end sends such a number along; so do all from 500 on pass."""
_SOME_SECONDS = re.compile(r"[0-9]{1,9}")
_NOT_THE_BACK_END = (
    "something else answers in the back-end's place: a web page under this address, the login page of this network "
    "(open it in a browser on this machine), or a proxy that does not let WebSockets through"
)
_NAME_HINT = "check backend.url, and the name server of this machine (`resolvectl query NAME`)"
_NGINX = "nginx: proxy_http_version 1.1, and the headers Upgrade and Connection"
_HTTP_HINTS: Mapping[int, str] = {
    400: f"a proxy before the back-end does not let WebSockets through ({_NGINX}); or it is no socket.io 3 or 4 "
    "with the websocket transport allowed",
    404: "there is a web server, but no socket.io under this path: check backend.url and backend.path",
    407: "a proxy of this network stands between and wants a login: let this machine reach the back-end without it",
    426: f"the proxy in front of the back-end does not let WebSockets through ({_NGINX})",
    429: "the back-end, or the proxy in front of it, limits how often one address may connect: allow this one more",
    502: "the proxy in front of the back-end cannot reach it: is the back-end running?",
    503: "the back-end is not ready, or the proxy in front of it has none to send us to",
    504: "the proxy in front of the back-end got no answer from it",
}


def explain(error: BaseException, settings: LinkSettings) -> LinkError:
    """The error in this project's own terms; the innermost cause that says something decides."""
    where = settings.url
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, aiohttp.ClientProxyConnectionError | aiohttp.ClientHttpProxyError):
            return _proxy_failed(cause, where)
    for cause in causes:
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
                    hint=_NAME_HINT,
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


class Stage(StrEnum):
    """How far an attempt to connect has come."""

    RESOLVING = "resolving"
    CONNECTING = "connecting"
    UPGRADING = "upgrading"
    JOINING = "joining"


def timed_out(stage: Stage, settings: LinkSettings) -> LinkError:
    """The time for connecting is over."""
    where, within = settings.url, f"within {settings.deadlines.connect_s:g} s"
    match stage:
        case Stage.RESOLVING:
            return LinkError(f"the name {urlsplit(where).hostname} was not resolved {within}", hint=_NAME_HINT)
        case Stage.CONNECTING:
            return LinkError(
                f"{where} does not answer {within}",
                hint="a firewall drops what is sent there, the machine is off, or (https) the port speaks no TLS",
            )
        case Stage.UPGRADING:
            return LinkError(
                f"{where} gave no answer {within}",
                hint="something accepts the connection and stays silent: is a socket.io server behind this address, "
                "and is it alive?",
            )
        case Stage.JOINING:
            return LinkError(
                f"{where} did not let us into the namespace {settings.namespace} {within}",
                hint=f'the server is there, but io.of("{settings.namespace}").use(…) is slow, or does not call next()',
            )


def sent_elsewhere(status: int, location: str, settings: LinkSettings) -> LinkError:
    """The answer is a redirection, which is not followed: who wants our token has to stand in the configuration."""
    here, there = urlsplit(settings.url), urlsplit(urljoin(settings.url, location))
    target = f"{there.scheme}://{there.netloc}"
    if there.path.strip("/") == settings.path.strip("/") and target != f"{here.scheme}://{here.netloc}":
        hint = f"if that is the back-end: backend.url: {target}"
    else:
        hint = f"{_NOT_THE_BACK_END}; or another backend.path is wanted"
    return LinkError(f"{settings.url} sends us on to {_said(target + there.path)} (HTTP {status})", hint=hint)


def too_old(settings: LinkSettings) -> LinkRefusedError:
    """The server speaks the protocol before socket.io 3, which knows no `auth` and another heartbeat."""
    return LinkRefusedError(
        f"{settings.url} speaks socket.io 2, the agent speaks 3 and 4",
        hint="bring the back-end up to date: npm install socket.io@4",
    )


def refusal(data: object, settings: LinkSettings) -> LinkRefusedError:
    """The back-end's own no to the namespace or the token. `data` is what came with it."""
    said = data.get("message") if isinstance(data, Mapping) else data
    words = _said(said if isinstance(said, str) else "")
    if words == "Invalid namespace":
        # Many a server listens at once, and calls io.of(…) when its database has answered.
        return LinkNotReadyError(
            f"{settings.url} has no namespace {settings.namespace}",
            hint="backend.namespace must be the one that the back-end serves with io.of(…)",
        )
    if words == "Unable to connect":  # what a python-socketio server says of a namespace that nobody handles
        return LinkRefusedError(
            f"{settings.url} does not take us into the namespace {settings.namespace}",
            hint="backend.namespace must be one that the back-end serves; where it does, check backend.token",
        )
    message = f"{settings.url} refused the agent: {words or 'without a reason'}"
    if _does_not_want_us(words, data.get("data") if isinstance(data, Mapping) else None):
        return LinkRefusedError(
            message,
            hint="check backend.token or token_file, and that the back-end knows this agent; a new token is tried at"
            " once",
        )
    return LinkNotReadyError(
        message,
        hint="it is asked again within half a minute; where it does not pass, look at the back-end's log and check"
        " backend.token or token_file",
    )


def _does_not_want_us(words: str, details: object) -> bool:
    """Whether a no is about this agent. `details` is what a middleware hangs on its error: a number decides; the names
    of errors are read like the words.
    """
    said = [words]
    for key in ("status", "statusCode", "code", "type", "name", "reason", "message", "content"):
        value = details.get(key) if isinstance(details, Mapping) else None
        if isinstance(value, str) and value.isdecimal() and len(value) == 3:
            value = int(value)
        if isinstance(value, int) and value in _CODES_OF_WHO_WE_ARE:
            return True
        if isinstance(value, int) and (value in _CODES_THAT_PASS or 500 <= value < 600):
            return False
        if isinstance(value, str):
            said.append(value[:_MAX_SAID])
    return any(_OF_WHO_WE_ARE.search(_plain(each)) for each in said)


def _plain(words: str) -> str:
    """In small letters, without the marks of Vietnamese: many write it without."""
    letters = unicodedata.normalize("NFD", words.lower().replace("đ", "d"))
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


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


def _proxy_failed(error: aiohttp.ClientError, where: str) -> LinkError:
    # Its address may hold a password.
    said = (
        f"it answers HTTP {error.status}" if isinstance(error, aiohttp.ClientHttpProxyError) else "it does not answer"
    )
    return LinkError(
        f"{where} cannot be reached through the proxy that HTTPS_PROXY names: {said}",
        hint="the direct way and the proxy are tried in turn; HTTPS_PROXY and NO_PROXY are those of the agent's own "
        "environment",
    )


def _closed_early(where: str) -> LinkError:
    hint = "is it a socket.io server, under this backend.path, and has the address the right scheme (http or https)?"
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
        # Asked again soon: what it does not like is a file of ours, which may be renewed at any moment, or its own.
        return LinkNotReadyError(
            f"{where} refused our side of TLS: {words}",
            hint="it may want a client certificate, or another one: backend.client_cert and client_key",
        )
    return LinkError(f"TLS with {where} failed: {words}", hint="does this port speak TLS? otherwise use http://")


def _handshake_refused(error: aiohttp.WSServerHandshakeError, where: str) -> LinkError:
    if error.status in (401, 403):
        return LinkRefusedError(
            f"{where} refused the connection (HTTP {error.status})",
            hint="a proxy or the back-end wants a token that it did not get: check backend.token or token_file",
        )
    message = f"{where} does not take a WebSocket (HTTP {error.status})"
    hint = _NOT_THE_BACK_END if error.status < 400 else _HTTP_HINTS.get(error.status, "look at the back-end's log")
    if error.status == 400:  # what nginx says of these, too
        hint += (
            "; or it wants another client certificate" if where.startswith("https") else "; or this port wants https"
        )
    after_s = _seconds(error.headers.get("Retry-After") if error.headers else None)
    if error.status in (429, 503) and after_s is not None:
        return LinkBusyError(message, hint=hint, after_s=after_s)
    return LinkError(message, hint=hint)


def _seconds(retry_after: str | None) -> float | None:
    """Of a `Retry-After` in seconds; None where it is absent or a date, whose clock need not be ours."""
    return float(retry_after) if retry_after is not None and _SOME_SECONDS.fullmatch(retry_after.strip()) else None


def _said(words: str) -> str:
    """Foreign words, on one line and bounded."""
    line = " ".join(words.split())
    return line if len(line) <= _MAX_SAID else line[: _MAX_SAID - 1] + "…"
