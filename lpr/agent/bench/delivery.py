"""What durable delivery costs: the queue on a real disk and the relay over loopback, against the bare things.

Every figure that counts is a ratio of two measurements of one run, taken in turn, since machines and their loads
differ. The server is a process of its own that acknowledges at once and stores nothing, the same for both sides.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import statistics
import time
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from lpr import wire
from lpr.backend.bare import NAMESPACE, BareLine, bare_server
from lpr.domain.choices import ImageMode
from lpr.domain.errors import LinkError
from lpr.domain.events import PlateDetected
from lpr.link.base import DeliveryLimits, LinkPhase, LinkSettings, LinkState
from lpr.link.commands import obey_nothing
from lpr.link.files import EpochFile
from lpr.link.relay import Delivered, Relay
from lpr.link.socketio_transport import transports
from lpr.outbox.bench import EVENT_BYTES, RecordingSpeed, measure_recording, sample_event
from lpr.outbox.limits import OutboxLimits
from lpr.outbox.sqlite import SqliteOutbox

GOAL_RECORDED = 0.4
GOAL_SENT: Mapping[ImageMode, float] = {ImageMode.BASE64: 0.5, ImageMode.BINARY: 0.4}
GOAL_LIVE_TIMES = 2.0
GOAL_MEMORY_BYTES = 50_000_000

RECORDING_ROUNDS = 12
SENDING_ROUNDS = 3
"""Both sides in turn so many times, so that a machine whose speed comes and goes treats them alike."""
LANES = 64
"""Coroutines that record and wait for the acknowledgement: so many that the window stays full, as it does on the bare
side, though every event waits for the disk first. (With 16 of them it was half empty: a lane waits for its commit most
of the time, and what was measured was that wait.)"""
DIFFERENT_EVENTS = 64
"""Events are made before the clock runs, and recorded in turn: making them is not what is measured."""
LIVE_PER_S = 10.0
UP_WITHIN_S = 15.0
STANDS_STILL_S = 60.0
"""Beyond the time that is measured. The relay waits for a server that has died for as long as that is away, as it
should; a measurement has nothing to wait for.
"""
LOOK_EVERY_S = 0.05
SETTLED_LOOK_S = 0.002

Progress = Callable[[str, float, float], None]
"""Called with what is going on, how much of it is done, and how much there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryOptions:
    """`folder` lies on the disk in question. `seconds` are for the rates of sending, all together, and a sixth of them
    for live events without a backlog; `backlog` is the number of events of `EVENT_BYTES` that are drained.
    """

    folder: Path
    seconds: float = 60.0
    backlog: int = 10_000
    live_per_s: float = LIVE_PER_S
    recording_rounds: int = RECORDING_ROUNDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """Events acknowledged a second, and processor time an event in milliseconds: through queue and relay, with durable
    commit and delete, and by the bare client.
    """

    images: ImageMode
    bare_per_s: float
    relayed_per_s: float
    bare_cpu_ms: float
    relayed_cpu_ms: float

    @property
    def ratio(self) -> float:
        """Relayed over bare."""
        return self.relayed_per_s / self.bare_per_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Draining:
    """A backlog that drains while live events come. Times are medians in ms, from `record` to the acknowledgement."""

    backlog: int
    drained_per_s: float
    live_alone_ms: float
    live_beside_ms: float
    live_alone: int
    live_beside: int
    memory_bytes: int
    """Most above what the process took when nothing but live events went through it."""

    @property
    def ratio(self) -> float:
        """How much longer a live event takes beside a backlog."""
        return self.live_beside_ms / self.live_alone_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryReport:
    """What was measured."""

    recording: RecordingSpeed
    sending: tuple[Sending, ...]
    draining: Draining

    def to_json(self) -> dict[str, Any]:
        """JSON values; rates a second, times in ms."""
        recording, draining = self.recording, self.draining
        return {
            "eventBytes": EVENT_BYTES,
            "recording": {
                "barePerSecond": round(recording.bare_per_s, 1),
                "recordedPerSecond": round(recording.recorded_per_s, 1),
                "recordedTogetherPerSecond": round(recording.recorded_together_per_s, 1),
                "deletedPerSecond": round(recording.settled_per_s, 1),
                "ratio": round(recording.ratio, 3),
                "bareOverPerSecond": round(recording.bare_over_per_s, 1),
                "ratioOver": round(recording.ratio_over, 3),
                "goal": GOAL_RECORDED,
            },
            "sending": {
                each.images.value: {
                    "barePerSecond": round(each.bare_per_s, 1),
                    "acknowledgedPerSecond": round(each.relayed_per_s, 1),
                    "ratio": round(each.ratio, 3),
                    "goal": GOAL_SENT[each.images],
                    "bareCpuMs": round(each.bare_cpu_ms, 3),
                    "cpuMs": round(each.relayed_cpu_ms, 3),
                }
                for each in self.sending
            },
            "draining": {
                "backlog": draining.backlog,
                "drainedPerSecond": round(draining.drained_per_s, 1),
                "liveMedianMs": round(draining.live_alone_ms, 2),
                "liveBesideBacklogMedianMs": round(draining.live_beside_ms, 2),
                "liveEvents": draining.live_alone,
                "liveEventsBesideBacklog": draining.live_beside,
                "ratio": round(draining.ratio, 3),
                "goal": GOAL_LIVE_TIMES,
                "memoryAboveIdleBytes": draining.memory_bytes,
                "memoryGoalBytes": GOAL_MEMORY_BYTES,
            },
        }


