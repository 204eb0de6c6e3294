"""Pairs of ground truth and track boxes that are near enough to match, for one class of one scene."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.evaluation.tables import BoxTable, EvaluationSet, FrameTable

Float = NDArray[np.float64]
Int = NDArray[np.int64]

MATCH_M = 2.0  # ground-plane centre distance at which two boxes no longer match


@dataclass(frozen=True)
class TrackPairs:
    """Boxes of one class in one scene, ordered by frame, and the pairs of them nearer than 2 m."""

    frame_count: int
    period_s: float  # median time between frames; 0 with a single frame
    object: Int  # [G] object of each box of ground truth, 0..O-1
    truth_frame: Int  # [G] frame within the scene, non-decreasing
    track: Int  # [P] track of each predicted box
    prediction_frame: Int  # [P] frame within the scene, non-decreasing
    score: Float  # [P] of the track; boxes of one track may differ in the last digit
    row: Int  # [E] box of ground truth of each pair; pairs are ordered by row, then column
    column: Int  # [E] predicted box of each pair
    distance_m: Float  # [E]
    lone_distance_m: Float  # [E] as the kit computes it when no other box of the frame is above the threshold
    runner_up: Float  # [E] second highest score in the frame

    @property
    def pair_frame(self) -> Int:
        """[E] frame of each pair."""
        return self.truth_frame[self.row]


def track_pairs(data: EvaluationSet, class_index: int) -> list[TrackPairs]:
    """One TrackPairs for each scene; data as from `prepared`."""
    data = data.of_class(class_index)
    bounds = np.searchsorted(data.frames.scene, np.arange(len(data.frames.scene_names) + 1))
    return [_scene(data, int(first), int(end)) for first, end in itertools.pairwise(bounds)]


def _scene(data: EvaluationSet, first: int, end: int) -> TrackPairs:
    """The boxes and pairs in frames first..end-1."""
    truth, predictions = (boxes.of_frames(first, end) for boxes in (data.truth, data.predictions))
    row, column, distance_m, lone_m, runner_up = _pairs(truth, predictions)
    return TrackPairs(
        frame_count=end - first,
        period_s=_period_s(data.frames, first, end),
        object=np.unique(truth.track, return_inverse=True)[1],
        truth_frame=truth.frame - first,
        track=predictions.track,
        prediction_frame=predictions.frame - first,
        score=predictions.score,
        row=row,
        column=column,
        distance_m=distance_m,
        lone_distance_m=lone_m,
        runner_up=runner_up,
    )


def _period_s(frames: FrameTable, first: int, end: int) -> float:
    steps_us = np.diff(frames.timestamp_us[first:end])
    return float(np.median(steps_us)) / 1e6 if len(steps_us) else 0.0


def _pairs(truth: BoxTable, predictions: BoxTable) -> tuple[Int, Int, Float, Float, Float]:
    """row, column, distance_m, lone_distance_m and runner_up of TrackPairs."""
    common = np.intersect1d(truth.frame, predictions.frame)
    rows, columns = (
        zip(np.searchsorted(b.frame, common).tolist(), np.searchsorted(b.frame, common, "right").tolist(), strict=True)
        for b in (truth, predictions)
    )
    xy_m = [np.ascontiguousarray(boxes.center_m[:, :2]) for boxes in (truth, predictions)]
    square = [np.einsum("ij,ij->i", xy, xy) for xy in xy_m]
    parts: list[tuple[Int, Int, Float, Float, Float]] = []
    for (top, bottom), (left, right) in zip(rows, columns, strict=True):
        of_truth = xy_m[0][top:bottom], square[0][top:bottom]
        distance_m = _distance(*of_truth, xy_m[1][left:right], square[1][left:right])
        row, column = np.nonzero(distance_m < MATCH_M)
        if not len(row):
            continue
        near_m = lone_m = distance_m[row, column]
        second = -np.inf
        if right - left > 1:
            score = predictions.score[left:right]
            best = int(np.argmax(score))
            second = max(score[:best].max(initial=-np.inf), score[best + 1 :].max(initial=-np.inf))
            alone = slice(left + best, left + best + 1)
            to_best_m = _distance(*of_truth, xy_m[1][alone], square[1][alone])[:, 0]
            lone_m = np.where(column == best, to_best_m[row], near_m)
        parts.append((row + top, column + left, near_m, lone_m, np.full(len(row), second)))
    if not parts:
        none, zero = np.zeros(0, np.int64), np.zeros(0)
        return none, none, zero, zero, zero
    row, column, near_m, lone_m, runner_up = (np.concatenate(part) for part in zip(*parts, strict=True))
    return row, column, near_m, lone_m, runner_up


def _distance(a_m: Float, a_square: Float, b_m: Float, b_square: Float) -> Float:
    """[N, M] distances between points [N, 2] and [M, 2].

    The kit takes them from scikit-learn, which expands the square: far from the map's origin digits cancel, and boxes
    in the same place are 1e-5 m apart. A mean of distances equals the kit's to 1e-9 only with the same products,
    and these come out differently for one point than for many; hence also TrackPairs.lone_distance_m.
    """
    squared = -2 * (a_m @ b_m.T)
    squared += a_square[:, None]
    squared += b_square
    distance: Float = np.sqrt(np.maximum(squared, 0.0, out=squared))
    return distance


__all__ = ["MATCH_M", "TrackPairs", "track_pairs"]
