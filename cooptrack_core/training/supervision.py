"""From what a network says about a frame to its loss terms: alone and in cooperation (spec 5.3, 7.3, 7.4)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from cooptrack_core.model.agent_model import Cooperation
from cooptrack_core.model.presets import OFFICIAL, Options
from cooptrack_core.model.queries import Queries
from cooptrack_core.training.assignment import Assignment, assign
from cooptrack_core.training.ground_truth import GroundTruth
from cooptrack_core.training.losses import (
    LossTerm,
    association_labels,
    association_loss,
    frame_losses,
    refined_losses,
)

ASSOCIATION_MIN_SCORE = 0.4  # affinity is learned for ego queries with a decoder score above (veh_thre)

Losses = dict[str, LossTerm]


@dataclass(frozen=True)
class Supervised:
    """One sample's refined queries and their targets."""

    losses: Losses
    refined: Queries  # [N] with the ids of the assignment
    assignment: Assignment
    row_of_remote: Tensor | None = None  # [I] refined row that each instance went into, -1: none


def supervise_decoder(
    logits: Tensor, boxes: Tensor, track_id: Tensor, truth: GroundTruth, prefix: str
) -> tuple[Losses, Assignment]:
    """Losses of every layer's logits [L, N, K] and box codes [L, N, 10], and the assignment of the last layer.

    Each layer is matched on its own, from the ids [N] with which the queries came.
    """
    losses: Losses = {}
    assignments = []
    for layer, (layer_logits, layer_boxes) in enumerate(zip(logits, boxes, strict=True)):
        assignment = assign(layer_logits, layer_boxes, track_id, truth)
        class_term, box_term = frame_losses(layer_logits, layer_boxes, assignment, truth)
        losses |= {f"{prefix}_cls_{layer}": class_term, f"{prefix}_bbox_{layer}": box_term}
        assignments.append(assignment)
    return losses, assignments[-1]


def supervise_alone(logits: Tensor, boxes: Tensor, refined: Queries, truth: GroundTruth) -> Supervised:
    """A single agent: the last of L decoder layers [L, N, .] gives the ids, the refined queries [N] follow it."""
    losses, assignment = supervise_decoder(logits, boxes, refined.track_id, truth, "frame_0_loss")
    losses |= _refined(refined, assignment, truth)
    return Supervised(losses, refined.with_(track_id=assignment.track_id), assignment)


def supervise_together(
    cooperation: Cooperation, ego: Queries, remote_boxes: Tensor, refined: Queries, truth: GroundTruth,
    options: Options = OFFICIAL,
) -> Supervised:  # fmt: skip
    """A cooperative vehicle: ego queries [V] before fusion, codes of aligned instances [I, 10], refined queries [V].

    The refined output alone is matched; the affinity learns from the objects that both sides have found, by option
    also from those that the vehicle only knows.
    """
    assignment = assign(refined.logits, refined.boxes, refined.track_id, truth)
    placed = options.located_scores
    class_term, box_term = frame_losses(refined.logits, refined.boxes, assignment, truth, located=placed)
    losses = {"frame_0_loss_cls_0": class_term, "frame_0_loss_bbox_0": box_term}
    losses |= _refined(refined, assignment, truth, located=placed)
    if cooperation.learned:
        sure, ids = ego.scores > ASSOCIATION_MIN_SCORE, None
        if options.affinity_of_tracks:
            sure = sure | ego.is_track
            ids = ego.track_id[sure]
        labels = association_labels(ego.boxes[sure], remote_boxes, truth, ids)
        losses["asso_loss"] = association_loss(cooperation.affinity[sure], labels)
    named = refined.with_(track_id=assignment.track_id)
    return Supervised(losses, named, assignment, cooperation.fused.row_of_remote)


def _refined(refined: Queries, assignment: Assignment, truth: GroundTruth, *, located: bool = False) -> Losses:
    class_term, box_term = refined_losses(refined.logits, refined.boxes, assignment, truth, located=located)
    return {"ref_loss_cls": class_term, "ref_loss_box": box_term}


__all__ = ["Losses", "Supervised", "supervise_alone", "supervise_decoder", "supervise_together"]
