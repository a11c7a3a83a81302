"""Every command is carried out or refused in words; nothing is left unanswered."""

from collections.abc import Mapping
from typing import Any

import pytest

from lpr.agent.control import CommandHandler
from lpr.domain.clock import SystemClock
from lpr.domain.commands import (
    CameraSelection,
    CaptureSnapshot,
    Command,
    CommandReply,
    CommandRequest,
    EventRange,
    GetStatus,
    ReplayEvents,
    ReplyStatus,
    StartProcessing,
    StopProcessing,
    UpdateConfig,
)
from lpr.domain.errors import CaptureError, ConfigError, ImageError, OutboxError
from lpr.domain.events import AgentState, ClockStatus, Jpeg, ProcessingStatus, QueueStatus


class Operated:
    """An agent with one camera that remembers what was asked of it."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.calls: list[tuple[str, Any]] = []
        self._failure = failure

    def select(self, selection: CameraSelection) -> tuple[str, ...]:
        if "CAM_9" in selection.camera_ids:
            raise ConfigError("not configured here: CAM_9; cameras: CAM_001")
        return ("CAM_001",)

    async def start_cameras(self, camera_ids: tuple[str, ...]) -> None:
        self._do("start", camera_ids)

    async def stop_cameras(self, camera_ids: tuple[str, ...]) -> None:
        self._do("stop", camera_ids)

    async def change_config(self, changes: Mapping[str, Any]) -> tuple[str, ...]:
        self._do("change", changes)
        return ("CAM_001",)

    async def snapshot(self, camera_id: str) -> Jpeg:
        self._do("snapshot", camera_id)
        return Jpeg(b"\xff\xd8picture", 640, 360)

    async def replay(self, events: EventRange) -> int:
        self._do("replay", events)
        return 3

    def current_status(self) -> ProcessingStatus:
        return ProcessingStatus(
            occurred_at=SystemClock().now(),
            state=AgentState.PROCESSING,
            active_gates=("GATE_001",),
            processed_count=3,
            error_count=0,
            uptime_s=12.0,
            memory_percent=40.0,
            cpu_percent=20.0,
            agent_version="1",
            device="CPU",
            cameras=(),
            queue=QueueStatus(pending=0, bytes=0, oldest_age_s=0, dead_letters=0),
            clock=ClockStatus(synchronised=True, offset_ms=None),
        )

    def _do(self, name: str, value: Any) -> None:
        self.calls.append((name, value))
        if self._failure is not None:
            raise self._failure


async def handle(agent: Operated, command: Command) -> CommandReply:
    return await CommandHandler(agent).handle(CommandRequest("name", command, command_id="c1"))


async def test_start_and_stop_name_the_cameras_they_meant() -> None:
    agent = Operated()

    started = await handle(agent, StartProcessing())
    stopped = await handle(agent, StopProcessing(CameraSelection(camera_ids=("CAM_001",))))

    assert agent.calls == [("start", ("CAM_001",)), ("stop", ("CAM_001",))]
    assert started.data == stopped.data == {"cameraIds": ["CAM_001"]}
    assert started.status is ReplyStatus.OK


async def test_a_camera_that_is_not_configured_is_named_with_those_that_are() -> None:
    reply = await handle(Operated(), StartProcessing(CameraSelection(camera_ids=("CAM_9",))))

    assert (reply.status, reply.code) == (ReplyStatus.ERROR, "UNKNOWN_CAMERA")
    assert "CAM_9" in reply.message
    assert "CAM_001" in reply.message


async def test_changes_arrive_in_the_configurations_own_names() -> None:
    agent = Operated()

    await handle(agent, UpdateConfig({"cameras": {"CAM_001": {"minConfidence": 0.9, "gateName": "Cổng phụ"}}}))

    assert agent.calls == [("change", {"cameras": {"CAM_001": {"min_confidence": 0.9, "gate_name": "Cổng phụ"}}})]


@pytest.mark.parametrize(
    ("command", "failure", "code"),
    [
        (UpdateConfig({}), ConfigError("cameras.CAM_001.fps must be at most 30"), "CONFIG_REJECTED"),
        (CaptureSnapshot("CAM_001"), CaptureError("CAM_001 has no picture now"), "NO_FRAME"),
        (CaptureSnapshot("CAM_9"), ConfigError("not configured here: CAM_9"), "UNKNOWN_CAMERA"),
        (StopProcessing(), ImageError("unexpected"), "FAILED"),
        (ReplayEvents(), OutboxError("the queue is closed"), "FAILED"),
    ],
)
async def test_what_fails_is_answered_with_its_reason(command: Command, failure: Exception, code: str) -> None:
    reply = await handle(Operated(failure), command)

    assert (reply.status, reply.code, reply.command_id) == (ReplyStatus.ERROR, code, "c1")
    assert str(failure) in reply.message


async def test_the_status_is_answered_under_the_contracts_names() -> None:
    reply = await handle(Operated(), GetStatus())

    assert reply.data is not None
    assert reply.data["status"] == "processing"
    assert reply.data["activeGates"] == ["GATE_001"]
    assert reply.data["processedCount"] == 3


async def test_a_snapshot_is_answered_as_base64_with_its_size() -> None:
    reply = await handle(Operated(), CaptureSnapshot("CAM_001"))

    assert reply.data is not None
    assert reply.data["image"].startswith("/9hw")
    assert (reply.data["width"], reply.data["height"]) == (640, 360)


async def test_a_replay_is_answered_with_how_many_are_sent_again() -> None:
    agent, wanted = Operated(), EventRange(from_sequence=2)

    reply = await handle(agent, ReplayEvents(wanted))

    assert agent.calls == [("replay", wanted)]
    assert (reply.status, reply.message, reply.data) == (
        ReplyStatus.OK,
        "3 event(s) will be sent again",
        {"replayed": 3},
    )
