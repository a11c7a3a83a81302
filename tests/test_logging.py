"""The log: readable, machine-readable, whole in any locale, and without secrets."""

from __future__ import annotations

import fcntl
import io
import json
import logging
import os
import shutil
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

import pytest

from lpr.domain.errors import ConfigError
from lpr.domain.secrets import mask_secrets
from lpr.logging import configure, end, get_logger, is_kept, quiet


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root, hook = logging.getLogger(), threading.excepthook
    handlers, level = list(root.handlers), root.level
    yield
    for handler in [each for each in root.handlers if each not in handlers]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)
    threading.excepthook = hook
    logging.captureWarnings(False)


NOT_THERE = "No such file or directory"


def logged(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_json_with_time_level_and_logger_first() -> None:
    stream = io.StringIO()
    configure(format="json", stream=stream)
    get_logger("lpr.capture").info("camera lost", camera="Cổng chính", seconds=4.5)
    (line,) = logged(stream)
    assert list(line)[:4] == ["time", "level", "logger", "event"]
    assert line["time"].endswith("Z")
    assert len(line["time"]) == len("2026-11-23T01:02:03.456Z")
    assert (line["event"], line["camera"], line["seconds"]) == ("camera lost", "Cổng chính", 4.5)
    assert "Cổng chính" in stream.getvalue()


def test_off_a_terminal_auto_means_json_and_console_is_for_people() -> None:
    stream = io.StringIO()
    configure(format="auto", stream=stream)
    get_logger("x").info("one")
    assert logged(stream)[0]["event"] == "one"
    stream = io.StringIO()
    configure(format="console", stream=stream)
    get_logger("x").info("two", camera="Cổng")
    assert "two" in stream.getvalue()
    assert not stream.getvalue().startswith("{")
    assert "\x1b" not in stream.getvalue()


def test_the_level_holds_for_our_own_lines_and_those_of_libraries() -> None:
    stream = io.StringIO()
    configure(level="warning", format="json", stream=stream)
    get_logger("x").info("no")
    logging.getLogger("aiohttp.server").info("no")
    logging.getLogger("aiohttp.server").warning("yes %s", 1)
    get_logger("x").warning("yes")
    assert [line["event"] for line in logged(stream)] == ["yes 1", "yes"]


def test_chatty_libraries_speak_at_debug_only() -> None:
    stream = io.StringIO()
    configure(level="info", format="json", stream=stream)
    logging.getLogger("aiohttp.access").info("GET /")
    assert logged(stream) == []
    configure(level="debug", format="json", stream=stream)
    logging.getLogger("aiohttp.access").info("GET /")
    assert len(logged(stream)) == 1


@pytest.mark.parametrize("format_", ["json", "console"])
def test_no_secret_is_logged_however_deep_it_lies(format_: str) -> None:
    stream = io.StringIO()
    configure(level="debug", format=format_, stream=stream, secrets=["t0psecret", "c@m3ra"])
    log = get_logger("x")
    log.info("refused t0psecret", where={"list": ["rtsp://u:pw123456@h/x", ("c@m3ra",)], "token": "whatever"})
    logging.getLogger("engineio.test").info("packet %s", '40/ai,{"token":"unknown1","agentId":"gate"}')
    try:
        raise ValueError("cannot open rtsp://admin:p/w#d@10.0.0.1:554/live")
    except ValueError:
        log.exception("failed")
    text = stream.getvalue()
    for secret in ("t0psecret", "c@m3ra", "pw123456", "whatever", "unknown1", "p/w#d"):
        assert secret not in text
    assert "agentId" in text
    assert "admin:***@10.0.0.1:554/live" in text
    assert "ValueError" in text


def test_short_secrets_do_not_blot_out_the_log() -> None:
    stream = io.StringIO()
    configure(format="json", stream=stream, secrets=["a"])
    get_logger("x").info("camera started")
    assert logged(stream)[0]["event"] == "camera started"


def test_a_message_of_several_lines_stays_one_json_line() -> None:
    stream = io.StringIO()
    configure(format="json", stream=stream)
    get_logger("x").info("one\ntwo")
    assert len(stream.getvalue().splitlines()) == 1


def test_the_file_gets_json_too_and_may_be_rotated(tmp_path: Path) -> None:
    path = tmp_path / "agent.log"
    configure(format="console", stream=io.StringIO(), file=path)
    get_logger("x").info("Cổng 1")
    path.rename(tmp_path / "agent.log.1")
    get_logger("x").info("Cổng 2")
    assert json.loads((tmp_path / "agent.log.1").read_text("utf-8"))["event"] == "Cổng 1"
    assert json.loads(path.read_text("utf-8"))["event"] == "Cổng 2"


def test_a_file_that_cannot_be_opened_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"log\.file: .*cannot be opened"):
        configure(file=tmp_path / "nowhere" / "agent.log", stream=io.StringIO())


