"""`lpr-agent queue`: look after the queue on disk, dead letters included; safe while the agent runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from lpr.cli.options import ConfigOption, JsonOption, print_json
from lpr.domain.errors import ConfigError, LprError

if TYPE_CHECKING:
    from rich.table import Table

    from lpr.outbox.rows import State
    from lpr.outbox.tools import Item, QueueFile, QueueReport

app = typer.Typer(no_args_is_help=True, help="Look after the queue on disk; safe while the agent runs.")

DataDirOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--data-dir", metavar="DIR", help="The agent's data directory; else agent.data_dir of the configuration."
    ),
]
DeadOption: TypeAlias = Annotated[bool, typer.Option("--dead", help="Dead letters only.")]
WaitingOption: TypeAlias = Annotated[bool, typer.Option("--waiting", help="Waiting events only.")]
YesOption: TypeAlias = Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")]
NamesArgument: TypeAlias = Annotated[
    list[str] | None, typer.Argument(metavar="[EVENT]…", help="Sequence numbers, or ids or their beginnings.")
]

LIST_LIMIT = 50


@app.command("status")
def status(config: ConfigOption = None, data_dir: DataDirOption = None, as_json: JsonOption = False) -> None:
    """The queue in numbers: what waits, how long, how large, dead letters."""
    max_bytes = None if data_dir is not None else _max_bytes(config)
    with _open(config, data_dir) as queue:
        report = queue.report()
    if as_json:
        print_json(_report_dict(report, max_bytes), indent=2)
    else:
        _show(_report_table(report, max_bytes))


@app.command("list")
def list_events(
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    dead: DeadOption = False,
    waiting: WaitingOption = False,
    limit: Annotated[int, typer.Option("-n", "--limit", min=0, help="At most so many; 0 means all.")] = LIST_LIMIT,
    as_json: JsonOption = False,
) -> None:
    """The events in the queue, oldest first."""
    with _open(config, data_dir) as queue:
        # One more than is shown tells whether there are more.
        items = queue.items(state=_state(dead=dead, waiting=waiting), limit=limit + 1 if limit else None)
    more = bool(limit) and len(items) > limit
    items = items[:limit] if limit else items
    if as_json:
        for item in items:
            print_json(_item_dict(item))
        return
    if not items:
        typer.echo("no dead letters" if dead else "nothing waits" if waiting else "the queue is empty")
        return
    _show(_items_table(items))
    if more:
        typer.echo(f"only the oldest {limit} are shown; -n 0 shows all")


@app.command("show")
def show(
    event: Annotated[str, typer.Argument(metavar="EVENT", help="Sequence number, or id or its beginning.")],
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """One event: its message, its pictures' sizes, and why it is a dead letter where it is one."""
    with _open(config, data_dir) as queue:
        item = queue.find(event)
        contents = queue.contents(item)
    pictures = {
        kind: {"width": image.width, "height": image.height, "bytes": len(image.data)}
        for kind, image in (
            ("plate", contents and contents.plate_image),
            ("scene", contents and contents.original_image),
        )
        if image
    }
    if as_json:
        print_json({**_item_dict(item), "pictures": pictures, "message": item.body}, indent=2)
        return
    _show(_item_table(item, pictures))
    print_json(item.body, indent=2)


