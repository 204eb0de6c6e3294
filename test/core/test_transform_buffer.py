import numpy as np
import pytest
from scenarios import yawed

from cooptrack_core.geometry.transform_buffer import Extrapolation, NotConnected, TransformBuffer, UnknownFrame
from cooptrack_core.geometry.transforms import apply


def driving_buffer():
    buffer = TransformBuffer()
    buffer.set_transform("map", "vehicle", 1_000, yawed(0.0, 0.0))
    buffer.set_transform("map", "vehicle", 2_000, yawed(np.pi / 2, 10.0))
    buffer.set_transform("vehicle", "lidar", 0, yawed(0.0, 1.0), static=True)
    buffer.set_transform("map", "rsu", 0, yawed(np.pi, 100.0), static=True)
    return buffer


def test_half_way_pose_is_half_the_turn_and_half_the_way():
    np.testing.assert_allclose(driving_buffer().lookup("map", "vehicle", 1_500), yawed(np.pi / 4, 5.0), atol=1e-12)


def test_chain_through_static_and_common_ancestor():
    point_in_rsu = apply(driving_buffer().lookup("rsu", "lidar", 2_000), [[2.0, 0.0, 0.0]])
    # lidar point (2, 0) is (3, 0) in the vehicle, (10, 3) in the map, (90, -3) from the roadside looking back
    np.testing.assert_allclose(point_in_rsu, [[90.0, -3.0, 0.0]], atol=1e-9)


def test_lookup_there_and_back_is_identity():
    buffer = driving_buffer()
    there, back = buffer.lookup("rsu", "lidar", 1_700), buffer.lookup("lidar", "rsu", 1_700)
    np.testing.assert_allclose(there @ back, np.eye(4), atol=1e-9)


def test_time_zero_is_the_latest_common_time():
    np.testing.assert_allclose(driving_buffer().lookup("map", "vehicle", 0), yawed(np.pi / 2, 10.0), atol=1e-12)


@pytest.mark.parametrize("stamp_ns", [999, 2_001])
def test_no_pose_is_invented_outside_the_known_span(stamp_ns):
    with pytest.raises(Extrapolation, match="vehicle"):
        driving_buffer().lookup("map", "lidar", stamp_ns)


def test_unknown_and_unconnected_frames_are_told_apart():
    buffer = driving_buffer()
    buffer.set_transform("island", "palm", 0, np.eye(4), static=True)
    with pytest.raises(UnknownFrame, match="nowhere"):
        buffer.lookup("map", "nowhere", 1_500)
    with pytest.raises(NotConnected, match="palm"):
        buffer.lookup("map", "palm", 1_500)


def test_clear_keeps_static_transforms():
    buffer = driving_buffer()
    buffer.clear()
    np.testing.assert_allclose(buffer.lookup("map", "rsu", 5), yawed(np.pi, 100.0), atol=1e-12)
    with pytest.raises(NotConnected):
        buffer.lookup("map", "vehicle", 1_500)


def test_old_poses_leave_the_history():
    buffer = TransformBuffer(history_ns=1_000)
    for stamp_ns in (1_000, 1_500, 2_600):
        buffer.set_transform("map", "vehicle", stamp_ns, np.eye(4))
    with pytest.raises(Extrapolation, match="past"):
        buffer.lookup("map", "vehicle", 1_200)


def test_broken_poses_are_refused():
    with pytest.raises(ValueError, match="not finite"):
        TransformBuffer().set_transform("map", "vehicle", 1, np.full((4, 4), np.nan))


def test_a_loop_of_frames_is_named_and_does_not_hang():
    buffer = TransformBuffer()
    buffer.set_transform("a", "b", 0, np.eye(4), static=True)
    buffer.set_transform("b", "a", 0, np.eye(4), static=True)
    with pytest.raises(NotConnected, match="loop"):
        buffer.lookup("a", "b", 1)
