"""What YAML makes of a password or an address without quotes, where that is hardly what was meant.

A ` #` begins a comment, `&` a name and `!` a tag: the value ends early or is empty, and by YAML's rules all is well.
The camera or the back-end would then refuse the login, and nobody would know why. No word here repeats a part of a
value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from ruamel.yaml.nodes import ScalarNode

from lpr.domain.address import has_certain_host, has_path

SECRET_KEYS: Final = frozenset({"token", "source", "analyse_source"})
"""The keys whose values hold passwords."""

_COMMENT = re.compile(r"\s*#(?P<words>.*)")
_ENDS_IN_PASSWORD = re.compile(r"[?&;][^=&;\s]*(?:pass|pwd|token|secret|key|auth)[^=&;\s]*=[^&;\s]*$", re.IGNORECASE)
_LOGINS_END = re.compile(r" ?\S*@\S")
_ENDS: Final = "ends at ` #`, which begins a comment in YAML"
_NULL_TAG: Final = "tag:yaml.org,2002:null"


@dataclass(frozen=True, slots=True)
class Doubt:
    """What is said of a value; `certain` where it cannot have been meant as it stands."""

    words: str
    certain: bool


def doubt_of(key: str, node: ScalarNode, rest: str) -> Doubt | None:
    """What is doubtful about the value of one of `SECRET_KEYS`.

    `rest` is what follows the value in its line, or the key's colon where the value is empty.
    """
    if is_empty(node):
        return _doubt_of_empty(key, node, rest)
    comment = _COMMENT.match(rest)
    if comment is None or node.style is not None:
        return None
    # `#such` was hardly written as a comment, `# such` was.
    tight = comment["words"][:1].strip() != ""
    goes_on = key != "token" and _goes_on(node.value, comment["words"])
    if goes_on and not has_path(node.value):
        return Doubt(f"{_ENDS}: put all of it in quotes", certain=True)
    if goes_on or (tight and (key == "token" or _ENDS_IN_PASSWORD.search(node.value))):
        words = f"{_ENDS}: if it goes on there, put all of it in quotes; if not, write a space after the #"
        return Doubt(words, certain=False)
    return None


def is_empty(node: ScalarNode) -> bool:
    """Whether nothing is written as the value."""
    return str(node.tag) == _NULL_TAG and node.value == ""


def _doubt_of_empty(key: str, node: ScalarNode, rest: str) -> Doubt | None:
    if node.anchor:
        return Doubt("begins with &, which has a meaning of its own in YAML: put it in quotes", certain=True)
    comment = _COMMENT.match(rest)
    if comment is None or comment["words"][:1].strip() == "":
        return None
    return Doubt("is empty, because # begins a comment in YAML: put it in quotes", certain=key != "token")


def _goes_on(address: str, comment: str) -> bool:
    """Whether the host of a camera's address may stand in what became a comment."""
    looks_so = "://" in address and _LOGINS_END.match(comment) and "://" not in comment
    return bool(looks_so) and not has_certain_host(address)