@app.command("export")
def export(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder.", file_okay=False)],
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    dead: DeadOption = False,
    waiting: WaitingOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write the events to DIR, dead letters included: a line of JSON each, and pictures that anyone can open."""
    with _open(config, data_dir) as queue:
        exported = _export(queue, directory, _state(dead=dead, waiting=waiting), quiet=as_json)
    if as_json:
        print_json({"events": exported.events, "pictures": exported.pictures, "directory": str(directory)})
    else:
        typer.echo(f"wrote {exported.events} event(s) and {exported.pictures} picture(s) to {directory}")


@app.command("retry")
def retry(
    events: NamesArgument = None,
    everything: Annotated[bool, typer.Option("--all", help="All dead letters.")] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let dead letters wait again; a running agent sends them within a second or two."""
    names = _chosen(events, everything, "--all")
    with _open(config, data_dir, writable=True) as queue:
        items = _dead_letters(queue, names)
        retried = queue.retry(items)
    if as_json:
        print_json({"retried": retried, "eventIds": [item.summary.event_id for item in items]})
    else:
        typer.echo(f"{retried} dead letter(s) wait again")


@app.command("drop")
def drop(
    events: NamesArgument = None,
    everything: Annotated[bool, typer.Option("--all", help="All dead letters.")] = False,
    waiting: Annotated[
        bool, typer.Option("--waiting", help="Events that wait, too; the back-end is told that they are lost.")
    ] = False,
    yes: YesOption = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete dead letters for good (export them first). With --waiting also events that still wait."""
    names = _chosen(events, everything, "--all")
    with _open(config, data_dir, writable=True) as queue:
        items = _to_drop(queue, names, waiting=waiting)
        if items:
            _confirm(f"delete {len(items)} event(s) for good?", yes=yes)
        dropped = queue.drop(items)
    if as_json:
        print_json({"dropped": dropped, "eventIds": [item.summary.event_id for item in items]})
    else:
        typer.echo(f"{dropped} event(s) deleted")


# --------------------------------------------------------------------------------------------------------------------
# Arguments


def _open(config: Path | None, data_dir: Path | None, *, writable: bool = False) -> QueueFile:
    from lpr.outbox.tools import QueueFile

    return QueueFile.open(data_dir or _load(config).agent.data_dir, writable=writable)


def _load(config: Path | None) -> Any:
    from lpr.config import load_config

    return load_config(config)


def _max_bytes(config: Path | None) -> int:
    return int(_load(config).outbox.max_bytes)


def _state(*, dead: bool, waiting: bool) -> State | None:
    from lpr.outbox.rows import State

    if dead and waiting:
        raise ConfigError("--dead and --waiting exclude each other")
    return State.DEAD if dead else State.WAITING if waiting else None


def _chosen(events: list[str] | None, everything: bool, option: str) -> list[str] | None:
    """Names that were given, None for all."""
    if everything and events:
        raise ConfigError(f"give events or {option}, not both")
    if not everything and not events:
        raise ConfigError(
            f"say which: events, or {option}", hint="`lpr-agent queue list --dead` shows the dead letters"
        )
    return None if everything else events


def _dead_letters(queue: QueueFile, names: list[str] | None) -> list[Item]:
    """Dead letters of these names, all for None. Raises `LprError` where one is none."""
    from lpr.outbox.rows import State

    if names is None:
        return queue.items(state=State.DEAD)
    items = _find_all(queue, names)
    for item in items:
        if item.summary.state is not State.DEAD:
            raise LprError(f"event {_label(item)} is no dead letter, it waits to be sent")
    return items


def _to_drop(queue: QueueFile, names: list[str] | None, *, waiting: bool) -> list[Item]:
    if waiting:
        return queue.items() if names is None else _find_all(queue, names)
    try:
        return _dead_letters(queue, names)
    except LprError as error:
        raise LprError(error.message, hint=error.hint or "--waiting drops it all the same") from None


def _find_all(queue: QueueFile, names: Sequence[str]) -> list[Item]:
    """Each event once, however often it was named."""
    found = [queue.find(name) for name in names]
    return list({item.summary.event_id: item for item in found}.values())


def _confirm(question: str, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigError("this deletes events for good", hint="add --yes where nobody can be asked")
    if not typer.confirm(question, err=True):
        raise LprError("nothing was deleted")


# --------------------------------------------------------------------------------------------------------------------
# Words and tables


def _export(queue: QueueFile, directory: Path, state: State | None, *, quiet: bool) -> Any:
    if quiet or not sys.stderr.isatty():
        return queue.export(directory, state=state)
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("exporting", total=None)
        return queue.export(
            directory, state=state, progress=lambda done, total: bar.update(task, completed=done, total=total)
        )


def age_in_words(seconds: float) -> str:
    """`12 s`, `3 min 20 s`, `2 h 5 min`, `6 d 3 h`: the two largest units that matter."""
    whole = int(seconds)
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    for index, (unit, size) in enumerate(units):
        if whole >= size:
            words = [f"{whole // size} {unit}"]
            if index + 1 < len(units):
                next_unit, next_size = units[index + 1]
                if rest := whole % size // next_size:
                    words.append(f"{rest} {next_unit}")
            return " ".join(words)
    return "0 s"


def _label(item: Item) -> str:
    summary = item.summary
    return summary.event_id if summary.sequence is None else f"{summary.sequence} ({item.what})"


def _report_dict(report: QueueReport, max_bytes: int | None) -> dict[str, Any]:
    return {
        "dataDir": str(report.data_dir),
        "agentId": report.agent_id,
        "running": report.holder is not None,
        "pid": report.holder or None,
        "pending": report.pending,
        "byType": report.by_type,
        "bytes": report.bytes,
        "maxBytes": max_bytes,
        "fileBytes": report.file_bytes,
        "oldestAgeSeconds": round(report.oldest_age_s, 1),
        "deadLetters": report.dead_letters,
        "lastSequence": report.last_sequence,
        "setAside": list(report.set_aside),
    }


def _report_table(report: QueueReport, max_bytes: int | None) -> Table:
    from rich.text import Text

    from lpr.config import readable_size

    table = _grid()
    of_max = f" of {readable_size(max_bytes)} ({report.bytes / max_bytes:.1%})" if max_bytes else ""
    types = ", ".join(f"{count} {name}" for name, count in sorted(report.by_type.items()))
    running = "no" if report.holder is None else f"yes, process {report.holder or 'unknown'}"
    table.add_row("queue", Text(str(report.data_dir)))
    table.add_row("agent", Text(report.agent_id or "unknown"))
    table.add_row("agent runs", running)
    table.add_row("waiting", f"{report.pending}" + (f"  ({types})" if types else ""))
    table.add_row("oldest", age_in_words(report.oldest_age_s) if report.pending else "-")
    table.add_row("dead letters", Text(str(report.dead_letters), style="red" if report.dead_letters else ""))
    table.add_row("size", readable_size(report.bytes) + of_max)
    table.add_row("on the disk", readable_size(report.file_bytes))
    table.add_row("last sequence", str(report.last_sequence))
    for name in report.set_aside:
        table.add_row("set aside", Text(f"{name} (damaged; see QUEUE_CORRUPT)", style="yellow"))
    return table


def _item_dict(item: Item) -> dict[str, Any]:
    from lpr.domain.clock import isoformat_ms
    from lpr.outbox.tools import STATE_NAMES, rejection_dict

    summary = item.summary
    return {
        "eventId": summary.event_id,
        "sequence": summary.sequence,
        "type": summary.event_type,
        "what": item.what,
        "gateId": item.gate_id,
        "state": STATE_NAMES[summary.state],
        "recordedAt": isoformat_ms(summary.recorded_at),
        "ageSeconds": round(item.age_s, 1),
        "attempts": summary.attempts,
        "bytes": summary.size_bytes,
        "rejection": rejection_dict(item.burial),
    }


def _items_table(items: Sequence[Item]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from lpr.config import readable_size
    from lpr.wire import PROCESSING_STATUS

    # No ids: the numbers are what a person types; `--json` has both.
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in ("#", "what", "gate", "age", "tries", "size", "state"):
        right = name in ("#", "age", "tries", "size")
        table.add_column(name, justify="right" if right else "left", no_wrap=name != "state")
    for item in items:
        summary = item.summary
        dead = item.burial is not None
        table.add_row(
            "-" if summary.sequence is None else str(summary.sequence),
            Text(f"status {item.what}" if summary.event_type == PROCESSING_STATUS else item.what),
            Text(item.gate_id),
            age_in_words(item.age_s),
            str(summary.attempts),
            readable_size(summary.size_bytes),
            Text(f"dead: {item.burial.code} {item.burial.reason}", style="red") if item.burial and dead else "waiting",
        )
    return table


def _item_table(item: Item, pictures: dict[str, dict[str, int]]) -> Table:
    from rich.text import Text

    from lpr.config import readable_size

    fields = _item_dict(item)
    table = _grid()
    for name, key in (("event", "eventId"), ("sequence", "sequence"), ("type", "type"), ("what", "what")):
        table.add_row(name, Text("-" if fields[key] is None else str(fields[key])))
    table.add_row("state", Text(fields["state"], style="red" if item.burial else ""))
    if item.burial is not None:
        table.add_row("rejected", Text(f"{item.burial.code}: {item.burial.reason}"))
    table.add_row("recorded", f"{fields['recordedAt']}  ({age_in_words(item.age_s)} ago)")
    table.add_row("tries", str(fields["attempts"]))
    for kind, size in pictures.items():
        table.add_row(f"{kind} picture", f"{size['width']} x {size['height']}, {readable_size(size['bytes'])}")
    return table


def _grid() -> Table:
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    return table


def _show(table: Table) -> None:
    from rich.console import Console

    # A pipe has no width; lines must not be cut to a guess of one.
    Console(width=None if sys.stdout.isatty() else 200, highlight=False).print(table)
