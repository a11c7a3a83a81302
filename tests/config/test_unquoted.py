"""Passwords and addresses without quotes: YAML makes something else of them, and nobody may be left to guess."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lpr.config import load
from lpr.domain.errors import ConfigError
from tests.config.conftest import GOOD

Write = Callable[[str], Path]

TOKEN_LINE, SOURCE_LINE = 2, 5


def with_token(token: str) -> str:
    return GOOD.replace(
        'backend: {url: "http://localhost:3001"}', f"backend:\n  token: {token}\n  url: http://localhost"
    )


def with_source(source: str) -> str:
    return GOOD.replace("rtsp://user:s3cret@192.168.1.100:554/stream", source)


def refused(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    return f"{caught.value} / {caught.value.hint}"


@pytest.mark.parametrize(
    ("token", "words"),
    [
        ("&s3cret", "backend.token begins with &, which has a meaning of its own in YAML: put it in quotes"),
        ("!s3cret", "backend.token begins with !, which has a meaning of its own in YAML: put it in quotes"),
        ("%s3cret", "a value cannot begin with this sign: put the value in quotes"),
        ("@s3cret", "a value cannot begin with this sign: put the value in quotes"),
        ("*s3cret", "a value that begins with * must be in quotes"),
        ("* s3cret", "a value that begins with * must be in quotes"),
        ("& s3cret", "a value that begins with & must be in quotes"),
        ("|s3cret", "a value that begins with | or > must be in quotes"),
        (">s3cret", "a value that begins with | or > must be in quotes"),
        ("- s3cret", "a value that begins with `- ` or `? ` must be in quotes"),
        ("[s3cret", "a bracket that is not closed"),
        ("{s3cret", "a bracket that is not closed"),
        ("'s3cret", "a quote that is opened and not closed"),
        ('"s3cret', "a quote that is opened and not closed"),
        ("'a's3cret", "text after a closing quote"),
    ],
)
def test_a_token_that_yaml_takes_for_something_else_is_refused_with_what_to_do(
    write: Write, token: str, words: str
) -> None:
    said = refused(write(with_token(token)))
    assert f"line {TOKEN_LINE + 1}" in said
    assert words in said
    assert "s3cret" not in said


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (
            "rtsp://user:p1ece #s3cret@10.0.0.5/live",
            "ends at ` #`, which begins a comment in YAML: put all of it in quotes",
        ),
        ("rtsp://user:p1ece # s3cret@10.0.0.5/live", "ends at ` #`, which begins a comment in YAML"),
        # What is left would be the camera `user` at port 12, or the camera `s`.
        ("rtsp://user:12 #s3cret@10.0.0.5/live", "ends at ` #`, which begins a comment in YAML"),
        ("rtsp://user:p@s #s3cret@10.0.0.5/live", "ends at ` #`, which begins a comment in YAML"),
        ("#rtsp://user:s3cret@10.0.0.5/live", "is empty, because # begins a comment in YAML: put it in quotes"),
        ("&rtsp://user:s3cret@10.0.0.5/live", "begins with &, which has a meaning of its own in YAML"),
        ("!rtsp://user:s3cret@10.0.0.5/live", "begins with !, which has a meaning of its own in YAML"),
        ("rtsp://user:p1ece: s3cret@10.0.0.5/live", "a colon where none can be"),
        ("rtsp://user:s3cret: ab", "a colon where none can be"),
        ('"rtsp://user:\\s3cret@10.0.0.5/live"', "a backslash in double quotes: use single quotes"),
        ("rtsp://user@site.vn:s3cret@10.0.0.5/live", "in user name and password write @ as %40, / as %2F"),
    ],
)
def test_an_address_that_yaml_cuts_or_that_cannot_be_read_is_refused_with_what_to_do(
    write: Write, source: str, words: str
) -> None:
    said = refused(write(with_source(source)))
    assert f"line {SOURCE_LINE}" in said
    assert words in said
    assert "mistakes" not in said, "one mistake is told once"
    assert "s3cret" not in said
    assert "p1ece" not in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            with_token("abc #s3cret"),
            "line 3, backend.token ends at ` #`, which begins a comment in YAML: if it goes on",
        ),
        (with_token("#s3cret"), "line 3, backend.token is empty, because # begins a comment in YAML"),
        (with_source("http://10.0.0.5/v?user=an&pwd=ab #s3cret"), "line 5, cameras[0].source ends at ` #`"),
        (with_source("rtsp://camera/live #an@site.vn"), "line 5, cameras[0].source ends at ` #`"),
        (with_source("rtsp://user:12/s3cret@cam/live"), "line 5, cameras[0].source is read as an address without user"),
    ],
)
def test_what_may_have_been_meant_as_it_stands_is_a_warning(write: Write, text: str, words: str) -> None:
    path = write(text)
    [warning] = [each for each in load(path, {}).warnings if "source" in each or "token " in each]
    assert warning.startswith(f"{path}, {words}")
    assert "s3cret" not in warning


def test_a_token_at_the_end_of_its_section_is_looked_at_too(write: Write) -> None:
    text = GOOD.replace(
        'backend: {url: "http://localhost:3001"}', "backend:\n  url: http://localhost\n  token: #s3cret"
    )
    assert "line 4, backend.token is empty" in str(load(write(text), {}).warnings)


@pytest.mark.parametrize(
    "text",
    [
        with_token("s3cret # rotated in May"),
        with_token("'s3cret' #rotated"),
        with_token("# none yet"),
        with_token("s3#cret"),
        with_source("rtsp://user:s3cret@10.0.0.5/live   # or usb:0"),
        with_source("rtsp://user:s3cret@10.0.0.5/live #main gate"),
        with_source("rtsp://10.0.0.5/live # ask an@site.vn"),
        with_source("rtsp://camera/live # ask an@site.vn"),
        with_source("rtsp://camera/live # or rtsp://user:s3cret@camera/sub"),
        with_source("'rtsp://user:s3 #cret@10.0.0.5/live'"),
        with_source("&first rtsp://user:s3cret@10.0.0.5/live"),
        with_source("rtsp://user:s3cret@10.0.0.5/live/an@b"),
    ],
)
def test_what_is_plainly_meant_as_it_stands_is_taken_without_a_word(write: Write, text: str) -> None:
    assert load(write(text), {}).warnings == ()


def test_a_comment_that_swallows_the_closing_bracket_is_named_where_the_bracket_was_opened(write: Write) -> None:
    said = refused(write(GOOD.replace("url:", "token: abc #s3cret, url:")))
    assert "line 2: a bracket that is not closed" in said
    assert "what follows ` #` is a comment to YAML" in said
    assert "s3cret" not in said
