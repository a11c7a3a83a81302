"""What `lpr-agent check` tries: each part of a configuration against the world, in bounded time.

Nothing here changes anything that an agent relies on: no cache is filled, no directory made, no event sent. `check` is
run by root often enough, and what root leaves behind the agent's user cannot write.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TypeAlias

from lpr.agent.settings import detail_of
from lpr.agent.timekeeping import kernel_synchronised
from lpr.cli.backend_checks import check_backend
from lpr.cli.camera_checks import check_camera
from lpr.cli.disk_checks import check_disk, check_log
from lpr.cli.findings import Finding, fail, failed, ok, warn
from lpr.config import AgentConfig, CameraConfig
from lpr.domain.clock import EARLIEST_BELIEVABLE, SystemClock
from lpr.domain.errors import LprError
from lpr.domain.frame import Frame
from lpr.outbox.files import lock_holder
from lpr.vision.engine import load_openvino
from lpr.vision.golden import load_golden
from lpr.vision.vision import Vision, VisionOptions

CHECK_WITHIN_S = 25.0
"""No single check takes longer, whatever hangs."""


Check: TypeAlias = tuple[str, Callable[[], Awaitable[Sequence[Finding]]]]


def checks_of(config: AgentConfig) -> list[Check]:
    """Every check of `config`, by topic, in the order in which they are shown."""
    cameras: list[Check] = [(f"camera {camera.id}", partial(check_camera, camera)) for camera in config.cameras]
    return [
        ("clock", check_clock),
        ("disk", lambda: asyncio.to_thread(check_disk, config)),
        ("log", lambda: asyncio.to_thread(check_log, config)),
        ("page", lambda: asyncio.to_thread(check_port, config)),
        ("back-end", lambda: check_backend(config)),
        *cameras,
        ("vision", lambda: check_vision(config)),
    ]


async def run_checks(checks: Sequence[Check], *, within_s: float = CHECK_WITHIN_S) -> AsyncIterator[Sequence[Finding]]:
    """The findings of every check, all at work at once, handed out in their order."""
    tasks = [asyncio.create_task(_bounded(topic, check, within_s)) for topic, check in checks]
    try:
        for task in tasks:
            yield await task
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _bounded(topic: str, check: Callable[[], Awaitable[Sequence[Finding]]], within_s: float) -> Sequence[Finding]:
    try:
        async with asyncio.timeout(within_s):
            return await check()
    except TimeoutError:
        return [fail(topic, f"gave no result within {within_s:g} s")]
    except LprError as error:
        return [failed(topic, error)]


# Clock and page


async def check_clock() -> Sequence[Finding]:
    """Whether the time that events will carry is right."""
    now = datetime.now(UTC)
    shown = now.astimezone().isoformat(sep=" ", timespec="seconds")
    hint = "timedatectl set-ntp true; on a closed network point systemd-timesyncd or chrony at the router"
    if now < EARLIEST_BELIEVABLE:
        return [fail("clock", f"it is {shown}, which cannot be: the clock was never set", hint)]
    match kernel_synchronised():
        case True:
            return [ok("clock", f"{shown}, kept by a time service")]
        case False:
            return [warn("clock", f"{shown}, and no time service keeps it", hint)]
        case _:
            return [warn("clock", f"{shown}; whether a time service keeps it cannot be asked here (a container?)")]


def check_port(config: AgentConfig) -> Sequence[Finding]:
    """Whether the local page can be served."""
    if not config.web.enabled:
        return [ok("page", "switched off")]
    host, port = config.web.host, config.web.port
    where = f"http://{host}:{port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if lock_holder(config.agent.data_dir) is not None:
            return [ok("page", f"{where}, taken by the agent that is at work")]
        hint = (
            f"`ss -ltnp 'sport = {port}'` tells who has it; or set web.port"
            if error.errno == errno.EADDRINUSE
            else "set web.host"
        )
        return [fail("page", f"{where} cannot be served: {error.strerror}", hint)]
    if host in ("127.0.0.1", "::1", "localhost"):
        return [ok("page", where)]
    hint = "anyone who reaches this machine sees the cameras; web.host: 127.0.0.1 keeps it here"
    return [warn("page", f"{where} is open to the network, without a password", hint)]


# Networks and devices


async def check_vision(config: AgentConfig) -> Sequence[Finding]:
    """The inference devices that are there, the networks on those that are configured, and whether they keep up."""
    # The import takes a second in which the other checks would stand still.
    await asyncio.to_thread(load_openvino)
    async with Vision(VisionOptions(models=config.vision.model_dir)) as vision:
        names = [f"{device} ({vision.engine.full_name(device)})" for device in vision.engine.devices]
        findings = [ok("device", f"OpenVINO has {', '.join(names)}")]
        wanted: dict[tuple[str, str], list[CameraConfig]] = {}
        for camera in config.cameras:
            wanted.setdefault((config.device_of(camera), detail_of(config, camera)), []).append(camera)
        return findings + [await _networks(vision, config, cameras) for cameras in wanted.values()]


async def _networks(vision: Vision, config: AgentConfig, cameras: Sequence[CameraConfig]) -> Finding:
    device, detail = config.device_of(cameras[0]), detail_of(config, cameras[0])
    try:
        reader = await vision.reader(device, detail)
    except LprError as error:
        return failed("models", error)
    golden, clock = load_golden(config.vision.model_dir), SystemClock()
    took_ms = []
    for number in range(6):
        started = time.perf_counter()
        await reader.read(Frame("check", number, golden.image, clock.now()))
        took_ms.append((time.perf_counter() - started) * 1000)
    # The first one warms up.
    median_ms, wanted = statistics.median(took_ms[1:]), sum(camera.fps for camera in cameras)
    executing = ", ".join(dict.fromkeys(name for names in vision.devices_of(reader).values() for name in names))
    words = f"self-test passed on {device}" + (f" (runs on {executing})" if executing != device else "")
    words += f", {detail.value} input: {median_ms:.1f} ms a frame, {wanted:g} frames a second wanted"
    if wanted * median_ms > 800:
        return warn("models", words, "too slow for these cameras: lower fps, draw a roi, or use a GPU")
    return ok("models", words)
