"""One-to-one assignment with forbidden pairs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment


def assign(cost: NDArray[np.float64], allowed: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of the assignment with the most allowed pairs and, among those, the least cost.

    cost: [R, C] finite and non-negative where allowed; allowed: [R, C]. Rows come back in rising order.
    """
    if cost.size == 0 or not allowed.any():
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    # A forbidden pair costs more than any set of allowed ones, so it never displaces an allowed pair.
    forbidden = float(cost[allowed].max() + 1.0) * (min(cost.shape) + 1)
    rows, columns = linear_sum_assignment(np.where(allowed, cost, forbidden))
    keep = allowed[rows, columns]
    return rows[keep].astype(np.int64), columns[keep].astype(np.int64)


def centre_distance(a_m: NDArray[np.float64], b_m: NDArray[np.float64]) -> NDArray[np.float64]:
    """[A, B] ground-plane distances between centres a [A, 2+] and b [B, 2+], m."""
    return np.asarray(np.hypot(a_m[:, None, 0] - b_m[None, :, 0], a_m[:, None, 1] - b_m[None, :, 1]))
