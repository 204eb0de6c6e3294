"""Bird's-eye view of one frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import ArrayLike

from cooptrack_core.geometry.boxes import corners
from cooptrack_core.geometry.transforms import inverse, yaw_of
from cooptrack_core.visualization import palette
from cooptrack_core.visualization.agents import colors_of, draw_agents, draw_feeders
from cooptrack_core.visualization.canvas import Canvas, Float, Image, blank
from cooptrack_core.visualization.ground import Ground
from cooptrack_core.visualization.scene import Box, Camera, Scene

Orientation = Literal["map", "vehicle"]

GRID_M = 10.0
RINGS_M = (20.0, 40.0, 60.0)
VIEW_RANGE_M = 75.0
TRAIL_S = 3.0
ARROW_S = 1.0
LARGEST_SPAN_M = 130.0


@dataclass(frozen=True)
class View:
    """What the panel shows: the world point at its middle, the direction that points up, pixels per metre."""

    center_m: Float  # [2]
    up_rad: float
    px_per_m: float
    width: int
    height: int

    def pixels(self, points_m: ArrayLike) -> Float:
        """[N, 2] pixels of world points [N, 2+]."""
        p = np.asarray(points_m, np.float64)[..., :2] - self.center_m
        c, s = np.cos(self.up_rad), np.sin(self.up_rad)
        up, right = p[..., 0] * c + p[..., 1] * s, p[..., 0] * s - p[..., 1] * c
        return np.stack([self.width / 2 + right * self.px_per_m, self.height / 2 - up * self.px_per_m], axis=-1)


def bounds_of(scene: Scene) -> tuple[float, float, float, float]:
    """x0, y0, x1, y1 in the world around the vehicle's way, the roadside units and nearly all tracks."""
    points = [frame.T_world_from_lidar[:2, 3] for frame in scene.frames]
    points += [p[:2] for agent in scene.roadside if (p := scene.roadside_position(agent)) is not None]
    fixed = np.array(points) if points else np.zeros((1, 2))
    low, high = fixed.min(axis=0), fixed.max(axis=0)
    tracked = [box.center_m[:2] for frame in scene.frames for box in (frame.tracks or frame.truth)]
    if tracked:
        low = np.minimum(low, np.percentile(tracked, 1.5, axis=0))
        high = np.maximum(high, np.percentile(tracked, 98.5, axis=0))
    grow = np.maximum(50.0 - (high - low), 0) / 2 + 7.0
    return float(low[0] - grow[0]), float(low[1] - grow[1]), float(high[0] + grow[0]), float(high[1] + grow[1])


def view_of(scene: Scene, index: int, width: int, height: int, orientation: Orientation = "map") -> View:
    """The view of a frame: the whole scene with map axes (east right), or around the vehicle with its front up.

    A scene too large to be legible as a whole is followed along with the vehicle.
    """
    T = scene.frames[index].T_world_from_lidar if scene.frames else np.eye(4)
    if orientation == "vehicle":
        yaw = yaw_of(T)
        ahead = np.array([np.cos(yaw), np.sin(yaw)]) * 12.0
        return View(T[:2, 3] + ahead, yaw, min(width, height) / 110.0, width, height)
    x0, y0, x1, y1 = bounds_of(scene)
    center = np.array([(x0 + x1) / 2, (y0 + y1) / 2])
    scale = min(width / (x1 - x0), height / (y1 - y0))
    if min(width, height) / scale > LARGEST_SPAN_M:
        return View(T[:2, 3].copy(), np.pi / 2, min(width, height) / LARGEST_SPAN_M, width, height)
    return View(center, np.pi / 2, scale, width, height)


def draw_bev(
    scene: Scene, index: int, size: tuple[int, int], scale: float = 1.0, *, orientation: Orientation = "map",
    ground: Ground | None = None, truth: bool = True,
) -> Image:  # fmt: skip
    """Panel (width, height) of one frame. scale: size of lines and text; ground: road picture behind it."""
    view = view_of(scene, index, *size, orientation)
    image = blank(*size, palette.BACKGROUND)
    canvas = Canvas(image, scale)
    if ground is not None:
        _draw_ground(image, view, ground)
    _draw_grid(canvas, view)
    if not scene.frames:
        canvas.text((size[0] / 2, size[1] / 2), "the recording is empty", palette.MUTED, 18, anchor="center")
        return image
    frame = scene.frames[index]
    _draw_rings(canvas, view, frame.T_world_from_lidar)
    _draw_views(canvas, scene, view, index)
    _draw_trails(canvas, scene, view, index)
    if truth:
        for box in frame.truth:
            canvas.line(_footprint(view, box), palette.TRUTH, 1, 0.75, closed=True)
    draw_agents(canvas, scene, view, index)
    for box in sorted(frame.tracks, key=lambda box: not box.faint):
        _draw_track(canvas, view, box)
    _draw_associations(canvas, scene, view, index)
    named = [box for box in frame.tracks if not box.faint]
    for box in sorted(named, key=lambda box: float(view.pixels(box.center_m)[1])):
        _draw_id(canvas, view, box)
        if scene.crowded:
            draw_feeders(canvas, scene, view, box)
    _draw_compass(canvas, view)
    return image


