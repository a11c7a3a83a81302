"""The program's door: its table of commands, its errors, its exit codes."""

from __future__ import annotations

import errno
import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import pytest

import lpr
from lpr.domain.errors import CaptureError, ConfigError
from tests.cli.conftest import Answer

ROOT = Path(__file__).parents[2]
Run = Callable[..., Answer]
# `lpr.cli.main` is also the function's name in the package.
MAIN = importlib.import_module("lpr.cli.main")


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Makes every command raise."""

    def _failing(error: BaseException) -> None:
        def app(**_: object) -> None:
            raise error

        monkeypatch.setattr(MAIN, "build_app", lambda debug: app)

    return _failing


def test_every_command_of_the_table_is_there_and_in_the_help(run: Run) -> None:
    answer = run("--help")
    assert answer.code == 0
    for name in MAIN.COMMANDS:
        assert find_spec(f"lpr.cli.{name}") is not None, name
        assert f" {name} " in answer.out


def test_help_flows_at_any_width(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    said = run("run", "--help").out
    paragraph = said[said.index(" SIGTERM") : said.index("╭─ Options")].strip().splitlines()
    # No line but the last ends where the next word would have gone in.
    assert len(paragraph) > 2
    for line, after in pairwise(paragraph):
        assert len(line.rstrip()) + len(after.split()[0]) > 76, line


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; from lpr.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, timeout=30)
    heavy = {"aiohttp", "cv2", "numpy", "openvino", "psutil", "pydantic", "ruamel", "socketio", "structlog"}
    assert heavy.isdisjoint(done.stderr.split())


def test_the_version_is_the_packages(run: Run) -> None:
    assert run("--version") == Answer(0, f"lpr-agent {lpr.__version__}\n", "")


@pytest.mark.parametrize("arguments", [("nonsense",), ("--nonsense",), ("read",), ("read", "--fps", "fast", "x")])
def test_wrong_arguments_end_with_2(run: Run, arguments: tuple[str, ...]) -> None:
    assert run(*arguments).code == 2


def test_a_failure_is_a_line_and_a_hint_and_ends_with_1(run: Run, failing: Callable[[BaseException], None]) -> None:
    failing(CaptureError("rtsp://u:s3cret@h/x is mute", hint="look at rtsp://u:s3cret@h/x"))
    answer = run("read", "x")
    assert answer == Answer(1, "", "error: rtsp://u:***@h/x is mute\nhint: look at rtsp://u:***@h/x\n")


def test_a_wrong_configuration_ends_with_2(run: Run, failing: Callable[[BaseException], None]) -> None:
    failing(ConfigError("Cổng chính?"))
    assert run("run") == Answer(2, "", "error: Cổng chính?\n")


def test_ctrl_c_ends_with_130_and_no_traceback(run: Run, failing: Callable[[BaseException], None]) -> None:
    failing(KeyboardInterrupt())
    assert run("run") == Answer(130, "", "")


def test_what_should_not_happen_is_one_line(run: Run, failing: Callable[[BaseException], None]) -> None:
    failing(RuntimeError("broken\nat rtsp://u:s3cret@h/x"))
    answer = run("run")
    assert answer.code == 1
    assert (
        answer.err.splitlines()[0] == "error: this should not have happened: RuntimeError: broken at rtsp://u:***@h/x"
    )
    assert "--debug" in answer.err
    assert "Traceback" not in answer.err


def test_what_runs_out_of_handles_says_what_to_do(run: Run, failing: Callable[[BaseException], None]) -> None:
    failing(ExceptionGroup("tasks", [OSError(errno.EMFILE, os.strerror(errno.EMFILE))]))
    answer = run("run")
    assert answer.code == 1
    assert "files and connections may be open at once" in answer.err
    assert "ulimit -n" in answer.err
    assert "should not have happened" not in answer.err


def test_debug_shows_the_traceback_without_secrets(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("at rtsp://u:s3cret@h/x")

    monkeypatch.setattr("lpr.config.sample.sample", broken)
    answer = run("--debug", "config", "init", "-")
    assert answer.code == 1
    assert "Traceback" in answer.err
    assert "s3cret" not in answer.err


@pytest.mark.parametrize("locale", ["C", "en_US.ISO-8859-1"])
def test_vietnamese_text_is_printed_whole_in_any_locale(config_file: Path, locale: str) -> None:
    environ = {**os.environ, "LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(ROOT)}
    program = "from lpr.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "config", "show"],
        env=environ,
        cwd=config_file.parent,
        capture_output=True,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert "Cổng chính" in done.stdout.decode("utf-8")
