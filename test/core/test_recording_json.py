"""from-bag: the recording of a run joined with its source."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_spd import K_VEHICLE, TinySpd

from cooptrack_core.cli import main
from cooptrack_core.data import bag_messages as messages
from cooptrack_core.data.bag_events import bag_events
from cooptrack_core.data.bag_messages import make
from cooptrack_core.data.bag_writer import BagWriter
from cooptrack_core.data.recording import images, load_recording, recording_from_bags
from cooptrack_core.data.to_bag import sequence_to_bag
from cooptrack_core.data.v2x_seq import Dataset
from cooptrack_core.geometry.transforms import to_quaternion
from cooptrack_core.types import CooptrackError

NAN = math.nan
FRAME_KEYS = {
    "stamp_ns", "frame_index", "sequence_id", "frame_id", "predicted_only", "pose_known", "T_map_from_lidar", "tracks",
    "associations", "messages", "refused", "ground_truth", "has_ground_truth", "T_map_from_lidar_truth", "images",
    "timings_ms",
}  # fmt: skip


def track(track_id: int, *, known: bool) -> Any:
    covariance = np.zeros(36)
    covariance[[0, 7]] = [0.25, 0.04]
    at = messages.pose((1.0, 2.0, -0.5), messages.heading_quaternion(2.5))
    speed = (3.0, -1.0, 0.0) if known else (NAN, NAN, 0.0)
    twist = make("geometry_msgs/msg/Twist", messages.vector3(speed), messages.vector3((0, 0, NAN)))
    pose = make("geometry_msgs/msg/PoseWithCovariance", at, covariance)
    return make(
        "cooptrack_msgs/msg/TrackedObject", track_id, 2, 0.5, pose,
        make("geometry_msgs/msg/TwistWithCovariance", twist, np.zeros(36)), messages.vector3((0.6, 0.7, 1.8)),
        known, 2, 3, ["rsu"], 9, 4, 0.2, 0, NAN,
    )  # fmt: skip


def tracks(event: Any, index: int, *, pose_known: bool = True, objects: tuple[Any, ...] = ()) -> Any:
    T = event.frame.T_map_from_sensor
    at = messages.pose(T[:3, 3], to_quaternion(T)) if pose_known else messages.pose((0, 0, 0), (0, 0, 0, 0))
    head = messages.header(event.frame.stamp_ns, "vehicle/lidar")
    return make(
        "cooptrack_msgs/msg/TrackedObjectArray", head, "vehicle", "late", "simulated", index, index == 3, pose_known,
        at, list(objects),
    )  # fmt: skip


def associations(event: Any, index: int, *, used: int = 1) -> Any:
    f32, u32, u64 = np.float32, np.uint32, np.uint64

    def a(values: list[float], dtype: Any) -> Any:
        return np.array(values, dtype)

    head = messages.header(event.frame.stamp_ns, "vehicle/lidar")
    return make(
        "cooptrack_msgs/msg/AssociationArray", head, "vehicle", "late",
        index, False,
        ["rsu"] * used, a([77] * used, u64), a([5] * used, u64), a([83.0] * used, f32), a([1234] * used, u32),
        ["rsu"], a([4], u64), ["stale"],
        a([0] * used, u32), a([0] * used, u32), a([2] * used, u32), a([0.75] * used, f32), a([8] * used, u64),
        a([1, 2, 3] * used, f32), a([1.5, 2, 3] * used, f32),
        a([1], u32), a([0], u64), a([4, 5, 6], f32),
        a([0] * used, u32), a([3] * used, u32), a([9] * used, u64), a([7, 8, NAN] * used, f32),
        ["rsu"] * used, a([77] * used, u64), a([5] * used, u64),
    )  # fmt: skip


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = TinySpd(tmp_path_factory.mktemp("run") / "spd").write()
    sequence_to_bag(Dataset(root), "0010", root.parent / "source")
    return root.parent / "source"


@pytest.fixture(scope="module")
def recorded(source: Path) -> Path:
    path = source.parent / "recorded"
    events = [e for e in bag_events(source) if e.agent_id == "vehicle"]
    with BagWriter(path) as bag:
        for index, event in enumerate(events, start=1):
            log_ns = event.log_time_ns + 4_000_000
            objects = (track(8, known=True), track(9, known=False))
            bag.write("/vehicle/tracks", log_ns, tracks(event, index, pose_known=index != 4, objects=objects))
            if index < 4:  # the last was not recorded
                bag.write("/vehicle/associations", log_ns + 1, associations(event, index, used=int(index != 2)))
            head = messages.header(event.frame.stamp_ns, "vehicle/lidar")
            stages = np.array([1.5, 2.5], np.float32)
            timings = make("cooptrack_msgs/msg/StageTimings", head, "vehicle", ["advance", "total"], stages)
            bag.write("/vehicle/debug/timings", log_ns + 2, timings)
    return path


@pytest.fixture(scope="module")
def recording(source: Path, recorded: Path) -> dict[str, Any]:
    return recording_from_bags(recorded, source)


def test_recording_has_the_shape_of_its_schema(recording: dict[str, Any]) -> None:
    assert recording["schema"] == "cooptrack/recording/1"
    assert (recording["mode"], recording["detector"]) == ("late", "simulated")
    assert (recording["vehicle"], recording["roadside"], recording["frames_in"]) == ("vehicle", ["rsu"], 4)
    assert [f["frame_index"] for f in recording["frames"]] == [1, 2, 3, 4]
    assert all(set(f) == FRAME_KEYS for f in recording["frames"])


def test_tracks_keep_their_numbers_and_unknowns_become_null(recording: dict[str, Any]) -> None:
    known, unknown = recording["frames"][0]["tracks"]
    assert known == {
        "id": 8, "class": "pedestrian", "score": 0.5, "center_m": [1.0, 2.0, -0.5], "size_m": [0.6, 0.7, 1.8],
        "heading_rad": pytest.approx(2.5), "velocity_mps": [3.0, -1.0], "sources": 2, "sources_ever": 3,
        "agents": ["rsu"], "age_frames": 9, "hits": 4, "time_since_update_s": pytest.approx(0.2),
        "position_std_m": pytest.approx([0.5, 0.2]),
    }  # fmt: skip
    assert (unknown["velocity_mps"], unknown["position_std_m"]) == ([None, None], None)


def test_associations_messages_and_refusals_are_kept(recording: dict[str, Any]) -> None:
    frame = recording["frames"][0]
    assert frame["associations"]["pairs"] == [
        {"agent": "rsu", "ego_index": 0, "instance_index": 2, "affinity": 0.75, "track_id": 8,
         "ego_center_m": [1.0, 2.0, 3.0], "remote_center_m": [1.5, 2.0, 3.0]}
    ]  # fmt: skip
    assert frame["associations"]["unmatched_ego"] == [{"index": 1, "track_id": 0, "center_m": [4.0, 5.0, 6.0]}]
    assert frame["associations"]["unmatched_remote"] == [
        {"agent": "rsu", "instance_index": 3, "track_id": 9, "center_m": [7.0, 8.0, None]}
    ]
    assert frame["messages"] == [{"agent": "rsu", "session": 77, "sequence": 5, "age_ms": 83.0, "bytes": 1234}]
    assert frame["refused"] == [{"agent": "rsu", "sequence": 4, "reason": "stale"}]
    missing = recording["frames"][3]
    assert (missing["associations"]["pairs"], missing["messages"]) == ([], [])


def test_source_is_joined_by_perception_stamp(source: Path, recording: dict[str, Any]) -> None:
    dataset = Dataset(source.parent / "spd")
    for frame, row in zip(recording["frames"], dataset.frames("vehicle"), strict=True):
        assert (frame["stamp_ns"], frame["frame_id"], frame["sequence_id"]) == (row.stamp_ns, row.frame_id, "0010")
        assert frame["images"]["vehicle"]["stamp_ns"] == row.image_stamp_ns
        labels = dataset.cooperative_labels(row.frame_id)
        assert [o["id"] for o in frame["ground_truth"]] == [1, 2, 3]
        np.testing.assert_allclose([o["center_m"] for o in frame["ground_truth"]], labels.instances.center_m)
        np.testing.assert_allclose([o["heading_rad"] for o in frame["ground_truth"]], labels.instances.heading_rad)
        assert {o["view"] for o in frame["ground_truth"]} == {"unknown"}
        assert {o["visible_fraction"] for o in frame["ground_truth"]} == {None}
        assert [o["sides"] for o in frame["ground_truth"]] == [3, 1, 2]


def test_roadside_image_is_that_of_the_message_used(source: Path, recording: dict[str, Any]) -> None:
    rows = Dataset(source.parent / "spd").frames("infrastructure")
    # 83 ms before the second vehicle frame is exactly the roadside's first frame; unused: the nearest in time.
    assert recording["frames"][2]["images"]["rsu"]["stamp_ns"] == rows[1].image_stamp_ns
    assert recording["frames"][1]["images"]["rsu"]["stamp_ns"] == rows[1].image_stamp_ns


def test_pose_is_the_registered_one_and_null_where_unknown(source: Path, recording: dict[str, Any]) -> None:
    dataset = Dataset(source.parent / "spd")
    expected = dataset.T_map_from_lidar_registered("000001")
    np.testing.assert_allclose(recording["frames"][1]["T_map_from_lidar"], expected, atol=1e-8)
    assert recording["frames"][3]["T_map_from_lidar"] is None
    assert recording["frames"][3]["pose_known"] is False
    assert recording["frames"][2]["predicted_only"] is True


def test_cameras_and_timings_are_included(recording: dict[str, Any]) -> None:
    vehicle, rsu = recording["cameras"]["vehicle"], recording["cameras"]["rsu"]
    assert (np.array(vehicle["K"]).reshape(-1).tolist(), vehicle["width"], vehicle["height"]) == (K_VEHICLE, 64, 48)
    assert "T_map_from_lidar" not in vehicle
    assert np.array(rsu["T_map_from_lidar"]).shape == (4, 4)
    assert recording["frames"][0]["timings_ms"] == {"advance": 1.5, "total": 2.5}
    assert np.array(recording["T_novatel_from_lidar"]).shape == (4, 4)


def test_command_writes_json_without_nan_and_it_loads_again(
    source: Path, recorded: Path, recording: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deep" / "recording.json"
    assert main(["from-bag", str(recorded), "--source", str(source), "-o", str(out)]) == 0
    assert "4 frames, 2 tracks, mode late" in capsys.readouterr().out
    json.loads(out.read_text(), parse_constant=lambda name: pytest.fail(f"{name} in the JSON"))
    assert load_recording(out) == recording


def test_images_of_a_recording_are_those_of_the_dataset(source: Path, recording: dict[str, Any]) -> None:
    lookup = images(source)
    data = lookup("rsu", recording["frames"][2]["images"]["rsu"]["stamp_ns"])
    assert data == Dataset(source.parent / "spd").image_bytes("infrastructure", "000501")


def test_looped_replay_keeps_every_frame_with_its_own_associations(source: Path, tmp_path: Path) -> None:
    event = next(e for e in bag_events(source) if e.agent_id == "vehicle")
    with BagWriter(tmp_path / "looped") as bag:
        for index in (1, 2):
            log_ns = event.log_time_ns + index * 1_000_000_000
            bag.write("/vehicle/tracks", log_ns, tracks(event, index))
            bag.write("/vehicle/associations", log_ns + 1, associations(event, index, used=index - 1))
    frames = recording_from_bags(tmp_path / "looped", source)["frames"]
    assert [len(f["messages"]) for f in frames] == [0, 1]


def test_vehicle_alone_is_recorded_without_roadside(tmp_path: Path) -> None:
    root = TinySpd(tmp_path / "spd", roadside=False).write()
    sequence_to_bag(Dataset(root), "0010", tmp_path / "source")
    event = next(iter(bag_events(tmp_path / "source")))
    with BagWriter(tmp_path / "recorded") as bag:
        bag.write("/vehicle/tracks", 10, tracks(event, 1))
    with pytest.raises(CooptrackError, match="no /<vehicle>/associations topic"):
        recording_from_bags(tmp_path / "recorded", tmp_path / "source")
    recording = recording_from_bags(tmp_path / "recorded", tmp_path / "source", "vehicle")
    assert recording["roadside"] == []
    assert recording["frames"][0]["has_ground_truth"] is False
    assert list(recording["frames"][0]["images"]) == ["vehicle"]


def test_bag_without_tracks_is_named(source: Path) -> None:
    with pytest.raises(CooptrackError, match="/vehicle/tracks: topic is missing or empty; record the vehicle's tracks"):
        recording_from_bags(source, source, "vehicle")


def test_file_that_is_no_recording_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"schema": "other"}')
    with pytest.raises(CooptrackError, match="schema: is 'other'"):
        load_recording(path)
    with pytest.raises(CooptrackError, match="is missing"):
        load_recording(tmp_path / "none.json")


def test_what_others_sent_on_our_topics_does_not_spoil_a_recording(source: Path, tmp_path: Path) -> None:
    event = next(e for e in bag_events(source) if e.agent_id == "vehicle")
    kind = "cooptrack_msgs/msg/InstanceFeatures"
    with BagWriter(tmp_path / "recorded") as bag:
        bag.write("/vehicle/tracks", event.log_time_ns, tracks(event, 1))
        bag.write("/vehicle/associations", event.log_time_ns, associations(event, 1, used=0))
        bag.topic("/rsu/instances", kind)
        for data in (b"\x00\x01\x00\x00", b"\x00\x01\x00\x00" + b"\xff" * 500):
            bag._writer.write(bag._connections["/rsu/instances"], event.log_time_ns, data)
    recording = recording_from_bags(tmp_path / "recorded", source)
    assert len(recording["frames"]) == 1 and recording["sent"] == []


def test_a_recording_that_is_not_there_is_not_looked_for_in_the_dataset(tmp_path):
    with pytest.raises(CooptrackError) as error:
        load_recording(tmp_path / "nowhere")
    what = "file: is missing; give a recording of cooptrack evaluate, track or from-bag"
    assert str(error.value) == f"{tmp_path / 'nowhere'}: {what}"
