"""Passages on their way into the outbox, and what is known of them afterwards."""

from collections.abc import Collection
from pathlib import Path

import pytest

from lpr.agent.publisher import PASSAGES_KEPT, Publisher
from lpr.domain.clock import SystemClock
from lpr.domain.errors import OutboxFullError
from lpr.domain.events import ErrorCode, Severity, StoredEvent
from lpr.domain.passage import PassageOutcome
from lpr.metrics import Metrics
from lpr.outbox.base import Ticket
from lpr.outbox.memory import MemoryOutbox
from lpr.web.source import DeliveryState
from tests.agent.helpers import make_config, make_passage, publish


class FullOutbox(MemoryOutbox):
    """A queue that has no room."""

    async def record(self, event: StoredEvent, *, link_up: bool) -> Ticket:
        raise OutboxFullError("no room", hint="make room")


def make_publisher(tmp_path: Path, outbox: MemoryOutbox) -> Publisher:
    return Publisher(outbox, make_config(tmp_path), link_up=lambda: True, clock=SystemClock(), metrics=Metrics())


async def published_ids(outbox: MemoryOutbox) -> Collection[str]:
    return [ticket.event_id for ticket in await outbox.waiting(limit=100)]


async def test_a_passage_is_recorded_and_shown_as_waiting(tmp_path: Path) -> None:
    outbox = MemoryOutbox()
    publisher, passage = make_publisher(tmp_path, outbox), make_passage()

    await publish(publisher, passage, publisher.config.cameras[0])

    [shown] = publisher.passages
    assert shown.state is DeliveryState.WAITING
    assert [shown.event_id] == await published_ids(outbox)
    assert publisher.processed_count == 1


async def test_what_the_back_end_answers_is_shown_and_timed(tmp_path: Path) -> None:
    outbox, passage = MemoryOutbox(), make_passage()
    metrics = Metrics()
    publisher = Publisher(outbox, make_config(tmp_path), link_up=lambda: True, clock=SystemClock(), metrics=metrics)
    await publish(publisher, passage, publisher.config.cameras[0])
    event_id = publisher.passages[0].event_id or ""

    publisher.delivered(event_id)

    assert publisher.passages[0].state is DeliveryState.DELIVERED
    assert metrics.frame_to_ack_percentiles().count == 1


async def test_an_answer_that_overtakes_the_record_is_not_forgotten(tmp_path: Path) -> None:
    outbox = MemoryOutbox()
    publisher, passage = make_publisher(tmp_path, outbox), make_passage()
    outbox.on_recorded(lambda ticket: publisher.delivered(ticket.event_id))

    await publish(publisher, passage, publisher.config.cameras[0])

    assert publisher.passages[0].state is DeliveryState.DELIVERED


async def test_a_passage_that_cannot_be_stored_stays_on_the_page_and_stops_nothing(tmp_path: Path) -> None:
    publisher, passage = make_publisher(tmp_path, FullOutbox()), make_passage()

    await publish(publisher, passage, publisher.config.cameras[0])

    assert publisher.passages[0].state is DeliveryState.DROPPED
    assert publisher.processed_count == 0


class HoldingOutbox(MemoryOutbox):
    """A queue whose disk takes nothing, and that delivers from memory."""

    async def record(self, event: StoredEvent, *, link_up: bool) -> Ticket:
        ticket = await super().record(event, link_up=link_up)
        error = OutboxFullError("no room")
        error.event_id = ticket.event_id
        raise error


async def test_a_passage_that_is_held_in_memory_is_not_called_dropped(tmp_path: Path) -> None:
    outbox, passage = HoldingOutbox(), make_passage()
    publisher = make_publisher(tmp_path, outbox)

    await publish(publisher, passage, publisher.config.cameras[0])

    [event_id] = await published_ids(outbox)
    assert publisher.passages[0].state is DeliveryState.WAITING
    publisher.delivered(event_id)
    assert publisher.passages[0].state is DeliveryState.DELIVERED


async def test_an_unreadable_vehicle_counts_as_an_error_unless_the_configuration_says_no(tmp_path: Path) -> None:
    outbox = MemoryOutbox()
    publisher = make_publisher(tmp_path, outbox)
    quiet = make_config(tmp_path, tracking={"report_unreadable": False})
    passage = make_passage(outcome=PassageOutcome.UNREADABLE)

    await publish(publisher, passage, quiet.cameras[0])
    publisher.config = quiet
    await publish(publisher, passage, quiet.cameras[0])

    assert publisher.error_count == 1
    assert len(await published_ids(outbox)) == 1


async def test_the_page_keeps_the_newest_passages_within_a_bound(tmp_path: Path) -> None:
    publisher = make_publisher(tmp_path, MemoryOutbox())
    passages = [make_passage(width=64, height=64) for _ in range(PASSAGES_KEPT + 3)]

    for passage in passages:
        await publish(publisher, passage, publisher.config.cameras[0])

    assert len(publisher.passages) == PASSAGES_KEPT
    assert publisher.passages[0].passage.passage_id == passages[-1].passage_id
    assert {kept.passage.best_frame.image.size for kept in publisher.passages} == {0}, "frames are large"
    assert {kept.passage.best_read.crop.size for kept in publisher.passages} == {0}, "so are plates that were near"
    assert publisher.passage_of(passages[0].passage_id) is None


async def test_an_error_is_recorded_with_its_code(tmp_path: Path) -> None:
    outbox = MemoryOutbox()
    publisher = make_publisher(tmp_path, outbox)

    await publisher.raise_error(ErrorCode.DISK_LOW, "disk", severity=Severity.HIGH, details={"freeBytes": 1})

    [event_id] = await published_ids(outbox)
    entry = await outbox.load(event_id)
    assert entry is not None
    assert entry.body["data"]["errorCode"] == "DISK_LOW"


@pytest.mark.parametrize("outcome", list(PassageOutcome))
async def test_every_outcome_is_counted_by_camera(tmp_path: Path, outcome: PassageOutcome) -> None:
    metrics = Metrics()
    publisher = Publisher(
        MemoryOutbox(), make_config(tmp_path), link_up=lambda: False, clock=SystemClock(), metrics=metrics
    )
    passage = make_passage(outcome=outcome)

    await publish(publisher, passage, publisher.config.cameras[0])

    assert metrics.passages(outcome, camera_id="CAM_001") == 1
