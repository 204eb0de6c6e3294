"""Places for small labels beside points, so that they cover neither each other nor what they name."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float = NDArray[np.float64]

# Directions by preference: above, right, left, below; then the same further out.
_DIRECTIONS = np.array([[0, 1], [1, 0.7], [-1, 0.7], [1, -0.7], [-1, -0.7], [0, -1], [1, 0], [-1, 0]], np.float64)
_DISTANCES = (1.0, 1.9, 3.0, 4.4)
_OVERLAP_COST = 6.0
_DISTANCE_COST = 0.35


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

    def place(self, at: ArrayLike, size: ArrayLike) -> tuple[Float, bool]:
        """[2] centre of a label of a size (w, h) near a point, and whether it lies so far off that a line helps."""
        point, half = np.asarray(at, np.float64), np.asarray(size, np.float64) / 2
        steps = np.concatenate([_DIRECTIONS * (half + self.gap * far) for far in _DISTANCES])
        centers = np.clip(point + steps, self.low + half, np.maximum(self.high - half, self.low + half))
        cost = np.repeat(_DISTANCE_COST * np.arange(len(_DISTANCES)), len(_DIRECTIONS))
        cost = cost + 0.01 * np.tile(np.arange(len(_DIRECTIONS)), len(_DISTANCES))
        if len(self._taken):
            low = np.maximum(centers[:, None] - half, self._taken[None, :, :2])
            high = np.minimum(centers[:, None] + half, self._taken[None, :, 2:])
            shared = np.clip(high - low, 0, None).prod(axis=-1).sum(axis=1)
            cost = cost + _OVERLAP_COST * shared / (4 * half.prod())
        best = int(cost.argmin())
        self.occupy(centers[best], half)
        return centers[best], best >= len(_DIRECTIONS)


__all__ = ["LabelPlaces"]
