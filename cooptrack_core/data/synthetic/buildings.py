"""Houses along the streets: facades, shop fronts, balconies, roofs; and a skyline behind."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.data.synthetic import layout
from cooptrack_core.data.synthetic.mesh import FACADE, MATTE, METAL, SHOP, Mesh, box, cylinder, merge, quads

Float = NDArray[np.float64]

# Styles of the facade shader: plaster, brick, glass tower, ribbon windows, slender windows.
PLASTER, BRICK, TOWER, RIBBON, SLENDER = range(5)
WALL_COLOURS = {
    PLASTER: ((0.86, 0.80, 0.69), (0.83, 0.74, 0.62), (0.88, 0.86, 0.82), (0.79, 0.66, 0.54), (0.72, 0.75, 0.74)),
    BRICK: ((0.60, 0.34, 0.26), (0.55, 0.38, 0.30), (0.66, 0.47, 0.36), (0.48, 0.36, 0.32)),
    TOWER: ((0.46, 0.52, 0.57), (0.35, 0.42, 0.48), (0.55, 0.58, 0.58)),
    RIBBON: ((0.80, 0.79, 0.76), (0.68, 0.67, 0.65), (0.84, 0.80, 0.73)),
    SLENDER: ((0.76, 0.70, 0.62), (0.87, 0.85, 0.80), (0.60, 0.58, 0.57)),
}
SHOP_HEIGHT_M = 4.3


def build(rng: np.random.Generator) -> Mesh:
    """All houses of a location."""
    parts: list[Mesh] = []
    for sx in (1.0, -1.0):
        for sy in (1.0, -1.0):
            corner = (float(rng.uniform(20, 30)), float(rng.uniform(20, 30)))
            gap = float(rng.uniform(22.0, 25.0))
            parts.append(_house(rng, (gap, gap), corner, (sx, sy), float(rng.uniform(9, 17))))
            parts += _row(rng, gap + corner[0], gap, (sx, sy), False)
            parts += _row(rng, gap + corner[1], gap, (sx, sy), True)
    parts += _skyline(rng)
    return merge(parts)


def _row(rng: np.random.Generator, start: float, gap: float, signs: tuple[float, float], swapped: bool) -> list[Mesh]:
    """Houses along one arm of a quadrant, farther ones taller."""
    out, u = [], start + float(rng.uniform(3, 9))
    while u < 230.0:
        width, depth = float(rng.uniform(14, 32)), float(rng.uniform(13, 20))
        height = float(rng.uniform(9, 19)) if u < 85 else float(rng.uniform(14, 44))
        back = gap + float(rng.uniform(-1.0, 3.0))
        at, size = ((back, u), (depth, width)) if swapped else ((u, back), (width, depth))
        out.append(_house(rng, at, size, signs, height))
        u += width + (float(rng.uniform(0.0, 0.4)) if rng.random() < 0.45 else float(rng.uniform(4, 12)))
    return out


def _house(
    rng: np.random.Generator,
    at: tuple[float, float],
    size: tuple[float, float],
    signs: tuple[float, float],
    height: float,
) -> Mesh:
    """A house whose near corner lies at `at` in the quadrant with these signs."""
    style = (
        int(rng.choice([PLASTER, BRICK, RIBBON, SLENDER], p=[0.36, 0.26, 0.18, 0.20]))
        if height < 24
        else int(rng.choice([TOWER, RIBBON, SLENDER, PLASTER], p=[0.45, 0.2, 0.2, 0.15]))
    )
    colours = WALL_COLOURS[style]
    colour = np.clip(np.array(colours[int(rng.integers(len(colours)))]) + rng.normal(0, 0.015, 3), 0, 1)
    kind = style + float(rng.uniform(0.02, 0.98))
    floor = (3.0, 3.1, 3.6, 3.3, 3.3)[style]
    x = sorted((signs[0] * at[0], signs[0] * (at[0] + size[0])))
    y = sorted((signs[1] * at[1], signs[1] * (at[1] + size[1])))
    has_shops = style != TOWER and rng.random() < 0.8
    base = SHOP_HEIGHT_M if has_shops else 0.0
    top = base + floor * max(2, round((height - base) / floor))
    parts = [walls(x, y, base, top, colour, FACADE, kind)]
    if has_shops:
        parts.append(walls(x, y, 0.0, base, colour * 0.85, SHOP, kind))
        parts.append(ledge(x, y, base - 0.25, base + 0.1, 0.3, colour * 0.9))
        parts += _awnings(rng, x, y, signs)
    trim = colour * (0.95 if style != BRICK else 1.25)
    parts.append(ledge(x, y, top, top + 0.7, 0.18, np.clip(trim, 0, 1)))
    parts.append(box((x[0], y[0], top + 0.1), (x[1], y[1], top + 0.2), (0.42, 0.41, 0.40)))
    parts += _roof(rng, x, y, top)
    if style == PLASTER:
        parts += _balconies(rng, _street_faces(x, y, signs), (base, top, floor), colour)
    return merge(parts)


def walls(x: list[float], y: list[float], z0: float, z1: float, colour: Float, material: int, extra: float) -> Mesh:
    """Four walls over the rectangle x, y."""
    c = [(x[0], y[0]), (x[1], y[0]), (x[1], y[1]), (x[0], y[1])]
    faces = [[(*a, z0), (*b, z0), (*b, z1), (*a, z1)] for a, b in zip(c, [*c[1:], c[0]], strict=True)]
    return quads(faces, colour, material, extra=extra)


def ledge(x: list[float], y: list[float], z0: float, z1: float, out: float, colour: Float) -> Mesh:
    """A band around the house that stands out."""
    t = 0.25
    bars = (
        ((x[0] - out, y[0] - out), (x[1] + out, y[0] + t)), ((x[0] - out, y[1] - t), (x[1] + out, y[1] + out)),
        ((x[0] - out, y[0] + t), (x[0] + t, y[1] - t)), ((x[1] - t, y[0] + t), (x[1] + out, y[1] - t)),
    )  # fmt: skip
    return merge([box((*a, z0), (*b, z1), colour) for a, b in bars])


def _roof(rng: np.random.Generator, x: list[float], y: list[float], top: float) -> list[Mesh]:
    out = []
    for _ in range(int(rng.integers(1, 4))):
        w, d, h = rng.uniform(2, 6), rng.uniform(2, 5), rng.uniform(1.5, 3.2)
        cx, cy = rng.uniform(x[0] + 4, max(x[1] - 4, x[0] + 5)), rng.uniform(y[0] + 4, max(y[1] - 4, y[0] + 5))
        grey = float(rng.uniform(0.45, 0.7))
        out.append(box((cx - w / 2, cy - d / 2, top), (cx + w / 2, cy + d / 2, top + h), (grey, grey, grey * 0.98)))
    if rng.random() < 0.3:
        cx, cy = (x[0] + x[1]) / 2, (y[0] + y[1]) / 2
        out.append(
            cylinder((cx, cy, top), (cx, cy, top + float(rng.uniform(4, 8))), 0.06, (0.6, 0.6, 0.6), METAL, sides=5)
        )
    return out


def _street_faces(
    x: list[float], y: list[float], signs: tuple[float, float]
) -> list[tuple[Float, Float, Float, float]]:
    """Both faces towards the streets: start, direction along, direction outward, length."""
    fx = x[0] if signs[0] > 0 else x[1]
    fy = y[0] if signs[1] > 0 else y[1]
    return [
        (np.array([fx, y[0]]), np.array([0.0, 1.0]), np.array([-signs[0], 0.0]), y[1] - y[0]),
        (np.array([x[0], fy]), np.array([1.0, 0.0]), np.array([0.0, -signs[1]]), x[1] - x[0]),
    ]


def _block(
    p: Float,
    along: Float,
    out: Float,
    a: float,
    b: float,
    c: float,
    z0: float,
    z1: float,
    colour: object,
    material: int = MATTE,
) -> Mesh:
    """Box on a face from a to b along it, standing out by c."""
    q = np.stack([p + a * along, p + b * along + c * out])
    return box((*q.min(axis=0), z0), (*q.max(axis=0), z1), np.asarray(colour, np.float64), material)


def _awnings(rng: np.random.Generator, x: list[float], y: list[float], signs: tuple[float, float]) -> list[Mesh]:
    out = []
    for p, along, outward, length in _street_faces(x, y, signs):
        for a in np.arange(1.0, length - 4.5, 5.0):
            if rng.random() < 0.45:
                colour = np.clip(0.42 + 0.22 * np.cos(6.283 * (rng.random() + np.array([0, 0.33, 0.67]))), 0, 1)
                p0, p1 = p + a * along, p + (a + 4.2) * along
                q0, q1 = p0 + 1.3 * outward, p1 + 1.3 * outward
                face = [
                    [(*p0, 2.95), (*p1, 2.95), (*q1, 2.5), (*q0, 2.5)],
                    [(*q0, 2.5), (*q1, 2.5), (*q1, 2.28), (*q0, 2.28)],
                ]
                out.append(quads(face, colour, MATTE))
    return out


def _balconies(
    rng: np.random.Generator,
    faces: list[tuple[Float, Float, Float, float]],
    heights: tuple[float, float, float],
    colour: Float,
) -> list[Mesh]:
    """Balconies, and air conditioners between them."""
    out = []
    base, top, floor = heights
    rail = np.clip(colour * float(rng.uniform(0.55, 1.05)), 0, 1)
    step = float(rng.choice([6.4, 7.2, 9.6]))
    for p, along, outward, length in faces:
        for a in np.arange(1.6, length - 3.4, step):
            for z in np.arange(base + floor if base == 0 else base, top - 1.0, floor):
                out.append(_block(p, along, outward, a, a + 2.9, 1.15, z - 0.08, z + 0.06, (0.66, 0.65, 0.62)))
                out.append(_block(p + 1.08 * outward, along, outward, a, a + 2.9, 0.07, z + 0.06, z + 1.0, rail))
                for side in (a, a + 2.83):
                    out.append(_block(p, along, outward, side, side + 0.07, 1.1, z + 0.06, z + 1.0, rail))
                if rng.random() < 0.5:
                    out.append(_block(p, along, outward, a + 3.6, a + 4.4, 0.34, z + 0.3, z + 0.85, (0.82, 0.82, 0.80)))
    return out


def _skyline(rng: np.random.Generator) -> list[Mesh]:
    """Tall houses far away, and what closes the view at the ends of the roads."""
    out = []
    for i in range(46):
        angle, radius = 2 * np.pi * (i + float(rng.uniform(-0.3, 0.3))) / 46, float(rng.uniform(300, 620))
        cx, cy = radius * np.cos(angle), radius * np.sin(angle)
        if min(abs(cx), abs(cy)) < 45:
            continue
        w, d, h = rng.uniform(24, 46), rng.uniform(20, 36), rng.uniform(24, 110)
        style = int(rng.choice([TOWER, RIBBON, SLENDER]))
        colour = np.array(WALL_COLOURS[style][int(rng.integers(len(WALL_COLOURS[style])))])
        x, y = [cx - w / 2, cx + w / 2], [cy - d / 2, cy + d / 2]
        out.append(
            merge(
                [
                    walls(x, y, 0, h, colour, FACADE, style + float(rng.uniform(0.02, 0.98))),
                    box((x[0], y[0], h), (x[1], y[1], h + 1), (0.4, 0.4, 0.4)),
                ]
            )
        )
    for arm in layout.ARMS:
        v = -58.0
        while v < 58.0:
            width, style = float(rng.uniform(16, 30)), int(rng.choice([TOWER, RIBBON, SLENDER, BRICK]))
            start = layout.ROAD_END_M + 22 + float(rng.uniform(0, 10))
            a, b = layout.from_arm(arm, start, v), layout.from_arm(arm, start + 18, v + width)
            lo, hi = np.minimum(a, b), np.maximum(a, b)
            colour = np.array(WALL_COLOURS[style][int(rng.integers(len(WALL_COLOURS[style])))])
            x, y, h = [lo[0], hi[0]], [lo[1], hi[1]], float(rng.uniform(14, 58))
            out.append(walls(x, y, 0.0, h, colour, FACADE, style + float(rng.uniform(0.02, 0.98))))
            out.append(ledge(x, y, h, h + 1.0, 0.3, colour))
            v += width + (float(rng.uniform(3, 12)) if rng.random() < 0.5 else 0.3)
    return out


__all__ = ["SHOP_HEIGHT_M", "WALL_COLOURS", "build", "ledge", "walls"]
