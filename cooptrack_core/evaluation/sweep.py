"""Counts of matches, switches, gaps and the like of one class in one scene, at many score thresholds at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.evaluation.track_matching import matches
from cooptrack_core.evaluation.track_pairs import TrackPairs

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Bool = NDArray[np.bool_]

DISTANCE_UNIT_M = 2.0**-36  # distances are summed in whole units: the sum does not depend on the order
# What is counted, the rows of Sweep.counts. tp: matches that are no switch (as in the kit); frames: those with any
# box; distance: sum over matches in units; mt, ml: objects matched in at least 80 %, in less than 20 % of their boxes;
# tracked: objects matched at all; initialization: sum of their frames until the first match; gap: of the longest gap.
COUNTS = ("tp", "ids", "fp", "frames", "distance", "mt", "ml", "frag", "tracked", "initialization", "gap")
_BLOCK = 128  # thresholds at a time, which bounds memory


@dataclass(frozen=True)
class Sweep:
    """Counts at D thresholds, and the scores of the matches at the first of them."""

    counts: Int  # [len(COUNTS), D]
    match_scores: Float  # [M] of matches that are no switch, in the order of the frames


def sweep(pairs: TrackPairs, thresholds: Float) -> Sweep:
    """Counts at each threshold, with the boxes whose score is at least the threshold.

    A match with another track than at the object's last match is a switch.
    """
    blocks = [thresholds[start : start + _BLOCK] for start in range(0, max(len(thresholds), 1), _BLOCK)]
    results = [_block(pairs, block) for block in blocks]
    return Sweep(np.concatenate([result.counts for result in results], axis=1), results[0].match_scores)


def _block(pairs: TrackPairs, thresholds: Float) -> Sweep:
    chains = _Chains(pairs, matches(pairs, thresholds))
    ranks = _ranks(pairs, thresholds)
    predicted = len(pairs.score) - np.searchsorted(np.sort(pairs.score), thresholds)
    tracked, mt, ml = chains.coverage()
    initialization, gap = chains.gaps(ranks)
    matched = chains.hit.sum(axis=0)
    switch = chains.switches()
    ids = switch.sum(axis=0)
    alone = pairs.runner_up[chains.order, None] < thresholds  # no other box of the frame counts
    distance, lone_distance = (
        np.rint(distance_m[chains.order, None] / DISTANCE_UNIT_M).astype(np.int64)
        for distance_m in (pairs.distance_m, pairs.lone_distance_m)
    )
    values = {
        "tp": matched - ids,
        "ids": ids,
        "fp": predicted - matched,
        "frames": ranks[-1] if len(ranks) else np.zeros(len(thresholds), np.int64),
        "distance": np.sum(np.where(alone, lone_distance, distance), axis=0, where=chains.hit),
        "mt": mt,
        "ml": ml,
        "frag": chains.fragmentations(),
        "tracked": tracked,
        "initialization": initialization,
        "gap": gap,
    }
    first = (chains.hit & ~switch)[:, :1].any(axis=1)
    scores = pairs.score[pairs.column[np.sort(chains.order[first])]]
    return Sweep(np.stack([values[name] for name in COUNTS]).astype(np.int64), scores)


def _ranks(pairs: TrackPairs, thresholds: Float) -> Int:
    """[F, D] number of frames up to each that have any box: the kit leaves out the others, and its frames count so."""
    highest = np.full(pairs.frame_count, -np.inf)
    np.maximum.at(highest, pairs.prediction_frame, pairs.score)
    predicted = np.zeros(pairs.frame_count, bool)
    predicted[pairs.prediction_frame] = True
    there = predicted[:, None] & (highest[:, None] >= thresholds)
    there[pairs.truth_frame] = True
    return np.cumsum(there, axis=0, dtype=np.int64)


class _Chains:
    """The pairs of each object, one after the other in time, and which of them are matched.

    Rows E are those of TrackPairs in this order, columns D the thresholds.
    """

    def __init__(self, pairs: TrackPairs, hit: Bool) -> None:
        """hit: [E, D] whether a pair is matched, in the order of TrackPairs."""
        self.pairs = pairs
        self.boxes = np.bincount(pairs.object)  # of each object
        objects = pairs.object[pairs.row]
        self.order = np.lexsort((np.arange(len(objects)), objects))
        objects = objects[self.order]
        self.hit = hit[self.order]
        self.starts = np.flatnonzero(np.r_[True, objects[1:] != objects[:-1]][: len(objects)])
        self.stops = np.r_[self.starts[1:], len(objects)] if len(objects) else self.starts
        self.objects = objects[self.starts]  # those with any pair
        start_of = np.repeat(self.starts, self.stops - self.starts)[:, None]
        # [E, D] row of the last match up to this row, and before it, of whatever object; -1: none
        self.latest = np.maximum.accumulate(np.where(self.hit, np.arange(len(objects))[:, None], -1), axis=0)
        self.before = np.vstack([np.full((min(len(objects), 1), hit.shape[1]), -1), self.latest[:-1]])
        self.again = self.hit & (self.before >= start_of)  # [E, D] matched, and matched before

    def switches(self) -> Bool:
        """[E, D] matches with another track than before."""
        track = self.pairs.track[self.pairs.column[self.order]]
        switch: Bool = self.again & (track[self.before] != track[:, None])
        return switch

    def fragmentations(self) -> Int:
        """[D] holes between matches of an object."""
        nth_of_box = np.empty(len(self.pairs.object), np.int64)
        nth_of_box[np.argsort(self.pairs.object, kind="stable")] = np.arange(len(nth_of_box))
        nth = nth_of_box[self.pairs.row[self.order]]
        holes: Int = (self.again & (nth[:, None] - nth[self.before] > 1)).sum(axis=0)
        return holes

    def coverage(self) -> tuple[Int, Int, Int]:
        """[D] objects that are matched at all, in 80 % of their boxes or more, in less than 20 %."""
        if not len(self.objects):
            none = np.zeros(self.hit.shape[1], np.int64)
            return none, none, none + len(self.boxes)
        matched = np.add.reduceat(self.hit, self.starts, axis=0, dtype=np.int64)
        ratio = matched / self.boxes[self.objects, None]
        lost = (ratio < 0.2).sum(axis=0) + len(self.boxes) - len(self.objects)
        return (matched > 0).sum(axis=0), (ratio >= 0.8).sum(axis=0), lost

    def gaps(self, ranks: Int) -> tuple[Int, Int]:
        """[D] frames until the first match, and of the longest gap, summed over the objects that are matched."""
        if not len(self.objects):
            none = np.zeros(self.hit.shape[1], np.int64)
            return none, none
        frame = self.pairs.truth_frame
        first, last = np.full(len(self.boxes), len(ranks)), np.full(len(self.boxes), -1)
        np.minimum.at(first, self.pairs.object, frame)
        np.maximum.at(last, self.pairs.object, frame)
        rank = ranks[frame[self.pairs.row[self.order]]]
        begin = np.repeat(ranks[first[self.objects]], self.stops - self.starts, axis=0)
        previous = np.take_along_axis(rank, np.maximum(self.before, 0), axis=0)
        gap = np.where(self.hit, np.where(self.again, rank - previous - 1, rank - begin), 0)
        initialization: Int = np.sum(gap, axis=0, where=self.hit & ~self.again)
        latest = self.latest[self.stops - 1]
        end = ranks[last[self.objects]] - np.take_along_axis(rank, np.maximum(latest, 0), axis=0)
        longest = np.maximum(np.maximum.reduceat(gap, self.starts, axis=0), end)
        return initialization, np.sum(longest, axis=0, where=latest >= self.starts[:, None])


__all__ = ["COUNTS", "DISTANCE_UNIT_M", "Sweep", "sweep"]
