"""The back-end asks for delivered events again: the whole agent, its queue on disk, and the small back-end."""

from __future__ import annotations

import asyncio
from pathlib import Path

from lpr.agent.service import Agent
from lpr.backend.server import Backend, BackendSettings
from tests.agent.helpers import CAMERA, make_config
from tests.agent.test_service import running
from tests.link.parts import detection

DETECTED = "license_plate_detected"


def keeping_agent(folder: Path, url: str, keep_delivered: str) -> Agent:
    """An agent whose only camera is off: its events are recorded by the test."""
    outbox = {"min_free_disk": 0, "keep_delivered": keep_delivered}
    return Agent(make_config(folder / "data", {**CAMERA, "enabled": False}, backend=url, outbox=outbox))


async def deliver(agent: Agent, *plates: str) -> None:
    for plate in plates:
        await agent._outbox.record(detection(plate), link_up=True)
    await agent._relay.drained()


async def until_repeated(backend: Backend, wanted: dict[str, int]) -> None:
    """Until each plate has come again so many times."""
    async with asyncio.timeout(20):
        while True:
            events = await backend.events(event_type=DETECTED)
            if {event.data["plate"]["text"]: event.repeats for event in events} == wanted:
                return
            await asyncio.sleep(0.02)  # a repeat is announced to nobody


async def test_a_range_is_sent_again_and_answered_as_duplicate_and_can_be_asked_for_once_more(tmp_path: Path) -> None:
    async with Backend(BackendSettings(port=0, database=tmp_path / "backend.db")) as backend:
        agent = keeping_agent(tmp_path, backend.url, "1 h")
        async with running(agent):
            await backend.wait_for_agent()
            await deliver(agent, "29A-000.01", "29A-000.02", "29A-000.03")
            first, second, _ = await backend.events(event_type=DETECTED)

            bounds = {"fromSequence": first.sequence, "toSequence": second.sequence}
            answer = await backend.command("replay_events", bounds)
            assert (answer["status"], answer["data"]) == ("ok", {"replayed": 2})
            await until_repeated(backend, {"29A00001": 1, "29A00002": 1, "29A00003": 0})

            await agent._relay.drained()
            answer = await backend.command("replay_events", {"fromTime": first.timestamp})
            assert answer["data"] == {"replayed": 3}, "what was sent again is kept again"
            await until_repeated(backend, {"29A00001": 2, "29A00002": 2, "29A00003": 1})

            answer = await backend.command("replay_events", {"fromSequence": 1_000_000})
            assert (answer["status"], answer["data"]) == ("ok", {"replayed": 0})
            wrong = await backend.command("replay_events", {"fromSequence": "one"})
            assert (wrong["status"], wrong["code"]) == ("error", "INVALID_DATA")
            assert wrong["message"].startswith("fromSequence must be a whole number")
        assert agent.board.queue.pending == 0


async def test_a_back_end_that_lost_what_it_stored_gets_it_again_and_opens_no_barrier_for_it(tmp_path: Path) -> None:
    async with Backend(BackendSettings(port=0)) as backend:
        port = backend.port
        agent = keeping_agent(tmp_path, backend.url, "1 h")
        async with running(agent):
            await backend.wait_for_agent()
            await deliver(agent, "29A-000.01", "29A-000.02")
            before = await backend.events(event_type=DETECTED)
            await backend.close()
            async with Backend(BackendSettings(port=port)) as emptied:
                await emptied.wait_for_agent()
                answer = await emptied.command("replay_events", {})
                assert answer["data"] == {"replayed": 2}
                after = await emptied.wait_for(2, event_type=DETECTED)
                await agent._relay.drained()
    assert [event.replayed for event in before] == [False, False]
    assert [event.replayed for event in after] == [True, True]
    assert [event.attempt for event in after] == [2, 2]
    assert [event.event_id for event in after] == [event.event_id for event in before]
    assert [event.original_image_bytes for event in after] == [event.original_image_bytes for event in before]


async def test_an_agent_that_keeps_nothing_sends_nothing_again(tmp_path: Path) -> None:
    async with Backend(BackendSettings(port=0)) as backend:
        agent = keeping_agent(tmp_path, backend.url, "0 s")
        async with running(agent):
            await backend.wait_for_agent()
            await deliver(agent, "29A-000.01")
            answer = await backend.command("replay_events", {})
    assert (answer["status"], answer["data"]) == ("ok", {"replayed": 0})
