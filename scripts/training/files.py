"""A run's files: written whole or not at all, so that a run may be killed at any moment and go on."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch


def save_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Write `state` to `path`; until it is on disk the file that was there stays."""
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """What `save_checkpoint` wrote, on the CPU; None where there is none."""
    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    return state


def write_text(text: str, path: Path) -> None:
    """Write a small text file, whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def append_line(line: dict[str, Any], path: Path) -> None:
    """Add a line to a log."""
    with path.open("a", encoding="utf-8") as log:
        log.write(json.dumps(line) + "\n")


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a log; none where there is no log yet. A line that a kill has torn is left out."""
    if not path.exists():
        return []
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            continue
    return lines


def forget_after(step: int, path: Path) -> None:
    """Take out of a log what a run did after the checkpoint that it goes on from: it will do it again."""
    if path.exists():
        kept = [line for line in read_log(path) if line["step"] <= step]
        write_text("".join(json.dumps(line) + "\n" for line in kept), path)


def publish(source: Path, target: Path) -> list[str]:
    """Put the files of `source` into `target`, each whole; their names. Weights before what describes them."""
    target.mkdir(parents=True, exist_ok=True)
    names = sorted(path.name for path in source.iterdir())
    for name in sorted(names, key=lambda each: (not each.endswith(".bin"), each == "training.json", each)):
        part = target / f"{name}.part"
        shutil.copy(source / name, part)
        part.replace(target / name)
    return names
