"""Lines of results and a bar of progress that do not get in each other's way, on a terminal or in a pipe."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from lpr.domain.secrets import mask_secrets


class RateColumn(ProgressColumn):
    """`23.4/s`, once it is known."""

    def render(self, task: Task) -> Text:
        """The rate of `task`, of the whole run once it has ended."""
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f}/s" if speed else "", style="cyan")


class Screen:
    """Results go to stdout, errors to stderr. The bar is drawn on a terminal only, and never into a pipe's text."""

    def __init__(self, *, unit: str) -> None:
        self._out = Console(file=sys.stdout, highlight=False, soft_wrap=True)
        self._err = Console(file=sys.stderr, highlight=False, soft_wrap=True)
        # Both may be one terminal: then the bar and the lines go through one console, which keeps them apart.
        self._drawn_on = self._out if self._out.is_terminal else self._err
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f} of {task.total:.0f} " + unit),
            RateColumn(),
            TimeRemainingColumn(compact=True),
            console=self._drawn_on,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._bar.add_task("", total=None, visible=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar.live.is_started:
            self._bar.stop()

    def begin(self, amount: float, description: str) -> None:
        """Show the bar for `amount` pieces of work, where there is a terminal to show it on."""
        if self._drawn_on.is_terminal:
            self._bar.reset(self._task, total=amount, description=description, visible=True)
            self._bar.start()

    def advance(self, amount: float, description: str) -> None:
        """Some work is done; `description` says what is being worked on."""
        self._bar.update(self._task, advance=amount, description=description)

    def line(self, text: str) -> None:
        """One line of result. Flushed, so that a reader at the other end of a pipe has it at once."""
        if self._out.is_terminal:
            self._out.print(Text(text))
        else:
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()

    def error(self, text: str) -> None:
        """One line about what failed, without secrets."""
        self._complain("error", text, "bold red")

    def hint(self, text: str) -> None:
        """One line about what can be done."""
        self._complain("hint", text, "bold cyan")

    def _complain(self, label: str, text: str, style: str) -> None:
        text = mask_secrets(text)
        if self._err.is_terminal:
            self._drawn_on.print(Text.assemble((f"{label}: ", style), text))
        else:
            sys.stderr.write(f"{label}: {text}\n")
            sys.stderr.flush()
