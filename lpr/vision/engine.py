"""The one owner of OpenVINO in a process: devices, compiled networks, their requests, the cache of compiled ones.

Rules
- `import openvino` would write an identity into HOME and may look up a host for statistics: it is kept from that here.
- A network is compiled once for each device and input size, cameras share it. Shapes are static: dynamic ones leak.
- The event loop never blocks: it takes a free request or waits for one, and awaits a future that OpenVINO's own thread
  fulfils. What turns raw numbers into results runs in that thread, too.
- An inference that fails or does not end (a device that hangs) is a `VisionError` after `deadline_s` at the latest.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeAlias, TypeVar

import numpy as np
import structlog
from numpy.typing import NDArray

from lpr.domain.errors import DeviceNotFoundError, VisionError
from lpr.domain.frame import Image

log = structlog.get_logger("vision")

Result = TypeVar("Result")
Outputs: TypeAlias = Mapping[str, NDArray[np.float32]]

RT_INFO = "lpr"
"""The section of a network's rt_info in which this project keeps what belongs to its weights."""


def load_openvino() -> Any:
    """The `openvino` module, without its statistics. Raises `VisionError` where it cannot be loaded."""
    telemetry = "openvino_telemetry"
    blocked = telemetry not in sys.modules
    if blocked:
        # None makes `import openvino_telemetry` fail, and OpenVINO then takes a stub that does nothing.
        sys.modules[telemetry] = None  # type: ignore[assignment]
    try:
        import openvino
    except ImportError as error:
        raise VisionError(
            f"OpenVINO cannot be loaded: {error}",
            hint="install the package again: pip install --force-reinstall openvino",
        ) from error
    finally:
        if blocked:
            del sys.modules[telemetry]
    return openvino


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """How networks are compiled and run.

    `cache_dir` keeps compiled networks between starts; None compiles every time. `precision` is what the device
    computes in (`f32`, `f16`, `bf16`); None leaves it to the device, which on new CPUs means bf16. `threads` bounds
    the CPU's; None takes all. `requests` is how many inferences of one network may be under way at once.
    """

    cache_dir: Path | None = None
    precision: str | None = None
    threads: int | None = None
    requests: int = 2
    deadline_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Job(Generic[Result]):
    """One inference on its way: who waits for it, whose place it takes, and what makes a result of its outputs."""

    loop: asyncio.AbstractEventLoop
    place: asyncio.Semaphore
    future: asyncio.Future[Result]
    decode: Callable[[Outputs], Result]


class Network:
    """A compiled network on one device, with its requests. Belongs to one event loop; made by `Engine.load`."""

    def __init__(
        self, openvino: Any, compiled: Any, name: str, info: Mapping[str, str], options: EngineOptions
    ) -> None:
        self.name = name
        self.info = info
        """rt_info as text: alphabet, thresholds, sizes, version, as the export wrote them."""
        running = compiled.get_property("EXECUTION_DEVICES")
        self.devices: tuple[str, ...] = tuple(str(device).strip("()") for device in running)
        """Where it really runs: `CPU`, `GPU.0`, ...; under AUTO, too."""
        _, height, width, _ = compiled.input(0).shape
        self.size = (int(width), int(height))
        """Width and height of the input in pixels."""
        self._outputs = tuple(output.get_any_name() for output in compiled.outputs)
        self._openvino, self._compiled, self._options = openvino, compiled, options
        self._queue = self._new_queue()
        self._places = asyncio.Semaphore(options.requests)

    async def infer(self, image: Image, decode: Callable[[Outputs], Result]) -> Result:
        """Run `image` (uint8 height x width x 3, BGR, of exactly `size`) through the network.

        `decode` gets the outputs by name (its own copies) in OpenVINO's thread; what it returns or raises comes back
        here. Cancelling gives the wait up; the inference itself runs to its end. Raises `VisionError` where the
        inference fails or does not end in time.
        """
        if image.shape != (self.size[1], self.size[0], 3) or image.dtype != np.uint8:
            raise VisionError(
                f"{self.name} takes uint8 {self.size[1]} x {self.size[0]} x 3, got {image.dtype} {image.shape}"
            )
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._options.deadline_s):
                place = self._places
                await place.acquire()
                job = Job(loop, place, loop.create_future(), decode)
                self._start(image, job)
                result: Result = await job.future
                return result
        except TimeoutError as error:
            raise VisionError(
                f"{self.name} did not answer within {self._options.deadline_s:g} s on {', '.join(self.devices)}",
                hint="the inference device hangs or is overloaded: start again, or choose another device",
            ) from error

    def close(self) -> None:
        """Wait for what is under way."""
        try:
            self._queue.wait_all()
        except RuntimeError as error:
            log.warning("an inference had failed", network=self.name, error=str(error))

    def _start(self, image: Image, job: Job[Any]) -> None:
        try:
            self._queue.start_async({0: image[None]}, job)
        except RuntimeError as error:
            # The queue keeps the error of an earlier inference for ever, and that inference its place: start afresh.
            self._queue, self._places = self._new_queue(), asyncio.Semaphore(self._options.requests)
            raise VisionError(
                f"{self.name} failed on {', '.join(self.devices)}: {error}", hint="try another device, such as CPU"
            ) from error

    def _new_queue(self) -> Any:
        queue = self._openvino.AsyncInferQueue(self._compiled, self._options.requests)
        queue.set_callback(self._completed)
        return queue

    def _completed(self, request: Any, job: Job[Any]) -> None:
        """In a thread of OpenVINO's: make the result and hand it to the loop that waits."""
        result, error = None, None
        try:
            result = job.decode({name: np.array(request.get_tensor(name).data) for name in self._outputs})
        except BaseException as raised:  # noqa: BLE001 - raised again in the task that waits; here it would be lost
            error = raised
        try:
            job.loop.call_soon_threadsafe(self._settle, job, result, error)
        except RuntimeError:
            log.debug("an inference ended after its event loop had closed", network=self.name)

    def _settle(self, job: Job[Any], result: object, error: BaseException | None) -> None:
        job.place.release()
        if job.future.done():  # cancelled, or past its deadline
            return
        if error is not None:
            job.future.set_exception(error)
        else:
            job.future.set_result(result)


