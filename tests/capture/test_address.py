"""Addresses as installers type them, and what may be said of them."""

from __future__ import annotations

import pytest

from lpr.capture.address import mask_text, mask_url, parse_address
from lpr.domain.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "user", "password", "place", "path"),
    [
        ("rtsp://192.168.1.100/stream", "", "", "192.168.1.100:554", "/stream"),
        ("rtsp://admin:secret@10.0.0.5:8554/a/b?x=1", "admin", "secret", "10.0.0.5:8554", "/a/b?x=1"),
        ("rtsp://admin:p@ss/w:1#?@cam.lan/live", "admin", "p@ss/w:1#?", "cam.lan:554", "/live"),
        ("RTSP://admin:a%40b%20c@cam/live", "admin", "a@b c", "cam:554", "/live"),
        ("rtsp://an:mật khẩu@cam/live", "an", "mật khẩu", "cam:554", "/live"),
        ("rtsp://viewer@cam/live", "viewer", "", "cam:554", "/live"),
        ("rtsp://cam:554/live/ch@0", "", "", "cam:554", "/live/ch@0"),
        ("rtsp://cam", "", "", "cam:554", ""),
        ("rtsp://[fe80::1]:554/live", "", "", "[fe80::1]:554", "/live"),
        ("http://cam/mjpg", "", "", "cam:80", "/mjpg"),
        ("rtsps://cam/live", "", "", "cam:322", "/live"),
    ],
)
def test_an_address_is_taken_apart(text: str, user: str, password: str, place: str, path: str) -> None:
    address = parse_address(text)
    assert (address.user, address.password, address.place, address.path) == (user, password, place, path)


@pytest.mark.parametrize("text", ["", "rtsp://", "rtsp:/cam/live", "cam/live", "rtsp://cam:99999/x", "rtsp://cam:0/x"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_address(text)


def test_the_decoder_gets_secrets_in_a_form_that_every_sign_survives() -> None:
    address = parse_address("rtsp://an:p@ss/w:1 #é@cam/live")
    assert address.url == "rtsp://an:p%40ss%2Fw%3A1%20%23%C3%A9@cam:554/live"
    assert parse_address(address.url) == address
    assert address.bare == "rtsp://cam:554/live"


SECRETS = ["s3cr3t", "p@s3cr3t", "s3cr3t/x@y", "s3cr3t#1", "a:s3cr3t", "s3cr3t?x=1"]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("form", ["rtsp://admin:{}@10.0.0.5:554/live", "rtsp://admin:{}@cam", "ftp://admin:{}@cam/x"])
def test_no_password_is_shown_whatever_signs_it_holds(secret: str, form: str) -> None:
    text = form.format(secret)
    shown = mask_url(text)
    assert "s3cr3t" not in shown
    assert "***" in shown
    if text.startswith("rtsp"):
        address = parse_address(text)
        assert "s3cr3t" not in address.masked + repr(address)
        assert shown.startswith("rtsp://admin:***@")


def test_secrets_among_the_parameters_are_hidden_and_the_rest_is_kept() -> None:
    shown = mask_url("http://cam/snap.cgi?channel=1&user=an&password=s3cr3t&token=t0k3n&size=big")
    assert shown == "http://cam/snap.cgi?channel=1&user=***&password=***&token=***&size=big"


def test_addresses_inside_a_message_are_masked() -> None:
    said = "[tcp @ 0x5] Connection to rtsp://an:s3cr3t@cam:554/live failed: Connection refused"
    assert mask_text(said) == "[tcp @ 0x5] Connection to rtsp://an:***@cam:554/live failed: Connection refused"
