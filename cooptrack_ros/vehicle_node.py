"""vehicle_node: own images or detections and the instances of other agents in, tracks with ids out."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.serialization import deserialize_message
from vision_msgs.msg import Detection3DArray

from cooptrack_core.config import VehicleConfig
from cooptrack_core.cooperation.wire import WireError, decode
from cooptrack_core.perception import Network
from cooptrack_core.pipeline import VehicleAgent, VehicleOutput
from cooptrack_core.types import ClockOffset, Frame
from cooptrack_msgs.msg import AssociationArray, InstanceFeatures
from cooptrack_ros.agent_node import AgentNode
from cooptrack_ros.conversions import DetectionsWriter, associations_message
from cooptrack_ros.diagnostics import OK, WARN
from cooptrack_ros.lifecycle import run_node
from cooptrack_ros.parameters import VehicleParameters
from cooptrack_ros.poses import PoseResult
from cooptrack_ros.qos import best_effort, reliable


@dataclass(frozen=True)
class Received:
    """A message of another agent as it came from the air."""

    topic: str
    data: bytes
    now_ns: int  # node clock at arrival


class VehicleNode(AgentNode):
    """Runs a VehicleAgent."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__("vehicle_node", VehicleParameters, VehicleConfig, **arguments)
        self._last_heard_ns: dict[str, int] = {}
        self._agent_of_topic: dict[str, str] = {}
        self._silent: set[str] = set()
        self._unused_features: dict[str, str] = {}  # why not, by agent; empty text: used
        self._clock_offsets: Mapping[str, ClockOffset] = {}
        self._first_frame_ns = 0  # node clock

    def make_agent(self, network: Network | None) -> VehicleAgent:
        return VehicleAgent(self.agent_id, self.config, self.settings.map_frame, network)

    def pose_frames(self) -> list[str]:
        return [self.settings.registered_frame or f"{self.sensor_frame}_registered", self.sensor_frame]

    def make_publishers(self) -> None:
        self._associations_publisher = self.publisher(AssociationArray, "associations", reliable())
        self._detections_publisher = self.publisher(Detection3DArray, "detections", reliable())
        self._detections_writer = DetectionsWriter(self.sensor_frame)

    def subscribe(self) -> None:
        self._last_heard_ns.clear()
        self._silent.clear()
        self._unused_features.clear()
        self._first_frame_ns = 0
        topics = () if self.config.mode == "ego" else self.settings.instance_topics
        names = [self.resolve_topic_name(topic) for topic in topics]
        self._agent_of_topic = {name: name.rsplit("/", 1)[0].strip("/") for name in names}
        for topic in self._agent_of_topic:
            # Raw: its exact size counts, and a message that cannot be deserialised must be counted too.
            self.subscription(InstanceFeatures, topic, self._receiver(topic), best_effort(2), raw=True)

    def _receiver(self, topic: str) -> Any:
        def on_message(data: bytes) -> None:
            now_ns = self.get_clock().now().nanoseconds
            if self._worker is not None:
                overflow = self._worker.submit_message(Received(topic, data, now_ns))
                if overflow:
                    self.health.drop("message_overflow", overflow)

        return on_message

    def receive(self, item: Received) -> None:
        self._last_heard_ns[item.topic] = item.now_ns
        sender, sequence = self._agent_of_topic[item.topic], 0
        try:
            fields = deserialize_message(item.data, InstanceFeatures)
        except Exception as error:  # rclpy raises its own, undocumented types
            self._refuse(item.topic, sender, sequence, "malformed", f"{len(item.data)} bytes cannot be read ({error})")
            return
        sender, sequence = fields.agent_id or sender, fields.sequence
        try:
            message = decode(fields, len(item.data))
        except WireError as error:
            self._refuse(item.topic, sender, sequence, error.reason, error.detail)
            return
        self._agent_of_topic[item.topic] = message.agent_id
        refusal = self.agent.receive(message, item.now_ns)
        if refusal is not None:
            self._log_refusal(item.topic, sender, sequence, refusal.reason, refusal.reason)

    def _refuse(self, topic: str, sender: str, sequence: int, reason: str, detail: str) -> None:
        self.agent.refuse(sender, sequence, reason)
        self._log_refusal(topic, sender, sequence, reason, f"{reason}: {detail}")

    def _log_refusal(self, topic: str, sender: str, sequence: int, reason: str, text: str) -> None:
        self.log.warning(
            f"{topic} {reason}",
            f"{topic}: message {sequence} of {sender} refused: {text}; own tracks go on; check the sender",
        )

    def step(self, frame: Frame, pose: PoseResult) -> dict[str, float]:
        self._first_frame_ns = self._first_frame_ns or self.get_clock().now().nanoseconds
        output = self.agent.step(frame)
        self.publish_tracks(
            output.tracks, output.frame_index, output.predicted_only, output.pose_known, output.T_map_from_sensor
        )
        self._associations_publisher.publish(
            associations_message(
                output.tracks, output.associations, output.refusals, self.sensor_frame, self.agent_id,
                self.config.mode, output.frame_index, output.ego_lost,
            )
        )  # fmt: skip
        if self._detections_publisher.get_subscription_count():
            self._detections_publisher.publish(self._detections_writer.write(output.tracks))
        self.note_problem(frame.stamp_ns, output.problem)
        self._observe(output)
        return output.timings_ms

    def _observe(self, output: VehicleOutput) -> None:
        self._clock_offsets = output.clock_offsets
        known = set(self._agent_of_topic.values())  # not every name that somebody makes up
        for use in output.associations.messages:
            if use.agent_id not in known:
                continue
            self.health.sample(f"{use.agent_id}.age_ms", use.age_ms)
            self.health.sample(f"{use.agent_id}.bytes", use.size_bytes)
            self._note_features(use.agent_id, output.unused_features.get(use.agent_id, ""))

    def _note_features(self, agent: str, reason: str) -> None:
        """Says once that the features of an agent are not used, and once that they are again."""
        before = self._unused_features.get(agent, "")
        self._unused_features[agent] = reason
        if reason == before:
            return
        if reason:
            self.get_logger().warning(f"features of {agent} are not used: {reason}: its kinematics only")
        else:
            self.get_logger().info(f"features of {agent} are used")

    def on_start_anew(self) -> None:
        self._clock_offsets = {}
        self._last_heard_ns.clear()
        self._first_frame_ns = 0

    def statuses(self) -> list[DiagnosticStatus]:
        found = super().statuses()
        if self.state == "active":
            found += [self._agent_status(topic) for topic in self._agent_of_topic]
        return found

    def _agent_status(self, topic: str) -> DiagnosticStatus:
        agent = self._agent_of_topic[topic]
        now_ns = self.get_clock().now().nanoseconds
        # Before the first frame there is nothing to miss, and sim time may not have begun.
        heard_ns = self._last_heard_ns.get(topic, self._first_frame_ns or now_ns)
        silent_ms = max(0.0, (now_ns - heard_ns) / 1e6)
        level, text = OK, "messages arrive"
        if silent_ms > self.config.admission.silence_warning_ms:
            level, text = WARN, f"no message from {agent} for {silent_ms:.0f} ms"
        self._log_silence(topic, agent, level == WARN, text)
        reason = self._unused_features.get(agent, "")
        if reason and level == OK:
            level, text = WARN, f"features of {agent} are not used: {reason}: its kinematics only"
        items: dict[str, object] = {"topic": topic, "silent_ms": silent_ms}
        items |= {f"refused.{reason}": count for reason, count in sorted(self.agent.counters.items())}
        offset = self._clock_offsets.get(agent)
        if offset is not None and offset.count:
            items |= {"clock_offset_ms": offset.offset_ms, "clock_offset_std_ms": offset.std_ms}
            items |= {"clock_offset_pairs": offset.count, "clock_offset_objects": offset.objects}
        for name, (p50, p99) in self.health.percentiles().items():
            if name.startswith(f"{agent}."):
                items |= {f"{name}.p50": p50, f"{name}.p99": p99}
        return self.status(f"instances of {agent}", level, text, items)

    def _log_silence(self, topic: str, agent: str, silent: bool, text: str) -> None:
        if silent and topic not in self._silent:
            self._silent.add(topic)
            self.get_logger().warning(f"{text} on {topic}: tracks go on without it; check that unit and the link")
        elif not silent and topic in self._silent and topic in self._last_heard_ns:
            self._silent.discard(topic)
            self.get_logger().info(f"messages from {agent} arrive again on {topic}")


def main(arguments: list[str] | None = None) -> int:
    """Entry point."""
    return run_node(VehicleNode, arguments)


if __name__ == "__main__":
    sys.exit(main())
