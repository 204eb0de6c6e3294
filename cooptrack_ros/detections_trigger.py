"""Frames made by the detections of a detector outside (`detector: simulated`); images are only watched."""

from __future__ import annotations

import threading
import time
from typing import Any

from numpy import float64
from numpy.typing import NDArray
from vision_msgs.msg import Detection3DArray

from cooptrack_core.data.detections import instances_from_detections
from cooptrack_core.types import Frame, Instances
from cooptrack_ros.conversions import NANOSECONDS, stamp_ns
from cooptrack_ros.images import ImageWatch
from cooptrack_ros.qos import best_effort, reliable
from cooptrack_ros.trigger import Arrival, Take


class DetectionsTrigger:
    """Every message on detections_in is a frame."""

    remedy = "check the detector or the bag"

    def __init__(self, node: Any, take: Take) -> None:
        """node: the AgentNode, whose settings, log and counters are used."""
        self._node, self._take = node, take
        self.topic = node.resolve_topic_name("detections_in")
        transport = node.settings.image_transport
        self.images = None if transport == "none" else ImageWatch(node, transport, best_effort(), self._on_truncated)
        node.subscription(Detection3DArray, "detections_in", self._on_detections, reliable())

    @property
    def images_received(self) -> int | None:
        """Number of images so far; None: nobody looks at images."""
        return None if self.images is None else self.images.received

    def frame(
        self, arrival: Arrival, T_map_from_sensor: NDArray[float64] | None, lost: bool, give_up: threading.Event
    ) -> Frame:
        """The frame with its detections."""
        image = None if self.images is None else self.images.image_of(arrival.stamp_ns)
        return Frame(arrival.stamp_ns, T_map_from_sensor, None if lost else arrival.detections, image)

    def lose(self, reason: str, at_ns: int, text: str) -> None:
        """Counts and logs a frame that came to nothing."""
        self._node.health.drop(reason)
        self._node.log.warning(
            reason, f"{self.topic}: frame at {at_ns / NANOSECONDS:.3f} s: {text}; its tracks are only predicted"
        )

    def clear(self) -> None:
        """Forgets what waits (time jumped back)."""
        if self.images is not None:
            self.images.clear()

    def close(self) -> None:
        """Ends the subscriptions to images; the node ends that to detections."""
        if self.images is not None:
            self.images.close()

    def _on_detections(self, message: Detection3DArray) -> None:
        received_ns, at_ns = time.monotonic_ns(), stamp_ns(message.header.stamp)
        if not self._node.in_order(at_ns):
            return
        detections = self.convert(message)
        convert_ms = (time.monotonic_ns() - received_ns) / 1e6
        self._take(Arrival(at_ns, received_ns, convert_ms, detections))

    def convert(self, message: Detection3DArray) -> Instances | None:
        """What is usable of the detections; None if they are not in our frame."""
        node = self._node
        if message.header.frame_id != node.sensor_frame:
            node.health.drop("wrong_frame")
            node.log.warning(
                "wrong_frame",
                f"{self.topic}: header.frame_id is {message.header.frame_id!r}, expected {node.sensor_frame!r}; tracks "
                "are only predicted; set the parameter sensor_frame or mend the sender",
            )
            return None
        detections, dropped = instances_from_detections(message)
        for reason, count in dropped.items():
            node.health.drop(reason, count)
            node.log.warning(reason, f"{self.topic}: {count} detections left out: {reason}; check the detector")
        return detections

    def _on_truncated(self, topic: str, at_ns: int, defect: str) -> None:
        self._node.health.drop("image_truncated")
        self._node.log.warning(
            "image_truncated",
            f"{topic}: image at {at_ns / NANOSECONDS:.3f} s: {defect}; it is left out and tracking goes on; "
            "check the camera or the bag",
        )
