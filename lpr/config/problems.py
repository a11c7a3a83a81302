"""What is wrong with a configuration, in words: the line, the key, what it must be, and what was probably meant."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import SecretStr, ValidationError
from pydantic_core import ErrorDetails

from lpr.config.addresses import SourceAddress
from lpr.config.document import KeyPath, Problem
from lpr.config.model import AgentConfig
from lpr.config.schema import nearest, section_of, unknown_key_words
from lpr.config.section import MistakeBelowError, Section
from lpr.config.unquoted import SECRET_KEYS
from lpr.domain.errors import ConfigError

MAX_SHOWN = 20
"""More mistakes than this are counted and not listed: the first ones are mended first anyway."""


def dotted(path: Sequence[str | int]) -> str:
    """A path for people: `cameras[0].gate.id`."""
    words = ""
    for part in path:
        words += f"[{part}]" if isinstance(part, int) else f".{part}" if words else part
    return words


def problems_of(error: ValidationError) -> list[Problem]:
    """Every mistake that pydantic found, in our words."""
    found = error.errors(include_url=False)
    # pydantic counts only the good entries of a list: one bad camera would also be "no camera".
    below = {tuple(details["loc"][:length]) for details in found for length in range(len(details["loc"]))}
    return [_problem(details) for details in found if details["type"] != "too_short" or details["loc"] not in below]


def config_error(name: str, problems: Iterable[Problem], *, hint: str | None = None) -> ConfigError:
    """One error that lists all `problems` of the configuration called `name`, by line."""
    ordered = sorted(problems, key=lambda problem: (problem.line is None, problem.line or 0, dotted(problem.path)))
    said = list(dict.fromkeys(problem_words(problem) for problem in ordered))
    if len(said) == 1:
        return ConfigError(f"{name}, {said[0]}" if name else said[0], hint=hint)
    listed = "\n".join(f"  {words}" for words in said[:MAX_SHOWN])
    more = f"\n  and {len(said) - MAX_SHOWN} more" if len(said) > MAX_SHOWN else ""
    return ConfigError(f"{name or 'configuration'}: {len(said)} mistakes\n{listed}{more}", hint=hint)


def problem_words(problem: Problem) -> str:
    """`line 12, backend.url must be …`."""
    where = f"line {problem.line}, " if problem.line else ""
    return f"{where}{dotted(problem.path)} {problem.message}".strip()


def _problem(details: ErrorDetails) -> Problem:
    path = tuple(details["loc"])
    if details["type"] == "extra_forbidden":
        above = tuple(part for part in path[:-1] if isinstance(part, str))
        return Problem(path, unknown_key_words(str(path[-1]), _model_at(path[:-1]), above))
    mistake = details.get("ctx", {}).get("error")
    if isinstance(mistake, MistakeBelowError):
        path = (*path, *mistake.below)
    return Problem(path, _words(details, path))


def _words(details: ErrorDetails, path: KeyPath) -> str:
    kind, context, given = details["type"], details.get("ctx", {}), _shown(details.get("input"), path)
    if kind == "value_error":
        return str(context.get("error", details["msg"]))
    if kind == "missing" and isinstance(path[-1], int):
        return "is missing: a point is two numbers, such as [0.1, 0.3]"
    if kind == "missing":
        return f"is missing{_meaning(path)}"
    if kind in ("enum", "literal_error"):
        return _choice(str(context.get("expected", "")), details.get("input"), given)
    if kind in _BOUNDS:
        return f"must be {_BOUNDS[kind]} {context[next(iter(context))]}{given}"
    if kind in ("string_pattern_mismatch", "string_too_long", "string_too_short"):
        return _text_form(path, context, given)
    if kind in ("too_short", "too_long"):
        return _count(kind, context, path)
    if kind == "string_type" and isinstance(details.get("input"), int | float):
        return f"must be text: put it in quotes{given}"
    if kind in ("tuple_type", "list_type") and path == ("cameras",):
        return "must list at least one camera, each beginning with a dash: `- id: CAM_001`"
    if kind in _KINDS:
        return f"must be {_KINDS[kind]}{given}{_with_point(details.get('input'))}"
    return f"is not right: {details['msg'].lower()}"


_BOUNDS = {
    "greater_than_equal": "at least",
    "less_than_equal": "at most",
    "greater_than": "more than",
    "less_than": "less than",
}
_KINDS = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "path_type": "the path of a file or folder",
    "model_type": "a group of keys, each on a line of its own and indented",
    "model_attributes_type": "a group of keys, each on a line of its own and indented",
    "dict_type": "a group of keys, each on a line of its own and indented",
    "tuple_type": "a list, such as [[0.1, 0.3], [0.9, 0.3], [0.9, 1.0]] for points",
    "list_type": "a list",
}


def _with_point(value: Any) -> str:
    """`; write 7.5` for the 7,5 of countries that write a comma there."""
    comma = isinstance(value, str) and re.fullmatch(r"[-+]?\d+,\d+", value.strip())
    return f"; write {str(value).strip().replace(',', '.')}" if comma else ""


def _choice(expected: str, value: Any, given: str) -> str:
    known = [word.strip("' ") for word in expected.replace(" or ", ", ").split(",")]
    near = nearest(value, known) if isinstance(value, str) else None
    return f"must be {expected.replace(chr(39), '')}{given}" + (f"; did you mean {near}?" if near else "")


def _text_form(path: KeyPath, context: dict[str, Any], given: str) -> str:
    if path and path[-1] == "id":
        else_name = "; `name` takes any letters" if path[0] == "cameras" else ""
        return f"must be 1 to 64 of the characters A-Z a-z 0-9 . _ - beginning with a letter or digit{given}{else_name}"
    if path and path[-1] in ("namespace", "path"):
        return f"must begin with a slash, such as {'/ai' if path[-1] == 'namespace' else '/socket.io'}{given}"
    if path and path[-1] == "device":
        return f"must be an OpenVINO device such as AUTO, CPU, GPU or NPU{given}"
    if path and path[-1] == "host":
        return f"must be a host name or address, such as 127.0.0.1{given}"
    return f"must be at most {context['max_length']} characters long" if "max_length" in context else "is malformed"


def _count(kind: str, context: dict[str, Any], path: KeyPath) -> str:
    least, most = context.get("min_length"), context.get("max_length")
    if path == ("cameras",) and kind == "too_short":
        return "must list at least one camera"
    if kind == "too_short":
        return f"must have at least {least} entries, not {context.get('actual_length')}"
    return f"must have at most {most} entries, not {context.get('actual_length')}"


def _model_at(path: KeyPath) -> type[Section]:
    model: type[Section] = AgentConfig
    for part in path:
        if isinstance(part, str) and (field := model.model_fields.get(part)):
            model = section_of(field.annotation) or model
    return model


def _meaning(path: KeyPath) -> str:
    """What a missing key is for, with an example, from the model."""
    field = _model_at(path[:-1]).model_fields.get(str(path[-1]))
    if field is None:
        return ""
    description = field.description or meaning_of(section_of(field.annotation) or AgentConfig)
    example = f", such as {field.examples[0]}" if field.examples else ""
    return f": {description}{example}"


def meaning_of(model: type[Section]) -> str:
    """What a section is for: the first line of its docstring, as the middle of a sentence."""
    line = (model.__doc__ or "").splitlines()[0].rstrip(".")
    return line[:1].lower() + line[1:]


def _shown(value: Any, path: KeyPath) -> str:
    """`, not 'what was given'`, cut short; nothing for secrets and for groups of keys."""
    secret = isinstance(value, SecretStr | SourceAddress) or bool(SECRET_KEYS.intersection(map(str, path)))
    if secret or isinstance(value, dict | list | tuple):
        return ""
    if value is None:
        return ", not empty"
    shown = repr(value) if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
    return f", not {shown if len(shown) <= 60 else shown[:57] + '…'}"
