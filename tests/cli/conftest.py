from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lpr.cli import main

CONFIG = """\
agent: {id: gate-nuc-01, data_dir: data}
backend: {url: "http://localhost:3001"}
cameras:
  - id: CAM_001
    source: rtsp://user:s3cret@192.168.1.100:554/stream
    gate: {id: GATE_001, name: Cổng chính}
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the program said, and how it ended."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def _nothing_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    for name in ("LPR_CONFIG", "CREDENTIALS_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    # Wide enough that no message is broken where a test looks for it.
    monkeypatch.setenv("COLUMNS", "200")
    log = logging.getLogger()
    before = list(log.handlers)
    yield
    # A command sets the log up for its process; the next test is to find none that is kept.
    for handler in [each for each in log.handlers if each not in before]:
        log.removeHandler(handler)
        handler.close()
    assert "s3cret" not in str(sys.exc_info())


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Runs the program in this process, as its entry point does."""

    def _run(*arguments: str | Path) -> Answer:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        code = ended.value.code
        return Answer(code if isinstance(code, int) else 0, said.out, said.err)

    return _run


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    path = tmp_path / "lpr-agent.yaml"
    path.write_text(CONFIG, "utf-8")
    path.chmod(0o640)
    return path
