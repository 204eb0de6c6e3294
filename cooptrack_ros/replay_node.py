"""replay_node: publishes the topics of a rosbag2 directory and /clock, free-running or in lock-step with the nodes."""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from typing import Any

from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from rosbags.rosbag2 import Reader
from rosgraph_msgs.msg import Clock

from cooptrack_core.types import CooptrackError
from cooptrack_ros.bags import Logged, ReadAhead, header_stamp_ns, is_latched, message_class, open_bag, profile_of
from cooptrack_ros.conversions import NANOSECONDS, stamp_message
from cooptrack_ros.lifecycle import run_node
from cooptrack_ros.lockstep import OUTPUT_TYPES, Due, LockStep
from cooptrack_ros.parameters import NodeParameters, ReplayParameters
from cooptrack_ros.readiness import silent, unheard, unrecorded
from cooptrack_ros.topic_guard import describe, wait_for_other_publishers

_SHARED_TOPICS = ("/tf", "/tf_static", "/diagnostics", "/rosout")
_POSES_BEFORE_NS = 500_000_000  # a frame is logged some 100 ms after its perception
_NOTHING_TO_SEND_S = 0.2  # after its tracks: an agent without a pose or a usable image sends no instances
_HEARD_S = 0.02  # what a unit has sent reaches the vehicle before the next frame of the bag does
_LOOK_S = 0.5  # whether the awaited node is still there
_LINGER_S = 0.3  # for what is still under way; an acknowledgement would take a heartbeat period of seconds


