"""Losses of dense heads, after CenterNet (Zhou et al., 2019): centres as a heatmap, boxes where the centres are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cooptrack_core.model import box_code
from cooptrack_core.model.presets import ModelConfig
from cooptrack_core.model.proposals import DEPTH_RANGE_M, DenseBoxes, set_prior_of_map
from cooptrack_core.training.ground_truth import GroundTruth
from cooptrack_core.training.losses import CODE_WEIGHTS

PENALTY_POWER, MISS_POWER = 4.0, 2.0
SUPERVISED_WITHIN = 1.2  # cells (|du| + |dv|) from a centre in which its box is learned; always the centre's own
_SMALLEST, _LARGEST = 0.6, 3.0  # standard deviation of a centre, cells
_SIZE_OVER_SIGMA = 6.0
PIXEL_WEIGHT, DROP_WEIGHT, DEPTH_WEIGHT, BOX_WEIGHT = 2.0, 2.0, 4.0, 1.0


@dataclass(frozen=True)
class DenseTargets:
    """What a map of h x w cells should say of one frame."""

    heat: Tensor  # [K, h, w] 1 at centres, falling off around them
    weight: Tensor  # [h, w] how much the box of a cell counts, 0..1
    owner: Tensor  # [h, w] int64 row of the object that a cell belongs to


def splat(centre: Tensor, sigma: Tensor, labels: Tensor, classes: int, shape: tuple[int, int]) -> DenseTargets:
    """Targets of G objects: centre [G, 2] (column, row) and sigma [G, 2] in cells, labels [G]; later rows win."""
    rows, columns = shape
    heat = centre.new_zeros(classes, rows, columns)
    if len(centre) == 0:
        nothing = torch.zeros(rows, columns, dtype=torch.int64, device=centre.device)
        return DenseTargets(heat, heat[0].clone(), nothing)
    v = torch.arange(rows, device=centre.device) + 0.5
    u = torch.arange(columns, device=centre.device) + 0.5
    du = (u[None] - centre[:, :1]) / sigma[:, :1]  # [G, columns]
    dv = (v[None] - centre[:, 1:]) / sigma[:, 1:]  # [G, rows]
    value = torch.exp(-0.5 * (du.square()[:, None] + dv.square()[:, :, None]))  # [G, rows, columns]
    cell = centre.long()
    value[torch.arange(len(centre)), cell[:, 1].clamp(0, rows - 1), cell[:, 0].clamp(0, columns - 1)] = 1.0
    for label in range(classes):
        if (labels == label).any():
            heat[label] = value[labels == label].amax(0)
    # Peaks are where boxes are taken from; only they and their neighbours have to be right.
    close = (du * sigma[:, :1]).abs()[:, None] + (dv * sigma[:, 1:]).abs()[:, :, None] <= SUPERVISED_WITHIN
    value[~close & (value < 1.0)] = 0.0
    # Among equals the last row wins: the nearest, if the caller sorts them so.
    best, owner = value.flip(0).max(0)
    return DenseTargets(heat, best, len(centre) - 1 - owner)


def heat_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Focal loss with less penalty near centres: logits, targets [B, K, h, w] -> scalar, per centre."""
    p = logits.sigmoid().clamp(1e-5, 1.0 - 1e-5)
    positive = targets >= 1.0
    hit = -torch.log(p) * (1.0 - p) ** MISS_POWER
    miss = -torch.log(1.0 - p) * p**MISS_POWER * (1.0 - targets) ** PENALTY_POWER
    return torch.where(positive, hit, miss).sum() / positive.sum().clamp(min=1)


def image_targets(
    truth: GroundTruth, lidar2img: Tensor, shape: tuple[int, int], config: ModelConfig
) -> tuple[DenseTargets, Tensor, Tensor]:
    """Targets in the image's map, and [G', 4] pixel, depth and drop, [G', 10] codes of the objects that count."""
    stride = config.image_size[0] / shape[0]
    centre_m = box_code.gravity_center(truth.boxes)
    M = lidar2img.to(centre_m)
    found = centre_m @ M[:3, :3].T + M[:3, 3]
    depth = found[:, 2]
    pixels = found[:, :2] / depth.clamp(min=0.1)[:, None]
    bottom = truth.boxes[:, :3] @ M[:3, :3].T + M[:3, 3]
    drop = (bottom[:, 1] / bottom[:, 2].clamp(min=0.1) - pixels[:, 1]).clamp(min=0.1)
    cells = (pixels + 0.5) / stride
    inside = (cells >= 0).all(-1) & (cells < cells.new_tensor((shape[1], shape[0]))).all(-1)
    usable = inside & (depth > DEPTH_RANGE_M[0]) & (depth < DEPTH_RANGE_M[1])
    if truth.seen is not None:
        usable &= truth.seen
    order = torch.nonzero(usable).squeeze(-1)
    order = order[depth[order].argsort(descending=True)]  # the nearest last
    boxes = truth.boxes[order]
    focal = (M[1, :3] - (M[1, :3] @ M[2, :3]) * M[2, :3]).norm()
    scale = focal / depth[order] / stride
    extent = torch.stack((0.5 * (boxes[:, 3] + boxes[:, 4]), boxes[:, 5]), dim=-1)  # width as from the corner, height
    sigma = (extent * scale[:, None] / _SIZE_OVER_SIGMA).clamp(_SMALLEST, _LARGEST)
    targets = splat(cells[order], sigma, truth.labels[order], config.num_classes, shape)
    seen = torch.cat((pixels, depth[:, None], drop[:, None]), dim=-1)
    return targets, seen[order], box_code.encode(boxes)


