"""Street trees, hedges and shrubs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.data.synthetic import layout
from cooptrack_core.data.synthetic.mesh import BARK, FOLIAGE, Mesh, cylinder, ellipsoid, merge, triangles

Float = NDArray[np.float64]

_GREENS = ((0.30, 0.44, 0.16), (0.26, 0.40, 0.15), (0.36, 0.46, 0.18), (0.24, 0.37, 0.17), (0.42, 0.45, 0.16))


def build(rng: np.random.Generator, clear_of_m: list[tuple[float, float, float]]) -> Mesh:
    """Planting of a location; nothing grows within the discs (x, y, radius) of clear_of_m."""
    seeds = [int(rng.integers(1 << 30)) for _ in range(5)]
    fine = [tree(np.random.default_rng(s), i, 115, 0.36) for i, s in enumerate(seeds)]
    coarse = [tree(np.random.default_rng(s), i, 30, 0.72) for i, s in enumerate(seeds)]
    parts = []
    for arm in layout.ARMS:
        for side in (-1.0, 1.0):
            u = 27.0 + float(rng.uniform(0, 4))
            while u < 190.0:
                x, y = layout.from_arm(arm, u, side * 13.9)
                if not _near(x, y, clear_of_m):
                    parts.append(_grown(fine if u < 62 else coarse, rng, x, y, float(rng.uniform(0.62, 0.95))))
                u += float(rng.uniform(8.5, 13.5)) * (1.0 if u < 90 else 1.6)
            for _ in range(6):
                x, y = layout.from_arm(arm, float(rng.uniform(24, 150)), side * float(rng.uniform(18.6, 21.0)))
                if not _near(x, y, clear_of_m) and rng.random() < 0.6:
                    parts.append(shrub(rng, x, y))
        for _ in range(10):  # a park closes the street
            x, y = layout.from_arm(arm, layout.ROAD_END_M + float(rng.uniform(2, 18)), float(rng.uniform(-40, 40)))
            parts.append(_grown(coarse, rng, x, y, float(rng.uniform(0.9, 1.4))))
    return merge(parts)


def _near(x: float, y: float, discs: list[tuple[float, float, float]]) -> bool:
    return any(np.hypot(x - cx, y - cy) < r for cx, cy, r in discs)


def _grown(shapes: list[Mesh], rng: np.random.Generator, x: float, y: float, scale: float) -> Mesh:
    shape = shapes[int(rng.integers(len(shapes)))]
    stretch = scale * rng.uniform(0.9, 1.1, 3)
    return shape.placed(x, y, layout.SIDEWALK_Z_M, float(rng.uniform(0, 6.28)), stretch)


def tree(rng: np.random.Generator, kind: int, leaves: int, leaf_m: float) -> Mesh:
    """A tree about 9 m high: trunk, boughs, and so many leaf cards of this size on each clump."""
    bark = (0.36, 0.29, 0.23)
    fork = float(rng.uniform(2.5, 3.1))
    parts = [
        cylinder(
            (0, 0, 0),
            (rng.normal(0, 0.06), rng.normal(0, 0.06), fork),
            0.19,
            bark,
            BARK,
            end_radius_m=0.13,
            sides=7,
            caps=False,
        )
    ]
    narrow = kind == 3
    count = int(rng.integers(6, 9))
    clumps = []
    for i in range(count):
        a = 2.4 * i + float(rng.uniform(-0.4, 0.4))
        reach = (0.4 if narrow else 1.0) * float(rng.uniform(0.6, 1.9)) * (1.0 if i else 0.2)
        c = np.array(
            [reach * np.cos(a), reach * np.sin(a), fork + 1.1 + float(rng.uniform(0.2, 3.6 if not narrow else 4.6))]
        )
        r = np.array([1.45, 1.45, 1.15]) * float(rng.uniform(0.8, 1.2)) * (0.72 if narrow else 1.0)
        clumps.append((c, r))
        parts.append(cylinder((0, 0, fork - 0.2), tuple(c), 0.085, bark, BARK, end_radius_m=0.03, sides=5, caps=False))
    green = np.array(_GREENS[kind])
    parts += [ellipsoid(tuple(c), tuple(0.72 * r), 0.60 * green, FOLIAGE, sides=7, rows=4) for c, r in clumps]
    parts.append(_leaves(rng, clumps, green, leaves, leaf_m))
    return merge(parts)


def _leaves(rng: np.random.Generator, clumps: list[tuple[Float, Float]], green: Float, count: int, size: float) -> Mesh:
    """Tufts scattered over clumps (centre, radii): star-shaped cards of two triangles in random planes."""
    corners, normals, colours = [], [], []
    middle = np.mean([c for c, _ in clumps], axis=0)
    for c, r in clumps:
        d = rng.standard_normal((count, 3))
        d /= np.linalg.norm(d, axis=1, keepdims=True)
        p = c + d * r * rng.uniform(0.72, 1.08, (count, 1))
        tilt = d + 0.7 * rng.standard_normal((count, 3))
        e1 = np.cross(tilt, rng.standard_normal((count, 3)))
        e1 /= np.linalg.norm(e1, axis=1, keepdims=True)
        e2 = np.cross(tilt, e1)
        e2 /= np.linalg.norm(e2, axis=1, keepdims=True)
        s = size * rng.uniform(0.6, 1.25, (count, 1))
        n = d + 0.8 * (p - middle) / np.linalg.norm(r) + np.array([0, 0, 0.45])
        shade = green * rng.uniform(0.75, 1.3, (count, 1)) * (0.72 + 0.28 * (d[:, 2:3] * 0.5 + 0.5))
        for turn in (0.0, 1.05):
            a, b = np.cos(turn) * e1 + np.sin(turn) * e2, -np.sin(turn) * e1 + np.cos(turn) * e2
            corners.append(
                np.stack([p + s * a, p - 0.5 * s * a + 0.62 * s * b, p - 0.5 * s * a - 0.62 * s * b], axis=1)
            )
            normals.append(np.repeat(n[:, None], 3, axis=1))
            colours.append(np.repeat(shade[:, None], 3, axis=1))
    return triangles(
        np.concatenate(corners), np.clip(np.concatenate(colours), 0, 1), FOLIAGE, normals=np.concatenate(normals)
    )


def shrub(rng: np.random.Generator, x: float, y: float) -> Mesh:
    """A shrub about a metre high."""
    green = np.array(_GREENS[int(rng.integers(5))]) * 0.9
    clumps = []
    for _ in range(3):
        r = rng.uniform(0.35, 0.7, 3)
        clumps.append((np.array([x + rng.normal(0, 0.6), y + rng.normal(0, 0.6), r[2] * 0.8]), r))
    cores = [ellipsoid(tuple(c), tuple(0.8 * r), 0.6 * green, FOLIAGE, sides=7, rows=4) for c, r in clumps]
    return merge([*cores, _leaves(rng, clumps, green, 26, 0.22)])


__all__ = ["build", "shrub", "tree"]
