"""Whose files these are: `sudo lpr-agent check` may read and write everything, and the agent's own user may not."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lpr.cli.findings import Finding, warn
from lpr.config import AgentConfig

USUAL_NAME: Final = "lpr-agent"
"""The user of configs/lpr-agent.service, asked for where there is no data directory yet."""


def check_files(file: Path, config: AgentConfig) -> list[Finding]:
    """The configuration, certificates and the token that the agent's user cannot read, as far as root can tell."""
    user = service_user(config.agent.data_dir) if os.geteuid() == 0 else None
    return [] if user is None else [_finding(user, each, part) for each, part in _closed_to(user, file, config)]


def service_user(data_dir: Path) -> pwd.struct_passwd | None:
    """Whose the data directory is, or who would have it; None where that is root or nobody that is known."""
    try:
        owner = data_dir.stat().st_uid
        return pwd.getpwuid(owner) if owner else None
    except FileNotFoundError:
        pass
    except (KeyError, OSError):
        return None
    try:
        return pwd.getpwnam(USUAL_NAME)
    except KeyError:
        return None


def whose_folder_root_writes_in(data_dir: Path) -> int | None:
    """The user whose folder this is, where we are root and that is another one; None elsewhere.

    What root leaves in such a folder, that user's agent cannot write.
    """
    if os.geteuid() != 0:
        return None
    try:
        return data_dir.stat().st_uid or None
    except OSError:
        return None


def user_name(user_id: int) -> str:
    """A user's name as `chown` takes it, or its number where it has none."""
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return str(user_id)


def closed_part(user: pwd.struct_passwd, path: Path) -> Path | None:
    """The first folder on the way to `path` that `user` may not pass, or the file itself; None where it can be read.

    By owner, groups and mode; access lists are not looked at.
    """
    groups = set(os.getgrouplist(user.pw_name, user.pw_gid))
    whole = path.absolute()
    for part in (*reversed(whole.parents), whole):
        status = part.stat()
        read = stat.S_IRUSR if part == whole else stat.S_IXUSR
        shift = 0 if status.st_uid == user.pw_uid else 3 if status.st_gid in groups else 6
        if not status.st_mode & read >> shift:
            return part
    return None


def _closed_to(user: pwd.struct_passwd, file: Path, config: AgentConfig) -> Iterator[tuple[Path, Path]]:
    backend = config.backend
    for each in (file, backend.token_file, backend.ca_file, backend.client_cert, backend.client_key):
        if each is not None and (part := closed_part(user, each)) is not None:
            yield each, part


def _finding(user: pwd.struct_passwd, file: Path, part: Path) -> Finding:
    words = f"{user.pw_name}, whose agent this is, cannot read {file}"
    if part != file.absolute():
        hint = f"put it into a folder that {user.pw_name} may look into, such as /etc/lpr-agent"
        return warn("configuration", f"{words}: {part} is closed to it", hint)
    return warn("configuration", words, f"sudo chgrp {_group_of(user)} {file} && sudo chmod g+r {file}")


def _group_of(user: pwd.struct_passwd) -> str:
    try:
        return grp.getgrgid(user.pw_gid).gr_name
    except KeyError:
        return str(user.pw_gid)
