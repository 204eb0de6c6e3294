"""Messages for the tests of the nodes: detections, poses, instances."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from geometry_msgs.msg import TransformStamped
from sensor_msgs.msg import CameraInfo, CompressedImage
from tf2_msgs.msg import TFMessage
from vision_msgs.msg import Detection3D, Detection3DArray, ObjectHypothesisWithPose

from cooptrack_core.types import Features, Instances, Message
from cooptrack_ros.conversions import features_message, stamp_message

START_NS = 1_700_000_000_000_000_000
PERIOD_NS = 100_000_000
IDENTITY = np.eye(4)
CAR_M = (4.5, 1.9, 1.6)


def at(index: int) -> int:
    """Stamp of frame number `index`."""
    return START_NS + index * PERIOD_NS


def detections(stamp_ns: int, centers: Any, frame_id: str = "vehicle/lidar", class_id: str = "car") -> Detection3DArray:
    """One detection per centre, heading along x."""
    message = Detection3DArray()
    message.header.stamp, message.header.frame_id = stamp_message(stamp_ns), frame_id
    for center in centers:
        detection = Detection3D(results=[ObjectHypothesisWithPose()])
        detection.results[0].hypothesis.class_id = class_id
        detection.results[0].hypothesis.score = 0.9
        p, s = detection.bbox.center.position, detection.bbox.size
        p.x, p.y, p.z = (float(v) for v in center)
        s.x, s.y, s.z = CAR_M
        message.detections.append(detection)
    return message


def transform(
    parent: str, child: str, stamp_ns: int, x: float = 0.0, y: float = 0.0, yaw: float = 0.0
) -> TransformStamped:
    """A planar transform."""
    message = TransformStamped(child_frame_id=child)
    message.header.frame_id, message.header.stamp = parent, stamp_message(stamp_ns)
    message.transform.translation.x, message.transform.translation.y = x, y
    message.transform.rotation.z, message.transform.rotation.w = math.sin(yaw / 2), math.cos(yaw / 2)
    return message


def tf(*transforms: TransformStamped) -> TFMessage:
    """A TFMessage."""
    return TFMessage(transforms=list(transforms))


def remote_message(
    sequence: int, stamp_ns: int, centers: Any, features: Features | None = None, pose: Any = IDENTITY
) -> Message:
    """What a roadside unit would send: confirmed tracks at the centres, in its own frame."""
    n = len(centers)
    instances = Instances.create(
        np.asarray(centers, np.float64).reshape(-1, 3),
        np.tile(CAR_M, (n, 1)),
        np.zeros(n),
        np.zeros(n, np.int64),
        np.full(n, 0.9),
        velocity_mps=np.zeros((n, 2)),
        instance_id=np.arange(1, n + 1),
        age_frames=np.full(n, 10),
        features=features,
    )
    return Message("rsu", 77, sequence, stamp_ns, "rsu/lidar", pose, instances)


def instances_message(sequence: int, stamp_ns: int, centers: Any, **more: Any) -> Any:
    """The same as a ROS message."""
    return features_message(remote_message(sequence, stamp_ns, centers, **more), "fp32")


def image(stamp_ns: int, data: bytes) -> CompressedImage:
    """A compressed image of the vehicle's camera."""
    message = CompressedImage(format="jpeg", data=data)
    message.header.stamp, message.header.frame_id = stamp_message(stamp_ns), "vehicle/camera"
    return message


def camera_info(stamp_ns: int) -> CameraInfo:
    """The camera_info that goes with it."""
    message = CameraInfo()
    message.header.stamp, message.header.frame_id = stamp_message(stamp_ns), "vehicle/camera"
    return message