class ReplayNode(Node):
    """Plays one bag; `play` does it all in the calling thread, which also spins the node."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__("replay_node", **arguments)
        self.settings: ReplayParameters = NodeParameters(self, ReplayParameters).read(ReplayParameters)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self)
        self._reader: Reader = open_bag(self.settings.bag)
        self.counts: Counter[str] = Counter()
        self._clock_ns = -1
        self._late: Counter[str] = Counter()
        self._awaited: list[str] = []  # topics of the bag that need a subscriber
        self._connections = [c for c in self._reader.connections if c.topic != "/clock"]
        self._clock_publisher = self.create_publisher(Clock, "/clock", QoSProfile(depth=10))
        self._topic_publishers = {
            c.topic: self.create_publisher(message_class(c.msgtype), c.topic, profile_of(c)) for c in self._connections
        }
        self._lockstep = self._make_lockstep()

    def play(self) -> None:
        """Publishes everything, as often as asked for. Raises CooptrackError."""
        self._check()
        self._wait_for_listeners()
        while True:
            self._play_once()
            if not self.settings.loop:
                break
            # All nodes must have seen time jump back before the first message of the next round.
            self._publish_clock(self._start_ns())
            self._spin_until(time.monotonic() + self.settings.loop_pause_ms / 1e3)
        self._spin_until(time.monotonic() + _LINGER_S)
        counts = ", ".join(f"{topic} {count}" for topic, count in sorted(self.counts.items()))
        self.get_logger().info(f"finished: {sum(self.counts.values())} messages ({counts})")
        if self._late:
            late = ", ".join(f"{topic} {count}" for topic, count in sorted(self._late.items()))
            self.get_logger().warning(f"lock-step: outputs that did not come within lockstep_timeout_ms: {late}")

    def close(self) -> None:
        """Ends the node."""
        self._executor.shutdown()
        self._reader.close()
        self.destroy_node()

    def _check(self) -> None:
        topics = set(self._topic_publishers)
        for topic in ("/tf", "/tf_static"):
            if topic not in topics:
                self.get_logger().error(
                    f"{self.settings.bag}: {topic}: not in the bag; it is played, but poses are unknown and the "
                    "vehicle will not cooperate; write the bag anew with 'cooptrack to-bag'"
                )
        if not self.settings.allow_shared_topics:
            own = [*topics - set(_SHARED_TOPICS), "/clock"]
            if others := wait_for_other_publishers(self, own, self.settings.discovery_wait_ms):
                raise CooptrackError(f"{self.get_fully_qualified_name()}: {describe(others)}")
        wanted = self.settings.wait_for_subscribers
        self._awaited = [topic for topic in wanted if topic in topics]
        if unknown := [topic for topic in wanted if topic not in topics]:
            problem = (
                f"{self.settings.bag}: wait_for_subscribers: {', '.join(unknown)} not in the bag; it has "
                f"{', '.join(sorted(topics)) or 'no topics'}"
            )
            if not self._awaited:
                raise CooptrackError(f"{problem}; give a bag with these agents, or name the agents of this one")
            self.get_logger().error(f"{problem}; it is played all the same; leave out agents that it does not have")

    # Lock-step.

    def _make_lockstep(self) -> LockStep:
        """Only with agents whose frames are in the bag; without lock-step there are none."""
        settings, where = self.settings, self.get_fully_qualified_name()
        outputs = settings.lockstep_outputs if settings.lockstep else ()
        made = LockStep(where, outputs, settings.lockstep_frames, set(self._topic_publishers))
        qos = QoSProfile(depth=10, reliability=QoSReliabilityPolicy.BEST_EFFORT)
        for topic in made.answers:
            kind = OUTPUT_TYPES[topic.rpartition("/")[2]]
            self.create_subscription(kind, topic, self._answer(topic), qos, raw=True)
        return made

    def _answer(self, topic: str) -> Any:
        return lambda data: self._lockstep.answer(topic, header_stamp_ns(data))

    def _await_outputs(self, message: Logged) -> None:
        for due in self._lockstep.due(message):
            self._await(due)

    def _await(self, due: Due) -> None:
        deadline = time.monotonic() + self.settings.lockstep_timeout_ms / 1e3
        done_s = math.inf
        # A node that DDS knows to be gone is not waited for.
        while not self._lockstep.has_come(due) and self.count_publishers(due.topic):
            now_s = time.monotonic()
            if done_s == math.inf and self._lockstep.tracks_have_come(due):
                done_s = now_s + _NOTHING_TO_SEND_S
            if now_s >= done_s:
                return
            if now_s >= deadline:
                self._executor.spin_once(timeout_sec=0)  # it may have come while this process was held up
                break
            self._executor.spin_once(timeout_sec=min(deadline, done_s, now_s + _LOOK_S) - now_s)
        if self._lockstep.has_come(due):
            if due.topic.endswith("/instances"):
                self._spin_until(time.monotonic() + _HEARD_S)
        else:
            self._late[due.topic] += 1
            self.get_logger().warning(
                f"{due.topic}: nothing for the frame at {due.stamp_ns / NANOSECONDS:.3f} s within "
                f"{self.settings.lockstep_timeout_ms:.0f} ms; going on; is its node alive?",
                throttle_duration_sec=5.0,
            )

    def _wait_for_listeners(self) -> None:
        settings = self.settings
        deadline = time.monotonic() + settings.wait_for_subscribers_ms / 1e3
        heard = set(self._awaited) | self._lockstep.inputs
        outputs = self._lockstep.outputs
        if not (heard or settings.recorder):
            return

        def missing() -> list[str]:
            found = [*unheard(self._topic_publishers, heard), *silent(self, outputs)]
            if settings.recorder and not found:
                found = unrecorded(self, settings.lockstep_outputs, settings.recorder)
            return found

        while (names := missing()) and time.monotonic() < deadline:
            self._executor.spin_once(timeout_sec=0.02)
        if names:
            listeners = f"nobody on {', '.join(sorted(names))} after {settings.wait_for_subscribers_ms:.0f} ms"
            self.get_logger().warning(f"{listeners}; playing anyway; are all nodes running?")
        self._spin_until(time.monotonic() + settings.settle_ms / 1e3)

    # Time.

    def _start_ns(self) -> int:
        start_ns = self._reader.start_time + round(self.settings.start_offset * NANOSECONDS)
        if start_ns > self._reader.end_time:
            raise CooptrackError(
                f"{self.settings.bag}: start_offset {self.settings.start_offset} s is behind the end of the bag, "
                f"which lasts {self._reader.duration / NANOSECONDS:.3f} s"
            )
        return start_ns

    def _play_once(self) -> None:
        start_ns = self._start_ns()
        self._publish_clock(start_ns)
        if self.settings.start_offset:
            self._publish_what_holds(start_ns)
        ahead = ReadAhead(self._reader, self._connections, start_ns)
        try:
            begin_s, begin_ns = time.monotonic(), start_ns
            for message in ahead:
                self._pass_time(begin_s, begin_ns, message.log_ns)
                self._publish(message)
                before_s = time.monotonic()
                self._await_outputs(message)
                begin_s += time.monotonic() - before_s  # sim time stood still meanwhile
        finally:
            ahead.close()

    def _publish_what_holds(self, start_ns: int) -> None:
        """What came before the offset and still counts: latched messages, and poses for the first frames."""
        latched = [c for c in self._connections if is_latched(c)]
        poses = [c for c in self._connections if c.topic == "/tf"]
        for connections, since_ns in ((latched, None), (poses, start_ns - _POSES_BEFORE_NS)):
            if connections:  # none would mean all
                for connection, _, data in self._reader.messages(connections, start=since_ns, stop=start_ns):
                    self._publish(Logged(connection.topic, start_ns, bytes(data)))

    def _pass_time(self, begin_s: float, begin_ns: int, until_ns: int) -> None:
        """Waits until a message is due and keeps /clock going; then /clock is at the message's time."""
        rate = self.settings.rate
        due_s = begin_s + (until_ns - begin_ns) / 1e9 / rate
        period_s = 1.0 / self.settings.clock_hz
        while (remaining_s := due_s - time.monotonic()) > period_s:
            self._spin_until(time.monotonic() + period_s)
            self._publish_clock(min(until_ns, begin_ns + round((time.monotonic() - begin_s) * rate * 1e9)))
        if remaining_s > 0:
            self._spin_until(due_s)
        self._publish_clock(until_ns)

    def _spin_until(self, due_s: float) -> None:
        while True:
            self._executor.spin_once(timeout_sec=max(0.0, due_s - time.monotonic()))
            if time.monotonic() >= due_s:
                return

    def _publish_clock(self, now_ns: int) -> None:
        if now_ns != self._clock_ns:
            self._clock_ns = now_ns
            self._clock_publisher.publish(Clock(clock=stamp_message(now_ns)))

    def _publish(self, message: Logged) -> None:
        self._topic_publishers[message.topic].publish(message.data)
        self.counts[message.topic] += 1


def main(arguments: list[str] | None = None) -> int:
    """Entry point. Exit code 0: played to the end or interrupted; 2: bad bag or parameters."""
    return run_node(ReplayNode, arguments, work=ReplayNode.play)


if __name__ == "__main__":
    sys.exit(main())
