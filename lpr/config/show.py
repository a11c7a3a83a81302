"""The configuration in force, value by value, with where each is from and without secrets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lpr.config.document import KeyPath
from lpr.config.loading import LoadedConfig
from lpr.config.model import AgentConfig
from lpr.config.sample import yaml_value

DEFAULT = "default"
CHANGED = "update_config"


@dataclass(frozen=True, slots=True)
class ShownValue:
    """One value as JSON has it, secrets masked, and its origin: `line 12`, `$LPR_…`, `update_config`, `default`."""

    path: KeyPath
    value: Any
    origin: str


def shown_values(loaded: LoadedConfig, in_force: AgentConfig) -> list[ShownValue]:
    """Every value of `in_force`, which is `loaded` with the changes made at run time."""
    before = dict(_flat(loaded.config.model_dump(mode="json"), ()))
    values = []
    for path, value in _flat(in_force.model_dump(mode="json"), ()):
        changed = path not in before or before[path] != value
        values.append(ShownValue(path, value, CHANGED if changed else _origin(loaded.origins, path)))
    return values


def as_yaml(values: list[ShownValue]) -> str:
    """The values as YAML, each line with its origin as a comment; it is for reading, since secrets are masked."""
    lines: list[tuple[str, str]] = []
    open_path: KeyPath = ()
    for shown in values:
        dash = ""
        for depth in range(len(shown.path) - 1):
            if open_path[: depth + 1] == shown.path[: depth + 1]:
                continue
            part = shown.path[depth]
            if isinstance(part, int):
                dash = "- "
            else:
                lines.append((f"{_indent(depth)}{part}:", ""))
        open_path = shown.path[:-1]
        margin = _indent(len(shown.path) - 1)
        margin = margin[: len(margin) - len(dash)] + dash
        lines.append((f"{margin}{shown.path[-1]}: {yaml_value(shown.value)}", shown.origin))
    width = min(60, max((len(text) for text, origin in lines if origin), default=0))
    return "".join(f"{text:{width}}  # {origin}\n" if origin else f"{text}\n" for text, origin in lines)


def _indent(depth: int) -> str:
    return "  " * depth


def _flat(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, (*path, key))
    elif isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
        for place, inner in enumerate(value):
            yield from _flat(inner, (*path, place))
    else:
        yield path, value


def _origin(origins: Mapping[KeyPath, str], path: KeyPath) -> str:
    # A list such as roi is one value; what was filled in from another key (a camera's name) counts as a default.
    return origins.get(path, DEFAULT)
