"""Tracked 3D boxes drawn into the camera images."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from cooptrack_core.geometry.boxes import corners
from cooptrack_core.visualization import palette
from cooptrack_core.visualization.canvas import Canvas, Float, Image, Rect, blank, decode, fit
from cooptrack_core.visualization.scene import Box, Camera, FrameView, Images, Scene

NEAR_M = 0.5
EDGES = ((0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7))
FRONT = (0, 1, 5, 4)
FACES = (FRONT, (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7), (4, 5, 6, 7))


@dataclass(frozen=True)
class Outline:
    """A box in the image. segments [S, 2, 2]: visible parts of its edges in pixels; corners [8, 2] or None if cut."""

    box: Box
    segments: Float
    corners_px: Float | None
    anchor_px: Float  # [2] top of the box, where its label belongs
    distance_m: float


def project_points(K: Float, points_camera_m: Float) -> Float:
    """[..., 2] pixels of points [..., 3] in front of the camera."""
    p = points_camera_m @ K.T
    return np.asarray(p[..., :2] / p[..., 2:])


def project_box(camera: Camera, T_camera_from_world: Float, box: Box, seconds: float = 0.0) -> Outline | None:
    """The box as this camera sees it, `seconds` after its frame; None where nothing of it is in the image."""
    points = corners(box.moved(seconds), box.size_m, box.heading_rad)[0]
    points = points @ T_camera_from_world[:3, :3].T + T_camera_from_world[:3, 3]
    segments = []
    for a, b in EDGES:
        part = _clip_near(points[a], points[b])
        if part is not None:
            inside = _clip_image(project_points(camera.K, part), camera.width, camera.height)
            if inside is not None:
                segments.append(inside)
    if not segments:
        return None
    whole = bool(np.all(points[:, 2] > NEAR_M))
    pixels = np.array(segments)
    flat = pixels.reshape(-1, 2)
    top = project_points(camera.K, points[4:].mean(axis=0)) if whole else flat[flat[:, 1].argmin()]
    anchor = np.clip(top, [0, 0], [camera.width, camera.height])
    distance = float(np.linalg.norm(points.mean(axis=0)))
    return Outline(box, pixels, project_points(camera.K, points) if whole else None, anchor, distance)


def _clip_near(a: Float, b: Float) -> Float | None:
    """[2, 3] part of the segment in front of the near plane."""
    if a[2] < NEAR_M and b[2] < NEAR_M:
        return None
    if a[2] < NEAR_M:
        a = b + (a - b) * (b[2] - NEAR_M) / (b[2] - a[2])
    elif b[2] < NEAR_M:
        b = a + (b - a) * (a[2] - NEAR_M) / (a[2] - b[2])
    return np.array([a, b])


def _clip_image(segment: Float, width: float, height: float) -> Float | None:
    """[2, 2] part of the segment inside the image (Liang-Barsky)."""
    a, d = segment[0], segment[1] - segment[0]
    low, high = 0.0, 1.0
    for axis, size in ((0, width), (1, height)):
        for sign, bound in ((-1.0, 0.0), (1.0, size)):
            slope, room = sign * d[axis], sign * (bound - a[axis])
            if abs(slope) < 1e-12:
                if room < 0:
                    return None
            elif slope < 0:
                low = max(low, room / slope)
            else:
                high = min(high, room / slope)
    return None if low >= high else np.array([a + d * low, a + d * high])


def seen_by_camera(box: Box, scene: Scene, agent: str) -> bool:
    """Whether the agent of this camera measured the object in this frame."""
    if agent != scene.vehicle and scene.crowded:
        return agent in (box.source.get("agents") or ())
    return box.seen in ("both", "ego" if agent == scene.vehicle else "remote")


def draw_camera(
    scene: Scene, frame: FrameView, agent: str, images: Images, size: tuple[int, int], scale: float, *,
    truth: bool = False,
) -> Image:  # fmt: skip
    """Panel (width, height) with an agent's image and the boxes of all tracks.

    Solid boxes: the agent of this camera measured the object in this frame. Dashed boxes: it did not; only the
    other side did, or the track is predicted. A missing image leaves a neutral panel that says so.
    """
    stamp = frame.image_stamps_ns.get(agent)
    camera = scene.cameras.get(agent)
    # A panel slightly wider than half an image takes the half one: the eye sees no difference.
    data = None if stamp is None else images(agent, stamp)
    picture = decode(data, camera.width if camera else 0, round(0.9 * size[0]))
    name = f"{agent} camera"
    if picture is None:
        panel = blank(*size, palette.PANEL)
        canvas = Canvas(panel, scale)
        caption = _caption(canvas, name)
        canvas.text((size[0] / 2, size[1] / 2), "no image in this frame", palette.MUTED, 16, anchor="center")
    else:
        panel, factor, offset = fit(picture, *size, palette.PANEL)
        canvas = Canvas(panel, scale)
        name += "" if stamp is None else f"  {(stamp - frame.stamp_ns) * 1e-6:+.0f} ms"
        caption = _caption(canvas, name)
        canvas.labels.append(caption)  # ids keep clear of it
        if camera is not None and stamp is not None:
            factor *= picture.shape[1] / camera.width
            _draw_boxes(canvas, scene, frame, agent, stamp, factor, np.asarray(offset), truth)
    canvas.panel(caption, palette.PANEL, 0.8)
    canvas.text((18 * scale, 24.5 * scale), name, palette.TEXT, 13, 600)
    return panel


def _caption(canvas: Canvas, name: str) -> Rect:
    s = canvas.scale
    return 8 * s, 8 * s, canvas.text_width(name, 13, 600) + 20 * s, 24 * s


def _draw_boxes(
    canvas: Canvas, scene: Scene, frame: FrameView, agent: str, stamp: int, factor: float, offset: Float, truth: bool
) -> None:
    camera, T = scene.cameras[agent], scene.T_camera_from_world(agent, stamp)
    seconds = (stamp - frame.stamp_ns) * 1e-9
    if truth:
        for box in frame.truth:
            outline = project_box(camera, T, box, seconds)
            for segment in () if outline is None else outline.segments:
                canvas.line(segment * factor + offset, palette.TRUTH, 1, 0.6)
    outlines = [o for box in frame.tracks if (o := project_box(camera, T, box, seconds)) is not None]
    outlines.sort(key=lambda outline: (not outline.box.faint, -outline.distance_m))
    for outline in outlines:
        _draw_outline(canvas, outline, seen_by_camera(outline.box, scene, agent), factor, offset)
    for outline in reversed(outlines):  # the nearest first: they get the best places
        if outline.box.faint:
            continue
        seen = seen_by_camera(outline.box, scene, agent)
        color = palette.track_color(outline.box.id)
        hidden = outline.box.only_remote and agent == scene.vehicle
        ground = palette.mix(palette.REMOTE, palette.BACKGROUND, 0.72) if hidden else palette.BACKGROUND
        border = palette.REMOTE if hidden else None
        text = f"{outline.box.id}" if seen else f"({outline.box.id})"
        size = 14 if outline.distance_m < 35 else 11
        canvas.label(outline.anchor_px * factor + offset, text, color, ground, size=size, border=border, gap=7)


def _draw_outline(canvas: Canvas, outline: Outline, seen: bool, factor: float, offset: Float) -> None:
    color = palette.track_color(outline.box.id)
    if outline.box.faint:
        for segment in outline.segments * factor + offset:
            canvas.line(segment, color, 1, 0.45)
        return
    if outline.corners_px is not None:
        pixels = outline.corners_px * factor + offset
        hull = cv2.convexHull(pixels.astype(np.float32))[:, 0]
        canvas.fill(hull, color, 0.16 if seen else 0.07)
        canvas.fill(pixels[list(FRONT)], color, 0.28 if seen else 0.10)
    width = 2.0 if outline.distance_m < 30 else 1.4
    for segment in outline.segments * factor + offset:
        if seen:
            canvas.line(segment, color, width)
        else:
            canvas.dashed(segment, palette.mix(color, palette.BACKGROUND, 0.12), 1.4, dash=4)
