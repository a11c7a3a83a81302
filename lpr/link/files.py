"""The two small things of the link that outlive a restart, each a JSON file replaced in one step."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lpr.domain.errors import LinkError
from lpr.durable import replace_file

SEEN_COMMANDS = 256
"""Command ids that are remembered; a back-end repeats a command within minutes, not after hundreds of others."""


class EpochFile:
    """The number of connections ever made from this data directory."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def next(self) -> int:
        """One more than ever before, on disk before it is returned. Raises `LinkError`.

        A damaged file counts from the largest number that can still be told from the file's age: the back-end needs a
        number that grows, not one without gaps.
        """
        epoch = max(self._read(), 0) + 1
        _keep(self._path, {"epoch": epoch})
        return epoch

    def _read(self) -> int:
        try:
            text = self._path.read_text("utf-8")
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise _unusable(self._path, error) from error
        try:
            return int(json.loads(text)["epoch"])
        except (ValueError, TypeError, KeyError):
            # Seconds since 1970 outgrow any count of connections (one a second at most), so the number still grows.
            return int(self._path.stat().st_mtime)


class SeenCommands:
    """The newest command ids that were obeyed. Without a path they last as long as the process."""

    def __init__(self, path: Path | None = None, *, limit: int = SEEN_COMMANDS) -> None:
        self._path, self._limit = path, limit
        self._seen: OrderedDict[str, None] = OrderedDict.fromkeys(self._read()[-limit:])

    def __contains__(self, command_id: str) -> bool:
        return command_id in self._seen

    def __len__(self) -> int:
        return len(self._seen)

    def add(self, command_id: str) -> None:
        """Remember an id, on disk before this returns. Raises `LinkError` where it cannot be written."""
        self._seen[command_id] = None
        while len(self._seen) > self._limit:
            self._seen.popitem(last=False)
        if self._path is not None:
            _keep(self._path, {"commandIds": list(self._seen)})

    def _read(self) -> list[str]:
        """What is on disk; nothing where the file is absent or damaged: the worst is a command done twice."""
        if self._path is None:
            return []
        try:
            names = json.loads(self._path.read_text("utf-8"))["commandIds"]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _unusable(self._path, error) from error
        except (ValueError, TypeError, KeyError):
            return []
        return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def _keep(path: Path, value: Mapping[str, Any]) -> None:
    try:
        replace_file(path, json.dumps(value, ensure_ascii=False))
    except OSError as error:
        raise _unusable(path, error) from error


def _unusable(path: Path, error: OSError) -> LinkError:
    return LinkError(
        f"{path} cannot be read or written: {error.strerror or error}",
        hint="check that the agent's data directory exists, belongs to the agent's user, and that the disk has room",
    )
