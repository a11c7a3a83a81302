"""The owner of OpenVINO, with the detector that ships."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lpr.domain.errors import DeviceNotFoundError, VisionError
from lpr.vision.engine import Engine, EngineOptions, Network, Outputs
from lpr.vision.models import model_path

GREY = np.full((320, 320, 3), 114, np.uint8)


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine(EngineOptions(threads=1, precision="f32", requests=2)) as started:
        yield started


@pytest.fixture
def network(engine: Engine) -> Network:
    return engine.load(model_path("detector"), "CPU", (320, 320))


def shapes(outputs: Outputs) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in outputs.items()}


async def test_the_detector_answers_for_every_cell(network: Network) -> None:
    assert await network.infer(GREY, shapes) == {"plates": (1, 13, 40, 40)}


async def test_the_same_weights_take_another_size(engine: Engine) -> None:
    far = engine.load(model_path("detector"), "CPU", (640, 384))
    assert far.size == (640, 384)
    assert await far.infer(np.zeros((384, 640, 3), np.uint8), shapes) == {"plates": (1, 13, 48, 80)}


def test_one_network_is_compiled_once(engine: Engine, network: Network) -> None:
    assert engine.load(model_path("detector"), "cpu", (320, 320)) is network


def test_what_really_executes_is_known_under_auto_too(engine: Engine) -> None:
    devices = engine.load(model_path("detector"), "AUTO", (320, 320)).devices
    assert devices
    assert all(device.startswith(("CPU", "GPU", "NPU")) for device in devices)


def test_facts_travel_with_the_weights(network: Network) -> None:
    assert 0 < float(network.info["confidence"]) < 1
    assert network.info["version"]


def test_a_device_that_is_not_there_is_named_beside_those_that_are(engine: Engine) -> None:
    with pytest.raises(DeviceNotFoundError, match=r"GPU\.7.*CPU") as caught:
        engine.load(model_path("detector"), "GPU.7")
    assert caught.value.hint is not None


def test_a_file_that_is_no_network_is_an_error_that_names_it(engine: Engine, tmp_path: Path) -> None:
    broken = tmp_path / "broken.xml"
    broken.write_text("this is not a network", encoding="utf-8")
    with pytest.raises(VisionError, match=r"broken\.xml"):
        engine.load(broken, "CPU")


async def test_a_picture_of_another_size_is_refused(network: Network) -> None:
    with pytest.raises(VisionError, match="320 x 320"):
        await network.infer(np.zeros((64, 64, 3), np.uint8), shapes)


async def test_more_inferences_than_requests_all_end_each_with_its_own_answer(network: Network) -> None:
    def brightest(outputs: Outputs) -> float:
        return float(outputs["plates"][0, 0].max())

    pictures = [np.full((320, 320, 3), level, np.uint8) for level in range(0, 250, 25)]
    together = await asyncio.gather(*(network.infer(picture, brightest) for picture in pictures))
    assert together == [await network.infer(picture, brightest) for picture in pictures]


async def test_decoding_does_not_run_in_the_event_loop(network: Network) -> None:
    def whose(_: Outputs) -> int:
        return threading.get_ident()

    assert await network.infer(GREY, whose) != threading.get_ident()


async def test_an_error_in_decoding_reaches_the_one_who_waits_and_nobody_else(network: Network) -> None:
    def fails(_: Outputs) -> None:
        raise VisionError("no sense in these numbers")

    with pytest.raises(VisionError, match="no sense"):
        await network.infer(GREY, fails)
    assert await network.infer(GREY, shapes)


async def test_waiting_can_be_cancelled_and_the_network_goes_on(network: Network) -> None:
    hold = threading.Event()

    def slow(_: Outputs) -> None:
        hold.wait(5)

    waiting = [asyncio.create_task(network.infer(GREY, slow)) for _ in range(4)]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    hold.set()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert all(task.cancelled() for task in waiting)
    assert await network.infer(GREY, shapes)


async def test_an_inference_that_does_not_end_is_an_error_in_bounded_time() -> None:
    hold = threading.Event()

    def hangs(_: Outputs) -> None:
        hold.wait(5)

    with Engine(EngineOptions(threads=1, requests=1, deadline_s=0.1)) as engine:
        network = engine.load(model_path("detector"), "CPU", (320, 320))
        try:
            with pytest.raises(VisionError, match=r"did not answer within 0\.1 s"):
                await network.infer(GREY, hangs)
        finally:
            hold.set()


async def test_a_queue_that_has_failed_is_replaced_and_the_next_inference_runs(network: Network) -> None:
    class FailedQueue:
        def start_async(self, inputs: object, job: object) -> None:
            raise RuntimeError("device lost")

        def wait_all(self) -> None:
            raise RuntimeError("device lost")

    network._queue = FailedQueue()
    with pytest.raises(VisionError, match="device lost"):
        await network.infer(GREY, shapes)
    assert await network.infer(GREY, shapes)


async def test_a_second_start_loads_from_the_cache_and_computes_the_same(tmp_path: Path) -> None:
    answers = []
    for _ in range(2):
        with Engine(EngineOptions(threads=1, cache_dir=tmp_path / "cache")) as engine:
            network = engine.load(model_path("detector"), "CPU", (320, 320))
            answers.append(await network.infer(GREY, lambda outputs: outputs["plates"].copy()))
    assert list((tmp_path / "cache").iterdir())
    assert np.array_equal(answers[0], answers[1])


def test_importing_openvino_leaves_nothing_in_the_home(tmp_path: Path) -> None:
    program = "from lpr.vision.engine import load_openvino; load_openvino().Core()"
    environment = {"HOME": str(tmp_path), "PATH": "", "PYTHONPATH": ":".join(sys.path)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=60)
    assert list(tmp_path.iterdir()) == []
