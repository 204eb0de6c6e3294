"""From image features to a bird's-eye-view grid, with the grid of the previous frame (spec 2.3, 2.4).

BEVFormer (Li et al., ECCV 2022): each layer looks at the previous grid, then at the image where its cells
project into it, then through a feed-forward network; a norm follows every residual.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cooptrack_core.model.bev_queries import BevQueries, rotate, shift
from cooptrack_core.model.deformable_attention import deformable_attention, initialise_projections
from cooptrack_core.model.feed_forward import FeedForward
from cooptrack_core.model.pillars import VisibleCells, pillar_anchors, project, visible_cells
from cooptrack_core.model.presets import ModelConfig

_QUEUE = 2  # previous and present grid


@dataclass(frozen=True)
class _Scene:
    """What all layers of one pass share."""

    position: Tensor  # [HW, C]
    memory: Tensor | None  # [B, 2, HW, C] previous grid and queries of this frame; None: first frame
    past_points: Tensor  # [B, HW, 2] where a cell was in the previous grid, 0..1
    present_points: Tensor  # [B, HW, 2]
    tokens: Tensor  # [B, S, C] image features of all levels
    shapes: list[tuple[int, int]]  # (h, w) of each level
    cells: VisibleCells


class TemporalAttention(nn.Module):
    """Deformable attention of the grid on the previous and on the present grid, averaged."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dims, self.heads, self.points = config.embed_dims, config.num_heads, config.temporal_points
        self.bev_size = config.bev_size
        self.dropout = config.dropout
        self.independent_batch = config.options.independent_batch
        count = self.heads * _QUEUE * self.points
        self.sampling_offsets = nn.Linear(2 * dims, count * 2)
        self.attention_weights = nn.Linear(2 * dims, count)
        self.value_proj = nn.Linear(dims, dims)
        self.output_proj = nn.Linear(dims, dims)
        initialise_projections(
            self.sampling_offsets,
            self.attention_weights,
            (self.value_proj, self.output_proj),
            self.heads,
            self.points,
        )

    def forward(self, x: Tensor, scene: _Scene) -> Tensor:
        """Running queries x [B, HW, C] -> [B, HW, C], without the residual."""
        b, cells, dims = x.shape
        rows, columns = self.bev_size
        memory = torch.stack((x, x), dim=1) if scene.memory is None else scene.memory  # [B, 2, HW, C]
        # Officially the first B entries of the (sample, queue) stack stand for the previous grids (spec 7.7).
        past = memory[:, 0] if self.independent_batch else memory.flatten(0, 1)[:b]
        queries = torch.cat((past, x + scene.position), dim=-1)  # [B, HW, 2C]
        # Both grids in one call, as two levels that share the weight evenly.
        value = self.value_proj(memory).reshape(b, _QUEUE * cells, self.heads, dims // self.heads)
        offsets = self.sampling_offsets(queries).reshape(b, cells, self.heads, _QUEUE, self.points, 2)
        weights = self.attention_weights(queries).reshape(b, cells, self.heads, _QUEUE, self.points).softmax(-1)
        centres = torch.stack((scene.past_points, scene.present_points), dim=2)  # [B, HW, 2, 2]
        locations = centres[:, :, None, :, None] + offsets / offsets.new_tensor((columns, rows))
        mixed = deformable_attention(value, [self.bev_size] * _QUEUE, locations, weights / _QUEUE)  # [B, HW, C]
        return F.dropout(self.output_proj(mixed), self.dropout, self.training)


class SpatialAttention(nn.Module):
    """Deformable attention of the visible cells on the image, around the projections of points above them."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dims, self.heads, self.levels = config.embed_dims, config.num_heads, config.feature_levels
        self.heights, self.points = config.pillar_heights, config.pillar_heights * config.points_per_anchor
        self.dropout = config.dropout
        self.sampling_offsets = nn.Linear(dims, self.heads * self.levels * self.points * 2)
        self.attention_weights = nn.Linear(dims, self.heads * self.levels * self.points)
        self.value_proj = nn.Linear(dims, dims)
        self.output_proj = nn.Linear(dims, dims)
        initialise_projections(
            self.sampling_offsets,
            self.attention_weights,
            (self.value_proj, self.output_proj),
            self.heads,
            self.points,
        )

    def forward(self, x: Tensor, scene: _Scene) -> Tensor:
        """Running queries x [B, HW, C] -> [B, HW, C], without the residual; unseen cells get the bias only."""
        seen = self._attend(scene.cells.take(x), scene)  # [B, M, C]
        return F.dropout(self.output_proj(scene.cells.put_back(seen)), self.dropout, self.training)

    def _attend(self, queries: Tensor, scene: _Scene) -> Tensor:
        """[B, M, C] -> [B, M, C]"""
        b, m, dims = queries.shape
        value = self.value_proj(scene.tokens).reshape(b, -1, self.heads, dims // self.heads)
        offsets = self.sampling_offsets(queries).reshape(b, m, self.heads, self.levels, self.points, 2)
        weights = self.attention_weights(queries).reshape(b, m, self.heads, self.levels * self.points).softmax(-1)
        size = offsets.new_tensor([(w, h) for h, w in scene.shapes])[:, None]  # [L, 1, 2]
        # Point p of a level belongs to the anchor of height p mod D.
        anchors = scene.cells.anchors.repeat(1, 1, self.points // self.heights, 1)  # [B, M, P, 2]
        locations = anchors[:, :, None, None] + offsets / size  # [B, M, heads, L, P, 2]
        weights = weights.reshape(b, m, self.heads, self.levels, self.points)
        return deformable_attention(value, scene.shapes, locations, weights)


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

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.queries = BevQueries(config)
        self.level_embeds = nn.Parameter(torch.randn(config.stored_levels, config.embed_dims))
        self.camera_embeds = nn.Parameter(torch.randn(config.stored_cameras, config.embed_dims))
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))
        self.register_buffer("anchors", pillar_anchors(config), persistent=False)  # [HW, D, 3] m

    def forward(self, maps: Sequence[Tensor], lidar2img: Tensor, can_bus: Tensor, prev_bev: Tensor | None) -> Tensor:
        """One frame of B agents -> their grids [B, HW, C].

        maps: [B, C, h_i, w_i], fine to coarse; lidar2img [B, 4, 4] to pixels of the padded network input;
        can_bus [B, 18] with the differences to the previous frame; prev_bev [B, HW, C], None in a first frame.
        """
        start, position = self.queries(can_bus)  # [B, HW, C], [HW, C]
        memory = None
        if prev_bev is not None:
            memory = torch.stack((rotate(prev_bev, can_bus[:, 17], self.config), start), dim=1)  # [B, 2, HW, C]
        present = self._cell_centres(start)[None]  # [1, HW, 2]
        past = present + shift(can_bus, self.config)[:, None]  # [B, HW, 2]
        present = present.expand_as(past) if self.config.options.shift_past_only else past
        points, valid = project(self.anchors, lidar2img, self.config.image_size)  # [B, HW, D, 2], [B, HW, D]
        scene = _Scene(
            position=position,
            memory=memory,
            past_points=past,
            present_points=present,
            tokens=self._tokens(maps),
            shapes=[(x.shape[-2], x.shape[-1]) for x in maps],
            cells=visible_cells(points, valid, self.config.options.independent_batch),
        )
        x = start
        for layer in self.layers:
            x = layer(x, scene)
        return x

    def _tokens(self, maps: Sequence[Tensor]) -> Tensor:
        """[B, S, C] all cells of all maps, told apart by camera and level."""
        embeds = self.camera_embeds[0] + self.level_embeds  # [stored_levels, C]
        return torch.cat([x.flatten(2).transpose(1, 2) + embeds[i] for i, x in enumerate(maps)], dim=1)

    def _cell_centres(self, like: Tensor) -> Tensor:
        """[HW, 2] x, y in 0..1"""
        rows, columns = self.config.bev_size
        x = (torch.arange(columns, device=like.device, dtype=like.dtype) + 0.5) / columns
        y = (torch.arange(rows, device=like.device, dtype=like.dtype) + 0.5) / rows
        return torch.stack((x.expand(rows, columns), y[:, None].expand(rows, columns)), dim=-1).reshape(-1, 2)
