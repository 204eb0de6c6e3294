"""Places for small labels beside points, so that they cover neither each other nor what they name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float = NDArray[np.float64]

# Directions by preference: above, right, left, below; then the same further out.
_DIRECTIONS = np.array([[0, 1], [1, 0.7], [-1, 0.7], [1, -0.7], [-1, -0.7], [0, -1], [1, 0], [-1, 0]], np.float64)
_OUTWARD = np.where(np.abs(_DIRECTIONS) == 1, _DIRECTIONS, 0.0)  # beyond what is named: to one side, not up as well
_DISTANCES = (1.0, 1.9, 3.0, 4.4)
_OVERLAP_COST = 6.0
_DISTANCE_COST = 0.35
_TOUCHES = 0.02  # share of a label that may be covered


class LabelPlaces:
    """Free places inside bounds (x0, y0, x1, y1), any units, y to any side. Rectangles are kept as low and high."""

    def __init__(self, bounds: tuple[float, float, float, float], gap: float) -> None:
        self.low = np.array([min(bounds[0], bounds[2]), min(bounds[1], bounds[3])])
        self.high = np.array([max(bounds[0], bounds[2]), max(bounds[1], bounds[3])])
        self.gap = gap
        self._taken = np.zeros((0, 4))

    def occupy(self, centers: ArrayLike, half_size: ArrayLike) -> None:
        """Keeps labels off rectangles [N, 2] with half sizes [2] or [N, 2]."""
        at = np.asarray(centers, np.float64).reshape(-1, 2)
        half = np.broadcast_to(np.asarray(half_size, np.float64), at.shape)
        self._taken = np.vstack([self._taken, np.hstack([at - half, at + half])])

    def place(self, at: ArrayLike, size: ArrayLike, extent: ArrayLike = 0.0) -> tuple[Float, bool]:
        """[2] centre of a label of a size (w, h) near a point, and whether it lies so far off that a line helps.

        extent: [2] half size of what lies around the point and is to be kept free.
        """
        half = np.asarray(size, np.float64) / 2
        centers = self._around(at, half, np.asarray(extent), _DISTANCES)
        cost = np.repeat(_DISTANCE_COST * np.arange(len(_DISTANCES)), len(_DIRECTIONS))
        cost = cost + 0.01 * np.tile(np.arange(len(_DIRECTIONS)), len(_DISTANCES))
        best = int((cost + _OVERLAP_COST * self._covered(centers, half)).argmin())
        self.occupy(centers[best], half)
        return centers[best], best >= len(_DIRECTIONS)

    def room(self, at: ArrayLike, size: ArrayLike, extent: ArrayLike = 0.0) -> Float | None:
        """[2] as `place`, right beside the point; None where it would cover something: then better no label."""
        half = np.asarray(size, np.float64) / 2
        centers = self._around(at, half, np.asarray(extent), _DISTANCES[:1])
        free = np.flatnonzero(self._covered(centers, half) < _TOUCHES)
        if not len(free):
            return None
        self.occupy(centers[free[0]], half)
        return np.asarray(centers[free[0]])

    def choose(self, centers: ArrayLike, size: ArrayLike) -> Float:
        """[2] of the centres [N, 2], by preference, where a label of a size (w, h) covers least."""
        at, half = np.asarray(centers, np.float64), np.asarray(size, np.float64) / 2
        best = int(self._covered(at, half + self.gap / 2).round(6).argmin())
        self.occupy(at[best], half)
        return np.asarray(at[best])

    def _around(self, at: ArrayLike, half: Float, extent: Float, distances: Sequence[float]) -> Float:
        """[N, 2] centres around a point, inside the bounds: the nearer first, then by direction."""
        steps = np.concatenate([_DIRECTIONS * (half + self.gap * far) + _OUTWARD * extent for far in distances])
        highest = np.maximum(self.high - half, self.low + half)
        return np.asarray(np.clip(np.asarray(at, np.float64) + steps, self.low + half, highest))

    def _covered(self, centers: Float, half: Float) -> Float:
        """[N] share of each rectangle that is taken, more than 1 where it is taken more than once."""
        low = np.maximum(centers[:, None] - half, self._taken[None, :, :2])
        high = np.minimum(centers[:, None] + half, self._taken[None, :, 2:])
        return np.asarray(np.clip(high - low, 0, None).prod(axis=-1).sum(axis=1) / (4 * half.prod()))


__all__ = ["LabelPlaces"]
