"""Whether everybody who should hear a bag is listening: a message that nobody takes is lost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rclpy.node import Node

_RECORDED = ("tracks", "instances", "associations", "debug/timings")


def unheard(publishers: Mapping[str, Any], topics: Iterable[str]) -> list[str]:
    """Those of our own topics that no subscriber is matched with."""
    return [topic for topic in topics if publishers[topic].get_subscription_count() == 0]


def silent(node: Node, outputs: Iterable[str]) -> list[str]:
    """Those topics that nobody publishes yet."""
    return [topic for topic in outputs if node.count_publishers(topic) == 0]


def unrecorded(node: Node, outputs: Iterable[str], recorder: str) -> list[str]:
    """Published topics among `outputs` and their siblings that the node `recorder` (full name) does not take."""
    namespaces = {topic.rpartition("/")[0] for topic in outputs}
    candidates = {f"{namespace}/{name}" for namespace in namespaces for name in _RECORDED}
    return sorted(
        topic
        for topic in candidates
        if node.count_publishers(topic)
        and not any(
            f"{info.node_namespace.rstrip('/')}/{info.node_name}" == recorder
            for info in node.get_subscriptions_info_by_topic(topic)
        )
    )
