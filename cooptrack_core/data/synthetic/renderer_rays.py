"""Ray caster on embreex, for machines without EGL and for visibility without pictures.

Plainer than the OpenGL renderer, the same geometry: one ray through every pixel centre for the instance
ids, colours of the materials, a sun with hard shadows, sky and haze.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.data.synthetic.ray_shading import shade
from cooptrack_core.data.synthetic.ray_tracing import Bodies, Target, in_scene
from cooptrack_core.data.synthetic.renderers import Picture, count_ids
from cooptrack_core.data.synthetic.scene import Placement, Scene
from cooptrack_core.data.synthetic.sensors import View
from cooptrack_core.data.synthetic.visibility import may_appear, silhouette_box

Float = NDArray[np.float64]
Rays = NDArray[np.float32]

UNSHADED_WIDTH_PX = 640  # visibility without pictures is sampled no finer than this


class RayRenderer:
    """Draws one sequence by casting rays; shaded=False gives ids and counts only."""

    def __init__(self, scene: Scene, *, shaded: bool) -> None:
        self.name = "rays" if shaded else "none"
        self._shaded = shaded
        self._light = scene.light
        self._still = Target([scene.surroundings.triangles_m])
        self._still_vertices = scene.surroundings.vertices
        self._bodies = Bodies()

    def look(self, view: View, placements: list[Placement], time_s: float) -> Picture:
        """See Renderer."""
        sampled = view if self._shaded else coarser(view, UNSHADED_WIDTH_PX)
        weight = view.width_px * view.height_px / (sampled.width_px * sampled.height_px)
        origin, directions = pixel_rays(sampled)
        present = [p for p in placements if may_appear(sampled, p)]
        windows = [_window(sampled, p) for p in present]
        asked = np.ones(len(directions), bool)
        if not self._shaded:  # only what may hide a road user matters
            asked = np.zeros(len(directions), bool)
            for window in windows:
                asked[window] = True
        distance, triangle = np.full(len(directions), np.inf, np.float32), np.full(len(directions), -1, np.int64)
        still = self._still.trace(origin, directions[asked])
        distance[asked], triangle[asked] = still.distance, still.triangle
        ids, alone, first = np.zeros(len(directions), np.int32), {}, len(self._still_vertices) // 3
        for placement, window in zip(present, windows, strict=True):
            hits = self._bodies.trace(placement, origin, directions[window])
            count = int((hits.triangle >= 0).sum())
            if count and not placement.is_fixture:
                alone[placement.index] = max(1, round(count * weight))
            nearer = hits.distance < distance[window]
            at = window[nearer]
            distance[at], ids[at], triangle[at] = (
                hits.distance[nearer],
                placement.index + 1,
                first + hits.triangle[nearer],
            )
            first += len(placement.mesh.vertices) // 3
        rgb = self._colours(placements, present, origin, directions, triangle, distance) if self._shaded else None
        shape = (sampled.height_px, sampled.width_px)
        return Picture(
            None if rgb is None else rgb.reshape(*shape, 3), ids.reshape(shape), count_ids(ids, weight), alone
        )

    def _colours(
        self,
        placements: list[Placement],
        present: list[Placement],
        origin: Float,
        directions: Rays,
        triangle: NDArray[np.int64],
        distance: Rays,
    ) -> NDArray[np.uint8]:
        """[N, 3] sRGB of the rays; what is not in the picture still casts its shadow."""
        vertices = np.concatenate([self._still_vertices] + [_vertices(p) for p in present])
        casting = Target([in_scene(p) for p in placements if not p.is_fixture])
        hit = triangle >= 0
        sun = self._light.sun
        points = (origin + directions[hit] * distance[hit, None] + 0.03 * sun).astype(np.float32)
        towards = np.broadcast_to(sun.astype(np.float32), points.shape).copy()
        lit = np.zeros(len(directions), bool)
        lit[hit] = ~(casting.blocked(points, towards) | self._still.blocked(points, towards))
        return shade(vertices, triangle, origin, directions, distance, lit, self._light)


def _window(view: View, placement: Placement) -> NDArray[np.int64]:
    """Indices of the pixels, row by row, in the box of a placement."""
    box, _ = silhouette_box(view, placement)
    columns = np.arange(max(0, int(box[0])), min(view.width_px, int(np.ceil(box[2])) + 1))
    rows = np.arange(max(0, int(box[1])), min(view.height_px, int(np.ceil(box[3])) + 1))
    return (rows[:, None] * view.width_px + columns[None]).reshape(-1)


def coarser(view: View, width_px: int) -> View:
    """The view with at most this many pixels across, the same field of view."""
    factor = width_px / view.width_px
    if factor >= 1:
        return view
    height_px = max(1, round(view.height_px * factor))
    sx, sy = width_px / view.width_px, height_px / view.height_px
    K = view.K.copy()
    K[0] *= sx
    K[1] *= sy
    K[0, 2] += 0.5 * sx - 0.5
    K[1, 2] += 0.5 * sy - 0.5
    return replace(view, K=K, width_px=width_px, height_px=height_px)


def pixel_rays(view: View) -> tuple[Float, Rays]:
    """Optical centre [3] and unit directions [N, 3] through pixel centres, row by row."""
    u, v = np.arange(view.width_px), np.arange(view.height_px)
    grid = np.stack([*np.meshgrid(u, v), np.ones((len(v), len(u)))], axis=2).reshape(-1, 3)
    M = np.linalg.inv(view.T_camera_from_scene[:3, :3]) @ np.linalg.inv(view.K)
    d = grid @ M.T
    d /= np.linalg.norm(d, axis=1, keepdims=True)
    return view.centre_m, np.ascontiguousarray(d, np.float32)


def _vertices(placement: Placement) -> NDArray[np.float32]:
    """Vertices of a placed mesh with its paint applied, for shading."""
    v = placement.mesh.vertices.copy()
    T = placement.T_scene_from_mesh
    v[:, :3] = v[:, :3] @ T[:3, :3].T + T[:3, 3]
    n = v[:, 3:6] @ np.linalg.inv(T[:3, :3])
    v[:, 3:6] = n / np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-9)
    painted = np.isin(v[:, 11], (1, 11, 15))
    v[painted, 6:9] *= np.asarray(placement.paint, np.float32)
    return np.asarray(v, np.float32)


__all__ = ["RayRenderer", "coarser", "pixel_rays"]
