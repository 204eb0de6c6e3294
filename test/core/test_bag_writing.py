"""to-bag: topics, stamps, order, transforms, QoS and type hashes."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from bag_log import everything
from rosbags.interfaces import QosDurability, QosReliability
from rosbags.rosbag2 import Reader
from tiny_spd import (
    K_VEHICLE,
    OFFSET_M,
    ROAD_USERS,
    T_VEHICLE_CAMERA,
    TinySpd,
    dump,
)

from cooptrack_core.data.bag import Bag, stamp_of, time_ns
from cooptrack_core.data.bag_events import bag_context, matrix_of_pose
from cooptrack_core.data.message_definitions import typestore
from cooptrack_core.data.to_bag import BagOptions, sequence_to_bag
from cooptrack_core.data.v2x_seq import Dataset
from cooptrack_core.geometry.transforms import apply
from cooptrack_core.types import VIEW_OUTSIDE, VIEW_UNKNOWN

FRAME_TOPICS = ["frame_info", "image/compressed", "camera_info", "detections_in"]


@pytest.fixture(scope="module")
def spd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return TinySpd(tmp_path_factory.mktemp("data") / "spd").write()


@pytest.fixture(scope="module")
def bag_path(spd: Path) -> Path:
    path = spd.parent / "bag"
    summary = sequence_to_bag(Dataset(spd), "0010", path)
    assert (summary.vehicle_frames, summary.roadside_frames, summary.images, summary.warnings) == (4, 4, 8, [])
    return path


def test_topics_have_the_types_of_the_interface(bag_path: Path) -> None:
    with Bag(bag_path) as bag:
        topics = bag.topics
    expected = {"/tf": "tf2_msgs/msg/TFMessage", "/tf_static": "tf2_msgs/msg/TFMessage"}
    for agent in ("vehicle", "rsu"):
        expected |= {
            f"/{agent}/frame_info": "cooptrack_msgs/msg/FrameInfo",
            f"/{agent}/image/compressed": "sensor_msgs/msg/CompressedImage",
            f"/{agent}/camera_info": "sensor_msgs/msg/CameraInfo",
            f"/{agent}/detections_in": "vision_msgs/msg/Detection3DArray",
        }
    assert topics == expected | {"/vehicle/ground_truth": "cooptrack_msgs/msg/TrackedObjectArray"}


def test_log_times_strictly_increase_and_static_transforms_come_first(bag_path: Path) -> None:
    log = everything(bag_path)
    assert log[0][0] == "/tf_static"
    assert all(a < b for a, b in itertools.pairwise(t for _, t, _ in log))


def test_frame_is_logged_just_after_the_first_pose_later_than_its_stamps(bag_path: Path) -> None:
    log = everything(bag_path)
    poses = [t for topic, t, _ in log if topic == "/tf"]
    frames = 0
    for topic, log_ns, message in log:
        if topic.endswith("/frame_info"):
            known = max(stamp_of(message), time_ns(message.image_stamp))
            first_later = next(t for t in poses if t > known)
            next_pose = next(t for t in poses if t > first_later)
            assert first_later < log_ns < min(first_later + 1_000_000, next_pose)
            frames += 1
    assert frames == 8


def test_messages_of_a_frame_come_in_order_with_their_stamps(bag_path: Path) -> None:
    log = everything(bag_path)
    for agent in ("vehicle", "rsu"):
        own = [(t.removeprefix(f"/{agent}/"), m) for t, _, m in log if t.startswith(f"/{agent}/") and "truth" not in t]
        assert [t for t, _ in own] == FRAME_TOPICS * 4
        for i in range(0, len(own), 4):
            info, image, camera, detections = (m for _, m in own[i : i + 4])
            assert stamp_of(image) == stamp_of(camera) == time_ns(info.image_stamp)
            assert stamp_of(detections) == stamp_of(info)
            assert (image.header.frame_id, camera.header.frame_id) == (f"{agent}/camera", f"{agent}/camera")
            assert (info.header.frame_id, detections.header.frame_id) == (f"{agent}/lidar", f"{agent}/lidar")
            assert (info.agent_id, info.sequence_id) == (agent, "0010")


def test_poses_bracket_every_frame_at_50_hz_and_hit_every_perception_stamp(bag_path: Path) -> None:
    log = everything(bag_path)
    poses = [(t, m) for topic, t, m in log if topic == "/tf"]
    stamps = [t for t, _ in poses]
    assert all(stamp_of(m.transforms[0]) == t for t, m in poses)
    assert max(b - a for a, b in itertools.pairwise(stamps)) <= 22_000_000
    perception = [stamp_of(m) for topic, _, m in log if topic == "/vehicle/frame_info"]
    assert set(perception) <= set(stamps)
    assert stamps[0] < min(perception) - 100_000_000
    assert stamps[-1] >= log[-1][1] - 1_000_000


def test_transforms_repeat_the_chain_of_the_dataset(spd: Path, bag_path: Path) -> None:
    dataset, context = Dataset(spd), bag_context(bag_path, ["vehicle", "rsu"])
    for row in dataset.frames("vehicle"):
        lookup = context.transforms.lookup
        plain, registered = (lookup("map", f"vehicle/{f}", row.stamp_ns) for f in ("lidar", "lidar_registered"))
        np.testing.assert_allclose(plain, dataset.T_map_from_lidar(row.frame_id), atol=1e-9)
        np.testing.assert_allclose(registered, dataset.T_map_from_lidar_registered(row.frame_id), atol=1e-9)
        E_inverse = lookup("vehicle/lidar", "vehicle/lidar_registered", row.stamp_ns)
        np.testing.assert_allclose(E_inverse[:3, 3], [-OFFSET_M[0], -OFFSET_M[1], 0], atol=1e-12)
        T = lookup("vehicle/lidar_registered", "rsu/lidar", row.stamp_ns)
        np.testing.assert_allclose(T, dataset.T_lidar_from_virtuallidar(row.frame_id), atol=1e-8)
    camera = lookup("vehicle/camera", "vehicle/lidar", 0)
    np.testing.assert_allclose(camera, T_VEHICLE_CAMERA, atol=1e-9)


def test_base_link_stands_on_the_road(bag_path: Path) -> None:
    context = bag_context(bag_path, ["vehicle"])
    stamp = next(iter(context.frame_infos["vehicle"]))
    base = context.transforms.lookup("map", "vehicle/base_link", stamp)
    assert base[2, 3] == pytest.approx(ROAD_USERS[0].position[2] - ROAD_USERS[0].size[2] / 2, abs=1e-6)
    T_novatel_from_base = context.transforms.lookup("vehicle/novatel", "vehicle/base_link", stamp)
    np.testing.assert_allclose(T_novatel_from_base[:3, :3], np.eye(3))


def test_camera_info_is_complete_and_projects_as_the_dataset_does(spd: Path, bag_path: Path) -> None:
    infos = {t: m for t, _, m in everything(bag_path) if t.endswith("camera_info")}
    vehicle = infos["/vehicle/camera_info"]
    assert (vehicle.width, vehicle.height, vehicle.distortion_model) == (64, 48, "plumb_bob")
    np.testing.assert_array_equal(vehicle.k, K_VEHICLE)
    np.testing.assert_array_equal(vehicle.d, np.zeros(5))
    np.testing.assert_array_equal(vehicle.r, np.eye(3).reshape(-1))
    np.testing.assert_array_equal(vehicle.p.reshape(3, 4)[:, :3].reshape(-1), K_VEHICLE)
    # The roadside extrinsics are skewed; TF and K' together give the pixels of the raw matrices.
    calibration = Dataset(spd).infrastructure_calibration("000500")
    points = np.array([[30.0, 3.0, 1.0], [60.0, -12.0, 0.0]])
    expected, _ = calibration.camera.project(apply(calibration.T_camera_from_virtuallidar, points))
    context = bag_context(bag_path, ["rsu"])
    T = context.transforms.lookup("rsu/camera", "rsu/lidar", 0)
    pixels, _ = context.cameras["rsu"].project(apply(T, points))
    np.testing.assert_allclose(pixels, expected, atol=1e-6)


def test_ground_truth_holds_the_cooperative_labels_with_velocity(bag_path: Path) -> None:
    frames = [m for t, _, m in everything(bag_path) if t == "/vehicle/ground_truth"]
    assert [m.frame_index for m in frames] == [1, 2, 3, 4]
    middle = frames[1]
    assert (middle.mode, middle.agent_id, middle.pose_known, middle.header.frame_id) == (
        "ground_truth", "vehicle", True, "vehicle/lidar",
    )  # fmt: skip
    assert [o.track_id for o in middle.objects] == [1, 2, 3]
    assert [o.class_id for o in middle.objects] == [0, 2, 1]
    assert [o.sources for o in middle.objects] == [3, 1, 2]
    assert all(o.view == VIEW_UNKNOWN and np.isnan(o.visible_fraction) for o in middle.objects)
    T = matrix_of_pose(middle.map_from_frame)
    for item, user in zip(middle.objects, ROAD_USERS, strict=True):
        v = item.twist.twist.linear
        np.testing.assert_allclose((T[:3, :3] @ [v.x, v.y, 0])[:2], user.velocity, atol=1e-6)
        assert (item.size.x, item.size.y, item.size.z) == user.size


def test_visibility_of_the_sidecar_reaches_the_ground_truth(tmp_path: Path) -> None:
    root = TinySpd(tmp_path / "spd").write()
    seen = {"visible_px": 30, "unoccluded_px": 60, "view": "visible"}
    gone = {"visible_px": 0, "unoccluded_px": 0, "view": "outside"}
    objects = {f"{i:06d}": {"vehicle": gone if i == 3 else seen, "infrastructure": seen} for i in (1, 2, 3)}
    dump(root / "visibility" / "000000.json", {"schema": "cooptrack/visibility/1", "objects": objects})
    sequence_to_bag(Dataset(root), "0010", tmp_path / "bag")
    first = next(m for t, _, m in everything(tmp_path / "bag") if t == "/vehicle/ground_truth")
    assert [o.view for o in first.objects] == [1, 1, VIEW_OUTSIDE]
    assert [o.visible_fraction for o in first.objects[:2]] == [0.5, 0.5]
    assert np.isnan(first.objects[2].visible_fraction)


def test_detections_never_carry_an_id_and_name_their_class(bag_path: Path) -> None:
    arrays = [m for t, _, m in everything(bag_path) if t.endswith("detections_in")]
    detections = [d for m in arrays for d in m.detections]
    assert detections
    assert {d.id for d in detections} == {""}
    names = {d.results[0].hypothesis.class_id for d in detections}
    assert names <= {"car", "bicycle", "pedestrian", "traffic_cone"}


def test_same_seed_gives_the_same_messages_and_another_seed_others(spd: Path, bag_path: Path, tmp_path: Path) -> None:
    def raw(path: Path) -> list[tuple[str, int, bytes]]:
        with Reader(path) as reader:
            return [(c.topic, t, bytes(data)) for c, t, data in reader.messages()]

    sequence_to_bag(Dataset(spd), "0010", tmp_path / "again")
    sequence_to_bag(Dataset(spd), "0010", tmp_path / "other", BagOptions(seed=5))
    assert raw(tmp_path / "again") == raw(bag_path)
    assert raw(tmp_path / "other") != raw(bag_path)


def test_metadata_has_qos_hashes_and_chunk_compression(bag_path: Path) -> None:
    with Reader(bag_path) as reader:
        connections = {c.topic: c for c in reader.connections}
        assert not reader.compression_mode  # zstd is inside the mcap chunks, where every reader expects it
    offered = {topic: c.ext.offered_qos_profiles[0] for topic, c in connections.items()}
    assert all(q.reliability == QosReliability.RELIABLE for q in offered.values())
    assert offered["/tf_static"].durability == QosDurability.TRANSIENT_LOCAL
    assert offered["/tf"].durability == QosDurability.VOLATILE
    assert offered["/vehicle/image/compressed"].depth == 10
    for connection in connections.values():
        assert connection.digest == typestore().hash_rihs01(connection.msgtype)
        assert connection.msgdef.data
    assert b"zstd" in next(bag_path.glob("*.mcap")).read_bytes()


# Printed by the interface specification: the hashes of the upstream packages.
UPSTREAM = {
    "vision_msgs/msg/Detection3DArray": "793f5eab9595ac1c0da07873cc859db42eae51f0ee76056db8562515d830e018",
    "vision_msgs/msg/Detection3D": "ddd703be132ab0b69d33121f1bb034132bfbb3b0ac5f9fb1516005ba1c8a265b",
    "vision_msgs/msg/ObjectHypothesisWithPose": "41c12344c0396c48b81df12467c192d99b2a0eb1463c5c37194e4223251c80bc",
    "vision_msgs/msg/ObjectHypothesis": "51da43cec11c01957a64d1e05a24acd18aae7745ec30b74348ad5f6d634f7f90",
    "vision_msgs/msg/BoundingBox3D": "bbb73a65c163d7f9bb29009c7bde9f7faa576bd2d23299c4511d19230dab4698",
    "tf2_msgs/msg/TFMessage": "e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087",
    "tf2_msgs/msg/TF2Error": "db2485e7d6a0ec75bf087e058ee45df682acc3a621ca7780503d10aac141809a",
}


@pytest.mark.parametrize("name", UPSTREAM)
def test_type_hash_is_that_of_the_upstream_package(name: str) -> None:
    assert typestore().hash_rihs01(name) == f"RIHS01_{UPSTREAM[name]}"
