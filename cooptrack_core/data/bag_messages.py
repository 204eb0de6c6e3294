"""ROS messages of our bags as rosbags objects, from the types of the core."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.data.calibration import IMAGE_SIZE_PX, CameraModel
from cooptrack_core.data.labels import Labels
from cooptrack_core.data.message_definitions import typestore
from cooptrack_core.data.visibility import View
from cooptrack_core.geometry.transforms import to_quaternion
from cooptrack_core.types import CLASS_NAMES, SOURCE_EGO, SOURCE_REMOTE, VIEW_UNKNOWN, Instances

Float = NDArray[np.float64]

# Ground truth says in `sources` which side's annotation produced the object.
_FROM_SIDE = {"veh": SOURCE_EGO, "inf": SOURCE_REMOTE, "coop": SOURCE_EGO | SOURCE_REMOTE}


def make(msgtype: str, *values: Any) -> Any:
    """A message of `pkg/msg/Name` with its fields in order."""
    return typestore().types[msgtype](*values)


def time(stamp_ns: int) -> Any:
    """builtin_interfaces/Time."""
    return make("builtin_interfaces/msg/Time", stamp_ns // 1_000_000_000, stamp_ns % 1_000_000_000)


def header(stamp_ns: int, frame_id: str) -> Any:
    """std_msgs/Header."""
    return make("std_msgs/msg/Header", time(stamp_ns), frame_id)


def vector3(xyz: Sequence[float] | Float) -> Any:
    """geometry_msgs/Vector3."""
    return make("geometry_msgs/msg/Vector3", float(xyz[0]), float(xyz[1]), float(xyz[2]))


def quaternion(xyzw: Sequence[float] | Float) -> Any:
    """geometry_msgs/Quaternion."""
    return make("geometry_msgs/msg/Quaternion", *(float(v) for v in xyzw))


def pose(center_m: Sequence[float] | Float, xyzw: Sequence[float] | Float) -> Any:
    """geometry_msgs/Pose."""
    position = make("geometry_msgs/msg/Point", float(center_m[0]), float(center_m[1]), float(center_m[2]))
    return make("geometry_msgs/msg/Pose", position, quaternion(xyzw))


def heading_quaternion(heading_rad: float) -> tuple[float, float, float, float]:
    """(x, y, z, w) of a turn about z."""
    return 0.0, 0.0, float(np.sin(heading_rad / 2)), float(np.cos(heading_rad / 2))


def transform(parent: str, child: str, stamp_ns: int, T_parent_from_child: Float) -> Any:
    """geometry_msgs/TransformStamped; the rotation is the one nearest to the linear part."""
    body = make(
        "geometry_msgs/msg/Transform",
        vector3(T_parent_from_child[:3, 3]),
        quaternion(to_quaternion(T_parent_from_child)),
    )
    return make("geometry_msgs/msg/TransformStamped", header(stamp_ns, parent), child, body)


def tf_message(transforms: Sequence[Any]) -> Any:
    """tf2_msgs/TFMessage."""
    return make("tf2_msgs/msg/TFMessage", list(transforms))


def compressed_image(stamp_ns: int, frame_id: str, jpeg: bytes) -> Any:
    """sensor_msgs/CompressedImage holding the file's own bytes."""
    data = np.frombuffer(jpeg, np.uint8)
    return make("sensor_msgs/msg/CompressedImage", header(stamp_ns, frame_id), "jpeg", data)


def raw_image(stamp_ns: int, frame_id: str, bgr: NDArray[np.uint8]) -> Any:
    """sensor_msgs/Image, bgr8, of [H, W, 3]."""
    height, width = bgr.shape[:2]
    pixels = np.ascontiguousarray(bgr).reshape(-1)
    return make("sensor_msgs/msg/Image", header(stamp_ns, frame_id), height, width, "bgr8", 0, 3 * width, pixels)


