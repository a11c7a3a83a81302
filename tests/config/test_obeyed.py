"""A key that nothing reads is a lie to the installer."""

from __future__ import annotations

import ast
from pathlib import Path

from lpr.config.schema import leaves

ROOT = Path(__file__).parents[2] / "lpr"
# What a section is called where it is read, if not by its own name.
CALLED = {"cameras": "camera", "log": "settings", "outbox": "limits"}


def reads_of(path: Path) -> set[tuple[str, str]]:
    """Every `owner.key` in a module's code: `backend.url` for `config.backend.url` and for `backend.url`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Attribute):
            owner = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
            found.add((owner, node.attr))
    return found


def test_every_key_is_read_by_some_part() -> None:
    parts = [path for path in ROOT.rglob("*.py") if ROOT / "config" not in path.parents]
    reads = set().union(*map(reads_of, parts))
    # The sections' own methods, by which parts read a token, a threshold, the weather.
    reads |= reads_of(ROOT / "config/model.py")
    unread = {
        path
        for path, _ in leaves()
        if not reads & {(owner, path[-1]) for owner in (CALLED.get(path[0], path[0]), path[-2], "self")}
    }
    assert unread == set()
