"""Rigid transforms as 4x4 matrices. `T_a_from_b` maps points of frame b into frame a."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

Float = NDArray[np.float64]


def make_transform(rotation: ArrayLike, translation: ArrayLike) -> Float:
    """[4, 4] from a 3x3 rotation (or any 3x3 linear map) and a translation of 3 numbers in m."""
    T = np.eye(4)
    T[:3, :3] = np.asarray(rotation, np.float64).reshape(3, 3)
    T[:3, 3] = np.asarray(translation, np.float64).reshape(3)
    return T


def from_quaternion(xyzw: ArrayLike, translation: ArrayLike) -> Float:
    """[4, 4] from a quaternion in ROS order (x, y, z, w) and a translation in m."""
    return make_transform(Rotation.from_quat(np.asarray(xyzw, np.float64)).as_matrix(), translation)


def to_quaternion(T: Float) -> Float:
    """Quaternion (x, y, z, w) of the rotation nearest to the linear part of T [4, 4]."""
    return np.asarray(Rotation.from_matrix(T[:3, :3]).as_quat())


def through_quaternion(T: Float) -> Float:
    """T as whoever gets it in a ROS message sees it: equal up to rounding, which repeatable results include."""
    return from_quaternion(to_quaternion(T), T[:3, 3])


def inverse(T: Float) -> Float:
    """General inverse: infrastructure extrinsics of real data are not orthonormal (spec v2x-seq-spd 2.2)."""
    return np.asarray(np.linalg.inv(T), np.float64)


def apply(T: Float, points_m: ArrayLike) -> Float:
    """Maps points [..., 3] by T [4, 4]."""
    return np.asarray(np.asarray(points_m, np.float64) @ T[:3, :3].T + T[:3, 3], np.float64)


def rotate_xy(T: Float, vectors: ArrayLike) -> Float:
    """Rotates ground-plane vectors [N, 2] by the yaw of T."""
    yaw = yaw_of(T)
    c, s = np.cos(yaw), np.sin(yaw)
    v = np.asarray(vectors, np.float64)
    return np.stack([c * v[..., 0] - s * v[..., 1], s * v[..., 0] + c * v[..., 1]], axis=-1)


def yaw_of(T: Float) -> float:
    """Yaw in rad of T [4, 4]; pitch and roll of road vehicles are small and ignored (spec v2x-seq-spd 2.3)."""
    return float(np.arctan2(T[1, 0], T[0, 0]))


def interpolate(T0: Float, T1: Float, fraction: float) -> Float:
    """Pose between T0 (fraction 0) and T1 (1): slerp of the rotation, line for the translation. Extrapolates."""
    relative = Rotation.from_matrix(T0[:3, :3]).inv() * Rotation.from_matrix(T1[:3, :3])
    rotation = Rotation.from_matrix(T0[:3, :3]) * Rotation.from_rotvec(fraction * relative.as_rotvec())
    return make_transform(rotation.as_matrix(), (1 - fraction) * T0[:3, 3] + fraction * T1[:3, 3])


def carry_on(T_previous: Float, T_now: Float, gap_s: float, later_s: float) -> Float:
    """Pose later_s after T_now of what came from T_previous within gap_s and keeps its speed and turn rate."""
    step, share = inverse(T_previous) @ T_now, later_s / gap_s
    turn = Rotation.from_matrix(step[:3, :3]).as_rotvec()
    # The second from the chord of one arc to that of the other.
    whole, halfway = Rotation.from_rotvec([share * turn, 0.5 * (share - 1.0) * turn]).as_matrix()
    return T_now @ make_transform(whole, share * (halfway @ step[:3, 3]))


def is_rotation(R: ArrayLike, tolerance: float = 1e-6) -> bool:
    """Whether the 3x3 matrix R is a proper rotation within the tolerance."""
    R = np.asarray(R, np.float64)
    return bool(np.all(np.isfinite(R)) and np.abs(R @ R.T - np.eye(3)).max() < tolerance and np.linalg.det(R) > 0)


__all__ = [
    "apply",
    "carry_on",
    "from_quaternion",
    "interpolate",
    "inverse",
    "is_rotation",
    "make_transform",
    "rotate_xy",
    "through_quaternion",
    "to_quaternion",
    "yaw_of",
]
