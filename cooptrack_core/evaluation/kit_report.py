"""The scores of a pair of submission files in the layout and with the names of the nuScenes development kit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cooptrack_core.evaluation.detection import detection_scores, match_detections
from cooptrack_core.evaluation.submission import Submission
from cooptrack_core.evaluation.tables import EvaluationSet
from cooptrack_core.evaluation.tracking import tracking_scores


def kit_scores(data: EvaluationSet) -> dict[str, Any]:
    """`{"detection": ..., "tracking": {"label_metrics", "mean"}}` of boxes before the range filter; NaN is None."""
    near = data.in_range()
    files = near if isinstance(near, Submission) else None
    detection = detection_scores(match_detections(near, None if files is None else files.frame_order))
    tracking = tracking_scores(near)
    return without_nan({"detection": detection, "tracking": {key: tracking[key] for key in ("label_metrics", "mean")}})


def without_nan(value: Any) -> Any:
    """The same with None for every NaN, as JSON wants it, and with plain numbers."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and math.isnan(value) else value


__all__ = ["kit_scores", "without_nan"]
