import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scenarios import STEP_NS, cars, message, yawed

from cooptrack_core.config import LateFusionConfig
from cooptrack_core.cooperation.late_fusion import fuse
from cooptrack_core.geometry.boxes import move
from cooptrack_core.geometry.transforms import inverse
from cooptrack_core.types import SOURCE_EGO, SOURCE_REMOTE, Instances

CONFIG = LateFusionConfig()
STAMP = 10**18


def test_pairs_merge_and_both_sides_keep_what_only_they_see():
    ego = cars((10, 0), (20, 8))
    remote = cars((10.4, 0.2), (30, -8), score=0.6)
    fused, associations = fuse(ego, [message(0, remote)], STAMP, np.eye(4), CONFIG)
    assert fused.sources.tolist() == [SOURCE_EGO | SOURCE_REMOTE, SOURCE_EGO, SOURCE_REMOTE]
    assert fused.agents == (("rsu",), (), ("rsu",))
    assert associations.pair_ego_index.tolist() == [0] and associations.pair_instance_index.tolist() == [0]
    assert associations.unmatched_ego_index.tolist() == [1]
    assert associations.unmatched_remote_instance_index.tolist() == [1]
    assert 10.0 < fused.instances.center_m[0, 0] < 10.4
    assert fused.instances.score[0] > 0.8


def test_merged_position_is_weighted_by_variance():
    ego = cars((10, 0), position_variance_m2=np.full((1, 2), 4.0))
    remote = cars((11, 0), position_variance_m2=np.full((1, 2), 1.0))
    fused, _ = fuse(ego, [message(0, remote)], STAMP, np.eye(4), LateFusionConfig(remote_std_m=0.1))
    np.testing.assert_allclose(fused.instances.center_m[0, 0], 10.8)
    np.testing.assert_allclose(fused.instances.position_variance_m2[0], 0.8)


def test_old_messages_are_moved_along_their_velocity():
    remote = cars((20, 0), velocity_mps=np.array([[10.0, 0.0]]))
    fused, associations = fuse(Instances.empty(), [message(-2, remote)], STAMP, np.eye(4), CONFIG)
    np.testing.assert_allclose(fused.instances.center_m[0, :2], [22.0, 0.0])
    np.testing.assert_allclose(associations.messages[0].age_ms, 200.0)
    fresh, _ = fuse(Instances.empty(), [message(0, remote)], STAMP, np.eye(4), CONFIG)
    assert fused.instances.position_variance_m2[0, 0] > fresh.instances.position_variance_m2[0, 0]


def test_a_message_slightly_ahead_is_moved_back():
    remote = cars((20, 0), velocity_mps=np.array([[10.0, 0.0]]))
    ahead = message(0, remote, stamp_ns=STAMP + STEP_NS // 2)
    fused, associations = fuse(Instances.empty(), [ahead], STAMP, np.eye(4), CONFIG)
    np.testing.assert_allclose(fused.instances.center_m[0, 0], 19.5)
    assert associations.messages[0].age_ms == -50.0


def test_nothing_from_anyone_is_fine():
    for messages in ([], [message(0, cars())]):
        fused, associations = fuse(Instances.empty(), messages, STAMP, np.eye(4), CONFIG)
        assert len(fused.instances) == 0 and len(associations.messages) == len(messages)


def test_empty_message_keeps_ego_instances_unchanged():
    ego = cars((10, 0), (20, 5))
    fused, _ = fuse(ego, [message(0, cars())], STAMP, np.eye(4), CONFIG)
    np.testing.assert_array_equal(fused.instances.center_m, ego.center_m)
    np.testing.assert_array_equal(fused.instances.score, ego.score)


def test_the_own_vehicle_and_what_is_out_of_range_are_not_reported_to_oneself():
    fused, _ = fuse(Instances.empty(), [message(0, cars((0.5, 0.2), (80, 0), (15, 0)))], STAMP, np.eye(4), CONFIG)
    np.testing.assert_allclose(fused.instances.center_m[:, 0], [15.0])


def test_far_and_other_class_instances_are_not_paired():
    ego = cars((10, 0))
    for remote in (cars((14, 0)), cars((10, 0), class_name="bicycle")):
        _, associations = fuse(ego, [message(0, remote)], STAMP, np.eye(4), CONFIG)
        assert len(associations.pair_ego_index) == 0


def test_two_agents_that_see_the_same_hidden_object_make_one_instance():
    first, second = message(0, cars((30, 5))), message(0, cars((30.3, 5)), agent="rsu2")
    fused, associations = fuse(cars((10, 0)), [first, second], STAMP, np.eye(4), CONFIG)
    assert len(fused.instances) == 2 and fused.agents[1] == ("rsu", "rsu2")
    assert sorted(associations.unmatched_remote_message_index.tolist()) == [0, 1]


def test_a_flipped_detection_follows_the_partner():
    ego = cars((10, 0), heading_rad=np.pi - 0.1)
    fused, _ = fuse(ego, [message(0, cars((10, 0), heading_rad=0.0))], STAMP, np.eye(4), CONFIG)
    assert np.cos(fused.instances.heading_rad[0]) > 0.9


@settings(max_examples=50)
@given(st.floats(-3, 3), st.floats(-500, 500), st.floats(-500, 500), st.floats(-3, 3))
def test_a_rigid_motion_of_the_whole_scene_changes_nothing_in_the_ego_frame(yaw, x, y, remote_yaw):
    world = cars((10, 0), (20, 8), (30, -8), velocity_mps=np.array([[5.0, 0], [0, 3.0], [-2.0, 1.0]]))
    T_map_from_rsu = yawed(remote_yaw, 40.0, -10.0, 6.0)
    T_move = yawed(yaw, x, y)

    def result(T):
        remote = message(-1, move(world, inverse(T_map_from_rsu)), T=T @ T_map_from_rsu)
        return fuse(cars((10.2, 0.1), (0, 20)), [remote], STAMP, T, CONFIG)[0].instances

    still, moved = result(np.eye(4)), result(T_move)
    np.testing.assert_allclose(moved.center_m, still.center_m, atol=1e-6)
    np.testing.assert_allclose(np.cos(moved.heading_rad - still.heading_rad), 1.0, atol=1e-9)
    np.testing.assert_allclose(np.nan_to_num(moved.velocity_mps), np.nan_to_num(still.velocity_mps), atol=1e-6)
