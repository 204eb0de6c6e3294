"""People on foot, in phases of their stride."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cooptrack_core.data.synthetic.mesh import BODY, CLOTH, MATTE, METAL, Mesh, box, cylinder, ellipsoid, grid, merge

Float = NDArray[np.float64]
Point = tuple[float, float, float]

SKIN, _HAIR, SHOE, RUBBER = (0.78, 0.58, 0.46), (0.10, 0.08, 0.07), (0.12, 0.11, 0.11), (0.06, 0.06, 0.065)
_TROUSERS = {
    "adult": (0.16, 0.18, 0.24),
    "woman": (0.24, 0.23, 0.26),
    "walker_bag": (0.30, 0.28, 0.25),
    "child": (0.20, 0.28, 0.42),
}


def limb(
    a: ArrayLike,
    b: ArrayLike,
    r0: float,
    r1: float,
    colour: Sequence[float],
    material: int = MATTE,
) -> Mesh:
    """Arm, leg or neck from a to b."""
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
        parts.append(limb((0.0, y, hip), knee, 0.090, 0.065, trousers))
        parts.append(limb(knee, (foot[0], y, foot[2] + 0.02), 0.062, 0.045, trousers))
        parts.append(ellipsoid((foot[0] + 0.05, y, foot[2] - 0.015), (0.13, 0.045, 0.05), SHOE, sides=7, rows=4))
        arm = -0.85 * s
        elbow = (0.12 * arm, 0.235 * side, 1.14)
        hand = (0.30 * arm + 0.06, 0.25 * side, 0.90)
        parts.append(limb((0.0, 0.20 * side, shoulder - 0.02), elbow, 0.055, 0.045, (1, 1, 1), CLOTH))
        parts.append(limb(elbow, hand, 0.044, 0.034, (0.92, 0.92, 0.92), CLOTH))
        parts.append(ellipsoid(hand, (0.045, 0.03, 0.055), SKIN, sides=6, rows=4))
    parts.append(_torso(hip, shoulder, coat=kind == "woman"))
    parts += head((0.02, 0.0, 1.60), long_hair=kind == "woman", cap=kind == "child")
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
    for (za, ra, wa), (zb, rb, wb) in pairwise(rings):
        t = np.linspace(0, 2 * np.pi, 11)
        lower = np.stack([ra * np.cos(t), wa * np.sin(t), np.full(11, za)], axis=1)
        upper = np.stack([rb * np.cos(t), wb * np.sin(t), np.full(11, zb)], axis=1)
        n = np.stack([np.cos(t), np.sin(t), np.zeros(11)], axis=1)
        parts.append(grid(np.stack([lower, upper]), (1, 1, 1), CLOTH, normals=np.stack([n, n])))
    return merge(parts)


def head(at: Point, *, long_hair: bool = False, cap: bool = False, helmet: Sequence[float] | None = None) -> list[Mesh]:
    x, y, z = at
    parts = [
        ellipsoid((x, y, z), (0.095, 0.078, 0.12), SKIN, sides=8, rows=6),
        limb((x - 0.02, y, z - 0.18), (x, y, z - 0.05), 0.05, 0.045, SKIN),
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


__all__ = ["RUBBER", "SHOE", "SKIN", "head", "limb", "pedestrian"]
