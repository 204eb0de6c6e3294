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

Float32 = NDArray[np.float32]
Bounds = tuple[float, float, float, float]  # x0, y0, x1, y1 in the world, m

MAX_DISTANCE_M = 85.0
COARSEST_PIXEL_M = 1.1  # length on the ground of one image pixel beyond which the picture is only streaks
SAMPLES = 10
ROAD_TONE = 46.0  # brightness of the typical road in the backdrop
OBJECT_WEIGHT = 0.02  # of pixels that show an object: used only where nothing else was ever seen


@dataclass(frozen=True)
class Ground:
    """Orthophoto, dimmed to a backdrop and faded into the background where nothing is known.

    rgb [H, W, 3]; alpha [H, W] 0..1, how well the place was seen; row 0 is the largest y.
    """

    rgb: Image
    alpha: Float32
    bounds_m: Bounds


def build_ground(scene: Scene, images: Images, bounds_m: Bounds, px_per_m: float) -> Ground:
    """Orthophoto of the bounds from all cameras: the fixed ones first, the vehicle's where they do not reach."""
    x0, y0, x1, y1 = bounds_m
    size = max(2, round((x1 - x0) * px_per_m)), max(2, round((y1 - y0) * px_per_m))
    rgb, alpha = np.zeros((size[1], size[0], 3), np.float32), np.zeros((size[1], size[0], 1), np.float32)
    fixed_first = sorted(scene.cameras, key=lambda agent: scene.cameras[agent].T_world_from_lidar is None)
    for agent in tqdm(fixed_first, desc="ground picture", disable=None, leave=False):
        mean, seen = _from_camera(scene, images, agent, bounds_m, size)
        free = (1 - alpha) * seen
        rgb += mean * free
        alpha += free
    rgb /= np.maximum(alpha, 1e-6)
    return Ground(_dim(rgb, alpha), alpha[..., 0], bounds_m)


def _dim(rgb: Float32, alpha: Float32) -> Image:
    """Mostly grey and evenly dark, so that the road is seen and yet never competes with the boxes on it."""
    ground = np.array(palette.BACKGROUND, np.float32)
    grey = rgb.mean(axis=-1, keepdims=True)
    seen = grey[alpha > 0.3]
    gain = np.clip(ROAD_TONE / max(float(np.median(seen)), 1.0), 0.2, 0.8) if seen.size else 1.0
    mixed = (grey + 0.4 * (rgb - grey)) * gain + ground * 0.5
    return np.asarray(np.clip(mixed * alpha + ground * (1 - alpha), 0, 130), np.uint8)


