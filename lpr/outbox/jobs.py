"""What the writer's thread is asked to do, and what of it goes into one transaction."""

from __future__ import annotations

import asyncio
import math
import queue as queues
import time
from collections.abc import Callable
from dataclasses import dataclass

from lpr.domain.errors import OutboxError
from lpr.outbox.base import Ticket
from lpr.outbox.queue import Queue

MAX_BATCH = 64
"""Most calls in one transaction, so that the first of them does not wait long for the last; patient ones come on top.
"""
SETTLE_WITHIN_S = 0.025
"""How long deliveries wait to be written down together. A commit for each would cost the disk as much as recording did,
and within the commit of an event that is recorded that event would wait for them."""


@dataclass(slots=True)
class Job:
    """A function for the writer; it returns the tickets of events that have newly come to wait.

    An `LprError` that it raises is its own result and must leave nothing changed. `defer` is what happens instead, in
    memory, when the disk takes nothing. A `patient` one is done `SETTLE_WITHIN_S` after the first that waits with it,
    or a little later, and lets others pass meanwhile.
    """

    run: Callable[[Queue], list[Ticket]]
    done: asyncio.Future[list[Ticket]] | None = None
    defer: Callable[[OutboxError], list[Ticket]] | None = None
    patient: bool = False


class Jobs:
    """Jobs on their way to the writer. Any thread may `put`; `next` is for the writer's."""

    def __init__(self) -> None:
        self._ended = False
        self._arrived: queues.SimpleQueue[Job | None] = queues.SimpleQueue()
        self._patient: list[Job] = []
        self._due_s = math.inf

    def put(self, job: Job) -> None:
        """Ask for `job`."""
        self._arrived.put(job)

    def end(self) -> None:
        """Ask for nothing more."""
        self._arrived.put(None)

    @property
    def waiting(self) -> bool:
        """Whether there is something that nobody has looked at yet."""
        return not self._arrived.empty()

    def next(self, timeout_s: float) -> tuple[list[Job], bool]:
        """What has piled up, for one transaction (nothing after `timeout_s` without), and whether it is the last."""
        until_s = time.monotonic() + timeout_s
        jobs: list[Job] = []
        while not jobs and not self._ended:
            left_s = min(until_s, self._due_s) - time.monotonic()
            try:
                self._sort(self._arrived.get(timeout=left_s) if left_s > 0 else self._arrived.get_nowait(), jobs)
                while len(jobs) < MAX_BATCH and not self._ended and self.waiting:
                    self._sort(self._arrived.get_nowait(), jobs)
            except queues.Empty:
                if left_s <= 0:
                    break
        if self._ended or time.monotonic() >= self._due_s:
            jobs += self._patient
            self._patient, self._due_s = [], math.inf
        return jobs, self._ended

    def _sort(self, job: Job | None, jobs: list[Job]) -> None:
        if job is None:
            self._ended = True
        elif not job.patient:
            jobs.append(job)
        else:
            if not self._patient:
                self._due_s = time.monotonic() + SETTLE_WITHIN_S
            self._patient.append(job)
