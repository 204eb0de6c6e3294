"""Where a sensor has proven to see: directions and distances, and places in the map."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.geometry.transforms import apply

Float = NDArray[np.float64]

_SECTORS, _RINGS, _RING_M = 72, 32, 5.0
_CELL_M = 5.0
_IN_SECTOR = 5  # sightings in a direction, at that distance or beyond
_IN_CELLS = 3  # sightings in a cell of the map and those around it
_CELLS = 20_000
_OPEN_CELL_M, _OPEN_STEP_M, _OPEN_SHARE = 2.0, 1.5, 0.9
_OPEN_CELLS = 300_000
_ROW = 1 << 32  # from a cell's number to that of the next row's
_KEYS_AROUND = np.array([i * _ROW + j for i in (-1, 0, 1) for j in (-1, 0, 1)])


class Coverage:
    """Learned from what the sensor has seen; nothing is assumed about its view."""

    def __init__(self) -> None:
        self._rings = np.zeros((_SECTORS, _RINGS), np.int64)
        self._cells: Counter[int] = Counter()  # sightings by cell of the map
        self._crossed: set[int] = set()  # cells of the map that a line of sight has crossed
        self._open: set[int] = set()  # these and those around them

    def add(self, center_m: Float, T_map_from_sensor: Float) -> None:
        """Takes what was surely seen: centres [N, 3] in the sensor frame."""
        if not len(center_m):
            return
        np.add.at(self._rings, _polar(center_m), 1)
        if len(self._cells) < _CELLS:
            self._cells.update(_keys(_cells(center_m, T_map_from_sensor, _CELL_M)).tolist())
        if len(self._open) < _OPEN_CELLS:
            crossed = set(_keys(_cells(_lines(center_m)[0], T_map_from_sensor, _OPEN_CELL_M)).tolist())
            new = np.array(list(crossed - self._crossed), np.int64)  # few: the same lines come again and again
            self._crossed |= crossed
            self._open.update((new[:, None] + _KEYS_AROUND).ravel().tolist())

    def in_sight(self, center_m: Float, T_map_from_sensor: Float) -> NDArray[np.bool_]:
        """[N] whether objects at these places have to be seen, unless another one hides them.

        They lie in a direction and at a distance in which others were seen, and nothing that stands still is in the
        way: near there something was seen before, or what was seen lay behind.
        """
        found = self._in_view(center_m)
        rows = np.flatnonzero(found)
        if len(rows):
            found[rows] = self._is_open(center_m[rows], T_map_from_sensor)
        return found

    def _in_view(self, center_m: Float) -> NDArray[np.bool_]:
        if not len(center_m):
            return np.zeros(0, bool)
        sector, ring = _polar(center_m)
        beyond = self._rings[:, ::-1].cumsum(axis=1)[:, ::-1]
        around = beyond[sector - 1, ring] + beyond[sector, ring] + beyond[(sector + 1) % _SECTORS, ring]
        return np.asarray(around >= _IN_SECTOR)

    def _is_open(self, center_m: Float, T_map_from_sensor: Float) -> NDArray[np.bool_]:
        """[N] whether nothing that stands still is in the way to each place."""
        cells, opened, seen = _keys(_cells(center_m, T_map_from_sensor, _CELL_M)), self._open, self._cells
        near = (cells[:, None] + _KEYS_AROUND).tolist()
        found = np.array([sum([seen[key] for key in keys if key in seen]) >= _IN_CELLS for keys in near], bool)
        rest = np.flatnonzero(~found)
        if len(rest):
            points_m, steps = _lines(center_m[rest])
            crossed = _keys(_cells(points_m, T_map_from_sensor, _OPEN_CELL_M)).tolist()
            free = np.add.reduceat([key in opened for key in crossed], np.cumsum(steps) - steps, dtype=np.int64)
            found[rest] = free >= _OPEN_SHARE * steps
        return found


def _lines(center_m: Float) -> tuple[Float, NDArray[np.int64]]:
    """Points [P, 3] on the lines from the origin to N places, one line after the other, and how many each has [N]."""
    steps = np.maximum(2, (np.hypot(center_m[:, 0], center_m[:, 1]) / _OPEN_STEP_M).astype(np.int64))
    last = np.cumsum(steps) - 1
    share = (np.arange(steps.sum()) - np.repeat(last + 1 - steps, steps)) * np.repeat(1.0 / (steps - 1), steps)
    share[last] = 1.0
    return share[:, None] * np.repeat(center_m, steps, axis=0), steps


def _polar(center_m: Float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    azimuth = np.arctan2(center_m[:, 1], center_m[:, 0])
    sector = ((azimuth + np.pi) / (2 * np.pi) * _SECTORS).astype(np.int64) % _SECTORS
    ring = np.minimum(np.hypot(center_m[:, 0], center_m[:, 1]) / _RING_M, _RINGS - 1).astype(np.int64)
    return sector, ring


def _cells(center_m: Float, T_map_from_sensor: Float, edge_m: float) -> NDArray[np.int64]:
    """[N, 2] cells of the map."""
    return np.floor(apply(T_map_from_sensor, center_m)[:, :2] / edge_m).astype(np.int64)


def _keys(cells: NDArray[np.int64]) -> NDArray[np.int64]:
    """[N] one number for each cell [N, 2]."""
    return np.asarray(cells[:, 0] * _ROW + cells[:, 1], np.int64)


def hidden_behind(center_m: Float, others_m: Float, other_size_m: Float) -> NDArray[np.bool_]:
    """[N, M] whether something at others [M] stands before the middle of what is at center [N], from the origin."""
    range_m, other_range_m = _range(center_m), _range(others_m)
    half = np.arctan2(other_size_m[:, :2].max(axis=1) / 2, np.maximum(other_range_m, 0.1))
    nearer = other_range_m[None] < range_m[:, None] - 1.0
    return np.asarray(nearer & (_turn(center_m, others_m) < half[None]))


def seen_through(center_m: Float, size_m: Float, others_m: Float, error_m: float) -> NDArray[np.bool_]:
    """[N, M] whether the middle of what is seen at others [M] lies behind what is said to be at center [N].

    error_m: how much farther it has to be.
    """
    range_m, other_range_m = _range(center_m), _range(others_m)
    own_half = np.arctan2(size_m[:, :2].min(axis=1) / 2, np.maximum(range_m, 0.1))
    behind = other_range_m[None] > range_m[:, None] + error_m
    return np.asarray(behind & (_turn(center_m, others_m) < 0.6 * own_half[:, None]))


def _range(center_m: Float) -> Float:
    return np.asarray(np.hypot(center_m[:, 0], center_m[:, 1]))


def _turn(a_m: Float, b_m: Float) -> Float:
    """[N, M] angle between directions."""
    difference = np.arctan2(a_m[:, 1], a_m[:, 0])[:, None] - np.arctan2(b_m[:, 1], b_m[:, 0])[None]
    return np.abs((difference + np.pi) % (2 * np.pi) - np.pi)


__all__ = ["Coverage", "hidden_behind", "seen_through"]
