"""People on foot and on two or three wheels, in phases of their stride or pedalling."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.data.synthetic.car_shapes import TAIL_LAMP
from cooptrack_core.data.synthetic.mesh import (
    BODY,
    CLOTH,
    LIGHT,
    MATTE,
    METAL,
    Mesh,
    box,
    cylinder,
    ellipsoid,
    grid,
    merge,
)

Float = NDArray[np.float64]
Point = tuple[float, float, float]

_SKIN, _HAIR, _SHOE, _RUBBER = (0.78, 0.58, 0.46), (0.10, 0.08, 0.07), (0.12, 0.11, 0.11), (0.06, 0.06, 0.065)
_TROUSERS = {
    "adult": (0.16, 0.18, 0.24),
    "woman": (0.24, 0.23, 0.26),
    "walker_bag": (0.30, 0.28, 0.25),
    "child": (0.20, 0.28, 0.42),
}


def _limb(
    a: Sequence[float], b: Sequence[float], r0: float, r1: float, colour: Sequence[float], material: int = MATTE
) -> Mesh:
    return cylinder(a, b, r0, colour, material, end_radius_m=r1, sides=7, caps=True)


def pedestrian(kind: str, phase: float) -> Mesh:
    """A walker 1.74 m tall before fitting; phase 0..1 of the stride."""
    swing = np.sin(2 * np.pi * phase)
    hip, shoulder = 0.90, 1.42
    parts: list[Mesh] = []
    trousers = _TROUSERS[kind]
    for side, s in ((1.0, swing), (-1.0, -swing)):
        y = 0.095 * side
        knee = (0.20 * s + 0.06, y, 0.48)
        bend = max(0.0, -s) * 0.16
        foot = (0.30 * s - 0.7 * bend, y, 0.06 + 0.6 * bend)
        parts.append(_limb((0.0, y, hip), knee, 0.090, 0.065, trousers))
        parts.append(_limb(knee, (foot[0], y, foot[2] + 0.02), 0.062, 0.045, trousers))
        parts.append(ellipsoid((foot[0] + 0.05, y, foot[2] - 0.015), (0.13, 0.045, 0.05), _SHOE, sides=7, rows=4))
        arm = -0.85 * s
        elbow = (0.12 * arm, 0.235 * side, 1.14)
        hand = (0.30 * arm + 0.06, 0.25 * side, 0.90)
        parts.append(_limb((0.0, 0.20 * side, shoulder - 0.02), elbow, 0.055, 0.045, (1, 1, 1), CLOTH))
        parts.append(_limb(elbow, hand, 0.044, 0.034, (0.92, 0.92, 0.92), CLOTH))
        parts.append(ellipsoid(hand, (0.045, 0.03, 0.055), _SKIN, sides=6, rows=4))
    parts.append(_torso(hip, shoulder, coat=kind == "woman"))
    parts += _head((0.02, 0.0, 1.60), long_hair=kind == "woman", cap=kind == "child")
    if kind == "walker_bag":
        parts.append(box((-0.30, -0.14, 1.02), (-0.11, 0.14, 1.42), (0.20, 0.24, 0.20)))
    if kind == "child":
        parts.append(box((-0.26, -0.12, 1.08), (-0.10, 0.12, 1.38), (0.70, 0.18, 0.22)))
    return merge(parts)


def _torso(z0: float, z1: float, *, coat: bool) -> Mesh:
    """Trunk as stacked rings, wider at the shoulders; a coat reaches below the hip."""
    rings = [
        (z0 - (0.28 if coat else 0.04), 0.15, 0.20 if coat else 0.165),
        (z0 + 0.12, 0.115, 0.155),
        (z1 - 0.14, 0.125, 0.195),
        (z1, 0.10, 0.185),
        (z1 + 0.06, 0.055, 0.07),
    ]
    parts = []
    for (za, ra, wa), (zb, rb, wb) in zip(rings[:-1], rings[1:], strict=True):
        t = np.linspace(0, 2 * np.pi, 11)
        lower = np.stack([ra * np.cos(t), wa * np.sin(t), np.full(11, za)], axis=1)
        upper = np.stack([rb * np.cos(t), wb * np.sin(t), np.full(11, zb)], axis=1)
        n = np.stack([np.cos(t), np.sin(t), np.zeros(11)], axis=1)
        parts.append(grid(np.stack([lower, upper]), (1, 1, 1), CLOTH, normals=np.stack([n, n])))
    return merge(parts)


def _head(
    at: Point, *, long_hair: bool = False, cap: bool = False, helmet: Sequence[float] | None = None
) -> list[Mesh]:
    x, y, z = at
    parts = [
        ellipsoid((x, y, z), (0.095, 0.078, 0.12), _SKIN, sides=8, rows=6),
        _limb((x - 0.02, y, z - 0.18), (x, y, z - 0.05), 0.05, 0.045, _SKIN),
    ]
    if helmet is not None:
        parts.append(
            ellipsoid(
                (x - 0.01, y, z + 0.04),
                (0.135, 0.115, 0.115),
                helmet,
                BODY if helmet == (1, 1, 1) else METAL,
                sides=9,
                rows=6,
            )
        )
        return parts
    parts.append(
        ellipsoid(
            (x - 0.022, y, z + 0.028), (0.098, 0.088, 0.112), (0.70, 0.15, 0.15) if cap else _HAIR, sides=8, rows=6
        )
    )
    if long_hair:
        parts.append(ellipsoid((x - 0.065, y, z - 0.07), (0.055, 0.085, 0.14), _HAIR, sides=7, rows=5))
    return parts


def _wheel(x: float, y: float, radius: float, width: float, *, spokes: bool) -> list[Mesh]:
    """A thin wheel: tyre as a ring of short bars, hub, and spokes or a disc."""
    t = np.linspace(0, 2 * np.pi, 17)
    p = [(x + (radius - width) * np.cos(a), y, radius + (radius - width) * np.sin(a)) for a in t]
    parts = [cylinder(a, b, width, _RUBBER, MATTE, sides=5, caps=False) for a, b in zip(p[:-1], p[1:], strict=True)]
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
        _limb(h, (h + s) / 2, 0.14, 0.15, (1, 1, 1), CLOTH),
        _limb((h + s) / 2, s + [0, 0, 0.05], 0.15, 0.12, (1, 1, 1), CLOTH),
    ]
    parts += _head((s[0] + 0.06, s[1], s[2] + 0.22), helmet=helmet)
    for side, foot in zip((1.0, -1.0), feet, strict=True):
        a = h + [0.02, 0.085 * side, 0.0]
        f = np.array(foot)
        reach = f - a
        middle = (a + f) / 2
        gap = max(0.0, 0.86**2 - float(reach @ reach))
        forward = np.array([-reach[2], 0.0, reach[0]])
        forward = forward / max(float(np.linalg.norm(forward)), 1e-6)
        knee = middle + forward * np.sign(forward[0] + 1e-9) * np.sqrt(gap) / 2
        parts += [_limb(a, knee, 0.085, 0.062, trousers), _limb(knee, f + [0, 0, 0.05], 0.060, 0.042, trousers)]
        parts.append(box((f[0] - 0.09, f[1] - 0.04, f[2] - 0.03), (f[0] + 0.15, f[1] + 0.04, f[2] + 0.05), _SHOE))
        shoulder_point = s + [0.0, 0.18 * side, 0.0]
        hand = np.array([hands[0], hands[1] * side, hands[2]])
        elbow = (shoulder_point + hand) / 2 + [-0.02, 0.07 * side, -0.10]
        parts += [
            _limb(shoulder_point, elbow, 0.052, 0.045, (1, 1, 1), CLOTH),
            _limb(elbow, hand, 0.042, 0.034, (0.95, 0.95, 0.95), CLOTH),
        ]
        parts.append(ellipsoid(tuple(hand), (0.05, 0.035, 0.04), _SKIN, sides=6, rows=4))
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
    parts.append(box((-0.36, -0.08, 0.92), (-0.10, 0.08, 0.98), _SHOE))
    parts.append(cylinder((0.32, -0.30, 1.04), (0.32, 0.30, 1.04), 0.017, _RUBBER, MATTE, sides=6))
    if city:
        parts.append(box((0.45, -0.18, 0.78), (0.80, 0.18, 1.02), (0.35, 0.34, 0.33), METAL))
        parts.append(box((-0.62, -0.08, 0.70), (-0.34, 0.08, 0.74), (0.2, 0.2, 0.2)))
    a = 2 * np.pi * phase
    feet = tuple(
        (-0.05 + 0.17 * np.cos(a + k), 0.11 * s, 0.30 - 0.17 * np.sin(a + k)) for k, s in ((0.0, 1.0), (np.pi, -1.0))
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
            ellipsoid((0.12, 0, 0.78), (0.34, 0.17, 0.17), (1, 1, 1), BODY), box((-0.72, -0.13, 0.74), (-0.10, 0.13, 0.84), _SHOE),
            box((-0.30, -0.16, 0.28), (0.30, 0.16, 0.62), (0.25, 0.25, 0.26), METAL), cylinder((-0.75, -0.17, 0.34), (0.0, -0.17, 0.30), 0.05, (0.6, 0.6, 0.6), METAL),
            box((-0.98, -0.22, 0.82), (-0.62, 0.22, 1.14), (0.14, 0.14, 0.15)),
        ]  # fmt: skip
        feet: tuple[Point, Point] = ((-0.10, 0.18, 0.32), (-0.10, -0.18, 0.32))
        hip, shoulder, hands = (-0.25, 0.0, 0.93), (0.02, 0.0, 1.34), (0.46, 0.30, 1.02)
    else:
        parts += [
            box((-0.72, -0.16, 0.42), (-0.12, 0.16, 0.72), (1, 1, 1), BODY), box((-0.14, -0.15, 0.26), (0.36, 0.15, 0.33), (0.14, 0.14, 0.15)),
            box((0.32, -0.18, 0.30), (0.44, 0.18, 0.92), (1, 1, 1), BODY), box((-0.74, -0.14, 0.72), (-0.10, 0.14, 0.80), _SHOE),
            box((-0.98, -0.20, 0.80), (-0.62, 0.20, 1.14), (0.95, 0.72, 0.08)),
        ]  # fmt: skip
        feet = ((0.16, 0.11, 0.37), (0.16, -0.11, 0.37))
        hip, shoulder, hands = (-0.32, 0.0, 0.90), (-0.20, 0.0, 1.34), (0.34, 0.28, 1.02)
    parts += [
        cylinder((wheelbase, 0, r), (wheelbase - 0.28, 0, 1.0), 0.035, (0.3, 0.3, 0.3), METAL, sides=6),
        cylinder((wheelbase - 0.28, -0.34, 1.02), (wheelbase - 0.28, 0.34, 1.02), 0.02, _RUBBER, MATTE, sides=6),
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
        box((-1.37, -0.50, 0.50), (-1.355, 0.50, 1.34), (0.82, 0.82, 0.80)), box((-1.30, -0.555, 0.95), (-0.16, 0.555, 1.12), (0.92, 0.92, 0.90)),
        box((-1.3, -0.4, 0.36), (0.1, 0.4, 0.46), (0.12, 0.12, 0.13)), cylinder((0.0, 0, 0.42), (0.90, 0, 0.62), 0.03, (0.25, 0.25, 0.26), METAL, sides=6),
        cylinder((1.02, 0, 0.27), (0.84, 0, 1.02), 0.026, (0.25, 0.25, 0.26), METAL, sides=6), cylinder((0.80, -0.30, 1.04), (0.80, 0.30, 1.04), 0.018, _RUBBER, MATTE, sides=6),
        box((0.02, -0.13, 0.78), (0.30, 0.13, 0.86), _SHOE), cylinder((0.16, 0, 0.45), (0.16, 0, 0.8), 0.03, (0.25, 0.25, 0.26), METAL, sides=6),
        box((-1.385, -0.50, 0.52), (-1.36, -0.40, 0.66), TAIL_LAMP, LIGHT, extra=1.0), box((-1.385, 0.40, 0.52), (-1.36, 0.50, 0.66), TAIL_LAMP, LIGHT, extra=1.0),
    ]  # fmt: skip
    a = 2 * np.pi * phase
    feet = tuple(
        (0.50 + 0.14 * np.cos(a + k), 0.11 * s, 0.42 - 0.14 * np.sin(a + k)) for k, s in ((0.0, 1.0), (np.pi, -1.0))
    )
    parts += _rider(
        (0.16, 0.0, 0.95), (0.24, 0.0, 1.40), (0.78, 0.27, 1.06), (feet[0], feet[1]), None, (0.16, 0.18, 0.22)
    )
    return merge(parts)


__all__ = ["bicycle", "cargo_trike", "pedestrian", "scooter"]
