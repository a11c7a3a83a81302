"""What tests of the queue on disk do inside of it: fill its disk, ask its writer, look at its files."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
from collections.abc import Callable

from lpr.domain.events import ErrorRaised
from lpr.outbox.base import Ticket
from lpr.outbox.queue import Queue
from lpr.outbox.sqlite import SqliteOutbox
from tests.outbox.helpers import SqliteStore, detection


async def recorded(outbox: SqliteOutbox, count: int, **options: int) -> list[Ticket]:
    return [await outbox.record(detection(f"29A{n}", **options), link_up=True) for n in range(count)]


async def in_writer(outbox: SqliteOutbox, do: Callable[[sqlite3.Connection], object]) -> None:
    """Run something on the writing connection, in the thread that owns it."""

    def run(_: Queue) -> list[Ticket]:
        do(outbox._shelf.connection)
        return []

    await outbox._write(run)


def pages(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA page_count").fetchone()[0])


async def fill_disk(outbox: SqliteOutbox) -> None:
    """Let the files grow no further."""

    def fill(connection: sqlite3.Connection) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages(connection)}")
        vars(outbox._files.pictures)["_grow"] = no_room

    await in_writer(outbox, fill)


def no_room(_: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def empty_disk(outbox: SqliteOutbox) -> None:
    """Room again. (The writer may be in the middle of a try, which is why this is no job of its own.)"""
    outbox._shelf.connection.execute("PRAGMA max_page_count = 1000000")
    del vars(outbox._files.pictures)["_grow"]


def file_bytes(disk: SqliteStore) -> int:
    """What database and pictures take."""
    return sum((disk.data_dir / name).stat().st_size for name in ("outbox.db", "outbox.db-pictures"))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - the writer's thread has no event to wait for
            await asyncio.sleep(0.01)


async def reopened(disk: SqliteStore) -> tuple[SqliteOutbox, list[ErrorRaised]]:
    outbox = await disk.open(boot_id="after")
    troubles: list[ErrorRaised] = []
    outbox.on_trouble(troubles.append)
    await asyncio.sleep(0)
    return outbox, troubles
