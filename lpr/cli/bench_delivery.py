"""`lpr-agent bench --delivery`: what durable delivery costs, each figure beside the bare thing of the same run."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from lpr.cli.bench_folder import bench_folder, check_room
from lpr.cli.options import print_json

if TYPE_CHECKING:
    from lpr.agent.bench.delivery import DeliveryReport

MEGABYTE = 1_000_000
SPARE_BYTES = 500 * MEGABYTE
"""Beside the backlog: the other measurements, the log, and what a disk should keep."""


def delivery(*, seconds: float, backlog: int, data_dir: Path | None, as_json: bool) -> None:
    """Measure on the disk of `data_dir`, else of the folder for temporary files, and print the ratios and their goals.

    Raises `ConfigError` where the backlog would not fit, and what the parts raise.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    from lpr.agent.bench.delivery import DeliveryOptions, measure_delivery
    from lpr.outbox.bench import EVENT_BYTES

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    with (
        bench_folder(data_dir) as folder,
        Progress(*columns, console=console, transient=True) as bar,
    ):
        needed = backlog * EVENT_BYTES * 5 // 4 + SPARE_BYTES
        check_room(folder, needed, what=f"{backlog} events", less="a smaller backlog with --backlog")
        task = bar.add_task("starting", total=None)
        report = asyncio.run(
            measure_delivery(
                DeliveryOptions(folder=folder, seconds=seconds, backlog=backlog),
                lambda what, done, total: bar.update(task, description=what, completed=done, total=total),
            )
        )
    if as_json:
        print_json(report.to_json(), indent=2)
    else:
        print_report(report)


def print_report(report: DeliveryReport) -> None:
    """The table for people, on stdout."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="durable delivery of events of 100 KB, against the bare thing", box=None)
    for heading in ("", "bare", "lpr-agent", "ratio", "goal", ""):
        table.add_column(heading, justify="left" if not heading else "right", no_wrap=True)
    for row in _rows(report):
        table.add_row(*row)
    draining = report.draining
    console = Console(highlight=False)
    console.print(table)
    console.print(
        f"\nLive events: median of {draining.live_alone} without a backlog (bare) and of {draining.live_beside} beside "
        f"one of {draining.backlog},\nwhich drained at {draining.drained_per_s:.0f} a second."
    )


def _rows(report: DeliveryReport) -> list[tuple[str, str, str, str, str, str]]:
    """What, bare, ours, ratio, goal, verdict. Beside a backlog, the bare thing is a live event without one."""
    from lpr.agent.bench.delivery import GOAL_LIVE_TIMES, GOAL_MEMORY_BYTES, GOAL_RECORDED, GOAL_SENT
    from lpr.outbox.bench import TOGETHER

    recording, draining = report.recording, report.draining
    rows = [
        (
            "recorded, a second",
            f"{recording.bare_per_s:.0f}",
            f"{recording.recorded_per_s:.0f}",
            f"{recording.ratio:.2f}",
            f"≥ {GOAL_RECORDED}",
            _verdict(good=recording.ratio >= GOAL_RECORDED),
        ),
        (
            "  bare into room that is there",
            f"{recording.bare_over_per_s:.0f}",
            f"{recording.recorded_per_s:.0f}",
            f"{recording.ratio_over:.2f}",
            "",
            "",
        ),
        (
            f"  {TOGETHER} at once",
            f"{recording.bare_per_s:.0f}",
            f"{recording.recorded_together_per_s:.0f}",
            f"{recording.recorded_together_per_s / recording.bare_per_s:.2f}",
            "",
            "",
        ),
    ]
    rows += [
        (
            f"acknowledged, a second, {each.images}",
            f"{each.bare_per_s:.0f}",
            f"{each.relayed_per_s:.0f}",
            f"{each.ratio:.2f}",
            f"≥ {GOAL_SENT[each.images]}",
            _verdict(good=each.ratio >= GOAL_SENT[each.images]),
        )
        for each in report.sending
    ]
    rows += [
        (
            f"processor, ms an event, {each.images}",
            f"{each.bare_cpu_ms:.2f}",
            f"{each.relayed_cpu_ms:.2f}",
            f"{each.relayed_cpu_ms / each.bare_cpu_ms:.2f}" if each.bare_cpu_ms else "",
            "",
            "",
        )
        for each in report.sending
    ]
    rows += [
        (
            "live event to its answer, ms",
            f"{draining.live_alone_ms:.1f}",
            f"{draining.live_beside_ms:.1f}",
            f"{draining.ratio:.2f}",
            f"< {GOAL_LIVE_TIMES:g}",
            _verdict(good=draining.ratio < GOAL_LIVE_TIMES),
        ),
        (
            "memory of draining, MB",
            "",
            f"{draining.memory_bytes / MEGABYTE:.0f}",
            "",
            f"< {GOAL_MEMORY_BYTES / MEGABYTE:.0f}",
            _verdict(good=draining.memory_bytes < GOAL_MEMORY_BYTES),
        ),
    ]
    return rows


def _verdict(*, good: bool) -> str:
    return "[green]good[/green]" if good else "[yellow]missed[/yellow]"
