from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

GOOD = """\
agent: {id: gate-nuc-01, data_dir: data}
backend: {url: "http://localhost:3001"}
cameras:
  - id: CAM_001
    source: rtsp://user:s3cret@192.168.1.100:554/stream
    gate: {id: GATE_001, name: Cổng chính}
  - id: CAM-2
    source: usb:0
    gate: {id: GATE_002}
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a configuration that no other user can read, as one that holds passwords should be."""

    def _write(text: str) -> Path:
        path = tmp_path / "lpr-agent.yaml"
        path.write_text(text, "utf-8")
        path.chmod(0o640)
        return path

    return _write


@pytest.fixture
def good(write: Callable[[str], Path]) -> Path:
    return write(GOOD)
