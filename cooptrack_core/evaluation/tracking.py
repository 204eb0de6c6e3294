"""nuScenes tracking metrics (AMOTA and the like), equal to the development kit 1.2 with motmetrics 1.4."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.evaluation.clear_mot import RECALLS, SUMMED, WORST, averaged, clear_metrics, recall_thresholds
from cooptrack_core.evaluation.sweep import COUNTS, sweep
from cooptrack_core.evaluation.tables import EvaluationSet
from cooptrack_core.evaluation.track_pairs import TrackPairs, track_pairs
from cooptrack_core.evaluation.tracks import prepared

Float = NDArray[np.float64]
Int = NDArray[np.int64]

METRICS = ("amota", "amotp", *WORST)  # by the kit's names, in its order


@dataclass(frozen=True)
class ClassTracking:
    """Tracking of one class.

    metrics: by the kit's names, at the threshold with the highest MOTA, and AMOTA and AMOTP.
    curves: [40] each, from recall 1 down to 0.1, NaN without ground truth: `recall_aimed_at`, `threshold` (NaN:
    not reached) and every metric of the kit. tid_s, lgd_s: TID and LGD with the median frame period of each scene.
    """

    metrics: dict[str, float]
    curves: dict[str, Float]
    tid_s: float
    lgd_s: float


def track_classes(data: EvaluationSet) -> dict[str, ClassTracking]:
    """Tracking of each class; data: boxes in range, as EvaluationSet.in_range gives them."""
    ready = prepared(data)
    results = {}
    for index, name in enumerate(data.class_names):
        of_class = ready.truth.class_index == index
        objects = len(np.unique(ready.truth.written_id[of_class]))
        results[name] = _track_class(track_pairs(ready, index), objects)
    return results


def tracking_scores(data: EvaluationSet) -> dict[str, Any]:
    """The kit's scores; data: boxes in range, as EvaluationSet.in_range gives them.

    `label_metrics`: {metric: {class: value}}, `mean`: {metric: value over classes} (counts are summed, but gt is
    averaged; NaN values do not count), `seconds`: the same two for `tid_s` and `lgd_s`, TID and LGD with the real
    frame period, where the kit takes 0.5 s for each frame. NaN: undefined.
    """
    return scores_of(track_classes(data))


def scores_of(classes: Mapping[str, ClassTracking]) -> dict[str, Any]:
    """`tracking_scores` of what `track_classes` gave."""
    values = {metric: {name: result.metrics[metric] for name, result in classes.items()} for metric in METRICS}
    seconds = {
        "tid_s": {name: result.tid_s for name, result in classes.items()},
        "lgd_s": {name: result.lgd_s for name, result in classes.items()},
    }
    return {
        "label_metrics": values,
        "mean": {metric: _over_classes(metric, list(of.values())) for metric, of in values.items()},
        "seconds": {
            "label_metrics": seconds,
            "mean": {metric: _over_classes(metric, list(of.values())) for metric, of in seconds.items()},
        },
    }


def curves_of(classes: Mapping[str, ClassTracking]) -> dict[str, dict[str, list[float]]]:
    """{class: {curve: [40] values}} of what `track_classes` gave: the curves of `ClassTracking` as lists."""
    return {name: {key: curve.tolist() for key, curve in result.curves.items()} for name, result in classes.items()}


def _track_class(scenes: list[TrackPairs], objects: int) -> ClassTracking:
    """Tracking of a class; objects: different ids of its ground truth as written, wherever they are."""
    truth = sum(len(pairs.object) for pairs in scenes)
    if not truth:
        return _constant(dict.fromkeys(METRICS, np.nan))
    match_scores = np.concatenate([sweep(pairs, np.array([-np.inf])).match_scores for pairs in scenes])
    thresholds = recall_thresholds(match_scores, truth)
    reached = np.isfinite(thresholds)
    if not reached.any():
        whole = {"gt": truth, "fn": truth, "ml": objects}
        worst = {name: float(whole[name] if value is None else value) for name, value in WORST.items()}
        return _constant({"amota": 0.0, "amotp": 2.0} | worst)
    curves = {"recall_aimed_at": RECALLS.copy(), "threshold": thresholds}
    distinct, place = np.unique(thresholds[reached], return_inverse=True)
    counts = np.stack([sweep(pairs, distinct).counts for pairs in scenes])[:, :, place]
    for name, values in clear_metrics(counts.sum(axis=0), truth).items():
        curves[name] = np.full(len(RECALLS), np.nan)
        curves[name][reached] = values
    best = int(np.nanargmax(curves["mota"]))
    amota, amotp = averaged(curves["motar"], curves["motp"])
    metrics = {"amota": float(amota), "amotp": float(amotp)} | {name: float(curves[name][best]) for name in WORST}
    first = int(np.argmax(reached))  # counts begin there: recalls that are not reached are the highest, so the first
    return ClassTracking(metrics, curves, *_seconds(scenes, counts[:, :, best - first]))


def _constant(metrics: dict[str, float]) -> ClassTracking:
    """Where no recall is reached: the same values at all of them."""
    curves = {"recall_aimed_at": RECALLS.copy(), "threshold": np.full(len(RECALLS), np.nan)}
    curves |= {name: np.full(len(RECALLS), metrics[name]) for name in WORST}
    return ClassTracking(metrics, curves, np.nan, np.nan)


def _seconds(scenes: list[TrackPairs], counts: Int) -> tuple[float, float]:
    """TID and LGD in s from the counts [S, len(COUNTS)] at one threshold; NaN where no object is tracked."""
    count = dict(zip(COUNTS, counts.T, strict=True))
    tracked = count["tracked"].sum()
    if not tracked:
        return np.nan, np.nan
    period_s = np.array([pairs.period_s for pairs in scenes])
    return float(period_s @ count["initialization"] / tracked), float(period_s @ count["gap"] / tracked)


def _over_classes(metric: str, values: list[float]) -> float:
    """The kit's aggregate: NaN values do not count; sums of nothing are 0, means of nothing NaN."""
    if metric in SUMMED:
        return float(np.nansum(values))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(np.nanmean(values)) if values else np.nan


__all__ = ["METRICS", "ClassTracking", "curves_of", "scores_of", "track_classes", "tracking_scores"]
