"""`lpr-agent backend`: a small back-end that speaks the contract, to try an agent against."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lpr.domain.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from lpr.backend.server import Backend, BackendSettings
    from lpr.backend.store import Kept
    from lpr.backend.table import EventTable


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("backend")(backend)


def backend(
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)] = 3001,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all of this machine.")] = "127.0.0.1",
    namespace: Annotated[str, typer.Option(help="Socket.IO namespace.")] = "/ai",
    token: Annotated[
        str | None, typer.Option(help="Token that agents must present.", envvar="LPR_BACKEND_TOKEN", show_envvar=True)
    ] = None,
    database: Annotated[Path, typer.Option(help="SQLite file to keep events in.")] = Path("lpr-backend.db"),
    memory: Annotated[bool, typer.Option("--memory", help="Keep events in memory: a restart forgets them.")] = False,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            help="Misbehave: silent, slow, retry, reject, kick or close; kind:0.2 for a fifth of the events, "
            "kind:x3 for the next three. May be given several times, and changed while it runs: POST /faults.",
        ),
    ] = None,
    slow: Annotated[float, typer.Option(help="Seconds that the fault slow waits before it answers.", min=0)] = 2.0,
    strict: Annotated[bool, typer.Option("--strict", help="Reject what is not quite as the contract says.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line an event instead of the table.")] = False,
) -> None:
    """Run a small back-end that stores what agents send, acknowledges it, and shows it as a table.

    For trying an agent, and as a working example of the contract. Its page at / shows the newest events with pictures;
    GET /events gives them as JSON, POST /commands/NAME sends a command to the agent.
    """
    # Not before the command is really run: aiohttp and socketio take half a second to import.
    from lpr.backend.faults import parse_fault
    from lpr.backend.server import BackendSettings

    if not namespace.startswith("/"):
        raise ConfigError(f"--namespace must begin with /, got '{namespace}'")
    settings = BackendSettings(
        host=host,
        port=port,
        namespace=namespace,
        token=token or None,
        database=None if memory else database,
        faults=tuple(parse_fault(each) for each in fault or ()),
        slow_s=slow,
        strict=strict,
    )
    asyncio.run(_serve(settings, as_json=as_json))


async def _serve(settings: BackendSettings, *, as_json: bool) -> None:
    from lpr.backend.server import Backend

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with Backend(settings) as backend:
        if as_json:
            await _print_json(backend, stop)
        else:
            await _show_table(backend, stop)


async def _print_json(backend: Backend, stop: asyncio.Event) -> None:
    def tell(kept: Kept) -> None:
        _print_line(json.dumps({**kept.event.to_json(), "duplicate": kept.duplicate}, ensure_ascii=False), stop)

    backend.on_event(tell)
    print(f"back-end listening on {backend.url}{backend.settings.namespace}", file=sys.stderr, flush=True)
    await stop.wait()


def _print_line(text: str, stop: asyncio.Event) -> None:
    """Print and flush; a reader that went away (`| head`) ends the program rather than the event."""
    try:
        sys.stdout.buffer.write(text.encode("utf-8", "replace") + b"\n")
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        stop.set()


async def _show_table(backend: Backend, stop: asyncio.Event) -> None:
    from rich.console import Console
    from rich.live import Live

    from lpr.backend.table import EventTable, line

    console = Console(highlight=False)
    table = EventTable()
    backend.on_event(table.add)
    if not console.is_terminal:
        for text in _heading(backend):
            _print_line(text.plain, stop)
        backend.on_event(lambda kept: None if kept.duplicate else _print_line(line(kept.event), stop))
        await stop.wait()
        return
    with Live(console=console, auto_refresh=False, transient=False) as live:
        changed = asyncio.Event()
        backend.on_event(lambda _: changed.set())
        backend.on_change(changed.set)
        while not stop.is_set():
            live.update(_screen(backend, table), refresh=True)
            await _either(stop, changed, timeout_s=1.0)
            changed.clear()
    console.print("[dim]closed[/dim]")


async def _either(first: asyncio.Event, second: asyncio.Event, *, timeout_s: float) -> None:
    """Wait for one of two events, or for the time; the faults may have been changed in the meantime."""
    waits = [asyncio.ensure_future(first.wait()), asyncio.ensure_future(second.wait())]
    await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    await asyncio.gather(*waits, return_exceptions=True)


def _screen(backend: Backend, table: EventTable) -> RenderableType:
    return table.render(heading=_heading(backend))


def _heading(backend: Backend) -> list[Text]:
    from rich.text import Text

    where = Text("back-end ", style="bold")
    where.append(f"{backend.url}{backend.settings.namespace}", style="cyan")
    where.append(f"   page {backend.url}/   events kept in {backend.store.where}", style="dim")
    lines = [where]
    agents = backend.agents
    if agents:
        names = ", ".join(f"{agent.agent_id} {agent.version}".strip() for agent in agents)
        lines.append(Text(f"connected: {names}", style="green"))
    else:
        lines.append(Text("no agent connected", style="yellow"))
    if backend.refused:
        lines.append(Text(f"{backend.refused} connections refused: wrong token", style="red"))
    if backend.faults.faults:
        lines.append(Text("faults in force: " + ", ".join(map(str, backend.faults.faults)), style="magenta"))
    return lines
