"""A camera with two streams, a real one: plates are looked for in the smaller, and what is sent is from the larger."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lpr.agent.service import Agent
from lpr.backend.server import Backend, BackendSettings
from lpr.backend.store import StoredEvent
from lpr.cli.sample import sample_clip
from lpr.config import AgentConfig
from lpr.domain.clock import SystemClock, isoformat_ms
from lpr.domain.events import CameraState
from lpr.domain.frame import Frame
from lpr.domain.geometry import Box
from lpr.imaging import decode_image
from tests.agent.helpers import make_config
from tests.agent.test_service import running, until
from tests.rtsp.proxy import FaultyLine
from tests.rtsp.server import RtspServer, StartServer

pytestmark = pytest.mark.rtsp

MAIN, SUB = (1280, 720), (640, 360)
OTHER_MAIN, OTHER_SUB = (960, 720), (480, 360)
"""What they are changed to: another shape, so that pictures that are scaled to the old one are distorted."""
FPS = 8
CAR = "51K91827"
DETECTED, ERROR = "license_plate_detected", "error"


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, int], Path]:
    """A car that drives up to the barrier and stands there, and then an empty road, in both sizes as raw pictures."""
    folder, films = tmp_path_factory.mktemp("films"), {}
    clip = cv2.VideoCapture(str(sample_clip()))
    shots = [clip.read()[1] for _ in range(72)]
    clip.release()
    # The clip has 12 pictures a second. The road is empty for so long that the next car is another one.
    frames = [shots[int(place)] for place in np.arange(24, 72, 12 / FPS)] + [shots[0]] * int(FPS * 5.5)
    for size in (MAIN, SUB, OTHER_MAIN, OTHER_SUB):
        films[size] = folder / f"{size[0]}.yuv"
        width, height = size
        with films[size].open("wb") as film:
            for frame in frames:
                small = cv2.resize(frame, (width, width * 9 // 16), interpolation=cv2.INTER_AREA)
                small = cv2.copyMakeBorder(small, 0, height - small.shape[0], 0, 0, cv2.BORDER_CONSTANT)
                film.write(cv2.cvtColor(small, cv2.COLOR_BGR2YUV_I420).tobytes())
    return films


@pytest.fixture(scope="session")
def model_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@dataclass
class Gate:
    """One camera box with two streams, each behind a line of its own, the agent that watches it, and its back-end."""

    box: RtspServer
    main: FaultyLine
    sub: FaultyLine
    agent: Agent
    backend: Backend

    async def errors(self) -> list[tuple[str, str]]:
        """What was told of the camera: code and stream."""
        return [
            (event.data["errorCode"], event.data["details"].get("stream", "camera"))
            for event in await self.backend.events(event_type=ERROR)
            if event.data["errorCode"].startswith("CAMERA_")
        ]

    async def told(self, *expected: tuple[str, str], within_s: float = 40) -> None:
        """Wait until exactly this has been told, in this order."""
        async with asyncio.timeout(within_s):
            while (errors := await self.errors()) != list(expected):
                assert errors == list(expected)[: len(errors)], errors
                await asyncio.sleep(0.05)

    async def next_car(self) -> tuple[StoredEvent, np.ndarray, np.ndarray]:
        """A detection of a car that is seen from now on, its original picture, and its crop."""
        now = isoformat_ms(datetime.now(UTC))
        async with asyncio.timeout(60):
            while not (new := [event for event in await self.cars() if event.timestamp > now]):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        crop, picture = await self.backend.store.pictures(new[0].number)
        assert crop is not None
        assert picture is not None
        return new[0], decode_image(picture), decode_image(crop)

    async def next_large_car(self, size: tuple[int, int] = MAIN) -> tuple[StoredEvent, np.ndarray, np.ndarray]:
        """The same, with the larger stream's picture; a machine that is busy with other things may miss one or two."""
        for _ in range(3):
            car = await self.next_car()
            if size_of(car[1]) == size:
                return car
        raise AssertionError("three cars came with the smaller stream's pictures")

    async def larger_runs(self) -> None:
        """Wait until the larger stream shows pictures."""
        larger = self.agent.pipelines["CAM_001"].larger
        assert larger is not None
        await until(lambda: larger.reader.state is CameraState.RUNNING)

    async def cars(self) -> Sequence[StoredEvent]:
        return [event for event in await self.backend.events(event_type=DETECTED) if event.data["plate"]["text"] == CAR]


@pytest.fixture
async def gate(
    tmp_path: Path, model_cache: Path, films: dict[tuple[int, int], Path], rtsp: StartServer
) -> AsyncIterator[Gate]:
    paths = [f"{name}:{w}x{h}:{films[w, h]}" for name, (w, h) in (("main", MAIN), ("sub", SUB))]
    # Whole pictures are rare, so that one which comes with a change of size hardly ever happens to be due anyway.
    box = await asyncio.to_thread(lambda: rtsp(paths=paths, fps=FPS, keyframe_every=15 * FPS))
    with FaultyLine(box.port) as main, FaultyLine(box.port) as sub:
        async with Backend(BackendSettings(port=0, database=tmp_path / "backend.db")) as backend:
            agent = Agent(config(tmp_path, model_cache, backend.url, box, main, sub))
            async with running(agent):
                yield Gate(box, main, sub, agent, backend)


