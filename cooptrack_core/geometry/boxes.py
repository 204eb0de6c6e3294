"""Gravity-centred 3D boxes: corners, moves between frames, angles, points inside."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cooptrack_core.geometry.transforms import apply, rotate_xy, yaw_of
from cooptrack_core.types import Instances

Float = NDArray[np.float64]

# Bottom ring, then top ring; edge 0-1 is the width, 0-3 the length, heading = p0 - p3
# (world_8_points of DAIR-V2X, spec v2x-seq-spd 1.8).
_UNIT_CORNERS = (
    np.array(
        [[1, 1, -1], [1, -1, -1], [-1, -1, -1], [-1, 1, -1], [1, 1, 1], [1, -1, 1], [-1, -1, 1], [-1, 1, 1]], np.float64
    )
    / 2
)


def wrap_angle(angle_rad: ArrayLike) -> Float:
    """Angle wrapped to [-pi, pi)."""
    return np.asarray((np.asarray(angle_rad, np.float64) + np.pi) % (2 * np.pi) - np.pi)


def corners(center_m: ArrayLike, size_m: ArrayLike, heading_rad: ArrayLike) -> Float:
    """[N, 8, 3] corners of N boxes: centre [N, 3], size [N, 3] length width height, heading [N]."""
    center, size = np.asarray(center_m, np.float64).reshape(-1, 3), np.asarray(size_m, np.float64).reshape(-1, 3)
    heading = np.asarray(heading_rad, np.float64).reshape(-1)
    local = _UNIT_CORNERS[None] * size[:, None]
    c, s = np.cos(heading)[:, None], np.sin(heading)[:, None]
    x = c * local[..., 0] - s * local[..., 1]
    y = s * local[..., 0] + c * local[..., 1]
    return np.stack([x, y, local[..., 2]], axis=-1) + center[:, None]


def move(instances: Instances, T_a_from_b: Float) -> Instances:
    """Instances of frame b expressed in frame a: centre, heading, velocity and variances; features are untouched."""
    yaw = yaw_of(T_a_from_b)
    c2, s2 = np.cos(yaw) ** 2, np.sin(yaw) ** 2
    var = instances.position_variance_m2
    return replace(
        instances,
        center_m=apply(T_a_from_b, instances.center_m),
        heading_rad=wrap_angle(instances.heading_rad + yaw),
        velocity_mps=rotate_xy(T_a_from_b, instances.velocity_mps),
        position_variance_m2=np.stack([c2 * var[:, 0] + s2 * var[:, 1], s2 * var[:, 0] + c2 * var[:, 1]], axis=-1),
    )
