"""How the objects of others move, from where their messages saw them: what is learned, what not, what bounds it."""

from dataclasses import replace

import numpy as np
import pytest
from scenarios import cars, message, yawed

from cooptrack_core.config import LatencyConfig
from cooptrack_core.cooperation import motion_history, senders
from cooptrack_core.cooperation.latency import propagate
from cooptrack_core.cooperation.motion_history import MotionHistory
from cooptrack_core.geometry.transforms import apply, inverse, rotate_xy

CONFIG = LatencyConfig()
IDS = np.array([4, 9])


def at(index: int, *, T=None, noise_m: float = 0.0, rng=None, **changes):
    """Two cars in the map at frame `index`: one at 10 m/s along x, one that stands; sent from the pose T."""
    T = np.eye(4) if T is None else T
    place = np.array([[10.0 * 0.1 * index, 5.0, -0.9], [20.0, -5.0, -0.9]])
    if noise_m:
        place[:, :2] += noise_m * rng.normal(size=(2, 2))
    seen = cars((0, 0), (0, 0), instance_id=IDS)
    return message(index, replace(seen, center_m=apply(inverse(T), place)), T=T, **changes)


def learned(indices, **options):
    history = MotionHistory(CONFIG)
    motions = [history.motion(at(index, **options)) for index in indices]
    return motions[-1]


def test_a_first_message_knows_what_its_sender_says():
    first = MotionHistory(CONFIG).motion(at(0))
    np.testing.assert_allclose(first.velocity_mps, 0.0, atol=1e-9)
    np.testing.assert_allclose(first.velocity_variance_m2ps2, CONFIG.speed_std_mps**2, rtol=0.05)
    told = cars((0, 0), velocity_mps=np.array([[7.0, 1.0]]), velocity_variance_m2ps2=np.full((1, 2), 0.5))
    np.testing.assert_allclose(MotionHistory(CONFIG).motion(message(0, told)).velocity_mps, [[7.0, 1.0]])


def test_positions_over_a_second_tell_the_velocity_and_narrow_its_variance():
    motion = learned(range(11))
    np.testing.assert_allclose(motion.velocity_mps, [[10.0, 0.0], [0.0, 0.0]], atol=0.2)
    np.testing.assert_allclose(motion.yaw_rate_radps, 0.0, atol=0.02)
    assert (motion.velocity_variance_m2ps2 < learned(range(3)).velocity_variance_m2ps2).all()


def test_noise_of_positions_is_averaged_out():
    rng = np.random.default_rng(0)
    off = [learned(range(11), noise_m=0.3, rng=rng).velocity_mps - [[10, 0], [0, 0]] for _ in range(40)]
    assert np.sqrt(np.mean(np.square(off))) < 0.6  # 3 m/s from two frames


def test_order_of_arrival_does_not_matter():
    in_order, mixed = MotionHistory(CONFIG), MotionHistory(CONFIG)
    for index in (0, 1, 2, 3, 4, 5):
        last = in_order.motion(at(index))
    for index in (0, 3, 1, 4, 2, 5):
        also = mixed.motion(at(index))
    np.testing.assert_array_equal(last.velocity_mps, also.velocity_mps)
    twice = mixed.motion(at(5))
    np.testing.assert_array_equal(twice.velocity_mps, last.velocity_mps)


def test_a_late_message_is_told_its_own_motion_at_its_own_time():
    history = MotionHistory(CONFIG)
    for index in (0, 1, 2, 3, 5, 6, 7, 8):
        history.motion(at(index))
    late = history.motion(at(4))
    np.testing.assert_allclose(late.velocity_mps[0], [10.0, 0.0], atol=0.2)


def test_gaps_and_jitter_of_stamps_are_taken_as_they_are():
    np.testing.assert_allclose(learned((0, 1, 4, 5, 9)).velocity_mps[0], [10.0, 0.0], atol=0.3)


def test_a_curve_is_told_from_a_line_and_only_of_what_moves():
    history, rate = MotionHistory(CONFIG), 0.4
    for index in range(11):
        a = rate * 0.1 * index
        seen = cars((25 * np.sin(a), 25 * (1 - np.cos(a))), (0, 20), instance_id=IDS)
        motion = history.motion(message(index, seen))
    assert 0.02 < motion.yaw_rate_radps[0] <= rate and motion.yaw_rate_radps[1] == 0.0
    truth = 25 * np.array([np.sin(a + rate / 2), 1 - np.cos(a + rate / 2)])  # half a second later
    turning, straight = (propagate(seen, 0.5, item) for item in (motion, replace(motion, yaw_rate_radps=np.zeros(2))))
    off_m = [np.linalg.norm(item.center_m[0, :2] - truth) for item in (turning, straight)]
    assert off_m[0] < off_m[1] < 1.5