def config(folder: Path, cache: Path, url: str, box: RtspServer, main: FaultyLine, sub: FaultyLine) -> AgentConfig:
    camera: dict[str, Any] = {
        "id": "CAM_001",
        "source": box.url("main", port=main.port),
        "analyse_source": box.url("sub", port=sub.port),
        "gate": {"id": "GATE_001"},
        "fps": FPS,
        # The film begins anew every few seconds, and each time its car is to count.
        "repeat_after": 0,
    }
    return make_config(folder / "data", camera, backend=url, vision={"cache": str(cache)})


async def fit(gate: Gate, event: StoredEvent, picture: np.ndarray) -> float:
    """How well the event's box fits a plate that the networks see in the picture that came with it, 0..1."""
    reader = await gate.agent._readers.of(gate.agent.config, gate.agent.config.cameras[0])
    reads = await reader.read(Frame("picture", 0, np.ascontiguousarray(picture), SystemClock().now()))
    return max((box_of(event).iou(read.box) for read in reads), default=0.0)


def box_of(event: StoredEvent) -> Box:
    return Box(*(event.data["boundingBox"][side] for side in ("x", "y", "width", "height")))


async def test_pictures_and_box_are_the_larger_streams_and_its_loss_is_told_and_got_over(gate: Gate) -> None:
    # The first cars may pass while the larger stream is still being opened.
    await gate.larger_runs()
    event, picture, crop = await gate.next_large_car()
    assert await fit(gate, event, picture) > 0.7
    assert event.remarks == ()
    assert crop.shape[1] == pytest.approx(1.06 * box_of(event).width, rel=0.15), "it is cut from the picture sent"

    # The larger stream goes: told, and the next car comes with the smaller stream's pictures.
    gate.main.refuse()
    await gate.told(("CAMERA_DISCONNECTED", "source"), within_s=15)
    [lost] = await gate.backend.events(event_type=ERROR)
    assert lost.data["severity"] == "medium"
    assert "goes on with the pictures of its smaller stream" in lost.data["message"]
    assert lost.data["details"]["lastResponse"]
    event, picture, crop = await gate.next_car()
    assert picture.shape[:2] == SUB[::-1]
    assert crop.shape[1] == pytest.approx(1.06 * box_of(event).width, rel=0.15)
    assert await fit(gate, event, picture) > 0.7

    # It comes back, and with it the larger pictures.
    gate.main.restore()
    await gate.told(("CAMERA_DISCONNECTED", "source"), ("CAMERA_RECOVERED", "source"), within_s=60)
    await gate.next_large_car()


async def test_a_box_that_goes_with_both_streams_is_told_once_and_is_back_once(gate: Gate) -> None:
    await gate.larger_runs()
    await asyncio.to_thread(gate.box.kill)
    await gate.told(("CAMERA_DISCONNECTED", "camera"), within_s=15)
    await asyncio.sleep(3)
    await asyncio.to_thread(gate.box.start)
    await gate.told(("CAMERA_DISCONNECTED", "camera"), ("CAMERA_RECOVERED", "camera"), within_s=60)
    await gate.larger_runs()
    await gate.next_large_car()
    assert len(await gate.errors()) == 2


async def test_the_smaller_stream_alone_may_go_and_a_snapshot_is_of_the_larger(gate: Gate) -> None:
    await gate.larger_runs()
    shot = await gate.agent.snapshot("CAM_001")
    assert (shot.width, shot.height) == MAIN
    gate.sub.hold()
    await gate.told(("CAMERA_DISCONNECTED", "camera"), within_s=15)
    await gate.larger_runs()
    gate.sub.restore()
    await gate.told(("CAMERA_DISCONNECTED", "camera"), ("CAMERA_RECOVERED", "camera"), within_s=60)


async def test_streams_that_change_their_shape_are_told_to_nobody_and_pictures_and_box_fit_the_new_one(
    gate: Gate, films: dict[tuple[int, int], Path]
) -> None:
    await gate.larger_runs()
    await gate.next_car()
    pipeline = gate.agent.pipelines["CAM_001"]
    for path, (width, height) in (("main", OTHER_MAIN), ("sub", OTHER_SUB)):
        gate.box.order(f"{path}:size {width} {height} {films[width, height]}")
    await until(lambda: pipeline.capture.newest is not None and size_of(pipeline.capture.newest.image) == OTHER_SUB)
    async with asyncio.timeout(20):
        while (shot := await gate.agent.snapshot("CAM_001")) and (shot.width, shot.height) != OTHER_MAIN:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    event, picture, crop = await gate.next_large_car(OTHER_MAIN)
    assert await fit(gate, event, picture) > 0.7
    assert crop.shape[1] == pytest.approx(1.06 * box_of(event).width, rel=0.15)
    assert pipeline.analysed is not None
    assert size_of(pipeline.analysed.image) == OTHER_SUB, "what the page shows, and draws its boxes into"
    assert await gate.errors() == []


def size_of(picture: np.ndarray) -> tuple[int, int]:
    """Width and height."""
    return picture.shape[1], picture.shape[0]
