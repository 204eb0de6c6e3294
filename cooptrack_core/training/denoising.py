"""Denoising queries: disturbed boxes of the ground truth, which the decoder puts right beside its own queries.

After DN-DETR (Li et al., CVPR 2022) and the negative queries of DINO (Zhang et al., ICLR 2023): a query that starts
near an object learns to find it without waiting for the assignment, one that starts farther away learns to be nothing.
They run through the decoder by themselves, so that the network's own queries do not see them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cooptrack_core.model import box_code
from cooptrack_core.model.agent_model import AgentModel
from cooptrack_core.model.presets import ModelConfig
from cooptrack_core.training.ground_truth import GroundTruth
from cooptrack_core.training.losses import LossTerm, batch_average, box_loss, class_loss

NEAR_M, FAR_M = (0.0, 2.0), (3.0, 6.0)  # how far the centres of right and wrong queries are moved, from and to
LOG_SIZE_NOISE, TURN_NOISE_RAD = 0.2, 0.3  # largest, either way
OTHER_LABEL = 0.2  # share of queries that are told another class


class Denoising(nn.Module):
    """The classes that the queries are told, and the losses; not part of the network that is trained."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.told = nn.Embedding(config.num_classes, config.embed_dims)
        nn.init.normal_(self.told.weight, std=0.02)

    def losses(self, model: AgentModel, bev: Tensor, truths: Sequence[GroundTruth]) -> dict[str, Tensor]:
        """Of B samples with their grids bev [B, HW, C], the sum over the layers. Draws from torch's generator."""
        terms = [self._sample(model, grid[None], truth) for grid, truth in zip(bev, truths, strict=True)]
        return batch_average(terms)

    def _sample(self, model: AgentModel, bev: Tensor, truth: GroundTruth) -> dict[str, LossTerm]:
        truth = truth.within(self.config.point_range_m).to(bev.device)
        count = len(truth)
        if count == 0:
            nothing = LossTerm(self.told.weight.sum() * 0.0, 0.0)
            return {"denoise_cls": nothing, "denoise_box": nothing}
        code = torch.cat([disturbed(truth.codes(), reach) for reach in (NEAR_M, FAR_M)])[None]  # [1, 2 G, 10]
        ref_pts = box_code.normalise(box_code.center(code), self.config.point_range_m).clamp(0.001, 0.999)
        feats = self.told(self._labels(truth.labels.repeat(2)))[None]
        base = code if self.config.options.residual_boxes else None
        found = model.decoder(bev, feats, model.embed(ref_pts), ref_pts, True, base)
        rows = torch.arange(count, device=bev.device)
        nobody = torch.full_like(rows, -1)
        labels = torch.cat((truth.labels, torch.full_like(truth.labels, self.config.num_classes)))
        classes = [class_loss(logits[0], labels, count) for logits in found.logits]
        boxes = [box_loss(layer[0], torch.cat((rows, nobody)), truth) for layer in found.boxes]
        return {"denoise_cls": _summed(classes), "denoise_box": _summed(boxes)}

    def _labels(self, labels: Tensor) -> Tensor:
        """[n] classes, some of them others."""
        others = torch.randint_like(labels, self.config.num_classes)
        return torch.where(torch.rand(len(labels), device=labels.device) < OTHER_LABEL, others, labels)


def disturbed(code: Tensor, reach_m: tuple[float, float]) -> Tensor:
    """[G, 10] codes whose centres are moved by a distance between the two, with other sizes and headings, at rest."""

    def draw(columns: int) -> Tensor:
        return 2.0 * torch.rand(len(code), columns, device=code.device) - 1.0

    distance = reach_m[0] + (reach_m[1] - reach_m[0]) * torch.rand(len(code), device=code.device)
    angle = math.pi * draw(1)[:, 0]
    step = torch.stack((distance * angle.cos(), distance * angle.sin(), torch.zeros_like(distance)), dim=-1)
    moved = box_code.with_center(code, box_code.center(code) + step)
    turn = TURN_NOISE_RAD * draw(1)[:, 0]
    sin, cos = code[:, 6], code[:, 7]
    turned = torch.stack((sin * turn.cos() + cos * turn.sin(), cos * turn.cos() - sin * turn.sin()), dim=-1)
    size = code[:, [2, 3, 5]] + LOG_SIZE_NOISE * draw(3)
    still = torch.zeros_like(code[:, 8:])
    return torch.cat((moved[:, :2], size[:, :2], moved[:, 4:5], size[:, 2:], turned, still), dim=-1)


def _summed(terms: Sequence[LossTerm]) -> LossTerm:
    return LossTerm(torch.stack([term.value for term in terms]).sum(), terms[0].normaliser)


__all__ = ["Denoising", "disturbed"]
