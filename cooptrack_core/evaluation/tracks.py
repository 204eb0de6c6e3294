"""Tracks as the nuScenes kit scores them (its loaders.py): one score per track, holes filled at the frames between."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.evaluation.tables import BoxTable, EvaluationSet, FrameTable
from cooptrack_core.geometry.boxes import wrap_angle
from cooptrack_core.types import CooptrackError

Float = NDArray[np.float64]
Int = NDArray[np.int64]


def prepared(data: EvaluationSet) -> EvaluationSet:
    """The same with track-averaged scores of the predictions and with holes in tracks filled on both sides.

    data: boxes in range (the kit averages and fills after it has dropped the rest). A track may change its class:
    it is averaged as a whole, and a filled box has the class of the box after the hole. Within a frame, filled boxes
    come after the others, in the order in which their tracks begin, for the order decides between equal matches.
    Raises CooptrackError when a track has two boxes in a frame.
    """
    truth = _filled(data.frames, data.truth)
    return replace(data, truth=truth, predictions=_filled(data.frames, _averaged(data.predictions)))


def _averaged(boxes: BoxTable) -> BoxTable:
    """Every box with the mean score of its track."""
    if not len(boxes):
        return boxes
    order = np.argsort(boxes.track, kind="stable")
    track = boxes.track[order]
    starts = np.flatnonzero(np.r_[True, track[1:] != track[:-1]])
    stops = np.r_[starts[1:], len(track)]
    ordered = boxes.score[order]
    # one by one: a mean that differs in its last digit falls on the other side of a threshold
    pairs = zip(starts.tolist(), stops.tolist(), strict=True)
    means = np.array([np.add.reduce(ordered[start:stop]) / (stop - start) for start, stop in pairs])
    score = np.empty(len(boxes))
    score[order] = np.repeat(means, stops - starts)
    return replace(boxes, score=score)


def _filled(frames: FrameTable, boxes: BoxTable) -> BoxTable:
    """The boxes and those between them, ordered by frame."""
    order = np.argsort(boxes.track, kind="stable")
    same = boxes.track[order[1:]] == boxes.track[order[:-1]]
    left, right = order[:-1][same], order[1:][same]
    missing = boxes.frame[right] - boxes.frame[left] - 1
    if (missing < 0).any():
        index = int(right[np.argmin(missing)])
        token = frames.token[boxes.frame[index]]
        raise CooptrackError(f"frame {token}: track {boxes.written_id[index]}: has two boxes; keep one of them")
    if not missing.any():
        return boxes
    before = np.repeat(np.arange(len(missing)), missing)
    nth = np.arange(len(before)) - np.repeat(np.cumsum(missing) - missing, missing)
    between = _between(frames, boxes, left[before], right[before], boxes.frame[left[before]] + 1 + nth)
    begins = np.full(int(boxes.track.max()) + 1, len(boxes), np.int64)
    np.minimum.at(begins, boxes.track, np.arange(len(boxes)))
    rank = np.r_[np.arange(len(boxes)), len(boxes) + begins[between.track]]
    columns = {item.name: (getattr(boxes, item.name), getattr(between, item.name)) for item in fields(BoxTable)}
    joined = BoxTable(**{name: np.concatenate(parts) for name, parts in columns.items()})
    return joined.select(np.lexsort((rank, joined.frame)))


def _between(frames: FrameTable, boxes: BoxTable, left: Int, right: Int, frame: Int) -> BoxTable:
    """Boxes at `frame` between the boxes `left` and `right` of the same tracks."""
    time_us = frames.timestamp_us
    until_right = (time_us[boxes.frame[right]] - time_us[frame]).astype(np.float64)
    # The kit calls this the weight of the right box. It is that of the left one, so a filled box runs the hole
    # backwards; the benchmark's numbers are made this way, and so are ours.
    ratio = until_right / (time_us[boxes.frame[right]] - time_us[boxes.frame[left]])

    def mixed(values: Float) -> Float:
        weight = ratio.reshape(-1, *[1] * (values.ndim - 1))
        return (1.0 - weight) * values[left] + weight * values[right]

    turn_rad = wrap_angle(boxes.heading_rad[right] - boxes.heading_rad[left])
    return replace(
        boxes.select(right),
        frame=frame,
        center_m=mixed(boxes.center_m),
        size_m=mixed(boxes.size_m),
        heading_rad=boxes.heading_rad[left] + ratio * turn_rad,
        velocity_mps=mixed(boxes.velocity_mps),
        score=mixed(boxes.score),
    )


__all__ = ["prepared"]
