"""Deformable attention with its projections: where to look and how much, from the query (spec 2.4, 2.5)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cooptrack_core.model.constants import constant
from cooptrack_core.model.deformable_attention import deformable_attention
from cooptrack_core.model.linear import Linear


class DeformableLayer(nn.Module):
    """Base of the attentions on the previous grid, on the image and on the grid; they differ in what they look at."""

    implementation = "auto"  # of deformable_attention()

    def __init__(
        self,
        query_dims: int,
        dims: int,
        heads: int,
        levels: int,
        points: int,
        dropout: float,
        levels_share: bool = True,
    ) -> None:
        """points: per level; levels_share False: the weights of each level alone add up to 1 / levels."""
        super().__init__()
        self.heads, self.levels, self.points = heads, levels, points
        self.dropout, self.levels_share = dropout, levels_share
        count = heads * levels * points
        self.sampling_offsets = Linear(query_dims, count * 2)
        self.attention_weights = Linear(query_dims, count)
        self.value_proj = Linear(dims, dims)
        self.output_proj = Linear(dims, dims)
        self._initialise()

    def attend(self, queries: Tensor, memory: Tensor, shapes: Sequence[tuple[int, int]], centres: Tensor) -> Tensor:
        """Weighted sums of projected memory -> [B, Q, C], before the output projection.

        queries [B, Q, query_dims]; memory [B, S, C]: the maps of all levels, row by row; shapes: (h, w) of each
        level; centres [B, Q, L, P, 2]: x, y in 0..1 to which the offsets, in cells of the map, are added.
        """
        b, count, _ = queries.shape
        value = self.value_proj(memory).reshape(b, -1, self.heads, memory.shape[-1] // self.heads)
        # Long last dimensions: broadcasting over pairs of numbers would take longer than all the rest.
        size = constant(tuple((w, h) for h, w in shapes), queries)[:, None].expand(-1, self.points, -1)  # [L, P, 2]
        offsets = self.sampling_offsets(queries) / size.repeat(self.heads, 1, 1).flatten()
        offsets = offsets.reshape(b, count, self.heads, self.levels * self.points * 2)
        locations = centres.reshape(b, count, 1, self.levels * self.points * 2) + offsets
        shape = (b, count, self.heads, self.levels, self.points)
        weights = self.attention_weights(queries)
        if self.levels_share:
            weights = weights.reshape(*shape[:3], self.levels * self.points).softmax(-1).reshape(shape)
        else:
            weights = weights.reshape(shape).softmax(-1) / self.levels
        return deformable_attention(value, shapes, locations.reshape(*shape, 2), weights, self.implementation)

    def project(self, attended: Tensor) -> Tensor:
        """[..., C] -> [..., C], with dropout."""
        return F.dropout(self.output_proj(attended), self.dropout, self.training)

    def _initialise(self) -> None:
        """Head h looks along its own direction, point i of a level at distance i + 1, all with the same weight."""
        nn.init.zeros_(self.sampling_offsets.weight)
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        angle = torch.arange(self.heads) * (2.0 * math.pi / self.heads)
        direction = torch.stack((angle.cos(), angle.sin()), dim=-1)  # [heads, 2]
        direction = direction / direction.abs().amax(-1, keepdim=True)
        distance = torch.arange(1, self.points + 1).reshape(1, 1, -1, 1).expand(1, self.levels, -1, 1)
        with torch.no_grad():
            self.sampling_offsets.bias.copy_((direction[:, None, None] * distance).flatten())
        for projection in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(projection.weight)
            nn.init.zeros_(projection.bias)
