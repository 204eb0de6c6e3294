"""Calibration files and the chain of frames of V2X-Seq-SPD and DAIR-V2X-C.

All stored matrices are column-vector maps p_dst = R p_src + t, read as they are: infrastructure
extrinsics are not orthonormal in real data, so every inverse is a general one.

Two conventions for the registration E = translation by system_error_offset:
  spd:         T_lidar_from_virtuallidar = E inv(T_novatel_from_lidar) inv(T_map_from_novatel) T_map_from_virtuallidar
               (E last, in vehicle lidar axes)
  dair-v2x-c:  T_lidar_from_virtuallidar = inv(T_novatel_from_lidar) inv(T_map_from_novatel) E T_map_from_virtuallidar
               (E in world axes)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.data.files import array, expect_list, expect_object, number, offset, problem
from cooptrack_core.geometry.transforms import inverse, is_rotation, make_transform

Float = NDArray[np.float64]
Convention = Literal["spd", "dair-v2x-c"]

_POSE_TOLERANCE = 0.01  # the reader is lenient; `cooptrack validate` asks for what the converters ask

IMAGE_SIZE_PX = (1920, 1080)  # width, height of every released image, where the files do not say


@dataclass(frozen=True)
class CameraModel:
    """Pinhole camera: K [3, 3] in px; size in px, None where the calibration file does not give it.

    distortion: k1 k2 p1 p2 k3 as stored. The released images are treated as undistorted by every
    official converter, so projections ignore it.
    """

    K: Float
    distortion: Float
    width_px: int | None = None
    height_px: int | None = None

    def project(self, points_camera_m: Float) -> tuple[Float, Float]:
        """Pixels [N, 2] and depth [N] in m of points [N, 3] in the camera frame; pixels are NaN behind the camera."""
        p = np.asarray(points_camera_m, np.float64).reshape(-1, 3)
        depth = p[:, 2]
        with np.errstate(divide="ignore", invalid="ignore"):
            pixels = (p @ self.K.T)[:, :2] / np.where(depth > 0, depth, np.nan)[:, None]
        return pixels, depth


@dataclass(frozen=True)
class VehicleCalibration:
    """Calibration of one vehicle frame."""

    camera: CameraModel
    T_camera_from_lidar: Float
    T_novatel_from_lidar: Float
    T_map_from_novatel: Float

    @property
    def T_map_from_lidar(self) -> Float:
        """Pose of the lidar without the pair's registration."""
        return self.T_map_from_novatel @ self.T_novatel_from_lidar


@dataclass(frozen=True)
class InfrastructureCalibration:
    """Calibration of one infrastructure frame; relative_error_m is the DAIR-V2X-C entry, (0, 0) where absent."""

    camera: CameraModel
    T_camera_from_virtuallidar: Float
    T_map_from_virtuallidar: Float
    relative_error_m: tuple[float, float] = (0.0, 0.0)


def parse_camera(content: Any, source: Path | str) -> CameraModel:
    """Camera model of a camera_intrinsic file: left 3x3 of P where present, else cam_K, as the converters do."""
    row = expect_object(content, source)
    if row.get("P"):
        K = array(row["P"], (3, 4), source, "P")[:, :3].copy()
    elif "cam_K" in row:
        K = array(row["cam_K"], (3, 3), source, "cam_K")
    else:
        raise problem(source, "cam_K", "is missing, and so is P", "restore the file from the dataset archive")
    if K[0, 0] <= 0 or K[1, 1] <= 0:
        raise problem(source, "cam_K", "has a focal length that is not positive", "restore the file")
    if abs(np.linalg.det(K)) < 1e-6:
        raise problem(source, "cam_K", "is singular", "restore the file")
    coefficients = expect_list(row["cam_D"], source, "cam_D") if row.get("cam_D") else [0.0] * 5
    distortion = array(coefficients, (len(coefficients),), source, "cam_D")
    size = {key: int(number(row[key], source, key)) for key in ("width", "height") if row.get(key) not in (None, "")}
    return CameraModel(K, distortion, size.get("width"), size.get("height"))


