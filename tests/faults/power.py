"""What a disk may hold when the power goes: made from a journal of what a real process did to its files.

A child runs with `disk_journal.c` preloaded. Its journal is walked to any moment, and the files are put down as a disk
could have kept them:

- what a file's sync that had returned covered is there, whole;
- of what was written since, any part may be there: nothing, all, any of the writes without the others, and of a write
  any of its sectors of 512 bytes without the others;
- names (made, renamed, removed) are there as far as their folder was synced; of those since, the first few, in the
  order in which they were made, as the journals of ext4 and xfs keep them. A file's own sync does not keep its name.

SQLite's shared index (`-shm`) is left out: it is made anew from the log.
"""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from pathlib import Path
from typing import TypeAlias

SOURCE = Path(__file__).with_name("disk_journal.c")
REPOSITORY = Path(__file__).parents[2]
SECTOR = 512
_HEAD = struct.Struct("=IIQQ")


def why_not() -> str | None:
    """Why no power cut can be simulated here; None where one can."""
    if not sys.platform.startswith("linux"):
        return "writes can only be journalled on Linux"
    if shutil.which("cc") is None:
        return "no C compiler (cc) is installed; scripts/test brings one where it may"
    return None


@cache
def compiled(folder: Path) -> Path:
    """The journal as a library to preload, built in `folder`."""
    library = folder / "disk_journal.so"
    command = ["cc", "-shared", "-fPIC", "-O2", "-o", str(library), str(SOURCE), "-ldl", "-lpthread"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    return library


def run(module: str, arguments: Sequence[str], *, root: Path, journal: Path, library: Path, timeout_s: float) -> None:
    """Run a Python module in a child whose deeds under `root` are journalled. Raises where it fails."""
    journalled = {"LD_PRELOAD": str(library), "LPR_JOURNAL": str(journal), "LPR_JOURNAL_ROOT": str(root)}
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=REPOSITORY, env=os.environ | journalled, capture_output=True, text=True, timeout=timeout_s, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"the child ended with {done.returncode}:\n{done.stderr}")


@dataclass(frozen=True, slots=True)
class Note:
    """One line of the journal. `text` is a path, two of them, bytes written, or what the child said."""

    kind: str
    inode: int
    number: int
    text: bytes


def read(journal: Path) -> list[Note]:
    """The whole journal."""
    data, at, notes = journal.read_bytes(), 0, []
    while at < len(data):
        kind, length, inode, number = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        notes.append(Note(chr(kind), inode, number, data[at : at + length]))
        at += length
    return notes


class Fate(Enum):
    """What becomes of that which was not synced."""

    LOST = "all of it is lost"
    KEPT = "all of it is there"
    SOME = "some of the writes are there"
    TORN = "some of the sectors are there"


@dataclass(frozen=True, slots=True)
class _Write:
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class _Cut:
    size: int


_Deed: TypeAlias = "_Write | _Cut"


@dataclass(slots=True)
class _File:
    kept: bytearray = field(default_factory=bytearray)
    pending: list[_Deed] = field(default_factory=list)
    syncing: dict[int, int] = field(default_factory=dict)
    """Number of a sync under way -> how many of the pending deeds it covers."""

    def synced(self, number: int) -> None:
        covered = self.syncing.pop(number)
        for deed in self.pending[:covered]:
            _do(self.kept, deed)
        del self.pending[:covered]
        self.syncing = {other: max(0, more - covered) for other, more in self.syncing.items()}


@dataclass(frozen=True, slots=True)
class _Named:
    """One change of names: `after` None removes."""

    before: str | None
    after: str | None
    file: _File | None


