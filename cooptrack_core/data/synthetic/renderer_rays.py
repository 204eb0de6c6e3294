"""Ray caster on embreex, for machines without EGL and for visibility without pictures.

Plainer than the OpenGL renderer, the same geometry: one ray through every pixel centre for the instance
ids, colours of the materials, a sun with hard shadows, sky and haze.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from numpy.typing import NDArray

from cooptrack_core.data.synthetic.light import daylight
from cooptrack_core.data.synthetic.ray_shading import shade
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
        self._light = daylight(scene.options.seed * 1000 + scene.number)
        self._still = _Traced([scene.surroundings.triangles_m])
        self._still_vertices = scene.surroundings.vertices
        self._alone: dict[tuple[str, int], _Traced] = {}

    def look(self, view: View, placements: list[Placement], time_s: float) -> Picture:
        """See Renderer."""
        sampled = view if self._shaded else coarser(view, UNSHADED_WIDTH_PX)
        weight = view.width_px * view.height_px / (sampled.width_px * sampled.height_px)
        origin, directions = pixel_rays(sampled)
        moving = [_moved(p) for p in placements]
        users = _Traced(moving)
        near, far = users.trace(origin, directions), self._still.trace(origin, directions)
        first = near.distance < far.distance
        owner = np.repeat([p.index + 1 for p in placements], [len(m) for m in moving])
        ids = np.zeros(len(directions), np.int32)
        ids[first] = owner[near.triangle[first]] if len(owner) else 0
        rgb = None
        if self._shaded:
            vertices = np.concatenate([_vertices(p) for p in placements] + [self._still_vertices])
            triangle = np.where(first, near.triangle, far.triangle + len(owner))
            triangle[(near.triangle < 0) & (far.triangle < 0)] = -1
            distance = np.minimum(near.distance, far.distance)
            lit = self._sunlit(users, origin, directions, distance, triangle >= 0)
            flat = shade(vertices, triangle, origin, directions, distance, lit, self._light)
            rgb = flat.reshape(sampled.height_px, sampled.width_px, 3)
        image = ids.reshape(sampled.height_px, sampled.width_px)
        alone = {p.index: n for p in placements if not p.is_fixture and (n := self._count_alone(sampled, p, weight))}
        return Picture(rgb, image, count_ids(image, weight), alone)

    def _sunlit(
        self, users: _Traced, origin: Float, directions: Rays, distance: Rays, hit: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """[N] whether the sun reaches the points that the rays hit."""
        lit = np.zeros(len(directions), bool)
        points = (origin + directions[hit] * distance[hit, None] + 0.03 * self._light.sun).astype(np.float32)
        towards = np.broadcast_to(self._light.sun.astype(np.float32), points.shape).copy()
        lit[hit] = ~(users.blocked(points, towards) | self._still.blocked(points, towards))
        return lit

    def _count_alone(self, view: View, placement: Placement, weight: float) -> int:
        """Pixels of a road user if it were alone: rays through its box, in its own axes."""
        if not may_appear(view, placement):
            return 0
        T = view.T_camera_from_scene @ placement.T_scene_from_mesh
        box, _ = silhouette_box(view, placement)
        columns, rows = (
            np.arange(int(box[0]), int(np.ceil(box[2])) + 1),
            np.arange(int(box[1]), int(np.ceil(box[3])) + 1),
        )
        if len(columns) == 0 or len(rows) == 0 or box[2] <= box[0] or box[3] <= box[1]:
            return 0
        key = (placement.kind, placement.phase)
        if key not in self._alone:
            self._alone[key] = _Traced([placement.mesh.triangles_m])
        origin, directions = pixel_rays(replace(view, T_camera_from_scene=T), columns, rows)
        hits = int((self._alone[key].trace(origin, directions).triangle >= 0).sum())
        return max(1, round(hits * weight)) if hits else 0


class _Hits:
    def __init__(self, triangle: NDArray[np.int64], distance: Rays) -> None:
        self.triangle, self.distance = triangle, distance


class _Traced:
    """A set of triangles that rays can be cast at; indices count through the list of meshes."""

    def __init__(self, meshes: list[NDArray[np.float32]]) -> None:
        self._scene = EmbreeScene()
        soup = np.concatenate(meshes) if meshes else np.zeros((0, 3, 3), np.float32)
        self._empty = len(soup) == 0
        if not self._empty:
            TriangleMesh(self._scene, np.ascontiguousarray(soup, np.float32))

    def trace(self, origin: Float, directions: Rays) -> _Hits:
        """First hit of each ray: triangle (-1 none) and distance (inf none)."""
        n = len(directions)
        if self._empty or n == 0:
            return _Hits(np.full(n, -1, np.int64), np.full(n, np.inf, np.float32))
        starts = np.broadcast_to(origin.astype(np.float32), (n, 3)).copy()
        found = self._scene.run(starts, directions, output=True)
        triangle = found["primID"].astype(np.int64)
        return _Hits(triangle, np.where(triangle >= 0, found["tfar"], np.inf).astype(np.float32))

    def blocked(self, starts: Rays, directions: Rays) -> NDArray[np.bool_]:
        """Whether anything lies on each ray."""
        if self._empty or len(starts) == 0:
            return np.zeros(len(starts), bool)
        return np.asarray(self._scene.run(starts, directions, query="OCCLUDED") >= 0)


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


def pixel_rays(
    view: View, columns: NDArray[np.int64] | None = None, rows: NDArray[np.int64] | None = None
) -> tuple[Float, Rays]:
    """Optical centre [3] and unit directions [N, 3] through pixel centres, row by row."""
    u = np.arange(view.width_px) if columns is None else columns
    v = np.arange(view.height_px) if rows is None else rows
    grid = np.stack([*np.meshgrid(u, v), np.ones((len(v), len(u)))], axis=2).reshape(-1, 3)
    M = np.linalg.inv(view.T_camera_from_scene[:3, :3]) @ np.linalg.inv(view.K)
    d = grid @ M.T
    d /= np.linalg.norm(d, axis=1, keepdims=True)
    return view.centre_m, np.ascontiguousarray(d, np.float32)


def _moved(placement: Placement) -> NDArray[np.float32]:
    T = placement.T_scene_from_mesh
    return (placement.mesh.triangles_m @ T[:3, :3].T + T[:3, 3]).astype(np.float32)


def _vertices(placement: Placement) -> NDArray[np.float32]:
    """Vertices of a placed mesh with its paint applied, for shading."""
    v = placement.mesh.vertices.copy()
    T = placement.T_scene_from_mesh
    v[:, :3] = v[:, :3] @ T[:3, :3].T + T[:3, 3]
    n = v[:, 3:6] @ np.linalg.inv(T[:3, :3])
    v[:, 3:6] = n / np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-9)
    painted = np.isin(v[:, 11], (1, 11, 15))
    v[painted, 6:9] *= np.asarray(placement.paint, np.float32)
    return v


__all__ = ["RayRenderer", "coarser", "pixel_rays"]
