"""The replay node plays a bag as recorded, with /clock, in lock-step if asked, and says what is wrong with it."""

from __future__ import annotations

import itertools
import signal

import pytest
from processes import Process, parameters, write_bag
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from ros_messages import at
from rosgraph_msgs.msg import Clock
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection3DArray

from cooptrack_core.types import CooptrackError
from cooptrack_msgs.msg import InstanceFeatures, TrackedObjectArray
from cooptrack_ros.bags import header_stamp_ns, open_bag
from cooptrack_ros.conversions import stamp_message, stamp_ns
from cooptrack_ros.replay_node import ReplayNode

SHORT = {"discovery_wait_ms": 0.0, "settle_ms": 0.0}
FRAMES = ("/rsu/detections_in", "/vehicle/detections_in")


@pytest.fixture
def play(graph, tmp_path):
    """Plays a bag in a process with the test node listening to its frames."""
    started = []

    def start(bag, **values):
        node = Process("replay_node", *parameters(bag=bag, **{**SHORT, **values}))
        started.append(node)
        return node

    yield start
    for process in started:
        process.end()


def listen(graph, order):
    """Notes (topic, stamp) of everything in the order of arrival."""
    for topic in FRAMES:
        graph.node.create_subscription(
            Detection3DArray, topic, lambda m, t=topic: order.append((t, stamp_ns(m.header.stamp))), 50
        )


def test_everything_is_played_in_order_with_clock_and_latched_statics(graph, tmp_path, play):
    order: list = []
    listen(graph, order)
    clock = graph.collect(Clock, "/clock", matched=False)
    tf = graph.collect(TFMessage, "/tf", matched=False)
    latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
    static = graph.collect(TFMessage, "/tf_static", latched, matched=False)
    node = play(write_bag(tmp_path / "bag"), wait_for_subscribers=[*FRAMES, "/tf"], rate=2.0)
    assert node.wait() == 0 and node.problems == []
    graph.wait_for(lambda: len(order) == 10 and len(tf) == 5 and static)
    for topic in FRAMES:  # between topics the listener may swap what came at once
        assert [stamp for name, stamp in order if name == topic] == [at(index) for index in range(5)]
    stamps = [stamp_ns(message.clock) for message in clock]
    assert stamps == sorted(stamps) and len(set(stamps)) == len(stamps)
    assert stamps[-1] == at(4) + 3_000_000
    assert "16 messages" in next(line for line in node.lines if "finished" in line)


def test_lockstep_sends_no_frame_before_the_answer_to_the_last(graph, tmp_path, play):
    tracks = graph.node.create_publisher(TrackedObjectArray, "/vehicle/tracks", 10)
    instances = graph.node.create_publisher(InstanceFeatures, "/rsu/instances", 2)
    order: list = []
    pending: list = []
    for topic, publisher, made in ((FRAMES[0], instances, InstanceFeatures), (FRAMES[1], tracks, TrackedObjectArray)):

        def on_frame(message, topic=topic, publisher=publisher, made=made):
            order.append((topic, stamp_ns(message.header.stamp), list(pending)))
            pending.append((publisher, made, message.header.stamp))

        graph.node.create_subscription(Detection3DArray, topic, on_frame, 50)

    def answer():
        while pending:
            publisher, made, stamp = pending.pop()
            message = made()
            message.header.stamp = stamp
            publisher.publish(message)

    graph.node.create_timer(0.05, answer)
    node = play(write_bag(tmp_path / "bag"), lockstep=True, rate=100.0, lockstep_timeout_ms=20000.0)
    assert node.wait() == 0 and node.problems == []
    assert [entry[:2] for entry in order] == [(topic, at(index)) for index in range(5) for topic in FRAMES]
    assert all(unanswered == [] for _, _, unanswered in order)


def test_lockstep_goes_on_when_an_answer_does_not_come(graph, tmp_path, play):
    order: list = []
    listen(graph, order)
    tracks = graph.node.create_publisher(TrackedObjectArray, "/vehicle/tracks", 10)
    lockstep = {"lockstep": True, "lockstep_outputs": ["/vehicle/tracks"], "lockstep_timeout_ms": 20.0}
    node = play(write_bag(tmp_path / "bag"), rate=50.0, **lockstep)
    assert node.wait() == 0
    graph.wait_for(lambda: len(order) == 10)
    assert any("/vehicle/tracks: nothing for the frame at" in line for line in node.problems)
    assert "/vehicle/tracks 5" in node.problems[-1]
    graph.wait_for(lambda: tracks.get_subscription_count() == 0)


def test_lockstep_does_not_wait_for_a_node_that_is_gone(graph, tmp_path, play):
    order: list = []
    listen(graph, order)
    lockstep = {"lockstep": True, "lockstep_outputs": ["/vehicle/tracks"], "lockstep_timeout_ms": 6e5}
    node = play(write_bag(tmp_path / "bag"), rate=50.0, wait_for_subscribers_ms=0.0, **lockstep)
    assert node.wait() == 0
    assert "/vehicle/tracks 5" in node.problems[-1]


