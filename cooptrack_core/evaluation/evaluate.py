"""All metrics of a run from its recordings: the content of metrics.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cooptrack_core.data.recording_frames import without_nan
from cooptrack_core.evaluation.association import association_scores
from cooptrack_core.evaluation.bandwidth import bandwidth
from cooptrack_core.evaluation.conventions import Convention
from cooptrack_core.evaluation.curves import metric_curves
from cooptrack_core.evaluation.detection import detection_scores, nds_style
from cooptrack_core.evaluation.hidden import combined_hidden
from cooptrack_core.evaluation.hota import SIMILARITY, SceneHota, combined_hota, why_no_hota
from cooptrack_core.evaluation.iou_ap import DESCRIPTION as iou_ap_text
from cooptrack_core.evaluation.iou_ap import iou_ap
from cooptrack_core.evaluation.recordings import evaluation_set
from cooptrack_core.evaluation.scene_statistics import SceneStatistics
from cooptrack_core.evaluation.tables import EvaluationSet
from cooptrack_core.evaluation.tracking import curves_of, scores_of, track_classes
from cooptrack_core.types import VIEW_OCCLUDED, VIEW_OUTSIDE, VIEW_VISIBLE

SCHEMA = "cooptrack/metrics/1"
_TOLD_ELSEWHERE = ("label_updates", "full_rate", "cooperative_deletions", "synthetic")  # of what was run
Recording = Mapping[str, Any]
Metrics = dict[str, Any]
_VIEWS = (VIEW_VISIBLE, VIEW_OCCLUDED, VIEW_OUTSIDE)  # known in synthetic data only


def evaluate(recordings: Sequence[Recording], convention: Convention, run: Mapping[str, Any]) -> Metrics:
    """metrics.json of a run (docs/evaluation.md), NaN as None.

    run: what was run, for `metrics["run"]`; its `label_updates`, `full_rate`, `cooperative_deletions` and `synthetic`
    go into the description of convention and data. Raises CooptrackError for recordings without ground truth.
    """
    everything = evaluation_set(recordings, convention)
    data = everything.in_range()
    scenes, classes = SceneStatistics.of(everything), track_classes(data)
    detection = detection_scores(scenes.matches)
    metrics: Metrics = {
        "schema": SCHEMA,
        "run": {key: value for key, value in run.items() if key not in _TOLD_ELSEWHERE},
        "convention": _convention(convention, run, data),
        "data": _data(data, run),
        "detection": detection | nds_style(detection),
        "tracking": scores_of(classes),
        "hota": _hota(scenes.hota),
        "iou_ap": iou_ap(everything) | {"text": iou_ap_text},
        "hidden_recall": combined_hidden(scenes.hidden),
        "association": association_scores(recordings, convention),
        "bandwidth": bandwidth([{**recording, "sent": _needed(recording)} for recording in recordings]),
        "by_sequence": _by_sequence(scenes, data.frames.scene_names),
        "curves": metric_curves(data, scenes.matches, curves_of(classes)),
    }
    plain: Metrics = without_nan(metrics)
    return plain


def _needed(recording: Recording) -> Any:
    """The messages that the mode asks for: roadside units send to a vehicle in mode ego too, which does not listen."""
    return [] if recording["mode"] == "ego" else recording["sent"]


def _hota(by_scene: Mapping[str, SceneHota] | None) -> Metrics:
    if by_scene is None:
        return {"missing": why_no_hota()}
    return combined_hota(by_scene) | {"similarity": SIMILARITY}


def _by_sequence(scenes: SceneStatistics, names: Sequence[str]) -> dict[str, Metrics]:
    """The headline numbers of every sequence by itself."""
    columns = scenes(np.eye(len(names), dtype=np.int64))
    return {name: {key: float(column[row]) for key, column in columns.items()} for row, name in enumerate(names)}


def _convention(convention: Convention, run: Mapping[str, Any], data: EvaluationSet) -> Metrics:
    updates, full_rate = str(run.get("label_updates", "none")), bool(run.get("full_rate", False))
    return {
        "name": convention.name,
        "rate_hz": convention.rate_hz,
        "label_updates": updates,
        "track_filling": convention.fill_tracks,
        "frames": len(data.frames),
        "text": convention.describe(updates, full_rate, run.get("cooperative_deletions")),
    }


def _data(data: EvaluationSet, run: Mapping[str, Any]) -> Metrics:
    counts = np.bincount(data.truth.class_index, minlength=len(data.class_names))
    return {
        "synthetic": bool(run.get("synthetic", False)) or bool(np.isin(data.truth.view, _VIEWS).any()),
        "frames": len(data.frames),
        "sequences": len(data.frames.scene_names),
        "boxes": dict(zip(data.class_names, counts.tolist(), strict=True)),
        "range_m": dict(zip(data.class_names, data.class_range_m, strict=True)),
    }


__all__ = ["SCHEMA", "evaluate"]
