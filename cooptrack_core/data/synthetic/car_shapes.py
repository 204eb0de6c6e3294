"""Passenger cars as lofted bodies: lower body, greenhouse, wheels, lights and trim."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cooptrack_core.data.synthetic.car_models import CarShape
from cooptrack_core.data.synthetic.mesh import (
    BODY,
    GLASS,
    LIGHT,
    MATTE,
    METAL,
    Mesh,
    box,
    cylinder,
    grid,
    merge,
    quads,
    triangles,
)
from cooptrack_core.data.synthetic.wheels import wheels

Float = NDArray[np.float64]

_GLASS_COLOUR, _BLACK = (0.09, 0.10, 0.11), (0.035, 0.035, 0.04)
HEAD_LAMP, TAIL_LAMP = (0.92, 0.93, 0.95), (0.62, 0.03, 0.03)
BRAKE = 1.0  # `extra` of lamps that light up when braking


def build(shape: CarShape, *, taxi: bool = False, bed: bool = False) -> Mesh:
    """The car of a shape; taxi adds a roof sign, bed an open load bed."""
    parts = [_lower_body(shape), *_greenhouse(shape), *_trim(shape), *_lamps(shape)]
    for x in shape.axles:
        parts += wheels(x, shape.width / 2, shape.wheel, 0.22, arch=True)
    if shape.roof_rails:
        (x0, z0), (x1, z1) = shape.roof[1], shape.roof[2]
        for y in (-0.58, 0.58):
            parts.append(
                cylinder((x0 + 0.15, y, z0 + 0.0), (x1 - 0.25, y, z1 - 0.0), 0.022, (0.25, 0.25, 0.26), METAL, sides=5)
            )
    if taxi:
        z = shape.roof[2][1]
        parts.append(box((-0.30, -0.36, z - 0.01), (-0.12, 0.36, z + 0.13), (0.95, 0.93, 0.85), LIGHT, extra=0.35))
        parts.append(_side_band(shape, 0.62, 0.80, (0.96, 0.96, 0.96)))
    if bed:
        parts += _load_bed(shape)
    return merge(parts)


def _lower_body(shape: CarShape) -> Mesh:
    """Loft of the body below the windows, rounded at nose and tail."""
    x = np.array([p[0] for p in shape.deck])
    top = np.array([p[1] for p in shape.deck])
    xs = np.unique(np.concatenate([x, np.linspace(x[0], x[-1], 25)]))
    z1 = np.interp(xs, x, top)
    t = (xs - xs[0]) / (xs[-1] - xs[0])
    half = (
        shape.width
        / 2
        * (1 - 0.22 * np.clip((t - 0.86) / 0.14, 0, 1) ** 2.2 - 0.14 * np.clip((0.09 - t) / 0.09, 0, 1) ** 2)
    )
    low = shape.sill + 0.10 * np.clip((t - 0.92) / 0.08, 0, 1) + 0.12 * np.clip((0.06 - t) / 0.06, 0, 1)
    rings = []
    for xi, w, a, b in zip(xs, half, low, z1, strict=True):
        m = a + 0.52 * (b - a)
        right = [
            (0.0, a),
            (0.80 * w, a),
            (0.955 * w, a + 0.07),
            (w, m),
            (0.985 * w, b - 0.10),
            (0.93 * w, b - 0.02),
            (0.78 * w, b + 0.015),
            (0.0, b + 0.035),
        ]
        ring = [(xi, -y, z) for y, z in right] + [(xi, y, z) for y, z in reversed(right[:-1])]
        rings.append(ring)
    return loft(rings, (1, 1, 1), BODY)


def loft(rings: ArrayLike, colour: Sequence[float], material: int) -> Mesh:
    """Closed skin over rings [R, C, 3] (each from bottom centre to bottom centre), smooth, with flat end caps."""
    p = np.asarray(rings, np.float64)
    normals = lattice_normals(p)
    caps = []
    for ring, sign in ((p[0], -1.0), (p[-1], 1.0)):
        centre = ring.mean(axis=0)
        fan = np.stack([np.broadcast_to(centre, (len(ring) - 1, 3)), ring[:-1], ring[1:]], axis=1)
        normal = np.broadcast_to([sign, 0.0, 0.0], fan.shape)
        caps.append(triangles(fan, colour, material, normals=normal))
    return merge([grid(p, colour, material, normals=normals), *caps])


def lattice_normals(p: Float) -> Float:
    """[R, C, 3] outward normals of a lattice whose rings run counter-clockwise seen from the front."""
    along = np.gradient(p, axis=0)
    around = np.gradient(p, axis=1)
    n = np.cross(along, around)
    centre = p.mean(axis=(0, 1))
    flip = np.sign(np.sum(n * (p - centre), axis=(0, 1)).sum())
    return np.asarray(n * (flip if flip else 1.0))


def _greenhouse(shape: CarShape) -> list[Mesh]:
    """Windows and roof. Stations from the rear glass foot to the windscreen foot."""
    (xa, za), (xb, zb), (xc, zc), (xd, zd) = shape.roof
    deck_x, deck_z = np.array(shape.deck).T
    w = shape.width / 2
    mid = (xb + xc) / 2
    stations = [(xa, za, 0.0), (xb, zb, 1.0), (mid, max(zb, zc) + 0.012, 1.0), (xc, zc, 1.0), (xd, zd, 0.0)]
    belt, edge, crown = [], [], []
    for x, z, full in stations:
        foot = float(np.interp(x, deck_x, deck_z)) - 0.01
        belt.append((x, 0.90 * w, foot))
        edge.append((x, (0.74 if full else 0.80) * w, z - 0.045 * full))
        crown.append((x, 0.0, z + (0.03 if full else 0.045)))
    parts = []
    for side in (1.0, -1.0):
        flip = np.array([1.0, side, 1.0])
        b, e, c = np.array(belt) * flip, np.array(edge) * flip, np.array(crown) * flip
        for i in range(4):
            glass = i in (0, 3)
            solid = max(b[i][0], b[i + 1][0]) <= shape.solid_from + 1e-6
            panel = np.array([[b[i], b[i + 1]], [e[i], e[i + 1]]])
            parts.append(_patch(panel, (1, 1, 1) if solid else _GLASS_COLOUR, BODY if solid else GLASS, side))
            top = np.array(
                [[e[i], e[i + 1]], [0.45 * e[i] + 0.55 * c[i], 0.45 * e[i + 1] + 0.55 * c[i + 1]], [c[i], c[i + 1]]]
            )
            top[1, :, 2] += 0.022
            parts.append(_patch(top, _GLASS_COLOUR if glass else (1, 1, 1), GLASS if glass else BODY, side))
        for i in (0, 3):  # pillars along the slanted glass
            k = (i, i + 1)
            parts.append(
                cylinder(
                    b[k[0]] if i == 0 else b[k[1]],
                    e[1] if i == 0 else e[3],
                    0.036 if i == 0 else 0.028,
                    (1, 1, 1),
                    BODY,
                    sides=6,
                )
            )
        for x in (*shape.pillars,):
            parts.append(_pillar(x, b, e, side))
        parts.append(cylinder(e[1], e[3], 0.024, (1, 1, 1), BODY, sides=6))
    return parts


def _patch(p: Float, colour: Sequence[float], material: int, side: float) -> Mesh:
    """Lattice patch whose normals point outward on this side."""
    n = np.cross(np.gradient(p, axis=1), np.gradient(p, axis=0))
    n *= np.sign(n[..., 1:2] * side + 2.0 * n[..., 2:3] + 1e-9)
    return grid(p, colour, material, normals=n)


def _pillar(x: float, belt: Float, edge: Float, side: float) -> Mesh:
    def at(line: Float) -> Float:
        order = np.argsort(line[:, 0])
        return np.array([np.interp(x, line[order, 0], line[order, k]) for k in range(3)])

    a, b = at(belt), at(edge)
    out = np.array([0.0, 0.008 * side, 0.004])
    dx = np.array([0.045, 0, 0])
    return quads([[a - dx + out, a + dx + out, b + 0.8 * dx + out, b - 0.8 * dx + out]], _BLACK, MATTE)


def _trim(shape: CarShape) -> list[Mesh]:
    """Door gaps, handles, mirrors, grille, plates and bumpers."""
    deck_x, deck_z = np.array(shape.deck).T
    w, parts = shape.width / 2, []
    first, last = shape.axles[0] + 0.62, shape.axles[1] - 0.52
    gaps = [first, *[p for p in shape.pillars if first + 0.4 < p < last - 0.4], last]
    for side in (1.0, -1.0):
        y = side * (w + 0.008)
        for x in gaps:
            belt = float(np.interp(x, deck_x, deck_z)) - 0.12
            parts.append(
                quads(
                    [
                        [
                            (x - 0.010, y, shape.sill + 0.12),
                            (x + 0.010, y, shape.sill + 0.12),
                            (x + 0.010, y, belt),
                            (x - 0.010, y, belt),
                        ]
                    ],
                    _BLACK,
                    MATTE,
                )
            )
        for x in gaps[:-1]:
            z = float(np.interp(x, deck_x, deck_z)) - 0.17
            parts.append(box((x + 0.08, y - 0.014, z), (x + 0.26, y + 0.014, z + 0.03), (0.32, 0.32, 0.33), METAL))
        mirror_x = shape.roof[3][0] - 0.33
        z = float(np.interp(mirror_x, deck_x, deck_z))
        ys = sorted((side * 0.86 * w, side * 1.0 * w))
        parts.append(box((mirror_x - 0.05, ys[0], z + 0.02), (mirror_x + 0.12, ys[1], z + 0.17), (1, 1, 1), BODY))
        sill = sorted((side * 0.80 * w, side * (0.97 * w)))
        parts.append(
            box(
                (shape.axles[0] + 0.4, sill[0], shape.sill - 0.02),
                (shape.axles[1] - 0.4, sill[1], shape.sill + 0.09),
                _BLACK,
            )
        )
    nose, tail = deck_x[-1], deck_x[0]
    parts += [
        box((nose - 0.10, -0.50 * w, 0.50 * deck_z[-1] + 0.12), (nose + 0.006, 0.50 * w, deck_z[-1] - 0.04), _BLACK),
        box((nose - 0.14, -0.72 * w, shape.sill + 0.04), (nose - 0.004, 0.72 * w, shape.sill + 0.16), _BLACK),
        box((nose - 0.02, -0.22, 0.42), (nose + 0.012, 0.22, 0.53), (0.10, 0.22, 0.55)),
        box((tail - 0.012, -0.22, 0.62), (tail + 0.02, 0.22, 0.73), (0.10, 0.22, 0.55)),
        box((tail - 0.006, -0.78 * w, shape.sill + 0.06), (tail + 0.14, 0.78 * w, shape.sill + 0.22), _BLACK),
    ]
    return parts


def _lamps(shape: CarShape) -> list[Mesh]:
    deck_x, deck_z = np.array(shape.deck).T
    w, nose, tail = shape.width / 2, deck_x[-1], deck_x[0]
    front_z, rear_z = float(np.interp(nose - 0.16, deck_x, deck_z)), float(np.interp(tail + 0.06, deck_x, deck_z))
    parts = []
    for side in (1.0, -1.0):
        ys = sorted((side * 0.50 * w, side * 0.82 * w))
        parts.append(
            box(
                (nose - 0.30, ys[0], front_z - 0.17),
                (nose - 0.045, ys[1], front_z - 0.04),
                HEAD_LAMP,
                LIGHT,
                extra=0.30,
            )
        )
        ys = sorted((side * 0.56 * w, side * 0.925 * w))
        parts.append(
            box(
                (tail - 0.008, ys[0], rear_z - 0.24), (tail + 0.16, ys[1], rear_z - 0.08), TAIL_LAMP, LIGHT, extra=BRAKE
            )
        )
    return parts


def _side_band(shape: CarShape, z0: float, z1: float, colour: Sequence[float]) -> Mesh:
    w = shape.width / 2 + 0.002
    x0, x1 = shape.axles[0] + 0.45, shape.axles[1] - 0.45
    faces = [[(x0, s * w, z0), (x1, s * w, z0), (x1, s * w, z1), (x0, s * w, z1)] for s in (1, -1)]
    return quads(faces, colour, BODY if colour == (1, 1, 1) else MATTE)


def _load_bed(shape: CarShape) -> list[Mesh]:
    w, z = shape.width / 2, 1.14
    return [
        box((-2.52, -0.80 * w, z), (-0.75, 0.80 * w, z + 0.012), (0.07, 0.07, 0.075)),
        *[
            box((-2.58, s * 0.86 * w - 0.05, z - 0.05), (-0.68, s * 0.86 * w + 0.05, z + 0.06), (1, 1, 1), BODY)
            for s in (1, -1)
        ],
        box((-2.62, -0.86 * w, z - 0.05), (-2.52, 0.86 * w, z + 0.06), (1, 1, 1), BODY),
    ]


__all__ = ["BRAKE", "HEAD_LAMP", "TAIL_LAMP", "build", "loft"]
