"""Overlap of rotated boxes: cases known by geometry, and counting points."""

import numpy as np
import pytest

from cooptrack_core.geometry.overlap import box_iou, frame_pairs


def iou(a, b):
    """(bev, 3d) of two boxes (x, y, z, length, width, height, heading)."""
    a, b = np.array(a, float), np.array(b, float)
    bev, space = box_iou(a[:3], a[3:6], a[6], b[:3], b[3:6], b[6])
    return float(bev[0]), float(space[0])


CAR = (10, -3, 0.5, 4, 2, 1.5, 0.7)


def test_a_box_overlaps_itself_wholly_and_its_half_turn_too():
    assert iou(CAR, CAR) == pytest.approx((1, 1), abs=1e-12)
    assert iou(CAR, (*CAR[:6], CAR[6] + np.pi)) == pytest.approx((1, 1), abs=1e-12)


def test_a_quarter_turn_leaves_the_square_in_the_middle():
    turned = (*CAR[:6], CAR[6] + np.pi / 2)
    assert iou(CAR, turned) == pytest.approx((4 / 12, 4 / 12), abs=1e-12)


def test_a_square_turned_by_45_degrees_shares_the_regular_octagon():
    octagon = 2 * (np.sqrt(2) - 1)  # of a unit square
    expected = octagon / (2 - octagon)
    assert iou((0, 0, 0, 1, 1, 1, 0), (0, 0, 0, 1, 1, 1, np.pi / 4)) == pytest.approx((expected, expected), abs=1e-12)


def test_boxes_that_only_touch_share_nothing():
    assert iou((0, 0, 0, 4, 2, 1, 0), (4, 0, 0, 4, 2, 1, 0)) == pytest.approx((0, 0), abs=1e-12)
    assert iou((0, 0, 0, 4, 2, 1, 0), (4, 2, 0, 4, 2, 1, 0)) == pytest.approx((0, 0), abs=1e-12)
    assert iou((0, 0, 0, 4, 2, 1, 0), (100, 0, 0, 4, 2, 1, 0)) == (0, 0)


def test_a_contained_box_has_the_ratio_of_the_areas_and_volumes():
    assert iou((1, 1, 0, 4, 2, 2, 0.3), (1, 1, 0, 2, 1, 1, 0.8)) == pytest.approx((2 / 8, 2 / 16), abs=1e-12)


def test_height_counts_in_space_only():
    low, high = (0, 0, 0, 4, 2, 1, 0), (1, 0, 0.5, 4, 2, 1, 0)
    assert iou(low, high) == pytest.approx((6 / 10, 3 / 13), abs=1e-12)
    assert iou(low, (1, 0, 5, 4, 2, 1, 0)) == pytest.approx((6 / 10, 0), abs=1e-12)


def test_far_from_the_origin_of_the_map_nothing_is_lost():
    shift = np.array([4.4e5, 4.4e6, 20, 0, 0, 0, 0])
    near = iou(CAR, (11, -2.5, 0.7, 4.2, 1.9, 1.6, 0.5))
    assert iou(CAR + shift, np.array((11, -2.5, 0.7, 4.2, 1.9, 1.6, 0.5)) + shift) == pytest.approx(near, abs=1e-8)


def test_boxes_without_area_and_no_boxes_at_all():
    assert iou((0, 0, 0, 0, 2, 1, 0), (0, 0, 0, 0, 2, 1, 0)) == (0, 0)
    none = np.zeros((0, 3))
    assert [len(values) for values in box_iou(none, none, np.zeros(0), none, none, np.zeros(0))] == [0, 0]


def test_it_is_symmetric_and_equals_counting_points():
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = (np.array([*rng.uniform(-1, 1, 3), *rng.uniform(1, 4, 3), rng.uniform(-4, 4)]) for _ in range(2))
        assert iou(a, b) == pytest.approx(iou(b, a), abs=1e-12)
        points = rng.uniform(-6, 6, (20_000, 2))
        inside = []
        for x, y, _, length, width, _, heading in (a, b):
            c, s = np.cos(heading), np.sin(heading)
            local = (points - (x, y)) @ np.array([[c, -s], [s, c]])
            inside.append((np.abs(local) < (length / 2, width / 2)).all(axis=1))
        counted = (inside[0] & inside[1]).sum() / (inside[0] | inside[1]).sum()
        assert iou(a, b)[0] == pytest.approx(counted, abs=0.06)


def test_pairs_are_those_of_the_same_frame_in_order():
    rows, columns = frame_pairs(np.array([0, 2, 2, 3]), np.array([1, 2, 2, 3]), 5)
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == [(1, 1), (1, 2), (2, 1), (2, 2), (3, 3)]
    assert [len(part) for part in frame_pairs(np.zeros(0, np.int64), np.array([0]), 1)] == [0, 0]
