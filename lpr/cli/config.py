"""`lpr-agent config`: write a sample, show what is in force, print the schema."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from lpr.cli.options import ConfigOption, JsonOption, print_json
from lpr.domain.errors import ConfigError

app = typer.Typer(no_args_is_help=True, help="Write a sample configuration, show the one in force, print its schema.")


@app.command("init")
def init(
    path: Annotated[Path, typer.Argument(metavar="[FILE]", help="Where to write it.")] = Path("lpr-agent.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
) -> None:
    """Write a commented sample to start from; `-` prints it."""
    from lpr.config.sample import sample

    if str(path) == "-":
        typer.echo(sample(), nl=False)
        return
    if path.is_dir():
        path = path / "lpr-agent.yaml"
    _write_new(path, sample(), force=force)
    typer.echo(f"wrote {path}")
    typer.echo(f"next: set url, source and gate in it, then try it: lpr-agent check -c {path}")


def _write_new(path: Path, text: str, *, force: bool) -> None:
    """Write `text` readable for its owner and group only, since passwords will stand in it. Raises `ConfigError`."""
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
    try:
        descriptor = os.open(path, flags, 0o640)
    except FileExistsError:
        raise ConfigError(f"{path} is there already", hint="--force writes over it") from None
    except FileNotFoundError:
        raise ConfigError(f"{path} cannot be written: there is no folder {path.parent}") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from None
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


@app.command("show")
def show(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show the configuration in force, and where each value is from; secrets are masked."""
    from lpr.config import effective_config, load
    from lpr.config.problems import dotted
    from lpr.config.show import as_yaml, shown_values

    loaded = load(config)
    in_force, warnings = effective_config(loaded.config, set_aside=False)
    values = shown_values(loaded, in_force)
    for warning in (*loaded.warnings, *warnings):
        typer.secho(f"warning: {warning}", fg="yellow", err=True)
    if as_json:
        origins = {dotted(shown.path): shown.origin for shown in values}
        print_json({"file": str(loaded.file), "config": in_force.model_dump(mode="json"), "origins": origins}, indent=2)
        return
    typer.echo(f"# from {loaded.file.absolute()}\n{as_yaml(values)}", nl=False)


@app.command("schema")
def schema() -> None:
    """Print the JSON schema of the configuration, for editors that complete and check YAML."""
    from lpr.config import AgentConfig

    document = AgentConfig.model_json_schema()
    print_json({"$schema": "https://json-schema.org/draft/2020-12/schema", **document, "title": "lpr-agent"}, indent=2)
