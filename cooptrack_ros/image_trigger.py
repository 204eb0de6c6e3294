"""Frames made by camera images (`detector: network`)."""

from __future__ import annotations

import threading
import time
from typing import Any

from cv_bridge import CvBridge, CvBridgeError
from numpy import float64
from numpy.typing import NDArray
from rclpy.clock import Clock, ClockType
from sensor_msgs.msg import CameraInfo

from cooptrack_core.types import Frame
from cooptrack_msgs.msg import FrameInfo
from cooptrack_ros.cameras import Cameras
from cooptrack_ros.conversions import NANOSECONDS, stamp_ns
from cooptrack_ros.frame_join import FrameJoin, Moment
from cooptrack_ros.images import CameraTopics
from cooptrack_ros.poses import PoseSource
from cooptrack_ros.qos import best_effort
from cooptrack_ros.trigger import Arrival, Take

_LOOK_S = 0.05


class ImageTrigger:
    """An image with its camera_info and, where there is one, its frame_info is a frame."""

    remedy = "check the camera or the bag"

    def __init__(self, node: Any, poses: PoseSource, take: Take) -> None:
        """node: the AgentNode, whose settings, log and counters are used."""
        self._node, self._take = node, take
        self._cameras, self._bridge = Cameras(node, poses), CvBridge()
        wait_ms = node.settings.image_wait_ms
        self._join = FrameJoin(wait_ms, self._on_frame, self._on_unannounced, self._announcers)
        transport = node.settings.image_transport
        self._topics = CameraTopics(
            node, transport, best_effort(), self._on_image, self._on_pair, self._on_frame_info
        )  # fmt: skip
        self.topic = self._topics.topic
        self._timer = node.create_timer(_LOOK_S, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))

    @property
    def images_received(self) -> int | None:
        """Number of images so far."""
        return self._topics.received

    def clear(self) -> None:
        """Forgets what waits (time jumped back)."""
        self._join.clear()

    def close(self) -> None:
        """Ends the subscriptions."""
        self._node.destroy_timer(self._timer)
        self._topics.close()

    # Worker thread.

    def frame(
        self, arrival: Arrival, T_map_from_sensor: NDArray[float64] | None, lost: bool, give_up: threading.Event
    ) -> Frame:
        """The frame with its image and camera; without, if it is lost or they cannot be used."""
        bare = Frame(arrival.stamp_ns, T_map_from_sensor)
        if lost or arrival.image is None:
            return bare
        image_age_ms = (self._node.get_clock().now().nanoseconds - stamp_ns(arrival.image.header.stamp)) / 1e6
        self._node.health.sample("image_age_ms", image_age_ms)
        camera = self._cameras.view(arrival.camera_info, arrival.image.header.frame_id, give_up)
        if isinstance(camera, str):
            self.lose("camera_unusable", arrival.stamp_ns, camera)
            return bare
        try:
            image = self._pixels(arrival.image)
        except (CvBridgeError, ValueError) as error:
            self.lose("rejected", arrival.stamp_ns, f"image: {' '.join(str(error).split())}; check the camera")
            return bare
        taken_ns = stamp_ns(arrival.image.header.stamp)
        return Frame(arrival.stamp_ns, T_map_from_sensor, None, image, camera, taken_ns)

    def _pixels(self, message: Any) -> Any:
        """[height, width, 3] BGR of a raw image; the file of a compressed one: the core decodes it, here as offline."""
        if not self._topics.raw:
            return bytes(message.data)
        as_it_is = message.encoding == "bgr8"  # asked to convert, the original cv_bridge copies all the same
        return self._bridge.imgmsg_to_cv2(message, "passthrough" if as_it_is else "bgr8")

    def lose(self, reason: str, at_ns: int, text: str) -> None:
        """Counts and logs a frame that came to nothing: its tracks are only predicted. Either thread."""
        self._node.health.drop(reason)
        at = f"{self.topic}: frame at {at_ns / NANOSECONDS:.3f} s"
        self._node.log.warning(reason, f"{at}: {text}; its tracks are only predicted")

    # Executor thread.

    def _now(self) -> Moment:
        return Moment(self._node.get_clock().now().nanoseconds, time.monotonic_ns())

    def _on_image(self, image: Any) -> None:
        self._join.on_image(stamp_ns(image.header.stamp), self._now())

    def _on_pair(self, image: Any, info: CameraInfo) -> None:
        self._join.on_pair(stamp_ns(image.header.stamp), (image, info), self._now())

    def _on_frame_info(self, message: FrameInfo) -> None:
        was_announced = self._join.announced
        self._join.on_frame_info(stamp_ns(message.header.stamp), stamp_ns(message.image_stamp), self._now())
        if not was_announced:
            self._node.get_logger().info(f"{self._info_topic()}: perception times are taken from it again")

    def _look(self) -> None:
        was_announced = self._join.announced
        self._join.tick(self._now())
        if was_announced and not self._join.announced:
            self._node.get_logger().info(
                f"nobody publishes {self._info_topic()}: the stamps of the images are the perception times"
            )

    def _info_topic(self) -> str:
        return str(self._node.resolve_topic_name("frame_info"))

    def _announcers(self) -> int:
        return int(self._node.count_publishers(self._info_topic()))

    def _on_frame(self, at_ns: int, pair: Any, missing: str) -> None:
        received_ns = time.monotonic_ns()
        if not self._node.in_order(at_ns):
            return
        image, info = pair or (None, None)
        if missing:
            # Its image, or the camera_info with the stamp of its image.
            wait_ms = self._node.settings.image_wait_ms
            self.lose(f"{missing}_missing", at_ns, f"no {missing} for it within {wait_ms:g} ms; {self.remedy}")
        self._take(Arrival(at_ns, received_ns, image=image, camera_info=info))

    def _on_unannounced(self, image_stamp_ns: int) -> None:
        self._node.health.drop("image_unannounced")
        self._node.log.warning(
            "image_unannounced",
            f"{self.topic}: image at {image_stamp_ns / NANOSECONDS:.3f} s: no message on {self._info_topic()} names it "
            f"within {self._node.settings.image_wait_ms:g} ms; it is left out; check the publisher of frame_info",
        )
