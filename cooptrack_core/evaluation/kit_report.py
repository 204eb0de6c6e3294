"""The scores of a pair of submission files in the layout and with the names of the nuScenes development kit."""

from __future__ import annotations

from typing import Any

from cooptrack_core.data.recording_frames import without_nan
from cooptrack_core.evaluation.detection import detection_scores, match_detections
from cooptrack_core.evaluation.submission import Submission
from cooptrack_core.evaluation.tables import EvaluationSet
from cooptrack_core.evaluation.tracking import tracking_scores


def kit_scores(data: EvaluationSet) -> dict[str, Any]:
    """`{"detection": {class: {...}, "mAP"}, "tracking": {"label_metrics", "mean"}}`; NaN is None.

    data: as read, boxes beyond the range of their class included; they are dropped here.
    """
    near = data.in_range()
    frame_order = near.frame_order if isinstance(near, Submission) else None
    detection = detection_scores(match_detections(near, frame_order))
    tracking = tracking_scores(near)
    plain: dict[str, Any] = without_nan(
        {"detection": detection, "tracking": {key: tracking[key] for key in ("label_metrics", "mean")}}
    )
    return plain


__all__ = ["kit_scores"]
