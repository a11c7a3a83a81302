"""`lpr-agent queue`, as a person and as a program use it, beside an agent that runs and without one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from lpr.cli import main
from lpr.cli.queue import age_in_words
from lpr.outbox.base import Ticket
from lpr.outbox.sqlite import SqliteOutbox
from lpr.testing.clock import FakeClock
from lpr.wire import parse_overflow_details
from tests.outbox.helpers import SqliteStore, detection, failure, picture, status


def run(*arguments: str | Path) -> int:
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.fixture
def store(tmp_path: Path) -> SqliteStore:
    return SqliteStore(FakeClock(), tmp_path / "data")


async def filled(store: SqliteStore) -> tuple[SqliteOutbox, list[Ticket]]:
    """An agent's outbox, still open: two events that wait and one dead letter between them."""
    outbox = await store.open()
    tickets = [
        await outbox.record(detection("29A12345"), link_up=True),
        await outbox.record(detection("80NG63160"), link_up=True),
        await outbox.record(failure(), link_up=True),
    ]
    await outbox.bury(tickets[1].event_id, code="NO_GATE", reason="không có cổng GATE_009")
    return outbox, tickets


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def printed_json(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(printed(capsys))


async def test_the_status_is_there_for_programs_while_the_agent_runs(
    store: SqliteStore, capsys: pytest.CaptureFixture[str]
) -> None:
    outbox, tickets = await filled(store)
    assert run("queue", "status", "--data-dir", store.data_dir, "--json") == 0
    report = printed_json(capsys)
    assert report["pending"] == 2
    assert report["deadLetters"] == 1
    assert report["bytes"] == sum(ticket.size_bytes for ticket in tickets)
    assert report["byType"] == {"license_plate_detected": 1, "error": 1}
    assert report["lastSequence"] == 3
    assert report["agentId"] == "gate"
    assert report["pid"] == os.getpid()
    assert report["running"] is True
    await outbox.close()
    assert run("queue", "status", "--data-dir", store.data_dir, "--json") == 0
    assert printed_json(capsys)["running"] is False


async def test_the_status_reads_well(store: SqliteStore, capsys: pytest.CaptureFixture[str]) -> None:
    outbox, _ = await filled(store)
    await outbox.close()
    assert run("queue", "status", "--data-dir", store.data_dir) == 0
    text = printed(capsys)
    assert "dead letters" in text
    assert "2  (1 error, 1 license_plate_detected)" in text
    assert "KiB" in text


async def test_the_list_shows_plates_codes_and_reasons(store: SqliteStore, capsys: pytest.CaptureFixture[str]) -> None:
    outbox, _ = await filled(store)
    assert run("queue", "list", "--data-dir", store.data_dir) == 0
    text = printed(capsys)
    assert "29A12345" in text
    assert "CAMERA_DISCONNECTED" in text
    assert "dead: NO_GATE không có cổng GATE_009" in text
    await outbox.put_status(status())
    assert run("queue", "list", "--data-dir", store.data_dir) == 0
    assert "status processing" in printed(capsys), "`error` alone would be taken for one"
    await outbox.close()


async def test_the_list_is_json_lines_for_programs_and_can_be_narrowed(
    store: SqliteStore, capsys: pytest.CaptureFixture[str]
) -> None:
    outbox, tickets = await filled(store)
    assert run("queue", "list", "--data-dir", store.data_dir, "--json") == 0
    lines = [json.loads(line) for line in printed(capsys).splitlines()]
    assert [line["eventId"] for line in lines] == [ticket.event_id for ticket in tickets]
    assert [line["state"] for line in lines] == ["waiting", "dead letter", "waiting"]
    assert lines[1]["rejection"]["code"] == "NO_GATE"

    assert run("queue", "list", "--data-dir", store.data_dir, "--json", "--dead") == 0
    assert [json.loads(line)["sequence"] for line in printed(capsys).splitlines()] == [2]
    assert run("queue", "list", "--data-dir", store.data_dir, "--waiting", "-n", "1") == 0
    text = printed(capsys)
    assert "29A12345" in text
    assert "CAMERA_DISCONNECTED" not in text
    assert "only the oldest 1 are shown" in text
    await outbox.close()


async def test_an_empty_queue_says_so(store: SqliteStore, capsys: pytest.CaptureFixture[str]) -> None:
    await (await store.open()).close()
    assert run("queue", "list", "--data-dir", store.data_dir) == 0
    assert printed(capsys) == "the queue is empty\n"
    assert run("queue", "list", "--data-dir", store.data_dir, "--dead") == 0
    assert printed(capsys) == "no dead letters\n"


async def test_one_event_is_shown_by_sequence_and_by_the_beginning_of_its_id(
    store: SqliteStore, capsys: pytest.CaptureFixture[str]
) -> None:
    outbox, tickets = await filled(store)
    assert run("queue", "show", "2", "--data-dir", store.data_dir, "--json") == 0
    shown = printed_json(capsys)
    assert shown["eventId"] == tickets[1].event_id
    assert shown["message"]["data"]["gateName"] == "Cổng chính"
    assert shown["pictures"]["plate"]["bytes"] == 200
    assert run("queue", "show", tickets[2].event_id.upper(), "--data-dir", store.data_dir) == 0
    assert "CAMERA_DISCONNECTED" in printed(capsys)
    await outbox.close()


async def test_names_that_mean_no_event_or_several_fail(store: SqliteStore, capsys: pytest.CaptureFixture[str]) -> None:
    outbox, tickets = await filled(store)
    assert run("queue", "show", "99", "--data-dir", store.data_dir) == 1
    assert "no event '99' is in the queue" in capsys.readouterr().err
    assert run("queue", "show", tickets[0].event_id[:6], "--data-dir", store.data_dir) == 1
    assert "give more of the id" in capsys.readouterr().err
    await outbox.close()


async def test_a_retried_dead_letter_reaches_the_running_agent(
    store: SqliteStore, capsys: pytest.CaptureFixture[str]
) -> None:
    outbox, tickets = await filled(store)
    assert run("queue", "retry", "2", "--data-dir", store.data_dir, "--json") == 0
    assert printed_json(capsys) == {"retried": 1, "eventIds": [tickets[1].event_id]}
    assert [ticket.sequence for ticket in await outbox.waiting(limit=9)] == [1, 2, 3]
    assert run("queue", "retry", "--all", "--data-dir", store.data_dir) == 0
    assert printed(capsys) == "0 dead letter(s) wait again\n"
    await outbox.close()


async def test_what_waits_cannot_be_retried(store: SqliteStore, capsys: pytest.CaptureFixture[str]) -> None:
    outbox, _ = await filled(store)
    assert run("queue", "retry", "1", "2", "--data-dir", store.data_dir) == 1
    assert "event 1 (29A12345) is no dead letter" in capsys.readouterr().err
    assert len(await outbox.dead_letters(limit=9)) == 1
    await outbox.close()


async def test_dropping_asks_unless_told_not_to(store: SqliteStore, capsys: pytest.CaptureFixture[str]) -> None:
    outbox, _ = await filled(store)
    assert run("queue", "drop", "--all", "--data-dir", store.data_dir) == 2
    assert "--yes" in capsys.readouterr().err
    assert len(await outbox.dead_letters(limit=9)) == 1
    assert run("queue", "drop", "--all", "--yes", "--data-dir", store.data_dir) == 0
    assert printed(capsys) == "1 event(s) deleted\n"
    assert await outbox.dead_letters(limit=9) == []
    assert [ticket.sequence for ticket in await outbox.waiting(limit=9)] == [1, 3]
    await outbox.close()


async def test_what_waits_is_dropped_only_when_asked_for_and_the_back_end_is_told(
    store: SqliteStore, capsys: pytest.CaptureFixture[str]
) -> None:
    outbox, _ = await filled(store)
    assert run("queue", "drop", "1", "--yes", "--data-dir", store.data_dir) == 1
    assert "--waiting" in capsys.readouterr().err
    assert run("queue", "drop", "1", "2", "--waiting", "--yes", "--data-dir", store.data_dir, "--json") == 0
    assert printed_json(capsys)["dropped"] == 2
    waiting = await outbox.waiting(limit=9)
    assert [ticket.sequence for ticket in waiting] == [3, 4]
    entry = await outbox.load(waiting[-1].event_id)
    assert entry is not None
    overflow = parse_overflow_details(entry.body["data"]["details"])
    assert (overflow.cause, overflow.detections, overflow.lost) == ("operator", 1, ((1, 1),))
    assert (await outbox.record(failure(), link_up=True)).sequence == 5
    await outbox.close()


async def test_an_export_holds_every_event_with_pictures_that_open(
    store: SqliteStore, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    outbox, tickets = await filled(store)
    target = tmp_path / "thư mục"
    assert run("queue", "export", target, "--data-dir", store.data_dir) == 0
    assert printed(capsys).startswith("wrote 3 event(s) and 4 picture(s)")
    lines = [json.loads(line) for line in (target / "events.jsonl").read_text("utf-8").splitlines()]
    assert [line["message"]["eventId"] for line in lines] == [ticket.event_id for ticket in tickets]
    assert lines[1]["state"] == "dead letter"
    assert lines[1]["rejection"] == {
        "code": "NO_GATE",
        "message": "không có cổng GATE_009",
        "at": "2026-11-23T01:02:03.000Z",
    }
    assert (target / lines[0]["pictures"]["plate"]).read_bytes() == picture("plate 29A12345", 200).data
    assert (target / lines[0]["pictures"]["scene"]).read_bytes() == picture("scene 29A12345", 2000).data
    assert Path(lines[0]["pictures"]["plate"]).name.startswith("00000001_29A12345_")
    assert lines[2]["pictures"] == {}

    assert run("queue", "export", target, "--data-dir", store.data_dir) == 1
    assert "is there already" in capsys.readouterr().err
    assert run("queue", "export", tmp_path / "dead", "--dead", "--data-dir", store.data_dir, "--json") == 0
    assert printed_json(capsys)["events"] == 1
    await outbox.close()


async def test_an_export_to_where_nothing_can_be_written_says_what_to_name(
    store: SqliteStore, capsys: pytest.CaptureFixture[str]
) -> None:
    outbox, _ = await filled(store)
    assert run("queue", "export", "/proc/nowhere/export", "--data-dir", store.data_dir) == 1
    said = capsys.readouterr().err
    assert "cannot export to /proc/nowhere/export: No such file or directory" in said
    assert "hint: name a new folder" in said
    await outbox.close()


def test_a_directory_without_a_queue_is_an_error_with_a_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("queue", "status", "--data-dir", tmp_path) == 1
    error = capsys.readouterr().err
    assert "there is no queue in" in error
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"no database " * 9999])
def test_a_damaged_queue_is_an_error_and_is_left_to_the_agent(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "outbox.db").write_bytes(content)
    for command in ("status", "list"):
        assert run("queue", command, "--data-dir", tmp_path) == 1
        error = capsys.readouterr().err
        assert "damaged" in error
        assert "the agent sets it aside" in error
    assert (tmp_path / "outbox.db").read_bytes() == content


