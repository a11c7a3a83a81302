"""An event as the queue keeps it, and how it is made from the domain's. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import IntEnum

from lpr.domain.clock import EARLIEST_BELIEVABLE, SET_BY, Clock, Instant
from lpr.domain.events import ErrorRaised, Event, Jpeg, ProcessingStatus
from lpr.outbox.base import Entry, Ticket
from lpr.outbox.ids import EventIds
from lpr.wire import event_body, event_type, from_json, moved_body, to_json


class State(IntEnum):
    """Where an event stands. `DELIVERED` is for those that are kept to be sent again on request."""

    WAITING = 0
    DEAD = 1
    DELIVERED = 2


@dataclass(slots=True, kw_only=True)
class Row:
    """An event as it is written, whole. `body` is JSON text; `code` is an error's.

    `recorded_at` has whole milliseconds, as the disk will have it. Nothing changes one; it is not frozen because it is
    made in a sixth of the time so, and every vehicle waits for that.
    """

    event_id: str
    event_type: str
    code: str | None
    sequence: int | None
    body: str
    plate_image: Jpeg | None
    original_image: Jpeg | None
    recorded_at: datetime
    recorded_monotonic_s: float
    boot_id: str
    recorded_offline: bool
    original_omitted: str | None = None
    attempts: int = 0
    unsure_boot: str | None = None
    """The machine's boot in which the times were taken from a clock not known to be right; None where they are right,
    or can no longer be corrected."""
    size_bytes: int = field(init=False)
    """What counts against the limit: text and pictures."""

    def __post_init__(self) -> None:
        self.size_bytes = len(self.body.encode()) + self.picture_bytes

    @property
    def picture_bytes(self) -> int:
        """Bytes of both images."""
        return (0 if self.plate_image is None else len(self.plate_image.data)) + self.original_bytes

    @property
    def original_bytes(self) -> int:
        """Bytes of the original image, 0 where none is."""
        return 0 if self.original_image is None else len(self.original_image.data)

    def ticket(self, boot_id: str) -> Ticket:
        """What the rest of the agent sees, for the run `boot_id`."""
        return _ticket_of(self, boot_id)

    def entry(self, ticket: Ticket) -> Entry:
        """The same, as the rest of the agent sees it."""
        return Entry(
            ticket=ticket,
            body=from_json(self.body),
            plate_image=self.plate_image,
            original_image=self.original_image,
            original_omitted=self.original_omitted,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A row without its body and pictures. `position` rises in the order of recording."""

    position: int
    event_id: str
    event_type: str
    code: str | None
    sequence: int | None
    state: State
    size_bytes: int
    original_bytes: int
    attempts: int
    recorded_offline: bool
    recorded_at: datetime
    recorded_monotonic_s: float
    boot_id: str

    def ticket(self, boot_id: str) -> Ticket:
        """What the rest of the agent sees, for the run `boot_id`."""
        return _ticket_of(self, boot_id)

    def age_s(self, now: Instant, boot_id: str) -> float:
        """Seconds since it was recorded, never negative; 0 where the clock of then or of now cannot be believed."""
        if self.boot_id == boot_id:
            return max(0.0, now.monotonic_s - self.recorded_monotonic_s)
        if min(self.recorded_at, now.wall) < EARLIEST_BELIEVABLE:
            return 0.0
        return max(0.0, (now.wall - self.recorded_at).total_seconds())


@dataclass(frozen=True, slots=True, kw_only=True)
class Burial:
    """Why an event is a dead letter, and since when."""

    code: str
    reason: str
    buried_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """New times for an event that nobody has seen yet."""

    body: str
    recorded_at: datetime
    unsure_boot: str | None


