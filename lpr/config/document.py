"""A YAML file as plain data with the line of every key, and what is wrong with its writing in plain words.

YAML is composed to nodes and read from there, because nodes know their lines, show a key that stands twice, and build
no objects: only mappings, lists, text, numbers, true/false and null come out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from lpr.config.unquoted import SECRET_KEYS, doubt_of, is_empty
from lpr.domain.errors import ConfigError
from lpr.domain.secrets import MASK, mask_secrets

KeyPath: TypeAlias = tuple[str | int, ...]
"""The way to a value: keys of mappings and places in lists, from the top."""

MAX_FILE_BYTES = 1 << 20
MAX_DEPTH = 30

_TAG = "tag:yaml.org,2002:"
_INTEGER = re.compile(r"[-+]?(0o[0-7]+|0x[0-9a-fA-F]+|[0-9]+)")
_HOW_TO_START = "`lpr-agent config init` writes a sample to start from"


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: where, and what it must be instead. `line` counts from 1; None where the value is in no file."""

    path: KeyPath
    message: str
    line: int | None = None


@dataclass(slots=True)
class Document:
    """What a file says: its data, the line of every key, and mistakes that are seen before any meaning is.

    `doubts` may be mistakes, and may be meant as they stand.
    """

    data: dict[str, Any]
    lines: dict[KeyPath, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    doubts: list[Problem] = field(default_factory=list)

    def line_of(self, path: KeyPath) -> int | None:
        """The line of the key at `path`, or of the nearest one above it that the file has."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        return None


def read_document(path: Path) -> Document:
    """Read a YAML file. Raises `ConfigError` where it cannot be read, is not UTF-8 or is not YAML."""
    return parse_document(_decoded(_bytes_of(path), path), name=str(path))


def parse_document(text: str, *, name: str) -> Document:
    """Data and lines of YAML text; `name` is the file's name for errors. Raises `ConfigError`."""
    try:
        root = YAML(typ="rt", pure=True).compose(text)
    except MarkedYAMLError as error:
        raise _syntax_error(error, text, name) from None
    except (YAMLError, ValueError) as error:
        raise ConfigError(f"{name} is not valid YAML: {mask_secrets(str(error).splitlines()[0])}") from None
    if root is None or (isinstance(root, ScalarNode) and root.value == ""):
        raise ConfigError(f"{name} is empty", hint=_HOW_TO_START)
    if not isinstance(root, MappingNode):
        raise ConfigError(
            f"{name}, line {root.start_mark.line + 1}: must consist of sections such as `agent:` and `cameras:`",
            hint=_HOW_TO_START,
        )
    document = Document({})
    document.data = _Reader(document, text.splitlines()).mapping(root, ())
    return document


def scalar(text: str) -> Any:
    """The value that `text` has as a YAML value: a number, true, null, text, or a list or mapping in brackets.

    Raises `ValueError` where brackets or quotes are wrong.
    """
    document = Document({})
    try:
        node = YAML(typ="rt", pure=True).compose(text)
    except YAMLError:
        raise ValueError("is not a value that YAML can read") from None
    value = None if node is None else _Reader(document).value(node, ())
    if document.problems:
        raise ValueError(document.problems[0].message)
    return value


class _Reader:
    """Walks nodes; notes lines and problems in `document`. `lines` are those that the nodes are from."""

    def __init__(self, document: Document, lines: Sequence[str] = ()) -> None:
        self._document = document
        self._lines = lines

    def value(self, node: Node, path: KeyPath) -> Any:
        if len(path) > MAX_DEPTH:
            self._complain(path, "is nested too deeply, or contains itself", node)
            return None
        if isinstance(node, MappingNode):
            return self.mapping(node, path)
        if isinstance(node, SequenceNode):
            return self._sequence(node, path)
        return self._scalar(node, path)

    def mapping(self, node: MappingNode, path: KeyPath) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == f"{_TAG}merge" or key_node.value == "<<":
                merged |= self._merged(value_node, path)
                continue
            key = self._key(key_node, path)
            if key in own:
                first = self._document.lines[(*path, key)]
                self._complain((*path, key), f"stands twice in one place, first in line {first}", key_node)
                continue
            self._document.lines[(*path, key)] = key_node.start_mark.line + 1
            own[key] = self.value(value_node, (*path, key))
            if key in SECRET_KEYS and isinstance(value_node, ScalarNode):
                self._doubt(key_node, value_node, (*path, key))
        return merged | own

    def _key(self, node: Node, path: KeyPath) -> str:
        if isinstance(node, ScalarNode):
            return str(node.value)
        self._complain(path, "has a list or mapping where a key must be", node)
        return "?"

    def _merged(self, node: Node, path: KeyPath) -> Mapping[str, Any]:
        """What `<<: *other` brings; keys written beside it win, and the first of several mappings wins."""
        if isinstance(node, MappingNode):
            return self.mapping(node, path) if len(path) <= MAX_DEPTH else {}
        if isinstance(node, SequenceNode) and all(isinstance(item, MappingNode) for item in node.value):
            together: dict[str, Any] = {}
            for item in node.value:
                together = {**self._merged(item, path), **together}
            return together
        self._complain(path, "merges (<<) something that is no mapping", node)
        return {}

    def _sequence(self, node: SequenceNode, path: KeyPath) -> list[Any]:
        values = []
        for place, item in enumerate(node.value):
            self._document.lines[(*path, place)] = item.start_mark.line + 1
            values.append(self.value(item, (*path, place)))
        return values

    def _scalar(self, node: Node, path: KeyPath) -> Any:
        text, kind = str(node.value), str(node.tag).removeprefix(_TAG)
        secret = bool(path) and path[-1] in SECRET_KEYS
        if kind == "null":
            return None
        if kind == "bool":
            return text.lower() in ("true", "yes", "on")
        if kind == "int" and _INTEGER.fullmatch(text.replace("_", "")):
            return int(text.replace("_", ""), 0 if text.lstrip("+-")[:2] in ("0o", "0x") else 10)
        if kind == "float":
            return _float(text)
        if kind not in ("str", "int", "timestamp"):
            tag = f"the tag {node.tag}, which means nothing here"
            words = (
                "begins with !, which has a meaning of its own in YAML: put it in quotes" if secret else f"has {tag}"
            )
            self._complain(path, words, node)
        return text

    def _doubt(self, key_node: Node, node: ScalarNode, path: KeyPath) -> None:
        # Where nothing is written, ruamel's mark may be that of what comes next, lines further down.
        mark = key_node.end_mark if is_empty(node) else node.end_mark
        rest = self._lines[mark.line][mark.column :] if mark.line < len(self._lines) else ""
        doubt = doubt_of(str(path[-1]), node, rest.removeprefix(":") if is_empty(node) else rest)
        if doubt is not None:
            noted = self._document.problems if doubt.certain else self._document.doubts
            noted.append(Problem(path, doubt.words, key_node.start_mark.line + 1))

    def _complain(self, path: KeyPath, message: str, node: Node) -> None:
        self._document.problems.append(Problem(path, message, node.start_mark.line + 1))


def _float(text: str) -> float:
    plain = text.replace("_", "").lower()
    return float(plain.replace(".inf", "inf").replace(".nan", "nan"))


def _bytes_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist", hint=f"{_HOW_TO_START} (give it this path)") from None
    except IsADirectoryError:
        raise ConfigError(f"{path} is a folder, not a file", hint="name the file in it") from None
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}", hint="give the user that runs lpr-agent the right to read it"
        ) from None
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError(f"{path} is larger than 1 MiB: is this the configuration file?")
    return data


