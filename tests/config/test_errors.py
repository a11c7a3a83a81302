"""Mistakes in a configuration, and what a person is told of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lpr.config import load
from lpr.domain.errors import ConfigError
from tests.config.conftest import GOOD

Write = Callable[[str], Path]


def complaint(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    return str(caught.value)


def test_every_mistake_is_told_at_once_with_its_line(write: Write) -> None:
    said = complaint(
        write("""\
agent: {id: gate nuc, data_dir: /tmp}
backend:
  url: api.example.vn
  namspace: /ai
  images: bse64
cameras:
  - id: CAM_001
    source: rtsp://192.168.1.300/stream
    gate: {id: GATE_001}
    roi: [[0.1, 0.3], [0.9, 0.3]]
    fps: 80
  - id: CAM_002
    source: usb:first
    enabled: "yes"
    max_age: 3 d
outbox: {max_bytes: 2 GiX}
""")
    )
    for words in (
        "lpr-agent.yaml: 12 mistakes",
        "line 1, agent.id must be 1 to 64 of the characters",
        "line 3, backend.url must begin with https://",
        "line 4, backend.namspace is no known key; did you mean `namespace`?",
        "line 5, backend.images must be base64, binary or none, not 'bse64'; did you mean base64?",
        "line 8, cameras[0].source is no address: 192.168.1.300 is neither a host name nor",
        "line 10, cameras[0].roi must have at least 3 points, not 2",
        "line 11, cameras[0].fps must be at most 30.0, not 80",
        "line 12, cameras[1].gate is missing: the gate that it watches",
        "line 13, cameras[1].source must be usb: with a number or a device",
        "line 14, cameras[1].enabled must be true or false, not 'yes'",
        "line 15, cameras[1].max_age is no known key here; it belongs to `outbox.max_age`",
        "line 16, outbox.max_bytes must be a size such as 2 GiB, 500 MB or a number of bytes, not '2 GiX'",
    ):
        assert words in said


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("fps: 7,5", "cameras[1].fps must be a number, not '7,5'; write 7.5"),
        ("id: Cổng-2", "cameras[1].id must be 1 to 64 of the characters"),
    ],
)
def test_what_people_of_the_country_write_is_answered_with_what_to_write(write: Write, line: str, words: str) -> None:
    good = GOOD.replace("id: CAM-2", line) if line.startswith("id") else f"{GOOD}    {line}\n"
    said = complaint(write(good))
    assert words in said
    assert line.startswith("fps") or "`name` takes any letters" in said


def test_a_single_mistake_is_one_line(write: Write) -> None:
    said = complaint(write(GOOD.replace("GATE_001,", "GATE/001,")))
    assert "\n" not in said
    assert said.startswith(f"{write(GOOD)}, line 6, cameras[0].gate.id must be 1 to 64 of the characters")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("rtsp://", "write it as rtsp://user"),
        ("rtsp:/192.168.1.1/x", "without its two slashes"),
        ("ftp://host/x", "ftp://, which is not read here: use one of rtsp, rtsps, http, https"),
        ("rtsp://host:99999/x", "port must be 1 to 65535"),
        ("rtsp://host:port/x", "write it as rtsp://user"),
        ("rtsp://host:0/x", "port must be 1 to 65535"),
        ("rtsp://a b/x", "write it as rtsp://user"),
        ('"usb:"', "usb: with a number or a device"),
        ('""', "must be an address such as"),
        ("5", "must be an address such as"),
        ("[1]", "must be an address such as"),
    ],
)
def test_an_address_that_is_none_is_refused(write: Write, source: str, words: str) -> None:
    assert words in complaint(write(GOOD.replace("usb:0", source)))


@pytest.mark.parametrize(
    ("smaller", "words"),
    [
        ("usb:0", "the same source and analyse_source"),
        ("rtsp://10.0.0.5/sub", "both must then be streams of a network camera"),
        ("ftp://10.0.0.5/sub", "ftp://, which is not read here"),
    ],
)
def test_a_second_stream_must_be_another_one_of_a_network_camera(write: Write, smaller: str, words: str) -> None:
    said = complaint(write(GOOD.replace("source: usb:0", f"source: usb:0\n    analyse_source: {smaller}")))
    assert words in said
    assert "cameras[1]" in said


@pytest.mark.parametrize("password", ["p#ss", "p/ss", "p?ss", "12#34", "p@ss:word", "p%40ss", "p@ss/word", "123/45"])
def test_a_password_may_be_pasted_as_it_is_and_is_never_shown(write: Write, password: str) -> None:
    source = load(write(GOOD.replace("s3cret", password)), {}).config.cameras[0].source
    assert (source.host, str(source)) == ("192.168.1.100", "rtsp://user:***@192.168.1.100:554/stream")
    assert source.secrets[0] == password


def test_a_wrong_address_does_not_show_its_password(write: Write) -> None:
    said = complaint(write(GOOD.replace("s3cret@192.168.1.100:554", "s3cret@192.168.1.100:99999")))
    assert "port must be 1 to 65535" in said
    assert "s3cret" not in said


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://user:pw@api.example.vn", "must not hold a user or password"),
        ("https://api.example.vn/ai", "namespace belongs into backend.namespace"),
        ("https://", "host or port is missing"),
        ("https://api.example.vn:port", "host or port cannot be read"),
        ("https://10.0.0.300", "neither a host name nor four numbers"),
        ("ws://api.example.vn", "must begin with https://"),
    ],
)
def test_a_back_end_url_that_is_none_is_refused(write: Write, url: str, words: str) -> None:
    assert words in complaint(write(GOOD.replace("http://localhost:3001", url)))


@pytest.mark.parametrize(
    ("roi", "words"),
    [
        ("[[100, 200], [300, 200], [300, 400]]", "fractions of the frame, 0 to 1, not pixels"),
        ("[[0, 0], [1, 1], [1, 0], [0, 1]]", "edges that cross"),
        ("[[0, 0], [0.5, 0.5], [1, 1]]", "covers next to nothing"),
        ("[[0, 0], [1, 0], [1]]", "a point is two numbers"),
        ("[[0, 0], [1, 0], [1, .nan]]", "must be a finite number"),
        ("[[0, 0], [1, 0], [1, true]]", "must be a number"),
        ("everything", "must be a list"),
    ],
)
def test_a_region_that_is_none_is_refused(write: Write, roi: str, words: str) -> None:
    assert words in complaint(write(GOOD.replace("source: usb:0", f"source: usb:0\n    roi: {roi}")))


def test_two_cameras_of_one_id_are_refused(write: Write) -> None:
    said = complaint(write(GOOD.replace("CAM-2", "cam_001")))
    assert said.endswith(
        "line 7, cameras[1].id cam_001 is the id of cameras[0] already: each camera needs one of its own"
    )


def test_no_camera_at_all_is_refused(write: Write) -> None:
    for nothing in ("cameras: []", "cameras:", "cameras: {CAM_001: {source: usb:0}}"):
        said = complaint(write(GOOD.split("cameras:")[0] + nothing + "\n"))
        assert "line 3, cameras must list at least one camera" in said


def test_a_certificate_without_its_key_is_refused(write: Write) -> None:
    said = complaint(write(GOOD.replace('3001"}', '3001", client_cert: a.pem}')))
    assert "line 2, backend needs client_cert and client_key together" in said


def test_token_and_token_file_together_are_refused(write: Write) -> None:
    said = complaint(write(GOOD.replace('3001"}', '3001", token: abcdef, token_file: a}')))
    assert "token or token_file, not both" in said
    assert "abcdef" not in said


def test_a_number_where_text_must_be_is_to_be_quoted(write: Write) -> None:
    assert "must be text: put it in quotes, not 7" in complaint(write(GOOD.replace("name: Cổng chính", "name: 7")))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("agent:\n\tid: x\n", "line 2: a tab: YAML is indented with spaces only"),
        ("agent: [1\n", "line 1: a bracket that is not closed"),
        ("agent: a: b\n", "line 1: a colon where none can be"),
        ("agent: @x\n", "line 1: a value cannot begin with this sign"),
        ("agent: 'x\n", "line 1: a quote that is opened and not closed"),
        ("agent:\n  - b\n c: 1\n", "line 3: the indentation does not fit"),
        ("agent: *x\n", "line 1: a value that begins with * must be in quotes"),
        ('agent: "\\d"\n', "line 1: a backslash in double quotes"),
        ("agent: 1\n---\nagent: 2\n", "a second document"),
        ("- agent\n", "line 1: must consist of sections"),
        ("", "is empty"),
        ("# only a comment\n", "is empty"),
        ("agent: !!python/object:os.system x\n", "has the tag"),
        ("agent: &a {b: *a}\n", "nested too deeply, or contains itself"),
        ("agent: \x07\n", "is not valid YAML"),
    ],
)
def test_broken_yaml_is_explained_in_words(write: Write, text: str, words: str) -> None:
    assert words in complaint(write(text))


def test_a_key_that_stands_twice_is_refused_with_both_lines(write: Write) -> None:
    said = complaint(write(GOOD + "web: {port: 1}\nlog: {level: info}\nweb: {port: 2}\n"))
    assert "line 12, web stands twice in one place, first in line 10" in said


def test_the_shown_line_of_broken_yaml_holds_no_secret(write: Write) -> None:
    for line in ("token: abcdef: x", "source: rtsp://u:abcdef@h/x: y"):
        with pytest.raises(ConfigError) as caught:
            load(write(f"backend:\n  {line}\n"), {})
        assert "the line is" in (caught.value.hint or "")
        assert "abcdef" not in str(caught.value) + (caught.value.hint or "")


def test_a_wrong_secret_is_never_quoted(write: Write) -> None:
    assert "123456" not in complaint(write(GOOD.replace('3001"}', '3001", token: [123456]}')))


class TestEncoding:
    def test_a_byte_order_mark_is_passed_over(self, good: Path) -> None:
        good.write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
        assert load(good, {}).config.cameras[0].gate.name == "Cổng chính"

    def test_windows_line_ends_are_fine(self, good: Path) -> None:
        good.write_bytes(GOOD.replace("\n", "\r\n").encode())
        assert load(good, {}).config.cameras[0].gate.name == "Cổng chính"

    def test_utf_16_is_refused_in_words(self, good: Path) -> None:
        good.write_bytes(GOOD.encode("utf-16"))
        assert "UTF-16" in complaint(good)

    def test_another_encoding_is_refused_with_its_line(self, good: Path) -> None:
        good.write_bytes(GOOD.replace("Cổng chính", "Café").encode("latin-1"))
        assert "line 6: byte 0xe9 is not UTF-8" in complaint(good)

    def test_zero_bytes_are_refused(self, good: Path) -> None:
        good.write_bytes(GOOD.encode() + b"\0")
        assert "zero byte" in complaint(good)


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    assert "is a folder" in complaint(tmp_path)


def test_a_huge_file_is_refused(good: Path) -> None:
    good.write_bytes(b"#" * ((1 << 20) + 1))
    assert "larger than 1 MiB" in complaint(good)
