from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from lpr import wire
from tests.backend.helpers import Serve, connected, detection, message


async def test_events_are_listed_as_json_with_the_addresses_of_their_pictures(serve: Serve) -> None:
    event = detection()
    async with serve() as backend, connected(backend) as agent, aiohttp.ClientSession(backend.url) as http:
        await agent.send(message("event-1", event=event))
        async with http.get("/events", params={"type": wire.PLATE_DETECTED}) as answer:
            (listed,) = await answer.json()
        assert listed["data"]["gateName"] == "Cổng chính"
        assert listed["eventId"] == "event-1"
        async with http.get(listed["processedImage"]) as answer:
            assert answer.content_type == "image/jpeg"
            assert await answer.read() == event.plate_image.data
        async with http.get("/events/99/plate.jpg") as answer:
            assert answer.status == 404
        async with http.get("/events", params={"after": "soon"}) as answer:
            assert answer.status == 400
        async with http.get("/events", params={"after": listed["number"]}) as answer:
            assert await answer.json() == []


async def test_the_page_shows_plates_and_lets_no_markup_through(serve: Serve) -> None:
    async with serve() as backend, connected(backend) as agent, aiohttp.ClientSession(backend.url) as http:
        async with http.get("/") as answer:
            assert "Nothing has come yet" in await answer.text()
        await agent.send(message(event=detection(gate_name="<script>alert(1)</script> Cổng")))
        async with http.get("/") as answer:
            page = await answer.text()
        assert "59-X1 123.45" in page
        assert "gate-nuc-01 connected" in page
        assert "<script" not in page
        assert "&lt;script&gt;alert(1)&lt;/script&gt; Cổng" in page


async def test_faults_are_changed_while_it_runs(serve: Serve) -> None:
    async with serve() as backend, connected(backend) as agent, aiohttp.ClientSession(backend.url) as http:
        async with http.post("/faults", json={"faults": ["retry", "slow:0.5"]}) as answer:
            assert await answer.json() == {"faults": ["slow:0.5", "retry"]}
        backend.faults.replace([fault for fault in backend.faults.faults if fault.kind == "retry"])
        assert (await agent.send(message()))["status"] == "retry"
        async with http.post("/faults", json={"faults": []}) as answer:
            assert await answer.json() == {"faults": []}
        assert (await agent.send(message()))["status"] == "ok"


@pytest.mark.parametrize("body", [{}, {"faults": "slow"}, {"faults": [1]}, {"faults": ["sleepy"]}, [1]], ids=repr)
async def test_faults_that_are_none_are_refused_and_change_nothing(serve: Serve, body: Any) -> None:
    async with serve() as backend, aiohttp.ClientSession(backend.url) as http:
        async with http.post("/faults", json=body) as answer:
            assert answer.status == 400
            assert (await answer.json())["error"]
        assert backend.faults.faults == ()


async def test_commands_are_sent_over_http_and_answered_with_the_agents_answer(serve: Serve) -> None:
    async with serve() as backend, aiohttp.ClientSession(backend.url) as http:
        async with http.post("/commands/get_status", json={}) as answer:
            assert answer.status == 503
            assert "no agent is connected" in (await answer.json())["error"]
        async with connected(backend) as agent:
            agent.on("get_status", lambda *_: {"status": "ok", "data": {"uptime": 3}})
            async with http.post("/commands/get_status", json={}) as answer:
                assert (await answer.json())["data"] == {"uptime": 3}


async def test_a_foreign_page_cannot_change_anything(serve: Serve) -> None:
    async with serve() as backend, aiohttp.ClientSession(backend.url) as http:
        async with http.post("/faults", data='{"faults": ["close"]}', headers={"Content-Type": "text/plain"}) as answer:
            assert answer.status == 415
        assert backend.faults.faults == ()


async def test_with_a_token_changes_over_http_need_it_too(serve: Serve) -> None:
    async with serve(token="s3cret") as backend, aiohttp.ClientSession(backend.url) as http:
        async with http.post("/faults", json={"faults": []}) as answer:
            assert answer.status == 401
        async with http.post("/faults", json={"faults": []}, headers={"Authorization": "Bearer s3cret"}) as answer:
            assert answer.status == 200


async def test_agents_are_listed_with_the_sequences_that_are_missing(serve: Serve) -> None:
    async with serve() as backend, connected(backend) as agent, aiohttp.ClientSession(backend.url) as http:
        for number in (1, 2, 5):
            await agent.send(message(f"event-{number}", sequence=number))
        async with http.get("/agents") as answer:
            (listed,) = await answer.json()
        assert (listed["agentId"], listed["epoch"], listed["missingSequences"]) == ("gate-nuc-01", 1, [3, 4])