@pytest.mark.parametrize(
    "arguments",
    [
        ("retry",),
        ("retry", "1", "--all"),
        ("drop",),
        ("list", "--dead", "--waiting"),
        ("list", "-n", "-1"),
        ("show",),
        ("nonsense",),
    ],
)
async def test_arguments_that_make_no_sense_are_refused_with_code_2(
    arguments: tuple[str, ...], store: SqliteStore, capsys: pytest.CaptureFixture[str]
) -> None:
    outbox, _ = await filled(store)
    assert run("queue", *arguments, *(() if arguments == ("nonsense",) else ("--data-dir", store.data_dir))) == 2
    assert capsys.readouterr().err
    await outbox.close()


async def test_the_data_directory_comes_from_the_configuration(
    store: SqliteStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await (await store.open()).close()
    config = tmp_path / "agent.yaml"
    config.write_text(
        f"agent: {{id: gate, data_dir: {store.data_dir}}}\n"
        "backend: {url: 'http://localhost:3001', token: secret-token}\n"
        "outbox: {max_bytes: 10 MiB}\n"
        "cameras:\n"
        "  - {id: CAM_001, source: 'rtsp://192.168.1.100/stream', gate: {id: GATE_001, name: Cổng chính}}\n"
    )
    assert run("queue", "status", "-c", config, "--json") == 0
    report = printed_json(capsys)
    assert report["maxBytes"] == 10 << 20
    assert report["dataDir"] == str(store.data_dir)
    assert run("queue", "status", "-c", config) == 0
    assert "of 10.0 MiB" in printed(capsys)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "0 s"),
        (12, "12 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
        (86400 * 6 + 3 * 3600 + 59, "6 d 3 h"),
    ],
)
def test_ages_are_told_in_words(seconds: float, words: str) -> None:
    assert age_in_words(seconds) == words
