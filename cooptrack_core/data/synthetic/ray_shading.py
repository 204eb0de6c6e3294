"""Colours of the points that the ray caster hits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.data.synthetic.light import Light
from cooptrack_core.data.synthetic.mesh import ASPHALT, FACADE, LIGHT, PAVING, SHOP

Float = NDArray[np.float64]
Rays = NDArray[np.float32]


def shade(
    vertices: NDArray[np.float32], triangle: NDArray[np.int64], origin: Float, directions: Rays, distance: Rays,
    lit: NDArray[np.bool_], light: Light,
) -> NDArray[np.uint8]:  # fmt: skip
    """[N, 3] sRGB of rays: vertices [3 T, COLUMNS], the triangle each ray hit (-1: sky), its distance and sunlight."""
    d = directions.astype(np.float64)
    colour = sky(d, light)
    hit = np.flatnonzero(triangle >= 0)
    if len(hit):
        corner = vertices.reshape(-1, 3, vertices.shape[1])[triangle[hit]].astype(np.float64)
        p = origin + d[hit] * distance[hit, None]
        weights = _barycentric(corner[..., :3], p)
        mixed = np.einsum("nc,ncd->nd", weights, corner[..., :11])
        material, extra = corner[:, 0, 11].astype(np.int64), corner[:, 0, 12]
        normal = mixed[:, 3:6] / np.maximum(np.linalg.norm(mixed[:, 3:6], axis=1, keepdims=True), 1e-9)
        normal *= np.where((normal * d[hit]).sum(axis=1) > 0, -1.0, 1.0)[:, None]
        albedo = np.clip(mixed[:, 6:9], 0, 1) ** 2.2
        _print(albedo, material, extra, mixed[:, 9:11], p)
        direct = np.maximum(normal @ light.sun, 0.0) * lit[hit]
        up = 0.5 + 0.5 * normal[:, 2:3]
        ambient = ((1 - up) * 0.19 + up * (0.55 * light.horizon + 0.45 * light.zenith)) * 0.62 * light.ambient
        out = albedo * (direct[:, None] * light.sun_colour + ambient)
        out += np.where((material == LIGHT)[:, None], albedo * extra[:, None] * light.glow, 0.0)
        haze = 1 - np.exp(-distance[hit, None] * light.fog_per_m)
        colour[hit] = (1 - haze) * out + haze * light.horizon
    c = (colour * (2.51 * colour + 0.03)) / (colour * (2.43 * colour + 0.59) + 0.14)
    return np.asarray(np.clip(np.clip(c, 0, 1) ** (1 / 2.2) * 255 + 0.5, 0, 255).astype(np.uint8))


def sky(directions: Float, light: Light) -> Float:
    """[N, 3] light of the cloudless sky."""
    h = np.clip(directions[:, 2:3], 0, 1)
    blend = 1 - (1 - h) ** 3.2
    glow = np.maximum(directions @ light.sun, 0)[:, None]
    return np.asarray((1 - blend) * light.horizon + blend * light.zenith + 0.1 * light.sun_colour * glow**8)


def _barycentric(corners: Float, p: Float) -> Float:
    """[N, 3] weights of the corners [N, 3, 3] at points on their triangles."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    v0, v1, v2 = b - a, c - a, p - a
    d00, d01, d11 = (v0 * v0).sum(1), (v0 * v1).sum(1), (v1 * v1).sum(1)
    d20, d21 = (v2 * v0).sum(1), (v2 * v1).sum(1)
    det = np.maximum(d00 * d11 - d01 * d01, 1e-12)
    v, w = (d11 * d20 - d01 * d21) / det, (d00 * d21 - d01 * d20) / det
    return np.asarray(np.clip(np.stack([1 - v - w, v, w], axis=1), 0, 1))


def _print(albedo: Float, material: NDArray[np.int64], extra: Float, uv: Float, p: Float) -> None:
    """Patterns of the large surfaces, into albedo: windows, shop fronts, paving, asphalt."""
    cell = np.floor(p[:, :2] * 2.0)
    grain = np.modf(np.sin(cell @ [12.9898, 78.233]) * 43758.5453)[0]
    ground = material == ASPHALT
    albedo[ground] = (0.10 + 0.012 * grain[ground])[:, None] * [0.98, 1.0, 1.06]
    paved = material == PAVING
    albedo[paved] *= (1 + 0.06 * grain[paved])[:, None]
    wall = material == FACADE
    q = uv / np.stack([2.4 + np.modf(extra)[0], np.full_like(extra, 3.2)], axis=1)
    f = q - np.floor(q)
    window = wall & (f[:, 0] > 0.24) & (f[:, 0] < 0.76) & (f[:, 1] > 0.25) & (f[:, 1] < 0.8)
    number = np.abs(np.modf(np.sin(np.floor(q) @ [12.9898, 78.233]) * 43758.5453)[0])
    albedo[window] = (0.04 + 0.14 * number[window] ** 2)[:, None] * [0.9, 1.0, 1.1]
    front = (material == SHOP) & (uv[:, 1] > 0.45) & (uv[:, 1] < 2.75)
    albedo[front] = [0.10, 0.09, 0.07]


__all__ = ["shade", "sky"]
