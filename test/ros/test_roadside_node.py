"""The roadside node sends what it sees, with its pose, session and sequence; features arrive unchanged."""

from __future__ import annotations

import numpy as np
import pytest
from drives import RoadsideDrive, VehicleDrive
from ros_messages import at, tf, transform
from tf2_msgs.msg import TFMessage

from cooptrack_core.cooperation.wire import decode
from cooptrack_core.types import Features
from cooptrack_ros.conversions import stamp_ns
from cooptrack_ros.detections_trigger import DetectionsTrigger
from cooptrack_ros.roadside_node import RoadsideNode


def test_instances_carry_pose_session_and_sequence(graph):
    drive = RoadsideDrive(graph, session_id=42)
    drive.tf.publish(tf(transform("map", "rsu/lidar", at(0), x=7.0, yaw=0.5)))
    for index in range(5):
        drive.tf.publish(tf(transform("map", "rsu/lidar", at(index), x=7.0, yaw=0.5)))
        drive.frame(index, pose=False)
    graph.wait_for(lambda: len(drive.instances) == 5)
    messages = [decode(message) for message in drive.instances]
    assert [m.sequence for m in messages] == [1, 2, 3, 4, 5]
    assert {m.session_id for m in messages} == {42} and {m.agent_id for m in messages} == {"rsu"}
    assert [m.stamp_ns for m in messages] == [at(i) for i in range(5)]
    assert messages[-1].sensor_frame == "rsu/lidar" and messages[-1].map_frame == "map"
    assert messages[-1].T_map_from_sensor[0, 3] == pytest.approx(7.0)
    assert np.arctan2(*messages[-1].T_map_from_sensor[[1, 0], 0]) == pytest.approx(0.5)
    np.testing.assert_allclose(messages[-1].instances.center_m, [[10, 0, 0]], atol=0.1)
    assert messages[-1].instances.instance_id.tolist() == [drive.tracks[-1].objects[0].track_id]
    assert not drive.instances[-1].pose_covariance  # unknown


def test_nothing_seen_is_sent_as_news(graph):
    drive = RoadsideDrive(graph)
    drive.frame(0, centers=())
    graph.wait_for(lambda: drive.instances)
    assert drive.instances[0].instance_count == 0


def test_every_start_is_another_session(graph):
    sessions = {graph.add(RoadsideNode, f"/rsu_{i}") for i in range(2)}
    assert all(graph.call(node.start) for node in sessions)
    assert len({node.agent.session_id for node in sessions}) == 2


def test_without_a_pose_tracks_go_on_and_nothing_is_sent(graph):
    drive = RoadsideDrive(graph, tf_timeout_ms=5.0)
    for index in range(4):
        tracks = drive.frame(index, pose=False)
    assert not tracks.pose_known and len(tracks.objects) == 1
    drive.frame(4)
    graph.wait_for(lambda: drive.instances)
    assert stamp_ns(drive.instances[0].header.stamp) == at(4)


SEEN: dict[int, Features] = {}


class SeeingTrigger(DetectionsTrigger):
    """Adds random features to the detections, as a network would; SEEN holds them by stamp."""

    def convert(self, message):
        detections = super().convert(message)
        rng = np.random.default_rng(stamp_ns(message.header.stamp) % 1000)
        streams = rng.normal(size=(3, len(detections), 256)).astype(np.float32)
        features = Features(streams[0], streams[1], streams[2], "random", bytes(range(32)))
        SEEN[stamp_ns(message.header.stamp)] = features
        object.__setattr__(detections, "features", features)
        return detections


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8", "none"])
def test_features_arrive_at_the_vehicle_as_they_were_sent(graph, precision, monkeypatch):
    monkeypatch.setattr("cooptrack_ros.agent_node.DetectionsTrigger", SeeingTrigger)
    roadside = RoadsideDrive(graph, feature_precision=precision, kinematics_precision="fp32")
    monkeypatch.undo()
    vehicle = VehicleDrive(graph)
    received = []
    receive = vehicle.node.agent.receive
    vehicle.node.agent.receive = lambda message, now_ns: (received.append(message), receive(message, now_ns))[1]
    graph.wait_for(lambda: graph.node.count_publishers("/rsu/instances") == 1)
    graph.wait_for(lambda: roadside.node._instances_publisher.get_subscription_count() == 2)
    centers = [(10, 0, 0), (20, 8, 0), (30, -8, 0)]
    for index in range(5):
        roadside.frame(index, centers)
    graph.wait_for(lambda: received and received[-1].stamp_ns == at(4))
    message, sent = received[-1], SEEN[at(4)]
    # The row of each instance: the detection nearest to it.
    distance = np.linalg.norm(message.instances.center_m[:, None] - np.array(centers, float), axis=2)
    rows = distance.argmin(axis=1)
    assert sorted(rows) == [0, 1, 2]
    features = message.instances.features
    if precision == "none":
        assert features is None
        return
    assert features.preset == "random" and features.fingerprint == bytes(range(32))
    for name in ("query", "embedding", "motion"):
        expected = getattr(sent, name)[rows]
        if precision == "fp32":
            assert np.array_equal(getattr(features, name), expected)
        elif precision == "fp16":
            assert np.array_equal(getattr(features, name), expected.astype(np.float16).astype(np.float32))
        else:
            np.testing.assert_allclose(getattr(features, name), expected, atol=np.abs(expected).max() / 127)


def test_two_roadside_units_are_two_namespaces(graph):
    class Second(RoadsideDrive):
        namespace = "/rsu_2"

    drives = [RoadsideDrive(graph), Second(graph)]
    for drive in drives:
        assert drive.frame(0).agent_id == drive.namespace[1:]
    assert isinstance(drives[0].tf, type(graph.publisher(TFMessage, "/tf")))
