"""Frames for a network offline: image, calibration, perception time; what is lost, and what is named as missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_spd import T_VEHICLE_CAMERA, TinySpd

from cooptrack_core.data.bag import Bag, stamp_of
from cooptrack_core.data.bag_events import BagEvent, bag_context, bag_events
from cooptrack_core.data.bag_messages import raw_image
from cooptrack_core.data.bag_writer import BagWriter
from cooptrack_core.data.frame_messages import SequenceOptions
from cooptrack_core.data.image_events import image_events
from cooptrack_core.data.images import bgr_of_raw, decode_bgr
from cooptrack_core.data.sequence_messages import SequenceMessages
from cooptrack_core.data.sequence_source import SequenceSource
from cooptrack_core.data.to_bag import BagOptions, sequence_to_bag
from cooptrack_core.data.v2x_seq import Dataset
from cooptrack_core.geometry.transforms import apply
from cooptrack_core.types import CooptrackError


@pytest.fixture(scope="module")
def spd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return TinySpd(tmp_path_factory.mktemp("data") / "spd").write()


@pytest.fixture(scope="module")
def bag_path(spd: Path) -> Path:
    sequence_to_bag(Dataset(spd), "0010", spd.parent / "bag")
    return spd.parent / "bag"


# Gives the message to write in place of the n-th of its topic, None: nothing.
Change = Callable[[str, int, Any], Any]


def changed(source: Path, target: Path, change: Change) -> Path:
    """A copy of a bag with other messages."""
    count: dict[str, int] = {}
    with Bag(source) as bag, BagWriter(target) as out:
        for item in bag.messages():
            at = count[item.topic] = count.get(item.topic, -1) + 1
            message = change(item.topic, at, item.message)
            if message is not None:
                out.write(item.topic, item.log_time_ns, message)
    return target


def without(topic: str, *numbers: int) -> Change:
    """Leaves out the numbered messages of a topic, all without numbers."""
    return lambda name, at, message: None if name == topic and (not numbers or at in numbers) else message


def of(events: list[BagEvent], agent: str) -> list[BagEvent]:
    return [event for event in events if event.agent_id == agent]


def test_each_image_is_a_frame_at_its_perception_time_with_its_calibration(spd: Path, bag_path: Path) -> None:
    dataset, events = Dataset(spd), list(image_events(bag_path))
    assert [e.log_time_ns for e in events] == sorted(e.log_time_ns for e in events)
    assert len(of(events, "vehicle")) == len(of(events, "rsu")) == 4
    points = np.array([[30.0, 3.0, 1.0], [60.0, -12.0, 0.0]])
    for event in events:
        vehicle = event.agent_id == "vehicle"
        row = dataset.frame("vehicle" if vehicle else "infrastructure", event.frame_id)
        frame = event.frame
        assert (frame.stamp_ns, event.image_stamp_ns) == (row.stamp_ns, row.image_stamp_ns)
        assert frame.image == row.image_path.read_bytes() and frame.detections is None
        assert frame.camera is not None and (frame.camera.width, frame.camera.height) == (64, 48)
        calibration = (
            dataset.vehicle_calibration(row.frame_id) if vehicle else dataset.infrastructure_calibration(row.frame_id)
        )
        T = calibration.T_camera_from_lidar if vehicle else calibration.T_camera_from_virtuallidar
        pixels, _ = calibration.camera.project(apply(T, points))
        seen = apply(frame.camera.T_camera_from_sensor, points) @ frame.camera.K.T
        np.testing.assert_allclose(seen[:, :2] / seen[:, 2:], pixels, atol=1e-6)


def test_the_camera_sees_the_lidar_frame_also_where_the_pose_is_registered(bag_path: Path) -> None:
    event = of(list(image_events(bag_path)), "vehicle")[0]
    np.testing.assert_allclose(event.frame.camera.T_camera_from_sensor, T_VEHICLE_CAMERA, atol=1e-9)
    expected = bag_context(bag_path, ["vehicle"]).pose("vehicle", "vehicle/lidar", event.frame.stamp_ns)
    np.testing.assert_array_equal(event.frame.T_map_from_sensor, expected)


def test_a_dataset_gives_the_same_frames_as_its_bag(spd: Path, bag_path: Path) -> None:
    source = SequenceSource(SequenceMessages(Dataset(spd), "0010", SequenceOptions()))
    for a, b in zip(image_events(source), image_events(bag_path), strict=True):
        assert (a.agent_id, a.log_time_ns, a.frame_id, a.image_stamp_ns) == (
            b.agent_id, b.log_time_ns, b.frame_id, b.image_stamp_ns,
        )  # fmt: skip
        assert (a.frame.stamp_ns, a.frame.image) == (b.frame.stamp_ns, b.frame.image)
        np.testing.assert_array_equal(a.frame.T_map_from_sensor, b.frame.T_map_from_sensor)
        np.testing.assert_array_equal(a.frame.camera.K, b.frame.camera.K)
        np.testing.assert_array_equal(a.frame.camera.T_camera_from_sensor, b.frame.camera.T_camera_from_sensor)


def test_raw_images_are_pixels(spd: Path, tmp_path: Path) -> None:
    sequence_to_bag(Dataset(spd), "0010", tmp_path / "bag", BagOptions(raw=True))
    for event in image_events(tmp_path / "bag"):
        side = "vehicle" if event.agent_id == "vehicle" else "infrastructure"
        expected = decode_bgr(Dataset(spd).image_bytes(side, event.frame_id))
        np.testing.assert_array_equal(event.frame.image, expected)


@pytest.mark.parametrize(
    ("encoding", "pixel", "bgr"),
    [
        ("bgr8", (1, 2, 3), (1, 2, 3)),
        ("rgb8", (1, 2, 3), (3, 2, 1)),
        ("bgra8", (1, 2, 3, 4), (1, 2, 3)),
        ("rgba8", (1, 2, 3, 4), (3, 2, 1)),
        ("mono8", (7,), (7, 7, 7)),
    ],
)
def test_raw_encodings_become_blue_green_red_without_the_padding_of_rows(
    encoding: str, pixel: tuple[int, ...], bgr: tuple[int, ...]
) -> None:
    image = raw_image(5, "camera", np.zeros((2, 4, 3), np.uint8))
    rows = np.hstack([np.tile(np.array(pixel, np.uint8), (2, 4)), np.full((2, 5), 99, np.uint8)])
    image.encoding, image.step, image.data = encoding, rows.shape[1], rows.reshape(-1)
    np.testing.assert_array_equal(bgr_of_raw(image), np.tile(np.array(bgr, np.uint8), (2, 4, 1)))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"encoding": "yuv422"}, "encoding is 'yuv422'; expected one of bgr8, rgb8"),
        ({"data": np.zeros(5, np.uint8)}, "4x2 bgr8 with step 12 has 5 bytes; expected 24"),
        ({"step": 3}, "with step 3 has 24 bytes; expected 24"),
    ],
)
def test_raw_images_that_are_none_are_named(change: dict[str, Any], says: str) -> None:
    image = raw_image(5, "camera", np.zeros((2, 4, 3), np.uint8))
    for name, value in change.items():
        setattr(image, name, value)
    with pytest.raises(CooptrackError, match=says):
        bgr_of_raw(image)


def test_simulated_detections_bring_no_image(bag_path: Path) -> None:
    assert all(event.frame.image is None and event.frame.camera is None for event in bag_events(bag_path))


@pytest.mark.parametrize("topic", ["image/compressed", "camera_info"])
def test_a_frame_whose_image_or_calibration_never_came_is_lost_and_keeps_its_place(
    bag_path: Path, tmp_path: Path, topic: str
) -> None:
    again = changed(bag_path, tmp_path / "again", without(f"/vehicle/{topic}", 1, 3))
    events = of(list(image_events(again)), "vehicle")
    assert [e.frame_id for e in events] == [f"{i:06d}" for i in range(4)]
    assert [e.frame.image is None for e in events] == [False, True, False, True]
    # As on a node: what is missing is only known when the next frame is complete, or at the end.
    assert events[1].log_time_ns == events[2].log_time_ns
    assert [e.frame.T_map_from_sensor is None for e in events] == [False] * 4


def test_without_frame_info_the_image_gives_the_perception_time(bag_path: Path, tmp_path: Path) -> None:
    again = changed(bag_path, tmp_path / "again", without("/vehicle/frame_info"))
    events = of(list(image_events(again)), "vehicle")
    with Bag(bag_path) as bag:
        stamps = [stamp_of(item.message) for item in bag.messages(["/vehicle/image/compressed"])]
    assert [e.frame.stamp_ns for e in events] == stamps and [e.image_stamp_ns for e in events] == stamps


def test_an_image_that_no_frame_info_names_is_no_frame(bag_path: Path, tmp_path: Path) -> None:
    again = changed(bag_path, tmp_path / "again", without("/vehicle/frame_info", 2))
    assert [e.frame_id for e in of(list(image_events(again)), "vehicle")] == ["000000", "000001", "000003"]


def test_a_frame_behind_its_predecessor_is_left_out(bag_path: Path, tmp_path: Path) -> None:
    def early(topic: str, at: int, message: Any) -> Any:
        if topic == "/vehicle/frame_info" and at == 2:
            message.header.stamp.nanosec -= 100_000_000
        return message

    again = changed(bag_path, tmp_path / "again", early)
    assert [e.frame_id for e in of(list(image_events(again)), "vehicle")] == ["000000", "000001", "000003"]


def test_a_roadside_unit_that_is_not_there_is_no_error(tmp_path: Path) -> None:
    root = TinySpd(tmp_path / "spd", roadside=False).write()
    sequence_to_bag(Dataset(root), "0010", tmp_path / "bag")
    assert {event.agent_id for event in image_events(tmp_path / "bag")} == {"vehicle"}


def no_mount(topic: str, _: int, message: Any) -> Any:
    if topic == "/tf_static":
        message.transforms = [t for t in message.transforms if t.child_frame_id != "vehicle/camera"]
    return message


def camera_matrix(*k: float) -> Change:
    def change(topic: str, _: int, message: Any) -> Any:
        if topic == "/vehicle/camera_info":
            message.k = np.array(k, np.float64)
        return message

    return change


def other_size(topic: str, _: int, message: Any) -> Any:
    if topic == "/vehicle/camera_info":
        message.width = 1920
    return message


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (without("/vehicle/image/compressed"), "again: /vehicle/image/compressed: topic is missing or empty; detector"),
        (without("/rsu/image/compressed"), "again: /rsu/image/compressed: topic is missing or empty; detector network"),
        (without("/vehicle/camera_info"), "again: /vehicle/camera_info: topic is missing or empty; detector network"),
        (no_mount, "again: /tf_static: no transform from vehicle/lidar to vehicle/camera; detector network needs"),
        (camera_matrix(60, 0, 32, 0, 0, 24, 0, 0, 1), "camera_info: k is 60 0 32 0 0 24 0 0 1; expected finite"),
        (camera_matrix(60, 0, 32, 0, 60, 24, 0, 0, 0), "camera_info: k is 60 0 32 0 60 24 0 0 0; expected finite"),
        (camera_matrix(*[np.nan] * 9), "again: /vehicle/camera_info: k is nan nan"),
        (other_size, r"image/compressed: the image has 64x48 pixels, /vehicle/camera_info says 1920x48; correct"),
    ],
)
def test_what_a_network_cannot_do_without_is_one_line(
    bag_path: Path, tmp_path: Path, change: Change, says: str
) -> None:
    again = changed(bag_path, tmp_path / "again", change)
    with pytest.raises(CooptrackError, match=says) as caught:
        list(image_events(again))
    assert "\n" not in str(caught.value)


def test_an_unknown_raw_encoding_names_the_topic(spd: Path, tmp_path: Path) -> None:
    sequence_to_bag(Dataset(spd), "0010", tmp_path / "bag", BagOptions(raw=True))

    def strange(topic: str, _: int, message: Any) -> Any:
        if topic == "/rsu/image":
            message.encoding = "bayer_rggb8"
        return message

    again = changed(tmp_path / "bag", tmp_path / "again", strange)
    with pytest.raises(CooptrackError, match="again: /rsu/image: encoding is 'bayer_rggb8'; expected one of bgr8"):
        list(image_events(again))