class Engine:
    """Devices, networks and the worker threads that prepare pictures for them. Use as a context manager, or `close`."""

    def __init__(self, options: EngineOptions | None = None) -> None:
        self.options = options or EngineOptions()
        self._openvino = load_openvino()
        self._core = self._openvino.Core()
        self._networks: dict[tuple[Path, str, tuple[int, int] | None], Network] = {}
        self.workers = ThreadPoolExecutor(max_workers=2, thread_name_prefix="vision")
        """Where pictures are scaled, straightened and decoded, so that the event loop need not."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def devices(self) -> tuple[str, ...]:
        """Inference devices of this machine: `CPU`, `GPU`, `NPU`, or `GPU.0`, `GPU.1` where there are two."""
        return tuple(self._core.available_devices)

    @property
    def version(self) -> str:
        """OpenVINO's."""
        return str(self._openvino.get_version())

    def full_name(self, device: str) -> str:
        """What `device` calls itself: the model of the CPU or GPU."""
        return str(self._core.get_property(device, "FULL_DEVICE_NAME"))

    def load(self, path: Path, device: str = "AUTO", size: tuple[int, int] | None = None) -> Network:
        """The network of the IR at `path` on `device`, its input `size` (width, height) changed where given.

        Compiles (some 100 ms; less from the cache) or gives the one that is there already; blocks meanwhile. Raises
        `DeviceNotFoundError` where the machine has no such device, `VisionError` where the network cannot be loaded.
        """
        device = device.upper()
        self._check_device(device)
        key = (path, device, size)
        if key not in self._networks:
            self._networks[key] = self._compile(path, device, size)
        return self._networks[key]

    def forget(self, network: Network) -> None:
        """Drop `network`: the next `load` compiles it again."""
        network.close()
        self._networks = {key: other for key, other in self._networks.items() if other is not network}

    def wipe_cache(self) -> None:
        """Delete the compiled networks on disk; a damaged one can load as if it were good."""
        if self.options.cache_dir is not None:
            shutil.rmtree(self.options.cache_dir, ignore_errors=True)

    def close(self) -> None:
        """Wait for what is under way and let the networks go."""
        for network in self._networks.values():
            network.close()
        self._networks.clear()
        self.workers.shutdown(wait=True)

    def _check_device(self, device: str) -> None:
        if device.startswith(("AUTO", "HETERO:", "MULTI:", "BATCH:")):
            return
        there = self.devices
        if not any(device == name or name.startswith(f"{device}.") or device == f"{name}.0" for name in there):
            raise DeviceNotFoundError(
                f"there is no inference device {device} in this machine; there is {', '.join(there)}",
                hint="set vision.device (or the camera's device) to one of these or to AUTO; "
                "a GPU or NPU needs its driver installed and the service's user in the groups render and video",
            )

    def _compile(self, path: Path, device: str, size: tuple[int, int] | None) -> Network:
        settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
        if self.options.precision is not None:
            settings["INFERENCE_PRECISION_HINT"] = self.options.precision
        if self.options.threads is not None and device.startswith("CPU"):
            settings["INFERENCE_NUM_THREADS"] = self.options.threads
        if self.options.cache_dir is not None:
            settings["CACHE_DIR"] = str(self.options.cache_dir)
        try:
            model = self._core.read_model(path)
            # A mapping of OpenVINO's own, which lacks `get`.
            kept = model.rt_info[RT_INFO] if RT_INFO in model.rt_info else {}  # noqa: SIM401
            info = {key: str(value.value) for key, value in kept.items()}
            if size is not None:
                model.reshape([1, size[1], size[0], 3])
            compiled = self._core.compile_model(model, device, settings)
            return Network(self._openvino, compiled, path.stem, info, self.options)
        except RuntimeError as error:
            raise VisionError(
                f"the network {path.name} cannot be loaded on {device}: {str(error).strip().splitlines()[-1]}",
                hint="install the package again if the file is damaged; otherwise try another device, such as CPU",
            ) from error
