"""Reading bags: any storage, clear errors, and the frames of the agents for offline runs."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import CompressionFormat, CompressionMode, Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from tiny_spd import INFRASTRUCTURE_ID_SHIFT, TinySpd

from cooptrack_core.data import bag_messages as messages
from cooptrack_core.data.bag import Bag
from cooptrack_core.data.bag_events import bag_context, bag_events
from cooptrack_core.data.bag_images import BagImages
from cooptrack_core.data.bag_writer import BagWriter
from cooptrack_core.data.detections import instances_from_detections
from cooptrack_core.data.images import jpeg_problem, jpeg_size
from cooptrack_core.data.labels import parse_labels
from cooptrack_core.data.message_definitions import typestore
from cooptrack_core.data.rows import Side
from cooptrack_core.data.simulated_detector import detect
from cooptrack_core.data.to_bag import BagOptions, sequence_to_bag
from cooptrack_core.data.v2x_seq import Dataset
from cooptrack_core.types import CooptrackError, Instances


@pytest.fixture(scope="module")
def spd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return TinySpd(tmp_path_factory.mktemp("data") / "spd").write()


@pytest.fixture(scope="module")
def bag_path(spd: Path) -> Path:
    path = spd.parent / "bag"
    sequence_to_bag(Dataset(spd), "0010", path, BagOptions(seed=3))
    return path


def copied(source: Path, target: Path, drop: tuple[str, ...] = (), **writer: object) -> Path:
    """The same messages in another storage, without some topics."""
    compression = writer.pop("compression", None)
    with Reader(source) as reader, Writer(target, version=9, **writer) as out:  # type: ignore[arg-type]
        kept = [c for c in reader.connections if c.topic not in drop]
        connections = {c.topic: out.add_connection(c.topic, c.msgtype, typestore=typestore()) for c in kept}
        for c, t, data in reader.messages(kept):
            out.write(connections[c.topic], t, data)
    assert compression is None
    return target


def test_events_are_the_frames_of_both_agents_in_log_order(spd: Path, bag_path: Path) -> None:
    events = list(bag_events(bag_path))
    assert [e.log_time_ns for e in events] == sorted(e.log_time_ns for e in events)
    assert [e.frame_id for e in events if e.agent_id == "vehicle"] == [f"{i:06d}" for i in range(4)]
    dataset = Dataset(spd)
    for event in events:
        side: Side = "vehicle" if event.agent_id == "vehicle" else "infrastructure"
        row = dataset.frame(side, event.frame_id)
        assert (event.frame.stamp_ns, event.image_stamp_ns) == (row.stamp_ns, row.image_stamp_ns)
        expected = detect(dataset.labels(side, event.frame_id), side, event.frame_id, seed=3)
        found = event.frame.detections
        assert found is not None
        np.testing.assert_array_equal(found.center_m, expected.center_m)
        np.testing.assert_allclose(found.heading_rad, expected.heading_rad, atol=1e-12)
        np.testing.assert_array_equal(found.class_id, expected.class_id)
        assert (found.instance_id == 0).all()


def test_event_poses_are_registered_for_the_vehicle_and_plain_for_the_roadside(spd: Path, bag_path: Path) -> None:
    dataset = Dataset(spd)
    for event in bag_events(bag_path):
        if event.agent_id == "vehicle":
            expected = dataset.T_map_from_lidar_registered(event.frame_id)
        else:
            assert int(event.frame_id) >= INFRASTRUCTURE_ID_SHIFT
            expected = dataset.infrastructure_calibration(event.frame_id).T_map_from_virtuallidar
        assert event.frame.T_map_from_sensor is not None
        np.testing.assert_allclose(event.frame.T_map_from_sensor, expected, atol=1e-8)


@pytest.mark.parametrize("storage", [StoragePlugin.SQLITE3, StoragePlugin.MCAP])
def test_every_storage_gives_the_same_events(bag_path: Path, tmp_path: Path, storage: StoragePlugin) -> None:
    again = copied(bag_path, tmp_path / "again", storage_plugin=storage)
    pairs = zip(bag_events(bag_path), bag_events(again), strict=True)
    assert all(a.frame.stamp_ns == b.frame.stamp_ns and a.log_time_ns == b.log_time_ns for a, b in pairs)


def test_single_mcap_file_is_a_bag_too(bag_path: Path) -> None:
    assert len(list(bag_events(next(bag_path.glob("*.mcap"))))) == 8


def test_message_compression_is_read(bag_path: Path, tmp_path: Path) -> None:
    with Reader(bag_path) as reader:
        out = Writer(tmp_path / "z", version=9, storage_plugin=StoragePlugin.MCAP)
        out.set_compression(CompressionMode.MESSAGE, CompressionFormat.ZSTD)
        with out:
            to = {c.topic: out.add_connection(c.topic, c.msgtype, typestore=typestore()) for c in reader.connections}
            for c, t, data in reader.messages():
                out.write(to[c.topic], t, data)
    assert len(list(bag_events(tmp_path / "z"))) == 8


@pytest.mark.parametrize("topic", ["/tf", "/tf_static"])
def test_bag_without_transforms_names_the_topic_and_the_remedy(bag_path: Path, tmp_path: Path, topic: str) -> None:
    again = copied(bag_path, tmp_path / "again", drop=(topic,), storage_plugin=StoragePlugin.MCAP)
    with pytest.raises(CooptrackError) as caught:
        list(bag_events(again))
    assert f"again: {topic}: topic is missing or empty; record /tf and /tf_static too" in str(caught.value)


def test_bag_without_detections_is_named(bag_path: Path, tmp_path: Path) -> None:
    drop = ("/vehicle/detections_in", "/rsu/detections_in")
    again = copied(bag_path, tmp_path / "again", drop=drop, storage_plugin=StoragePlugin.MCAP)
    with pytest.raises(CooptrackError, match="/vehicle/detections_in: topic is missing or empty"):
        list(bag_events(again))


def test_pose_outside_the_recorded_time_is_unknown_not_an_error(bag_path: Path) -> None:
    context = bag_context(bag_path, ["vehicle"])
    assert context.pose("vehicle", "vehicle/lidar", 5) is None
    assert context.pose("vehicle", "vehicle/lidar", next(iter(context.frame_infos["vehicle"]))) is not None


def test_images_are_found_by_agent_and_stamp(spd: Path, bag_path: Path) -> None:
    images = BagImages(bag_path)
    dataset = Dataset(spd)
    for frame_id in ("000003", "000000", "000002"):
        row = dataset.frame("vehicle", frame_id)
        assert images("vehicle", row.image_stamp_ns) == dataset.image_bytes("vehicle", frame_id)
    assert images("vehicle", row.image_stamp_ns + 1) is None
    assert images("bus", row.image_stamp_ns) is None
    assert len(images.stamps_ns["rsu"]) == 4


def no_bag(folder: Path) -> None:
    (folder / "notes.txt").write_text("hello")


def broken_metadata(folder: Path) -> None:
    (folder / "metadata.yaml").write_text("rosbag2_bagfile_information: [")


def empty_metadata(folder: Path) -> None:
    (folder / "metadata.yaml").write_text("")


@pytest.mark.parametrize("make", [no_bag, broken_metadata, empty_metadata])
def test_folder_that_is_no_bag_is_one_line(tmp_path: Path, make: object) -> None:
    make(tmp_path)  # type: ignore[operator]
    with pytest.raises(CooptrackError, match=": bag: ") as caught, Bag(tmp_path):
        pass
    assert "\n" not in str(caught.value)
    with pytest.raises(CooptrackError, match="does not exist"), Bag(tmp_path / "nowhere"):
        pass


@pytest.mark.parametrize("storage", [StoragePlugin.SQLITE3, StoragePlugin.MCAP])
@pytest.mark.parametrize("keep", [0, 100, 3000, -60])
def test_truncated_bag_is_one_line(bag_path: Path, tmp_path: Path, storage: StoragePlugin, keep: int) -> None:
    again = copied(bag_path, tmp_path / "again", storage_plugin=storage)
    data = next(p for p in again.iterdir() if p.suffix in (".mcap", ".db3"))
    data.write_bytes(data.read_bytes()[:keep])
    with pytest.raises(CooptrackError) as caught:
        list(bag_events(again))
    assert "\n" not in str(caught.value)


def test_damaged_bytes_inside_never_give_another_error(bag_path: Path, tmp_path: Path) -> None:
    again = copied(bag_path, tmp_path / "again", storage_plugin=StoragePlugin.MCAP)
    data = next(again.glob("*.mcap"))
    before = data.read_bytes()
    rng = np.random.default_rng(2)
    for _ in range(25):
        broken = bytearray(before)
        at = int(rng.integers(0, len(broken) - 40))
        broken[at : at + 40] = rng.bytes(40)
        data.write_bytes(broken)
        try:
            list(bag_events(again))
        except CooptrackError as error:
            assert "\n" not in str(error)


def test_unknown_type_is_read_by_the_definition_in_the_bag(tmp_path: Path) -> None:
    store = get_typestore(Stores.ROS2_KILTED)
    store.register(get_types_from_msg("int32 level\nstd_msgs/Header header\n", "lift_msgs/msg/Lift"))
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as out:
        connection = out.add_connection("/lift", "lift_msgs/msg/Lift", typestore=store)
        lift = store.types["lift_msgs/msg/Lift"](level=4, header=messages.header(5, "lift"))
        out.write(connection, 7, store.serialize_cdr(lift, "lift_msgs/msg/Lift"))
    with Bag(tmp_path / "bag") as bag:
        (item,) = bag.messages()
    assert (item.message.level, item.log_time_ns, item.topic) == (4, 7, "/lift")


def test_unknown_type_without_definition_names_topic_and_type(tmp_path: Path) -> None:
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.SQLITE3) as out:
        connection = out.add_connection("/lift", "lift_msgs/msg/Lift", msgdef="not a definition %%", rihs01="RIHS01_0")
        out.write(connection, 7, b"\0\1\0\0abcd")
    with Bag(tmp_path / "bag") as bag, pytest.raises(CooptrackError, match=r"/lift: .*lift_msgs/msg/Lift"):
        list(bag.messages())


def test_another_version_of_our_messages_is_refused(tmp_path: Path) -> None:
    store = get_typestore(Stores.ROS2_KILTED)
    store.register(get_types_from_msg("std_msgs/Header header\nstring agent\n", "cooptrack_msgs/msg/FrameInfo"))
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as out:
        connection = out.add_connection("/vehicle/frame_info", "cooptrack_msgs/msg/FrameInfo", typestore=store)
        old = store.types["cooptrack_msgs/msg/FrameInfo"](header=messages.header(5, "x"), agent="a")
        out.write(connection, 7, store.serialize_cdr(old, "cooptrack_msgs/msg/FrameInfo"))
    with Bag(tmp_path / "bag") as bag, pytest.raises(CooptrackError, match="FrameInfo is another version"):
        list(bag.messages())


def test_detections_that_make_no_sense_are_left_out_and_counted() -> None:
    n = 6
    good = Instances.create(
        np.arange(3.0 * n).reshape(n, 3), np.ones((n, 3)), np.linspace(-3, 3, n), np.arange(n) % 4, np.full(n, 0.5)
    )
    array = messages.detection_array(5, "vehicle/lidar", good)
    array.detections[0].bbox.center.position.x = float("nan")
    array.detections[1].results.clear()
    array.detections[2].results[0].hypothesis.class_id = "tram"
    array.detections[3].bbox.size.y = 0.0
    found, dropped = instances_from_detections(array)
    np.testing.assert_array_equal(found.center_m, good.center_m[4:])
    np.testing.assert_allclose(found.heading_rad, good.heading_rad[4:])
    assert dict(dropped) == {
        "detection_not_finite": 2, "detection_without_class": 1, "detection_of_unknown_class": 1
    }  # fmt: skip


def test_empty_array_is_an_empty_frame() -> None:
    found, dropped = instances_from_detections(messages.detection_array(5, "vehicle/lidar", Instances.empty()))
    assert (len(found), dict(dropped)) == (0, {})
    assert len(parse_labels([], "x")) == 0


def test_writer_used_directly_declares_topics_without_messages(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "bag") as out:
        out.topic("/vehicle/frame_info", "cooptrack_msgs/msg/FrameInfo")
        out.write("/tf", 9, messages.tf_message([messages.transform("map", "a", 9, np.eye(4))]))
    with Bag(tmp_path / "bag") as bag:
        assert (bag.count("/vehicle/frame_info"), bag.count("/tf")) == (0, 1)


def test_jpeg_is_judged_by_its_ends_and_measured_by_its_header() -> None:
    data = cv2.imencode(".jpg", np.zeros((30, 50, 3), np.uint8))[1].tobytes()
    assert jpeg_size(data) == (50, 30)
    assert jpeg_problem(data) is None
    assert jpeg_problem(data + bytes(16)) is None  # some writers pad
    assert jpeg_problem(data[:-20]) == "is a truncated JPEG (no EOI marker)"
    assert jpeg_problem(b"") == "is empty"
    assert jpeg_problem(b"\x89PNG....") == "is not a JPEG file (no SOI marker)"
    assert jpeg_size(b"\xff\xd8\xff") is None
