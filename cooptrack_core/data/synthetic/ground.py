"""The ground: carriageway with rounded kerbs, sidewalks, lawns and road markings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.data.synthetic import layout
from cooptrack_core.data.synthetic.mesh import ASPHALT, GRASS, MARKING, MATTE, PAVING, Mesh, merge, quads, triangles

Float = NDArray[np.float64]

WHITE, YELLOW = (0.86, 0.86, 0.84), (0.86, 0.66, 0.16)
_LIFT_M = 0.012  # of markings over the asphalt
_FAR_M = 900.0


def build(rng: np.random.Generator) -> Mesh:
    """All of the ground."""
    return merge([_carriageway(rng), _sidewalks(), *(_arm_markings(arm, rng) for arm in layout.ARMS), _turn_guides()])


def flat(points: Sequence[Sequence[float]] | Float, z: float, colour: Sequence[float], material: int) -> Mesh:
    """Convex polygon [N, 2] lying at height z, seen from above."""
    p = np.asarray(points, np.float64)
    area = np.sum(p[:, 0] * np.roll(p[:, 1], -1) - np.roll(p[:, 0], -1) * p[:, 1])
    p = p if area > 0 else p[::-1]
    q = np.column_stack([p, np.full(len(p), z)])
    fan = np.stack([np.broadcast_to(q[0], (len(q) - 2, 3)), q[1:-1], q[2:]], axis=1)
    return triangles(fan, colour, material, uv=fan[..., :2])


def _corner_arc(count: int = 13) -> Float:
    """[count, 2] kerb of the north-east corner from the east arm to the north arm."""
    c = layout.KERB_V_M + layout.KERB_RADIUS_M
    t = np.linspace(-np.pi / 2, -np.pi, count)
    return np.stack([c + layout.KERB_RADIUS_M * np.cos(t), c + layout.KERB_RADIUS_M * np.sin(t)], axis=1)


def _quadrants() -> list[Float]:
    """Mirror matrices of the four corners."""
    return [np.diag([sx, sy]) for sx in (1.0, -1.0) for sy in (1.0, -1.0)]


def _carriageway(rng: np.random.Generator) -> Mesh:
    k, far = layout.KERB_V_M, layout.ROAD_END_M
    parts = [
        flat([(-far, -k), (far, -k), (far, k), (-far, k)], 0.0, (1, 1, 1), ASPHALT),
        flat([(-k, k), (k, k), (k, far), (-k, far)], 0.0, (1, 1, 1), ASPHALT),
        flat([(-k, -far), (k, -far), (k, -k), (-k, -k)], 0.0, (1, 1, 1), ASPHALT),
        flat(
            [(-_FAR_M, -_FAR_M), (_FAR_M, -_FAR_M), (_FAR_M, _FAR_M), (-_FAR_M, _FAR_M)],
            -0.06,
            (0.30, 0.38, 0.20),
            GRASS,
        ),
    ]
    for M in _quadrants():
        arc = _corner_arc()
        corner = np.broadcast_to([k, k], (len(arc) - 1, 2))
        for a, b, c in zip(corner, arc[:-1], arc[1:], strict=True):
            parts.append(flat(np.stack([a, b, c]) @ M, 0.0, (1, 1, 1), ASPHALT))
    for _ in range(26):  # repairs
        arm = layout.ARMS[int(rng.integers(4))]
        u, v, w, h = rng.uniform(5, 90), rng.uniform(-9, 9), rng.uniform(1.0, 5.0), rng.uniform(0.7, 2.2)
        shade = float(rng.choice([0.72, 0.82, 1.14]))
        corners = [layout.from_arm(arm, u + a, v + b) for a, b in ((0, 0), (w, 0), (w, h), (0, h))]
        parts.append(flat(np.stack(corners), 0.004, (shade,) * 3, ASPHALT))
    for _ in range(14):  # manhole covers
        x, y = rng.uniform(-11, 11), rng.uniform(-60, 60)
        ring = np.linspace(0, 2 * np.pi, 17)[:-1]
        x, y = (x, y) if rng.random() < 0.5 else (y, x)
        parts.append(
            flat(np.stack([x + 0.36 * np.cos(ring), y + 0.36 * np.sin(ring)], axis=1), 0.007, (0.20, 0.20, 0.21), MATTE)
        )
    return merge(parts)


def _sidewalks() -> Mesh:
    """Kerb stones, paving to SIDEWALK_V_M, a band of plots behind it."""
    h, far, outer = layout.SIDEWALK_Z_M, layout.ROAD_END_M, layout.SIDEWALK_V_M
    k = layout.KERB_V_M
    edge = np.concatenate([[[far, k]], _corner_arc(), [[k, far]]])
    centre = np.full(2, k + layout.KERB_RADIUS_M)
    inward = np.concatenate([[[0.0, 1.0]], (centre - _corner_arc()) / layout.KERB_RADIUS_M, [[1.0, 0.0]]])
    stone = edge + 0.22 * inward
    back = np.concatenate([[[far, outer]], np.repeat([[outer, outer]], len(edge) - 2, axis=0), [[outer, far]]])
    plot = np.concatenate([[[far, 60.0]], np.repeat([[60.0, 60.0]], len(edge) - 2, axis=0), [[60.0, far]]])
    parts = []
    for M in _quadrants():
        for inner, outside, colour, material in (
            (edge, stone, (0.66, 0.65, 0.62), MATTE),
            (stone, back, (0.60, 0.56, 0.52), PAVING),
            (back, plot, (0.34, 0.43, 0.22), GRASS),
        ):
            z = h if material != GRASS else h - 0.01
            for i in range(len(edge) - 1):
                corners = np.stack([inner[i], inner[i + 1], outside[i + 1], outside[i]]) @ M
                parts.append(flat(corners, z, colour, material))
        a, b = edge[:-1] @ M, edge[1:] @ M
        low, high = np.zeros((len(a), 1)), np.full((len(a), 1), h)
        face = np.stack([np.hstack([a, low]), np.hstack([b, low]), np.hstack([b, high]), np.hstack([a, high])], axis=1)
        parts.append(quads(face, (0.58, 0.57, 0.55), MATTE))
    return merge(parts)


def _strip(arm: str, u0: float, u1: float, v0: float, v1: float, colour: Sequence[float] = WHITE) -> Mesh:
    corners = [layout.from_arm(arm, u, v) for u, v in ((u0, v0), (u1, v0), (u1, v1), (u0, v1))]
    return flat(np.stack(corners), _LIFT_M, colour, MARKING)


def _line(
    arm: str, v: float, width: float, spans: Sequence[tuple[float, float]], colour: Sequence[float] = WHITE
) -> Mesh:
    return merge([_strip(arm, a, b, v - width / 2, v + width / 2, colour) for a, b in spans])


def _dashes(start: float, end: float, dash: float, gap: float) -> list[tuple[float, float]]:
    return [(u, min(u + dash, end)) for u in np.arange(start, end, dash + gap)]


def _arm_markings(arm: str, rng: np.random.Generator) -> Mesh:
    stop, far = layout.STOP_LINE_U_M, 260.0
    solid_to = stop + 32.0
    parts = [_line(arm, v, 0.13, [(stop - 1.0, far)], YELLOW) for v in (-0.14, 0.14)]
    for v in layout.LANE_EDGES_IN_M[1:3]:
        parts.append(_line(arm, v, 0.14, [(stop, solid_to), *_dashes(solid_to + 4, far, 3.0, 5.0)]))
    parts.append(_line(arm, layout.LANE_EDGES_IN_M[3], 0.15, [(stop, far)]))
    parts.append(_line(arm, layout.LANE_EDGES_OUT_M[1], 0.14, _dashes(stop, far, 3.0, 5.0)))
    parts.append(
        _line(
            arm,
            layout.LANE_EDGES_OUT_M[2],
            0.15,
            [(stop, layout.PARKING_FROM_U_M - 4), *_dashes(layout.PARKING_FROM_U_M - 4, far, 1.0, 1.0)],
        )
    )
    parts.append(_line(arm, -10.3, 0.15, [(stop, far)]))
    parts.append(_strip(arm, stop, stop + 0.4, 0.2, layout.KERB_V_M - 0.1))
    a, b = layout.CROSSWALK_U_M
    for v in np.arange(-layout.KERB_V_M + 0.45, layout.KERB_V_M - 0.4, 0.95):
        parts.append(_strip(arm, a, b, v, v + 0.47))
    for u in np.arange(stop + 1.0, layout.PARKING_FROM_U_M - 5.0, 1.6):  # hatched nose before the parking strip
        corners = [layout.from_arm(arm, *c) for c in ((u, -7.5), (u + 0.4, -7.5), (u + 2.6, -10.2), (u + 2.2, -10.2))]
        parts.append(flat(np.stack(corners), _LIFT_M, WHITE, MARKING))
    for u in np.arange(layout.PARKING_FROM_U_M, 124.0, 6.5):
        parts.append(_strip(arm, u, u + 0.12, -7.5, -10.2))
    for u in (stop + 6.0, stop + 22.0):
        for v, kinds in zip(layout.INBOUND_V_M, (("left",), ("ahead",), ("ahead", "right")), strict=True):
            parts += [_arrow(arm, u, v, kind) for kind in kinds]
    return merge(parts)


def _arrow(arm: str, u: float, v: float, kind: str) -> Mesh:
    """Lane arrow 4.5 m long; t runs in driving direction, w to the right of it."""

    def placed(points: Sequence[tuple[float, float]]) -> Mesh:
        corners = [layout.from_arm(arm, u + 4.5 - t, v + w) for t, w in points]
        return flat(np.stack(corners), _LIFT_M, WHITE, MARKING)

    shaft = placed([(0.0, -0.09), (2.9, -0.09), (2.9, 0.09), (0.0, 0.09)])
    if kind == "ahead":
        return merge([shaft, placed([(2.7, -0.38), (2.7, 0.38), (4.5, 0.0)])])
    s = 1.0 if kind == "right" else -1.0
    bend = placed([(1.6, 0.0), (1.6, 0.22 * s), (2.75, 0.62 * s), (2.95, 0.46 * s)])
    head = placed([(2.3, 0.62 * s), (3.3, 0.38 * s), (3.25, 1.15 * s)])
    return merge([placed([(0.0, -0.09), (1.9, -0.09), (1.9, 0.09), (0.0, 0.09)]), bend, head])


def _turn_guides() -> Mesh:
    """Dashed arcs that lead left-turning traffic through the junction."""
    parts = []
    for arm in layout.ARMS:
        path = layout.vehicle_route(arm, 0, "left").path
        first = layout.ARM_LENGTH_M - layout.STOP_LINE_U_M + 7.0
        for s in np.arange(first, path.length_m - layout.ARM_LENGTH_M + 14.0, 2.2):
            xy, heading = path.at(np.array([s, s + 0.5, s + 1.0]))
            n = np.stack([-np.sin(heading), np.cos(heading)], axis=1)
            left, right = xy + 1.7 * n, xy + 1.58 * n
            parts.append(flat(np.concatenate([right, left[::-1]]), _LIFT_M, WHITE, MARKING))
    return merge(parts)


__all__ = ["build", "flat"]
