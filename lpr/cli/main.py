"""The program's door: the table of commands, what errors look like, and the exit codes.

    0    good
    1    what was asked for failed
    2    wrong arguments or configuration: nothing was started
    130  ended by Ctrl-C

Command modules import only typer and the standard library at their top, so that `--help` comes at once; a test holds
them to it.
"""

from __future__ import annotations

import inspect
import io
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Annotated

import typer

import lpr
from lpr.cli import exits
from lpr.cli.handles import run_out
from lpr.domain.errors import ConfigError, LprError
from lpr.domain.secrets import mask_secrets

COMMANDS = ("demo", "run", "read", "check", "queue", "config", "backend", "bench")
"""In the order of the help; each is a module of `lpr.cli` with `register(app)`, or with an `app` of sub-commands."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program with `arguments`, or with those of the process, and leave with its exit code (`SystemExit`)."""
    _speak_utf8()
    debug = _Debug()
    try:
        build_app(debug)(args=arguments, prog_name="lpr-agent")
    except LprError as error:
        show_error(error)
        sys.exit(exit_code_of(error))
    except KeyboardInterrupt:
        sys.exit(exits.INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - the last stop: a person gets a line, the log gets the traceback
        if (expected := run_out(error)) is not None:
            show_error(expected)
        else:
            _show_unexpected(error, debug=debug.on)
        sys.exit(exits.FAILED)


class _Debug:
    """Whether `--debug` was given; an object, because it is asked for after the parser has gone."""

    on = False


def build_app(debug: _Debug | None = None) -> typer.Typer:
    """The program with every command that is there."""
    app = typer.Typer(
        name="lpr-agent",
        help="Reads Vietnamese licence plates at a gate and delivers every event to the back-end without loss.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def options(
        version: Annotated[
            bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_show_version)
        ] = False,
        with_traceback: Annotated[
            bool, typer.Option("--debug", help="Show the traceback of an unexpected error.")
        ] = False,
    ) -> None:
        if debug is not None:
            debug.on = with_traceback

    for name in COMMANDS:
        _add_command(app, name)
    _let_help_flow(app)
    return app


def _add_command(app: typer.Typer, name: str) -> None:
    module_name = f"lpr.cli.{name}"
    if find_spec(module_name) is None:
        return
    module = import_module(module_name)
    if hasattr(module, "register"):
        module.register(app)
    else:
        app.add_typer(module.app, name=name)


def _let_help_flow(app: typer.Typer) -> None:
    """Make each paragraph of the commands' docstrings one line: their own line breaks fit no other width."""
    for command in app.registered_commands:
        if command.callback is not None and command.help is None:
            paragraphs = (inspect.getdoc(command.callback) or "").split("\n\n")
            command.help = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    for group in app.registered_groups:
        if group.typer_instance is not None:
            _let_help_flow(group.typer_instance)


def exit_code_of(error: LprError) -> int:
    """2 where arguments or configuration are wrong, else 1."""
    return exits.USAGE if isinstance(error, ConfigError) else exits.FAILED


def show_error(error: LprError) -> None:
    """What failed and what can be done about it, on stderr, without secrets."""
    _complain("error", mask_secrets(error.message))
    if error.hint:
        _complain("hint", mask_secrets(error.hint), colour="cyan")


def _show_unexpected(error: Exception, *, debug: bool) -> None:
    from lpr.logging import get_logger, is_kept

    if is_kept():
        get_logger("lpr").critical("unexpected error", exc_info=error)
    elif debug:
        typer.echo(mask_secrets("".join(traceback.format_exception(error))), err=True, nl=False)
    summary = " ".join(str(error).split())
    _complain("error", mask_secrets(f"this should not have happened: {type(error).__name__}: {summary}".rstrip(": ")))
    if not debug and not is_kept():
        _complain("hint", "`lpr-agent --debug …` shows where; please report it", colour="cyan")


def _complain(label: str, text: str, *, colour: str = "red") -> None:
    typer.secho(f"{label}: ", fg=colour, bold=True, err=True, nl=False)
    typer.echo(text, err=True)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lpr-agent {lpr.__version__}")
        raise typer.Exit


def _speak_utf8() -> None:
    """`Cổng chính` must come out whole in any locale; a file name that is not UTF-8 must not stop the program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
