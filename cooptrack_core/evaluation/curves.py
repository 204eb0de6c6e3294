"""What the plots of a report show: precision and tracking over recall, recall over distance (metrics["curves"])."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.data.recording_frames import without_nan
from cooptrack_core.evaluation.detection import RECALLS, THRESHOLDS_M, DetectionMatches, precision_curve
from cooptrack_core.evaluation.pairs import first_come, pairs_within
from cooptrack_core.evaluation.tables import BoxTable, EvaluationSet
from cooptrack_core.evaluation.track_pairs import MATCH_M

Bool = NDArray[np.bool_]
Curves = dict[str, Any]

DISTANCE_STEP_M = 10.0
_TRACKING = ("recall", "motar", "mota", "motp", "ids", "fp", "fn", "threshold")
_DIGITS = 6  # of what is only drawn


def metric_curves(data: EvaluationSet, matches: DetectionMatches, tracking: Mapping[str, Mapping[str, Any]]) -> Curves:
    """metrics["curves"]; None where a recall is not reached.

    data: boxes in range; matches: of `match_detections`; tracking: `curves_of` the same.
    """
    curves: Curves = without_nan(
        {
            "detection": {
                "recall": np.round(RECALLS, 2).tolist(),
                "precision": {name: _precision(matches, name) for name in matches.by_class},
            },
            "tracking": {
                name: {key: _plain(curve[key]) for key in _TRACKING if key in curve} for name, curve in tracking.items()
            },
            "distance": recall_by_distance(data),
        }
    )
    return curves


def recall_by_distance(data: EvaluationSet) -> Curves:
    """Share of the objects near which a track is reported in the same frame, by distance from the ego vehicle.

    {"edges_m": [B + 1], "match_m": 2.0, "recall": {class: [B]}, "objects": {class: [B]}}; NaN for no objects.
    """
    farthest = max(data.class_range_m, default=0.0)
    edges = np.arange(0.0, np.ceil(farthest / DISTANCE_STEP_M) * DISTANCE_STEP_M + 0.1, DISTANCE_STEP_M)
    result: Curves = {"edges_m": edges.tolist(), "match_m": MATCH_M, "recall": {}, "objects": {}}
    for index, name in enumerate(data.class_names):
        own = data.of_class(index)
        offset_m = own.truth.center_m[:, :2] - own.frames.ego_xy_m[own.truth.frame]
        bins = np.hypot(offset_m[:, 0], offset_m[:, 1]) // DISTANCE_STEP_M
        place = np.clip(bins, 0, len(edges) - 2).astype(np.int64)
        objects = np.bincount(place, minlength=len(edges) - 1)
        found = np.bincount(place[found_objects(own.truth, own.predictions)], minlength=len(edges) - 1)
        with np.errstate(invalid="ignore"):
            result["recall"][name] = _plain(found / objects)
        result["objects"][name] = objects.tolist()
    return result


def found_objects(truth: BoxTable, predictions: BoxTable, match_m: float = MATCH_M) -> Bool:
    """[N] whether an object has a track for itself within the distance in its frame; the nearest pairs come first."""
    row, column, distance_m = pairs_within(
        truth.frame, truth.center_m[:, :2], predictions.frame, predictions.center_m[:, :2], match_m
    )
    nearest_first = np.lexsort((column, row, distance_m))
    found: Bool = first_come(row[nearest_first], column[nearest_first], len(truth)) >= 0
    return found


def _precision(matches: DetectionMatches, name: str) -> Curves:
    """{threshold: [101]}, NaN beyond the last recall that is reached."""
    curves = {}
    for at, threshold in enumerate(THRESHOLDS_M):
        precision, score = precision_curve(matches.by_class[name], at)
        reached = np.flatnonzero(score > 0)
        last = int(reached[-1]) if len(reached) else -1
        curves[str(threshold)] = _plain(np.where(np.arange(len(precision)) <= last, precision, np.nan))
    return curves


def _plain(values: Any) -> list[float]:
    rounded: list[float] = np.round(np.asarray(values, np.float64), _DIGITS).tolist()
    return rounded


__all__ = ["DISTANCE_STEP_M", "found_objects", "metric_curves", "recall_by_distance"]
