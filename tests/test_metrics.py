from __future__ import annotations

import threading

import pytest
from prometheus_client import generate_latest

from lpr.domain.commands import ReplyStatus
from lpr.domain.events import CameraState, ErrorCode, QueueStatus
from lpr.domain.passage import PassageOutcome
from lpr.metrics import RESERVOIR_SIZE, Delivery, Metrics, Percentiles, Reservoir, Stage, percentile


def text(metrics: Metrics) -> str:
    return generate_latest(metrics.registry).decode()


def test_frames_are_counted_for_each_camera_on_its_own() -> None:
    metrics = Metrics()
    for _ in range(3):
        metrics.frames_captured("CAM_001")
    metrics.frame_analysed("CAM_001", 0.120)
    metrics.frames_dropped("CAM_001", 2)
    metrics.frames_captured("CAM_002")

    def counts(camera_id: str) -> list[int]:
        names = ("captured", "analysed", "dropped", "skipped")
        return [metrics.total(f"frames_{name}", camera=camera_id) for name in names]

    assert counts("CAM_001") == [3, 1, 2, 0]
    assert counts("CAM_002") == [1, 0, 0, 0]


def test_a_frames_age_is_told_in_seconds_and_is_never_below_none() -> None:
    metrics = Metrics()
    for age_s in (0.1, 0.2, -0.3):
        metrics.frame_analysed("CAM_001", age_s)
    rendered = text(metrics)
    assert 'lpr_frame_age_seconds_bucket{camera="CAM_001",le="0.1"} 2.0' in rendered
    assert 'lpr_frame_age_seconds_count{camera="CAM_001"} 3.0' in rendered
    assert f'lpr_frame_age_seconds_sum{{camera="CAM_001"}} {0.1 + 0.2}' in rendered


def test_two_registries_know_nothing_of_each_other() -> None:
    first, second = Metrics(), Metrics()
    first.event_recorded("license_plate_detected")
    assert first.total("events_recorded") == 1
    assert second.total("events_recorded") == 0


def test_the_age_of_the_newest_picture_is_a_gauge_that_goes_with_its_camera() -> None:
    metrics = Metrics()
    metrics.camera_stopped("CAM_001")
    metrics.camera_freshness("CAM_001", age_s=0.04, lag_s=0.01)
    metrics.camera_freshness("CAM_002", age_s=7.5, lag_s=-0.001)
    rendered = generate_latest(metrics.registry).decode()
    assert 'lpr_newest_frame_age_seconds{camera="CAM_001"} 0.04' in rendered
    assert 'lpr_newest_frame_age_seconds{camera="CAM_002"} 7.5' in rendered
    assert 'lpr_decoder_lag_seconds{camera="CAM_002"} 0.0' in rendered
    metrics.camera_stopped("CAM_002")
    rendered = generate_latest(metrics.registry).decode()
    assert 'seconds{camera="CAM_002"}' not in rendered
    assert 'lpr_newest_frame_age_seconds{camera="CAM_001"}' in rendered


def test_only_the_present_camera_state_is_one_and_losses_are_counted_once() -> None:
    metrics = Metrics()
    for state in (CameraState.CONNECTING, CameraState.RUNNING, CameraState.LOST, CameraState.LOST):
        metrics.camera_state("CAM_001", state)
    rendered = text(metrics)
    assert 'lpr_camera_state{camera="CAM_001",state="lost"} 1.0' in rendered
    assert 'lpr_camera_state{camera="CAM_001",state="running"} 0.0' in rendered
    assert metrics.total("camera_losses", camera="CAM_001") == 1


def test_a_timed_block_that_raises_is_not_counted() -> None:
    metrics = Metrics()
    with metrics.timed(Stage.DETECT):
        pass
    with pytest.raises(ValueError, match="made up"), metrics.timed(Stage.DETECT):
        raise ValueError("made up")
    assert metrics.percentiles(Stage.DETECT).count == 1


def test_percentiles_of_nothing_are_zero() -> None:
    assert Reservoir().percentiles() == Percentiles(0, 0.0, 0.0)
    assert Metrics().percentiles(Stage.READ).count == 0


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, 1.0), (0.5, 5.0), (0.95, 10.0), (0.9, 9.0), (1.0, 10.0)], ids=str
)
def test_percentile_is_the_nearest_rank(share: float, expected: float) -> None:
    assert percentile([float(value) for value in range(1, 11)], share) == expected


def test_reservoir_keeps_the_newest_values_and_counts_all() -> None:
    reservoir = Reservoir(size=4)
    for value in (1000.0, 1000.0, 1.0, 2.0, 3.0, 4.0):
        reservoir.add(value)
    seen = reservoir.percentiles()
    assert (seen.count, seen.p50_ms, seen.p95_ms) == (6, 2.0, 4.0)


def test_threads_lose_no_value() -> None:
    metrics = Metrics()

    def work() -> None:
        for _ in range(500):
            metrics.frames_captured("CAM_001")
            metrics.stage(Stage.DECODE, 1.0)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert metrics.total("frames_captured", camera="CAM_001") == 2000
    assert metrics.percentiles(Stage.DECODE).count == 2000
    assert RESERVOIR_SIZE >= 2000


def test_passages_can_be_read_for_one_camera_and_for_all() -> None:
    metrics = Metrics()
    metrics.passage("CAM_001", PassageOutcome.READ)
    metrics.passage("CAM_002", PassageOutcome.READ)
    metrics.passage("CAM_002", PassageOutcome.UNREADABLE)
    assert metrics.passages(PassageOutcome.READ) == 2
    assert metrics.passages(PassageOutcome.READ, camera_id="CAM_002") == 1
    assert metrics.passages(PassageOutcome.UNREADABLE) == 1


def test_everything_has_its_name_in_the_prometheus_text() -> None:
    metrics = Metrics()
    metrics.queue(QueueStatus(pending=3, bytes=300_000, oldest_age_s=12.5, dead_letters=1))
    metrics.link(up=True)
    metrics.connected()
    metrics.connect_failed("timeout")
    metrics.delivery(Delivery.ACKED)
    metrics.error(ErrorCode.DISK_LOW)
    metrics.command("get_status", ReplyStatus.OK)
    metrics.device("detector", "CPU")
    metrics.build("0.1.0")
    metrics.stage(Stage.COMMIT, 2.0)
    metrics.frame_to_ack(180.0)
    metrics.plates_read("Cổng chính")

    rendered = text(metrics)
    for line in (
        "lpr_queue_pending 3.0",
        "lpr_queue_bytes 300000.0",
        "lpr_queue_oldest_age_seconds 12.5",
        "lpr_queue_dead_letters 1.0",
        "lpr_link_up 1.0",
        "lpr_link_connects_total 1.0",
        'lpr_link_connect_failures_total{reason="timeout"} 1.0',
        'lpr_event_deliveries_total{outcome="acked"} 1.0',
        'lpr_errors_total{code="DISK_LOW"} 1.0',
        'lpr_commands_total{name="get_status",status="ok"} 1.0',
        'lpr_device_info{device="CPU",network="detector"} 1.0',
        'lpr_build_info{version="0.1.0"} 1.0',
        'lpr_stage_seconds_count{stage="commit"} 1.0',
        "lpr_frame_to_ack_seconds_count 1.0",
        'lpr_plate_reads_total{camera="Cổng chính"} 1.0',
    ):
        assert line in rendered
    assert metrics.total("event_deliveries", outcome=Delivery.ACKED.value) == 1
    assert metrics.frame_to_ack_percentiles().p50_ms == 180.0
