"""Misbehaviour on request, to try an agent against.

    silent   stores the event and never answers
    slow     answers late
    retry    does not store it, asks for it again later
    reject   refuses it for good
    kick     stores it, then disconnects the agent from the namespace instead of answering
    close    stores it, then cuts the TCP connection instead of answering

A fault is written `kind` (every event), `kind:0.2` (a fifth of the events, at random) or `kind:x3` (the next three
events, then never again). Several may be in force; `slow` goes with any other, of the rest the first that strikes wins.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from lpr.domain.errors import ConfigError


class FaultKind(StrEnum):
    """What goes wrong. The order is that of strength: the first that strikes wins."""

    SLOW = "slow"
    CLOSE = "close"
    KICK = "kick"
    SILENT = "silent"
    REJECT = "reject"
    RETRY = "retry"


STORED = frozenset({FaultKind.SILENT, FaultKind.KICK, FaultKind.CLOSE})
"""Faults that lose the answer and not the event: the agent must send it again, and it must arrive once all the same."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: strikes a `share` (0..1) of the events, or exactly the next `times` where that is given."""

    kind: FaultKind
    share: float = 1.0
    times: int | None = None

    def __str__(self) -> str:
        if self.times is not None:
            return f"{self.kind}:x{self.times}"
        return self.kind.value if self.share == 1.0 else f"{self.kind}:{self.share:g}"


def parse_fault(text: str) -> Fault:
    """Read `slow`, `retry:0.3` or `kick:x2`. Raises `ConfigError`."""
    kind, _, amount = text.strip().partition(":")
    wanted = f"a fault must be one of {', '.join(FaultKind)}, alone or as kind:0.2 or kind:x3; got '{text}'"
    try:
        known = FaultKind(kind)
        if not amount:
            return Fault(known)
        if amount.startswith("x"):
            times, share = int(amount[1:]), 1.0
            if times < 0:
                raise ConfigError(wanted)
            return Fault(known, share, times)
        share = float(amount)
    except ValueError:
        raise ConfigError(wanted) from None
    if not 0.0 <= share <= 1.0:
        raise ConfigError(wanted)
    return Fault(known, share)


class FaultPlan:
    """The faults in force, and the dice."""

    def __init__(self, faults: Iterable[Fault] = (), *, seed: int | None = None) -> None:
        self._random = random.Random(seed)
        self._faults: list[Fault] = []
        self.replace(faults)

    @property
    def faults(self) -> tuple[Fault, ...]:
        """What is in force; of a counted fault the times that are left."""
        return tuple(self._faults)

    def replace(self, faults: Iterable[Fault]) -> None:
        """Put these in force and no others."""
        order = list(FaultKind)
        self._faults = sorted(faults, key=lambda fault: order.index(fault.kind))

    def strike(self) -> frozenset[FaultKind]:
        """What strikes the next event: nothing, `SLOW`, one other, or both."""
        struck: set[FaultKind] = set()
        for place, fault in enumerate(self._faults):
            if struck - {FaultKind.SLOW}:
                break
            if self._strikes(fault):
                struck.add(fault.kind)
                if fault.times is not None:
                    self._faults[place] = Fault(fault.kind, fault.share, fault.times - 1)
        self._faults = [fault for fault in self._faults if fault.times != 0]
        return frozenset(struck)

    def _strikes(self, fault: Fault) -> bool:
        if fault.times is not None:
            return fault.times > 0
        return fault.share >= 1.0 or self._random.random() < fault.share
