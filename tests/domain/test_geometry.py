"""Boxes, corners and regions."""

from hypothesis import given
from hypothesis import strategies as st

from lpr.domain.geometry import Box, Quad, crosses_itself, point_in_polygon, polygon_area

sides = st.floats(0.5, 500)
places = st.floats(-500, 500)
boxes = st.builds(Box, places, places, sides, sides)


@given(boxes)
def test_a_box_overlaps_itself_wholly(box: Box) -> None:
    assert abs(box.iou(box) - 1.0) < 1e-9


@given(boxes, boxes)
def test_overlap_is_the_same_from_both_sides_and_a_share(one: Box, other: Box) -> None:
    assert one.iou(other) == other.iou(one)
    assert 0.0 <= one.iou(other) <= 1.0 + 1e-9


def test_half_a_box_shifted_by_half_its_width_overlaps_by_a_third() -> None:
    assert abs(Box(0, 0, 10, 4).iou(Box(5, 0, 10, 4)) - 1 / 3) < 1e-12


@given(boxes)
def test_clipping_never_leaves_the_picture(box: Box) -> None:
    clipped = box.clipped(200, 100)

    assert 0 <= clipped.x <= clipped.right <= 200
    assert 0 <= clipped.y <= clipped.bottom <= 100


@given(boxes)
def test_the_corners_of_a_box_are_framed_by_it(box: Box) -> None:
    framed = Quad.of_box(box).box

    assert abs(framed.x - box.x) < 1e-9
    assert abs(framed.width - box.width) < 1e-6


def test_a_point_in_the_notch_of_a_polygon_is_outside() -> None:
    notched = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 0.2), (0.0, 1.0))

    assert point_in_polygon((0.5, 0.1), notched)
    assert not point_in_polygon((0.5, 0.8), notched)


@given(boxes)
def test_the_area_of_a_boxs_corners_is_its_own_whichever_way_they_go(box: Box) -> None:
    points = Quad.of_box(box).points

    for corners in (points, points[::-1], points[2:] + points[:2]):
        assert abs(polygon_area(corners) - box.area) < 1e-6 * (1 + box.area)
        assert not crosses_itself(corners)


def test_a_bow_tie_crosses_itself_and_a_notch_does_not() -> None:
    assert crosses_itself(((0.0, 0.0), (1.0, 1.0), (1.0, 0.0), (0.0, 1.0)))
    assert not crosses_itself(((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 0.2), (0.0, 1.0)))


def test_a_corner_that_touches_an_edge_does_not_cross_it() -> None:
    assert not crosses_itself(((0.0, 0.0), (2.0, 0.0), (2.0, 2.0), (1.0, 0.0), (0.0, 2.0)))


@given(st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_beside_a_slanted_edge_a_point_is_inside_on_one_side_alone(x: float, y: float) -> None:
    if abs(x + y - 1) > 1e-6:
        assert point_in_polygon((x, y), ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))) == (x + y < 1)
        assert point_in_polygon((x, y), ((1.0, 0.0), (1.0, 1.0), (0.0, 1.0))) == (x + y > 1)
