"""Files, sockets and the like that a process may hold open: how many, and what to say where they run out."""

from __future__ import annotations

import errno
import resource

from lpr.domain.errors import LprError

WANTED = 128
"""For some 25 of the agent's own, a few for each camera, and whoever looks at the local page."""
ENOUGH = 4096
_REMEDY = (
    "raise the limit: `LimitNOFILE=4096` in the [Service] section of the service, `ulimit -n 4096` in a shell,"
    " `--ulimit nofile=4096` for a container"
)


def allow_more() -> LprError | None:
    """Raise the limit as far as this process may. Returns what is to be told where that is little."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wished = ENOUGH if hard == resource.RLIM_INFINITY else min(ENOUGH, hard)
    if soft != resource.RLIM_INFINITY and soft < wished:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wished, hard))
        soft = wished
    if soft == resource.RLIM_INFINITY or soft >= WANTED:
        return None
    return LprError(f"the agent may hold only {soft} files and connections open, {WANTED} are wanted", hint=_REMEDY)


def run_out(error: BaseException) -> LprError | None:
    """What to say where `error`, or one of those in it, is that no more may be opened; None where none is."""
    if isinstance(error, BaseExceptionGroup):
        return next((told for each in error.exceptions if (told := run_out(each)) is not None), None)
    if not isinstance(error, OSError) or error.errno not in (errno.EMFILE, errno.ENFILE):
        return None
    if error.errno == errno.ENFILE:
        return LprError("the whole system can open no more files", hint="raise `fs.file-max` with sysctl")
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return LprError(f"no more than {limit} files and connections may be open at once", hint=_REMEDY)
