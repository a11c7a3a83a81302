from __future__ import annotations

import asyncio
import json
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import socketio

from lpr import wire
from lpr.backend.faults import parse_fault
from lpr.backend.hub import CommandTimeoutError
from lpr.backend.server import Backend, BackendSettings
from lpr.domain.choices import ImageMode, PayloadShape
from lpr.domain.errors import BackendError, LinkError
from tests.backend.helpers import Serve, connected, message


async def test_an_event_is_acknowledged_after_it_is_stored(serve: Serve) -> None:
    async with serve() as backend, connected(backend) as agent:
        answer = await agent.send(message("event-1"))
        assert answer == {"status": "ok", "eventId": "event-1"}
        (stored,) = await backend.events()
        assert (stored.agent_id, stored.event_id, stored.sequence) == ("gate-nuc-01", "event-1", 1)
        assert stored.remarks == ()


async def test_a_repeat_is_answered_duplicate_over_connections_and_restarts(serve: Serve, tmp_path: Path) -> None:
    database = tmp_path / "events.db"
    async with serve(database=database) as backend:
        async with connected(backend) as agent:
            assert (await agent.send(message("event-1")))["status"] == "ok"
        async with connected(backend, epoch=2) as agent:
            assert (await agent.send(message("event-1", attempt=2)))["status"] == "duplicate"
    async with serve(database=database) as backend, connected(backend, epoch=3) as agent:
        assert (await agent.send(message("event-1", attempt=3)))["status"] == "duplicate"
        (stored,) = await backend.events()
        assert stored.repeats == 2


@pytest.mark.parametrize("images", list(ImageMode))
@pytest.mark.parametrize("payload", list(PayloadShape))
async def test_both_shapes_and_all_image_modes_are_taken(
    serve: Serve, images: ImageMode, payload: PayloadShape
) -> None:
    async with serve(strict=True) as backend, connected(backend) as agent:
        assert (await agent.send(message(images=images, payload=payload)))["status"] == "ok"
        (stored,) = await backend.wait_for(1)
        assert stored.agent_id == "gate-nuc-01"
        assert (stored.plate_image_bytes > 0) is (images is not ImageMode.NONE)


async def test_a_window_of_events_is_stored_each_once(serve: Serve, tmp_path: Path) -> None:
    async with serve(database=tmp_path / "events.db") as backend, connected(backend) as agent:
        answers = await asyncio.gather(*(agent.send(message(f"event-{n}", sequence=n)) for n in range(40)))
        assert {answer["status"] for answer in answers} == {"ok"}
        assert sorted(event.sequence or 0 for event in await backend.wait_for(40)) == list(range(40))


async def test_wait_for_says_how_many_there_were(serve: Serve) -> None:
    async with serve() as backend, connected(backend) as agent:
        await agent.send(message())
        with pytest.raises(TimeoutError, match="1 of 2 events"):
            await backend.wait_for(2, timeout_s=0.5)


async def test_listeners_hear_of_every_event_after_its_commit(serve: Serve) -> None:
    heard: list[tuple[str, bool]] = []
    async with serve() as backend, connected(backend) as agent:
        backend.on_event(lambda kept: heard.append((kept.event.event_id, kept.duplicate)))
        await agent.send(message("event-1"))
        await agent.send(message("event-1", attempt=2))
    assert heard == [("event-1", False), ("event-1", True)]


async def test_nonsense_is_rejected_in_words_and_strict_names_the_field(serve: Serve) -> None:
    async with serve(strict=True) as backend, connected(backend) as agent:
        answer = await agent.send({"hello": 1})
        assert (answer["status"], answer["code"]) == ("rejected", "UNREADABLE")
        assert "eventId" in answer["message"]
        body = message("event-2")
        body["data"]["action"] = "sideways"
        answer = await agent.send(body)
        assert (answer["status"], answer["eventId"], answer["code"]) == ("rejected", "event-2", "CONTRACT")
        assert "data.action must be one of entry, exit" in answer["message"]
        assert await backend.events() == []


async def test_without_strict_the_same_is_stored_with_a_remark(serve: Serve) -> None:
    async with serve() as backend, connected(backend) as agent:
        body = message("event-2")
        body["data"]["action"] = "sideways"
        assert (await agent.send(body))["status"] == "ok"
        (stored,) = await backend.events()
        assert stored.remarks == ("data.action must be one of entry, exit, got 'sideways'",)


# Connecting


