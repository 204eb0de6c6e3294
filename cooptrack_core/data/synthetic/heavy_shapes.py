"""Buses, trucks and high-roof vans."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cooptrack_core.data.synthetic.car_shapes import BRAKE, HEAD_LAMP, TAIL_LAMP
from cooptrack_core.data.synthetic.mesh import BODY, GLASS, LIGHT, MATTE, METAL, Mesh, box, merge, quads, triangles
from cooptrack_core.data.synthetic.wheels import wheels

_GLASS, _BLACK, _WHITE = (0.08, 0.09, 0.10), (0.035, 0.035, 0.04), (0.88, 0.88, 0.87)


def rounded_body(
    x0: float,
    x1: float,
    half: float,
    z0: float,
    z1: float,
    colour: Sequence[float],
    material: int,
    *,
    nose: float = 0.12,
    edge: float = 0.16,
) -> Mesh:
    """Box with bevelled upright corners (nose) and bevelled roof edges (edge)."""
    c = nose
    outline = np.array([
        (x1, -half + c), (x1, half - c), (x1 - c, half), (x0 + c, half),
        (x0, half - c), (x0, -half + c), (x0 + c, -half), (x1 - c, -half),
    ])  # fmt: skip
    centre = np.array([(x0 + x1) / 2, 0.0])
    inner = centre + (outline - centre) * (1 - edge / np.array([(x1 - x0) / 2, half]))
    parts = []
    for i in range(8):
        j = (i + 1) % 8
        a, b, p, q = outline[i], outline[j], inner[i], inner[j]
        parts.append([(*a, z0), (*b, z0), (*b, z1 - edge), (*a, z1 - edge)])
        parts.append([(*a, z1 - edge), (*b, z1 - edge), (*q, z1), (*p, z1)])
    fan = [[(*inner[0], z1), (*inner[k], z1), (*inner[k + 1], z1)] for k in range(1, 7)]
    return merge([quads(parts, colour, material), triangles(fan, colour, material)])


def _pane(
    x0: float, x1: float, y: float, z0: float, z1: float, colour: Sequence[float] = _GLASS, material: int = GLASS
) -> Mesh:
    """Flat panel on a side wall at y."""
    face = [(x0, y, z0), (x1, y, z0), (x1, y, z1), (x0, y, z1)]
    return quads([face if y < 0 else face[::-1]], colour, material)


def _front_pane(
    x: float,
    y0: float,
    y1: float,
    z0: float,
    z1: float,
    colour: Sequence[float] = _GLASS,
    material: int = GLASS,
    extra: float = 0.0,
) -> Mesh:
    """Flat panel on a front (x > 0) or rear wall."""
    face = [(x, y0, z0), (x, y1, z0), (x, y1, z1), (x, y0, z1)]
    return quads([face if x > 0 else face[::-1]], colour, material, extra=extra)


def _lamps(x_front: float, x_rear: float, half: float, z_front: float, z_rear: float) -> list[Mesh]:
    parts = []
    for s in (1, -1):
        a = sorted((s * 0.58 * half, s * 0.88 * half))
        parts.append(_front_pane(x_front, a[0], a[1], z_front, z_front + 0.18, HEAD_LAMP, LIGHT, 0.30))
        a = sorted((s * 0.72 * half, s * 0.92 * half))
        parts.append(_front_pane(x_rear, a[0], a[1], z_rear, z_rear + 0.30, TAIL_LAMP, LIGHT, BRAKE))
    parts.append(_front_pane(x_front + 0.002, -0.24, 0.24, z_front - 0.22, z_front - 0.08, (0.85, 0.68, 0.12), MATTE))
    parts.append(_front_pane(x_rear - 0.002, -0.24, 0.24, z_rear - 0.05, z_rear + 0.10, (0.85, 0.68, 0.12), MATTE))
    return parts


def bus(*, coach: bool) -> Mesh:
    """City bus with low floor, or coach with high windows."""
    length, half, top = (10.8, 1.25, 3.45) if coach else (11.6, 1.275, 3.0)
    a, b = -length / 2, length / 2
    w0, w1 = (1.62, 2.85) if coach else (1.12, 2.45)
    parts = [rounded_body(a, b, half, 0.30, top, (1, 1, 1), BODY, nose=0.14, edge=0.20)]
    parts.append(box((a + 0.15, -half + 0.06, 0.16), (b - 0.15, half - 0.06, 0.34), _BLACK))
    for y in (-half - 0.010, half + 0.010):
        parts.append(_pane(a + 0.35, b - 0.25, y, w0, w1))
        for x in np.arange(a + 1.5, b - 1.0, 1.45):
            parts.append(_pane(x - 0.045, x + 0.045, y * 1.010, w0, w1, _BLACK, MATTE))
        parts.append(_pane(a + 0.16, b - 0.16, y, 0.62, 0.80, _WHITE, MATTE))
        parts.append(_pane(a + 0.16, b - 0.16, y, w1 + 0.06, w1 + 0.12, _WHITE, MATTE))
    right = -half - 0.026
    for x in (b - 1.5,) if coach else (b - 1.5, 0.3):
        parts.append(_pane(x, x + 1.15, right, 0.38, w1 - 0.02))
        for e in (x, x + 0.555, x + 1.11):
            parts.append(_pane(e, e + 0.04, right * 1.010, 0.38, w1, _BLACK, MATTE))
    front, rear = b + 0.012, a - 0.012
    parts += [
        _front_pane(front, -half + 0.16, half - 0.16, w0 - 0.25, w1 - 0.02),
        _front_pane(front, -0.85, 0.85, w1 + 0.04, w1 + 0.30, _BLACK, MATTE),
        _front_pane(front + 0.016, -0.62, 0.62, w1 + 0.09, w1 + 0.25, (1.0, 0.55, 0.10), LIGHT, 0.9),
        _front_pane(rear, -half + 0.3, half - 0.3, w1 - 0.75, w1 - 0.02),
        _front_pane(rear, -half + 0.35, half - 0.35, 0.65, 1.25, (0.10, 0.10, 0.11), MATTE),
        box((b - 0.02, -half + 0.1, 0.30), (b + 0.02, half - 0.1, 0.52), _BLACK),
        *_lamps(front + 0.02, rear, half, 0.72, 0.80),
    ]
    roof = top if coach else 3.0
    parts.append(
        box((a + 2.0, -0.8, roof - 0.02), (a + 5.2, 0.8, roof + (0.05 if coach else 0.15)), (0.80, 0.80, 0.80))
    )
    for s in (1, -1):
        parts.append(box((b - 0.05, s * (half - 0.05) - 0.04, 1.9), (b + 0.16, s * (half - 0.05) + 0.04, 2.35), _BLACK))
    for x in (-length / 2 + 3.1, length / 2 - 2.6):
        parts += wheels(x, half, 0.48, 0.30, arch=True)
    return merge(parts)


def _cab(x0: float, x1: float, half: float, z0: float, top: float) -> list[Mesh]:
    """Forward-control truck cab: body, slightly raked windscreen, side windows, grille."""
    belt = z0 + 0.52 * (top - z0)
    lean = 0.16
    profile = [(x0, z0), (x1, z0), (x1, belt), (x1 - lean, top - 0.12), (x1 - 0.32, top), (x0, top)]
    walls = []
    for (xa, za), (xb, zb) in zip(profile, [*profile[1:], profile[0]], strict=True):
        walls.append([(xa, half, za), (xa, -half, za), (xb, -half, zb), (xb, half, zb)])
    sides = []
    for s in (1, -1):
        p = [(x, s * half, z) for x, z in profile]
        p = p if s < 0 else p[::-1]
        sides += [[p[0], p[k], p[k + 1]] for k in range(1, 5)]
    slope = lean / (top - 0.12 - belt)

    def screen(z: float, out: float) -> float:
        return x1 - slope * (z - belt) + out

    lo, hi = belt + 0.04, top - 0.18
    glass = [
        [
            (screen(lo, 0.014), -half + 0.10, lo),
            (screen(lo, 0.014), half - 0.10, lo),
            (screen(hi, 0.014), half - 0.12, hi),
            (screen(hi, 0.014), -half + 0.12, hi),
        ]
    ]
    parts = [quads(walls, (1, 1, 1), BODY), triangles(sides, (1, 1, 1), BODY), quads(glass, _GLASS, GLASS)]
    for s in (1, -1):
        y = s * (half + 0.012)
        parts.append(_pane(x0 + 0.35, x1 - 0.22, y, belt + 0.02, top - 0.28))
        parts.append(_pane(x0 + 0.30, x0 + 0.315, y, z0 + 0.1, top - 0.25, _BLACK, MATTE))
        parts.append(
            box(
                (x1 - 0.05, s * half - 0.14 if s < 0 else half - 0.02, belt + 0.1),
                (x1 + 0.10, s * half + 0.02 if s < 0 else half + 0.14, belt + 0.65),
                _BLACK,
            )
        )
    parts.append(_front_pane(x1 + 0.014, -half + 0.3, half - 0.3, z0 + 0.35, belt - 0.18, _BLACK, MATTE))
    parts.append(box((x1 - 0.25, -half, z0 - 0.12), (x1 + 0.03, half, z0 + 0.22), (0.16, 0.16, 0.17)))
    return parts


def box_truck() -> Mesh:
    """Delivery truck with a closed white body behind a painted cab."""
    half, a, b = 1.17, -3.8, 3.8
    parts = _cab(b - 1.75, b - 0.03, 1.08, 0.55, 2.55)
    body = (0.90, 0.90, 0.89)
    parts.append(rounded_body(a, b - 1.95, half + 0.03, 0.98, 3.25, body, MATTE, nose=0.03, edge=0.04))
    for y in (-half - 0.034, half + 0.034):
        for x in np.arange(a + 0.5, b - 2.2, 0.62):
            parts.append(_pane(x, x + 0.06, y, 1.05, 3.16, (0.80, 0.80, 0.79), MATTE))
        parts.append(_pane(a + 0.6, b - 2.6, y * 1.012, 1.75, 2.35, (1, 1, 1), BODY))
        parts.append(_pane(a + 0.1, b - 2.1, y * 1.012, 1.0, 1.07, (0.80, 0.12, 0.08), MATTE))
    rear = a - 0.012
    parts += [
        _front_pane(rear, -0.015, 0.015, 1.05, 3.15, _BLACK, MATTE),
        *[_front_pane(rear, y - 0.02, y + 0.02, 1.1, 3.1, (0.55, 0.55, 0.55), METAL) for y in (-0.3, 0.3)],
        box((a + 0.1, -0.45, 0.62), (b - 1.4, 0.45, 0.98), (0.10, 0.10, 0.11)),
        box((a + 0.02, -half, 0.52), (a + 0.12, half, 0.68), (0.75, 0.12, 0.10)),
        box((-0.3, -half + 0.05, 0.45), (1.1, half - 0.05, 0.85), (0.30, 0.31, 0.32), METAL),
        *_lamps(b + 0.016, a - 0.014, half, 0.72, 0.72),
    ]
    for x in (a + 1.55, b - 0.95):
        parts += wheels(x, half - 0.04, 0.45, 0.30, arch=False)
    return merge(parts)


def tipper() -> Mesh:
    """Three-axle tipper with an open tub."""
    half, a, b = 1.22, -4.2, 4.2
    parts = _cab(b - 1.9, b - 0.03, 1.15, 0.62, 2.95)
    x0, x1 = a + 0.05, b - 2.15
    for s in (1, -1):
        outer = [(x0, s * half, 1.25), (x1, s * half, 1.25), (x1, s * half, 2.75), (x0, s * half, 2.55)]
        inner = [
            (x0, s * (half - 0.1), 1.35),
            (x1, s * (half - 0.1), 1.35),
            (x1, s * (half - 0.1), 2.75),
            (x0, s * (half - 0.1), 2.55),
        ]
        rim = [outer[3], outer[2], inner[2], inner[3]]
        parts.append(quads([outer, inner, rim], (1, 1, 1), BODY))
        for x in np.arange(x0 + 0.3, x1, 0.95):
            parts.append(box((x, s * half - 0.03, 1.25), (x + 0.10, s * half + 0.03, 2.62), (0.92, 0.92, 0.92), BODY))
    parts += [
        box((x0, -half, 1.15), (x1, half, 1.36), (0.85, 0.85, 0.85), BODY),
        box((x1 - 0.08, -half, 1.25), (x1 + 0.04, half, 3.2), (1, 1, 1), BODY),
        box((x1, -half, 3.1), (b - 0.9, half, 3.2), (1, 1, 1), BODY),
        box((x0 - 0.05, -half, 1.25), (x0 + 0.03, half, 2.5), (0.9, 0.9, 0.9), BODY),
        box((x0 + 0.1, -half + 0.12, 2.2), (x1 - 0.1, half - 0.12, 2.42), (0.36, 0.29, 0.22)),
        box((a + 0.1, -0.45, 0.70), (b - 1.4, 0.45, 1.15), (0.10, 0.10, 0.11)),
        *_lamps(b + 0.016, a - 0.01, half, 0.78, 0.85),
    ]
    for x in (a + 1.2, a + 2.5, b - 1.15):
        parts += wheels(x, half - 0.03, 0.50, 0.32, arch=False)
    return merge(parts)


def delivery_van() -> Mesh:
    """High-roof van with a short bonnet."""
    half, a, b = 1.0, -2.95, 2.95
    profile = [
        (a, 0.38),
        (b, 0.38),
        (b, 0.95),
        (b - 0.25, 1.12),
        (b - 0.85, 1.30),
        (b - 1.65, 2.38),
        (b - 2.1, 2.58),
        (a + 0.1, 2.60),
        (a, 2.45),
    ]
    walls = []
    for (xa, za), (xb, zb) in zip(profile, [*profile[1:], profile[0]], strict=True):
        ya, yb = half * (0.93 if za > 1.9 else 1.0), half * (0.93 if zb > 1.9 else 1.0)
        walls.append([(xa, ya, za), (xa, -ya, za), (xb, -yb, zb), (xb, yb, zb)])
    parts = [quads(walls, (1, 1, 1), BODY)]
    for s in (1, -1):
        p = [(x, s * half * (0.93 if z > 1.9 else 1.0), z) for x, z in profile]
        centre = (-0.2, s * half, 1.2)
        fan = [[centre, p[k], p[(k + 1) % len(p)]] for k in range(len(p))]
        parts.append(triangles(fan if s < 0 else [t[::-1] for t in fan], (1, 1, 1), BODY))
        y = s * (half + 0.012)
        window = [(b - 1.02, y, 1.34), (b - 2.05, y, 1.34), (b - 2.05, y * 0.955, 2.12), (b - 1.58, y * 0.955, 2.12)]
        parts.append(quads([window], _GLASS, GLASS))
        for x in (b - 1.0, b - 2.12, b - 3.45):
            parts.append(_pane(x, x + 0.015, y, 0.5, 1.32, _BLACK, MATTE))
        parts.append(_pane(a + 0.2, b - 0.3, y, 0.62, 0.74, (0.12, 0.12, 0.13), MATTE))
        parts.append(
            box(
                (b - 1.15, s * half - 0.10 if s < 0 else half - 0.02, 1.35),
                (b - 1.0, s * half + 0.02 if s < 0 else half + 0.10, 1.65),
                _BLACK,
            )
        )
    screen = [(b - 0.90, -0.82, 1.345), (b - 0.90, 0.82, 1.345), (b - 1.60, 0.80, 2.30), (b - 1.60, -0.80, 2.30)]
    lift = np.array([0.012, 0, 0.012])
    parts.append(quads([np.array(screen) + lift], _GLASS, GLASS))
    parts += [
        _front_pane(b + 0.014, -0.55, 0.55, 0.66, 0.92, _BLACK, MATTE),
        _front_pane(b + 0.014, -0.95, 0.95, 0.38, 0.55, (0.14, 0.14, 0.15), MATTE),
        _front_pane(a - 0.014, -0.012, 0.012, 0.6, 2.4, _BLACK, MATTE),
        _front_pane(a - 0.005, -0.80, -0.08, 1.45, 2.15), _front_pane(a - 0.005, 0.08, 0.80, 1.45, 2.15),
        _front_pane(a - 0.014, -0.95, 0.95, 0.38, 0.55, (0.14, 0.14, 0.15), MATTE),
        *_lamps(b + 0.008, a - 0.008, half, 0.74, 0.95),
    ]  # fmt: skip
    for x in (a + 1.15, b - 1.0):
        parts += wheels(x, half, 0.36, 0.24, arch=True)
    return merge(parts)


__all__ = ["box_truck", "bus", "delivery_van", "rounded_body", "tipper"]
