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
_AROUND = np.array([(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)])


class Coverage:
    """Learned from what the sensor has seen; nothing is assumed about its view."""

    def __init__(self) -> None:
        self._rings = np.zeros((_SECTORS, _RINGS), np.int64)
        self._cells: Counter[int] = Counter()  # sightings by cell of the map
        self._open: set[int] = set()  # cells of the map that a line of sight has crossed

    def add(self, center_m: Float, T_map_from_sensor: Float) -> None:
        """Takes what was surely seen: centres [N, 3] in the sensor frame."""
        if not len(center_m):
            return
        np.add.at(self._rings, _polar(center_m), 1)
        if len(self._cells) < _CELLS:
            self._cells.update(_keys(_cells(center_m, T_map_from_sensor, _CELL_M)).tolist())
        if len(self._open) < _OPEN_CELLS:
            crossed = _cells(_lines(center_m), T_map_from_sensor, _OPEN_CELL_M)
            self._open.update(np.unique(_keys(crossed[:, None] + _AROUND)).tolist())

    def in_sight(self, center_m: Float, T_map_from_sensor: Float) -> NDArray[np.bool_]:
        """[N] whether objects at these places have to be seen, unless another one hides them.

        They lie in a direction and at a distance in which others were seen, and nothing that stands still is in the
        way: near there something was seen before, or what was seen lay behind.
        """
        found = self._in_view(center_m)
        for row in np.flatnonzero(found).tolist():
            found[row] = self._is_open(center_m[row : row + 1], T_map_from_sensor)
        return found

    def _in_view(self, center_m: Float) -> NDArray[np.bool_]:
        if not len(center_m):
            return np.zeros(0, bool)
        sector, ring = _polar(center_m)
        beyond = self._rings[:, ::-1].cumsum(axis=1)[:, ::-1]
        around = np.roll(beyond, 1, axis=0) + beyond + np.roll(beyond, -1, axis=0)
        return np.asarray(around[sector, ring] >= _IN_SECTOR)

    def _is_open(self, center_m: Float, T_map_from_sensor: Float) -> bool:
        """Of one place [1, 3]."""
        near = _keys(_cells(center_m, T_map_from_sensor, _CELL_M) + _AROUND).tolist()
        if sum(self._cells.get(key, 0) for key in near) >= _IN_CELLS:
            return True
        crossed = _keys(_cells(_lines(center_m), T_map_from_sensor, _OPEN_CELL_M)).tolist()
        return sum(key in self._open for key in crossed) >= _OPEN_SHARE * len(crossed)


def _lines(center_m: Float) -> Float:
    """[P, 3] points on the lines from the origin to places, up to there."""
    lines = [np.zeros((0, 3))]
    for center in center_m:
        steps = max(2, int(np.hypot(*center[:2]) / _OPEN_STEP_M))
        lines.append(np.linspace(0.0, 1.0, steps)[:, None] * center)
    return np.concatenate(lines)


def _polar(center_m: Float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    azimuth = np.arctan2(center_m[:, 1], center_m[:, 0])
    sector = ((azimuth + np.pi) / (2 * np.pi) * _SECTORS).astype(np.int64) % _SECTORS
    ring = np.minimum(np.hypot(center_m[:, 0], center_m[:, 1]) / _RING_M, _RINGS - 1).astype(np.int64)
    return sector, ring


def _cells(center_m: Float, T_map_from_sensor: Float, edge_m: float) -> NDArray[np.int64]:
    """[N, 2] cells of the map."""
    return np.floor(apply(T_map_from_sensor, center_m)[:, :2] / edge_m).astype(np.int64)


def _keys(cells: NDArray[np.int64]) -> NDArray[np.int64]:
    """[N] one number for each cell [..., 2]."""
    flat = cells.reshape(-1, 2)
    return flat[:, 0] * (1 << 32) + flat[:, 1]


def hidden_behind(center_m: Float, others_m: Float, other_size_m: Float) -> NDArray[np.bool_]:
    """[N, M] whether something at others [M] stands before the middle of what is at center [N], from the origin."""
    range_m, other_range_m = np.hypot(*center_m[:, :2].T), np.hypot(*others_m[:, :2].T)
    half = np.arctan2(other_size_m[:, :2].max(axis=1) / 2, np.maximum(other_range_m, 0.1))
    nearer = other_range_m[None] < range_m[:, None] - 1.0
    return np.asarray(nearer & (_turn(center_m, others_m) < half[None]))


def seen_through(center_m: Float, size_m: Float, others_m: Float, error_m: float) -> NDArray[np.bool_]:
    """[N, M] whether the middle of what is seen at others [M] lies behind what is said to be at center [N].

    error_m: how much farther it has to be.
    """
    range_m, other_range_m = np.hypot(*center_m[:, :2].T), np.hypot(*others_m[:, :2].T)
    own_half = np.arctan2(size_m[:, :2].min(axis=1) / 2, np.maximum(range_m, 0.1))
    behind = other_range_m[None] > range_m[:, None] + error_m
    return np.asarray(behind & (_turn(center_m, others_m) < 0.6 * own_half[:, None]))


def _turn(a_m: Float, b_m: Float) -> Float:
    """[N, M] angle between directions."""
    difference = np.arctan2(a_m[:, 1], a_m[:, 0])[:, None] - np.arctan2(b_m[:, 1], b_m[:, 0])[None]
    return np.abs((difference + np.pi) % (2 * np.pi) - np.pi)


__all__ = ["Coverage", "hidden_behind", "seen_through"]
