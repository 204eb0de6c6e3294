"""Which pairs of ground truth and tracks match at each of many score thresholds, as motmetrics matches them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from cooptrack_core.evaluation.track_pairs import TrackPairs

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]


def matches(pairs: TrackPairs, thresholds: Float) -> Bool:
    """[E, D] whether a pair is matched, with the boxes whose score is at least the threshold [D].

    A frame goes as in motmetrics 1.4 (MOTAccumulator.update): an object keeps the track of its last match, however old,
    while this is within 2 m; the rest is assigned with the least total distance among assignments with the most pairs.
    """
    hit: Bool = pairs.score[pairs.column, None] >= thresholds
    rivals = np.bincount(pairs.row)[pairs.row] + np.bincount(pairs.column)[pairs.column]
    frame = pairs.pair_frame
    crowded = np.unique(frame[rivals > 2])  # elsewhere a pair has no choice
    objects, tracks = pairs.object[pairs.row], pairs.track[pairs.column]
    latest = np.full((int(pairs.object.max(initial=-1)) + 1) * len(thresholds), -1)  # last matched pair of an object
    done = 0
    starts, stops = (np.searchsorted(frame, crowded, side).tolist() for side in ("left", "right"))
    for start, stop in zip(starts, stops, strict=True):
        matched, at = np.nonzero(hit[done:start])
        np.maximum.at(latest, objects[done + matched] * len(thresholds) + at, done + matched)
        before = latest.reshape(-1, len(thresholds))[objects[start:stop]]
        kept = hit[start:stop] & (before >= 0) & (tracks[before] == tracks[start:stop, None])
        hit[start:stop] = _Crowd(pairs, start, stop, thresholds).matches(hit[start:stop], kept)
        done = start
    return hit


class _Crowd:
    """A frame in which some box is near several others."""

    def __init__(self, pairs: TrackPairs, start: int, stop: int, thresholds: Float) -> None:
        frame = pairs.truth_frame[pairs.row[start]]
        top, bottom = np.searchsorted(pairs.truth_frame, (frame, frame + 1))
        left, right = np.searchsorted(pairs.prediction_frame, (frame, frame + 1))
        self.row, self.column = pairs.row[start:stop] - top, pairs.column[start:stop] - left
        self.distance_m, self.lone_distance_m = pairs.distance_m[start:stop], pairs.lone_distance_m[start:stop]
        self.rows = int(bottom - top)
        self.score, self.thresholds = pairs.score[left:right], thresholds
        # [N, E] ones where a pair is of the row (column): counts are products
        self.of_row = (np.arange(self.rows)[:, None] == self.row).astype(np.float32)
        self.of_column = (np.arange(right - left)[:, None] == self.column).astype(np.float32)

    def matches(self, active: Bool, kept: Bool) -> Bool:
        """[E, D] matched pairs, of the active ones and those that would continue a match."""
        kept = self._first_come(kept)
        used = kept.astype(np.float32)
        free = active & ((self.of_row @ used)[self.row] == 0) & ((self.of_column @ used)[self.column] == 0)
        count = free.astype(np.float32)
        choice = free & (((self.of_row @ count)[self.row] > 1) | ((self.of_column @ count)[self.column] > 1))
        known: dict[tuple[bytes, int], Bool] = {}
        for at in np.flatnonzero(choice.any(axis=0)).tolist():
            present = self.score >= self.thresholds[at]
            key = free[:, at].tobytes(), int(np.count_nonzero(present))
            if key not in known:
                known[key] = self._assigned(free[:, at], present)
            free[:, at] = known[key]
        matched: Bool = kept | free
        return matched

    def _first_come(self, kept: Bool) -> Bool:
        """Of objects that would continue with the same track, the first of the list does."""
        if (self.of_column @ kept.astype(np.float32) < 2).all():
            return kept
        taken = np.zeros((len(self.score), kept.shape[1]), bool)
        result: Bool = np.zeros_like(kept)
        for index, column in enumerate(self.column.tolist()):  # pairs are in the order of the objects
            result[index] = kept[index] & ~taken[column]
            taken[column] |= result[index]
        return result

    def _assigned(self, free: Bool, present: Bool) -> Bool:
        """[E] the pairs of the cheapest assignment among those with the most pairs.

        Over all objects and all predictions that are present, forbidden pairs at the price that motmetrics gives them
        (lap.add_expensive_edges): which of several equal assignments comes out depends on it.
        """
        place = np.cumsum(present) - 1
        shape = self.rows, int(place[-1]) + 1
        row, column = self.row[free], place[self.column[free]]
        distance_m = (self.lone_distance_m if shape[1] == 1 else self.distance_m)[free]
        costs = np.full(shape, 2 * min(shape) * (distance_m.max() + 1) + 1)
        costs[row, column] = distance_m
        chosen = np.zeros(shape, bool)
        chosen[linear_sum_assignment(costs)] = True
        result: Bool = free.copy()
        result[free] = chosen[row, column]
        return result


__all__ = ["matches"]
