"""People on two and three wheels, in phases of pedalling."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from cooptrack_core.data.synthetic.car_shapes import TAIL_LAMP
from cooptrack_core.data.synthetic.mesh import BODY, CLOTH, LIGHT, MATTE, METAL, Mesh, box, cylinder, ellipsoid, merge
from cooptrack_core.data.synthetic.people_shapes import RUBBER, SHOE, SKIN, head, limb

Point = tuple[float, float, float]


def _wheel(x: float, y: float, radius: float, width: float, *, spokes: bool) -> list[Mesh]:
    """A thin wheel: tyre as a ring of short bars, hub, and spokes or a disc."""
    t = np.linspace(0, 2 * np.pi, 17)
    p = [(x + (radius - width) * np.cos(a), y, radius + (radius - width) * np.sin(a)) for a in t]
    parts = [cylinder(a, b, width, RUBBER, MATTE, sides=5, caps=False) for a, b in pairwise(p)]
    parts.append(
        cylinder(
            (x, y - 0.04, radius),
            (x, y + 0.04, radius),
            0.035 if spokes else 0.55 * radius,
            (0.5, 0.5, 0.52),
            METAL,
            sides=8,
        )
    )
    if spokes:
        for a in t[:-1:2]:
            parts.append(
                cylinder(
                    (x, y, radius),
                    (x + (radius - width) * np.cos(a), y, radius + (radius - width) * np.sin(a)),
                    0.005,
                    (0.6, 0.6, 0.6),
                    METAL,
                    sides=3,
                    caps=False,
                )
            )
    return parts


def _rider(
    hip: Point,
    shoulder: Point,
    hands: Point,
    feet: tuple[Point, Point],
    helmet: Sequence[float] | None,
    trousers: Sequence[float],
) -> list[Mesh]:
    """A seated person: trunk from hip to shoulder, both hands at y = +-hands, a foot at each of feet."""
    h, s = np.array(hip), np.array(shoulder)
    parts = [
        limb(h, (h + s) / 2, 0.14, 0.15, (1, 1, 1), CLOTH),
        limb((h + s) / 2, s + np.array([0, 0, 0.05]), 0.15, 0.12, (1, 1, 1), CLOTH),
    ]
    parts += head((s[0] + 0.06, s[1], s[2] + 0.22), helmet=helmet)
    for side, foot in zip((1.0, -1.0), feet, strict=True):
        a = h + np.array([0.02, 0.085 * side, 0.0])
        f = np.array(foot)
        reach = f - a
        middle = (a + f) / 2
        gap = max(0.0, 0.86**2 - float(reach @ reach))
        forward = np.array([-reach[2], 0.0, reach[0]])
        forward = forward / max(float(np.linalg.norm(forward)), 1e-6)
        knee = middle + forward * np.sign(forward[0] + 1e-9) * np.sqrt(gap) / 2
        parts += [limb(a, knee, 0.085, 0.062, trousers), limb(knee, f + np.array([0, 0, 0.05]), 0.060, 0.042, trousers)]
        parts.append(box((f[0] - 0.09, f[1] - 0.04, f[2] - 0.03), (f[0] + 0.15, f[1] + 0.04, f[2] + 0.05), SHOE))
        shoulder_point = s + np.array([0.0, 0.18 * side, 0.0])
        hand = np.array([hands[0], hands[1] * side, hands[2]])
        elbow = (shoulder_point + hand) / 2 + np.array([-0.02, 0.07 * side, -0.10])
        parts += [
            limb(shoulder_point, elbow, 0.052, 0.045, (1, 1, 1), CLOTH),
            limb(elbow, hand, 0.042, 0.034, (0.95, 0.95, 0.95), CLOTH),
        ]
        parts.append(ellipsoid(tuple(hand), (0.05, 0.035, 0.04), SKIN, sides=6, rows=4))
    return parts


def bicycle(phase: float, *, city: bool) -> Mesh:
    """Bicycle and rider; city: upright, with basket and child seat."""
    r, colour = 0.34, (0.16, 0.30, 0.45) if not city else (0.85, 0.52, 0.10)
    parts = [*_wheel(-0.53, 0.0, r, 0.02, spokes=True), *_wheel(0.53, 0.0, r, 0.02, spokes=True)]
    crank, seat, head = (-0.05, 0.0, 0.30), (-0.22, 0.0, 0.92), (0.38, 0.0, 0.86)
    for a, b in (
        (crank, seat),
        (crank, head),
        (seat, head),
        ((-0.53, 0, r), crank),
        ((-0.53, 0, r), (-0.18, 0, 0.78)),
        ((0.53, 0, r), (0.34, 0, 1.02)),
    ):
        parts.append(cylinder(a, b, 0.022, colour, METAL, sides=6))
    parts.append(box((-0.36, -0.08, 0.92), (-0.10, 0.08, 0.98), SHOE))
    parts.append(cylinder((0.32, -0.30, 1.04), (0.32, 0.30, 1.04), 0.017, RUBBER, MATTE, sides=6))
    if city:
        parts.append(box((0.45, -0.18, 0.78), (0.80, 0.18, 1.02), (0.35, 0.34, 0.33), METAL))
        parts.append(box((-0.62, -0.08, 0.70), (-0.34, 0.08, 0.74), (0.2, 0.2, 0.2)))
    turn = 2 * np.pi * phase
    feet = tuple(
        (-0.05 + 0.17 * np.cos(turn + k), 0.11 * s, 0.30 - 0.17 * np.sin(turn + k))
        for k, s in ((0.0, 1.0), (np.pi, -1.0))
    )
    shoulder = (0.02, 0.0, 1.44) if city else (0.10, 0.0, 1.38)
    parts += _rider(
        (-0.22, 0.0, 1.0),
        shoulder,
        (0.30, 0.27, 1.06),
        (feet[0], feet[1]),
        None if city else (0.85, 0.85, 0.82),
        (0.18, 0.20, 0.26),
    )
    return merge(parts)


def scooter(*, motorcycle: bool) -> Mesh:
    """Electric scooter or motorcycle with a helmeted rider."""
    r = 0.30 if motorcycle else 0.25
    wheelbase = 0.72 if motorcycle else 0.64
    parts = [*_wheel(-wheelbase, 0.0, r, 0.06, spokes=False), *_wheel(wheelbase, 0.0, r, 0.06, spokes=False)]
    if motorcycle:
        parts += [
            ellipsoid((0.12, 0, 0.78), (0.34, 0.17, 0.17), (1, 1, 1), BODY),
            box((-0.72, -0.13, 0.74), (-0.10, 0.13, 0.84), SHOE),
            box((-0.30, -0.16, 0.28), (0.30, 0.16, 0.62), (0.25, 0.25, 0.26), METAL),
            cylinder((-0.75, -0.17, 0.34), (0.0, -0.17, 0.30), 0.05, (0.6, 0.6, 0.6), METAL),
            box((-0.98, -0.22, 0.82), (-0.62, 0.22, 1.14), (0.14, 0.14, 0.15)),
        ]
        feet: tuple[Point, Point] = ((-0.10, 0.18, 0.32), (-0.10, -0.18, 0.32))
        hip, shoulder, hands = (-0.25, 0.0, 0.93), (0.02, 0.0, 1.34), (0.46, 0.30, 1.02)
    else:
        parts += [
            box((-0.72, -0.16, 0.42), (-0.12, 0.16, 0.72), (1, 1, 1), BODY),
            box((-0.14, -0.15, 0.26), (0.36, 0.15, 0.33), (0.14, 0.14, 0.15)),
            box((0.32, -0.18, 0.30), (0.44, 0.18, 0.92), (1, 1, 1), BODY),
            box((-0.74, -0.14, 0.72), (-0.10, 0.14, 0.80), SHOE),
            box((-0.98, -0.20, 0.80), (-0.62, 0.20, 1.14), (0.95, 0.72, 0.08)),
        ]
        feet = ((0.16, 0.11, 0.37), (0.16, -0.11, 0.37))
        hip, shoulder, hands = (-0.32, 0.0, 0.90), (-0.20, 0.0, 1.34), (0.34, 0.28, 1.02)
    parts += [
        cylinder((wheelbase, 0, r), (wheelbase - 0.28, 0, 1.0), 0.035, (0.3, 0.3, 0.3), METAL, sides=6),
        cylinder((wheelbase - 0.28, -0.34, 1.02), (wheelbase - 0.28, 0.34, 1.02), 0.02, RUBBER, MATTE, sides=6),
        box((wheelbase - 0.22, -0.09, 0.80), (wheelbase - 0.12, 0.09, 0.95), (0.95, 0.95, 0.9), LIGHT, extra=0.5),
        box((-wheelbase - 0.18, -0.07, 0.60), (-wheelbase - 0.06, 0.07, 0.70), TAIL_LAMP, LIGHT, extra=1.0),
    ]
    parts += _rider(
        hip, shoulder, hands, feet, (0.90, 0.88, 0.82) if not motorcycle else (0.14, 0.14, 0.16), (0.17, 0.19, 0.24)
    )
    return merge(parts)


def cargo_trike(phase: float) -> Mesh:
    """Delivery tricycle: rider in front, closed cargo box over the rear axle."""
    parts = [
        *_wheel(1.02, 0.0, 0.27, 0.035, spokes=True),
        *_wheel(-0.78, 0.48, 0.27, 0.045, spokes=False),
        *_wheel(-0.78, -0.48, 0.27, 0.045, spokes=False),
    ]
    parts += [
        box((-1.36, -0.54, 0.46), (-0.10, 0.54, 1.40), (1, 1, 1), BODY),
        box((-1.37, -0.50, 0.50), (-1.355, 0.50, 1.34), (0.82, 0.82, 0.80)),
        box((-1.30, -0.555, 0.95), (-0.16, 0.555, 1.12), (0.92, 0.92, 0.90)),
        box((-1.3, -0.4, 0.36), (0.1, 0.4, 0.46), (0.12, 0.12, 0.13)),
        cylinder((0.0, 0, 0.42), (0.90, 0, 0.62), 0.03, (0.25, 0.25, 0.26), METAL, sides=6),
        cylinder((1.02, 0, 0.27), (0.84, 0, 1.02), 0.026, (0.25, 0.25, 0.26), METAL, sides=6),
        cylinder((0.80, -0.30, 1.04), (0.80, 0.30, 1.04), 0.018, RUBBER, MATTE, sides=6),
        box((0.02, -0.13, 0.78), (0.30, 0.13, 0.86), SHOE),
        cylinder((0.16, 0, 0.45), (0.16, 0, 0.8), 0.03, (0.25, 0.25, 0.26), METAL, sides=6),
        box((-1.385, -0.50, 0.52), (-1.36, -0.40, 0.66), TAIL_LAMP, LIGHT, extra=1.0),
        box((-1.385, 0.40, 0.52), (-1.36, 0.50, 0.66), TAIL_LAMP, LIGHT, extra=1.0),
    ]
    turn = 2 * np.pi * phase
    feet = tuple(
        (0.50 + 0.14 * np.cos(turn + k), 0.11 * s, 0.42 - 0.14 * np.sin(turn + k))
        for k, s in ((0.0, 1.0), (np.pi, -1.0))
    )
    parts += _rider(
        (0.16, 0.0, 0.95), (0.24, 0.0, 1.40), (0.78, 0.27, 1.06), (feet[0], feet[1]), None, (0.16, 0.18, 0.22)
    )
    return merge(parts)


__all__ = ["bicycle", "cargo_trike", "scooter"]
