"""Which queries of a training frame go on as tracks of the next one (spec 7.5)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cooptrack_core.model.queries import NO_ID, Queries
from cooptrack_core.training.assignment import Assignment


@dataclass(frozen=True)
class CarryOptions:
    """Track augmentation of training."""

    min_iou: float = 0.5  # a matched query becomes a track above this nearest-BEV IoU
    drop_probability: float = 0.1  # tracks that are forgotten, so that fresh queries learn to find them
    false_positive_ratio: float = 0.3  # wrong tracks per right one, so that they learn to give up

    @staticmethod
    def none() -> CarryOptions:
        """No augmentation: what was found is carried."""
        return CarryOptions(drop_probability=0.0, false_positive_ratio=0.0)


@torch.no_grad()
def carried_rows(
    queries: Queries, assignment: Assignment, options: CarryOptions, generator: torch.Generator | None = None
) -> Tensor:
    """[A] rows of the refined queries [N] that go on: the right ones in their order, then the wrong ones.

    Right: matched and well placed. Wrong: the best-scoring queries without an id. Draws come from `generator`
    (on the CPU); without augmentation nothing is drawn.
    """
    right = assignment.matched & (assignment.iou > options.min_iou)
    rows = torch.nonzero(right).squeeze(-1)
    if options.drop_probability > 0:
        kept = torch.rand(len(rows), generator=generator) >= options.drop_probability
        rows = rows[kept.to(rows.device)]
    if options.false_positive_ratio > 0:
        draws = torch.rand(len(rows), generator=generator) < options.false_positive_ratio
        idle = torch.nonzero(assignment.track_id == NO_ID).squeeze(-1)
        best = queries.scores[idle].argsort(descending=True, stable=True)[: int(draws.sum())]
        rows = torch.cat([rows, idle[best]])
    return rows


__all__ = ["CarryOptions", "carried_rows"]
