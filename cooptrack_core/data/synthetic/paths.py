"""Smooth ground paths, addressed by the distance travelled along them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float = NDArray[np.float64]

STEP_M = 0.5


class Path:
    """A curve on the ground, resampled every half metre; it goes straight on beyond its ends."""

    def __init__(self, points_m: ArrayLike) -> None:
        p = np.asarray(points_m, np.float64).reshape(-1, 2)
        keep = np.concatenate([[True], np.hypot(*np.diff(p, axis=0).T) > 1e-6])
        p = p[keep]
        s = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(p, axis=0).T))])
        count = max(2, int(np.ceil(s[-1] / STEP_M)) + 1)
        self.s_m: Float = np.linspace(0.0, s[-1], count)
        self.xy_m: Float = np.stack([np.interp(self.s_m, s, p[:, 0]), np.interp(self.s_m, s, p[:, 1])], axis=1)
        direction = np.gradient(self.xy_m, axis=0)
        self.heading_rad: Float = np.unwrap(np.arctan2(direction[:, 1], direction[:, 0]))
        self.length_m = float(self.s_m[-1])
        self._step_m = float(self.s_m[1])
        self._table: list[tuple[float, float, float]] = np.column_stack([self.xy_m, self.heading_rad]).tolist()

    def point(self, s_m: float) -> tuple[float, float, float]:
        """x, y and heading after one distance; `at` for a single float, many times faster."""
        i = min(max(int(s_m / self._step_m), 0), len(self._table) - 2)
        (xa, ya, ha), (xb, yb, hb) = self._table[i], self._table[i + 1]
        u = s_m / self._step_m - i
        if 0.0 <= u <= 1.0:
            return xa + u * (xb - xa), ya + u * (yb - ya), ha + u * (hb - ha)
        x, y, h, beyond = (xa, ya, ha, s_m) if u < 0.0 else (xb, yb, hb, s_m - self.length_m)
        return x + beyond * math.cos(h), y + beyond * math.sin(h), h

    def at(self, s_m: ArrayLike) -> tuple[Float, Float]:
        """Position [..., 2] and heading [...] after the distances s_m."""
        s = np.asarray(s_m, np.float64)
        inside = np.clip(s, 0.0, self.length_m)
        i = np.minimum((inside / self._step_m).astype(np.int64), len(self.s_m) - 2)
        u = inside / self._step_m - i
        heading = (1 - u) * self.heading_rad[i] + u * self.heading_rad[i + 1]
        xy = (1 - u)[..., None] * self.xy_m[i] + u[..., None] * self.xy_m[i + 1]
        beyond = s - inside
        return np.asarray(xy + beyond[..., None] * np.stack([np.cos(heading), np.sin(heading)], axis=-1)), heading

    def nearest(self, point_m: ArrayLike) -> float:
        """Distance along the path of the sample nearest to a point."""
        return float(self.s_m[np.argmin(np.hypot(*(self.xy_m - np.asarray(point_m, np.float64)).T))])

    def curvature(self) -> Float:
        """Curvature in 1/m at each sample, smoothed over a few metres."""
        k = np.gradient(self.heading_rad, self.s_m)
        return np.asarray(np.convolve(np.pad(k, 4, mode="edge"), np.ones(9) / 9, mode="valid"))


def straight(a: Sequence[float], b: Sequence[float]) -> Float:
    """[2, 2] end points of a segment."""
    return np.array([a, b], np.float64)


def blend(a: Sequence[float], direction_a: Sequence[float], b: Sequence[float], direction_b: Sequence[float]) -> Float:
    """[41, 2] cubic Hermite curve from a to b leaving and arriving along unit directions."""
    p0, p1 = np.asarray(a, np.float64), np.asarray(b, np.float64)
    scale = float(np.hypot(*(p1 - p0)))
    t0, t1 = np.asarray(direction_a, np.float64) * scale, np.asarray(direction_b, np.float64) * scale
    u = np.linspace(0.0, 1.0, 41)[:, None]
    return np.asarray(
        (2 * u**3 - 3 * u**2 + 1) * p0 + (u**3 - 2 * u**2 + u) * t0 + (3 * u**2 - 2 * u**3) * p1 + (u**3 - u**2) * t1
    )


def rounded_corner(a: Sequence[float], corner: Sequence[float], b: Sequence[float], radius_m: float) -> Float:
    """[N, 2] polyline a, arc of the radius about the right-angled corner, b."""
    pa, pc, pb = (np.asarray(p, np.float64) for p in (a, corner, b))
    ua, ub = (pa - pc) / np.hypot(*(pa - pc)), (pb - pc) / np.hypot(*(pb - pc))
    centre = pc + radius_m * (ua + ub)
    angles = np.linspace(0.0, np.pi / 2, 25)[:, None]
    arc = centre - radius_m * (np.cos(angles) * ub + np.sin(angles) * ua)
    return np.concatenate([pa[None], arc, pb[None]])


__all__ = ["Path", "blend", "rounded_corner", "straight"]
