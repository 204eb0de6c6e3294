"""Small hand-made situations that several core tests share."""

from __future__ import annotations

import numpy as np

from cooptrack_core.geometry.transforms import make_transform
from cooptrack_core.types import CLASS_ID, Frame, Instances, Message

CAR_SIZE = (4.4, 1.8, 1.5)
STEP_NS = 100_000_000


def yawed(yaw_rad: float, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> np.ndarray:
    """T_a_from_b of a frame b at x y z in a, turned by yaw."""
    c, s = np.cos(yaw_rad), np.sin(yaw_rad)
    return make_transform([[c, -s, 0], [s, c, 0], [0, 0, 1]], [x, y, z])


def cars(*centers_xy, heading_rad=0.0, score=0.8, class_name="car", **columns) -> Instances:
    """Cars at ground-plane positions in some sensor frame."""
    n = len(centers_xy)
    center = np.column_stack([np.array(centers_xy, float).reshape(n, 2), np.full(n, -0.9)])
    return Instances.create(
        center, np.tile(CAR_SIZE, (n, 1)), np.full(n, heading_rad), np.full(n, CLASS_ID[class_name]),
        np.full(n, score), **columns,
    )  # fmt: skip


def frame(index: int, detections, T_map_from_sensor=None, start_ns: int = 10**18) -> Frame:
    """Frame number `index` at 10 Hz; the pose is the identity unless given, and unknown if False."""
    pose = np.eye(4) if T_map_from_sensor is None else T_map_from_sensor
    return Frame(start_ns + index * STEP_NS, None if pose is False else pose, detections)


def message(index: int, instances: Instances, *, sequence=None, T=None, agent="rsu", session=7, **changes) -> Message:
    """Message of frame number `index`."""
    values = {
        "agent_id": agent, "session_id": session, "sequence": index + 1 if sequence is None else sequence,
        "stamp_ns": 10**18 + index * STEP_NS, "sensor_frame": f"{agent}/lidar",
        "T_map_from_sensor": np.eye(4) if T is None else T, "instances": instances,
    }  # fmt: skip
    return Message(**(values | changes))
