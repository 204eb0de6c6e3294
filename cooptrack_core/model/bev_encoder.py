"""From image features to a bird's-eye-view grid, with the grid of the previous frame (spec 2.3, 2.4).

BEVFormer (Li et al., ECCV 2022): each layer looks at the previous grid, then at the image where its cells
project into it, then through a feed-forward network; a norm follows every residual.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cooptrack_core.model.bev_queries import BevQueries, rotate, shift
from cooptrack_core.model.deformable_layer import DeformableLayer
from cooptrack_core.model.feed_forward import FeedForward
from cooptrack_core.model.pillars import VisibleCells, pillar_anchors, project, visible_cells
from cooptrack_core.model.presets import ModelConfig

_QUEUE = 2  # previous and present grid


@dataclass(frozen=True)
class _Scene:
    """What all layers of one pass share."""

    position: Tensor  # [HW, C]
    memory: Tensor | None  # [B, 2, HW, C] previous grid and queries of this frame; None: first frame
    known: Tensor | None  # [B] bool, False: a first frame in spite of it; None: none is
    memory_centres: Tensor  # [B, HW, 2, P, 2] where a cell lies in the previous and in the present grid, 0..1
    tokens: Tensor  # [B, S, C] image features of all levels
    shapes: list[tuple[int, int]]  # (h, w) of each level
    cells: VisibleCells
    image_centres: Tensor  # [B, M, L, P, 2] where the anchors of visible cells lie in the image, 0..1


class TemporalAttention(DeformableLayer):
    """Deformable attention of the grid on the previous and on the present grid, averaged."""

    def __init__(self, config: ModelConfig) -> None:
        dims = config.embed_dims
        # Both grids in one call, as two levels.
        super().__init__(
            2 * dims, dims, config.num_heads, _QUEUE, config.temporal_points, config.dropout, levels_share=False
        )
        self.bev_size = config.bev_size
        self.independent_batch = config.options.independent_batch

    def forward(self, x: Tensor, scene: _Scene) -> Tensor:
        """Running queries x [B, HW, C] -> [B, HW, C], without the residual."""
        memory = scene.memory  # [B, 2, HW, C]
        if memory is None:
            memory = torch.stack((x, x), dim=1)
        elif scene.known is not None:
            memory = torch.where(scene.known[:, None, None, None], memory, torch.stack((x, x), dim=1))
        # Officially the first B entries of the (sample, queue) stack stand for the previous grids (spec 7.7).
        past = memory[:, 0] if self.independent_batch else memory.flatten(0, 1)[: len(x)]
        queries = torch.cat((past, x + scene.position), dim=-1)  # [B, HW, 2C]
        shapes = [self.bev_size] * _QUEUE
        return self.project(self.attend(queries, memory.flatten(1, 2), shapes, scene.memory_centres))


class SpatialAttention(DeformableLayer):
    """Deformable attention of the visible cells on the image, around the projections of points above them."""

    def __init__(self, config: ModelConfig) -> None:
        dims, points = config.embed_dims, config.pillar_heights * config.points_per_anchor
        super().__init__(dims, dims, config.num_heads, config.map_levels, points, config.dropout)

    def forward(self, x: Tensor, scene: _Scene) -> Tensor:
        """Running queries x [B, HW, C] -> [B, HW, C], without the residual; unseen cells get the bias only."""
        seen = self.attend(scene.cells.take(x), scene.tokens, scene.shapes, scene.image_centres)  # [B, M, C]
        return self.project(scene.cells.put_back(seen))


class EncoderLayer(nn.Module):
    """Temporal attention, spatial attention and feed-forward, each with a residual and then a norm."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.temporal_attention = TemporalAttention(config)
        self.spatial_attention = SpatialAttention(config)
        self.ffn = FeedForward(config.embed_dims, config.encoder_ffn, config.dropout)
        self.norms = nn.ModuleList(nn.LayerNorm(config.embed_dims) for _ in range(3))

    def forward(self, x: Tensor, scene: _Scene) -> Tensor:
        """[B, HW, C] -> [B, HW, C]"""
        x = self.norms[0](x + self.temporal_attention(x, scene))
        x = self.norms[1](x + self.spatial_attention(x, scene))
        return self.norms[2](x + self.ffn(x))


class BevEncoder(nn.Module):
    """Grid queries through all layers; one camera per agent."""

    anchors: Tensor
    short_cuts = True  # only cells that the image shows look at it

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.queries = BevQueries(config)
        self.level_embeds = nn.Parameter(torch.randn(config.stored_levels, config.embed_dims))
        self.camera_embeds = nn.Parameter(torch.randn(config.stored_cameras, config.embed_dims))
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))
        self.register_buffer("anchors", pillar_anchors(config), persistent=False)  # [HW, D, 3] m

    def forward(
        self,
        maps: Sequence[Tensor],
        lidar2img: Tensor,
        can_bus: Tensor,
        prev_bev: Tensor | None,
        known: Tensor | None = None,
    ) -> Tensor:
        """One frame of B agents -> their grids [B, HW, C].

        maps: [B, C, h_i, w_i], fine to coarse; lidar2img [B, 4, 4] to pixels of the padded network input;
        can_bus [B, 18] with the differences to the previous frame; prev_bev [B, HW, C], None in a first frame;
        known [B] bool: False for a sample whose first frame it is, whatever prev_bev says; None: True for all.
        """
        start, position = self.queries(can_bus)  # [B, HW, C], [HW, C]
        memory = None
        if prev_bev is not None:
            memory = torch.stack((rotate(prev_bev, can_bus[:, 17], self.config), start), dim=1)  # [B, 2, HW, C]
        points, valid = project(self.anchors, lidar2img, self.config.image_size)  # [B, HW, D, 2], [B, HW, D]
        cells = visible_cells(points, valid, self.config.options.independent_batch, self.short_cuts)
        scene = _Scene(
            position=position,
            memory=memory,
            known=known,
            memory_centres=self._memory_centres(can_bus),
            tokens=self._tokens(maps),
            shapes=[(x.shape[-2], x.shape[-1]) for x in maps],
            cells=cells,
            # Point p of a level belongs to the anchor of height p mod D.
            image_centres=cells.anchors.repeat(1, 1, len(maps) * self.config.points_per_anchor, 1),
        )
        x = start
        for layer in self.layers:
            x = layer(x, scene)
        return x

    def _tokens(self, maps: Sequence[Tensor]) -> Tensor:
        """[B, S, C] all cells of all maps, told apart by camera and level."""
        embeds = self.camera_embeds[0] + self.level_embeds  # [stored_levels, C]
        return torch.cat([x.flatten(2).transpose(1, 2) + embeds[i] for i, x in enumerate(maps)], dim=1)

    def _memory_centres(self, can_bus: Tensor) -> Tensor:
        """[B, 18] -> [B, HW, 2, P, 2] the centre of each cell in the previous and in the present grid, 0..1"""
        rows, columns = self.config.bev_size
        like = self.level_embeds
        x = (torch.arange(columns, device=like.device, dtype=like.dtype) + 0.5) / columns
        y = (torch.arange(rows, device=like.device, dtype=like.dtype) + 0.5) / rows
        present = torch.stack((x.expand(rows, columns), y[:, None].expand(rows, columns)), dim=-1).reshape(1, -1, 2)
        past = present + shift(can_bus, self.config)[:, None]  # [B, HW, 2]
        present = present.expand_as(past) if self.config.options.shift_past_only else past
        return torch.stack((past, present), dim=2)[:, :, :, None].repeat(1, 1, 1, self.config.temporal_points, 1)
