"""The promises of the disk, held against every state in which a power cut may leave it."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lpr.config import RuntimeOverrides
from lpr.domain.events import ErrorRaised
from lpr.link.files import EpochFile, SeenCommands
from lpr.outbox.sqlite import SqliteOutbox
from lpr.wire import PLATE_DETECTED
from tests.faults import power
from tests.faults.power_child import ORIGINAL_BYTES, PLATE_BYTES
from tests.outbox.helpers import ROOMY, detection, picture

CHILD_S = 120.0


@dataclass(slots=True)
class Promises:
    """What the children have said."""

    recorded: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Event id -> its sequence and its plate."""
    settling: set[str] = field(default_factory=set)
    settled: set[str] = field(default_factory=set)
    unsettled: set[str] = field(default_factory=set)
    """Being buried or revived when the power went: dead or waiting, nobody can know."""
    dead: set[str] = field(default_factory=set)
    epoch: int = 0
    commands: list[str] = field(default_factory=list)
    keeping: set[str] = field(default_factory=set)
    """Begun since the one that was kept last: the power may have gone, and a further one begun, before anybody knew."""
    kept: str | None = None

    def hear(self, line: str) -> None:
        """Take in one line of a child."""
        word, *rest = line.split()
        match word:
            case "R":
                self.recorded[rest[1]] = (int(rest[0]), rest[2])
            case "s":
                self.settling |= set(rest)
            case "S":
                self.settled |= set(rest)
            case "b" | "l":
                self.unsettled.add(rest[0])
            case "B":
                self.unsettled.discard(rest[0])
                self.dead.add(rest[0])
            case "L":
                self.unsettled.discard(rest[0])
                self.dead.discard(rest[0])
            case "E":
                self.epoch = int(rest[0])
            case "C":
                self.commands.append(rest[0])
            case "k":
                self.keeping.add(rest[0])
            case "K":
                self.kept = rest[0]
                self.keeping.clear()
            case _:
                raise AssertionError(line)

    def copy(self) -> Promises:
        """As they stand now."""
        return Promises(
            dict(self.recorded), set(self.settling), set(self.settled), set(self.unsettled), set(self.dead),
            self.epoch, list(self.commands), set(self.keeping), self.kept,
        )  # fmt: skip


@dataclass(slots=True)
class Tally:
    """What a run of the simulation did."""

    moments: int = 0
    promised: int = 0
    """Events looked for, over all moments."""
    notes: int = 0
    broken: list[str] = field(default_factory=list)
    fates: Counter[str] = field(default_factory=Counter)


async def broken(data_dir: Path, promises: Promises, *, was_damaged: bool) -> list[str]:
    """Open the queue in a state of the disk; every promise that it breaks, in words.

    A queue that `was_damaged` before the power cut may say so; nothing else may.
    """
    faults: list[str] = []
    outbox = await SqliteOutbox.open(data_dir, agent_id="gate", boot_id="after", limits=ROOMY)
    troubles: list[ErrorRaised] = []
    outbox.on_trouble(troubles.append)
    try:
        waiting = [t for t in await outbox.waiting(limit=1_000_000) if t.event_type == PLATE_DETECTED]
        dead = [letter.ticket for letter in await outbox.dead_letters(limit=1_000_000)]
        faults += _list_faults(promises, [t.event_id for t in waiting], [t.event_id for t in dead])
        sequences = [ticket.sequence or 0 for ticket in waiting]
        if sequences != sorted(set(sequences)):
            faults.append(f"out of order, or one sequence twice: {sequences}")
        for ticket in waiting:
            entry = await outbox.load(ticket.event_id)
            plate = None if entry is None else entry.body["data"].get("licensePlate")
            if entry is None or entry.plate_image != picture(f"plate {plate}", PLATE_BYTES):
                faults.append(f"{ticket.event_id}: not whole")
            elif entry.original_image != picture(f"scene {plate}", ORIGINAL_BYTES):
                faults.append(f"{ticket.event_id}: its scene is not whole")
            known = promises.recorded.get(ticket.event_id)
            if known is not None and known != (ticket.sequence, plate):
                faults.append(f"{ticket.event_id}: was {known}, is {(ticket.sequence, plate)}")
        new = await outbox.record(detection("new"), link_up=True)
        given = [sequence for sequence, _ in promises.recorded.values()] + [t.sequence or 0 for t in waiting + dead]
        if (new.sequence or 0) <= max(given, default=0):
            faults.append(f"sequence {new.sequence} was given before")
    finally:
        await outbox.close()
    if not was_damaged:
        faults += [f"{error.code.value}: {error.message}" for error in troubles]
        faults += [f"{name} was set aside" for name in _set_aside(data_dir)]
    epoch = await EpochFile(data_dir / "epoch.json").next()
    return [*faults, *_side_faults(data_dir, epoch, promises)]