def test_a_folder_that_is_gone_stops_nobody_is_said_once_and_the_file_is_taken_up_again(tmp_path: Path) -> None:
    stream, folder = io.StringIO(), tmp_path / "log"
    folder.mkdir()
    configure(format="json", stream=stream, file=folder / "agent.log", secrets=["s3cret"])
    get_logger("x").info("before")
    shutil.rmtree(folder)
    for number in range(3):
        get_logger("x").info("without", number=number)
    folder.mkdir()
    get_logger("x").info("again")

    said = [line["event"] for line in logged(stream)]
    lost, back = f"the log's file {folder}/agent.log cannot", f"the log's file {folder}/agent.log can be written again"
    assert [each for each in said if each.startswith("the log's")] == [f"{lost} be written: {NOT_THERE}", back]
    assert said.count("without") == 3
    assert [json.loads(line)["event"] for line in (folder / "agent.log").read_text("utf-8").splitlines()] == ["again"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk_is_said_once_and_not_with_a_page_for_each_line(capfd: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    configure(format="json", stream=stream, file=Path("/dev/full"))
    for number in range(5):
        get_logger("x").info("line", number=number)
    assert [line["event"] for line in logged(stream)].count("line") == 5
    assert len([line for line in logged(stream) if "/dev/full cannot be written: No space left" in line["event"]]) == 1
    assert capfd.readouterr().err == ""


@pytest.fixture
def pipe() -> Iterator[tuple[TextIO, TextIO]]:
    """The two ends of a pipe that holds a few lines; whoever writes more waits for who reads."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    with os.fdopen(reading, "r") as reader, os.fdopen(writing, "w") as writer:
        yield reader, writer


def test_a_log_that_nobody_reads_holds_up_nobody_and_is_whole_when_it_is_read(pipe: tuple[TextIO, TextIO]) -> None:
    reader, writer = pipe
    configure(format="json", stream=writer, in_thread=True)
    for number in range(500):
        get_logger("x").info("line", number=number, filler="x" * 100)
    assert is_kept()
    assert [json.loads(reader.readline())["number"] for _ in range(500)] == list(range(500))


def test_what_a_log_that_stands_still_cannot_hold_is_counted(
    pipe: tuple[TextIO, TextIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = pipe
    monkeypatch.setattr("lpr.logging.LINES_WAITING", 100)
    configure(format="json", stream=writer, in_thread=True)
    for number in range(1000):
        get_logger("x").info("line", number=number, filler="x" * 100)
    said = [""]
    while "left out" not in said[-1]:
        said.append(json.loads(reader.readline())["event"])
    written = said.count("line")
    assert 100 <= written < 1000
    assert said[-1].startswith(f"{1000 - written} lines were left out")


def test_at_the_end_all_lines_are_written_and_a_stuck_log_is_not_waited_for_for_ever(
    pipe: tuple[TextIO, TextIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lpr.logging.LAST_LINES_S", 0.1)
    reader, writer = pipe
    stream = io.StringIO()
    configure(format="json", stream=stream, in_thread=True)
    for number in range(100):
        get_logger("x").info("line", number=number)
    configure(format="json", stream=writer, in_thread=True)
    assert len(logged(stream)) == 100
    for number in range(100):
        get_logger("x").info("line", number=number, filler="x" * 100)
    assert not end()
    assert sum(1 for _ in zip(range(100), reader, strict=False)) == 100


def test_what_is_thrown_away_while_a_line_is_handed_over_may_have_last_words() -> None:
    """The collector of garbage runs at any moment, in the thread that just works, and asyncio logs what it finds."""
    stream = io.StringIO()
    configure(format="json", stream=stream, in_thread=True)

    def collect(frame: FrameType, event: str, function: Any) -> None:
        # In the middle: of a `Queue`, or of a `SimpleQueue`.
        if frame.f_code.co_name == "_put" or (event == "c_call" and function.__name__ == "put"):
            sys.setprofile(None)
            get_logger("x").info("last words")

    def log_a_line() -> None:
        sys.setprofile(collect)
        get_logger("x").info("line")

    logs = threading.Thread(target=log_a_line, daemon=True)
    logs.start()
    logs.join(5.0)
    assert not logs.is_alive()
    assert end()
    assert sorted(line["event"] for line in logged(stream)) == ["last words", "line"]


def test_a_librarys_line_has_the_time_at_which_it_came_and_not_that_of_its_writing() -> None:
    stream = io.StringIO()
    configure(format="json", stream=stream)
    record = logging.makeLogRecord(
        {
            "name": "library",
            "levelno": logging.WARNING,
            "levelname": "WARNING",
            "msg": "slow",
            "created": 1_700_000_000.5,
        }
    )
    logging.getLogger("library").handle(record)
    (line,) = logged(stream)
    assert line["time"] == "2023-11-14T22:13:20.500Z"


def test_configuring_again_replaces_what_was_there() -> None:
    first, second = io.StringIO(), io.StringIO()
    configure(format="json", stream=first)
    configure(format="json", stream=second)
    get_logger("x").info("once")
    assert (len(logged(first)), len(logged(second))) == (0, 1)


def test_a_thread_that_dies_is_logged() -> None:
    stream = io.StringIO()
    configure(format="json", stream=stream)
    thread = threading.Thread(target=lambda: 1 / 0, name="camera CAM_001")
    thread.start()
    thread.join()
    (line,) = logged(stream)
    assert (line["event"], line["thread"], line["level"]) == ("a thread died", "camera CAM_001", "critical")
    assert "ZeroDivisionError" in line["exception"]


def test_warnings_go_into_the_log() -> None:
    stream = io.StringIO()
    configure(format="json", stream=stream)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old way", stacklevel=1)
    assert "old way" in logged(stream)[0]["event"]


def test_a_command_that_answers_a_person_keeps_no_log(capsys: pytest.CaptureFixture[str]) -> None:
    quiet()
    get_logger("x").warning("not shown")
    assert not is_kept()
    configure(format="json", stream=io.StringIO())
    assert is_kept()
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("locale", ["C", "en_US.ISO-8859-1"])
def test_vietnamese_text_comes_through_whole_in_any_locale(locale: str) -> None:
    # Written in ASCII: Python itself cannot read anything else from the command line in these locales.
    program = "from lpr.logging import *; configure(format='json'); get_logger('x').info('C\\u1ed5ng ch\\u00ednh')"
    environ = {**os.environ, "LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    environ |= {"PYTHONIOENCODING": "ascii", "PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, timeout=30)
    assert "Cổng chính" in done.stderr.decode("utf-8")


def test_a_journal_line_begins_with_its_priority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "journal").open("w+", encoding="utf-8") as stream:
        status = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        configure(format="auto", stream=stream)
        get_logger("x").error("bad")
        get_logger("x").info("good")
        stream.seek(0)
        first, second = stream.read().splitlines()
    assert first.startswith("<3>{")
    assert second.startswith("<6>{")


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("rtsp://u:p@h/x", "rtsp://u:***@h/x"),
        ("rtsp://u:p@ss/w#d@h/x", "rtsp://u:***@h/x"),
        ("open rtsp://u:p@h/x: refused", "open rtsp://u:***@h/x: refused"),
        ("no file rtsp:/u:p@h/x", "no file rtsp:/u:***@h/x"),
        ("http://h/cgi?user=a&password=b&channel=1", "http://h/cgi?user=a&password=***&channel=1"),
        ("rtsp://h/user=a_password=b_channel=1", "rtsp://h/user=a_password=***"),
        ('{"token": "abc", "n": 1}', '{"token": "***", "n": 1}'),
        ("{'token': 'abc', 'n': 1}", "{'token': '***', 'n': 1}"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer ***"),
        ("refused the token: check token_file", "refused the token: check token_file"),
        ("http://localhost:3001/ai", "http://localhost:3001/ai"),
        ("ratio 4:3 @ 25 fps", "ratio 4:3 @ 25 fps"),
        (
            "[tcp @ 0x5] Connection to rtsp://an:s3cr3t@cam:554/live failed: Connection refused",
            "[tcp @ 0x5] Connection to rtsp://an:***@cam:554/live failed: Connection refused",
        ),
    ],
)
def test_what_looks_like_a_secret_is_hidden_and_nothing_else(text: str, masked: str) -> None:
    assert mask_secrets(text) == masked
    assert mask_secrets(masked) == masked
