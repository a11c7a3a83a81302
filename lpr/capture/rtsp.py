"""Asks an RTSP camera for its stream the way a decoder would, to learn what is wrong with it.

OpenCV says only that it could not open an address. This asks first: it tells a camera that is switched off from one
with another password or another path, and keeps connections that go nowhere out of native code that cannot be stopped.
"""

from __future__ import annotations

import base64
import hashlib
import re
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

from lpr.domain.address import StreamAddress
from lpr.domain.errors import CaptureError, CaptureRefusedError

_ANSWER_MAX_BYTES = 65536
_CHALLENGE_PARAMETER = re.compile(r'(\w+)\s*=\s*(?:"([^"]*)"|([^\s,]+))')


def greet(address: StreamAddress, timeout_s: float) -> None:
    """Ask for a sign of life, which costs a camera nothing: RTSP must answer, of HTTP the open port is enough.

    Blocks for about `timeout_s` at most, the resolving of a name aside. Raises `CaptureError` with what is wrong.
    """
    deadline_s = time.monotonic() + timeout_s
    with connection(address, timeout_s) as link:
        if address.scheme.startswith("rtsp"):
            answer = _ask(link, address, deadline_s, "OPTIONS", sequence=1)
            _be_rtsp(answer, address)


def probe(address: StreamAddress, timeout_s: float) -> None:
    """Returns where the camera would send its pictures; blocks and raises as `describe`."""
    describe(address, timeout_s)


def describe(address: StreamAddress, timeout_s: float) -> str:
    """Connect and ask for the stream's description (SDP); empty where the login is of a kind that we do not speak.

    Blocks for about `timeout_s` at most, the resolving of a name aside. Raises `CaptureError` with what is wrong.
    """
    deadline_s = time.monotonic() + timeout_s
    with connection(address, timeout_s) as link:
        answer = _ask(link, address, deadline_s, "DESCRIBE", sequence=1)
        if answer.status == 401 and address.user:
            authorization = _authorization(answer.challenges, address)
            if authorization is None:
                return ""  # the decoder may speak it
            answer = _ask(link, address, deadline_s, "DESCRIBE", sequence=2, authorization=authorization)
    _be_rtsp(answer, address)
    judge(answer.status, f"{answer.status} {answer.words}", address)
    return answer.body


@contextmanager
def connection(address: StreamAddress, timeout_s: float) -> Iterator[socket.socket]:
    """A connection to the camera, TLS where the scheme asks for it. Raises `CaptureError` in words for an operator."""
    try:
        plain = socket.create_connection((address.host.strip("[]"), address.port), timeout_s)
    except socket.gaierror as error:
        raise CaptureError(
            f"the name '{address.host}' of {address.masked} is not known to this network ({error.strerror})",
            hint="Write the camera's IP address, or check this machine's name server.",
        ) from error
    except TimeoutError as error:
        raise CaptureError(
            f"no answer from {address.place} within {timeout_s:g} s",
            hint="Is the camera on, its cable plugged in, and its address still this one? Try to ping it.",
        ) from error
    except OSError as error:
        raise CaptureError(
            f"{address.place} cannot be reached: {error.strerror or error}",
            hint="Is the camera on, and does its stream use this port?",
        ) from error
    with closing(plain):
        if address.scheme not in ("rtsps", "https"):
            yield plain
            return
        try:
            with unverified().wrap_socket(plain) as secured:
                yield secured
        except (ssl.SSLError, TimeoutError) as error:
            raise CaptureError(f"{address.place} does not speak TLS: {error}") from error


