"""What every sequence contributes to the headline metrics: those of any resampling of sequences follow quickly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.evaluation.detection import DetectionMatches, detection_scores, match_detections
from cooptrack_core.evaluation.hidden import HiddenCounts, combined_hidden, hidden_by_scene
from cooptrack_core.evaluation.hota import SceneHota, combined_hota, hota_by_scene, why_no_hota
from cooptrack_core.evaluation.scene_curves import SceneCurve, amota_of_many, scene_curves
from cooptrack_core.evaluation.tables import EvaluationSet

Float = NDArray[np.float64]
Int = NDArray[np.int64]

HEADLINE_CLASS = "car"


@dataclass(frozen=True)
class SceneStatistics:
    """The headline metrics of one method for any weights of its sequences.

    curves: of each class, its scenes. hota: by class, None without TrackEval.
    """

    matches: DetectionMatches
    curves: Mapping[str, Sequence[SceneCurve]]
    hota: Mapping[str, SceneHota] | None
    hidden: HiddenCounts

    @classmethod
    def of(cls, data: EvaluationSet) -> SceneStatistics:
        """data: all boxes, those out of range too."""
        near = data.in_range()
        curves = dict(zip(near.class_names, scene_curves(near), strict=True))
        by_scene = None if why_no_hota() else hota_by_scene(data)
        return cls(match_detections(near), curves, by_scene, hidden_by_scene(data))

    def __call__(self, weights: Int) -> dict[str, Float]:
        """{metric: [R]} for weights [R, S]: how often each sequence counts; NaN: undefined."""
        matches = _without_errors(self.matches)
        detection = [detection_scores(matches, row, errors=False) for row in weights]
        tracking = {name: amota_of_many(curves, weights) for name, curves in self.curves.items()}
        found = {
            "mAP": _column(scores["mAP"] for scores in detection),
            f"AP {HEADLINE_CLASS}": _column(scores[HEADLINE_CLASS]["ap"] for scores in detection),
            "AMOTA": _mean([of_class["amota"] for of_class in tracking.values()]),
            f"AMOTA {HEADLINE_CLASS}": tracking[HEADLINE_CLASS]["amota"],
            "MOTA": _mean([of_class["mota"] for of_class in tracking.values()]),
        }
        if self.hota is not None:
            found["HOTA"] = _column(combined_hota(self.hota, row)["mean"]["hota"] for row in weights)
        hidden = [combined_hidden(self.hidden, row)["all"] for row in weights]
        for name in ("outside_view", "occluded", "roadside_only"):
            recall = _column(views[name] for views in hidden)
            if np.isfinite(recall).any():
                found[f"recall {name.replace('_', ' ')}"] = recall
        return found


def by_scene(data: EvaluationSet) -> dict[str, Float]:
    """{"mAP", "AMOTA": [S]} of each scene by itself, over the classes that are there; NaN: undefined.

    data: of any classes, boxes out of range too.
    """
    near = data.in_range()
    weights = np.eye(len(near.frames.scene_names), dtype=np.int64)
    matches = _without_errors(match_detections(near))
    return {
        "mAP": _column(detection_scores(matches, row, errors=False)["mAP"] for row in weights),
        "AMOTA": _mean([amota_of_many(curves, weights)["amota"] for curves in scene_curves(near)]),
    }


def _without_errors(matches: DetectionMatches) -> DetectionMatches:
    """Errors of true positives are no headline, and to repeat them would cost half of the time."""
    lean = {name: replace(found, error=found.error[:0]) for name, found in matches.by_class.items()}
    return DetectionMatches(lean)


def _column(values: Iterable[float]) -> Float:
    return np.array(list(values), np.float64)


def _mean(columns: Sequence[Float]) -> Float:
    """[R] over the classes that have ground truth."""
    table = np.stack(columns)
    known = np.isfinite(table)
    count = known.sum(axis=0)
    total = np.where(known, table, 0.0).sum(axis=0)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))


__all__ = ["HEADLINE_CLASS", "SceneStatistics", "by_scene"]
