"""Which query answers for which object: tracks keep theirs, the rest is Hungarian (spec 7.3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from cooptrack_core.model import box_code
from cooptrack_core.model.queries import NO_ID
from cooptrack_core.training.ground_truth import GroundTruth

NOT_MATCHED = -1

CLASS_COST = 2.0
BOX_COST = 0.25
FOCAL_ALPHA = 0.25
FOCAL_GAMMA = 2.0
_UNUSABLE = 1e6  # cost of a prediction that is not finite


@dataclass(frozen=True)
class Assignment:
    """The targets of N queries in one frame."""

    gt_index: Tensor  # [N] int64 row of the ground truth, NOT_MATCHED: none
    labels: Tensor  # [N] int64 class, K: background
    track_id: Tensor  # [N] int64 ids after matching; a vanished object's track keeps its own
    vanished: Tensor  # [N] bool, tracks whose object is not in the frame any more
    iou: Tensor  # [N] nearest-BEV IoU with the matched object, 0 where there is none

    @property
    def matched(self) -> Tensor:
        """[N] bool, has an object."""
        return self.gt_index >= 0


@torch.no_grad()
def assign(logits: Tensor, boxes: Tensor, track_id: Tensor, truth: GroundTruth) -> Assignment:
    """Objects for the outputs of N queries: logits [N, K], box codes [N, 10], ids [N] that they came with."""
    gt_index = rows_of_ids(track_id, truth.ids)
    vanished = (track_id != NO_ID) & (gt_index == NOT_MATCHED)
    taken = torch.zeros(len(truth), dtype=torch.bool, device=logits.device)
    taken[gt_index[gt_index >= 0]] = True
    free_queries = torch.nonzero(track_id == NO_ID).squeeze(-1)
    free_truth = torch.nonzero(~taken).squeeze(-1)
    cost = matching_cost(logits[free_queries], boxes[free_queries], truth.select(free_truth))
    rows, columns = linear_sum_assignment(cost.cpu().numpy())
    gt_index[free_queries[torch.from_numpy(rows).to(free_queries.device)]] = free_truth[
        torch.from_numpy(columns).to(free_truth.device)
    ]

    matched = gt_index >= 0
    labels = torch.full_like(gt_index, logits.shape[-1])
    labels[matched] = truth.labels[gt_index[matched]]
    new_id = track_id.clone()
    new_id[matched] = truth.ids[gt_index[matched]]
    iou = matched_iou(boxes, gt_index, truth)
    return Assignment(gt_index, labels, new_id, vanished, iou)


def rows_of_ids(track_id: Tensor, ids: Tensor) -> Tensor:
    """[N] row in `ids` [G] of each id [N], NOT_MATCHED where it is not there or there is no id."""
    same = (track_id[:, None] == ids[None, :]) & (track_id[:, None] != NO_ID)  # [N, G]
    if same.shape[1] == 0:
        return torch.full_like(track_id, NOT_MATCHED)
    return torch.where(same.any(1), same.int().argmax(1), NOT_MATCHED)


def matching_cost(logits: Tensor, boxes: Tensor, truth: GroundTruth) -> Tensor:
    """[N, G] focal cost of the object's class plus L1 distance of the box codes, in float64."""
    p = logits.sigmoid()[:, truth.labels]  # [N, G]
    positive = -torch.log(p + 1e-12) * FOCAL_ALPHA * (1 - p) ** FOCAL_GAMMA
    negative = -torch.log(1 - p + 1e-12) * (1 - FOCAL_ALPHA) * p**FOCAL_GAMMA
    entries = box_code.MATCHED_ENTRIES
    distance = torch.cdist(boxes[:, :entries], truth.codes()[:, :entries].to(boxes), p=1)
    cost = CLASS_COST * (positive - negative) + BOX_COST * distance
    return torch.nan_to_num(cost.double(), nan=_UNUSABLE, posinf=_UNUSABLE, neginf=-_UNUSABLE)


@torch.no_grad()
def matched_iou(boxes: Tensor, gt_index: Tensor, truth: GroundTruth) -> Tensor:
    """[N] nearest-BEV IoU of box codes [N, 10] with their objects, 0 where gt_index [N] has none."""
    iou = boxes.new_zeros(len(boxes))
    matched = gt_index >= 0
    if matched.any():
        pairwise = box_code.nearest_bev_iou(box_code.decode(boxes[matched]), truth.boxes[gt_index[matched]])
        iou[matched] = pairwise.diagonal().to(iou.dtype)
    return iou


__all__ = ["NOT_MATCHED", "Assignment", "assign", "matched_iou", "matching_cost", "rows_of_ids"]
