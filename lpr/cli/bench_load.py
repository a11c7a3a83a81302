"""`lpr-agent bench --cameras N` and `--soak 30m`: what many cameras cost, and what grows in a long run."""

from __future__ import annotations

import asyncio
import itertools
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from lpr.cli import exits
from lpr.cli.bench_folder import bench_folder, check_room
from lpr.cli.options import print_json
from lpr.cli.ports import free_port
from lpr.domain.errors import ConfigError, LprError

if TYPE_CHECKING:
    from lpr.agent.bench.load import LoadReport, Spread
    from lpr.agent.bench.soak import Look, SoakVerdict
    from lpr.agent.bench.streams import LoadOptions

WARM_UP_S = 8.0
"""Before a stretch that counts: caches fill, the operating system sees what runs, every camera is in its rhythm."""
SHORTEST_SOAK_S = 2.0
LOOK_EVERY_S = 60.0
LOOKS_AT_LEAST = 10
BACKEND_WITHIN_S = 30.0
EVENT_BYTES = 250_000
EVENTS_PER_CAMERA_S = 0.6
"""What the sample clip makes at 25 frames a second."""
MEBIBYTE = 1 << 20
BARS = "▁▂▃▄▅▆▇█"
_HEADINGS = ("time", "memory", "handles", "threads", "age p50", "p95", "drift", "fps", "events", "queue", "cores")
_WIDTHS = (6, 10, 7, 7, 9, 9, 9, 6, 6, 5, 5)


