"""What `lpr-agent check` tries: each part of a configuration against the world, in bounded time.

Nothing here changes anything that an agent relies on: no cache is filled, no directory made, no event sent. `check` is
run by root often enough, and what root leaves behind the agent's user cannot write.
"""

from __future__ import annotations

import asyncio
import errno
import os
import pwd
import shutil
import socket
import statistics
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from lpr import wire
from lpr.agent.settings import detail_of, link_settings
from lpr.agent.timekeeping import EARLIEST_BELIEVABLE, kernel_synchronised
from lpr.cli.camera_checks import check_camera
from lpr.cli.findings import Finding, fail, failed, ok, warn
from lpr.config import AgentConfig, CameraConfig, format_size, readable_size
from lpr.domain.clock import SystemClock
from lpr.domain.errors import LinkError, LprError
from lpr.domain.frame import Frame
from lpr.link.base import LinkSettings
from lpr.link.explain import explain
from lpr.link.socketio_transport import SocketIoTransport, tls_context
from lpr.outbox.files import lock_holder
from lpr.vision.engine import load_openvino
from lpr.vision.golden import load_golden
from lpr.vision.vision import Vision, VisionOptions

CHECK_WITHIN_S = 25.0
"""No single check takes longer, whatever hangs."""
HELLO_WITHIN_S = 2.0
SLOW_SYNC_MS = 50.0
SYNC_BYTES = 100_000
"""About one event with its pictures."""
SKEW_S = 5.0
CERTIFICATE_WARNING_DAYS = 14


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


# Clock, disk, page


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


def check_disk(config: AgentConfig) -> Sequence[Finding]:
    """Whether the queue can be written, how much it may grow, and how long a durable write takes."""
    data_dir = config.agent.data_dir
    # Not `Path.exists`: that raises where not even looking is allowed.
    place = next(folder for folder in (data_dir, *data_dir.parents) if os.path.exists(folder))
    if not place.is_dir():
        return [fail("disk", f"{place} is no folder", "set agent.data_dir to one")]
    holder = lock_holder(data_dir)
    findings = (
        [ok("disk", f"an agent is at work in {data_dir} (process {holder or '?'})")] if holder is not None else []
    )
    if os.statvfs(place).f_flag & os.ST_RDONLY:
        hint = (
            "mount it writable, or move agent.data_dir; a disk with errors turns read-only by itself: look at `dmesg`"
        )
        return [*findings, fail("disk", f"{place} is on a file system that is mounted read-only", hint)]
    if not os.access(place, os.W_OK | os.X_OK):
        return [*findings, fail("disk", f"{place} cannot be written by user id {os.getuid()}", _own(data_dir))]
    if place != data_dir:
        findings.append(warn("disk", f"{data_dir} is not there yet; the agent will make it", _own(data_dir)))
    else:
        findings += _owners(data_dir)
    return [*findings, *_kind_of_disk(place), _room(config, place), _durability(place)]


def _own(folder: Path) -> str:
    return f"sudo install -d -o USER {folder}, USER being the one that runs the agent"


def _owners(data_dir: Path) -> Sequence[Finding]:
    """Whether the agent's user can write what is there: who has run the agent as root once has left root's files."""
    owner, root = data_dir.stat().st_uid, os.getuid() == 0
    if root and owner == 0:
        return []
    strange = sorted(_strange_files(data_dir, owner) if root else _closed_files(data_dir))
    if strange:
        shown = ", ".join(strange[:3]) + (f" and {len(strange) - 3} more" * (len(strange) > 3))
        whose = f"belongs to {user_name(owner)}, and not all that is in it" if root else "holds what you cannot write"
        hint = f"sudo chown -R {user_name(owner) if root else 'USER'} {data_dir}"
        return [fail("disk", f"{data_dir} {whose}: {shown}", hint)]
    if root:
        return [ok("disk", f"{data_dir} belongs to {user_name(owner)}; you are root, who may write anywhere")]
    return []


def _strange_files(folder: Path, owner: int) -> Iterator[str]:
    """What belongs to another one than `owner`. An agent at work may take away what has just been listed."""
    for name in os.listdir(folder):
        with suppress(FileNotFoundError):
            if (folder / name).lstat().st_uid != owner:
                yield name


