"""The ground of a site, from the same lanes that the traffic was recorded on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.data.synthetic.coopsynth.site import BIKE, DRIVE, SIDEWALK, Lane, Site
from cooptrack_core.data.synthetic.ground import WHITE, YELLOW, flat
from cooptrack_core.data.synthetic.mesh import ASPHALT, GRASS, MARKING, PAVING, Mesh, merge, triangles

Float = NDArray[np.float64]

_FAR_M, _STEP_M = 900.0, 10.0
_MARKING_Z_M, _PAVING_Z_M, _JUNCTION_Z_M, _LAND_Z_M = 0.014, 0.02, -0.006, -0.06
_BIKE_COLOURS = ((1.0, 1.0, 1.0), (1.75, 0.85, 0.70), (0.80, 1.35, 0.85), (1.0, 1.0, 1.0))


def build(site: Site, rng: np.random.Generator) -> Mesh:
    """All of the ground."""
    land, bike = int(rng.integers(3)), _BIKE_COLOURS[int(rng.integers(4))]
    shade = float(rng.uniform(0.75, 1.3))
    material, colour = ((GRASS, (0.30, 0.38, 0.20)), (PAVING, (0.50, 0.48, 0.45)), (GRASS, (0.40, 0.38, 0.24)))[land]
    square = [(-_FAR_M, -_FAR_M), (_FAR_M, -_FAR_M), (_FAR_M, _FAR_M), (-_FAR_M, _FAR_M)]
    parts = [flat(square, _LAND_Z_M, colour, material)]
    stone = tuple(np.array([0.60, 0.56, 0.52]) * rng.uniform(0.85, 1.15))
    asphalt = (shade, shade, shade)
    parts.append(polygon(site.junction_m, _JUNCTION_Z_M, asphalt, ASPHALT))
    parts += [polygon(area, _PAVING_Z_M, stone, PAVING) for area in site.walking_m]
    for lane in site.lanes:
        if lane.kind == SIDEWALK:
            parts.append(ribbon(lane.edge_m(1.0), lane.edge_m(-1.0), _PAVING_Z_M, stone, PAVING))
        else:
            tint = tuple(shade * c for c in bike) if lane.kind == BIKE else asphalt
            parts.append(ribbon(lane.edge_m(1.0), lane.edge_m(-1.0), 0.0, tint, ASPHALT))
    for lane in site.lanes:
        parts += _markings(site, lane)
    for line, width in site.crossings:
        parts += _zebra(line, width)
    return merge(parts)


def polygon(points_m: Float, z: float, colour: Sequence[float], material: int) -> Mesh:
    """A simple polygon [N, 2], convex or not, lying at height z."""
    corners = np.array([[(*points_m[i], z) for i in three] for three in clip_ears(points_m)]).reshape(-1, 3, 3)
    return triangles(corners, colour, material, uv=corners[..., :2], extra=1.0)


def clip_ears(points_m: Float) -> list[tuple[int, int, int]]:
    """Triangles of a simple polygon [N, 2] as indices, counter-clockwise."""
    p = points_m
    area = np.sum(p[:, 0] * np.roll(p[:, 1], -1) - np.roll(p[:, 0], -1) * p[:, 1])
    left = list(range(len(p))) if area > 0 else list(range(len(p)))[::-1]
    out = []
    while len(left) > 3:
        for k in range(len(left)):
            a, b, c = left[k - 1], left[k], left[(k + 1) % len(left)]
            others = [i for i in left if i not in (a, b, c)]
            if _turn(p[a], p[b], p[c]) > 0 and not any(_inside(p[i], p[a], p[b], p[c]) for i in others):
                break
        else:
            k = 0  # points that coincide: take any
            a, b, c = left[-1], left[0], left[1]
        out.append((a, b, c))
        left.pop(k)
    return [*out, (left[0], left[1], left[2])]


def _turn(a: Float, b: Float, c: Float) -> float:
    return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))


def _inside(q: Float, a: Float, b: Float, c: Float) -> bool:
    return _turn(a, b, q) > 1e-9 and _turn(b, c, q) > 1e-9 and _turn(c, a, q) > 1e-9


def ribbon(left_m: Float, right_m: Float, z: float, colour: Sequence[float], material: int) -> Mesh:
    """The band between two lines [N, 2] that run the same way, seen from above."""
    n = np.full((len(left_m), 1), z)
    a, b = np.hstack([left_m, n]), np.hstack([right_m, n])
    first, second = np.stack([b[:-1], b[1:], a[1:]], axis=1), np.stack([b[:-1], a[1:], a[:-1]], axis=1)
    corners = np.concatenate([first, second])
    return triangles(corners, colour, material, uv=corners[..., :2], extra=1.0)


def resampled(line_m: Float, start_m: float, end_m: float, step_m: float = _STEP_M) -> Float:
    """[N, 2] the line from one distance to another; negative ones count from its end."""
    s = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(line_m, axis=0).T))])
    a, b = (v if v >= 0 else s[-1] + v for v in (start_m, end_m))
    at = np.linspace(a, b, max(2, int((b - a) / step_m) + 2))
    return np.stack([np.interp(at, s, line_m[:, k]) for k in range(2)], axis=1)


def _stroke(line_m: Float, width_m: float, colour: Sequence[float] = WHITE) -> Mesh:
    """A painted line along points [N, 2]."""
    d = np.gradient(line_m, axis=0)
    d /= np.maximum(np.hypot(*d.T), 1e-9)[:, None]
    n = 0.5 * width_m * np.stack([-d[:, 1], d[:, 0]], axis=1)
    return ribbon(line_m + n, line_m - n, _MARKING_Z_M, colour, MARKING)


def _dashes(line_m: Float, length_m: float, dash_m: float, gap_m: float) -> list[Mesh]:
    starts = np.arange(0.0, length_m - dash_m, dash_m + gap_m)
    return [_stroke(resampled(line_m, float(s), float(s) + dash_m), 0.14) for s in starts]


def _markings(site: Site, lane: Lane) -> list[Mesh]:
    """Lines at the left of a lane, and the stop line of an inbound one."""
    if lane.kind not in (DRIVE, BIKE):
        return []
    left, length = lane.edge_m(1.0), float(np.hypot(*np.diff(lane.centre_m, axis=0).T).sum())
    parts = []
    if lane.kind == DRIVE and lane.inbound:
        end, d = lane.centre_m[-1], lane.centre_m[-1] - lane.centre_m[-2]
        d /= np.hypot(*d)
        n = np.array([-d[1], d[0]]) * (0.5 * lane.width_m - 0.05)
        parts.append(_stroke(np.stack([end - 0.3 * d + n, end - 0.3 * d - n]), 0.4))
    if lane.kind == BIKE:
        return [*parts, _stroke(resampled(left, 0.0, length), 0.15)]
    leftmost = not any(
        other is not lane and other.kind == DRIVE and other.arm == lane.arm and other.inbound == lane.inbound
        and np.hypot(*(other.edge_m(-1.0)[-1] - left[-1])) < 0.5
        for other in site.lanes
    )  # fmt: skip
    if leftmost:
        return [*parts, _stroke(resampled(left, 0.0, length), 0.16, YELLOW)] if lane.inbound else parts
    if not lane.inbound:
        return [*parts, *_dashes(left, length, 3.0, 5.0)]
    return [*parts, _stroke(resampled(left, -26.0, length), 0.14), *_dashes(left, length - 28.0, 3.0, 5.0)]


def _zebra(line_m: Float, width_m: float) -> list[Mesh]:
    """Stripes of a crosswalk along its centre line."""
    s = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(line_m, axis=0).T))])
    parts = []
    for at in np.arange(0.4, s[-1] - 0.6, 0.95):
        a, b = resampled(line_m, float(at), float(at) + 0.47)[[0, -1]]
        d = (b - a) / np.hypot(*(b - a))
        n = 0.5 * width_m * np.array([-d[1], d[0]])
        parts.append(ribbon(np.stack([a + n, b + n]), np.stack([a - n, b - n]), _MARKING_Z_M, WHITE, MARKING))
    return parts


__all__ = ["build", "clip_ears", "polygon", "resampled", "ribbon"]