async def test_a_wrong_token_is_refused_and_the_right_one_is_not(serve: Serve) -> None:
    refusals: list[object] = []
    async with serve(token="s3cret") as backend:
        for wrong in (None, "guess", "s3cret "):
            with pytest.raises(socketio.exceptions.ConnectionError):
                async with connected(backend, token=wrong, refusals=refusals):
                    pass
        assert refusals == [{"message": "unauthorized"}] * 3
        assert backend.refused == 3
        assert backend.agents == ()
        async with connected(backend, token="s3cret") as agent:
            assert (await agent.send(message()))["status"] == "ok"


async def test_a_namespace_that_does_not_exist_is_refused(serve: Serve) -> None:
    async with serve() as backend, aiohttp.ClientSession() as session:
        client = socketio.AsyncClient(reconnection=False, http_session=session)
        with pytest.raises(socketio.exceptions.ConnectionError):
            await client.connect(backend.url, transports=["websocket"], namespaces=["/elsewhere"], wait_timeout=2)
        await client.shutdown()


async def test_hello_is_answered_with_limits_and_the_servers_time(serve: Serve) -> None:
    async with serve(hello={"images": "binary", "replayPerSecond": 5}) as backend, connected(backend) as agent:
        answer = await agent.send(wire.hello(agent_id="gate-nuc-01", version="0.1.0"), wire.HELLO)
        read = wire.parse_hello_answer([answer])
        assert read.problems == ()
        assert (read.images, read.replay_per_second) == (ImageMode.BINARY, 5)
        assert read.max_message_bytes == 900_000
        assert read.server_time is not None
        assert abs((datetime.now(UTC) - read.server_time).total_seconds()) < 5
        assert backend.agents[0].hello is not None
        assert await backend.events() == []


async def test_hello_stays_unanswered_where_the_settings_say_so(serve: Serve) -> None:
    async with serve(hello=None) as backend, connected(backend) as agent:
        with pytest.raises(socketio.exceptions.TimeoutError):
            await agent.client.call(wire.HELLO, {}, namespace="/ai", timeout=0.2)


async def test_of_two_sockets_of_one_agent_the_higher_epoch_is_the_live_one(serve: Serve) -> None:
    async with serve() as backend, connected(backend, epoch=7) as live, connected(backend, epoch=6):
        live.on("get_status", lambda *_: {"status": "ok", "data": {"epoch": 7}})
        assert [agent.epoch for agent in backend.agents] == [7]
        assert (await backend.command("get_status"))["data"] == {"epoch": 7}


async def test_an_agent_that_leaves_is_forgotten(serve: Serve) -> None:
    changes = asyncio.Event()
    async with serve() as backend:
        async with connected(backend):
            assert (await backend.wait_for_agent("gate-nuc-01")).version == "0.1.0"
            backend.on_change(changes.set)
        async with asyncio.timeout(5):
            await changes.wait()
        assert backend.agents == ()


async def test_a_frame_above_the_limit_closes_the_connection(serve: Serve) -> None:
    async with serve() as backend, connected(backend) as agent:
        await agent.emit({**message(), "padding": "x" * 1_000_000})
        async with asyncio.timeout(5):
            await agent.gone.wait()
        assert await backend.events() == []


@pytest.mark.parametrize("packet", ['42/ai,1["error",{"x":NaN}]', "42/ai,[", "4x", "4"], ids=repr)
async def test_what_javascript_could_not_read_closes_the_connection(serve: Serve, packet: str) -> None:
    async with serve() as backend, aiohttp.ClientSession() as session:
        address = f"{backend.url}/socket.io/?EIO=4&transport=websocket"
        async with session.ws_connect(address) as socket, asyncio.timeout(5):
            assert json.loads((await socket.receive_str())[1:])["maxPayload"] == 1_000_000
            await socket.send_str("40/ai,{}")
            assert (await socket.receive_str()).startswith("40/ai,")
            await socket.send_str(packet)
            while (await socket.receive()).type not in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED):
                pass


# Faults


async def test_retry_and_reject_do_not_store(serve: Serve) -> None:
    faults = (parse_fault("retry:x1"), parse_fault("reject:x1"))
    async with serve(faults=faults, retry_after_ms=250) as backend, connected(backend) as agent:
        answers = [await agent.send(message("event-1")) for _ in range(3)]
        assert [answer["status"] for answer in answers] == ["rejected", "retry", "ok"]
        assert answers[1]["retryAfterMs"] == 250
        assert len(await backend.events()) == 1


async def test_silent_stores_and_never_answers(serve: Serve) -> None:
    async with serve(faults=(parse_fault("silent:x1"),)) as backend, connected(backend) as agent:
        with pytest.raises(socketio.exceptions.TimeoutError):
            await agent.client.call(wire.PLATE_DETECTED, message("event-1"), namespace="/ai", timeout=0.2)
        assert (await agent.send(message("event-1", attempt=2)))["status"] == "duplicate"
        assert len(await backend.events()) == 1


