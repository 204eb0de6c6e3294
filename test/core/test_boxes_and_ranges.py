import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scenarios import cars, yawed

from cooptrack_core.geometry.boxes import corners, move, wrap_angle
from cooptrack_core.geometry.ranges import VEHICLE_RANGE_M, inside, inside_class_range
from cooptrack_core.geometry.transforms import apply, inverse

angles = st.floats(-20, 20)
metres = st.floats(-200, 200)


@given(angles)
def test_wrapped_angles_point_the_same_way(angle):
    wrapped = wrap_angle(angle)
    assert -np.pi <= wrapped < np.pi
    np.testing.assert_allclose([np.cos(wrapped), np.sin(wrapped)], [np.cos(angle), np.sin(angle)], atol=1e-9)


def test_corner_order_is_that_of_the_dataset():
    p = corners([[10.0, 0.0, 1.0]], [[4.0, 2.0, 1.5]], [0.0])[0]
    np.testing.assert_allclose(np.linalg.norm(p[0] - p[1]), 2.0)  # edge 0-1 is the width
    np.testing.assert_allclose(p[0] - p[3], [4.0, 0.0, 0.0])  # heading
    np.testing.assert_allclose(p.mean(axis=0), [10.0, 0.0, 1.0])
    assert (p[:4, 2] < p[4:, 2]).all()


@given(angles, metres, metres)
def test_moving_boxes_moves_their_corners(yaw, x, y):
    T = yawed(yaw, x, y, 3.0)
    before = cars((5.0, 2.0), (-7.0, 30.0), heading_rad=0.4, velocity_mps=np.array([[3.0, 1.0], [0.0, -2.0]]))
    after = move(before, T)
    expected = apply(T, corners(before.center_m, before.size_m, before.heading_rad))
    np.testing.assert_allclose(corners(after.center_m, after.size_m, after.heading_rad), expected, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(after.velocity_mps, axis=1), [np.hypot(3, 1), 2.0])
    back = move(after, inverse(T))
    np.testing.assert_allclose(back.center_m, before.center_m, atol=1e-6)
    np.testing.assert_allclose(back.velocity_mps, before.velocity_mps, atol=1e-9)


def test_moving_nothing_is_fine():
    assert len(move(cars(), yawed(1.0))) == 0


def test_range_bounds_are_inclusive_and_ignore_height():
    assert inside([[51.2, -51.2, 99.0], [51.3, 0.0, 0.0]], VEHICLE_RANGE_M).tolist() == [True, False]


def test_class_ranges():
    assert inside_class_range([[45.0, 0, 0]] * 3, [0, 1, 2]).tolist() == [True, False, False]
