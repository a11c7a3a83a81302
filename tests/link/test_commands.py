"""The command inbox: one at a time, in order, never twice, always answered. (Its forms on the wire: test_contract.)"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from lpr.domain.clock import isoformat_ms
from lpr.domain.commands import CommandReply, CommandRequest, ReplyStatus
from lpr.domain.errors import ConfigError
from lpr.link.commands import LOGGED_A_MINUTE, CommandInbox, Handler
from lpr.link.files import SeenCommands
from lpr.metrics import Metrics
from lpr.testing.clock import FakeClock

OK = CommandReply(status=ReplyStatus.OK)


@asynccontextmanager
async def obeying(inbox: CommandInbox) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(inbox.run())
    yield task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def recorder(done: list[str], gate: asyncio.Event | None = None, begun: asyncio.Event | None = None) -> Handler:
    """Notes what is done; each command tells when it has `begun`, and waits for the `gate`."""

    async def handle(request: CommandRequest) -> CommandReply:
        done.append(f"begin {request.command_id}")
        if begun is not None:
            begun.set()
        if gate is not None:
            await gate.wait()
        done.append(f"end {request.command_id}")
        return OK

    return handle


async def test_commands_run_one_at_a_time_in_the_order_in_which_they_came() -> None:
    done: list[str] = []
    gate, begun = asyncio.Event(), asyncio.Event()
    inbox = CommandInbox(recorder(done, gate, begun))
    async with obeying(inbox):
        waiting = [asyncio.create_task(inbox.submit("get_status", [{"commandId": name}])) for name in "abc"]
        await begun.wait()
        assert done == ["begin a"]
        gate.set()
        replies = await asyncio.gather(*waiting)
    assert done == ["begin a", "end a", "begin b", "end b", "begin c", "end c"]
    assert [reply["commandId"] for reply in replies] == ["a", "b", "c"]


async def test_more_commands_than_may_wait_are_answered_busy_at_once() -> None:
    gate, begun = asyncio.Event(), asyncio.Event()
    inbox = CommandInbox(recorder([], gate, begun), max_waiting=2)
    async with obeying(inbox):
        waiting = [asyncio.create_task(inbox.submit("get_status", []))]
        await begun.wait()
        waiting += [asyncio.create_task(inbox.submit("get_status", [])) for _ in range(2)]
        too_many = [asyncio.create_task(inbox.submit("get_status", [])) for _ in range(2)]
        await asyncio.wait(too_many)
        assert not any(task.done() for task in waiting)
        waiting += too_many
        gate.set()
        replies = await asyncio.gather(*waiting)
    assert sorted(reply["status"] for reply in replies) == ["error", "error", "ok", "ok", "ok"]
    assert {reply["code"] for reply in replies if reply["status"] == "error"} == {"BUSY"}


async def test_an_expired_command_is_not_done() -> None:
    clock, done = FakeClock(), list[str]()
    inbox = CommandInbox(recorder(done), server_now=lambda: clock.now().wall)
    async with obeying(inbox):
        late = isoformat_ms(clock.now().wall - timedelta(milliseconds=1))
        soon = isoformat_ms(clock.now().wall + timedelta(seconds=1))
        assert (await inbox.submit("stop_processing", [{"expiresAt": late}]))["status"] == "expired"
        assert (await inbox.submit("stop_processing", [{"expiresAt": soon}]))["status"] == "ok"
    assert len(done) == 2


async def test_a_command_is_not_done_again_after_a_restart(tmp_path: Path) -> None:
    done: list[str] = []
    for _ in range(2):
        inbox = CommandInbox(recorder(done), seen=SeenCommands(tmp_path / "seen.json"))
        async with obeying(inbox):
            reply = await inbox.submit("stop_processing", [{"commandId": "c-1"}])
    assert reply["status"] == "duplicate"
    assert done == ["begin c-1", "end c-1"]


async def test_a_command_that_crashed_the_agent_is_answered_and_not_obeyed_again(tmp_path: Path) -> None:
    async def crash(request: CommandRequest) -> CommandReply:
        raise ZeroDivisionError

    inbox = CommandInbox(crash, seen=SeenCommands(tmp_path / "seen.json"))
    async with obeying(inbox) as task:
        reply = await inbox.submit("stop_processing", [{"commandId": "c-1"}])
        with pytest.raises(ZeroDivisionError):
            await task
    assert (reply["status"], reply["code"]) == ("error", "FAILED")
    assert "c-1" in SeenCommands(tmp_path / "seen.json")


async def test_what_a_command_fails_with_is_its_answer() -> None:
    async def refuse(request: CommandRequest) -> CommandReply:
        raise ConfigError("cameras.CAM_001.fps must be a number from 0.1 to 60, got 'fast'")

    inbox = CommandInbox(refuse)
    async with obeying(inbox):
        reply = await inbox.submit("update_config", [{"cameras": {}}])
    assert reply["status"] == "error"
    assert "fps must be" in reply["message"]


async def test_what_waits_when_the_agent_stops_is_answered() -> None:
    begun = asyncio.Event()
    inbox = CommandInbox(recorder([], asyncio.Event(), begun))
    async with obeying(inbox):
        waiting = [asyncio.create_task(inbox.submit("get_status", [])) for _ in range(3)]
        await begun.wait()
    replies = await asyncio.gather(*waiting)
    assert {reply["code"] for reply in replies} == {"FAILED"}


async def test_what_comes_after_the_agent_began_to_stop_is_answered_at_once() -> None:
    """The relay stays up for its grace time, when nobody obeys any longer."""
    inbox = CommandInbox(recorder([]))
    async with obeying(inbox):
        await inbox.submit("get_status", [])
    async with asyncio.timeout(1):
        reply = await inbox.submit("start_processing", [{"commandId": "c-1"}])
    assert (reply["status"], reply["commandId"], reply["message"]) == ("error", "c-1", "the agent is stopping")


async def test_what_waits_for_an_agent_that_never_came_up_is_answered() -> None:
    inbox = CommandInbox(recorder([]))
    waiting = asyncio.create_task(inbox.submit("get_status", []))
    await asyncio.sleep(0)
    inbox.close()
    assert (await waiting)["code"] == "FAILED"


async def test_made_up_names_are_counted_as_unknown() -> None:
    metrics = Metrics()
    inbox = CommandInbox(recorder([]), metrics=metrics)
    async with obeying(inbox):
        await inbox.submit("x" * 10_000, [])
        await inbox.submit("get_status", [])
    for name, status in (("unknown", "error"), ("get_status", "ok")):
        assert metrics.registry.get_sample_value("lpr_commands_total", {"name": name, "status": status}) == 1


async def test_a_back_end_in_a_loop_does_not_fill_the_log() -> None:
    inbox = CommandInbox(recorder([]))
    async with obeying(inbox):
        with capture_logs() as lines:
            replies = [await inbox.submit("get_status", ()) for _ in range(LOGGED_A_MINUTE + 40)]
    assert all(reply["status"] == "ok" for reply in replies)
    assert len(lines) == LOGGED_A_MINUTE