def _closed_files(folder: Path) -> Iterator[str]:
    """What this user cannot write; nothing where the folder cannot be listed."""
    with suppress(PermissionError):
        for name in os.listdir(folder):
            if os.path.exists(folder / name) and not os.access(folder / name, os.W_OK):
                yield name


def user_name(user_id: int) -> str:
    """A user's name as `chown` takes it, or its number where it has none."""
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return str(user_id)


def _kind_of_disk(place: Path) -> Sequence[Finding]:
    kind = filesystem_of(place)
    if kind in ("tmpfs", "ramfs"):
        return [
            fail("disk", f"{place} is in memory ({kind}): a power cut loses the queue", "move agent.data_dir to a disk")
        ]
    if kind in ("overlay", "aufs"):
        hint = "mount a volume there: -v lpr-data:/var/lib/lpr-agent"
        return [warn("disk", f"{place} is in the container's own layer, and goes with the container", hint)]
    if kind in ("nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p"):
        hint = "move agent.data_dir to a disk of this machine"
        return [
            warn("disk", f"{place} is on a network file system ({kind}), which may lose what it said was written", hint)
        ]
    return []


def filesystem_of(place: Path) -> str:
    """The kind of file system that `place` is on, as the kernel calls it; empty where it does not tell."""
    try:
        lines = Path("/proc/self/mounts").read_text("utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""
    found = ("", "")
    for line in lines:
        _, point, kind, *_ = line.split(" ")
        point = point.encode().decode("unicode_escape")
        if place.resolve().is_relative_to(point) and len(point) >= len(found[0]):
            found = (point, kind)
    return found[1]


def _room(config: AgentConfig, place: Path) -> Finding:
    free, floor, most = shutil.disk_usage(place).free, config.outbox.min_free_disk, config.outbox.max_bytes
    if free <= floor:
        hint = "make room, or lower outbox.min_free_disk"
        return fail("disk", f"{readable_size(free)} free, less than outbox.min_free_disk ({format_size(floor)})", hint)
    if free - floor < most:
        hint = "make room, or lower outbox.max_bytes so that it promises no more than there is"
        return warn(
            "disk", f"{readable_size(free)} free: the queue can grow to {readable_size(free - floor)} only", hint
        )
    return ok("disk", f"{readable_size(free)} free, room for the whole queue ({format_size(most)})")


def _durability(place: Path) -> Finding:
    took_ms = []
    try:
        with tempfile.TemporaryFile(dir=place, prefix=".lpr-check-") as file:
            for _ in range(7):
                started = time.perf_counter()
                file.write(os.urandom(SYNC_BYTES))
                file.flush()
                os.fdatasync(file.fileno())
                took_ms.append((time.perf_counter() - started) * 1000)
    except OSError as error:
        hint = "make room" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "look for disk errors with `dmesg`"
        return fail("disk", f"a write in {place} failed: {error.strerror}", hint)
    median_ms = statistics.median(took_ms)
    message = f"a durable write of one event takes {median_ms:.1f} ms ({1000 / median_ms:.0f} a second)"
    if median_ms > SLOW_SYNC_MS:
        return warn("disk", message, "a slow or worn disk; look at `smartctl -a`, and at what else writes")
    return ok("disk", message)


def check_log(config: AgentConfig) -> Sequence[Finding]:
    """Whether the log's file can be written, where there is to be one."""
    file = config.log.file
    if file is None:
        return []
    folder = file.parent
    if not os.path.isdir(folder):
        return [fail("log", f"log.file: there is no folder {folder}", _own(folder))]
    if os.path.isdir(file):
        return [fail("log", f"log.file: {file} is a folder", "name a file in it")]
    if not os.access(file if os.path.exists(file) else folder, os.W_OK):
        hint = f"sudo chown -R USER {folder}, USER being the one that runs the agent"
        return [fail("log", f"log.file: {file} cannot be written by user id {os.getuid()}", hint)]
    return [ok("log", str(file))]


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


# Back-end


async def check_backend(config: AgentConfig) -> Sequence[Finding]:
    """Name, TCP, certificate, namespace, token and hello, each as far as the one before it carried."""
    settings = link_settings(config, boot_id=str(uuid.uuid4()))
    findings: list[Finding] = []
    secure = settings.url.lower().startswith("https")
    try:
        if secure:
            # What is wrong with our own files is told though the back-end may be away.
            await asyncio.to_thread(tls_context, settings)
        findings.append(await _reach(settings))
        if secure:
            findings.append(await _certificate(settings))
        findings += await _join(settings)
    except LinkError as error:
        findings.append(failed("back-end", error))
    return findings


def _host_and_port(settings: LinkSettings) -> tuple[str, int]:
    parts = urlsplit(settings.url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


async def _reach(settings: LinkSettings) -> Finding:
    host, port = _host_and_port(settings)
    started = time.perf_counter()
    try:
        async with asyncio.timeout(settings.deadlines.connect_s):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        raise LinkError(
            f"{host}:{port} does not answer", hint="a firewall drops what is sent there, or the machine is off"
        ) from None
    except OSError as error:
        raise explain(error, settings) from error
    took_ms = (time.perf_counter() - started) * 1000
    address = writer.get_extra_info("peername")[0]
    await _close(writer)
    return ok("back-end", f"{host}:{port} ({address}) answers after {took_ms:.0f} ms")


async def _certificate(settings: LinkSettings) -> Finding:
    host, port = _host_and_port(settings)
    try:
        async with asyncio.timeout(settings.deadlines.connect_s):
            context = await asyncio.to_thread(tls_context, settings)
            _, writer = await asyncio.open_connection(host, port, ssl=context)
    except TimeoutError:
        raise LinkError(
            f"{host}:{port} is silent instead of speaking TLS", hint="does this port speak https?"
        ) from None
    except OSError as error:
        raise explain(error, settings) from error
    ends = str(writer.get_extra_info("peercert")["notAfter"])
    await _close(writer)
    left = datetime.strptime(ends, "%b %d %H:%M:%S %Y %Z").replace(tzinfo=UTC) - datetime.now(UTC)
    message = f"certificate trusted, valid for another {left.days} days"
    if left.days < CERTIFICATE_WARNING_DAYS:
        return warn("back-end", message, "have it renewed there")
    return ok("back-end", message)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(1):
            await writer.wait_closed()


async def _join(settings: LinkSettings) -> Sequence[Finding]:
    """Connect as the agent does, with epoch 0: an agent at work stays the live one for the back-end."""
    transport = SocketIoTransport(settings)
    token = settings.token()
    names = {"agent_id": settings.agent_id, "version": settings.version}
    try:
        await transport.connect(wire.auth(token=token, boot_id=settings.boot_id, epoch=0, **names))
        answer = await _hello(transport, wire.hello(**names))
    finally:
        await transport.close()
    entered = f"namespace {settings.namespace} entered {'with' if token else 'without'} a token"
    if answer is None:
        return [ok("back-end", f"{entered}; it does not answer agent_hello, which is allowed")]
    findings = [ok("back-end", f"{entered}; it answers agent_hello")]
    findings += [warn("back-end", f"in its answer to agent_hello {problem}") for problem in answer.problems]
    if answer.server_time is not None:
        away_s = (answer.server_time - datetime.now(UTC)).total_seconds()
        if abs(away_s) > SKEW_S:
            words = f"its clock is {abs(away_s):.0f} s {'ahead of' if away_s > 0 else 'behind'} this machine's"
            findings.append(warn("back-end", words, "one of the two is wrong; see the clock's line"))
    return findings


async def _hello(transport: SocketIoTransport, hello: Mapping[str, Any]) -> wire.HelloAnswer | None:
    """The back-end's answer to `agent_hello`, or None where it gives none in time."""
    answered: asyncio.Future[Sequence[object]] = asyncio.get_running_loop().create_future()

    def answer(arguments: Sequence[object]) -> None:
        if not answered.done():
            answered.set_result(arguments)

    await transport.emit("agent_hello", hello, answer)
    await asyncio.wait([answered], timeout=HELLO_WITHIN_S)
    return wire.parse_hello_answer(answered.result()) if answered.done() else None


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
