"""Detection as nuScenes scores it: precision over recall at four centre distances, and the errors of what matches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.evaluation.pairs import first_come, pairs_within
from cooptrack_core.evaluation.tables import BoxTable, EvaluationSet

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Bool = NDArray[np.bool_]

# detection_cvpr_2019 of the nuScenes development kit (spec v2x-seq-spd.md 5.1).
THRESHOLDS_M = (0.5, 1.0, 2.0, 4.0)
ERROR_THRESHOLD = THRESHOLDS_M.index(2.0)  # at which the errors of true positives are taken
MIN_RECALL = MIN_PRECISION = 0.1
RECALLS = np.linspace(0, 1, 101)
ERRORS = ("trans_err", "scale_err", "orient_err", "vel_err")  # m, 1 - IoU of the sizes, rad, m/s
_FIRST = round(100 * MIN_RECALL) + 1  # the first recall that counts
# Classes of the kit that look the same from both ends, or of which an error has no meaning.
_HALF_TURN = ("barrier",)
_UNDEFINED = {"barrier": ("vel_err",), "traffic_cone": ("orient_err", "vel_err")}


@dataclass(frozen=True)
class SceneMatches:
    """The predictions of one class, highest score first, what they match, and the number of objects per scene."""

    scene: Int  # [P]
    score: Float  # [P]
    is_tp: Bool  # [4, P] by distance threshold
    error: Float  # [4, P] by kind of error, of the matches at 2 m; NaN elsewhere and where unknown
    truth_count: Int  # [S]
    undefined: tuple[str, ...] = ()  # errors that have no meaning for this class


@dataclass(frozen=True)
class DetectionMatches:
    """The matches of every class."""

    by_class: Mapping[str, SceneMatches]


def match_detections(data: EvaluationSet, frame_order: Int | None = None) -> DetectionMatches:
    """Matches every prediction, by descending score, with the nearest object of its frame that is still free.

    data: only boxes in range (`EvaluationSet.in_range`).
    frame_order: [F] place of each frame in the list of predictions, where it is not that of the frames;
    of equal scores the last in the list comes first, as in the kit.
    """
    order = np.arange(len(data.frames)) if frame_order is None else frame_order
    classes = enumerate(data.class_names)
    return DetectionMatches({name: _match_class(data.of_class(index), name, order) for index, name in classes})


def _match_class(data: EvaluationSet, name: str, frame_order: Int) -> SceneMatches:
    truth, predictions = data.truth, data.predictions
    best_first = np.lexsort((np.arange(len(predictions)), frame_order[predictions.frame], predictions.score))[::-1]
    rank = np.empty(len(predictions), np.int64)
    rank[best_first] = np.arange(len(predictions))
    row, candidate, distance_m = pairs_within(
        predictions.frame, predictions.center_m[:, :2], truth.frame, truth.center_m[:, :2], max(THRESHOLDS_M)
    )
    nearest_first = np.lexsort((candidate, distance_m, rank[row]))
    pairs = (rank[row][nearest_first], candidate[nearest_first], distance_m[nearest_first])
    matched = np.stack([_greedy(*pairs, threshold, len(predictions)) for threshold in THRESHOLDS_M])
    ranked = predictions.select(best_first)
    return SceneMatches(
        scene=data.frames.scene[ranked.frame],
        score=ranked.score,
        is_tp=matched >= 0,
        error=_errors(truth, ranked, matched[ERROR_THRESHOLD], np.pi if name in _HALF_TURN else 2 * np.pi),
        truth_count=np.bincount(data.frames.scene[truth.frame], minlength=len(data.frames.scene_names)),
        undefined=_UNDEFINED.get(name, ()),
    )


def _greedy(rank: Int, candidate: Int, distance_m: Float, threshold_m: float, predictions: int) -> Int:
    """[P] by rank the row of the object that the prediction takes, or -1; pairs are ordered by rank, then distance.

    The nearest free object is within the threshold exactly if one of the candidates within it is free.
    """
    within = distance_m < threshold_m
    return first_come(rank[within], candidate[within], predictions)


def _errors(truth: BoxTable, predictions: BoxTable, matched: Int, period_rad: float) -> Float:
    """[4, P] errors of the matched predictions, NaN for the others."""
    error = np.full((len(ERRORS), len(matched)), np.nan)
    is_tp = matched >= 0
    found, true = predictions.select(is_tp), truth.select(matched[is_tp])
    common = np.minimum(found.size_m, true.size_m).prod(axis=1)
    union = true.size_m.prod(axis=1) + found.size_m.prod(axis=1) - common
    turn_rad = (true.heading_rad - found.heading_rad + period_rad / 2) % period_rad - period_rad / 2
    error[0, is_tp] = np.sqrt(((found.center_m - true.center_m)[:, :2] ** 2).sum(axis=1))
    error[1, is_tp] = 1 - common / union
    error[2, is_tp] = np.abs(turn_rad)
    error[3, is_tp] = np.sqrt(((found.velocity_mps - true.velocity_mps) ** 2).sum(axis=1))
    return error


def detection_scores(matches: DetectionMatches, weights: Int | None = None, *, errors: bool = True) -> dict[str, Any]:
    """`{class: {ap_0.5, ap_1.0, ap_2.0, ap_4.0, ap, trans_err, scale_err, orient_err, vel_err}, "mAP": mean}`.

    weights: [S] how often each scene counts (of a bootstrap), 1 each without; errors: False leaves them out.
    A class without objects has AP 0 and errors of 1, as in the kit; one that has objects, but none in the weighted
    scenes, has NaN and is left out of mAP. An error that a class does not have is NaN.
    """
    scores: dict[str, Any] = {}
    for name, found in matches.by_class.items():
        repeated, truths = _weighted(found, weights)
        aps = [_average_precision(repeated, truths, at) for at in range(len(THRESHOLDS_M))]
        if truths == 0 and found.truth_count.any():
            aps = [np.nan] * len(aps)
        scores[name] = {f"ap_{threshold}": ap for threshold, ap in zip(THRESHOLDS_M, aps, strict=True)}
        scores[name]["ap"] = float(np.mean(aps))
        if errors:
            scores[name] |= _mean_errors(repeated, truths)
    aps = [scores[name]["ap"] for name in matches.by_class]
    scores["mAP"] = float(np.mean([ap for ap in aps if not np.isnan(ap)] or [np.nan]))
    return scores


def precision_curve(matches: SceneMatches, at: int) -> tuple[Float, Float]:
    """[101] precision and [101] score threshold at the recalls `RECALLS` for the distance `THRESHOLDS_M[at]`."""
    return _curve(matches, int(matches.truth_count.sum()), at)


def nds_style(scores: Mapping[str, Any]) -> dict[str, float]:
    """Means of the errors over the classes, and a detection score from them and mAP.

    As NDS, but of the four errors that are defined here: there are no attributes, so the weights add up to 9.
    """
    classes = [values for name, values in scores.items() if name != "mAP"]
    means = {}
    for short, error in zip(("mATE", "mASE", "mAOE", "mAVE"), ERRORS, strict=True):
        defined = [values[error] for values in classes if not np.isnan(values[error])]
        means[short] = float(np.mean(defined)) if defined else np.nan
    total = 5 * scores["mAP"] + sum(1 - min(1.0, error) for error in means.values())
    return {**means, "NDS": float(total / 9)}


def _weighted(matches: SceneMatches, weights: Int | None) -> tuple[SceneMatches, int]:
    """The matches with every scene as often as its weight says, and the number of objects."""
    if weights is None:
        return matches, int(matches.truth_count.sum())
    rows = np.repeat(np.arange(len(matches.score)), weights[matches.scene])
    repeated = replace(
        matches,
        scene=matches.scene[rows],
        score=matches.score[rows],
        is_tp=matches.is_tp[:, rows],
        error=matches.error[:, rows],
    )
    return repeated, int((weights * matches.truth_count).sum())


def _curve(matches: SceneMatches, truths: int, at: int) -> tuple[Float, Float]:
    """Precision and score at every recall; zeros where no recall is reached."""
    if truths == 0 or not matches.is_tp[at].any():
        return np.zeros(len(RECALLS)), np.zeros(len(RECALLS))
    found = np.cumsum(matches.is_tp[at]).astype(float)
    precision = found / np.arange(1, len(found) + 1)
    recall = found / truths
    # Beyond the last recall that is reached both are 0.
    return np.interp(RECALLS, recall, precision, right=0), np.interp(RECALLS, recall, matches.score, right=0)


def _average_precision(matches: SceneMatches, truths: int, at: int) -> float:
    precision, _ = _curve(matches, truths, at)
    return float(np.mean(np.maximum(precision[_FIRST:] - MIN_PRECISION, 0))) / (1.0 - MIN_PRECISION)


def _mean_errors(matches: SceneMatches, truths: int) -> dict[str, float]:
    """Means of each error from the lowest recall that counts to the highest that is reached; 1 if there is none."""
    _, confidence = _curve(matches, truths, ERROR_THRESHOLD)
    reached = np.flatnonzero(confidence)
    last = int(reached[-1]) if len(reached) else 0
    is_tp = matches.is_tp[ERROR_THRESHOLD]
    result = {}
    for name, error in zip(ERRORS, matches.error[:, is_tp], strict=True):
        if name in matches.undefined:
            result[name] = np.nan
        elif last < _FIRST:
            result[name] = 1.0
        else:
            running = _running_mean(error)
            # interp wants rising scores
            at_recall = np.interp(confidence[::-1], matches.score[is_tp][::-1], running[::-1])[::-1]
            result[name] = float(np.mean(at_recall[_FIRST : last + 1]))
    return result


def _running_mean(values: Float) -> Float:
    """Mean of each value and those before it, without unknown ones; 1 everywhere if all are unknown."""
    known = ~np.isnan(values)
    if not known.any():
        return np.ones(len(values))
    count = np.cumsum(known)
    return np.asarray(np.nancumsum(values) / np.maximum(count, 1))  # 0 before the first known one


__all__ = [
    "ERRORS", "RECALLS", "THRESHOLDS_M", "DetectionMatches", "SceneMatches", "detection_scores", "match_detections",
    "nds_style", "precision_curve",
]  # fmt: skip
