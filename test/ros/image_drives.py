"""Agent nodes that run a network, with a camera in front of them."""

from __future__ import annotations

from array import array
from typing import Any

import cv2
import numpy as np
from drives import RADIO, Drive, RoadsideDrive, VehicleDrive
from fake_network import FakeNetwork
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from ros_messages import at, tf, transform
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from cooptrack_core.geometry.transforms import to_quaternion
from cooptrack_msgs.msg import FrameInfo, InstanceFeatures
from cooptrack_ros.conversions import stamp_message

WIDTH, HEIGHT = 320, 180
IMAGE_LATER_NS = 40_000_000  # the stamp of an image, against the perception time of its frame
# x right, y down, z ahead, 1.5 m above the sensor
T_SENSOR_FROM_CAMERA = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 1.5], [0, 0, 0, 1]])
LATCHED = QoSProfile(depth=10, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)


def pixels(index: int, width: int = WIDTH, height: int = HEIGHT) -> Any:
    """A picture that differs from frame to frame."""
    return np.random.default_rng(index).integers(0, 255, (height, width, 3), np.uint8)


def jpeg(index: int, width: int = WIDTH, height: int = HEIGHT) -> bytes:
    """The same as a file."""
    return cv2.imencode(".jpg", pixels(index, width, height))[1].tobytes()


def mounting(agent: str) -> TFMessage:
    """Where the camera sits."""
    item = transform(f"{agent}/lidar", f"{agent}/camera", 0)
    rotation, translation = item.transform.rotation, item.transform.translation
    rotation.x, rotation.y, rotation.z, rotation.w = to_quaternion(T_SENSOR_FROM_CAMERA).tolist()
    translation.x, translation.y, translation.z = T_SENSOR_FROM_CAMERA[:3, 3].tolist()
    return tf(item)


class CameraDrive(Drive):
    """Sends images instead of detections."""

    network: FakeNetwork

    def __init__(
        self, graph: Any, monkeypatch: Any = None, *, announce: bool = True, mount: bool = True, **parameters: Any
    ) -> None:
        """monkeypatch None: a real network, untrained. announce: with frame_info. mount: with the camera in TF."""
        self.network = FakeNetwork("coop" if self.name == "vehicle_node" else "inf")
        if monkeypatch is not None:
            monkeypatch.setattr("cooptrack_ros.agent_node.network_of", lambda config: self.network)
        network = {"detector": "network", "network.weights": "untrained", "image_wait_ms": 1500.0}
        super().__init__(graph, **{**network, **parameters})
        self.raw = parameters.get("image_transport") == "raw"
        self.agent = self.namespace[1:]
        image_type, topic = (Image, "image") if self.raw else (CompressedImage, "image/compressed")
        self.images = graph.publisher(image_type, f"{self.namespace}/{topic}")
        self.infos = graph.publisher(CameraInfo, f"{self.namespace}/camera_info")
        self.announcements = graph.publisher(FrameInfo, f"{self.namespace}/frame_info") if announce else None
        if announce:
            graph.wait_for(lambda: self.node.count_publishers(f"{self.namespace}/frame_info"))
        if mount:
            self.static = graph.publisher(TFMessage, "/tf_static", LATCHED)
            self.static.publish(mounting(self.agent))

    def input_publisher(self) -> None:
        """Images; made later, since their type depends on a parameter."""

    def header(self, index: int) -> Header:
        """Of the image and its camera_info."""
        later = 0 if self.announcements is None else IMAGE_LATER_NS
        return Header(stamp=stamp_message(at(index) + later), frame_id=f"{self.agent}/camera")

    def image(self, index: int, data: bytes | None = None, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Any:
        """The image of a frame."""
        message: Any
        if self.raw:
            message = Image(height=size[1], width=size[0], encoding="bgr8", step=3 * size[0])
            message.data = array("B", pixels(index, *size).tobytes() if data is None else data)
        else:
            message = CompressedImage(format="jpeg", data=array("B", jpeg(index, *size) if data is None else data))
        message.header = self.header(index)
        return message

    def send_info(self, index: int, **changes: Any) -> None:
        """Publishes the camera_info of a frame."""
        k = [WIDTH, 0.0, WIDTH / 2, 0.0, WIDTH, HEIGHT / 2, 0.0, 0.0, 1.0]
        values = {"width": WIDTH, "height": HEIGHT, "k": np.array(k, np.float64), **changes}
        self.infos.publish(CameraInfo(header=self.header(index), **values))

    def announce(self, index: int) -> None:
        """Publishes the frame_info of a frame."""
        head = Header(stamp=stamp_message(at(index)), frame_id=f"{self.agent}/lidar")
        self.announcements.publish(
            FrameInfo(header=head, image_stamp=stamp_message(at(index) + IMAGE_LATER_NS), agent_id=self.agent)
        )

    def send(
        self,
        index: int,
        *,
        image: bool = True,
        data: bytes | None = None,
        size: tuple[int, int] = (WIDTH, HEIGHT),
        camera: dict[str, Any] | None = None,
        info: bool = True,
        pose: bool = True,
    ) -> None:
        """Publishes what a frame consists of, without what is switched off."""
        picture = self.image(index, data, size) if image else None  # made before anybody waits for it
        if pose:
            self.tf.publish(tf(transform("map", f"{self.agent}/lidar", at(index))))
        if self.announcements is not None:
            self.announce(index)
        if picture is not None:
            self.images.publish(picture)
        if info:
            self.send_info(index, **(camera or {}))


class CameraVehicle(CameraDrive, VehicleDrive):
    """A vehicle with a camera and a radio."""


class CameraRoadside(CameraDrive):
    """A roadside unit with a camera, and a receiver."""

    node_class, name, namespace = RoadsideDrive.node_class, RoadsideDrive.name, RoadsideDrive.namespace

    def __init__(self, graph: Any, monkeypatch: Any = None, **parameters: Any) -> None:
        super().__init__(graph, monkeypatch, **parameters)
        self.instances = graph.collect(InstanceFeatures, "/rsu/instances", RADIO)
