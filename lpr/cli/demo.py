"""`lpr-agent demo`: the whole way once on this machine, with a clip that the project drew itself."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lpr.cli import exits
from lpr.cli.options import JsonOption, print_json
from lpr.cli.ports import free_port
from lpr.cli.sample import expected_texts, sample_clip

if TYPE_CHECKING:
    from rich.console import Console

    from lpr.agent.service import Agent
    from lpr.backend.server import Backend
    from lpr.backend.store import Kept
    from lpr.backend.table import EventTable

PREFERRED_PAGE_PORT = 8090


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("demo")(demo)


def demo(
    clip: Annotated[Path | None, typer.Option(help="Play this clip instead of the one that came along.")] = None,
    stay: Annotated[bool, typer.Option("--stay", help="Keep the local page open at the end, until Ctrl-C.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Watch plates arrive: a sample clip, a small back-end and the local page on this machine. Nothing to configure."""
    from lpr import logging

    if clip is not None:
        from lpr.cli.clips import check_clip

        check_clip(clip)
    with tempfile.TemporaryDirectory(prefix="lpr-agent-demo-") as folder:
        # The log goes to a file: the terminal belongs to the table, and a failure still leaves its traces to show.
        log_file = Path(folder) / "agent.log"
        with log_file.open("w", encoding="utf-8") as stream:
            logging.configure(level="info", format="json", stream=stream)
            outcome = asyncio.run(_Demo(Path(folder), clip, stay=stay, as_json=as_json).run())
    raise typer.Exit(outcome)


@dataclass
class Tally:
    """What arrived, against what the clip holds (nothing is known of a clip of one's own)."""

    expected: tuple[str, ...]
    texts: list[str] = field(default_factory=list)
    unreadable: int = 0

    def add(self, kept: Kept) -> None:
        """Count one event, once."""
        from lpr import wire

        if kept.duplicate:
            return
        data = kept.event.data
        if kept.event.event_type == wire.PLATE_DETECTED:
            plate = data.get("plate")
            self.texts.append(str(plate.get("text", "")) if isinstance(plate, dict) else "")
        elif data.get("errorCode") == "PLATE_UNREADABLE":
            self.unreadable += 1

    @property
    def right(self) -> int | None:
        """Vehicles of the clip that were read right; None for a clip of one's own."""
        return sum(text in self.texts for text in self.expected) if self.expected else None


class _Demo:
    def __init__(self, folder: Path, clip: Path | None, *, stay: bool, as_json: bool) -> None:
        self._folder, self._stay, self._as_json = folder, stay, as_json
        self._clip = clip or sample_clip()
        self._tally = Tally(expected=expected_texts(self._clip))
        self._interrupted = False

    async def run(self) -> int:
        """Play the clip once; returns the exit code."""
        from rich.console import Console

        from lpr.agent.service import Agent
        from lpr.backend.server import Backend, BackendSettings
        from lpr.backend.table import EventTable

        console = Console(highlight=False, stderr=self._as_json)
        console.print("[bold]lpr-agent demo[/bold]  a gate, its cameras and a back-end on this machine")
        settings = BackendSettings(port=0, token=None, database=self._folder / "backend.db")
        async with Backend(settings) as backend:
            table = EventTable()
            backend.on_event(table.add)
            backend.on_event(self._tally.add)
            agent = Agent(self._configuration(backend.url), end_with_files=not self._stay)
            console.print(f"  back-end    [cyan]{backend.url}/[/cyan]")
            console.print(f"  local page  [cyan]http://127.0.0.1:{agent.config.web.port}/[/cyan]")
            console.print(f"  clip        {self._clip}")
            console.print("  Ctrl-C ends it at any moment.\n")
            async with self._signals(agent), _watching(console, backend, table, live=not self._as_json):
                await self._play(agent, console)
            return self._summary(agent, console)

    async def _play(self, agent: Agent, console: Console) -> None:
        running = asyncio.create_task(agent.run())
        if self._stay:
            played = asyncio.create_task(agent.files_delivered.wait())
            await asyncio.wait({running, played}, return_when=asyncio.FIRST_COMPLETED)
            if played.done() and not self._interrupted:
                console.print("The clip is over; the local page stays open until Ctrl-C.")
            played.cancel()
        await running

    def _configuration(self, backend_url: str) -> Any:
        from lpr.config import AgentConfig

        return AgentConfig.model_validate(
            {
                "agent": {"id": "demo", "data_dir": str(self._folder / "data")},
                "backend": {"url": backend_url},
                "outbox": {"min_free_disk": 0},
                "cameras": [
                    {
                        "id": "CAM_001",
                        "name": "Camera Gate 1",
                        "source": str(self._clip),
                        "gate": {"id": "GATE_001", "name": "Cổng chính"},
                        "action": "auto",
                    }
                ],
                "web": {"host": "127.0.0.1", "port": free_port(PREFERRED_PAGE_PORT)},
            }
        )

    @asynccontextmanager
    async def _signals(self, agent: Agent) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()

        def stop() -> None:
            self._interrupted = True
            agent.stop()

        numbers = (signal.SIGINT, signal.SIGTERM)
        for number in numbers:
            loop.add_signal_handler(number, stop)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    def _summary(self, agent: Agent, console: Console) -> int:
        link = agent.link_state
        delay = agent.metrics.frame_to_ack_percentiles()
        summary = {
            "vehicles": len(self._tally.texts) + self._tally.unreadable,
            "read": len(self._tally.texts),
            "expected": len(self._tally.expected) or None,
            "right": self._tally.right,
            "acknowledged": link.acked,
            "waiting": agent.board.queue.pending,
            "frameToAckMs": {"median": round(delay.p50_ms), "p95": round(delay.p95_ms)} if delay.count else None,
            "interrupted": self._interrupted,
        }
        if self._as_json:
            print_json(summary)
        else:
            _print_summary(console, summary, self._tally)
        if self._interrupted and not self._stay:
            return exits.INTERRUPTED
        complete = self._tally.right is None or self._tally.right == len(self._tally.expected)
        return 0 if complete and self._tally.texts else exits.FAILED


def _print_summary(console: Console, summary: dict[str, Any], tally: Tally) -> None:
    console.print()
    of_expected = f" of {summary['expected']} in the clip, {summary['right']} read right" if tally.expected else ""
    console.print(f"[bold]{summary['vehicles']} vehicles[/bold]{of_expected}")
    console.print(f"  read          {summary['read']}")
    console.print(f"  acknowledged  {summary['acknowledged']} events, {summary['waiting']} waiting")
    if summary["frameToAckMs"]:
        times = summary["frameToAckMs"]
        console.print(f"  from frame to acknowledgement  {times['median']} ms median, {times['p95']} ms at p95")
    if missing := [text for text in tally.expected if text not in tally.texts] if not summary["interrupted"] else []:
        console.print(f"  [red]not read right: {', '.join(missing)}[/red]")


@asynccontextmanager
async def _watching(console: Console, backend: Backend, table: EventTable, *, live: bool) -> AsyncIterator[None]:
    """Show what arrives while the body runs: a live table at a terminal, a line an event elsewhere."""
    if not live:
        yield
        return
    if not console.is_terminal:
        from lpr.backend.table import line

        backend.on_event(lambda kept: None if kept.duplicate else print(line(kept.event), flush=True))
        yield
        return
    from rich.live import Live

    with Live(console=console, auto_refresh=False) as screen:

        async def refresh() -> None:
            while True:
                screen.update(table.render(), refresh=True)
                await asyncio.sleep(0.2)

        task = asyncio.create_task(refresh())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            screen.update(table.render(), refresh=True)
