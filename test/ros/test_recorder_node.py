"""The recorder leaves a complete, readable bag, however it is stopped."""

from __future__ import annotations

import resource
import signal
import threading

import pytest
from geometry_msgs.msg import PoseStamped
from processes import Process, parameters
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from ros_messages import at, instances_message
from rosbags.highlevel import AnyReader
from rosgraph_msgs.msg import Clock

from cooptrack_msgs.msg import InstanceFeatures, TrackedObjectArray
from cooptrack_ros.conversions import stamp_message
from cooptrack_ros.recorder_node import RecorderNode

RADIO = QoSProfile(depth=2, reliability=QoSReliabilityPolicy.BEST_EFFORT)
LATCHED = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)


@pytest.fixture
def handlers_as_before():
    """A recorder that ends its bag in this thread ignores signals from then on."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def record(tmp_path):
    started = []

    def start(**values):
        node = Process("recorder_node", *parameters(**{"output": tmp_path / "recorded", **values}))
        started.append(node)
        return node

    yield start
    for process in started:
        process.end()


def read(path):
    with AnyReader([path]) as reader:
        return [(c.topic, log_ns, reader.deserialize(data, c.msgtype)) for c, log_ns, data in reader.messages()]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_bag_is_complete_after_a_signal(graph, tmp_path, record, number):
    node = record()
    tracks = graph.publisher(TrackedObjectArray, "/vehicle/tracks")
    radio = graph.publisher(InstanceFeatures, "/rsu/instances", RADIO)
    other = graph.node.create_publisher(PoseStamped, "/vehicle/something_else", 10)
    for index in range(5):
        message = TrackedObjectArray(agent_id="vehicle", frame_index=index)
        message.header.stamp = stamp_message(at(index))
        radio.publish(instances_message(index + 1, at(index), [(40, 5, 0)]))
        tracks.publish(message)
    tracks.wait_for_all_acked()
    assert other.get_subscription_count() == 0
    assert node.stop(number) == 0 and node.problems == []
    messages = read(tmp_path / "recorded")
    recorded = [m for topic, _, m in messages if topic == "/vehicle/tracks"]
    assert [m.frame_index for m in recorded] == [0, 1, 2, 3, 4]
    instances = [m for topic, _, m in messages if topic == "/rsu/instances"]
    assert instances and instances[-1].center_m.tolist() == [40, 5, 0]


def test_qos_and_type_hashes_are_kept(graph, tmp_path, record):
    node = record(topics="/a/.*")
    poses = graph.publisher(PoseStamped, "/a/latched", LATCHED)
    radio = graph.publisher(InstanceFeatures, "/a/instances", RADIO)
    poses.publish(PoseStamped())
    poses.wait_for_all_acked()
    hashes = {
        info.topic_type_hash.value.hex() if hasattr(info.topic_type_hash, "value") else str(info.topic_type_hash)
        for info in graph.node.get_publishers_info_by_topic("/a/instances")
    }
    assert radio.get_subscription_count() == 1
    assert node.stop() == 0
    with AnyReader([tmp_path / "recorded"]) as reader:
        connections = {c.topic: c for c in reader.connections}
    assert connections["/a/latched"].ext.offered_qos_profiles[0].durability.name == "TRANSIENT_LOCAL"
    assert connections["/a/instances"].ext.offered_qos_profiles[0].reliability.name == "BEST_EFFORT"
    assert connections["/a/instances"].digest.removeprefix("RIHS01_") in "".join(hashes)


def test_log_times_are_sim_time_and_nothing_from_before_the_clock_is_lost(graph, tmp_path):
    node = graph.add(RecorderNode, "/", {"use_sim_time": True, "output": str(tmp_path / "recorded")})
    tracks = graph.publisher(TrackedObjectArray, "/vehicle/tracks")
    tracks.publish(TrackedObjectArray(frame_index=1))
    graph.wait_for(lambda: node._before_clock)
    clock = graph.publisher(Clock, "/clock")
    clock.publish(Clock(clock=stamp_message(at(7))))
    graph.wait_for(lambda: node.get_clock().now().nanoseconds == at(7))
    tracks.publish(TrackedObjectArray(frame_index=2))
    graph.wait_for(lambda: node.counts["/vehicle/tracks"] == 2)
    graph.call(node.close)
    messages = read(tmp_path / "recorded")
    assert [m.frame_index for _, _, m in messages] == [1, 2]
    assert {log_ns for _, log_ns, _ in messages} == {at(7)}


@pytest.mark.usefixtures("handlers_as_before")
def test_a_recorder_that_is_interrupted_while_it_comes_up_ends_its_bag(graph, tmp_path, monkeypatch):
    """Its writer would otherwise keep the process for ever."""

    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(RecorderNode, "discover", interrupted)
    with pytest.raises(KeyboardInterrupt):
        graph.add(RecorderNode, "/", {"output": str(tmp_path / "recorded")})
    assert not [thread for thread in threading.enumerate() if thread.name == "bag writer"]
    assert read(tmp_path / "recorded") == []


def test_a_bag_that_could_not_be_written_whole_is_no_success(graph, record):
    node = record()
    tracks = graph.publisher(TrackedObjectArray, "/vehicle/tracks")
    resource.prlimit(node.pid, resource.RLIMIT_FSIZE, (64, 64))  # as a full disk: what is larger fails
    tracks.publish(TrackedObjectArray(frame_index=1))
    tracks.wait_for_all_acked()
    assert node.stop() == 2
    errors = [line for line in node.lines if line.startswith("error: ")]
    assert len(errors) == 1 and "recorded: the bag has no end" in errors[0] and "record anew" in errors[0]
    assert not any("Traceback" in line for line in node.lines)


def test_an_existing_output_is_one_clear_line_and_exit_code_2(tmp_path, record):
    (tmp_path / "recorded").mkdir()
    node = record()
    assert node.wait() == 2
    assert len(node.lines) == 1 and "output: exists already" in node.lines[0]


def test_no_regular_expression_is_one_clear_line(tmp_path, record):
    node = record(topics="'(['")
    assert node.wait() == 2
    assert len(node.lines) == 1 and "no regular expression" in node.lines[0]