def unverified() -> ssl.SSLContext:
    """TLS with whatever certificate: cameras sign their own, and the decoder does not check them either."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class _Answer:
    def __init__(self, head: str) -> None:
        lines = head.split("\r\n")
        found = re.match(r"RTSP/\d\.\d (\d{3}) ?(.*)", lines[0])
        self.status = int(found[1]) if found else 0
        self.words = found[2] if found else lines[0][:60]
        self.challenges = [
            line.split(":", 1)[1].strip() for line in lines[1:] if line.lower().startswith("www-authenticate:")
        ]
        length = re.search(r"^content-length:\s*(\d{1,9})\s*$", head, re.IGNORECASE | re.MULTILINE | re.ASCII)
        self.body_bytes = min(int(length[1]), _ANSWER_MAX_BYTES) if length else 0
        self.body = ""


def _ask(
    link: socket.socket,
    address: StreamAddress,
    deadline_s: float,
    method: str,
    *,
    sequence: int,
    authorization: str | None = None,
) -> _Answer:
    request = [f"{method} {address.bare} RTSP/1.0", f"CSeq: {sequence}", "Accept: application/sdp"]
    if authorization:
        request.append(f"Authorization: {authorization}")
    received = b""
    try:
        link.sendall(("\r\n".join(request) + "\r\n\r\n").encode())
        while b"\r\n\r\n" not in received:
            received += _receive(link, deadline_s)
        head, _, body = received.partition(b"\r\n\r\n")
        answer = _Answer(head.decode("utf-8", "replace"))
        while answer.status and len(body) < answer.body_bytes:
            body += _receive(link, deadline_s)
        answer.body = body[: answer.body_bytes].decode("utf-8", "replace")
    except TimeoutError as error:
        raise CaptureError(
            f"{address.place} accepts the connection and then says nothing",
            hint="Is this its RTSP port, mostly 554? Else the camera may be starting or hanging: wait a minute, then"
            " take its power away for a moment.",
        ) from error
    except OSError as error:
        raise CaptureError(
            f"{address.place} closed the connection: {error.strerror or error}",
            hint="Does the camera allow another viewer, and is this its RTSP port?",
        ) from error
    return answer


def _receive(link: socket.socket, deadline_s: float) -> bytes:
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    link.settimeout(left_s)
    data = link.recv(8192)
    if not data:
        raise ConnectionResetError(0, "without an answer")
    return data


def _be_rtsp(answer: _Answer, address: StreamAddress) -> None:
    if answer.status == 0:
        raise CaptureError(
            f"what answers at {address.place} is no RTSP camera (it said '{answer.words}')",
            hint="The RTSP port of most cameras is 554.",
        )


def judge(status: int, words: str, address: StreamAddress) -> None:
    """What an answer's status means, in RTSP as in HTTP; `words` are the answer's own. Raises `CaptureError`."""
    if 200 <= status < 400:
        return
    if status == 401 and not address.user:
        raise CaptureRefusedError(
            f"{address.masked} asks for a user name and a password",
            hint="Write them into the address: rtsp://user:password@host/path.",
        )
    if status in (401, 403):
        decoded = address.password != address.written_password
        percent = " A % in the password that stands for itself is written %25." if decoded else ""
        raise CaptureRefusedError(
            f"{address.masked} refuses this user name or password ({words})",
            hint="Check both in the camera's own page. The agent tries again every few minutes only: cameras lock an"
            f" account after a few wrong logins.{percent}",
        )
    if status == 404:
        raise CaptureError(
            f"{address.masked}: the camera answers that it has no such stream ({words})",
            hint="The path differs between makes: /Streaming/Channels/101 for Hikvision, "
            "/cam/realmonitor?channel=1&subtype=0 for Dahua; the camera's manual or its own page names it.",
        )
    raise CaptureError(f"{address.masked} answers {words}")


def _authorization(challenges: list[str], address: StreamAddress) -> str | None:
    """The header for the best challenge that we can answer; None where we can answer none."""
    for challenge in challenges:
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "digest":
            values = {name.lower(): quoted or plain for name, quoted, plain in _CHALLENGE_PARAMETER.findall(rest)}
            if values.get("algorithm", "MD5").upper() == "MD5" and "nonce" in values:
                return _digest(values, address)
    if any(challenge.lower().startswith("basic") for challenge in challenges):
        return "Basic " + base64.b64encode(f"{address.user}:{address.password}".encode()).decode()
    return None


def _digest(values: dict[str, str], address: StreamAddress) -> str:
    realm, nonce = values.get("realm", ""), values["nonce"]
    secret = _md5(f"{address.user}:{realm}:{address.password}")
    request = _md5(f"DESCRIBE:{address.bare}")
    fields = [f'username="{address.user}"', f'realm="{realm}"', f'nonce="{nonce}"', f'uri="{address.bare}"']
    if "auth" in values.get("qop", "").split(","):
        counter, own_nonce = "00000001", _md5(f"{nonce}:{time.monotonic_ns()}")[:16]
        response = _md5(f"{secret}:{nonce}:{counter}:{own_nonce}:auth:{request}")
        fields += ["qop=auth", f"nc={counter}", f'cnonce="{own_nonce}"']
    else:
        response = _md5(f"{secret}:{nonce}:{request}")
    if "opaque" in values:
        fields.append(f'opaque="{values["opaque"]}"')
    return "Digest " + ", ".join([*fields, f'response="{response}"'])


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()  # what RFC 2617 prescribes
