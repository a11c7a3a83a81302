"""What the tests of `lpr-agent check` share."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path

from lpr.cli.findings import Finding, Verdict
from lpr.config import AgentConfig, config_from


def config(tmp_path: Path, *, source: str = "usb:0", **sections: object) -> AgentConfig:
    values: dict[str, object] = {
        "agent": {"id": "gate", "data_dir": str(tmp_path / "data")},
        "backend": {"url": "http://127.0.0.1:9"},
        "outbox": {"min_free_disk": 0, "max_bytes": "1 MiB"},
        "cameras": [{"id": "CAM_001", "source": source, "gate": {"id": "GATE_001"}}],
    }
    return config_from(values | sections)


def verdicts(findings: Sequence[Finding]) -> list[Verdict]:
    return [finding.verdict for finding in findings]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
