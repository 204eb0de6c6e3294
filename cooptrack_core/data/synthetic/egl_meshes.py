"""Shader programs and meshes on the graphics side, and the matrices that they are drawn with."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import moderngl
import numpy as np
from numpy.typing import NDArray

from cooptrack_core.data.synthetic import shaders
from cooptrack_core.data.synthetic.mesh import COLUMNS, Mesh
from cooptrack_core.data.synthetic.sensors import View
from cooptrack_core.data.synthetic.surface_shaders import GROUP_COUNT, PLAIN_GROUP, fragment, group_of_material

Float = NDArray[np.float64]

_NEAR_M, _FAR_M = 0.8, 1200.0
_LAYOUT = "3f 3f 3f 2f 2f"
_NAMES = ("in_position", "in_normal", "in_colour", "in_uv", "in_kind")


class Programs:
    """All shader programs of a context."""

    def __init__(self, context: Any) -> None:
        self.context = context
        self.surfaces = [
            context.program(vertex_shader=shaders.VERTEX, fragment_shader=fragment(g)) for g in range(GROUP_COUNT)
        ]
        self.depth = context.program(vertex_shader=shaders.DEPTH_VERTEX, fragment_shader=shaders.DEPTH_FRAGMENT)
        self.identity = context.program(vertex_shader=shaders.DEPTH_VERTEX, fragment_shader=shaders.ID_FRAGMENT)
        self.sky = context.program(vertex_shader=shaders.SKY_VERTEX, fragment_shader=shaders.SKY_FRAGMENT)
        self.contact = context.program(vertex_shader=shaders.CONTACT_VERTEX, fragment_shader=shaders.CONTACT_FRAGMENT)


class Drawable:
    """A mesh on the graphics side: ranges of vertices by surface program and, if large, by place."""

    def __init__(self, programs: Programs, mesh: Mesh, cell_m: float = 0.0) -> None:
        groups = group_of_material()
        material = np.rint(mesh.vertices[::3, 11]).astype(np.int64)
        group = np.array([groups.get(m, PLAIN_GROUP) for m in range(64)])[material]
        cell = np.zeros(len(group), np.int64)
        if cell_m:
            at = np.floor(mesh.triangles_m.mean(axis=1)[:, :2] / cell_m).astype(np.int64)
            cell = (at[:, 0] + 500) * 1000 + at[:, 1] + 500
        order = np.lexsort((cell, group))
        vertices = mesh.vertices.reshape(-1, 3, COLUMNS)[order].reshape(-1, COLUMNS)
        key = (group * 1_000_000 + cell)[order]
        edges = [0, *(np.flatnonzero(np.diff(key)) + 1).tolist(), len(key)]
        self.ranges = [
            _Range(int(group[order[a]]), 3 * a, 3 * (b - a), _corners(vertices[3 * a : 3 * b, :3]) if cell_m else None)
            for a, b in pairwise(edges)
        ]
        boxes = [r.corners for r in self.ranges if r.corners is not None]
        self._corners = np.stack(boxes) if boxes else None
        self._groups = np.array([r.group for r in self.ranges])
        buffer = programs.context.buffer(np.ascontiguousarray(vertices).tobytes())
        self.shaded = {
            g: programs.context.vertex_array(programs.surfaces[g], [(buffer, _LAYOUT, *_NAMES)], skip_errors=True)
            for g in sorted({r.group for r in self.ranges})
        }
        plain = [(buffer, f"3f {4 * (COLUMNS - 3)}x", "in_position")]
        self.depth = programs.context.vertex_array(programs.depth, plain)
        self.identity = programs.context.vertex_array(programs.identity, plain)

    def render(self, vao: Any) -> None:
        """Draws everything with one program."""
        vao.render(moderngl.TRIANGLES)

    def render_visible(self, kind: str, clip_from_scene: Float) -> None:
        """Draws the ranges that reach into the view: shaded, depth or identity."""
        for group, first, count in self._in_view(clip_from_scene, by_group=kind == "shaded"):
            vao = self.shaded[group] if kind == "shaded" else getattr(self, kind)
            vao.render(moderngl.TRIANGLES, vertices=count, first=first)

    def _in_view(self, clip: Float, *, by_group: bool) -> list[tuple[int, int, int]]:
        """(group, first, count) of the vertices whose ranges reach into the view; neighbours are joined."""
        c = self._corners @ clip[:, :3].T + clip[:, 3] if self._corners is not None else np.zeros((0, 8, 4))
        w = c[..., 3:]
        outside = np.any((c[..., :2] < -w).all(axis=1) | (c[..., :2] > w).all(axis=1), axis=1)
        outside |= (w <= 0).all(axis=(1, 2))
        kept = np.flatnonzero(~outside) if self._corners is not None else np.arange(len(self.ranges))
        if not len(kept):
            return []
        apart = np.diff(kept) > 1
        if by_group:
            apart |= np.diff(self._groups[kept]) != 0
        starts = np.concatenate([[0], np.flatnonzero(apart) + 1])
        ends = np.concatenate([starts[1:], [len(kept)]]) - 1
        joined = []
        for a, b in zip(kept[starts].tolist(), kept[ends].tolist(), strict=True):
            first, last = self.ranges[a], self.ranges[b]
            joined.append((first.group, first.first, last.first + last.count - first.first))
        return joined

    def render_group(self, group: int) -> None:
        """Draws what belongs to one surface program."""
        for item in self.ranges:
            if item.group == group:
                self.shaded[group].render(moderngl.TRIANGLES, vertices=item.count, first=item.first)


@dataclass(frozen=True)
class _Range:
    group: int
    first: int
    count: int
    corners: Float | None  # [8, 3] of its bounding box


def _corners(points: NDArray[np.float32]) -> Float:
    low, high = points.min(axis=0), points.max(axis=0)
    return np.array(
        [[x, y, z] for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])], np.float64
    )


def clip_matrix(view: View) -> Float:
    """[4, 4] clip coordinates from scene points; image row 0 at clip y = -1."""
    K, w, h = view.K, view.width_px, view.height_px
    depth = (_FAR_M + _NEAR_M) / (_FAR_M - _NEAR_M)
    P = np.array([
        [2 * K[0, 0] / w, 2 * K[0, 1] / w, (2 * K[0, 2] + 1) / w - 1, 0],
        [0, 2 * K[1, 1] / h, (2 * K[1, 2] + 1) / h - 1, 0],
        [0, 0, depth, -2 * _FAR_M * _NEAR_M / (_FAR_M - _NEAR_M)],
        [0, 0, 1, 0],
    ])  # fmt: skip
    return np.asarray(P @ view.T_camera_from_scene)


def direction_matrix(view: View) -> Float:
    """[4, 4] viewing direction in the scene from (ndc x, ndc y, 1, 1)."""
    K, w, h = view.K, view.width_px, view.height_px
    pixel_from_ndc = np.array([[w / 2, 0, w / 2 - 0.5], [0, h / 2, h / 2 - 0.5], [0, 0, 1.0]])
    M = np.eye(4)
    M[:3, :3] = np.linalg.inv(view.T_camera_from_scene[:3, :3]) @ np.linalg.inv(K) @ pixel_from_ndc
    return M


def sun_matrix(sun: Float, half_m: float) -> Float:
    """Orthographic clip matrix of the sun over the square of this half extent around the centre."""
    right = np.cross([0.0, 0.0, 1.0], sun)
    right /= np.linalg.norm(right)
    R = np.stack([right, np.cross(sun, right), -sun])
    M = np.eye(4)
    M[:2, :3] = R[:2] / half_m
    M[2, :3] = R[2] / 500.0
    return M


def set_uniform(program: Any, name: str, value: Any) -> None:
    """Sets a uniform; one that the compiler removed as unused is no error."""
    if name in program:
        program[name] = value


def set_matrix(program: Any, name: str, M: Float) -> None:
    program[name].write(np.ascontiguousarray(M.T, np.float32).tobytes())


__all__ = ["Drawable", "Programs", "clip_matrix", "direction_matrix", "set_matrix", "set_uniform", "sun_matrix"]
