"""The whole agent with its real parts: networks, SQLite, socket.io; only the camera is a clip that the project drew."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog

from lpr.agent import service
from lpr.agent.service import Agent
from lpr.backend.server import Backend, BackendSettings
from lpr.cli.sample import expected_texts, sample_clip
from lpr.config import AgentConfig, TrackingConfig
from lpr.domain.errors import OutboxLockedError, VisionError
from lpr.domain.events import AgentState, CameraState
from lpr.domain.passage import Action
from tests.agent.helpers import make_config

DETECTED, STATUS, ERROR = "license_plate_detected", "processing_status", "error"


def clip_camera(camera_id: str = "CAM_001", *, pace: str = "fast", **more: Any) -> dict[str, Any]:
    """A camera that plays the sample clip."""
    return {
        "id": camera_id,
        "name": "Camera Gate 1",
        "source": str(sample_clip()),
        "gate": {"id": "GATE_001", "name": "Cổng chính"},
        "action": "auto",
        "pace": pace,
        # Half of the usual rate is enough for this traffic and spares the machine.
        "fps": 4,
        **more,
    }


async def until(condition: Callable[[], bool], *, timeout_s: float = 60.0) -> None:
    """Wait for a state of the agent's inside that is announced to nobody."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.02)


@pytest.fixture
async def backend(tmp_path: Path) -> AsyncIterator[Backend]:
    async with Backend(BackendSettings(port=0, database=tmp_path / "backend.db")) as running:
        yield running


def agent_config(tmp_path: Path, cache: Path, url: str, *cameras: dict[str, Any], **vision: Any) -> AgentConfig:
    return make_config(
        tmp_path / "data", *(cameras or (clip_camera(),)), backend=url, vision={"cache": str(cache), **vision}
    )


