"""Perception and evaluation ranges (spec cooptrack.md notation, v2x-seq-spd.md 5.1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

VEHICLE_RANGE_M = (-51.2, -51.2, -5.0, 51.2, 51.2, 3.0)
INFRASTRUCTURE_RANGE_M = (0.0, -51.2, -5.0, 102.4, 51.2, 3.0)
# Evaluation radius by class id (car, bicycle, pedestrian, traffic cone), from the novatel origin.
CLASS_RANGE_M = (50.0, 40.0, 40.0, 30.0)


def inside(center_m: ArrayLike, point_range_m: Sequence[float]) -> NDArray[np.bool_]:
    """[N] whether x and y of the centres [N, 3] lie inside the range (bounds included; z is not tested).

    An empty range is not known: nothing is outside.
    """
    p = np.asarray(center_m, np.float64).reshape(-1, 3)
    if not len(point_range_m):
        return np.ones(len(p), np.bool_)
    x0, y0, _, x1, y1, _ = point_range_m
    return np.asarray((p[:, 0] >= x0) & (p[:, 0] <= x1) & (p[:, 1] >= y0) & (p[:, 1] <= y1))


def inside_class_range(center_m: ArrayLike, class_id: ArrayLike) -> NDArray[np.bool_]:
    """[N] whether the centres [N, 3], in the novatel frame, lie within the evaluation radius of their class."""
    p = np.asarray(center_m, np.float64).reshape(-1, 3)
    ids = np.clip(np.asarray(class_id, np.int64), 0, len(CLASS_RANGE_M) - 1)
    return np.asarray(np.hypot(p[:, 0], p[:, 1]) <= np.asarray(CLASS_RANGE_M)[ids])
