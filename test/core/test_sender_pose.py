"""Poses of senders are corrected where that is sure, and left alone where it is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from cooptrack_core.config import PoseCorrectionConfig
from cooptrack_core.cooperation.sender_pose import SenderPoses
from cooptrack_core.geometry.transforms import apply, inverse, make_transform, yaw_of
from cooptrack_core.types import Instances, Message

Float = NDArray[np.float64]

CONFIG = PoseCorrectionConfig()
UNIT = make_transform(Rotation.from_euler("z", 30, degrees=True).as_matrix(), (100.0, 50.0, 6.0))  # T_map_from_sensor
EGO = make_transform(np.eye(3), (120.0, 60.0, 2.0))
OBJECTS_M = np.array([[130.0, 60.0], [145.0, 72.0], [150.0, 50.0], [128.0, 85.0], [160.0, 66.0], [118.0, 90.0]])  # map


def turned(T: Float, yaw_rad: float, shift_m: tuple[float, float]) -> Float:
    """A pose with an error: turned about itself, then shifted in the map."""
    wrong = T.copy()
    wrong[:3, :3] = Rotation.from_euler("z", yaw_rad).as_matrix() @ T[:3, :3]
    wrong[:2, 3] += shift_m
    return wrong


def instances(T_map_from_frame: Float, points_m: Float, **columns: Float) -> Instances:
    """Cars at these places of the map, in a frame."""
    center_m = apply(inverse(T_map_from_frame), np.pad(points_m, ((0, 0), (0, 1)), constant_values=1.0))
    n = len(points_m)
    size_m = np.tile([4.5, 1.9, 1.5], (n, 1))
    ids = np.arange(1, n + 1)
    return Instances.create(
        center_m, size_m, np.zeros(n), np.zeros(n, np.int64), np.full(n, 0.9), instance_id=ids, **columns
    )  # fmt: skip


def message(number: int, T_claimed: Float, reported: Instances, agent: str = "rsu", session: int = 1) -> Message:
    return Message(agent, session, number, number * 100_000_000, f"{agent}/lidar", T_claimed, reported)


def drive(poses: SenderPoses, claimed: Float, frames: int, noise_m: float = 0.1, seed: int = 0) -> Message:
    """Frames in which the vehicle sees all objects and hears of them with a wrong pose; the last message, corrected."""
    rng, last = np.random.default_rng(seed), None
    for number in range(1, frames + 1):
        seen = instances(EGO, OBJECTS_M + rng.normal(0, noise_m, OBJECTS_M.shape))
        told = instances(UNIT, OBJECTS_M + rng.normal(0, noise_m, OBJECTS_M.shape))
        (last,) = poses.corrected([message(number, claimed, told)])
        poses.observe(seen, [last], last.stamp_ns, EGO)
    assert last is not None
    return last


def error(T: Float | None) -> tuple[float, float]:
    """Of a pose of the unit: m on the ground, and rad."""
    assert T is not None
    turn = T[:3, :3] @ UNIT[:3, :3].T
    return float(np.linalg.norm((T - UNIT)[:2, 3])), abs(yaw_of(make_transform(turn, (0, 0, 0))))


def test_a_pose_that_is_wrong_in_all_messages_is_learned_from_what_both_see() -> None:
    claimed = turned(UNIT, -0.02, (1.2, -0.8))
    found = drive(SenderPoses(CONFIG), claimed, frames=60)
    reported = instances(UNIT, OBJECTS_M).center_m

    def off_m(T: Float | None) -> float:
        """Of the objects on the ground, mean."""
        assert T is not None
        return float(np.linalg.norm((apply(T, reported) - apply(UNIT, reported))[:, :2], axis=1).mean())

    assert off_m(claimed) > 1.0 and off_m(found.T_map_from_sensor) < off_m(claimed) / 3


def test_a_good_pose_stays_within_what_pairs_can_tell() -> None:
    for seed in range(5):
        found = drive(SenderPoses(CONFIG), UNIT, frames=60, seed=seed)
        shift_m, yaw_rad = error(found.T_map_from_sensor)
        assert shift_m < 0.1 and yaw_rad < 0.002


def test_exact_poses_without_sightings_stay_bit_for_bit() -> None:
    poses = SenderPoses(CONFIG)
    for number in range(1, 20):
        sent = message(number, UNIT, instances(UNIT, OBJECTS_M))
        (found,) = poses.corrected([sent])
        poses.observe(None, [found], found.stamp_ns, EGO)
        assert found is sent


def test_a_unit_that_stands_still_has_the_mean_of_its_poses() -> None:
    rng, poses = np.random.default_rng(0), SenderPoses(CONFIG)
    claimed, found = [], []
    for number in range(1, 51):
        T = turned(UNIT, rng.normal(0, 0.0175), (rng.normal(), rng.normal()))
        (corrected,) = poses.corrected([message(number, T, instances(UNIT, OBJECTS_M))])
        claimed.append(error(T))
        found.append(error(corrected.T_map_from_sensor))
    rms = np.sqrt(np.mean(np.square([claimed[20:], found[20:]]), axis=1))  # [2, 2]
    assert (rms[1] < rms[0] / 3).all()


def test_a_vehicle_that_drives_keeps_the_poses_it_sends() -> None:
    rng, poses = np.random.default_rng(0), SenderPoses(CONFIG)
    for number in range(1, 40):
        T = turned(UNIT, 0.0, (8.0 * 0.1 * number + rng.normal(0, 0.05), 0.0))
        (found,) = poses.corrected([message(number, T, instances(T, OBJECTS_M))])
        assert found.T_map_from_sensor is not None
        np.testing.assert_array_equal(found.T_map_from_sensor, T)


def test_no_more_is_taken_away_than_the_bounds_allow() -> None:
    config = replace(CONFIG, max_shift_m=0.3, max_yaw_deg=0.1)
    claimed = turned(UNIT, 0.0, (1.5, 0.0))
    poses = SenderPoses(config)
    found = drive(poses, claimed, frames=80)
    report = poses.report("rsu")
    assert found.T_map_from_sensor is not None and report is not None
    moved_m = np.abs((found.T_map_from_sensor - claimed)[:2, 3])
    assert (moved_m <= 0.3 + 1e-9).all() and abs(report.applied[0]) <= np.deg2rad(0.1) + 1e-12


def test_few_pairs_far_apart_change_nothing() -> None:
    poses, claimed = SenderPoses(CONFIG), turned(UNIT, 0.0, (0.5, 0.5))
    sent = message(1, claimed, instances(UNIT, OBJECTS_M[:1]))
    (found,) = poses.corrected([sent])
    poses.observe(instances(EGO, OBJECTS_M[:1]), [found], found.stamp_ns, EGO)
    (next_one,) = poses.corrected([message(2, claimed, instances(UNIT, OBJECTS_M[:1]))])
    assert next_one.T_map_from_sensor is claimed
    report = poses.report("rsu")
    assert report is not None and report.pairs == 1 and not report.applied.any()


def test_an_outlier_among_the_pairs_hardly_counts() -> None:
    rng = np.random.default_rng(1)
    poses = SenderPoses(CONFIG)
    for number in range(1, 61):
        told_m = OBJECTS_M + rng.normal(0, 0.1, OBJECTS_M.shape)
        told_m[0] += (2.5, 2.5)  # one object is reported at a wrong place all the time
        seen = instances(EGO, OBJECTS_M + rng.normal(0, 0.1, OBJECTS_M.shape))
        (last,) = poses.corrected([message(number, UNIT, instances(UNIT, told_m))])
        poses.observe(seen, [last], last.stamp_ns, EGO)
    assert error(last.T_map_from_sensor)[0] < 0.35


def test_one_object_tells_nothing_however_long_it_is_seen() -> None:
    poses = SenderPoses(CONFIG)
    told_m = OBJECTS_M[:1] + np.array([1.5, -1.0])  # a lorry whose middle both sides put elsewhere
    for number in range(1, 201):
        (last,) = poses.corrected([message(number, UNIT, instances(UNIT, told_m))])
        poses.observe(instances(EGO, OBJECTS_M[:1]), [last], last.stamp_ns, EGO)
    assert last.T_map_from_sensor is UNIT


def test_a_new_session_and_a_reset_begin_with_good_faith() -> None:
    claimed = turned(UNIT, 0.02, (1.2, -0.8))
    for begin in ("session", "reset"):
        poses = SenderPoses(CONFIG)
        drive(poses, claimed, frames=60)
        if begin == "reset":
            poses.reset()
        session = 2 if begin == "session" else 1
        sent = message(1, claimed, instances(UNIT, OBJECTS_M), session=session)
        assert poses.corrected([sent]) == [sent]


def test_senders_are_judged_one_by_one() -> None:
    poses, rng = SenderPoses(CONFIG), np.random.default_rng(0)
    wrong = turned(UNIT, 0.0, (2.0, -2.0))
    for number in range(1, 61):
        seen = instances(EGO, OBJECTS_M + rng.normal(0, 0.1, OBJECTS_M.shape))
        told = instances(UNIT, OBJECTS_M)
        both = poses.corrected([message(number, UNIT, told, "good"), message(number, wrong, told, "wrong")])
        poses.observe(seen, both, both[0].stamp_ns, EGO)
    assert error(both[0].T_map_from_sensor)[0] < 0.1
    assert error(both[1].T_map_from_sensor)[0] < error(wrong)[0] / 3


def test_an_empty_frame_or_message_is_no_evidence() -> None:
    poses = SenderPoses(CONFIG)
    (found,) = poses.corrected([message(1, UNIT, Instances.empty())])
    poses.observe(instances(EGO, OBJECTS_M), [found], found.stamp_ns, EGO)
    poses.observe(Instances.empty(), [message(2, UNIT, instances(UNIT, OBJECTS_M))], 200_000_000, EGO)
    report = poses.report("rsu")
    assert report is not None and report.pairs == 0 and poses.report("nobody") is None


@pytest.mark.parametrize("count", [100])
def test_made_up_senders_do_not_fill_the_memory(count: int) -> None:
    poses = SenderPoses(CONFIG)
    for number in range(count):
        poses.corrected([message(1, UNIT, Instances.empty(), f"agent{number}")])
    assert sum(poses.report(f"agent{number}") is not None for number in range(count)) == 32


def test_switched_off_nothing_is_touched() -> None:
    poses = SenderPoses(replace(CONFIG, enabled=False))
    claimed = turned(UNIT, 0.02, (1.2, -0.8))
    found = drive(poses, claimed, frames=30)
    assert found.T_map_from_sensor is claimed
