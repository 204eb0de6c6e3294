"""Loss terms of one frame and their average over a batch (spec 5.3, 7.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cooptrack_core.model import box_code
from cooptrack_core.model.queries import NO_ID
from cooptrack_core.tracking.assignment import assign as assign_allowed
from cooptrack_core.tracking.assignment import centre_distance
from cooptrack_core.training.assignment import Assignment
from cooptrack_core.training.ground_truth import GroundTruth

CLASS_WEIGHT = 2.0
CLASS_ALPHA = 0.25
CLASS_GAMMA = 2.0
BOX_WEIGHT = 0.25
CODE_WEIGHTS = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.2, 0.2)
ASSOCIATION_WEIGHT = 10.0
ASSOCIATION_ALPHA = -1.0  # no weighting of positive against negative pairs
ASSOCIATION_GAMMA = 1.0
ASSOCIATION_LABEL_LIMIT_M = 3.0
HALF_QUALITY_M = 2.0


@dataclass(frozen=True)
class LossTerm:
    """One loss of one sample and the count by which its sum was divided, its weight in the batch."""

    value: Tensor  # scalar
    normaliser: float


def sigmoid_focal_loss(logits: Tensor, targets: Tensor, alpha: float, gamma: float) -> Tensor:
    """Elementwise focal loss of logits against targets of 0 to 1; a negative alpha turns its weighting off.

    Between 0 and 1 it is the quality focal loss (Li et al., Generalized Focal Loss, 2020): least where the probability
    is the target.
    """
    miss = (targets - logits.sigmoid()).abs()
    loss = F.binary_cross_entropy_with_logits(logits, targets, reduction="none") * miss**gamma
    if alpha >= 0:
        loss = loss * torch.where(targets > 0, alpha, 1 - alpha)
    return loss


def class_loss(logits: Tensor, labels: Tensor, count: int, quality: Tensor | None = None) -> LossTerm:
    """Focal loss of logits [N, K] against labels [N] with K for background, per counted query.

    quality [N]: how likely the class should be said to be, 1 unless given.
    """
    classes = logits.shape[-1]
    targets = F.one_hot(labels, classes + 1)[:, :classes].to(logits.dtype)
    if quality is not None:
        targets = targets * quality[:, None].to(targets)
    total = sigmoid_focal_loss(logits, targets, CLASS_ALPHA, CLASS_GAMMA).sum()
    normaliser = float(max(count, 1))
    return LossTerm(CLASS_WEIGHT * total / normaliser, normaliser)


@torch.no_grad()
def location_quality(boxes: Tensor, gt_index: Tensor, truth: GroundTruth) -> Tensor:
    """[N] 1 for a box code [N, 10] right at its object, one half 2 m beside it, where the metrics call it a miss."""
    quality = boxes.new_zeros(len(boxes))
    matched = gt_index >= 0
    target = truth.codes().to(boxes)[gt_index[matched]]
    error_m = (boxes[matched, :2] - target[:, :2]).norm(dim=-1)
    quality[matched] = torch.exp2(-((error_m / HALF_QUALITY_M) ** 2))
    return quality


def box_loss(boxes: Tensor, gt_index: Tensor, truth: GroundTruth) -> LossTerm:
    """Weighted L1 distance of box codes [N, 10] from their objects, per matched query.

    Entries that the ground truth does not know (NaN velocity) do not count.
    """
    matched = gt_index >= 0
    target = truth.codes().to(boxes)[gt_index[matched]]  # [M, 10]
    known = target.isfinite()
    error = (boxes[matched] - torch.where(known, target, 0.0)).abs() * known * boxes.new_tensor(CODE_WEIGHTS)
    normaliser = float(max(len(target), 1))
    return LossTerm(BOX_WEIGHT * error.sum() / normaliser, normaliser)


def frame_losses(
    logits: Tensor, boxes: Tensor, assignment: Assignment, truth: GroundTruth, *, located: bool = False
) -> tuple[LossTerm, LossTerm]:
    """Class and box loss of an output that was matched; tracks whose object has gone count for the class.

    located: the score shall also say how well the box is placed.
    """
    counted = int((assignment.matched | assignment.vanished).sum())
    quality = location_quality(boxes, assignment.gt_index, truth) if located else None
    return class_loss(logits, assignment.labels, counted, quality), box_loss(boxes, assignment.gt_index, truth)


def refined_losses(
    logits: Tensor, boxes: Tensor, assignment: Assignment, truth: GroundTruth, *, located: bool = False
) -> tuple[LossTerm, LossTerm]:
    """The `ref_*` losses of the refined output with the ids assigned before, without matching anew."""
    positives = int(assignment.matched.sum())
    quality = location_quality(boxes, assignment.gt_index, truth) if located else None
    return class_loss(logits, assignment.labels, positives, quality), box_loss(boxes, assignment.gt_index, truth)


@torch.no_grad()
def association_labels(
    ego_boxes: Tensor, remote_boxes: Tensor, truth: GroundTruth, ego_ids: Tensor | None = None
) -> Tensor:
    """[V, I] 1 where an ego box [V, 10] and an aligned remote box [I, 10] belong to the same object, else 0.

    Each side is matched to the ground truth by its centres on the ground, at most 3 m apart. ego_ids [V]: a track with
    the id of an object is that object, wherever it is; others do not take it.
    """
    labels = ego_boxes.new_zeros(len(ego_boxes), len(remote_boxes))
    ego_of = _object_rows(ego_boxes, truth)
    if ego_ids is not None:
        tracks = _rows_by_id(ego_ids, truth)
        taken = set(tracks.values())
        ego_of = {gt: row for gt, row in ego_of.items() if row not in taken} | tracks
    remote_of = _object_rows(remote_boxes, truth)
    for gt_row, ego_row in ego_of.items():
        if gt_row in remote_of:
            labels[ego_row, remote_of[gt_row]] = 1.0
    return labels


def _rows_by_id(ids: Tensor, truth: GroundTruth) -> dict[int, int]:
    """Row of `ids` for each object that has one there."""
    row_of = {identity: row for row, identity in enumerate(ids.tolist()) if identity != NO_ID}
    return {gt: row_of[identity] for gt, identity in enumerate(truth.ids.tolist()) if identity in row_of}


def _object_rows(boxes: Tensor, truth: GroundTruth) -> dict[int, int]:
    """Row of `boxes` for each object that has one."""
    distance = centre_distance(_centres(box_code.decode(boxes)), _centres(truth.boxes))
    rows, objects = assign_allowed(np.nan_to_num(distance), distance <= ASSOCIATION_LABEL_LIMIT_M)
    return dict(zip(objects.tolist(), rows.tolist(), strict=True))


def _centres(boxes: Tensor) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    return boxes[:, :2].detach().cpu().numpy().astype(np.float64)


def association_loss(logits: Tensor, labels: Tensor) -> LossTerm:
    """Focal loss of affinity logits [V, I]; 0 and without weight where no pair belongs together."""
    if labels.numel() == 0 or not labels.any():
        return LossTerm(logits.sum() * 0.0, 0.0)
    loss = sigmoid_focal_loss(logits, labels, ASSOCIATION_ALPHA, ASSOCIATION_GAMMA).mean()
    return LossTerm(ASSOCIATION_WEIGHT * loss, float(labels.numel()))


def batch_average(samples: Sequence[dict[str, LossTerm]]) -> dict[str, Tensor]:
    """Each loss averaged over the samples, weighted by its normaliser; 0 where that is not a number."""
    averaged = {}
    for name in samples[0]:
        terms = [sample[name] for sample in samples]
        weight = sum(term.normaliser for term in terms)
        total = torch.stack([term.value * term.normaliser for term in terms]).sum()
        averaged[name] = torch.nan_to_num(total / weight if weight > 0 else total * 0.0, nan=0.0)
    return averaged


__all__ = [
    "LossTerm",
    "association_labels",
    "association_loss",
    "batch_average",
    "box_loss",
    "class_loss",
    "frame_losses",
    "refined_losses",
    "sigmoid_focal_loss",
]
