"""What roadside_node and vehicle_node share: frames in, one worker, poses, drops, time jumps, diagnostics.

The executor thread takes messages; the worker waits for poses, runs the agent and publishes. What makes a
frame is the trigger's business: its detections (`detector: simulated`) or its image (`detector: network`).
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions

from cooptrack_core.networks import network_of
from cooptrack_core.perception import Network
from cooptrack_core.types import CooptrackError, Frame, TrackedObjects
from cooptrack_msgs.msg import StageTimings, TrackedObjectArray
from cooptrack_ros.conversions import NANOSECONDS, TracksWriter, timings_message
from cooptrack_ros.detections_trigger import DetectionsTrigger
from cooptrack_ros.diagnostics import ERROR, frames_status
from cooptrack_ros.frame_order import FrameOrder
from cooptrack_ros.frame_times import Moments
from cooptrack_ros.image_trigger import ImageTrigger
from cooptrack_ros.lifecycle import ManagedNode
from cooptrack_ros.network_status import describe, network_status
from cooptrack_ros.poses import PoseResult, PoseSource
from cooptrack_ros.qos import reliable
from cooptrack_ros.topic_guard import TopicGuard
from cooptrack_ros.trigger import Arrival, Trigger
from cooptrack_ros.worker import Worker

# A thread that has news must not wait 5 ms for the other one to hand over the interpreter.
_SWITCH_INTERVAL_S = 0.0001
_SILENT_AFTER_S = 5.0  # worth a line in the log


class AgentNode(ManagedNode):
    """Base of both agent nodes."""

    def __init__(self, name: str, node_parameters: type[Any], agent_config: type[Any], **arguments: Any) -> None:
        super().__init__(name, node_parameters, agent_config, **arguments)
        sys.setswitchinterval(_SWITCH_INTERVAL_S)
        self._parameter_class, self._config_class = node_parameters, agent_config
        self._publishers_made: list[Any] = []
        self._subscriptions_made: list[Any] = []
        self._guard = TopicGuard(self)
        self._worker: Worker | None = None
        self._poses: PoseSource | None = None
        self._trigger: Trigger | None = None
        self._network: Network | None = None
        self._order: FrameOrder | None = None
        self._last_frame_s = 0.0
        self._tracks_out_ns = 0
        self._frames_missed = False  # and said so

    # What the two agents fill in.

    def make_agent(self, network: Network | None) -> Any:
        """The core agent, from self.settings and self.config."""
        raise NotImplementedError

    def make_publishers(self) -> None:
        """Publishers beside tracks and timings."""

    def subscribe(self) -> None:
        """Subscriptions beside the frame's own."""

    def receive(self, item: Any) -> None:
        """A message of another agent, in the worker thread."""

    def step(self, frame: Frame, pose: PoseResult) -> dict[str, float]:
        """One frame, in the worker thread: steps the agent, publishes, returns the core's timings in ms."""
        raise NotImplementedError

    def pose_frames(self) -> list[str]:
        """Names under which /tf may know the perception frame, the most exact first."""
        return [self.sensor_frame]

    def on_start_anew(self) -> None:
        """After time jumped back."""

    # Lifecycle.

    def configure(self) -> None:
        self.settings = self.parameters.read(self._parameter_class)
        self.config = self.parameters.read(self._config_class)
        self.agent_id = self.settings.agent_id or self.get_namespace().strip("/") or self.get_name()
        self.sensor_frame = self.settings.sensor_frame or self.own_frame("lidar")
        self.agent = self._make_agent()
        mode = getattr(self.config, "mode", "ego")
        self._tracks_writer = TracksWriter(self.sensor_frame, self.agent_id, mode, self.config.detector)
        self.tracks_publisher = self.publisher(TrackedObjectArray, "tracks", reliable())
        self._timings_publisher = self.publisher(StageTimings, "debug/timings", reliable())
        self.make_publishers()
        self._poses = PoseSource(self, self.settings.map_frame, self.pose_frames(), self.settings.tf_timeout_ms)

    def _make_agent(self) -> Any:
        """The agent, with its network loaded and warm, so that the first frame takes no longer than others."""
        try:
            if self.config.detector == "network":
                if self.settings.image_transport == "none":
                    raise CooptrackError("parameter image_transport: none; detector network needs compressed or raw")
                self.get_logger().info(f"loading network {self.config.network.preset} ...")
            self._network = network_of(self.config)
            agent = self.make_agent(self._network)
        except CooptrackError as error:
            raise CooptrackError(f"{self.get_fully_qualified_name()}: {error}") from error
        if self._network is not None:
            describe(self._network, self.get_logger())
        return agent

    def activate(self) -> None:
        if not self.settings.allow_shared_topics:
            self._guard.admit(self._own_topics(), self.settings.discovery_wait_ms, self.settings.predecessor_wait_ms)
        self._last_frame_s = time.monotonic()
        self._order = FrameOrder(self.get_clock(), self.settings.time_jump_ms, self._start_anew)
        name = f"{self.get_name()} worker"
        self._worker = Worker(self._run_frame, self.receive, self._on_worker_error, name, emptied=Arrival.emptied)
        self.subscribe()  # first: of what has come meanwhile the executor takes messages before the frame
        if self._network is None:
            self._trigger = DetectionsTrigger(self, self._take)
        else:
            self._trigger = ImageTrigger(self, self._poses, self._take)
        self._worker.start()

    def deactivate(self) -> None:
        for subscription in self._subscriptions_made:
            self.destroy_subscription(subscription)
        self._subscriptions_made.clear()
        if self._trigger is not None:
            self._trigger.close()
        if self._order is not None:
            self._order.close()
        if self._worker is not None:
            self._worker.stop()
        self._trigger = self._order = self._worker = None

    def cleanup(self) -> None:
        for publisher in self._publishers_made:
            self.destroy_lifecycle_publisher(publisher)
        self._publishers_made.clear()
        if self._poses is not None:
            self._poses.close()
        self._poses = self._network = None

    def own_frame(self, name: str) -> str:
        """Name of a frame of this agent, such as vehicle/lidar."""
        return f"{self.get_namespace().strip('/')}/{name}".lstrip("/")

    def publisher(self, message_type: type[Any], topic: str, qos: QoSProfile) -> Any:
        """A publisher of this node that publishes only while the node is active."""
        options = QoSOverridingOptions.with_default_policies()
        made = self.create_lifecycle_publisher(message_type, topic, qos, qos_overriding_options=options)
        self._publishers_made.append(made)
        return made

    def subscription(
        self, message_type: type[Any], topic: str, callback: Any, qos: QoSProfile, raw: bool = False
    ) -> None:
        """A subscription that lasts while the node is active."""
        options = QoSOverridingOptions.with_default_policies()
        self._subscriptions_made.append(
            self.create_subscription(message_type, topic, callback, qos, raw=raw, qos_overriding_options=options)
        )

    def end_subscription(self, topic: str) -> None:
        """Ends the subscriptions to a topic, by its full name."""
        for subscription in [s for s in self._subscriptions_made if s.topic_name == topic]:
            self._subscriptions_made.remove(subscription)
            self.destroy_subscription(subscription)

    # Executor thread.

    def in_order(self, at_ns: int) -> bool:
        """Whether a frame may be processed; a trigger asks once for every frame that comes."""
        self._last_frame_s, self._frames_missed = time.monotonic(), False
        assert self._order is not None and self._trigger is not None
        behind_ms = self._order.behind_ms(at_ns)
        if behind_ms is not None:
            self.health.drop("out_of_order")
            text = f"a frame came {behind_ms:.1f} ms behind its predecessor and is dropped"
            self.log.warning("out_of_order", f"{self._trigger.topic}: {text}")
        return behind_ms is None

    def _take(self, arrival: Arrival) -> None:
        assert self._worker is not None
        self._worker.submit_frame(arrival)

    def _start_anew(self, behind_ms: float) -> None:
        assert self._worker is not None and self._poses is not None
        text = f"time jumped back by {behind_ms / 1e3:.3f} s: tracks, messages and poses start anew"
        self.log.warning("time_jump", text)
        self.health.event("time_jumps")
        self.health.restart()
        self._poses.clear()
        if self._trigger is not None:
            self._trigger.clear()
        if dropped := self._worker.restart(self.agent.reset):
            self.health.drop("time_jump", dropped)
        self.on_start_anew()

    # Worker thread.

    def _run_frame(self, arrival: Arrival, lost: bool) -> None:
        worker, poses, trigger = self._worker, self._poses, self._trigger
        if worker is None or poses is None or trigger is None:
            return  # being deactivated
        begin_ns = time.monotonic_ns()
        pose = poses.pose(arrival.stamp_ns, worker.stopping, wait=not lost)
        frame = trigger.frame(arrival, pose.T_map_from_sensor, lost, worker.stopping)
        tf_ns = time.monotonic_ns()
        if worker.stopping.is_set():
            return
        worker.deliver_messages()
        self._note_losses(arrival, lost, pose)
        step_ns = time.monotonic_ns()
        core_ms = self.step(frame, pose)
        moments = Moments(begin_ns, tf_ns, step_ns, self._tracks_out_ns, time.monotonic_ns())
        self._report_timings(frame, moments.stages_ms(arrival, core_ms))

    def _note_losses(self, arrival: Arrival, lost: bool, pose: PoseResult) -> None:
        if lost and arrival.usable:
            self.health.drop("overload")
            self.log.warning("overload", "frames come faster than they are processed: some tracks are only predicted")
        if pose.T_map_from_sensor is None:
            self.health.event("frames_without_pose")
            self.log.warning(
                "pose",
                f"no pose at {arrival.stamp_ns / NANOSECONDS:.3f} s: {pose.problem}; tracks go on without cooperation; "
                "check /tf and the parameters sensor_frame and map_frame",
            )

    def _report_timings(self, frame: Frame, timings_ms: dict[str, float]) -> None:
        self._timings_publisher.publish(timings_message(frame.stamp_ns, self.sensor_frame, self.agent_id, timings_ms))
        for stage, value in timings_ms.items():
            self.health.sample(f"{stage}_ms", value)
        took_ms = timings_ms["total"]
        if 0.0 < self.settings.deadline_ms < took_ms:
            self.health.event("deadline_missed")
        self.health.sample("age_ms", (self.get_clock().now().nanoseconds - frame.stamp_ns) / 1e6)
        self.health.frame_done()

    def note_problem(self, at_ns: int, problem: str) -> None:
        """What the agent said about a frame that it could not use; nothing for an empty text."""
        if problem and self._trigger is not None:
            self._trigger.lose("rejected", at_ns, problem)

    def publish_tracks(
        self, tracks: TrackedObjects, frame_index: int, predicted_only: bool, pose_known: bool, T_map_from_sensor: Any
    ) -> None:
        """Publishes the tracks of a frame. T_map_from_sensor [4, 4]: the pose used; None: the identity."""
        T = np.eye(4) if T_map_from_sensor is None else T_map_from_sensor
        if predicted_only:
            self.health.event("predicted_only")
        self.tracks_publisher.publish(self._tracks_writer.write(tracks, frame_index, predicted_only, pose_known, T))
        self._tracks_out_ns = time.monotonic_ns()

    def _on_worker_error(self, error: Exception) -> None:
        self.health.drop("exception")
        self.report_error("a frame or message failed and is dropped", error)

    # Diagnostics.

    def _own_topics(self) -> list[str]:
        return [publisher.topic_name for publisher in self._publishers_made]

    def statuses(self) -> list[DiagnosticStatus]:
        if self.state == "active" and not self.settings.allow_shared_topics:
            self._guard.look(self._own_topics())
        found = super().statuses()
        if self._guard.intruders:
            found[0].level, found[0].message = ERROR, self._guard.intruders
        if self._network is not None:
            times = self.health.percentiles("network_ms") | self.health.percentiles("image_age_ms")
            found.append(self.status("network", *network_status(self._network, times)))
        return [*found, self._frames_status()] if self.state == "active" else found

    def _frames_status(self) -> DiagnosticStatus:
        if self.get_clock().now().nanoseconds == 0:  # sim time has not begun: there is nothing to miss
            self._last_frame_s = time.monotonic()
        silent_s = time.monotonic() - self._last_frame_s
        level, text, items = frames_status(self.health, silent_s, self._trigger.topic)
        if silent_s > _SILENT_AFTER_S and not self._frames_missed:
            self._frames_missed = True
            what = f"no frame on {self._trigger.topic} for {silent_s:.0f} s"
            self.get_logger().warning(f"{what}: no tracks until one comes; {self._trigger.remedy}")
        if self._trigger.images_received is not None:
            items["images_received"] = self._trigger.images_received
        return self.status("frames", level, text, items)
