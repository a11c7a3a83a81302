"""What is remembered of events between their sends, and what follows from it. Part of the delivery core.

**Put off.** The first wait is `first_retry_s`, and each doubles, up to `max_retry_s`. Answers without success count:
after `soft_failures` of them the event can never be taken. Unless nothing at all was taken meanwhile: then it was the
back-end (its database, say) and not the event, and it is tried anew as soon as another is taken.

**Unanswered.** An error that nobody answers, while detections pass, is a dead letter after as many sends.

**Poison.** An event in flight at `losses_before_alone` losses of the link is sent alone, after another has passed.
From the first loss alone on it is sent bare, without its original image: what most takes a link down is size, and an
event without a picture is worth more than a dead letter. `losses_alone` losses alone, with others passing in between,
and it is one. (A flapping link loses events too; hence "others passing", and the pauses.)

A status is no dead letter: the next one takes its place, and its history, so that one that is sent in vain takes the
link down ever more rarely.

**Nothing passes at all.** Each event may be too large for a limit that nobody speaks of. One is then sent alone all the
same, and bare after as many losses; whether that passes tells size from a sick other side. It is condemned by nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from lpr.link.base import DeliveryLimits
from lpr.wire import PLATE_DETECTED, PROCESSING_STATUS

_MOST_DOUBLINGS = 16
_MOST_PAUSE_DOUBLINGS = 8


@dataclass(slots=True)
class History:
    """Of one event."""

    attempt: int = 0
    put_off: int = 0
    soft_failures: int = 0
    refused_mark: int = 0
    unanswered: int = 0
    detections_mark: int = 0
    losses: int = 0
    was_sole: bool = False
    losses_alone: int = 0
    barren_losses: int = 0
    passed_mark: int = 0
    not_before: float = 0.0


class Histories:
    """Of the events met last, `limits.histories` of them. Times are seconds on a monotonic clock."""

    def __init__(self, limits: DeliveryLimits) -> None:
        self._limits = limits
        self._known: OrderedDict[str, History] = OrderedDict()
        self._passed = self._stored = 0
        """Events that the back-end took, and those among them that are no statuses."""
        self._wronged: list[str] = []
        self._unheard: dict[str, list[str]] = {}
        self._detections_passed = 0

    def of(self, event_id: str) -> History:
        """An event's history, a blank one where none is known."""
        history = self._known.get(event_id)
        if history is None:
            history = self._known[event_id] = History()
            while len(self._known) > self._limits.histories:
                self._known.popitem(last=False)
        return history

    def forget(self, event_id: str) -> None:
        """The event has left."""
        self._known.pop(event_id, None)

    def hand_on(self, event_id: str, to: str) -> None:
        """An event takes another's place: if that took the link down, so may this one. What was said of that, or not,
        was said of it alone.
        """
        before = self._known.pop(event_id, None)
        if before is not None:
            self._known[to] = History(
                losses=before.losses,
                was_sole=before.was_sole,
                losses_alone=before.losses_alone,
                barren_losses=before.barren_losses,
                passed_mark=before.passed_mark,
                not_before=before.not_before,
            )

    def put_off(self, event_id: str) -> float:
        """The event is to be sent again: seconds until then."""
        history = self.of(event_id)
        history.put_off += 1
        doublings = min(_MOST_DOUBLINGS, history.put_off - 1)
        return float(min(self._limits.max_retry_s, self._limits.first_retry_s * 2**doublings))

    def not_taken(self, event_id: str, message: str) -> str | None:
        """An answer without success came. Returns why the event can never be taken; None where it can."""
        history = self.of(event_id)
        if not history.soft_failures:
            history.refused_mark = self._stored
        history.soft_failures += 1
        if history.soft_failures < self._limits.soft_failures:
            return None
        if history.refused_mark == self._stored and len(self._wronged) < self._limits.histories:
            self._wronged.append(event_id)
        return f"the back-end answered {history.soft_failures} times without success: {message}"

    def went_unanswered(self, event_id: str, event_type: str) -> str | None:
        """It is of a type that is never answered. Returns why it is a dead letter; None where it is none.

        Only sends with a detection taken since the one before count: a back-end whose database is away may answer what
        it does not store. A detection itself is never given up so.
        """
        history = self.of(event_id)
        if self._detections_passed > history.detections_mark:
            history.detections_mark = self._detections_passed
            history.unanswered += 1
        if event_type == PLATE_DETECTED or history.unanswered < self._limits.soft_failures:
            return None
        if len(unheard := self._unheard.setdefault(event_type, [])) < self._limits.histories:
            unheard.append(event_id)
        return f"sent {history.attempt} times, and the back-end answers no {event_type}, though it takes detections"

    def heard_again(self, event_type: str) -> tuple[str, ...]:
        """Events of this type are answered. Returns the dead letters among them that never were."""
        return tuple(self._unheard.pop(event_type, ()))

    def an_event_passed(self, event_type: str) -> tuple[str, ...]:
        """The back-end took an event, or rejected it: link and back-end as such work. Returns the dead letters that are
        none of the events' own faults.

        Of a status only the link: a back-end whose database is away need not store it.
        """
        self._passed += 1
        if event_type == PROCESSING_STATUS:
            return ()
        self._stored += 1
        self._detections_passed += event_type == PLATE_DETECTED
        wronged, self._wronged = tuple(self._wronged), []
        return wronged

    def is_suspect(self, event_id: str) -> bool:
        """Whether the event must be sent alone."""
        history = self._known.get(event_id)
        return history is not None and (history.was_sole or history.losses >= self._limits.losses_before_alone)

    def is_on_trial(self, event_id: str) -> bool:
        """Whether nothing passes, and this is the event by which it will be seen whether smaller ones would: it is not
        to wait for its turn among others like it.
        """
        history = self._known.get(event_id)
        return history is not None and 0 < history.barren_losses <= self._limits.losses_alone

    def is_to_be_bare(self, event_id: str) -> bool:
        """Whether the event is to be sent without its original image."""
        history = self._known.get(event_id)
        return history is not None and (history.losses_alone > 0 or history.barren_losses >= self._limits.losses_alone)

    def forget_losses_alone(self) -> None:
        """What took the link down is not what would be sent now."""
        for history in self._known.values():
            history.losses_alone = history.barren_losses = 0
            history.not_before = 0.0

    def link_was_lost(self, now: float, event_id: str, *, alone: bool, sole: bool = False) -> str | None:
        """With this event in flight. Returns why it is a dead letter; None where it is none. One that happened to be
        the `sole` one in flight is sent alone from then on, and is condemned no sooner for that.
        """
        history = self.of(event_id)
        history.losses += 1
        history.was_sole = history.was_sole or sole
        if not alone or history.losses <= self._limits.losses_before_alone:
            history.passed_mark = self._passed
            return None
        if self._passed > history.passed_mark:
            history.passed_mark = self._passed
            history.losses_alone += 1
        else:
            history.barren_losses += 1
        doublings = min(_MOST_PAUSE_DOUBLINGS, history.losses_alone)
        history.not_before = now + self._limits.alone_pause_s * 2**doublings
        if history.losses_alone < self._limits.losses_alone:
            return None
        return (
            f"the connection was lost {history.losses} times with this event in flight, "
            f"{history.losses_alone} times with it alone, while others passed"
        )
