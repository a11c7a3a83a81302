"""`lpr-agent bench`: time per stage on this machine, against the bare networks; what many cameras cost; long runs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lpr.cli.bench_folder import bench_folder
from lpr.cli.options import JsonOption, print_json
from lpr.domain.errors import ConfigError

if TYPE_CHECKING:
    from lpr.agent.bench.stages import BenchReport
    from lpr.config import AgentConfig

GOAL_RATIO = 1.3
MAX_CAMERAS = 32
CAMERAS_OF_A_SOAK = 4


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("bench")(bench)


def bench(
    clip: Annotated[Path | None, typer.Option(help="Frames of this clip instead of the one that came along.")] = None,
    rounds: Annotated[int, typer.Option(help="Frames that count.", min=5, max=2000)] = 100,
    device: Annotated[str, typer.Option(help="CPU, GPU, NPU or AUTO.")] = "AUTO",
    detail: Annotated[str, typer.Option(help="Detector input: fast, far, or auto.")] = "auto",
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Time the commits on this folder's disk; else in the folder for temporary files."),
    ] = None,
    cameras: Annotated[
        int | None, typer.Option(help="Play so many cameras at once and tell what they cost.", min=1, max=MAX_CAMERAS)
    ] = None,
    seconds: Annotated[float, typer.Option(help="With --cameras: how long to watch.", min=1)] = 60.0,
    fps: Annotated[float, typer.Option(help="With cameras: frames analysed a second of each.", min=0.5, max=30)] = 8.0,
    stream_fps: Annotated[float, typer.Option(help="With cameras: frames a second from each.", min=1, max=60)] = 25.0,
    source: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDRESS", help="Real cameras instead of the clip: rtsp://…; may be given several times."),
    ] = None,
    soak: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Play cameras for so long (30m), look every minute and tell what grows."),
    ] = None,
    delivery: Annotated[
        bool, typer.Option("--delivery", help="Measure queue and link alone: recording, sending, draining a backlog.")
    ] = False,
    backlog: Annotated[
        int, typer.Option(help="With --delivery: events of 100 KB that are drained.", min=1, max=1_000_000)
    ] = 10_000,
    as_json: JsonOption = False,
) -> None:
    """Milliseconds per stage of a frame's whole way, from the decoder to the back-end's acknowledgement.

    With --cameras or --source the whole agent works on that many live streams at once, and each camera's rates, the age
    of its frames and its share of the processor are told. With --soak it does so for long, and memory, file handles and
    threads are watched; the exit code is 1 where they grow. With --delivery no picture is looked at: what is recorded,
    sent and drained a second is set against bare files and bare emits of the same run.
    """
    _refuse_together(delivery=delivery, soak=soak, cameras=cameras, source=source, clip=clip)
    if delivery:
        from lpr import logging
        from lpr.cli import bench_delivery

        logging.quiet()
        bench_delivery.delivery(seconds=seconds, backlog=backlog, data_dir=data_dir, as_json=as_json)
        return
    if clip is not None:
        from lpr.cli.clips import check_clip

        check_clip(clip)
    if cameras is None and soak is None and not source:
        _bench_stages(clip, rounds, device, detail, data_dir, as_json=as_json)
        return
    from lpr import logging
    from lpr.agent.bench.streams import LoadOptions
    from lpr.cli import bench_load
    from lpr.cli.sample import sample_clip

    options = LoadOptions(
        clip=clip or sample_clip(),
        folder=Path(),
        backend_url="",
        cameras=cameras or CAMERAS_OF_A_SOAK,
        sources=tuple(source or ()),
        fps=fps,
        stream_fps=stream_fps,
        device=device,
        detail=detail,
    )
    logging.configure(level="error")
    if soak is not None:
        bench_load.soak(options, seconds=_duration(soak), data_dir=data_dir, as_json=as_json)
    else:
        bench_load.load(options, seconds=seconds, data_dir=data_dir, as_json=as_json)


def _refuse_together(*, delivery: bool, **others: object) -> None:
    """What is asked for and would be passed over in silence."""
    given = [f"--{name}" for name, value in others.items() if value]
    if delivery and given:
        raise ConfigError(f"--delivery looks at no picture: {given[0]} means nothing beside it", hint="run bench twice")
    if others["source"] and (others["cameras"] or others["clip"]):
        what = "--cameras" if others["cameras"] else "--clip"
        raise ConfigError(f"--source names the cameras: {what} means nothing beside it")


def _duration(text: str) -> float:
    from lpr.config.quantities import parse_duration

    try:
        return parse_duration(text).total_seconds()
    except ValueError as error:
        raise ConfigError(f"--soak {error}") from None


def _bench_stages(
    clip: Path | None, rounds: int, device: str, detail: str, data_dir: Path | None, *, as_json: bool
) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from lpr import logging
    from lpr.agent.bench.stages import bench as measure
    from lpr.cli.sample import sample_clip

    logging.configure(level="error")
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with (
        bench_folder(data_dir) as folder,
        Progress(*columns, console=console, transient=True) as bar,
    ):
        task = bar.add_task("frames the whole way", total=None)
        report = asyncio.run(
            measure(
                clip or sample_clip(),
                _configuration(device, detail),
                rounds=rounds,
                folder=folder,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
        )
    if as_json:
        print_json(report.to_json(), indent=2)
    else:
        _print_report(report)


def _configuration(device: str, detail: str) -> AgentConfig:
    from lpr.config import config_from

    values: dict[str, Any] = {
        "agent": {"id": "bench"},
        "backend": {"url": "http://127.0.0.1"},
        "vision": {"device": device, "input": detail},
        "cameras": [{"id": "bench", "source": "/dev/null", "gate": {"id": "bench"}}],
    }
    return config_from(values)


def _print_report(report: BenchReport) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    table = Table(title=f"one {report.frame} frame with one plate, on {report.device}, milliseconds", box=None)
    for name in ("stage", "median", "p95", "count"):
        table.add_column(name, justify="left" if name == "stage" else "right")
    for name, times in report.stages.items():
        if times.count:
            table.add_row(name.replace("_", " "), f"{times.p50_ms:.2f}", f"{times.p95_ms:.2f}", str(times.count))
    console.print(table)
    verdict = "[green]good[/green]" if report.ratio <= GOAL_RATIO else f"[yellow]above {GOAL_RATIO}[/yellow]"
    console.print(
        f"detect + read           {report.detect_and_read_ms:.2f}\n"
        f"the two bare networks   {report.networks_ms:.2f}\n"
        f"ratio                   [bold]{report.ratio:.2f}[/bold]  {verdict}\n"
        f"with scaling and straightening, frame to reads  {report.whole_ms:.2f}"
    )
