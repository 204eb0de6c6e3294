"""Triangle meshes with materials, and the solids that everything is built from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float = NDArray[np.float64]

# Materials, the switch of the shaders. The colour of a vertex tints its material.
(MATTE, PAINT, GLASS, LIGHT, ASPHALT, PAVING, GRASS, FACADE, FOLIAGE, MARKING, METAL, CLOTH, SHOP, BARK, CURTAIN,
 BODY) = range(16)  # fmt: skip
# PAINT and CLOTH take the paint of the road user; BODY is painted coachwork with printed side details.

COLUMNS = 13  # position 3, normal 3, colour 3, uv 2, material, extra


@dataclass(frozen=True)
class Mesh:
    """Triangle soup: vertices [3 T, COLUMNS] of position, normal, colour (sRGB), uv, material, extra."""

    vertices: NDArray[np.float32]

    @property
    def triangles_m(self) -> NDArray[np.float32]:
        """[T, 3, 3] corners."""
        return self.vertices[:, :3].reshape(-1, 3, 3)

    @cached_property
    def points_m(self) -> Float:
        """[N, 3] its different corners."""
        return np.unique(self.vertices[:, :3], axis=0).astype(np.float64)

    @cached_property
    def bounds_m(self) -> tuple[Float, Float]:
        """Lowest and highest corner [3]."""
        return self.points_m.min(axis=0), self.points_m.max(axis=0)

    def placed(self, x: float = 0.0, y: float = 0.0, z: float = 0.0, yaw: float = 0.0, scale: ArrayLike = 1.0) -> Mesh:
        """The mesh scaled, turned about z and moved."""
        v = self.vertices.astype(np.float64)
        factors = np.broadcast_to(np.asarray(scale, np.float64), (3,))
        c, s = np.cos(yaw), np.sin(yaw)
        R = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])
        v[:, :3] = (v[:, :3] * factors) @ R.T + (x, y, z)
        normal = (v[:, 3:6] / factors) @ R.T
        v[:, 3:6] = normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
        return Mesh(v.astype(np.float32))

    def rotated(self, R: ArrayLike, at: Sequence[float] = (0.0, 0.0, 0.0)) -> Mesh:
        """The mesh turned by the rotation matrix R [3, 3] about its origin, then moved."""
        v = self.vertices.astype(np.float64)
        v[:, :3] = v[:, :3] @ np.asarray(R).T + np.asarray(at)
        v[:, 3:6] = v[:, 3:6] @ np.asarray(R).T
        return Mesh(v.astype(np.float32))

    def fitted(self, size_m: Sequence[float]) -> Mesh:
        """Stretched to exactly this length, width and height, standing on z = 0 and centred in x and y."""
        low, high = self.vertices[:, :3].min(axis=0), self.vertices[:, :3].max(axis=0)
        factors = np.asarray(size_m) / (high - low)
        centre = (low + high) / 2
        moved = self.placed(x=-float(centre[0]), y=-float(centre[1]), z=-float(low[2]))
        return moved.placed(scale=factors)


def merge(meshes: Sequence[Mesh]) -> Mesh:
    """One mesh of many."""
    if not meshes:
        return Mesh(np.zeros((0, COLUMNS), np.float32))
    return Mesh(np.concatenate([m.vertices for m in meshes]))


def triangles(
    corners_m: ArrayLike,
    colour: ArrayLike,
    material: int,
    *,
    normals: ArrayLike | None = None,
    uv: ArrayLike | None = None,
    extra: float = 0.0,
) -> Mesh:
    """Mesh of triangles [T, 3, 3]; flat normals unless given per corner [T, 3, 3]; colour [3] or [T, 3, 3]."""
    p = np.asarray(corners_m, np.float64).reshape(-1, 3, 3)
    if normals is None:
        n = np.cross(p[:, 1] - p[:, 0], p[:, 2] - p[:, 0])
        n = np.repeat(n[:, None], 3, axis=1)
    else:
        n = np.asarray(normals, np.float64).reshape(-1, 3, 3)
    n = n / np.maximum(np.linalg.norm(n, axis=2, keepdims=True), 1e-12)
    out = np.zeros((len(p), 3, COLUMNS))
    out[..., :3], out[..., 3:6] = p, n
    out[..., 6:9] = np.asarray(colour, np.float64)
    if uv is not None:
        out[..., 9:11] = np.asarray(uv, np.float64).reshape(-1, 3, 2)
    out[..., 11], out[..., 12] = material, extra
    return Mesh(out.reshape(-1, COLUMNS).astype(np.float32))


def quads(
    corners_m: ArrayLike, colour: ArrayLike, material: int, *, extra: float = 0.0, uv: ArrayLike | None = None
) -> Mesh:
    """Quads [Q, 4, 3], counter-clockwise seen from outside.

    uv [Q, 4, 2] is in metres along the edges 0-1 and 0-3 unless given.
    """
    q = np.asarray(corners_m, np.float64).reshape(-1, 4, 3)
    if uv is None:
        w, h = np.linalg.norm(q[:, 1] - q[:, 0], axis=1), np.linalg.norm(q[:, 3] - q[:, 0], axis=1)
        zero = np.zeros_like(w)
        t = np.stack([np.stack(p, axis=1) for p in ((zero, zero), (w, zero), (w, h), (zero, h))], axis=1)
    else:
        t = np.asarray(uv, np.float64).reshape(-1, 4, 2)
    index = [0, 1, 2, 0, 2, 3]
    return triangles(q[:, index].reshape(-1, 3, 3), colour, material, uv=t[:, index].reshape(-1, 3, 2), extra=extra)


def box(
    low: Sequence[float], high: Sequence[float], colour: ArrayLike, material: int = MATTE, *, extra: float = 0.0
) -> Mesh:
    """Axis-aligned box without uv on top and bottom worth speaking of."""
    x0, y0, z0 = low
    x1, y1, z1 = high
    faces = [
        [(x0, y0, z0), (x1, y0, z0), (x1, y0, z1), (x0, y0, z1)],
        [(x1, y0, z0), (x1, y1, z0), (x1, y1, z1), (x1, y0, z1)],
        [(x1, y1, z0), (x0, y1, z0), (x0, y1, z1), (x1, y1, z1)],
        [(x0, y1, z0), (x0, y0, z0), (x0, y0, z1), (x0, y1, z1)],
        [(x0, y0, z1), (x1, y0, z1), (x1, y1, z1), (x0, y1, z1)],
        [(x0, y1, z0), (x1, y1, z0), (x1, y0, z0), (x0, y0, z0)],
    ]
    return quads(faces, colour, material, extra=extra)


def cylinder(
    a: ArrayLike,
    b: ArrayLike,
    radius_m: float,
    colour: ArrayLike,
    material: int = MATTE,
    *,
    end_radius_m: float | None = None,
    sides: int = 10,
    caps: bool = True,
) -> Mesh:
    """Round bar from a to b with smooth sides, tapering to end_radius_m."""
    p, q = np.asarray(a, np.float64), np.asarray(b, np.float64)
    axis = (q - p) / max(float(np.linalg.norm(q - p)), 1e-9)
    helper = np.array([1.0, 0, 0]) if abs(axis[0]) < 0.9 else np.array([0, 1.0, 0])
    e1 = np.cross(axis, helper)
    e1 /= np.linalg.norm(e1)
    e2 = np.cross(axis, e1)
    t = np.linspace(0, 2 * np.pi, sides + 1)
    ring = np.cos(t)[:, None] * e1 + np.sin(t)[:, None] * e2
    r1 = radius_m if end_radius_m is None else end_radius_m
    lower, upper = p + radius_m * ring, q + r1 * ring
    tri, nor = [], []
    for i in range(sides):
        tri += [(lower[i], lower[i + 1], upper[i + 1]), (lower[i], upper[i + 1], upper[i])]
        nor += [(ring[i], ring[i + 1], ring[i + 1]), (ring[i], ring[i + 1], ring[i])]
        if caps:
            tri += [(p, lower[i + 1], lower[i]), (q, upper[i], upper[i + 1])]
            nor += [(-axis, -axis, -axis), (axis, axis, axis)]
    return triangles(tri, colour, material, normals=nor)


def ellipsoid(
    centre: Sequence[float],
    radii: Sequence[float],
    colour: ArrayLike,
    material: int = MATTE,
    *,
    sides: int = 10,
    rows: int = 6,
) -> Mesh:
    """Smooth ellipsoid of latitude and longitude patches."""
    u = np.linspace(0, 2 * np.pi, sides + 1)
    w = np.linspace(-np.pi / 2, np.pi / 2, rows + 1)
    unit = np.stack(
        [
            np.cos(w)[:, None] * np.cos(u),
            np.cos(w)[:, None] * np.sin(u),
            np.broadcast_to(np.sin(w)[:, None], (rows + 1, sides + 1)),
        ],
        axis=2,
    )
    return grid(np.asarray(centre) + unit * np.asarray(radii), colour, material, normals=unit / np.asarray(radii))


def grid(
    points_m: ArrayLike, colour: ArrayLike, material: int, *, normals: ArrayLike | None = None, extra: float = 0.0
) -> Mesh:
    """Surface over a lattice of points [R, C, 3]; smooth normals if given [R, C, 3], else flat."""
    p = np.asarray(points_m, np.float64)
    a, b, c, d = p[:-1, :-1], p[:-1, 1:], p[1:, 1:], p[1:, :-1]
    tri = np.stack([np.stack([a, b, c], axis=2), np.stack([a, c, d], axis=2)], axis=2).reshape(-1, 3, 3)
    nor = None
    if normals is not None:
        n = np.broadcast_to(np.asarray(normals, np.float64), p.shape)
        a, b, c, d = n[:-1, :-1], n[:-1, 1:], n[1:, 1:], n[1:, :-1]
        nor = np.stack([np.stack([a, b, c], axis=2), np.stack([a, c, d], axis=2)], axis=2).reshape(-1, 3, 3)
    area = np.linalg.norm(np.cross(tri[:, 1] - tri[:, 0], tri[:, 2] - tri[:, 0]), axis=1)
    keep = area > 1e-9
    return triangles(tri[keep], colour, material, normals=None if nor is None else nor[keep], extra=extra)


__all__ = [
    "ASPHALT",
    "BARK",
    "BODY",
    "CLOTH",
    "COLUMNS",
    "CURTAIN",
    "FACADE",
    "FOLIAGE",
    "GLASS",
    "GRASS",
    "LIGHT",
    "MARKING",
    "MATTE",
    "METAL",
    "PAINT",
    "PAVING",
    "SHOP",
    "Mesh",
    "box",
    "cylinder",
    "ellipsoid",
    "grid",
    "merge",
    "quads",
    "triangles",
]