async def measure_delivery(options: DeliveryOptions, progress: Progress) -> DeliveryReport:
    """Measure everything, one after the other. Raises `OutboxError`, `LinkError` or `LprError` where a part fails."""
    progress("recording", 0, 1)
    (options.folder / "recording").mkdir(parents=True)
    recording = await measure_recording(options.folder / "recording", rounds=options.recording_rounds)
    progress("recording", 1, 1)
    async with bare_server() as url:
        each_s = options.seconds / len(GOAL_SENT)
        sending = [await _measure_sending(options.folder, url, images, each_s, progress) for images in GOAL_SENT]
        draining = await _measure_draining(options, url, progress)
    return DeliveryReport(recording=recording, sending=tuple(sending), draining=draining)


# Sending ----------------------------------------------------------------------------------------------------------


async def _measure_sending(folder: Path, url: str, images: ImageMode, seconds: float, progress: Progress) -> Sending:
    """Both sides in turn, each on a connection that stands the whole time."""
    events = [sample_event(number) for number in range(DIFFERENT_EVENTS)]
    each_s = seconds / (2 * SENDING_ROUNDS)
    bare, relayed = _Tally(), _Tally()
    async with BareLine(url) as line, _Station(folder / images.value, url, images) as station, station.connected():
        messages = [_bare_message(event, images) for event in events]
        window = station.settings.limits.window
        for number in range(SENDING_ROUNDS):
            progress(f"sending {images.value}", number, SENDING_ROUNDS)
            async with _going_on(each_s):
                with bare.timed():
                    bare.count += await line.emit_for(each_s, wire.PLATE_DETECTED, messages, window=window)
            async with _going_on(each_s):
                with relayed.timed():
                    relayed.count += await station.deliver_for(each_s, events)
    progress(f"sending {images.value}", SENDING_ROUNDS, SENDING_ROUNDS)
    return Sending(
        images=images,
        bare_per_s=bare.per_s,
        relayed_per_s=relayed.per_s,
        bare_cpu_ms=bare.cpu_ms,
        relayed_cpu_ms=relayed.cpu_ms,
    )


@asynccontextmanager
async def _going_on(seconds: float) -> AsyncIterator[None]:
    """Raises `LinkError` where what is inside takes `STANDS_STILL_S` longer than `seconds`."""
    try:
        async with asyncio.timeout(seconds + STANDS_STILL_S):
            yield
    except TimeoutError:
        raise _standstill() from None


def _standstill() -> LinkError:
    return LinkError(
        f"the bare server has acknowledged nothing for {STANDS_STILL_S:g} s",
        hint="is its process still there? Measure again, with nothing else at work on this machine",
    )


class _Tally:
    """Events, and the time and processor time that they took, over several stretches."""

    def __init__(self) -> None:
        self.count = 0
        self._seconds = 0.0
        self._cpu_s = 0.0
        self._began: tuple[float, float] = (0.0, 0.0)

    def timed(self) -> Self:
        return self

    def __enter__(self) -> None:
        self._began = (time.perf_counter(), time.process_time())

    def __exit__(self, *_: object) -> None:
        began_s, cpu_began_s = self._began
        self._seconds += time.perf_counter() - began_s
        self._cpu_s += time.process_time() - cpu_began_s

    @property
    def per_s(self) -> float:
        return self.count / self._seconds

    @property
    def cpu_ms(self) -> float:
        return 1000.0 * self._cpu_s / max(1, self.count)


