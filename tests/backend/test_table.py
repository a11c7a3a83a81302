from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from lpr import wire
from lpr.backend.messages import understand
from lpr.backend.store import EventStore
from lpr.backend.table import EventTable, row, status_words
from tests.backend.helpers import detection, message


def shown(table: EventTable) -> str:
    console = Console(file=io.StringIO(), width=160, force_terminal=False)
    console.print(table.render())
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


async def test_the_table_shows_the_newest_events_and_counts_all_of_them() -> None:
    store, table = EventStore(), EventTable(rows=2)
    await store.open()
    assert "nothing has come yet" in shown(table)
    for number, plate in enumerate(("29A-111.11", "29A-222.22", "59-X1 333.33")):
        body = message(f"event-{number}", sequence=number, event=detection(plate))
        table.add(await store.keep(understand(wire.PLATE_DETECTED, body, agent_id="gate")))
    again = message("event-2", sequence=2, attempt=2, event=detection("59-X1 333.33"))
    table.add(await store.keep(understand(wire.PLATE_DETECTED, again, agent_id="gate")))
    await store.close()

    text = shown(table)
    assert "29A-111.11" not in text
    assert "29A-222.22" in text
    assert text.count("59-X1 333.33") == 1
    assert "came 2 times" in text
    assert "3 plates, 0 errors, 0 statuses, 1 repeats" in text
    assert (table.detections, table.repeats) == (3, 1)


def test_a_status_is_put_in_words_whatever_it_holds() -> None:
    cameras = [{"state": "running"}, {"state": "lost"}, "nonsense"]
    words = status_words({"status": "processing", "cameras": cameras, "queue": {"pending": 4}})
    assert words == "processing, 1 of 3 cameras running, 4 queued"
    assert status_words({"cameras": 7, "queue": None}) == "None, 0 of 0 cameras running, 0 queued"


@pytest.mark.parametrize(
    ("received_at", "words"),
    [
        ("2026-11-23T01:02:03.540Z", "84 ms"),
        ("2026-11-23T01:02:45.000Z", "42 s"),
        ("2026-11-23T01:33:03.000Z", "31 min"),
        ("2026-11-24T01:02:03.000Z", "24 h"),
        ("2026-11-23T01:02:03.000Z", ""),
        ("soon", ""),
    ],
)
async def test_the_delay_is_said_in_the_unit_that_fits_and_left_out_where_the_clocks_differ(
    received_at: str, words: str
) -> None:
    store = EventStore()
    await store.open()
    kept = await store.keep(understand(wire.PLATE_DETECTED, message(), agent_id="gate"))
    await store.close()
    assert row(replace(kept.event, received_at=received_at))[6].plain == words
