"""Camera topics of an agent, and the watch over images that nobody decodes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import message_filters
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from cooptrack_core.types import CooptrackError
from cooptrack_msgs.msg import FrameInfo
from cooptrack_ros.conversions import stamp_ns

_KEPT_IMAGES, _KEPT_INFOS, _QUEUE = 4, 32, 10
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_PNG_START, _PNG_END = b"\x89PNG", b"IEND\xaeB`\x82"


def compressed_defect(data: Any) -> str:
    """What is wrong with the bytes of a JPEG or PNG, or an empty string. Looks at both ends only."""
    head, tail = bytes(data[:4]), bytes(data[-16:]).rstrip(b"\0")
    if head.startswith(_JPEG_START):
        return "" if tail.endswith(_JPEG_END) else f"JPEG of {len(data)} bytes has no end marker"
    if head == _PNG_START:
        return "" if tail.endswith(_PNG_END) else f"PNG of {len(data)} bytes has no end chunk"
    return f"{len(data)} bytes that are neither JPEG nor PNG"


def raw_defect(message: Image) -> str:
    """What is wrong with the size of a raw image, or an empty string."""
    expected = message.step * message.height
    return "" if expected and len(message.data) == expected else f"{len(message.data)} bytes instead of {expected}"


class CameraTopics:
    """Subscriptions to image, camera_info and frame_info; an image and its camera_info have equal stamps."""

    def __init__(
        self,
        node: Node,
        transport: str,
        qos: QoSProfile,
        on_image: Callable[[Any], None],
        on_pair: Callable[[Any, CameraInfo], None],
        on_frame_info: Callable[[FrameInfo], None],
    ) -> None:
        """transport: compressed or raw. on_image is called for every image, before on_pair."""
        if transport not in ("compressed", "raw"):
            raise CooptrackError(f"image transport {transport!r} is unknown; choose compressed or raw")
        self._node, self.raw = node, transport == "raw"
        self.received = 0
        self._on_image = on_image
        image_type, image_topic = (Image, "image") if self.raw else (CompressedImage, "image/compressed")
        self.topic = node.resolve_topic_name(image_topic)
        images = self._subscriber(image_type, image_topic, qos)
        images.registerCallback(self._count)
        self._subscribers = [images, self._subscriber(CameraInfo, "camera_info", qos)]
        self._synchronizer = message_filters.TimeSynchronizer(self._subscribers, _QUEUE)
        self._synchronizer.registerCallback(on_pair)
        self._info = node.create_subscription(FrameInfo, "frame_info", on_frame_info, _QUEUE)

    def _subscriber(self, message_type: type[Any], topic: str, qos: QoSProfile) -> message_filters.Subscriber:
        options = QoSOverridingOptions.with_default_policies()
        return message_filters.Subscriber(
            self._node, message_type, topic, qos_profile=qos, qos_overriding_options=options
        )

    def _count(self, image: Any) -> None:
        self.received += 1
        self._on_image(image)

    def close(self) -> None:
        """Ends the subscriptions."""
        for subscriber in self._subscribers:
            self._node.destroy_subscription(subscriber.sub)
        self._node.destroy_subscription(self._info)


class ImageWatch:
    """The last few sound images by stamp."""

    def __init__(
        self, node: Node, transport: str, qos: QoSProfile, on_truncated: Callable[[str, int, str], None]
    ) -> None:
        """transport: compressed or raw. on_truncated(topic, stamp_ns, defect) is called for a broken image."""
        self._on_truncated = on_truncated
        self._images: OrderedDict[int, Any] = OrderedDict()
        self._image_stamps: OrderedDict[int, int] = OrderedDict()
        self._lock = threading.Lock()
        self.received = 0  # with their camera_info
        self._topics = CameraTopics(node, transport, qos, lambda _: None, self._on_pair, self._on_frame_info)

    def close(self) -> None:
        """Ends the subscriptions."""
        self._topics.close()

    def clear(self) -> None:
        """Forgets everything (time jumped back)."""
        with self._lock:
            self._images.clear()
            self._image_stamps.clear()

    def image_of(self, frame_stamp_ns: int) -> Any:
        """Encoded (or raw) bytes of the image of a frame, or None if it is broken or has not come."""
        with self._lock:
            return self._images.get(self._image_stamps.get(frame_stamp_ns, frame_stamp_ns))

    def _on_frame_info(self, message: FrameInfo) -> None:
        with self._lock:
            self._image_stamps[stamp_ns(message.header.stamp)] = stamp_ns(message.image_stamp)
            while len(self._image_stamps) > _KEPT_INFOS:
                self._image_stamps.popitem(last=False)

    def _on_pair(self, image: Any, _: CameraInfo) -> None:
        self.received += 1
        at_ns = stamp_ns(image.header.stamp)
        defect = raw_defect(image) if self._topics.raw else compressed_defect(image.data)
        if defect:
            self._on_truncated(self._topics.topic, at_ns, defect)
            return
        with self._lock:
            self._images[at_ns] = image.data
            while len(self._images) > _KEPT_IMAGES:
                self._images.popitem(last=False)
