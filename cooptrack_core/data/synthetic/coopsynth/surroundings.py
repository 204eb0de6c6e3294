"""What stands at a site: houses, trees, hedges, kiosks, lamps, signal masts and the roadside unit."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.data.synthetic import buildings, plants
from cooptrack_core.data.synthetic.coopsynth import ground
from cooptrack_core.data.synthetic.coopsynth.site import DRIVE, SIDEWALK, Pole, Site, load_site
from cooptrack_core.data.synthetic.mesh import (
    FACADE,
    FOLIAGE,
    GLASS,
    LIGHT,
    MATTE,
    METAL,
    SHOP,
    Mesh,
    box,
    cylinder,
    merge,
)

Float = NDArray[np.float64]

_STEEL, _DARK = (0.52, 0.54, 0.55), (0.10, 0.10, 0.11)
_STYLES = (buildings.PLASTER, buildings.BRICK, buildings.RIBBON, buildings.SLENDER, buildings.TOWER)


@lru_cache(maxsize=3)  # as many poles as a site has
def build(site_number: int, pole_number: int) -> Mesh:
    """The static world of a site around one of its roadside cameras, whose view is kept free of trees."""
    site = load_site(site_number)
    streams = [np.random.default_rng([site_number, 78, k]) for k in range(4)]
    taken = _Taken(site)
    pole = site.poles[pole_number]
    return merge(
        [
            ground.build(site, streams[0]), *_houses(site, taken, streams[1]), *_plants(site, pole, streams[2]),
            *_furniture(site, pole, streams[3]), _roadside_unit(pole),
        ]
    )  # fmt: skip


def arm_frame(site: Site, arm: int) -> tuple[Float, Float, float, float]:
    """Where an arm meets the junction [2], its outward direction [2] and the half widths to its left and right."""
    lanes = [lane for lane in site.lanes if lane.arm == arm]
    # The line between the directions is the left edge of the leftmost inbound lane, which SUMO counts last.
    centre = [lane for lane in lanes if lane.inbound][-1].edge_m(1.0)[::-1]
    out = centre[2] - centre[0]
    out = out / np.hypot(*out)
    widths = [sum(k.width_m for k in lanes if k.inbound == inbound) for inbound in (True, False)]
    return centre[0], out, widths[0], widths[1]


class _Taken:
    """Where nothing may be built: the roads, and houses that stand already."""

    def __init__(self, site: Site) -> None:
        samples, reach = [], []
        for lane in site.lanes:
            line = ground.resampled(lane.centre_m, 0.0, _length(lane.centre_m), 2.0)
            samples.append(line)
            reach.append(np.full(len(line), lane.width_m / 2))
        samples.append(site.junction_m)
        reach.append(np.full(len(site.junction_m), 1.0))
        self._points, self._reach = np.concatenate(samples), np.concatenate(reach)
        self._houses: list[tuple[Float, float]] = []

    def claim(self, corners: Float, margin_m: float) -> bool:
        """Takes a rectangle [4, 2] if it is free."""
        t = np.linspace(0.0, 1.0, 7)[:, None]
        rim = np.concatenate([a + t * (b - a) for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True)])
        d = np.hypot(*(rim[:, None] - self._points[None]).transpose(2, 0, 1)) - self._reach
        if d.min() < margin_m:
            return False
        middle, radius = corners.mean(axis=0), float(np.hypot(*(corners[0] - corners[2]))) / 2
        for other, size in self._houses:
            if np.hypot(*(other - middle)) < 0.80 * (size + radius):
                return False
        self._houses.append((middle, radius))
        return True


def _length(line: Float) -> float:
    return float(np.hypot(*np.diff(line, axis=0).T).sum())


def _houses(site: Site, taken: _Taken, rng: np.random.Generator) -> list[Mesh]:
    """Rows along the streets, nearer or farther from site to site, and tall ones far away."""
    parts, setback = [], float(rng.uniform(1.5, 9.0))
    built = float(rng.uniform(0.5, 1.0))
    for arm in range(site.arms):
        foot, out, left, right = arm_frame(site, arm)
        side = np.array([-out[1], out[0]])
        for sign, half in ((1.0, left), (-1.0, right)):
            u = float(rng.uniform(2.0, 10.0))
            while u < 140.0:
                width, depth = float(rng.uniform(11, 28)), float(rng.uniform(10, 17))
                height = float(rng.uniform(5, 17)) if u < 70 else float(rng.uniform(8, 34))
                back = half + setback + float(rng.uniform(0.0, 3.0))
                near = foot + u * out + sign * back * side
                corners = np.stack(
                    [near, near + width * out, near + width * out + sign * depth * side, near + sign * depth * side]
                )
                if rng.random() < built and taken.claim(corners, 1.2):
                    parts.append(_house(rng, corners, height))
                u += width + float(rng.uniform(0.5, 9.0))
    for i in range(30):
        angle, radius = 2 * np.pi * (i + float(rng.uniform(-0.3, 0.3))) / 30, float(rng.uniform(190, 420))
        w, h = rng.uniform(18, 40, 2), float(rng.uniform(12, 80))
        at, turn = radius * np.array([np.cos(angle), np.sin(angle)]), float(rng.uniform(0, 1.5))
        R = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        parts.append(_house(rng, at + np.array([(0, 0), (w[0], 0), (w[0], w[1]), (0, w[1])]) @ R.T, h))
    return parts


def _house(rng: np.random.Generator, corners: Float, height: float) -> Mesh:
    """A house on a rectangle [4, 2]: shop floor, storeys, ledges and a flat roof."""
    style = _STYLES[
        int(rng.choice(5, p=[0.34, 0.24, 0.18, 0.16, 0.08] if height < 24 else [0.15, 0.1, 0.2, 0.2, 0.35]))
    ]
    colours = buildings.WALL_COLOURS[style]
    colour = np.clip(np.array(colours[int(rng.integers(len(colours)))]) + rng.normal(0, 0.03, 3), 0, 1)
    a, b, _, d = corners
    width, depth = float(np.hypot(*(b - a))), float(np.hypot(*(d - a)))
    yaw, flipped = float(np.arctan2(*(b - a)[::-1])), _cross(b - a, d - a) < 0
    x, y = [0.0, width], [-depth, 0.0] if flipped else [0.0, depth]
    kind = style + float(rng.uniform(0.02, 0.98))
    base = buildings.SHOP_HEIGHT_M if rng.random() < 0.6 and style != buildings.TOWER else 0.0
    top = base + 3.2 * max(1, round((height - base) / 3.2))
    parts = [
        buildings.walls(x, y, base, top, colour, FACADE, kind),
        buildings.ledge(x, y, top, top + 0.7, 0.2, np.clip(colour * 0.95, 0, 1)),
        box((x[0], y[0], top + 0.1), (x[1], y[1], top + 0.2), (0.42, 0.41, 0.40)),
    ]
    if base:
        parts.append(buildings.walls(x, y, 0.0, base, colour * 0.85, SHOP, kind))
        parts.append(buildings.ledge(x, y, base - 0.25, base + 0.1, 0.3, colour * 0.9))
    return merge(parts).placed(float(a[0]), float(a[1]), 0.0, yaw)


def _cross(a: Float, b: Float) -> float:
    return float(a[0] * b[1] - a[1] * b[0])


def _plants(site: Site, pole: Pole, rng: np.random.Generator) -> list[Mesh]:
    """Street trees at the outer edge of the sidewalks, hedges between sidewalk and houses."""
    shapes = [plants.tree(np.random.default_rng([site.number, 5, i]), i, 26, 0.74) for i in range(4)]
    parts, spacing = [], float(rng.uniform(9, 26))
    hedges = rng.random() < 0.5
    for lane in (k for k in site.lanes if k.kind == SIDEWALK):
        line = lane.edge_m(-0.75)[::-1] if lane.inbound else lane.edge_m(-0.75)  # from the junction outward
        length = _length(line)
        at = float(rng.uniform(7, 16))
        while at < min(length, 120.0):
            x, y = ground.resampled(line, at, at + 0.1)[0]
            if not _before_camera(pole, x, y):
                stretch = float(rng.uniform(0.55, 0.9)) * rng.uniform(0.9, 1.1, 3)
                shape = shapes[int(rng.integers(4))]
                parts.append(shape.placed(float(x), float(y), 0.0, float(rng.uniform(0, 6.28)), stretch))
            at += spacing * float(rng.uniform(0.7, 1.4))
        if hedges and rng.random() < 0.6:
            parts += _hedge(line + 0.25 * (line - lane.centre_m[:: -1 if lane.inbound else 1]), rng, pole)
    return parts


def _before_camera(pole: Pole, x: float, y: float) -> bool:
    """Whether a tree here would stand before the roadside camera."""
    d = np.array([x - pole.x_m, y - pole.y_m])
    c, s = np.cos(pole.yaw_rad), np.sin(pole.yaw_rad)
    along, across = float(d @ [c, s]), float(d @ [-s, c])
    return float(np.hypot(*d)) < 5.0 or (0.0 < along < 30.0 and abs(across) < 3.0 + 0.5 * along)


def _hedge(line: Float, rng: np.random.Generator, pole: Pole) -> list[Mesh]:
    """A trimmed hedge along part of a line: it hides what walks and small cars behind it."""
    height, green = float(rng.uniform(0.9, 1.7)), np.array((0.25, 0.38, 0.15)) * float(rng.uniform(0.8, 1.25))
    start = float(rng.uniform(12, 40))
    points = ground.resampled(line, start, start + float(rng.uniform(15, 45)), 4.0)
    out = []
    for a, b in pairwise(points):
        if _before_camera(pole, *(0.5 * (a + b)).tolist()):
            continue
        length, yaw = float(np.hypot(*(b - a))), float(np.arctan2(*(b - a)[::-1]))
        out.append(
            box((0.0, -0.4, 0.0), (length, 0.4, height), green, FOLIAGE).placed(float(a[0]), float(a[1]), 0.0, yaw)
        )
    return out


def _furniture(site: Site, pole: Pole, rng: np.random.Generator) -> list[Mesh]:
    """Lamps, signal masts, kiosks and advertising pillars."""
    parts = []
    for arm in range(site.arms):
        foot, out, left, right = arm_frame(site, arm)
        side, yaw = np.array([-out[1], out[0]]), float(np.arctan2(out[1], out[0]))
        walk = max(k.width_m for k in site.lanes if k.arm == arm and k.kind == SIDEWALK)
        for u in np.arange(12.0, 130.0, float(rng.uniform(22, 34))):
            p = foot + u * out - (right - walk + 0.5) * side
            tip = p + 2.4 * side
            parts.append(cylinder((*p, 0.0), (*p, 7.8), 0.10, _STEEL, METAL, end_radius_m=0.06, sides=6))
            parts.append(cylinder((*p, 7.7), (*tip, 8.1), 0.05, _STEEL, METAL, sides=5))
            head = box((-0.35, -0.2, 8.02), (0.35, 0.2, 8.16), (0.95, 0.88, 0.70), LIGHT, extra=0.25)
            parts.append(head.placed(float(tip[0]), float(tip[1]), 0.0, yaw + np.pi / 2))
        for p, heading, _ in signal_places(site, arm):
            parts.append(
                box((-0.25, -0.2, -0.56), (-0.02, 0.2, 0.56), _DARK).placed(
                    float(p[0]), float(p[1]), float(p[2]), heading
                )
            )
        mast = foot + 0.4 * out + (left - walk + 0.6) * side
        tip3 = (*(foot + 0.4 * out + 1.2 * side), 5.75)
        parts.append(cylinder((*mast, 0.0), (*mast, 5.9), 0.12, _STEEL, METAL, sides=7))
        parts.append(cylinder((*mast, 5.7), tip3, 0.08, _STEEL, METAL, sides=6))
        if rng.random() < 0.55:
            sign = 1.0 if rng.random() < 0.5 else -1.0
            p = foot + float(rng.uniform(7, 40)) * out + sign * ((left if sign > 0 else right) - 0.9) * side
            if not _before_camera(pole, *p.tolist()):
                parts.append(_kiosk(rng).placed(float(p[0]), float(p[1]), 0.0, yaw))
    return parts


def _kiosk(rng: np.random.Generator) -> Mesh:
    """A kiosk, a bus shelter's glass wall or an advertising pillar."""
    colour = np.clip(rng.uniform(0.15, 0.75, 3), 0, 1)
    which = int(rng.integers(3))
    if which == 0:
        roof = box((-1.7, -1.1, 2.5), (1.7, 1.1, 2.65), (0.3, 0.3, 0.32), METAL)
        return merge([box((-1.5, -0.85, 0.0), (1.5, 0.85, 2.5), colour), roof])
    if which == 1:
        roof = box((-2.2, -0.7, 2.45), (2.2, 0.7, 2.58), (0.25, 0.30, 0.34), METAL)
        board = box((2.0, -0.6, 0.3), (2.15, 0.6, 2.2), colour, LIGHT, extra=0.2)
        return merge([roof, board, box((-2.1, -0.66, 0.4), (2.1, -0.62, 2.3), (0.10, 0.13, 0.14), GLASS)])
    return cylinder((0, 0, 0), (0, 0, 3.2), 0.65, colour, MATTE, sides=12)


