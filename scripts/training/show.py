"""A training's progress for people: a bar on a terminal, a line now and then where there is none; its curves as SVG."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from scripts.chart import Chart, Series, draw
from scripts.training.files import read_log, write_text

REFRESH_S: Final = 0.2
LINE_EVERY_S: Final = 60.0
"""Where nobody looks at a terminal, a log should not grow by the bar's every move."""


class Bar:
    """The `Watch` of one stage."""

    def __init__(self, name: str, console: Console, progress: Progress | None) -> None:
        self._name, self._console, self._progress = name, console, progress
        self._task = progress.add_task(name, total=1.0, note="") if progress is not None else None
        self._shown = self._said = time.monotonic()
        self._note = ""

    def advance(self, progress: float) -> None:
        """Move the bar; not oftener than an eye can follow."""
        now = time.monotonic()
        if self._progress is not None and self._task is not None:
            if now - self._shown >= REFRESH_S:
                self._progress.update(self._task, completed=min(1.0, progress), note=self._note, refresh=True)
                self._shown = now
        elif now - self._said >= LINE_EVERY_S:
            self._console.print(f"{self._name}: {progress:.0%}  {self._note}", highlight=False)
            self._said = now

    def report(self, figures: Mapping[str, Any]) -> None:
        """Put the newest figures behind the bar."""
        self._note = note_of(figures) or self._note

    def done(self) -> None:
        """Leave the bar full."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=1.0, note=self._note, refresh=True)
        else:
            self._console.print(f"{self._name}: done  {self._note}", highlight=False)


def note_of(figures: Mapping[str, Any]) -> str:
    """The few figures that tell how it goes."""
    parts = [f"{name} {figures[name]:.3g}" for name in ("text", "box", "corner") if name in figures]
    if "right" in figures:
        parts.append(f"right {figures['right']:.1%}")
    validation = figures.get("validation", figures.get("final", {}))
    parts += [f"validation {validation['exact']:.1%}"] if "exact" in validation else []
    parts += [f"found {figures['valid_found']:.1%}"] if "valid_found" in figures else []
    return ", ".join(parts)


class Stages:
    """Shows one stage after the other."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)

    @contextmanager
    def training(self, name: str) -> Iterator[Bar]:
        """A stage that tells how far it is."""
        if not self.console.is_terminal:
            bar = Bar(name, self.console, None)
            yield bar
            bar.done()
            return
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
        times = (TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[note]}"))
        # No thread of its own: processes are forked beside it.
        with Progress(*columns, *times, console=self.console, auto_refresh=False) as progress:
            bar = Bar(name, self.console, progress)
            yield bar
            bar.done()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """A stage of seconds or minutes that tells only that it is there."""
        began = time.monotonic()
        self.console.print(f"{name} ...", highlight=False)
        yield
        self.console.print(f"{name}: {time.monotonic() - began:.0f} s", highlight=False)


def draw_curves(log: Path, picture: Path) -> None:
    """Draw the log of a training, the recogniser's or the detector's; nothing where it has no lines."""
    lines = read_log(log)
    if not lines:
        return
    if "valid_found" in lines[-1]:
        charts = [
            Chart("Losses", _curves(lines, ("confidence", "box", "corner")), "step"),
            Chart("Rendered validation scenes", _curves(lines, ("valid_found",)), "step", "found", y_range=(0.0, 1.0)),
            Chart("", _curves(lines, ("valid_corner_error", "valid_false_per_picture")), "step"),
        ]
    else:
        validated = [{"step": line["step"], **line["validation"]} for line in lines if "validation" in line]
        charts = [
            Chart("Losses", _curves(lines, ("text", "cell", "readable")), "step"),
            Chart("Looking at the right place", _curves(lines, ("where",)), "step", "loss"),
            Chart(
                "Fresh training plates", _curves(lines, ("right",)), "step", "text exactly right", y_range=(0.0, 1.0)
            ),
            Chart("Rendered validation plates", _curves(validated, ("exact", "signs")), "step", y_range=(0.0, 1.0)),
        ]
    write_text(draw(charts, columns=2), picture)


def _curves(lines: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[Series]:
    return [
        Series(name.removeprefix("valid_"), [(line["step"], line[name]) for line in lines if name in line])
        for name in names
    ]
