"""From a file, the environment and credentials to one `AgentConfig`, or one error that lists every mistake."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lpr.config.addresses import SourceAddress
from lpr.config.document import Document, KeyPath, Problem, read_document
from lpr.config.environment import Overlay
from lpr.config.model import AgentConfig
from lpr.config.problems import config_error, problem_words, problems_of
from lpr.domain.errors import ConfigError

FILE_VARIABLE = "LPR_CONFIG"
FILE_NAME = "lpr-agent.yaml"
SYSTEM_FILE = Path("/etc/lpr-agent") / FILE_NAME


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedConfig:
    """A configuration and where it is from.

    `origins` has the source of every value that was given: `line 12` of the file, `$LPR_BACKEND__TOKEN`, a credential's
    path; the others have their default. `warnings` are sentences for the log.
    """

    config: AgentConfig
    file: Path
    origins: Mapping[KeyPath, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def find_config(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> Path:
    """The configuration file: `path`, `$LPR_CONFIG`, `./lpr-agent.yaml`, `/etc/lpr-agent/lpr-agent.yaml`.

    Raises `ConfigError` where there is none; a file that was named and does not exist is never passed over.
    """
    if path is not None:
        return path
    if named := environ.get(FILE_VARIABLE):
        return Path(named)
    places = (Path(FILE_NAME), SYSTEM_FILE)
    for place in places:
        if place.exists():
            return place
    looked = f"-c FILE (not given), ${FILE_VARIABLE} (not set), {Path.cwd() / FILE_NAME}, {SYSTEM_FILE}"
    raise ConfigError(
        f"no configuration found; looked at {looked}",
        hint="`lpr-agent config init` writes a sample here; `lpr-agent demo` needs none",
    )


def load(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> LoadedConfig:
    """Find, read and check the configuration. Raises `ConfigError` with every mistake that was found."""
    file = find_config(path, environ)
    document = read_document(file)
    overlay = Overlay(document.data)
    overlay.add_environment(environ)
    overlay.add_credentials(environ)
    problems = [*document.problems, *overlay.problems]
    context = {"base_dir": file.absolute().parent, "environ": environ}
    config: AgentConfig | None = None
    try:
        config = AgentConfig.model_validate(document.data, context=context)
    except ValidationError as error:
        known = {problem.path for problem in document.problems}
        for problem in problems_of(error):
            if problem.path in known:
                continue  # what is wrong with its writing says more than what is wrong with what is left of it
            origin = overlay.origins.get(problem.path)
            line = document.line_of(problem.path)
            problems.append(Problem((origin,), problem.message) if origin else replace(problem, line=line))
    if config is None or problems:
        raise config_error(str(file), problems)
    _check_files(config, file, document.line_of)
    origins = {path: f"line {line}" for path, line in document.lines.items()} | overlay.origins
    return LoadedConfig(config=config, file=file, origins=origins, warnings=_warnings(config, document, file))


def load_config(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> AgentConfig:
    """The configuration alone; see `load`. Raises `ConfigError`."""
    return load(path, environ).config


def config_from(data: Mapping[str, Any], *, name: str = "") -> AgentConfig:
    """A configuration from plain values, for demos and benches; `name` stands before the mistakes in an error.

    Raises `ConfigError` with every mistake.
    """
    try:
        return AgentConfig.model_validate(data)
    except ValidationError as error:
        raise config_error(name, problems_of(error)) from None


def _check_files(config: AgentConfig, file: Path, line_of: Callable[[KeyPath], int | None]) -> None:
    """Files that are named must be there now: an agent that starts without its certificate would never connect."""
    problems = []
    for key in ("token_file", "ca_file", "client_cert", "client_key"):
        named: Path | None = getattr(config.backend, key)
        if named is None:
            continue
        try:
            with named.open("rb") as opened:
                opened.read(1)
        except OSError as error:
            path: KeyPath = ("backend", key)
            problems.append(Problem(path, f"names {named}, which cannot be read: {error.strerror}", line_of(path)))
    if problems:
        raise config_error(str(file), problems)
    config.backend.read_token()


def _warnings(config: AgentConfig, document: Document, file: Path) -> tuple[str, ...]:
    doubts = [*document.doubts, *_doubtful_addresses(config, document)]
    found = [f"{file}, {problem_words(doubt)}" for doubt in doubts]
    holds_secret = next(config.secrets(), None) is not None
    if holds_secret and file.stat().st_mode & stat.S_IROTH:
        found.append(f"{file} holds passwords and every user of this machine can read it: chmod 640 {file}")
    if config.backend.url.lower().startswith("http://") and not _is_local(config.backend.url):
        found.append(
            f"backend.url {config.backend.url} is not encrypted: token, plates and pictures can be read on the way"
        )
    return tuple(found)


def _doubtful_addresses(config: AgentConfig, document: Document) -> Iterator[Problem]:
    for place, camera in enumerate(config.cameras):
        for key in ("source", "analyse_source"):
            source: SourceAddress | None = getattr(camera, key)
            if source is not None and source.may_hide_login:
                path: KeyPath = ("cameras", place, key)
                yield Problem(
                    path,
                    "is read as an address without user and password: if what stands before the @ is a login, write a"
                    " / in it as %2F",
                    document.line_of(path),
                )


def _is_local(url: str) -> bool:
    host = url.split("://", 1)[1]
    return host.startswith(("localhost", "127.", "[::1]"))
