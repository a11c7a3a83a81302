"""The contract, held against three servers: in the same process, the small back-end, a real Node server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from lpr import wire
from lpr.domain.choices import ImageMode, PayloadShape
from lpr.domain.commands import CommandReply, CommandRequest, GetStatus, ReplyStatus
from lpr.link.base import DeliveryLimits, OnCommand
from lpr.link.commands import CommandInbox, Handler
from lpr.outbox.memory import MemoryOutbox
from tests.faults.node import NodeBackend
from tests.link.parts import Site, camera_lost, detection, picture, running
from tests.link.servers import Arrived, InProcess, Node, Server, Small, small

SERVERS = [InProcess.name, Small.name, pytest.param(Node.name, marks=pytest.mark.node)]

GUIDE_FIELDS = {
    "licensePlate", "confidence", "gateId", "gateName", "action", "processedImage", "originalImage", "boundingBox",
    "processingTime", "deviceInfo",
}  # fmt: skip


@pytest.fixture(params=SERVERS)
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    if request.param == InProcess.name:
        yield InProcess()
    elif request.param == Small.name:
        async with small() as each:
            yield each
    else:
        process: NodeBackend = request.getfixturevalue("node_process")
        await process.as_new()
        yield Node(process)


def join(server: Server, on_command: OnCommand | None = None, **changes: Any) -> AbstractAsyncContextManager[Site]:
    """A relay to this server."""
    link = server.settings(**changes)
    more = {} if on_command is None else {"on_command": on_command}
    return running(link, transport=server.transport(link), **more)


async def arrived(server: Server, site: Site, amount: int = 1) -> list[Arrived]:
    await site.until_empty()
    stored = await server.stored()
    assert len(stored) == amount
    return stored


async def test_auth_says_who_we_are_and_the_epoch_grows_with_every_connection(server: Server) -> None:
    async with join(server) as site:
        await site.until(lambda: site.relay.link_up)
        await server.misbehave("kick", 1)
        await site.record()
        await site.until_empty()
    auths = await server.auths()
    assert [auth["epoch"] for auth in auths] == [1, 2]
    assert {auth["agentId"] for auth in auths} == {"gate-nuc-01"}
    assert {auth["bootId"] for auth in auths} == {"boot-1"}


@pytest.mark.node
async def test_the_auth_object_has_all_of_its_fields(node_backend: NodeBackend) -> None:
    async with join(Node(node_backend)) as site:
        await site.until(lambda: site.relay.link_up)
        [auth] = (await node_backend.state())["agents"]
    assert auth == {
        "token": node_backend.token, "agentId": "gate-nuc-01", "bootId": "boot-1", "epoch": 1, "version": "0.1.0",
        "contract": 1,
    }  # fmt: skip


@pytest.mark.node
async def test_the_greeting_says_who_the_agent_is_and_what_it_can(node_backend: NodeBackend) -> None:
    async with join(Node(node_backend)) as site:
        await site.until(lambda: site.relay.link_up)
        [hello] = (await node_backend.state())["hellos"]
    assert hello.keys() == {"agentId", "version", "contract", "capabilities"}
    assert {f"command:{name}" for name in wire.COMMANDS} <= set(hello["capabilities"])


@pytest.mark.node
async def test_the_backlog_comes_at_the_rate_that_the_greeting_was_answered_with(node_backend: NodeBackend) -> None:
    await node_backend.settings(hello={"replayPerSecond": 20})
    outbox = MemoryOutbox(agent_id="gate-nuc-01", boot_id="boot-1")
    for _ in range(10):
        await outbox.record(detection(), link_up=False)
    server = Node(node_backend)
    link = server.settings()
    async with running(link, transport=server.transport(link), outbox=outbox) as site:
        await site.until_empty()
    at = [received["at"] for received in (await node_backend.state())["received"]]
    assert len(at) == 10
    assert 0.9 * 9 / 20 <= (at[-1] - at[0]) / 1000 < 3.0


@pytest.mark.node
async def test_an_event_that_is_put_off_comes_again_when_the_back_end_said(node_backend: NodeBackend) -> None:
    async with join(Node(node_backend)) as site:
        await site.until(lambda: site.relay.link_up)
        await node_backend.fault("retry", count=1, afterMs=400)
        await site.record()
        await site.until_empty()
    first, again = (await node_backend.state())["received"]
    assert first["eventId"] == again["eventId"]
    assert 395 <= again["at"] - first["at"] < 3000
    assert (first["delivery"]["attempt"], again["delivery"]["attempt"]) == (1, 2)
    assert (first["delivery"]["replayed"], again["delivery"]["replayed"]) == (False, True)


@pytest.mark.node
@pytest.mark.parametrize("answer", [{"success": False}, {"error": "disk full"}, {"ok": False, "message": "later"}])
async def test_ten_answers_without_success_make_a_dead_letter(
    node_backend: NodeBackend, answer: dict[str, Any]
) -> None:
    await node_backend.fault("answer", args=[answer], types=["license_plate_detected"])
    limits = DeliveryLimits(first_retry_s=0.01, max_retry_s=0.02)
    async with join(Node(node_backend), limits=limits) as site:
        [event_id] = await site.record()
        await site.until(lambda: site.rejections)
        [letter] = await site.outbox.dead_letters(limit=9)
    attempts = [received for received in (await node_backend.state())["received"] if received["eventId"] == event_id]
    assert len(attempts) == 10
    assert (letter.ticket.event_id, letter.code) == (event_id, "NOT_TAKEN")


@pytest.mark.parametrize("payload", list(PayloadShape))
async def test_every_field_of_the_guide_arrives_in_both_shapes(server: Server, payload: PayloadShape) -> None:
    async with join(server, payload=payload) as site:
        [event_id] = await site.record()
        [event] = await arrived(server, site)
    assert (event.event_id, event.name) == (event_id, wire.PLATE_DETECTED)
    assert event.data.keys() >= GUIDE_FIELDS
    assert event.data["gateName"] == "Cổng chính"
    assert event.data["boundingBox"] == {"x": 100, "y": 80, "width": 60, "height": 40}


@pytest.mark.parametrize("images", list(ImageMode))
async def test_pictures_travel_as_configured(server: Server, images: ImageMode) -> None:
    async with join(server, images=images) as site:
        await site.record()
        [event] = await arrived(server, site)
    if images is ImageMode.NONE:
        assert (event.plate_bytes, event.original_bytes) == (0, 0)
    else:
        assert event.plate_bytes == len(picture(120, 40).data)
        assert event.original_bytes == len(picture(320, 240).data)


async def test_a_picture_too_large_for_a_message_is_scaled_and_the_box_with_it(server: Server) -> None:
    large = picture(1600, 900, noise=True)
    await server.wish({"maxMessageBytes": 200_000})
    async with join(server) as site:
        await site.record(original=large)
        [event] = await arrived(server, site)
    assert len(large.data) > 1_000_000
    assert 50_000 < event.original_bytes < 150_000
    assert event.plate_bytes == len(picture(120, 40).data)
    assert event.data["boundingBox"]["width"] < 60


async def test_a_back_end_sets_size_and_form_of_the_pictures_when_greeted(server: Server) -> None:
    await server.wish({"maxMessageBytes": 50_000, "images": "binary"})
    async with join(server) as site:
        await site.until(lambda: site.relay.link_up)
        await site.record(original=picture(800, 600, noise=True))
        [event] = await arrived(server, site)
    assert 10_000 < event.original_bytes < 50_000


@pytest.mark.parametrize("limit", [1, -5, 0, 1e18, "small", None, 16_383])
async def test_a_size_that_cannot_be_meant_is_passed_over(server: Server, limit: object) -> None:
    await server.wish({"maxMessageBytes": limit})
    async with join(server) as site:
        await site.record()
        [event] = await arrived(server, site)
    assert event.original_bytes == len(picture(320, 240).data)


async def test_at_the_smallest_size_the_scene_gives_way_and_says_so(server: Server) -> None:
    await server.wish({"maxMessageBytes": 16_384})
    async with join(server) as site:
        await site.record(original=picture(1600, 900, noise=True))
        [event] = await arrived(server, site)
    assert event.plate_bytes == len(picture(120, 40).data)
    assert event.original_bytes < 10_000
    assert event.original_bytes > 0 or event.data["originalImageOmitted"] == "too_large"


async def test_no_answer_to_the_greeting_means_the_defaults(server: Server) -> None:
    await server.wish(None)
    async with join(server) as site:
        await site.record()
        [event] = await arrived(server, site)
    assert event.original_bytes == len(picture(320, 240).data)


async def test_errors_have_sequences_in_one_row_with_detections(server: Server) -> None:
    async with join(server) as site:
        await site.record(2)
        await site.outbox.record(camera_lost(), link_up=True)
        await site.record()
        events = await arrived(server, site, 4)
    assert sorted(event.sequence for event in events if event.sequence is not None) == [1, 2, 3, 4]
    [error] = [event for event in events if event.name == wire.ERROR]
    assert error.data["errorCode"] == "CAMERA_DISCONNECTED"


async def test_what_was_recorded_before_the_link_was_up_is_marked_replayed_and_aged(server: Server) -> None:
    outbox = MemoryOutbox(agent_id="gate-nuc-01", boot_id="boot-1")
    link = server.settings()
    async with running(link, transport=server.transport(link), outbox=outbox) as site:
        await site.record()
        await site.until(lambda: site.relay.link_up)
        await site.until_empty()
        await site.record()
        before, live = await arrived(server, site, 2)
    assert before.delivery["replayed"] is True
    assert live.delivery["replayed"] is False
    assert live.delivery["attempt"] == 1
    assert 0 <= live.delivery["ageMs"] < 2000


@pytest.mark.parametrize("fault", ["silent", "kick", "close"])
async def test_an_answer_that_never_came_makes_the_event_come_again_and_be_stored_once(
    server: Server, fault: str
) -> None:
    async with join(server) as site:
        await site.until(lambda: site.relay.link_up)
        await server.misbehave(fault, 1)
        ids = await site.record(12)
        events = await arrived(server, site, 12)
        assert site.relay.state().duplicates >= 1
    assert sorted(event.event_id for event in events) == sorted(ids)


async def test_an_event_that_is_put_off_comes_again(server: Server) -> None:
    async with join(server) as site:
        await site.until(lambda: site.relay.link_up)
        await server.misbehave("retry", 3)
        ids = await site.record(12)
        events = await arrived(server, site, 12)
        assert site.relay.state().put_off == 3
    assert {event.event_id for event in events} == set(ids)


async def test_a_rejected_event_is_a_dead_letter_and_stops_nobody(server: Server) -> None:
    async with join(server) as site:
        await site.until(lambda: site.relay.link_up)
        await server.misbehave("reject", 1)
        ids = await site.record(5)
        events = await arrived(server, site, 4)
        await site.until(lambda: site.rejections)
        status = await site.outbox.status()
    assert status.dead_letters == 1
    assert [rejection.ticket.event_id for rejection in site.rejections] == ids[:1]
    assert {event.event_id for event in events} == set(ids[1:])


@pytest.mark.parametrize(
    "args",
    [(), ({},), ({"type": "get_status", "data": {}},), (None,)],
    ids=["nothing", "data", "envelope", "null"],
)
async def test_a_command_is_answered_in_the_contracts_form(server: Server, args: tuple[object, ...]) -> None:
    seen: list[CommandRequest] = []

    async def handle(request: CommandRequest) -> CommandReply:
        seen.append(request)
        return CommandReply(status=ReplyStatus.OK, data={"status": "idle"})

    async with with_inbox(server, handle) as site:
        await site.until(lambda: site.relay.link_up)
        reply = await server.command("get_status", *args)
    assert reply == {"status": "ok", "commandId": None, "message": "", "code": None, "data": {"status": "idle"}}
    assert [request.command for request in seen] == [GetStatus()]


async def test_a_repeated_command_is_answered_duplicate_and_not_done_again(server: Server) -> None:
    done: list[str] = []

    async def handle(request: CommandRequest) -> CommandReply:
        done.append(request.name)
        return CommandReply(status=ReplyStatus.OK)

    async with with_inbox(server, handle) as site:
        await site.until(lambda: site.relay.link_up)
        first = await server.command("stop_processing", {"commandId": "c-1"})
        again = await server.command("stop_processing", {"type": "stop_processing", "data": {}, "commandId": "c-1"})
    assert (first["status"], again["status"]) == ("ok", "duplicate")
    assert done == ["stop_processing"]


@pytest.mark.parametrize(
    ("name", "args", "code", "words"),
    [
        ("open_barrier", ({},), "UNKNOWN_COMMAND", "start_processing"),
        ("start_processing", ("now",), "INVALID_DATA", "an object"),
        ("start_processing", ({"cameraIds": "CAM_001"},), "INVALID_DATA", "cameraIds must be a list"),
        ("capture_snapshot", ({},), "INVALID_DATA", "cameraId"),
        ("get_status", ({"expiresAt": "soon"},), "INVALID_DATA", "expiresAt"),
    ],
)
async def test_nonsense_is_answered_with_the_field_and_what_it_must_be(
    server: Server, name: str, args: tuple[object, ...], code: str, words: str
) -> None:
    async def handle(request: CommandRequest) -> CommandReply:
        raise AssertionError("nonsense was obeyed")

    async with with_inbox(server, handle) as site:
        await site.until(lambda: site.relay.link_up)
        reply = await server.command(name, *args)
    assert (reply["status"], reply["code"]) == ("error", code)
    assert words in reply["message"]


@asynccontextmanager
async def with_inbox(server: Server, handle: Handler) -> AsyncIterator[Site]:
    """A relay whose commands go to an inbox that runs."""
    inbox = CommandInbox(handle)
    task = asyncio.create_task(inbox.run())
    async with join(server, on_command=inbox.submit) as site:
        yield site
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
