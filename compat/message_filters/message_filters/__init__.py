"""Stand-in for the part of message_filters that cooptrack uses, for machines without the original.

Offers Subscriber, SimpleFilter and TimeSynchronizer (exact stamps). Not offered: ApproximateTimeSynchronizer, Cache
and the other filters.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from rclpy.node import Node

__all__ = ["SimpleFilter", "Subscriber", "TimeSynchronizer"]


def __getattr__(name: str) -> object:
    if name.startswith("__"):
        raise AttributeError(name)
    raise ImportError(
        f"message_filters.{name} is not part of cooptrack's stand-in; install ROS 2 with the package message_filters"
    )


class SimpleFilter:
    """Passes what it gets to its callbacks."""

    def __init__(self) -> None:
        self.callbacks: dict[int, tuple[Callable[..., Any], tuple[Any, ...]]] = {}

    def registerCallback(self, cb: Callable[..., Any], *args: Any) -> int:
        """Call `cb` with the messages and then `args`; returns the number of the connection."""
        connection = len(self.callbacks)
        self.callbacks[connection] = (cb, args)
        return connection

    def signalMessage(self, *msg: Any) -> None:
        """Call every callback."""
        for callback, args in self.callbacks.values():
            callback(*msg, *args)


class Subscriber(SimpleFilter):
    """Source of a chain: a subscription, made with the arguments of Node.create_subscription without the callback."""

    def __init__(self, node: Node, msg_type: type[Any], topic: str, **kwargs: Any) -> None:
        super().__init__()
        self.node = node
        self.topic = topic
        kwargs.setdefault("qos_profile", 10)
        self.sub = node.create_subscription(msg_type, topic, self.callback, **kwargs)

    def callback(self, msg: Any) -> None:
        """Take one message."""
        self.signalMessage(msg)

    def getTopic(self) -> str:
        """Topic as given."""
        return self.topic


class TimeSynchronizer(SimpleFilter):
    """Joins messages of several filters whose header stamps are equal.

    Each filter's last `queue_size` stamps are kept. The callbacks get one message of each, in the order of `fs`.
    """

    def __init__(self, fs: Sequence[SimpleFilter], queue_size: int) -> None:
        super().__init__()
        self.queue_size = queue_size
        self.queues: list[dict[int, Any]] = [{} for _ in fs]
        self.lock = threading.Lock()
        for source, waiting in zip(fs, self.queues, strict=True):
            source.registerCallback(self.add, waiting)

    def add(self, msg: Any, waiting: dict[int, Any]) -> None:
        """Take one message into the queue of its filter; passes on each set that is complete now."""
        stamp = msg.header.stamp
        with self.lock:
            waiting[stamp.sec * 1_000_000_000 + stamp.nanosec] = msg
            while len(waiting) > self.queue_size:
                del waiting[min(waiting)]
            complete = set.intersection(*(set(known) for known in self.queues))
            sets = [[known.pop(at) for known in self.queues] for at in sorted(complete)]
        for messages in sets:
            self.signalMessage(*messages)
