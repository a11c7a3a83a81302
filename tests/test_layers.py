"""The house stands as drawn: imports point one way, and each foreign library has its rooms.

All imports are read from the source, those inside functions and under `TYPE_CHECKING` too: a type-only import ties two
parts together as well as any other (a `Protocol` stated by the lower part cuts it).
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "lpr"

# The picture of the README. A row imports the rows above it, and never a neighbour on its own row.
HOUSE: tuple[frozenset[str], ...] = (
    frozenset({"domain", "durable"}),
    frozenset({"plates", "wire", "config", "metrics", "imaging", "drawing", "logging"}),
    frozenset({"capture", "vision", "tracking", "outbox", "web", "backend"}),
    frozenset({"link"}),
    frozenset({"agent"}),
    frozenset({"cli", "testing"}),
)

# Who may import what is not ours. A library that is not listed may not be imported at all.
TENANTS: Mapping[str, frozenset[str]] = {
    "numpy": frozenset(
        {"domain", "plates", "imaging", "drawing", "capture", "vision", "tracking", "agent", "testing", "cli"}
    ),
    # The fakes that ship draw their pictures.
    "cv2": frozenset({"imaging", "drawing", "capture", "vision", "testing"}),
    "openvino": frozenset({"vision"}),
    "socketio": frozenset({"link", "backend"}),
    "engineio": frozenset({"link", "backend"}),
    "aiohttp": frozenset({"link", "backend", "web"}),
    "tenacity": frozenset({"link", "capture"}),
    "sqlite3": frozenset({"outbox", "backend"}),
    "pydantic": frozenset({"config"}),
    # Its JSON is the quickest that we have.
    "pydantic_core": frozenset({"config", "wire", "outbox"}),
    "ruamel": frozenset({"config"}),
    "structlog": frozenset({"logging", "capture", "vision", "outbox", "web", "backend", "link", "agent", "cli"}),
    "prometheus_client": frozenset({"metrics", "web"}),
    "psutil": frozenset({"agent", "cli"}),
    "typer": frozenset({"cli"}),
    "rich": frozenset({"cli", "backend"}),
}


@dataclass(frozen=True, slots=True)
class Import:
    """`importer` (a module's full name) imports `imported`, or `name` out of it, at `line`."""

    importer: str
    imported: str
    line: int
    name: str = ""

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.imported}"


def module_name(path: Path) -> str:
    parts = ("lpr", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}


def imports_of(name: str, path: Path) -> Iterator[Import]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(name, alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}:{node.lineno}: imports are absolute"
            assert node.module is not None
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield Import(name, full if full in MODULES else node.module, node.lineno, alias.name)


IMPORTS = [found for name, path in MODULES.items() for found in imports_of(name, path)]


def room(module: str) -> str:
    """`outbox` for `lpr.outbox.sqlite`, `wire` for `lpr.wire`, empty for `lpr` itself."""
    return module.split(".")[1] if "." in module else ""


def row(name: str) -> int:
    return next(number for number, rooms in enumerate(HOUSE) if name in rooms)


def test_every_module_has_its_place_in_the_house() -> None:
    drawn = frozenset().union(*HOUSE)
    assert {room(module) for module in MODULES} - {""} == drawn


def test_a_row_imports_only_the_rows_above_it() -> None:
    wrong = [
        found
        for found in IMPORTS
        if found.imported.startswith("lpr.")
        and room(found.importer)
        and room(found.imported) != room(found.importer)
        and row(room(found.imported)) >= row(room(found.importer))
    ]
    assert not wrong, "\n".join(map(str, wrong))


def test_the_package_itself_imports_nothing() -> None:
    assert [found for found in IMPORTS if found.importer == "lpr"] == []


def test_no_module_needs_itself_in_the_end() -> None:
    """No cycles, within packages either; a package's `__init__` counts as a module of it."""
    needs: dict[str, set[str]] = {name: set() for name in MODULES}
    for found in IMPORTS:
        if found.imported in MODULES:
            needs[found.importer].add(found.imported)
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " -> ".join((*way[way.index(module) :], module))
        if module not in done:
            for needed in sorted(needs[module]):
                visit(needed, (*way, module))
            done.add(module)

    for name in MODULES:
        visit(name, ())


def test_foreign_libraries_stay_in_their_rooms() -> None:
    wrong = [
        found
        for found in IMPORTS
        if (library := found.imported.split(".")[0]) != "lpr"
        and (library not in sys.stdlib_module_names or library in TENANTS)
        and room(found.importer) not in TENANTS.get(library, frozenset())
    ]
    assert not wrong, "\n".join(map(str, wrong))


@pytest.mark.parametrize("name", ["scripts", "tests", "torch", "nncf"])
def test_the_package_never_imports_what_does_not_travel_with_it(name: str) -> None:
    assert [str(found) for found in IMPORTS if found.imported.split(".")[0] == name] == []


def test_no_room_names_a_private_part_of_another() -> None:
    wrong = [
        str(found)
        for found in IMPORTS
        if found.imported.startswith("lpr.")
        and room(found.imported) != room(found.importer)
        and any(part.startswith("_") for part in (*found.imported.split("."), found.name))
    ]
    assert wrong == []