def proposal_losses(
    dense: DenseBoxes, truths: Sequence[GroundTruth], lidar2img: Tensor, config: ModelConfig
) -> dict[str, Tensor]:
    """What the image's dense head should have said: heatmap, pixel (cells), log drop, log distance, box code."""
    shape = (dense.heat.shape[-2], dense.heat.shape[-1])
    stride = config.image_size[0] / shape[0]
    made = [image_targets(truth, T, shape, config) for truth, T in zip(truths, lidar2img, strict=True)]
    heat = torch.stack([targets.heat for targets, _, _ in made]).to(dense.heat)
    sums, weight = dense.heat.new_zeros(4), dense.heat.new_zeros(())
    for b, (targets, seen, codes) in enumerate(made):
        cells = targets.weight > 0
        if not cells.any():
            continue
        w, owner = targets.weight[cells].to(dense.heat), targets.owner[cells]
        where, code = seen[owner].to(dense.heat), codes[owner].to(dense.heat)
        pixel = ((dense.pixels[b][cells] - where[:, :2]) / stride).abs().sum(-1)
        depth = (dense.depth_m[b][cells].log() - where[:, 2].log()).abs()
        drop = (dense.drop[b][cells].log() - where[:, 3].log()).abs()
        box = _code_error(dense.boxes[b][cells], code, still=True)
        sums = sums + torch.stack([(w * error).sum() for error in (pixel, drop, depth, box)])
        weight = weight + w.sum()
    pixel, drop, depth, box = (sums / weight.clamp(min=1.0)).unbind()
    return {
        "image_heat": heat_loss(dense.heat, heat),
        "image_pixel": PIXEL_WEIGHT * pixel,
        "image_drop": DROP_WEIGHT * drop,
        "image_depth": DEPTH_WEIGHT * depth,
        "image_box": BOX_WEIGHT * box,
    }


def _code_error(found: Tensor, wanted: Tensor, *, still: bool) -> Tensor:
    """[M, 10], [M, 10] -> [M]; unknown entries do not count, nor what an image does not show: x, y and velocity."""
    weights = found.new_tensor(CODE_WEIGHTS)
    if still:
        weights[:2] = 0.0
        weights[8:] = 0.0
    known = wanted.isfinite()
    return ((found - torch.where(known, wanted, 0.0)).abs() * known * weights).sum(-1)


class BevHead(nn.Module):
    """Centres and boxes in the cells of the grid; teaches the grid while a network is trained, and is then dropped."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.heat = nn.Conv2d(config.embed_dims, config.num_classes, 1)
        self.values = nn.Linear(config.embed_dims, box_code.CODE_SIZE)
        set_prior_of_map(self.heat)

    def losses(self, bev: Tensor, truths: Sequence[GroundTruth]) -> dict[str, Tensor]:
        """bev [B, HW, C] -> heatmap and box losses of the objects in range."""
        config, (rows, columns) = self.config, self.config.bev_size
        grid = bev.transpose(1, 2).reshape(len(bev), -1, rows, columns)  # [B, C, rows, columns]
        extent = bev.new_tensor((columns, rows))
        low, size = bev.new_tensor(config.point_range_m[:2]), bev.new_tensor(config.point_range_m[3:5])
        cell_m = (size - low) / extent
        codes = self.values(bev).view(len(bev), rows, columns, -1)
        heats, error, weight = [], bev.new_zeros(()), bev.new_zeros(())
        for b, truth in enumerate(truths):
            truth = truth.within(config.point_range_m)
            cells = (truth.boxes[:, :2].to(bev) - low) / cell_m
            targets = splat(cells, torch.full_like(cells, 0.7), truth.labels, config.num_classes, (rows, columns))
            heats.append(targets.heat)
            chosen = targets.weight > 0
            if not chosen.any():
                continue
            wanted = truth.codes().to(bev)[targets.owner[chosen]]
            row, column = chosen.nonzero(as_tuple=True)
            middle = torch.stack((column, row), dim=-1).to(bev) + 0.5
            offset = cells[targets.owner[chosen]] - middle
            wanted = torch.cat((offset, wanted[:, 2:]), dim=-1)
            w = targets.weight[chosen]
            error = error + (w * _code_error(codes[b][chosen], wanted, still=False)).sum()
            weight = weight + w.sum()
        return {
            "bev_heat": heat_loss(self.heat(grid), torch.stack(heats)),
            "bev_box": 0.5 * error / F.relu(weight - 1.0).add(1.0),
        }


__all__ = ["BevHead", "DenseTargets", "heat_loss", "image_targets", "proposal_losses", "splat"]
