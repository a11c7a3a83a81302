"""What a clumsy or hostile back-end may send that no socket.io server means to: the agent goes on, and says what came.

Raw frames from a real Node server. Whatever they are, every event arrives once, and no error goes unnoticed in a task.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from lpr.domain.commands import CommandReply, CommandRequest, ReplyStatus
from lpr.link import web_socket
from lpr.link.commands import MAX_STRANGE, MAX_WAITING, CommandInbox
from lpr.link.socketio_transport import MAX_INCOMING_BYTES
from tests.faults.node import NodeBackend
from tests.link.parts import running, settings
from tests.link.test_faults import QUICK_LIMITS

pytestmark = pytest.mark.node

DEEP = 50_000
FILL = MAX_INCOMING_BYTES + 1
"""What the Node server makes of `#`."""

ENDS = "ends the connection"
IGNORED = "passed over"

FRAMES = {
    "a list nested without end": ('42/ai,["update_config",' + "[" * DEEP + "]" * DEEP + "]", ENDS),
    "an object nested without end": ('42/ai,["update_config",' + '{"a":' * DEEP + "1" + "}" * DEEP + "]", ENDS),
    "an answer nested without end": ("43/ai,1" + "[" * DEEP + "]" * DEEP, IGNORED),
    "a message larger than any": ('42/ai,["#"]', ENDS),
    "a large message": ('42/ai,["' + "x" * 1_000_000 + '"]', IGNORED),
    "attachments that never come": ('45999999-/ai,["get_status",{"_placeholder":true,"num":0}]', ENDS),
    "an attachment of another number": ('451-/ai,["get_status",{"_placeholder":true,"num":5}]', ENDS),
    "an answer to nothing": ('43/ai,999["x"]', IGNORED),
    "an answer without a number": ('43/ai,["x"]', IGNORED),
    "an answer with a number of 5000 digits": ("43/ai," + "9" * 5000 + '["x"]', ENDS),
    "a second welcome": ('40/ai,{"sid":"x"}', IGNORED),
    "a refusal in the middle": ('44/ai,{"message":"x"}', ENDS),
    "a farewell": ("41/ai,", ENDS),
    "an event without a name": ("42/ai,[]", ENDS),
    "an event whose name is a number": ("42/ai,[1,2]", IGNORED),
    "an event whose name is a list": ('42/ai,[["a"]]', ENDS),
    "an event that is an object": ('42/ai,{"a":1}', ENDS),
    "an event that is nothing": ("42/ai,null", ENDS),
    "no number": ('42/ai,["get_status",NaN]', IGNORED),
    "a number beyond all": ('42/ai,7["get_status",{"expiresAt":1e999}]', IGNORED),
    "a number of 5000 digits": ('42/ai,["get_status",{"expiresAt":' + "9" * 5000 + "}]", ENDS),
    "half a character": ('42/ai,8["get_\\ud800status",{"commandId":"\\ud800"}]', IGNORED),
    "a kind of packet that there is not": ('49/ai,["x"]', ENDS),
    "another namespace": ('42/other,["get_status"]', IGNORED),
    "an empty frame": ("", ENDS),
}


@pytest.fixture
async def unnoticed() -> AsyncIterator[list[dict[str, Any]]]:
    """Errors that a task ended with and nobody looked at."""
    found: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: found.append(context))
    yield found
    gc.collect()
    await asyncio.sleep(0)
    loop.set_exception_handler(None)
    assert found == []


async def obey(request: CommandRequest) -> CommandReply:
    return CommandReply(status=ReplyStatus.OK, data={})


@pytest.mark.parametrize("name", FRAMES)
async def test_a_frame_that_makes_no_sense_costs_a_connection_at_most(
    node_backend: NodeBackend, unnoticed: list[dict[str, Any]], name: str
) -> None:
    frame, outcome = FRAMES[name]
    inbox = CommandInbox(obey)
    task = asyncio.create_task(inbox.run())
    async with running(settings(node_backend.url, limits=QUICK_LIMITS), on_command=inbox.submit) as site:
        await site.until(lambda: site.relay.link_up)
        await node_backend.fault("junk", text=frame, count=1, fill=FILL)
        ids = await site.record(6)
        await site.until_empty()
        state = site.relay.state()
        assert state.connections == (2 if outcome is ENDS else 1), state.last_error
        assert (state.last_error is not None) is (outcome is ENDS)
    task.cancel()
    assert sorted(message["eventId"] for message in node_backend.stored()) == sorted(ids)


async def test_an_answer_nested_without_end_is_not_read_where_the_library_is_given_it_either(
    node_backend: NodeBackend, unnoticed: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is given one now and then, for it takes silence for the end."""
    monkeypatch.setattr(web_socket, "PASSED_ON_EVERY_S", 0.0)
    async with running(settings(node_backend.url, limits=QUICK_LIMITS)) as site:
        await site.until(lambda: site.relay.link_up)
        await node_backend.fault("junk", text="43/ai,999" + "[" * 3000 + "]" * 3000, count=1)
        await site.record(6)
        await site.until_empty()
        assert site.relay.state().connections == 1


async def test_what_ended_the_connection_is_said_in_words(node_backend: NodeBackend) -> None:
    for name, words in (
        ("a list nested without end", "no Socket.IO packet"),
        ("a message larger than any", "more than 8 MiB"),
    ):
        async with running(settings(node_backend.url)) as site:
            await site.until(lambda site=site: site.relay.link_up)
            await node_backend.fault("junk", text=FRAMES[name][0], count=1, fill=FILL)
            await site.record(2)
            await site.until_empty()
            assert words in (site.relay.state().last_error or "")


async def test_a_flood_of_commands_is_answered_and_delivery_goes_on(node_backend: NodeBackend) -> None:
    slow = asyncio.Event()

    async def handle(request: CommandRequest) -> CommandReply:
        await slow.wait()
        return CommandReply(status=ReplyStatus.OK)

    inbox = CommandInbox(handle)
    task = asyncio.create_task(inbox.run())
    async with running(settings(node_backend.url, limits=QUICK_LIMITS), on_command=inbox.submit) as site:
        await site.until(lambda: site.relay.link_up)
        commands = (node_backend.command("get_status", {"commandId": f"c-{n}"}) for n in range(200))
        flood = [asyncio.create_task(command) for command in commands]
        ids = await site.record(20)
        await site.until_empty()
        # All have come: those that find no place any more are answered at once.
        await site.until(lambda: sum(answer.done() for answer in flood) >= 200 - MAX_WAITING - 1)
        slow.set()
        codes = [reply["code"] for reply in await asyncio.gather(*flood)]
        assert site.relay.state().connections == 1
    task.cancel()
    assert len(node_backend.stored()) == len(ids)
    assert codes.count("BUSY") == 200 - MAX_WAITING - 1
    assert codes.count(None) == MAX_WAITING + 1


async def test_what_a_back_end_says_to_others_does_not_fill_the_log() -> None:
    inbox = CommandInbox(obey)
    with capture_logs() as logs:
        for n in range(300):
            await inbox.submit(f"news {n % 100}", [{}])
    assert len([entry for entry in logs if "news" in str(entry)]) == MAX_STRANGE
