"""Which topics of other agents a vehicle listens to: named ones, and those that match a pattern as they come and go."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node

LOOK_S = 1.0
_TYPE = "cooptrack_msgs/msg/InstanceFeatures"
_WILD = re.compile(r"\*\*|\*|\?")
_MEANS = {"**": r".+", "*": r"[^/]+", "?": r"[^/]"}


def is_pattern(entry: str) -> bool:
    """Whether an entry of instance_topics stands for any number of topics."""
    return bool(_WILD.search(entry))


def pattern(entry: str, namespace: str) -> re.Pattern[str]:
    """The topics that an entry stands for. `*`: one level, `**`: any, `?`: one character; relative to the namespace."""
    full = entry if entry.startswith("/") else f"{namespace.rstrip('/')}/{entry}"
    literal = map(re.escape, _WILD.split(full))
    wild = [_MEANS[found] for found in _WILD.findall(full)] + [""]
    return re.compile("".join(text + any_ for text, any_ in zip(literal, wild, strict=True)))


class AgentTopics:
    """Follows the topics; with a pattern among them it looks at the graph once a second, of wall time.

    Agents over the limit are refused until others are forgotten. An agent is forgotten when nobody has published on its
    topic for a while; one that was named never is. Executor thread only.
    """

    def __init__(
        self,
        node: Node,
        entries: Iterable[str],
        own_topic: str,
        *,
        max_agents: int,
        forget_ms: float,
        follow: Callable[[str], None],
        forget: Callable[[str], None],
        refuse: Callable[[str], None],
    ) -> None:
        """follow, forget and refuse are told of a topic; refuse once until it has had its chance."""
        self._node, self._own_topic = node, own_topic
        self._max_agents, self._forget_s = max_agents, forget_ms / 1e3
        self._follow, self._forget, self._refuse = follow, forget, refuse
        entries = list(entries)
        self._patterns = [pattern(entry, node.get_namespace()) for entry in entries if is_pattern(entry)]
        named = [node.resolve_topic_name(entry) for entry in entries if not is_pattern(entry)]
        self.named = [topic for topic in dict.fromkeys(named) if topic != own_topic]
        self._last_there_s: dict[str, float] = {}  # of topics found
        self.refused: list[str] = []
        self._timer: Any = None

    def begin(self) -> None:
        """Follows the named topics and what is there."""
        for topic in self.named:
            self._follow(topic)
        if self._patterns:
            self._timer = self._node.create_timer(LOOK_S, self.look, clock=Clock(clock_type=ClockType.STEADY_TIME))
            self.look()

    @property
    def followed(self) -> list[str]:
        """Topics listened to."""
        return [*self.named, *self._last_there_s]

    @property
    def open(self) -> bool:
        """Whether agents may join that are not named."""
        return bool(self._patterns)

    def look(self) -> None:
        """Follows what is new, forgets what is gone."""
        now_s, there = time.monotonic(), self._there()
        for topic in there:
            if topic in self._last_there_s:
                self._last_there_s[topic] = now_s
        for topic in [t for t, last_s in self._last_there_s.items() if now_s - last_s > self._forget_s]:
            del self._last_there_s[topic]
            self._forget(topic)
        refused = []
        for topic in there:
            if topic in self._last_there_s:
                continue
            if len(self.followed) < self._max_agents:
                self._last_there_s[topic] = now_s
                self._follow(topic)
                continue
            refused.append(topic)
            if topic not in self.refused:
                self._refuse(topic)
        self.refused = refused

    def close(self) -> None:
        """Stops looking."""
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
            self._timer = None

    def _there(self) -> list[str]:
        """Topics that somebody publishes on and that are asked for by a pattern alone."""
        return sorted(
            topic
            for topic, types in self._node.get_topic_names_and_types()
            if _TYPE in types
            and _place(topic) != _place(self._own_topic)  # impairment_node keeps the place
            and topic not in self.named
            and any(wanted.fullmatch(topic) for wanted in self._patterns)
            and self._node.count_publishers(topic) > 0
        )


def _place(topic: str) -> str:
    """The namespace of a topic."""
    return topic.rpartition("/")[0]
