"""What keys there are: a walk through the model's fields, for overrides by name and for naming the nearest key."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from lpr.config.model import AgentConfig, CameraConfig
from lpr.config.section import Section

KeyNames = tuple[str, ...]


def section_of(annotation: Any) -> type[Section] | None:
    """The section class inside an annotation (`X`, `X | None`, `tuple[X, ...]`), or None where it holds a value."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    if get_origin(annotation) in (Union, types.UnionType, tuple):
        for argument in get_args(annotation):
            if found := section_of(argument):
                return found
    return None


def is_camera_list(field: FieldInfo) -> bool:
    """Whether a field is the list of cameras, whose entries go by id or place."""
    return section_of(field.annotation) is CameraConfig


def leaves(model: type[Section] = AgentConfig, above: KeyNames = ()) -> Iterator[tuple[KeyNames, FieldInfo]]:
    """Every key that holds a value, with its path; the cameras' keys stand under `cameras` once."""
    for name, field in model.model_fields.items():
        inner = section_of(field.annotation)
        if inner is None:
            yield (*above, name), field
        else:
            yield from leaves(inner, (*above, name))


def takes_text(field: FieldInfo) -> bool:
    """Whether a value is taken as it is written, and not as a number, a switch or a list."""
    return not _holds_numbers(field.annotation)


def _holds_numbers(annotation: Any) -> bool:
    if get_origin(annotation) is Annotated:
        return _holds_numbers(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return any(_holds_numbers(argument) for argument in get_args(annotation))
    return annotation in (int, float, bool) or get_origin(annotation) is tuple


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that `word` was probably meant to be, or None."""
    candidates = list(known)
    simple = {candidate.lower().replace("-", "_"): candidate for candidate in candidates}
    found = difflib.get_close_matches(word.lower().replace("-", "_"), simple, n=1, cutoff=0.6)
    return simple[found[0]] if found else None


def where_else(name: str, above: KeyNames) -> str | None:
    """The dotted path of a key of that name in another section, or None."""
    for path, _ in leaves():
        if path[-1] == name and path[:-1] != above:
            return ".".join(path)
    return None


def unknown_key_words(name: str, model: type[Section], above: KeyNames) -> str:
    """What to say of a key that `model` has not: the nearest it has, the section it belongs to, or all there are."""
    if near := nearest(name, model.model_fields):
        return f"is no known key; did you mean `{near}`?"
    if elsewhere := where_else(name, above):
        return f"is no known key here; it belongs to `{elsewhere}`"
    return f"is no known key; there are {', '.join(model.model_fields)}"
