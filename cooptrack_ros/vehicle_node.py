"""vehicle_node: own images or detections and the instances of other agents in, tracks with ids out."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.serialization import deserialize_message
from vision_msgs.msg import Detection3DArray

from cooptrack_core.config import VehicleConfig
from cooptrack_core.cooperation import refusals
from cooptrack_core.cooperation.trust import Verdict
from cooptrack_core.perception import Network
from cooptrack_core.pipeline import VehicleAgent, VehicleOutput
from cooptrack_core.types import ClockOffset, Frame
from cooptrack_msgs.msg import AssociationArray, InstanceFeatures
from cooptrack_ros.agent_node import AgentNode
from cooptrack_ros.agent_topics import AgentTopics
from cooptrack_ros.conversions import DetectionsWriter, associations_message, features_message
from cooptrack_ros.diagnostics import ERROR, OK, WARN, pose_items
from cooptrack_ros.lifecycle import run_node
from cooptrack_ros.parameters import VehicleParameters
from cooptrack_ros.poses import PoseResult
from cooptrack_ros.qos import best_effort, reliable

UNDECODED = ("too_large", "schema_version", "malformed", "not_finite")  # who sent such a message is not believed
OVERFLOW = "message_overflow"  # dropped before anybody looked at them
_LEVELS = {refusals.OK: OK, refusals.WARN: WARN, refusals.ERROR: ERROR}


@dataclass(frozen=True)
class Received:
    """A message of another agent as it came from the air."""

    topic: str
    data: bytes
    now_ns: int  # node clock at arrival


@dataclass(frozen=True)
class Unwelcome:
    """An agent that is not listened to."""

    agent_id: str
    reason: str


class VehicleNode(AgentNode):
    """Runs a VehicleAgent."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__("vehicle_node", VehicleParameters, VehicleConfig, **arguments)
        self._last_heard_ns: dict[str, int] = {}
        self._agent_of_topic: dict[str, str] = {}
        self._followed_ns: dict[str, int] = {}  # node clock when an agent was found
        self._topics: AgentTopics | None = None
        self._silent: set[str] = set()
        self._unused_features: dict[str, str] = {}  # why not, by agent; empty text: used
        self._clock_offsets: Mapping[str, ClockOffset] = {}
        self._first_frame_ns = 0  # node clock

    def make_agent(self, network: Network | None) -> VehicleAgent:
        session_id = self.settings.session_id or secrets.randbits(63) | 1
        own = {"session_id": session_id, "sensor_frame": self.sensor_frame}
        return VehicleAgent(self.agent_id, self.config, self.settings.map_frame, network, **own)

    def pose_frames(self) -> list[str]:
        return [self.settings.registered_frame or f"{self.sensor_frame}_registered", self.sensor_frame]

    def make_publishers(self) -> None:
        self._associations_publisher = self.publisher(AssociationArray, "associations", reliable())
        self._detections_publisher = self.publisher(Detection3DArray, "detections", reliable())
        self._detections_writer = DetectionsWriter(self.sensor_frame)
        if self.config.publish_instances:
            self._instances_publisher = self.publisher(InstanceFeatures, "instances", best_effort(2))

    def subscribe(self) -> None:
        self._last_heard_ns.clear()
        self._silent.clear()
        self._unused_features.clear()
        self._first_frame_ns = 0
        self._followed_ns.clear()
        self._agent_of_topic = {}
        self._topics = AgentTopics(
            self, () if self.config.mode == "ego" else self.settings.instance_topics,
            self.resolve_topic_name("instances"), max_agents=self.settings.max_agents,
            forget_ms=self.settings.agent_forget_ms, follow=self._follow, forget=self._forget, refuse=self._turn_away,
        )  # fmt: skip
        self._topics.begin()

    def deactivate(self) -> None:
        if self._topics is not None:
            self._topics.close()
        super().deactivate()

    def _follow(self, topic: str) -> None:
        # A new dictionary each time: the worker may be going through the old one.
        self._agent_of_topic = {**self._agent_of_topic, topic: topic.rsplit("/", 1)[0].strip("/")}
        # Raw: its exact size counts, and a message that cannot be deserialised must be counted too.
        self.subscription(InstanceFeatures, topic, self._receiver(topic), best_effort(2), raw=True)
        if topic not in self._topics.named:
            self._followed_ns[topic] = self.get_clock().now().nanoseconds
            self.get_logger().info(f"listening to {topic}")

    def _forget(self, topic: str) -> None:
        agent = self._agent_of_topic[topic]
        self._agent_of_topic = {name: who for name, who in self._agent_of_topic.items() if name != topic}
        self.end_subscription(topic)
        for memory in (self._last_heard_ns, self._followed_ns):
            memory.pop(topic, None)
        self._silent.discard(topic)
        self._unused_features.pop(agent, None)
        self.get_logger().info(f"{agent} is gone: nobody publishes on {topic} any more")

    def _turn_away(self, topic: str) -> None:
        agent = topic.rsplit("/", 1)[0].strip("/")
        text = f"{topic}: too_many_agents: {self.settings.max_agents} are heard already; raise max_agents"
        self.get_logger().warning(f"{text}, or narrow instance_topics")
        if self._worker is not None:
            self._worker.submit_message(Unwelcome(agent, "too_many_agents"))

    def _receiver(self, topic: str) -> Any:
        def on_message(data: bytes) -> None:
            now_ns = self.get_clock().now().nanoseconds
            if self._worker is not None:
                overflow = self._worker.submit_message(Received(topic, data, now_ns))
                if overflow:
                    self.health.drop(OVERFLOW, overflow)

        return on_message

    def receive(self, item: Received | Unwelcome) -> None:
        if isinstance(item, Unwelcome):
            self.agent.refuse(item.agent_id, 0, item.reason)
            return
        if item.topic not in self._agent_of_topic:
            return  # forgotten meanwhile
        self._last_heard_ns[item.topic] = item.now_ns
        sender = self._agent_of_topic[item.topic]
        try:
            fields = deserialize_message(item.data, InstanceFeatures)
        except Exception as error:  # rclpy raises its own, undocumented types
            self._refuse(item.topic, sender, 0, "malformed", f"{len(item.data)} bytes cannot be read ({error})")
            return
        refusal = self.agent.receive_fields(fields, len(item.data), item.now_ns, sender)
        if refusal is None or refusal.reason not in UNDECODED:
            self._agent_of_topic[item.topic] = fields.agent_id
        if refusal is not None and refusal.reason != "quarantined":  # said once, when it happens
            text = f"{refusal.reason}: {refusal.detail}" if refusal.detail else refusal.reason
            self._log_refusal(item.topic, refusal.agent_id, refusal.sequence, refusal.reason, text)

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
        if output.message is not None:
            self._instances_publisher.publish(features_message(output.message))
        self._associations_publisher.publish(
            associations_message(
                output.tracks, output.associations, output.refusals, self.sensor_frame, self.agent_id,
                self.config.mode, output.frame_index, output.ego_lost, output.admitted,
            )
        )  # fmt: skip
        if self._detections_publisher.get_subscription_count():
            self._detections_publisher.publish(self._detections_writer.write(output.tracks))
        self.note_problem(frame.stamp_ns, output.problem)
        self._observe(output)
        return output.timings_ms

    def _observe(self, output: VehicleOutput) -> None:
        self._clock_offsets = output.clock_offsets
        for verdict in output.verdicts:
            self._log_verdict(verdict)
        known = set(self._agent_of_topic.values())  # not every name that somebody makes up
        for use in output.associations.messages:
            if use.agent_id not in known:
                continue
            self.health.sample(f"{use.agent_id}.age_ms", use.age_ms)
            self.health.sample(f"{use.agent_id}.bytes", use.size_bytes)
            self._note_features(use.agent_id, output.unused_features.get(use.agent_id, ""))

    def _log_verdict(self, verdict: Verdict) -> None:
        """Says once that an agent is quarantined, and once that it is heard again."""
        agent = verdict.agent_id
        if verdict.quarantined:
            what = f"{agent} is quarantined: its messages contradict what can be ({verdict.cause})"
            self.get_logger().error(f"{what}; own tracks go on; check that unit (docs/trust.md)")
        else:
            self.get_logger().info(f"{agent} is trusted again and heard")

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
        self._followed_ns.clear()
        self._first_frame_ns = 0

    def statuses(self) -> list[DiagnosticStatus]:
        found = super().statuses()
        if self.state == "active":
            found += [self._agent_status(topic) for topic in self._agent_of_topic]
            if self._topics is not None and self._topics.open:
                found.append(self._agents_status(self._topics))
            found.append(self._admission_status())
        return found

    def _admission_status(self) -> DiagnosticStatus:
        refused, reason = self.agent.inbox.admission.book.level_of_all()
        level, text = _LEVELS[refused], "refused messages of all senders, by reason"
        if reason:
            text = f"messages are refused: {reason}"
        if level != ERROR and self.health.is_recent(OVERFLOW):
            level, text = WARN, "messages come faster than they are read: the oldest are dropped unread"
        items = {f"refused.{name}": count for name, count in sorted(self.agent.counters.items())}
        return self.status("admission", level, text, items | {OVERFLOW: self.health.drops().get(OVERFLOW, 0)})

    def _agents_status(self, topics: AgentTopics) -> DiagnosticStatus:
        names = sorted(self._agent_of_topic.values())
        level, text = OK, f"{len(names)} agents: {', '.join(names)}" if names else "no agent so far"
        if topics.refused:
            level = WARN
            text += f"; too_many_agents: {', '.join(topics.refused)} not heard"
        items: dict[str, object] = {"agents": len(names), "refused": len(topics.refused)}
        return self.status("agents", level, text, items | {"max_agents": self.settings.max_agents})

    def _agent_status(self, topic: str) -> DiagnosticStatus:
        agent = self._agent_of_topic[topic]
        now_ns = self.get_clock().now().nanoseconds
        # Before the first frame there is nothing to miss, and sim time may not have begun.
        since_ns = max(self._first_frame_ns, self._followed_ns.get(topic, 0))
        heard_ns = self._last_heard_ns.get(topic, since_ns or now_ns)
        silent_ms = max(0.0, (now_ns - heard_ns) / 1e6)
        level, text = OK, "messages arrive"
        if silent_ms > self.config.admission.silence_warning_ms:
            level, text = WARN, f"no message from {agent} for {silent_ms:.0f} ms"
        self._log_silence(topic, agent, level == WARN, text)
        reason = self._unused_features.get(agent, "")
        if reason and level == OK:
            level, text = WARN, f"features of {agent} are not used: {reason}: its kinematics only"
        items: dict[str, object] = {"topic": topic, "silent_ms": silent_ms}
        level, text = self._worst(agent, level, text, items)
        items |= {
            f"refused.{reason}": count for reason, count in sorted(self.agent.inbox.admission.book.of(agent).items())
        }
        items |= pose_items(self.agent.inbox.poses.report(agent))
        items |= dict(sorted(self.agent.inbox.received.counters.items()))
        offset = self._clock_offsets.get(agent)
        if offset is not None and offset.count:
            items |= {"clock_offset_ms": offset.offset_ms, "clock_offset_std_ms": offset.std_ms}
            items |= {"clock_offset_pairs": offset.count, "clock_offset_objects": offset.objects}
        for name, (p50, p99) in self.health.percentiles(f"{agent}.").items():
            items |= {f"{name}.p50": p50, f"{name}.p99": p99}
        return self.status(f"instances of {agent}", level, text, items)

    def _worst(self, agent: str, level: bytes, text: str, items: dict[str, object]) -> tuple[bytes, str]:
        """Adds trust and evidence to the items; the level and text of whatever is worst about an agent."""
        refused, reason = self.agent.inbox.admission.book.level(agent)
        if _LEVELS[refused] > level:
            level, text = _LEVELS[refused], f"messages of {agent} are refused: {reason}"
        monitor = self.agent.guard.monitor
        standing = None if monitor is None else monitor.standings.get(agent)
        if standing is not None:
            acts = self.agent.guard.quarantines
            items |= {"trust": standing.trust, "quarantined": standing.quarantined and acts}
            items |= {f"evidence.{name}": count for name, count in sorted(standing.evidence.items())}
            if standing.quarantined and acts:
                level, text = ERROR, f"{agent} is quarantined: trust {standing.trust:.2f}"
            elif standing.quarantined and level == OK:
                level, text = WARN, f"trust in {agent} is {standing.trust:.2f}; used all the same (trust.quarantine)"
        return level, text

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
