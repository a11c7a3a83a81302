"""The two small things of the link that outlive a restart, each a JSON file replaced in one step."""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import structlog

from lpr.domain.errors import LinkError
from lpr.durable import replace_file

SEEN_COMMANDS = 256
"""Command ids that are remembered; a back-end repeats a command within minutes, not after hundreds of others."""

PATIENCE_S = 2.0
"""A disk that takes longer is treated as one that takes nothing: connecting and obeying do not wait for it."""

log = structlog.get_logger(__name__)


class _Beside:
    """Writes in a thread, one at a time: in the event loop a disk that stalls would hold up link and cameras."""

    def __init__(self) -> None:
        self._writing: asyncio.Future[object] | None = None

    async def write(self, do: Callable[[], object]) -> bool:
        """Whether `do` was done within `PATIENCE_S`; it is not begun where the one before has not ended. Raises what
        it raised by then.
        """
        if self._writing is not None and not self._writing.done():
            return False
        self._writing = asyncio.ensure_future(asyncio.to_thread(do))
        await asyncio.wait({self._writing}, timeout=PATIENCE_S)
        if self._writing.done():
            self._writing.result()
            return True
        # Looked at, so that asyncio does not complain about it: the next one meets the same disk.
        self._writing.add_done_callback(lambda late: late.cancelled() or late.exception())
        return False


class EpochFile:
    """The number of connections ever made from this data directory; without a path, of those of this process."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._last = 0
        self._told = ""
        self._beside = _Beside()

    async def next(self) -> int:
        """One more than ever before, on disk before it is returned.

        A disk that is full, fails or stalls must not keep the agent from delivering: the number then grows in memory
        alone, and the log says so. A damaged file counts from the largest number that can still be told from the file's
        age: the back-end needs a number that grows, not one without gaps.
        """
        if (path := self._path) is None:
            self._last += 1
        elif not await self._beside.write(lambda: self._next(path)):
            self._last += 1
            log.warning("number of the connection not kept", error=_too_slow(path).message)
        return self._last

    def _next(self, path: Path) -> None:
        self._last = max(self._read(path), self._last) + 1
        try:
            replace_file(path, json.dumps({"epoch": self._last}))
        except OSError as error:
            trouble = _unusable(path, error)
            # Once: in an outage there is a connection to be tried every half minute.
            if trouble.message != self._told:
                log.warning("number of the connection not kept", error=trouble.message, hint=trouble.hint)
            self._told = trouble.message
        else:
            self._told = ""

    def _read(self, path: Path) -> int:
        try:
            return int(json.loads(path.read_text("utf-8"))["epoch"])
        except FileNotFoundError:
            return 0
        except OSError:
            return self._last
        except (ValueError, TypeError, KeyError):
            # Seconds since 1970 outgrow any count of connections (one a second at most), so the number still grows.
            return int(path.stat().st_mtime)


class SeenCommands:
    """The newest command ids that were obeyed. Without a path they last as long as the process."""

    def __init__(self, path: Path | None = None, *, limit: int = SEEN_COMMANDS) -> None:
        self._path, self._limit = path, limit
        self._beside = _Beside()
        self._seen: OrderedDict[str, None] = OrderedDict.fromkeys(self._read()[-limit:])

    def __contains__(self, command_id: str) -> bool:
        return command_id in self._seen

    def __len__(self) -> int:
        return len(self._seen)

    async def add(self, command_id: str) -> None:
        """Remember an id, on disk before this returns. Raises `LinkError` where it cannot be written, or not soon."""
        self._seen[command_id] = None
        while len(self._seen) > self._limit:
            self._seen.popitem(last=False)
        if (path := self._path) is None:
            return
        text = json.dumps({"commandIds": list(self._seen)}, ensure_ascii=False)
        try:
            written = await self._beside.write(lambda: replace_file(path, text))
        except OSError as error:
            raise _unusable(path, error) from error
        if not written:
            raise _too_slow(path)

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


def _unusable(path: Path, error: OSError) -> LinkError:
    return LinkError(
        f"{path} cannot be read or written: {error.strerror or error}",
        hint="check that the agent's data directory exists, belongs to the agent's user, and that the disk has room",
    )


def _too_slow(path: Path) -> LinkError:
    return LinkError(
        f"{path} was not written within {PATIENCE_S:g} s: the disk stalls", hint="look for disk errors with `dmesg`"
    )
