"""The reader of V2X-Seq-SPD and DAIR-V2X-C: rows, chain of frames, boxes, robustness."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny_spd import (
    K_INFRASTRUCTURE,
    OFFSET_M,
    ROAD_USERS,
    T_MAP_FROM_VIRTUALLIDAR,
    T_NOVATEL_FROM_LIDAR,
    T_map_from_novatel,
    TinySpd,
    dair_tree,
    dump,
    edit,
    extrinsic,
)

from cooptrack_core.data.v2x_seq import Dataset
from cooptrack_core.geometry.boxes import move
from cooptrack_core.geometry.transforms import apply
from cooptrack_core.types import VIEW_OCCLUDED, CooptrackError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return TinySpd(tmp_path / "spd").write()


def test_frames_come_in_time_order_with_stamps_in_nanoseconds(root: Path) -> None:
    edit(root / "vehicle-side" / "data_info.json", lambda rows: rows[::-1])
    frames = Dataset(root).frames("vehicle", "0010")
    assert [f.frame_id for f in frames] == ["000000", "000001", "000002", "000003"]
    assert frames[1].stamp_ns == 1_626_155_123_100_000_000
    assert frames[1].image_stamp_ns - frames[1].stamp_ns == 101_000_000
    assert frames[1].image_path == root / "vehicle-side" / "image" / "000001.jpg"


def test_spd_chain_applies_the_offset_last_in_vehicle_lidar_axes(root: Path) -> None:
    dataset = Dataset(root)
    E = np.eye(4)
    E[:2, 3] = OFFSET_M
    inverse = np.linalg.inv
    expected = E @ inverse(T_NOVATEL_FROM_LIDAR) @ inverse(T_map_from_novatel(100_000)) @ T_MAP_FROM_VIRTUALLIDAR
    np.testing.assert_allclose(dataset.T_lidar_from_virtuallidar("000001"), expected, atol=1e-9)


def test_labels_of_both_sides_meet_the_cooperative_ones(root: Path) -> None:
    dataset = Dataset(root)
    both = dataset.cooperative_labels("000002").instances
    vehicle = dataset.labels("vehicle", "000002").instances
    np.testing.assert_allclose(vehicle.center_m, both.center_m[:2], atol=1e-9)
    remote = dataset.labels("infrastructure", "000502").instances
    seen_here = move(remote, dataset.T_lidar_from_virtuallidar("000002"))
    moved = np.array(ROAD_USERS[2].velocity) * 0.017  # the roadside unit measures 17 ms later
    distance = np.linalg.norm(seen_here.center_m[1] - both.center_m[2])
    assert distance == pytest.approx(np.linalg.norm(moved), abs=1e-6)
    np.testing.assert_allclose(seen_here.heading_rad[1], both.heading_rad[2], atol=1e-9)


def test_registered_pose_puts_cooperative_labels_where_the_world_has_them(root: Path) -> None:
    dataset = Dataset(root)
    labels = dataset.cooperative_labels("000000").instances
    in_map = apply(dataset.T_map_from_lidar_registered("000000"), labels.center_m)
    np.testing.assert_allclose(in_map, [user.position for user in ROAD_USERS], atol=1e-9)


def test_dair_offset_is_applied_in_world_axes(tmp_path: Path) -> None:
    root = dair_tree(tmp_path / "dair")
    dataset = Dataset(root)
    E = np.eye(4)
    E[:2, 3] = OFFSET_M
    inverse = np.linalg.inv
    expected = inverse(T_NOVATEL_FROM_LIDAR) @ inverse(T_map_from_novatel(0)) @ E @ T_MAP_FROM_VIRTUALLIDAR
    np.testing.assert_allclose(dataset.T_lidar_from_virtuallidar("000000"), expected, atol=1e-9)
    assert dataset.pairs["000000"].convention == "dair-v2x-c"


def test_dair_cooperative_box_comes_from_its_corners_in_the_vehicle_frame(tmp_path: Path) -> None:
    root = dair_tree(tmp_path / "dair")
    labels = Dataset(root).cooperative_labels("000000")
    T = Dataset(root).T_map_from_lidar_registered("000000")
    box = move(labels.instances, T)
    np.testing.assert_allclose(box.center_m[0], [3010.0, 2010.0, 23.8], atol=1e-6)
    np.testing.assert_allclose(box.size_m[0], [4.4, 1.8, 1.6], atol=1e-6)
    assert box.heading_rad[0] == pytest.approx(0.7)
    assert labels.track_id == ("-1",)


def test_offset_that_was_never_measured_is_zero(tmp_path: Path) -> None:
    assert Dataset(dair_tree(tmp_path / "dair")).pairs["000001"].offset_m == (0.0, 0.0)


@pytest.mark.parametrize("offset", [{"delta_x": "", "delta_y": ""}, {}, "", None])
def test_empty_offsets_count_as_zero(tmp_path: Path, offset: object) -> None:
    root = TinySpd(tmp_path / "spd").write()
    edit(root / "cooperative" / "data_info.json", lambda rows: [r | {"system_error_offset": offset} for r in rows])
    dataset = Dataset(root)
    assert dataset.pairs["000000"].offset_m == (0.0, 0.0)
    np.testing.assert_array_equal(dataset.T_map_from_lidar_registered("000000"), dataset.T_map_from_lidar("000000"))


def test_skewed_infrastructure_extrinsics_are_kept_as_they_are(root: Path) -> None:
    calibration = Dataset(root).infrastructure_calibration("000500")
    R = calibration.T_camera_from_virtuallidar[:3, :3]
    np.testing.assert_allclose(np.diag(R @ R.T), [0.994**2, 0.827**2, 0.992**2], atol=1e-9)


def test_left_part_of_P_is_taken_before_cam_K(root: Path) -> None:
    path = root / "infrastructure-side" / "calib" / "camera_intrinsic" / "000501.json"
    P = [70, 0, 33, 1, 0, 71, 25, 2, 0, 0, 1, 3]
    edit(path, lambda content: content | {"P": P, "width": 64, "height": "48"})
    camera = Dataset(root).camera("infrastructure", "000501")
    np.testing.assert_array_equal(camera.K, [[70, 0, 33], [0, 71, 25], [0, 0, 1]])
    assert (camera.width_px, camera.height_px) == (64, 48)
    np.testing.assert_array_equal(Dataset(root).camera("infrastructure", "000500").K.reshape(-1), K_INFRASTRUCTURE)


def test_numbers_stored_as_strings_and_old_spellings_are_read(root: Path) -> None:
    path = root / "vehicle-side" / "label" / "lidar" / "000000.json"

    def age(boxes: list[dict]) -> None:
        old = boxes[0]
        old["3d_location"] = {key: str(value) for key, value in old["3d_location"].items()}
        old["truncated_state"], old["occluded_state"], old["type"] = "0", "1", "Trafficcone"
        del old["token"], old["track_id"]

    before = Dataset(root).labels("vehicle", "000000")
    edit(path, age)
    after = Dataset(root).labels("vehicle", "000000")
    np.testing.assert_allclose(after.instances.center_m, before.instances.center_m)
    assert after.instances.class_id[0] == 3
    assert (after.occluded_state[0], after.truncated_state[0]) == (1, 0)
    assert (after.token[0], after.track_id[0]) == ("", "-1")


@pytest.mark.parametrize(
    ("raw", "class_id"),
    [("Car", 0), ("Truck", 0), ("Van", 0), ("Bus", 0), ("Trunk", 0), ("Cyclist", 1), ("Motorcyclist", 1),
     ("Tricyclist", 1), ("Barrowlist", 1), ("Pedestrian", 2), ("TrafficCone", 3), ("bicycle", 1), ("UFO", 255)],
)  # fmt: skip
def test_every_type_has_its_class(root: Path, raw: str, class_id: int) -> None:
    edit(root / "vehicle-side" / "label" / "lidar" / "000000.json", lambda boxes: boxes[0].update(type=raw))
    assert Dataset(root).labels("vehicle", "000000").instances.class_id[0] == class_id


def test_gaps_in_pairs_leave_frames_without_partner(root: Path) -> None:
    edit(root / "cooperative" / "data_info.json", lambda rows: [rows[0], rows[3]])
    dataset = Dataset(root)
    assert list(dataset.pairs) == ["000000", "000003"]
    assert not dataset.has_cooperative_labels("000001")
    np.testing.assert_array_equal(dataset.T_map_from_lidar_registered("000001"), dataset.T_map_from_lidar("000001"))
    with pytest.raises(CooptrackError, match="vehicle_frame: 000001 has no pair"):
        dataset.cooperative_labels("000001")


def test_empty_location_falls_back_to_the_partner(root: Path) -> None:
    edit(root / "vehicle-side" / "data_info.json", lambda rows: [r | {"intersection_loc": ""} for r in rows])
    assert Dataset(root).location("000000") == "yizhuang09"


def test_vehicle_only_download_is_usable(root: Path) -> None:
    shutil.rmtree(root / "infrastructure-side")
    shutil.rmtree(root / "cooperative")
    dataset = Dataset(root)
    assert len(dataset.frames("vehicle")) == 4
    assert (dict(dataset.pairs), dataset.frames("infrastructure")) == ({}, [])


def test_absent_image_is_none_and_points_are_read(root: Path) -> None:
    (root / "vehicle-side" / "image" / "000000.jpg").unlink()
    dataset = Dataset(root)
    assert dataset.image_bytes("vehicle", "000000") is None
    np.testing.assert_array_equal(dataset.points("vehicle", "000000"), [[1, 2, 3, 40], [4, 5, 6, 70]])


def test_visibility_is_exposed_where_the_file_exists(root: Path) -> None:
    view = {"visible_px": 5, "unoccluded_px": 100, "view": "occluded"}
    content = {"schema": "cooptrack/visibility/1", "objects": {"000001": {"vehicle": view, "infrastructure": view}}}
    dump(root / "visibility" / "000002.json", content)
    dataset = Dataset(root)
    found = dataset.visibility("000002")
    assert found is not None
    assert found["000001"]["vehicle"].view == VIEW_OCCLUDED
    assert found["000001"]["vehicle"].visible_fraction == pytest.approx(0.05)
    assert dataset.visibility("000001") is None


def broken_pose(root: Path) -> str:
    T = T_map_from_novatel(0)
    T[0, 3] = np.nan
    dump(root / "vehicle-side" / "calib" / "novatel_to_world" / "000000.json", extrinsic(T))
    return "novatel_to_world/000000.json: translation: has NaN or infinite values; "


def missing_calibration(root: Path) -> str:
    (root / "vehicle-side" / "calib" / "lidar_to_novatel" / "000000.json").unlink()
    return "lidar_to_novatel/000000.json: file: is missing; "


def half_a_calibration(root: Path) -> str:
    path = root / "vehicle-side" / "calib" / "lidar_to_camera" / "000000.json"
    path.write_text(path.read_text()[:40])
    return "lidar_to_camera/000000.json: file: is not valid JSON"


def missing_rotation(root: Path) -> str:
    path = root / "vehicle-side" / "calib" / "lidar_to_camera" / "000000.json"
    edit(path, lambda content: {"translation": content["translation"]})
    return "lidar_to_camera/000000.json: rotation: is missing; "


@pytest.mark.parametrize("damage", [broken_pose, missing_calibration, half_a_calibration, missing_rotation])
def test_broken_calibration_is_one_line_with_file_field_and_remedy(root: Path, damage: object) -> None:
    expected = damage(root)  # type: ignore[operator]
    with pytest.raises(CooptrackError) as caught:
        Dataset(root).vehicle_calibration("000000")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    Dataset(root).vehicle_calibration("000001")  # the neighbours stay usable


def test_folder_that_is_no_dataset_is_named(tmp_path: Path) -> None:
    with pytest.raises(CooptrackError, match="holds no vehicle-side"):
        Dataset(tmp_path)
    with pytest.raises(CooptrackError, match="is not a folder"):
        Dataset(tmp_path / "nowhere")


def test_broken_label_names_file_row_and_field(root: Path) -> None:
    path = root / "infrastructure-side" / "label" / "virtuallidar" / "000500.json"
    edit(path, lambda boxes: boxes[1]["3d_location"].update(x="near"))
    with pytest.raises(CooptrackError, match=r"000500.json: \[1\].3d_location.x: is 'near', not a finite number; "):
        Dataset(root).labels("infrastructure", "000500")


def test_reading_a_frame_twice_gives_the_same_and_changes_nothing(root: Path) -> None:
    dataset = Dataset(root)
    first, again = dataset.vehicle_calibration("000003"), dataset.vehicle_calibration("000003")
    np.testing.assert_array_equal(first.T_map_from_lidar, again.T_map_from_lidar)
    assert first.camera is again.camera  # constant content is parsed once
