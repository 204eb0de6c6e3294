"""OpenGL renderer without a screen (EGL; Mesa's llvmpipe on machines without a GPU).

Per look: the sun's shadow map (static part kept, road users added), a depth pass, one shading pass at
more pixels than the image has, then instance ids at pixel centres and, by occlusion queries, each road user's pixels
as if it were alone. Row 0 of every framebuffer is the top row of the image.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import cv2
import moderngl
import numpy as np
from numpy.typing import NDArray

from cooptrack_core.data.synthetic import shaders
from cooptrack_core.data.synthetic.light import daylight, noise_texture
from cooptrack_core.data.synthetic.mesh import COLUMNS, Mesh
from cooptrack_core.data.synthetic.renderers import Picture, count_ids
from cooptrack_core.data.synthetic.scene import Placement, Scene
from cooptrack_core.data.synthetic.sensors import View
from cooptrack_core.data.synthetic.surface_shaders import GROUP_COUNT, PLAIN_GROUP, fragment, group_of_material
from cooptrack_core.data.synthetic.visibility import may_appear, silhouette_box

Float = NDArray[np.float64]

_NEAR_M, _FAR_M = 0.4, 1200.0
_NEAR_SHADOW = (72.0, 3072)  # half extent in m, map size in texels
_FAR_SHADOW = (320.0, 2048)
_LAYOUT = "3f 3f 3f 2f 2f"
_NAMES = ("in_position", "in_normal", "in_colour", "in_uv", "in_kind")


class _Drawable:
    """A mesh on the graphics side: ranges of vertices by surface program and, if large, by place."""

    def __init__(self, gl: EglRenderer, mesh: Mesh, cell_m: float = 0.0) -> None:
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
        buffer = gl.context.buffer(np.ascontiguousarray(vertices).tobytes())
        self.shaded = {
            g: gl.context.vertex_array(gl.surfaces[g], [(buffer, _LAYOUT, *_NAMES)], skip_errors=True)
            for g in sorted({r.group for r in self.ranges})
        }
        plain = [(buffer, f"3f {4 * (COLUMNS - 3)}x", "in_position")]
        self.depth = gl.context.vertex_array(gl.depth, plain)
        self.identity = gl.context.vertex_array(gl.identity, plain)

    def render(self, vao: Any) -> None:
        """Draws everything with one program."""
        vao.render(moderngl.TRIANGLES)

    def render_visible(self, kind: str, clip_from_scene: Float) -> None:
        """Draws the ranges that reach into the view: shaded, depth or identity."""
        for item in self.ranges:
            if item.reaches(clip_from_scene):
                vao = self.shaded[item.group] if kind == "shaded" else getattr(self, kind)
                vao.render(moderngl.TRIANGLES, vertices=item.count, first=item.first)

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

    def reaches(self, clip: Float) -> bool:
        """Whether the bounding box is not wholly outside one side of the view."""
        if self.corners is None:
            return True
        c = self.corners @ clip[:, :3].T + clip[:, 3]
        w = c[:, 3:]
        outside = (c[:, :2] < -w).all(axis=0).any() or (c[:, :2] > w).all(axis=0).any() or (w <= 0).all()
        return not bool(outside)


def _corners(points: NDArray[np.float32]) -> Float:
    low, high = points.min(axis=0), points.max(axis=0)
    return np.array(
        [[x, y, z] for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])], np.float64
    )


class EglRenderer:
    """Draws one sequence with OpenGL."""

    name = "egl"

    def __init__(self, scene: Scene) -> None:
        self.options = scene.options
        self.context = moderngl.create_context(standalone=True, backend="egl", require=330)
        self.surfaces = [
            self.context.program(vertex_shader=shaders.VERTEX, fragment_shader=fragment(g)) for g in range(GROUP_COUNT)
        ]
        self.depth = self.context.program(vertex_shader=shaders.DEPTH_VERTEX, fragment_shader=shaders.DEPTH_FRAGMENT)
        self.identity = self.context.program(vertex_shader=shaders.DEPTH_VERTEX, fragment_shader=shaders.ID_FRAGMENT)
        self.sky = self.context.program(vertex_shader=shaders.SKY_VERTEX, fragment_shader=shaders.SKY_FRAGMENT)
        self.contact = self.context.program(
            vertex_shader=shaders.CONTACT_VERTEX, fragment_shader=shaders.CONTACT_FRAGMENT
        )
        corners = self.context.buffer(np.array([-1, -1, 1, -1, -1, 1, 1, 1], np.float32).tobytes())
        self._sky_quad = self.context.vertex_array(self.sky, [(corners, "2f", "in_corner")])
        self._contact_quad = self.context.vertex_array(self.contact, [(corners, "2f", "in_corner")])
        self._meshes: dict[tuple[str, int], _Drawable] = {}
        self._static = _Drawable(self, scene.surroundings, cell_m=40.0)
        self._make_targets()
        self._make_light(scene.options.seed * 1000 + scene.number)

    def _make_targets(self) -> None:
        """Framebuffers: the supersampled picture, and ids at pixel centres."""
        gl, factor = self.context, self.options.supersample
        # More pixels, then averaged: in the software renderer that is far cheaper than multisampling.
        self._size = (round(self.options.width_px * factor), round(self.options.height_px * factor))
        self._drawn = gl.framebuffer([gl.renderbuffer(self._size, 4)], gl.depth_renderbuffer(self._size))
        plain = (self.options.width_px, self.options.height_px)
        self._ids = gl.framebuffer([gl.renderbuffer(plain, 1, dtype="f4")], gl.depth_renderbuffer(plain))

    def _make_light(self, seed: int) -> None:
        """Uniforms that stay, the noise texture, and the static shadow maps."""
        gl, light = self.context, daylight(seed)
        self._noise = gl.texture((256, 256), 4, noise_texture().tobytes())
        self._noise.build_mipmaps()
        self._noise.filter = (moderngl.LINEAR_MIPMAP_LINEAR, moderngl.LINEAR)
        for program in (*self.surfaces, self.sky):
            for key, value in (
                ("u_sun", light.sun), ("u_sun_colour", light.sun_colour), ("u_zenith", light.zenith), ("u_horizon", light.horizon),
            ):  # fmt: skip
                _set(program, key, tuple(float(v) for v in value))
            _set(program, "u_noise", 0)
        _set(self.sky, "u_cloud", light.cloud)
        self._sun_near, self._sun_far = _sun_matrix(light.sun, _NEAR_SHADOW[0]), _sun_matrix(light.sun, _FAR_SHADOW[0])
        self._near_static, self._near_map = self._shadow_map(_NEAR_SHADOW[1]), self._shadow_map(_NEAR_SHADOW[1])
        self._far_map = self._shadow_map(_FAR_SHADOW[1])
        for target, matrix in ((self._near_static, self._sun_near), (self._far_map, self._sun_far)):
            target.use()
            target.clear(depth=1.0)
            gl.enable_only(moderngl.DEPTH_TEST)
            _matrix(self.depth, "u_clip_from_scene", matrix)
            _matrix(self.depth, "u_scene_from_mesh", np.eye(4))
            self._static.render(self._static.depth)
        unit = np.diag([0.5, 0.5, 0.5, 1.0])
        unit[:3, 3] = 0.5
        for surface in self.surfaces:
            _matrix(surface, "u_near_from_scene", unit @ self._sun_near)
            _matrix(surface, "u_far_from_scene", unit @ self._sun_far)
            _set(surface, "u_near_shadow", 1)
            _set(surface, "u_far_shadow", 2)
            _set(surface, "u_fog", light.fog_per_m)

    def _shadow_map(self, size: int) -> Any:
        texture = self.context.depth_texture((size, size))
        texture.compare_func = "<="
        texture.filter = (moderngl.LINEAR, moderngl.LINEAR)
        texture.repeat_x = texture.repeat_y = False
        # Without a colour attachment copy_framebuffer copies nothing, not even depth.
        return self.context.framebuffer([self.context.renderbuffer((size, size), 1)], depth_attachment=texture)

    def look(self, view: View, placements: list[Placement], time_s: float) -> Picture:
        """See Renderer."""
        clip = clip_matrix(view)
        self._cast_shadows([p for p in placements if not p.is_fixture])
        present = [p for p in placements if may_appear(view, p)]
        rgb = self._shade(view, clip, present)
        ids, alone = self._identify(view, clip, [p for p in present if not p.is_fixture])
        return Picture(rgb, ids, count_ids(ids), alone)

    def _mesh(self, placement: Placement) -> _Drawable:
        key = (placement.kind, placement.phase)
        if key not in self._meshes:
            self._meshes[key] = _Drawable(self, placement.mesh)
        return self._meshes[key]

    def _cast_shadows(self, placements: list[Placement]) -> None:
        self.context.copy_framebuffer(self._near_map, self._near_static)
        self._near_map.use()
        self.context.enable_only(moderngl.DEPTH_TEST)
        _matrix(self.depth, "u_clip_from_scene", self._sun_near)
        self._draw_users(self.depth, "depth", placements)

    def _draw_users(self, program: Any, kind: str, placements: list[Placement]) -> None:
        for placement in placements:
            _matrix(program, "u_scene_from_mesh", placement.T_scene_from_mesh)
            drawable = self._mesh(placement)
            drawable.render(getattr(drawable, kind))

    def _shade(self, view: View, clip: Float, placements: list[Placement]) -> NDArray[np.uint8]:
        gl = self.context
        self._drawn.use()
        self._drawn.clear(depth=1.0)
        gl.enable_only(moderngl.DEPTH_TEST)
        # Depth first, so that the costly shading runs once a pixel.
        self._drawn.color_mask = False, False, False, False
        _matrix(self.depth, "u_clip_from_scene", clip)
        _matrix(self.depth, "u_scene_from_mesh", np.eye(4))
        self._static.render_visible("depth", clip)
        self._draw_users(self.depth, "depth", placements)
        self._drawn.color_mask = True, True, True, True
        gl.depth_func = "<="
        self._noise.use(0)
        self._near_map.depth_attachment.use(1)
        self._far_map.depth_attachment.use(2)
        eye = tuple(float(v) for v in view.centre_m)
        for surface in self.surfaces:
            _matrix(surface, "u_clip_from_scene", clip)
            _matrix(surface, "u_scene_from_mesh", np.eye(4))
            _set(surface, "u_normal_matrix", tuple(np.eye(3).reshape(-1)))
            _set(surface, "u_eye", eye)
        self._static.render_visible("shaded", clip)
        plain = self.surfaces[PLAIN_GROUP]
        for placement in placements:
            T = placement.T_scene_from_mesh
            _matrix(plain, "u_scene_from_mesh", T)
            _set(plain, "u_normal_matrix", tuple(np.linalg.inv(T[:3, :3]).reshape(-1)))  # column-major: the transpose
            _set(plain, "u_paint", placement.paint)
            _set(plain, "u_braking", float(placement.braking))
            self._mesh(placement).render_group(PLAIN_GROUP)
        _matrix(self.sky, "u_direction_from_ndc", _direction_matrix(view))
        self._sky_quad.render(moderngl.TRIANGLE_STRIP)
        self._draw_contact(clip, placements)
        gl.depth_func = "<"
        width, height = self._size
        data = np.frombuffer(self._drawn.read(components=3, alignment=1), np.uint8).reshape(height, width, 3)
        wanted = (self.options.width_px, self.options.height_px)
        return data if wanted == self._size else np.asarray(cv2.resize(data, wanted, interpolation=cv2.INTER_AREA))

    def _draw_contact(self, clip: Float, placements: list[Placement]) -> None:
        gl = self.context
        gl.enable_only(moderngl.DEPTH_TEST | moderngl.BLEND)
        gl.blend_func = moderngl.SRC_ALPHA, moderngl.ONE_MINUS_SRC_ALPHA
        self._drawn.depth_mask = False
        _matrix(self.contact, "u_clip_from_scene", clip)
        for placement in (p for p in placements if not p.is_fixture):
            low, high = placement.mesh.bounds_m
            half = (high - low)[:2] / 2
            large = half[0] > 1.2
            _matrix(self.contact, "u_scene_from_mesh", placement.T_scene_from_mesh)
            _set(self.contact, "u_half", tuple(float(h) * (1.12 if large else 1.3) + 0.12 for h in half))
            _set(self.contact, "u_strength", 0.62 if large else 0.35)
            self._contact_quad.render(moderngl.TRIANGLE_STRIP)
        self._drawn.depth_mask = True

    def _identify(
        self, view: View, clip: Float, placements: list[Placement]
    ) -> tuple[NDArray[np.int32], dict[int, int]]:
        """Instance ids [H, W] and each road user's pixels if it were alone."""
        gl = self.context
        self._ids.use()
        gl.enable_only(moderngl.DEPTH_TEST)
        self._ids.clear(depth=1.0)
        _matrix(self.identity, "u_clip_from_scene", clip)
        _matrix(self.identity, "u_scene_from_mesh", np.eye(4))
        self.identity["u_id"] = 0.0
        self._static.render_visible("identity", clip)
        for placement in placements:
            self.identity["u_id"] = float(placement.index + 1)
            self._draw_users(self.identity, "identity", [placement])
        raw = self._ids.read(components=1, dtype="f4", alignment=1)
        ids = np.frombuffer(raw, np.float32).astype(np.int32).reshape(view.height_px, view.width_px)
        return ids, self._count_alone(view, clip, placements)

    def _count_alone(self, view: View, clip: Float, placements: list[Placement]) -> dict[int, int]:
        gl, alone = self.context, {}
        query = gl.query(samples=True)
        _matrix(self.depth, "u_clip_from_scene", clip)
        for placement in placements:
            box, _ = silhouette_box(view, placement)
            x0, y0 = max(0, int(box[0]) - 1), max(0, int(box[1]) - 1)
            x1, y1 = min(view.width_px, int(box[2]) + 3), min(view.height_px, int(box[3]) + 3)
            if x1 - x0 < 3 or y1 - y0 < 3:
                continue
            self._ids.scissor = (x0, y0, x1 - x0, y1 - y0)
            self._ids.clear(depth=1.0)
            gl.depth_func = "<"
            self._draw_users(self.depth, "depth", [placement])
            gl.depth_func = "=="
            self._ids.depth_mask = False
            with query:
                self._draw_users(self.depth, "depth", [placement])
            self._ids.depth_mask = True
            if query.samples:
                alone[placement.index] = int(query.samples)
        self._ids.scissor = None
        gl.depth_func = "<"
        return alone


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


