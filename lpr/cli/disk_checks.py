"""What `lpr-agent check` tries of the disk: whether queue and log can be written, by whom, how much and how fast."""

from __future__ import annotations

import errno
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from lpr.agent.settings import outbox_limits
from lpr.cli.findings import Finding, fail, ok, warn
from lpr.cli.users import user_name, whose_folder_root_writes_in
from lpr.config import AgentConfig, format_size, readable_size
from lpr.durable import free_bytes
from lpr.outbox.files import lock_holder
from lpr.outbox.limits import LEAST_FREE_DISK

SLOW_SYNC_MS = 50.0
SYNC_BYTES = 100_000
"""About one event with its pictures."""


def check_disk(config: AgentConfig) -> Sequence[Finding]:
    """Whether the queue can be written, how much it may grow, and how long a durable write takes."""
    data_dir = config.agent.data_dir
    # Not `Path.exists`: that raises where not even looking is allowed.
    place = next(folder for folder in (data_dir, *data_dir.parents) if os.path.exists(folder))
    if not place.is_dir():
        return [fail("disk", f"{place} is no folder", "set agent.data_dir to one")]
    holder = lock_holder(data_dir)
    findings = (
        [ok("disk", f"an agent is at work in {data_dir} (process {holder or '?'})")] if holder is not None else []
    )
    if os.statvfs(place).f_flag & os.ST_RDONLY:
        hint = (
            "mount it writable, or move agent.data_dir; a disk with errors turns read-only by itself: look at `dmesg`"
        )
        return [*findings, fail("disk", f"{place} is on a file system that is mounted read-only", hint)]
    if not os.access(place, os.W_OK | os.X_OK):
        return [*findings, fail("disk", f"{place} cannot be written by user id {os.getuid()}", _own(data_dir))]
    if place != data_dir:
        findings.append(warn("disk", f"{data_dir} is not there yet; the agent will make it", _own(data_dir)))
    else:
        findings += _owners(data_dir)
    return [*findings, *_kind_of_disk(place), _room(config, place), _durability(place)]


def _own(folder: Path) -> str:
    return f"sudo install -d -o USER {folder}, USER being the one that runs the agent"


def _owners(data_dir: Path) -> Sequence[Finding]:
    """Whether the agent's user can write what is there: who has run the agent as root once has left root's files."""
    if (owner := whose_folder_root_writes_in(data_dir)) is not None:
        whose = f"{data_dir} belongs to {user_name(owner)}"
        if strange := sorted(_strange_files(data_dir, owner)):
            hint = f"sudo chown -R {user_name(owner)} {data_dir}"
            return [fail("disk", f"{whose}, and not all that is in it: {_first_of(strange)}", hint)]
        return [ok("disk", f"{whose}; you are root, who may write anywhere")]
    if closed := sorted(_closed_files(data_dir)):
        hint = f"sudo chown -R USER {data_dir}"
        return [fail("disk", f"{data_dir} holds what you cannot write: {_first_of(closed)}", hint)]
    return []


def _first_of(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" * (len(names) > 3))


def _strange_files(folder: Path, owner: int) -> Iterator[str]:
    """What belongs to another one than `owner`. An agent at work may take away what has just been listed."""
    for name in os.listdir(folder):
        with suppress(FileNotFoundError):
            if (folder / name).lstat().st_uid != owner:
                yield name


def _closed_files(folder: Path) -> Iterator[str]:
    """What this user cannot write; nothing where the folder cannot be listed."""
    with suppress(PermissionError):
        for name in os.listdir(folder):
            if os.path.exists(folder / name) and not os.access(folder / name, os.W_OK):
                yield name


def _kind_of_disk(place: Path) -> Sequence[Finding]:
    kind = filesystem_of(place)
    if kind in ("tmpfs", "ramfs"):
        return [
            fail("disk", f"{place} is in memory ({kind}): a power cut loses the queue", "move agent.data_dir to a disk")
        ]
    if kind in ("overlay", "aufs"):
        hint = "mount a volume there: -v lpr-data:/var/lib/lpr-agent"
        return [warn("disk", f"{place} is in the container's own layer, and goes with the container", hint)]
    if kind in ("nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p"):
        hint = "move agent.data_dir to a disk of this machine"
        return [
            warn("disk", f"{place} is on a network file system ({kind}), which may lose what it said was written", hint)
        ]
    return []


def filesystem_of(place: Path) -> str:
    """The kind of file system that `place` is on, as the kernel calls it; empty where it does not tell."""
    try:
        lines = Path("/proc/self/mounts").read_text("utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""
    found = ("", "")
    for line in lines:
        _, point, kind, *_ = line.split(" ")
        point = point.encode().decode("unicode_escape")
        if place.resolve().is_relative_to(point) and len(point) >= len(found[0]):
            found = (point, kind)
    return found[1]


def _room(config: AgentConfig, place: Path) -> Finding:
    limits = outbox_limits(config)
    free, floor, most = free_bytes(place), limits.least_free, limits.max_bytes
    if free <= floor:
        hint = "make room" + (", or lower outbox.min_free_disk" if floor > LEAST_FREE_DISK else "")
        left_alone = f"the queue leaves {readable_size(floor)} alone (outbox.min_free_disk)"
        return fail("disk", f"{readable_size(free)} free, where {left_alone}", hint)
    if free - floor < most:
        hint = "make room, or lower outbox.max_bytes so that it promises no more than there is"
        return warn(
            "disk", f"{readable_size(free)} free: the queue can grow to {readable_size(free - floor)} only", hint
        )
    return ok("disk", f"{readable_size(free)} free, room for the whole queue ({format_size(most)})")


def _durability(place: Path) -> Finding:
    took_ms = []
    try:
        with tempfile.TemporaryFile(dir=place, prefix=".lpr-check-") as file:
            for _ in range(7):
                started = time.perf_counter()
                file.write(os.urandom(SYNC_BYTES))
                file.flush()
                os.fdatasync(file.fileno())
                took_ms.append((time.perf_counter() - started) * 1000)
    except OSError as error:
        hint = "make room" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "look for disk errors with `dmesg`"
        return fail("disk", f"a write in {place} failed: {error.strerror}", hint)
    median_ms = statistics.median(took_ms)
    message = f"a durable write of one event takes {median_ms:.1f} ms ({1000 / median_ms:.0f} a second)"
    if median_ms > SLOW_SYNC_MS:
        return warn("disk", message, "a slow or worn disk; look at `smartctl -a`, and at what else writes")
    return ok("disk", message)


def check_log(config: AgentConfig) -> Sequence[Finding]:
    """Whether the log's file can be written, where there is to be one."""
    file = config.log.file
    if file is None:
        return []
    folder = file.parent
    if not os.path.isdir(folder):
        return [fail("log", f"log.file: there is no folder {folder}", _own(folder))]
    if os.path.isdir(file):
        return [fail("log", f"log.file: {file} is a folder", "name a file in it")]
    if not os.access(file if os.path.exists(file) else folder, os.W_OK):
        hint = f"sudo chown -R USER {folder}, USER being the one that runs the agent"
        return [fail("log", f"log.file: {file} cannot be written by user id {os.getuid()}", hint)]
    return [ok("log", str(file))]
