"""Names of events that sort by the time they were made: UUID version 7 (RFC 9562), rising within a process."""

from __future__ import annotations

import os
import threading
from datetime import datetime

_COUNTER_BITS = 42
_RANDOM_BITS = 32
_CHANCE_BYTES = (_COUNTER_BITS - 1 + _RANDOM_BITS + 7) // 8
_NAMES_AHEAD = 64
"""Random bits are asked for so many names at once: to ask the system is the dearest part of a name."""


class EventIds:
    """Makes UUIDv7 names; each is larger than the one before, also within a millisecond and when the clock goes back.

    48 bits of milliseconds, a counter of 42 bits that starts anywhere in its lower half at every new millisecond
    (method 1 of the RFC), 32 random bits. May be called from any thread.
    """

    def __init__(self) -> None:
        self._last_ms = -1
        self._counter = 0
        self._chance = b""
        self._lock = threading.Lock()

    def next(self, moment: datetime) -> str:
        """A new name for an event of `moment` (aware)."""
        with self._lock:
            now_ms = max(0, int(moment.timestamp() * 1000))
            if not self._chance:
                self._chance = os.urandom(_NAMES_AHEAD * _CHANCE_BYTES)
            chance = int.from_bytes(self._chance[:_CHANCE_BYTES])
            self._chance = self._chance[_CHANCE_BYTES:]
            if now_ms > self._last_ms:
                self._last_ms = now_ms
                self._counter = (chance >> _RANDOM_BITS) & (1 << _COUNTER_BITS - 1) - 1
            else:
                self._counter += 1
                if self._counter >> _COUNTER_BITS:  # 2 ** 41 names in one millisecond: borrow from the next one
                    self._last_ms += 1
                    self._counter = 0
            return _uuid7(self._last_ms, self._counter, chance & (1 << _RANDOM_BITS) - 1)


def _uuid7(unix_ms: int, counter: int, chance: int) -> str:
    high, low = counter >> 30, counter & (1 << 30) - 1
    value = (unix_ms & (1 << 48) - 1) << 80
    value |= 0x7 << 76 | high << 64
    value |= 0b10 << 62 | low << _RANDOM_BITS | chance
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