def _direction_matrix(view: View) -> Float:
    """[4, 4] viewing direction in the scene from (ndc x, ndc y, 1, 1)."""
    K, w, h = view.K, view.width_px, view.height_px
    pixel_from_ndc = np.array([[w / 2, 0, w / 2 - 0.5], [0, h / 2, h / 2 - 0.5], [0, 0, 1.0]])
    M = np.eye(4)
    M[:3, :3] = np.linalg.inv(view.T_camera_from_scene[:3, :3]) @ np.linalg.inv(K) @ pixel_from_ndc
    return M


def _sun_matrix(sun: Float, half_m: float) -> Float:
    """Orthographic clip matrix of the sun over the square of this half extent around the centre."""
    right = np.cross([0.0, 0.0, 1.0], sun)
    right /= np.linalg.norm(right)
    R = np.stack([right, np.cross(sun, right), -sun])
    M = np.eye(4)
    M[:2, :3] = R[:2] / half_m
    M[2, :3] = R[2] / 500.0
    return M


def _set(program: Any, name: str, value: Any) -> None:
    """Sets a uniform; one that the compiler removed as unused is no error."""
    if name in program:
        program[name] = value


def _matrix(program: Any, name: str, M: Float) -> None:
    program[name].write(np.ascontiguousarray(M.T, np.float32).tobytes())


__all__ = ["EglRenderer", "clip_matrix"]
