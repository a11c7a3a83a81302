"""Readers for cameras, with the networks that ship: the golden picture, devices, and a cache that lies."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pytest

from lpr.domain.clock import Instant
from lpr.domain.errors import DeviceNotFoundError, VisionError
from lpr.domain.frame import Frame, Image
from lpr.domain.geometry import Box
from lpr.metrics import Metrics, Stage
from lpr.vision import models
from lpr.vision.engine import Engine, EngineOptions
from lpr.vision.golden import Golden, check_detector, check_recognizer, load_golden
from lpr.vision.vision import Detail, Vision, VisionOptions

ONE_THREAD = EngineOptions(threads=1)


@pytest.fixture
async def vision() -> AsyncIterator[Vision]:
    async with Vision(VisionOptions(engine=ONE_THREAD)) as opened:
        yield opened


def frame_of(image: Image) -> Frame:
    return Frame("CAM_001", 0, image, Instant(datetime(2026, 1, 1, tzinfo=UTC), 0.0))


@pytest.mark.parametrize("detail", list(Detail))
async def test_the_golden_plate_is_found_and_read_at_every_size(vision: Vision, detail: Detail) -> None:
    golden = load_golden()
    (read,) = await (await vision.reader("CPU", detail)).read(frame_of(golden.image))
    assert read.plate.text == golden.text
    assert read.box.iou(golden.corners.box) > 0.8
    assert read.detection_confidence > 0.5


async def test_a_plate_is_read_where_a_large_frame_holds_it(vision: Vision) -> None:
    golden = load_golden()
    frame = np.full((1080, 1920, 3), 90, np.uint8)
    frame[600:1080, 1280:] = golden.image
    region = ((0.6, 0.5), (1.0, 0.5), (1.0, 1.0), (0.6, 1.0))
    (read,) = await (await vision.reader("CPU")).read(frame_of(frame), region)
    assert read.plate.text == golden.text
    assert read.box.iou(golden.corners.box.moved(1280, 600)) > 0.7


def phone(picture: Image) -> Image:
    """A picture of 1080 x 1920 with `picture` near its middle."""
    frame = np.full((1920, 1080, 3), 90, np.uint8)
    frame[800 : 800 + picture.shape[0], 300 : 300 + picture.shape[1]] = picture
    return frame


async def test_a_small_plate_is_read_in_a_phones_upright_picture(vision: Vision) -> None:
    golden = load_golden()
    small = cv2.resize(golden.image, (240, 180), interpolation=cv2.INTER_AREA)
    far, upright = await vision.reader("CPU", Detail.FAR), await vision.reader("CPU", Detail.UPRIGHT)
    (read,) = await far.read(frame_of(phone(small)))
    assert read.plate.text == golden.text
    assert read.box.width == pytest.approx(67, abs=6)
    assert [each.box for each in await upright.read(frame_of(phone(small)))] == [read.box]
    assert vision.devices_of(far) == {"detector": ("CPU",), "recognizer": ("CPU",)}


async def test_an_upright_picture_does_not_wait_for_other_networks_that_are_opened_meanwhile(vision: Vision) -> None:
    far, picture = await vision.reader("CPU", Detail.FAR), frame_of(phone(load_golden().image))
    first = await far.read(picture)
    async with vision._opening, asyncio.timeout(20):
        assert [read.plate for read in await far.read(picture)] == [read.plate for read in first]


async def test_an_empty_road_has_no_plate(vision: Vision) -> None:
    assert await (await vision.reader("CPU")).read(frame_of(np.full((480, 640, 3), 120, np.uint8))) == ()


async def test_what_the_detector_finds_depends_on_how_sure_it_has_to_be(vision: Vision) -> None:
    detector, image = (await vision.reader("CPU", Detail.FAST)).detector, load_golden().image
    (plate,) = await detector.detect(image)
    assert await detector.detect(image, plate.confidence + 0.01) == ()
    assert len(await detector.detect(image, 0.01)) > 1


async def test_two_cameras_share_a_reader_and_may_ask_for_it_at_once(vision: Vision) -> None:
    first, second = await asyncio.gather(vision.reader("CPU"), vision.reader("cpu"))
    assert first is second
    assert vision.devices_of(first) == {"detector": ("CPU",), "recognizer": ("CPU",)}


async def test_a_device_that_is_not_there_is_an_error_that_lists_those_that_are(vision: Vision) -> None:
    with pytest.raises(DeviceNotFoundError, match="CPU"):
        await vision.reader("NPU.3")


async def test_frames_of_many_cameras_at_once_each_get_their_own_reads(vision: Vision) -> None:
    golden = load_golden()
    empty = np.full((480, 640, 3), 120, np.uint8)
    reader = await vision.reader("CPU")
    answers = await asyncio.gather(*(reader.read(frame_of(image)) for image in [golden.image, empty] * 6))
    assert [len(reads) for reads in answers] == [1, 0] * 6


async def test_each_stage_of_a_frame_is_timed_and_the_self_test_is_not() -> None:
    metrics = Metrics()
    async with Vision(VisionOptions(engine=ONE_THREAD), timer=metrics) as vision:
        await (await vision.reader("CPU")).read(frame_of(load_golden().image))
    stages = (Stage.SCALE, Stage.DETECT, Stage.RECTIFY, Stage.READ)
    assert [metrics.percentiles(stage).count for stage in stages] == [1, 1, 1, 1]


async def test_a_cache_that_loads_but_computes_something_else_is_wiped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "lie").touch()
    checked: list[Engine] = []

    async def fails_while_the_lie_is_there(golden: Golden, detector: object) -> None:
        checked.append(vision.engine)
        if (cache / "lie").exists():
            raise VisionError("self-test of the detector failed: it found nothing in the golden picture")

    monkeypatch.setattr("lpr.vision.vision.check_detector", fails_while_the_lie_is_there)
    async with Vision(VisionOptions(engine=EngineOptions(threads=1, cache_dir=cache))) as vision:
        await vision.reader("CPU")
    assert len(checked) == 2
    assert not (cache / "lie").exists()


async def test_a_device_that_computes_nonsense_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(golden: Golden, detector: object) -> None:
        raise VisionError("self-test of the detector failed: it found nothing in the golden picture")

    monkeypatch.setattr("lpr.vision.vision.check_detector", fails)
    async with Vision(VisionOptions(engine=ONE_THREAD)) as vision:
        with pytest.raises(VisionError, match="device CPU") as caught:
            await vision.reader("CPU")
    assert caught.value.hint is not None


async def test_the_self_test_notices_a_wrong_place_and_a_wrong_text(vision: Vision) -> None:
    golden, reader = load_golden(), await vision.reader("CPU")
    moved = replace(golden, image=np.roll(golden.image, 60, axis=1))
    with pytest.raises(VisionError, match="self-test of the detector"):
        await check_detector(moved, reader.detector)
    with pytest.raises(VisionError, match="self-test of the recognizer"):
        await check_recognizer(replace(golden, text="30A12345"), reader)


async def test_a_missing_golden_picture_is_an_error_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(models.models_folder() / "golden.png", tmp_path)
    monkeypatch.setattr("lpr.vision.golden.models_folder", lambda: tmp_path)
    with pytest.raises(VisionError, match=r"golden\.json") as caught:
        load_golden()
    assert caught.value.hint is not None


def test_the_golden_answer_lies_in_the_golden_picture() -> None:
    golden = load_golden()
    inside = golden.corners.box.clipped(golden.image.shape[1], golden.image.shape[0])
    assert inside == Box(*(getattr(golden.corners.box, side) for side in ("x", "y", "width", "height")))
