"""How fast events are recorded and delivered, each figure beside the bare thing on this machine in the same run.

    python -m scripts.delivery_bench [--events 2000] [--picture-kb 100] [--images base64 binary] [--drain 3000]

- durable records a second, against `write` + `fdatasync` of the same bytes to a file on the same disk;
- acknowledged events a second with a durable commit and delete, against bare python-socketio emits in a window of eight
  that come from memory and go nowhere after their answer;
- time from the record of a live event to its acknowledgement, without and with a backlog that drains beside it, and the
  memory that the drain takes.
Everything goes to the real Node server of `tests/node_backend`, which writes to its disk before it answers.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import statistics
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import structlog

from lpr import wire
from lpr.domain.choices import ImageMode
from lpr.domain.events import Jpeg
from lpr.link.base import LinkSettings
from lpr.link.relay import Delivered, Relay
from lpr.link.socketio_transport import SocketIoTransport
from lpr.outbox.sqlite import SqliteOutbox
from scripts.gate_child import detection
from tests.faults.node import TOKEN, NodeBackend

RECORDERS = 8
"""Records under way at once: what so many cameras would do."""
LIVE_EVERY_S = 0.1


@dataclass
class Figures:
    """Something done `amount` times in `seconds`, and the processor time that this process took for it."""

    amount: int = 0
    seconds: float = 0.0
    cpu_s: float = 0.0

    @property
    def per_second(self) -> float:
        return self.amount / self.seconds

    @property
    def cpu_ms(self) -> float:
        return self.cpu_s / self.amount * 1000


@contextmanager
def timed(amount: int) -> Iterator[Figures]:
    figures, start, cpu = Figures(amount), time.perf_counter(), time.process_time()
    yield figures
    figures.seconds, figures.cpu_s = time.perf_counter() - start, time.process_time() - cpu


class Pictures:
    """Made-up bytes of the right size, which nothing decodes."""

    def __init__(self, kilobytes: float) -> None:
        self.scene, self.crop = Jpeg(os.urandom(int(kilobytes * 1000)), 1280, 720), Jpeg(os.urandom(3_000), 160, 60)


def raw_writes(folder: Path, events: int, pictures: Pictures) -> Figures:
    data = pictures.scene.data + pictures.crop.data
    with (folder / "raw").open("wb", buffering=0) as file, timed(events) as figures:
        for _ in range(events):
            file.write(data)
            os.fdatasync(file.fileno())
    (folder / "raw").unlink()
    return figures


async def record(outbox: SqliteOutbox, events: int, pictures: Pictures, *, link_up: bool = False) -> Figures:
    numbers = iter(range(events))

    async def recorder() -> None:
        for number in numbers:
            await outbox.record(detection(number, pictures.scene, pictures.crop), link_up=link_up)

    with timed(events) as figures:
        await asyncio.gather(*(recorder() for _ in range(RECORDERS)))
    return figures


async def bare_emits(settings: LinkSettings, events: int, pictures: Pictures) -> Figures:
    transport = SocketIoTransport(settings)
    await transport.connect(wire.auth(token=TOKEN, agent_id="bare", boot_id="b", epoch=1, version="0"))
    window = asyncio.Semaphore(settings.limits.window)
    event = detection(1, pictures.scene, pictures.crop)
    with timed(events) as figures:
        for number in range(events):
            await window.acquire()
            body = wire.event_body(event, event_id=str(uuid.uuid4()), agent_id="bare", boot_id="b", sequence=number)
            delivery = wire.Delivery(attempt=1, replayed=False, sent_at=event.occurred_at.wall, age_ms=1.0)
            message = wire.message(
                body, delivery, plate_image=pictures.crop, original_image=pictures.scene, images=settings.images
            )
            await transport.emit(wire.PLATE_DETECTED, message, lambda args: window.release())
        for _ in range(settings.limits.window):
            await window.acquire()
    await transport.close()
    return figures


@asynccontextmanager
async def site(settings: LinkSettings, folder: Path) -> AsyncIterator[tuple[SqliteOutbox, Relay, list[Delivered]]]:
    """An outbox on disk and a relay, not yet running: `asyncio.create_task(relay.run())` starts it."""
    delivered: list[Delivered] = []

    async def obey(name: str, args: object) -> dict[str, object]:
        return {"status": "error"}

    async with await SqliteOutbox.open(folder, agent_id=settings.agent_id, boot_id=settings.boot_id) as outbox:
        relay = Relay(
            outbox,
            settings,
            lambda: SocketIoTransport(settings),
            next_epoch=lambda: 1,
            on_command=obey,
            on_delivered=delivered.append,
        )
        yield outbox, relay, delivered
        await relay.stop(5.0)


async def until_empty(outbox: SqliteOutbox) -> None:
    while (await outbox.status()).pending:  # noqa: ASYNC110 - looked at from outside
        await asyncio.sleep(0.01)


async def full_delivery(settings: LinkSettings, folder: Path, events: int, pictures: Pictures) -> Figures:
    async with site(settings, folder) as (outbox, relay, _):
        running = asyncio.create_task(relay.run())
        while not relay.link_up:  # noqa: ASYNC110 - looked at from outside
            await asyncio.sleep(0.01)
        with timed(events) as figures:
            await record(outbox, events, pictures, link_up=True)
            await until_empty(outbox)
        await relay.stop(5.0)
        await running
    return figures


async def live_latency(settings: LinkSettings, folder: Path, backlog: int, seconds: float, pictures: Pictures) -> str:
    """Ten live events a second; with a backlog, for as long as it takes to drain it."""
    process = psutil.Process()
    async with site(settings, folder) as (outbox, relay, delivered):
        await record(outbox, backlog, pictures)
        before = process.memory_info().rss
        highest, start = before, time.perf_counter()
        running = asyncio.create_task(relay.run())
        while not relay.link_up:  # noqa: ASYNC110 - looked at from outside
            await asyncio.sleep(0.01)
        number = 0
        while time.perf_counter() - start < seconds or (await outbox.status()).pending > 5:
            await outbox.record(detection(number, pictures.scene, pictures.crop), link_up=relay.link_up)
            number += 1
            highest = max(highest, process.memory_info().rss)
            await asyncio.sleep(LIVE_EVERY_S)
        drained_s = time.perf_counter() - start
        await until_empty(outbox)
        await relay.stop(5.0)
        await running
    ages = [done.age_ms for done in delivered if not done.replayed]
    return f"median {statistics.median(ages):.1f} ms over {len(ages)} live events" + (
        f", {backlog} drained in {drained_s:.1f} s, memory +{(highest - before) / 1e6:.0f} MB" if backlog else ""
    )


async def bench(arguments: argparse.Namespace, folder: Path) -> None:
    pictures, backend = Pictures(arguments.picture_kb), NodeBackend(folder / "backend")
    raw = raw_writes(folder, arguments.events, pictures)
    async with await SqliteOutbox.open(folder / "records", agent_id="bench", boot_id="b") as outbox:
        records = await record(outbox, arguments.events, pictures)
    _line("durable records", records, "write + fdatasync", raw)
    await backend.start()
    try:
        for images in arguments.images:
            settings = LinkSettings(
                url=backend.url, agent_id="bench", boot_id="b", version="0", token=lambda: TOKEN,
                images=ImageMode(images),
            )  # fmt: skip
            bare = await bare_emits(settings, arguments.events, pictures)
            full = await full_delivery(settings, folder / f"full-{images}", arguments.events, pictures)
            _line(f"acknowledged, {images}", full, "bare emits", bare)
        print("live, no backlog      ", await live_latency(settings, folder / "calm", 0, 5.0, pictures))
        print("live, with a backlog  ", await live_latency(settings, folder / "drain", arguments.drain, 5.0, pictures))
    finally:
        await backend.stop()


def _line(name: str, ours: Figures, bare_name: str, bare: Figures) -> None:
    print(
        f"{name:22} {ours.per_second:7.0f}/s  {ours.cpu_ms:5.2f} ms CPU   {bare_name} {bare.per_second:7.0f}/s  "
        f"{bare.cpu_ms:5.2f} ms CPU   ratio {ours.per_second / bare.per_second:.2f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=2000)
    parser.add_argument("--picture-kb", type=float, default=100.0)
    parser.add_argument("--images", nargs="+", default=["base64", "binary"], choices=["base64", "binary", "none"])
    parser.add_argument("--drain", type=int, default=3000, help="events of the backlog")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with tempfile.TemporaryDirectory(prefix="delivery-bench-") as folder:
        asyncio.run(bench(parser.parse_args(), Path(folder)))


if __name__ == "__main__":
    main()