def _bare_message(event: PlateDetected, images: ImageMode) -> dict[str, Any]:
    """What the relay would send for the event, made beforehand."""
    body = wire.event_body(event, event_id=str(uuid.uuid4()), agent_id="bench", boot_id="bench", sequence=1)
    delivery = wire.Delivery(attempt=1, replayed=False, sent_at=datetime.now(UTC), age_ms=1.0)
    return wire.message(
        body, delivery, plate_image=event.plate_image, original_image=event.original_image, images=images
    )


# Draining ---------------------------------------------------------------------------------------------------------


async def _measure_draining(options: DeliveryOptions, url: str, progress: Progress) -> Draining:
    """Live events alone, then a backlog recorded while the link is down, then live events while it drains."""
    events = [sample_event(number) for number in range(DIFFERENT_EVENTS)]
    async with _Station(options.folder / "draining", url, ImageMode.BASE64) as station:
        async with station.connected():
            alone = await _live_for(station, events, options, progress)
        gc.collect()
        idle_bytes = _memory_bytes()
        await _record_backlog(station, events, options.backlog, progress)
        station.waiting_acks.clear()
        async with station.connected():
            began_s = time.perf_counter()
            beside, most_bytes = await _live_while_draining(station, events, options, progress)
            drained_s = time.perf_counter() - began_s
    return Draining(
        backlog=options.backlog,
        drained_per_s=options.backlog / drained_s,
        live_alone_ms=_median_ms(alone),
        live_beside_ms=_median_ms(beside),
        live_alone=len(alone),
        live_beside=len(beside),
        memory_bytes=max(0, most_bytes - idle_bytes),
    )


async def _live_for(
    station: _Station, events: Sequence[PlateDetected], options: DeliveryOptions, progress: Progress
) -> list[float]:
    """Live events at their pace for a while; seconds to the acknowledgement of each but the first few."""
    seconds = max(1.0, options.seconds / 6)
    live = _Live(station, events, options.live_per_s)
    running = asyncio.create_task(live.run())
    until_s = time.perf_counter() + seconds
    while (left_s := until_s - time.perf_counter()) > 0:
        progress("live events", seconds - left_s, seconds)
        await asyncio.sleep(min(left_s, LOOK_EVERY_S))
    async with _going_on(0.0):
        await live.end(running)
    progress("live events", seconds, seconds)
    return live.took_s[2:] or live.took_s


async def _live_while_draining(
    station: _Station, events: Sequence[PlateDetected], options: DeliveryOptions, progress: Progress
) -> tuple[list[float], int]:
    """Seconds to the acknowledgement of each live event until the backlog is gone, and the most memory seen."""
    live, most_bytes = _Live(station, events, options.live_per_s), 0
    running = asyncio.create_task(live.run())
    before, moved_s = 0, time.perf_counter()
    while (drained := station.backlog_acked) < options.backlog:
        progress("draining", drained, options.backlog)
        most_bytes = max(most_bytes, _memory_bytes())
        if running.done():
            running.result()
        if drained > before:
            before, moved_s = drained, time.perf_counter()
        elif time.perf_counter() - moved_s > STANDS_STILL_S:
            running.cancel()
            raise _standstill()
        await asyncio.sleep(LOOK_EVERY_S)
    async with _going_on(0.0):
        await live.end(running)
        await station.settled()
    progress("draining", options.backlog, options.backlog)
    return live.took_s, most_bytes


async def _record_backlog(station: _Station, events: Sequence[PlateDetected], count: int, progress: Progress) -> None:
    numbers = iter(range(count))

    async def lane() -> None:
        for number in numbers:
            await station.outbox.record(events[number % len(events)], link_up=False)
            if number % LANES == 0:
                progress("recording a backlog", number, count)

    await asyncio.gather(*(lane() for _ in range(LANES)))
    progress("recording a backlog", count, count)