def _from_camera(
    scene: Scene, images: Images, agent: str, bounds_m: Bounds, size: tuple[int, int]
) -> tuple[Float32, Float32]:
    """Mean picture [H, W, 3] of one camera over the recording, and how well each place was seen [H, W, 1], 0..1."""
    total, weight = np.zeros((size[1], size[0], 3), np.float32), np.zeros((size[1], size[0], 1), np.float32)
    best = np.zeros_like(weight)
    camera = scene.cameras[agent]
    sharpness: Float32 | None = None
    picks = sorted({round(k) for k in np.linspace(0, len(scene.frames) - 1, SAMPLES)})
    for frame in (scene.frames[k] for k in picks):
        stamp = frame.image_stamps_ns.get(agent)
        image = None if stamp is None else decode(images(agent, stamp), camera.width, camera.width // 2)
        if image is None or stamp is None:
            continue
        T = scene.T_camera_from_world(agent, stamp)
        if sharpness is None or camera.T_world_from_lidar is None:
            sharpness = _sharpness(camera, T, bounds_m, size)
        picture, inside, free = _project(image, frame, camera, T, bounds_m, size, (stamp - frame.stamp_ns) * 1e-9)
        inside *= sharpness
        total += picture * inside * free
        weight += inside * free
        np.maximum(best, inside, out=best)
    mean: Float32 = (total / np.maximum(weight, 1e-6)).astype(np.float32)
    return mean, np.minimum(best * 2, 1).astype(np.float32)


def _project(
    image: Image, frame: FrameView, camera: Camera, T: Float, bounds_m: Bounds, size: tuple[int, int], seconds: float
) -> tuple[Float32, Float32, Float32]:
    """One image on the ground [H, W, 3]; weights [H, W, 1] of being inside the image and of being free of objects."""
    K = camera.K.copy()
    K[:2] *= [[image.shape[1] / camera.width], [image.shape[0] / camera.height]]
    H = K @ T[:3, [0, 1, 3]] @ _world_from_pixel(bounds_m, size)
    masks = np.empty((*image.shape[:2], 2), np.uint8)
    masks[..., 0] = _rim(image.shape[1], image.shape[0])
    free = np.full(image.shape[:2], 255, np.uint8)
    _mark_objects(free, frame, K, T, seconds)
    masks[..., 1] = free
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    picture: Float32 = cv2.warpPerspective(image, H, size, flags=flags).astype(np.float32)
    warped: Float32 = (cv2.warpPerspective(masks, H, size, flags=flags) / 255).astype(np.float32)
    return picture, warped[..., :1], np.maximum(warped[..., 1:], OBJECT_WEIGHT)


def _rim(width: int, height: int) -> Image:
    """[height, width] 0..255, rising from the rim of an image inwards: successive images blend without steps."""
    across = np.minimum(np.arange(1, width + 1), np.arange(width, 0, -1)) / (0.12 * width)
    up = np.arange(height, 0, -1) / (0.06 * height)
    return np.asarray(255 * np.minimum(np.minimum(across, 1)[None], np.minimum(up, 1)[:, None]), np.uint8)


def _world_from_pixel(bounds_m: Bounds, size: tuple[int, int]) -> Float:
    step = (bounds_m[2] - bounds_m[0]) / size[0]
    return np.array([[step, 0, bounds_m[0]], [0, -step, bounds_m[3]], [0, 0, 1]])


def _sharpness(camera: Camera, T: Float, bounds_m: Bounds, size: tuple[int, int]) -> Float32:
    """[H, W, 1] weight 0..1 of every place: behind the camera 0, fading where one image pixel covers much road."""
    A = _world_from_pixel(bounds_m, size)
    x = (A[0, 0] * np.arange(size[0]) + A[0, 2]).astype(np.float32)[None]
    y = (A[1, 1] * np.arange(size[1]) + A[1, 2]).astype(np.float32)[:, None]
    depth = T[2, 0] * x + T[2, 1] * y + T[2, 3]
    position = inverse(T)[:3, 3]
    distance = np.hypot(x - position[0], y - position[1])
    height = max(abs(float(position[2])), 0.5)
    pixel = (distance**2 + height**2) / (height * camera.K[1, 1])
    near = np.clip(2 * (1 - pixel / COARSEST_PIXEL_M), 0, 1) * np.clip(4 * (1 - distance / MAX_DISTANCE_M), 0, 1)
    return np.asarray(np.where(depth > 0.5, near, 0), np.float32)[..., None]


def _mark_objects(free: Image, frame: FrameView, K: Float, T: Float, seconds: float) -> None:
    """Marks (0) the pixels of every known object, so that as far as possible only the road remains."""
    for box in (*frame.truth, *frame.tracks):
        points = corners(box.moved(seconds), box.size_m * 1.15 + 0.15, box.heading_rad)[0] @ T[:3, :3].T + T[:3, 3]
        if np.any(points[:, 2] < 0.3):
            continue
        pixels = points @ K.T
        hull = cv2.convexHull(np.clip(pixels[:, :2] / pixels[:, 2:], -5000, 5000).astype(np.float32))
        cv2.fillConvexPoly(free, hull.astype(np.int32), 0)