class Disk:
    """Follows a journal. `root` as it was at its beginning is taken from `start`, where it was not empty."""

    def __init__(self, root: Path, start: Path | None = None) -> None:
        self._root = str(root.resolve())
        self._names: dict[str, _File | None] = {}
        """Names that are safe; None for a folder."""
        self._now: dict[str, _File | None] = {}
        self._pending: list[_Named] = []
        self._syncing: dict[int, tuple[str, int]] = {}
        self._files: dict[int, _File] = {}
        self._folders: dict[int, str] = {}
        if start is not None:
            for path in sorted(start.rglob("*")):
                name = f"{self._root}/{path.relative_to(start)}"
                self._names[name] = None if path.is_dir() else _File(bytearray(path.read_bytes()))
            self._now = dict(self._names)

    def follow(self, note: Note) -> None:
        """Take in one deed."""
        path = note.text.decode("utf-8", "replace") if note.kind in "CODUR" else ""
        match note.kind:
            case "C":
                self._files[note.inode] = _File()
                self._change(_Named(None, path, self._files[note.inode]))
            case "O":
                known = self._now.get(path)
                if known is None:
                    self._folders[note.inode] = path
                else:
                    self._files[note.inode] = known
            case "D":
                self._change(_Named(None, path, None))
            case "U":
                self._change(_Named(path, None, None))
            case "R":
                before, after = path.split("\n")
                self._change(_Named(before, after, self._now.get(before)))
            case "W":
                self._files[note.inode].pending.append(_Write(note.number, note.text))
            case "T":
                self._files[note.inode].pending.append(_Cut(note.number))
            case "S" if note.inode in self._files:
                self._files[note.inode].syncing[note.number] = len(self._files[note.inode].pending)
            case "S":
                self._syncing[note.number] = (self._folders[note.inode], len(self._pending))
            case "F" if note.number in self._syncing:
                self._folder_synced(*self._syncing.pop(note.number))
            case "F":
                self._files[note.inode].synced(note.number)

    def _change(self, change: _Named) -> None:
        self._pending.append(change)
        _rename(self._now, change)

    def _folder_synced(self, folder: str, covered: int) -> None:
        """Names of this folder are safe; those of others stay as they were."""
        left = []
        for number, change in enumerate(self._pending):
            name = change.after or change.before or ""
            if number < covered and name.rpartition("/")[0] == folder:
                _rename(self._names, change)
            else:
                left.append(change)
        gone = len(self._pending) - len(left)
        self._pending = left
        self._syncing = {n: (where, max(0, count - gone)) for n, (where, count) in self._syncing.items()}

    def put_down(self, into: Path, fate: Fate, dice: random.Random) -> None:
        """Write into the folder `into` what the disk may hold now, where `fate` befalls what was not synced."""
        names = dict(self._names)
        most = len(self._pending)
        first = {Fate.LOST: 0, Fate.KEPT: most}.get(fate, dice.randint(0, most))
        for change in self._pending[:first]:
            _rename(names, change)
        for name, file in sorted(names.items(), key=lambda item: item[0]):
            path = into / name[len(self._root) + 1 :]
            if name.endswith("-shm") or not path.parent.is_dir():
                continue
            if file is None:
                path.mkdir()
            else:
                path.write_bytes(_content(file, fate, dice))


def _rename(names: dict[str, _File | None], change: _Named) -> None:
    if change.before is not None:
        names.pop(change.before, None)
    if change.after is not None:
        names[change.after] = change.file


def _content(file: _File, fate: Fate, dice: random.Random) -> bytes:
    content = bytearray(file.kept)
    for deed in file.pending:
        if fate is Fate.KEPT or (fate is not Fate.LOST and dice.random() < 0.5):
            _do(content, deed)
        elif fate is Fate.TORN and isinstance(deed, _Write):
            for part in _sectors(deed):
                if dice.random() < 0.5:
                    _do(content, part)
    return bytes(content)


def _sectors(write: _Write) -> Iterator[_Write]:
    """A write cut where the disk's sectors meet."""
    at, end = write.offset, write.offset + len(write.data)
    while at < end:
        after = min(end, (at // SECTOR + 1) * SECTOR)
        yield _Write(at, write.data[at - write.offset : after - write.offset])
        at = after


def _do(content: bytearray, deed: _Deed) -> None:
    match deed:
        case _Write(offset, data):
            content.extend(bytes(max(0, offset - len(content))))
            content[offset : offset + len(data)] = data
        case _Cut(size):
            del content[size:]
            content.extend(bytes(size - len(content)))


def moments(notes: Sequence[Note], count: int, dice: random.Random) -> dict[int, Fate]:
    """Where to cut: after so many notes, and what befalls what was not synced there.

    Half of them stand right behind something that the child said, with all that is not synced lost: the moment at
    which a promise without a sync behind it is broken for certain.
    """
    said = [n for n, note in enumerate(notes, 1) if note.kind == "M"]
    chosen: dict[int, Fate] = dict.fromkeys(dice.sample(said, min(count // 2, len(said))), Fate.LOST)
    others = [n for n in range(1, len(notes) + 1) if n not in chosen]
    fates = (Fate.LOST, Fate.KEPT, Fate.SOME, Fate.SOME, Fate.TORN, Fate.TORN)
    return chosen | {n: dice.choice(fates) for n in dice.sample(others, min(count - len(chosen), len(others)))}


def states(
    notes: Sequence[Note], cuts: Mapping[int, Fate], root: Path, *, start: Path | None = None
) -> Iterator[tuple[int, Disk]]:
    """The disk at each of the moments, ascending."""
    disk = Disk(root, start)
    for number, note in enumerate(notes, 1):
        disk.follow(note)
        if number in cuts:
            yield number, disk
