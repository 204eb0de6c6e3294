"""HOTA of tracks in space: TrackEval's metric on the ground-plane distance of centres."""

from __future__ import annotations

import contextlib
import importlib.util
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.evaluation.tables import EvaluationSet
from cooptrack_core.tracking.assignment import centre_distance
from cooptrack_core.types import CooptrackError

Float = NDArray[np.float64]
Int = NDArray[np.int64]

ZERO_SIMILARITY_M = 2.0
# HOTA was defined on the IoU of image boxes; which similarity stands in for it is our choice, said with every number.
SIMILARITY = f"max(0, 1 - d / {ZERO_SIMILARITY_M:g} m), d: ground-plane distance of the centres"
METRICS = ("hota", "deta", "assa", "loca", "detre", "detpr", "assre", "asspr")
_MISSING = "TrackEval is not installed; pip install --no-deps trackeval"


@dataclass(frozen=True)
class SceneHota:
    """What adds up over scenes, for one class: [S, A] of S scenes at the A = 19 thresholds 0.05, 0.1, ... 0.95.

    hits, missed, false are counts of boxes; the others are averages over the hits of their scene.
    """

    hits: Float
    missed: Float
    false: Float
    loca: Float
    assa: Float
    assre: Float
    asspr: Float


def why_no_hota() -> str | None:
    """The reason why HOTA cannot be computed here with the remedy, None if it can."""
    return None if importlib.util.find_spec("trackeval") else _MISSING


def hota(data: EvaluationSet) -> dict[str, Any]:
    """{class: {"hota", "deta", "assa", "loca", ...}, "mean": {...}, "similarity": what it means}; numbers 0..1.

    Averages over the 19 thresholds (Luiten et al., IJCV 2021) by TrackEval (MIT). All tracks count whatever their
    scores; only boxes in range count. NaN for a class without ground truth, which the mean leaves out; loca is NaN,
    too, where nothing is matched. Raises CooptrackError where TrackEval is not installed.
    """
    return combined_hota(hota_by_scene(data))


def hota_by_scene(data: EvaluationSet) -> dict[str, SceneHota]:
    """{class: results of every scene}, to be combined in any multiplicity. CooptrackError without TrackEval."""
    metric = _trackeval_hota()
    data = data.in_range()
    names = ("HOTA_TP", "HOTA_FN", "HOTA_FP", "LocA", "AssA", "AssRe", "AssPr")
    result = {}
    for index, class_name in enumerate(data.class_names):
        own = data.of_class(index)
        scenes = [metric.eval_sequence(_sequence(own, scene)) for scene in range(len(data.frames.scene_names))]
        shape = len(scenes), len(metric.array_labels)
        result[class_name] = SceneHota(
            *(np.array([scene[name] for scene in scenes], np.float64).reshape(shape) for name in names)
        )
    return result


def combined_hota(by_scene: Mapping[str, SceneHota], weights: Int | None = None) -> dict[str, Any]:
    """As `hota`, with each scene as often as its weight [S] says (once if None)."""
    result: dict[str, Any] = {name: _combined(scenes, weights) for name, scenes in by_scene.items()}
    known = [values for values in result.values() if not np.isnan(values["hota"])]
    result["mean"] = {metric: _mean([values[metric] for values in known]) for metric in METRICS}
    return result | {"similarity": SIMILARITY}


def _mean(values: Sequence[float]) -> float:
    """Of those that exist."""
    defined = [value for value in values if not np.isnan(value)]
    return float(np.mean(defined)) if defined else float("nan")


def _combined(scenes: SceneHota, weights: Int | None) -> dict[str, float]:
    """One class over its scenes: counts add up, averages over hits are weighted by them."""
    w = np.ones(len(scenes.hits)) if weights is None else np.asarray(weights, np.float64)
    hits, missed, false = w @ scenes.hits, w @ scenes.missed, w @ scenes.false
    if not len(w) or not (hits + missed).any():
        return dict.fromkeys(METRICS, float("nan"))
    weighted = {item.name: w @ (scenes.hits * getattr(scenes, item.name)) for item in fields(scenes)[3:]}
    assa, assre, asspr = (weighted[name] / np.maximum(1, hits) for name in ("assa", "assre", "asspr"))
    loca = np.maximum(1e-10, weighted["loca"]) / np.maximum(1e-10, hits)  # 1 where nothing is hit, as TrackEval has it
    deta = hits / np.maximum(1, hits + missed + false)
    detre, detpr = hits / np.maximum(1, hits + missed), hits / np.maximum(1, hits + false)
    if not hits.any():  # TrackEval then has LocA 1, as if nothing at all were located perfectly
        loca = np.full_like(loca, np.nan)
    columns = (np.sqrt(deta * assa), deta, assa, loca, detre, detpr, assre, asspr)
    return {name: float(column.mean()) for name, column in zip(METRICS, columns, strict=True)}


def _sequence(data: EvaluationSet, scene: int) -> dict[str, Any]:
    """One scene as TrackEval takes it: ids from 0 without gaps, a similarity matrix for every frame."""
    first, end = (int(row) for row in np.searchsorted(data.frames.scene, (scene, scene + 1)))
    truth, predictions = data.truth.of_frames(first, end), data.predictions.of_frames(first, end)
    truth_ids, truth_track = np.unique(truth.track, return_inverse=True)
    prediction_ids, prediction_track = np.unique(predictions.track, return_inverse=True)
    cuts = [np.searchsorted(boxes.frame, np.arange(first + 1, end)) for boxes in (truth, predictions)]
    places = zip(np.split(truth.center_m, cuts[0]), np.split(predictions.center_m, cuts[1]), strict=True)
    return {
        "num_gt_dets": len(truth),
        "num_tracker_dets": len(predictions),
        "num_gt_ids": len(truth_ids),
        "num_tracker_ids": len(prediction_ids),
        "gt_ids": np.split(truth_track, cuts[0]),
        "tracker_ids": np.split(prediction_track, cuts[1]),
        "similarity_scores": [np.maximum(0.0, 1.0 - centre_distance(a, b) / ZERO_SIMILARITY_M) for a, b in places],
    }


def _trackeval_hota() -> Any:
    if reason := why_no_hota():
        raise CooptrackError(f"HOTA: {reason}")
    with contextlib.redirect_stdout(io.StringIO()):  # on import it tells what other benchmarks would need
        from trackeval.metrics import HOTA
    return HOTA()


__all__ = ["METRICS", "SIMILARITY", "SceneHota", "combined_hota", "hota", "hota_by_scene", "why_no_hota"]
