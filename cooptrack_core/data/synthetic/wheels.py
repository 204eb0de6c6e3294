"""Wheels of cars, buses and trucks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cooptrack_core.data.synthetic.mesh import MATTE, METAL, Mesh, cylinder, triangles

_BLACK, _RUBBER = (0.035, 0.035, 0.04), (0.055, 0.055, 0.06)


def wheels(x: float, half_width: float, radius: float, tyre: float, *, arch: bool) -> list[Mesh]:
    """Both wheels of an axle; the face of each lies on the side of the body."""
    parts = []
    for side in (1.0, -1.0):
        y = side * (half_width - 0.012)
        inner = y - side * tyre
        parts.append(cylinder((x, inner, radius), (x, y, radius), radius, _RUBBER, sides=18, caps=True))
        if arch:
            parts.append(_disc(x, y + side * 0.006, radius, radius + 0.075, 0.0, np.pi, _BLACK, MATTE, side))
        parts.append(_disc(x, y + side * 0.014, radius, radius, 0, 2 * np.pi, _RUBBER, MATTE, side))
        parts.append(_disc(x, y + side * 0.022, radius, 0.66 * radius, 0, 2 * np.pi, (0.58, 0.59, 0.61), METAL, side))
        for k in range(5):
            a = 2 * np.pi * k / 5 + 0.3
            parts.append(
                _disc(
                    x + 0.40 * radius * np.cos(a),
                    y + side * 0.030,
                    radius + 0.40 * radius * np.sin(a),
                    0.13 * radius,
                    0,
                    2 * np.pi,
                    _BLACK,
                    MATTE,
                    side,
                    7,
                )
            )
    return parts


def _disc(
    x: float,
    y: float,
    z: float,
    r: float,
    a0: float,
    a1: float,
    colour: Sequence[float],
    material: int,
    side: float,
    count: int = 20,
) -> Mesh:
    """Sector of a disc facing sideways."""
    t = np.linspace(a0, a1, count)
    rim = np.stack([x + r * np.cos(t), np.full(count, y), z + r * np.sin(t)], axis=1)
    fan = np.stack([np.broadcast_to([x, y, z], (count - 1, 3)), rim[:-1], rim[1:]], axis=1)
    return triangles(fan, colour, material, normals=np.broadcast_to([0.0, side, 0.0], fan.shape))


__all__ = ["wheels"]
