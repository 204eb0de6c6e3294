"""All metrics of a run from its recordings: the content of metrics.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cooptrack_core.data.recording_frames import without_nan
from cooptrack_core.evaluation.conventions import Convention
from cooptrack_core.evaluation.detection import detection_scores, match_detections, nds_style
from cooptrack_core.evaluation.recordings import evaluation_set
from cooptrack_core.evaluation.tables import EvaluationSet
from cooptrack_core.types import VIEW_UNKNOWN

SCHEMA = "cooptrack/metrics/1"
Recording = Mapping[str, Any]
Metrics = dict[str, Any]


def evaluate(recordings: Sequence[Recording], convention: Convention, run: Mapping[str, Any]) -> Metrics:
    """metrics.json of a run (docs/evaluation.md), NaN as None.

    run: what was run, for `metrics["run"]`; its `label_updates`, `full_rate` and `synthetic` go into the description
    of convention and data. Raises CooptrackError for recordings without ground truth.
    """
    data = evaluation_set(recordings, convention).in_range()
    matches, scenes = match_detections(data), data.frames.scene_names
    detection = detection_scores(matches)
    metrics: Metrics = {
        "schema": SCHEMA,
        "run": {key: value for key, value in run.items() if key not in ("label_updates", "full_rate", "synthetic")},
        "convention": _convention(convention, run, data),
        "data": _data(data, run),
        "detection": detection | nds_style(detection),
        "by_sequence": {
            name: {"mAP": detection_scores(matches, np.eye(len(scenes), dtype=np.int64)[row])["mAP"]}
            for row, name in enumerate(scenes)
        },
    }
    plain: Metrics = without_nan(metrics)
    return plain


def _convention(convention: Convention, run: Mapping[str, Any], data: EvaluationSet) -> Metrics:
    updates, full_rate = str(run.get("label_updates", "none")), bool(run.get("full_rate", False))
    return {
        "name": convention.name,
        "rate_hz": convention.rate_hz,
        "label_updates": updates,
        "track_filling": convention.fill_tracks,
        "frames": len(data.frames),
        "text": convention.describe(updates, full_rate),
    }


def _data(data: EvaluationSet, run: Mapping[str, Any]) -> Metrics:
    counts = np.bincount(data.truth.class_index, minlength=len(data.class_names))
    return {
        "synthetic": bool(run.get("synthetic", False)) or bool((data.truth.view != VIEW_UNKNOWN).any()),
        "frames": len(data.frames),
        "sequences": len(data.frames.scene_names),
        "boxes": dict(zip(data.class_names, counts.tolist(), strict=True)),
        "range_m": dict(zip(data.class_names, data.class_range_m, strict=True)),
    }


__all__ = ["SCHEMA", "evaluate"]