def _footprint(view: View, box: Box, grow_m: float = 0.0) -> Float:
    return view.pixels(corners(box.center_m, box.size_m + 2 * grow_m, box.heading_rad)[0, :4])


def _draw_ground(image: Image, view: View, ground: Ground) -> None:
    x0, y0, x1, y1 = ground.bounds_m
    height, width = ground.alpha.shape
    source = np.array([[0, 0], [width, 0], [0, height]], np.float32)
    target = view.pixels([[x0, y1], [x1, y1], [x0, y0]]).astype(np.float32)
    M = cv2.getAffineTransform(source, target)
    size, method, border = (view.width, view.height), cv2.INTER_LINEAR, cv2.BORDER_CONSTANT
    cv2.warpAffine(ground.rgb, M, size, image, method, border, palette.BACKGROUND)


def _draw_grid(canvas: Canvas, view: View) -> None:
    reach = np.hypot(view.width, view.height) / view.px_per_m / 2
    low, high = np.floor((view.center_m - reach) / GRID_M), np.ceil((view.center_m + reach) / GRID_M)
    for axis in (0, 1):
        for k in np.arange(low[axis], high[axis] + 1):
            ends = np.empty((2, 2))
            ends[:, axis], ends[:, 1 - axis] = k * GRID_M, [low[1 - axis] * GRID_M, high[1 - axis] * GRID_M]
            canvas.line(view.pixels(ends), palette.LINE, 1, 0.55)


def _draw_rings(canvas: Canvas, view: View, T: Float) -> None:
    angle = np.linspace(0, 2 * np.pi, 181)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    for radius in RINGS_M:
        points = view.pixels(T[:2, 3] + radius * circle)
        canvas.line(points, palette.EGO, 1, 0.28)
        top = points[points[:, 1].argmin()]
        color = palette.mix(palette.EGO, palette.BACKGROUND, 0.35)
        canvas.text((top[0], top[1] - 4), f"{radius:.0f} m", color, 11, anchor="center")


def ground_view(camera: Camera, T_camera_from_world: Float, range_m: float = VIEW_RANGE_M) -> Float:
    """[N, 2] outline on the ground of what the camera sees, cut at a range."""
    w, h, n = camera.width, camera.height, 12
    side = np.linspace(0, 1, n)
    rim = np.concatenate(
        [
            np.stack([np.zeros(n), h * (1 - side)], -1),
            np.stack([w * side, np.zeros(n)], -1),
            np.stack([np.full(n, w), h * side], -1),
            np.stack([w * (1 - side), np.full(n, h)], -1),
        ]
    )
    T = inverse(T_camera_from_world)
    rays = np.concatenate([rim, np.ones((len(rim), 1))], -1) @ np.linalg.inv(camera.K).T @ T[:3, :3].T
    origin = T[:3, 3]
    down = np.minimum(rays[:, 2], -1e-9)
    reach = np.minimum(-origin[2] / down * np.hypot(rays[:, 0], rays[:, 1]), range_m)
    direction = rays[:, :2] / np.maximum(np.hypot(rays[:, 0], rays[:, 1]), 1e-9)[:, None]
    return np.asarray(origin[:2] + direction * reach[:, None])


def _draw_views(canvas: Canvas, scene: Scene, view: View, index: int) -> None:
    frame = scene.frames[index]
    for agent, camera in scene.cameras.items():
        if camera.T_world_from_lidar is not None or agent == scene.vehicle or agent in scene.ways:
            T = scene.T_camera_from_world(agent, frame.image_stamps_ns.get(agent, frame.stamp_ns))
            outline = view.pixels(ground_view(camera, T))
            color = colors_of(scene).get(agent, palette.REMOTE)
            canvas.fill(outline, color, 0.07)
            canvas.line(outline, color, 1.2, 0.55, closed=True)