class RowMaker:
    """Gives events their names and bodies. May be used from one thread at a time."""

    def __init__(
        self,
        *,
        agent_id: str,
        boot_id: str,
        clock: Clock,
        clock_is_right: Callable[[datetime], bool] = lambda wall: True,
        machine_boot: str = "",
    ) -> None:
        """`clock_is_right` says of the wall clock's present time whether it is known to be right; `machine_boot` names
        the boot of the machine, within which the monotonic clock goes on over restarts of the agent.
        """
        self.agent_id = agent_id
        self.boot_id = boot_id
        self.machine_boot = machine_boot
        self._clock = clock
        self._clock_is_right = clock_is_right
        self._ids = EventIds()

    def now(self) -> Instant:
        """This moment, on both clocks."""
        return self._clock.now()

    def make(self, event: Event, *, sequence: int, link_up: bool) -> Row:
        """The row of an event. `sequence` is its own, or for a status the last one given."""
        now = self.now()
        event_id = self._ids.next(now.wall)
        is_status = isinstance(event, ProcessingStatus)
        # A status is replaced by the next one before its times could be corrected.
        sure = is_status or self.clock_is_right(now)
        body = event_body(
            event,
            event_id=event_id,
            agent_id=self.agent_id,
            boot_id=self.boot_id,
            sequence=sequence,
            clock_synchronised=sure,
        )
        moved = now.wall_set_since(event.occurred_at)
        if abs(moved) >= SET_BY and now.wall >= EARLIEST_BELIEVABLE:
            # The clock was set between the frame and now. What it says now is the better.
            body = moved_body(body, moved, clock_synchronised=sure)
        return Row(
            event_id=event_id,
            event_type=event_type(event),
            code=event.code.value if isinstance(event, ErrorRaised) else None,
            sequence=None if is_status else sequence,
            body=to_json(body),
            plate_image=None if isinstance(event, ProcessingStatus) else event.plate_image,
            original_image=None if isinstance(event, ProcessingStatus) else event.original_image,
            recorded_at=now.wall.replace(microsecond=now.wall.microsecond // 1000 * 1000),
            recorded_monotonic_s=now.monotonic_s,
            boot_id=self.boot_id,
            recorded_offline=not link_up,
            unsure_boot=None if sure else self.machine_boot,
        )

    def clock_is_right(self, now: Instant) -> bool:
        """Whether the wall clock is known to be right at this moment."""
        return self._clock_is_right(now.wall)

    def correction(self, recorded_at: datetime, recorded_monotonic_s: float, body: str) -> Correction | None:
        """What an event's times must be by the wall clock as it stands now; None where they stay as they are.

        For an event of this boot of the machine whose times were taken from a clock that was not known to be right.
        """
        now = self.now()
        right = self.clock_is_right(now)
        moved = now.wall_set_since(Instant(recorded_at, recorded_monotonic_s))
        if now.wall < EARLIEST_BELIEVABLE or (abs(moved) < SET_BY and not right):
            return None
        if abs(moved) < SET_BY:
            moved = timedelta()
        return Correction(
            body=to_json(moved_body(from_json(body), moved, clock_synchronised=right)),
            recorded_at=recorded_at + moved,
            unsure_boot=None if right else self.machine_boot,
        )


def _ticket_of(row: Row | Summary, boot_id: str) -> Ticket:
    return Ticket(
        event_id=row.event_id,
        event_type=row.event_type,
        sequence=row.sequence,
        size_bytes=row.size_bytes,
        attempts=row.attempts,
        recorded_offline=row.recorded_offline,
        recorded_at=row.recorded_at,
        # A monotonic clock means nothing beyond its own run.
        recorded_monotonic_s=row.recorded_monotonic_s if row.boot_id == boot_id else None,
    )


def summary_of(position: int, row: Row) -> Summary:
    """A row that has just been put down at `position`."""
    return Summary(
        position=position,
        event_id=row.event_id,
        event_type=row.event_type,
        code=row.code,
        sequence=row.sequence,
        state=State.WAITING,
        size_bytes=row.size_bytes,
        original_bytes=row.original_bytes,
        attempts=row.attempts,
        recorded_offline=row.recorded_offline,
        recorded_at=row.recorded_at,
        recorded_monotonic_s=row.recorded_monotonic_s,
        boot_id=row.boot_id,
    )


def waiting_again(summary: Summary, now: Instant, boot_id: str) -> Summary:
    """A delivered row that is to be sent again: it waits from `now` on, and is sent as replayed."""
    return replace(
        summary,
        state=State.WAITING,
        recorded_offline=True,
        recorded_at=now.wall,
        recorded_monotonic_s=now.monotonic_s,
        boot_id=boot_id,
    )


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def milliseconds(moment: datetime) -> int:
    """A moment as the disk has it: whole milliseconds since 1970, UTC."""
    return (moment - _EPOCH) // _MILLISECOND


def moment_of(milliseconds: int) -> datetime:
    """What `milliseconds` made a number of."""
    return _EPOCH + timedelta(milliseconds=milliseconds)
