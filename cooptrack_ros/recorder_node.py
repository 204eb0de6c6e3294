"""recorder_node: writes topics into a rosbag2 directory (mcap, zstd chunks) without rosbag2."""

from __future__ import annotations

import re
import signal
import sys
import threading
from collections import Counter
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from cooptrack_core.types import CooptrackError
from cooptrack_ros.bag_sink import BagSink
from cooptrack_ros.bags import adapted_profile, message_class
from cooptrack_ros.lifecycle import one_line, run_node
from cooptrack_ros.parameters import NodeParameters, RecorderParameters

_DEPTH = 200


class RecorderNode(Node):
    """Records what matches; log times are the node's clock, sim time with use_sim_time."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__("recorder_node", **arguments)
        settings: RecorderParameters = NodeParameters(self, RecorderParameters).read(RecorderParameters)
        try:
            self._wanted, self._unwanted = re.compile(settings.topics), re.compile(settings.exclude or r"(?!)")
        except re.error as error:
            raise CooptrackError(
                f"{self.get_fully_qualified_name()}: parameter topics or exclude: no regular expression ({error})"
            ) from error
        self.output = settings.output
        self._sink = BagSink(settings.output, self._on_write_error)
        self._closed = False
        self._seen: set[str] = set()
        self._before_clock: list[tuple[str, bytes]] = []
        try:
            steady = Clock(clock_type=ClockType.STEADY_TIME)
            self._timer = self.create_timer(settings.discovery_period_ms / 1e3, self.discover, clock=steady)
            self.discover()
        except BaseException:  # above all an interrupt: the bag would have no end, and its writer keep the process
            self.close()
            raise

    @property
    def counts(self) -> Counter[str]:
        """Messages written by topic."""
        return self._sink.counts

    def discover(self) -> None:
        """Subscribes to topics that have appeared."""
        for topic, types in self.get_topic_names_and_types():
            if topic in self._seen or not self._wanted.fullmatch(topic) or self._unwanted.fullmatch(topic):
                continue
            offered = [info.qos_profile for info in self.get_publishers_info_by_topic(topic)]
            if not offered:
                continue  # only subscribers so far: the QoS is not known yet
            self._seen.add(topic)
            try:
                self._record(topic, types[0], adapted_profile(offered, _DEPTH), offered[0])
            except CooptrackError as error:
                self.get_logger().error(str(error))

    def _record(self, topic: str, type_name: str, profile: Any, offered: Any) -> None:
        message_type = message_class(type_name)
        self._sink.add_topic(topic, type_name, offered)
        self.create_subscription(message_type, topic, self._taker(topic), profile, raw=True)
        self.get_logger().info(f"recording {topic} [{type_name}]")

    def _taker(self, topic: str) -> Any:
        def take(data: bytes) -> None:
            now_ns = self.get_clock().now().nanoseconds
            if now_ns == 0:  # sim time has not begun: these belong to its beginning
                self._before_clock.append((topic, data))
                return
            self._release(now_ns)
            self._sink.put(topic, now_ns, data)

        return take

    def _release(self, now_ns: int) -> None:
        for topic, data in self._before_clock:
            self._sink.put(topic, now_ns, data)
        self._before_clock.clear()

    def _on_write_error(self, error: Exception) -> None:
        self.get_logger().error(
            f"{self.output}: a message could not be written: {one_line(error)}", throttle_duration_sec=5.0
        )

    def close(self) -> None:
        """Finalises the bag; interrupts are ignored meanwhile, half a bag is worth nothing. May be called twice."""
        if self._closed:
            return
        self._closed = True
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if self._before_clock:
            self._release(Clock(clock_type=ClockType.SYSTEM_TIME).now().nanoseconds)
        try:
            self._sink.close()
        finally:
            count, topics = sum(self.counts.values()), len(self.counts)
            print(f"{self.output}: {count} messages on {topics} topics recorded", flush=True)
            self.destroy_node()


def main(arguments: list[str] | None = None) -> int:
    """Entry point. Exit code 0: interrupted, the bag is complete; 2: bad parameters, or the bag is not whole."""
    return run_node(RecorderNode, arguments)


if __name__ == "__main__":
    sys.exit(main())
