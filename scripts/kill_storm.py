"""Agent and back-end killed with -9 at random moments, again and again; then everything is counted.

    python -m scripts.kill_storm [--kills 200] [--events 20000] [--rate 150]

The agent is `scripts.gate_child` (the real outbox on disk, the real link), the back-end the real Node server of
`tests/node_backend`. Every event whose record had returned before a kill must be stored by the back-end exactly once;
nothing may be left behind; once the agent has had nothing to do, the disk must be as empty as before. Exit code 1 where
it is not so.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from lpr.outbox.files import RESERVE
from tests.faults.node import TOKEN, NodeBackend

ROOT = Path(__file__).parent.parent
PATIENCE_S = 600.0
"""For the last agent to deliver what waits."""
IDLE_S = 120.0
"""For an agent that has nothing to do to give its disk space back, which it does in small steps."""


@dataclass
class Books:
    """What agents reported as recorded, read by a thread from their pipes."""

    recorded: dict[str, int] = field(default_factory=dict)
    done: threading.Event = field(default_factory=threading.Event)


class Gate:
    """One data directory and, one after another, the agents that work in it."""

    def __init__(self, folder: Path, url: str, arguments: argparse.Namespace) -> None:
        self.folder, self.url, self.arguments = folder, url, arguments
        self.books = Books()
        self.process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def start(self, rate: float | None = None) -> None:
        command = [sys.executable, "-m", "scripts.gate_child", str(self.folder), self.url, "--token", TOKEN]
        command += [
            "--rate",
            str(self.arguments.rate if rate is None else rate),
            "--picture-kb",
            str(self.arguments.picture_kb),
        ]
        command += ["--images", self.arguments.images]
        errors = (self.folder.parent / "agent.log").open("a", encoding="utf-8")
        self.process = subprocess.Popen(
            command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
        )
        errors.close()
        self._reader = threading.Thread(target=self._read, args=(self.process,), daemon=True)
        self._reader.start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            match line.split():
                case ["R", sequence, event_id]:
                    self.books.recorded[event_id] = int(sequence)
                case ["D"]:
                    self.books.done.set()
                case _:
                    pass  # the last line of a killed process, cut in the middle

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self._reap()

    def finish(self) -> bool:
        """Let it deliver what waits and end; False where it does not."""
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.close()
        ended = self.books.done.wait(PATIENCE_S)
        if not ended:
            self.process.kill()
        self._reap()
        return ended

    def _reap(self) -> None:
        assert self.process is not None
        assert self._reader is not None
        self.process.wait()
        self._reader.join()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def disk_bytes(self) -> int:
        files = (path for path in self.folder.rglob("*") if path.is_file() and path.name != RESERVE)
        return sum(path.stat().st_size for path in files)


async def storm(folder: Path, arguments: argparse.Namespace) -> bool:
    dice = random.Random(arguments.seed)
    backend = NodeBackend(folder / "backend")
    await backend.start()
    gate = Gate(folder / "agent", backend.url, arguments)
    gate.start(rate=1e-6)  # opens the queue, records its first few events, delivers them
    await asyncio.sleep(3.0)
    clean = await asyncio.to_thread(gate.finish)
    empty_bytes = gate.disk_bytes()
    start, kills = time.monotonic(), Counter[str]()
    try:
        gate.books.done.clear()
        gate.start()
        while kills.total() < arguments.kills or len(gate.books.recorded) < arguments.events:
            await asyncio.sleep(dice.uniform(0.05, arguments.calm_s))
            victim = dice.choice(["agent", "agent", "server", "both"])
            if victim in ("agent", "both"):
                gate.kill()
            if victim in ("server", "both"):
                await backend.kill()
            kills[victim] += 1
            await asyncio.sleep(dice.uniform(0.0, 0.3))
            if victim in ("server", "both"):
                await backend.start()
            if victim in ("agent", "both"):
                gate.start()
            if kills.total() % 20 == 0:
                print(f"{kills.total()} kills, {len(gate.books.recorded)} recorded", flush=True)
        clean &= await asyncio.to_thread(gate.finish)
        await give_back(gate, empty_bytes)
    finally:
        if gate.process is not None and gate.process.poll() is None:
            gate.kill()
        stored = backend.stored()
        await backend.stop()
    return report(gate, stored, kills, time.monotonic() - start, empty_bytes) and clean


async def give_back(gate: Gate, empty_bytes: int) -> None:
    """Leave an idle agent alone until its disk is as empty as before."""
    gate.books.done.clear()
    gate.start(rate=0.0)
    deadline = time.monotonic() + IDLE_S
    while gate.disk_bytes() > empty_bytes * 2 and time.monotonic() < deadline:  # noqa: ASYNC110 - another process's disk
        await asyncio.sleep(1.0)
    await asyncio.to_thread(gate.finish)


def report(gate: Gate, stored: list[dict[str, object]], kills: Counter[str], took_s: float, empty_bytes: int) -> bool:
    detections = [event for event in stored if event["type"] == "license_plate_detected"]
    times = Counter(str(event["eventId"]) for event in detections)
    lost = [event_id for event_id in gate.books.recorded if event_id not in times]
    twice = [event_id for event_id, amount in times.items() if amount > 1]
    sequences = sorted(event["sequence"] for event in stored if isinstance(event["sequence"], int))
    gaps = len(set(range(1, sequences[-1] + 1)) - set(sequences)) if sequences else 0
    left_bytes = gate.disk_bytes()
    victims = ", ".join(f"{who} {amount}" for who, amount in kills.items())
    print(f"killed            {kills.total()} times ({victims}) in {took_s:.0f} s")
    print(f"recorded          {len(gate.books.recorded)} (reported before a kill)")
    print(f"stored            {len(detections)}")
    print(f"lost              {len(lost)}")
    print(f"stored twice      {len(twice)}")
    print(f"sequences missing {gaps}")
    print(f"disk              {left_bytes:,} bytes after, {empty_bytes:,} before")
    return not lost and not twice and not gaps and left_bytes <= empty_bytes * 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, help="at least so many")
    parser.add_argument("--events", type=int, default=20_000, help="at least so many")
    parser.add_argument("--rate", type=float, default=150.0, help="events a second while an agent runs")
    parser.add_argument("--picture-kb", type=float, default=100.0)
    parser.add_argument("--images", default="base64", choices=["base64", "binary", "none"])
    parser.add_argument("--calm-s", type=float, default=3.0, help="longest time between two kills")
    parser.add_argument("--seed", type=int, default=1)
    with tempfile.TemporaryDirectory(prefix="kill-storm-") as folder:
        good = asyncio.run(storm(Path(folder), parser.parse_args()))
    print("nothing was lost" if good else "FAILED")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