async def test_slow_answers_late(serve: Serve) -> None:
    loop = asyncio.get_running_loop()
    async with serve(faults=(parse_fault("slow:x1"),), slow_s=0.2) as backend, connected(backend) as agent:
        began = loop.time()
        assert (await agent.send(message()))["status"] == "ok"
        assert loop.time() - began >= 0.2


@pytest.mark.parametrize("fault", ["kick", "close"])
async def test_kick_and_close_store_and_end_the_connection(serve: Serve, fault: str) -> None:
    async with serve(faults=(parse_fault(f"{fault}:x1"),)) as backend:
        async with connected(backend) as agent:
            await agent.emit(message("event-1"))
            async with asyncio.timeout(5):
                await agent.gone.wait()
        async with connected(backend, epoch=2) as agent:
            assert (await agent.send(message("event-1", attempt=2)))["status"] == "duplicate"
        assert len(await backend.events()) == 1


# Commands


async def test_a_command_is_sent_in_the_guides_form_and_its_answer_returned(serve: Serve) -> None:
    heard: list[Any] = []

    def obey(*args: Any) -> dict[str, Any]:
        heard.extend(args)
        return {"status": "ok", "commandId": args[0]["commandId"], "data": {"stopped": 1}}

    async with serve() as backend, connected(backend) as agent:
        agent.on("stop_processing", obey)
        answer = await backend.command("stop_processing", {"cameraIds": ["CAM_001"]}, command_id="c-1")
        assert answer == {"status": "ok", "commandId": "c-1", "data": {"stopped": 1}}
    request = wire.parse_command("stop_processing", heard)
    assert request.command_id == "c-1"
    assert heard == [{"type": "stop_processing", "data": {"cameraIds": ["CAM_001"]}, "commandId": "c-1"}]


async def test_a_flat_command_carries_its_data_itself(serve: Serve) -> None:
    heard: list[Any] = []
    async with serve() as backend, connected(backend) as agent:
        agent.on("capture_snapshot", lambda *args: heard.extend(args))
        answer = await backend.command("capture_snapshot", {"cameraId": "CAM_001"}, flat=True, command_id="c-2")
    assert heard == [{"cameraId": "CAM_001", "commandId": "c-2"}]
    assert answer["status"] == "error"


async def test_a_command_without_an_agent_says_so(serve: Serve) -> None:
    async with serve() as backend:
        with pytest.raises(LinkError, match="no agent is connected"):
            await backend.command("get_status")
        with pytest.raises(LinkError, match="no agent 'gate-9' is connected"):
            await backend.command("get_status", agent_id="gate-9")


async def test_a_command_that_is_not_answered_ends_in_time(serve: Serve) -> None:
    never = asyncio.Event()

    async def hesitate(*_: Any) -> None:
        await never.wait()

    async with serve() as backend, connected(backend) as agent:
        agent.on("get_status", hesitate)
        with pytest.raises(CommandTimeoutError, match="did not answer get_status within"):
            await backend.command("get_status", timeout_s=0.1)
        assert backend.agents[0].waiting == set()
        never.set()


async def test_an_agent_that_goes_away_ends_the_wait_at_once(serve: Serve) -> None:
    asked, never = asyncio.Event(), asyncio.Event()

    async def hesitate(*_: Any) -> None:
        asked.set()
        await never.wait()

    async with serve() as backend, connected(backend) as agent:
        agent.on("get_status", hesitate)
        waiting = asyncio.create_task(backend.command("get_status", timeout_s=30))
        await asked.wait()
        await backend.kick()
        with pytest.raises(CommandTimeoutError, match="went away"):
            async with asyncio.timeout(5):
                await waiting
        never.set()


# Opening and closing


async def test_a_port_in_use_is_said_in_words(serve: Serve) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(BackendError, match=f"127.0.0.1:{port}") as caught:
            async with serve(port=port):
                pass
        assert "--port" in (caught.value.hint or "")


async def test_a_host_that_is_not_ours_is_said_in_words(serve: Serve) -> None:
    with pytest.raises(BackendError, match=r"192\.0\.2\.1"):
        async with serve(host="192.0.2.1"):
            pass


async def test_closing_with_agents_connected_is_quick_and_may_be_done_twice() -> None:
    loop = asyncio.get_running_loop()
    backend = Backend(BackendSettings(port=0))
    await backend.__aenter__()
    async with connected(backend) as agent:
        await agent.send(message())
        began = loop.time()
        await backend.close()
        await backend.close()
        assert loop.time() - began < 5
        async with asyncio.timeout(5):
            await agent.gone.wait()
    with pytest.raises(BackendError, match="closed"):
        await backend.events()
