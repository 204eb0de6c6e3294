"""Lock-step knows when a frame of the bag is complete, what has to come then, and for how long to wait."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from processes import Process, parameters
from rclpy.serialization import serialize_message
from ros_messages import at
from sensor_msgs.msg import CameraInfo, CompressedImage
from std_msgs.msg import Header
from vision_msgs.msg import Detection3DArray

from cooptrack_core.data import bag_messages as messages
from cooptrack_core.data.bag_writer import LATCHED_QOS, BagWriter
from cooptrack_core.data.calibration import CameraModel
from cooptrack_core.types import CooptrackError
from cooptrack_msgs.msg import FrameInfo, InstanceFeatures, TrackedObjectArray
from cooptrack_ros.bags import Logged
from cooptrack_ros.conversions import stamp_message, stamp_ns
from cooptrack_ros.lockstep import Due, LockStep

LATER_NS = 40_000_000
IMAGES = ("/vehicle/image/compressed", "/vehicle/camera_info")
INFO = "/vehicle/frame_info"


def part(topic: str, index: int) -> Logged:
    """A message of frame `index`."""
    kind = {"compressed": CompressedImage, "camera_info": CameraInfo, "detections_in": Detection3DArray}
    if topic == INFO:
        message = FrameInfo(image_stamp=stamp_message(at(index) + LATER_NS))
        message.header.stamp = stamp_message(at(index))
    else:
        message = kind[topic.rpartition("/")[2]]()
        later = 0 if topic.endswith("detections_in") else LATER_NS
        message.header = Header(stamp=stamp_message(at(index) + later))
    return Logged(topic, 0, bytes(serialize_message(message)))


def lockstep(kind: str, topics: tuple[str, ...], outputs: tuple[str, ...] = ("/vehicle/tracks",)) -> LockStep:
    return LockStep("/replay_node", outputs, kind, topics)


@pytest.mark.parametrize("order", list(itertools.permutations((*IMAGES, INFO))))
def test_a_frame_of_images_is_complete_with_its_last_part_in_any_order(order):
    step = lockstep("images", (*IMAGES, INFO))
    assert step.inputs == {*IMAGES, INFO}
    for index in range(3):
        assert [step.due(part(topic, index)) for topic in order[:2]] == [[], []]
        assert step.due(part(order[2], index)) == [Due("/vehicle/tracks", at(index))]


def test_without_frame_info_in_the_bag_the_stamp_of_the_image_counts():
    step = lockstep("images", IMAGES)
    assert step.due(part(IMAGES[0], 0)) == []
    assert step.due(part(IMAGES[1], 0)) == [Due("/vehicle/tracks", at(0) + LATER_NS)]


def test_a_frame_without_an_image_makes_nothing_due():
    step = lockstep("images", (*IMAGES, INFO))
    assert step.due(part(INFO, 0)) == step.due(part(IMAGES[1], 0)) == []
    assert step.due(part("/rsu/camera_info", 0)) == []
    for topic in (INFO, *IMAGES):
        last = step.due(part(topic, 1))
    assert last == [Due("/vehicle/tracks", at(1))]


def test_parts_that_never_meet_are_forgotten():
    step = lockstep("images", (*IMAGES, INFO))
    for index in range(1000):
        step.due(part(INFO, index))
    frames = step._frames["/vehicle"]
    assert len(frames._parts) == len(frames._stamps) == 100


def test_detections_make_a_frame_each():
    step = lockstep("detections", ("/vehicle/detections_in", *IMAGES, INFO))
    assert step.inputs == {"/vehicle/detections_in"}
    assert step.due(part("/vehicle/detections_in", 4)) == [Due("/vehicle/tracks", at(4))]
    assert step.due(part(INFO, 4)) == []


def test_agents_whose_frames_are_not_in_the_bag_are_not_waited_for():
    step = lockstep("images", ("/vehicle/detections_in", IMAGES[1]), ("/vehicle/tracks", "/rsu/instances"))
    assert step.inputs == set() and step.outputs == []


def test_instances_are_not_expected_any_more_when_the_tracks_are_out():
    step = lockstep("detections", ("/rsu/detections_in",), ("/rsu/instances",))
    due = Due("/rsu/instances", at(0))
    assert step.answers == {"/rsu/instances", "/rsu/tracks"} and step.outputs == ["/rsu/instances"]
    step.answer("/rsu/tracks", at(0))
    assert step.tracks_have_come(due) and not step.has_come(due)
    step.answer("/rsu/instances", at(0))
    assert step.has_come(due)


def test_an_output_that_no_agent_has_is_one_line():
    with pytest.raises(CooptrackError, match="'/vehicle/markers' ends in none of instances, tracks"):
        lockstep("images", IMAGES, ("/vehicle/markers",))


def write_image_bag(path, frames: int):
    """Frames of images of a vehicle and of a roadside unit; no pictures in them."""
    with BagWriter(path) as bag:
        for topic in ("/tf", "/tf_static"):
            bag.topic(topic, "tf2_msgs/msg/TFMessage", LATCHED_QOS)
        for index in range(frames):
            log_ns = at(index) + 50_000_000
            for agent in ("rsu", "vehicle"):
                camera = f"{agent}/camera"
                image_ns = at(index) + LATER_NS
                info = messages.frame_info(at(index), f"{agent}/lidar", image_ns, agent, "", "")
                picture = messages.compressed_image(image_ns, camera, b"no picture")
                camera_info = messages.camera_info(image_ns, camera, CameraModel(np.eye(3), np.zeros(5), 1, 1), (1, 1))
                parts = {"frame_info": info, "image/compressed": picture, "camera_info": camera_info}
                for topic, message in parts.items():
                    log_ns += 1000
                    bag.write(f"/{agent}/{topic}", log_ns, message)
    return path


def test_no_image_is_played_before_the_answer_to_the_last_frame(graph, tmp_path):
    order: list = []
    unanswered: list = []
    publishers = {
        "vehicle": graph.node.create_publisher(TrackedObjectArray, "/vehicle/tracks", 10),
        "rsu": graph.node.create_publisher(InstanceFeatures, "/rsu/instances", 2),
    }

    def listen(agent: str) -> None:
        graph.node.create_subscription(CompressedImage, f"/{agent}/image/compressed", lambda m: order.append(
            (agent, stamp_ns(m.header.stamp), list(unanswered))), 50)  # fmt: skip
        graph.node.create_subscription(CameraInfo, f"/{agent}/camera_info", lambda m: unanswered.append(
            (agent, stamp_ns(m.header.stamp) - LATER_NS)), 50)  # fmt: skip
        graph.node.create_subscription(FrameInfo, f"/{agent}/frame_info", lambda m: None, 50)

    for agent in publishers:
        listen(agent)

    def answer() -> None:
        while unanswered:
            agent, stamp = unanswered.pop()
            message = TrackedObjectArray() if agent == "vehicle" else InstanceFeatures()
            message.header.stamp = Time(sec=stamp // 10**9, nanosec=stamp % 10**9)
            publishers[agent].publish(message)

    graph.node.create_timer(0.05, answer)
    bag = write_image_bag(tmp_path / "bag", 4)
    values = {"bag": bag, "lockstep": True, "lockstep_frames": "images", "lockstep_timeout_ms": 20000.0, "rate": 100.0}
    node = Process("replay_node", *parameters(discovery_wait_ms=0.0, settle_ms=0.0, **values))
    try:
        assert node.wait() == 0 and node.problems == []
    finally:
        node.end()
    assert [entry[:2] for entry in order] == [(a, at(i) + LATER_NS) for i in range(4) for a in ("rsu", "vehicle")]
    assert all(waiting == [] for _, _, waiting in order)


def test_a_frame_for_which_there_is_nothing_to_send_costs_no_timeout(graph, tmp_path):
    tracks = graph.node.create_publisher(TrackedObjectArray, "/rsu/tracks", 10)
    graph.node.create_publisher(InstanceFeatures, "/rsu/instances", 2)

    def on_info(message: CameraInfo) -> None:
        done = TrackedObjectArray()
        done.header.stamp = stamp_message(stamp_ns(message.header.stamp) - LATER_NS)
        tracks.publish(done)

    graph.node.create_subscription(CompressedImage, "/rsu/image/compressed", lambda m: None, 50)
    graph.node.create_subscription(CameraInfo, "/rsu/camera_info", on_info, 50)
    graph.node.create_subscription(FrameInfo, "/rsu/frame_info", lambda m: None, 50)
    bag = write_image_bag(tmp_path / "bag", 3)
    values = {"bag": bag, "lockstep": True, "lockstep_frames": "images", "lockstep_timeout_ms": 6e5, "rate": 100.0}
    outputs = {"lockstep_outputs": ["/rsu/instances"]}
    node = Process("replay_node", *parameters(discovery_wait_ms=0.0, settle_ms=0.0, **values, **outputs))
    try:
        assert node.wait() == 0 and node.problems == []
    finally:
        node.end()
