"""Options that several commands share, so that they read the same everywhere."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

ConfigOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "-c",
        "--config",
        metavar="FILE",
        # The loader says more than the parser would: who must be able to read it.
        readable=False,
        help="Configuration; else $LPR_CONFIG, ./lpr-agent.yaml or /etc/lpr-agent/lpr-agent.yaml.",
    ),
]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def json_line(value: Any, *, indent: int | None = None) -> str:
    """`value` as JSON. A file name that is not UTF-8 comes as lone surrogates, which no JSON reader accepts: `?`."""
    import json

    return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent).encode("utf-8", "replace").decode()


def print_json(value: Any, *, indent: int | None = None) -> None:
    """One JSON document on stdout, flushed: a reader at the other end of a pipe sees it at once."""
    sys.stdout.write(f"{json_line(value, indent=indent)}\n")
    sys.stdout.flush()
