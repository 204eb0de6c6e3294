"""Finds nodes that publish on topics which belong to us alone."""

from __future__ import annotations

import time
from collections.abc import Iterable

from rclpy.node import Node

from cooptrack_core.types import CooptrackError

_POLL_S = 0.02
_NAME_WAIT_S = 1.0  # DDS knows a publisher up to a few hundred ms before the name of its node
_UNKNOWN = "_NODE_NAME_UNKNOWN_"


def other_publishers(node: Node, topics: Iterable[str], own: int = 1) -> list[tuple[str, str]]:
    """(topic, full name of the other node) for every foreign publisher; `own` publishers of this node are expected.

    A second process with the same node name is foreign as well.
    """
    found = []
    for topic in topics:
        expected = own
        for info in node.get_publishers_info_by_topic(topic):
            ours = info.node_name == node.get_name() and info.node_namespace == node.get_namespace()
            if ours and expected:
                expected -= 1
                continue
            if info.node_name == _UNKNOWN:
                continue  # discovered a moment ago, perhaps ourselves; the next look knows the name
            found.append((topic, f"{info.node_namespace.rstrip('/')}/{info.node_name}"))
    return found


def wait_for_other_publishers(node: Node, topics: Iterable[str], wait_ms: float, own: int = 1) -> list[tuple[str, str]]:
    """The same, looking for up to wait_ms: discovery takes a moment. Returns at the first find."""
    topics = list(topics)
    deadline = time.monotonic() + wait_ms / 1e3
    while node.context.ok():
        patience_s = _NAME_WAIT_S if wait_ms and _nameless(node, topics) else 0.0  # before the look that counts
        found = other_publishers(node, topics, own)
        if found or time.monotonic() - deadline > patience_s:
            return found
        time.sleep(_POLL_S)
    return []


def _nameless(node: Node, topics: Iterable[str]) -> bool:
    return any(info.node_name == _UNKNOWN for topic in topics for info in node.get_publishers_info_by_topic(topic))


class TopicGuard:
    """Keeps an eye on the output topics of a node; `intruders` says in one line who else publishes there."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.intruders = ""

    def admit(self, topics: Iterable[str], wait_ms: float, predecessor_wait_ms: float) -> None:
        """Looks for up to wait_ms. Raises CooptrackError if the topics are not ours alone.

        One of our own name may be a predecessor that was killed: DDS believes in it for some seconds
        more, so it gets up to predecessor_wait_ms to vanish.
        """
        topics = list(topics)
        others = wait_for_other_publishers(self._node, topics, wait_ms)
        own_name = self._node.get_fully_qualified_name()
        if others and all(who == own_name for _, who in others):
            self._node.get_logger().warning(
                f"a node named {own_name} seems to run already; waiting up to {predecessor_wait_ms / 1e3:g} s in case "
                "it has just been killed"
            )
            deadline = time.monotonic() + predecessor_wait_ms / 1e3
            while others and time.monotonic() < deadline and self._node.context.ok():
                time.sleep(_POLL_S)
                others = other_publishers(self._node, topics)
        self.intruders = describe(others) if others else ""
        if others:
            raise CooptrackError(self.intruders)

    def look(self, topics: Iterable[str]) -> None:
        """Looks again; a new find is logged once."""
        others = other_publishers(self._node, topics)
        found = describe(others) if others else ""
        if found and found != self.intruders:
            self._node.get_logger().error(found)
        self.intruders = found


def describe(found: list[tuple[str, str]]) -> str:
    """One line that names the topics and the nodes, and what to do."""
    names = ", ".join(f"{topic} (by {who})" for topic, who in sorted(set(found)))
    return (
        f"another node publishes on our topics: {names}; stop it, start this one in another namespace or "
        f"ROS_DOMAIN_ID, or set allow_shared_topics"
    )
