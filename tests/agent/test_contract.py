"""The contract's tables of commands and of error codes, each row with the whole agent and the real Node server."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lpr.agent.service import Agent
from lpr.capture.base import CameraSettings
from lpr.config import AgentConfig, effective_config
from lpr.domain.clock import SystemClock, isoformat_ms
from lpr.domain.errors import CaptureError, VisionError
from lpr.domain.events import CameraState, ErrorCode
from lpr.domain.frame import Image
from lpr.domain.passage import PassageOutcome
from lpr.imaging import decode_image
from lpr.vision.plate_reader import PlateReader
from tests.agent.helpers import make_passage, publish
from tests.agent.test_service import running, until
from tests.faults.node import TOKEN, NodeBackend
from tests.link.parts import detection, picture

pytestmark = pytest.mark.node

SCENE: Image = np.random.default_rng(1).integers(0, 255, (120, 160, 3), np.uint8)


class Camera:
    """A live camera that a test unplugs."""

    live = True
    description = "a camera on the test's bench"
    plugged = True
    open_count = 0

    def open(self) -> None:
        if not self.plugged:
            raise CaptureError("no cable")
        self.open_count += 1

    def grab(self) -> float | None:
        time.sleep(0.02)  # this is the camera's own thread
        if not self.plugged:
            raise CaptureError("the cable was pulled")
        return time.monotonic()

    def retrieve(self) -> Image:
        return SCENE.copy()

    def close(self) -> None:
        self.open_count = 0

    def interrupt(self) -> None:
        pass


class Site:
    """An agent with two cameras at two gates, and the back-end that it speaks to."""

    def __init__(self, folder: Path, backend: NodeBackend, cache: Path, **sections: Any) -> None:
        self.folder, self.backend, self.cache, self.sections = folder, backend, cache, sections
        self.cameras = {"CAM_001": Camera(), "CAM_002": Camera()}

    def config(self) -> AgentConfig:
        cameras = [
            {
                "id": f"CAM_00{n}",
                "name": f"Camera Gate {n}",
                "source": f"rtsp://user:secret@192.168.1.10{n}:554/stream",
                "gate": {"id": f"GATE_00{n}", "name": "Cổng chính"},
                "action": "entry",
            }
            for n in (1, 2)
        ]
        given = {
            "agent": {"id": "gate-nuc-01", "data_dir": str(self.folder / "data")},
            "backend": {"url": self.backend.url, "token": TOKEN},
            "outbox": {"min_free_disk": 0},
            "web": {"enabled": False},
            "cameras": cameras,
            **self.sections,
            "vision": {"cache": str(self.cache), "input": "fast", **self.sections.get("vision", {})},
        }
        return effective_config(AgentConfig.model_validate(given))[0]

    def source(self, settings: CameraSettings, tries: int = 0) -> Camera:
        return self.cameras[settings.camera_id]

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[Agent]:
        """The agent, connected."""
        agent = Agent(self.config(), source_factory=self.source, is_clock_right=lambda wall: True)
        async with running(agent):
            await until(lambda: agent.link_state.connected_since is not None)
            yield agent

    def errors(self) -> dict[str, list[dict[str, Any]]]:
        """What the back-end holds of `error`, by code."""
        found: dict[str, list[dict[str, Any]]] = {}
        for message in self.backend.stored():
            if message["type"] == "error":
                found.setdefault(message["data"]["errorCode"], []).append(message)
        return found

    async def error(self, code: str) -> dict[str, Any]:
        await until(lambda: code in self.errors())
        return self.errors()[code][0]


def running_cameras(agent: Agent) -> set[str]:
    return {name for name in agent.pipelines if agent.board.camera_state(name) is CameraState.RUNNING}


async def test_start_and_stop_mean_all_cameras_or_those_that_they_name(
    tmp_path: Path, model_cache: Path, node_backend: NodeBackend
) -> None:
    site = Site(tmp_path, node_backend, model_cache)
    async with site.at_work() as agent:
        await until(lambda: running_cameras(agent) == {"CAM_001", "CAM_002"})
        stopped = await node_backend.command("stop_processing")
        assert (stopped["status"], stopped["data"]) == ("ok", {"cameraIds": ["CAM_001", "CAM_002"]})
        assert [camera.open_count for camera in site.cameras.values()] == [0, 0], "capture threads end"
        await until(lambda: _statuses(node_backend)[-1:] == ["idle"])

        for name, data, expected in (
            ("start_processing", {"cameraIds": ["CAM_002"]}, {"CAM_002"}),
            ("start_processing", {"gateIds": ["GATE_001"]}, {"CAM_001", "CAM_002"}),
            ("stop_processing", {"gateIds": ["GATE_002"]}, {"CAM_001"}),
            ("stop_processing", {"cameraIds": ["CAM_001"]}, set()),
            ("start_processing", {}, {"CAM_001", "CAM_002"}),
        ):
            reply = await node_backend.command(name, {"type": name, "data": data})
            assert reply["status"] == "ok", reply
            await until(lambda expected=expected: running_cameras(agent) == expected)  # type: ignore[misc]
        await until(lambda: _statuses(node_backend)[-1:] == ["processing"])

        unknown = await node_backend.command("stop_processing", {"gateIds": ["GATE_009"]})
        assert (unknown["status"], unknown["code"]) == ("error", "UNKNOWN_CAMERA")
        assert running_cameras(agent) == {"CAM_001", "CAM_002"}


def _statuses(backend: NodeBackend) -> list[str]:
    return [message["data"]["status"] for message in backend.stored() if message["type"] == "processing_status"]


async def test_update_config_is_applied_whole_or_not_at_all_and_kept_over_a_restart(
    tmp_path: Path, model_cache: Path, node_backend: NodeBackend
) -> None:
    site = Site(tmp_path, node_backend, model_cache)
    changes = {
        "cameras": {
            "CAM_001": {
                "roi": [[0.1, 0.1], [0.9, 0.1], [0.5, 0.9]],
                "fps": 5,
                "minConfidence": 0.7,
                "action": "exit",
                "gateName": "Cổng phụ",
            },
            "CAM_002": {"enabled": False},
        },
        "weather": {"condition": "mưa", "temperature": 24.5, "humidity": 90},
    }

    def is_changed(config: AgentConfig) -> bool:
        first, second = config.cameras
        return (
            (first.fps, first.min_confidence, first.action.value, first.gate.name) == (5, 0.7, "exit", "Cổng phụ")
            and len(first.roi or ()) == 3
            and not second.enabled
            and config.weather.condition == "mưa"
        )

    async with site.at_work() as agent:
        await until(lambda: running_cameras(agent) == {"CAM_001", "CAM_002"})
        wrong = await node_backend.command("update_config", {"cameras": {"CAM_001": {"fps": 5, "roi": [[2, 2]]}}})
        assert (wrong["status"], wrong["code"]) == ("error", "CONFIG_REJECTED")
        assert "roi" in wrong["message"]
        assert agent.config.cameras[0].fps != 5, "on any mistake nothing changes"

        reply = await node_backend.command("update_config", changes)
        assert (reply["status"], sorted(reply["data"]["cameraIds"])) == ("ok", ["CAM_001", "CAM_002"])
        assert is_changed(agent.config)
        await until(lambda: running_cameras(agent) == {"CAM_001"})
    assert is_changed(site.config())


async def test_status_and_snapshot_are_answered(tmp_path: Path, model_cache: Path, node_backend: NodeBackend) -> None:
    site = Site(tmp_path, node_backend, model_cache)
    async with site.at_work() as agent:
        await until(lambda: running_cameras(agent) == {"CAM_001", "CAM_002"})
        status = (await node_backend.command("get_status"))["data"]
        [stored, *_] = [message for message in node_backend.stored() if message["type"] == "processing_status"]
        assert status.keys() == stored["data"].keys()
        assert status.keys() >= {
            "status", "activeGates", "processedCount", "errorCount", "uptime", "memoryUsage", "cpuUsage",
            "agentVersion", "device", "cameras", "queue", "clock",
        }  # fmt: skip
        assert status["queue"].keys() == {"pending", "bytes", "oldestAgeSeconds", "deadLetters"}
        assert status["clock"].keys() == {"synchronised", "offsetMs"}
        assert sorted(status["activeGates"]) == ["GATE_001", "GATE_002"]

        async with asyncio.timeout(20):
            while (reply := await node_backend.command("capture_snapshot", {"cameraId": "CAM_002"}))["status"] != "ok":
                assert reply["code"] == "NO_FRAME"
                await asyncio.sleep(0.02)
        image = decode_image(base64.b64decode(reply["data"]["image"], validate=True))
        assert image.shape[:2] == (reply["data"]["height"], reply["data"]["width"]) == (120, 160)

        nobody = await node_backend.command("capture_snapshot", {"cameraId": "CAM_009"})
        assert (nobody["status"], nobody["code"]) == ("error", "UNKNOWN_CAMERA")
        assert "CAM_001, CAM_002" in nobody["message"]


async def test_every_command_is_answered_once_even_over_a_restart(
    tmp_path: Path, model_cache: Path, node_backend: NodeBackend
) -> None:
    site = Site(tmp_path, node_backend, model_cache)
    once = {"commandId": "c-1", "cameraIds": ["CAM_001"]}
    late = isoformat_ms(datetime.now(UTC) - timedelta(seconds=1))
    async with site.at_work() as agent:
        await until(lambda: running_cameras(agent) == {"CAM_001", "CAM_002"})
        assert (await node_backend.command("stop_processing", once))["status"] == "ok"
        expired = await node_backend.command("start_processing", {"commandId": "c-2", "expiresAt": late})
        assert (expired["status"], expired["code"], expired["commandId"]) == ("expired", "EXPIRED", "c-2")
        assert running_cameras(agent) == {"CAM_002"}
        unknown = await node_backend.command("open_barrier", {"commandId": "c-3"})
        assert (unknown["status"], unknown["code"], unknown["commandId"]) == ("error", "UNKNOWN_COMMAND", "c-3")
        long_id = await node_backend.command("stop_processing", {"commandId": "c" * 10_000})
        assert (long_id["status"], long_id["code"]) == ("error", "INVALID_DATA")
    async with site.at_work() as agent:
        await until(lambda: running_cameras(agent) == {"CAM_001", "CAM_002"})
        again = await node_backend.command("stop_processing", once)
        assert (again["status"], again["commandId"]) == ("duplicate", "c-1")
        assert running_cameras(agent) == {"CAM_001", "CAM_002"}


async def test_an_expiry_is_held_against_the_clock_that_set_it(
    tmp_path: Path, model_cache: Path, node_backend: NodeBackend
) -> None:
    """A box whose clock is a day ahead would find every command expired."""
    server_time = datetime.now(UTC) - timedelta(days=1)
    await node_backend.settings(hello={"serverTime": isoformat_ms(server_time)})
    site = Site(tmp_path, node_backend, model_cache)
    async with site.at_work():
        for after_s, status in ((600, "ok"), (-600, "expired")):
            expires_at = isoformat_ms(server_time + timedelta(seconds=after_s))
            reply = await node_backend.command("get_status", {"expiresAt": expires_at})
            assert reply["status"] == status


# --------------------------------------------------------------------------------------------------------------------
# Error codes

CAUSES: dict[ErrorCode, Callable[[Site, Agent], Any]] = {}


def cause(code: ErrorCode) -> Callable[[Callable[[Site, Agent], Any]], Callable[[Site, Agent], Any]]:
    """What makes a running agent raise this code."""

    def note(make: Callable[[Site, Agent], Any]) -> Callable[[Site, Agent], Any]:
        CAUSES[code] = make
        return make

    return note


@cause(ErrorCode.CAMERA_DISCONNECTED)
async def pull_the_cable(site: Site, agent: Agent) -> None:
    await until(lambda: running_cameras(agent) == {"CAM_001", "CAM_002"})
    site.cameras["CAM_001"].plugged = False
    error = await site.error("CAMERA_DISCONNECTED")
    assert error["data"]["details"]["cameraId"] == "CAM_001"
    assert datetime.fromisoformat(error["data"]["details"]["lastResponse"]) <= datetime.now(UTC)


@cause(ErrorCode.CAMERA_RECOVERED)
async def plug_it_in_again(site: Site, agent: Agent) -> None:
    site.cameras["CAM_001"].plugged = True


@cause(ErrorCode.PROCESSING_ERROR)
async def fail_an_inference(site: Site, agent: Agent) -> None:
    """Patched in `test_every_error_code_reaches_the_back_end`."""


@cause(ErrorCode.DEVICE_FALLBACK)
async def ask_for_a_device_that_is_not_there(site: Site, agent: Agent) -> None:
    error = await site.error("DEVICE_FALLBACK")
    assert error["data"]["details"] == {"device": "GPU.7", "executes": "CPU", **_hint(error)}
    assert agent.board.device == "CPU"


@cause(ErrorCode.PLATE_UNREADABLE)
async def let_an_unreadable_vehicle_pass(site: Site, agent: Agent) -> None:
    passage = make_passage(outcome=PassageOutcome.UNREADABLE, at=SystemClock().now())
    await publish(agent._publisher, passage, agent.config.cameras[0])
    error = await site.error("PLATE_UNREADABLE")
    details = error["data"]["details"]
    assert details["processedImage"]["bytes"] > 0
    assert details["originalImage"]["bytes"] > 0
    assert details["bestGuess"]


@cause(ErrorCode.QUEUE_CORRUPT)
async def start_on_garbage(site: Site, agent: Agent) -> None:
    assert (await site.error("QUEUE_CORRUPT"))["data"]["details"]["setAside"].startswith("outbox.db.damaged-")


@cause(ErrorCode.DISK_LOW)
async def want_more_room_than_there_is(site: Site, agent: Agent) -> None:
    await agent._outbox.record(detection(), link_up=True)
    error = await site.error("DISK_LOW")
    assert error["data"]["details"]["freeBytes"] < error["data"]["details"]["minFreeBytes"]
    assert agent.metrics.registry.get_sample_value("lpr_errors_total", {"code": "DISK_LOW"}) == 1
    assert agent.board.warnings[0].startswith("only ")


@cause(ErrorCode.QUEUE_NEAR_FULL)
async def fill_the_queue(site: Site, agent: Agent) -> None:
    await site.backend.fault("silent", types=["license_plate_detected"])
    for _ in range(12):
        await agent._outbox.record(detection(original=picture(320, 240, noise=True)), link_up=True)
    await site.backend.fault(None)
    error = await site.error("QUEUE_NEAR_FULL")
    assert error["data"]["details"]["bytes"] <= error["data"]["details"]["maxBytes"] == 1 << 20


@cause(ErrorCode.QUEUE_OVERFLOW)
async def overfill_it(site: Site, agent: Agent) -> None:
    details = (await site.error("QUEUE_OVERFLOW"))["data"]["details"]
    assert details["dropped"]["originalImages"] > 0
    assert details["sequencesWithoutOriginalImage"]


@cause(ErrorCode.CLOCK_SKEW)
async def differ_from_the_back_ends_clock(site: Site, agent: Agent) -> None:
    """The hello of `test_every_error_code_reaches_the_back_end` tells a time that is an hour ahead."""
    details = (await site.error("CLOCK_SKEW"))["data"]["details"]
    assert abs(details["offsetMs"] - 3_600_000) < 60_000


@cause(ErrorCode.EVENT_REJECTED)
async def reject_an_event(site: Site, agent: Agent) -> None:
    await site.backend.fault("reject", count=1, types=["license_plate_detected"])
    ticket = await agent._outbox.record(detection(), link_up=True)
    details = (await site.error("EVENT_REJECTED"))["data"]["details"]
    assert details == {"eventId": ticket.event_id, "sequence": ticket.sequence, "code": "BAD", "reason": "no"}
    assert (await agent._outbox.status()).dead_letters == 1


@cause(ErrorCode.CONFIG_REJECTED)
async def send_a_wrong_configuration(site: Site, agent: Agent) -> None:
    await site.backend.command("update_config", {"cameras": {"CAM_001": {"fps": -1}}})
    assert "fps" in (await site.error("CONFIG_REJECTED"))["data"]["message"]


@cause(ErrorCode.SERVER_ERROR)
async def answer_what_the_contract_does_not_know(site: Site, agent: Agent) -> None:
    await site.backend.fault("answer", args=["yes"], count=3, types=["license_plate_detected"])
    await agent._outbox.record(detection(), link_up=True)
    assert "text" in (await site.error("SERVER_ERROR"))["data"]["details"]["what"]


def _hint(error: dict[str, Any]) -> dict[str, Any]:
    return {"hint": error["data"]["details"]["hint"]}


async def test_every_error_code_reaches_the_back_end(
    tmp_path: Path, model_cache: Path, node_backend: NodeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One agent that meets with everything; `MODEL_ERROR`, which ends one, has a test of its own."""
    assert CAUSES.keys() | {ErrorCode.MODEL_ERROR} == set(ErrorCode)
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    (data_dir / "outbox.db").write_bytes(b"this is no database" * 1000)
    server_time = isoformat_ms(datetime.now(UTC) + timedelta(hours=1))
    await node_backend.settings(hello={"maxMessageBytes": 900_000, "serverTime": server_time})
    site = Site(
        tmp_path,
        node_backend,
        model_cache,
        outbox={"min_free_disk": "100 TB", "max_bytes": "1 MiB"},
        vision={"device": "GPU.7"},
    )
    failures = iter([VisionError("the device computes nothing", hint="look at it")])
    real = PlateReader.read

    async def read(self: PlateReader, *args: Any) -> Any:
        for failure in failures:
            raise failure
        return await real(self, *args)

    monkeypatch.setattr(PlateReader, "read", read)
    async with site.at_work() as agent:
        for code, make in CAUSES.items():
            await make(site, agent)
            error = await site.error(code.value)
            data = error["data"]
            assert data.keys() == {"errorCode", "message", "gateId", "severity", "timestamp", "details"}
            assert data["severity"] in ("low", "medium", "high", "critical")
            assert data["message"]
            assert data["timestamp"] == error["timestamp"]
            assert isinstance(error["sequence"], int)
    at_gate = {code for code, errors in site.errors().items() if errors[0]["data"]["gateId"] == "GATE_001"}
    assert at_gate >= {"CAMERA_DISCONNECTED", "CAMERA_RECOVERED", "PLATE_UNREADABLE"}
    assert len(site.errors()["SERVER_ERROR"]) == 1, "told once in an hour, however often it is answered so"


async def test_networks_that_cannot_be_loaded_are_told_before_the_agent_ends(
    tmp_path: Path, node_backend: NodeBackend
) -> None:
    (tmp_path / "models").mkdir()
    site = Site(tmp_path, node_backend, tmp_path / "cache", vision={"model_dir": str(tmp_path / "models")})
    agent = Agent(site.config(), source_factory=site.source)
    with pytest.raises(VisionError):
        await agent.run()
    assert (await site.error("MODEL_ERROR"))["data"]["severity"] == "critical"
