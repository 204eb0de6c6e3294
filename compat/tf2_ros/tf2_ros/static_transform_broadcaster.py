"""Publishes static transforms on /tf_static."""

from __future__ import annotations

from collections.abc import Sequence

from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile
from tf2_msgs.msg import TFMessage


class StaticTransformBroadcaster:
    """Sends all static transforms given so far, latched, on /tf_static."""

    def __init__(self, node: Node, qos: QoSProfile | int | None = None) -> None:
        if qos is None:
            qos = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL, history=HistoryPolicy.KEEP_LAST)
        self.pub_tf = node.create_publisher(TFMessage, "/tf_static", qos)
        self.net_message = TFMessage()

    def sendTransform(self, transform: TransformStamped | Sequence[TransformStamped]) -> None:
        """Add or replace (by child frame) one transform or several, and send the whole set."""
        transforms = list(transform) if isinstance(transform, Sequence) else [transform]
        latest = {t.child_frame_id: t for t in [*self.net_message.transforms, *transforms]}
        self.net_message.transforms = list(latest.values())
        self.pub_tf.publish(self.net_message)
