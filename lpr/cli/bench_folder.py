"""The folder of a measurement: on the wanted disk, with room for what is to come, and gone at the end."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lpr.domain.errors import ConfigError
from lpr.durable import free_bytes


@contextmanager
def bench_folder(data_dir: Path | None) -> Iterator[Path]:
    """A new folder in `data_dir`, else where temporary files lie; SIGTERM ends the block as Ctrl-C does."""
    with _ended_like_ctrl_c(), tempfile.TemporaryDirectory(prefix="lpr-agent-bench-", dir=data_dir) as name:
        yield Path(name)


def check_room(folder: Path, needed_bytes: int, *, what: str, less: str) -> None:
    """Raise `ConfigError` where `what` does not fit on the disk; `less` is how to ask for less of it."""
    free = free_bytes(folder)
    if needed_bytes > free:
        raise ConfigError(
            f"{what} need {needed_bytes / 1e9:.1f} GB in {folder}, where {free / 1e9:.1f} GB are free",
            hint=f"name a folder on a larger disk with --data-dir, or {less}",
        )


@contextmanager
def _ended_like_ctrl_c() -> Iterator[None]:
    """SIGTERM (of `timeout`, say) ends the program as Ctrl-C does: neither the back-end nor its events stay behind."""

    def end(*_: object) -> None:
        # Whatever stands for Ctrl-C at that moment: an event loop has a gentler way than an exception out of nowhere.
        # What a shell has started with `&` ignores Ctrl-C; there it has to be the exception.
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