def test_a_bag_without_tf_is_played_and_says_so(graph, tmp_path, play):
    order: list = []
    listen(graph, order)
    node = play(write_bag(tmp_path / "bag", with_tf=False), wait_for_subscribers=FRAMES, rate=10.0)
    assert node.wait() == 0
    assert len(node.problems) == 1 and "/tf: not in the bag" in node.problems[0] and "to-bag" in node.problems[0]
    graph.wait_for(lambda: len(order) == 10)


def test_it_begins_at_the_offset_with_the_latched_messages(graph, tmp_path, play):
    order: list = []
    listen(graph, order)
    latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
    static = graph.collect(TFMessage, "/tf_static", latched, matched=False)
    node = play(write_bag(tmp_path / "bag"), start_offset=0.25, wait_for_subscribers=FRAMES, rate=10.0)
    assert node.wait() == 0 and node.problems == []
    graph.wait_for(lambda: static and len(order) == 4)
    assert {stamp for _, stamp in order} == {at(3), at(4)}


def test_a_loop_starts_again_until_it_is_stopped(graph, tmp_path, play):
    clock = graph.collect(Clock, "/clock", matched=False)
    node = play(write_bag(tmp_path / "bag"), loop=True, rate=10.0, loop_pause_ms=0.0)

    def jumps():
        stamps = [stamp_ns(message.clock) for message in list(clock)]
        return sum(b < a for a, b in itertools.pairwise(stamps))

    graph.wait_for(lambda: jumps() >= 2)
    assert node.stop(signal.SIGTERM) == 0
    assert node.problems == []


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda path: "", "parameter is empty"),
        (lambda path: path / "absent", "does not exist"),
        (lambda path: path, "has no metadata.yaml"),
        (lambda path: (path / "metadata.yaml").write_text("rosbag2: 1") and path, "is not a readable rosbag2"),
    ],
)
def test_a_bad_bag_is_one_clear_line(tmp_path, make, what):
    with pytest.raises(CooptrackError, match=what) as error:
        open_bag(str(make(tmp_path)))
    assert "\n" not in str(error.value)


def test_a_bag_that_breaks_off_is_one_clear_line_and_exit_code_2(graph, tmp_path, play):
    bag = write_bag(tmp_path / "bag", frames=300)
    storage = next(bag.glob("*.mcap"))
    whole = storage.read_bytes()
    storage.write_bytes(whole[: len(whole) // 2])
    node = play(bag, rate=1000.0)
    assert node.wait() == 2
    assert len(node.problems) == 1 and node.problems[0].startswith("error: ") and "bag: " in node.problems[0]


def test_another_player_is_noticed(graph, tmp_path, play):
    other = Node("other_player", context=graph.context)
    other.create_publisher(Detection3DArray, "/vehicle/detections_in", 1)
    node = play(write_bag(tmp_path / "bag"), discovery_wait_ms=10000.0)
    assert node.wait() == 2
    assert "/vehicle/detections_in (by /other_player)" in node.problems[0] and len(node.problems) == 1
    other.destroy_node()


def test_an_unknown_topic_to_wait_for_names_those_in_the_bag(graph, tmp_path):
    bag = str(write_bag(tmp_path / "bag"))
    node = graph.add(ReplayNode, "/", {**SHORT, "bag": bag, "wait_for_subscribers": ["/nobody"]})
    with pytest.raises(CooptrackError, match="/nobody not in the bag; it has /rsu/detections_in"):
        node.play()


def test_an_agent_that_the_bag_lacks_is_one_line_and_the_others_play(graph, tmp_path, play):
    order: list = []
    listen(graph, order)
    node = play(write_bag(tmp_path / "bag"), wait_for_subscribers=[*FRAMES, "/vehicle2/detections_in"], rate=10.0)
    assert node.wait() == 0
    assert len(node.problems) == 1 and "/vehicle2/detections_in not in the bag; it has" in node.problems[0]
    graph.wait_for(lambda: len(order) == 10)


def test_poses_before_the_offset_are_there_for_the_first_frames(graph, tmp_path, play):
    tf = graph.collect(TFMessage, "/tf", matched=False)
    node = play(write_bag(tmp_path / "bag", frames=12), start_offset=0.85, wait_for_subscribers=["/tf"], rate=10.0)
    assert node.wait() == 0 and node.problems == []
    graph.wait_for(lambda: len(tf) >= 8)
    stamps = [stamp_ns(message.transforms[0].header.stamp) for message in tf]
    assert stamps == [at(index) for index in range(4, 12)]


def test_the_stamp_of_serialised_messages_is_read_without_decoding():
    from rclpy.serialization import serialize_message

    message = TrackedObjectArray(agent_id="vehicle")
    message.header.stamp = stamp_message(at(3) + 7)
    assert header_stamp_ns(serialize_message(message)) == at(3) + 7
