"""Sources as installers type them, and what may be said of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lpr.domain.address import SourceKind, mask_address, parse_address, parse_source


@pytest.mark.parametrize(
    ("text", "user", "password", "place", "path"),
    [
        ("rtsp://192.168.1.100/stream", "", "", "192.168.1.100:554", "/stream"),
        ("rtsp://admin:secret@10.0.0.5:8554/a/b?x=1", "admin", "secret", "10.0.0.5:8554", "/a/b?x=1"),
        ("rtsp://admin:p@ss/w:1#?@cam.lan/live", "admin", "p@ss/w:1#?", "cam.lan:554", "/live"),
        ("rtsp://admin:p@ss/w:1#?@cam/live", "admin", "p@ss/w:1#?", "cam:554", "/live"),
        ("rtsp://admin:123/45@10.0.0.5/live", "admin", "123/45", "10.0.0.5:554", "/live"),
        ("RTSP://admin:a%40b%20c@cam/live", "admin", "a@b c", "cam:554", "/live"),
        ("rtsp://an:mật khẩu@cam/live", "an", "mật khẩu", "cam:554", "/live"),
        ("rtsp://viewer@cam/live", "viewer", "", "cam:554", "/live"),
        ("rtsp://an.nguyen:12/x@10.0.0.5/live", "an.nguyen", "12/x", "10.0.0.5:554", "/live"),
        ("rtsp://cam:554/live/ch@0", "", "", "cam:554", "/live/ch@0"),
        ("rtsp://10.0.0.5:554/live/ch@10.0.0.6", "", "", "10.0.0.5:554", "/live/ch@10.0.0.6"),
        ("rtsp://an:secret@10.0.0.5/live/ch@0", "an", "secret", "10.0.0.5:554", "/live/ch@0"),
        ("rtsp://cam", "", "", "cam:554", ""),
        ("rtsp://[fe80::1]:554/live", "", "", "[fe80::1]:554", "/live"),
        ("http://cam/mjpg", "", "", "cam:80", "/mjpg"),
        ("rtsps://cam/live", "", "", "cam:322", "/live"),
    ],
)
def test_an_address_is_taken_apart(text: str, user: str, password: str, place: str, path: str) -> None:
    address = parse_address(text)
    assert (address.user, address.password, address.place, address.path) == (user, password, place, path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must be an address"),
        ("rtsp://", "write it as rtsp://user"),
        ("rtsp://cam:/x", "the port must be 1 to 65535"),
        ("rtsp:/cam/live", "without its two slashes"),
        ("rtsp://cam:99999/x", "has the port 99999"),
        ("rtsp://cam:0/x", "has the port 0"),
        ("rtsp://192.168.1.256/x", "neither a host name nor four numbers"),
        ("rtsp://cám<>/x", "no host name"),
        ("ftp://an:s3cr3t@cam/x", "begins with ftp://"),
        ("192.168.1.100", "without rtsp:// before it"),
        ("192.168.1.100:554/stream", "without rtsp:// before it"),
        ("admin:s3cr3t@192.168.1.100/stream", "without rtsp:// before it"),
        ("usb:", "with a number or a device"),
        ("usb:front", "with a number or a device"),
    ],
)
def test_what_is_no_source_is_refused_in_words_without_secrets(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)) as raised:
        parse_source(text)
    assert "s3cr3t" not in str(raised.value)


def test_the_decoder_gets_secrets_in_a_form_that_every_sign_survives() -> None:
    address = parse_address("rtsp://an:p@ss/w:1 #é@cam/live")
    assert address.url == "rtsp://an:p%40ss%2Fw%3A1%20%23%C3%A9@cam:554/live"
    assert parse_address(address.url) == address
    assert address.bare == "rtsp://cam:554/live"


SECRETS = ["s3cr3t", "p@s3cr3t", "s3cr3t/x@y", "s3cr3t#1", "a:s3cr3t", "s3cr3t?x=1", "1/s3cr3t", "x@10.0.0.9/s3cr3t"]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("form", ["rtsp://admin:{}@10.0.0.5:554/live", "rtsp://admin:{}@cam", "ftp://admin:{}@cam/x"])
def test_no_password_is_shown_whatever_signs_it_holds(secret: str, form: str) -> None:
    text = form.format(secret)
    shown = mask_address(text)
    assert "s3cr3t" not in shown
    assert "***" in shown
    if text.startswith("rtsp"):
        address = parse_address(text)
        assert "s3cr3t" not in address.masked + repr(address)
        assert shown == address.masked


def test_secrets_among_the_parameters_are_hidden_and_the_rest_is_kept() -> None:
    shown = mask_address("http://cam/snap.cgi?channel=1&user=an&password=s3cr3t&authkey=t0k3n&size=big")
    assert shown == "http://cam/snap.cgi?channel=1&user=an&password=***&authkey=***&size=big"


@pytest.mark.parametrize(
    ("text", "kind", "description", "device"),
    [
        ("rtsp://an:secret@cam.lan/live", SourceKind.NETWORK, "rtsp://an:***@cam.lan/live", None),
        ("usb:3", SourceKind.USB, "USB camera /dev/video3", Path("/dev/video3")),
        ("usb:/dev/v4l/by-id/a", SourceKind.USB, "USB camera /dev/v4l/by-id/a", Path("/dev/v4l/by-id/a")),
        ("clips/cổng.mp4", SourceKind.FILES, "clips/cổng.mp4", None),
    ],
)
def test_a_source_is_known_by_its_text(text: str, kind: SourceKind, description: str, device: Path | None) -> None:
    source = parse_source(text)
    assert (source.kind, source.description, source.device) == (kind, description, device)
    assert source.live is (kind is not SourceKind.FILES)
