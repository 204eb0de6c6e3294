"""Synthetic frames that the reference vectors of whole networks were made with (test/data/reference/README.md)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
_SEED = {"inf": 700, "veh": 300}
_CAMERA_FROM_LIDAR = np.array([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]])


@dataclass(frozen=True)
class ReferenceFrame:
    """Frame t of one side (inf, veh)."""

    image: NDArray[np.float32]  # [3, 544, 960] normalised network input
    lidar2img: Float  # [4, 4]
    T_map_from_lidar: Float  # [4, 4]
    stamp_s: float


def frame(side: str, t: int) -> ReferenceFrame:
    """Frame t (0.1 s apart): noise on blocks of 32 pixels, a focal length of 500 px, a pose on a straight way."""
    random = np.random.RandomState(_SEED[side] + t)
    blocks = np.kron(random.standard_normal((1, 1, 3, 17, 30)), np.ones((1, 1, 1, 32, 32)))
    image = (blocks + 0.5 * random.standard_normal(blocks.shape)).astype(np.float32)
    height_m, pitch = (4.0, 0.15) if side == "inf" else (0.0, 0.02)
    return ReferenceFrame(image[0, 0], _lidar2img(height_m, pitch), _pose(side, t), 10.0 + 0.1 * t)


def T_vehicle_from_infra(t: int) -> NDArray[np.float32]:
    """[4, 4] by way of the transposed single-precision veh2inf matrix that the data set stores."""
    stored = (np.linalg.inv(_pose("inf", t)) @ _pose("veh", t)).astype(np.float32)
    return np.asarray(np.linalg.inv(stored), np.float32)


def _pose(side: str, t: int) -> Float:
    """T_map_from_lidar [4, 4]."""
    yaw = 0.7 if side == "inf" else 3.6 + 0.03 * t
    T = np.eye(4)
    T[:2, :2] = [[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]]
    T[:3, 3] = (100.0, 50.0, 0.0) if side == "inf" else (140.0 + 1.2 * t, 75.0 + 0.5 * t, 0.0)
    return T


def _lidar2img(height_m: float, pitch: float) -> Float:
    K = np.eye(4)
    K[:2, :3] = [[500.0, 0.0, 480.0], [0.0, 500.0, 270.0]]
    c, s = np.cos(pitch), np.sin(pitch)
    T = np.eye(4)
    T[:3, :3] = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ _CAMERA_FROM_LIDAR
    T[:3, 3] = T[:3, :3] @ (0.0, 0.0, -height_m)
    return np.asarray(K @ T)