class _Live:
    """Events at a steady pace; each waits for its own acknowledgement, and none for another's."""

    def __init__(self, station: _Station, events: Sequence[PlateDetected], per_s: float) -> None:
        self._station, self._events, self._per_s = station, events, per_s
        self._tasks: list[asyncio.Task[None]] = []
        self.took_s: list[float] = []

    async def run(self) -> None:
        """Go on until cancelled."""
        began_s = time.perf_counter()
        for number in itertools.count():
            await asyncio.sleep(max(0.0, began_s + number / self._per_s - time.perf_counter()))
            self._tasks.append(asyncio.create_task(self._one(self._events[number % len(self._events)])))

    async def end(self, running: asyncio.Task[None]) -> None:
        """Begin no more, and wait for those that are on their way."""
        running.cancel()
        await asyncio.wait({running})
        await asyncio.gather(*self._tasks)

    async def _one(self, event: PlateDetected) -> None:
        began_s = time.perf_counter()
        await self._station.deliver(event)
        self.took_s.append(time.perf_counter() - began_s)


def _median_ms(seconds: Sequence[float]) -> float:
    return 1000.0 * statistics.median(seconds) if seconds else float("nan")


def _memory_bytes() -> int:
    return int(psutil.Process().memory_info().rss)


# The station ------------------------------------------------------------------------------------------------------


class _Station:
    """A queue on the disk in question, and a relay to the server while it is `connected`."""

    def __init__(self, folder: Path, url: str, images: ImageMode) -> None:
        self._folder = folder
        self.settings = LinkSettings(
            url=url,
            agent_id="bench",
            boot_id="bench",
            version="bench",
            namespace=NAMESPACE,
            images=images,
            limits=DeliveryLimits(),
        )
        self.outbox: SqliteOutbox
        self.waiting_acks: defaultdict[str, asyncio.Future[None]]
        self.backlog_acked = 0
        self._up = asyncio.Event()

    async def __aenter__(self) -> Self:
        self.waiting_acks = defaultdict(asyncio.get_running_loop().create_future)
        # No limit may be met: what is measured is the way, not what goes at its end.
        limits = OutboxLimits(max_bytes=1 << 50, min_free_disk=0)
        self.outbox = await SqliteOutbox.open(self._folder, agent_id="bench", boot_id="bench", limits=limits)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.outbox.close()

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """A link inside the block. Raises `LinkError` where there is none within `UP_WITHIN_S`."""
        relay = Relay(
            self.outbox,
            self.settings,
            transports(self.settings),
            next_epoch=EpochFile().next,
            on_command=obey_nothing,
            on_delivered=self._delivered,
            on_change=self._changed,
        )
        running = asyncio.create_task(relay.run())
        try:
            await self._wait_until_up(running)
            yield
        finally:
            await relay.stop(0.0)
            await running

    async def _wait_until_up(self, running: asyncio.Task[None]) -> None:
        up = asyncio.create_task(self._up.wait())
        await asyncio.wait({up, running}, timeout=UP_WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
        up.cancel()
        if not self._up.is_set():
            raise LinkError(f"no link to the bare server at {self.settings.url} within {UP_WITHIN_S:g} s")

    async def deliver(self, event: PlateDetected) -> None:
        """Record, and wait for the acknowledgement."""
        ticket = await self.outbox.record(event, link_up=True)
        try:
            await self.waiting_acks[ticket.event_id]
        finally:
            self.waiting_acks.pop(ticket.event_id, None)

    async def deliver_for(self, seconds: float, events: Sequence[PlateDetected]) -> int:
        """Deliver `events` in turn for so long, until all of them are deleted durably; how many they were."""
        until_s = time.perf_counter() + seconds

        async def lane(number: int) -> int:
            count = 0
            while time.perf_counter() < until_s:
                await self.deliver(events[(number + count * LANES) % len(events)])
                count += 1
            return count

        count = sum(await asyncio.gather(*(lane(number) for number in range(LANES))))
        await self.settled()
        return count

    async def settled(self) -> None:
        """Wait until nothing is left in the queue."""
        while (await self.outbox.status()).pending:  # noqa: ASYNC110 - deletion is announced to nobody
            await asyncio.sleep(SETTLED_LOOK_S)

    def _delivered(self, delivered: Delivered) -> None:
        if delivered.ticket.recorded_offline:
            self.backlog_acked += 1
            return
        acked = self.waiting_acks[delivered.ticket.event_id]
        if not acked.done():
            acked.set_result(None)

    def _changed(self, state: LinkState) -> None:
        (self._up.set if state.phase is LinkPhase.UP else self._up.clear)()
