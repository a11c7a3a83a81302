"""A gate without cameras, for `kill_storm` and `fault_bench`: records events as fast as told and delivers them.

    python -m scripts.gate_child DATA_DIR URL --token TOKEN --rate 50 [--picture-kb 100] [--images binary]

Writes a line `R <sequence> <eventId>` for every event whose record has returned, and nothing before that. When a line
comes on its standard input, or it is closed, it records no more, delivers what waits, writes `D` and ends.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import logging
import os
import sys
import uuid
from pathlib import Path

import structlog

from lpr.domain.choices import ImageMode
from lpr.domain.clock import SystemClock
from lpr.domain.events import Jpeg, PlateDetected
from lpr.link.base import LinkSettings
from lpr.link.files import EpochFile
from lpr.link.relay import Relay
from lpr.link.socketio_transport import transports
from lpr.outbox.sqlite import SqliteOutbox
from lpr.testing import events

RECORDERS = 4
"""Cameras that record at once."""


def detection(number: int, picture: Jpeg, crop: Jpeg) -> PlateDetected:
    """One vehicle at the gate; its pictures are made-up bytes of the right size, which nothing decodes."""
    plate = f"29A-{number % 100_000 // 100:03d}.{number % 100:02d}"
    now = SystemClock().now()
    return events.detection(plate, at=now, plate_image=crop, original_image=picture, passage_id=f"passage-{number}")


async def record_for_ever(outbox: SqliteOutbox, relay: Relay, rate: float, picture_bytes: int) -> None:
    if rate == 0:
        return
    picture, crop = Jpeg(os.urandom(picture_bytes), 1280, 720), Jpeg(os.urandom(3_000), 160, 60)
    numbers = itertools.count(1)

    async def record() -> None:
        while True:
            ticket = await outbox.record(detection(next(numbers), picture, crop), link_up=relay.link_up)
            sys.stdout.write(f"R {ticket.sequence} {ticket.event_id}\n")
            sys.stdout.flush()
            await asyncio.sleep(RECORDERS / rate)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(RECORDERS):
            tasks.create_task(record())


async def told_to_end() -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.readline()


async def run(arguments: argparse.Namespace) -> None:
    arguments.data_dir.mkdir(parents=True, exist_ok=True)
    boot_id = str(uuid.uuid4())
    settings = LinkSettings(
        url=arguments.url,
        agent_id="gate-child",
        boot_id=boot_id,
        version="0",
        token=lambda: arguments.token,
        images=ImageMode(arguments.images),
    )

    async def obey(name: str, args: object) -> dict[str, object]:
        return {"status": "error", "message": "this gate obeys nobody"}

    async with await SqliteOutbox.open(arguments.data_dir, agent_id="gate-child", boot_id=boot_id) as outbox:
        epochs = EpochFile(arguments.data_dir / "epoch.json")
        relay = Relay(outbox, settings, transports(settings), next_epoch=epochs.next, on_command=obey)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(relay.run())
            recording = tasks.create_task(
                record_for_ever(outbox, relay, arguments.rate, int(arguments.picture_kb * 1000))
            )
            await told_to_end()
            recording.cancel()
            await asyncio.wait([recording])
            await relay.drained()
            await relay.stop(5.0)
    sys.stdout.write("D\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("url")
    parser.add_argument("--token", default="")
    parser.add_argument("--rate", type=float, default=50.0, help="events a second; 0 records none")
    parser.add_argument("--picture-kb", type=float, default=100.0)
    parser.add_argument("--images", default="base64", choices=[mode.value for mode in ImageMode])
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