def _decoded(data: bytes, path: Path) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ConfigError(f"{path} is written in UTF-16", hint="save it as UTF-8 (in Notepad: Save as, encoding UTF-8)")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path}, line {line}: byte 0x{data[error.start]:02x} is not UTF-8",
            hint="save the file as UTF-8; text in another encoding would reach the back-end garbled",
        ) from None
    if "\0" in text:
        raise ConfigError(f"{path}, line {text.count(chr(10), 0, text.index(chr(0))) + 1}: a zero byte: no text file")
    return text


# What ruamel says -> what the person at the keyboard can do about it. The first that fits is taken.
_SYNTAX_ADVICE = (
    (r"'\\t'", "a tab: YAML is indented with spaces only"),
    (r"character '[@`%]'", "a value cannot begin with this sign: put the value in quotes"),
    (
        r"mapping values are not allowed",
        "a colon where none can be: check the indentation, or quote a text with `: ` in it",
    ),
    (r"undefined alias|scanning an alias", "a value that begins with * must be in quotes"),
    (r"scanning an anchor", "a value that begins with & must be in quotes"),
    (r"scanning a tag", "a value that begins with ! must be in quotes"),
    (r"block scalar", "a value that begins with | or > must be in quotes"),
    (r"(sequence entries|mapping keys) are not allowed", "a value that begins with `- ` or `? ` must be in quotes"),
    (r"unknown escape", "a backslash in double quotes: use single quotes"),
    (r"quoted scalar|end of stream", "a quote that is opened and not closed"),
    (r"flow (mapping|sequence)|expected ',' or", "a bracket that is not closed, or a comma that is missing"),
    (r"could not find expected ':'", "a colon is missing after the key here or in the line above"),
    (
        r"expected <block end>, but found '<scalar>'",
        "text after a closing quote (write a ' within single quotes twice), or the indentation does not fit",
    ),
    (r"expected <block end>|block (mapping|sequence|collection)", "the indentation does not fit the lines above"),
    (r"non-printable|special characters", "a control character that no text may hold"),
    (r"separate documents|expected a single document", "a second document (---): one file holds one configuration"),
)


