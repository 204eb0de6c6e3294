"""What each camera sees of each road user: pixel counts, 2D boxes, truncation."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.data.synthetic.renderers import Picture
from cooptrack_core.data.synthetic.scene import Placement
from cooptrack_core.data.synthetic.sensors import View

Float = NDArray[np.float64]

HIDDEN_BELOW = 0.10  # of the unoccluded pixels
_NEAR_M = 0.8  # as in the OpenGL renderer: what is nearer is not drawn


@dataclass(frozen=True)
class Sight:
    """One road user in one image. box_px: xmin, ymin, xmax, ymax of the whole silhouette, cut at the border."""

    visible_px: int
    unoccluded_px: int
    box_px: tuple[float, float, float, float]
    truncated_state: int

    @property
    def view(self) -> str:
        """visible, occluded or outside, as the visibility files say."""
        if self.unoccluded_px == 0:
            return "outside"
        return "occluded" if self.fraction < HIDDEN_BELOW else "visible"

    @property
    def fraction(self) -> float:
        """Share of the unoccluded pixels that is seen, 0..1."""
        return min(1.0, self.visible_px / self.unoccluded_px) if self.unoccluded_px else 0.0

    @property
    def occluded_state(self) -> int:
        """0 none, 1 up to half, 2 more than half."""
        return 0 if self.fraction > 0.95 else (1 if self.fraction >= 0.5 else 2)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


OUTSIDE = Sight(0, 0, (0.0, 0.0, 0.0, 0.0), 0)


def sights(view: View, placements: list[Placement], picture: Picture) -> dict[int, Sight]:
    """Sight of every road user that would have a pixel in the image if it were alone."""
    out = {}
    for placement in placements:
        alone = picture.unoccluded_px.get(placement.index, 0)
        seen = min(picture.visible_px.get(placement.index, 0), alone)
        if alone:
            box, truncated = silhouette_box(view, placement)
            out[placement.index] = Sight(seen, alone, box, truncated)
    return out


def near_view(view: View, placements: list[Placement], margin_m: float) -> list[Placement]:
    """Those whose origin is less than about margin_m outside the view: a quick sieve before may_appear."""
    if not placements:
        return []
    p = np.array([placement.T_scene_from_mesh[:3, 3] for placement in placements])
    camera = p @ view.T_camera_from_scene[:3, :3].T + view.T_camera_from_scene[:3, 3]
    keep = camera[:, 2] > -margin_m
    for axis, size in ((0, view.width_px), (1, view.height_px)):
        f, c = view.K[axis, axis], view.K[axis, 2]
        for sign, edge in ((-1.0, -0.5 - c), (1.0, size - 0.5 - c)):
            keep &= sign * (f * camera[:, axis] - edge * camera[:, 2]) < margin_m * float(np.hypot(f, edge))
    return [placement for placement, near in zip(placements, keep, strict=True) if near]


def may_appear(view: View, placement: Placement) -> bool:
    """Whether the bounding box of a road user is not wholly outside one side of the view."""
    low, high = placement.mesh.bounds_m
    corners = np.array([[x, y, z] for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])])
    T = view.T_camera_from_scene @ placement.T_scene_from_mesh
    p = (corners @ T[:3, :3].T + T[:3, 3]) @ view.K.T
    limits = np.array([view.width_px - 0.5, view.height_px - 0.5])
    w = p[:, 2:3]
    below, above = (p[:, :2] < -0.5 * w).all(axis=0), (p[:, :2] > limits * w).all(axis=0)
    return bool((w > _NEAR_M).any() and not below.any() and not above.any())


def silhouette_box(view: View, placement: Placement) -> tuple[tuple[float, float, float, float], int]:
    """Bounds of the projected mesh in pixels, cut at the image border, and the truncated_state.

    Part of it has to be in front of the camera.
    """
    T = view.T_camera_from_scene @ placement.T_scene_from_mesh
    p = placement.mesh.points_m @ T[:3, :3].T + T[:3, 3]
    in_front = p[:, 2] > _NEAR_M
    uv = (p[in_front] @ view.K.T)[:, :2] / p[in_front, 2:3]
    low, high = uv.min(axis=0), uv.max(axis=0)
    if not in_front.all():  # passes beside the camera: it fills the image on the side where it leaves
        behind = p[~in_front]
        low[0], high[0] = (-1e6, high[0]) if behind[:, 0].mean() < 0 else (low[0], 1e6)
        high[1] = 1e6
    limit = np.array([view.width_px - 0.5, view.height_px - 0.5])
    size = np.maximum(high - low, 1e-6)
    cut_low, cut_high = np.clip(low, -0.5, limit), np.clip(high, -0.5, limit)
    lost = 1 - (cut_high - cut_low) / size
    truncated = 1 if lost[0] > 0.02 else (2 if lost[1] > 0.02 else 0)
    x0, y0 = np.clip(cut_low, 0.0, None)
    x1, y1 = np.minimum(cut_high, [view.width_px - 1.0, view.height_px - 1.0])
    return (float(x0), float(y0), float(x1), float(y1)), truncated


__all__ = ["HIDDEN_BELOW", "OUTSIDE", "Sight", "may_appear", "near_view", "sights", "silhouette_box"]
