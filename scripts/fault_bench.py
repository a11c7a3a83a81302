"""Every way a link can break, against the real Node server, with the real deadlines; a line of a table for each.

    python -m scripts.fault_bench [--only NAME …] [--rate 10] [--picture-kb 30] [--times 1]

The agent's own outbox (on disk) and link deliver through a TCP proxy to `tests/node_backend` while events are recorded
at a steady rate; the fault strikes, lasts, ends; recording stops; everything must then arrive. Columns: recorded; sent,
repeats included; stored; lost (must be 0); stored twice, under one id or two (must be 0); the worst over `--times` of
the seconds from the fault's beginning until the link was known to be dead (where it died; must be below 15), and from
its end to the first answer (must be below 5 where a server was killed). Exit code 1 where anything is not so.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import logging
import os
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import structlog
from rich.console import Console
from rich.table import Table

from lpr.domain.events import Jpeg
from lpr.link.base import LinkSettings
from lpr.link.files import EpochFile
from lpr.link.relay import Relay
from lpr.link.socketio_transport import transports
from lpr.outbox.sqlite import SqliteOutbox
from scripts.gate_child import detection
from tests.faults.node import TOKEN, NodeBackend
from tests.faults.proxy import TcpProxy

DRAIN_S = 180.0
"""For everything to arrive after the fault."""
FOUND_WITHIN_S, RECOVERED_WITHIN_S = 15.0, 5.0


@dataclass
class Scene:
    """What a fault may reach for."""

    backend: NodeBackend
    proxy: TcpProxy
    relay: Relay
    idle: bool = False
    """Set by a fault that wants no events while it lasts."""
    over: bool = False
    """No more events."""
    struck_at: float = 0.0
    """When it began to hurt, for a fault that prepares itself first."""


Fault = Callable[[Scene], Awaitable[None]]


async def killed(scene: Scene) -> None:
    await scene.backend.kill()
    await asyncio.sleep(3.0)
    await scene.backend.start()


async def forgets_everything(scene: Scene) -> None:
    await scene.backend.forget()
    await killed(scene)


async def frozen_while_sending(scene: Scene) -> None:
    scene.backend.freeze()
    await asyncio.sleep(20.0)
    scene.backend.thaw()


async def frozen_while_idle(scene: Scene) -> None:
    scene.idle = True
    await asyncio.sleep(7.0)
    scene.struck_at = time.monotonic()
    scene.backend.freeze()
    await asyncio.sleep(20.0)
    scene.backend.thaw()
    scene.idle = False


def answering(seconds: float, kind: str, **details: object) -> Fault:
    async def fault(scene: Scene) -> None:
        await scene.backend.fault(kind, **details)
        await asyncio.sleep(seconds)
        await scene.backend.fault(None)

    return fault


async def kicks(scene: Scene) -> None:
    for _ in range(5):
        await scene.backend.kick()
        await asyncio.sleep(2.0)


async def refuses_the_token(scene: Scene) -> None:
    await scene.backend.settings(token=TOKEN[::-1])
    await scene.backend.kick()
    await asyncio.sleep(8.0)
    await scene.backend.settings(token=TOKEN)


async def blackhole(scene: Scene) -> None:
    scene.proxy.blackhole()
    await asyncio.sleep(20.0)
    scene.proxy.resume()


async def accepts_and_stays_mute(scene: Scene) -> None:
    scene.proxy.mute()
    await asyncio.sleep(20.0)
    scene.proxy.resume()


async def refuses_the_upgrade(scene: Scene) -> None:
    scene.proxy.answer("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
    await asyncio.sleep(8.0)
    scene.proxy.resume()


async def turns_away(scene: Scene) -> None:
    scene.proxy.refuse()
    await asyncio.sleep(8.0)
    scene.proxy.resume()


async def resets(scene: Scene) -> None:
    for _ in range(6):
        await asyncio.sleep(3.0)
        scene.proxy.cut()


async def swallowed_answers(scene: Scene) -> None:
    scene.proxy.drop_answers = True
    await asyncio.sleep(20.0)
    scene.proxy.drop_answers = False


async def thin_line(scene: Scene) -> None:
    scene.proxy.up_rate, scene.proxy.delay_s = 8_000.0, 0.3
    await asyncio.sleep(30.0)
    scene.proxy.up_rate, scene.proxy.delay_s = None, 0.0


FAULTS: dict[str, Fault] = {
    "server killed -9 and restarted": killed,
    "server restarted with an emptied memory": forgets_everything,
    "server frozen while sending": frozen_while_sending,
    "server frozen while idle": frozen_while_idle,
    "answers after 2 s": answering(15.0, "slow", ms=2000),
    "silent": answering(20.0, "silent"),
    "puts everything off": answering(8.0, "retry", afterMs=500),
    "kicks": kicks,
    "cuts the connection at an event": answering(6.0, "terminate", count=5),
    "refuses the token for a while": refuses_the_token,
    "refuses the upgrade": refuses_the_upgrade,
    "accepts and stays mute": accepts_and_stays_mute,
    "network swallows everything": blackhole,
    "closes during the handshake": turns_away,
    "reset every 3 s": resets,
    "1 % of answers lost": answering(20.0, "loseAck", share=0.01),
    "answers swallowed by the network": swallowed_answers,
    "answers for the wrong event": answering(8.0, "wrongEvent"),
    "junk": answering(5.0, "junk", count=3),
    "uplink of 64 kbit/s, 300 ms each way": thin_line,
}

RESTARTS = (killed, forgets_everything)


@dataclass
class Result:
    recorded: int = 0
    sent: int = 0
    stored: int = 0
    lost: int = 0
    twice: int = 0
    found_s: float | None = None
    recovered_s: float | None = None
    drained: bool = False

    def is_good(self, fault: Fault) -> bool:
        """Nothing lost, nothing twice, the dead link found and the restarted server used in time."""
        in_time = self.recovered_s is not None and self.recovered_s < RECOVERED_WITHIN_S
        found = self.found_s is None or self.found_s < FOUND_WITHIN_S
        return self.drained and not self.lost and not self.twice and found and (in_time or fault not in RESTARTS)

    def add(self, other: Result) -> None:
        """Take in another run of the same fault: amounts add up, times are the worst."""
        for name in ("recorded", "sent", "stored", "lost", "twice"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.drained &= other.drained
        self.found_s = _worst(self.found_s, other.found_s)
        self.recovered_s = _worst(self.recovered_s, other.recovered_s)


def _worst(one: float | None, other: float | None) -> float | None:
    return max((each for each in (one, other) if each is not None), default=None)


async def measure(fault: Fault, folder: Path, arguments: argparse.Namespace) -> Result:
    backend, result = NodeBackend(folder / "backend"), Result()
    await backend.start()
    boot_id = str(uuid.uuid4())
    try:
        async with (
            TcpProxy(backend.port) as proxy,
            await SqliteOutbox.open(folder / "agent", agent_id="bench", boot_id=boot_id) as outbox,
        ):
            relay = make_relay(outbox, proxy.url, boot_id, folder)
            running = asyncio.create_task(relay.run())
            scene = Scene(backend, proxy, relay)
            ids: list[str] = []
            recording = asyncio.create_task(record(outbox, scene, ids, arguments))
            await until(lambda: relay.state().acked >= 10, 30.0)
            finding = asyncio.create_task(moment_when(lambda: not relay.link_up, 40.0))
            scene.struck_at = time.monotonic()
            await fault(scene)
            result.recovered_s = await time_until(more_acked(relay), 60.0)
            finding.cancel()
            [found] = await asyncio.gather(finding, return_exceptions=True)
            result.found_s = found - scene.struck_at if isinstance(found, float) else None
            scene.over = True
            await recording
            result.drained = await drained(relay)
            await relay.stop(5.0)
            await running
            result.sent = relay.state().sent
            count(result, ids, backend)
    finally:
        await backend.stop()
    return result


def make_relay(outbox: SqliteOutbox, url: str, boot_id: str, folder: Path) -> Relay:
    settings = LinkSettings(url=url, agent_id="bench", boot_id=boot_id, version="0", token=lambda: TOKEN)

    async def obey(name: str, args: object) -> dict[str, object]:
        return {"status": "error"}

    return Relay(
        outbox,
        settings,
        transports(settings),
        next_epoch=EpochFile(folder / "epoch.json").next,
        on_command=obey,
    )


async def record(outbox: SqliteOutbox, scene: Scene, ids: list[str], arguments: argparse.Namespace) -> None:
    picture, crop = Jpeg(os.urandom(int(arguments.picture_kb * 1000)), 1280, 720), Jpeg(os.urandom(2_000), 160, 60)
    for number in itertools.count():
        if scene.over:
            return
        if not scene.idle:
            ticket = await outbox.record(detection(number, picture, crop), link_up=scene.relay.link_up)
            ids.append(ticket.event_id)
        await asyncio.sleep(1.0 / arguments.rate)


def more_acked(relay: Relay) -> Callable[[], bool]:
    before = relay.state().acked
    return lambda: relay.state().acked > before


async def time_until(reached: Callable[[], bool], patience_s: float) -> float | None:
    start = time.monotonic()
    moment = await moment_when(reached, patience_s)
    return None if moment is None else moment - start


async def moment_when(reached: Callable[[], bool], patience_s: float) -> float | None:
    return time.monotonic() if await until(reached, patience_s) else None


async def until(reached: Callable[[], bool], patience_s: float) -> bool:
    start = time.monotonic()
    while not reached():
        if time.monotonic() - start > patience_s:
            return False
        await asyncio.sleep(0.005)
    return True


async def drained(relay: Relay) -> bool:
    try:
        async with asyncio.timeout(DRAIN_S):
            await relay.drained()
    except TimeoutError:
        return False
    return True


def count(result: Result, ids: list[str], backend: NodeBackend) -> None:
    stored = [event for event in backend.stored() if event["type"] == "license_plate_detected"]
    times = Counter(event["eventId"] for event in stored)
    sequences = Counter(event["sequence"] for event in stored)
    result.recorded, result.stored = len(ids), len(stored)
    result.lost = sum(event_id not in times for event_id in ids)
    result.twice = max(sum(n - 1 for n in times.values()), sum(n - 1 for n in sequences.values()))


async def bench(arguments: argparse.Namespace) -> bool:
    table = Table(title="Delivery under faults", caption=f"{arguments.rate:g} events/s of {arguments.picture_kb:g} KB")
    for name in ("fault", "recorded", "sent", "stored", "lost", "twice", "found s", "first ack s"):
        table.add_column(name, justify="left" if name == "fault" else "right")
    good = True
    for name, fault in FAULTS.items():
        if arguments.only and not any(word in name for word in arguments.only):
            continue
        result = Result(drained=True)
        for _ in range(arguments.times):
            with tempfile.TemporaryDirectory(prefix="fault-bench-") as folder:
                result.add(await measure(fault, Path(folder), arguments))
        good &= result.is_good(fault)
        print(f"{'ok  ' if result.is_good(fault) else 'FAIL'} {name}", flush=True)
        figures = (result.recorded, result.sent, result.stored, result.lost, result.twice)
        table.add_row(name, *map(str, figures), _seconds(result.found_s), _seconds(result.recovered_s))
    Console(width=110).print(table)
    return good


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[], help="words in the names of the faults to try")
    parser.add_argument("--rate", type=float, default=10.0, help="events a second")
    parser.add_argument("--picture-kb", type=float, default=30.0)
    parser.add_argument("--times", type=int, default=1, help="runs of each fault; times are the worst of them")
    parser.add_argument("--verbose", action="store_true", help="show the link's warnings")
    arguments = parser.parse_args()
    level = logging.WARNING if arguments.verbose else logging.ERROR
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(level))
    sys.exit(0 if asyncio.run(bench(arguments)) else 1)


if __name__ == "__main__":
    main()