def _draw_trails(canvas: Canvas, scene: Scene, view: View, index: int) -> None:
    now = scene.frames[index].stamp_ns
    live = {box.id for box in scene.frames[index].tracks if not box.faint}
    trails: dict[int, list[Float]] = {}
    for frame in scene.frames[: index + 1]:
        if now - frame.stamp_ns <= TRAIL_S * 1e9:
            for box in frame.tracks:
                if box.id in live:
                    trails.setdefault(box.id, []).append(box.center_m)
    for track_id, centers in trails.items():
        points = view.pixels(centers)
        step = max(1, len(points) // 6)
        for k in range(0, len(points) - 1, step):
            canvas.line(points[k : k + step + 1], palette.track_color(track_id), 2, 0.15 + 0.55 * k / len(points))


def _draw_track(canvas: Canvas, view: View, box: Box) -> None:
    color = palette.track_color(box.id)
    # A pedestrian is a few pixels wide; drawn a little larger it can still be told from a dot.
    smallest = 0.35 if box.size_m[0] < 1.2 else 0.0
    outline = _footprint(view, box, smallest)
    if box.faint:
        canvas.line(outline, color, 1, 0.5, closed=True)
        return
    predicted = box.seen == "predicted"
    if box.only_remote:
        canvas.line(_footprint(view, box, smallest + 0.55), palette.REMOTE, 2, 0.9, closed=True)
        canvas.fill(_footprint(view, box, smallest + 0.55), palette.REMOTE, 0.16)
    canvas.fill(outline, color, 0.12 if predicted else 0.5)
    if predicted or box.seen == "remote":
        canvas.dashed(outline, color, 2, dash=4, closed=True)
    else:
        canvas.line(outline, color, 2, closed=True)
    if not predicted:
        a, b, c, d = outline  # front left, front right, rear right, rear left
        canvas.fill(np.stack([(a + b) / 2, (a * 2 + d) / 3, (b * 2 + c) / 3]), color)
    if np.hypot(*box.velocity_mps) > 0.4:
        front = view.pixels(box.center_m)
        tip = view.pixels(box.center_m[:2] + box.velocity_mps * ARROW_S)
        canvas.arrow(front, tip, palette.mix(color, palette.TEXT, 0.35), 1.6)


def _draw_id(canvas: Canvas, view: View, box: Box) -> None:
    at = view.pixels(box.center_m)
    if not (0 <= at[0] < view.width and 0 <= at[1] < view.height):
        return
    color = palette.track_color(box.id)
    extent = float(max(box.size_m[:2])) * view.px_per_m / 2 / canvas.scale
    if box.only_remote:
        ground = palette.mix(palette.REMOTE, palette.BACKGROUND, 0.75)
        canvas.label(at, str(box.id), color, ground, size=13, border=palette.REMOTE, gap=min(extent, 16) + 6)
    else:
        canvas.label(at, str(box.id), color, palette.BACKGROUND, size=13, gap=min(extent, 16) + 4)


def _draw_associations(canvas: Canvas, scene: Scene, view: View, index: int) -> None:
    frame = scene.frames[index]
    for ego, remote, _, _ in frame.pairs:
        a, b = view.pixels(ego), view.pixels(remote)
        canvas.line([a, b], palette.PAIR, 2.4)
        canvas.circle(a, 3.2, palette.EGO)
        canvas.circle(b, 3.2, palette.REMOTE)
    for center, _ in frame.unmatched_ego:
        draw_marker(canvas, view.pixels(center), "ego")
    for center, _ in frame.unmatched_remote:
        draw_marker(canvas, view.pixels(center), "remote")


def draw_marker(canvas: Canvas, at: Float, side: Literal["ego", "remote"]) -> None:
    """Unmatched instance: blue square of the vehicle, green diamond of the roadside."""
    r = 4.6 * canvas.scale
    if side == "ego":
        shape, color = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * r * 0.85, palette.EGO
    else:
        shape, color = np.array([[0, -1], [1, 0], [0, 1], [-1, 0]]) * r * 1.25, palette.REMOTE
    canvas.fill(at + shape, color)
    canvas.line(at + shape, palette.BACKGROUND, 1, closed=True)


def _draw_compass(canvas: Canvas, view: View) -> None:
    s = canvas.scale
    at = np.array([view.width - 34 * s, 40 * s])
    north = view.pixels(view.center_m + np.array([0, 1.0])) - view.pixels(view.center_m)
    north = north / np.hypot(*north) * 18 * s
    canvas.circle(at, 23, palette.PANEL, alpha=0.75)
    canvas.arrow(at - north * 0.7, at + north * 0.7, palette.TEXT, 1.6, head=8)
    canvas.text(at + north * 1.75 + np.array([0, 4 * s]), "y", palette.MUTED, 11, anchor="center")
    bar = 10 * view.px_per_m
    x, y = view.width - 20 * s - bar, view.height - 20 * s
    canvas.line([[x, y - 5 * s], [x, y], [x + bar, y], [x + bar, y - 5 * s]], palette.TEXT, 1.5)
    canvas.text((x + bar / 2, y - 7 * s), "10 m", palette.TEXT, 11, anchor="center")
