from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lpr import wire
from lpr.backend.messages import Message, UnreadableMessageError, understand
from lpr.backend.store import EventStore
from lpr.domain.errors import BackendError
from tests.backend.helpers import detection, message


def event(event_id: str = "event-1", *, sequence: int = 1, **changes: Any) -> Message:
    body = message(event_id, sequence=sequence)
    body["data"] |= changes
    return understand(wire.PLATE_DETECTED, body, agent_id="gate-nuc-01")


@pytest.fixture(params=["memory", "file"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    opened = EventStore(tmp_path / "events.db" if request.param == "file" else None)
    await opened.open()
    yield opened
    await opened.close()


async def test_an_event_is_kept_with_its_pictures_and_its_vietnamese(store: EventStore) -> None:
    kept = await store.keep(event())
    assert not kept.duplicate
    (stored,) = await store.events()
    assert stored == kept.event
    assert stored.data["gateName"] == "Cổng chính"
    original = detection()
    assert original.original_image is not None
    assert await store.pictures(stored.number) == (original.plate_image.data, original.original_image.data)
    assert stored.plate_image_bytes == len(original.plate_image.data)


async def test_a_repeat_is_counted_and_not_stored_again(store: EventStore) -> None:
    first = await store.keep(event())
    again = await store.keep(event())
    assert again.duplicate
    assert (again.event.number, again.event.repeats) == (first.event.number, 1)
    assert len(await store.events()) == 1


async def test_two_agents_may_use_the_same_event_id(store: EventStore) -> None:
    other = understand(wire.PLATE_DETECTED, message(agent_id="gate-nuc-02"), agent_id="gate-nuc-02")
    await store.keep(event())
    assert not (await store.keep(other)).duplicate
    assert [each.agent_id for each in await store.events()] == ["gate-nuc-01", "gate-nuc-02"]


async def test_a_repeat_that_says_something_else_is_remarked(store: EventStore) -> None:
    await store.keep(event(sequence=1))
    again = await store.keep(event(sequence=2, licensePlate="59-X1 123.54"))
    assert again.event.remarks == (
        "sequence was another one in a repeat",
        "data.licensePlate was another one in a repeat",
    )
    assert again.event.sequence == 1


async def test_many_at_once_are_all_kept_in_order(store: EventStore) -> None:
    await asyncio.gather(*(store.keep(event(f"event-{number}", sequence=number)) for number in range(100)))
    assert [each.sequence for each in await store.events()] == list(range(100))
    assert [each.sequence for each in await store.events(after=10, limit=2)] == [10, 11]
    assert [each.sequence for each in await store.events(newest_first=True, limit=1)] == [99]
    assert await store.counts() == {wire.PLATE_DETECTED: 100}


async def test_one_event_that_no_database_can_hold_takes_no_other_with_it(store: EventStore) -> None:
    deep: list[object] = []
    for _ in range(5_000):
        deep = [deep]
    results = await asyncio.gather(
        store.keep(event("good-1")),
        store.keep(event("deep", gateName=deep)),
        store.keep(event("half-a-pair", gateName="\ud83d")),
        store.keep(event("huge", sequence=2**70)),
        store.keep(event("good-2")),
        return_exceptions=True,
    )
    assert [isinstance(each, UnreadableMessageError) for each in results] == [False, True, True, True, False]
    assert [each.event_id for each in await store.events()] == ["good-1", "good-2"]


async def test_missing_sequences_are_those_between_that_never_came(store: EventStore) -> None:
    for number in (3, 4, 7):
        await store.keep(event(f"event-{number}", sequence=number))
    assert await store.missing_sequences("gate-nuc-01") == [5, 6]
    assert await store.missing_sequences("nobody") == []


async def test_a_file_is_found_again_after_closing(tmp_path: Path) -> None:
    for expected in (False, True):
        store = EventStore(tmp_path / "Cổng.db")
        await store.open()
        assert (await store.keep(event())).duplicate is expected
        await store.close()


async def test_what_was_kept_survives_a_killed_process(tmp_path: Path) -> None:
    program = """
import asyncio, os, signal, sys
from pathlib import Path
from lpr.backend.messages import understand
from lpr.backend.store import EventStore

async def main():
    store = EventStore(Path(sys.argv[1]))
    await store.open()
    await store.keep(understand("error", {"eventId": "e-1", "message": "m"}, agent_id="a"))
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""
    path = tmp_path / "events.db"
    await asyncio.to_thread(subprocess.run, [sys.executable, "-c", program, str(path)], check=False, timeout=30)
    store = EventStore(path)
    await store.open()
    assert [each.event_id for each in await store.events()] == ["e-1"]
    await store.close()


async def test_a_file_that_is_no_database_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are notes, and not a database at all " * 50)
    with pytest.raises(BackendError, match=r"notes\.txt cannot be opened") as caught:
        await EventStore(path).open()
    assert caught.value.hint
    assert path.read_text().startswith("these are notes")


async def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (x)")
    connection.commit()
    connection.close()
    with pytest.raises(BackendError, match="another program"):
        await EventStore(path).open()


async def test_a_folder_that_is_not_there_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="cannot be opened"):
        await EventStore(tmp_path / "nowhere" / "events.db").open()


async def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = EventStore(None)
    await store.open()
    await store.close()
    await store.close()
    with pytest.raises(BackendError, match="closed"):
        await store.events()
