"""Agent nodes with everything around them, for tests."""

from __future__ import annotations

import threading
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from ros_messages import at, detections, tf, transform
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection3DArray

from cooptrack_msgs.msg import AssociationArray, InstanceFeatures, StageTimings, TrackedObjectArray
from cooptrack_ros.conversions import stamp_ns
from cooptrack_ros.roadside_node import RoadsideNode
from cooptrack_ros.vehicle_node import VehicleNode

RADIO = QoSProfile(depth=2, reliability=QoSReliabilityPolicy.BEST_EFFORT)
PARAMETERS = {"detector": "simulated", "mode": "late", "tf_timeout_ms": 50.0, "discovery_wait_ms": 0.0}


class Drive:
    """An agent node in its namespace, and a test node that feeds it and listens; the sensor stands at the origin."""

    node_class: Any
    name: str
    namespace: str

    def __init__(self, graph: Any, node_class: Any = None, **parameters: Any) -> None:
        self.graph = graph
        self.node = graph.start(node_class or self.node_class, self.namespace, {**PARAMETERS, **parameters})
        self.tracks = graph.collect(TrackedObjectArray, f"{self.namespace}/tracks")
        self.timings = graph.collect(StageTimings, f"{self.namespace}/debug/timings")
        self.diagnostics = graph.collect(DiagnosticArray, "/diagnostics")
        self.frames = self.input_publisher()
        self.tf = graph.publisher(TFMessage, "/tf")
        graph.wait_for(lambda: self.node.tracks_publisher.get_subscription_count() > 0)

    def pile_up(self, first: int, *rest: int) -> None:
        """Sends frames of which all but the first wait together, because its step takes that long."""
        entered, gate, step = threading.Event(), threading.Event(), self.node.agent.step

        def slow(frame: Any) -> Any:
            entered.set()
            gate.wait()
            return step(frame)

        self.node.agent.step = slow
        self.send(first)
        assert entered.wait(10)
        for index in rest:
            self.send(index)
        self.graph.wait_for(lambda: len(self.node._worker._frames) == len(rest))
        gate.set()

    def input_publisher(self) -> Any:
        """Of what makes a frame."""
        return self.graph.publisher(Detection3DArray, f"{self.namespace}/detections_in")

    def send(self, index: int, centers: Any = ((10, 0, 0),), pose: bool = True, **more: Any) -> None:
        """Publishes a frame and, unless told otherwise, its pose."""
        frame_id = f"{self.namespace[1:]}/lidar"
        if pose:
            self.tf.publish(tf(transform("map", frame_id, at(index))))
        self.frames.publish(detections(at(index), centers, **{"frame_id": frame_id, **more}))

    def frame(self, index: int, *arguments: Any, **more: Any) -> TrackedObjectArray:
        """Publishes a frame and returns its tracks."""
        seen = len(self.tracks)
        self.send(index, *arguments, **more)

        def answer() -> list[TrackedObjectArray]:
            return [t for t in self.tracks[seen:] if stamp_ns(t.header.stamp) == at(index)]

        self.graph.wait_for(answer)
        return answer()[0]

    def statuses(self, name: str) -> list[Any]:
        """All published diagnostics of one kind."""
        full = f"{self.namespace}/{self.name}: {name}"
        return [status for array in list(self.diagnostics) for status in array.status if status.name == full]

    def wait_for_status(self, name: str, text: str) -> Any:
        """The first status of a kind whose message contains the text."""

        def found() -> list[Any]:
            return [status for status in self.statuses(name) if text in status.message]

        self.graph.wait_for(found)
        return found()[0]


class VehicleDrive(Drive):
    """With a radio."""

    node_class, name, namespace = VehicleNode, "vehicle_node", "/vehicle"

    def __init__(self, graph: Any, **parameters: Any) -> None:
        super().__init__(graph, **parameters)
        self.associations = graph.collect(AssociationArray, "/vehicle/associations")
        self._radio = None

    def hear(self, message: InstanceFeatures | bytes) -> None:
        """Sends a message of the roadside unit and waits until the vehicle has taken it."""
        if self._radio is None:
            self._radio = self.graph.publisher(InstanceFeatures, "/rsu/instances", RADIO)
        taken: list[Any] = []
        receive = self.node._worker._on_message

        def watched(item: Any) -> None:
            receive(item)
            taken.append(item)

        self.node._worker._on_message = watched
        self._radio.publish(message)
        self.graph.wait_for(lambda: taken)
        self.node._worker._on_message = receive

    def associations_of(self, index: int) -> AssociationArray:
        """The associations of a frame."""

        def found() -> list[AssociationArray]:
            return [a for a in self.associations if stamp_ns(a.header.stamp) == at(index)]

        self.graph.wait_for(found)
        return found()[-1]


class RoadsideDrive(Drive):
    """With a receiver."""

    node_class, name, namespace = RoadsideNode, "roadside_node", "/rsu"

    def __init__(self, graph: Any, **parameters: Any) -> None:
        super().__init__(graph, **parameters)
        self.instances = graph.collect(InstanceFeatures, "/rsu/instances", RADIO)