def parse_transform(content: Any, source: Path | str) -> Float:
    """[4, 4] of an extrinsic file, with or without the `transform` level of lidar_to_novatel."""
    row = expect_object(content, source)
    if "transform" in row:
        row = expect_object(row["transform"], source, "transform")
    for key in ("rotation", "translation"):
        if key not in row:
            raise problem(source, key, "is missing", "restore the file from the dataset archive")
    T = make_transform(
        array(row["rotation"], (3, 3), source, "rotation"), array(row["translation"], (3,), source, "translation")
    )
    if abs(np.linalg.det(T[:3, :3])) < 1e-6:
        raise problem(source, "rotation", "is singular", "restore the file from the dataset archive")
    return T


def parse_pose(content: Any, source: Path | str) -> Float:
    """parse_transform of a file whose map must be a rigid motion: all but the camera extrinsics."""
    T = parse_transform(content, source)
    if not is_rotation(T[:3, :3], _POSE_TOLERANCE):
        raise problem(source, "rotation", "is not a rotation", "restore the file from the dataset archive")
    return T


def parse_offset(content: Any, source: Path | str, field: str = "system_error_offset") -> tuple[float, float]:
    """(delta_x, delta_y) in m; missing, null and "" mean never measured: 0."""
    if content is None or content == "":
        return 0.0, 0.0
    row = expect_object(content, source, field)
    return (
        offset(row.get("delta_x"), source, f"{field}.delta_x"),
        offset(row.get("delta_y"), source, f"{field}.delta_y"),
    )


def translation_xy(offset_m: tuple[float, float]) -> Float:
    """E: [4, 4] translation by (delta_x, delta_y, 0)."""
    return make_transform(np.eye(3), (offset_m[0], offset_m[1], 0.0))


def registered_pose(T_map_from_lidar: Float, offset_m: tuple[float, float], convention: Convention) -> Float:
    """T_map_from_lidar_registered: pose of the vehicle lidar corrected by the pair's offset.

    inverse(registered) @ T_map_from_virtuallidar equals T_lidar_from_virtuallidar of the convention.
    """
    E_inverse = translation_xy((-offset_m[0], -offset_m[1]))
    return T_map_from_lidar @ E_inverse if convention == "spd" else E_inverse @ T_map_from_lidar


def T_lidar_from_virtuallidar(
    vehicle: VehicleCalibration,
    infrastructure: InfrastructureCalibration,
    offset_m: tuple[float, float],
    convention: Convention,
) -> Float:
    """Maps the infrastructure's virtual lidar frame into the vehicle lidar frame."""
    registered = registered_pose(vehicle.T_map_from_lidar, offset_m, convention)
    return inverse(registered) @ infrastructure.T_map_from_virtuallidar


def rigid_camera(camera: CameraModel, T_camera_from_lidar: Float) -> tuple[CameraModel, Float]:
    """The same projection with a proper rotation: K' [R'|t'] proportional to K [A|t] (RQ decomposition).

    TF and CameraInfo can only say pinhole times rigid motion, while jointly calibrated infrastructure
    extrinsics are an arbitrary 3x3 map A. Pixels are unchanged; what is not rotation moves into K'.
    """
    A = T_camera_from_lidar[:3, :3]
    if is_rotation(A, 1e-4):
        return camera, T_camera_from_lidar
    flip = np.eye(3)[::-1]
    M = camera.K @ A
    q, r = np.linalg.qr((flip @ M).T)
    K, R = flip @ r.T @ flip, flip @ q.T
    signs = np.diag(np.sign(np.diag(K)))
    K, R = K @ signs, signs @ R
    if np.linalg.det(R) < 0:  # the overall sign of a projection is free
        R = -R
        t = -np.linalg.solve(K, camera.K @ T_camera_from_lidar[:3, 3])
    else:
        t = np.linalg.solve(K, camera.K @ T_camera_from_lidar[:3, 3])
    model = CameraModel(K / K[2, 2], camera.distortion, camera.width_px, camera.height_px)
    return model, make_transform(R, t)


def camera_center(T_camera_from_lidar: Float) -> Float:
    """[3] optical centre in the lidar frame, by the general inverse."""
    return inverse(T_camera_from_lidar)[:3, 3]


__all__ = [
    "IMAGE_SIZE_PX",
    "CameraModel",
    "Convention",
    "InfrastructureCalibration",
    "T_lidar_from_virtuallidar",
    "VehicleCalibration",
    "camera_center",
    "parse_camera",
    "parse_offset",
    "parse_pose",
    "parse_transform",
    "registered_pose",
    "rigid_camera",
    "translation_xy",
]
