"""One camera after the other at one reader: in turn, and always with the newest picture."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog

from lpr.agent import pipeline as pipeline_module
from lpr.agent.pipeline import CameraPipeline
from lpr.agent.publisher import Publisher
from lpr.domain.clock import SystemClock
from lpr.domain.errors import VisionError
from lpr.domain.events import PlateDetected, StoredEvent
from lpr.domain.frame import Image
from lpr.metrics import Metrics
from lpr.outbox.base import Ticket
from lpr.outbox.memory import MemoryOutbox
from lpr.tracking.repeat import RepeatGuard
from lpr.tracking.standing import StandingMemory
from lpr.vision.base import Detection
from lpr.vision.plate_reader import PlateReader
from tests.agent.helpers import CAMERA, make_config, make_passage
from tests.capture.helpers import ScriptedSource, Step, until
from tests.vision.test_plate_reader import ToldRecognizer

PERIOD_S = 0.05
"""Of the cameras here; longer than the time between two frames that are analysed."""


class HeldDetector:
    """Finds nothing, after `go_on`; remembers how bright what it was shown is."""

    min_confidence = 0.35

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self.shown: list[int] = []

    async def detect(self, image: Image, min_confidence: float | None = None) -> tuple[Detection, ...]:
        self.shown.append(int(image[0, 0, 0]))
        self.begun.set()
        await self.go_on.wait()
        return ()


@pytest.fixture
async def workers() -> AsyncIterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


async def nothing() -> None:
    """`on_published` of a pipeline that nobody listens to."""


def pipeline_of(
    tmp_path: Path,
    camera_id: str,
    reader: PlateReader,
    steps: Sequence[Step],
    *,
    outbox: MemoryOutbox | None = None,
    **more: Any,
) -> CameraPipeline:
    config = make_config(tmp_path, {**CAMERA, "id": camera_id, "fps": 25})
    clock, metrics = SystemClock(), Metrics()
    return CameraPipeline(
        config,
        config.cameras[0],
        reader=reader,
        guard=RepeatGuard(),
        standing=StandingMemory(900.0, 86_400.0),
        publisher=Publisher(outbox or MemoryOutbox(), config, link_up=lambda: True, clock=clock, metrics=metrics),
        clock=clock,
        metrics=metrics,
        on_change=lambda: None,
        on_published=nothing,
        source_factory=lambda _settings, _tries: ScriptedSource(steps, period_s=PERIOD_S),
        **more,
    )


def picture(grey: int) -> Image:
    image = np.full((48, 64, 3), grey, np.uint8)
    image[8:40, 8:56] = np.random.default_rng(grey).integers(0, 255, (32, 48, 3))
    return image


FIRST_OF_ALL = picture(1)
"""Only tells the reader how late the camera's pictures are."""


def held(event: threading.Event) -> Callable[[], None]:
    """A step that waits, so that a camera shows nothing more until the test is done with it."""

    def step() -> None:
        event.wait(10.0)

    return step


async def test_a_camera_whose_turn_comes_late_is_analysed_by_its_newest_picture(
    tmp_path: Path, workers: ThreadPoolExecutor
) -> None:
    detector, done = HeldDetector(), threading.Event()
    reader = PlateReader(detector, ToldRecognizer(), workers)
    reader.turns = asyncio.Semaphore(1)
    first = pipeline_of(tmp_path, "FIRST", reader, [FIRST_OF_ALL, picture(10), held(done)])
    second = pipeline_of(tmp_path, "SECOND", reader, [FIRST_OF_ALL, *map(picture, (20, 30, 40)), held(done)])

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(first.run())
        await detector.begun.wait()
        group.create_task(second.run())
        await until(lambda: second.capture.statistics().offered == 3)
        detector.begun.clear()
        detector.go_on.set()
        await detector.begun.wait()
        done.set()
        await first.stop()
        await second.stop()

    assert detector.shown == [10, 40]
    assert second.capture.statistics().overwritten == 2


class FailingDetector:
    """Fails for as long as `words` says something."""

    min_confidence = 0.35

    def __init__(self, words: str) -> None:
        self.words = words
        self.asked = 0

    async def detect(self, image: Image, min_confidence: float | None = None) -> tuple[Detection, ...]:
        self.asked += 1
        if self.words:
            raise VisionError(self.words)
        return ()


async def test_a_camera_whose_pictures_cannot_be_read_says_so_once_and_until_they_can(
    tmp_path: Path, workers: ThreadPoolExecutor
) -> None:
    detector, done = FailingDetector("the device is lost"), threading.Event()
    pictures = [picture(grey) for grey in range(10, 200, 5)]
    pipeline = pipeline_of(
        tmp_path, "CAM", PlateReader(detector, ToldRecognizer(), workers), [FIRST_OF_ALL, *pictures, held(done)]
    )
    with structlog.testing.capture_logs() as lines:
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            group.create_task(pipeline.run())
            await until(lambda: detector.asked >= 3)
            assert pipeline.blind == "the device is lost"
            detector.words = ""
            await until(lambda: not pipeline.blind)
            done.set()
            await pipeline.stop()

    assert [line["event"] for line in lines].count("inference failed") == 1


async def test_a_device_that_stays_broken_is_left_for_another_one(
    tmp_path: Path, workers: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline_module, "BLIND_FOR_S", 3 * PERIOD_S)
    broken, whole, done = FailingDetector("the device hangs"), FailingDetector(""), threading.Event()
    asked: list[str] = []

    async def on_blind(error: VisionError) -> None:
        asked.append(error.message)
        if len(asked) == 2:
            pipeline.read_with(PlateReader(whole, ToldRecognizer(), workers))

    pictures = [picture(grey) for grey in range(10, 250, 3)]
    reader = PlateReader(broken, ToldRecognizer(), workers)
    pipeline = pipeline_of(tmp_path, "CAM", reader, [FIRST_OF_ALL, *pictures, held(done)], on_blind=on_blind)
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(pipeline.run())
        await until(lambda: whole.asked >= 2)
        done.set()
        await pipeline.stop()

    assert asked == ["the device hangs"] * 2
    assert pipeline.blind == ""


class StallingOutbox(MemoryOutbox):
    """Its disk takes nothing, and does not say so, until `go_on`."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = asyncio.Event()
        self.plates: list[str] = []

    async def record(self, event: StoredEvent, *, link_up: bool) -> Ticket:
        await self.go_on.wait()
        assert isinstance(event, PlateDetected)
        self.plates.append(event.plate.text)
        return await super().record(event, link_up=link_up)


async def test_a_disk_that_stalls_blinds_no_camera_and_what_passes_meanwhile_is_recorded_in_order(
    tmp_path: Path, workers: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox, detector, done = StallingOutbox(), FailingDetector(""), threading.Event()
    pictures = [picture(grey) for grey in range(10, 200, 5)]
    pipeline = pipeline_of(
        tmp_path,
        "CAM",
        PlateReader(detector, ToldRecognizer(), workers),
        [FIRST_OF_ALL, *pictures, held(done)],
        outbox=outbox,
    )
    passing = [f"29A1234{number}" for number in range(5)]
    to_come = iter(passing)
    monkeypatch.setattr(
        pipeline.tracker, "update", lambda *_: [make_passage(text=text) for text in itertools.islice(to_come, 1)]
    )
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(pipeline.run())
        await until(lambda: detector.asked > len(passing))
        assert outbox.plates == []
        outbox.go_on.set()
        done.set()
        await pipeline.stop()

    assert outbox.plates == passing
