"""The road seen from above: camera images laid on the ground plane, averaged over time, without the moving objects."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from cooptrack_core.geometry.boxes import corners
from cooptrack_core.geometry.transforms import inverse
from cooptrack_core.visualization import palette
from cooptrack_core.visualization.canvas import Float, Image, decode
from cooptrack_core.visualization.scene import Camera, FrameView, Images, Scene

MAX_DISTANCE_M = 85.0
COARSEST_PIXEL_M = 1.1  # length on the ground of one image pixel beyond which the picture is only streaks
SAMPLES = 14


@dataclass(frozen=True)
class Ground:
    """Orthophoto, dimmed to a backdrop. rgb [H, W, 3]; alpha [H, W] 0..1; row 0 is the largest y. bounds_m: x0, y0, x1, y1 in the world."""

    rgb: Image
    alpha: NDArray[np.float32]
    bounds_m: tuple[float, float, float, float]


def build_ground(scene: Scene, images: Images, bounds_m: tuple[float, float, float, float], px_per_m: float) -> Ground:
    """Orthophoto of the bounds from all cameras: the fixed ones first, the vehicle's where they do not reach."""
    x0, y0, x1, y1 = bounds_m
    width, height = max(2, round((x1 - x0) * px_per_m)), max(2, round((y1 - y0) * px_per_m))
    rgb, alpha = np.zeros((height, width, 3), np.float32), np.zeros((height, width), np.float32)
    fixed_first = sorted(scene.cameras, key=lambda agent: scene.cameras[agent].T_world_from_lidar is None)
    picks = np.unique(np.linspace(0, len(scene.frames) - 1, SAMPLES).astype(int)) if scene.frames else []
    for agent in tqdm(fixed_first, desc="ground picture", disable=None, leave=False):
        total, weight = np.zeros_like(rgb), np.zeros_like(alpha)
        for index in picks:
            part = _project(scene, images, agent, scene.frames[index], bounds_m, (width, height))
            if part is not None:
                total += part[0] * part[1][..., None]
                weight += part[1]
        seen = np.clip(weight / (0.15 * max(len(picks), 1)), 0, 1)
        mean = total / np.maximum(weight, 1e-6)[..., None]
        free = (1 - alpha) * seen
        rgb += mean * free[..., None]
        alpha += free
    rgb /= np.maximum(alpha, 1e-6)[..., None]
    return Ground(_dim(rgb), alpha, bounds_m)


def _dim(rgb: NDArray[np.float32]) -> Image:
    """Mostly grey and dark, so that the road never competes with the boxes on it."""
    grey = rgb.mean(axis=-1, keepdims=True)
    mixed = (grey + 0.35 * (rgb - grey)) * 0.34 + np.array(palette.BACKGROUND) * 0.55
    return np.asarray(np.clip(mixed, 0, 255), np.uint8)


def _project(
    scene: Scene, images: Images, agent: str, frame: FrameView, bounds_m: tuple[float, ...], size: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """One image on the ground [H, W, 3] and the weight [H, W] of every pixel; None without an image."""
    stamp = frame.image_stamps_ns.get(agent)
    data = None if stamp is None else images(agent, stamp)
    image = decode(data)
    if image is None or stamp is None:
        return None
    camera = scene.cameras[agent]
    T = scene.T_camera_from_world(agent, stamp)
    x0, _, x1, y1 = bounds_m
    step = (x1 - x0) / size[0]
    world_from_ortho = np.array([[step, 0, x0], [0, -step, y1], [0, 0, 1]])
    K = camera.K.copy()
    K[:2] *= [[image.shape[1] / camera.width], [image.shape[0] / camera.height]]
    H = K @ T[:3, [0, 1, 3]] @ world_from_ortho
    valid = np.full(image.shape[:2], 255, np.uint8)
    _erase_objects(valid, frame, K, T, (stamp - frame.stamp_ns) * 1e-9)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpPerspective(image, H, size, flags=flags)
    mask = cv2.warpPerspective(valid, H, size, flags=flags)
    weight = (mask > 250) * _sharpness(camera, T, world_from_ortho, size)
    return warped.astype(np.float32), weight.astype(np.float32)


def _sharpness(camera: Camera, T_camera_from_world: Float, world_from_ortho: Float, size: tuple[int, int]) -> Float:
    """[H, W] weight 0..1 of every ground point: behind the camera 0, fading where one image pixel covers much road."""
    u, v = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    x = world_from_ortho[0, 0] * u + world_from_ortho[0, 2]
    y = world_from_ortho[1, 1] * v + world_from_ortho[1, 2]
    depth = T_camera_from_world[2, 0] * x + T_camera_from_world[2, 1] * y + T_camera_from_world[2, 3]
    position = inverse(T_camera_from_world)[:3, 3]
    distance = np.hypot(x - position[0], y - position[1])
    height = max(abs(float(position[2])), 0.5)
    pixel = (distance**2 + height**2) / (height * camera.K[1, 1])
    near = np.clip(2 * (1 - pixel / COARSEST_PIXEL_M), 0, 1) * np.clip(4 * (1 - distance / MAX_DISTANCE_M), 0, 1)
    return np.asarray(np.where(depth > 0.5, near, 0.0))


def _erase_objects(valid: Image, frame: FrameView, K: Float, T: Float, seconds: float) -> None:
    """Blanks the pixels of every known object, so that only the road remains."""
    for box in (*frame.truth, *frame.tracks):
        points = corners(box.moved(seconds), box.size_m * 1.25 + 0.2, box.heading_rad)[0] @ T[:3, :3].T + T[:3, 3]
        if np.any(points[:, 2] < 0.3):
            continue
        pixels = points @ K.T
        hull = cv2.convexHull(np.clip(pixels[:, :2] / pixels[:, 2:], -5000, 5000).astype(np.float32))
        cv2.fillConvexPoly(valid, hull.astype(np.int32), 0)
