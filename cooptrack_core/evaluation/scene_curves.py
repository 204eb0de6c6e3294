"""Counts of each scene at each of its scores: AMOTA of any multiset of scenes follows at once (bootstrap)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cooptrack_core.evaluation.clear_mot import RECALLS, averaged, clear_metrics, recall_thresholds
from cooptrack_core.evaluation.sweep import COUNTS, sweep
from cooptrack_core.evaluation.tables import EvaluationSet
from cooptrack_core.evaluation.track_pairs import TrackPairs, track_pairs
from cooptrack_core.evaluation.tracks import prepared

Float = NDArray[np.float64]
Int = NDArray[np.int64]

RESAMPLED = ("amota", "amotp", "mota", "recall", "ids")
_NEEDED = [COUNTS.index(name) for name in ("tp", "ids", "fp", "distance")]  # what these come from


@dataclass(frozen=True)
class SceneCurve:
    """One class in one scene, at every threshold at which something changes."""

    truth: int  # boxes of ground truth
    scores: Float  # [D] different scores of its boxes, ascending
    counts: Int  # [len(COUNTS), D + 1] with the boxes of at least that score; last: without any
    match_scores: Float  # [M] of the matches when all boxes count, ascending


def scene_curves(data: EvaluationSet) -> list[list[SceneCurve]]:
    """[class][scene]; data: boxes in range, as EvaluationSet.in_range gives them."""
    ready = prepared(data)
    return [[_curve(pairs) for pairs in track_pairs(ready, index)] for index in range(len(data.class_names))]


def _curve(pairs: TrackPairs) -> SceneCurve:
    scores = np.unique(pairs.score)
    swept = sweep(pairs, np.r_[scores, np.inf])
    # without boxes, what was swept first is what was swept last: no matches
    return SceneCurve(len(pairs.object), scores, swept.counts, np.sort(swept.match_scores))


def amota_of(curves: Sequence[SceneCurve], weights: ArrayLike | None = None) -> dict[str, float]:
    """`amota`, `amotp`, `mota`, `recall` and `ids` of one class over scenes, as `tracking_scores` defines them.

    curves: of all scenes, one element of `scene_curves`; weights: [S] how often each scene counts, None: once.
    """
    once = np.ones(len(curves), np.int64) if weights is None else np.asarray(weights)
    return {name: float(values[0]) for name, values in amota_of_many(curves, once[None]).items()}


def amota_of_many(curves: Sequence[SceneCurve], weights: ArrayLike) -> dict[str, Float]:
    """`amota_of` for R weightings [R, S] at once: {metric: [R]}."""
    weight: Int = np.asarray(weights, np.int64)
    truth = weight @ np.array([curve.truth for curve in curves], np.int64)
    thresholds = _thresholds(curves, weight, truth)
    counts = np.zeros((len(COUNTS), *thresholds.shape), np.int64)
    for index, curve in enumerate(curves):
        at = np.searchsorted(curve.scores, thresholds)
        for row in _NEEDED:
            counts[row] += weight[:, index, None] * curve.counts[row][at]
    reached = np.isfinite(thresholds)
    of_class = clear_metrics(counts, truth[:, None])
    metrics = {name: np.where(reached, of_class[name], np.nan) for name in ("motar", "motp", "mota", "recall", "ids")}
    amota, amotp = averaged(metrics["motar"], metrics["motp"])
    # without any match the kit takes the worst of everything, and does not know the number of switches
    best = np.argmax(np.where(reached, metrics["mota"], -1.0), axis=1)[:, None]
    at_best = {name: np.take_along_axis(metrics[name], best, axis=1)[:, 0] for name in ("mota", "recall", "ids")}
    matched = reached.any(axis=1)
    result = {
        "amota": amota,
        "amotp": amotp,
        "mota": np.where(matched, at_best["mota"], 0.0),
        "recall": np.where(matched, at_best["recall"], 0.0),
        "ids": at_best["ids"],
    }
    return {name: np.where(truth > 0, values, np.nan) for name, values in result.items()}


def _thresholds(curves: Sequence[SceneCurve], weight: Int, truth: Int) -> Float:
    """[R, 40] thresholds of each weighting."""
    scores = np.concatenate([curve.match_scores for curve in curves]) if curves else np.zeros(0)
    scene = np.repeat(np.arange(len(curves)), [len(curve.match_scores) for curve in curves])
    order = np.argsort(scores)
    scores, scene = scores[order], scene[order]
    rows = [recall_thresholds(np.repeat(scores, w[scene]), int(n)) for w, n in zip(weight, truth, strict=True)]
    return np.stack(rows) if rows else np.zeros((0, len(RECALLS)))


__all__ = ["RESAMPLED", "SceneCurve", "amota_of", "amota_of_many", "scene_curves"]
