"""What is said of cameras that answer wrongly, or not at all."""

from __future__ import annotations

import base64
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import cv2
import pytest

from lpr.capture.base import ConnectionHistory
from lpr.capture.network import NetworkSource, check
from lpr.capture.rtsp import greet, probe
from lpr.domain.address import parse_address
from lpr.domain.errors import CaptureError
from tests.capture.helpers import QUICK, SCENE, camera
from tests.rtsp.server import StartServer

Answer = Callable[[bytes], bytes]


@contextmanager
def server(*answers: bytes | Answer | None) -> Iterator[int]:
    """Answers the requests of every connection in turn; None is silence. Gives its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def serve(link: socket.socket) -> None:
        with link:
            for answer in answers:
                try:
                    request = link.recv(65536)
                    if answer is None:
                        over.wait(10)
                    else:
                        link.sendall(answer(request) if callable(answer) else answer)
                except OSError:
                    return

    def accept() -> None:
        while not over.is_set():
            try:
                link, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(link,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def rtsp(status: str, *headers: str, body: str = "") -> bytes:
    lines = [f"RTSP/1.0 {status}", "CSeq: 1", *headers, f"Content-Length: {len(body)}", "", body]
    return "\r\n".join(lines).encode()


def network(url: str) -> NetworkSource:
    return NetworkSource(camera(url), parse_address(url), ConnectionHistory())


def said(port: int, ask: Callable[..., None] = probe, login: str = "") -> CaptureError:
    with pytest.raises(CaptureError) as raised:
        ask(parse_address(f"rtsp://{login}127.0.0.1:{port}/live"), 0.5)
    return raised.value


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (rtsp("404 Stream Not Found"), "/live: the camera answers that it has no such stream"),
        (rtsp("401 Unauthorized", 'WWW-Authenticate: Basic realm="c"'), "asks for a user name and a password"),
        (rtsp("403 Forbidden"), "refuses"),
        (rtsp("503 Service Unavailable"), "503 Service Unavailable"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "no RTSP camera"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "SSH-2.0"),
        (None, "says nothing"),
        (lambda _request: b"", "closed the connection"),
    ],
)
def test_a_wrong_answer_is_told_in_words(answer: bytes | None, words: str) -> None:
    with server(answer) as port:
        assert words in str(said(port))


def test_a_description_ends_the_question() -> None:
    with server(rtsp("200 OK", "Content-Type: application/sdp", body="v=0\r\n" * 3000)) as port:
        probe(parse_address(f"rtsp://127.0.0.1:{port}/live"), 1.0)


def test_endless_garbage_ends_in_time() -> None:
    with server(lambda _request: b"\x80\x60" * 2_000_000) as port:
        asked_s = time.monotonic()
        said(port)
        assert time.monotonic() - asked_s < 2


def test_nobody_there_and_no_such_name_are_told_apart() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert "Connection refused" in str(said(port))
    with pytest.raises(CaptureError, match="not known to this network") as raised:
        greet(parse_address("rtsp://an:s3cr3t@no-such-camera.invalid/live"), 0.5)
    assert "s3cr3t" not in str(raised.value)


def test_a_greeting_is_content_with_any_answer_of_a_camera_and_with_no_other() -> None:
    with server(rtsp("401 Unauthorized")) as port:
        greet(parse_address(f"rtsp://127.0.0.1:{port}/live"), 0.5)
    with server(b"hello?\r\n\r\n") as port:
        assert "no RTSP camera" in str(said(port, greet))


def test_a_password_that_is_refused_is_told_without_it() -> None:
    refusal = rtsp("401 Unauthorized", 'WWW-Authenticate: Digest realm="c", nonce="n", qop="auth"')
    with server(refusal, refusal) as port:
        error = said(port, login="an:s3cr3t@")
    assert "refuses this user name or password" in str(error)
    assert "s3cr3t" not in f"{error} {error.hint}"


def test_a_refused_password_with_a_percent_sign_is_told_how_to_write_that() -> None:
    refusal = rtsp("401 Unauthorized", 'WWW-Authenticate: Basic realm="c"')
    for login, told in (("an:s3cr%41t@", True), ("an:s3cr3t@", False)):
        with server(refusal, refusal) as port:
            error = said(port, login=login)
        assert ("is written %25" in str(error.hint)) == told
        assert "s3cr" not in f"{error} {error.hint}"


@pytest.mark.parametrize(
    "challenge",
    [
        'Basic realm="c"',
        'Digest realm="c", nonce="abc"',
        'Digest realm="c", nonce="abc", qop="auth,auth-int", opaque="o"',
    ],
)
def test_a_challenge_is_answered_as_the_standard_says(challenge: str) -> None:
    heard = []

    def judge(request: bytes) -> bytes:
        heard.append(re.search(r"Authorization: (.*)\r\n", request.decode()))
        return rtsp("200 OK")

    with server(rtsp("401 Unauthorized", f"WWW-Authenticate: {challenge}"), judge) as port:
        probe(parse_address(f"rtsp://an:mật@127.0.0.1:{port}/live"), 1.0)
    assert heard[0] is not None
    header = heard[0][1]
    if challenge.startswith("Basic"):
        assert header == "Basic " + base64.b64encode("an:mật".encode()).decode()
    else:
        assert 'username="an"' in header
        assert re.search(r'response="[0-9a-f]{32}"', header)
        assert ('opaque="o"' in header) == ("opaque" in challenge)
        assert ("qop=auth" in header) == ("qop" in challenge)


@pytest.mark.rtsp
@pytest.mark.parametrize("digest", [False, True])
def test_the_real_server_takes_our_answer_to_its_challenge(rtsp: StartServer, digest: bool) -> None:
    camera_ = rtsp(login=("an", "p@ss:w/1"), digest=digest)
    check(parse_address(camera_.url()), 3.0)
    with pytest.raises(CaptureError, match="refuses this user name or password"):
        check(parse_address(camera_.url(login=("an", "other"))), 3.0)


def test_pictures_over_http_are_read_and_a_refusal_is_told() -> None:
    done, jpeg = cv2.imencode(".jpg", SCENE)
    assert done
    part = b"--b\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg) + jpeg.tobytes() + b"\r\n"
    head = b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=b\r\n\r\n"
    # The greeting connects and says nothing, so each connection gets its pictures when it asks.
    with server(lambda _request: head + part * 40) as port:
        source = network(f"http://127.0.0.1:{port}/mjpg")
        source.open()
        try:
            assert source.grab() is not None
            assert source.retrieve().shape == SCENE.shape
        finally:
            source.close()
    with server(b"HTTP/1.0 401 Unauthorized\r\n\r\n") as port:
        source = network(f"http://an:s3cr3t@127.0.0.1:{port}/mjpg")
        with pytest.raises(CaptureError, match="401 Unauthorized") as raised:
            source.open()
    assert "s3cr3t" not in str(raised.value)
    assert QUICK.open_timeout_s < 5