_SECRET_VALUE = re.compile(r"""((?:token|password|secret)["']?\s*:\s*)[^\s,}].*""", re.IGNORECASE)
_ADDRESS_VALUE = re.compile(r"""(source["']?\s*:.*?://)(?:([^\s:/@]*:).*(?=@)|(?!.*@).*)""")
_OPENED = re.compile(r"quoted scalar|flow (mapping|sequence)")
_TIGHT_COMMENT = re.compile(r"\s#\S")


def _syntax_error(error: MarkedYAMLError, text: str, name: str) -> ConfigError:
    said = " ".join(str(part) for part in (error.problem, error.context) if part)
    # A quote or bracket that is not closed is noticed much further down.
    marks = (
        (error.context_mark, error.problem_mark) if _OPENED.search(said) else (error.problem_mark, error.context_mark)
    )
    at = next((mark.line for mark in marks if mark), 0)
    lines = text.splitlines() or [""]
    shown = lines[min(at, len(lines) - 1)]
    if "\t" in shown[: len(shown) - len(shown.lstrip())]:
        said = "'\\t'"
    advice = next((words for pattern, words in _SYNTAX_ADVICE if re.search(pattern, said)), said)
    if _OPENED.search(said) and _TIGHT_COMMENT.search(shown):
        advice += "; what follows ` #` is a comment to YAML: put a value that holds it in quotes"
    shown = _without_secrets(shown.strip())
    return ConfigError(
        f"{name}, line {min(at, len(lines) - 1) + 1}: {advice}", hint=f"the line is: {shown}" if shown else None
    )


def _without_secrets(line: str) -> str:
    """A line that is no good YAML, so that nobody can say where a value in it ends: rather too much is hidden."""
    line = _ADDRESS_VALUE.sub(lambda found: f"{found[1]}{found[2] or ''}{MASK}", line)
    return _SECRET_VALUE.sub(rf"\1{MASK}", mask_secrets(line))
