"""Pairs of boxes of the same frame that are near each other: the candidates of every matching by centre distance."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.geometry.overlap import frame_pairs

Float = NDArray[np.float64]
Int = NDArray[np.int64]

_PAIRS_AT_ONCE = 2_000_000  # bounds the memory of crowded frames to some 100 MB


def pairs_within(frame_a: Int, xy_a_m: Float, frame_b: Int, xy_b_m: Float, radius_m: float) -> tuple[Int, Int, Float]:
    """Rows of a and b in the same frame whose ground-plane distance is below the radius, and that distance [K], m.

    frame_a, frame_b: [A], [B], non-decreasing; xy_a_m, xy_b_m: [A, 2], [B, 2] in one common frame.
    The pairs are ordered by row of a, then by row of b.
    """
    frames = 1 + int(max(frame_a.max(initial=-1), frame_b.max(initial=-1)))
    partners = np.bincount(frame_b, minlength=frames)[frame_a]
    found = []
    for rows in _chunks(partners):
        row_a, row_b = frame_pairs(frame_a[rows], frame_b, frames)
        row_a = rows[row_a]
        distance_m = np.sqrt(((xy_a_m[row_a] - xy_b_m[row_b]) ** 2).sum(axis=1))
        near = distance_m < radius_m
        found.append((row_a[near], row_b[near], distance_m[near]))
    if not found:
        none = np.zeros(0, np.int64)
        return none, none, np.zeros(0)
    row_a, row_b, distance_m = (np.concatenate(column) for column in zip(*found, strict=True))
    return row_a, row_b, distance_m


def first_come(row_a: Int, row_b: Int, count_a: int) -> Int:
    """[count_a] the row of b that each row of a gets, or -1: of the pairs, in their order, each that is still free."""
    partner, taken = [-1] * count_a, set()
    for a, b in zip(row_a.tolist(), row_b.tolist(), strict=True):
        if partner[a] < 0 and b not in taken:
            partner[a] = b
            taken.add(b)
    return np.array(partner, np.int64)


def _chunks(partners: Int) -> Iterator[Int]:
    """Rows of a in portions with a bounded number of pairs."""
    end = np.cumsum(partners)
    start = 0
    while start < len(partners):
        done = end[start - 1] if start else 0
        stop = max(int(np.searchsorted(end, done + _PAIRS_AT_ONCE, "right")), start + 1)
        yield np.arange(start, stop)
        start = stop


__all__ = ["first_come", "pairs_within"]
