"""`lpr-agent bench --delivery`: JSON for programs, a table with the goals for people, nothing left behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from lpr.agent.bench.delivery import DeliveryReport, Draining, Sending
from lpr.cli import bench_delivery, bench_folder
from lpr.domain.choices import ImageMode
from lpr.outbox.bench import RecordingSpeed
from tests.cli.conftest import Answer

Run: TypeAlias = Callable[..., Answer]


def report(*, slow: bool = False) -> DeliveryReport:
    relayed = 300.0 if slow else 900.0
    return DeliveryReport(
        recording=RecordingSpeed(
            bare_per_s=3000.0,
            bare_over_per_s=5000.0,
            recorded_per_s=1000.0 if slow else 1700.0,
            recorded_together_per_s=2500.0,
            settled_per_s=9000.0,
        ),
        sending=tuple(
            Sending(images=images, bare_per_s=1200.0, relayed_per_s=relayed, bare_cpu_ms=0.5, relayed_cpu_ms=1.0)
            for images in (ImageMode.BASE64, ImageMode.BINARY)
        ),
        draining=Draining(
            backlog=10_000,
            drained_per_s=500.0,
            live_alone_ms=4.0,
            live_beside_ms=9.0 if slow else 6.0,
            live_alone=100,
            live_beside=200,
            memory_bytes=60_000_000 if slow else 20_000_000,
        ),
    )


def test_the_figures_are_json_on_demand_and_the_folder_is_empty_afterwards(run: Run, tmp_path: Path) -> None:
    answer = run("bench", "--delivery", "--seconds", "1", "--backlog", "20", "--data-dir", str(tmp_path), "--json")

    said = json.loads(answer.out)
    assert answer.code == 0
    assert said["recording"]["ratio"] > 0
    assert set(said["sending"]) == {"base64", "binary"}
    assert said["draining"]["backlog"] == 20
    assert list(tmp_path.iterdir()) == []


def test_people_see_each_ratio_beside_its_goal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    bench_delivery.print_report(report())
    good = capsys.readouterr().out
    bench_delivery.print_report(report(slow=True))
    missed = capsys.readouterr().out

    assert (good.count("good"), good.count("missed")) == (5, 0)
    assert (missed.count("good"), missed.count("missed")) == (0, 5)
    assert "0.57" in good
    (at_once,) = [line.split() for line in good.splitlines() if "at once" in line]
    assert at_once == ["8", "at", "once", "3000", "2500", "0.83"]
    assert "≥ 0.4" in good
    assert "…" not in good, "nothing is cut off in a terminal of 80 columns"
    assert "drained at 500 a second" in good


def test_a_backlog_that_would_not_fit_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bench_folder, "free_bytes", lambda place: 1_700_000_000)
    answer = run("bench", "--delivery", "--backlog", "10000", "--data-dir", tmp_path)
    assert answer.code == 2
    assert "10000 events need 1.8 GB" in answer.err
    assert "with --backlog" in answer.err
