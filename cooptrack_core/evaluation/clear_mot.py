"""CLEAR MOT metrics and the recall thresholds of AMOTA from counts, as the nuScenes kit defines them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cooptrack_core.evaluation.sweep import COUNTS, DISTANCE_UNIT_M

Float = NDArray[np.float64]
Int = NDArray[np.int64]

# Recalls at which AMOTA samples, from the highest down as in the kit; the threshold rises along it.
RECALLS = np.linspace(0.1, 1.0, 40).round(12)[::-1]
KIT_FRAME_S = 0.5  # the kit takes every frame for half a second in TID and LGD
# The kit's value of a metric where no recall is reached (metric_worst of tracking_nips_2019.json); NaN: not defined,
# None: all objects, or all boxes, of the class.
WORST: dict[str, float | None] = {
    "recall": 0.0, "motar": 0.0, "gt": None, "mota": 0.0, "motp": 2.0, "mt": 0.0, "ml": None, "faf": 500.0, "tp": 0.0,
    "fp": np.nan, "fn": None, "ids": np.nan, "frag": np.nan, "tid": 20.0, "lgd": 20.0,
}  # fmt: skip

SUMMED = ("mt", "ml", "tp", "fp", "fn", "ids", "frag")  # over classes; the kit averages the others, gt too
COUNTED = ("gt", *SUMMED)


def recall_thresholds(match_scores: Float, truth: int) -> Float:
    """[40] score thresholds at which RECALLS would be reached, were matches kept as they are without a threshold.

    match_scores: [M] scores of the matches without a threshold; truth: boxes of ground truth. NaN: not reached.
    """
    if not len(match_scores):
        return np.full(len(RECALLS), np.nan)
    reached = np.arange(1, len(match_scores) + 1) / truth
    thresholds: Float = np.interp(RECALLS, reached, np.sort(match_scores)[::-1], right=0)
    thresholds[reached[-1] < RECALLS] = np.nan
    return thresholds


def clear_metrics(counts: Int, truth: Int | int) -> dict[str, Float]:
    """Metrics by the kit's names from counts [len(COUNTS), ...] and the number of boxes of ground truth (broadcast)."""
    count = dict(zip(COUNTS, counts, strict=True))
    boxes: Int = truth + np.zeros_like(count["tp"])
    matched = count["tp"] + count["ids"]
    missed = boxes - matched
    wrong = missed + count["ids"] + count["fp"]
    with np.errstate(divide="ignore", invalid="ignore"):
        recall_without_switches = count["tp"] / boxes
        reached = recall_without_switches * boxes
        motar = 1 - (wrong - (1 - recall_without_switches) * boxes) / reached
        return {
            "recall": matched / boxes,
            "motar": np.where(reached == 0, np.nan, np.maximum(0, motar)),
            "gt": boxes.astype(np.float64),
            "mota": np.maximum(0, 1.0 - wrong / boxes),
            "motp": np.where(matched == 0, np.nan, count["distance"] * DISTANCE_UNIT_M / matched),
            "mt": count["mt"].astype(np.float64),
            "ml": count["ml"].astype(np.float64),
            "faf": count["fp"] / count["frames"] * 100,
            "tp": count["tp"].astype(np.float64),
            "fp": count["fp"].astype(np.float64),
            "fn": missed.astype(np.float64),
            "ids": count["ids"].astype(np.float64),
            "frag": count["frag"].astype(np.float64),
            "tid": count["initialization"] * KIT_FRAME_S / count["tracked"],
            "lgd": count["gap"] * KIT_FRAME_S / count["tracked"],
        }


def averaged(motar: Float, motp: Float) -> tuple[Float, Float]:
    """AMOTA and AMOTP of values [..., 40] at the thresholds; recalls that are not reached count as 0, and as 2 m."""
    return np.nan_to_num(motar, nan=0.0).mean(axis=-1), np.nan_to_num(motp, nan=2.0).mean(axis=-1)


__all__ = ["COUNTED", "KIT_FRAME_S", "RECALLS", "SUMMED", "WORST", "averaged", "clear_metrics", "recall_thresholds"]