def test_pedestrians_neither_turn_nor_run():
    history = MotionHistory(CONFIG)
    for index in range(11):
        seen = cars((2.0 * index, 0), instance_id=np.array([1]), class_name="pedestrian")  # 20 m/s: ids were mixed up
        motion = history.motion(message(index, seen))
    assert np.hypot(*motion.velocity_mps[0]) <= 4.0 + 1e-9 and motion.yaw_rate_radps[0] == 0.0


def test_what_leaps_is_known_to_be_uncertain():
    steady, leaping = MotionHistory(CONFIG), MotionHistory(CONFIG)
    for index in range(11):
        a = steady.motion(message(index, cars((index, 0), instance_id=np.array([1]))))
        b = leaping.motion(message(index, cars((index + 6 * (index % 2), 0), instance_id=np.array([1]))))
    assert b.velocity_variance_m2ps2[0, 0] > 20 * a.velocity_variance_m2ps2[0, 0]


@pytest.mark.parametrize("speed_mps", [0.0, 12.0])
def test_velocities_are_over_ground_in_the_frame_of_a_sender_that_may_move(speed_mps):
    poses = [yawed(0.5, speed_mps * 0.1 * k, 3.0) for k in range(11)]
    history = MotionHistory(CONFIG)
    for index, T in enumerate(poses):
        motion = history.motion(at(index, T=T))
    np.testing.assert_allclose(rotate_xy(poses[-1], motion.velocity_mps), [[10.0, 0.0], [0.0, 0.0]], atol=0.2)


def test_noise_of_a_roadside_units_pose_is_no_motion():
    rng, history = np.random.default_rng(1), MotionHistory(CONFIG)
    for index in range(11):
        seen = at(index, T=yawed(0.5, 1.0, 3.0))
        noisy = yawed(0.5 + 0.02 * rng.normal(), *(np.array([1.0, 3.0]) + rng.normal(size=2)))
        motion = history.motion(replace(seen, T_map_from_sensor=noisy))
    np.testing.assert_allclose(rotate_xy(yawed(0.5), motion.velocity_mps), [[10.0, 0.0], [0.0, 0.0]], atol=0.2)


def test_sessions_and_objects_without_id_share_nothing():
    history = MotionHistory(CONFIG)
    for index in range(11):
        history.motion(at(index))
    restarted = history.motion(at(11, session=8))
    np.testing.assert_allclose(restarted.velocity_mps, 0.0, atol=1e-9)
    nameless = replace(at(12), instances=replace(at(12).instances, instance_id=np.zeros(2, np.int64)))
    np.testing.assert_allclose(history.motion(nameless).velocity_mps, 0.0, atol=1e-9)


def test_memory_is_bounded_whoever_talks(monkeypatch):
    monkeypatch.setattr(motion_history, "_REPORTS", 5)
    monkeypatch.setattr(senders, "MOST_SENDERS", 3)
    history = MotionHistory(LatencyConfig(history_ms=10000.0))
    for index in range(30):
        history.motion(at(index, agent=f"rsu{index % 7}"))
        history.motion(at(index))
    kept = history._reports
    assert len(kept) <= 3 and max(map(len, kept.values())) <= 5


def test_an_empty_message_and_one_that_names_an_object_twice_do_no_harm():
    history = MotionHistory(CONFIG)
    assert len(history.motion(message(0, cars())).velocity_mps) == 0
    twice = cars((0, 0), (1, 1), instance_id=np.array([5, 5]))
    assert np.isfinite(history.motion(message(1, twice)).velocity_mps).all()


def test_each_method_says_what_it_knows():
    sent = [at(index) for index in range(11)]
    by_method = {}
    for method in ("none", "reported", "kinematic"):
        history = MotionHistory(LatencyConfig(method=method))
        by_method[method] = [history.with_motion(item) for item in sent][-1]
    assert by_method["reported"] is sent[-1]
    np.testing.assert_array_equal(by_method["none"].motion.velocity_mps, 0.0)
    np.testing.assert_allclose(by_method["kinematic"].instances.velocity_mps[0], [10.0, 0.0], atol=0.2)