def signal_places(site: Site, arm: int) -> list[tuple[Float, float, str]]:
    """Signal heads over the inbound lanes of an arm: position [3], heading they face, group."""
    foot, out, _, _ = arm_frame(site, arm)
    side, yaw = np.array([-out[1], out[0]]), float(np.arctan2(out[1], out[0]))
    width = sum(k.width_m for k in site.lanes if k.arm == arm and k.inbound and k.kind == DRIVE)
    return [(np.array([*(foot + 0.25 * out + share * width * side), 5.2]), yaw, "arm") for share in (0.3, 0.8)]


def _roadside_unit(pole: Pole) -> Mesh:
    """Mast, camera and cabinet behind the optical centre."""
    z = pole.height_m
    mast = cylinder((-0.9, 0.0, 0.0), (-0.9, 0.0, z + 0.4), 0.12, _STEEL, METAL, sides=8)
    camera = box((-0.85, -0.1, z - 0.1), (-0.3, 0.1, z + 0.1), (0.78, 0.79, 0.80), METAL)
    cabinet = box((-1.3, -0.3, 1.0), (-0.95, 0.3, 1.9), (0.78, 0.79, 0.80), METAL)
    return merge([mast, camera, cabinet]).placed(pole.x_m, pole.y_m, 0.0, pole.yaw_rad)


__all__ = ["arm_frame", "build", "signal_places"]
