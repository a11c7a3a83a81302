"""Made-up traffic: each vehicle once, right, in order; and the traffic itself is what it says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from lpr.domain.choices import EmitRule
from lpr.domain.passage import Passage
from lpr.testing.traffic import (
    CAR,
    FAR_M,
    HEIGHT,
    NEAR_M,
    WIDTH,
    Conditions,
    Score,
    Street,
    identity_of,
    project,
    score,
)
from lpr.tracking.grammar import decide
from lpr.tracking.repeat import RepeatGuard
from lpr.tracking.settings import TrackingSettings
from lpr.tracking.tracker import PassageTracker

LEGIBLE = Conditions(damaged=0.0, deceptive=0.0, slipping=0.0, ruined=0.0)


def play(street: Street, emit: EmitRule = EmitRule.SETTLED) -> tuple[Score, list[Passage]]:
    """All the street's frames through a tracker, and how it did."""
    traffic, passages = street.traffic(), list[Passage]()
    subject = PassageTracker(TrackingSettings(camera_id="CAM", emit=emit), RepeatGuard(), decide)
    for frame, reads in traffic.frames():
        passages += subject.update(frame, reads)
    passages += subject.finish(traffic.instant(traffic.end_s + 5))
    return score(traffic, passages), passages


def in_order(passages: Sequence[Passage]) -> bool:
    moments = [each.decided_at.monotonic_s for each in passages]
    return moments == sorted(moments)


@pytest.mark.parametrize("emit", list(EmitRule))
def test_legible_vehicles_come_out_once_right_and_in_order(emit: EmitRule) -> None:
    """By seeds that are named: what Hypothesis throws depends on which other modules are loaded. On 280 others of these
    streets one vehicle in a thousand, which was seen well in two to five frames of a dozen, was told as unreadable.
    """
    clear = right = 0
    for seed in range(5):
        street = Street(seed, LEGIBLE)
        street.fill(15)
        result, passages = play(street, emit)
        assert (result.misread, result.merged, result.split, result.ghosts) == (0, 0, 0, 0), result.faults
        assert result.right + result.unread == result.clear, result.faults
        assert in_order(passages)
        clear, right = clear + result.clear, right + result.right

    assert clear > 70
    assert right >= 0.98 * clear


@pytest.mark.parametrize("scene", ["pack", "row", "queue", "crossing"])
def test_every_hard_scene_comes_out_whole_at_two_frames_a_second(scene: str) -> None:
    street = Street(4, Conditions(fps=2.0, damaged=0.0, deceptive=0.0, ruined=0.0))
    for _ in range(5):
        getattr(street, scene)()
    result, _ = play(street)

    assert result.clear > 5
    assert (result.merged, result.split, result.misread) == (0, 0, 0), result.faults


def test_a_bad_day_loses_and_doubles_no_vehicle() -> None:
    street = Street(77, Conditions(lost_frame=0.08, lost_run=0.01, missed=0.1, false_alarm=0.1, shake_px=12.0))
    street.fill(80)
    result, _ = play(street)

    assert result.clear > 60
    assert (result.merged, result.split) == (0, 0), result.faults
    assert result.right >= 0.98 * result.clear, result.faults


def test_a_parked_car_among_the_traffic_is_reported_once() -> None:
    street = Street(5, LEGIBLE)
    street.fill(20)
    street.parked(street.now_s)
    result, passages = play(street)

    parked = street.vehicles[-1].text
    assert [each.plate.text for each in passages].count(parked) == 1
    assert result.split == 0, result.faults


def test_the_region_of_interest_hides_a_lane() -> None:
    street = Street(6, Conditions(roi=()))
    street.parked(10.0, x=-1.5, z=6.0)
    traffic = street.traffic()
    right_half = ((0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0))
    subject = PassageTracker(TrackingSettings(camera_id="CAM", roi=right_half), RepeatGuard(), decide)

    assert [passage for frame, reads in traffic.frames() for passage in subject.update(frame, reads)] == []


# The traffic itself


def test_one_seed_makes_one_traffic() -> None:
    def reads(seed: int) -> list[tuple[float, str]]:
        street = Street(seed)
        street.fill(5)
        return [
            (frame.captured_at.monotonic_s, read.plate.text)
            for frame, found in street.traffic().frames()
            for read in found
        ]

    assert reads(3) == reads(3)
    assert reads(3) != reads(4)


def test_the_whole_lane_is_in_the_picture() -> None:
    _, far, _ = project(0.0, CAR.plate_above_ground, FAR_M)
    _, near, _ = project(0.0, CAR.plate_above_ground, NEAR_M)

    # Plates come in at the top and leave cut by the lower edge.
    assert 0 < far < 200
    assert near > HEIGHT
    assert project(0.0, 0.6, 6.0)[0] == WIDTH / 2


def test_probabilities_are_probabilities_and_the_crop_knows_its_vehicle() -> None:
    street = Street(9)
    street.fill(8)
    identities = {each.identity for each in street.vehicles} | {0}
    for _, reads in street.traffic().frames():
        for read in reads:
            np.testing.assert_allclose(read.probabilities.sum(axis=1), 1.0, atol=1e-5)
            assert identity_of(read) in identities
            assert 0 <= read.box.x <= read.box.right <= WIDTH


def test_texts_are_never_used_twice_and_rows_hold_lookalikes() -> None:
    street = Street(10)
    street.fill(200)
    texts = [each.text for each in street.vehicles]
    assert len(set(texts)) == len(texts)

    street = Street(11)
    street.row()
    first, second = street.vehicles[0].text, street.vehicles[1].text
    assert sum(a != b for a, b in zip(first, second, strict=True)) <= 2


def test_covered_and_cut_plates_are_read_in_part() -> None:
    street = Street(12)
    for _ in range(4):
        street.pack()
    whole = {each.identity: len(each.text) for each in street.vehicles}
    lengths = [
        len(read.plate.text) / whole[identity_of(read)]
        for _, reads in street.traffic().frames()
        for read in reads
        if identity_of(read)
    ]

    assert 0.02 < sum(each < 0.95 for each in lengths) / len(lengths) < 0.5


def test_the_score_sees_every_kind_of_fault() -> None:
    street = Street(13, LEGIBLE)
    for _ in range(6):
        street.car()
    result, passages = play(street)
    assert (result.right, result.clear, result.sure, result.clear_sure) == (6, 6, 6, 6), result.faults

    traffic = street.traffic()
    list(traffic.frames())
    assert score(traffic, passages[1:]).merged == 1
    assert score(traffic, [*passages, passages[0]]).split == 1
    swapped = [*passages[1:], *passages[:1]]
    assert score(traffic, swapped).right == 6
