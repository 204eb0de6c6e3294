"""OpenGL renderer without a screen (EGL; Mesa's llvmpipe on machines without a GPU).

Per look: the sun's shadow map (static part kept, road users added), a depth pass, one shading pass at
more pixels than the image has, then instance ids at pixel centres, of all together and of each road user
as if it were alone. Row 0 of every framebuffer is the top row of the image.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import moderngl
import numpy as np
from numpy.typing import NDArray

from cooptrack_core.data.synthetic.egl_meshes import (
    Drawable,
    Programs,
    clip_matrix,
    direction_matrix,
    set_matrix,
    set_uniform,
    sun_matrix,
)
from cooptrack_core.data.synthetic.light import Light, noise_texture
from cooptrack_core.data.synthetic.renderers import Picture, count_ids
from cooptrack_core.data.synthetic.scene import Placement, Scene
from cooptrack_core.data.synthetic.sensors import View
from cooptrack_core.data.synthetic.surface_shaders import PLAIN_GROUP
from cooptrack_core.data.synthetic.visibility import may_appear, near_view, silhouette_box

Float = NDArray[np.float64]

_NEAR_SHADOW = (72.0, 3072)  # half extent in m, map size in texels
_FAR_SHADOW = (320.0, 2048)
_SMALL_PX = 640  # images up to this width get shadow maps of half the size
_SHADOW_M, _REACH_M = 35.0, 15.0  # what stands farther outside the view throws no shadow into it, has no part in it
_DIM = 0.3  # a sun below this throws no shadows that could be seen


@lru_cache(maxsize=1)
def _workshop() -> tuple[Any, Programs, dict[tuple[str, int], Drawable]]:
    """Context, programs and meshes of road users, which all sequences that a process draws have in common."""
    context = moderngl.create_context(standalone=True, backend="egl", require=330)  # type: ignore[arg-type]
    context.gc_mode = "context_gc"  # what is no longer used waits until gc(): only a current context can let it go
    return context, Programs(context), {}


class EglRenderer:
    """Draws one sequence with OpenGL."""

    name = "egl"

    def __init__(self, scene: Scene) -> None:
        self.options = scene.options
        self.context, self.programs, self._meshes = _workshop()
        self._cast_once = False
        with self.context:  # others of this process may have made another one current
            self.context.gc()  # of the sequence before
            self._prepare(scene)

    def _prepare(self, scene: Scene) -> None:
        corners = self.context.buffer(np.array([-1, -1, 1, -1, -1, 1, 1, 1], np.float32).tobytes())
        self._sky_quad = self.context.vertex_array(self.programs.sky, [(corners, "2f", "in_corner")])
        self._contact_quad = self.context.vertex_array(self.programs.contact, [(corners, "2f", "in_corner")])
        self._static = Drawable(self.programs, scene.surroundings, cell_m=40.0)
        self._make_targets()
        self._make_light(scene.light)

    def _make_targets(self) -> None:
        """Framebuffers: the supersampled picture, and ids at pixel centres."""
        gl, factor = self.context, self.options.supersample
        # More pixels, then averaged: in the software renderer that is far cheaper than multisampling.
        self._size = (round(self.options.width_px * factor), round(self.options.height_px * factor))
        self._drawn = gl.framebuffer([gl.renderbuffer(self._size, 4)], gl.depth_renderbuffer(self._size))
        plain = (self.options.width_px, self.options.height_px)
        self._ids = gl.framebuffer([gl.renderbuffer(plain, 1, dtype="f4")], gl.depth_renderbuffer(plain))

    def _make_light(self, light: Light) -> None:
        """Uniforms that stay, the noise texture, and the static shadow maps."""
        gl = self.context
        self._noise = gl.texture((256, 256), 4, noise_texture().tobytes())
        self._noise.build_mipmaps()
        self._noise.filter = (moderngl.LINEAR_MIPMAP_LINEAR, moderngl.LINEAR)
        for program in (*self.programs.surfaces, self.programs.sky):
            colours = {"u_sun_colour": light.sun_colour, "u_zenith": light.zenith, "u_horizon": light.horizon}
            for key, value in {"u_sun": light.sun, **colours}.items():
                set_uniform(program, key, tuple(float(v) for v in value))
            set_uniform(program, "u_noise", 0)
            set_uniform(program, "u_ambient", light.ambient)
            set_uniform(program, "u_glow", light.glow)
        set_uniform(self.programs.sky, "u_cloud", light.cloud)
        self._sun_near, self._sun_far = sun_matrix(light.sun, _NEAR_SHADOW[0]), sun_matrix(light.sun, _FAR_SHADOW[0])
        divisor = 2 if self.options.width_px <= _SMALL_PX else 1
        near_px, far_px = _NEAR_SHADOW[1] // divisor, _FAR_SHADOW[1] // divisor
        self._near_static, self._near_map = self._shadow_map(near_px), self._shadow_map(near_px)
        self._far_map = self._shadow_map(far_px)
        self._bright = float(light.sun_colour.max()) >= _DIM
        for target, matrix in ((self._near_static, self._sun_near), (self._far_map, self._sun_far)):
            target.use()
            target.clear(depth=1.0)
            gl.enable_only(moderngl.DEPTH_TEST)
            set_matrix(self.programs.depth, "u_clip_from_scene", matrix)
            set_matrix(self.programs.depth, "u_scene_from_mesh", np.eye(4))
            self._static.render(self._static.depth)
        unit = np.diag([0.5, 0.5, 0.5, 1.0])
        unit[:3, 3] = 0.5
        for surface in self.programs.surfaces:
            set_matrix(surface, "u_near_from_scene", unit @ self._sun_near)
            set_matrix(surface, "u_far_from_scene", unit @ self._sun_far)
            set_uniform(surface, "u_near_shadow", 1)
            set_uniform(surface, "u_far_shadow", 2)
            set_uniform(surface, "u_fog", light.fog_per_m)

    def _shadow_map(self, size: int) -> Any:
        texture = self.context.depth_texture((size, size))
        texture.compare_func = "<="
        texture.filter = (moderngl.LINEAR, moderngl.LINEAR)
        texture.repeat_x = texture.repeat_y = False
        # Without a colour attachment copy_framebuffer copies nothing, not even depth.
        return self.context.framebuffer([self.context.renderbuffer((size, size), 1)], depth_attachment=texture)

    def look(self, view: View, placements: list[Placement], time_s: float) -> Picture:
        """See Renderer."""
        with self.context:
            return self._look(view, placements, time_s)

    def _look(self, view: View, placements: list[Placement], time_s: float) -> Picture:
        clip = clip_matrix(view)
        users = [p for p in placements if not p.is_fixture]
        self._cast_shadows(near_view(view, users, _SHADOW_M))
        present = [p for p in near_view(view, placements, _REACH_M) if may_appear(view, p)]
        rgb = self._shade(view, clip, present)
        ids, alone = self._identify(view, clip, [p for p in present if not p.is_fixture])
        return Picture(rgb, ids, count_ids(ids), alone)

    def _mesh(self, placement: Placement) -> Drawable:
        key = (placement.kind, placement.phase)
        if key not in self._meshes:
            self._meshes[key] = Drawable(self.programs, placement.mesh)
        return self._meshes[key]

    def _cast_shadows(self, placements: list[Placement]) -> None:
        if not self._bright:
            placements = []
            if self._cast_once:
                return
        self._cast_once = True
        self.context.copy_framebuffer(self._near_map, self._near_static)
        self._near_map.use()
        self.context.enable_only(moderngl.DEPTH_TEST)
        set_matrix(self.programs.depth, "u_clip_from_scene", self._sun_near)
        self._draw_users(self.programs.depth, "depth", placements)

    def _draw_users(self, program: Any, kind: str, placements: list[Placement]) -> None:
        for placement in placements:
            set_matrix(program, "u_scene_from_mesh", placement.T_scene_from_mesh)
            drawable = self._mesh(placement)
            drawable.render(getattr(drawable, kind))

    def _shade(self, view: View, clip: Float, placements: list[Placement]) -> NDArray[np.uint8]:
        gl = self.context
        self._drawn.use()
        self._drawn.clear(depth=1.0)
        gl.enable_only(moderngl.DEPTH_TEST)
        # Depth first, so that the costly shading runs once a pixel.
        self._drawn.color_mask = False, False, False, False
        set_matrix(self.programs.depth, "u_clip_from_scene", clip)
        set_matrix(self.programs.depth, "u_scene_from_mesh", np.eye(4))
        self._static.render_visible("depth", clip)
        self._draw_users(self.programs.depth, "depth", placements)
        self._drawn.color_mask = True, True, True, True
        gl.depth_func = "<="
        self._noise.use(0)
        self._near_map.depth_attachment.use(1)
        self._far_map.depth_attachment.use(2)
        eye = tuple(float(v) for v in view.centre_m)
        for surface in self.programs.surfaces:
            set_matrix(surface, "u_clip_from_scene", clip)
            set_matrix(surface, "u_scene_from_mesh", np.eye(4))
            set_uniform(surface, "u_normal_matrix", tuple(np.eye(3).reshape(-1)))
            set_uniform(surface, "u_eye", eye)
        self._static.render_visible("shaded", clip)
        plain = self.programs.surfaces[PLAIN_GROUP]
        for placement in placements:
            T = placement.T_scene_from_mesh
            set_matrix(plain, "u_scene_from_mesh", T)
            set_uniform(
                plain, "u_normal_matrix", tuple(np.linalg.inv(T[:3, :3]).reshape(-1))
            )  # column-major: the transpose
            set_uniform(plain, "u_paint", placement.paint)
            set_uniform(plain, "u_braking", float(placement.braking))
            self._mesh(placement).render_group(PLAIN_GROUP)
        set_matrix(self.programs.sky, "u_direction_from_ndc", direction_matrix(view))
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
        set_matrix(self.programs.contact, "u_clip_from_scene", clip)
        for placement in (p for p in placements if not p.is_fixture):
            low, high = placement.mesh.bounds_m
            half = (high - low)[:2] / 2
            large = half[0] > 1.2
            set_matrix(self.programs.contact, "u_scene_from_mesh", placement.T_scene_from_mesh)
            set_uniform(
                self.programs.contact, "u_half", tuple(float(h) * (1.12 if large else 1.3) + 0.12 for h in half)
            )
            set_uniform(self.programs.contact, "u_strength", 0.62 if large else 0.35)
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
        set_matrix(self.programs.identity, "u_clip_from_scene", clip)
        set_matrix(self.programs.identity, "u_scene_from_mesh", np.eye(4))
        self.programs.identity["u_id"] = 0.0
        self._static.render_visible("identity", clip)
        for placement in placements:
            self.programs.identity["u_id"] = float(placement.index + 1)
            self._draw_users(self.programs.identity, "identity", [placement])
        raw = self._ids.read(components=1, dtype="f4", alignment=1)
        ids = np.frombuffer(raw, np.float32).astype(np.int32).reshape(view.height_px, view.width_px)
        return ids, self._count_alone(view, placements)

    def _count_alone(self, view: View, placements: list[Placement]) -> dict[int, int]:
        """Draws each road user alone into its box and counts."""
        alone = {}
        self.programs.identity["u_id"] = 1.0
        for placement in placements:
            box, _ = silhouette_box(view, placement)
            x0, y0 = max(0, int(box[0]) - 1), max(0, int(box[1]) - 1)
            x1, y1 = min(view.width_px, int(box[2]) + 3), min(view.height_px, int(box[3]) + 3)
            if x1 - x0 < 3 or y1 - y0 < 3:
                continue
            self._ids.scissor = (x0, y0, x1 - x0, y1 - y0)
            self._ids.clear(depth=1.0)
            self._draw_users(self.programs.identity, "identity", [placement])
            raw = self._ids.read(viewport=(x0, y0, x1 - x0, y1 - y0), components=1, dtype="f4", alignment=1)
            count = int(np.count_nonzero(np.frombuffer(raw, np.float32)))
            if count:
                alone[placement.index] = count
        self._ids.scissor = None
        return alone


__all__ = ["EglRenderer"]
