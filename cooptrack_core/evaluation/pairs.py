"""Pairs of boxes of the same frame that are near each other: the candidates of every matching by centre distance."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Int = NDArray[np.int64]

_PAIRS_AT_ONCE = 2_000_000  # bounds the memory of crowded frames to some 100 MB


def pairs_within(frame_a: Int, xy_a_m: Float, frame_b: Int, xy_b_m: Float, radius_m: float) -> tuple[Int, Int, Float]:
    """Rows of a and b in the same frame whose ground-plane distance is below the radius, and that distance [K], m.

    frame_a, frame_b: [A], [B], non-decreasing; xy_a_m, xy_b_m: [A, 2], [B, 2] in one common frame.
    The pairs are ordered by row of a, then by row of b.
    """
    first = np.searchsorted(frame_b, frame_a, "left")
    count = np.searchsorted(frame_b, frame_a, "right") - first
    found = [_near(rows, first, count, xy_a_m, xy_b_m, radius_m) for rows in _chunks(count)]
    if not found:
        none = np.zeros(0, np.int64)
        return none, none, np.zeros(0)
    row_a, row_b, distance_m = (np.concatenate(column) for column in zip(*found, strict=True))
    return row_a, row_b, distance_m


def _chunks(count: Int) -> Iterator[Int]:
    """Rows of a in portions with a bounded number of pairs."""
    end = np.cumsum(count)
    start = 0
    while start < len(count):
        done = end[start - 1] if start else 0
        stop = max(int(np.searchsorted(end, done + _PAIRS_AT_ONCE, "right")), start + 1)
        yield np.arange(start, stop)
        start = stop


def _near(rows: Int, first: Int, count: Int, xy_a_m: Float, xy_b_m: Float, radius_m: float) -> tuple[Int, Int, Float]:
    row_a = np.repeat(rows, count[rows])
    within = np.arange(len(row_a)) - np.repeat(np.cumsum(count[rows]) - count[rows], count[rows])
    row_b = np.repeat(first[rows], count[rows]) + within
    offset_m = xy_a_m[row_a] - xy_b_m[row_b]
    distance_m = np.sqrt((offset_m**2).sum(axis=1))
    near = distance_m < radius_m
    return row_a[near], row_b[near], distance_m[near]


__all__ = ["pairs_within"]
