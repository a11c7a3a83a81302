"""The log is folded into the database beside the commits, ends, and begins anew."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from lpr.outbox import schema
from lpr.outbox.folding import LogFolder
from lpr.outbox.sqlite import SqliteOutbox
from tests.outbox.helpers import SqliteStore, detection

EVENT_PAGES = 6
"""About what recording one writes; its pictures lie elsewhere."""
NEVER = 1 << 20


async def record_pages(outbox: SqliteOutbox, pages: int) -> None:
    """Record events until about so many pages have been written."""
    for n in range(pages // EVENT_PAGES):
        await outbox.record(detection(f"29A{n}"), link_up=True)


@pytest.fixture(autouse=True)
def size_that_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log takes no room before it needs it."""
    monkeypatch.setattr(schema, "WAL_KEPT_BYTES", 1)


def log_pages(data_dir: Path) -> int:
    return (data_dir / "outbox.db-wal").stat().st_size // schema.PAGE_SIZE


async def test_the_log_is_folded_beside_the_commits(disk: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "FOLD_PAGES", 60)
    monkeypatch.setattr(schema, "WAL_PAGES", NEVER)  # no commit folds it
    outbox = await disk.open()
    await record_pages(outbox, 1800)
    assert log_pages(disk.data_dir) < 900
    assert (await outbox.status()).pending == 300
    await outbox.close()


async def test_folding_is_not_taken_for_another_process_that_has_written(
    disk: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "FOLD_PAGES", 20)
    outbox = await disk.open()
    await record_pages(outbox, 300)
    assert outbox._queue.thinned == 0
    await outbox.close()


async def test_a_reader_that_holds_the_log_holds_up_nothing(disk: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "FOLD_PAGES", 60)
    outbox = await disk.open()
    await record_pages(outbox, 12)
    reader = sqlite3.connect(disk.data_dir / "outbox.db", isolation_level=None)
    reader.execute("BEGIN")
    (seen,) = reader.execute("SELECT count(*) FROM events").fetchone()
    await record_pages(outbox, 900)
    assert reader.execute("SELECT count(*) FROM events").fetchone() == (seen,)
    reader.execute("COMMIT")
    assert reader.execute("SELECT count(*) FROM events").fetchone() == (152,)
    held = log_pages(disk.data_dir)
    reader.close()
    await record_pages(outbox, 900)
    assert log_pages(disk.data_dir) <= held + 200
    await outbox.close()
    again = await disk.open()
    assert (await again.status()).pending == 302
    await again.close()


async def test_closing_leaves_no_log(disk: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "FOLD_PAGES", 20)
    outbox = await disk.open()
    await record_pages(outbox, 100)
    await outbox.close()
    assert sorted(path.name for path in disk.data_dir.glob("outbox.db*")) == ["outbox.db", "outbox.db-pictures"]


class SwitchedEvent(threading.Event):
    """The other thread gets its turn right before the flag is cleared, and does `meanwhile`."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: threading.Thread | None = None

    def clear(self) -> None:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile.start()
            meanwhile.join(0.2)  # it has said that this is the end by then, and waits for us
        super().clear()


async def test_closing_while_a_folding_begins_does_not_wait_for_ever(
    disk: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await (await disk.open()).close()
    wakes: list[SwitchedEvent] = []

    def make_event() -> SwitchedEvent:
        wakes.append(SwitchedEvent())
        return wakes[-1]

    with monkeypatch.context() as patch:
        patch.setattr("lpr.outbox.folding.threading.Event", make_event)
        folder = LogFolder(disk.data_dir / "outbox.db")
    closing = threading.Thread(target=folder.close, daemon=True)
    wakes[0].meanwhile = closing
    folder.wrote(1 << 30)
    folder._thread.join(5.0)
    assert not folder._thread.is_alive()
    closing.join(5.0)
    assert not closing.is_alive()