def load(options: LoadOptions, *, seconds: float, data_dir: Path | None, as_json: bool) -> None:
    """Play the cameras for `seconds` and print what they cost."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from lpr.agent.bench.at_work import CamerasAtWork
    from lpr.agent.bench.load import measure_load

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with _at_hand(options, data_dir, seconds) as ready, Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("opening cameras and networks", total=None)

        def progress(done: float, total: float) -> None:
            bar.update(task, completed=done, total=total, description="watching the cameras")

        async def run() -> LoadReport:
            async with CamerasAtWork(ready) as work:
                return await measure_load(work, seconds=seconds, warm_up_s=WARM_UP_S, progress=progress)

        report = asyncio.run(run())
    if as_json:
        print_json(report.to_json(), indent=2)
    else:
        _print_load(report, options)


def soak(options: LoadOptions, *, seconds: float, data_dir: Path | None, as_json: bool) -> None:
    """Play the cameras for `seconds`, tell how it goes every minute, and judge it; exit code 1 where it grew.

    Ctrl-C ends it early with the verdict on what was seen.
    """
    from lpr.agent.bench.at_work import CamerasAtWork
    from lpr.agent.bench.soak import soak as watch
    from lpr.agent.bench.soak import verdict_on, warm_up_of

    if seconds < SHORTEST_SOAK_S:
        raise ConfigError(f"--soak {seconds:g} s is too short to tell anything", hint="30m is what it is made for")
    looks: list[Look] = []

    async def run(ready: LoadOptions) -> None:
        async with CamerasAtWork(ready) as work:
            async for look in watch(work, seconds=seconds, every_s=min(LOOK_EVERY_S, seconds / LOOKS_AT_LEAST)):
                looks.append(look)
                print_json(look.to_json()) if as_json else _say(look_line(look))

    interrupted = False
    with _at_hand(options, data_dir, seconds) as ready:
        if not as_json:
            _say(f"{_cameras(ready.cameras)}, {options.fps:g} frames a second each, for {timedelta(seconds=seconds)} h")
            _say("  ".join(name.rjust(width) for name, width in zip(_HEADINGS, _WIDTHS, strict=True)))
        try:
            asyncio.run(run(ready))
        except KeyboardInterrupt:
            interrupted = True
    if interrupted and not looks:
        raise typer.Exit(exits.INTERRUPTED)
    verdict = verdict_on(looks, warm_up_of(looks[-1].at_s))
    if as_json:
        print_json(verdict.to_json())
    else:
        _print_verdict(looks, verdict)
    if interrupted:
        raise typer.Exit(exits.INTERRUPTED)
    if verdict.failures:
        raise typer.Exit(exits.FAILED)


# The surroundings -------------------------------------------------------------------------------------------------


@contextmanager
def _at_hand(options: LoadOptions, data_dir: Path | None, seconds: float) -> Iterator[LoadOptions]:
    """A folder of its own on the wanted disk, and a back-end in a process of its own, which keeps all events.

    Raises `ConfigError` where they would not fit.
    """
    from dataclasses import replace

    cameras = len(options.sources) or options.cameras
    with bench_folder(data_dir) as folder:
        needed = round(cameras * seconds * EVENTS_PER_CAMERA_S * EVENT_BYTES)
        check_room(folder, needed, what=f"the events of {_cameras(cameras)}", less="take fewer cameras")
        with _small_backend(folder) as url:
            yield replace(options, folder=folder, backend_url=url, cameras=cameras)


@contextmanager
def _small_backend(folder: Path) -> Iterator[str]:
    """`lpr-agent backend` as a child, so that its time and memory are not the agent's. Raises `LprError`."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "lpr.cli",
        "backend",
        "--port",
        str(port),
        "--database",
        str(folder / "backend.db"),
    ]
    with (folder / "backend.log").open("wb") as log:
        child = subprocess.Popen(  # noqa: S603 - this program itself, arguments of our own
            [*command, "--json"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            # Ctrl-C is for the measurement, which ends the child in its turn.
            start_new_session=True,
        )
    try:
        _await_backend(child, port, folder / "backend.log")
        yield f"http://127.0.0.1:{port}"
    finally:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _await_backend(child: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + BACKEND_WITHIN_S
    while child.poll() is None and time.monotonic() < until:
        with socket.socket() as attempt:
            attempt.settimeout(1.0)
            if attempt.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    said = log.read_text("utf-8", "replace").strip().splitlines()
    raise LprError(f"the small back-end did not start: {said[-1] if said else 'it said nothing'}")


# What is printed --------------------------------------------------------------------------------------------------


def _print_load(report: LoadReport, options: LoadOptions) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    title = f"{_cameras(len(report.cameras))} for {report.seconds:.0f} s on {report.device}, {report.cores} cores"
    table = Table(title=title, box=None, pad_edge=False)
    table.add_column("camera")
    for name in ("decoded", "seen", "analysed", "skipped", "age p50", "p95", "worst", "dropped", "late"):
        table.add_column(name, justify="right")
    for camera in report.cameras:
        table.add_row(
            camera.camera_id,
            f"{camera.decoded_fps:.1f}",
            f"{camera.taken_fps:.1f}",
            f"{camera.analysed_fps:.1f}",
            f"{camera.skipped_share:.0%}",
            *_in_ms(camera.age),
            str(camera.dropped),
            str(camera.stale + camera.held_back),
        )
    table.add_row("all", "", "", "", "", *_in_ms(report.age), "", "")
    console.print(table)
    duties = ", ".join(f"{duty} {cores:.2f}" for duty, cores in report.cpu_by_duty.items() if cores >= 0.005)
    console.print(
        f"frames a second: decoded, taken by the analysis, through the networks (the others held nothing new)\n"
        f"age in ms, from {_from_where(options)} to the end of its analysis\n"
        f"processor  {report.cpu_per_camera:.1%} of a core a camera, {report.cpu:.2f} cores in all:\n"
        f"           {duties};\n"
        f"           other programs took {report.other_cpu:.2f} of the {report.cores} cores meanwhile\n"
        f"memory     {report.memory / MEBIBYTE:.0f} MB, {report.threads} threads, {report.handles} file handles\n"
        f"events     {report.events} recorded, {report.acked} acknowledged\n"
        f"           from frame to acknowledgement {report.to_ack.p50:.0f} ms median, {report.to_ack.p95:.0f} at p95",
        soft_wrap=True,
    )
    for shortfall in report.shortfalls:
        console.print(f"[yellow]{shortfall}[/yellow]")
    if not report.shortfalls:
        console.print("[green]good[/green]: every frame looked at in time")


def _cameras(number: int) -> str:
    return "1 camera" if number == 1 else f"{number} cameras"


def _in_ms(times: Spread) -> tuple[str, str, str]:
    return f"{times.p50:.0f}", f"{times.p95:.0f}", f"{times.worst:.0f}"


def _from_where(options: LoadOptions) -> str:
    return "the decoding of a picture" if options.sources else "the moment in which a camera makes a picture"


def look_line(look: Look) -> str:
    """One stretch of a long run as a line under the headings."""
    drift = "–" if look.drift_ms is None else f"{look.drift_ms:.1f} ms"
    cells = (
        _clock(look.at_s),
        f"{look.memory / MEBIBYTE:.1f} MB",
        str(look.handles),
        str(look.threads),
        f"{look.age.p50:.0f} ms",
        f"{look.age.p95:.0f} ms",
        drift,
        f"{look.analysed_fps:.1f}",
        str(look.events),
        str(look.waiting),
        f"{look.cpu:.2f}",
    )
    return "  ".join(cell.rjust(width) for cell, width in zip(cells, _WIDTHS, strict=True))


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"


def curve(values: Sequence[float], width: int = 60) -> str:
    """`values` as a line of bars from their lowest to their highest; means where they are more than `width`."""
    if len(values) > width:
        edges = [round(place * len(values) / width) for place in range(width + 1)]
        parts = [values[first:last] for first, last in itertools.pairwise(edges)]
        values = [sum(part) / len(part) for part in parts]
    low, high = min(values), max(values)
    steps = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round((value - low) * steps)] for value in values)


def _print_verdict(looks: Sequence[Look], verdict: SoakVerdict) -> None:
    for name, values, unit in (
        ("memory", [look.memory / MEBIBYTE for look in looks], "MB"),
        ("age p95", [look.age.p95 for look in looks], "ms"),
    ):
        _say(f"{name:8}  {curve(values)}  {min(values):.1f} to {max(values):.1f} {unit}")
    growth = "too short to tell" if verdict.growth_mb is None else f"{verdict.growth_mb:+.2f} MB in ten minutes"
    drift = "not known" if verdict.drift_ms is None else f"moved by {verdict.drift_ms:.1f} ms"
    _say(f"after {_clock(verdict.warm_up_s)} min of warming up")
    _say(f"  memory      {growth}")
    _say(f"  handles     +{verdict.handles}")
    _say(f"  threads     +{verdict.threads}")
    _say(f"  event time  {drift} against capture")
    _say(f"  cameras     lost {verdict.lost} times")
    for failure in verdict.failures:
        typer.secho(f"not good: {failure}", fg="red")
    if not verdict.failures:
        typer.secho("good" if verdict.growth_mb is not None else "nothing wrong, but too short to tell", fg="green")


def _say(text: str) -> None:
    # Flushed, so that whoever watches a long run through a pipe sees each minute in its time.
    typer.echo(text)
    sys.stdout.flush()
