"""A queue at work, for the power-cut tests: everything that the agent keeps on disk, and a word when it is kept.

    python -m tests.faults.power_child DATA_DIR BOOT_ID SEED EVENTS

What it says, each line in one write, right after the call has returned (or, with a small letter, right before it):
R recorded, S settled, B buried, L let wait again; E a connection's number, C a command's id, K a change of the
configuration that is kept.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from pathlib import Path

import structlog

from lpr.config import RuntimeOverrides
from lpr.link.files import EpochFile, SeenCommands
from lpr.outbox import schema, writer
from lpr.outbox.limits import OutboxLimits
from lpr.outbox.sqlite import SqliteOutbox
from tests.outbox.helpers import detection, status

PLATE_BYTES, ORIGINAL_BYTES = 1_500, 15_000
LANES = 3


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


class Work:
    """One run of the agent's disk."""

    def __init__(self, data_dir: Path, outbox: SqliteOutbox, boot_id: str, dice: random.Random) -> None:
        self.data_dir, self.outbox, self.boot_id, self.dice = data_dir, outbox, boot_id, dice
        self.waiting: list[str] = []
        self.dead: list[str] = []
        self.done = asyncio.Event()

    async def record(self, lane: int, count: int) -> None:
        for n in range(count):
            name = f"{self.boot_id}L{lane}N{n}"
            event = detection(name, plate_bytes=PLATE_BYTES, original_bytes=ORIGINAL_BYTES)
            ticket = await self.outbox.record(event, link_up=self.dice.random() < 0.5)
            say("R", ticket.sequence, ticket.event_id, name)
            self.waiting.append(ticket.event_id)
            if self.dice.random() < 0.1:
                await asyncio.sleep(0.01)

    async def deliver(self) -> None:
        while not self.done.is_set():
            await asyncio.sleep(self.dice.uniform(0.0, 0.02))
            some = self._take(self.waiting, self.dice.randint(1, 6))
            for event_id in some:
                await self.outbox.load(event_id)
                await self.outbox.count_attempt(event_id)
            if some and self.dice.random() < 0.2:
                say("b", some[0])
                await self.outbox.bury(some[0], code="BAD", reason="no")
                say("B", some[0])
                self.dead.append(some.pop(0))
            if some:
                say("s", *some)
                await self.outbox.settle(some)
                say("S", *some)
            if self.dead and self.dice.random() < 0.1:
                say("l", self.dead[0])
                await self.outbox.retry_dead(self.dead[:1])
                say("L", self.dead[0])
                self.waiting.append(self.dead.pop(0))

    async def keep_the_rest(self) -> None:
        epochs, seen = EpochFile(self.data_dir / "epoch.json"), SeenCommands(self.data_dir / "commands.json")
        overrides = RuntimeOverrides(self.data_dir)
        number = 0
        while not self.done.is_set():
            await asyncio.sleep(0.03)
            number += 1
            say("E", await epochs.next())
            command_id = f"{self.boot_id}-{number}"
            await seen.add(command_id)
            say("C", command_id)
            say("k", command_id)
            await asyncio.to_thread(overrides.keep, {"weather": {"condition": command_id}})
            say("K", command_id)
            await self.outbox.put_status(status(number))

    def _take(self, names: list[str], count: int) -> list[str]:
        self.dice.shuffle(names)
        some, names[:] = names[:count], names[count:]
        return some


async def main(data_dir: Path, boot_id: str, seed: int, events: int) -> None:
    # Everything that happens seldom happens often: the log folded into the database, pages given back.
    schema.FOLD_PAGES, schema.WAL_PAGES, writer.TICK_S = 40, 60, 0.05
    writer.SLACK_PAGES, writer.SLACK_BYTES = 8, 40_000
    outbox = await SqliteOutbox.open(data_dir, agent_id="gate", boot_id=boot_id, limits=OutboxLimits(min_free_disk=0))
    work = Work(data_dir, outbox, boot_id, random.Random(seed))
    beside = [asyncio.create_task(work.deliver()), asyncio.create_task(work.keep_the_rest())]
    await asyncio.gather(*(work.record(lane, events // LANES) for lane in range(LANES)))
    work.done.set()
    await asyncio.gather(*beside)
    await outbox.close()


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
