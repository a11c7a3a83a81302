"""`lpr-agent check`: configuration, clock, disk, page, back-end, cameras, models: one line each, and what to do."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import typer

from lpr.cli import exits
from lpr.cli.options import ConfigOption, JsonOption, print_json
from lpr.domain.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lpr.cli.findings import Finding
    from lpr.config import AgentConfig

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("check")(check)


def check(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Try everything in the configuration: one line each, and what to do where it fails.

    Clock, disk, local page, back-end (name, TCP, certificate, namespace, token), cameras (first picture, size, rate)
    and networks (devices, self-test, speed), in half a minute at most. Nothing is changed, and no event is sent; it
    may run beside a working agent. The exit code is 1 where something fails, 2 where it is the configuration.
    """
    from lpr import logging
    from lpr.capture.decoder_log import DecoderMessages

    logging.quiet()
    findings, in_force = _configuration(config)
    printer = _Json() if as_json else _Lines()
    printer.show(findings)
    if in_force is not None:
        # What a decoder says of a camera would stand between the lines, and says less than they do.
        with DecoderMessages():
            asyncio.run(_try(in_force, printer))
    printer.end()
    if in_force is None:
        raise typer.Exit(exits.USAGE)
    if printer.failures:
        raise typer.Exit(exits.FAILED)


def _configuration(path: Path | None) -> tuple[list[Finding], AgentConfig | None]:
    """What there is to say about the configuration, and the one in force; None where it is wrong."""
    from lpr.cli.findings import failed, ok, warn
    from lpr.cli.users import check_files
    from lpr.config import effective_config, load

    try:
        loaded = load(path)
    except ConfigError as error:
        return [failed("configuration", error)], None
    in_force, warnings = effective_config(loaded.config, set_aside=False)
    count = len(in_force.cameras)
    findings = [ok("configuration", f"{loaded.file}, {count} camera{'' if count == 1 else 's'}")]
    findings += [warn("configuration", words) for words in (*loaded.warnings, *warnings)]
    return findings + check_files(loaded.file, in_force), in_force


async def _try(config: AgentConfig, printer: _Lines | _Json) -> None:
    from lpr.cli.checks import checks_of, run_checks

    checks = checks_of(config)
    waiting = [topic for topic, _ in checks]
    printer.working(waiting)
    async for findings in run_checks(checks):
        waiting.pop(0)
        printer.show(findings)
        printer.working(waiting)


class _Lines:
    """For people: a line as soon as it is known, and on a terminal what is still being tried."""

    def __init__(self) -> None:
        from rich.console import Console

        self.failures = 0
        self._warnings = 0
        self._console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
        self._status = self._console.status("", spinner="dots") if self._console.is_terminal else None

    def working(self, topics: Sequence[str]) -> None:
        """Say what is still being tried."""
        if self._status is None:
            return
        if topics:
            self._status.update(f"[dim]trying {', '.join(topics)} …[/dim]")
            self._status.start()
        else:
            self._status.stop()

    def show(self, findings: Sequence[Finding]) -> None:
        """Print each finding, and its remedy on a line of its own."""
        from rich.text import Text

        for finding in findings:
            self._count(finding)
            verdict = finding.verdict.value
            line = Text.assemble((f"{verdict:5}", f"bold {_COLOURS[verdict]}"), f"{finding.topic:15} ", finding.message)
            self._console.print(line)
            if finding.hint:
                self._console.print(Text(f"{'':21}→ {finding.hint}", style="cyan"))

    def _count(self, finding: Finding) -> None:
        self.failures += finding.verdict.value == "fail"
        self._warnings += finding.verdict.value == "warn"

    def end(self) -> None:
        """Say how it went as a whole."""
        self.working([])
        if self.failures or self._warnings:
            self._console.print(f"{self.failures} failed, {self._warnings} to look at")
        else:
            self._console.print("all well")


class _Json:
    """For programs: one document at the end."""

    def __init__(self) -> None:
        self.failures = 0
        self._findings: list[Finding] = []

    def working(self, topics: Sequence[str]) -> None:
        """Nothing: a program waits for the document."""

    def show(self, findings: Sequence[Finding]) -> None:
        """Keep them for the end."""
        self._findings += findings
        self.failures += sum(finding.verdict.value == "fail" for finding in findings)

    def end(self) -> None:
        """Print the document."""
        checks = [
            {"topic": each.topic, "verdict": each.verdict.value, "message": each.message, "hint": each.hint}
            for each in self._findings
        ]
        print_json({"ok": not self.failures, "checks": checks}, indent=2)
