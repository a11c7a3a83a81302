"""The commented sample, written from the model, so that it cannot say what is not so."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator
from typing import Any

from pydantic.fields import FieldInfo

from lpr.config.model import AgentConfig
from lpr.config.problems import meaning_of
from lpr.config.schema import KeyNames, section_of
from lpr.config.section import Section

_WIDTH = 100
_HEADER = """\
lpr-agent's configuration. `lpr-agent check` tries everything in it; `lpr-agent config show` tells what is in force.

A line such as `#fps: 8` shows what holds where nothing is given, or an example: take the # away and change it.
Each key can also be given as an environment variable: LPR_BACKEND__TOKEN, LPR_CAMERAS__CAM_001__FPS.
Relative paths start at this file's folder. Keep the file readable for the agent's user only: it holds passwords.
What holds ` #` or `: `, or begins with a sign (& * ! | > % @ [ {), must stand in single quotes, passwords above all."""

# Not needed, yet what an installer sets first.
_SHOWN = {
    ("cameras", "name"),
    ("cameras", "gate", "name"),
    ("cameras", "action"),
    ("cameras", "fps"),
    ("agent", "data_dir"),
}
_PLAIN = re.compile(r"[A-Za-zÀ-ỹ/$~][^#\"'\n]*")
_RESERVED = {"true", "false", "null", "yes", "no", "on", "off"}


def sample() -> str:
    """A configuration with every key, its meaning and its default or an example; it loads as it stands."""
    lines = [f"# {line}".rstrip() for line in _HEADER.splitlines()]
    for name, field in AgentConfig.model_fields.items():
        inner = section_of(field.annotation)
        if inner is None:
            continue
        lines += ["", *_comment(_title(field, inner), 0), f"{name}:"]
        keys = list(_keys(inner, (name,), indent=4 if name == "cameras" else 2))
        if name == "cameras":
            # The list's dash stands where the first key's description would be indented to.
            first = next(at for at, line in enumerate(keys) if not line.lstrip().startswith("#"))
            keys[first] = keys[first][:2] + "- " + keys[first][4:]
            keys[:first] = [line[2:] for line in keys[:first]]
        lines += keys
    return "\n".join(lines) + "\n"


def _keys(model: type[Section], above: KeyNames, *, indent: int) -> Iterator[str]:
    for name, field in model.model_fields.items():
        path = (*above, name)
        inner = section_of(field.annotation)
        yield from _comment(field.description or "", indent)
        if inner is None:
            off = "" if field.is_required() or path in _SHOWN else "#"
            yield f"{' ' * indent}{off}{name}: {yaml_value(_value(field))}"
        else:
            yield f"{' ' * indent}{name}:"
            yield from _keys(inner, path, indent=indent + 2)


def _title(field: FieldInfo, inner: type[Section]) -> str:
    text = field.description or meaning_of(inner)
    return text[:1].upper() + text[1:]


def _comment(text: str, indent: int) -> list[str]:
    lead = " " * indent + "# "
    return textwrap.wrap(text, _WIDTH, initial_indent=lead, subsequent_indent=lead, break_long_words=False)


def _value(field: FieldInfo) -> Any:
    """The default as people write it, or the first example where there is none."""
    examples = field.examples or [None]
    default = field.get_default(call_default_factory=True, validated_data={})
    if field.is_required() or default in (None, ""):
        return examples[0]
    # The default in the form of the example: "7 d" for a duration.
    return default if isinstance(default, bool | int | float) and isinstance(examples[0], int | float) else examples[0]


def yaml_value(value: Any) -> str:
    """A value on one line of YAML, quoted where it would be read as something else."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(yaml_value(item) for item in value)}]"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, str):
        plain = _PLAIN.fullmatch(value) and ": " not in value and value.lower() not in _RESERVED
        return value if plain or re.fullmatch(r"[\d.]+ [A-Za-z]+", value) else json.dumps(value, ensure_ascii=False)
    return json.dumps(value, ensure_ascii=False)