def camera_info(stamp_ns: int, frame_id: str, camera: CameraModel, size_px: tuple[int, int] | None) -> Any:
    """sensor_msgs/CameraInfo: plumb_bob without distortion (the images count as undistorted), R = I, P = [K|0].

    size_px: width and height of the image itself, where it is known.
    """
    width, height = size_px or (camera.width_px or IMAGE_SIZE_PX[0], camera.height_px or IMAGE_SIZE_PX[1])
    P = np.hstack([camera.K, np.zeros((3, 1))])
    roi = make("sensor_msgs/msg/RegionOfInterest", 0, 0, 0, 0, False)
    return make(
        "sensor_msgs/msg/CameraInfo", header(stamp_ns, frame_id), height, width, "plumb_bob", np.zeros(5),
        camera.K.reshape(-1), np.eye(3).reshape(-1), P.reshape(-1), 0, 0, roi,
    )  # fmt: skip


def frame_info(
    stamp_ns: int, sensor_frame: str, image_stamp_ns: int, agent_id: str, sequence_id: str, frame_id: str
) -> Any:
    """cooptrack_msgs/FrameInfo."""
    return make(
        "cooptrack_msgs/msg/FrameInfo", header(stamp_ns, sensor_frame), time(image_stamp_ns), agent_id, sequence_id,
        frame_id,
    )  # fmt: skip


def detection_array(stamp_ns: int, frame_id: str, instances: Instances) -> Any:
    """vision_msgs/Detection3DArray; class name as hypothesis.class_id, id empty, unknown covariance as zeros."""
    head = header(stamp_ns, frame_id)
    detections = []
    for i in range(len(instances)):
        at = pose(instances.center_m[i], heading_quaternion(float(instances.heading_rad[i])))
        hypothesis = make(
            "vision_msgs/msg/ObjectHypothesis", CLASS_NAMES[int(instances.class_id[i])], float(instances.score[i])
        )
        with_pose = make(
            "vision_msgs/msg/ObjectHypothesisWithPose",
            hypothesis,
            make("geometry_msgs/msg/PoseWithCovariance", at, np.zeros(36)),
        )
        box = make("vision_msgs/msg/BoundingBox3D", at, vector3(instances.size_m[i]))
        detections.append(make("vision_msgs/msg/Detection3D", head, [with_pose], box, ""))
    return make("vision_msgs/msg/Detection3DArray", head, detections)


def ground_truth(
    stamp_ns: int,
    frame_id: str,
    agent_id: str,
    frame_index: int,
    T_map_from_frame: Float,
    labels: Labels,
    velocity_mps: Float,
    views: Mapping[str, View],
) -> Any:
    """cooptrack_msgs/TrackedObjectArray with mode ground_truth.

    velocity_mps: [N, 2] over ground, NaN where unknown; views: how the vehicle's camera sees each track id.
    """
    objects = [_annotated(labels, i, velocity_mps[i], views.get(labels.track_id[i])) for i in range(len(labels))]
    at = pose(T_map_from_frame[:3, 3], to_quaternion(T_map_from_frame))
    return make(
        "cooptrack_msgs/msg/TrackedObjectArray", header(stamp_ns, frame_id), agent_id, "ground_truth", "", frame_index,
        False, True, at, objects,
    )  # fmt: skip


def _annotated(labels: Labels, i: int, velocity_mps: Float, view: View | None) -> Any:
    boxes = labels.instances
    at = pose(boxes.center_m[i], heading_quaternion(float(boxes.heading_rad[i])))
    turn = vector3((0.0, 0.0, np.nan))
    twist = make("geometry_msgs/msg/Twist", vector3((velocity_mps[0], velocity_mps[1], 0.0)), turn)
    sources = _FROM_SIDE.get(labels.from_side[i], 0)
    return make(
        "cooptrack_msgs/msg/TrackedObject", int(boxes.instance_id[i]), int(boxes.class_id[i]), 1.0,
        make("geometry_msgs/msg/PoseWithCovariance", at, np.zeros(36)),
        make("geometry_msgs/msg/TwistWithCovariance", twist, np.zeros(36)),
        vector3(boxes.size_m[i]), False, sources, sources, [], 0, 0, 0.0,
        VIEW_UNKNOWN if view is None else view.view, np.nan if view is None else view.visible_fraction,
    )  # fmt: skip


__all__ = [
    "camera_info", "compressed_image", "detection_array", "frame_info", "ground_truth", "header",
    "heading_quaternion", "make", "pose", "raw_image", "tf_message", "time", "transform", "vector3",
]  # fmt: skip
