"""From a camera image to the network's input (spec 2.1): scaled, normalised, padded; and its projection matrix."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from cooptrack_core.data.images import decode_bgr, jpeg_problem, jpeg_size
from cooptrack_core.geometry.transforms import carry_on, inverse, is_rotation
from cooptrack_core.model.presets import ModelConfig
from cooptrack_core.perception import FrameRejected
from cooptrack_core.stage_clock import stage
from cooptrack_core.types import CameraView, Frame

Float = NDArray[np.float64]
_MAX_SKEW = 0.05  # how far a stored rotation may be from orthonormal


@dataclass(frozen=True)
class ImageInput:
    """image [3, h, w] float32, normalised RGB, zero where it was padded; lidar2img [4, 4] to its pixels."""

    image: NDArray[np.float32]
    lidar2img: Float


@dataclass(frozen=True)
class Before:
    """The frame before, as far as it tells how the agent moves."""

    stamp_s: float
    T_map_from_sensor: Float


def image_input(
    frame: Frame, config: ModelConfig, T_image_from_sensor: Float | None = None, *, reduced: bool = False
) -> ImageInput:
    """The network's input of a frame. Raises FrameRejected with what was expected and what was found.

    T_image_from_sensor [4, 4]: the sensor frame at the time of the image from the one of the frame (`image_time`).
    reduced: decode large JPEGs smaller (`reduction_of`), as good as the same: test/core/test_reduced_decoding.py.
    """
    if frame.image is None:
        raise FrameRejected("image: expected one, found none in this frame")
    if frame.camera is None:
        raise FrameRejected("camera: expected camera matrix and extrinsics, found none in this frame")
    check_camera(frame.camera)
    with stage("decode image"):
        reduction = reduction_of(frame.image, frame.camera, config) if reduced else 1
        pixels = decoded_pixels(frame.image, reduction)
    height, width = (reduction * size for size in pixels.shape[:2])
    if (width, height) != (frame.camera.width, frame.camera.height):
        raise FrameRejected(
            f"image size: expected {frame.camera.width}x{frame.camera.height} as of the camera calibration, "
            f"found {width}x{height}; scale one of them"
        )
    scale = image_scale(width, height, config)
    lidar2img = lidar_to_image(frame.camera, scale, config)
    if T_image_from_sensor is not None:
        lidar2img = lidar2img @ T_image_from_sensor
    with stage("prepare image"):
        return ImageInput(prepare(pixels, scale, config, reduction), lidar2img)


def image_time(
    previous: Before | None, stamp_s: float, T_map_from_sensor: Float, delay_s: float, config: ModelConfig
) -> Float | None:
    """T_image_from_sensor [4, 4] of a frame whose image came delay_s later, if the motion goes on; None: the same.

    Whatever stands still keeps its place in the image then. Needs the frame before, at most max_gap_s old.
    """
    if previous is None or delay_s == 0.0 or not config.options.camera_at_image_time:
        return None
    gap_s = stamp_s - previous.stamp_s
    if not 0.0 < gap_s <= config.max_gap_s or abs(delay_s) > config.max_gap_s:
        return None
    T_map_from_image = carry_on(previous.T_map_from_sensor, T_map_from_sensor, gap_s, delay_s)
    return inverse(T_map_from_image) @ T_map_from_sensor


def reduction_of(image: bytes | NDArray[np.uint8], camera: CameraView, config: ModelConfig) -> int:
    """By how much a JPEG can be decoded smaller: 8, 4, 2 or 1, the largest that leaves twice the columns needed.

    With fewer, the pixels that the network sees would no longer be means of the right ones. Only whole blocks: the
    corners of the image stay where they are.
    """
    if not isinstance(image, (bytes, bytearray, memoryview)) or bytes(image[:2]) != b"\xff\xd8":
        return 1
    size, columns = (camera.width, camera.height), config.image_size[1]
    whole = [k for k in (8, 4, 2) if 2 * k * columns <= camera.width and not any(side % k for side in size)]
    if not whole or jpeg_size(bytes(image)) != size:  # what is wrong is found on the plain path
        return 1
    return whole[0]


def decoded_pixels(image: bytes | NDArray[np.uint8], reduction: int = 1) -> NDArray[np.uint8]:
    if isinstance(image, (bytes, bytearray, memoryview)):
        data = bytes(image)
        # Part of a JPEG file would be decoded, with grey for the rest.
        if data[:2] == b"\xff\xd8" and (defect := jpeg_problem(data)):
            raise FrameRejected(f"image: expected a whole file, found {len(data)} bytes: {defect}")
        decoded = decode_bgr(data, reduction)
        if decoded is None:
            found = f"{len(data)} bytes that cannot be decoded"
            raise FrameRejected(f"image: expected a whole JPEG or PNG file, found {found}")
        return decoded
    pixels = np.asarray(image)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise FrameRejected(f"image: expected [height, width, 3] in BGR order, found shape {list(pixels.shape)}")
    if pixels.dtype != np.uint8 and (bad := int((~np.isfinite(pixels)).sum())):
        raise FrameRejected(f"image: expected finite pixels, found {bad} that are not finite")
    return pixels


def image_scale(width: int, height: int, config: ModelConfig) -> float:
    """Factor that fits the width; what is missing in height is padded, at most one stride of the network."""
    rows, columns = config.image_size
    scale = columns / width
    scaled = round(height * scale)
    if not rows - 32 < scaled <= rows:
        raise FrameRejected(
            f"image size: expected the aspect ratio of 1920x1080 for the {columns}x{rows} of {config.name}, "
            f"found {width}x{height}, which becomes {columns}x{scaled}"
        )
    return scale


def prepare(pixels: NDArray[np.uint8], scale: float, config: ModelConfig, reduction: int = 1) -> NDArray[np.float32]:
    """[3, h, w] from BGR pixels [H, W, 3] that were decoded at 1 / reduction of their size; scale: of the whole one."""
    rows, columns = config.image_size
    height = round(pixels.shape[0] * reduction * scale)
    mean, std = (np.asarray(values, np.float32) for values in (config.image_mean, config.image_std))
    padded = np.zeros((3, rows, columns), np.float32)
    if scale >= 0.5 or pixels.dtype != np.uint8:  # as the published network: bilinear, in floating point
        method = cv2.INTER_LINEAR if scale >= 0.5 else cv2.INTER_AREA
        scaled = cv2.resize(pixels.astype(np.float32), (columns, height), interpolation=method)
        for channel, plane in enumerate(cv2.split(scaled)[::-1]):
            np.divide(plane - mean[channel], std[channel], out=padded[channel, :height])
    else:  # every pixel counts; rounding to whole grey levels is ten times faster
        levels = (np.arange(256, dtype=np.float32)[:, None] - mean) / std  # [256, 3]
        scaled = cv2.resize(pixels, (columns, height), interpolation=cv2.INTER_AREA)
        for channel, plane in enumerate(cv2.split(scaled)[::-1]):
            padded[channel, :height] = cv2.LUT(plane, levels[:, channel].copy())
    return padded


def lidar_to_image(camera: CameraView, scale: float, config: ModelConfig) -> Float:
    """[4, 4] from the sensor frame to the pixels of the scaled image."""
    K = np.eye(4)
    K[:3, :3] = scaled_camera(camera.K, scale, config)
    return np.asarray(K @ camera.T_camera_from_sensor, np.float64)


def scaled_camera(K: Float, scale: float, config: ModelConfig) -> Float:
    """[3, 3] camera matrix of the scaled image."""
    scaled = np.diag([scale, scale, 1.0])
    if config.options.scale_about_corner:  # pixels have their centres at whole numbers
        scaled[:2, 2] = 0.5 * (scale - 1.0)
    return np.asarray(scaled @ K, np.float64)


def check_camera(camera: CameraView) -> None:
    """Raises FrameRejected for a calibration with which nothing can be seen."""
    for name, values in (("camera matrix", camera.K), ("camera extrinsics", camera.T_camera_from_sensor)):
        if bad := int((~np.isfinite(values)).sum()):
            raise FrameRejected(f"{name}: expected finite numbers, found {bad} that are not finite")
    determinant = float(np.linalg.det(camera.K))
    if abs(determinant) < 1e-6 or camera.K[0, 0] <= 0 or camera.K[1, 1] <= 0:
        raise FrameRejected(
            "camera matrix: expected positive focal lengths in pixels, "
            f"found fx {camera.K[0, 0]:g}, fy {camera.K[1, 1]:g}, determinant {determinant:g}"
        )
    R = camera.T_camera_from_sensor[:3, :3]
    if not is_rotation(R, _MAX_SKEW):
        off, determinant = np.abs(R @ R.T - np.eye(3)).max(), np.linalg.det(R)
        raise FrameRejected(
            "camera extrinsics: expected a rotation in T_camera_from_sensor, found a matrix "
            f"{off:.2g} off one, with determinant {determinant:.2g}; check the static transform"
        )
