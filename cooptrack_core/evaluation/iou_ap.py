"""Average precision by rotated IoU, in space and in bird's-eye view, as DAIR-V2X reports it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.evaluation.pairs import first_come
from cooptrack_core.evaluation.tables import BoxTable, EvaluationSet, FrameTable
from cooptrack_core.geometry.boxes import corners
from cooptrack_core.geometry.overlap import box_iou, frame_pairs
from cooptrack_core.geometry.transforms import apply, inverse, yaw_of

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Bool = NDArray[np.bool_]

# x0 y0 z0 x1 y1 z1 in the vehicle's lidar frame; a box counts if one of its corners lies inside.
RANGE_M = (0.0, -39.68, -3.0, 100.0, 39.68, 1.0)
CAR_IOU = (0.3, 0.5, 0.7)
OTHER_IOU = (0.25, 0.5)
VIEWS = ("3d", "bev")
DESCRIPTION = (
    "rotated IoU; boxes with a corner in x 0..100, y +-39.68, z -3..1 m of the vehicle's lidar (DAIR-V2X), "
    "which reaches further ahead than the range of the other metrics"
)


@dataclass(frozen=True)
class _LocalBoxes:
    """Boxes in the lidar frame of their own video frame."""

    frame: Int
    class_index: Int
    center_m: Float
    size_m: Float
    heading_rad: Float
    score: Float

    def select(self, index: Bool | Int) -> _LocalBoxes:
        return _LocalBoxes(**{name: column[index] for name, column in vars(self).items()})


def iou_ap(data: EvaluationSet) -> dict[str, dict[str, dict[str, float]]]:
    """{class: {"3d": {"0.3": ap, ...}, "bev": {...}}}: car at 0.3, 0.5, 0.7, the others at 0.25, 0.5; 0..1.

    data: all boxes, not only those of in_range(): the range is the benchmark's own, along the axes of the lidar.
    Its frames need T_map_from_lidar (ValueError without). NaN for a class without ground truth.
    Follows v2x/v2x_utils/eval_utils.py, filter_utils.py and config.py of AIR-THU/DAIR-V2X (Apache-2.0): every object
    of a frame, in the order of the labels, takes the prediction of its class with the largest IoU that is left, if it
    reaches the threshold; whatever its score. The precision at a recall is the largest at that or a higher one, AP the
    area below. We differ in that the recall of the first prediction counts (there at most 1 / objects is lost),
    and in the classes: bicycle here has cyclists, motorcyclists, tricyclists and barrows, there cyclists alone.
    """
    truth, predictions = (_counted(_local(boxes, data.frames)) for boxes in (data.truth, data.predictions))
    result = {}
    for index, name in enumerate(data.class_names):
        thresholds = CAR_IOU if name == "car" else OTHER_IOU
        own = truth.select(truth.class_index == index), predictions.select(predictions.class_index == index)
        result[name] = _class_ap(*own, thresholds, len(data.frames))
    return result


def average_precision(score: Float, is_match: Bool, objects: int) -> float:
    """Area below the precision envelope of predictions in any order, 0..1; NaN without objects.

    Equal scores keep their order.
    """
    if not objects:
        return float("nan")
    hits = np.cumsum(is_match[np.argsort(-score, kind="stable")])
    precision = hits / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(hits, prepend=0) * envelope) / objects)


def _local(boxes: BoxTable, frames: FrameTable) -> _LocalBoxes:
    if frames.T_map_from_lidar is None:
        raise ValueError("iou_ap needs the lidar poses of the frames: FrameTable.T_map_from_lidar")
    center_m, heading_rad = boxes.center_m.copy(), boxes.heading_rad.copy()
    bounds = np.searchsorted(boxes.frame, np.arange(len(frames) + 1))
    for T_map_from_lidar, first, last in zip(frames.T_map_from_lidar, bounds, bounds[1:], strict=False):
        center_m[first:last] = apply(inverse(T_map_from_lidar), center_m[first:last])
        heading_rad[first:last] -= yaw_of(T_map_from_lidar)
    return _LocalBoxes(boxes.frame, boxes.class_index, center_m, boxes.size_m, heading_rad, boxes.score)


def _counted(boxes: _LocalBoxes) -> _LocalBoxes:
    points = corners(boxes.center_m, boxes.size_m, boxes.heading_rad)
    inside = np.all((points >= RANGE_M[:3]) & (points <= RANGE_M[3:]), axis=2)
    return boxes.select(np.any(inside, axis=1))


def _class_ap(
    truth: _LocalBoxes, predictions: _LocalBoxes, thresholds: tuple[float, ...], frames: int
) -> dict[str, dict[str, float]]:
    # Within a frame by falling score: among equal IoUs the later one is taken, as in the benchmark.
    predictions = predictions.select(np.lexsort((-predictions.score, predictions.frame)))
    rows, columns = frame_pairs(truth.frame, predictions.frame, frames)
    bev, space = box_iou(
        truth.center_m[rows], truth.size_m[rows], truth.heading_rad[rows],
        predictions.center_m[columns], predictions.size_m[columns], predictions.heading_rad[columns],
    )  # fmt: skip
    result: dict[str, dict[str, float]] = {}
    for view, iou in zip(VIEWS, (space, bev), strict=True):
        result[view] = {}
        for threshold in thresholds:
            is_match = _matched(rows, columns, iou, threshold, len(predictions.score))
            order = np.lexsort((~is_match, predictions.frame))  # of equal scores in a frame the hits come first
            score = predictions.score[order]
            result[view][f"{threshold:g}"] = average_precision(score, is_match[order], len(truth.score))
    return result


def _matched(rows: Int, columns: Int, iou: Float, threshold: float, predictions: int) -> Bool:
    """[predictions] whether an object took it; rows (objects) rise."""
    enough = np.flatnonzero(iou >= threshold)
    order = enough[np.lexsort((-columns[enough], -iou[enough], rows[enough]))]
    partner = first_come(rows[order], columns[order], int(rows.max(initial=-1)) + 1)
    taken = np.zeros(predictions, np.bool_)
    taken[partner[partner >= 0]] = True
    return taken


__all__ = ["CAR_IOU", "DESCRIPTION", "OTHER_IOU", "RANGE_M", "VIEWS", "average_precision", "iou_ap"]
