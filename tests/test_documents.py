"""What README, contract, CHANGELOG and the cards of the networks tell a reader to open or to type is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from lpr import wire
from lpr.cli.main import build_app
from lpr.domain.events import ErrorCode

ROOT = Path(__file__).parents[1]
CONTRACT = ROOT / "tests" / "node_backend" / "CONTRACT.md"
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", CONTRACT, *sorted((ROOT / "models").glob("*.md"))]
BLOCK = re.compile(r"^```\w*\n(.*?)^```$", re.DOTALL | re.MULTILINE)
OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*")


def commands(document: Path, start: str) -> Iterator[str]:
    """What stands in code, in a paragraph or in a block of its own, and begins with `start`; comments cut off."""
    text = document.read_text("utf-8")
    blocks = BLOCK.findall(text)
    in_paragraphs = re.findall(r"`([^`]+)`", BLOCK.sub("", text))
    for line in [*"".join(blocks).splitlines(), *in_paragraphs]:
        words = " ".join(line.split("#")[0].split())
        if (found := re.search(rf"(?:^|\s)({start}.*)", words)) is not None:
            yield found[1]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_and_every_named_file_is_there(document: Path) -> None:
    text = document.read_text("utf-8")
    links = [document.parent / to for to in re.findall(r"\]\(([^)#:]+)\)", text)]
    named = [ROOT / name for name in re.findall(r"(?<![/\w])(?:tests|scripts|configs|lpr)/[\w./-]+\.\w+", text)]
    assert [str(path) for path in (*links, *named) if not path.exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_script_is_there_and_has_the_options(document: Path) -> None:
    wrong = []
    for command in commands(document, r"python -m scripts\."):
        module = command.split()[2]
        file = ROOT / (module.replace(".", "/") + ".py")
        source = file.read_text("utf-8") if file.exists() else ""
        wrong += [command for option in OPTION.findall(command) if f'"{option}"' not in source]
        wrong += [command] if not source else []
    assert wrong == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_of_the_program_is_there_and_has_the_options(document: Path) -> None:
    program: Any = typer.main.get_command(build_app())
    wrong = []
    for told in commands(document, "lpr-agent [a-z]"):
        name, *rest = told.replace("\\|", "|").split()[1:]
        found = [program.commands.get(name)]
        if rest and hasattr(found[0], "commands"):
            found = [found[0].commands.get(each) for each in rest[0].split("|")]
        known = [parameter for each in found if each is not None for parameter in each.params]
        if None in found or not {name for each in known for name in each.opts}.issuperset(OPTION.findall(told)):
            wrong.append(told)
    assert wrong == []


def test_the_contract_lists_every_error_code_and_every_command() -> None:
    text = CONTRACT.read_text("utf-8")
    codes = re.search(r"^Codes:.*?\n\n", text, re.DOTALL | re.MULTILINE)
    assert codes is not None
    assert set(re.findall(r"`([A-Z_]+)`", codes[0])) == {each.value for each in ErrorCode}
    commands = text[text.index("## Commands to the agent") : text.index("## A handshake")]
    assert set(re.findall(r"^\| `(\w+)` \|", commands, re.MULTILINE)) == set(wire.COMMANDS)