def _set_aside(data_dir: Path) -> list[str]:
    return [path.name for path in data_dir.glob("*damaged*")]


def _list_faults(promises: Promises, waiting: list[str], dead: list[str]) -> Iterator[str]:
    times = Counter(waiting + dead)
    for event_id, count in times.items():
        if count > 1:
            yield f"{event_id}: there {count} times"
        if event_id in promises.settled:
            yield f"{event_id}: settled, and back"
    for event_id in promises.recorded:
        if event_id in promises.settling:
            continue
        if event_id not in times:
            yield f"{event_id}: recorded, and lost"
        elif event_id not in promises.unsettled and (event_id in promises.dead) is not (event_id in dead):
            yield f"{event_id}: a dead letter that waits, or the other way round"


def _side_faults(data_dir: Path, epoch: int, promises: Promises) -> Iterator[str]:
    if epoch <= promises.epoch:
        yield f"connection {epoch} comes after {promises.epoch}"
    seen = SeenCommands(data_dir / "commands.json")
    yield from (f"command {name} was obeyed and is forgotten" for name in promises.commands if name not in seen)
    kept, warnings = RuntimeOverrides(data_dir).read()
    yield from warnings
    change = kept.get("weather", {}).get("condition")
    if promises.kept is not None and change not in {promises.kept, *promises.keeping}:
        yield f"a change was kept, and is gone: {promises.kept}, found {change}"


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for states of the disk; in memory where there is room, since what is done there need not last."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 1 << 30
    with tempfile.TemporaryDirectory(prefix="power-cut-", dir=memory if roomy else None) as folder:
        yield Path(folder)


async def cut_power(
    folder: Path, *, rounds: int, moments: int, events: int, seed: int, damaged: tuple[Path, Promises] | None = None
) -> Tally:
    """Let a child work, cut its power at so many moments, look at each; `rounds` times, each round's child going on
    from a state in which the one before was cut off.

    `damaged` is a folder in which the first child finds its data directory, `data`, with a queue that must be rescued,
    and what that queue has promised.
    """
    dice, tally = random.Random(seed), Tally()
    library = power.compiled(folder)
    start, promises = damaged or (folder / "start", Promises())
    start.mkdir(exist_ok=True)
    for number in range(rounds):
        root, journal = folder / f"root-{number}", folder / f"journal-{number}"
        shutil.copytree(start, root)
        arguments = [str(root / "data"), f"boot{number}", str(dice.randrange(1 << 30)), str(events)]
        power.run("tests.faults.power_child", arguments, root=root, journal=journal, library=library, timeout_s=CHILD_S)
        notes = power.read(journal)
        journal.unlink()
        tally.notes += len(notes)
        cuts = power.moments(notes, moments, dice)
        goes_on = dice.choice(sorted(cuts)[len(cuts) // 2 :])
        heard = 0
        next_start, next_promises = folder / f"start-{number}", promises
        for moment, disk in power.states(notes, cuts, root, start=start):
            for note in notes[heard:moment]:
                if note.kind == "M":
                    promises.hear(note.text.decode())
            heard = moment
            with scratch() as state:
                disk.put_down(state, cuts[moment], dice)
                if moment == goes_on:
                    shutil.copytree(state, next_start)
                    next_promises = promises.copy()
                faults = await broken(state / "data", promises, was_damaged=damaged is not None)
            tally.moments += 1
            tally.promised += len(promises.recorded) - len(promises.settling)
            tally.fates[cuts[moment].value] += 1
            tally.broken += [f"round {number}, after note {moment}, {cuts[moment].value}: {f}" for f in faults]
        shutil.rmtree(root)
        start, promises = next_start, next_promises
    return tally