@asynccontextmanager
async def running(agent: Agent) -> AsyncIterator[asyncio.Task[None]]:
    """The agent at work; stopped in good order at the end."""
    started = asyncio.Event()
    task = asyncio.create_task(agent.run(ready=started.set))
    waiting = asyncio.create_task(started.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    try:
        yield task
    finally:
        agent.stop()
        await task


async def test_every_vehicle_of_a_clip_arrives_once_and_the_run_ends_by_itself(
    tmp_path: Path, model_cache: Path, backend: Backend
) -> None:
    agent = Agent(agent_config(tmp_path, model_cache, backend.url))

    await asyncio.wait_for(agent.run(), 120)

    detected = await backend.events(event_type=DETECTED)
    texts = [event.data["plate"]["text"] for event in detected]
    assert sorted(texts) == sorted(expected_texts(sample_clip()))
    assert {event.data["gateName"] for event in detected} == {"Cổng chính"}
    assert all(event.plate_image_bytes > 0 and event.original_image_bytes > 0 for event in detected)
    assert not [event.remarks for event in detected if event.remarks], "the back-end found fault with the contract"
    actions = {event.data["plate"]["text"]: event.data["action"] for event in detected}
    assert actions["51K91827"] == "entry", "cars come towards the camera"
    assert actions["59X312345"] == "exit", "motorbikes ride away from it"
    everything = [e for e in await backend.events() if e.sequence is not None and e.event_type != STATUS]
    assert [event.sequence for event in everything] == list(range(1, len(everything) + 1))
    statuses = await backend.events(event_type=STATUS)
    assert statuses[-1].data["status"] == "idle"
    assert statuses[-1].data["device"]
    assert agent.board.queue.pending == 0


async def test_two_cameras_at_one_gate_report_a_vehicle_once(
    tmp_path: Path, model_cache: Path, backend: Backend
) -> None:
    cameras = (clip_camera("CAM_001"), clip_camera("CAM_002"))
    agent = Agent(agent_config(tmp_path, model_cache, backend.url, *cameras))

    await asyncio.wait_for(agent.run(), 180)

    texts = [event.data["plate"]["text"] for event in await backend.events(event_type=DETECTED)]
    assert sorted(texts) == sorted(expected_texts(sample_clip()))


async def test_commands_are_obeyed_and_changes_outlive_a_restart(
    tmp_path: Path, model_cache: Path, backend: Backend
) -> None:
    config = agent_config(tmp_path, model_cache, backend.url, clip_camera(pace="realtime"))
    agent = Agent(config)
    async with running(agent):
        await backend.wait_for_agent()

        status = await backend.command("get_status")
        assert status["data"]["status"] == "processing"

        changed = await backend.command("update_config", {"cameras": {"CAM_001": {"fps": 5, "gateName": "Cổng phụ"}}})
        assert changed["status"] == "ok"
        assert agent.config.cameras[0].gate.name == "Cổng phụ"
        assert agent.pipelines["CAM_001"].camera.fps == 5

        wrong = await backend.command("update_config", {"cameras": {"CAM_001": {"minConfidence": 70, "gateName": "x"}}})
        assert (wrong["status"], wrong["code"]) == ("error", "CONFIG_REJECTED")
        assert wrong["message"] == "cameras.CAM_001.minConfidence must be at most 1.0, not 70"
        assert agent.config.cameras[0].gate.name == "Cổng phụ", "on any mistake nothing changes"

        snapshot = await wait_for_snapshot(backend)
        assert snapshot["data"]["width"] == 1920

        stopped = await backend.command("stop_processing", {"cameraIds": ["CAM_001"]})
        assert stopped["status"] == "ok"
        assert agent.board.camera_state("CAM_001") is CameraState.STOPPED
        assert agent.board.state is AgentState.IDLE

        started = await backend.command("start_processing")
        assert started["status"] == "ok"
        assert "CAM_001" in agent.pipelines

        unknown = await backend.command("start_processing", {"cameraIds": ["CAM_9"]})
        assert (unknown["status"], unknown["code"]) == ("error", "UNKNOWN_CAMERA")

    kept = json.loads((tmp_path / "data" / "overrides.json").read_text("utf-8"))
    assert kept["cameras"]["CAM_001"] == {"fps": 5, "gate_name": "Cổng phụ"}
    rejected = [e for e in await backend.events(event_type=ERROR) if e.data["errorCode"] == "CONFIG_REJECTED"]
    assert [event.data["message"] for event in rejected] == [wrong["message"]]


async def wait_for_snapshot(backend: Backend) -> dict[str, Any]:
    """A picture is there as soon as the camera has given one."""
    async with asyncio.timeout(30):
        while (answer := await backend.command("capture_snapshot", {"cameraId": "CAM_001"}))["status"] != "ok":
            assert answer["code"] == "NO_FRAME"
            await asyncio.sleep(0.05)
    return answer


async def test_stopping_in_the_middle_records_what_is_in_sight_and_loses_nothing(
    tmp_path: Path, model_cache: Path, backend: Backend
) -> None:
    agent = Agent(agent_config(tmp_path, model_cache, backend.url, clip_camera(pace="realtime", emit="final")))
    async with running(agent):
        # With `emit: final` the first car is in sight, read, and not yet reported.
        tracker = agent.pipelines["CAM_001"].tracker
        await until(
            lambda: any(view.text in {"51K91827", "51K-918.27"} and view.frames >= 8 for view in tracker.tracks)
        )
        assert await backend.events(event_type=DETECTED) == []
    detected = await backend.events(event_type=DETECTED)

    assert "51K91827" in [event.data["plate"]["text"] for event in detected]
    assert agent.board.queue.pending == 0


async def test_what_is_recorded_without_a_back_end_waits_and_is_replayed_by_the_next_run(
    tmp_path: Path, model_cache: Path
) -> None:
    nobody = agent_config(tmp_path, model_cache, "http://127.0.0.1:9")
    first = Agent(nobody, end_with_files=False)
    async with running(first):
        await until(lambda: "CAM_001" in first.board.ended, timeout_s=120)
    waiting = first.board.queue.pending
    assert waiting >= len(expected_texts(sample_clip()))

    async with Backend(BackendSettings(port=0, database=tmp_path / "backend.db")) as backend:
        silent = clip_camera(enabled=False)
        second = Agent(agent_config(tmp_path, model_cache, backend.url, silent))
        async with running(second):
            detected = await backend.wait_for(len(expected_texts(sample_clip())))

    assert sorted(e.data["plate"]["text"] for e in detected) == sorted(expected_texts(sample_clip()))
    assert all(event.replayed for event in detected), "a back-end opens no barrier on these"
    assert {event.boot_id for event in detected} == {first.boot_id}


async def test_a_stop_before_the_cameras_have_started_is_an_end_in_good_order(
    tmp_path: Path, model_cache: Path, backend: Backend
) -> None:
    agent = Agent(agent_config(tmp_path, model_cache, backend.url))
    agent.stop()
    await agent.run()
    assert not agent.pipelines
    assert not await backend.events(event_type=DETECTED)


async def test_a_second_agent_on_one_data_directory_is_refused(
    tmp_path: Path, model_cache: Path, backend: Backend
) -> None:
    config = agent_config(tmp_path, model_cache, backend.url, clip_camera(pace="realtime"))
    async with running(Agent(config)):
        with pytest.raises(OutboxLockedError):
            await Agent(config).run()


async def test_a_new_configuration_starts_and_stops_cameras_without_a_restart(
    tmp_path: Path, model_cache: Path, backend: Backend
) -> None:
    one = agent_config(tmp_path, model_cache, backend.url, clip_camera("CAM_001", pace="realtime"))
    other = agent_config(tmp_path, model_cache, "http://127.0.0.1:9", clip_camera("CAM_002", pace="realtime"))
    agent = Agent(one)
    async with running(agent):
        await agent.reload(other)

        assert set(agent.pipelines) == {"CAM_002"}
        assert agent.config.backend.url == one.backend.url, "the link holds from the next start"


@pytest.mark.parametrize(
    ("change", "anew"), [({"pace": "fast"}, True), ({"decoder": "software"}, True), ({"fps": 5, "name": "Cổng"}, False)]
)
async def test_a_reload_opens_a_camera_anew_only_where_its_pictures_change(
    tmp_path: Path, model_cache: Path, backend: Backend, change: dict[str, Any], anew: bool
) -> None:
    camera = clip_camera(pace="realtime")
    agent = Agent(agent_config(tmp_path, model_cache, backend.url, camera))
    async with running(agent):
        before = agent.pipelines["CAM_001"]
        await agent.reload(agent_config(tmp_path, model_cache, backend.url, {**camera, **change}))
        assert (agent.pipelines["CAM_001"] is not before) == anew


async def test_a_change_that_comes_while_the_file_is_read_anew_holds_beside_it(
    tmp_path: Path, model_cache: Path, backend: Backend
) -> None:
    agent = Agent(agent_config(tmp_path, model_cache, backend.url, clip_camera(pace="realtime")))
    written = agent_config(tmp_path, model_cache, backend.url, clip_camera(pace="realtime", name="Cổng sau"))
    async with running(agent):
        await asyncio.gather(
            agent.reload(written),
            agent.change_config({"cameras": {"CAM_001": {"fps": 5}}}),
            agent.reload(written),
            agent.change_config({"weather": {"humidity": 70}}),
        )

        [camera] = agent.config.cameras
        assert (camera.name, camera.fps, agent.config.weather.humidity) == ("Cổng sau", 5, 70)


async def test_the_longest_repeat_after_of_a_gates_cameras_holds_and_may_become_shorter(
    tmp_path: Path, model_cache: Path, backend: Backend
) -> None:
    cameras = [clip_camera(name, pace="realtime", repeat_after=seconds) for name, seconds in (("A", 60), ("B", 90))]
    agent = Agent(agent_config(tmp_path, model_cache, backend.url, *cameras))

    async with running(agent):
        guard = agent._memory._guards["GATE_001"]
        assert guard.repeat_after_s == 90
        await agent.change_config({"cameras": {"B": {"repeat_after": 30}}})
        assert guard.repeat_after_s == 60
        await agent.reload(agent_config(tmp_path, model_cache, backend.url, cameras[1]))
        assert guard.repeat_after_s == 30


async def test_what_cannot_follow_a_reload_is_said_and_stays(
    tmp_path: Path, model_cache: Path, backend: Backend
) -> None:
    agent = Agent(agent_config(tmp_path, model_cache, backend.url, clip_camera(pace="realtime")))
    tracking = {"lost_after": "9 s"}
    written = agent.config.model_copy(update={"tracking": TrackingConfig.model_validate(tracking)})
    async with running(agent):
        with structlog.testing.capture_logs() as said:
            await agent.reload(written)

        assert agent.config.tracking == TrackingConfig()
        assert [line["sections"] for line in said if "sections" in line] == [["tracking"]]


async def test_a_stop_writes_down_what_the_trackers_must_not_forget(
    tmp_path: Path, model_cache: Path, backend: Backend
) -> None:
    agent = Agent(agent_config(tmp_path, model_cache, backend.url, clip_camera(pace="realtime")))
    async with running(agent):
        agent._memory._guards["GATE_001"].reported("30A11122", Action.ENTRY, agent.clock.now())
    kept = json.loads((tmp_path / "data" / "tracking.json").read_text("utf-8"))
    assert "30A11122" in [entry["text"] for entry in kept["gates"]["GATE_001"]]


async def test_the_page_is_served_as_soon_as_its_port_is_free(
    tmp_path: Path, model_cache: Path, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "PAGE_AGAIN_AFTER_S", 0.05)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        web = {"host": "127.0.0.1", "port": port}
        config = make_config(
            tmp_path / "data",
            clip_camera(pace="realtime"),
            backend=backend.url,
            vision={"cache": str(model_cache)},
            web=web,
        )
        async with running(Agent(config)):
            other.close()

            async def answers() -> bool:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    return False
                writer.close()
                return True

            async with asyncio.timeout(30):
                while not await answers():  # noqa: ASYNC110 - a port tells nobody that it is open
                    await asyncio.sleep(0.02)


async def test_a_device_that_fails_at_work_is_replaced_and_the_back_end_told(
    tmp_path: Path, model_cache: Path, backend: Backend
) -> None:
    agent = Agent(agent_config(tmp_path, model_cache, backend.url, clip_camera(pace="realtime")))
    async with running(agent):
        pipeline, error = agent.pipelines["CAM_001"], VisionError("the GPU hangs")
        # There is no other device in the machines that test this: what executes is made up.
        agent.board.devices["CAM_001"] = "GPU.0"
        before = pipeline._plates
        await agent._went_blind(pipeline.camera, error)
        assert pipeline._plates is not before
        assert agent.board.devices["CAM_001"] == "CPU"

        again = pipeline._plates
        await agent._went_blind(pipeline.camera, error)
        assert pipeline._plates is again, "the CPU is what is left"
        [told] = await backend.wait_for(1, event_type=ERROR, timeout_s=30)
        assert told.data["errorCode"] == "DEVICE_FALLBACK"
        assert told.data["details"]["device"] == "AUTO"

        # What starts from now on does not ask the broken device again.
        assert await agent._readers.of(agent.config, pipeline.camera) is again
