"""The vehicle node keeps publishing tracks whatever comes in, and says what was wrong."""

from __future__ import annotations

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection3DArray

from cooptrack_msgs.msg import AssociationArray, InstanceFeatures, StageTimings, TrackedObjectArray
from cooptrack_ros.conversions import stamp_ns
from cooptrack_ros.vehicle_node import VehicleNode
from ros_messages import at, detections, instances_message, tf, transform

RADIO = QoSProfile(depth=2, reliability=QoSReliabilityPolicy.BEST_EFFORT)
PARAMETERS = {"tf_timeout_ms": 50.0, "discovery_wait_ms": 0.0}


class Drive:
    """A vehicle node with everything around it; the vehicle stands at the map's origin."""

    def __init__(self, graph, **parameters):
        self.graph = graph
        self.node = graph.start(VehicleNode, "/vehicle", {**PARAMETERS, **parameters})
        self.tracks = graph.collect(TrackedObjectArray, "/vehicle/tracks")
        self.associations = graph.collect(AssociationArray, "/vehicle/associations")
        self.timings = graph.collect(StageTimings, "/vehicle/debug/timings")
        self.diagnostics = graph.collect(DiagnosticArray, "/diagnostics")
        self.frames = graph.publisher(Detection3DArray, "/vehicle/detections_in")
        self.tf = graph.publisher(TFMessage, "/tf")
        graph.wait_for(lambda: self.node.tracks_publisher.get_subscription_count() > 0)

    def frame(self, index, centers=((10, 0, 0),), pose=True, **more):
        """Publishes one frame and returns its tracks."""
        if pose:
            self.tf.publish(tf(transform("map", "vehicle/lidar", at(index))))
        self.frames.publish(detections(at(index), centers, **more))
        self.graph.wait_for(lambda: any(stamp_ns(t.header.stamp) == at(index) for t in self.tracks))
        return next(t for t in self.tracks if stamp_ns(t.header.stamp) == at(index))

    def statuses(self, name):
        return [s for array in self.diagnostics for s in array.status if s.name == f"/vehicle/vehicle_node: {name}"]


def test_every_frame_gives_one_array_in_stamp_order(graph):
    drive = Drive(graph)
    for index in range(6):
        last = drive.frame(index)
    assert [stamp_ns(t.header.stamp) for t in drive.tracks] == [at(i) for i in range(6)]
    assert [t.frame_index for t in drive.tracks] == [1, 2, 3, 4, 5, 6]
    assert last.header.frame_id == "vehicle/lidar" and last.mode == "late" and last.detector == "simulated"
    assert last.pose_known and not last.predicted_only
    assert [o.track_id for o in last.objects] == [1]
    assert last.objects[0].pose.pose.position.x == pytest.approx(10, abs=0.1)
    graph.wait_for(lambda: len(drive.associations) == len(drive.timings) == 6)
    assert {"receive_to_start", "wait_tf", "perceive", "cooperate", "advance", "publish", "total"} <= set(
        drive.timings[-1].stage
    )


def test_remote_instances_become_tracks_of_hidden_objects(graph):
    drive = Drive(graph)
    radio = graph.publisher(InstanceFeatures, "/rsu/instances", RADIO)
    for index in range(5):
        message = instances_message(index + 1, at(index), [(40, 5, 0)])
        radio.publish(message)
        graph.wait_for(lambda index=index: drive.node._last_heard_ns.get("/rsu/instances") is not None)
        tracks = drive.frame(index)
    hidden = [o for o in tracks.objects if o.pose.pose.position.x > 30]
    assert len(hidden) == 1 and hidden[0].sources_ever == 2
    graph.wait_for(lambda: len(drive.associations) == 5)
    used = drive.associations[-1]
    assert list(used.message_agent) == ["rsu"] and used.message_bytes[0] > 300
    np.testing.assert_allclose(used.unmatched_remote_center_m, [40, 5, 0], atol=1e-5)
