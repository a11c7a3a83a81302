"""Raw numbers to detections, on arrays small enough to read."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from lpr.domain.errors import VisionError
from lpr.vision.decode import MAX_DETECTIONS, clusters, decode, iou
from lpr.vision.preprocess import Letterbox

AS_IT_IS = Letterbox(1.0, 0, 0, 320, 320)


def cell(confidence: float, left: float, top: float, right: float, bottom: float) -> list[float]:
    """A cell whose plate stands upright."""
    return [confidence, left, top, right, bottom, left, top, right, top, right, bottom, left, bottom]


def output(*cells: list[float]) -> NDArray[np.float32]:
    """[1, 13, 1, n]: what a network with one row of cells answers."""
    return np.array(cells, np.float32).T.reshape(1, 13, 1, len(cells))


def test_cells_of_one_plate_become_one_detection_and_the_surest_gives_its_confidence() -> None:
    found = decode(output(cell(0.7, 10, 10, 110, 60), cell(0.9, 12, 10, 112, 60)), AS_IT_IS, 0.4)
    assert len(found) == 1
    assert found[0].confidence == pytest.approx(0.9)


def test_cells_that_agree_share_the_corners_by_how_sure_they_are() -> None:
    found = decode(output(cell(0.8, 10, 10, 110, 60), cell(0.4, 13, 10, 113, 60)), AS_IT_IS, 0.4)
    assert found[0].corners.top_left == pytest.approx((11, 10))
    assert found[0].box.x == pytest.approx(11)


def test_a_cell_that_overlaps_but_does_not_agree_has_no_say() -> None:
    found = decode(output(cell(0.8, 0, 0, 100, 50), cell(0.7, 0, 0, 60, 50)), AS_IT_IS, 0.4)
    assert len(found) == 1
    assert found[0].box.width == pytest.approx(100)


def test_two_plates_side_by_side_stay_two_surest_first() -> None:
    found = decode(output(cell(0.6, 0, 0, 50, 40), cell(0.9, 60, 0, 110, 40)), AS_IT_IS, 0.4)
    assert [round(each.confidence, 1) for each in found] == [0.9, 0.6]


def test_cells_under_the_threshold_are_left_out() -> None:
    assert decode(output(cell(0.39, 0, 0, 50, 40)), AS_IT_IS, 0.4) == ()


def test_numbers_that_are_none_are_left_out() -> None:
    assert decode(output(cell(0.9, float("nan"), 0, 50, 40), cell(0.9, 0, 0, float("inf"), 40)), AS_IT_IS, 0.4) == ()


def test_pixels_of_the_input_become_pixels_of_the_picture() -> None:
    place = Letterbox.fitting((1280, 720), (320, 320))  # scale 1/4, 70 rows of grey above
    found = decode(output(cell(0.9, 80, 150, 120, 160)), place, 0.4)
    assert (found[0].box.x, found[0].box.y) == pytest.approx((320, 320))
    assert (found[0].box.width, found[0].box.height) == pytest.approx((160, 40))
    assert found[0].corners.bottom_right == pytest.approx((480, 360))


def test_a_box_without_area_is_a_detection_and_not_an_endless_loop() -> None:
    assert len(decode(output(cell(0.9, 10, 10, 10, 10)), AS_IT_IS, 0.4)) == 1


def test_a_picture_full_of_noise_gives_a_bounded_number_of_plates() -> None:
    cells = [cell(0.9, 20.0 * i, 0, 20.0 * i + 10, 10) for i in range(100)]
    assert len(decode(output(*cells), AS_IT_IS, 0.4)) == MAX_DETECTIONS


@pytest.mark.parametrize("shape", [(1, 12, 4, 4), (2, 13, 4, 4), (13, 4, 4)])
def test_another_shape_is_an_error_and_not_an_empty_picture(shape: tuple[int, ...]) -> None:
    with pytest.raises(VisionError, match="shape"):
        decode(np.zeros(shape, np.float32), AS_IT_IS, 0.4)


def test_iou_of_apart_equal_and_half_covered_boxes() -> None:
    box = np.array([0, 0, 10, 10], np.float32)
    others = np.array([[20, 20, 30, 30], [0, 0, 10, 10], [0, 0, 10, 5]], np.float32)
    assert iou(box, others).tolist() == pytest.approx([0, 1, 0.5])


def test_every_cluster_begins_with_its_surest_cell() -> None:
    cells = np.array([cell(0.9, 0, 0, 50, 40), cell(0.8, 100, 0, 150, 40), cell(0.7, 1, 0, 51, 40)], np.float32)
    assert [round(float(each[0, 0]), 1) for each in clusters(cells)] == [0.9, 0.8]
