"""Points above the cells of the grid, their projection into the image, and the cells that it shows (spec 2.4)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cooptrack_core.model.autocast import full_precision
from cooptrack_core.model.constants import constant
from cooptrack_core.model.deformable_attention import is_traced
from cooptrack_core.model.presets import ModelConfig

_MIN_DEPTH_M = 1e-5


def pillar_anchors(config: ModelConfig) -> Tensor:
    """[HW, D, 3] points in metres: the centre of each cell at D heights, the outer ones 0.5 m inside the range."""
    rows, columns = config.bev_size
    x0, y0, z0, x1, y1, z1 = config.point_range_m
    x = (torch.arange(columns) + 0.5) / columns * (x1 - x0) + x0
    y = (torch.arange(rows) + 0.5) / rows * (y1 - y0) + y0
    z = torch.linspace(0.5, z1 - z0 - 0.5, config.pillar_heights) + z0
    y, x, z = torch.meshgrid(y, x, z, indexing="ij")  # [rows, columns, D]
    return torch.stack((x, y, z), dim=-1).flatten(0, 1)


def project(anchors: Tensor, lidar2img: Tensor, image_size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """[HW, D, 3] points by [B, 4, 4] -> (u, v as shares of the image [B, HW, D, 2], seen [B, HW, D] bool)."""
    height, width = image_size
    flat = torch.cat((anchors, torch.ones_like(anchors[..., :1])), dim=-1).flatten(0, 1)  # [HW * D, 4]
    with full_precision(anchors.device):
        found = (flat @ lidar2img.to(flat.dtype).transpose(1, 2)).reshape(-1, *anchors.shape[:2], 4)  # [B, HW, D, 4]
    depth = found[..., 2:3]
    uv = found[..., :2] / depth.clamp(min=_MIN_DEPTH_M) / constant((width, height), found)
    seen = (depth[..., 0] > _MIN_DEPTH_M) & ((uv > 0.0) & (uv < 1.0)).all(-1)
    return uv, seen


@dataclass(frozen=True)
class VisibleCells:
    """The cells of each sample that its image shows, padded to the largest number M of them in the batch."""

    index: Tensor | None  # [B, M] cells; None: all of them in their order
    mask: Tensor  # [B, M] bool, False: padding
    anchors: Tensor  # [B, M, D, 2] projections of the points above them
    total: int  # HW

    def take(self, x: Tensor) -> Tensor:
        """[B, HW, C] -> [B, M, C]"""
        return x if self.index is None else x.gather(1, self.index[..., None].expand(-1, -1, x.shape[-1]))

    def put_back(self, seen: Tensor) -> Tensor:
        """[B, M, C] -> [B, HW, C], zero elsewhere"""
        seen = seen * self.mask[..., None]
        if self.index is None:
            return seen
        empty = seen.new_zeros(seen.shape[0], self.total, seen.shape[-1])
        return empty.scatter(1, self.index[..., None].expand_as(seen), seen)


def visible_cells(points: Tensor, seen: Tensor, independent: bool, short_cuts: bool = True) -> VisibleCells:
    """points [B, HW, D, 2], seen [B, HW, D]; independent False: all samples take the cells of the first (spec 7.7).

    Without short cuts, and while the network is exported, all cells are kept: their number must not depend on the data.
    """
    visible = seen.any(-1)  # [B, HW]
    if not independent:
        visible = visible[:1].expand_as(visible)
    total = visible.shape[1]
    if is_traced() or not short_cuts:
        return VisibleCells(None, visible, points, total)
    count = int(visible.sum(1).max())
    index = visible.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :count]  # [B, M]
    anchors = points.gather(1, index[..., None, None].expand(-1, -1, *points.shape[2:]))
    return VisibleCells(index, visible.gather(1, index), anchors, total)
