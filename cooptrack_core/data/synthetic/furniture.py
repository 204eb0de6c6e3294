"""What stands along a street: signals, lamps, the roadside unit's pole, railings, signs, a bus stop, bins."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.data.synthetic import layout
from cooptrack_core.data.synthetic.mesh import GLASS, LIGHT, MATTE, METAL, Mesh, box, cylinder, merge, quads

Float = NDArray[np.float64]

_STEEL, _DARK = (0.52, 0.54, 0.55), (0.10, 0.10, 0.11)
_MAST_U_M = -17.6  # signals stand behind the junction, on the far side
_HEAD_Z_M = 5.6
LAMP_COLOURS = {"red": (1.0, 0.10, 0.06), "yellow": (1.0, 0.68, 0.08), "green": (0.10, 0.95, 0.50)}
_ROW_M = {"red": 0.34, "yellow": 0.0, "green": -0.34}


def build(rng: np.random.Generator, pole_m: Float, turns_rad: Sequence[float] = (0.0,)) -> Mesh:
    """All furniture; pole_m is the roadside camera, of which there is one for each turn about the middle."""
    unit = _roadside_unit(pole_m)
    parts = [unit.placed(yaw=turn) if turn else unit for turn in turns_rad]
    for arm in layout.ARMS:
        parts += [_signal_mast(arm), _railing(arm), *_lamps(arm, rng), *_small_things(arm, rng)]
    parts.append(_bus_stop(layout.ARMS[int(rng.integers(4))]))
    return merge(parts)


def lamp_places(arm: str) -> list[tuple[str, Float, float]]:
    """Signal heads of an arm: group suffix (left, through), position of the middle lamp [3], heading it faces."""
    out = []
    a = layout.OUTWARD_RAD[arm]
    for v, suffix in ((2.4, "left"), (6.2, "through"), (9.4, "through")):
        xy = layout.from_arm(arm, _MAST_U_M + 0.17, v)
        out.append((suffix, np.array([*xy, _HEAD_Z_M]), a))
    return out


@cache
def lamp(colour: str) -> Mesh:
    """A lit lamp in head axes: x forward, z up, origin at the middle lamp."""
    t = np.linspace(0, 2 * np.pi, 13)
    z = _ROW_M[colour]
    ring = [(0.03, 0.135 * np.cos(w), z + 0.135 * np.sin(w)) for w in t]
    faces = [[(0.03, 0, z), ring[i], ring[i + 1], (0.03, 0, z)] for i in range(12)]
    return quads(faces, LAMP_COLOURS[colour], LIGHT, extra=2.6)


def _signal_mast(arm: str) -> Mesh:
    """Mast behind the junction with an arm over the lanes and three heads."""
    foot, tip = layout.from_arm(arm, _MAST_U_M, 14.4), layout.from_arm(arm, _MAST_U_M, 1.6)
    parts = [
        cylinder((*foot, 0.1), (*foot, 6.3), 0.13, _STEEL, METAL, end_radius_m=0.10, sides=9),
        cylinder((*foot, 6.05), (*tip, 6.25), 0.09, _STEEL, METAL, end_radius_m=0.05, sides=7),
    ]
    head = [box((-0.16, -0.2, -0.56), (0.0, 0.2, 0.56), _DARK)]
    for z in _ROW_M.values():
        head.append(cylinder((0.0, 0, z), (0.02, 0, z), 0.14, (0.05, 0.05, 0.05), sides=12))
        head.append(box((0.0, -0.15, z + 0.13), (0.16, 0.15, z + 0.15), _DARK))
    unit = merge(head)
    for _, p, heading in lamp_places(arm):
        parts.append(unit.placed(float(p[0]), float(p[1]), float(p[2]), heading))
    near = layout.from_arm(arm, layout.CROSSWALK_U_M[0] - 0.4, layout.KERB_V_M + 1.0)
    parts.append(cylinder((*near, 0.1), (*near, 3.4), 0.07, _STEEL, METAL, sides=8))
    parts.append(box((near[0] - 0.16, near[1] - 0.16, 2.5), (near[0] + 0.16, near[1] + 0.16, 3.3), _DARK))
    return merge(parts)


def _roadside_unit(camera_m: Float) -> Mesh:
    """Camera, lidar and cabinet of the roadside unit on the signal mast; the camera looks out in front of them."""
    x, y, z = camera_m
    grey = (0.78, 0.79, 0.80)
    return merge(
        [
            box((x - 0.10, y + 0.25, z - 0.10), (x + 0.10, y + 0.75, z + 0.10), grey, METAL),
            cylinder((x, y + 0.7, z - 0.75), (x, y + 0.7, z + 0.05), 0.04, _STEEL, METAL, sides=6),
            cylinder((x + 0.9, y + 0.7, z - 0.60), (x + 0.9, y + 0.7, z - 0.25), 0.05, _STEEL, METAL, sides=6),
            cylinder((x + 0.9, y + 0.7, z - 0.25), (x + 0.9, y + 0.7, z + 0.02), 0.13, _DARK, MATTE, sides=12),
            box((14.1, 17.75, 1.1), (14.7, 18.15, 2.0), grey, METAL),
        ]
    )


def _railing(arm: str) -> Mesh:
    """White railing on the centre line."""
    parts, colour = [], (0.86, 0.87, 0.87)
    start, end = layout.STOP_LINE_U_M + 5.0, 170.0
    for z in (0.28, 0.55, 0.84):
        a, b = layout.from_arm(arm, start, -0.03), layout.from_arm(arm, end, 0.03)
        lo, hi = np.minimum(a, b), np.maximum(a, b)
        parts.append(box((*lo, z), (*hi, z + 0.05), colour, METAL))
    for u in np.arange(start, end + 0.1, 3.0):
        p = layout.from_arm(arm, float(u), 0.0)
        parts.append(box((p[0] - 0.05, p[1] - 0.05, 0.0), (p[0] + 0.05, p[1] + 0.05, 0.98), colour, METAL))
    return merge(parts)


def _lamps(arm: str, rng: np.random.Generator) -> list[Mesh]:
    out, side = [], 1.0
    for u in np.arange(34.0, 200.0, 27.0):
        side = -side
        foot, tip = layout.from_arm(arm, float(u), side * 13.3), layout.from_arm(arm, float(u), side * 10.6)
        out.append(cylinder((*foot, 0.1), (*foot, 8.6), 0.11, _STEEL, METAL, end_radius_m=0.06, sides=8))
        out.append(cylinder((*foot, 8.5), (*tip, 9.0), 0.05, _STEEL, METAL, sides=6))
        out.append(
            box((tip[0] - 0.3, tip[1] - 0.3, 8.92), (tip[0] + 0.3, tip[1] + 0.3, 9.06), (0.62, 0.63, 0.64), METAL)
        )
    return out


def _small_things(arm: str, rng: np.random.Generator) -> list[Mesh]:
    out = []
    for u, v in ((52.0, 13.3), (78.0, -13.3)):
        p = layout.from_arm(arm, u + float(rng.uniform(-3, 3)), v)
        out.append(cylinder((*p, 0.1), (*p, 2.9), 0.04, _STEEL, METAL, sides=6))
        a = layout.OUTWARD_RAD[arm]
        face = box((0.03, -0.32, 2.2), (0.06, 0.32, 2.84), (0.10, 0.25, 0.62) if v > 0 else (0.75, 0.10, 0.10))
        out.append(face.placed(float(p[0]), float(p[1]), 0.0, a if v > 0 else a + np.pi))
    for side in (-1.0, 1.0):
        p = layout.from_arm(arm, 24.0 + float(rng.uniform(0, 4)), side * 14.2)
        colour = ((0.20, 0.36, 0.24), (0.30, 0.32, 0.34))[int(rng.integers(2))]
        out.append(cylinder((*p, 0.13), (*p, 1.0), 0.28, colour, MATTE, sides=10))
        for k in range(3):
            q = layout.from_arm(arm, 19.5 + 1.5 * k, side * 13.4)
            out.append(
                cylinder(
                    (*q, 0.1), (*q, 0.85), 0.07, (0.75, 0.70, 0.25) if k % 2 else (0.25, 0.25, 0.26), MATTE, sides=8
                )
            )
        bench = layout.from_arm(arm, 36.0 + float(rng.uniform(0, 20)), side * 17.0)
        out.append(
            box((bench[0] - 0.8, bench[1] - 0.8, 0.5), (bench[0] + 0.8, bench[1] + 0.8, 0.58), (0.45, 0.31, 0.20))
        )
        out.append(
            box((bench[0] - 0.55, bench[1] - 0.55, 0.1), (bench[0] + 0.55, bench[1] + 0.55, 0.5), (0.5, 0.5, 0.5))
        )
    return out


def _bus_stop(arm: str) -> Mesh:
    """A glazed shelter on the outbound sidewalk."""
    a = layout.OUTWARD_RAD[arm]
    p = layout.from_arm(arm, 62.0, -14.4)
    roof = box((-3.0, -0.9, 2.55), (3.0, 0.9, 2.68), (0.25, 0.30, 0.34), METAL)
    back = box((-2.8, -0.86, 0.5), (2.8, -0.82, 2.3), (0.10, 0.13, 0.14), GLASS)
    board = box((2.7, -0.8, 0.4), (2.85, 0.5, 2.2), (0.85, 0.83, 0.75), LIGHT, extra=0.25)
    seat = box((-2.0, -0.7, 0.55), (1.8, -0.35, 0.62), (0.55, 0.40, 0.25))
    posts = [cylinder((x, -0.8, 0), (x, -0.8, 2.6), 0.05, _STEEL, METAL, sides=6) for x in (-2.8, 0.0, 2.8)]
    # The open side faces the road, which lies to the left of the outbound direction.
    return merge([roof, back, board, seat, *posts]).placed(float(p[0]), float(p[1]), layout.SIDEWALK_Z_M, a)


__all__ = ["LAMP_COLOURS", "build", "lamp", "lamp_places"]
