"""impairment_node: stands in for a bad radio between senders and vehicles, seeded, by a YAML file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.serialization import deserialize_message, serialize_message

from cooptrack_core.cooperation.channel import Channel
from cooptrack_core.cooperation.damage import Codec
from cooptrack_core.cooperation.disturbance import NO_DISTURBANCE, Disturbance
from cooptrack_core.cooperation.impairment_file import read_impairment
from cooptrack_core.types import CooptrackError, Refusal
from cooptrack_msgs.msg import InstanceFeatures
from cooptrack_ros.conversions import features_message
from cooptrack_ros.diagnostics import OK, DiagnosticsPublisher, status
from cooptrack_ros.lifecycle import run_node
from cooptrack_ros.parameters import ImpairmentParameters, NodeParameters
from cooptrack_ros.qos import best_effort

_BACK_NS = 500_000_000
_PERIOD_S = 0.002  # how exactly a message leaves in time


def ros_codec() -> Codec:
    """Messages as rclpy serialises them, each in the form in which it came."""
    return Codec(lambda data: deserialize_message(data, InstanceFeatures), features_message, serialize_message)


class _Link:
    """One topic: what comes on it goes through a channel of its own."""

    def __init__(self, node: Node, topic: str, output: str, disturbance: Disturbance) -> None:
        self.topic, self._node, self._codec = topic, node, ros_codec()
        self.channel = Channel(disturbance, codec=self._codec)
        self.unreadable, self._last_ns = 0, 0
        self._publisher = node.create_publisher(InstanceFeatures, output, best_effort(10))
        self._subscription = node.create_subscription(
            InstanceFeatures, topic, self._on_message, best_effort(10), raw=True
        )

    def _on_message(self, data: bytes) -> None:
        now_ns = self._node.get_clock().now().nanoseconds
        message = self._codec.read(data, "")
        if isinstance(message, Refusal):  # nobody's message to impair: the vehicle names what is wrong with it
            self.unreadable += 1
            self._publisher.publish(data)
            return
        self.channel.send(message, now_ns, data)
        self.flush(now_ns)

    def flush(self, now_ns: int) -> None:
        """Publishes what is due; after a jump back in time nothing of before is."""
        if now_ns < self._last_ns - _BACK_NS:
            self.channel.clear()
        self._last_ns = now_ns
        for data in self.channel.due_bytes(now_ns):
            self._publisher.publish(data)


class ImpairmentNode(Node):
    """Republishes every topic of `instance_topics` as `<topic><suffix>`, impaired."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__("impairment_node", **arguments)
        settings: ImpairmentParameters = NodeParameters(self, ImpairmentParameters).read(ImpairmentParameters)
        disturbance = read_impairment(Path(settings.impairment)) if settings.impairment else NO_DISTURBANCE
        if not settings.suffix:
            raise CooptrackError(f"{self.get_fully_qualified_name()}: parameter suffix: is empty; give _impaired")
        topics = [self.resolve_topic_name(topic) for topic in settings.instance_topics]
        self._links = [_Link(self, topic, topic + settings.suffix, disturbance) for topic in topics]
        # Wall time: with sim time messages leave when /clock has come to their time.
        self._timer = self.create_timer(_PERIOD_S, self._flush, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._diagnostics = DiagnosticsPublisher(self, self._statuses)
        self.get_logger().warning(f"impairing {', '.join(topics) or 'nothing'}: {disturbance.describe()}")

    def _flush(self) -> None:
        now_ns = self.get_clock().now().nanoseconds
        for link in self._links:
            link.flush(now_ns)

    def _statuses(self) -> list[DiagnosticStatus]:
        name, own = self.get_fully_qualified_name(), self.get_namespace().strip("/")
        return [
            status(f"{name}: {link.topic}", OK, link.channel.disturbance.describe(), own,
                   {**link.channel.counts, "unreadable": link.unreadable})
            for link in self._links
        ]  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Entry point."""
    return run_node(ImpairmentNode, arguments)


if __name__ == "__main__":
    sys.exit(main())
